//! Suspicions that nodes saw, counted once each, and once for all who saw the same.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::{MemberChange, NodeId};

use crate::Change;

/// What nodes suspected so far.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    /// How often a node saw another become suspect.
    pub(super) sightings: usize,
    /// All, and those of members that ran and were not cut off from who saw it.
    pub(super) all: Episodes,
    pub(super) mistaken: Episodes,
}

impl Suspicions {
    pub(super) fn observe(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.change == MemberChange::Suspected) {
            self.sightings += 1;
            self.all.saw(change);
            if change.mistaken {
                self.mistaken.saw(change);
            }
        }
    }
}

/// Members that became suspect. One that is suspected stays so for many who hear of it, each at its own time.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    pub(super) count: usize,
    seen: BTreeMap<NodeId, Duration>,
}

/// Sightings of one member with a longer pause between them are of two suspicions.
const PAUSE: Duration = Duration::from_secs(2);

impl Episodes {
    fn saw(&mut self, change: &Change) {
        let before = self.seen.insert(change.member, change.at);
        self.count += usize::from(before.is_none_or(|before| change.at > before + PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_see_within_a_pause_is_one_suspicion() {
        let saw = |seconds: u64, observer: usize, member: u64, mistaken: bool| Change {
            at: Duration::from_secs(seconds),
            observer,
            member: NodeId(member),
            change: MemberChange::Suspected,
            mistaken,
            unwell: false,
        };
        let mut suspicions = Suspicions::default();
        suspicions.observe(&[saw(1, 0, 7, false), saw(2, 1, 7, false), saw(2, 1, 8, true)]);
        suspicions.observe(&[saw(4, 2, 7, true), saw(7, 0, 7, true)]);
        assert_eq!((suspicions.sightings, suspicions.all.count, suspicions.mistaken.count), (5, 3, 3));
    }
}
