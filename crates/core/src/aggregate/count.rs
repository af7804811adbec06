//! How many nodes there are, by push-pull averaging in epochs: COUNT of Jelasity, Montresor and Babaoglu (ACM
//! Transactions on Computer Systems 23, 2005, §4), as one node computes it.
//!
//! In one *instance* one node, its leader, holds 1 and all others 0; the average is 1/n. Several instances run together,
//! named by random keys, and their median counts: the crash of a leader takes one of them along, not the estimate.
//! Deviation from §4: a leader does not draw lots by the last estimate. All lead at first, and everybody keeps the
//! [`INSTANCES`] lowest keys that it has heard of. Those that are the lowest of all are dropped by nobody, so that
//! their sums are kept, and nothing depends on an estimate that may be wrong or missing.
//!
//! An exchange is a question with a number and its answer. The answer says what *flows*, not what the result is, so
//! that either side may meet others in between; a question that comes again gets the same answer once more, and nothing
//! flows twice. Half of what an open question offered is set aside, so that no share ever falls below zero.
//!
//! **Invariant:** shares lie between 0 and 1; what flows out of one node flows into another, unless its answer is lost
//! for good. That error lasts to the end of the epoch, and is at most half of what was asked with.

use super::dialogue::Dialogue;
use super::{Refused, flow};
use crate::identity::NodeId;

/// Instances that run together. Guess: lost answers are repeated, so that few suffice, and three leaders may crash.
pub(crate) const INSTANCES: usize = 8;
/// For how many probe intervals a node asks in an epoch; in the last it only waits for an answer. Measured by a model: of
/// 1,000,000 nodes with 5 random neighbours each, the longest silent asked first, the worst is within 2 % after 35. Guess: as
/// many again for overlays that mix less well.
pub(crate) const CYCLES: u32 = 72;
/// No estimate is larger: a thousand times what the protocol is made for.
pub(crate) const SIZE_MAX: f64 = 1e9;
/// For so many probe intervals after its last question a node remembers what it answered: others began later. Guess.
const AFTERWARDS: u32 = CYCLES;
/// What one node holds of one instance, offers of it, or gets of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Share {
    /// The instance.
    pub(crate) key: u32,
    pub(crate) value: f32,
}

/// One node's part in an epoch.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Count {
    /// By key.
    shares: Vec<(u32, f64)>,
    dialogue: Dialogue<Vec<Share>>,
    /// How often this node will still ask.
    cycles: u32,
    /// For how many cycles more answers are remembered after that.
    afterwards: u32,
    /// Something flowed in this epoch.
    has_met: bool,
}

impl Count {
    /// Takes part in a new epoch, as the leader of an instance of its own.
    pub(crate) fn begin(&mut self, key: u32) {
        *self = Self { shares: vec![(key, 1.0)], cycles: CYCLES, afterwards: AFTERWARDS, ..Self::default() };
    }

