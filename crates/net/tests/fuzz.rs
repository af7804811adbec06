//! The corpora of the fuzz targets, and changes of what is in them, by the same entry points on any toolchain.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;
use rumormill::fuzz;

#[test]
fn a_datagram_that_was_changed_is_not_opened() {
    replay("seal", fuzz::seal);
}

#[test]
fn whoever_changes_the_first_words_of_a_stream_gets_no_answer() {
    replay("handshake", fuzz::handshake);
}

#[test]
fn a_stream_gives_nothing_that_was_not_sealed() {
    replay("frames", fuzz::frames);
}
