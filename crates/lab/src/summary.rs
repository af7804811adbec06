//! A few numbers that stand for many.

use serde::Serialize;

/// Mean, deviation and extremes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the sample (n − 1); 0 for a sample of one.
    pub sd: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
}

impl Summary {
    /// What stands for `values`; `None` for none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = count(values.len());
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            sd: (squares / (count - 1.0).max(1.0)).sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The standard error of the mean of a sample of `size`.
    pub fn error_of_mean(&self, size: usize) -> f64 {
        self.sd / count(size).sqrt()
    }
}

/// A share in percent, to four digits behind the point: 7, not 7.000000000000001.
pub fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) const fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_summed_up_with_the_deviation_of_a_sample() {
        let summary = Summary::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((summary.mean, summary.min, summary.max), (2.5, 1.0, 4.0));
        assert!((summary.sd - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((summary.error_of_mean(4) - summary.sd / 2.0).abs() < 1e-12);
    }

    #[test]
    fn shares_are_shown_as_they_were_written() {
        assert_eq!([0.07, 0.29, 0.123_456_7].map(|share| percent(share).to_string()), ["7", "29", "12.3457"]);
    }

    #[test]
    fn one_value_deviates_from_nothing_and_none_has_no_summary() {
        assert!(Summary::of(&[7.0]).unwrap().sd < f64::EPSILON);
        assert_eq!(Summary::of(&[]), None);
    }
}
