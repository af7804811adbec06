//! What tests of hostile input share: two nodes that know each other, and datagrams by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rumormill_core::config::View;
use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::{Channel, Config, ConfigBuilder, Identity, Input, Instant, Node, NodeId, Now, Output, Wall};

pub(crate) const HEADER: usize = 30;

pub(crate) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 4747))
}

pub(crate) fn now(millis: u64) -> Now {
    let micros = millis * 1_000;
    Now { instant: Instant::from_micros(micros), wall: Wall::from_micros(1_800_000_000_000_000 + micros) }
}

pub(crate) fn node(number: u8, config: Config) -> Node {
    let identity =
        Identity::new(NodeId(u64::from(number) + 1), format!("n{number}"), address(number), u64::from(number));
    Node::new(identity, config, u64::from(number), now(0))
}

pub(crate) fn drain(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

pub(crate) fn datagrams(outputs: Vec<Output>) -> Vec<(SocketAddr, Vec<u8>)> {
    let datagram = |output| match output {
        Output::Transmit { to, channel: Channel::Datagram, bytes } => Some((to, bytes)),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    };
    outputs.into_iter().filter_map(datagram).collect()
}

/// Two nodes that know each other, after a join over a stream that is carried by hand: number 2 at the joiner,
/// number 1 at the contact.
pub(crate) fn acquainted(config: fn() -> Config) -> (Node, Node) {
    acquaint([node(1, config()), node(2, config())])
}

/// Has number 2 join number 1.
pub(crate) fn acquaint(nodes: [Node; 2]) -> (Node, Node) {
    let (contact, joiner) = meet(nodes, StreamId(1), address(2));
    assert_eq!((contact.member_counts().alive, joiner.member_counts().alive), (2, 2));
    (contact, joiner)
}

/// Has number 2 try to join number 1, to which the stream has that id and comes from there.
pub(crate) fn meet(mut nodes: [Node; 2], accepted: StreamId, from: SocketAddr) -> (Node, Node) {
    for node in &mut nodes {
        drain(node);
    }
    nodes[0].handle_input(now(1), Input::StreamOpened { stream: accepted, from });
    drain(&mut nodes[0]);
    let command = Command::Join { contacts: vec![address(1)] };
    nodes[1].handle_input(now(1), Input::Command { ticket: Ticket(1), command });
    let mut waiting: VecDeque<(usize, Output)> = drain(&mut nodes[1]).into_iter().map(|output| (1, output)).collect();
    while let Some((sender, output)) = waiting.pop_front() {
        let Output::Transmit { channel: Channel::Stream(sent_on), bytes, .. } = output else { continue };
        let receiver = 1 - sender;
        let stream = [accepted, StreamId(2)][receiver];
        nodes[receiver].handle_input(now(1), Input::StreamBytes { stream, bytes: &bytes });
        waiting.extend(drain(&mut nodes[receiver]).into_iter().map(|output| (receiver, output)));
        nodes[sender].handle_input(now(1), Input::StreamWritten { stream: sent_on });
        waiting.extend(drain(&mut nodes[sender]).into_iter().map(|output| (sender, output)));
    }
    nodes.into()
}

/// Runs a node's timers until it sends a datagram that `wanted` takes.
pub(crate) fn next_datagram(node: &mut Node, wanted: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Now) {
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

pub(crate) fn is_ping(datagram: &[u8]) -> bool {
    datagram[HEADER + 1] == 1
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// A frame of that kind with its length.
pub(crate) fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &varint(content.len() as u64), content].concat()
}

/// A frame that carries one update.
pub(crate) fn carrying(update: &[u8]) -> Vec<u8> {
    frame(0x12, &[&[0, 0, 0][..], &varint(update.len() as u64 + 1), &[1], update].concat())
}

pub(crate) fn partial() -> Config {
    ConfigBuilder { view: View::Partial, ..ConfigBuilder::lan() }.build().expect("a valid setting")
}
