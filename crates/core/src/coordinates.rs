//! Where nodes are, as far as round trips tell: Vivaldi (Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004) with height vectors
//! (§5.4).
//!
//! A node is a point in space and a height above it; the round trip between two is the distance of their points and both
//! heights together. Each measured round trip pulls the node a little towards where it would be predicted right.
//!
//! Deviations, each measured (decision 0017): three dimensions instead of two; steps that are larger while a node is not sure of
//! its place; and a bound on what a single sample pulls, which takes the place of the median filter of Ledlie, Gardner and
//! Seltzer (NSDI 2007). Their gravity and Serf's adjustment term did not help and are not here.
//!
//! **Invariant:** all numbers are finite and within `FARTHEST`, whatever was measured and whatever others claim.

use std::time::Duration;

use crate::few::Few;
use crate::identity::NodeId;
use crate::rng::Rng;
use crate::seldom::Vacant;
use crate::time::Instant;
use crate::wire::{Put, Reader};

/// Of the space beneath the heights.
const DIMENSIONS: usize = 3;
/// No part of a coordinate is further from nothing, in microseconds: ten seconds.
const FARTHEST: f32 = 10_000_000.0;
/// Heights never reach the ground, so that they can grow again (Serf's `HeightMin` is 10 us too).
const HEIGHT_MIN: f32 = 10.0;
/// The share of an error that a sample takes away at most, once a node is sure of its place, and which part of its own doubt comes on
/// top (Vivaldi §3.3: `cc` = 0.25).
const PULL: f32 = 0.25;
const PULL_OF_DOUBT: f32 = 0.75;
/// How fast a node's doubt follows what its samples say (Vivaldi §3.3: `ce` = 0.25).
const DOUBT_PULL: f32 = 0.25;
/// A sample counts as no further off than so many times what samples usually are.
const USUAL_TIMES: f32 = 2.0;
/// How fast what is usual follows.
const USUAL_PULL: f32 = 0.125;
/// For so many probe intervals a node that does not know its place pings more members than it probes, so many each time.
const SETTLING_INTERVALS: u8 = 20;
pub(crate) const SETTLING_PINGS: usize = 5;
/// Below this doubt it has found its place.
const SETTLED_DOUBT: f32 = 0.1;
/// Nobody is surer than this, so that nobody stops moving, and nobody is believed alone.
const DOUBT_MIN: f32 = 1.0 / 255.0;
/// Members whose coordinates are kept, those nearest.
const KNOWN_MAX: usize = 1_024;
/// The longest coordinate in bytes.
pub(crate) const COORDINATE_BYTES_MAX: usize = 4 * DIMENSIONS + 4 + 1;

/// Where a node is. The round trip between two nodes is estimated from their coordinates alone.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Coordinate {
    /// In microseconds.
    point: [f32; DIMENSIONS],
    height: f32,
    /// By which part estimates from here are wrong, usually: 0 to 1.
    doubt: f32,
}

impl Coordinate {
    const UNKNOWN: Self = Self { point: [0.0; DIMENSIONS], height: HEIGHT_MIN, doubt: 1.0 };

    /// How long a packet and its answer take between here and there.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bounded, positive number")]
    pub fn round_trip_to(&self, other: &Self) -> Duration {
        Duration::from_micros(self.distance_to(other).round().max(1.0) as u64)
    }

    /// By which part estimates from here are wrong, usually: 0 to 1.
    pub fn doubt(&self) -> f64 {
        self.doubt.into()
    }

    /// Whether anything is known of where this is.
    pub(crate) fn is_known(&self) -> bool {
        self.doubt < 1.0
    }

    fn distance_to(&self, other: &Self) -> f32 {
        self.flat_distance_to(other) + self.height + other.height
    }

    fn flat_distance_to(&self, other: &Self) -> f32 {
        let squares = self.point.iter().zip(other.point).map(|(own, other)| (own - other) * (own - other));
        squares.sum::<f32>().sqrt()
    }

    /// To the microsecond; the doubt to 1/255.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "all parts are bounded")]
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        for part in self.point {
            let part = part.round() as i64;
            to.put_varint((part << 1 ^ part >> 63).cast_unsigned());
        }
        to.put_varint(self.height.round() as u64);
        to.push((self.doubt * 255.0).round() as u8);
    }

    /// `None` if a part is further away than any can be.
    #[expect(clippy::cast_precision_loss, reason = "a part that is taken is far below 2^24")]
    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut point = [0.0; DIMENSIONS];
        for part in &mut point {
            let folded = from.varint()?;
            let whole = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
            *part = whole as f32;
        }
        let (height, doubt) = (from.varint()? as f32, f32::from(from.u8()?) / 255.0);
        let near = point.iter().all(|part| part.abs() <= FARTHEST) && height <= FARTHEST;
        near.then_some(Self { point, height: height.max(HEIGHT_MIN), doubt: doubt.max(DOUBT_MIN) })
    }
}

