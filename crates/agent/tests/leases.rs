//! Locks and elections from the command line, on real agents and real processes.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
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
fn locks_are_listed_with_their_holders_until_they_are_given_back() {
    let (agents, _kept) = voters();
    let locks = || {
        let answer = agents[0].http("GET /v1/locks HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        serde_json::from_str::<serde_json::Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert_eq!(locks(), serde_json::json!([]));
    let (held, token) = hold(&agents[1], "deploy", "10s");
    agents[0].until("the lock", |_| locks()[0]["holder"].is_string());
    let now = locks();
    let fields: Vec<&String> = now[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["holder", "lease_until", "name", "since", "token", "ttl"]);
    assert_eq!((now[0]["name"].as_str(), now[0]["token"].as_u64()), (Some("deploy"), Some(token)));
    assert_eq!(
        now[0]["lease_until"].as_f64().zip(now[0]["since"].as_f64()).map(|(until, since)| until >= since + 10.0),
        Some(true)
    );
    held.signal("TERM");
    held.wait_for_end();
    agents[0].until("nobody has it", |_| locks() == serde_json::json!([]));
}

#[test]
fn whoever_asks_over_http_and_goes_is_not_waited_for() {
    let (agents, _kept) = voters();
    let (held, _) = hold(&agents[0], "deploy", "10s");
    let body = r#"{"holder":"0000000000000007","label":"gone","ttl":3600}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/locks/deploy?timeout=5m HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}"
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

/// Asks for a lock over HTTP, and whether that was done.
fn ask(agent: &Agent, method: &str, body: &str) -> bool {
    let head = format!(
        "{method} /v1/locks/deploy HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json"
    );
    agent.http(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).starts_with("HTTP/1.1 200")
}

#[test]
fn nobody_follows_before_the_time_of_a_holder_is_over() {
    let (agents, _kept) = voters();
    let holder = r#""holder":"0000000000000007","label":"first","ttl":3"#;
    assert!(ask(&agents[0], "POST", &format!("{{{holder}}}")));
    let token = agents[0].http("GET /v1/locks/deploy HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let token: serde_json::Value = serde_json::from_str(token.rsplit("\r\n").next().unwrap()).unwrap();
    let script = "echo $RUMOR_FENCING_TOKEN; exec sleep 60";
    let waiting = Lines::of(agents[1].command(&["lock", "deploy", "--", "sh", "-c", script]));
    // It waits, unless this machine is very slow: then it comes later still.
    agents[1].ask(&["agree", "status"]);
    let asked = Instant::now();
    assert!(ask(&agents[2], "PUT", &format!("{{{holder},\"token\":{}}}", token["token"])));
    let later = waiting.next().as_u64().unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(Some(later) > token["token"].as_u64(), "{later} after {token}");
}

/// What a script prints that has a terminal of its own as its controlling one, and is typed that.
fn on_a_terminal(agent: &Agent, script: &str, typed: &str) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let end = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    let rumor = agent.command(&[]);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-c", script]).env("RUMOR", rumor.get_program()).env("RUMOR_AGENT", &agent.http);
    command.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap()).stderr(end);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut terminal = std::fs::File::from(terminal);
    terminal.write_all(typed.as_bytes()).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut all, mut bytes) = (Vec::new(), [0; 1_024]);
        // It ends with an error, when nobody has the other end any more.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            all.extend_from_slice(&bytes[..count]);
        }
        said.send(String::from_utf8_lossy(&all).into_owned()).ok();
    });
    let said = heard.recv_timeout(Duration::from_mins(1));
    // It may have ended already.
    child.kill().ok();
    child.wait().unwrap();
    said.expect("the script ends")
}

#[test]
fn a_command_under_a_lock_has_the_terminal_and_whoever_ran_it_has_it_again_afterwards() {
    let (agents, _kept) = voters();
    let script = r#"
        "$RUMOR" lock deploy -- sh -c 'read line; echo "under the lock: $line"'
        read line; echo "after it: $line"
        "$RUMOR" lock deploy -- sh -c 'kill -STOP $$; echo "goes on"'
        "$RUMOR" lock deploy -- sh -c 'exit 7'; echo "ended with $?""#;
    let said = on_a_terminal(&agents[0], script, "one\ntwo\n");
    for line in ["under the lock: one", "after it: two", "goes on", "ended with 7"] {
        assert!(said.contains(line), "{line:?} is missing:\n{said}");
    }
}

#[test]
fn whoever_joins_an_election_with_the_usual_settings_is_told_since_when_somebody_leads() {
    let (agents, _kept) = voters();
    let elect = |agent: &Agent| {
        let mut command = agent.command(&["--json", "elect", "primary"]);
        command.stderr(Stdio::null());
        Lines::of(command)
    };
    let leads = |name: &'static str| {
        move |line: &serde_json::Value| line["leader"].as_str().is_some_and(|it| it.starts_with(name))
    };
    let first = elect(&agents[0]);
    let told = first.wait_for("a leads", leads("a/"));
    let lasts = |line: &serde_json::Value| line["lease_until"].as_f64().unwrap() - line["since"].as_f64().unwrap();
    assert!((lasts(&told) - 10.0).abs() < 0.001, "{told}");
    let watching = elect(&agents[1]);
    watching.wait_for("b hears that a leads", leads("a/"));
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let second = elect(&agents[1]);
    let told = second.next();
    assert!(leads("a/")(&told) && told["since"].as_f64().unwrap() <= before, "{told} was asked at {before}");
    drop(watching);
    first.signal("TERM");
    first.wait_for_end();
    second.wait_for("b leads", leads("b/"));
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
