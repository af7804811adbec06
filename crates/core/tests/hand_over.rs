//! A node that is about to be stopped: what it said yes to, and nobody has fetched, goes to somebody.

#[expect(dead_code, reason = "these tests need two nodes that know each other, and no hostile input")]
mod support;

use std::time::Duration;

use rumormill_core::io::{Command, StreamId, Ticket};
use rumormill_core::{Channel, ConfigBuilder, Event, Input, Node, Output};
use support::{acquainted, drain, now};

const PAYLOAD: [u8; 5_000] = [7; 5_000];

fn config() -> rumormill_core::Config {
    ConfigBuilder::lan().build().expect("a valid setting")
}

fn command(node: &mut Node, millis: u64, command: Command) -> Vec<Output> {
    node.handle_input(now(millis), Input::Command { ticket: Ticket(millis), command });
    drain(node)
}

fn publish() -> Command {
    Command::Publish { topic: "news".to_owned(), payload: PAYLOAD.to_vec() }
}

/// What goes over streams, and over which.
fn pieces(outputs: Vec<Output>) -> Vec<(StreamId, Vec<u8>)> {
    let piece = |output| match output {
        Output::Transmit { channel: Channel::Stream(stream), bytes, .. } => Some((stream, bytes)),
        Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } | Output::Event(_) => None,
    };
    outputs.into_iter().filter_map(piece).collect()
}

/// Runs a node's timers for so long; whatever it sends is lost.
fn idle(node: &mut Node, from: u64, span: Duration) {
    while let Some(due) = node.poll_timeout().filter(|due| *due <= now(from).instant + span) {
        let millis = due.as_micros().div_ceil(1_000).max(from);
        node.handle_input(now(millis), Input::Timeout);
        drain(node);
    }
}

#[test]
fn a_large_message_that_nobody_fetched_goes_out_whole_before_the_end() {
    let (mut one, mut two) = acquainted(config);
    idle(&mut one, 10, Duration::from_millis(500));
    assert_eq!(one.untold(), 0);
    let announced = command(&mut one, 520, publish());
    assert!(pieces(announced).is_empty(), "it is announced only");
    // Every announcement is lost, until the message is cold.
    idle(&mut one, 520, Duration::from_millis(500));
    assert_eq!(one.untold(), 1, "it would be lost with the node");

    let mut sent = pieces(command(&mut one, 1_100, Command::Remember));
    assert_eq!(one.untold(), 1, "a stream has something to send");
    two.handle_input(now(1_100), Input::StreamOpened { stream: StreamId(9), from: support::address(1) });
    let mut told = Vec::new();
    while let Some((stream, bytes)) = sent.pop() {
        two.handle_input(now(1_100), Input::StreamBytes { stream: StreamId(9), bytes: &bytes });
        told.extend(drain(&mut two));
        one.handle_input(now(1_100), Input::StreamWritten { stream });
        sent.extend(pieces(drain(&mut one)));
    }
    assert_eq!(one.untold(), 0);
    let is_it =
        |output: &Output| matches!(output, Output::Event(Event::Message(message)) if message.payload == PAYLOAD);
    assert!(told.iter().any(is_it), "{told:?}");
}

#[test]
fn who_is_alone_has_nobody_to_tell() {
    let mut alone = support::node(1, config());
    drain(&mut alone);
    command(&mut alone, 10, publish());
    assert!(pieces(command(&mut alone, 20, Command::Remember)).is_empty());
    assert_eq!(alone.untold(), 0);
}
