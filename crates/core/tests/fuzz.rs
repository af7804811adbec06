//! The corpora of the fuzz targets, and changes of what is in them, by the same entry points on any toolchain.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;
use rumormill_core::fuzz;

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
