//! What others may say about registers, whether this node votes on them or has never heard of any.

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use rumormill_core::agreement::{Change, FoundingId};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::{Channel, Config, Event, Identity, Input, Node, NodeId, Now, Output};
use support::{
    HEADER, acquaint, acquainted, address, carrying, drain, frame, is_ping, next_datagram, now, partial, varint,
};

const PROPOSE: u8 = 0x33;
const VOTE: u8 = 0x34;
const FORWARD: u8 = 0x35;
const OUTCOME: u8 = 0x36;

/// The node that others talk to, and who they say they are.
const NODE: NodeId = NodeId(2);
const PEER: NodeId = NodeId(3);

/// Tells a node that its disk has taken everything, until it asks no more; which commands ended.
fn settle(node: &mut Node, when: Now) -> Vec<Ticket> {
    let (mut ended, mut tokens) = (Vec::new(), VecDeque::new());
    loop {
        for output in drain(node) {
            match output {
                Output::Persist { token, .. } => tokens.push_back(token),
                Output::Event(Event::Done { ticket, .. }) => ended.push(ticket),
                Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } => {}
            }
        }
        let Some(token) = tokens.pop_front() else { return ended };
        node.handle_input(when, Input::Persisted { token });
    }
}

/// A node with a disk that is the only voter of its founding, and that founding.
fn voter() -> (Node, FoundingId) {
    let identity = Identity { durable: true, ..Identity::new(NODE, "n1", address(1), 1) };
    let mut node = Node::new(identity, Config::default(), 1, now(0));
    settle(&mut node, now(0));
    node.handle_input(now(0), Input::Command { ticket: Ticket(1), command: Command::Found { voters: vec![NODE] } });
    settle(&mut node, now(0));
    assert!(node.agreement().configuration.is_some(), "it votes");
    let founding = node.agreement().foundings[0].id;
    (node, founding)
}

fn operate(node: &mut Node, when: Now, ticket: u64) -> Vec<Ticket> {
    let (register, timeout) = ("r".to_owned(), Duration::from_secs(1));
    let command = Command::Operate { register, change: Change::set(b"v".as_slice().into()), timeout };
    node.handle_input(when, Input::Command { ticket: Ticket(ticket), command });
    settle(node, when)
}

/// Numbers at which something may break.
fn edge() -> impl Strategy<Value = u64> {
    let (word, counter) = (u64::from(u32::MAX), 1 << 56);
    let edges = vec![0, 1, 2, 3, word - 1, word, (1 << 40) - 1, 1 << 40, counter - 1, counter, u64::MAX];
    prop_oneof![4 => proptest::sample::select(edges), 1 => any::<u64>()]
}

fn someone() -> impl Strategy<Value = u64> {
    prop_oneof![Just(NODE.0), Just(PEER.0), Just(4), edge()]
}

/// Mostly what makes sense, so that what follows it is looked at too.
fn mostly(sensible: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    prop_oneof![9 => sensible, 1 => edge()]
}

/// A ballot, and one that may follow it.
fn ballots() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let counter = prop_oneof![8 => 0_u64..100_000, 1 => edge(), 1 => Just((1 << 56) - 1)];
    (mostly(1..3), counter, mostly(0..3), mostly(0..2), someone()).prop_map(
        |(configuration, counter, boot, step, proposer)| {
            let ballot = |counter| {
                [varint(configuration), varint(counter), varint(boot), proposer.to_le_bytes().to_vec()].concat()
            };
            (ballot(counter), ballot(counter.wrapping_add(step)))
        },
    )
}

fn register() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(b"\x01r".to_vec()), 1 => Just(b"\0".to_vec()), 1 => Just(b"\x01s".to_vec())]
}

fn optional(is_there: bool, ballot: Vec<u8>) -> Vec<u8> {
    if is_there { [vec![1], ballot].concat() } else { vec![0] }
}

