//! `[[on]]`: commands that an agent runs when something happens.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::{Agent, HASTY, run, words};
use tempfile::TempDir;

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
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
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
