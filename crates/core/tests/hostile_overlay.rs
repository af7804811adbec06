//! What strangers, neighbours that lie and neighbours that say nothing may do to a node with a partial view.

mod support;

use std::net::SocketAddr;

use rumormill_core::io::{Command, MemberChange, Refusal, StreamId, Ticket};
use rumormill_core::{Channel, Event, Input, Instant, Node, NodeId, Output};
use support::{HEADER, acquainted, address, carrying, datagrams, drain, frame, is_ping, next_datagram, now, partial};

/// A peer as walks and shuffles name it.
fn named(id: u64, [a, b, c, d]: [u8; 4], port: u16) -> Vec<u8> {
    [&id.to_le_bytes()[..], &[4, a, b, c, d], &port.to_le_bytes()].concat()
}

/// A frame in the envelope of a datagram that was sent in earnest.
fn forged(envelope: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("a short frame");
    assert!(length < 0x80, "one byte of length");
    [&envelope[..=HEADER], &[kind, length], content].concat()
}

const WALK: u8 = 0x25;
const SHUFFLE: u8 = 0x27;

#[test]
fn walks_that_are_too_long_or_lead_nowhere_or_come_from_strangers_are_counted_and_end() {
    let (mut node, mut neighbour) = acquainted(partial);
    let (ping, when) = next_datagram(&mut neighbour, is_ping);
    let joiner = named(77, [10, 0, 0, 77], 4747);
    let mut give = |datagram: &[u8]| {
        node.handle_input(when, Input::Datagram { from: address(2), bytes: datagram });
        (node.counters().dropped.walks, datagrams(drain(&mut node)))
    };
    // What an honest walk leads to: the joiner is asked to be a neighbour.
    let (dropped, sent) = give(&forged(&ping, WALK, &[&[0], &joiner[..]].concat()));
    assert_eq!((dropped, sent.len(), sent[0].0), (0, 1, SocketAddr::from(([10, 0, 0, 77], 4747))));
    let itself = named(2, [10, 0, 0, 1], 4747);
    let mut strange = ping.clone();
    strange[4] ^= 0xff;
    for (count, datagram) in [
        (1, forged(&ping, WALK, &[&[7], &joiner[..]].concat())),
        (2, forged(&ping, WALK, &[&[0], &named(78, [10, 0, 0, 78], 0)[..]].concat())),
        (3, forged(&ping, WALK, &[&[0], &named(79, [224, 0, 0, 1], 4747)[..]].concat())),
        (4, forged(&ping, WALK, &[&[0], &named(0, [10, 0, 0, 80], 4747)[..]].concat())),
        (5, forged(&strange, WALK, &[&[0], &named(81, [10, 0, 0, 81], 4747)[..]].concat())),
        (5, forged(&ping, WALK, &[&[0], &itself[..]].concat())),
        (5, forged(&ping, WALK, &[&[0], &joiner[..]].concat())),
    ] {
        let (dropped, sent) = give(&datagram);
        assert_eq!((dropped, sent), (count, vec![]), "{datagram:?}");
    }
}

#[test]
fn a_flood_of_shuffles_from_a_neighbour_is_passed_on_in_part_and_takes_no_more_than_the_passive_view() {
    let (mut node, mut neighbour) = acquainted(partial);
    let (ping, when) = next_datagram(&mut neighbour, is_ping);
    let mut sent = 0;
    for number in 0..1_000_u16 {
        let [low, high] = number.to_le_bytes();
        let origin = named(1_000 + u64::from(number), [10, 1, high, low], 4747);
        let other = named(5_000 + u64::from(number), [10, 2, high, low], 4747);
        let shuffle = forged(&ping, SHUFFLE, &[&[0], &origin[..], &other[..]].concat());
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &shuffle });
        sent += datagrams(drain(&mut node)).len();
    }
    assert!(sent <= 64 * 5, "{sent} datagrams for a thousand shuffles");
    assert!(node.counters().dropped.walks >= 900, "{:?}", node.counters().dropped);
    assert!(node.passive_members().count() <= 30);
    assert_eq!(node.neighbours().collect::<Vec<_>>(), [NodeId(3)], "the neighbour stays");
}

