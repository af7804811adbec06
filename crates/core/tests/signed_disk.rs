//! What a node whose identity is signed has on its disk: what counts of it, and what is durable before it is said.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/signing.rs"]
mod signing;
#[expect(dead_code, reason = "these tests carry no datagrams")]
mod support;

use std::time::Duration;

use rumormill_core::data::{Edit, Value, Write};
use rumormill_core::io::{Command, Ticket, Token, Warning};
use rumormill_core::{Event, Identity, Input, Node, NodeId, Output, Record, Refusal, Reply, Revocation, Stored, Wall};
use signing::{AUTHORITY, Pair, identity_of, signed_by};
use support::{HEADER, address, carrying, drain, now};

/// A node with a disk under an authority, and what it said when it began.
fn begun(number: u64, authority: u64, stored: Vec<Vec<u8>>) -> (Node, Vec<Output>) {
    let data = stored.into_iter().map(Into::into).collect();
    let identity =
        Identity { durable: true, stored: Stored { data, ..Stored::default() }, ..identity_of(number, authority) };
    let mut node = Node::new(identity, signed_by(authority).build().unwrap(), number, now(0));
    let mut outputs = drain(&mut node);
    let boot: Vec<Token> = asked(&outputs).into_iter().map(|(token, _)| token).collect();
    for token in boot {
        outputs.extend(persisted(&mut node, 0, token));
    }
    (node, outputs)
}

/// What the disk is asked to store.
fn asked(outputs: &[Output]) -> Vec<(Token, &[Record])> {
    let request = |output| match output {
        &Output::Persist { token, ref records } => Some((token, &records[..])),
        Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } => None,
    };
    outputs.iter().filter_map(request).collect()
}

/// How a command ended, if it has.
fn ended(outputs: &[Output]) -> Option<Result<&Reply, &Refusal>> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::Done { result, .. }) => Some(result.as_ref()),
        Output::Event(_) | Output::Persist { .. } | Output::Transmit { .. } | Output::Close { .. } => None,
    })
}

fn command(node: &mut Node, millis: u64, command: Command) -> Vec<Output> {
    node.handle_input(now(millis), Input::Command { ticket: Ticket(1), command });
    drain(node)
}

fn write(node: &mut Node, millis: u64, key: &str, edit: Edit) -> Vec<Output> {
    let writes = vec![Write::new(key, edit)];
    command(node, millis, Command::Write { writes, replicas: 0, timeout: Duration::from_secs(1) })
}

/// Makes a change that its disk takes at once; what it holds then.
fn written(node: &mut Node, millis: u64, key: &str, edit: Edit) -> Vec<Vec<u8>> {
    let outputs = write(node, millis, key, edit);
    let [(token, _)] = asked(&outputs)[..] else { panic!("a write is one request: {outputs:?}") };
    assert!(matches!(ended(&persisted(node, millis, token)), Some(Ok(_))), "{key} was not written");
    node.shelf().contents()
}

fn persisted(node: &mut Node, millis: u64, token: Token) -> Vec<Output> {
    node.handle_input(now(millis), Input::Persisted { token });
    drain(node)
}

/// The authority's word that everything that a member ever wrote is void.
fn revocation(id: u64) -> Vec<u8> {
    Revocation { id: NodeId(id), name: String::new(), since: Wall::from_micros(0), at: now(0).wall }
        .issue(&Pair(AUTHORITY))
}

fn revoke(node: &mut Node, millis: u64, id: u64) -> Vec<Output> {
    command(node, millis, Command::Revoke { revocation: revocation(id) })
}

/// Hands updates to a node that somebody sends; its disk takes them at once.
fn give(node: &mut Node, updates: &[Vec<u8>], millis: u64) {
    for update in updates {
        let mut datagram = vec![0; HEADER];
        datagram[..4].copy_from_slice(&node.cluster_hash().to_le_bytes());
        datagram[4..12].copy_from_slice(&7_u64.to_le_bytes());
        datagram.push(0x10);
        datagram.extend(carrying(update));
        node.handle_input(now(millis), Input::Datagram { from: address(7), bytes: &datagram });
        for (token, _) in asked(&drain(node)) {
            persisted(node, millis, token);
        }
    }
}

fn count(node: &Node, key: &str) -> Option<i128> {
    let Value::Counter(count) = node.shelf().get(key, now(0).wall)?.value else { panic!("{key} is no counter") };
    Some(count)
}

