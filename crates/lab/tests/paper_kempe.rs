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

#[test]
fn rounds_grow_with_log_n_and_log_of_the_error() {
    // The proof: the potential is at most n at the beginning and halves in each round, an error of e needs one of e²,
    // and luck as bad as once in 1,000 costs log2 1000 rounds more (Markov's inequality).
    for nodes in [100, 1_000, 10_000, 100_000] {
        for within in outcome(nodes, 100).within {
            #[expect(clippy::cast_precision_loss, reason = "they are few")]
            let bound = (nodes as f64).log2() + 2.0 * within.error.recip().log2() + 1000_f64.log2();
            let rounds = within.cycles.unwrap_or_else(|| panic!("{nodes} nodes are not within {}", within.error));
            assert!(rounds.max <= bound, "{nodes} nodes, error {}: {rounds:?}, bound {bound:.1}", within.error);
        }
    }
}
