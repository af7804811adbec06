//! Caps are reached, and not passed: each case fills something of a node beyond its cap, by what applications and peers can do.
//! What is bounded and in no case here is filled in `src/limits/tests.rs` or beside its code.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "caps/agreement.rs"]
mod agreement;
#[path = "caps/signed.rs"]
mod signed;
#[path = "support/signing.rs"]
mod signing;
#[path = "caps/streams.rs"]
mod streams;
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rumormill_core::config::TreeUse;
use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::limits::{Limit, Limits};
use rumormill_core::{Config, ConfigBuilder, Event, Identity, Input, Node, NodeId, Now, Output, Refusal, Tags};
use support::{
    HEADER, acquaint, acquainted, address, carrying, drain, frame, is_ping, next_datagram, node, now, partial, varint,
};

fn level(limits: &Limits, what: &str) -> Limit {
    *limits.iter().find(|limit| limit.what == what).unwrap_or_else(|| panic!("{what} is no limit"))
}

/// Takes steps until half as many again were taken as there is room for: the cap is reached, and at no step passed.
fn fill(node: &mut Node, what: &str, mut step: impl FnMut(&mut Node, u64)) {
    let most = level(&node.limits(), what).most;
    let mut highest = 0;
    for number in 1..=most + most / 2 + 2 {
        step(node, number);
        let held = level(&node.limits(), what).held;
        assert!(held <= most, "{what}: {held} of {most} after {number} steps");
        highest = highest.max(held);
    }
    assert_eq!(highest, most, "{what} is never full");
}

/// What the application asks for, later than anything a peer says; why it was refused, where it was.
fn ask(node: &mut Node, number: u64, command: Command) -> Option<Refusal> {
    let ticket = Ticket(number);
    node.handle_input(now(5_000), Input::Command { ticket, command });
    let refusal = |output| match output {
        Output::Event(Event::Done { ticket: done, result: Err(refusal) }) if done == ticket => Some(refusal),
        Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } => None,
    };
    drain(node).into_iter().find_map(refusal)
}

/// A node alone, with these settings.
fn alone(config: ConfigBuilder) -> Node {
    let mut node = node(1, config.build().expect("valid settings"));
    drain(&mut node);
    node
}

/// What a peer sends in the envelope of a datagram that it sent in earnest.
struct Peer {
    envelope: Vec<u8>,
    when: Now,
}

impl Peer {
    /// A node, and a peer that it knows and that knows it.
    fn of(config: fn() -> Config) -> (Node, Self) {
        let (node, mut peer) = acquainted(config);
        (node, Self::of_datagram(next_datagram(&mut peer, is_ping)))
    }

    fn of_datagram((bytes, when): (Vec<u8>, Now)) -> Self {
        Self { envelope: bytes[..=HEADER].to_vec(), when }
    }

    /// The same in the name of another.
    fn send_as(&self, to: &mut Node, sender: NodeId, frame: &[u8]) {
        let mut envelope = self.envelope.clone();
        envelope[4..12].copy_from_slice(&sender.0.to_le_bytes());
        Self { envelope, when: self.when }.send(to, frame);
    }

    fn send(&self, to: &mut Node, frame: &[u8]) {
        drop(self.asks_to_store(to, frame));
    }

    /// The keys of the records that the node asks its disk to store then.
    fn asks_to_store(&self, to: &mut Node, frame: &[u8]) -> Vec<Vec<u8>> {
        let bytes = [&self.envelope[..], frame].concat();
        to.handle_input(self.when, Input::Datagram { from: address(2), bytes: &bytes });
        let records = |output| match output {
            Output::Persist { records, .. } => records,
            Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } => Vec::new(),
        };
        drain(to).into_iter().flat_map(records).map(|record| record.key).collect()
    }
}

#[test]
fn questions_and_gauges_of_the_application() {
    let (mut node, _) = acquainted(Config::default);
    let mut refused = 0;
    fill(&mut node, "questions_asked", |node, number| {
        let (name, payload, timeout) = ("load".to_owned(), Vec::new(), Duration::from_mins(1));
        let query = Command::Query { name, payload, filter: Tags::new(), nearest: None, timeout };
        match ask(node, number, query) {
            Some(Refusal::QuestionsWaiting { waiting: 1_024 }) => refused += 1,
            refusal => assert_eq!(refusal, None),
        }
    });
    assert_eq!(refused, 514);
    fill(&mut node, "gauges", |node, number| {
        drop(ask(node, number, Command::SetGauge { name: format!("g{number}"), value: Some(1.0) }));
    });
}