/// This node's own place, as it finds it out.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Place {
    own: Coordinate,
    /// How far samples are from what is predicted, usually, in microseconds; zero before the first.
    usual: f32,
    /// Probe intervals in which this node still pings more members.
    settling: u8,
}

impl Default for Place {
    fn default() -> Self {
        Self { own: Coordinate::UNKNOWN, usual: 0.0, settling: SETTLING_INTERVALS }
    }
}

impl Place {
    /// Where this node is, as far as it knows.
    pub(crate) const fn own(&self) -> &Coordinate {
        &self.own
    }

    /// Whether it still looks for its place.
    pub(crate) fn is_settling(&self) -> bool {
        self.settling > 0 && self.own.doubt > SETTLED_DOUBT
    }

    /// It has looked for its place long enough.
    pub(crate) const fn settle(&mut self) {
        self.settling = 0;
    }

    /// A probe interval begins.
    pub(crate) const fn note_interval(&mut self) {
        self.settling = self.settling.saturating_sub(1);
    }

    /// Takes in a round trip to a peer and where that one says it is.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a round trip is far below 2^24 microseconds, and need not be exact"
    )]
    pub(crate) fn sample(&mut self, peer: &Coordinate, measured: Duration, rng: &mut Rng) {
        let measured = (measured.as_micros() as f32).clamp(1.0, FARTHEST);
        let (flat, own) = (self.own.flat_distance_to(peer), self.own);
        let predicted = flat + own.height + peer.height;
        let weight = own.doubt / (own.doubt + peer.doubt);
        let wrong = ((predicted - measured).abs() / measured).min(1.0);
        self.own.doubt = (own.doubt + (wrong - own.doubt) * DOUBT_PULL * weight).clamp(DOUBT_MIN, 1.0);
        let step = (PULL + PULL_OF_DOUBT * own.doubt) * weight * self.bound(measured - predicted, measured);
        let direction = self.direction_from(peer, flat, rng);
        for (part, along) in self.own.point.iter_mut().zip(direction) {
            *part = (*part + step * along).clamp(-FARTHEST, FARTHEST);
        }
        if flat > 0.0 {
            // As Serf has it: the height takes the share of the step that heights have in the distance of the points.
            let grown = own.height + step * ((own.height + peer.height) / flat.max(1.0));
            self.own.height = grown.clamp(HEIGHT_MIN, FARTHEST);
        }
    }

    /// How far off a sample counts as: by no more than what was measured, which a peer cannot make up without waiting, and
    /// by no more than some times what is usual.
    fn bound(&mut self, off: f32, measured: f32) -> f32 {
        let off = off.clamp(-measured, measured);
        if self.usual <= 0.0 {
            self.usual = off.abs().max(1.0);
        }
        let most = USUAL_TIMES * self.usual;
        let off = off.clamp(-most, most);
        self.usual = (self.usual + (off.abs() - self.usual) * USUAL_PULL).max(1.0);
        off
    }

    /// Of length 1, away from the peer; from the same point in any direction (Vivaldi §3.2).
    #[expect(clippy::cast_possible_truncation, reason = "a random direction need not be exact")]
    fn direction_from(&self, peer: &Coordinate, flat: f32, rng: &mut Rng) -> [f32; DIMENSIONS] {
        let mut away: [f32; DIMENSIONS] = std::array::from_fn(|axis| self.own.point[axis] - peer.point[axis]);
        let mut length = flat;
        if length < 1.0 {
            away = std::array::from_fn(|_| rng.fraction() as f32 - 0.5);
            length = away.iter().map(|part| part * part).sum::<f32>().sqrt();
        }
        if length <= 0.0 {
            return std::array::from_fn(|axis| if axis == 0 { 1.0 } else { 0.0 });
        }
        away.map(|part| part / length)
    }
}

/// What a node with a full view knows of where others are.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Whereabouts {
    known: Few<NodeId, Coordinate>,
    /// Pings of this interval beside those of probes: number, whom, when.
    asked: Vec<(u16, NodeId, Instant)>,
}

