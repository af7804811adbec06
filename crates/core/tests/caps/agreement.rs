//! Caps of agreement on registers.

use std::collections::VecDeque;
use std::time::Duration;

use rumormill_core::agreement::{Change, FoundingId};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::limits::Limit;
use rumormill_core::{Config, Identity, Input, Node, NodeId, Now, Output, Refusal};

use super::support::{acquaint, address, carrying, drain, frame, is_ping, next_datagram, node, now, varint};
use super::{Peer, ask, fill, level};

const PROPOSE: u8 = 0x33;
const VOTE: u8 = 0x34;
const NODE: NodeId = NodeId(2);
const PEER: NodeId = NodeId(3);

/// Tells a node that its disk has taken everything, until it asks no more.
fn settle(node: &mut Node, when: Now) {
    let mut waiting = VecDeque::from(drain(node));
    while let Some(output) = waiting.pop_front() {
        if let Output::Persist { token, .. } = output {
            node.handle_input(when, Input::Persisted { token });
            waiting.extend(drain(node));
        }
    }
}

/// A node with a disk, the only voter of its founding, and a peer of it.
fn voter() -> (Node, FoundingId, Peer) {
    let identity = Identity { durable: true, ..Identity::new(NODE, "n1", address(1), 1) };
    let mut voter = Node::new(identity, Config::default(), 1, now(0));
    settle(&mut voter, now(0));
    voter.handle_input(now(0), Input::Command { ticket: Ticket(1), command: Command::Found { voters: vec![NODE] } });
    settle(&mut voter, now(0));
    let founding = voter.agreement().foundings[0].id;
    let (voter, mut peer) = acquaint([voter, node(2, Config::default())]);
    let peer = Peer::of_datagram(next_datagram(&mut peer, is_ping));
    (voter, founding, peer)
}

fn operate(register: String) -> Command {
    let change = Change::set(b"v".as_slice().into());
    Command::Operate { register, change, timeout: Duration::from_secs(50) }
}

/// Has a voter operate on a register, and its disk take what it says of it.
fn operated(node: &mut Node, ticket: u64, register: String) {
    node.handle_input(now(5_000), Input::Command { ticket: Ticket(ticket), command: operate(register) });
    settle(node, now(5_000));
}

/// A statement of a founding: what it says, and when it is forgotten.
fn statement(founding: u64, forget: Option<u32>, says: &[u8]) -> Vec<u8> {
    let kind = if forget.is_some() { 0x13 } else { 0x03 };
    let forget = forget.map(u32::to_le_bytes);
    [&[kind][..], forget.as_ref().map_or(&[], |bytes| &bytes[..]), &founding.to_le_bytes(), says].concat()
}

/// That the peer wants voters to promise something about a register.
fn proposal(founding: u64, register: u64) -> Vec<u8> {
    let name = format!("r{register}");
    let length = u8::try_from(name.len()).unwrap();
    let ballot = [varint(1), varint(90_000), varint(1), PEER.0.to_le_bytes().to_vec()].concat();
    statement(founding, Some(1_800_000_100), &[&[6, length][..], name.as_bytes(), &ballot, &[0]].concat())
}

fn item(update: &[u8]) -> Vec<u8> {
    [&varint(update.len() as u64 + 1)[..], &[1], update].concat()
}

#[test]
fn foundings_and_registers_that_others_tell_of() {
    let (mut node, peer) = Peer::of(Config::default);
    let joined = |founding| statement(founding, None, &[&[2][..], &PEER.0.to_le_bytes()].concat());
    fill(&mut node, "foundings", |node, number| peer.send(node, &carrying(&joined(number))));
    fill(&mut node, "registers", |node, number| peer.send(node, &carrying(&proposal(1, number))));
    assert!(level(&node.limits(), "refused_votes").held > 0, "what is refused is not asked for again");
}

#[test]
fn votes_that_wait_for_a_disk_that_hangs() {
    let (mut node, founding, peer) = voter();
    fill(&mut node, "votes", |node, number| {
        peer.send(node, &frame(PROPOSE, &item(&proposal(founding.0, number))));
    });
}

#[test]
fn voters_that_have_answered() {
    let (mut node, founding, peer) = voter();
    fill(&mut node, "voters_heard_of", |node, number| {
        peer.send_as(node, NodeId(1_000 + number), &frame(VOTE, &item(&proposal(founding.0, 1))));
    });
}

#[test]
fn operations_that_wait_for_a_vote() {
    let (mut node, ..) = voter();
    let all = level(&node.limits(), "operations");
    let of_one = level(&node.limits(), "operations_on_one_register");
    let mut refused = 0;
    for number in 0..6_000 {
        // Each register is asked about more often than it may be, as long as there is room at all.
        match ask(&mut node, number, operate(format!("r{}", number / 300))) {
            Some(Refusal::OperationsWaiting { .. }) => refused += 1,
            refusal => assert_eq!(refusal, None),
        }
        let (held, of_one) = (level(&node.limits(), "operations"), level(&node.limits(), "operations_on_one_register"));
        assert!(held.held <= held.most && of_one.held <= of_one.most, "{held:?} {of_one:?}");
    }
    assert_eq!(refused, 6_000 - 4_096);
    // What is beyond is left to this node's own reads while voters change.
    let (held, one) = (level(&node.limits(), "operations"), level(&node.limits(), "operations_on_one_register"));
    assert_eq!((held.held, one.held), (all.most - 8, of_one.most - 1));
}

#[test]
fn registers_that_were_proposed_on() {
    let (mut node, ..) = voter();
    (1..=2_000).for_each(|number| operated(&mut node, number, format!("r{number}")));
    let mut ticket = 2_000;
    let mut next = |node: &mut Node| {
        ticket += 1;
        let refusal = ask(node, ticket, operate(format!("r{ticket}")));
        let Limit { held, most, .. } = level(&node.limits(), "registers_proposed_on");
        assert!(held <= most, "{held} of {most}");
        (held, refusal)
    };
    assert_eq!(next(&mut node).0, 1_024, "those without an operation");
    let all: Vec<_> = (0..5_000).map(|_| next(&mut node)).collect();
    let done = all.iter().filter(|(_, refusal)| refusal.is_none()).count();
    assert_eq!((all.last().unwrap().0, done), (4_096, 4_095), "those with one");
}

#[test]
fn registers_that_are_taken_over_as_voters_change() {
    let (mut node, ..) = voter();
    (1..=20).for_each(|number| operated(&mut node, number, format!("r{number}")));
    // The new voter never answers.
    let change = Command::ChangeVoters { voters: vec![NODE, PEER], timeout: Duration::from_secs(5) };
    node.handle_input(now(5_000), Input::Command { ticket: Ticket(99), command: change });
    let (mut highest, mut when) = (0, now(5_000));
    for _ in 0..200 {
        settle(&mut node, when);
        let due = node.poll_timeout().expect("a change goes on").max(when.instant);
        when = Now { instant: due, wall: now(due.as_micros() / 1_000).wall };
        node.handle_input(when, Input::Timeout);
        highest = highest.max(level(&node.limits(), "registers_taken_over").held);
    }
    assert_eq!(highest, level(&node.limits(), "registers_taken_over").most);
}
