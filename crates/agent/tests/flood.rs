//! A minute of hostile datagrams, as fast as one core can make them: half of them from somebody who has the key, half garbage.
//! The agents stay small, take each other for alive, and their messages arrive.
//!
//! `cargo test --release -p rumormill-agent --test flood -- --nocapture` shows the figures.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

#[path = "flood/hostile.rs"]
mod hostile;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hostile::{Flood, Sent};
use rumormill::Keyring;
use serde_json::Value;
use support::{Agent, Lines, run, until_all_know_all};

const FLOOD: Duration = Duration::from_mins(1);

/// How long after the flood the last message may take: a node that had no room for it looks for it again after a minute.
const LAST_MESSAGE_MAX: Duration = Duration::from_mins(2);

/// What half of the deliveries may take meanwhile: some rounds of gossip, on a machine that is busy with the flood.
const MEDIAN_MAX: Duration = Duration::from_secs(2);

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
    let before: Vec<Resident> = agents.iter().map(|agent| resident(agent)).collect();

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
    assert!(published > 0);

    let deadline = Instant::now() + LAST_MESSAGE_MAX;
    let delays: Vec<Vec<f64>> = news.iter().map(|news| delays(news, published, deadline)).collect();
    let after: Vec<Resident> = agents.iter().map(|agent| resident(agent)).collect();
    let accused: Vec<usize> = agents.iter().map(|agent| accused(agent, &agents)).collect();
    let each = agents.iter().zip(&accused).zip(before.iter().zip(&after));
    let figures = [
        about_datagrams(&sent),
        each.map(|((agent, accused), resident)| about(agent, *accused, resident)).collect(),
        about_messages((published, refused), delays.concat()),
    ];
    println!("\n{}", figures.concat());
    let counts: Vec<usize> = delays.iter().map(Vec::len).collect();
    assert_eq!(counts, [published; 5], "all that was published comes to all");
    assert_eq!(accused, [0; 5], "nobody holds an honest member for dead, whatever is said of it");
    assert!(median(delays.concat()) < MEDIAN_MAX.as_secs_f64(), "honest messages are held up");
    for (agent, resident) in agents.iter().zip(after) {
        assert!(resident.peak < RESIDENT_BYTES_MAX, "{} held {} bytes", agent.name, resident.peak);
        assert!(received(agent) > 0 && sent.sealed > 0 && sent.garbage > 0);
    }
    for agent in &agents {
        agent.until("all alive", |agent| agents.iter().all(|other| state(agent, other) == "alive"));
    }
}

/// Which delays the messages had that an agent received until then, of so many.
fn delays(news: &Lines, published: usize, deadline: Instant) -> Vec<f64> {
    let delay = |message: Value| {
        let at = |key: &str| message[key].as_f64().unwrap();
        at("received_at") - at("published_at")
    };
    (0..published).map_while(|_| news.next_until(deadline)).map(delay).collect()
}

/// Half of the deliveries took no longer.
fn median(mut delays: Vec<f64>) -> f64 {
    delays.sort_by(f64::total_cmp);
    delays[delays.len() / 2]
}

/// How often an agent said that one of these failed, or was removed.
fn accused(agent: &Agent, honest: &[&Agent]) -> usize {
    let is_honest = |event: &Value| honest.iter().any(|other| event["member"]["id"] == *other.id);
    agent
        .process
        .so_far()
        .iter()
        .filter(|event| (event["event"] == "failed" || event["event"] == "removed") && is_honest(event))
        .count()
}

fn state(agent: &Agent, other: &Agent) -> String {
    let members = agent.ask(&["members"]);
    let found = members.as_array().unwrap().iter().find(|member| member["id"] == *other.id);
    found.map_or_else(String::new, |member| member["state"].as_str().unwrap().to_owned())
}

fn received(agent: &Agent) -> u64 {
    agent.ask(&["info"])["received"]["datagrams"].as_u64().unwrap()
}

/// How much memory a process has in bytes, and had at most.
struct Resident {
    now: u64,
    peak: u64,
}

fn resident(agent: &Agent) -> Resident {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.process.child.id())).unwrap();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    };
    Resident { now: bytes("VmRSS:"), peak: bytes("VmHWM:") }
}

fn about_datagrams(sent: &Sent) -> String {
    let (seconds, total) = (sent.took.as_secs_f64(), sent.sealed + sent.garbage);
    format!(
        "sent in {seconds:.0} s: {} sealed ({} a second), {} garbage ({} a second), {} a second in all\n",
        sent.sealed,
        sent.rate(sent.sealed),
        sent.garbage,
        sent.rate(sent.garbage),
        sent.rate(total),
    )
}

fn about(agent: &Agent, accused: usize, (before, after): (&Resident, &Resident)) -> String {
    let (mebibytes, info) = (|bytes: u64| bytes >> 20, agent.ask(&["info"]));
    let mut text = format!("{}: took in {}; ", agent.name, received(agent));
    write!(
        text,
        "resident {} MiB before, {} MiB after, {} MiB at most; ",
        mebibytes(before.now),
        mebibytes(after.now),
        mebibytes(after.peak)
    )
    .unwrap();
    writeln!(text, "honest members said to have failed: {accused}").unwrap();
    writeln!(text, "    not opened: {}", info["unsealed"]).unwrap();
    writeln!(text, "    opened and dropped: {}", info["dropped"]).unwrap();
    text
}

fn about_messages((published, refused): (usize, usize), mut delays: Vec<f64>) -> String {
    delays.sort_by(f64::total_cmp);
    let at = |part: usize| delays[(delays.len() - 1) * part / 100] * 1e3;
    format!(
        "{published} messages published, {refused} times told to try again; {} deliveries: median {:.1} ms, 99 % {:.1} ms, worst {:.1} ms\n",
        delays.len(),
        at(50),
        at(99),
        at(100)
    )
}
