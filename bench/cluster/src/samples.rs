//! Repeated measurements of one thing.

use serde_json::{Value, json};

/// At least one value, in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// `None` without a value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) { f64::midpoint(self.0[middle - 1], self.0[middle]) } else { self.0[middle] }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are never 2^52 samples")]
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "median": self.median(), "mean": self.mean(), "min": self.min(), "max": self.max(), "values": self.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Samples::of([3.0, 1.0, 2.0]).expect("there are values");
        assert!((odd.median() - 2.0).abs() < 1e-9);
        let even = Samples::of([4.0, 1.0, 2.0, 3.0]).expect("there are values");
        assert!((even.median() - 2.5).abs() < 1e-9);
        assert!(Samples::of([]).is_none());
    }
}
