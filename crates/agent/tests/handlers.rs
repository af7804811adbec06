//! `[[on]]`: commands that an agent runs when something happens.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Agent, HASTY, run, until_all_know_all, words};
use tempfile::TempDir;

/// So large that a few messages fill the queue of a command.
const PAYLOAD_BYTES: usize = 1 << 19;
/// Messages for which there is no room in it.
const BEYOND: u64 = 8;

/// An agent with these entries, and a directory that they name `{}`.
fn agent(name: &str, entries: &str, more: &[&str]) -> (Agent, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("rumor.toml");
    fs::write(&config, entries.replace("{}", directory.path().to_str().unwrap())).unwrap();
    let agent = Agent::start(name, &[&["--config", config.to_str().unwrap()], more].concat());
    (agent, directory)
}

/// Waits until a file has that many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{count} lines of {}: {found:?}", path.display());
        std::thread::yield_now();
    }
}

fn file(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

#[test]
fn a_command_is_told_what_happened_to_whom() {
    let entries = r#"
[[on]]
events = ["joined", "failed"]
tags = { role = "db" }
command = 'echo "$RUMOR_EVENT $RUMOR_MEMBER $RUMOR_MEMBER_ID $RUMOR_MEMBER_ADDRESS" >> {}/told; cat >> {}/documents'

[[on]]
topic = "deploy"
command = 'echo "$RUMOR_TOPIC $RUMOR_ORIGIN $RUMOR_SEQUENCE $(cat)" >> {}/messages'
"#;
    let (first, directory) = agent("n1", entries, &HASTY);
    let mut other = Agent::join("n2", &first, &[&["--tag", "role=web"], &HASTY[..]].concat());
    let mut database = Agent::join("n3", &first, &[&["--tag", "role=db"], &HASTY[..]].concat());
    let told = file(&directory, "told");
    let of = |event: &str, agent: &Agent| format!("{event} {} {} {}", agent.name, agent.id, agent.gossip);
    assert_eq!(lines(&told, 1), [of("joined", &database)]);
    let published = database.ask(&["publish", "deploy", "v2"]);
    let sequence = published["sequence"].as_str().unwrap();
    assert_eq!(lines(&file(&directory, "messages"), 1), [format!("deploy n3 {sequence} v2")]);
    other.process.kill();
    database.process.kill();
    assert_eq!(lines(&told, 2)[1], of("failed", &database));
    let document = &lines(&file(&directory, "documents"), 2)[1];
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!((&document["event"], &document["member"]["state"]), (&"failed".into(), &"dead".into()));
}

/// Whether any process of a group runs; whoever was killed is one until it is waited for.
fn group_lives(group: &str) -> bool {
    let stats =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("stat")).ok());
    stats.into_iter().any(|stat| {
        let of_process: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        of_process[2] == group && of_process[0] != "Z"
    })
}

#[test]
fn a_command_that_never_ends_is_ended_with_all_that_it_started_and_the_next_one_runs() {
    let entries = r#"
[[on]]
topic = "deploy"
command = 'echo "$$ $(cat)" >> {}/begun; trap "" TERM; sleep 600 & wait; sleep 600'
timeout = "200ms"
"#;
    let (agent, directory) = agent("n1", entries, &[]);
    for message in ["one", "two"] {
        agent.ask(&["publish", "deploy", message]);
    }
    let begun = lines(&file(&directory, "begun"), 2);
    let [first, second] = [0, 1].map(|place: usize| begun[place].split_once(' ').unwrap());
    assert_eq!((first.1, second.1), ("one", "two"));
    let lives = || group_lives(first.0);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let metrics = agent.http("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        if metrics.contains("rumor_handlers_total{outcome=\"timed_out\"} 2") && !lives() {
            break;
        }
        assert!(Instant::now() < deadline, "of the first something is left: {}; {metrics}", lives());
    }
}

