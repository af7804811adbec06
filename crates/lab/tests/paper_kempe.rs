//! Kempe, Dobra and Gehrke, "Gossip-Based Computation of Aggregate Information", FOCS 2003, against core's mass.

use rumormill_lab::averaging::{self, Method, Outcome, Parameters};
use rumormill_lab::jobs::Unwatched;

const RUNS: usize = 50;

fn outcome(nodes: usize, cycles: usize) -> Outcome {
    let parameters = Parameters { nodes, method: Method::PushSum, cycles, runs: RUNS, seed: 1 };
    averaging::run(&parameters, &Unwatched).expect("the parameters are sound")
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "there are few runs")]
fn the_potential_of_the_proof_halves_in_each_round() {
    for nodes in [100, 1_000, 10_000] {
        let outcome = outcome(nodes, 20);
        let tolerance = 4.0 * outcome.variance_factor.sd / (RUNS as f64).sqrt();
        let mean = outcome.variance_factor.mean;
        assert!((mean - outcome.theory).abs() <= tolerance, "{nodes}: {mean:.4}, not {:.4}", outcome.theory);
        assert!((outcome.theory - 0.5).abs() <= 1.0 / nodes as f64, "{nodes}: {}", outcome.theory);
    }
}

/// From below: within an error of e the potential is at most `e² truth² Σw²`. It begins with n/12 (the variance of numbers from
/// 0 to 1, whose truth is 1/2) and halves; `E w²` comes to 3/2, as it becomes `(2 E w² + 3)/4` in a round. So it takes at least
/// `2 log2(1/e) − log2 4.5` rounds.
///
/// From above, the proof: no error of a node is more than the potential, so that after `log2 n + 2 log2(1/e)` rounds one more
/// than e is left with a chance that halves in each further round (Markov's inequality), which adds 2 rounds to the mean.
#[test]
#[expect(clippy::cast_precision_loss, reason = "nodes and runs are few")]
fn rounds_grow_with_log_n_and_log_of_the_error() {
    let sizes = [100, 1_000, 10_000, 100_000];
    let all = sizes.map(|nodes| outcome(nodes, 100).within);
    for (nodes, within) in sizes.into_iter().zip(&all) {
        for within in within {
            let rounds = within.cycles.unwrap_or_else(|| panic!("{nodes} nodes are not within {}", within.error));
            let (precision, chance) = (2.0 * within.error.recip().log2(), 4.0 * rounds.error_of_mean(RUNS));
            let (least, most) = (precision - 4.5_f64.log2(), precision + (nodes as f64).log2() + 2.0);
            let holds = (least - chance..=most + chance).contains(&rounds.mean);
            assert!(holds, "{nodes} nodes, error {}: {rounds:?}, from {least:.1} to {most:.1}", within.error);
        }
    }
    // Of a thousand times the nodes, some hear nothing for longer.
    for (few, many) in all[0].iter().zip(&all[3]) {
        let [few, many] = [few, many].map(|within| within.cycles.expect("looked at above"));
        let chance = 4.0 * few.error_of_mean(RUNS).hypot(many.error_of_mean(RUNS));
        assert!(many.mean - few.mean > chance, "{few:?}, then {many:?}");
    }
}
