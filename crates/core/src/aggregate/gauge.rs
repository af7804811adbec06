//! One gauge over the whole cluster: one node's part in one epoch of push-pull averaging (Jelasity, Montresor and Babaoglu,
//! ACM Transactions on Computer Systems 23, 2005, §3 and §5).
//!
//! A node holds averages over all nodes: of 1 at whoever began the epoch and 0 elsewhere, which becomes one over the number
//! of nodes (COUNT, §5.2); of 1 where the gauge has a value and 0 elsewhere; of the values, 0 where there is none; and of the
//! histograms of one value each. From these follow count, sum, average and quantiles. The lowest and the highest value are
//! no averages: they are exact as soon as they have gone round.
//!
//! Exchanges are made as those of [`Count`](super::count::Count): the answer says what *flows*, so that either side may meet others in
//! between; a question that comes again gets the same answer once more, and nothing flows twice.
//!
//! **Invariant:** what flows out of one node flows into another, to the last bit of what is sent, unless an answer is lost
//! for good. That error lasts to the end of the epoch; the next one begins anew.

use super::dialogue::Dialogue;
use super::histogram::{BUCKETS_MAX, Histogram, Range, is_part, short};
use super::{Refused, flow};
use crate::identity::NodeId;
use crate::wire::{Put, Reader};

/// What a holding takes where it is sent, without its histogram, and what a bucket takes.
const HOLDING_BYTES: usize = 33;
const BUCKET_BYTES: usize = 8;
/// The most that a holding takes where it is sent.
pub(crate) const HOLDING_BYTES_MAX: usize = HOLDING_BYTES + BUCKET_BYTES * BUCKETS_MAX;
/// The largest value of a gauge, and below zero the smallest: what a million of them add up to is a number yet.
pub(crate) const VALUE_MAX: f64 = 1e300;
/// Shares and counts are sent in four bytes: so much of them is lost on the way, at most.
const ROUNDING: f64 = 1e-6;
/// By how many of its last exchanges a node judges how far averaging has come.
const JUDGED: usize = 8;

/// What one node holds of an epoch, offers of it, or gets of it.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Holding {
    /// Of the 1 of the node that began the epoch.
    pub(crate) one: f64,
    /// Of the number of nodes that have a value.
    pub(crate) weight: f64,
    /// Of the sum of the values.
    pub(crate) sum: f64,
    /// The lowest value heard of; infinite as long as there is none.
    pub(crate) low: f64,
    /// The highest; below all numbers as long as there is none.
    pub(crate) high: f64,
    pub(crate) histogram: Histogram,
}

/// What an epoch has found.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Aggregate {
    /// How many nodes there are.
    pub members: f64,
    /// How many of them have a value.
    pub count: f64,
    /// What all values add up to.
    pub sum: f64,
    /// Their mean; none has one where `count` is 0.
    pub average: f64,
    /// The lowest value.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// By how much what this node held differed at most from what those held that it met last, before they met: as a part
    /// of itself; of the sum, as a part of `count` times the value that is farthest from 0.
    pub spread: f64,
}

impl Aggregate {
    /// The value that is farthest from 0, as a distance.
    fn scale(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// By how much the average may be wrong: the sum of which it is made may, and the count.
    pub fn average_error(&self) -> f64 {
        2.0 * self.spread * self.scale()
    }

    /// By how much the sum may be wrong: by what the average may be, and by what the count may be.
    pub fn sum_error(&self) -> f64 {
        2.0 * self.spread * self.scale() * self.count
    }

    /// By how much the count may be wrong: two parts of it may, that of the nodes and that of those with a value.
    pub fn count_error(&self) -> f64 {
        2.0 * self.spread * self.count
    }
}

/// One node's part.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Epoch {
    held: Holding,
    dialogue: Dialogue<Holding>,
    /// How far this node and the last that it met were from each other, as a part of what they held.
    spreads: [f64; JUDGED],
    met: usize,
}

impl Holding {
    fn first(value: Option<f64>, begins: bool) -> Self {
        let weight = f64::from(u8::from(value.is_some()));
        Self {
            one: f64::from(u8::from(begins)),
            weight,
            sum: value.unwrap_or(0.0),
            low: value.unwrap_or(f64::INFINITY),
            high: value.unwrap_or(f64::NEG_INFINITY),
            histogram: value.map_or_else(Histogram::default, Histogram::of),
        }
    }

    /// How many bytes it takes where it is sent.
    pub(crate) fn bytes(&self) -> usize {
        HOLDING_BYTES + BUCKET_BYTES * self.histogram.shares().len()
    }

