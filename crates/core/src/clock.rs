//! Hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone 2014), and how this node's clock stands to those of
//! its peers.
//!
//! A [`Stamp`] is 48 bits of milliseconds and a 16-bit count, packed into one number as the paper's §4 suggests. It is
//! at least the time of day and above every stamp that was seen, so that what was written in knowledge of something else
//! comes after it. The count carries into the milliseconds where it overflows.

use std::time::Duration;

use crate::identity::NodeId;
use crate::slots::reserve_one;
use crate::time::Wall;

/// Bits of the count within a millisecond.
const COUNT_BITS: u32 = 16;
/// Offsets are told up to this far ahead, which every wrong time zone is below; beyond it a clock is taken for one that
/// is behind, by up to four hours.
const AHEAD_SECONDS_MAX: u16 = 14 * 3_600 + 900;
/// Peers whose clocks are remembered: enough for a median.
const PEERS_MAX: usize = 32;

/// A moment of a hybrid logical clock.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// The first stamp of the millisecond that this moment lies in.
    pub(crate) const fn of(wall: Wall) -> Self {
        Self((wall.as_micros() / 1_000) << COUNT_BITS)
    }

    /// The time of day that it stands for.
    pub(crate) const fn wall(self) -> Wall {
        Wall::from_micros((self.0 >> COUNT_BITS) * 1_000)
    }
}

/// The hybrid logical clock of one node.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Clock {
    last: Stamp,
    /// By how many seconds this node's clock is ahead of a peer's; the latest of each, the oldest first.
    offsets: Vec<(NodeId, i32)>,
}

impl Clock {
    /// The stamp of a write of this node's own.
    pub(crate) fn tick(&mut self, now: Wall) -> Stamp {
        self.last = Stamp(self.last.0 + 1).max(Stamp::of(now));
        self.last
    }

    /// Another's write was seen.
    pub(crate) fn hear(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// A peer's clock showed these seconds, the low 16 bits of them, a moment ago.
    pub(crate) fn note_peer(&mut self, peer: NodeId, seconds: u16, now: Wall) {
        let ahead = low_seconds(now).wrapping_sub(seconds);
        let offset = if ahead < AHEAD_SECONDS_MAX { i32::from(ahead) } else { i32::from(ahead) - (1 << 16) };
        self.offsets.retain(|(known, _)| *known != peer);
        if self.offsets.len() == PEERS_MAX {
            self.offsets.remove(0);
        }
        reserve_one(&mut self.offsets);
        self.offsets.push((peer, offset));
    }

    /// A peer is gone: what its clock showed says nothing any more.
    pub(crate) fn forget_peer(&mut self, peer: NodeId) {
        self.offsets.retain(|(known, _)| *known != peer);
    }

    /// Whether any peer's clock was seen.
    pub(crate) fn has_peers(&self) -> bool {
        !self.offsets.is_empty()
    }

    /// By how much this node's clock is ahead of the median of its peers.
    pub(crate) fn ahead(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.median()).unwrap_or(0))
    }

    /// By how much the next stamp is ahead of the median of its peers' clocks: more than this node's clock is if that was
    /// once ahead of what it is now.
    pub(crate) fn stamps_ahead(&self, now: Wall) -> Duration {
        let seconds = |wall: Wall| i64::from(wall.seconds().0);
        let lead = seconds(self.last.wall()).max(seconds(now)) - seconds(now) + i64::from(self.median());
        Duration::from_secs(u64::try_from(lead).unwrap_or(0))
    }

    /// By how many seconds this node's clock is ahead of the median of its peers; negative if it is behind.
    pub(crate) fn offset(&self) -> i32 {
        self.median()
    }

    fn median(&self) -> i32 {
        let mut offsets: Vec<i32> = self.offsets.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets.get(offsets.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    }
}

/// What a header tells of its sender's clock.
pub(crate) fn low_seconds(now: Wall) -> u16 {
    (now.seconds().0 & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Wall {
        Wall::from_micros(second * 1_000_000)
    }

    #[test]
    fn stamps_rise_although_the_clock_stands_or_runs_back() {
        let mut clock = Clock::default();
        let stamps = [clock.tick(at(10)), clock.tick(at(10)), clock.tick(at(3))];
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        assert_eq!(stamps[2].wall(), at(10));
    }

    #[test]
    fn what_is_written_after_something_was_seen_comes_after_it() {
        let mut clock = Clock::default();
        let seen = Stamp::of(at(50));
        clock.hear(seen);
        assert!(clock.tick(at(10)) > seen);
        assert_eq!(clock.tick(at(60)), Stamp::of(at(60)), "it comes back to the time of day");
    }

    #[test]
    fn a_count_that_overflows_moves_on_to_the_next_millisecond() {
        let mut clock = Clock::default();
        let last = Stamp(Stamp::of(at(1)).0 + 0xffff);
        clock.hear(last);
        assert_eq!(clock.tick(at(1)), Stamp::of(at(1) + Duration::from_millis(1)));
    }

    #[test]
    fn stamps_stay_ahead_of_a_clock_that_was_set_back() {
        let mut clock = Clock::default();
        clock.tick(at(1_000));
        assert_eq!(clock.stamps_ahead(at(900)), Duration::from_secs(100));
        clock.note_peer(NodeId(1), 1_000, at(900));
        assert_eq!(clock.stamps_ahead(at(900)), Duration::ZERO, "it is the clock that is behind");
        assert_eq!(clock.stamps_ahead(at(1_200)), Duration::from_secs(0));
    }

    #[test]
    fn a_clock_that_shows_the_time_of_another_zone_is_seen_to_be_ahead() {
        for hours in 1..=14 {
            let mut clock = Clock::default();
            let true_time = at(1_767_225_600);
            clock.note_peer(NodeId(1), low_seconds(true_time), true_time + Duration::from_hours(hours));
            assert_eq!(clock.ahead(), Duration::from_hours(hours));
        }
        let mut clock = Clock::default();
        clock.note_peer(NodeId(1), 4 * 3_600, at(600));
        assert_eq!(clock.ahead(), Duration::ZERO, "it is behind");
    }

    #[test]
    fn a_clock_is_ahead_of_the_median_of_others_not_of_one_that_is_behind() {
        let mut clock = Clock::default();
        assert_eq!(clock.ahead(), Duration::ZERO);
        let now = at(0x1_0005);
        for (peer, seconds) in [(1, 5), (2, 4), (3, 65_000)] {
            clock.note_peer(NodeId(peer), seconds, now);
        }
        assert_eq!(clock.ahead(), Duration::from_secs(1));
        for peer in 1..=3 {
            clock.note_peer(NodeId(peer), 0xffff, now);
        }
        assert_eq!(clock.ahead(), Duration::from_secs(6), "the latest of each counts, and seconds wrap around");
    }
}
