//! Locks and elections from the command line, on real agents and real processes.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Agent, Lines, until_all_know_all};
use tempfile::TempDir;

/// Three agents that vote, and where they keep that.
fn voters() -> (Vec<Agent>, TempDir) {
    let kept = tempfile::tempdir().unwrap();
    let start = |name: &str, join: &[&str]| {
        let directory = kept.path().join(name);
        let flags = ["--data-dir", directory.to_str().unwrap(), "--set", "agreement_voters=a,b,c"];
        Agent::start(name, &[join, &flags].concat())
    };
    let first = start("a", &[]);
    let contact = first.gossip.clone();
    let others = ["b", "c"].map(|name| start(name, &["--join", &contact]));
    let agents: Vec<Agent> = std::iter::once(first).chain(others).collect();
    until_all_know_all(&agents.iter().collect::<Vec<_>>());
    let deadline = Instant::now() + Duration::from_mins(1);
    while !agents.iter().all(|agent| agent.ask(&["agree", "status"])["refused"].is_null()) {
        assert!(Instant::now() < deadline, "all voters have joined");
    }
    (agents, kept)
}

/// A lock that is held by a process of its own until that is killed: the command prints its fencing token as JSON and goes on.
fn hold(agent: &Agent, name: &str, ttl: &str) -> (Lines, u64) {
    let script = "echo $RUMOR_FENCING_TOKEN; exec sleep 60";
    let mut command = agent.command(&["lock", name, "--ttl", ttl, "--", "sh", "-c", script]);
    command.stderr(Stdio::null());
    let held = Lines::of(command);
    let token = held.next().as_u64().unwrap();
    (held, token)
}

#[test]
fn a_lock_is_held_by_one_and_its_command_decides_how_it_ends() {
    let (agents, _kept) = voters();
    let script = r#"test "$RUMOR_LOCK" = deploy && test "$RUMOR_FENCING_TOKEN" -gt 0 && exit 7"#;
    assert_eq!(agents[0].said(&["lock", "deploy", "--", "sh", "-c", script]).0, 7);
    assert_eq!(agents[1].said(&["lock", "deploy", "--", "true"]).0, 0, "it was given back");
    let (held, token) = hold(&agents[0], "deploy", "10s");
    let (code, _, err) = agents[1].said(&["lock", "deploy", "--wait", "300ms", "--", "true"]);
    assert!(code == 1 && err.contains("a/") && err.contains("has it"), "{code}: {err}");
    assert_eq!(agents[2].said(&["lock", "other", "--", "true"]).0, 0, "another lock is free");
    held.signal("TERM");
    held.wait_for_end();
    let (_held, later) = hold(&agents[2], "deploy", "10s");
    assert!(later > token, "{later} after {token}");
}

