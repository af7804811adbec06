//! Writes of one node on their way to its disk: several at a time, none of which builds on what may still fail.

use std::time::Duration;

use rumormill_core::data::{Condition, Edit, Write};
use rumormill_core::io::{Ticket, Token};
use rumormill_core::{
    Command, Config, ConfigBuilder, Event, Identity, Input, Node, NodeId, Now, Output, Refusal, Wall,
};

/// What became of a write: made, or why not.
type Outcome = (u64, Result<(), Refusal>);

/// A node alone, and what its disk was asked to store and has not yet.
struct Writer {
    node: Node,
    asked: Vec<(Token, usize)>,
    done: Vec<Outcome>,
}

fn now() -> Now {
    Now { wall: Wall::from_micros(1_800_000_000_000_000), ..Now::default() }
}

impl Writer {
    fn start(config: Config) -> Self {
        let identity = Identity { durable: true, ..Identity::new(NodeId(1), "writer", ([10, 0, 0, 1], 4747), 1) };
        let mut writer = Self { node: Node::new(identity, config, 1, now()), asked: Vec::new(), done: Vec::new() };
        writer.drain();
        writer.store();
        writer
    }

    fn hand_over(&mut self, input: Input<'_>) {
        self.node.handle_input(now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Persist { token, records } => self.asked.push((token, records.len())),
                Output::Event(Event::Done { ticket, result }) => self.done.push((ticket.0, result.map(drop))),
                Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } => {}
            }
        }
    }

    fn put(&mut self, ticket: u64, key: &str, value: &[u8], condition: Condition) {
        let edit = Edit::Put { value: value.to_vec(), ttl: None };
        let writes = vec![Write { condition, ..Write::new(key, edit) }];
        let command = Command::Write { writes, replicas: 0, timeout: Duration::from_secs(5) };
        self.hand_over(Input::Command { ticket: Ticket(ticket), command });
    }

    /// The disk has stored the first that it was asked to.
    fn store(&mut self) {
        let (token, _) = self.asked.remove(0);
        self.hand_over(Input::Persisted { token });
    }

    /// It could not.
    fn fail(&mut self) {
        let (token, _) = self.asked.remove(0);
        self.hand_over(Input::PersistFailed { token, reason: "no space left".to_owned() });
    }

    /// How many records each request has that waits for the disk.
    fn waiting(&self) -> Vec<usize> {
        self.asked.iter().map(|(_, records)| *records).collect()
    }

    fn holds(&self, key: &str) -> bool {
        self.node.shelf().get(key, now().wall).is_some()
    }
}

#[test]
fn writes_about_different_keys_are_stored_side_by_side_and_each_is_said_once_it_is_durable() {
    let mut writer = Writer::start(Config::default());
    writer.put(1, "a", b"1", Condition::None);
    writer.put(2, "b", b"2", Condition::None);
    assert_eq!(writer.waiting(), [1, 1]);
    assert!(writer.done.is_empty() && !writer.holds("a") && !writer.holds("b"));
    writer.store();
    assert_eq!(writer.done, [(1, Ok(()))]);
    assert!(writer.holds("a") && !writer.holds("b"));
    writer.store();
    assert_eq!(writer.done, [(1, Ok(())), (2, Ok(()))]);
    assert!(writer.holds("b"));
}

#[test]
fn a_write_about_a_key_that_is_on_its_way_waits_for_its_end_and_so_do_those_behind_it() {
    let mut writer = Writer::start(Config::default());
    writer.put(1, "a", b"1", Condition::Absent);
    writer.put(2, "a", b"2", Condition::Absent);
    writer.put(3, "b", b"3", Condition::None);
    assert_eq!(writer.waiting(), [1]);
    writer.store();
    assert!(matches!(&writer.done[..], [(1, Ok(())), (2, Err(Refusal::Mismatch { .. }))]), "{:?}", writer.done);
    assert_eq!(writer.waiting(), [1]);
    writer.store();
    assert_eq!(writer.done.last(), Some(&(3, Ok(()))));
}

#[test]
fn a_write_that_fails_takes_nothing_else_with_it() {
    let mut writer = Writer::start(Config::default());
    writer.put(1, "a", b"1", Condition::Absent);
    writer.put(2, "b", b"2", Condition::None);
    writer.put(3, "a", b"3", Condition::Absent);
    writer.fail();
    assert!(matches!(&writer.done[..], [(1, Err(Refusal::NotStored { .. }))]), "{:?}", writer.done);
    writer.store();
    writer.store();
    assert_eq!(writer.done[1..], [(2, Ok(())), (3, Ok(()))]);
    assert_eq!(writer.node.shelf().get("a", now().wall).map(|entry| entry.value.to_string()).as_deref(), Some("3"));
}

#[test]
fn beyond_so_many_requests_to_the_disk_writes_wait_and_go_together() {
    let mut writer = Writer::start(Config::default());
    for number in 0..70 {
        writer.put(number, &format!("key-{number}"), b"1", Condition::None);
    }
    assert_eq!(writer.waiting(), [1; 64]);
    writer.store();
    assert_eq!(writer.waiting().last(), Some(&6));
    while !writer.asked.is_empty() {
        writer.store();
    }
    assert!(writer.done.iter().map(|(ticket, _)| *ticket).eq(0..70));
    assert!(writer.done.iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn what_is_on_its_way_to_the_disk_counts_as_held_when_room_is_looked_for() {
    let limits = ConfigBuilder { value_bytes_max: 1_000, data_bytes_max: 2_100, ..ConfigBuilder::lan() };
    let mut writer = Writer::start(limits.build().expect("lawful limits"));
    writer.put(1, "a", &[7; 900], Condition::None);
    writer.put(2, "b", &[7; 900], Condition::None);
    assert_eq!(writer.waiting(), [1, 1]);
    writer.put(3, "c", b"", Condition::None);
    assert!(matches!(&writer.done[..], [(3, Err(Refusal::DataFull { .. }))]), "{:?}", writer.done);
    // What was not stored is not held: there is room again.
    writer.fail();
    writer.put(4, "c", b"", Condition::None);
    writer.store();
    writer.store();
    assert_eq!(writer.done[2..], [(2, Ok(())), (4, Ok(()))]);
}
