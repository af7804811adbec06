//! Numbers about the whole cluster that its nodes compute together, none of them collecting: the steps between two nodes.
//!
//! Two ways to the average of one value for each node. In *push-pull averaging* (Jelasity, Montresor and Babaoglu, ACM
//! Transactions on Computer Systems 23, 2005) two nodes that meet both take the mean of what they held: [`average`]. In
//! *push-sum* (Kempe, Dobra and Gehrke, FOCS 2003) a node gives half of its [`Mass`] away, and need not be answered.
//!
//! **Invariant:** what all nodes hold together is what they began with. That is the whole reason why the estimates go to
//! the average; a step that is done by one side only, because its other half got lost, breaks it. Epochs that
//! begin anew repair that, and are not part of these steps but of the machine in `count`. These types hold no time and no bytes.

pub(crate) mod count;
mod dialogue;
pub(crate) mod gauge;
pub(crate) mod histogram;

pub use gauge::Aggregate;

/// Why a question or an answer was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// No honest node says that.
    Senseless,
    /// Nobody waits for it, or it is older than what is known.
    Unexpected,
}

/// What both nodes hold after one exchange of push-pull averaging, given what they held before (Jelasity et al. 2005,
/// `UPDATE`).
///
/// The order of the two does not matter, to the last bit, so that both compute the same number; and twice the result is
/// the sum of the two, up to the rounding of one addition. Halved first, so that no sum overflows.
///
/// ```
/// use rumormill_core::aggregate::average;
/// assert_eq!(average(1.0, 4.0), 2.5);
/// ```
#[inline]
#[must_use]
pub fn average(ours: f64, theirs: f64) -> f64 {
    ours / 2.0 + theirs / 2.0
}

/// What flows from ours to theirs in such an exchange; where it is negative, the other way.
///
/// Who hears of an exchange late adds what flowed to whatever it holds by then; with [`average`] it would undo what
/// happened in between.
///
/// ```
/// use rumormill_core::aggregate::flow;
/// assert_eq!(flow(4.0, 1.0), 1.5);
/// ```
#[inline]
#[must_use]
pub fn flow(ours: f64, theirs: f64) -> f64 {
    ours / 2.0 - theirs / 2.0
}

/// What one node holds in push-sum: its share of the sum of all values, and its share of the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mass {
    /// The share of the sum.
    pub sum: f64,
    /// The share of the weight; the weights of all nodes together say what the sum is divided by.
    pub weight: f64,
}

impl Mass {
    /// Nothing: what a node holds that takes no part.
    pub const NONE: Self = Self { sum: 0.0, weight: 0.0 };

    /// What a node begins with: its value, counted once, so that estimates go to the average (Kempe et al. 2003, §2).
    pub const fn of(value: f64) -> Self {
        Self { sum: value, weight: 1.0 }
    }

    /// Takes half away, to be given to a node chosen at random; the other half stays.
    ///
    /// Nothing is rounded, unless numbers are so small that halving them loses digits (below 2^-1021).
    #[must_use = "half of the mass is lost if nobody absorbs it"]
    pub fn split(&mut self) -> Self {
        self.sum /= 2.0;
        self.weight /= 2.0;
        *self
    }

    /// Takes in what somebody gave.
    pub fn absorb(&mut self, given: Self) {
        self.sum += given.sum;
        self.weight += given.weight;
    }

    /// What this node takes the average to be; `None` while it has no weight.
    pub fn estimate(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Values of gauges: of any sign and size that a sum of some hundreds of them can bear.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![-1e9..1e9, -1.0..1.0, Just(0.0), (-1e300..1e300)]
    }

    /// The rounding that `additions` of numbers up to `largest` may cost.
    fn rounding(additions: u32, largest: f64) -> f64 {
        f64::from(additions) * largest * f64::EPSILON
    }

    fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
        values.into_iter().map(f64::abs).fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn both_sides_compute_the_same_mean(a in value(), b in value()) {
            prop_assert_eq!(average(a, b).to_bits(), average(b, a).to_bits());
        }

        #[test]
        fn an_exchange_keeps_the_sum_and_ends_between_the_two(a in value(), b in value()) {
            let mean = average(a, b);
            prop_assert!((mean - a / 2.0 - b / 2.0).abs() <= rounding(1, largest([a, b])));
            prop_assert!((a.min(b)..=a.max(b)).contains(&mean));
            prop_assert_eq!(average(a, a).to_bits(), a.to_bits());
        }

        #[test]
        fn exchanges_between_many_keep_their_sum(
            mut values in vec(-1e9..1e9, 2..50),
            meetings in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let (before, most) = (values.iter().sum::<f64>(), largest(values.iter().copied()));
            for (a, b) in &meetings {
                let (a, b) = (a.index(values.len()), b.index(values.len()));
                let mean = average(values[a], values[b]);
                (values[a], values[b]) = (mean, mean);
            }
            let after: f64 = values.iter().sum();
            prop_assert!((after - before).abs() <= rounding(400, most * 50.0), "{before} became {after}");
        }

        #[test]
        fn splitting_loses_nothing_at_all(sum in -1e300..1e300, weight in 0.0..1e9) {
            let before = Mass { sum, weight };
            let mut kept = before;
            let given = kept.split();
            prop_assert_eq!(given, kept);
            kept.absorb(given);
            prop_assert_eq!(kept, before);
        }

        #[test]
        fn mass_is_conserved_whoever_gives_to_whom(
            values in vec(-1e9..1e9, 2..50),
            gifts in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut masses: Vec<Mass> = values.iter().copied().map(Mass::of).collect();
            for (giver, taker) in &gifts {
                let given = masses[giver.index(values.len())].split();
                masses[taker.index(values.len())].absorb(given);
            }
            let mut all = Mass::NONE;
            for mass in &masses {
                all.absorb(*mass);
            }
            let (expected, most) = (values.iter().sum::<f64>(), largest(values.iter().copied()) * 50.0);
            prop_assert!((all.sum - expected).abs() <= rounding(400, most), "{expected} became {}", all.sum);
            prop_assert!((all.weight - f64::from(u8::try_from(values.len()).unwrap())).abs() <= rounding(400, 50.0));
        }
    }

    #[test]
    fn the_mean_of_the_largest_numbers_does_not_overflow() {
        assert_eq!(average(f64::MAX, f64::MAX).to_bits(), f64::MAX.to_bits());
    }

    #[test]
    fn who_has_no_weight_has_no_estimate() {
        assert_eq!(Mass::NONE.estimate(), None);
        assert_eq!(Mass::of(3.0).estimate(), Some(3.0));
    }
}