    /// As it is sent: 33 bytes, and 8 for each bucket.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.put_short_float(self.one);
        to.put_short_float(self.weight);
        for number in [self.sum, self.low, self.high] {
            to.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        to.push(self.histogram.level());
        for (bucket, share) in self.histogram.shares() {
            to.extend_from_slice(&bucket.to_le_bytes());
            to.put_short_float(*share);
        }
    }

    /// As somebody sent it; `None` if no honest node says that.
    pub(crate) fn read(mut content: Reader<'_>) -> Option<Self> {
        let (one, weight) = (content.short_float()?, content.short_float()?);
        let [sum, low, high] = [content.u64()?, content.u64()?, content.u64()?].map(f64::from_bits);
        let level = content.u8()?;
        let mut shares = Vec::new();
        while !content.is_empty() {
            shares.push((content.u32()?, content.short_float()?));
        }
        let histogram = Histogram::read(level, shares)?;
        Some(Self { one, weight, sum, low, high, histogram }).filter(Self::makes_sense)
    }

    /// Whether an honest node could hold this, or let it flow.
    fn makes_sense(&self) -> bool {
        let is_value = |value: f64, none: f64| value.is_finite() || value.to_bits() == none.to_bits();
        is_part(self.one)
            && is_part(self.weight)
            && self.sum.is_finite()
            && is_value(self.low, f64::INFINITY)
            && is_value(self.high, f64::NEG_INFINITY)
    }

    /// What is to flow to somebody who holds that, so that both hold the same.
    fn flow_to(&mut self, other: &Self) -> Self {
        Self {
            one: short(flow(self.one, other.one)),
            weight: short(flow(self.weight, other.weight)),
            sum: flow(self.sum, other.sum),
            low: self.low,
            high: self.high,
            histogram: self.histogram.flow_to(other.histogram.clone()),
        }
    }

    fn add(&mut self, flows: &Self, sign: f64) {
        self.one += sign * flows.one;
        self.weight += sign * flows.weight;
        self.sum += sign * flows.sum;
        self.histogram.add(flows.histogram.clone(), sign);
    }

    fn hear_of(&mut self, other: &Self) {
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
    }

    /// What this and the other are apart, as a part of what both hold: the most of all.
    fn spread(&self, other: &Self) -> f64 {
        let mean = |ours: f64, theirs: f64| f64::midpoint(ours.abs(), theirs.abs());
        let extremes = [self.low, self.high, other.low, other.high].map(f64::abs);
        let largest = extremes.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let weight = mean(self.weight, other.weight);
        let parts = [
            (self.one - other.one, mean(self.one, other.one)),
            (self.weight - other.weight, weight),
            (self.sum - other.sum, largest * weight),
        ];
        let part = |(apart, of): (f64, f64)| if of > 0.0 { apart.abs() / of } else { 0.0 };
        parts.into_iter().map(part).fold(0.0, f64::max)
    }
}

impl Epoch {
    /// Takes part with this node's value, if it has one. One node of all `begins` the epoch.
    pub(crate) fn new(value: Option<f64>, begins: bool) -> Self {
        assert!(value.is_none_or(f64::is_finite), "values of gauges are checked where they are set");
        Self {
            held: Holding::first(value, begins),
            dialogue: Dialogue::default(),
            spreads: [f64::INFINITY; JUDGED],
            met: 0,
        }
    }

    /// Who was asked and has not answered.
    pub(crate) fn waits_for(&self) -> Option<NodeId> {
        self.dialogue.waits_for()
    }

    /// What to ask a peer with, and the number of the question: the same again while it is open. Whoever else was asked is
    /// no longer waited for.
    pub(crate) fn ask(&mut self, peer: NodeId) -> (u16, &Holding) {
        let held = &self.held;
        // Both sides reckon with what four bytes can say.
        let short_of = || Holding { one: short(held.one), weight: short(held.weight), ..held.clone() };
        self.dialogue.ask(peer, short_of)
    }

    /// How many bytes an answer to that takes at most.
    pub(crate) fn answer_bytes_max(&self, offered: &Holding) -> usize {
        (self.held.bytes() + BUCKET_BYTES * offered.histogram.shares().len()).min(HOLDING_BYTES_MAX)
    }

    /// Whether anybody took part with this node.
    pub(crate) const fn has_met(&self) -> bool {
        self.met > 0
    }

