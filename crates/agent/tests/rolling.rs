//! An upgrade of a cluster under load: one agent after the other is started anew, and nothing is lost.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use support::{Agent, Lines, run, until_all_know_all};
use tempfile::TempDir;

const AGENTS: usize = 5;
/// The time from one message and write of an agent to the next, about.
const PACE: Duration = Duration::from_millis(20);
/// All messages of this test are kept; else the settings are those that every agent has.
const SETTINGS: [&str; 2] = ["--set", "history_count=100000"];

/// What one agent said yes to.
#[derive(Debug, Default)]
struct Accepted {
    messages: BTreeSet<String>,
    keys: BTreeSet<String>,
}

/// Publishes and writes at one agent, wherever that is reached, until it is told to end.
struct Load {
    target: Arc<Mutex<Option<String>>>,
    end: Sender<()>,
    worker: JoinHandle<Accepted>,
}

impl Load {
    fn start(name: String) -> Self {
        let (end, ending) = channel();
        let target = Arc::new(Mutex::new(None));
        let of_worker = Arc::clone(&target);
        let worker = thread::spawn(move || work(&name, &of_worker, &ending));
        Self { target, end, worker }
    }

    /// Where the agent is now; nothing is under way when this returns.
    fn aim(&self, http: Option<&str>) {
        *self.target.lock().unwrap() = http.map(ToOwned::to_owned);
    }

    fn end(self) -> Accepted {
        self.end.send(()).unwrap();
        self.worker.join().unwrap()
    }
}

fn work(name: &str, target: &Mutex<Option<String>>, ending: &Receiver<()>) -> Accepted {
    let mut accepted = Accepted::default();
    for number in 0_u64.. {
        if ending.recv_timeout(PACE) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            break;
        }
        let target = target.lock().unwrap();
        let Some(http) = target.as_deref() else { continue };
        let word = format!("{name}-{number}");
        if is_accepted(http, "POST /v1/topics/load HTTP/1.1", &word) {
            accepted.messages.insert(word.clone());
        }
        if is_accepted(http, &format!("PUT /v1/data/load/{word} HTTP/1.1"), &word) {
            accepted.keys.insert(format!("load/{word}"));
        }
    }
    accepted
}

/// Whether an agent says yes. One that is not there, or ends before it has answered, does not.
fn is_accepted(http: &str, head: &str, body: &str) -> bool {
    let length = body.len();
    let request = format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut answer = String::new();
    let asked = TcpStream::connect(http.strip_prefix("http://").unwrap()).and_then(|mut connection| {
        connection.write_all(request.as_bytes())?;
        connection.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}

/// The key of the cluster: agents of an upgrade are sealed, as those of any cluster of machines are.
struct Key {
    file: String,
    _directory: TempDir,
}

impl Key {
    fn new() -> Rc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key").display().to_string();
        assert!(run(&["keygen", &file]).status.success());
        Rc::new(Self { file, _directory: directory })
    }
}

/// One of the agents through its lives, with its directory and who listens to its first one.
struct Machine {
    agent: Agent,
    directory: TempDir,
    key: Rc<Key>,
    load: Load,
    subscriber: Option<Lines>,
}

impl Machine {
    fn start(number: usize, key: &Rc<Key>, contact: Option<&Agent>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("n{number}");
        let agent = life(&name, &directory, key, contact);
        let subscriber = agent.follow(&["subscribe", "load", "--history", "100000"]);
        Self { agent, directory, key: Rc::clone(key), load: Load::start(name), subscriber: Some(subscriber) }
    }

    /// Ends the agent as an upgrade does, and starts it again, without a contact, while others go on. It has heard in their
    /// order all messages that came before, of each life of their origins.
    fn restart(&mut self, is_under_way: bool) {
        if !is_under_way {
            self.load.aim(None);
        }
        self.agent.process.signal("TERM");
        self.agent.process.child.wait().unwrap();
        for event in self.agent.process.rest() {
            assert_ne!(event["event"], "failed", "{event}");
        }
        for line in self.subscriber.take().iter().flat_map(Lines::rest) {
            assert!(line["missed"].is_null(), "{} missed messages: {line}", self.agent.name);
        }
        let name = self.agent.name.clone();
        self.agent = life(&name, &self.directory, &self.key, None);
        self.load.aim(Some(&self.agent.http));
    }
}

/// What of these messages an agent does not have. What was published before an agent was there, by an earlier life of its origin,
/// may come after what a later one published: then it is in the history, and whoever listens hears that it was missed.
fn lacking<'a>(agent: &Agent, messages: &'a BTreeSet<String>) -> BTreeSet<&'a String> {
    let end = agent.ask(&["publish", "load", "the end"])["sequence"].clone();
    let history = agent.follow(&["subscribe", "load", "--history", "100000"]);
    let mut lacking: BTreeSet<&String> = messages.iter().collect();
    history.wait_for("the end of the history", |line| {
        lacking.retain(|message| line["payload"] != message.as_str());
        line["sequence"] == end && line["origin"] == agent.name.as_str()
    });
    lacking
}