#[test]
fn whoever_asks_over_http_and_goes_is_not_waited_for() {
    let (agents, _kept) = voters();
    let (held, _) = hold(&agents[0], "deploy", "10s");
    let body = r#"{"holder":"0000000000000007","label":"gone","ttl":3600}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/locks/deploy?timeout=5m HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}"
    );
    let mut connection = std::net::TcpStream::connect(agents[1].http.strip_prefix("http://").unwrap()).unwrap();
    connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    // It has come in before anything that is asked after it was answered.
    agents[1].ask(&["agree", "status"]);
    drop(connection);
    agents[1].ask(&["agree", "status"]);
    held.signal("TERM");
    held.wait_for_end();
    let (code, _, err) = agents[2].said(&["lock", "deploy", "--wait", "30s", "--", "true"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_holder_that_is_killed_is_followed_when_its_time_is_over() {
    let (agents, _kept) = voters();
    let (mut held, token) = hold(&agents[0], "deploy", "2s");
    held.kill();
    let killed = Instant::now();
    let (_next, later) = hold(&agents[1], "deploy", "2s");
    // Two seconds, and one; what this test itself takes on a busy machine does not count.
    assert!(killed.elapsed() < Duration::from_secs(2 + 1 + 5), "{:?}", killed.elapsed());
    assert!(later > token, "{later} after {token}");
}

#[test]
fn a_command_is_ended_when_its_lock_can_no_longer_be_renewed() {
    let (mut agents, kept) = voters();
    let complaint = kept.path().join("stderr");
    let script = "trap '' TERM; echo $RUMOR_FENCING_TOKEN; sleep 60 & wait; sleep 60";
    let mut command = agents[0].command(&["--json", "lock", "deploy", "--ttl", "2s", "--", "sh", "-c", script]);
    command.stderr(std::fs::File::create(&complaint).unwrap());
    let mut held = Lines::of(command);
    held.next();
    // Two of three voters are gone: nobody can renew anything.
    drop(agents.drain(1..));
    let lost_from = Instant::now();
    let ended = held.child.wait().unwrap();
    let complaint = std::fs::read_to_string(complaint).unwrap();
    assert!(ended.code() == Some(3) && complaint.contains("lease_lost"), "{ended}: {complaint}");
    assert!(lost_from.elapsed() < Duration::from_secs(2 + 5), "{:?}", lost_from.elapsed());
}

#[test]
fn an_election_has_a_leader_and_another_when_that_one_is_killed() {
    let (agents, kept) = voters();
    let gained = kept.path().join("gained");
    let on_gain = format!("echo $RUMOR_ELECTION $RUMOR_FENCING_TOKEN >> {}", gained.display());
    let elect = |agent: &Agent| {
        let mut command = agent.command(&["--json", "elect", "primary", "--ttl", "2s", "--on-gain", &on_gain]);
        command.stderr(Stdio::null());
        Lines::of(command)
    };
    let led_by = |name: &'static str| {
        move |line: &serde_json::Value| line["leader"].as_str().is_some_and(|it| it.starts_with(name))
    };
    let mut first = elect(&agents[0]);
    // What one runs takes a moment after it leads.
    let until_told = |gains: usize| {
        let told = || {
            std::fs::read_to_string(&gained)
                .unwrap_or_default()
                .lines()
                .filter(|line| line.starts_with("primary "))
                .count()
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while told() < gains {
            assert!(Instant::now() < deadline, "{gains} have led, and {} were told", told());
            std::thread::yield_now();
        }
        assert_eq!(told(), gains);
    };
    let line = first.wait_for("a leads", led_by("a/"));
    until_told(1);
    assert_eq!(line["election"], "primary");
    assert!(line["lease_until"].as_f64().unwrap() > line["since"].as_f64().unwrap(), "{line}");
    let second = elect(&agents[1]);
    second.wait_for("b hears that a leads", led_by("a/"));
    first.kill();
    let next = second.wait_for("b leads", led_by("b/"));
    until_told(2);
    assert!(next["token"].as_u64().unwrap() > line["token"].as_u64().unwrap());
    second.signal("TERM");
    second.wait_for_end();
    let third = elect(&agents[2]);
    third.wait_for("c leads", led_by("c/"));
    until_told(3);
}

#[test]
fn what_is_wrong_is_said_by_field_value_and_rule() {
    let (agents, _kept) = voters();
    let long = "x".repeat(200);
    for (arguments, expected, sentence) in [
        (&["lock", &long, "--", "true"] as &[_], 1, "must be a name of 1 to 200 bytes"),
        (&["lock", "deploy", "--ttl", "10ms", "--", "true"], 2, "ttl is 10ms, must be from 1s to 1h"),
        (&["lock", "deploy", "--", "/nowhere/at-all"], 2, "command is /nowhere/at-all, must be a program that runs"),
        (&["elect", "primary", "--ttl", "2h"], 2, "ttl is 2h, must be from 1s to 1h"),
    ] {
        let (code, out, err) = agents[0].said(arguments);
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {err}");
        assert!(err.contains(sentence), "{arguments:?}: {err}");
    }
}
