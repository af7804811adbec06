//! Hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone 2014), and how this node's clock stands to those of
//! its peers.
//!
//! A [`Stamp`] is 48 bits of milliseconds and a 16-bit count, packed into one number as the paper's §4 suggests. It is
//! at least the time of day and above every stamp that was seen, so that what was written in knowledge of something else
//! comes after it. The count carries into the milliseconds where it overflows.

use std::time::Duration;

use crate::identity::NodeId;
use crate::time::Wall;

/// Bits of the count within a millisecond.
const COUNT_BITS: u32 = 16;
/// Peers whose clocks are remembered: enough for a median.
const PEERS_MAX: usize = 32;

/// A moment of a hybrid logical clock.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Stamp,
    /// By how many seconds this node's clock is ahead of a peer's; the latest of each, the oldest first.
    offsets: Vec<(NodeId, i16)>,
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

    /// A peer's clock showed these seconds, the low 16 bits of them, a moment ago: offsets of up to nine hours are told.
    pub(crate) fn note_peer(&mut self, peer: NodeId, seconds: u16, now: Wall) {
        let own = low_seconds(now);
        let offset = own.wrapping_sub(seconds).cast_signed();
        self.offsets.retain(|(known, _)| *known != peer);
        if self.offsets.len() == PEERS_MAX {
            self.offsets.remove(0);
        }
        self.offsets.push((peer, offset));
    }

    /// A peer is gone: what its clock showed says nothing any more.
    pub(crate) fn forget_peer(&mut self, peer: NodeId) {
        self.offsets.retain(|(known, _)| *known != peer);
    }

    /// By how much this node's clock is ahead of the median of its peers.
    pub(crate) fn ahead(&self) -> Duration {
        let mut offsets: Vec<i16> = self.offsets.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        let median = offsets.get(offsets.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        Duration::from_secs(u64::try_from(median).unwrap_or(0))
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