fn life(name: &str, directory: &TempDir, key: &Key, contact: Option<&Agent>) -> Agent {
    let mut arguments = vec!["--key-file", &key.file, "--data-dir", directory.path().to_str().unwrap()];
    arguments.extend(contact.iter().flat_map(|contact| ["--join", &contact.gossip]));
    Agent::start(name, &[&arguments[..], &SETTINGS].concat())
}

/// Waits for an event on an agent's stream; nobody fails meanwhile.
fn wait_for(agent: &Agent, what: &str, mut is_it: impl FnMut(&Value) -> bool) {
    agent.process.wait_for(what, |line| {
        assert_ne!(line["event"], "failed", "at {}: {line}", agent.name);
        is_it(line)
    });
}

#[test]
fn five_agents_under_load_are_started_anew_one_by_one_and_nothing_is_lost() {
    let key = Key::new();
    let mut machines: Vec<Machine> = Vec::new();
    for number in 1..=AGENTS {
        let contact = machines.first().map(|machine| &machine.agent);
        machines.push(Machine::start(number, &key, contact));
    }
    until_all_know_all(&machines.iter().map(|machine| &machine.agent).collect::<Vec<_>>());
    for Machine { agent, load, .. } in &machines {
        load.aim(Some(&agent.http));
    }

    for place in 0..AGENTS {
        // Some are asked for something in the moment in which they end: what they did not say yes to may be lost.
        machines[place].restart(place % 2 == 1);
        let back = &machines[place].agent;
        let others: Vec<&Agent> =
            machines.iter().map(|other| &other.agent).filter(|other| other.id != back.id).collect();
        for other in &others {
            wait_for(other, "the next life of the agent", |line| {
                line["member"]["id"] == back.id.as_str() && line["member"]["incarnation"] == "2"
            });
        }
        let mut missing: BTreeSet<&str> = others.iter().map(|other| &*other.id).collect();
        wait_for(back, "all who were there", |line| {
            if line["event"] == "joined" {
                missing.remove(line["member"]["id"].as_str().unwrap());
            }
            missing.is_empty()
        });
    }

    let (mut messages, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut running = Vec::new();
    for Machine { agent, directory, load, .. } in machines {
        let accepted = load.end();
        assert!(!accepted.messages.is_empty() && !accepted.keys.is_empty(), "{} took nothing", agent.name);
        messages.extend(accepted.messages);
        keys.extend(accepted.keys);
        running.push((agent, directory));
    }
    for (agent, _) in &running {
        agent.until("every message", |agent| lacking(agent, &messages).is_empty());
        agent.until("every key", |agent| {
            let held = agent.ask(&["list", "load/", "--keys-only"]);
            let held = held.as_array().unwrap().iter().filter_map(Value::as_str);
            held.filter(|key| keys.contains(*key)).count() == keys.len()
        });
        agent.ask(&["tags", "set", "all=there"]);
        wait_for(agent, "its own tag", |line| {
            line["member"]["tags"]["all"] == "there" && line["member"]["self"] == true
        });
    }
}

#[test]
fn a_large_message_that_nobody_has_heard_of_does_not_go_with_its_agent() {
    let key = Key::new();
    let settings = [&SETTINGS[..], &["--key-file", &key.file, "--allow-faults"]].concat();
    let other = Agent::start("n1", &settings);
    let mut publisher = Agent::join("n2", &other, &settings);
    until_all_know_all(&[&other, &publisher]);
    // No announcement arrives.
    publisher.ask(&["fault", "loss", "1"]);
    let large = "x".repeat(5_000);
    publisher.ask(&["publish", "load", &large]);
    publisher.process.signal("TERM");
    publisher.process.child.wait().unwrap();
    let history = other.follow(&["subscribe", "load", "--history", "1"]);
    history.wait_for("what was said yes to", |line| line["payload"] == large.as_str());
}
