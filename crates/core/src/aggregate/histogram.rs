//! How values are spread: a histogram whose buckets all nodes agree on without a word, so that histograms can be averaged.
//!
//! A bucket is a range of numbers that share the sign, the exponent and the first bits of the mantissa, so that its width
//! follows the size of its numbers: the idea of `DDSketch` (Masson, Rim and Lee, VLDB 2019), with the bits of the number in
//! place of a logarithm, which every machine computes alike. Where there are too many buckets each two beside each other
//! become one, everywhere alike, as in `UDDSketch` (Epicoco et al., IEEE Access 8, 2020): a histogram of a coarser *level* is
//! what it would have been had it been of that level from the start, so that nodes at different levels can meet.

/// Bits of the mantissa that a bucket of level 0 shares: its numbers differ by less than one part in 64.
const MANTISSA_BITS: u32 = 6;
/// Bits of a number below those that level 0 looks at.
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
/// At this level there are two buckets, below zero and above; no histogram is coarser.
const LEVEL_MAX: u8 = 17;
const _: () = assert!(LEVEL_MAX as u32 == u64::BITS - DROPPED_BITS - 1);
/// So many buckets at most, so that a histogram fits a datagram.
pub(crate) const BUCKETS_MAX: usize = 96;

/// Shares of numbers, by bucket.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Histogram {
    level: u8,
    /// By bucket; two of one level are in the order of their numbers.
    shares: Vec<(u32, f64)>,
}

/// The numbers of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Whole numbers in the order of the numbers whose bits they are made of.
const fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> (u64::BITS - 1) == 0 { bits | 1 << (u64::BITS - 1) } else { !bits }
}

const fn unordered(place: u64) -> f64 {
    f64::from_bits(if place >> (u64::BITS - 1) == 0 { !place } else { place & !(1 << (u64::BITS - 1)) })
}

fn bucket_of(number: f64) -> u32 {
    // Minus zero is zero.
    u32::try_from(ordered(number + 0.0) >> DROPPED_BITS).expect("18 bits are left")
}

fn range_of(bucket: u32, level: u8) -> Range {
    let shift = DROPPED_BITS + u32::from(level);
    let first = u64::from(bucket) << shift;
    // Where the next one begins: the numbers of this one lie below.
    let end = (first | ((1 << shift) - 1)).saturating_add(1);
    Range { low: unordered(first).max(f64::MIN), high: unordered(end).min(f64::MAX) }
}

/// Whether an honest node could hold so much of what is 0 or 1 at each node, or let it flow. An answer that comes late, after
/// others took their share, may leave a node with less than 0 or more than 1. Guess, four times what averages are between.
pub(super) fn is_part(share: f64) -> bool {
    (-4.0..=4.0).contains(&share)
}

impl Histogram {
    /// Of one number, which is finite.
    pub(crate) fn of(number: f64) -> Self {
        Self { level: 0, shares: vec![(bucket_of(number), 1.0)] }
    }

    /// As somebody sent it: `None` if it makes no sense.
    pub(crate) fn read(level: u8, shares: Vec<(u32, f64)>) -> Option<Self> {
        if level > LEVEL_MAX {
            return None;
        }
        let buckets = 1_u32 << (u64::BITS - DROPPED_BITS - u32::from(level));
        let makes_sense = shares.len() <= BUCKETS_MAX
            && shares.is_sorted_by(|before, after| before.0 < after.0)
            && shares.iter().all(|(bucket, share)| *bucket < buckets && is_part(*share));
        makes_sense.then_some(Self { level, shares })
    }

    pub(crate) const fn level(&self) -> u8 {
        self.level
    }

    pub(crate) fn shares(&self) -> &[(u32, f64)] {
        &self.shares
    }

    /// Makes each two buckets beside each other one, until this level is reached.
    pub(crate) fn coarsen_to(&mut self, level: u8) {
        let steps = level.saturating_sub(self.level);
        if steps == 0 {
            return;
        }
        self.level = level;
        self.shares.iter_mut().for_each(|(bucket, _)| *bucket >>= steps);
        self.merge_same();
    }

    /// What is to flow from this one to the other so that both hold the same, as four bytes can say it: what one of them adds
    /// and the other takes away. Both are made coarse enough for what they hold together.
    pub(crate) fn flow_to(&mut self, mut other: Self) -> Self {
        let level = self.level.max(other.level);
        self.coarsen_to(level);
        other.coarsen_to(level);
        let mut flows = self.minus_half(&other);
        while flows.shares.len() > BUCKETS_MAX {
            flows.coarsen_to(flows.level + 1);
        }
        self.coarsen_to(flows.level);
        for (_, flow) in &mut flows.shares {
            *flow = short(*flow);
        }
        flows
    }

    /// Half of the difference, by bucket of one level.
    fn minus_half(&self, other: &Self) -> Self {
        let mut halves: Vec<(u32, f64)> = Vec::with_capacity(self.shares.len() + other.shares.len());
        let own = self.shares.iter().map(|(bucket, share)| (*bucket, share / 2.0));
        let others = other.shares.iter().map(|(bucket, share)| (*bucket, -share / 2.0));
        halves.extend(own.chain(others));
        halves.sort_by_key(|(bucket, _)| *bucket);
        let mut halves = Self { level: self.level, shares: halves };
        halves.merge_same();
        halves
    }