const NEIGHBOUR: u8 = 0x26;
const AVERAGE: u8 = 0x2d;
const AVERAGED: u8 = 0x2e;
const SIZE: u8 = 0x2f;
const PEERS: u8 = 0x28;
/// Words about being neighbours.
const ASK_URGENTLY: u8 = 1;
const ACCEPT: u8 = 2;
/// Of the second of a pair.
const SECOND: NodeId = NodeId(3);

/// What comes back of a datagram to somebody who is not of the pair.
type Others<'a> = dyn FnMut(SocketAddr, &[u8]) -> Option<Vec<u8>> + 'a;

/// Two neighbours and the clock that they share. What they send to each other arrives at once; streams are never answered.
struct Pair {
    nodes: [Node; 2],
    millis: u64,
    /// The second neither hears nor says anything.
    is_second_silent: bool,
    /// What the first one told.
    events: Vec<Event>,
    /// All that the first one was sent by the second.
    heard: Vec<Vec<u8>>,
}

impl Pair {
    fn new() -> Self {
        let (first, second) = acquainted(partial);
        let (events, heard) = (Vec::new(), Vec::new());
        Self { nodes: [first, second], millis: 1, is_second_silent: false, events, heard }
    }

    /// Gives a node an input, and both what comes of it. `others` says what comes back of a datagram to anybody else.
    fn give(&mut self, node: usize, input: Input<'_>, others: &mut Others<'_>) {
        self.nodes[node].handle_input(now(self.millis), input);
        let mut sent = vec![(node, drain(&mut self.nodes[node]))];
        while let Some((sender, outputs)) = sent.pop() {
            for output in outputs {
                let (to, bytes) = match output {
                    Output::Transmit { to, channel: Channel::Datagram, bytes } => (to, bytes),
                    Output::Event(event) if sender == 0 => {
                        self.events.push(event);
                        continue;
                    }
                    Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => {
                        continue;
                    }
                };
                let (receiver, from, bytes) = if to == address(1) || to == address(2) {
                    let receiver = usize::from(to == address(2));
                    (receiver, address(2 - u8::from(to == address(2))), bytes)
                } else if let Some(answer) = others(to, &bytes) {
                    (sender, to, answer)
                } else {
                    continue;
                };
                if self.is_second_silent && (receiver == 1 || from == address(2)) {
                    continue;
                }
                if receiver == 0 && from == address(2) {
                    self.heard.push(bytes.clone());
                }
                let input = Input::Datagram { from, bytes: &bytes };
                self.nodes[receiver].handle_input(now(self.millis), input);
                sent.push((receiver, drain(&mut self.nodes[receiver])));
            }
        }
    }

    fn run_until(&mut self, millis: u64, others: &mut Others<'_>) {
        let due = |nodes: &[Node; 2], node: usize| Some((nodes[node].poll_timeout()?, node));
        while let Some((instant, node)) = (0..2).filter_map(|node| due(&self.nodes, node)).min()
            && instant <= Instant::from_micros(millis * 1_000)
        {
            self.millis = self.millis.max(instant.as_micros().div_ceil(1_000));
            self.give(node, Input::Timeout, others);
        }
        self.millis = millis;
    }

    /// A datagram to the first as somebody of that id would send it.
    fn envelope(&self, sender: NodeId) -> Vec<u8> {
        let mut envelope = self.heard.last().expect("neighbours talk to each other").clone();
        envelope.truncate(HEADER + 1);
        envelope[4..12].copy_from_slice(&sender.0.to_le_bytes());
        envelope
    }
}

fn nobody(_: SocketAddr, _: &[u8]) -> Option<Vec<u8>> {
    None
}

/// An attacker's id and address.
fn attacker(number: u16) -> (NodeId, SocketAddr) {
    let [high, low] = number.to_be_bytes();
    (NodeId(1_000 + u64::from(number)), SocketAddr::from(([10, 1, high, low], 4747)))
}

/// The frame with which it introduces itself: as long as the claim of who answers.
fn introduction(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let [port_low, port_high] = 4747_u16.to_le_bytes();
    let head =
        [&[0][..], &attacker(number).0.0.to_le_bytes(), &[1, 0, 0], &[7; 8], &[0; 4], &[0x10, 0x10, 1, 4]].concat();
    carrying(&[&head[..], &[10, 1, high, low, port_low, port_high, 2, b'n', b'x', 0]].concat())
}

