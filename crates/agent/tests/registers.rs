//! Registers and their voters, from the command line and over HTTP, on real agents.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Agent, HASTY, until_all_know_all};
use tempfile::TempDir;

/// Agents that keep their votes until the directory goes.
fn agents<const N: usize>(names: [&str; N], flags: &[&str]) -> (Vec<Agent>, TempDir) {
    let kept = tempfile::tempdir().unwrap();
    let directories = std::cell::Cell::new(0);
    let start = |name: &str, flags: &[&str]| {
        let directory = kept.path().join(format!("{name}{}", directories.replace(directories.get() + 1)));
        Agent::start(name, &[flags, &["--data-dir", directory.to_str().unwrap()]].concat())
    };
    let first = start(names[0], flags);
    let contact = first.gossip.clone();
    let join = [flags, &["--join", &contact]].concat();
    let others: Vec<Agent> = names[1..].iter().map(|name| start(name, &join)).collect();
    let agents: Vec<Agent> = std::iter::once(first).chain(others).collect();
    until_all_know_all(&agents.iter().collect::<Vec<_>>());
    (agents, kept)
}

/// Asks again and again until it is so. Each question is a process of its own.
fn until(what: &str, is_it: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_it() {
        assert!(Instant::now() < deadline, "{what}");
    }
}

/// Waits until registers can be used at an agent.
fn until_usable(agent: &Agent) {
    until("all voters have joined", || agent.ask(&["agree", "status"])["refused"].is_null());
}

fn held(agent: &Agent, register: &str) -> (Value, Value) {
    let document = agent.ask(&["register", "get", register]);
    (document["value"].clone(), document["version"].clone())
}