impl Vacant for Whereabouts {
    const VACANT: Self = Self { known: Few::new(), asked: Vec::new() };
    const SHARED: &'static Self = &Self::VACANT;
}

impl Whereabouts {
    pub(crate) fn of(&self, id: NodeId) -> Option<&Coordinate> {
        self.known.get(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.asked.is_empty()
    }

    /// Beyond the cap whoever is farthest from `own` gives way, or is not taken.
    pub(crate) fn note(&mut self, id: NodeId, coordinate: Coordinate, own: &Coordinate) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&id) {
            let distances = self.known.iter().map(|(id, known)| (own.distance_to(known), *id));
            let farthest = distances.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let Some((_, farthest)) = farthest.filter(|(distance, _)| *distance > own.distance_to(&coordinate)) else {
                return;
            };
            self.known.remove(&farthest);
        }
        self.known.insert(id, coordinate);
    }

    pub(crate) fn forget(&mut self, id: NodeId) {
        self.known.remove(&id);
    }

    /// A new interval: what was not answered in the last one is not waited for.
    pub(crate) fn ask_anew(&mut self) {
        self.asked.clear();
    }

    pub(crate) fn note_asked(&mut self, number: u16, id: NodeId, now: Instant) {
        self.asked.push((number, id, now));
    }

    /// No more members are pinged beside probes.
    pub(crate) fn end_asking(&mut self) {
        self.asked = Vec::new();
    }

    /// An ack came: how long it took, if it answers one of those pings.
    pub(crate) fn on_ack(&mut self, number: u16, from: NodeId, now: Instant) -> Option<Duration> {
        let place = self.asked.iter().position(|(own, id, _)| (*own, *id) == (number, from))?;
        Some(now.since(self.asked.swap_remove(place).2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    fn coordinate(point: [f32; 3], height: f32, doubt: f32) -> Coordinate {
        Coordinate { point, height, doubt }
    }

    fn is_sound(coordinate: &Coordinate) -> bool {
        let parts = coordinate.point.iter().all(|part| part.abs() <= FARTHEST);
        parts && (HEIGHT_MIN..=FARTHEST).contains(&coordinate.height) && (DOUBT_MIN..=1.0).contains(&coordinate.doubt)
    }

    #[test]
    fn a_round_trip_is_the_distance_of_the_points_and_both_heights() {
        let (a, b) = (coordinate([3_000.0, 0.0, 0.0], 100.0, 0.1), coordinate([0.0, 4_000.0, 0.0], 200.0, 0.1));
        assert_eq!(a.round_trip_to(&b), Duration::from_micros(5_300));
        assert_eq!(b.round_trip_to(&a), a.round_trip_to(&b));
    }

    #[test]
    fn a_coordinate_reads_back_to_the_microsecond_and_one_that_is_too_far_is_refused() {
        let near = coordinate([-1.0, 250.0, -90_000.0], 1_234.0, 51.0 / 255.0);
        let mut bytes = Vec::new();
        near.write(&mut bytes);
        assert_eq!(bytes, [1, 0xf4, 3, 0x9f, 0xfe, 0x0a, 0xd2, 9, 51]);
        assert_eq!(Coordinate::read(&mut Reader::new(&bytes)), Some(near));
        for far in [[FARTHEST * 1.01, 0.0, 0.0], [0.0, -FARTHEST * 1.01, 0.0]] {
            let mut bytes = Vec::new();
            coordinate(far, 10.0, 0.0).write(&mut bytes);
            assert_eq!(Coordinate::read(&mut Reader::new(&bytes)), None);
        }
        let mut bytes = Vec::new();
        coordinate([FARTHEST; 3], FARTHEST, 1.0).write(&mut bytes);
        assert!(bytes.len() <= COORDINATE_BYTES_MAX, "{} bytes", bytes.len());
        let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1].repeat(4);
        assert_eq!(Coordinate::read(&mut Reader::new(&endless)), None);
    }

    /// Nodes on a line, 20 ms apart, behind links of 1 ms: each measures a random other one.
    fn settled(
        rounds: usize,
        mut measure: impl FnMut(usize, usize, &mut Rng) -> (Duration, Option<Coordinate>),
    ) -> Vec<Place> {
        let mut rng = Rng::new(7);
        let mut places = vec![Place::default(); 10];
        for _ in 0..rounds {
            for node in 0..places.len() {
                let peer = (node + 1 + rng.below(places.len() - 1)) % places.len();
                let (took, claimed) = measure(node, peer, &mut rng);
                let at = claimed.unwrap_or(places[peer].own);
                places[node].sample(&at, took, &mut rng);
            }
        }
        places
    }

    fn truth(a: usize, b: usize) -> Duration {
        Duration::from_millis(20 * a.abs_diff(b) as u64 + 2)
    }

    fn errors(places: &[Place], of: impl Fn(usize) -> bool) -> Vec<f64> {
        let pairs = (0..places.len()).flat_map(|a| (0..a).map(move |b| (a, b))).filter(|(a, b)| of(*a) && of(*b));
        let error = |(a, b): (usize, usize)| {
            let truth = truth(a, b).as_secs_f64();
            (places[a].own.round_trip_to(&places[b].own).as_secs_f64() - truth).abs() / truth
        };
        let mut errors: Vec<f64> = pairs.map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    fn median(errors: &[f64]) -> f64 {
        errors[errors.len() / 2]
    }

    #[test]
    fn nodes_that_measure_each_other_find_their_places() {
        let places = settled(300, |node, peer, _| (truth(node, peer), None));
        let errors = errors(&places, |_| true);
        assert!(median(&errors) < 0.05, "{errors:?}");
        assert!(places.iter().all(|place| place.own.doubt < SETTLED_DOUBT), "and know it");
    }

    #[test]
    fn samples_that_took_far_too_long_hardly_matter() {
        let places = settled(300, |node, peer, rng| {
            let stall = if rng.chance(0.05) { Duration::from_millis(500) } else { Duration::ZERO };
            (truth(node, peer) + stall, None)
        });
        let errors = errors(&places, |_| true);
        assert!(median(&errors) < 0.1, "{errors:?}");
    }

    #[test]
    fn who_lies_about_where_it_is_pulls_others_no_further_than_its_round_trip_each_time() {
        let mut rng = Rng::new(1);
        let mut place = Place::default();
        let liar = coordinate([FARTHEST, -FARTHEST, FARTHEST], FARTHEST, DOUBT_MIN);
        for _ in 0..1_000 {
            let before = place.own;
            place.sample(&liar, Duration::from_millis(3), &mut rng);
            assert!(before.flat_distance_to(&place.own) <= 3_001.0, "{before:?} {place:?}");
        }
        let honest = settled(300, |node, peer, _| (truth(node, peer), (peer == 9).then_some(liar)));
        let errors = errors(&honest, |node| node != 9);
        assert!(median(&errors) < 0.35, "one liar among ten: {errors:?}");
    }

    #[test]
    fn whoever_is_farthest_gives_way_at_the_cap() {
        let own = coordinate([0.0; 3], 10.0, 0.1);
        let at = |distance: f32| coordinate([distance, 0.0, 0.0], 10.0, 0.1);
        let mut whereabouts = Whereabouts::VACANT;
        for id in 1..=KNOWN_MAX as u64 {
            whereabouts.note(NodeId(id), at(1_000.0 + f32::from(u16::try_from(id).unwrap())), &own);
        }
        whereabouts.note(NodeId(5_000), at(9_000.0), &own);
        assert_eq!(whereabouts.of(NodeId(5_000)), None, "it is farther than all");
        whereabouts.note(NodeId(5_001), at(10.0), &own);
        assert!(whereabouts.of(NodeId(5_001)).is_some());
        assert_eq!(whereabouts.of(NodeId(KNOWN_MAX as u64)), None);
        assert_eq!(whereabouts.known.len(), KNOWN_MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_measured_and_claimed_a_place_stays_finite_and_bounded(
            seed: u64,
            samples in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 5..24), 0_u64..1 << 40), 1..60),
        ) {
            let (mut place, mut rng) = (Place::default(), Rng::new(seed));
            for (bytes, micros) in samples {
                let read = Coordinate::read(&mut Reader::new(&bytes));
                prop_assert!(read.is_none_or(|read| is_sound(&read)));
                place.sample(&read.unwrap_or(Coordinate::UNKNOWN), Duration::from_micros(micros), &mut rng);
                prop_assert!(is_sound(&place.own), "{place:?}");
                prop_assert!(place.usual.is_finite());
                let mut written = Vec::new();
                place.own.write(&mut written);
                prop_assert!(Coordinate::read(&mut Reader::new(&written)).is_some_and(|read| is_sound(&read)));
            }
        }
    }
}