/// An attacker does all that makes it stay: it acks pings and accepts to be a neighbour.
fn obliging(envelope: &[u8], to: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let SocketAddr::V4(v4) = to else { return None };
    let [10, 1, high, low] = v4.ip().octets() else { return None };
    let number = u16::from_be_bytes([high, low]);
    let mut answer = envelope.to_vec();
    answer[4..12].copy_from_slice(&attacker(number).0.0.to_le_bytes());
    let frames = &bytes[HEADER + 1..];
    if frames.first() == Some(&1) {
        answer.push(2);
        answer.extend_from_slice(&frames[1..11]);
        return Some(answer);
    }
    if frames.ends_with(&[NEIGHBOUR, 1, 0]) || frames.ends_with(&[NEIGHBOUR, 1, ASK_URGENTLY]) {
        answer.extend(introduction(number));
        answer.extend(frame(NEIGHBOUR, &[ACCEPT]));
        return Some(answer);
    }
    None
}

#[test]
fn ten_thousand_who_ask_and_walk_in_over_minutes_leave_the_link_that_has_lasted() {
    let mut pair = Pair::new();
    pair.run_until(60_000, &mut nobody);
    let envelope = pair.envelope(SECOND);
    let mut others = |to: SocketAddr, bytes: &[u8]| obliging(&envelope, to, bytes);
    let mut came = 0;
    for number in 0..10_000 {
        pair.run_until(60_000 + u64::from(number) * 30, &mut others);
        let (id, from) = attacker(number);
        let asks = [pair.envelope(id), introduction(number), frame(NEIGHBOUR, &[ASK_URGENTLY])].concat();
        pair.give(0, Input::Datagram { from, bytes: &asks }, &mut others);
        // The same one by way of a neighbour, and others with it.
        let [high, low] = number.to_be_bytes();
        let named = named(id.0, [10, 1, high, low], 4747);
        for frames in
            [frame(WALK, &[&[0], &named[..]].concat()), frame(SHUFFLE, &[&[0], &named[..], &named[..]].concat())]
        {
            let bytes = [pair.envelope(SECOND), frames].concat();
            pair.give(0, Input::Datagram { from: address(2), bytes: &bytes }, &mut others);
        }
        let neighbours: Vec<NodeId> = pair.nodes[0].neighbours().collect();
        assert!(neighbours.len() <= 5 && neighbours.contains(&SECOND), "{neighbours:?} after {number}");
        assert!(pair.nodes[0].passive_members().count() <= 30);
        came += usize::from(neighbours.contains(&id));
    }
    assert!(came > 100, "{came} got in: the flood was one");
    // In five minutes: of those who ask 8 at once, then two a second; of walks 64, then 128 in half a minute.
    let is_gone = |event: &&Event| matches!(event, Event::Member { change: MemberChange::Removed, .. });
    let pushed_out = pair.events.iter().filter(is_gone).count();
    assert!(pushed_out <= 8 + 2 * 300 + 64 + 128 * 10, "{pushed_out} pushed out");
}

#[test]
fn a_neighbour_that_falls_silent_is_parted_with_and_left_in_peace() {
    let mut pair = Pair::new();
    pair.run_until(60_000, &mut nobody);
    pair.is_second_silent = true;
    pair.run_until(120_000, &mut nobody);
    assert_eq!(pair.nodes[0].neighbours().count(), 0);
    let failed = |event: &&Event| matches!(event, Event::Member { change: MemberChange::Failed, member, .. } if member.id == SECOND);
    assert_eq!(pair.events.iter().filter(failed).count(), 1, "it is told once");
    let before = pair.nodes[0].counters().datagrams_sent;
    pair.run_until(720_000, &mut nobody);
    let sent = pair.nodes[0].counters().datagrams_sent - before;
    assert_eq!(sent, 0, "nobody is left who could be asked");
}

#[test]
fn what_neighbours_said_once_changes_nothing_when_it_is_said_again() {
    let mut pair = Pair::new();
    pair.run_until(30_000, &mut nobody);
    for ticket in 0..20 {
        let command = Command::Publish { topic: "news".to_owned(), payload: vec![7; 100] };
        pair.give(1, Input::Command { ticket: Ticket(ticket), command }, &mut nobody);
    }
    pair.run_until(180_000, &mut nobody);
    let messages = |pair: &Pair| pair.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
    assert_eq!(messages(&pair), 20);
    let view = |pair: &Pair| (pair.nodes[0].neighbours().collect::<Vec<_>>(), pair.nodes[0].passive_members().count());
    let (settled, heard) = (view(&pair), pair.heard.clone());
    let kinds: std::collections::BTreeSet<u8> = heard.iter().map(|bytes| bytes[HEADER + 1]).collect();
    assert!(kinds.contains(&SHUFFLE) && kinds.contains(&0x29), "shuffles and payloads among them: {kinds:?}");
    for _ in 0..20 {
        for bytes in &heard {
            pair.give(0, Input::Datagram { from: address(2), bytes }, &mut nobody);
            assert_eq!(view(&pair), settled);
        }
    }
    assert_eq!(messages(&pair), 20, "none is delivered twice");
}