/// What a register holds: nothing, an operation's work, or voters.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(vec![0]),
        Just(b"\x01\x01x".to_vec()),
        configuration().prop_map(|bytes| [vec![1], varint(bytes.len() as u64), bytes].concat())
    ];
    (edge(), value).prop_map(|(version, value)| [varint(version), vec![0], value].concat())
}

fn voters() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec((someone(), mostly(1..3)), 1..4).prop_map(|voters| {
        let mut bytes = vec![u8::try_from(voters.len()).expect("few")];
        for (voter, since) in voters {
            bytes.extend([voter.to_le_bytes().to_vec(), varint(since)].concat());
        }
        bytes
    })
}

fn configuration() -> impl Strategy<Value = Vec<u8>> {
    let previous = prop_oneof![Just(Vec::new()), voters()];
    (mostly(1..4), voters(), previous)
        .prop_map(|(number, voters, previous)| [varint(number), voters, previous].concat())
}

/// Statements of every kind, behind their founding, with edges for numbers.
fn statement() -> impl Strategy<Value = Vec<u8>> {
    let id = || someone().prop_map(|id| id.to_le_bytes().to_vec());
    let number = || edge().prop_map(varint);
    let configured = configuration().prop_map(|configuration| {
        let number: Vec<u8> = configuration.iter().take_while(|byte| **byte >= 0x80).copied().collect();
        let number = configuration[..=number.len()].to_vec();
        [number, vec![0], configuration].concat()
    });
    let sealed =
        (id(), number(), number(), number(), edge()).prop_map(|(voter, configuration, born, count, digest)| {
            [voter, configuration, born, count, digest.to_le_bytes().to_vec()].concat()
        });
    let vote = (register(), id(), number(), ballots(), any::<bool>(), content()).prop_map(
        |(register, voter, born, (accepted, promised), has_accepted, content)| {
            [register, voter, born, promised, optional(has_accepted, accepted), content].concat()
        },
    );
    let proposal =
        (register(), ballots(), any::<bool>(), content()).prop_map(|(register, (ballot, next), accepts, content)| {
            [register, ballot, optional(accepts, next), content].concat()
        });
    prop_oneof![
        1 => id().prop_map(|voters| [vec![0], voters].concat()),
        1 => Just(vec![1]),
        1 => id().prop_map(|voter| [vec![2], voter].concat()),
        1 => configured.prop_map(|says| [vec![3], says].concat()),
        1 => sealed.prop_map(|says| [vec![4], says].concat()),
        8 => vote.prop_map(|says| [vec![5], says].concat()),
        8 => proposal.prop_map(|says| [vec![6], says].concat()),
    ]
}

/// Frames about a founding.
fn frames(founding: FoundingId) -> impl Strategy<Value = Vec<u8>> {
    let founding = founding.0.to_le_bytes();
    let seconds = prop_oneof![1 => Just(0_u32), 8 => Just(1_800_000_100), 1 => Just(u32::MAX)];
    let update = (any::<bool>(), seconds, statement()).prop_map(move |(forgets, forget, statement)| {
        // Proposals have to be forgotten, all but votes must not.
        let forgets = statement[0] == 6 || statement[0] == 5 && forgets;
        let times = if forgets { forget.to_le_bytes().to_vec() } else { Vec::new() };
        [vec![if forgets { 0x13 } else { 0x03 }], times, founding.to_vec(), statement].concat()
    });
    let item = |update: &[u8]| [&varint(update.len() as u64 + 1)[..], &[1], update].concat();
    let stated = (0_u8..3, update).prop_map(move |(way, update)| match way {
        0 => carrying(&update),
        1 => frame(PROPOSE, &item(&update)),
        _ => frame(VOTE, &item(&update)),
    });
    let change = prop_oneof![
        Just(vec![0]),
        Just(b"\x01\x01\x01y".to_vec()),
        edge().prop_map(|version| [vec![4], varint(version), b"\x01\x01y".to_vec()].concat())
    ];
    let forward =
        (any::<u64>(), mostly(1..2), edge(), register(), change).prop_map(move |(id, boot, base, register, change)| {
            let head = [id.to_le_bytes(), founding].concat();
            frame(FORWARD, &[head, varint(boot), varint(base), vec![0, 4, 0, 0], register, change].concat())
        });
    let outcome = (any::<u64>(), 0_u8..6, content())
        .prop_map(|(id, word, content)| frame(OUTCOME, &[&id.to_le_bytes()[..], &[word], &content].concat()));
    prop_oneof![8 => stated, 2 => forward, 1 => outcome]
}

