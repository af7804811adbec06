//! The size of the cluster, estimated by nodes with a partial view: exchanges of [`Count`] that ride on probes.
//!
//! Epochs are counted by the clock, corrected by the median of the peers' clocks, so that nobody can drive the number
//! ahead and parts of a cluster that meet agree on it. Deviation from Jelasity et al. (2005, §4.1), where each node counts
//! for itself; as there, who hears of the next epoch enters it, but not long before its time.
//!
//! At the start of an epoch a node asks one peer in each probe interval: a neighbour, whoever was silent for longest,
//! with the ping of a probe, then two of the passive view with datagrams of their own. Neighbours alone mix slowly
//! where the overlay has grown fast and holds together by few links; the passive view is shuffled. After
//! [`CYCLES`](crate::aggregate::count::CYCLES) intervals a node only answers. With a full view nothing of this is sent.

use super::Node;
use super::letters::Letter;
use crate::aggregate::Refused;
use crate::aggregate::count::{Count, INSTANCES, bounded};
use crate::frame::Shares;
use crate::overlay::{Allowance, Peer};
use crate::time::Instant;

/// The largest frame of shares.
const SHARES_FRAME_BYTES: usize = 2 + 4 + 2 + INSTANCES * 8;
/// A frame that tells the size.
const SIZE_FRAME_BYTES: usize = 2 + 4;
/// How often one of the passive view is asked the same: once in each probe interval.
const TRIES_MAX: u32 = 3;
/// Of so many questions one goes to a neighbour. Guess.
const NEIGHBOURS_PART: u32 = 3;
/// Questions of strangers answered at once, and how many in each probe interval: eight times what comes on average.
const STRANGERS_AT_ONCE: u32 = 16;
const STRANGERS_PART: u32 = 4;

/// What a node with a partial view knows about the size of the cluster.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Averaging {
    /// The present epoch, once this node knows it.
    epoch: Option<u32>,
    count: Count,
    /// Its own, of the last epoch that it took part in to the end; or what somebody told it before.
    estimate: Option<f64>,
    /// Who of the passive view was asked last, and how often.
    stranger: Option<(Peer, u32)>,
    /// How many peers were asked: each third is a neighbour.
    turn: u32,
    strangers: Allowance,
}

impl Averaging {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: None,
            count: Count::default(),
            estimate: None,
            stranger: None,
            turn: 0,
            strangers: Allowance::new(STRANGERS_AT_ONCE, now),
        }
    }
}

impl Node {
    /// The size by the last estimate, if there is one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate is between 1 and 10^9")]
    pub(super) fn estimated_size(&self) -> Option<usize> {
        self.averaging.estimate.map(|estimate| estimate.round() as usize)
    }

    /// The seconds that this node's clock shows, corrected by its peers.
    fn common_seconds(&self) -> i64 {
        i64::from(self.fx.now.wall.seconds().0) - i64::from(self.data.clock().offset())
    }

    fn epoch_at(&self, seconds: i64) -> u32 {
        let length = i64::try_from(self.config.epoch_interval.as_secs()).unwrap_or(i64::MAX).max(1);
        u32::try_from(seconds / length).unwrap_or(0)
    }

    /// Goes with the clock. Whoever comes into an epoch that it did not see begin takes no part in it (§4.1).
    fn follow_clock(&mut self) {
        let now = self.epoch_at(self.common_seconds());
        match self.averaging.epoch {
            Some(epoch) if epoch == now || epoch.checked_sub(1) == Some(now) => {}
            Some(epoch) if epoch.checked_add(1) == Some(now) => self.begin_epoch(now),
            Some(_) | None => {
                self.averaging.epoch = Some(now);
                self.averaging.count.sit_out();
            }
        }
    }

    fn begin_epoch(&mut self, epoch: u32) {
        if self.averaging.count.has_mixed() {
            // Its cycles went slowly: this node does not hear enough of others.
            self.take_estimate();
        }
        self.averaging.epoch = Some(epoch);
        let key = u32::try_from(self.fx.rng.bits() >> 32).expect("the upper half of 64 bits");
        self.averaging.count.begin(key);
    }

    /// Whether an exchange of this epoch is taken. The next one is entered if its time is near by this node's clock.
    fn enters(&mut self, epoch: u32) -> bool {
        self.follow_clock();
        let margin = i64::try_from(self.config.clock_skew_max.as_secs()).unwrap_or(i64::MAX);
        let latest = self.epoch_at(self.common_seconds().saturating_add(margin));
        if epoch > latest {
            self.fx.counters.dropped.refused += 1;
            return false;
        }
        let own = self.averaging.epoch;
        if own.and_then(|own| own.checked_add(1)) == Some(epoch) {
            self.begin_epoch(epoch);
        }
        let is_present = self.averaging.epoch == Some(epoch);
        self.fx.counters.dropped.unexpected += u64::from(!is_present);
        is_present
    }

    /// A probe interval begins: one cycle of the epoch, if this node still asks. Returns whether a neighbour is to be asked.
    pub(super) fn on_averaging_cycle(&mut self) -> bool {
        self.follow_clock();
        if self.averaging.count.end_cycle() {
            self.take_estimate();
        }
        self.averaging.count.is_asking() && !self.ask_stranger_to_average()
    }

