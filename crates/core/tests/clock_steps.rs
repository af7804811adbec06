//! A time of day that steps: what is to run out does so at its second, whatever the clock showed before.

#[expect(dead_code, reason = "this test needs one node, and no hostile input")]
mod support;

use std::time::Duration;

use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, Ticket};
use rumormill_core::{ConfigBuilder, Input, Node, Now, Wall};
use support::{drain, now};

const VALUE: [u8; 500] = [7; 500];

/// What the clocks show when the time of day is so many seconds ahead.
fn ahead(millis: u64, secs: u64) -> Now {
    let Now { instant, wall } = now(millis);
    Now { instant, wall: Wall::from_micros(wall.as_micros() + secs * 1_000_000) }
}

fn give(node: &mut Node, at: Now, input: Input<'_>) {
    node.handle_input(at, input);
    drain(node);
}

#[test]
fn a_value_runs_out_in_time_although_the_clock_was_far_ahead_before() {
    for step in [0, 7_200] {
        let mut node = support::node(1, ConfigBuilder::lan().build().expect("a valid setting"));
        drain(&mut node);
        give(&mut node, ahead(10, step), Input::Timeout);
        let edit = Edit::Put { value: VALUE.to_vec(), ttl: Some(Duration::from_secs(5)) };
        let (writes, timeout) = (vec![Write::new("key", edit)], Duration::from_secs(1));
        let command = Command::Write { writes, replicas: 0, timeout };
        give(&mut node, now(20), Input::Command { ticket: Ticket(1), command });
        let taken = node.data_bytes();
        assert!(taken > VALUE.len(), "it was written");
        give(&mut node, now(4_000), Input::Timeout);
        assert_eq!(node.data_bytes(), taken, "not yet");
        give(&mut node, now(7_000), Input::Timeout);
        assert!(node.data_bytes() < VALUE.len(), "{} bytes, {step} s ahead before", node.data_bytes());
    }
}
