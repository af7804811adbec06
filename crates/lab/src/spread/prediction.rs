//! What theory says about a spread, where it says something.

use rumormill_core::StopRule;
use rumormill_core::config::Mode;

use super::{Distribution, Parameters, Timing};
use crate::theory::{self, Calls, Formula};

impl Parameters {
    /// The share that knows by round, or mean period, from 0 to `rounds`, where a formula exists.
    pub fn curve_predicted(&self, rounds: usize) -> Option<Vec<f64>> {
        let Self { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, .. } = *self;
        let calls = match fanout_distribution {
            Distribution::Fixed | Distribution::Distinct => Calls::Fixed(fanout),
            Distribution::Poisson => Calls::Poisson(fanout),
        };
        match (stop, timing, connection_limit) {
            (StopRule::Never, Timing::Rounds, None) => Some(theory::mean_field(mode, nodes, calls, loss, rounds)),
            (StopRule::Never, Timing::Async, None) => {
                Some(theory::mean_field_by_clocks(mode, nodes, calls, loss, rounds))
            }
            (StopRule::ForwardOnce, Timing::Rounds, None) if mode == Mode::Push => {
                Some(theory::mean_field_once(nodes, calls, loss, rounds))
            }
            _ => None,
        }
    }

    /// When theory expects the last node to learn it, where a formula exists: everybody keeps going and nobody refuses.
    pub fn time_last_predicted(&self) -> Option<Formula> {
        let Self { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, .. } = *self;
        // In pull and push-pull the tail has another shape where callers may make no call at all.
        let known = mode == Mode::Push || fanout_distribution != Distribution::Poisson;
        if stop != StopRule::Never || connection_limit.is_some() || !known {
            return None;
        }
        Some(match timing {
            Timing::Rounds => theory::rounds_to_all(mode, nodes, fanout, loss),
            Timing::Async => theory::periods_to_all(mode, nodes, fanout, loss),
        })
    }

    /// The share that theory expects never to know it, where a formula exists: a root where the rule has one, given
    /// that the update does not die at once, or else what follows from the update messages for each node.
    ///
    /// The root of feedback and coin is that of the differential equations, in which contacts follow one another: it
    /// holds with clocks of their own. In rounds two senders that hit the same node are both useful, and fewer are left out
    /// (k = 1: 17.3 % against the root's 20.3 %). The law of traffic under a connection limit, e^(−1.58m), means a network
    /// in which everybody sends in each round, which these rules never are for long: there is no formula for it here.
    pub fn residue_predicted(&self, traffic: f64) -> Option<Formula> {
        let Self { mode, fanout, loss, stop, timing, connection_limit, .. } = *self;
        if mode != Mode::Push || stop == StopRule::Never || connection_limit.is_some() {
            return None;
        }
        let lossless = loss == 0.0;
        let met = match stop {
            StopRule::ForwardOnce => Some(fanout * (1.0 - loss)),
            StopRule::FeedbackCoin { k } if lossless && timing == Timing::Async => Some(f64::from(k) + 1.0),
            StopRule::BlindCoin { k } if lossless => Some(f64::from(k)),
            StopRule::Never
            | StopRule::BlindCounter { .. }
            | StopRule::BlindCoin { .. }
            | StopRule::FeedbackCounter { .. }
            | StopRule::FeedbackCoin { .. }
            | StopRule::MedianCounter { .. }
            | StopRule::TransmitLimit { .. } => None,
        };
        let root = |r| Formula { text: format!("s = e^(-{}(1 - s))", theory::short(r)), value: theory::final_size(r) };
        let law = || Formula { text: "e^-m".to_owned(), value: theory::residue_of_traffic(traffic) };
        met.map(root).or_else(|| lossless.then(law))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_formula_has_none() {
        let base = Parameters::default;
        let poisson = Parameters { fanout_distribution: Distribution::Poisson, ..base() };
        for timing in [Timing::Rounds, Timing::Async] {
            assert_eq!(Parameters { timing, ..poisson.clone() }.time_last_predicted(), None);
            assert!(Parameters { timing, mode: Mode::Push, ..poisson.clone() }.time_last_predicted().is_some());
            assert!(Parameters { timing, ..base() }.time_last_predicted().is_some());
        }
        assert_eq!(Parameters { connection_limit: Some(1), ..base() }.time_last_predicted(), None);
        assert_eq!(Parameters { stop: StopRule::ForwardOnce, ..base() }.residue_predicted(1.0), None, "push-pull");
    }

    #[test]
    fn formulas_are_written_with_few_digits() {
        let once = Parameters {
            mode: Mode::Push,
            stop: StopRule::ForwardOnce,
            fanout: 3.0,
            loss: 0.3,
            ..Parameters::default()
        };
        assert_eq!(once.residue_predicted(1.0).unwrap().text, "s = e^(-2.1(1 - s))");
        let law = Parameters { stop: StopRule::FeedbackCounter { k: 1 }, loss: 0.0, ..once };
        assert_eq!(law.residue_predicted(0.0), Some(Formula { text: "e^-m".to_owned(), value: 1.0 }));
    }
}
