//! What an attacker or a broken peer may send: counted by cause, dropped, never a panic, never amplified.

use std::collections::VecDeque;
use std::net::SocketAddr;

use proptest::prelude::*;
use rumormill_core::io::{Command, StreamId, Ticket, Warning};
use rumormill_core::{
    Channel, Config, ConfigBuilder, Event, Identity, Input, Instant, Node, NodeId, Now, Output, Stored, Tags, Wall,
};

const HEADER: usize = 30;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 4747))
}

fn now(millis: u64) -> Now {
    let micros = millis * 1_000;
    Now { instant: Instant::from_micros(micros), wall: Wall::from_micros(1_800_000_000_000_000 + micros) }
}

fn node(number: u8, config: Config) -> Node {
    let identity = Identity {
        id: NodeId(u64::from(number) + 1),
        name: format!("n{number}"),
        addresses: vec![address(number)],
        tags: Tags::new(),
        session: u64::from(number),
        secret: None,
        stored: Stored::default(),
        durable: false,
    };
    Node::new(identity, config, u64::from(number), now(0))
}

fn drain(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn datagrams(outputs: Vec<Output>) -> Vec<(SocketAddr, Vec<u8>)> {
    let datagram = |output| match output {
        Output::Transmit { to, channel: Channel::Datagram, bytes } => Some((to, bytes)),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    };
    outputs.into_iter().filter_map(datagram).collect()
}

/// Two nodes that know each other, after a join over a stream that is carried by hand: number 2 at the joiner,
/// number 1 at the contact.
fn acquainted(config: fn() -> Config) -> (Node, Node) {
    let mut nodes = [node(1, config()), node(2, config())];
    for node in &mut nodes {
        drain(node);
    }
    nodes[0].handle_input(now(1), Input::StreamOpened { stream: StreamId(1), from: address(2) });
    drain(&mut nodes[0]);
    let command = Command::Join { contacts: vec![address(1)] };
    nodes[1].handle_input(now(1), Input::Command { ticket: Ticket(1), command });
    let mut waiting: VecDeque<(usize, Output)> = drain(&mut nodes[1]).into_iter().map(|output| (1, output)).collect();
    while let Some((sender, output)) = waiting.pop_front() {
        let Output::Transmit { channel: Channel::Stream(sent_on), bytes, .. } = output else { continue };
        let receiver = 1 - sender;
        let stream = StreamId(receiver as u64 + 1);
        nodes[receiver].handle_input(now(1), Input::StreamBytes { stream, bytes: &bytes });
        waiting.extend(drain(&mut nodes[receiver]).into_iter().map(|output| (receiver, output)));
        nodes[sender].handle_input(now(1), Input::StreamWritten { stream: sent_on });
        waiting.extend(drain(&mut nodes[sender]).into_iter().map(|output| (sender, output)));
    }
    let [contact, joiner] = nodes;
    assert_eq!((contact.member_counts().alive, joiner.member_counts().alive), (2, 2));
    (contact, joiner)
}

/// Runs a node's timers until it sends a datagram that `wanted` takes.
fn next_datagram(node: &mut Node, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Now) {
    for _ in 0..100 {
        let due = node.poll_timeout().expect("a node with peers has timers");
        let when = Now { instant: due, wall: now(due.as_micros() / 1_000).wall };
        node.handle_input(when, Input::Timeout);
        if let Some((_, bytes)) = datagrams(drain(node)).into_iter().find(|(_, bytes)| wanted(bytes)) {
            return (bytes, when);
        }
    }
    panic!("a node with peers probes them");
}

fn is_ping(datagram: &[u8]) -> bool {
    datagram[HEADER + 1] == 1
}

#[test]
fn garbage_truncated_foreign_and_newer_datagrams_are_counted_by_cause_and_dropped() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (good, when) = next_datagram(&mut peer, is_ping);
    let mut give = |bytes: &[u8]| {
        node.handle_input(when, Input::Datagram { from: address(2), bytes });
        (node.counters().dropped, drain(&mut node))
    };
    let (dropped, _) = give(b"garbage");
    assert_eq!(dropped.malformed, 1);
    let (dropped, _) = give(&good[..HEADER]);
    assert_eq!(dropped.malformed, 2, "cut before the version");
    let (dropped, _) = give(&good[..good.len() - 1]);
    assert_eq!(dropped.malformed, 3, "cut inside a frame");
    let (dropped, _) = give(&vec![0; 65_001]);
    assert_eq!(dropped.oversized, 1);
    let mut foreign = good.clone();
    foreign[0] ^= 1;
    let (dropped, outputs) = give(&foreign);
    assert_eq!(dropped.foreign, 1);
    assert!(matches!(outputs[..], [Output::Event(Event::Warning(Warning::ForeignCluster { .. }))]), "{outputs:?}");
    let mut newer = good.clone();
    newer[HEADER] = 0x20;
    let (dropped, outputs) = give(&newer);
    assert_eq!(dropped.version, 1);
    assert!(
        matches!(outputs[..], [Output::Event(Event::Warning(Warning::NewerVersion { major: 2, .. }))]),
        "{outputs:?}"
    );
    let mut minor = good.clone();
    minor[HEADER] = 0x1f;
    let (dropped, outputs) = give(&minor);
    assert_eq!((dropped.version, datagrams(outputs).len()), (1, 1), "a newer minor version is answered");
}