#[test]
fn a_node_does_not_join_itself() {
    let mut node = support::node(1, partial());
    drain(&mut node);
    let command = Command::Join { contacts: vec![address(1)] };
    node.handle_input(now(1), Input::Command { ticket: Ticket(1), command });
    let sent = drain(&mut node);
    node.handle_input(now(1), Input::StreamOpened { stream: StreamId(1), from: address(1) });
    let mut refusals = Vec::new();
    let mut waiting = sent;
    while let Some(output) = waiting.pop() {
        match output {
            Output::Transmit { channel: Channel::Stream(stream), bytes, .. } => {
                let other_end = StreamId(if stream.0 == 1 { 2 } else { 1 });
                node.handle_input(now(1), Input::StreamBytes { stream: other_end, bytes: &bytes });
                waiting.extend(drain(&mut node));
            }
            Output::Event(Event::Done { result: Err(refusal), .. }) => refusals.push(refusal),
            Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => {}
        }
    }
    assert!(matches!(refusals[..], [Refusal::Invalid { .. }]), "{refusals:?}");
    assert_eq!((node.neighbours().count(), node.passive_members().count()), (0, 0));
}

#[test]
fn one_id_at_two_places_stands_once_in_the_views_and_this_nodes_own_id_nowhere() {
    let mut pair = Pair::new();
    pair.run_until(60_000, &mut nobody);
    let asks =
        |id: NodeId, number: u16| [pair.envelope(id), introduction(number), frame(NEIGHBOUR, &[ASK_URGENTLY])].concat();
    let own = asks(pair.nodes[0].id(), 1);
    let (first, second) = (asks(attacker(1).0, 1), asks(attacker(1).0, 1));
    let misdirected = pair.nodes[0].counters().dropped.misdirected;
    pair.give(0, Input::Datagram { from: attacker(2).1, bytes: &own }, &mut nobody);
    assert_eq!(pair.nodes[0].counters().dropped.misdirected, misdirected + 1);
    pair.give(0, Input::Datagram { from: attacker(1).1, bytes: &first }, &mut nobody);
    pair.give(0, Input::Datagram { from: attacker(2).1, bytes: &second }, &mut nobody);
    let mut neighbours: Vec<NodeId> = pair.nodes[0].neighbours().collect();
    neighbours.sort_unstable();
    assert_eq!(neighbours, [SECOND, attacker(1).0]);
    assert!(pair.nodes[0].passive_members().all(|member| member.id != attacker(1).0));
}

fn shares(shares: &[(u32, f32)]) -> Vec<u8> {
    shares.iter().flat_map(|(key, value)| [key.to_le_bytes(), value.to_le_bytes()].concat()).collect()
}

