//! Who learned of which failure, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::{MemberChange, NodeId};

use crate::{Change, Life, Network, micros};

/// The failures of a run, and for each who knows of it.
#[derive(Debug, Default)]
pub(super) struct Failures {
    list: Vec<Failure>,
    by_id: BTreeMap<NodeId, Vec<usize>>,
}

#[derive(Debug)]
struct Failure {
    life: Life,
    at: Duration,
    /// By the number of the observer: in steps of 100 µs since the failure, so that the knowledge of a mass failure in a
    /// big network takes 4 bytes a pair.
    knew: Vec<u32>,
}

/// An observer that has not learned of it.
const NEVER: u32 = u32::MAX;
const STEP_MICROS: u64 = 100;

/// What became of a failure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) node: usize,
    pub(super) at: Duration,
    /// How many nodes ran from then until the end, or until it was back.
    pub(super) survivors: usize,
    /// When those of them learned of it that did, in seconds since then, in order.
    pub(super) knew: Vec<f64>,
}

impl Failures {
    /// Takes in what happened since the last time.
    pub(super) fn observe(&mut self, net: &Network, changes: &[Change]) {
        for life in net.failures(self.list.len()) {
            let (at, _) = life.end.expect("a failed life has ended");
            self.by_id.entry(life.id).or_default().push(self.list.len());
            self.list.push(Failure { life, at, knew: Vec::new() });
        }
        for change in changes.iter().filter(|change| change.change == MemberChange::Failed) {
            let of_member = self.by_id.get(&change.member).map(Vec::as_slice).unwrap_or_default();
            let Some(&last) = of_member.iter().rfind(|&&failure| self.list[failure].at <= change.at) else { continue };
            self.list[last].learned(change.observer, change.at);
        }
    }

    /// What became of each until now, by time.
    pub(super) fn fates(&self, net: &Network) -> impl Iterator<Item = Fate> {
        self.list.iter().map(|failure| failure.fate(net))
    }
}

impl Failure {
    fn learned(&mut self, observer: usize, at: Duration) {
        if self.knew.len() <= observer {
            self.knew.resize(observer + 1, NEVER);
        }
        let steps = u32::try_from(micros(at.saturating_sub(self.at)) / STEP_MICROS).unwrap_or(NEVER);
        self.knew[observer] = self.knew[observer].min(steps);
    }

    fn fate(&self, net: &Network) -> Fate {
        // With its old id it is the same member, which is back; with another id the old member stays dead.
        let is_back = |life: &&Life| life.id == self.life.id && life.from >= self.at && life.life > self.life.life;
        let until = net.lives().iter().find(is_back).map_or_else(|| net.now(), |life| life.from);
        let outlived = |life: &&Life| {
            life.node != self.life.node && life.from <= self.at && life.end.is_none_or(|(end, _)| end >= until)
        };
        let survivors: Vec<_> = net.lives().iter().filter(outlived).map(|life| life.node).collect();
        let steps = survivors.iter().filter_map(|&node| self.knew.get(node).copied()).filter(|&steps| steps != NEVER);
        let knew = steps.map(|steps| Duration::from_micros(u64::from(steps) * STEP_MICROS));
        let mut knew: Vec<_> = knew.filter(|after| self.at + *after < until).map(|after| after.as_secs_f64()).collect();
        knew.sort_by(f64::total_cmp);
        Fate { node: self.life.node, at: self.at, survivors: survivors.len(), knew }
    }
}