#[test]
fn a_datagram_for_somebody_else_is_not_acked_but_answered_with_a_claim() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (mut bytes, when) = next_datagram(&mut peer, is_ping);
    bytes[12..20].copy_from_slice(&99_u64.to_le_bytes());
    node.handle_input(when, Input::Datagram { from: address(2), bytes: &bytes });
    let replies = datagrams(drain(&mut node));
    assert_eq!(node.counters().dropped.misdirected, 1);
    let [(to, reply)] = &replies[..] else { panic!("one reply, not {replies:?}") };
    assert_eq!((*to, reply[HEADER + 1]), (address(2), 0x12), "updates, no ack");
}

#[test]
fn replayed_datagrams_change_nothing() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (mut recorded, mut when) = (Vec::new(), now(1));
    for _ in 0..20 {
        let (bytes, at) = next_datagram(&mut peer, |_| true);
        recorded.push(bytes);
        when = at;
    }
    let mut give = |bytes: &[u8]| {
        node.handle_input(when, Input::Datagram { from: address(2), bytes });
        drain(&mut node);
        let claims: Vec<_> = node.claims().collect();
        (node.root(), claims, node.member_counts())
    };
    let mut settled = None;
    for bytes in &recorded {
        settled = Some(give(bytes));
    }
    for _ in 0..50 {
        for bytes in &recorded {
            assert_eq!(Some(give(bytes)), settled);
        }
    }
}

#[test]
fn an_address_that_proved_nothing_never_gets_more_bytes_than_came_from_it() {
    let victim: SocketAddr = "192.0.2.1:53".parse().unwrap();
    let (mut came, mut went, mut held_back) = (0, 0, 0);
    for _ in 0..20 {
        let (mut node, mut peer) = acquainted(Config::default);
        let command = Command::Publish { topic: "news".to_owned(), payload: vec![7; 900] };
        node.handle_input(now(1), Input::Command { ticket: Ticket(9), command });
        drain(&mut node);
        // Real datagrams of a member, pings and comparisons among them, from an address that somebody forged.
        for _ in 0..10 {
            let (bytes, when) = next_datagram(&mut peer, |_| true);
            node.handle_input(when, Input::Datagram { from: victim, bytes: &bytes });
            came += bytes.len();
            let replies = datagrams(drain(&mut node));
            went += replies.iter().filter(|(to, _)| *to == victim).map(|(_, bytes)| bytes.len()).sum::<usize>();
            assert!(went <= came, "{went} bytes out for {came} in");
        }
        held_back += node.counters().dropped.unproven;
    }
    assert!(went > 0, "it is answered, as far as that goes");
    assert!(held_back > 0, "something was held back");
}

#[test]
fn a_stream_of_another_cluster_is_told_and_closed() {
    let (mut node, _) = acquainted(Config::default);
    let other = || ConfigBuilder { cluster: "other".to_owned(), ..ConfigBuilder::lan() }.build().unwrap();
    let mut stranger = self::node(3, other());
    drain(&mut stranger);
    let command = Command::Join { contacts: vec![address(1)] };
    stranger.handle_input(now(2), Input::Command { ticket: Ticket(1), command });
    let greeting = drain(&mut stranger).into_iter().find_map(|output| match output {
        Output::Transmit { bytes, .. } => Some(bytes),
        Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    });
    let stream = StreamId(77);
    node.handle_input(now(2), Input::StreamOpened { stream, from: address(3) });
    drain(&mut node);
    node.handle_input(now(2), Input::StreamBytes { stream, bytes: &greeting.unwrap() });
    let outputs = drain(&mut node);
    let reply = outputs.iter().find_map(|output| match output {
        Output::Transmit { bytes, .. } => Some(bytes.clone()),
        Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    });
    assert_eq!(node.counters().dropped.foreign, 1);
    // The stranger reads in the greeting why it does not get in.
    stranger.handle_input(now(2), Input::StreamBytes { stream: StreamId(2), bytes: &reply.unwrap() });
    let told = drain(&mut stranger).into_iter().any(|output| {
        let Output::Event(Event::ContactFailed { reason, .. }) = output else { return false };
        reason == rumormill_core::io::ContactError::ForeignCluster
    });
    assert!(told);
    assert_eq!(node.member_counts().alive, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_in_datagrams_or_streams_make_a_node_panic(
        inputs in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..120)), 1..20)
    ) {
        let (mut node, mut peer) = acquainted(Config::default);
        let (good, when) = next_datagram(&mut peer, is_ping);
        let stream = StreamId(101);
        node.handle_input(when, Input::StreamOpened { stream, from: address(2) });
        drain(&mut node);
        // A proper greeting, so that the bytes behind it are taken for packets.
        let greeting = [&good[..HEADER], &[0x10], &[0; 8]].concat();
        node.handle_input(when, Input::StreamBytes { stream, bytes: &greeting });
        drain(&mut node);
        for (by_stream, bytes) in inputs {
            if by_stream {
                let packet = [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], &bytes].concat();
                node.handle_input(when, Input::StreamBytes { stream, bytes: &packet });
            } else {
                let datagram = [&good[..=HEADER], &bytes].concat();
                node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
            }
            drain(&mut node);
        }
        prop_assert_eq!(node.member(node.id()).map(|me| me.state), Some(rumormill_core::State::Alive));
    }

    #[test]
    fn a_bit_flipped_anywhere_does_no_harm(place: usize, bit in 0_u8..8) {
        let (mut node, mut peer) = acquainted(Config::default);
        let (mut bytes, when) = next_datagram(&mut peer, is_ping);
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &bytes });
        drain(&mut node);
        prop_assert_eq!(node.member(node.id()).map(|me| me.state), Some(rumormill_core::State::Alive));
    }
}