    /// Asks one of the passive view, if it is the turn of those. Whoever has not answered is asked again.
    fn ask_stranger_to_average(&mut self) -> bool {
        let last = self.open_stranger();
        if last.is_none() {
            self.averaging.stranger = None;
            self.averaging.turn = self.averaging.turn.wrapping_add(1);
            if self.averaging.turn % NEIGHBOURS_PART == 1 {
                return false;
            }
        }
        let fresh = || self.neighbourhood.overlay.stranger(&mut self.fx.rng).map(|peer| (peer, 0));
        let Some((peer, tries)) = last.or_else(fresh) else { return false };
        let Some(epoch) = self.averaging.epoch else { return false };
        let mut letter = self.letter(peer.id, peer.address);
        let (number, offered) = self.averaging.count.ask(peer.id);
        letter.packet.average(epoch, number, offered);
        // A stranger answers with no more bytes than came.
        letter.packet.pad((INSTANCES - offered.len()) * 8);
        self.averaging.stranger = Some((peer, tries + 1));
        self.post(letter);
        true
    }

    /// One of the passive view that was asked and may still answer.
    fn open_stranger(&self) -> Option<(Peer, u32)> {
        let waits_for = self.averaging.count.waits_for();
        self.averaging.stranger.filter(|(peer, tries)| waits_for == Some(peer.id) && *tries < TRIES_MAX)
    }

    fn take_estimate(&mut self) {
        if let Some(estimate) = self.averaging.count.estimate() {
            self.averaging.estimate = Some(estimate);
        }
    }

    /// What rides on a ping: a question of the epoch, again with each ping of its probe; and what the size is, from one
    /// that has no idea.
    pub(super) fn put_averaging(&mut self, letter: &mut Letter) {
        if !self.is_partial() {
            return;
        }
        if self.averaging.estimate.is_none() && letter.packet.room() >= SIZE_FRAME_BYTES {
            letter.packet.size(0.0);
        }
        let waits_for = self.averaging.count.waits_for();
        let is_open = waits_for.is_some_and(|peer| self.detector.is_probing(peer)) || self.open_stranger().is_some();
        let is_free = waits_for == Some(letter.peer) || !is_open;
        let Averaging { epoch: Some(epoch), count, .. } = &mut self.averaging else { return };
        if count.is_asking() && is_free && letter.packet.room() >= SHARES_FRAME_BYTES {
            let (number, offered) = count.ask(letter.peer);
            letter.packet.average(*epoch, number, offered);
        }
    }

    /// Whether a question is looked at: of neighbours all, of others as many as honest ones ask.
    fn hears(&mut self, letter: &Letter) -> bool {
        let interval = self.config.probe_interval / STRANGERS_PART;
        let hears = self.is_partial()
            && (self.neighbourhood.overlay.is_active(letter.peer)
                || self.averaging.strangers.take(interval, self.fx.now.instant));
        self.fx.counters.dropped.unexpected += u64::from(!hears);
        hears
    }

    pub(super) fn note_refused(&mut self, refused: Refused) {
        match refused {
            Refused::Senseless => self.fx.counters.dropped.malformed += 1,
            Refused::Unexpected => self.fx.counters.dropped.unexpected += 1,
        }
    }

    pub(super) fn on_average(&mut self, epoch: u32, number: u16, offered: Shares<'_>, letter: &mut Letter) {
        if !self.hears(letter) || !self.enters(epoch) {
            return;
        }
        if letter.packet.room() < SHARES_FRAME_BYTES {
            letter.hold_back();
            return;
        }
        let count = &mut self.averaging.count;
        if !count.takes_part() {
            // The asker keeps what it has.
            return;
        }
        match count.answer(letter.peer, number, offered) {
            Ok(flows) => letter.packet.averaged(epoch, number, flows),
            Err(refused) => self.note_refused(refused),
        }
        if !self.averaging.count.is_asking() {
            self.take_estimate();
        }
    }

    pub(super) fn on_averaged(&mut self, epoch: u32, number: u16, flows: Shares<'_>, letter: &Letter) {
        if self.averaging.epoch != Some(epoch) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        if let Err(refused) = self.averaging.count.settle(letter.peer, number, flows) {
            self.note_refused(refused);
        }
    }

    /// A neighbour tells the size, or asks for it.
    pub(super) fn on_size(&mut self, size: f32, letter: &mut Letter) {
        if !self.is_partial() || !self.neighbourhood.overlay.is_active(letter.peer) {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        if !size.is_finite() || size < 0.0 {
            self.fx.counters.dropped.malformed += 1;
        } else if size >= 1.0 {
            self.averaging.estimate.get_or_insert_with(|| bounded(size.into()));
        } else if let Some(estimate) = self.averaging.estimate
            && letter.packet.room() >= SIZE_FRAME_BYTES
        {
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than an estimate has")]
            letter.packet.size(estimate as f32);
        }
    }
}
