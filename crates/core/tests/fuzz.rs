//! The corpora of the fuzz targets, and changes of what is in them, by the same entry points on any toolchain.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::{corpus, replay};
use rumormill_core::fuzz::{self, SIGNED, Scribe};
use rumormill_core::io::{StopReason, Ticket};
use rumormill_core::{Event, Input, Node, Output};

#[test]
fn frames_of_any_bytes_are_read_or_refused() {
    replay("wire", fuzz::wire);
}

#[test]
fn updates_of_any_bytes_are_read_or_refused() {
    replay("update", fuzz::update);
}

#[test]
fn sketches_of_any_symbols_decode_or_are_refused() {
    replay("sketch", fuzz::sketch);
}

#[test]
fn any_bytes_of_a_stream_give_the_same_packets_however_they_are_cut() {
    replay("stream", fuzz::stream);
}

#[test]
fn a_node_lives_through_any_script() {
    replay("node", fuzz::node);
}

/// What node 1 holds at the end of a script, of how many members the revocations among it are, and whether it stopped by one.
fn held_after(script: &[u8]) -> (usize, usize, bool) {
    let (mut held, mut stopped) = ((0, 0), false);
    let watch = |_, node: &mut Node| held = (node.shelf().updates(), node.revoked_members().count());
    let stop = |output: &Output| {
        stopped |= matches!(output, Output::Event(Event::Stopped { reason: StopReason::Revoked }));
    };
    fuzz::live(script, watch, stop);
    (held.0, held.1, stopped)
}

#[test]
fn what_a_script_vouches_for_counts_until_its_author_is_revoked() {
    let mut two = fuzz::start(0, 2);
    while two.poll_output().is_some() {}
    let command = fuzz::command(4, b"key");
    two.handle_input(fuzz::moment(5_000_000), Input::Command { ticket: Ticket(1), command });
    while two.poll_output().is_some() {}
    let written = two.shelf().contents().remove(0);
    let mut scribe = Scribe::new(SIGNED);
    scribe.vouched(3, &written);
    assert_eq!(held_after(scribe.script()), (0, 0, false), "another than its author signed it");
    scribe.vouched(2, &written);
    assert_eq!(held_after(scribe.script()), (1, 0, false));
    scribe.command(24, &[2, 1, 9]);
    assert_eq!(held_after(scribe.script()), (1, 1, false), "the revocation takes its place");
    scribe.command(24, &[1, 1, 9, 1]);
    assert_eq!(held_after(scribe.script()), (1, 1, false), "another authority said so");
    scribe.command(24, &[1, 1, 9]);
    assert_eq!(held_after(scribe.script()), (2, 2, true));
}

#[test]
fn the_corpus_has_nodes_that_sign_and_what_revokes_them() {
    let scripts: Vec<Vec<u8>> = corpus("node").into_iter().filter(|script| script[0] & SIGNED != 0).collect();
    assert!(!scripts.is_empty(), "no script has nodes that sign");
    for script in scripts {
        let (held, revoked, stopped) = held_after(&script);
        assert!(held > revoked && revoked >= 4 && stopped, "{held} updates, {revoked} revocations, stopped: {stopped}");
    }
}
