//! Caps of what comes in on streams.

use std::net::SocketAddr;

use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::{Channel, Config, ConfigBuilder, Identity, Input, Node, NodeId, Now, Output, Seconds, Stored};

use super::support::{acquaint, address, drain, frame, node, now};
use super::{fill, level};

/// Header, version, settings.
const GREETING_BYTES: usize = 30 + 1 + 8;
const PACKET_BYTES_MAX: usize = (1 << 20) + 4_096;
const REUNION: u8 = 0x23;

/// How a node greets on a stream.
fn greeting(of: &mut Node) -> Vec<u8> {
    let command = Command::Join { contacts: vec![address(200)] };
    of.handle_input(now(1), Input::Command { ticket: Ticket(1), command });
    let first = drain(of).into_iter().find_map(|output| match output {
        Output::Transmit { channel: Channel::Stream(_), bytes, .. } => Some(bytes),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    });
    first.expect("who joins greets")[..GREETING_BYTES].to_vec()
}

fn packet(frames: &[u8]) -> Vec<u8> {
    [&u32::try_from(frames.len()).unwrap().to_le_bytes()[..], frames].concat()
}

fn give(to: &mut Node, when: Now, stream: StreamId, bytes: &[u8]) {
    to.handle_input(when, Input::StreamBytes { stream, bytes });
    drain(to);
}

/// A peer opens a stream at that port, and says something.
pub(crate) fn say(to: &mut Node, peer: &mut Node, (stream, port): (u64, u64), frames: &[u8]) {
    let stream = StreamId(stream);
    let from = SocketAddr::new(address(2).ip(), 40_000 + u16::try_from(port).unwrap());
    to.handle_input(now(1_000), Input::StreamOpened { stream, from });
    drain(to);
    give(to, now(1_000), stream, &greeting(peer));
    give(to, now(1_000), stream, &packet(frames));
}

#[test]
fn packets_that_have_not_come_whole() {
    let config = || ConfigBuilder { streams_max: 8, ..ConfigBuilder::lan() }.build().unwrap();
    let (mut contact, mut peer) = acquaint([node(1, config()), node(2, config())]);
    let greeting = greeting(&mut peer);
    // All of the largest but a byte.
    let begun = [&u32::try_from(PACKET_BYTES_MAX).unwrap().to_le_bytes()[..], &vec![0; PACKET_BYTES_MAX - 1]].concat();
    // The one over which they met is open yet.
    give(&mut contact, now(10), StreamId(1), &begun);
    for number in 10..30 {
        let stream = StreamId(2 * number + 1);
        contact.handle_input(now(10), Input::StreamOpened { stream, from: address(2) });
        drain(&mut contact);
        for bytes in [&greeting, &begun] {
            give(&mut contact, now(10), stream, bytes);
        }
        let limit = level(&contact.limits(), "stream_inboxes");
        assert!(limit.held <= limit.most, "{limit:?}");
    }
    let limit = level(&contact.limits(), "stream_inboxes");
    assert_eq!((limit.held, limit.most), (limit.most, 8 * begun.len() as u64));
}

/// A node that last heard of its peer, and of anybody, long ago.
fn long_apart() -> (Node, Node) {
    let long_ago = Seconds(1_790_000_000);
    let peer = NodeId(3);
    let stored = Stored { gone: vec![(peer, long_ago)], heard: Some(long_ago), boot: 1, ..Stored::default() };
    let identity = Identity { stored, ..Identity::new(NodeId(2), "n1", address(1), 1) };
    acquaint([Node::new(identity, Config::default(), 1, now(0)), node(2, Config::default())])
}

#[test]
fn rolls_that_are_taken_in_at_once() {
    let (mut node, mut peer) = long_apart();
    let greeting = greeting(&mut peer);
    // Its own comes first.
    let (own, when) = own_reunion(&mut node);
    let reunion = |answers: u8| {
        frame(REUNION, &[&1_790_000_000_u32.to_le_bytes()[..], &7_u64.to_le_bytes(), &[answers]].concat())
    };
    fill(&mut node, "rolls", |node, number| {
        if number == 5 {
            give(node, when, own, &greeting);
            return give(node, when, own, &packet(&reunion(1)));
        }
        let stream = StreamId(2 * number + 101);
        node.handle_input(when, Input::StreamOpened { stream, from: address(2) });
        drain(node);
        give(node, when, stream, &greeting);
        give(node, when, stream, &packet(&reunion(0)));
    });
}

/// Lets time pass until the node opens a stream to reconcile with its peer.
fn own_reunion(node: &mut Node) -> (StreamId, Now) {
    let end = now(20_000).instant;
    while let Some(due) = node.poll_timeout().filter(|due| *due <= end) {
        let when = Now { instant: due, wall: now(due.as_micros() / 1_000).wall };
        node.handle_input(when, Input::Timeout);
        for output in drain(node) {
            if let Output::Transmit { to, channel: Channel::Stream(stream), .. } = output
                && to == address(2)
            {
                return (stream, when);
            }
        }
    }
    panic!("it never asks");
}
