//! Rounds until all know where everybody keeps going (Pittel 1987; Karp et al. 2000), and the median counter.

mod support;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::Summary;
use rumormill_lab::published;
use rumormill_lab::spread::{Outcome, Parameters, Timing};
use rumormill_lab::theory;
use support::{near, spread};

/// As many runs as a test has time for.
const fn runs(nodes: usize) -> usize {
    match nodes {
        0..5_000 => 1_000,
        5_000..50_000 => 200,
        50_000..500_000 => 30,
        _ => 20,
    }
}

#[test]
fn every_cell_of_the_tables_of_rounds_comes_out() {
    let mut cells = 0;
    for row in published::rounds() {
        let runs = runs(row.nodes);
        let (mode, nodes, fanout, loss) = (row.mode, row.nodes, f64::from(row.fanout), row.loss);
        let outcome = spread(&Parameters { nodes, mode, fanout, loss, runs, ..Parameters::default() });
        // Few runs tell little of their own deviation, which hardly depends on the number of nodes: many runs of few tell more.
        let few = Parameters { mode, fanout, loss, runs: 1_000, ..Parameters::default() };
        let mut last = outcome.time_last;
        last.sd = if runs <= 30 { last.sd.max(spread(&few).time_last.sd) } else { last.sd };
        near(&format!("rounds, {mode:?}, fanout {fanout}, loss {loss}, n = {nodes}"), last, runs, row.rounds);
        assert!(outcome.atomic >= 1.0, "everybody keeps going, so everybody knows in the end");
        cells += 1;
    }
    assert_eq!(cells, 9 * 4 + 25);
}

#[test]
fn the_deviation_of_the_rounds_is_the_published_one() {
    let runs = 10_000;
    for (mode, deviation) in published::ROUNDS_DEVIATION {
        let sd = spread(&Parameters { mode, runs, ..Parameters::default() }).time_last.sd;
        // The deviation of N runs deviates by √((κ − 1) / 4N) of itself; the kurtosis κ of a time to reach all is at most that of
        // the last of many waiting times (Gumbel), 5.4.
        let sd_of_sd = deviation.value * (4.4_f64 / 4.0).sqrt();
        assert!((sd - deviation.value).abs() < deviation.tolerance(sd_of_sd, runs), "{mode:?}: {sd}, {deviation:?}");
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

/// How much longer ten times as many nodes take does not depend on the constant that the formula leaves open.
#[test]
fn by_their_own_clocks_ten_times_the_nodes_take_longer_by_what_the_formula_says() {
    let runs = 400;
    for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
        for fanout in [1.0, 3.0] {
            let [few, many] = [1_000, 10_000].map(|nodes| {
                let parameters =
                    Parameters { nodes, mode, fanout, timing: Timing::Async, runs, ..Parameters::default() };
                let predicted = parameters.time_last_predicted().expect("it has a formula").value;
                (spread(&parameters).time_last, predicted)
            });
            let (ours, expected) = (many.0.mean - few.0.mean, many.1 - few.1);
            let tolerance = 4.0 * many.0.error_of_mean(runs).hypot(few.0.error_of_mean(runs));
            assert!((ours - expected).abs() < tolerance, "{mode:?}, fanout {fanout}: {ours}, formula {expected}");
        }
    }
}

fn median(nodes: usize, k: u32, runs: usize) -> Outcome {
    spread(&Parameters { nodes, stop: StopRule::MedianCounter { k }, runs, ..Parameters::default() })
}

#[test]
fn the_median_counter_takes_the_published_transmissions() {
    for (k, transmissions) in published::MEDIAN {
        let outcome = median(1_000, k, 2_000);
        near(&format!("Karp et al. 2000, median counter {k}, transmissions"), outcome.traffic, 2_000, transmissions);
    }
}

#[test]
fn the_median_counter_reaches_everybody_as_often_as_published() {
    for (nodes, k, share) in published::MEDIAN_ALL {
        let runs = if nodes > 1_000 { 200 } else { 2_000 };
        let atomic = median(nodes, k, runs).atomic;
        let sd = (share.value * (1.0 - share.value)).sqrt();
        let ours = Summary { mean: atomic, sd, min: 0.0, max: 1.0 };
        near(&format!("Karp et al. 2000, median counter {k}, n = {nodes}, all reached"), ours, runs, share);
    }
}

#[test]
fn the_median_counter_ends_in_the_published_rounds() {
    for row in published::MEDIAN_ENDS {
        let runs = runs(row.nodes);
        let outcome = median(row.nodes, 3, runs);
        let what = |end: &str| format!("Karp et al. 2000, median counter 3, n = {}, {end}", row.nodes);
        near(&what("last"), outcome.time_last, runs, row.last);
        near(&what("quiet"), outcome.time_quiet, runs, row.quiet);
    }
}
