//! What theory says about a spread, where it says something.

use rumormill_core::StopRule;
use rumormill_core::config::Mode;

use super::{Distribution, Outcome, Parameters, Timing};
use crate::summary::count;
use crate::theory::{self, Calls, Formula};

/// The share that knows by round, from 0 to `rounds`.
pub(super) fn curve(parameters: &Parameters, rounds: usize) -> Option<Vec<f64>> {
    let Parameters { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, .. } = *parameters;
    let calls = match fanout_distribution {
        Distribution::Fixed | Distribution::Distinct => Calls::Fixed(fanout),
        Distribution::Poisson => Calls::Poisson(fanout),
    };
    match (stop, timing, connection_limit) {
        (StopRule::Never, Timing::Rounds, None) => Some(theory::mean_field(mode, nodes, calls, loss, rounds)),
        (StopRule::Never, Timing::Async, None) => {
            Some((0..=rounds).map(|period| theory::logistic(mode, nodes, fanout, loss, count(period))).collect())
        }
        (StopRule::ForwardOnce, Timing::Rounds, None) if mode == Mode::Push => {
            Some(theory::mean_field_once(nodes, calls, loss, rounds))
        }
        _ => None,
    }
}

/// When everybody knows, where everybody keeps going and nobody refuses.
pub(super) fn time_last(parameters: &Parameters) -> Option<Formula> {
    let Parameters { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, .. } = *parameters;
    // In pull and push-pull the tail has another shape where callers may make no call at all.
    let known = mode == Mode::Push || fanout_distribution != Distribution::Poisson;
    match timing {
        _ if stop != StopRule::Never || connection_limit.is_some() => None,
        Timing::Rounds => known.then(|| theory::rounds_to_all(mode, nodes, fanout, loss)),
        Timing::Async => Some(theory::periods_to_all(mode, nodes, fanout, loss)),
    }
}

/// What is left in the end: a root where the rule has one, or else what follows from the traffic.
pub(super) fn residue(outcome: &Outcome) -> Option<Formula> {
    let Parameters { mode, fanout, loss, stop, connection_limit, .. } = outcome.parameters;
    if mode != Mode::Push || stop == StopRule::Never {
        return None;
    }
    let root = |r: f64| Formula { text: format!("s = e^(-{r}(1 - s))"), value: theory::final_size(r) };
    let lossless = loss == 0.0;
    match (stop, connection_limit) {
        (StopRule::ForwardOnce, None) => Some(root(fanout * (1.0 - loss))),
        (StopRule::FeedbackCoin { k }, None) if lossless => Some(root(f64::from(k) + 1.0)),
        (StopRule::BlindCoin { k }, None) if lossless => Some(root(f64::from(k))),
        (_, None) if lossless => {
            Some(Formula { text: "e^-m".to_owned(), value: theory::residue_of_traffic(outcome.traffic.mean) })
        }
        (_, Some(1)) if lossless && outcome.parameters.hunt == 0 => Some(Formula {
            text: "e^-1.58m".to_owned(),
            value: theory::residue_of_traffic_limited(outcome.traffic.mean),
        }),
        _ => None,
    }
}
