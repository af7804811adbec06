//! What theory says about a run of the virtual network, where it says something.

use rumormill_core::config::{Mode, View};

use super::Scenario;
use crate::theory::{Calls, mean_field_once};

/// Fewer than that many in a hop are not worth drawing.
const FRESH_MIN: f64 = 0.000_5;
/// Nor are more hops than that.
const HOPS_MAX: usize = 40;

impl Scenario {
    /// The share of the nodes that have a message after so many hops, from none, if each tells as many others as the fanout says,
    /// once. Nodes with partial views tell all their neighbours, and in pull nobody tells unasked: there is no formula for these.
    pub fn hops_predicted(&self) -> Option<Vec<f64>> {
        if self.config.view != View::Full || self.config.mode == Mode::Pull {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a fanout has two digits")]
        let calls = Calls::Fixed(self.config.fanout as f64);
        let mut curve = mean_field_once(self.nodes, calls, self.loss, HOPS_MAX);
        // The first hop reaches few of many nodes: what counts is where it levels off.
        let is_flat = |pair: &[f64]| pair[0] > 0.5 && pair[1] - pair[0] < FRESH_MIN;
        if let Some(last) = curve.windows(2).position(is_flat) {
            curve.truncate(last + 1);
        }
        Some(curve)
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::ConfigBuilder;

    use super::*;

    fn predicted(changes: impl FnOnce(&mut ConfigBuilder)) -> Option<Vec<f64>> {
        let mut scenario = Scenario { nodes: 1_000, ..Scenario::default() };
        changes(&mut scenario.config);
        scenario.hops_predicted()
    }

    #[test]
    fn everybody_tells_fanout_others_once() {
        let curve = predicted(|config| config.fanout = 3).unwrap();
        assert!((curve[0] - 0.001).abs() < 1e-9 && (curve[1] - 0.004).abs() < 1e-5, "{curve:?}");
        // 1 - s with s = e^(-3(1 - s)).
        assert!((curve.last().unwrap() - 0.9405).abs() < 0.001, "{curve:?}");
        assert!(curve.len() < 15, "{curve:?}");
    }

    #[test]
    fn there_is_no_formula_for_partial_views_and_pull() {
        assert_eq!(predicted(|config| config.view = View::Partial), None);
        assert_eq!(predicted(|config| config.mode = Mode::Pull), None);
    }
}
