//! Settings and contacts that change while a node runs.

#[expect(dead_code, reason = "other tests use other parts of this")]
mod support;

use rumormill_core::config::RELOADED;
use rumormill_core::io::Ticket;
use rumormill_core::{Command, Config, ConfigBuilder, Event, Input, Node, Output, Refusal};
use support::{address, drain, node, now};

/// Hands over a command, and what it ended with, if it did.
fn command(node: &mut Node, millis: u64, command: Command) -> Option<Result<(), Refusal>> {
    node.handle_input(now(millis), Input::Command { ticket: Ticket(millis), command });
    done(drain(node), millis)
}

fn done(outputs: Vec<Output>, wanted: u64) -> Option<Result<(), Refusal>> {
    outputs.into_iter().find_map(|output| match output {
        Output::Event(Event::Done { ticket, result }) if ticket.0 == wanted => Some(result.map(drop)),
        Output::Event(_) | Output::Transmit { .. } | Output::Close { .. } | Output::Persist { .. } => None,
    })
}

fn configure(settings: ConfigBuilder) -> Command {
    Command::Configure { config: Box::new(settings.build().expect("valid settings")) }
}

fn publish(bytes: usize) -> Command {
    Command::Publish { topic: "news".to_owned(), payload: vec![7; bytes] }
}

#[test]
fn a_node_goes_on_with_settings_that_it_can_take_over_and_refuses_others_by_name() {
    let mut node = node(1, Config::default());
    drain(&mut node);
    assert_eq!(command(&mut node, 1, publish(2_000)), Some(Ok(())));
    let smaller = ConfigBuilder { payload_bytes_max: 1_000, fanout: 2, bandwidth_max: 90_000, ..ConfigBuilder::lan() };
    assert_eq!(command(&mut node, 2, configure(smaller.clone())), Some(Ok(())));
    assert_eq!(**node.config(), smaller);
    let Some(Err(Refusal::Invalid { field: "payload", .. })) = command(&mut node, 3, publish(2_000)) else {
        panic!("the payload is larger than the new bound")
    };

    let slower = ConfigBuilder { gossip_interval: std::time::Duration::from_millis(300), fanout: 5, ..smaller.clone() };
    let Some(Err(Refusal::Invalid { field: "gossip_interval", value, rule })) =
        command(&mut node, 4, configure(slower))
    else {
        panic!("what takes a restart is refused")
    };
    assert!(value == "300ms" && rule.contains("restart"), "{value}, {rule}");
    assert_eq!(**node.config(), smaller, "and nothing of it was taken over");
    assert!(!RELOADED.contains(&"gossip_interval"));
}

#[test]
fn a_contact_that_was_taken_away_is_not_tried_again() {
    let mut node = node(1, Config::default());
    drain(&mut node);
    assert_eq!(command(&mut node, 1, Command::Join { contacts: vec![address(2)] }), None);
    node.handle_input(
        now(2),
        Input::Command { ticket: Ticket(2), command: Command::DropContacts { contacts: vec![address(2)] } },
    );
    let outputs = drain(&mut node);
    let Some(Err(Refusal::Invalid { field: "contacts", .. })) = done(outputs, 1) else { panic!("the join is over") };
    // All deadlines of ten minutes: nothing goes to anybody.
    for _ in 0..10_000 {
        let Some(due) = node.poll_timeout().filter(|due| *due < now(600_000).instant) else { break };
        node.handle_input(now(due.as_micros().div_ceil(1_000)), Input::Timeout);
        for output in drain(&mut node) {
            let Output::Event(Event::ContactFailed { contact, .. }) = output else { continue };
            panic!("{contact} was tried again");
        }
    }
}
