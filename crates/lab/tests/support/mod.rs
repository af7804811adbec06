//! What the tests of published results share.
#![expect(clippy::expect_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "a known discrepancy is told, not hidden")]

use rumormill_lab::Summary;
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::published::Value;
use rumormill_lab::spread::{self, Outcome, Parameters};

/// Runs a model.
pub(crate) fn spread(parameters: &Parameters) -> Outcome {
    spread::run(parameters, &Unwatched).expect("the parameters are valid")
}

/// Whether the mean of `runs` runs is the published one, as far as chance and rounding let it; or, where that is known not to
/// be so, whether it still is not: a flag that nothing needs any more must go.
#[track_caller]
pub(crate) fn near(what: &str, ours: Summary, runs: usize, published: Value) {
    let tolerance = published.tolerance(ours.sd, runs);
    let story = format!(
        "{what}: published {}, ours {} (deviation {}, tolerance {tolerance})",
        published.value, ours.mean, ours.sd
    );
    let agrees = (ours.mean - published.value).abs() <= tolerance;
    if published.is_discrepant {
        println!("known discrepancy: {story}");
        assert!(!agrees, "no discrepancy any more, so no flag: {story}");
    } else {
        assert!(agrees, "{story}");
    }
}