#[test]
fn shares_that_are_no_shares_and_epochs_that_are_none_are_counted_and_answered_by_nothing() {
    let mut pair = Pair::new();
    // Epochs are five minutes long; who was there when one began takes part in it.
    pair.run_until(310_000, &mut nobody);
    let epoch = u32::try_from(now(310_000).wall.as_micros() / 300_000_000).unwrap();
    let (size, mut number) = (pair.nodes[0].size(), 30_000_u16);
    let mut give = |pair: &mut Pair, kind: u8, epoch: u32, content: &[u8]| {
        number = number.wrapping_add(1);
        let content = [&epoch.to_le_bytes()[..], &number.to_le_bytes(), content].concat();
        let bytes = [pair.envelope(SECOND), frame(kind, &content)].concat();
        let before = pair.nodes[0].counters().dropped;
        pair.nodes[0].handle_input(now(pair.millis), Input::Datagram { from: address(2), bytes: &bytes });
        let sent = datagrams(drain(&mut pair.nodes[0])).len();
        let after = pair.nodes[0].counters().dropped;
        let counted = (after.malformed - before.malformed) + (after.refused - before.refused);
        (sent, counted + (after.unexpected - before.unexpected))
    };
    assert_eq!(give(&mut pair, AVERAGE, epoch, &shares(&[(5, 0.5)])), (1, 0), "what makes sense is answered");
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.25, 1.5, f32::MAX, -f32::MIN_POSITIVE] {
        assert_eq!(give(&mut pair, AVERAGE, epoch, &shares(&[(5, value)])), (0, 1), "{value}");
        assert_eq!(give(&mut pair, AVERAGED, epoch, &shares(&[(5, value)])), (0, 1), "{value}");
    }
    let nine: Vec<(u32, f32)> = (0..9).map(|key| (key, 0.1)).collect();
    assert_eq!(give(&mut pair, AVERAGE, epoch, &shares(&nine)), (0, 1), "more than anybody keeps");
    assert_eq!(give(&mut pair, AVERAGE, epoch, &shares(&[(5, 0.1), (5, 0.1)])), (0, 1), "one twice");
    for far in (0..10_000).map(|nth| epoch + 2 + nth * 7).chain([0, epoch - 1, u32::MAX]) {
        assert_eq!(give(&mut pair, AVERAGE, far, &shares(&[(5, 0.5)])), (0, 1), "epoch {far}");
    }
    assert_eq!(give(&mut pair, AVERAGE, epoch, &shares(&[(5, 0.5)])), (1, 0), "the epoch is still the same");
    assert_eq!(pair.nodes[0].size(), size);
}

#[test]
fn a_size_that_is_no_number_is_counted_and_a_huge_one_bounded() {
    let mut pair = Pair::new();
    pair.run_until(60_000, &mut nobody);
    for (nth, size) in (1..).zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0]) {
        let bytes = [pair.envelope(SECOND), frame(SIZE, &size.to_le_bytes())].concat();
        pair.give(0, Input::Datagram { from: address(2), bytes: &bytes }, &mut nobody);
        assert_eq!((pair.nodes[0].counters().dropped.malformed, pair.nodes[0].size()), (nth, 2), "{size}");
    }
    let bytes = [pair.envelope(SECOND), frame(SIZE, &f32::MAX.to_le_bytes())].concat();
    pair.give(0, Input::Datagram { from: address(2), bytes: &bytes }, &mut nobody);
    assert_eq!(pair.nodes[0].size(), 1_000_000_000);
}

#[test]
fn a_question_to_a_stranger_is_as_long_as_its_longest_answer() {
    let mut pair = Pair::new();
    let stranger = attacker(1);
    let mut lengths = Vec::new();
    // An epoch begins at five minutes. Who does not answer is forgotten, so the stranger is named again and again.
    for second in 299..372 {
        pair.run_until(second * 1_000, &mut |to, bytes| {
            let asks = to == stranger.1 && bytes[HEADER + 1] == AVERAGE;
            lengths.extend(asks.then_some(bytes.len()));
            None
        });
        let peers = [pair.envelope(SECOND), frame(PEERS, &named(stranger.0.0, [10, 1, 0, 1], 4747))].concat();
        pair.give(0, Input::Datagram { from: address(2), bytes: &peers }, &mut nobody);
    }
    // An answer names at most eight instances, of eight bytes each, behind epoch and number.
    assert!(!lengths.is_empty() && lengths.iter().all(|bytes| *bytes == HEADER + 1 + 8 + 8 * 8), "{lengths:?}");
}

const GRAFT: u8 = 0x2b;
const IHAVE: u8 = 0x2a;
const PRUNE: u8 = 0x2c;

#[test]
fn what_strangers_say_about_trees_is_counted_and_nothing_else() {
    let (mut node, mut neighbour) = acquainted(partial);
    let (ping, when) = next_datagram(&mut neighbour, is_ping);
    let mut strange = ping;
    strange[4] ^= 0xff;
    let id = 77_u64.to_le_bytes();
    let frames = [(IHAVE, [&id[..], &[0]].concat()), (GRAFT, [&[1][..], &id].concat()), (PRUNE, id.to_vec())];
    for (count, (kind, content)) in frames.into_iter().enumerate() {
        let before = node.counters().dropped.unexpected;
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &forged(&strange, kind, &content) });
        assert_eq!((node.counters().dropped.unexpected - before, datagrams(drain(&mut node))), (1, vec![]), "{count}");
    }
}
