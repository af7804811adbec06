//! Infect and die: each node passes the update on once (Kermarrec, Massoulie, Ganesh 2003).

mod support;

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::spread::{Distribution, Parameters};
use rumormill_lab::{published, theory};
use support::{near, spread};

const RUNS: usize = 1_000;

fn once(fanout: f64) -> Parameters {
    Parameters {
        mode: Mode::Push,
        fanout,
        fanout_distribution: Distribution::Distinct,
        stop: StopRule::ForwardOnce,
        runs: RUNS,
        ..Parameters::default()
    }
}

#[test]
fn the_share_reached_and_the_hops_to_the_last_are_the_published_ones() {
    for row in published::ONCE {
        let outcome = spread(&once(f64::from(row.fanout)));
        near(&format!("infect and die, fanout {}, share reached", row.fanout), outcome.coverage, RUNS, row.coverage);
        if let Some(last) = row.last {
            near(&format!("infect and die, fanout {}, last delivery", row.fanout), outcome.time_last, RUNS, last);
        }
        // "Messages/n = f x coverage", exactly.
        let messages = f64::from(row.fanout) * outcome.coverage.mean;
        assert!((outcome.traffic.mean - messages).abs() < 1e-9, "{messages}, {:?}", outcome.traffic);
    }
}

#[test]
fn the_hops_to_the_last_of_10_000_are_the_published_ones() {
    for (fanout, last) in published::ONCE_LAST_OF_10_000 {
        let runs = 200;
        let outcome = spread(&Parameters { nodes: 10_000, runs, ..once(f64::from(fanout)) });
        near(&format!("infect and die, 10,000 nodes, fanout {fanout}, last delivery"), outcome.time_last, runs, last);
    }
}

#[test]
fn loss_acts_like_a_smaller_fanout() {
    for (loss, coverage) in published::ONCE_LOSSY {
        let outcome = spread(&Parameters { loss, ..once(5.0) });
        near(&format!("infect and die, fanout 5, loss {loss}, share reached"), outcome.coverage, RUNS, coverage);
    }
}

/// e^(-e^-c) at a Poisson fanout of mean ln n + c: the chance that everybody is reached.
#[test]
fn the_chance_to_reach_everybody_is_a_double_exponential() {
    let nodes = 1_000;
    for c in [0.0, 1.0, 2.0] {
        let fanout = f64::from(1_000).ln() + c;
        let runs = 4_000;
        let parameters = Parameters { nodes, fanout_distribution: Distribution::Poisson, runs, ..once(fanout) };
        let atomic = spread(&parameters).atomic;
        let expected = theory::atomicity(nodes, fanout, 0.0);
        // Four standard errors of a share of 4,000 runs, and the formula's own error of order ln n / n.
        let tolerance = 4.0 * (expected * (1.0 - expected) / 4_000.0).sqrt() + 0.007;
        assert!((atomic - expected).abs() < tolerance, "c = {c}: {atomic}, {expected}");
    }
}