#[test]
fn what_one_agent_agrees_on_every_other_reads() {
    let (agents, _kept) = agents(["a", "b", "c", "d"], &[]);
    let status = agents[3].ask(&["agree", "init", "--voters", "a,b,c"]);
    assert_eq!(status["registers"], 0, "{status}");
    until_usable(&agents[3]);
    let status = agents[3].ask(&["agree", "status"]);
    let voters: Vec<&Value> = status["voters"].as_array().unwrap().iter().map(|voter| &voter["reachable"]).collect();
    assert_eq!((voters, &status["quorum"], &status["epoch"]), (vec![&json!(true); 3], &json!(2), &json!(1)));

    // d does not vote, and proposes all the same.
    let document = agents[3].ask(&["register", "cas", "primary", "--absent", "d"]);
    assert_eq!(document, json!({ "register": "primary", "value": "d", "version": 1, "stale": false }));
    for agent in &agents {
        assert_eq!(held(agent, "primary"), (json!("d"), json!(1)));
    }
    let (code, out, err) = agents[0].said(&["--json", "register", "cas", "primary", "x", "a"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["value"], "d", "the actual document");
    assert!(err.contains("mismatch") && err.contains(r#"\"d\""#), "{err}");
    let (code, _, err) = agents[0].said(&["register", "cas", "primary", "x", "a"]);
    assert!(code == 1 && err.contains(r#"primary holds "d" (version 1), not what was expected"#), "{err}");
    assert_eq!(agents[1].ask(&["register", "cas", "primary", "d", "b"])["version"], 2);
    assert_eq!(agents[2].ask(&["register", "set", "other", "1"])["version"], 1);
    assert_eq!(agents[2].ask(&["register", "delete", "primary"])["version"], 3);
    let (code, _, err) = agents[3].said(&["register", "get", "primary"]);
    assert!(code == 1 && err.contains(r#"no register "primary""#), "{err}");
}

#[test]
fn one_voter_of_three_may_be_dead_and_two_may_not() {
    let (mut agents, _kept) = agents(["a", "b", "c", "d"], &["--set", "agreement_voters=a,b,c"]);
    until_usable(&agents[3]);
    agents[3].ask(&["register", "set", "color", "red"]);
    drop(agents.remove(2));
    assert_eq!(agents[2].ask(&["register", "cas", "color", "red", "green"])["version"], 2);
    drop(agents.remove(1));
    let (code, out, err) = agents[1].said(&["--json", "register", "get", "color", "--timeout", "1s"]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    let error = serde_json::from_str::<Value>(&err).unwrap()["error"].clone();
    assert_eq!(error["code"], "no_quorum", "{error}");
    assert!(error["message"].as_str().unwrap().contains("not heard: "), "{error}");
    // What it has heard it still tells.
    assert_eq!(agents[1].ask(&["register", "get", "color", "--stale"])["stale"], true);
}

#[test]
fn voters_change_while_registers_are_used() {
    let (agents, _kept) = agents(["a", "b", "c", "d"], &[]);
    agents[0].ask(&["agree", "init", "--voters", "a,b,c"]);
    until_usable(&agents[0]);
    agents[0].ask(&["register", "set", "color", "red"]);
    agents[1].ask(&["agree", "add", "d"]);
    until("the fourth has taken over", || agents[1].ask(&["agree", "status"])["changing"] == false);
    agents[1].ask(&["agree", "remove", "a"]);
    until("the first is out", || agents[1].ask(&["agree", "status"])["changing"] == false);
    let status = agents[3].ask(&["agree", "status"]);
    let names: Vec<&str> =
        status["voters"].as_array().unwrap().iter().map(|voter| voter["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names.contains(&"a"), names.contains(&"d")), (3, false, true), "{status}");
    assert_eq!(held(&agents[0], "color"), (json!("red"), json!(1)));
}

#[test]
fn what_is_wrong_is_said_by_field_value_and_rule() {
    let (agents, _kept) = agents(["a", "b"], &[]);
    let long = "x".repeat(256);
    for (arguments, expected, sentence) in [
        (&["register", "get", "color"] as &[_], 1, "nobody votes on registers yet"),
        (&["agree", "init", "--voters", "a,nobody"], 1, "no member nobody"),
        (&["agree", "init", "--voters", "a,a"], 1, "voters is 2 ids, must be 1 to "),
        (&["agree", "add", "a"], 1, "nobody votes on registers yet"),
        (&["agree", "drop", "zz"], 1, "founding is zz, must be 16 hex digits"),
        (&["agree", "drop", "00000000000000aa"], 1, "no founding 00000000000000aa"),
        (&["register", "cas", "color", "red"], 2, "say what the register must hold"),
        (&["register", "cas", "color", "red", "green", "--absent"], 2, "with --absent say only"),
        (&["register", "set", &long, "1"], 1, "register is "),
    ] {
        let (code, out, err) = agents[0].said(arguments);
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {err}");
        assert!(err.contains(sentence), "{arguments:?}: {err}");
    }
    agents[0].ask(&["agree", "init", "--voters", "a"]);
    until_usable(&agents[0]);
    until_usable(&agents[1]);
    let (code, _, err) = agents[1].said(&["agree", "init", "--voters", "b"]);
    assert!(code == 1 && err.contains("must be named once"), "{err}");
    let (code, _, err) = agents[0].said(&["agree", "remove", "b"]);
    assert!(code == 1 && err.contains("must be one who votes"), "{err}");
}

fn voters(agent: &Agent) -> Vec<String> {
    let status = agent.ask(&["agree", "status"]);
    status["voters"].as_array().unwrap().iter().map(|voter| voter["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_agent_that_keeps_nothing_is_not_named_as_a_voter() {
    let (agents, _kept) = agents(["a", "b"], &[]);
    let c = Agent::join("c", &agents[0], &[]);
    until_all_know_all(&[&agents[0], &c]);
    let (code, out, err) = agents[0].said(&["agree", "init", "--voters", "a,b,c"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("voters is c, must be an agent with a data directory"), "{err}");
    assert_eq!(agents[0].ask(&["agree", "status"])["foundings"], json!([]), "nobody has joined anything");
    agents[0].ask(&["agree", "init", "--voters", "a,b"]);
    until_usable(&agents[0]);
    let (code, _, err) = agents[0].said(&["agree", "add", "c"]);
    assert!(code == 1 && err.contains("add is c, must be an agent with a data directory"), "{err}");
    assert_eq!(voters(&agents[0]).len(), 2);
}

#[test]
fn a_voter_that_is_not_listed_any_more_is_removed_by_its_id() {
    let (mut agents, _kept) = agents(["a", "b", "c"], &[]);
    agents[0].ask(&["agree", "init", "--voters", "a,b,c"]);
    until_usable(&agents[0]);
    let gone = agents.pop().unwrap().id.clone();
    agents[0].ask(&["remove", "c", "--force"]);
    let (code, _, err) = agents[0].said(&["agree", "remove", "c"]);
    assert!(code == 1 && err.contains("no member c"), "{err}");
    agents[0].ask(&["agree", "remove", &gone]);
    assert!(!voters(&agents[0]).contains(&gone));
    until("the change is over", || agents[0].ask(&["agree", "status"])["changing"] == false);
}

#[test]
fn of_two_agents_of_one_name_the_one_that_is_meant_is_named_by_its_id() {
    let (agents, _kept) = agents(["a", "b", "b"], &[]);
    let (code, out, err) = agents[0].said(&["agree", "init", "--voters", "a,b"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("voters is b, must be one of them, by its id: "), "{err}");
    assert!(err.contains(&agents[1].id) && err.contains(&agents[2].id), "{err}");
    agents[0].ask(&["agree", "init", "--voters", &format!("a,{}", agents[2].id)]);
    until_usable(&agents[0]);
    assert!(voters(&agents[0]).contains(&agents[2].id));
}

#[test]
fn voters_that_the_settings_name_are_named_once_nothing_stands_against_it_any_more() {
    let flags = [&["--set", "agreement_voters=a,b,c"], &HASTY[..]].concat();
    let (agents, kept) = agents(["a", "b"], &flags);
    let c = Agent::join("c", &agents[0], &flags);
    until_all_know_all(&[&agents[0], &c]);
    let logs = agents[0].follow(&["logs"]);
    logs.wait_for("a says why not", |line| line.to_string().contains("cannot be named: c has no data directory"));
    let old = c.id.clone();
    drop(c);
    let directory = kept.path().join("c");
    let c = Agent::join("c", &agents[0], &[&flags[..], &["--data-dir", directory.to_str().unwrap()]].concat());
    until_usable(&agents[0]);
    let voters = voters(&agents[0]);
    assert!(voters.contains(&c.id) && !voters.contains(&old), "{voters:?}");
}