#[test]
fn an_operator_hears_of_a_revocation_when_it_is_durable_and_not_before() {
    let (mut node, _) = begun(1, AUTHORITY, Vec::new());
    let outputs = revoke(&mut node, 1_000, 2);
    let [(token, records)] = asked(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((ended(&outputs), records.len()), (None, 1));
    assert!(matches!(ended(&persisted(&mut node, 1_100, token)), Some(Ok(Reply::Revoked { id: NodeId(2) }))));
    // What is known and durable is so at once.
    assert!(matches!(ended(&revoke(&mut node, 1_200, 2)), Some(Ok(Reply::Revoked { .. }))));
    let outputs = revoke(&mut node, 1_300, 3);
    let [(token, _)] = asked(&outputs)[..] else { panic!("{outputs:?}") };
    node.handle_input(now(1_400), Input::PersistFailed { token, reason: "full".to_owned() });
    assert_eq!(ended(&drain(&mut node)), Some(Err(&Refusal::RevocationNotStored)));
    assert_eq!(node.revoked_members().count(), 2, "it counts all the same");
    assert_eq!(ended(&revoke(&mut node, 1_500, 3)), Some(Err(&Refusal::RevocationNotStored)), "nor is it by now");
}

#[test]
fn what_was_written_under_another_authority_is_not_taken_up() {
    let (mut node, _) = begun(1, 201, Vec::new());
    written(&mut node, 1_000, "color", Edit::Put { value: b"red".to_vec(), ttl: None });
    written(&mut node, 1_001, "set", Edit::Insert { element: b"ada".to_vec() });
    written(&mut node, 1_002, "counter", Edit::Add { amount: 7 });
    let mut contents = written(&mut node, 1_003, "counter", Edit::Delete);
    let foreign = Revocation { id: NodeId(9), name: String::new(), since: now(0).wall, at: now(0).wall };
    contents.push(foreign.issue(&Pair(201)));
    let (again, outputs) = begun(1, 201, contents.clone());
    assert_eq!((again.shelf().updates(), again.revoked_members().count()), (contents.len(), 1));
    assert_eq!(warnings(&outputs), 0);
    let (other, outputs) = begun(1, AUTHORITY, contents);
    assert_eq!((other.shelf().updates(), other.revoked_members().count()), (0, 0));
    assert_eq!(warnings(&outputs), 1);
}

fn warnings(outputs: &[Output]) -> usize {
    let is_other = |output: &&Output| matches!(output, Output::Event(Event::Warning(Warning::OtherIdentity)));
    outputs.iter().filter(is_other).count()
}

#[test]
fn what_a_revoked_member_wrote_is_void_after_a_restart_that_came_before_the_disk_knew() {
    let (mut two, _) = begun(2, AUTHORITY, Vec::new());
    let mut contents = written(&mut two, 1_000, "color", Edit::Put { value: b"red".to_vec(), ttl: None });
    contents.push(revocation(2));
    let (mut node, _) = begun(1, AUTHORITY, contents);
    assert!(node.shelf().get("color", now(0).wall).is_none());
    let outputs = write(&mut node, 1_000, "other", Edit::Put { value: Vec::new(), ttl: None });
    let is_color = |record: &&Record| record.value.is_none() && record.key.windows(5).any(|part| part == b"color");
    let mut records = asked(&outputs).into_iter().flat_map(|(_, records)| records);
    assert!(records.any(|record| is_color(&record)), "{outputs:?}");
}

#[test]
fn a_write_on_its_way_to_the_disk_brings_nothing_back_that_a_revocation_voided() {
    let (mut one, mut two) = (begun(1, AUTHORITY, Vec::new()).0, begun(2, AUTHORITY, Vec::new()).0);
    let added = written(&mut one, 1_000, "counter", Edit::Add { amount: 7 });
    give(&mut two, &added, 1_010);
    let cleared = written(&mut two, 1_020, "counter", Edit::Delete);
    give(&mut one, &cleared, 1_030);
    assert_eq!(count(&one, "counter"), None, "it is deleted");
    let outputs = write(&mut one, 1_040, "counter", Edit::Add { amount: 1 });
    let [(token, _)] = asked(&outputs)[..] else { panic!("{outputs:?}") };
    revoke(&mut one, 1_050, 2);
    persisted(&mut one, 1_060, token);
    assert_eq!(count(&one, "counter"), Some(8), "the word of the revoked member counts still");
}
