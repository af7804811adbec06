//! Everything at once: options and faults drawn from a seed, checkers at every step, then peace and a deadline.

use rumormill_lab::scenario::{Outcome, run};
use rumormill_lab::{Error, Scenario, jobs, seeds};

/// After a minute of faults and half a minute in which their ends fall, all comes to peace: then nodes must agree, and
/// messages old and new be everywhere, within a bound. A failure shows the command that repeats it.
fn survive(seed: u64) -> Result<Outcome, Error> {
    run(&Scenario::drawn(seed), &jobs::Unwatched)
}

#[test]
fn a_cluster_survives_what_these_seeds_draw() {
    for seed in seeds::chosen(&(1..=16).collect::<Vec<_>>()) {
        survive(seed).unwrap();
    }
}

#[test]
fn a_cluster_survives_what_other_seeds_draw() {
    for seed in seeds::chosen(&(101..=116).collect::<Vec<_>>()) {
        survive(seed).unwrap();
    }
}

#[test]
fn a_drawn_run_repeats_exactly() {
    for seed in seeds::chosen(&[5]) {
        assert_eq!(survive(seed).unwrap(), survive(seed).unwrap());
    }
}
