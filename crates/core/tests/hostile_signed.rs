//! Signed identity under attack: every damaged signature, floods of them, and words that are not what they seem.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/signing.rs"]
mod signing;
#[expect(dead_code, reason = "these tests have nodes of their own, which sign")]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, StopReason, StreamId, Ticket, Warning};
use rumormill_core::{
    Channel, Config, ConfigBuilder, Event, Identity, Input, Node, NodeId, Output, Revocation, Stored, Tags, Wall,
};
use signing::{AUTHORITY, Pair, identity_of, signed_by};
use support::{HEADER, acquaint, address, carrying, datagrams, drain, meet, now};

fn signed() -> ConfigBuilder {
    signed_by(AUTHORITY)
}

fn node_of(number: u64, issuer: u64, config: ConfigBuilder) -> Node {
    Node::new(identity_of(number, issuer), config.build().unwrap(), number, now(0))
}

fn node(number: u64) -> Node {
    node_of(number, AUTHORITY, signed())
}

/// Two signed nodes that know each other: 1 and 2.
fn pair() -> (Node, Node) {
    acquaint([node(1), node(2)])
}

/// Makes changes at a node, and gives what it holds of them then.
fn written(node: &mut Node, edits: Vec<(&str, Edit)>) -> Vec<Vec<u8>> {
    for (key, edit) in edits {
        let (writes, timeout) = (vec![Write::new(key, edit)], Duration::from_secs(1));
        let command = Command::Write { writes, replicas: 0, timeout };
        node.handle_input(now(10), Input::Command { ticket: Ticket(9), command });
        let done =
            drain(node).into_iter().any(|output| matches!(output, Output::Event(Event::Done { result: Ok(_), .. })));
        assert!(done, "{key} was not written");
    }
    node.shelf().contents()
}

/// The claim that a node tells its peer once it has changed its tags.
fn told_claim(node: &mut Node) -> Vec<u8> {
    let tags = Tags::from([("role".to_owned(), "web".to_owned())]);
    node.handle_input(now(10), Input::Command { ticket: Ticket(9), command: Command::SetTags { tags } });
    let (_, datagram) = datagrams(drain(node)).into_iter().next().unwrap();
    // Frame, its length in two bytes, packet and flags, length in two bytes, hop.
    let frames = &datagram[HEADER + 1..];
    assert_eq!(frames[0], 0x12, "a datagram that begins with updates");
    let length = usize::from(frames[6] & 0x7f) | usize::from(frames[7]) << 7;
    frames[9..8 + length].to_vec()
}

/// Hands an update to node 1 as if node 2 had sent it from that address.
fn give(node: &mut Node, update: &[u8], from: u8, millis: u64) -> Vec<Output> {
    give_as(2, node, update, from, millis)
}

fn give_as(sender: u64, node: &mut Node, update: &[u8], from: u8, millis: u64) -> Vec<Output> {
    let mut datagram = vec![0; HEADER];
    datagram[..4].copy_from_slice(&node.cluster_hash().to_le_bytes());
    datagram[4..12].copy_from_slice(&sender.to_le_bytes());
    datagram[12..20].copy_from_slice(&1_u64.to_le_bytes());
    datagram.push(0x10);
    datagram.extend(carrying(update));
    node.handle_input(now(millis), Input::Datagram { from: address(from), bytes: &datagram });
    drain(node)
}

