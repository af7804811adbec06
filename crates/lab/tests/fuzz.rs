//! The corpora of the fuzz targets, and changes of what is in them, by the same entry points on any toolchain.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;
use rumormill_lab::fuzz;

#[test]
fn any_file_is_a_configuration_that_works_or_is_refused() {
    replay("config", fuzz::config);
}