    /// Takes no part in the present epoch, which began without this node (§4.1).
    pub(crate) fn sit_out(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn takes_part(&self) -> bool {
        !self.shares.is_empty()
    }

    /// Whether this node asks, rather than only answers.
    pub(crate) const fn is_asking(&self) -> bool {
        self.cycles > 0
    }

    /// Whether this node asks still, but has for so long that its shares are near to those of others.
    pub(crate) const fn has_mixed(&self) -> bool {
        self.is_asking() && self.cycles <= CYCLES / 2
    }

    /// A probe interval begins. Returns whether this node has just stopped asking.
    pub(crate) fn end_cycle(&mut self) -> bool {
        if self.is_asking() {
            self.cycles -= 1;
            return !self.is_asking();
        }
        if self.afterwards > 0 {
            self.afterwards -= 1;
        } else {
            self.dialogue.end();
        }
        false
    }

    /// Who was asked and has not answered.
    pub(crate) fn waits_for(&self) -> Option<NodeId> {
        self.dialogue.waits_for()
    }

    /// What to ask a peer with, and the number of the question: the same again while it is open. Whoever else was asked is
    /// no longer waited for.
    pub(crate) fn ask(&mut self, peer: NodeId) -> (u16, &Vec<Share>) {
        let Self { shares, dialogue, .. } = self;
        let share = |(key, share): &(u32, f64)| Share { key: *key, value: down(*share) };
        dialogue.ask(peer, || shares.iter().map(share).collect())
    }

    /// What an open question may cost, of one instance.
    fn set_aside(&self, key: u32) -> f64 {
        let offered = self.dialogue.offered().into_iter().flatten().find(|share| share.key == key);
        offered.map_or(0.0, |share| f64::from(share.value) / 2.0)
    }

    /// A peer asks: what flows to it, by instance.
    pub(crate) fn answer(
        &mut self,
        peer: NodeId,
        number: u16,
        offered: impl Iterator<Item = Share>,
    ) -> Result<&[Share], Refused> {
        let offered = read(offered, 0.0)?;
        if !self.takes_part() {
            return Err(Refused::Unexpected);
        }
        if self.dialogue.was_asked(peer, number)? {
            return Ok(self.dialogue.told(peer).expect("it is remembered"));
        }
        for share in &offered {
            self.learn(share.key);
        }
        let flows = self.let_flow(&offered);
        self.has_met = true;
        Ok(self.dialogue.tell(peer, number, flows))
    }

    /// Hears of an instance, and forgets of too many the one with the highest key.
    fn learn(&mut self, key: u32) {
        if let Err(place) = self.shares.binary_search_by_key(&key, |(key, _)| *key) {
            self.shares.insert(place, (key, 0.0));
            self.shares.truncate(INSTANCES);
        }
    }

    /// Gives to, or takes from, whoever offered, so that both hold the same of each instance that is kept.
    fn let_flow(&mut self, offered: &[Share]) -> Vec<Share> {
        let reserves: Vec<f64> = self.shares.iter().map(|(key, _)| self.set_aside(*key)).collect();
        let mut flows = Vec::with_capacity(self.shares.len());
        for ((key, share), reserve) in self.shares.iter_mut().zip(reserves) {
            let theirs = offered.iter().find(|share| share.key == *key).map_or(0.0, |share| share.value.into());
            let value = down(flow(*share, theirs).min((*share - reserve).max(0.0)));
            *share = (*share - f64::from(value)).clamp(0.0, 1.0);
            flows.push(Share { key: *key, value });
        }
        flows
    }

    /// A peer answers.
    pub(crate) fn settle(
        &mut self,
        peer: NodeId,
        number: u16,
        flows: impl Iterator<Item = Share>,
    ) -> Result<(), Refused> {
        if !self.dialogue.waits_for_answer(peer, number) {
            return Err(Refused::Unexpected);
        }
        let flows = read(flows, -0.5)?;
        let costs_too_much = |flow: &Share| f64::from(-flow.value) > self.set_aside(flow.key);
        if flows.iter().any(costs_too_much) {
            return Err(Refused::Senseless);
        }
        self.dialogue.close();
        self.has_met = true;
        for flow in flows {
            self.learn(flow.key);
            if let Ok(place) = self.shares.binary_search_by_key(&flow.key, |(key, _)| *key) {
                let share = &mut self.shares[place].1;
                *share = (*share + f64::from(flow.value)).clamp(0.0, 1.0);
            }
        }
        Ok(())
    }

    /// How many nodes there are by the median of all instances; `None` if this node met nobody.
    pub(crate) fn estimate(&self) -> Option<f64> {
        if !self.has_met {
            return None;
        }
        let mut shares: Vec<f64> = self.shares.iter().map(|(_, share)| *share).collect();
        shares.sort_unstable_by(f64::total_cmp);
        let middle = shares.len() / 2;
        let median = if shares.len().is_multiple_of(2) {
            super::average(shares[middle - 1], shares[middle])
        } else {
            shares[middle]
        };
        Some(bounded(1.0 / median))
    }
}

/// An estimate that can be used, whatever it was made of.
pub(crate) fn bounded(estimate: f64) -> f64 {
    if estimate.is_nan() { 1.0 } else { estimate.clamp(1.0, SIZE_MAX) }
}

/// Shares as a peer sent them: not too many, each of sense, each instance once.
fn read(shares: impl Iterator<Item = Share>, least: f32) -> Result<Vec<Share>, Refused> {
    let mut read: Vec<Share> = Vec::with_capacity(INSTANCES);
    for share in shares {
        let is_known = read.iter().any(|other| other.key == share.key);
        if read.len() == INSTANCES || is_known || !(least..=1.0).contains(&share.value) {
            return Err(Refused::Senseless);
        }
        read.push(share);
    }
    Ok(read)
}

/// The next number of four bytes that is not above.
#[expect(clippy::cast_possible_truncation, reason = "what is rounded up is put right")]
fn down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

#[cfg(test)]
mod tests;