    /// A peer asks: what flows to it.
    pub(crate) fn answer(&mut self, peer: NodeId, number: u16, offered: &Holding) -> Result<&Holding, Refused> {
        if !offered.makes_sense() {
            return Err(Refused::Senseless);
        }
        if self.dialogue.was_asked(peer, number)? {
            return Ok(self.dialogue.told(peer).expect("it is remembered"));
        }
        self.judge(offered);
        let flows = self.held.flow_to(offered);
        self.held.add(&flows, -1.0);
        self.held.hear_of(offered);
        Ok(self.dialogue.tell(peer, number, flows))
    }

    /// A peer answers.
    pub(crate) fn settle(&mut self, peer: NodeId, number: u16, flows: &Holding) -> Result<(), Refused> {
        if !flows.makes_sense() {
            return Err(Refused::Senseless);
        }
        if !self.dialogue.waits_for_answer(peer, number) {
            return Err(Refused::Unexpected);
        }
        let mut theirs = self.dialogue.close().ok_or(Refused::Unexpected)?;
        theirs.add(flows, 2.0);
        self.judge(&theirs);
        self.held.add(flows, 1.0);
        self.held.hear_of(flows);
        Ok(())
    }

    fn judge(&mut self, theirs: &Holding) {
        self.spreads[self.met % JUDGED] = self.held.spread(theirs);
        self.met += 1;
    }

    /// What this node takes the aggregates to be; `None` while it has heard nothing of who began the epoch.
    pub(crate) fn aggregate(&self) -> Option<Aggregate> {
        let Holding { one, weight, sum, low, high, .. } = self.held;
        if one <= 0.0 {
            return None;
        }
        let has_values = weight > 0.0 && low <= high;
        let zero_unless = |number: f64| if has_values { number } else { 0.0 };
        Some(Aggregate {
            members: 1.0 / one,
            count: zero_unless(weight / one),
            sum: zero_unless(sum / one),
            average: zero_unless(sum / weight).clamp(zero_unless(low), zero_unless(high)),
            low: zero_unless(low),
            high: zero_unless(high),
            spread: self.spread(),
        })
    }

    /// How far this node and the last that it met were from each other. A node that met nobody is alone.
    fn spread(&self) -> f64 {
        if self.has_met() { self.spreads.iter().copied().fold(0.0, f64::max) } else { 0.0 }
    }

