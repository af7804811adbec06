//! Caps of what is signed, and of what is not as it should be.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::config::IdentityKind;
use rumormill_core::credentials::{DIGEST_BYTES, PublicKey, Signature};
use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::{Certificate, ConfigBuilder, Identity, Input, Node, NodeId, Signatures, Signing};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::support::{HEADER, acquaint, address, carrying, drain, now};
use super::{fill, level};

/// A key pair that costs nothing: whoever knows the public key could sign.
#[derive(Debug)]
struct Pair(u64);

fn hash(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new();
    hasher.write(key);
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

impl Signatures for Pair {
    fn public_key(&self) -> PublicKey {
        key(self.0)
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let hash = hash(&self.public_key(), bytes);
        std::array::from_fn(|place| hash[place % 16])
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        Self(self.id_of(key).0).sign(bytes) == *signature
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        NodeId(u64::from_le_bytes(*key.first_chunk().unwrap()))
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        hash(b"digest", bytes)
    }
}

fn key(id: u64) -> PublicKey {
    std::array::from_fn(|place| id.to_le_bytes()[place % 8])
}

const AUTHORITY: u64 = 200;

fn signer(number: u64) -> Node {
    let authority = format!("{AUTHORITY:02x}00000000000000").repeat(4);
    let config = ConfigBuilder { identity: IdentityKind::Signed, authority, members_max: 2, ..ConfigBuilder::lan() };
    let certificate = Certificate { key: key(number), until: None, name: None }.issue(&Pair(AUTHORITY));
    let place = address(u8::try_from(number % 250).unwrap());
    let identity = Identity {
        signing: Some(Signing { signatures: Arc::new(Pair(number)), certificate }),
        ..Identity::new(NodeId(number), format!("n{number}"), place, number)
    };
    let mut node = Node::new(identity, config.build().unwrap(), number, now(0));
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
