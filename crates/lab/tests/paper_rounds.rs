//! Rounds until all know where everybody keeps going (Pittel 1987; Karp et al. 2000), and the median counter.

mod support;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::published;
use rumormill_lab::spread::{Parameters, Timing};
use rumormill_lab::theory;
use support::{near, spread};

/// As many runs as a test has time for.
const fn runs(nodes: usize) -> usize {
    match nodes {
        0..5_000 => 1_000,
        5_000..50_000 => 200,
        50_000..500_000 => 30,
        _ => 4,
    }
}

#[test]
fn every_cell_of_the_tables_of_rounds_comes_out() {
    let mut cells = 0;
    for row in published::rounds() {
        let runs = runs(row.nodes);
        let (mode, nodes, fanout, loss) = (row.mode, row.nodes, f64::from(row.fanout), row.loss);
        let outcome = spread(&Parameters { nodes, mode, fanout, loss, runs, ..Parameters::default() });
        // Few runs tell little of their own deviation; the published one of fanout 1 bounds that of every fanout.
        let published = published::ROUNDS_DEVIATION.iter().find(|(of, _)| *of == mode).expect("each mode has one").1;
        let mut last = outcome.time_last;
        last.sd = if runs <= 30 { last.sd.max(published) } else { last.sd };
        near(&format!("rounds, {mode:?}, fanout {fanout}, loss {loss}, n = {nodes}"), last, runs, row.rounds);
        assert!(outcome.atomic >= 1.0, "everybody keeps going, so everybody knows in the end");
        cells += 1;
    }
    assert_eq!(cells, 9 * 4 + 25);
}

#[test]
fn the_deviation_of_the_rounds_is_the_published_one() {
    for (mode, deviation) in published::ROUNDS_DEVIATION {
        let sd = spread(&Parameters { mode, runs: 2_000, ..Parameters::default() }).time_last.sd;
        // A deviation of 2,000 runs deviates by 1/√4000 of itself, more for a skewed distribution; the printed digits add.
        assert!(
            (sd - deviation).abs() < 4.0 * deviation / 4_000_f64.sqrt() + 0.05,
            "{mode:?}: {sd}, printed {deviation}"
        );
    }
}

/// Karp et al. 2000: log3 n + O(ln ln n); log2 ln n fits within 0.15, and means of few runs add their own error.
#[test]
fn push_pull_takes_log3_n_and_log2_ln_n_rounds() {
    for nodes in [1_000, 10_000, 1_000_000] {
        let runs = runs(nodes);
        let last = spread(&Parameters { nodes, runs, ..Parameters::default() }).time_last;
        let formula = theory::rounds_to_all(Mode::PushPull, nodes, 1.0, 0.0);
        let tolerance = 0.15 + 4.0 * 0.5 / f64::from(u32::try_from(runs).expect("few")).sqrt();
        assert!((last.mean - formula.value).abs() < tolerance, "n = {nodes}: {last:?}, {formula:?}");
    }
}

/// With clocks of their own push and pull take about twice the time of push-pull, by the logistic curve.
#[test]
fn by_their_own_clocks_push_and_pull_take_twice_the_time_of_push_pull() {
    let runs = 400;
    let last = |mode| spread(&Parameters { mode, timing: Timing::Async, runs, ..Parameters::default() }).time_last;
    let twice = last(Mode::PushPull);
    for single in [last(Mode::Push), last(Mode::Pull)] {
        // The sum of growth and tail is the same sum of exponentials at half the rate: exactly twice on average.
        let tolerance = 4.0 * (single.error_of_mean(runs).powi(2) + 4.0 * twice.error_of_mean(runs).powi(2)).sqrt();
        assert!((single.mean - 2.0 * twice.mean).abs() < tolerance, "{single:?}, {twice:?}");
    }
}

#[test]
fn the_median_counter_takes_the_published_transmissions() {
    for (k, transmissions) in published::MEDIAN {
        let outcome = spread(&Parameters { stop: StopRule::MedianCounter { k }, runs: 400, ..Parameters::default() });
        near(&format!("Karp et al. 2000, median counter {k}, transmissions"), outcome.traffic, 400, transmissions);
        assert!(k == 2 || outcome.atomic >= 1.0, "from 3 on everybody knew in every run");
    }
    for (nodes, rounds) in published::MEDIAN_LAST {
        let runs = if nodes > 1_000 { 60 } else { 400 };
        let outcome =
            spread(&Parameters { nodes, stop: StopRule::MedianCounter { k: 3 }, runs, ..Parameters::default() });
        near(&format!("Karp et al. 2000, median counter 3, n = {nodes}, last"), outcome.time_last, runs, rounds);
    }
}
