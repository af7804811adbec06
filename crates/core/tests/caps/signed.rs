//! Caps of what is signed, and of what is not as it should be.

use std::time::Duration;

use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::{ConfigBuilder, Identity, Input, Node, NodeId, Output, Refusal, Revocation};

use super::signing::{AUTHORITY, Pair, identity_of, signed_by};
use super::support::{HEADER, acquaint, address, carrying, drain, now};
use super::{ask, fill, level};

fn signer(number: u64) -> Node {
    let config = ConfigBuilder { members_max: 2, ..signed_by(AUTHORITY) };
    let mut node = Node::new(identity_of(number, AUTHORITY), config.build().unwrap(), number, now(0));
    drain(&mut node);
    node
}

/// What a member writes, signed.
fn written(number: u64) -> Vec<u8> {
    let mut node = signer(number);
    let writes = vec![Write::new(format!("k{number}"), Edit::Put { value: Vec::new(), ttl: None })];
    let command = Command::Write { writes, replicas: 0, timeout: Duration::from_secs(1) };
    node.handle_input(now(10), Input::Command { ticket: Ticket(9), command });
    drain(&mut node);
    node.shelf().contents().remove(0)
}

/// The same with another key in it: a signature of something else.
fn forged(number: u64) -> Vec<u8> {
    let mut bytes = written(number);
    // Kind, length of the key, key.
    bytes[2] = b'x';
    bytes
}

/// Hands an update to node 1 in the name of node 2.
fn give(node: &mut Node, update: &[u8], from: std::net::SocketAddr, millis: u64) {
    let mut datagram = vec![0; HEADER];
    datagram[..4].copy_from_slice(&node.cluster_hash().to_le_bytes());
    datagram[4..12].copy_from_slice(&2_u64.to_le_bytes());
    datagram[12..20].copy_from_slice(&1_u64.to_le_bytes());
    datagram.push(0x10);
    datagram.extend(carrying(update));
    node.handle_input(now(millis), Input::Datagram { from, bytes: &datagram });
    drain(node);
}

#[test]
fn certificates_that_need_not_be_checked_again() {
    let (mut node, _) = acquaint([signer(1), signer(2)]);
    fill(&mut node, "certificates", |node, number| give(node, &written(1_000 + number), address(2), 1_000));
}

fn revoke(number: u64) -> Command {
    let revocation = Revocation { id: NodeId(number), name: String::new(), since: now(0).wall, at: now(0).wall };
    Command::Revoke { revocation: revocation.issue(&Pair(AUTHORITY)) }
}

#[test]
fn members_that_are_revoked() {
    let mut node = signer(1);
    let mut refused = 0;
    fill(&mut node, "revocations", |node, number| match ask(node, number, revoke(1_000 + number)) {
        Some(Refusal::Invalid { field: "revocation", .. }) => refused += 1,
        refusal => assert_eq!(refusal, None),
    });
    assert_eq!(refused, 3);
    assert_eq!(ask(&mut node, 9, revoke(1_001)), None, "one that is known has its place");
}

#[test]
fn revocations_that_wait_for_the_disk() {
    let identity = Identity { durable: true, ..identity_of(1, AUTHORITY) };
    let mut node = Node::new(identity, signed_by(AUTHORITY).build().unwrap(), 1, now(0));
    for output in drain(&mut node) {
        let Output::Persist { token, .. } = output else { continue };
        node.handle_input(now(0), Input::Persisted { token });
    }
    drain(&mut node);
    let mut refused = 0;
    fill(&mut node, "revocations_awaited", |node, number| {
        let refusal = ask(node, number, revoke(1_000 + number));
        refused += u64::from(matches!(refusal, Some(Refusal::WritesWaiting { waiting: 64 })));
    });
    assert_eq!(refused, 34);
}

#[test]
fn updates_that_nobody_answers_for() {
    let (mut node, _) = acquaint([signer(1), signer(2)]);
    // Slower than they are checked.
    fill(&mut node, "updates_unanswered", |node, number| {
        give(node, &forged(1_000 + number), address(2), 1_000 + 40 * number);
    });
}

#[test]
fn senders_of_updates_that_nobody_answers_for() {
    let (mut node, _) = acquaint([signer(1), signer(2)]);
    let stranger = |number: u64| address(u8::try_from(number).unwrap());
    for number in 0..100 {
        give(&mut node, &forged(1_000 + number), stranger(100 + number), 1_000);
    }
    let limit = level(&node.limits(), "senders_of_invalid_updates");
    assert_eq!((limit.held, limit.most), (64, 130), "of strangers");
    assert_eq!(node.counters().dropped.unchecked, 36);
    give(&mut node, &forged(2_000), address(2), 1_000);
    assert_eq!(level(&node.limits(), "senders_of_invalid_updates").held, 65, "beside them, of a proven address");
    // Streams that came in from one address count together, each time at another port.
    for number in 0..5 {
        super::streams::say(&mut node, &mut signer(2), (2 * number + 101, number), &carrying(&forged(3_000 + number)));
        let limit = level(&node.limits(), "senders_of_invalid_updates");
        assert!(limit.held <= limit.most, "{limit:?}");
    }
    assert_eq!(level(&node.limits(), "senders_of_invalid_updates").held, 66);
}
