//! What an attacker or a broken peer may send: counted by cause, dropped, never a panic, never amplified.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use rumormill_core::config::View;
use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, StreamId, Ticket, Warning};
use rumormill_core::{Channel, Config, ConfigBuilder, Event, Input, Node, Now, Output};
use support::{HEADER, acquainted, address, carrying, datagrams, drain, frame, is_ping, next_datagram, now, varint};

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
fn a_coordinate_that_nobody_asked_for_or_that_lies_too_far_away_is_counted_and_moves_nobody() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (good, when) = next_datagram(&mut peer, is_ping);
    let place = node.coordinate();
    let mut give = |content: &[u8]| {
        let datagram = [&good[..=HEADER], &frame(0x3a, content)].concat();
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
        drain(&mut node);
        assert_eq!(node.coordinate(), place);
        node.counters().dropped
    };
    let before = give(&[]);
    let near = give(&[2, 2, 2, 90, 10]);
    assert_eq!((near.unexpected, near.malformed), (before.unexpected + 1, before.malformed));
    let far = give(&[&varint(30_000_000)[..], &[2, 2, 90, 10]].concat());
    assert_eq!((far.unexpected, far.malformed), (near.unexpected, near.malformed + 1));
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
    node.handle_input(when, Input::Datagram { from: address(3), bytes: &bytes });
    assert!(datagrams(drain(&mut node)).is_empty(), "its sender is not there: somebody recorded it");
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
fn a_stream_of_another_cluster_is_told_and_closed_whatever_the_view() {
    for view in [View::Full, View::Partial] {
        let (mut node, _) = acquainted(if view == View::Partial { support::partial } else { Config::default });
        let other = ConfigBuilder { cluster: "other".to_owned(), view, ..ConfigBuilder::lan() }.build().unwrap();
        let mut stranger = support::node(3, other);
        drain(&mut stranger);
        let command = Command::Join { contacts: vec![address(1)] };
        stranger.handle_input(now(2), Input::Command { ticket: Ticket(1), command });
        let stream = StreamId(77);
        node.handle_input(now(2), Input::StreamOpened { stream, from: address(3) });
        drain(&mut node);
        node.handle_input(now(2), Input::StreamBytes { stream, bytes: &first_bytes(drain(&mut stranger)) });
        let outputs = drain(&mut node);
        assert_eq!(node.counters().dropped.foreign, 1);
        let warned = |output: &Output| matches!(output, Output::Event(Event::Warning(Warning::ForeignCluster { .. })));
        assert_eq!(outputs.iter().filter(|output| warned(output)).count(), 1, "the contact says who came");
        // The stranger reads in the greeting why it does not get in.
        stranger.handle_input(now(2), Input::StreamBytes { stream: StreamId(2), bytes: &first_bytes(outputs) });
        let told = drain(&mut stranger).into_iter().any(|output| {
            let Output::Event(Event::ContactFailed { reason, .. }) = output else { return false };
            reason == rumormill_core::io::ContactError::ForeignCluster
        });
        assert!(told);
        assert_eq!((node.member_counts().alive, stranger.member_counts().alive), (2, 1));
    }
}

fn first_bytes(outputs: Vec<Output>) -> Vec<u8> {
    let bytes = |output| match output {
        Output::Transmit { bytes, .. } => Some(bytes),
        Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    };
    outputs.into_iter().find_map(bytes).expect("something is sent")
}

/// A stream from `peer` to `node` that is past its greetings, so that what follows is taken for packets.
fn greeted(node: &mut Node, peer: &mut Node, when: Now) -> StreamId {
    let command = Command::Join { contacts: vec![address(9)] };
    peer.handle_input(when, Input::Command { ticket: Ticket(2), command });
    let greeting = drain(peer).into_iter().find_map(|output| match output {
        Output::Transmit { channel: Channel::Stream(_), bytes, .. } => Some(bytes),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    });
    let stream = StreamId(101);
    node.handle_input(when, Input::StreamOpened { stream, from: address(2) });
    drain(node);
    node.handle_input(when, Input::StreamBytes { stream, bytes: &greeting.expect("a contact is greeted") });
    let closed = drain(node).into_iter().any(|output| matches!(output, Output::Close { .. }));
    assert!(!closed, "a proper greeting is accepted");
    stream
}

/// Numbers at which something may break.
fn edge() -> impl Strategy<Value = u64> {
    let word = u64::from(u32::MAX);
    let edges = vec![0, 1, 2, (1 << 20) - 1, 1 << 20, word - 1, word, (1 << 40) - 1, 1 << 40, u64::MAX];
    prop_oneof![4 => proptest::sample::select(edges), 1 => any::<u64>()]
}