#[test]
fn epochs_of_gauges_and_commands_that_wait_for_one() {
    let aggregate = |gauge: String| Command::Aggregate { gauge, quantile: None };
    let (mut node, _) = acquainted(Config::default);
    fill(&mut node, "epochs_of_gauges", |node, number| drop(ask(node, number, aggregate(format!("g{number}")))));
    let (mut node, _) = acquainted(Config::default);
    fill(&mut node, "commands_for_one_epoch", |node, number| drop(ask(node, number, aggregate("load".to_owned()))));
}

#[test]
fn messages_beyond_what_may_be_published_here() {
    let mut node = alone(ConfigBuilder {
        payload_bytes_max: 1_000,
        history_bytes: 2_100,
        messages_bytes_max: 20_000,
        ..ConfigBuilder::lan()
    });
    let mut full = 0;
    for number in 0..100 {
        let publish = Command::Publish { topic: format!("t{number}"), payload: vec![0; 1_000] };
        full += u64::from(matches!(ask(&mut node, number, publish), Some(Refusal::Full { .. })));
        let Limit { held, most, .. } = level(&node.limits(), "messages");
        assert!(held <= most && most == 40_000, "{held} of {most}");
    }
    assert!(full > 0);
}

#[test]
fn streams_of_strangers() {
    let mut node = alone(ConfigBuilder { streams_max: 16, ..ConfigBuilder::lan() });
    fill(&mut node, "streams", |node, number| {
        let stream = StreamId(2 * number + 1);
        node.handle_input(now(10), Input::StreamOpened { stream, from: address(9) });
        drain(node);
    });
    assert!(node.counters().dropped.streams > 0);
}

#[test]
fn hot_updates() {
    let (mut node, _) =
        acquainted(|| ConfigBuilder { hot_max: 64, tree: TreeUse::Never, ..ConfigBuilder::lan() }.build().unwrap());
    let publish = || Command::Publish { topic: "t".to_owned(), payload: Vec::new() };
    let mut refused = 0;
    fill(&mut node, "hot_updates", |node, number| refused += u64::from(ask(node, number, publish()).is_some()));
    assert!(refused > 0, "own publications are refused");
}

#[test]
fn changes_that_are_kept_for_watchers() {
    let mut node = alone(ConfigBuilder { watch_changes: 20, ..ConfigBuilder::lan() });
    fill(&mut node, "changes", |node, number| assert_eq!(ask(node, number, put(number)), None));
}

fn put(number: u64) -> Command {
    let put = Write::new(format!("k{number}"), Edit::Put { value: Vec::new(), ttl: None });
    Command::Write { writes: vec![put], replicas: 0, timeout: Duration::from_secs(5) }
}

#[test]
fn data_beyond_what_may_be_written_here() {
    let mut node = alone(ConfigBuilder { value_bytes_max: 1_024, data_bytes_max: 20_000, ..ConfigBuilder::lan() });
    let mut full = 0;
    for number in 0..400 {
        full += u64::from(matches!(ask(&mut node, number, put(number)), Some(Refusal::DataFull { .. })));
        let Limit { held, most, .. } = level(&node.limits(), "data");
        assert!(held <= most / 4 && most == 80_000, "{held} of {most}");
    }
    assert!(full > 0);
}

/// A node whose disk took its boot and takes nothing more.
fn with_a_hung_disk(config: ConfigBuilder) -> Node {
    let identity = Identity { durable: true, ..Identity::new(NodeId(9), "n9", address(9), 9) };
    let mut node = Node::new(identity, config.build().expect("valid settings"), 1, now(0));
    for output in drain(&mut node) {
        if let Output::Persist { token, .. } = output {
            node.handle_input(now(0), Input::Persisted { token });
        }
    }
    drain(&mut node);
    node
}

#[test]
fn writes_that_wait_for_a_disk_that_hangs() {
    let mut node = with_a_hung_disk(ConfigBuilder { writes_max: 10, ..ConfigBuilder::lan() });
    let mut refused = 0;
    // All are about one key, so that each waits for the one before.
    fill(&mut node, "writes", |node, number| {
        refused += u64::from(matches!(ask(node, number, put(0)), Some(Refusal::WritesWaiting { waiting: 10 })));
    });
    assert!(refused > 0);
    let mut node = with_a_hung_disk(ConfigBuilder::lan());
    fill(&mut node, "batches_of_writes", |node, number| drop(ask(node, number, put(number))));
}

