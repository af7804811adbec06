//! The laboratory of an agent, over HTTP: what it tells of a run, what it refuses, and that it stops when nobody listens.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Agent, run, text};

/// Nobody is kept waiting that long unless the test fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// A run for which every machine takes many seconds.
fn endless() -> Value {
    json!({ "nodes": 100_000, "mode": "push", "loss": 0.99, "runs": 100 })
}

fn open() -> Agent {
    Agent::start("n1", &["--lab"])
}

/// An answer that is being read.
struct Answer {
    status: u16,
    body: BufReader<TcpStream>,
}

/// A named event, or `""`, and its document.
type Event = (String, Value);

fn order(agent: &Agent, study: &str, flags: &Value) -> Answer {
    let mut connection = TcpStream::connect(agent.http.strip_prefix("http://").unwrap()).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = flags.to_string();
    let head = format!("POST /v1/lab/{study} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json");
    write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut body = BufReader::new(connection);
    let mut line = String::new();
    body.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line.trim() != "" {
        line.clear();
        body.read_line(&mut line).unwrap();
    }
    Answer { status, body }
}

/// Asks again and again until the place is free.
fn order_in_turn(agent: &Agent, study: &str, flags: &Value) -> Answer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = order(agent, study, flags);
        if answer.status == 200 {
            return answer;
        }
        assert!(Instant::now() < deadline, "{:?}", answer.problem());
    }
}

impl Answer {
    /// `None` at the end.
    fn next(&mut self) -> Option<Event> {
        let (mut name, mut document) = (String::new(), None);
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(word) = line.strip_prefix("event: ") {
                word.trim().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                document = Some(serde_json::from_str(data).unwrap());
            } else if let Some(document) = document.take() {
                return Some((name, document));
            }
        }
    }

    fn rest(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn problem(mut self) -> (u16, Value) {
        let mut body = String::new();
        self.body.read_to_string(&mut body).unwrap();
        (self.status, serde_json::from_str(&body).unwrap())
    }
}

/// A document without what depends on the machine.
fn of_seed(mut document: Value) -> Value {
    for key in ["elapsed", "events_per_second", "memory_per_node"] {
        if let Some(value) = document.get_mut(key) {
            value.take();
        }
    }
    document
}

/// The document of the command line that an agent told.
fn document_of(command: &Value) -> Value {
    let words: Vec<&str> = command.as_str().unwrap().split(' ').collect();
    let output = run(&[&words[1..], &["--json"]].concat());
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    serde_json::from_str(&text(&output.stdout)).unwrap()
}

