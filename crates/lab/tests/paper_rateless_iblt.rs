//! Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024, against core's sketch.
//!
//! Means of samples are allowed four standard errors, and half of the last digit of what they are compared with: a
//! correct one fails once in 16,000.

use rumormill_lab::jobs::Unwatched;
use rumormill_lab::sketches::{self, Outcome, PUBLISHED, Parameters};

fn outcome(difference: usize, trials: usize) -> Outcome {
    let parameters = Parameters { difference, size: difference, trials, seed: 1 };
    sketches::run(&parameters, &Unwatched).expect("the parameters are sound")
}

#[test]
fn symbols_per_difference_are_those_of_the_authors_gap_rule() {
    // More trials where one costs little and differs more from the next.
    let trials = |difference: usize| (200_000 / difference).clamp(5, 20_000);
    for (difference, published) in PUBLISHED.into_iter().filter(|(difference, _)| *difference <= 100_000) {
        let outcome = outcome(difference, trials(difference));
        let (mean, error) = (
            outcome.symbols_per_difference.mean,
            outcome.symbols_per_difference.error_of_mean(outcome.parameters.trials),
        );
        let off = (mean - published).abs();
        assert!(off <= 4.0 * error + 0.0005, "{difference}: {mean:.4} ± {error:.4}, published {published}");
    }
}

#[test]
fn the_peak_is_at_a_handful_of_differences() {
    let means: Vec<f64> = (1..=12).map(|d| outcome(d, 20_000).symbols_per_difference.mean).collect();
    let peak = (1..=12).max_by(|a, b| means[a - 1].total_cmp(&means[b - 1])).expect("there are twelve");
    assert!((4..=7).contains(&peak), "{means:?}");
    assert!((1.70..=1.80).contains(&means[peak - 1]), "{means:?}");
}

#[test]
fn the_size_of_the_sets_does_not_matter() {
    let of = |size| sketches::run(&Parameters { difference: 50, size, trials: 50, seed: 3 }, &Unwatched);
    let (small, large) = (of(50).expect("it is sound"), of(1_000_000).expect("it is sound"));
    assert_eq!(small.symbols_per_difference, large.symbols_per_difference);
}