    fn merge_same(&mut self) {
        self.shares.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0.0 };
            is_same
        });
    }

    /// Takes in what flows, or gives it away if `sign` is below zero.
    pub(crate) fn add(&mut self, mut flows: Self, sign: f64) {
        let level = self.level.max(flows.level);
        self.coarsen_to(level);
        flows.coarsen_to(level);
        self.shares.extend(flows.shares.iter().map(|(bucket, flow)| (*bucket, sign * flow)));
        self.shares.sort_by_key(|(bucket, _)| *bucket);
        self.merge_same();
        while self.shares.len() > BUCKETS_MAX {
            self.coarsen_to(self.level + 1);
        }
    }

    /// The bucket in which this part of all shares lies below; shares below zero, which an open exchange may leave, count as
    /// none. `None` if there are no shares.
    pub(crate) fn quantile(&self, part: f64) -> Option<Range> {
        let held = |share: f64| share.max(0.0);
        let all: f64 = self.shares.iter().map(|(_, share)| held(*share)).sum();
        let mut left = part * all;
        let mut last = None;
        for (bucket, share) in self.shares.iter().filter(|(_, share)| *share > 0.0) {
            left -= share;
            last = Some(range_of(*bucket, self.level));
            if left <= 0.0 {
                break;
            }
        }
        last
    }
}

/// As four bytes can say it.
#[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
pub(crate) fn short(number: f64) -> f64 {
    (number as f32).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![-1e9..1e9, -1.0..1.0, Just(0.0), Just(-0.0), -1e300..1e300]
    }

    fn all_of(numbers: &[f64]) -> Histogram {
        let mut all = Histogram::default();
        for number in numbers {
            all.add(Histogram::of(*number), 1.0);
        }
        all
    }

    fn total(histogram: &Histogram) -> f64 {
        histogram.shares.iter().map(|(_, share)| share).sum()
    }

    proptest! {
        #[test]
        fn a_number_lies_in_its_bucket_at_every_level(number in number()) {
            for level in 0..=LEVEL_MAX {
                let mut of = Histogram::of(number);
                of.coarsen_to(level);
                let Range { low, high } = of.quantile(0.5).unwrap();
                prop_assert!((low..=high).contains(&number), "{low} {number} {high} at level {level}");
                if level == 0 && number.abs() > 1e-300 {
                    prop_assert!(high - low <= number.abs() / 63.0);
                }
            }
        }

        #[test]
        fn coarser_is_what_it_would_have_been(numbers in proptest::collection::vec(number(), 1..60), level in 0..=LEVEL_MAX) {
            let mut late = all_of(&numbers);
            let level = level.max(late.level());
            late.coarsen_to(level);
            let mut early = Histogram { level, shares: Vec::new() };
            for number in &numbers {
                early.add(Histogram::of(*number), 1.0);
            }
            prop_assert_eq!(late, early);
        }

        #[test]
        fn an_exchange_loses_nothing_and_ends_with_the_same_on_both_sides(
            one in proptest::collection::vec(number(), 1..60), other in proptest::collection::vec(number(), 1..60)
        ) {
            let (mut one, mut other) = (all_of(&one), all_of(&other));
            // Shares are those of averages: at most 1.
            for histogram in [&mut one, &mut other] {
                histogram.shares.iter_mut().for_each(|(_, share)| *share /= 64.0);
            }
            let before = total(&one) + total(&other);
            let flows = one.flow_to(other.clone());
            prop_assert!(Histogram::read(flows.level(), flows.shares().to_vec()).is_some());
            one.add(flows.clone(), -1.0);
            other.add(flows, 1.0);
            prop_assert!((total(&one) + total(&other) - before).abs() < 1e-12);
            prop_assert_eq!(one.level, other.level);
            for ((_, ours), (_, theirs)) in one.shares.iter().zip(&other.shares) {
                prop_assert!((ours - theirs).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_quantile_is_the_number_below_which_this_part_lies() {
        let numbers: Vec<f64> = (1..=100).map(f64::from).collect();
        let all = all_of(&numbers);
        for (part, expected) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            let Range { low, high } = all.quantile(part).unwrap();
            assert!((low..=high).contains(&expected), "{part}: {low} to {high}");
            assert!(high - low <= expected / 15.0, "{part}: {low} to {high}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn what_no_honest_node_sends_is_refused() {
        let fits = |level, shares: &[(u32, f64)]| Histogram::read(level, shares.to_vec()).is_some();
        assert!(fits(0, &[(1, 0.5), (2, -0.5)]) && fits(LEVEL_MAX, &[(0, 1.0), (1, 1.0)]));
        assert!(!fits(LEVEL_MAX, &[(2, 0.1)]), "there are two buckets only");
        assert!(!fits(LEVEL_MAX + 1, &[]) && !fits(u8::MAX, &[]));
        assert!(!fits(0, &[(2, 0.1), (1, 0.1)]) && !fits(0, &[(1, 0.1), (1, 0.1)]));
        assert!(!fits(0, &[(1, f64::NAN)]) && !fits(0, &[(1, 4.1)]));
        let many: Vec<(u32, f64)> = (0..=96).map(|bucket| (bucket, 0.0)).collect();
        assert!(fits(0, &many[..96]) && !fits(0, &many));
    }
}