/// What the metrics say of one series.
fn sample(agent: &Agent, series: &str) -> u64 {
    let page = agent.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in\n{page}")).trim_end_matches(".0").parse().unwrap()
}

/// Publishes a message on a topic; gives its sequence.
fn publish(agent: &Agent, topic: &str, payload: &str) -> Value {
    let head = format!(
        "POST /v1/topics/{topic} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}",
        payload.len()
    );
    let mut sequence = Value::Null;
    agent.until("a message is taken", |agent| {
        let answer = agent.http(&format!("{head}\r\n\r\n{payload}"));
        let (head, document) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 429"), "{answer}");
        sequence = serde_json::from_str::<Value>(document).unwrap()["sequence"].clone();
        head.starts_with("HTTP/1.1 200")
    });
    sequence
}

#[test]
fn what_waits_for_a_command_that_hangs_is_bounded_and_counted_and_slows_nobody() {
    let entries = r#"
[[on]]
topic = "deploy"
command = 'echo begun >> {}/begun; test -e {}/open || cat {}/gate'
timeout = "1h"
"#;
    let (first, directory) = agent("n1", entries, &[]);
    let gate = file(&directory, "gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let second = Agent::join("n2", &first, &[]);
    until_all_know_all(&[&first, &second]);
    let news = second.follow(&["subscribe", "deploy", "--history", "1"]);
    let payload = "x".repeat(PAYLOAD_BYTES);
    let publish = || {
        let sequence = publish(&first, "deploy", &payload);
        assert_eq!(news.next()["sequence"], sequence, "it comes although a command hangs");
    };
    publish();
    lines(&file(&directory, "begun"), 1);
    let bytes =
        |family: &str| sample(&first, &format!("rumor_{family}_bytes{{what=\"messages_of_one_subscription\"}}"));
    let room = bytes("capacity").div_ceil(PAYLOAD_BYTES as u64);
    let sent = 1 + room + BEYOND;
    for _ in 1..sent {
        publish();
    }
    assert_eq!(bytes("held"), room * PAYLOAD_BYTES as u64);

    let outcome = |name: &str| sample(&first, &format!("rumor_handlers_total{{outcome=\"{name}\"}}"));
    assert_eq!(outcome("done"), 0, "the first goes on");
    fs::write(file(&directory, "open"), "").unwrap();
    drop(fs::File::options().write(true).open(&gate).unwrap());
    first.until("what waited is done", |_| outcome("done") + outcome("dropped") == sent);
    assert_eq!(outcome("dropped"), BEYOND);
    for (agent, other) in [(&first, &second), (&second, &first)] {
        let why = agent.ask(&["why", &other.name]);
        let steps = why["steps"].as_array().unwrap();
        let is_doubt =
            |step: &&Value| ["suspected", "accused", "doubted", "failed"].iter().any(|word| step["what"] == *word);
        assert_eq!(steps.iter().find(is_doubt), None, "at {}", agent.name);
    }
}

#[test]
fn an_entry_that_could_never_run_is_refused_by_its_place_and_field() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(&directory, "rumor.toml");
    fs::write(&config, "[[on]]\nevents = [\"died\"]\ncommand = \"true\"\n").unwrap();
    let (code, _, err) = words(&run(&["config", "check", config.to_str().unwrap()]));
    assert!(code == 2 && err.contains("on[0].events is died, must be joined"), "{code}: {err}");
    fs::write(&config, "[[on]]\ntopic = \"deploy.*\"\ncommand = \"true\"\n").unwrap();
    let (code, _, err) = words(&run(&["config", "check", config.to_str().unwrap()]));
    assert!(code == 2 && err.contains("on[0].topic is \"deploy.*\", must be 1 to 255 bytes"), "{code}: {err}");
    fs::write(&config, "[[on]]\nevent = \"failed\"\ncommand = \"true\"\n").unwrap();
    let (code, _, err) = words(&run(&["config", "check", config.to_str().unwrap()]));
    assert!(code == 2 && err.contains("event"), "{code}: {err}");
}