#[test]
fn what_a_peer_announces_asks_for_and_says_about_itself() {
    let (mut node, peer) = Peer::of(Config::default);
    fill(&mut node, "updates_announced", |node, number| {
        peer.send(node, &frame(0x15, &[&number.to_le_bytes()[..], &2_000_u32.to_le_bytes()].concat()));
    });
    fill(&mut node, "roots_of_peers", |node, number| {
        peer.send(node, &[&[1, 0, 0][..], &number.to_le_bytes()].concat());
    });
    let SocketAddr::V4(own) = address(2) else { unreachable!("an address of IPv4") };
    let whom = [&3_u64.to_le_bytes()[..], &[4], &own.ip().octets(), &own.port().to_le_bytes()].concat();
    fill(&mut node, "pings_for_others", |node, number| {
        let number = u16::try_from(number).unwrap();
        peer.send(node, &frame(0x10, &[&number.to_le_bytes()[..], &whom].concat()));
    });
}

#[test]
fn walks_that_a_neighbour_sends() {
    let (mut node, peer) = Peer::of(partial);
    fill(&mut node, "walks", |node, number| {
        let [low, high] = u16::try_from(number).unwrap().to_le_bytes();
        let origin = [&(1_000 + number).to_le_bytes()[..], &[4, 10, 1, high, low], &4_747_u16.to_le_bytes()].concat();
        peer.send(node, &frame(0x27, &[&[0], &origin[..]].concat()));
    });
    assert!(node.counters().dropped.walks > 0);
    let Limit { held, most, .. } = level(&node.limits(), "passive_view");
    assert!(held <= most && held > most / 2, "{held} of {most}");
}

#[test]
fn answers_of_gauges_that_are_kept() {
    let mut node = alone(ConfigBuilder::lan());
    let mut at = now(5_000);
    fill(&mut node, "answers_of_gauges", |node, number| {
        let command = Command::Aggregate { gauge: format!("g{number}"), quantile: None };
        node.handle_input(at, Input::Command { ticket: Ticket(number), command });
        drain(node);
        while level(&node.limits(), "epochs_of_gauges").held > 0 {
            let due = node.poll_timeout().expect("an epoch goes on");
            let due = due.max(at.instant);
            at = Now { instant: due, wall: now(due.as_micros() / 1_000).wall };
            node.handle_input(at, Input::Timeout);
            drain(node);
        }
    });
    assert!(node.aggregates().all(|(found, _)| found.gauge != "g1"), "the one found first goes");
}

/// What somebody says of itself, or others of it: alive, or dead and forgotten in an hour.
fn claim(member: u64, is_dead: bool) -> Vec<u8> {
    let forget = 1_800_003_600_u32.to_le_bytes();
    let kind: &[u8] = if is_dead { &[&[0x10][..], &forget].concat() } else { &[0x00] };
    let [low, high, ..] = member.to_le_bytes();
    let body = [&[0; 12][..], &[1, 1, 1, 4, 10, 9, high, low, 1, 0, 1, b'n', 0]].concat();
    carrying(&[kind, &member.to_le_bytes(), &[1, 0, if is_dead { 2 } else { 0 }], &body].concat())
}

#[test]
fn members_and_deaths_of_them_that_are_doubted() {
    let few = || ConfigBuilder { members_max: 20, ..ConfigBuilder::lan() }.build().expect("valid settings");
    let (mut node, peer) = Peer::of(few);
    fill(&mut node, "members", |node, number| peer.send(node, &claim(100 + number, false)));
    assert!(level(&node.limits(), "refused_claims").held > 0, "what is refused is not asked for again");
    for number in 1..40 {
        peer.send(&mut node, &claim(100 + number, true));
    }
    let Limit { held, most, .. } = level(&node.limits(), "claims_doubted");
    assert_eq!((held, most), (18, 20), "all but this node and the peer");
}

