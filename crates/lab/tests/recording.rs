//! Recordings that were made by hand: what is in them is run again, and what is wrong with them is told.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::net::SocketAddr;
use std::path::PathBuf;

use rumormill_core::io::Ticket;
use rumormill_core::recording::{Fingerprint, Heading, Kind};
use rumormill_core::{Command, Config, Identity, Input, Instant, Node, NodeId, Now, Wall};
use rumormill_lab::recording::{Outcome, replay};
use rumormill_lab::{Error, recording};

fn at(second: u64) -> Now {
    let micros = second * 1_000_000;
    Now { instant: Instant::from_micros(micros), wall: Wall::from_micros(1_800_000_000_000_000 + micros) }
}

fn node() -> Node {
    let identity = Identity::new(NodeId(7), "a", SocketAddr::from(([127, 0, 0, 1], 1)), 1);
    let mut node = Node::new(identity, Config::default(), 1, at(0));
    while node.poll_output().is_some() {}
    node
}

fn heading(number: u64, steps: u64) -> Heading {
    Heading { version: env!("CARGO_PKG_VERSION").to_owned(), half_bytes: 1 << 16, number, steps }
}

fn publish(ticket: u64) -> Input<'static> {
    let payload = ticket.to_le_bytes().to_vec();
    Input::Command { ticket: Ticket(ticket), command: Command::Publish { topic: "t".to_owned(), payload } }
}

/// Gives the node a message to publish, and returns the step as it is recorded.
fn step(node: &mut Node, ticket: u64, outputs: &mut Fingerprint) -> Vec<u8> {
    let mut step = postcard::to_stdvec(&(at(ticket), publish(ticket))).unwrap();
    node.handle_input(at(ticket), publish(ticket));
    while let Some(output) = node.poll_output() {
        outputs.note(&postcard::to_stdvec(&output).unwrap());
    }
    let answers: &[u8] = &[];
    step.extend(postcard::to_stdvec(&(answers, outputs.get())).unwrap());
    step
}

fn snapshot(node: &Node) -> Vec<u8> {
    postcard::to_stdvec(&node.snapshot()).unwrap()
}

/// Ten steps in the first half, the eleventh before the snapshot of the second, and ten more after it.
fn halves() -> [Vec<u8>; 2] {
    let (mut node, mut outputs) = (node(), Fingerprint::default());
    let first = heading(1, 0);
    let mut one = [first.to_bytes(), first.part(Kind::Birth, &snapshot(&node))].concat();
    for ticket in 1..=10 {
        one.extend(first.part(Kind::Steps, &step(&mut node, ticket, &mut outputs)));
    }
    let second = heading(2, 10);
    let before = step(&mut node, 11, &mut outputs);
    let (snapshot, mut outputs) = (snapshot(&node), Fingerprint::default());
    let parts = [second.part(Kind::StepBefore, &before), second.part(Kind::Snapshot, &snapshot)].concat();
    let mut other = [second.to_bytes(), parts].concat();
    let rest: Vec<u8> = (12..=21).flat_map(|ticket| step(&mut node, ticket, &mut outputs)).collect();
    other.extend(second.part(Kind::Steps, &rest));
    [one, other]
}

fn file(halves: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut file = halves[0].clone();
    file.resize(1 << 16, 0);
    [file, halves[1].clone()].concat()
}

fn run(name: &str, content: &[u8]) -> Result<Outcome, Error> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("recording-{name}"));
    std::fs::write(&path, content).unwrap();
    replay(&path, |_, _| {}).map(|recording::Replayed { outcome, .. }| outcome)
}

fn rule(result: Result<Outcome, Error>) -> String {
    match result {
        Err(Error::Value { rule, .. }) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_goes_over_its_seam_and_is_the_same_to_the_last_byte() {
    let halves = halves();
    let outcome = run("whole", &file(&halves)).unwrap();
    assert_eq!((outcome.inputs, outcome.identical, outcome.harmed), (21, true, false));
    assert!(outcome.events >= 21, "each is answered");
    // The other way round: the first half is the newer one.
    let swapped = [halves[1].clone(), halves[0].clone()];
    assert_eq!(run("swapped", &file(&swapped)).unwrap().inputs, 21);
}

#[test]
fn the_first_difference_is_named() {
    let (mut node, mut outputs, heading) = (node(), Fingerprint::default(), heading(1, 0));
    let mut content = [heading.to_bytes(), heading.part(Kind::Birth, &snapshot(&node))].concat();
    for ticket in 1..=5 {
        if ticket == 3 {
            outputs.note(b"what this node never did");
        }
        content.extend(heading.part(Kind::Steps, &step(&mut node, ticket, &mut outputs)));
    }
    let outcome = run("differs", &content).unwrap();
    let difference = outcome.difference.expect("it differs");
    assert_eq!((outcome.identical, outcome.inputs, difference.input), (false, 5, 3));
    assert!((difference.at - 1_800_000_003.0).abs() < 1e-3, "{}", difference.at);
    assert!(difference.what.contains("Publish"), "{}", difference.what);
}

#[test]
fn what_was_written_before_the_end_is_run_wherever_the_end_is() {
    let whole = file(&halves());
    let mut inputs = Vec::new();
    for length in (0..whole.len()).step_by(97) {
        match run("cut", &whole[..length]) {
            Ok(outcome) => {
                assert!(outcome.identical, "cut to {length} bytes");
                inputs.push(outcome.inputs);
            }
            Err(error) => assert!(matches!(error, Error::Value { .. }) && inputs.is_empty(), "{length}: {error}"),
        }
    }
    assert!(inputs.is_sorted() && inputs.contains(&10), "{inputs:?}");
}

#[test]
fn a_harmed_half_is_left_out_and_the_rest_is_run() {
    let [mut one, other] = halves();
    let place = one.len() - 200;
    one[place] ^= 1;
    let outcome = run("harmed", &file(&[one, other.clone()])).unwrap();
    assert_eq!((outcome.inputs, outcome.identical, outcome.harmed), (10, true, true));
    // Not even the beginning of the first half can be read.
    let outcome = run("headless", &file(&[vec![0; 100], other])).unwrap();
    assert_eq!((outcome.inputs, outcome.identical), (10, true));
}

#[test]
fn what_is_no_recording_or_of_another_release_is_refused() {
    assert!(rule(run("foreign", b"something else")).contains("it is no recording"));
    assert!(rule(run("empty", b"")).contains("it is no recording"));
    let other = Heading { version: "0.0.9".to_owned(), ..heading(1, 0) };
    let content = [other.to_bytes(), other.part(Kind::Birth, &snapshot(&node()))].concat();
    assert!(rule(run("version", &content)).contains("release 0.0.9 wrote it"));
    let mut format = heading(1, 0).to_bytes();
    format[8] = 99;
    assert!(rule(run("format", &format)).contains("format 99"));
    assert!(rule(run("stateless", &heading(1, 0).to_bytes())).contains("first snapshot"));
}