/// Every update that is this one but for a bit, or for what was cut off.
fn damaged(update: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..update.len() * 8).map(|bit| {
        let mut bytes = update.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    flipped.chain((0..update.len()).map(|length| update[..length].to_vec()))
}

fn put(value: &[u8], ttl: Option<u64>) -> Edit {
    Edit::Put { value: value.to_vec(), ttl: ttl.map(Duration::from_secs) }
}

#[test]
fn no_damaged_update_of_the_database_is_taken_in() {
    let (mut one, mut two) = pair();
    let mut contents = written(
        &mut two,
        vec![
            ("register", put(b"a value", None)),
            ("brief", put(b"a value that runs out", Some(60))),
            ("set", Edit::Insert { element: b"ada".to_vec() }),
            ("counter", Edit::Add { amount: 7 }),
        ],
    );
    let later = written(&mut two, vec![("counter", Edit::Delete), ("set", Edit::Delete)]);
    contents.extend(later.into_iter().filter(|update| !contents.contains(update)).collect::<Vec<_>>());
    let revocation = Revocation { id: NodeId(9), name: "n9".to_owned(), since: now(0).wall, at: now(0).wall };
    contents.push(revocation.issue(&Pair(AUTHORITY)));
    let mut millis = 1_000;
    for update in &contents {
        let (mut root, updates) = (one.root(), one.shelf().updates());
        for bytes in damaged(update) {
            // Slower than the bound on invalid ones.
            millis += 40;
            give(&mut one, &bytes, 2, millis);
            assert_eq!((one.root(), one.shelf().updates()), (root, updates), "{bytes:02x?} of {update:02x?}");
        }
        millis += 2_000;
        give(&mut one, update, 2, millis);
        assert_ne!(std::mem::replace(&mut root, one.root()), one.root(), "the update itself is good: {update:02x?}");
    }
    assert!(one.counters().dropped.forged > 1_000, "{:?}", one.counters().dropped);
}

#[test]
fn no_damaged_claim_changes_what_a_member_says_of_itself() {
    let (mut one, mut two) = pair();
    let said = |node: &Node| {
        let member = node.member(NodeId(2)).unwrap();
        (member.name, member.addresses, member.incarnation, member.tags, node.members().count())
    };
    let (before, claim) = (said(&one), told_claim(&mut two));
    let mut millis = 1_000;
    // Anybody may suspect a member, and says again what it says of itself: what state it is in is not its word.
    let state = 1 + 8 + 1 + 1;
    for bytes in damaged(&claim).filter(|bytes| bytes.get(state) == claim.get(state)) {
        millis += 40;
        give(&mut one, &bytes, 2, millis);
        assert_eq!(said(&one), before, "{bytes:02x?}");
    }
    let (mut other, _) = pair();
    give(&mut other, &claim, 2, 1_000);
    assert_eq!(said(&other), said(&two));
    assert!(one.counters().dropped.forged > 500, "{:?}", one.counters().dropped);
}

#[test]
fn what_is_not_signed_or_signed_elsewhere_does_not_count() {
    let (mut one, _) = pair();
    let (_, mut plain) =
        acquaint([node_of(3, AUTHORITY, ConfigBuilder::lan()), node_of(4, AUTHORITY, ConfigBuilder::lan())]);
    let before = one.root();
    let elsewhere = ConfigBuilder { cluster: "elsewhere".to_owned(), ..signed() };
    let (_, mut foreign) = acquaint([node_of(1, AUTHORITY, elsewhere.clone()), node_of(2, AUTHORITY, elsewhere)]);
    let mut impostor = node_of(5, 201, signed());
    drain(&mut impostor);
    let unsigned = written(&mut plain, vec![("color", put(b"red", None))]);
    let outputs = give(&mut one, &unsigned[0], 2, 1_000);
    let warned =
        outputs.iter().any(|output| matches!(output, Output::Event(Event::Warning(Warning::NotTrusted { .. }))));
    assert!(warned, "{outputs:?}");
    assert_eq!(one.counters().dropped.unsigned, 1);
    give(&mut one, &told_claim(&mut foreign), 2, 1_000);
    give(&mut one, &written(&mut foreign, vec![("color", put(b"red", None))])[0], 2, 1_000);
    give(&mut one, &written(&mut impostor, vec![("color", put(b"red", None))])[0], 2, 1_000);
    assert_eq!((one.counters().dropped.forged, one.root()), (3, before));
    // Behind a good signature nothing else may stand.
    let (mut other, mut two) = pair();
    let good = written(&mut two, vec![("color", put(b"blue", None))]).remove(0);
    let (body, length) = good.split_last_chunk::<2>().unwrap();
    let longer = u16::from_le_bytes(*length) + 300;
    let padded = [body, &[0; 300], &longer.to_le_bytes()].concat();
    let before = other.root();
    give(&mut other, &padded, 2, 1_000);
    assert_eq!((other.root(), other.counters().dropped.malformed), (before, 1));
    // A cluster that does not sign takes no signed update.
    let before = plain.root();
    let mut datagram = vec![0; HEADER];
    datagram[..4].copy_from_slice(&plain.cluster_hash().to_le_bytes());
    datagram[4..12].copy_from_slice(&3_u64.to_le_bytes());
    datagram.push(0x10);
    datagram.extend(carrying(&good));
    plain.handle_input(now(1_000), Input::Datagram { from: address(3), bytes: &datagram });
    assert_eq!((plain.root(), plain.counters().dropped.malformed), (before, 1));
}

#[test]
fn a_flood_of_invalid_signatures_costs_so_many_checks_a_second_and_hides_no_other_sender() {
    let (mut one, mut two) = pair();
    let good = written(&mut two, vec![("color", put(b"blue", None))]).remove(0);
    // Only what is news is looked at: another stamp makes each one newer.
    let forged = |number: u16| {
        let mut bytes = good.clone();
        let place = bytes.windows(5).position(|window| window == b"color").unwrap() + 5 + 1;
        bytes[place..place + 2].copy_from_slice(&number.to_le_bytes());
        bytes[place + 2] = bytes[place + 2].wrapping_add(1);
        bytes
    };
    for number in 0..10_000 {
        give(&mut one, &forged(number), 7, 1_000);
    }
    let dropped = one.counters().dropped;
    assert_eq!((dropped.forged, dropped.unchecked), (32, 10_000 - 32));
    give(&mut one, &good, 2, 1_000);
    assert_eq!(one.shelf().updates(), 1, "another sender was not heard");
    give(&mut one, &forged(10_001), 7, 2_500);
    assert_eq!(one.counters().dropped.forged, 33, "the next second has its own");
}

#[test]
fn streams_of_one_address_have_one_bound_on_what_is_checked_whatever_their_ports() {
    let (mut one, _) = pair();
    for number in 50..150_u16 {
        let (stream, from) = (StreamId(1_001 + 2 * u64::from(number)), SocketAddr::from(([10, 0, 0, 9], number)));
        (one, _) = meet([one, node_of(number.into(), 201, signed())], stream, from);
    }
    let dropped = one.counters().dropped;
    assert_eq!((dropped.forged, dropped.unchecked), (32, 100 - 32));
}

#[test]
fn the_id_of_a_member_lets_nobody_in_without_its_claim() {
    let (one, _) = pair();
    let (one, impostor) = meet([one, node_of(2, 201, signed())], StreamId(5), address(2));
    assert_eq!(impostor.members().count(), 1, "it was given the members");
    let (_, two) = meet([one, node(2)], StreamId(7), address(2));
    assert_eq!(two.members().count(), 2, "the member itself is let in again");
}

#[test]
fn what_a_revocation_voids_is_no_forgery_and_counts_once_a_later_one_says_so() {
    let (mut one, mut two) = pair();
    let good = written(&mut two, vec![("color", put(b"blue", None))]).remove(0);
    let revoke = |node: &mut Node, since, at| {
        let revocation = Revocation { id: NodeId(2), name: String::new(), since, at: now(at).wall };
        let command = Command::Revoke { revocation: revocation.issue(&Pair(AUTHORITY)) };
        node.handle_input(now(at), Input::Command { ticket: Ticket(1), command });
        drain(node);
    };
    revoke(&mut one, Wall::from_micros(0), 1_000);
    for _ in 0..2 {
        give_as(7, &mut one, &good, 7, 1_100);
    }
    let dropped = one.counters().dropped;
    assert_eq!((dropped.revoked, dropped.forged), (2, 0));
    revoke(&mut one, now(1_500).wall, 2_000);
    let held = one.shelf().updates();
    give_as(7, &mut one, &good, 7, 2_100);
    assert_eq!(one.shelf().updates(), held + 1);
}

#[test]
fn a_revoked_node_gets_no_answer_and_its_own_revocation_ends_it() {
    let (mut one, mut two) = pair();
    let revocation = |id| Revocation { id: NodeId(id), name: String::new(), since: now(0).wall, at: now(0).wall };
    let word = revocation(2).issue(&Pair(AUTHORITY));
    let command = |word: &[u8]| Command::Revoke { revocation: word.to_vec() };
    one.handle_input(now(1_000), Input::Command { ticket: Ticket(1), command: command(&word) });
    drain(&mut one);
    assert!(one.member(NodeId(2)).is_none());
    assert_eq!(give(&mut one, &told_claim(&mut two), 2, 1_100).len(), 0, "it is answered");
    let forged = revocation(1).issue(&Pair(2));
    one.handle_input(now(1_200), Input::Command { ticket: Ticket(2), command: command(&forged) });
    assert!(drain(&mut one).iter().any(|output| matches!(output, Output::Event(Event::Done { result: Err(_), .. }))));
    two.handle_input(now(1_300), Input::Command { ticket: Ticket(3), command: command(&word) });
    let stopped = |output: &Output| matches!(output, Output::Event(Event::Stopped { reason: StopReason::Revoked }));
    assert!(drain(&mut two).iter().any(stopped));
}

#[test]
fn a_node_that_finds_its_own_revocation_on_its_disk_does_not_begin() {
    let word = Revocation { id: NodeId(2), name: String::new(), since: Wall::from_micros(0), at: now(0).wall };
    let (mut one, _) = pair();
    let command = Command::Revoke { revocation: word.issue(&Pair(AUTHORITY)) };
    one.handle_input(now(1_000), Input::Command { ticket: Ticket(1), command });
    let identity = Identity {
        stored: Stored { data: one.shelf().contents().into_iter().map(Into::into).collect(), ..Stored::default() },
        durable: true,
        ..identity_of(2, AUTHORITY)
    };
    let config: Config = signed().build().unwrap();
    let mut two = Node::new(identity, config, 1, now(0));
    let outputs = drain(&mut two);
    assert!(matches!(outputs[..], [Output::Event(Event::Stopped { reason: StopReason::Revoked })]), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Transmit { channel: Channel::Datagram, .. })));
}