/// Whether a node says anything on a stream, once its disk has taken everything.
fn writes_on_streams(node: &mut Node, when: Now) -> bool {
    let (mut writes, mut waiting) = (false, VecDeque::from(drain(node)));
    while let Some(output) = waiting.pop_front() {
        if let Output::Persist { token, .. } = output {
            node.handle_input(when, Input::Persisted { token });
            waiting.extend(drain(node));
        } else if let Output::Transmit { channel: Channel::Stream(_), .. } = output {
            writes = true;
        }
    }
    writes
}

#[test]
fn large_votes_go_to_whoever_asked_and_not_to_whom_others_name() {
    let (mut node, founding) = voter();
    let (register, timeout) = ("r".to_owned(), Duration::from_secs(1));
    let command = Command::Operate { register, change: Change::set(vec![7; 40_000].into()), timeout };
    node.handle_input(now(0), Input::Command { ticket: Ticket(2), command });
    assert_eq!(settle(&mut node, now(0)), [Ticket(2)]);
    let (mut node, mut peer) = acquaint([node, support::node(2, Config::default())]);
    let (envelope, when) = next_datagram(&mut peer, is_ping);
    let prepare = |counter| {
        let ballot = [varint(1), varint(counter), varint(1), PEER.0.to_le_bytes().to_vec()].concat();
        let forget = 1_800_000_100_u32.to_le_bytes();
        [&[0x13][..], &forget, &founding.0.to_le_bytes(), b"\x06\x01r", &ballot, &[0]].concat()
    };
    let mut give = |bytes: &[u8]| {
        let datagram = [&envelope[..=HEADER], bytes].concat();
        node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
        writes_on_streams(&mut node, when)
    };
    let item = |update: &[u8]| [&varint(update.len() as u64 + 1)[..], &[1], update].concat();
    for counter in [90_000, 90_001] {
        assert!(!give(&carrying(&prepare(counter))), "it came by gossip");
    }
    assert!(give(&frame(PROPOSE, &item(&prepare(90_002)))), "it came from its proposer");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_that_is_said_about_registers_makes_a_node_panic_or_an_operation_last(
        is_partial: bool,
        inputs in proptest::collection::vec(frames(voter().1), 1..20)
    ) {
        let (stranger, mut peer) = acquainted(if is_partial { partial } else { Config::default });
        let (envelope, when) = next_datagram(&mut peer, is_ping);
        for mut node in [voter().0, stranger] {
            let mut ended = Vec::new();
            for (ticket, bytes) in (10..).zip(&inputs) {
                let datagram = [&envelope[..=HEADER], bytes].concat();
                node.handle_input(when, Input::Datagram { from: address(2), bytes: &datagram });
                ended.extend(settle(&mut node, when));
                ended.extend(operate(&mut node, when, ticket));
            }
            while let Some(due) = node.poll_timeout() {
                let late = due > when.instant + Duration::from_secs(2);
                if late { break }
                let when = Now { instant: due.max(when.instant), wall: when.wall + due.since(when.instant) };
                node.handle_input(when, Input::Timeout);
                ended.extend(settle(&mut node, when));
            }
            ended.sort_unstable_by_key(|ticket| ticket.0);
            let asked: Vec<Ticket> = (10..).map(Ticket).take(inputs.len()).collect();
            prop_assert_eq!(ended, asked);
        }
    }
}
