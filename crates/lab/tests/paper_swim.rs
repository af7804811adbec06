//! Das, Gupta and Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", DSN 2002,
//! against the bare model. A mean of runs is allowed four standard errors.

use rumormill_core::rng::Rng;
use rumormill_lab::detection::{self, Order, Outcome, Parameters};
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::theory;

fn outcome(parameters: Parameters) -> Outcome {
    detection::run(&parameters, &Unwatched).expect("the parameters are sound")
}

fn assert_first_detection(outcome: &Outcome, expected: f64) {
    let Parameters { nodes, runs, order, .. } = outcome.parameters;
    let (mean, tolerance) = (outcome.first_detection.mean, 4.0 * outcome.first_detection.error_of_mean(runs));
    assert!((mean - expected).abs() <= tolerance, "{nodes} {order}: {mean:.4} ± {tolerance:.4}");
}

#[test]
fn section_3_first_detection_takes_e_over_e_minus_1_periods() {
    let expected = |n: f64| 1.0 / (1.0 - (1.0 - 1.0 / (n - 1.0)).powf(n - 1.0));
    for (nodes, n) in [(5, 5.0), (20, 20.0), (100, 100.0), (1_000, 1_000.0)] {
        let outcome = outcome(Parameters { nodes, runs: 20_000, ..Parameters::default() });
        assert_first_detection(&outcome, expected(n));
    }
    assert!((expected(100.0) - 1.5773).abs() < 5e-5);
}

#[test]
fn section_4_3_round_robin_bounds_the_time_of_one_observer() {
    // The bound is 2 m - 1 for a list of m, which is that of the others; with itself in it, as in the paper, 2 n - 1.
    let rng = &mut Rng::new(1);
    for nodes in [3, 10, 100] {
        let outcome = outcome(Parameters { nodes, order: Order::RoundRobin, runs: 20_000, ..Parameters::default() });
        let longest = (0..20_000).map(|_| periods_of_an_observer(nodes - 1, rng)).max();
        // The worst case comes once in the cube of the list's length: often enough only of short lists.
        if nodes <= 10 {
            assert_eq!(outcome.bound, longest);
        }
        assert!(longest <= outcome.bound, "{longest:?} of {nodes} nodes");
        assert_first_detection(&outcome, detection::first_detection(Order::RoundRobin, nodes));
    }
}

/// A list that is shuffled at each pass, walked from its beginning; after some periods of the third pass somebody
/// crashes, and the periods are counted until its turn.
fn periods_of_an_observer(places: usize, rng: &mut Rng) -> usize {
    let mut list: Vec<usize> = (0..places).collect();
    let crash = 2 * places + rng.below(places);
    let mut period = 0;
    loop {
        rng.shuffle(&mut list);
        for member in &list {
            if period >= crash && *member == 0 {
                return period - crash + 1;
            }
            period += 1;
        }
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "probes are counted")]
fn section_3_1_probes_of_the_living_fail_as_messages_get_lost() {
    for (loss, indirect_probes, expected) in [(0.05, 3, 6.2e-4), (0.1, 3, 7.7e-3), (0.1, 0, 0.19), (0.3, 1, 0.388)] {
        let formula = theory::probe_failure(loss, indirect_probes);
        assert!((formula / expected - 1.0).abs() < 0.01, "{formula}");
        let measured =
            outcome(Parameters { loss, indirect_probes, runs: 10_000, ..Parameters::default() }).false_positives;
        let tolerance = 4.0 * (formula * (1.0 - formula) / measured.probes as f64).sqrt();
        assert!(
            (measured.per_probe - formula).abs() <= tolerance,
            "loss {loss}, {indirect_probes} indirect: {measured:?}"
        );
    }
}