/// Claims and messages that are well formed, with edges for numbers; about the node (2), its peer (3) and strangers.
fn update() -> impl Strategy<Value = Vec<u8>> {
    let seconds = prop_oneof![Just(1_800_000_100_u32), Just(u32::MAX), Just(0), any::<u32>()];
    let author = prop_oneof![Just(2_u64), Just(3), Just(4), edge()];
    (any::<bool>(), seconds, author, edge(), edge(), 0_u8..6, edge()).prop_map(
        |(is_claim, forget, author, boot, count, state, last)| {
            let mut bytes = vec![if is_claim { 0 } else { 2 }];
            if !is_claim || state >= 2 {
                bytes[0] |= 0x10;
                bytes.extend_from_slice(&forget.to_le_bytes());
            }
            bytes.extend_from_slice(&author.to_le_bytes());
            bytes.extend(varint(boot));
            bytes.extend(varint(count));
            if is_claim {
                bytes.push(state);
                bytes.extend_from_slice(&last.to_le_bytes());
                bytes.extend_from_slice(&[0, 0, 0, 0, 0x10, 0x10, 1, 4, 10, 0, 0, 7, 1, 1, 1, b'x', 0]);
            } else {
                bytes.extend_from_slice(&[1, b't', 0, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend(varint(last));
                bytes.push(b'!');
            }
            bytes
        },
    )
}

/// Frames of every kind: with an update at its edges, or with any content.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let any_content = (0x0f_u8..0x40, proptest::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(kind, content)| frame(kind, &content));
    prop_oneof![update().prop_map(|update| carrying(&update)), any_content]
}

#[test]
fn a_message_with_the_highest_numbers_is_delivered_at_most_once() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (good, when) = next_datagram(&mut peer, is_ping);
    for last in [u64::from(u32::MAX) - 1, u64::from(u32::MAX)] {
        let head = [&[0x12][..], &1_800_000_100_u32.to_le_bytes(), &9_u64.to_le_bytes()].concat();
        let update = [head, varint(last), varint(last), b"\x01t\0\0\0\0\0\0\0\0\0!".to_vec()].concat();
        let datagram = [&good[..=HEADER], &carrying(&update)].concat();
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
        let messages = drain(&mut node).iter().filter(|o| matches!(o, Output::Event(Event::Message(_)))).count();
        assert_eq!(messages, usize::from(last < u64::from(u32::MAX)));
    }
}

#[test]
fn nobody_drives_a_node_to_the_end_of_its_boots() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (good, when) = next_datagram(&mut peer, is_ping);
    for boot in [(1 << 40) - 1, u64::from(u32::MAX) - 1, 1 << 21] {
        let body = b"\x07\0\0\0\0\0\0\0\0\0\0\0\x10\x10\x01\x04\x0a\0\0\x01\x8b\x12\x02n1\0";
        let update = [&[0][..], &2_u64.to_le_bytes(), &varint(boot), &[0, 0], &body[..]].concat();
        let datagram = [&good[..=HEADER], &carrying(&update)].concat();
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
        drain(&mut node);
        assert_eq!(node.incarnation().boot(), 1, "boot {boot} is not outbid");
    }
    let command = Command::Publish { topic: "news".to_owned(), payload: b"still here".to_vec() };
    node.handle_input(when, Input::Command { ticket: Ticket(5), command });
    assert!(drain(&mut node).iter().any(|o| matches!(o, Output::Event(Event::Done { result: Ok(_), .. }))));
}

#[test]
fn without_an_authority_nothing_is_held_under_a_reserved_key() {
    let (mut node, mut peer) = acquainted(Config::default);
    let (writes, timeout) = (vec![Write::new("-revoked/1", Edit::Insert { element: vec![7] })], Duration::from_secs(1));
    let command = Command::Write { writes, replicas: 0, timeout };
    peer.handle_input(now(1), Input::Command { ticket: Ticket(9), command });
    drain(&mut peer);
    let ordinary = peer.shelf().contents();
    let key = ordinary[0].windows(10).position(|bytes| bytes == b"-revoked/1").expect("it is about this key");
    let mut reserved = ordinary[0].clone();
    reserved[key] = 0;
    let (good, when) = next_datagram(&mut peer, is_ping);
    let mut give = |update: &[u8]| {
        let datagram = [&good[..=HEADER], &carrying(update)].concat();
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
        drain(&mut node);
        (node.counters().dropped.malformed, node.shelf().contents())
    };
    assert_eq!(give(&reserved), (1, Vec::new()));
    assert_eq!(give(&ordinary[0]), (1, ordinary[..1].to_vec()), "the same under another key");
}

#[test]
fn everything_is_sent_only_to_who_compares_with_this_node() {
    let (mut node, mut peer) = acquainted(Config::default);
    let command = Command::Publish { topic: "news".to_owned(), payload: vec![7; 100_000] };
    node.handle_input(now(1), Input::Command { ticket: Ticket(9), command });
    drain(&mut node);
    let (_, when) = next_datagram(&mut peer, is_ping);
    let stream = greeted(&mut node, &mut peer, when);
    let bulk = frame(0x1a, &[2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let packet = [&u32::try_from(bulk.len()).unwrap().to_le_bytes()[..], &bulk].concat();
    node.handle_input(when, Input::StreamBytes { stream, bytes: &packet });
    assert!(drain(&mut node).is_empty());
    assert_eq!(node.counters().dropped.unexpected, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_in_datagrams_or_streams_make_a_node_panic(
        is_partial: bool,
        inputs in proptest::collection::vec((any::<bool>(), frames()), 1..20)
    ) {
        let (mut node, mut peer) = acquainted(if is_partial { support::partial } else { Config::default });
        let (good, when) = next_datagram(&mut peer, is_ping);
        let stream = greeted(&mut node, &mut peer, when);
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
        // Whatever was claimed about it, it lives on and publishes, unless a copy of it seemed to run.
        let command = Command::Publish { topic: "news".to_owned(), payload: Vec::new() };
        node.handle_input(when, Input::Command { ticket: Ticket(5), command });
        drain(&mut node);
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