#[test]
fn what_others_wrote_while_the_disk_hangs() {
    let mut node = with_a_hung_disk(ConfigBuilder::lan());
    (node, _) = acquaint([node, support::node(9, Config::default())]);
    let envelope = {
        let mut header = vec![0; HEADER];
        header[..4].copy_from_slice(&node.cluster_hash().to_le_bytes());
        header[4..12].copy_from_slice(&10_u64.to_le_bytes());
        header[12..20].copy_from_slice(&9_u64.to_le_bytes());
        [header, vec![0x10]].concat()
    };
    let peer = Peer { envelope, when: now(10) };
    let stamp = ((1_800_000_000_000_u64 << 16) + 1).to_le_bytes();
    let (mut highest, mut stored) = (0, BTreeSet::new());
    let value = vec![0; 60_000];
    for number in 0..1_300_u32 {
        let key = format!("k{number:04}");
        let head = [&[0x01][..], &varint(key.len() as u64), key.as_bytes(), &[0], &stamp, &[7; 8], &[0]].concat();
        stored.extend(peer.asks_to_store(&mut node, &carrying(&[&head[..], &value].concat())));
        let Limit { held, most, .. } = level(&node.limits(), "saving");
        assert!(held <= most, "{held} of {most}");
        highest = highest.max(held);
    }
    assert_eq!(node.shelf().updates(), 1_300, "all is held, and passed on");
    let most = level(&node.limits(), "saving").most;
    assert!(highest > most - 61_000 && stored.len() < 1_200, "{highest} of {most}, {} records", stored.len());
}

#[test]
fn writes_that_wait_for_others_to_hold_them() {
    let few = || ConfigBuilder { writes_max: 10, ..ConfigBuilder::lan() }.build().expect("valid settings");
    // The joiner has seen the clock of its contact; before that it writes nothing.
    let (_, mut node) = acquainted(few);
    let mut refused = 0;
    fill(&mut node, "writes_awaiting_replicas", |node, number| {
        let Command::Write { writes, timeout, .. } = put(number) else { unreachable!("a write") };
        let refusal = ask(node, number, Command::Write { writes, replicas: 1, timeout });
        refused += u64::from(matches!(refusal, Some(Refusal::WritesWaiting { waiting: 10 })));
    });
    assert_eq!(refused, 7);
}

/// Filled by these tests.
const HERE: [&str; 36] = [
    "answers_of_gauges",
    "batches_of_writes",
    "certificates",
    "changes",
    "claims_doubted",
    "commands_for_one_epoch",
    "data",
    "epochs_of_gauges",
    "foundings",
    "gauges",
    "hot_updates",
    "members",
    "messages",
    "operations",
    "operations_on_one_register",
    "passive_view",
    "pings_for_others",
    "questions_asked",
    "registers",
    "registers_proposed_on",
    "registers_taken_over",
    "revocations",
    "revocations_awaited",
    "rolls",
    "roots_of_peers",
    "saving",
    "senders_of_invalid_updates",
    "stream_inboxes",
    "streams",
    "updates_announced",
    "updates_unanswered",
    "voters_heard_of",
    "votes",
    "walks",
    "writes",
    "writes_awaiting_replicas",
];