#[test]
fn a_run_tells_how_far_it_is_and_ends_with_the_document_of_its_command_line() {
    let agent = open();
    assert_eq!(agent.ask(&["info"])["lab"], true);

    let flags = json!({ "nodes": 2_000, "mode": "push", "loss": 0.1, "runs": 3, "seed": 7 });
    let events = order(&agent, "spread", &flags).rest();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let told = names.len() - 2;
    assert_eq!((names[0], names[names.len() - 1]), ("started", ""), "{names:?}");
    assert!(told > 0 && names[1..=told].iter().all(|name| *name == "progress"), "{names:?}");
    let (started, progress, document) = (&events[0].1, &events[told].1, &events[told + 1].1);
    assert_eq!((&progress["run"], &progress["runs"]), (&json!(3), &json!(3)));
    let known = progress["known"].as_array().unwrap();
    assert!(known[0] == 0.0005 && known.last().unwrap() == 1.0 && known.len() > 10, "{known:?}");
    let drawn = document["theory"].as_array().unwrap();
    assert!(drawn.iter().zip(started["theory"].as_array().unwrap()).all(|(one, other)| one == other));
    assert_eq!(of_seed(document.clone()), of_seed(document_of(&started["command"])));

    let flags =
        json!({ "nodes": 20, "duration": "4s", "loss": 0.05, "publish": ["3:64@2s"], "fault": ["crash:0.2@3s"] });
    let events = order(&agent, "run", &flags).rest();
    let [(_, started), .., (last, progress), (name, document)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((last.as_str(), name.as_str()), ("progress", ""));
    assert_eq!((&progress["at"], &progress["until"]), (&json!(4.0), &json!(4.0)));
    let (heard, hops) = (progress["heard"].as_array().unwrap(), progress["hops"].as_array().unwrap());
    assert!(
        heard.len() > 30 && heard.iter().is_sorted_by_key(|point| point[1].as_f64().unwrap().to_bits()),
        "{heard:?}"
    );
    assert_eq!(hops.last(), heard.last().map(|point| &point[1]));
    assert!(started["theory"].as_array().unwrap().len() > 2, "{started}");
    assert_eq!(document["messages"].as_array().unwrap().len(), 3);
    assert_eq!(of_seed(document.clone()), of_seed(document_of(&started["command"])));
    assert_eq!(document["trace_hash"], document_of(&document["replay"])["trace_hash"]);
}

#[test]
fn one_run_at_a_time_has_the_place_until_nobody_listens() {
    let agent = open();
    let mut first = order(&agent, "spread", &endless());
    assert_eq!(first.next().unwrap().0, "started");
    assert_eq!(first.next().unwrap().0, "progress");
    let (status, problem) = order(&agent, "run", &json!({})).problem();
    assert_eq!((status, &problem["code"]), (409, &json!("busy")));
    assert!(problem["detail"].as_str().unwrap().contains("another page"), "{problem}");
    // The agent itself goes on meanwhile.
    assert_eq!(agent.ask(&["put", "key", "value"])["key"], "key");
    drop(first);
    // What is gone frees its place, and what was given up within the virtual network too.
    let mut second = order_in_turn(&agent, "run", &json!({ "nodes": 200, "start": "joined", "duration": "10m" }));
    assert_eq!(second.next().unwrap().0, "started");
    assert_eq!(second.next().unwrap().0, "progress");
    drop(second);
    let events = order_in_turn(&agent, "spread", &json!({ "nodes": 10 })).rest();
    assert_eq!(events.last().unwrap().0, "");
    agent.until("nothing runs", |agent| agent.metrics().contains("rumor_held_entries{what=\"lab_runs\"} 0"));
}

#[test]
fn what_makes_no_sense_or_is_too_much_is_refused_with_field_value_and_rule() {
    let agent = open();
    for (study, flags, field, value) in [
        ("spread", json!({ "nodes": "many" }), "nodes", "many"),
        ("spread", json!({ "fanout": 0 }), "fanout", "0"),
        ("spread", json!({ "loss": -0.1 }), "loss", "-0.1"),
        ("spread", json!({ "stop": "later" }), "stop", "later"),
        ("spread", json!({ "nodes": 1_000_001 }), "nodes", "1000001"),
        ("spread", json!({ "runs": 101 }), "runs", "101"),
        ("spread", json!({ "plot": "/tmp/plot.svg" }), "plot", "/tmp/plot.svg"),
        ("run", json!({ "scenario": "/etc/passwd" }), "scenario", "/etc/passwd"),
        ("run", json!({ "nodes": 2_001 }), "nodes", "2001"),
        ("run", json!({ "duration": "11m" }), "duration", "11m"),
        ("run", json!({ "mode": "shout" }), "mode", "shout"),
        ("run", json!({ "fault": ["explode:n1@2s"] }), "fault", "explode:n1@2s"),
    ] {
        let (status, problem) = order(&agent, study, &flags).problem();
        assert_eq!((status, &problem["field"], &problem["value"]), (422, &json!(field), &json!(value)), "{problem}");
        let said = format!("{field} is {value}, must be {}", problem["rule"].as_str().unwrap());
        assert_eq!(problem["detail"], said);
    }
    assert_eq!(order(&agent, "spread", &json!([1])).problem().0, 422);
}

#[test]
fn an_agent_without_the_flag_has_no_laboratory() {
    let agent = Agent::start("n1", &[]);
    assert_eq!(agent.ask(&["info"])["lab"], false);
    let (status, problem) = order(&agent, "spread", &json!({})).problem();
    assert_eq!((status, &problem["code"]), (409, &json!("no_lab")));
    assert!(problem["detail"].as_str().unwrap().contains("--lab"), "{problem}");
}