    /// Between which numbers lies the one below which this part of the values lies, as far as shares may be wrong.
    pub(crate) fn quantile(&self, part: f64) -> Option<Range> {
        let error = (2.0 * self.spread()).max(ROUNDING);
        let low = self.held.histogram.quantile((part - error).max(0.0))?.low;
        let high = self.held.histogram.quantile((part + error).min(1.0))?.high;
        let within = |number: f64| number.clamp(self.held.low, self.held.high.max(self.held.low));
        Some(Range { low: within(low), high: within(high) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::dialogue::script::{self, Averages};
    use crate::rng::Rng;

    impl Averages for Epoch {
        type Said = Holding;

        fn waits_for(&self) -> Option<NodeId> {
            self.waits_for()
        }

        fn ask(&mut self, peer: NodeId) -> (u16, Holding) {
            let (number, offered) = self.ask(peer);
            (number, offered.clone())
        }

        fn answer(&mut self, peer: NodeId, number: u16, offered: &Holding) -> Result<Holding, Refused> {
            self.answer(peer, number, &sent(offered)?).cloned()
        }

        fn settle(&mut self, peer: NodeId, number: u16, flows: &Holding) -> Result<(), Refused> {
            self.settle(peer, number, &sent(flows)?)
        }
    }

    /// A holding as it comes out of the datagram in which it went.
    fn sent(holding: &Holding) -> Result<Holding, Refused> {
        let mut bytes = Vec::new();
        holding.write(&mut bytes);
        Holding::read(Reader::new(&bytes)).ok_or(Refused::Senseless)
    }

    struct Crowd {
        nodes: Vec<Epoch>,
        rng: Rng,
    }

    impl Crowd {
        fn of(values: impl Iterator<Item = Option<f64>>) -> Self {
            let nodes = values.enumerate().map(|(place, value)| Epoch::new(value, place == 0)).collect();
            Self { nodes, rng: Rng::new(7) }
        }

        fn meet(&mut self, asker: usize, answerer: usize, is_lost: impl Fn(&mut Rng) -> bool) {
            let ids = [asker, answerer].map(|place| NodeId(place as u64 + 1));
            let (number, offered) = self.nodes[asker].ask(ids[1]);
            let offered = offered.clone();
            for _ in 0..3 {
                if is_lost(&mut self.rng) {
                    continue;
                }
                let flows = self.nodes[answerer].answer(ids[0], number, &offered).unwrap().clone();
                if !is_lost(&mut self.rng) {
                    return self.nodes[asker].settle(ids[1], number, &flows).unwrap();
                }
            }
        }

        /// Each asks one other.
        fn round(&mut self, is_lost: impl Fn(&mut Rng) -> bool) {
            for asker in 0..self.nodes.len() {
                let answerer = self.rng.below(self.nodes.len());
                if answerer != asker {
                    self.meet(asker, answerer, &is_lost);
                }
            }
        }

        fn worst(&self, of: impl Fn(&Aggregate) -> f64, truth: f64) -> f64 {
            let error =
                |node: &Epoch| node.aggregate().map_or(f64::INFINITY, |found| (of(&found) - truth).abs() / truth.abs());
            self.nodes.iter().map(error).fold(0.0, f64::max)
        }
    }

    #[test]
    fn every_node_has_the_answer_within_one_in_a_hundred_after_twenty_rounds_from_a_peak() {
        let mut crowd = Crowd::of((0..10_000).map(|place| Some(if place == 0 { 10_000.0 } else { 0.0 })));
        for _ in 0..17 {
            crowd.round(|_| false);
        }
        let square = |node: &Epoch| (node.aggregate().unwrap().average - 1.0).powi(2);
        let rms = (crowd.nodes.iter().map(square).sum::<f64>() / 10_000.0).sqrt();
        assert!(rms <= 0.01, "{rms}");
        for _ in 17..20 {
            crowd.round(|_| false);
        }
        assert!(crowd.worst(|found| found.average, 1.0) <= 0.01);
        assert!(crowd.worst(|found| found.members, 10_000.0) <= 0.01);
    }

    #[test]
    fn count_sum_extrema_and_quantiles_are_of_those_that_have_a_value() {
        // Each third node has a value: 1 to 300.
        let mut crowd = Crowd::of((0..900).map(|place| (place % 3 == 0).then(|| f64::from(place / 3 + 1))));
        for _ in 0..25 {
            crowd.round(|_| false);
        }
        assert!(crowd.worst(|found| found.members, 900.0) < 1e-3);
        assert!(crowd.worst(|found| found.count, 300.0) < 1e-3);
        assert!(crowd.worst(|found| found.sum, 45_150.0) < 1e-3);
        assert!(crowd.worst(|found| found.average, 150.5) < 1e-3);
        for node in &crowd.nodes {
            let found = node.aggregate().unwrap();
            assert_eq!((found.low.to_bits(), found.high.to_bits()), (1_f64.to_bits(), 300_f64.to_bits()));
            assert!(found.spread < 0.01);
            for (part, truth) in [(0.5, 150.0), (0.9, 270.0), (0.99, 297.0)] {
                let Range { low, high } = node.quantile(part).unwrap();
                assert!(
                    low <= truth + 1.0 && truth - 1.0 <= high && high - low < truth / 7.0,
                    "{part}: {low} to {high}"
                );
            }
        }
    }

    #[test]
    fn losses_cost_little_because_questions_are_asked_again() {
        let mut crowd = Crowd::of((0..1_000).map(|place| Some(f64::from(place))));
        for _ in 0..30 {
            crowd.round(|rng| rng.chance(0.05));
        }
        assert!(crowd.worst(|found| found.average, 499.5) < 0.02, "{}", crowd.worst(|found| found.average, 499.5));
    }

    #[test]
    fn a_gauge_that_nobody_has_has_no_values() {
        let mut crowd = Crowd::of((0..10).map(|_| None));
        for _ in 0..20 {
            crowd.round(|_| false);
        }
        let found = crowd.nodes[3].aggregate().unwrap();
        assert_eq!([found.count, found.sum, found.average].map(f64::to_bits), [0; 3]);
        assert!((found.members - 10.0).abs() < 0.1 && crowd.nodes[3].quantile(0.5).is_none());
    }

    #[test]
    fn what_no_honest_node_says_changes_nothing() {
        let mut node = Epoch::new(Some(1.0), true);
        let good = node.held.clone();
        let wrong = [
            Holding { one: f64::NAN, ..good.clone() },
            Holding { one: 4.5, ..good.clone() },
            Holding { weight: -4.5, ..good.clone() },
            Holding { sum: f64::INFINITY, ..good.clone() },
            Holding { low: f64::NAN, ..good.clone() },
            Holding { high: f64::INFINITY, ..good.clone() },
        ];
        for offered in wrong {
            assert_eq!(node.answer(NodeId(2), 1, &offered), Err(Refused::Senseless));
            node.ask(NodeId(2));
            assert_eq!(node.settle(NodeId(2), 1, &offered), Err(Refused::Senseless));
        }
        assert_eq!(node.settle(NodeId(3), 1, &good), Err(Refused::Unexpected), "it was not asked");
        assert_eq!(node.held, good);
    }

    #[test]
    fn a_question_that_comes_again_moves_nothing_and_an_older_one_gets_no_answer() {
        let mut node = Epoch::new(Some(1.0), true);
        let other = Epoch::new(Some(9.0), false).held;
        let first = node.answer(NodeId(2), 5, &other).unwrap().clone();
        let held = node.held.clone();
        assert_eq!(node.answer(NodeId(2), 5, &other), Ok(&first));
        assert_eq!(node.answer(NodeId(2), 4, &other), Err(Refused::Unexpected));
        assert_eq!(node.held, held);
    }

    fn holding() -> impl Strategy<Value = Holding> {
        let shares = proptest::collection::btree_map(0_u32..200, -1_f32..1.0, 0..=BUCKETS_MAX);
        let histogram = shares.prop_map(|shares| {
            let shares = shares.into_iter().map(|(bucket, share)| (bucket, f64::from(share))).collect();
            Histogram::read(0, shares).expect("buckets in their order")
        });
        let numbers = (-1_f32..1.0, -1_f32..1.0, -1e300..1e300, -1e300..1e300, -1e300..1e300);
        (numbers, histogram).prop_map(|((one, weight, sum, low, high), histogram)| Holding {
            one: one.into(),
            weight: weight.into(),
            sum,
            low,
            high,
            histogram,
        })
    }

    #[test]
    fn where_values_leave_a_gap_both_sides_of_it_are_told() {
        let mut crowd = Crowd::of((0..100).map(|place| Some(if place % 2 == 0 { 1.0 } else { 1e6 })));
        for _ in 0..30 {
            crowd.round(|_| false);
        }
        for node in &crowd.nodes {
            let Range { low, high } = node.quantile(0.5).unwrap();
            assert!(low <= 1.0 && 1e6 <= high, "{low} to {high}: either may be the median");
            let Range { low, high } = node.quantile(0.4).unwrap();
            assert!(low <= 1.0 && high < 1.1, "{low} to {high}");
        }
    }

    #[test]
    fn what_is_told_is_no_farther_from_the_truth_than_the_error_says() {
        let mut crowd = Crowd::of((0..500).map(|place| (place % 5 != 0).then(|| f64::from(place) - 100.0)));
        for round in 1..30 {
            crowd.round(|_| false);
            // Before, extremes and shares have not been everywhere.
            if round < 12 {
                continue;
            }
            for found in crowd.nodes.iter().filter_map(Epoch::aggregate) {
                let sum = (0..500).filter(|place| place % 5 != 0).map(|place| f64::from(place) - 100.0).sum::<f64>();
                assert!((found.sum - sum).abs() <= found.sum_error(), "round {round}: {found:?}");
                assert!((found.average - sum / 400.0).abs() <= found.average_error(), "round {round}: {found:?}");
                assert!((found.count - 400.0).abs() <= found.count_error(), "round {round}: {found:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_holding_is_read_as_it_was_written(holding in holding()) {
            let mut bytes = Vec::new();
            holding.write(&mut bytes);
            prop_assert_eq!(bytes.len(), holding.bytes());
            prop_assert_eq!(Holding::read(Reader::new(&bytes)), Some(holding));
        }

        #[test]
        fn no_bytes_are_a_holding_that_makes_no_sense(bytes: Vec<u8>) {
            if let Some(holding) = Holding::read(Reader::new(&bytes)) {
                prop_assert!(holding.makes_sense());
            }
        }

        #[test]
        fn what_all_hold_together_stays_what_it_was_however_exchanges_overlap_and_repeat(
            values in proptest::collection::vec(proptest::option::of(-1e6..1e6), script::NODES),
            steps in script::steps(),
        ) {
            let mut crowd = Crowd::of(values.into_iter());
            let sums = |crowd: &Crowd| {
                let sum = |of: fn(&Holding) -> f64| crowd.nodes.iter().map(|node| of(&node.held)).sum::<f64>();
                let shares = |held: &Holding| held.histogram.shares().iter().map(|(_, share)| share).sum();
                [sum(|held| held.one), sum(|held| held.weight), sum(|held| held.sum), sum(shares)]
            };
            let before = sums(&crowd);
            script::carry_out(&mut crowd.nodes, &steps);
            for (before, after) in before.into_iter().zip(sums(&crowd)) {
                prop_assert!((before - after).abs() < 1e-6, "{before} became {after}");
            }
        }
    }
}
