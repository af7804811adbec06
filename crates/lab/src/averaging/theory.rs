//! By what the variance of estimates is multiplied in one cycle.

use super::{Method, Pairing};
use crate::summary::count;

/// Pieces into which the order of nodes is cut for [`fixed_order`]; the error falls with the square of their number.
const PIECES: usize = 1_000;

/// The expected factors of the first `cycles` cycles among `nodes`, given independent values at the beginning.
///
/// Estimates that are only just independent stay uncorrelated with a partner that is drawn at random, so that an
/// exchange takes `(x − y)² / 2` off the sum of squares, half of what the two contribute (Jelasity et al. 2005).
/// If a node takes part `φ` times, `2^-φ` of its variance remains.
///
/// - *random-edges*: `φ` is Poisson with mean 2: `1/e`. Exactly, each exchange takes `1/(n − 1)` of the whole.
/// - *perfect-matching*: `φ` is 2: `1/4`. Exactly `(n − 4) / (4 (n − 1))`: the first matching takes `n / (2 (n − 1))` of
///   the whole; in the second, who may not meet its last partner again finds the others the further away.
/// - *permuted*: `φ` is 1 and Poisson with mean 1: `1 / (2 √e)`, for large `n`.
/// - *fixed-order*: as *permuted* in the first cycle; later the squares depend on the place in the order, and are carried on place by place.
/// - *push-sum*: `1/2` of the potential, for large `n` (Kempe et al. 2003, the potential of their proof); exactly
///   `1/2 − 1/(2 (n − 1)) − (n − 2)/(4 (n − 1)²)` where nobody gives to itself.
pub fn factors(method: Method, nodes: usize, cycles: usize) -> Vec<f64> {
    let n = count(nodes);
    let same = |factor: f64| vec![factor; cycles];
    match method {
        Method::PushPull(Pairing::RandomEdges) => same((n * (-1.0 / (n - 1.0)).ln_1p()).exp()),
        Method::PushPull(Pairing::PerfectMatching) => same((n - 4.0) / (4.0 * (n - 1.0))),
        Method::PushPull(Pairing::Permuted) => same((-0.5_f64).exp() / 2.0),
        Method::PushPull(Pairing::FixedOrder) => fixed_order(cycles),
        Method::PushSum => same(0.5 - 0.5 / (n - 1.0) - 0.25 * (n - 2.0) / (n - 1.0).powi(2)),
    }
}

/// The factors of *fixed-order*, for large `n`: 0.3033 at first, soon 0.2933.
///
/// Let `u(s, t)` be the mean square of the node at place `s` of the order, at time `t` of the cycle, both from 0 to 1, and
/// `S(t)` the mean over all places. The node at place `t` acts at time `t`, with `a(t) = u(t, t)`; it and its random partner
/// then both have a quarter of `a + S` (their values are uncorrelated). All others are such partners at rate 1:
/// `∂u/∂t = (a − 3 u)/4`, and `S' = −(a + S)/2`. With `h = a e^(3t/4)` and `g = S e^(3t/4)` this is
/// `h(t) = u(t, 0) + ¼ ∫₀ᵗ h`, `g' = g/4 − h/2`, and at the end
/// `u(s, 1) = ¼ e^(−3/4) (h(s) + g(s) + ∫ₛ¹ h)`. Solved by the trapezium rule. Who comes early in each cycle is averaged with
/// the old numbers of the others, who comes late with new ones; that those differ takes a little more off.
fn fixed_order(cycles: usize) -> Vec<f64> {
    let step = 1.0 / count(PIECES);
    let mut squares = vec![1.0; PIECES + 1];
    let mut factors = Vec::with_capacity(cycles);
    for _ in 0..cycles {
        let whole = (squares.iter().sum::<f64>() - squares[0].midpoint(squares[PIECES])) * step;
        let (mut acting, mut all, mut summed) = (vec![squares[0]], vec![whole], vec![0.0]);
        for place in 1..=PIECES {
            let (h, g, sum) = (acting[place - 1], all[place - 1], summed[place - 1]);
            let next = (squares[place] + (sum + step / 2.0 * h) / 4.0) / (1.0 - step / 8.0);
            acting.push(next);
            summed.push(sum + step / 2.0 * (h + next));
            all.push((g * (1.0 + step / 8.0) - step / 4.0 * (h + next)) / (1.0 - step / 8.0));
        }
        let after = (-0.75_f64).exp();
        squares = (0..=PIECES)
            .map(|place| after / 4.0 * (acting[place] + all[place] + summed[PIECES] - summed[place]))
            .collect();
        factors.push(after * all[PIECES] / whole);
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_order_begins_as_a_permuted_one() {
        let factors = fixed_order(20);
        assert!((factors[0] - (-0.5_f64).exp() / 2.0).abs() < 1e-6, "{factors:?}");
        // The eigenvalue of the same equations, found by shooting: 0.293293.
        assert!((factors[19] - 0.293_293).abs() < 1e-5, "{factors:?}");
    }

    #[test]
    fn four_nodes_are_equal_after_two_matchings() {
        assert_eq!(factors(Method::PushPull(Pairing::PerfectMatching), 4, 1), [0.0]);
    }
}
