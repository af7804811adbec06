//! A minute of hostile datagrams, as fast as one core can make them: half of them from somebody who has the key, half garbage.
//! The agents stay small, take each other for alive, and their messages arrive.
//!
//! `cargo test -p rumormill-agent --test flood -- --nocapture` shows the figures.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

#[path = "flood/hostile.rs"]
mod hostile;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hostile::{Flood, Sent};
use rumormill::Keyring;
use serde_json::Value;
use support::{Agent, Lines, run, until_all_know_all};

const FLOOD: Duration = Duration::from_mins(1);

/// What an agent may hold of others' updates, so low that the flood reaches it.
const CAPS: [&str; 8] = [
    "--set",
    "messages_bytes_max=8388608",
    "--set",
    "data_bytes_max=8388608",
    "--set",
    "value_bytes_max=65536",
    "--set",
    "members_max=1000",
];

/// Others' messages and data are taken up to twice their caps (32 MiB), 64 MiB may wait on all streams, 10 MiB is an idle
/// agent, and an allocator keeps a part of what it had.
const RESIDENT_BYTES_MAX: u64 = 160 << 20;

#[test]
fn a_minute_of_hostile_datagrams_leaves_agents_small_and_together() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key").display().to_string();
    assert!(run(&["keygen", &key]).status.success());
    let settings = [&CAPS[..], &["--key-file", &key]].concat();
    let first = Agent::start("n1", &settings);
    let others: Vec<Agent> = (2..=5).map(|n| Agent::join(&format!("n{n}"), &first, &settings)).collect();
    let agents: Vec<&Agent> = std::iter::once(&first).chain(&others).collect();
    until_all_know_all(&agents);
    let news: Vec<Lines> = agents.iter().map(|agent| agent.follow(&["subscribe", "honest"])).collect();
    let before: Vec<u64> = agents.iter().map(|agent| resident_bytes(agent)).collect();

    let targets: Vec<SocketAddr> = agents.iter().map(|agent| agent.gossip.parse().unwrap()).collect();
    let keyring = Keyring::read(Path::new(&key)).unwrap();
    let victims = agents.iter().map(|agent| u64::from_str_radix(&agent.id, 16).unwrap()).collect();
    let flood = thread::spawn(move || Flood::new(&keyring, victims).run(&targets, FLOOD));
    let (mut published, mut refused) = (0, 0);
    while !flood.is_finished() {
        let (code, _, complaint) = agents[published % agents.len()].said(&["publish", "honest", "still here"]);
        assert!(code == 0 || complaint.contains("faster than they drain"), "{complaint}");
        if code == 0 {
            published += 1;
        } else {
            refused += 1;
        }
        thread::park_timeout(Duration::from_millis(200));
    }
    let sent = flood.join().unwrap();
    println!("{published} messages published, {refused} times told to try again");
    assert!(published > 0);

    let delays: Vec<f64> = news.iter().flat_map(|news| delays(news, published)).collect();
    let resident: Vec<u64> = agents.iter().map(|agent| resident_bytes(agent)).collect();
    let accused: Vec<usize> = agents.iter().map(|agent| accused(agent, &agents)).collect();
    show(&sent, &agents, (&before, &resident), &accused, delays);
    for (agent, resident) in agents.iter().zip(resident) {
        assert!(resident < RESIDENT_BYTES_MAX, "{} holds {resident} bytes", agent.name);
        assert!(received(agent) > 0 && sent.sealed > 0 && sent.garbage > 0);
    }
    for agent in &agents {
        while !agents.iter().all(|other| state(agent, other) == "alive") {}
    }
}

/// Which delays the messages had that an agent received: it received all.
fn delays(news: &Lines, published: usize) -> Vec<f64> {
    let delay = |message: Value| {
        let at = |key: &str| message[key].as_f64().unwrap();
        at("received_at") - at("published_at")
    };
    (0..published).map(|_| delay(news.next())).collect()
}

/// How often an agent said that one of these failed.
fn accused(agent: &Agent, honest: &[&Agent]) -> usize {
    let is_honest = |event: &Value| honest.iter().any(|other| event["member"]["id"] == *other.id);
    agent.process.so_far().iter().filter(|event| event["event"] == "failed" && is_honest(event)).count()
}

fn state(agent: &Agent, other: &Agent) -> String {
    let members = agent.ask(&["members"]);
    let found = members.as_array().unwrap().iter().find(|member| member["id"] == *other.id);
    found.map_or_else(String::new, |member| member["state"].as_str().unwrap().to_owned())
}

fn received(agent: &Agent) -> u64 {
    agent.ask(&["info"])["received"]["datagrams"].as_u64().unwrap()
}

fn resident_bytes(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.process.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn show(sent: &Sent, agents: &[&Agent], (before, after): (&[u64], &[u64]), accused: &[usize], mut delays: Vec<f64>) {
    let seconds = sent.took.as_secs_f64();
    println!("sent in {seconds:.0} s: {} sealed, {} garbage, {} a second", sent.sealed, sent.garbage, sent.rate());
    for (index, agent) in agents.iter().enumerate() {
        let mebibytes = |bytes: u64| bytes >> 20;
        println!(
            "{}: took in {}; resident {} MiB before, {} MiB after; honest members said to have failed: {}; dropped {}",
            agent.name,
            received(agent),
            mebibytes(before[index]),
            mebibytes(after[index]),
            accused[index],
            agent.ask(&["info"])["unsealed"],
        );
        println!("    of those with a seal dropped: {}", agent.ask(&["info"])["dropped"]);
    }
    delays.sort_by(f64::total_cmp);
    let at = |part: usize| delays[(delays.len() - 1) * part / 100] * 1e3;
    println!("{} deliveries: median {:.1} ms, 99 % {:.1} ms, last {:.1} ms", delays.len(), at(50), at(99), at(100));
}
