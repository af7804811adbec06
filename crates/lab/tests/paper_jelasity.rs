//! Jelasity, Montresor and Babaoglu, "Gossip-based aggregation in large dynamic networks", ACM TOCS 23(3), 2005,
//! against core's averaging step.
//!
//! A mean of runs is allowed four standard errors, and `1/n` where the formula is that for endless `n`.

use rumormill_lab::averaging::{self, Method, Outcome, Pairing, Parameters};
use rumormill_lab::jobs::Unwatched;

const NODES: usize = 10_000;
const RUNS: usize = 100;

fn outcome(pairing: Pairing, cycles: usize) -> Outcome {
    let parameters = Parameters { nodes: NODES, method: Method::PushPull(pairing), cycles, runs: RUNS, seed: 1 };
    averaging::run(&parameters, &Unwatched).expect("the parameters are sound")
}

#[expect(clippy::cast_precision_loss, reason = "both are small")]
fn assert_factor(outcome: &Outcome, expected: f64) {
    let tolerance = 4.0 * outcome.variance_factor.sd / (RUNS as f64).sqrt() + 1.0 / NODES as f64;
    let mean = outcome.variance_factor.mean;
    assert!(
        (mean - expected).abs() <= tolerance,
        "{:?}: {mean:.5}, not {expected:.5} ± {tolerance:.5}",
        outcome.pairing
    );
}

#[test]
fn getpair_seq_each_node_in_a_new_order_leaves_1_in_2_root_e() {
    assert_factor(&outcome(Pairing::Permuted, 10), (-0.5_f64).exp() / 2.0);
}

#[test]
fn getpair_rand_random_edges_leave_1_in_e() {
    assert_factor(&outcome(Pairing::RandomEdges, 10), (-1.0_f64).exp());
}

#[test]
fn getpair_pm_two_perfect_matchings_leave_a_quarter() {
    assert_factor(&outcome(Pairing::PerfectMatching, 10), 0.25);
}

#[test]
fn an_order_that_stays_leaves_less_than_one_that_changes() {
    // Not in the paper; the derivation is at `averaging::factors`.
    let outcome = outcome(Pairing::FixedOrder, 10);
    assert_factor(&outcome, outcome.theory);
    assert!(outcome.theory < 0.296, "{}", outcome.theory);
}

#[test]
fn every_node_is_within_one_percent_after_twenty_cycles() {
    let within = outcome(Pairing::Permuted, 20).within[0];
    assert!((within.error - 0.01).abs() < f64::EPSILON);
    assert!(within.cycles.is_some_and(|cycles| cycles.max <= 20.0), "{within:?}");
}
