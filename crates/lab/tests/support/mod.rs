//! What the tests of published results share.
#![expect(clippy::expect_used, reason = "a helper that fails fails its test")]

use rumormill_lab::Summary;
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::published::Value;
use rumormill_lab::spread::{self, Outcome, Parameters};

/// Runs a model.
pub(crate) fn spread(parameters: &Parameters) -> Outcome {
    spread::run(parameters, &Unwatched).expect("the parameters are valid")
}

/// Whether the mean of `runs` runs is the published one, as far as chance and rounding let it.
#[track_caller]
pub(crate) fn near(what: &str, ours: Summary, runs: usize, published: Value) {
    let tolerance = published.tolerance(ours.sd, runs);
    assert!(
        (ours.mean - published.value).abs() <= tolerance,
        "{what}: published {}, ours {} (deviation {}, tolerance {tolerance})",
        published.value,
        ours.mean,
        ours.sd
    );
}