/// Filled by a test beside the code of a file, which names what the cap is called there.
const BESIDE_THE_CODE: [(&str, &str, &str); 48] = [
    ("answers", "limits/tests.rs", "\"answers\""),
    ("answers_carried", "returns.rs", "WAITING_MAX"),
    ("answers_remembered", "returns.rs", "\"answers_remembered\""),
    ("clocks_of_peers", "limits/tests.rs", "\"clocks_of_peers\""),
    ("confirmations_owed", "node/saving.rs", "HOLDS_MAX"),
    ("contacts", "limits/tests.rs", "\"contacts\""),
    ("coordinates", "coordinates.rs", "KNOWN_MAX"),
    ("exchanges_answered", "limits/tests.rs", "\"exchanges_answered\""),
    ("exchanges_asked", "limits/tests.rs", "\"exchanges_asked\""),
    ("former_members", "limits/tests.rs", "\"former_members\""),
    ("members_acked_last", "limits/tests.rs", "\"members_acked_last\""),
    ("members_gone", "limits/tests.rs", "\"members_gone\""),
    ("messages_announced", "limits/tests.rs", "\"messages_announced\""),
    ("messages_to_announce", "limits/tests.rs", "\"messages_to_announce\""),
    ("neighbours_asked", "overlay.rs", "ASKED_MAX"),
    ("outcomes", "node/forwarding.rs", "ENDED_MAX"),
    ("packets_for_feedback", "rumors.rs", "PACKETS_MAX"),
    ("probes", "limits/tests.rs", "\"probes\""),
    ("questions_open", "limits/tests.rs", "\"questions_open\""),
    ("refused_claims", "limits/tests.rs", "\"refused\""),
    ("refused_data", "limits/tests.rs", "\"refused\""),
    ("refused_messages", "limits/tests.rs", "\"refused\""),
    ("refused_votes", "limits/tests.rs", "\"refused\""),
    ("reserve_v4", "overlay.rs", "RESERVE_MAX"),
    ("reserve_v6", "overlay.rs", "RESERVE_MAX"),
    ("reunions", "limits/tests.rs", "\"reunions\""),
    ("silent_origins", "limits/tests.rs", "\"silent_origins\""),
    ("speakers_on_one_register", "agreement/space.rs", "SPEAKERS_MAX"),
    ("stories", "story.rs", "STORIES_MAX"),
    ("stream_outboxes", "streams.rs", "\"stream_outboxes\""),
    ("traces", "limits/tests.rs", "\"traces\""),
    ("trees", "limits/tests.rs", "\"trees\""),
    ("updates_untaken", "rumors.rs", "UNTAKEN_MAX"),
    ("ways_of_questions", "returns.rs", "WAYS_MAX"),
    ("accusations", "node/gossip.rs", "\"accusations\""),
    ("averages_for_strangers", "overlay.rs", "an_allowance_has_its_cap"),
    ("bandwidth", "budget.rs", "\"bandwidth\""),
    ("bandwidth_urgent", "budget.rs", "\"bandwidth_urgent\""),
    ("feedback", "node/gossip.rs", "\"feedback\""),
    ("lease_errands", "../../lab/tests/leases.rs", "OperationsWaiting { waiting: 256 }"),
    ("leases_heard_of", "node/leasing.rs", "\"leases_heard_of\""),
    ("leases_seen", "node/leasing.rs", "\"leases_seen\""),
    ("operations_of_peers", "node/forwarding.rs", "\"operations_of_peers\""),
    ("origins_counted", "node/planting.rs", "\"origins_counted\""),
    ("peers_shunned", "node/forwarding.rs", "\"peers_shunned\""),
    ("urgent_neighbours", "overlay.rs", "an_allowance_has_its_cap"),
    ("voters_up_to_date", "node/founding.rs", "\"voters_up_to_date\""),
    ("welcomes", "node/joining.rs", "\"welcomes\""),
];

/// A file of this crate.
fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn each_cap_is_in_one_of_the_lists_and_its_test_exists() {
    let config = ConfigBuilder { bandwidth_max: 100_000, ..ConfigBuilder::lan() };
    let limits = alone(config).limits();
    let there: BTreeSet<&str> = limits.iter().map(|limit| limit.what).collect();
    let twice = limits.iter().map(|limit| (limit.what, limit.unit)).collect::<BTreeSet<_>>().len();
    assert_eq!(twice, limits.iter().count(), "a name and a unit stand for one thing");
    let beside = BESIDE_THE_CODE.iter().map(|(what, _, _)| *what);
    let listed: Vec<&str> = HERE.into_iter().chain(beside).collect();
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len(), "each once");
    let missing: Vec<_> = there.iter().filter(|what| !listed.contains(what)).collect();
    let gone: Vec<_> = listed.iter().filter(|what| !there.contains(*what)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not listed: {missing:?}; no limits any more: {gone:?}");
    let tests: String =
        ["", "/agreement", "/signed", "/streams"].map(|file| read(&format!("tests/caps{file}.rs"))).concat();
    for what in HERE {
        // Most are filled by `fill`; the others tell their own story and look at the level meanwhile.
        let looks = [format!("fill(&mut node, \"{what}\", "), format!(".limits(), \"{what}\")")];
        assert!(looks.iter().any(|look| tests.contains(look)), "{what}: no test fills it");
    }
    for (what, file, named) in BESIDE_THE_CODE {
        let source = read(&format!("src/{file}"));
        let tests = source.split_once("#[cfg(test)]").map_or(&*source, |(_, tests)| tests);
        assert!(tests.contains(named), "{what}: {named} in the tests of {file}");
    }
}
