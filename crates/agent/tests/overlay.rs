//! A hundred agents as real processes, none of which knows all others.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Agent, HASTY, text};

const AGENTS: usize = 100;

fn start(name: usize, contact: Option<&Agent>) -> Agent {
    let view = ["--view", "partial", "--set", "shuffle_interval=1s"];
    let contact: Vec<&str> = contact.map_or_else(Vec::new, |contact| vec!["--join", &contact.gossip]);
    Agent::start(&format!("n{name}"), &[&HASTY[..], &view, &contact].concat())
}

/// How many an agent has in a view, itself not counted.
fn viewed(agent: &Agent, view: &str) -> usize {
    let members = agent.ask(&["members"]);
    members.as_array().unwrap().iter().filter(|member| member["self"] == false && member["view"] == view).count()
}

/// Waits until messages have come, in any order.
fn until_heard(agent: &Agent, messages: &[&str]) {
    until_heard_on(agent, "news", messages);
}

fn until_heard_on(agent: &Agent, topic: &str, messages: &[&str]) {
    let count = messages.len().to_string();
    let heard = agent.ask_lines(&["subscribe", topic, "--history", "100", "--count", &count, "--timeout", "60s"]);
    let heard: BTreeSet<&str> = heard.iter().map(|line| line["payload"].as_str().unwrap()).collect();
    assert_eq!(heard, messages.iter().copied().collect(), "{}", agent.name);
}

/// A query and a trace reach agents that the asker does not know, and are answered by name.
fn all_answer(agents: &[Agent]) {
    let names: BTreeSet<String> = agents.iter().map(|agent| agent.name.clone()).collect();
    let mut missing = names.clone();
    agents[7].follow(&["query", "info", "--timeout", "50s"]).wait_for("answers of all", |line| {
        missing.remove(line["from"].as_str().unwrap_or_default());
        missing.is_empty()
    });

    let published = agents[7].ask(&["publish", "traced", "x"]);
    let message = format!("{}:{}", agents[7].id, published["sequence"].as_str().unwrap());
    until_heard_on(&agents[90], "traced", &["x"]);
    loop {
        let mut lines = agents[90].ask_lines(&["trace", "traced", &message, "--timeout", "30s"]);
        let end = lines.pop().unwrap();
        let from = |line: &Value| line["from"].as_str().is_none_or(|from| names.contains(from));
        assert!(end["estimated"] == true && lines.iter().all(from), "{lines:?}");
        let reached: BTreeSet<String> = lines.iter().map(|line| line["node"].as_str().unwrap().to_owned()).collect();
        assert_eq!(end["reached"].as_u64().unwrap(), reached.len() as u64);
        // The message may still be on its way.
        if reached == names {
            return;
        }
    }
}

#[test]
fn half_of_a_hundred_die_at_once_and_every_later_message_reaches_all_others() {
    let mut agents: Vec<Agent> = Vec::new();
    for name in 0..AGENTS {
        // Each through another: no contact is special.
        let contact = agents.get(name * 7 / 11 % agents.len().max(1));
        agents.push(start(name, contact));
    }
    for agent in &agents {
        while viewed(agent, "active") < 2 || viewed(agent, "passive") < 10 {}
        assert!(viewed(agent, "active") <= 5, "{}", agent.name);
    }
    let table = agents[0].command(&["members"]).output().unwrap();
    assert!(text(&table.stderr).contains("partial view of n0"), "{}", text(&table.stderr));
    let size = agents[0].ask(&["info"])["size_estimate"].as_u64().unwrap();
    assert!(size > 10, "{size}");

    all_answer(&agents);

    let (dying, mut living): (Vec<_>, Vec<_>) = agents.into_iter().enumerate().partition(|(place, _)| place % 2 == 0);
    for (_, mut agent) in dying {
        agent.process.kill();
    }
    let mut survivors: Vec<Agent> = living.drain(..).map(|(_, agent)| agent).collect();
    // The first one right away, while neighbours are still missed.
    let messages = ["first", "second", "third"];
    for (message, agent) in messages.iter().zip([3, 17, 31]) {
        survivors[agent].ask(&["publish", "news", message]);
        until_heard(&survivors[agent], &messages[..=messages.iter().position(|other| other == message).unwrap()]);
    }
    for agent in &survivors {
        until_heard(agent, &messages);
    }

    for late in 0..5 {
        let joined = start(AGENTS + late, Some(&survivors[late * 9]));
        until_heard(&joined, &messages);
        survivors.push(joined);
    }
    survivors[1].ask(&["put", "color", "green"]);
    for agent in &survivors {
        let watch = agent.follow(&["watch", "color"]);
        if agent.command(&["get", "color"]).output().unwrap().status.success() {
            continue;
        }
        watch.wait_for("the key", |line: &Value| line["value"] == "green");
    }
}
