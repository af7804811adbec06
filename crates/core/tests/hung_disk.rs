//! A disk that does not answer: who waits is told in time what is known, and nothing is said before it is durable.

use std::net::SocketAddr;
use std::time::Duration;

use rumormill_core::data::{Edit, Write};
use rumormill_core::io::{Command, Ticket, Token};
use rumormill_core::{Config, Event, Identity, Input, Instant, Node, NodeId, Now, Output, Refusal, Reply, Wall};

fn now(millis: u64) -> Now {
    let micros = millis * 1_000;
    Now { instant: Instant::from_micros(micros), wall: Wall::from_micros(1_800_000_000_000_000 + micros) }
}

/// What came out, as far as writes are concerned.
#[derive(Debug, Default)]
struct Seen {
    asked: Vec<Token>,
    ended: Vec<(Ticket, Result<Reply, Refusal>)>,
}

fn drain(node: &mut Node) -> Seen {
    let mut seen = Seen::default();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Persist { token, .. } => seen.asked.push(token),
            Output::Event(Event::Done { ticket, result }) => seen.ended.push((ticket, result)),
            Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } => {}
        }
    }
    seen
}

/// A node with a disk, started.
fn started() -> Node {
    let identity =
        Identity { durable: true, ..Identity::new(NodeId(1), "n1", SocketAddr::from(([10, 0, 0, 1], 4747)), 1) };
    let mut node = Node::new(identity, Config::default(), 1, now(0));
    for token in drain(&mut node).asked {
        node.handle_input(now(0), Input::Persisted { token });
    }
    drain(&mut node);
    node
}

fn put(node: &mut Node, at: u64, ticket: u64, key: &str, timeout: Duration) -> Seen {
    let put = Write::new(key, Edit::Put { value: b"v".to_vec(), ttl: None });
    let command = Command::Write { writes: vec![put], replicas: 0, timeout };
    node.handle_input(now(at), Input::Command { ticket: Ticket(ticket), command });
    drain(node)
}

/// Lets time pass; every deadline is kept.
fn pass(node: &mut Node, until: u64) -> Seen {
    let mut all = Seen::default();
    while let Some(due) = node.poll_timeout().filter(|due| *due <= now(until).instant) {
        let at = Now { instant: due, wall: now(0).wall + due.since(Instant::from_micros(0)) };
        node.handle_input(at, Input::Timeout);
        let Seen { asked, ended } = drain(node);
        all.asked.extend(asked);
        all.ended.extend(ended);
    }
    all
}

#[test]
fn a_write_that_hangs_at_the_disk_is_answered_as_not_confirmed_and_made_once_the_disk_has_it() {
    let mut node = started();
    let token = put(&mut node, 10, 1, "a", Duration::from_secs(1)).asked[0];
    // It is about the same key, and waits for the end of the first one.
    assert!(put(&mut node, 20, 2, "a", Duration::from_secs(2)).asked.is_empty());
    let ended = pass(&mut node, 1_500).ended;
    assert_eq!(ended, [(Ticket(1), Err(Refusal::NotConfirmed))]);
    assert_eq!(node.shelf().get("a", now(1_500).wall), None, "nothing is said that is not durable");
    let ended = pass(&mut node, 60_000).ended;
    assert_eq!(ended, [(Ticket(2), Err(Refusal::Late))], "it was never begun");
    node.handle_input(now(60_000), Input::Persisted { token });
    let Seen { asked, ended } = drain(&mut node);
    assert_eq!(ended, [], "each is answered once");
    assert!(asked.is_empty(), "what was too late is not made");
    assert!(node.shelf().get("a", now(60_000).wall).is_some());
    // And the disk is used again.
    let token = put(&mut node, 60_010, 3, "c", Duration::from_secs(1)).asked[0];
    node.handle_input(now(60_020), Input::Persisted { token });
    assert!(matches!(drain(&mut node).ended[..], [(Ticket(3), Ok(_))]));
}

#[test]
fn a_write_that_hangs_at_a_disk_which_fails_in_the_end_is_answered_once_and_not_made() {
    let mut node = started();
    let token = put(&mut node, 10, 1, "a", Duration::from_secs(1)).asked[0];
    assert_eq!(pass(&mut node, 5_000).ended, [(Ticket(1), Err(Refusal::NotConfirmed))]);
    node.handle_input(now(5_000), Input::PersistFailed { token, reason: "no space left".to_owned() });
    assert_eq!(drain(&mut node).ended, []);
    assert_eq!(node.shelf().get("a", now(5_000).wall), None);
}
