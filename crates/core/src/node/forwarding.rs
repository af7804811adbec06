//! Operations that a peer does for this node, and this node for peers: all that is done to a busy register goes through the
//! proposer that succeeded last, which proposes it together and needs no prepare, instead of one overtaking the other.
//!
//! An operation is never applied twice, though both may try it: each says from which version on it may have been tried, and
//! finds it among the last operations of the register, or gives up ([`Operation`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Node;
use super::agreeing::{Agreeing, Asker, Due, TIMEOUT_MAX};
use super::letters::Letter;
use super::proposing::Part;
use crate::agreement::statement::{FoundingId, put_value, read_value};
use crate::agreement::{Change, Operation, OperationId, Outcome, Stage};
use crate::frame;
use crate::identity::NodeId;
use crate::time::Instant;
use crate::wire::{Put, Reader};

/// The least time that a peer has to answer.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// How often a peer is asked before this node does it itself.
const TRIES_MAX: u32 = 3;
/// How long a peer that did not answer is not asked.
const SHUN_FOR: Duration = Duration::from_secs(5);
const SHUNNED_MAX: usize = 64;
/// Operations of peers that are remembered by id for as long as they may come again, and those whose end is.
const TAKEN_MAX: usize = 65_536;
const ENDED_MAX: usize = 1_024;
/// And so many bytes of values with them; of what is forgotten earlier the end is unknown.
const ENDED_BYTES_MAX: usize = 4 << 20;

const DONE: u8 = 0;
const MISMATCH: u8 = 1;
const UNKNOWN: u8 = 2;
const REFUSED: u8 = 3;
/// More has gone by since the base than a register remembers, or the register has begun anew since: it was not done, and may be asked
/// for again.
const STALE: u8 = 4;

/// An operation that a peer has.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Given {
    pub(super) to: NodeId,
    pub(super) due: Instant,
    /// Which start of the peer: a later one does not know what that has done.
    boot: u64,
    tries: u32,
    /// It had not been applied up to this version.
    base: u64,
}

/// Peers that did not answer, and until when others do without them.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Shunned(BTreeMap<NodeId, Instant>);

impl Shunned {
    fn note(&mut self, peer: NodeId, until: Instant) {
        self.0.insert(peer, until);
        while self.0.len() > SHUNNED_MAX {
            self.0.pop_first();
        }
    }

    fn contains(&self, peer: NodeId, now: Instant) -> bool {
        self.0.get(&peer).is_some_and(|until| *until > now)
    }
}

/// Operations of peers that this node took on: that it did not is said only where that is certain.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Favours {
    taken: BTreeMap<OperationId, Instant>,
    order: VecDeque<(Instant, OperationId)>,
    /// Until then operations may be asked for again that are no longer among those.
    forgets_until: Option<Instant>,
    /// How the last of them ended.
    ended: VecDeque<(OperationId, Outcome)>,
    /// The bytes of values among those.
    ended_bytes: usize,
}

impl Favours {
    fn note_taken(&mut self, id: OperationId, now: Instant) {
        let is_over = |at: Instant| now.since(at) > TIMEOUT_MAX;
        while let Some((at, first)) = self.order.front().copied()
            && (is_over(at) || self.order.len() >= TAKEN_MAX)
        {
            if !is_over(at) {
                self.forgets_until = Some(at + TIMEOUT_MAX);
            }
            self.order.pop_front();
            self.taken.remove(&first);
        }
        self.taken.insert(id, now);
        self.order.push_back((now, id));
    }

    fn note_ended(&mut self, id: OperationId, outcome: Outcome) {
        self.ended_bytes += value_bytes(&outcome);
        self.ended.push_back((id, outcome));
        while self.ended.len() > ENDED_MAX || self.ended_bytes > ENDED_BYTES_MAX {
            let Some((_, first)) = self.ended.pop_front() else { break };
            self.ended_bytes -= value_bytes(&first);
        }
    }

    /// How an operation ended that comes again: unknown, where that is no longer remembered.
    fn recall(&self, id: OperationId) -> Option<Outcome> {
        let ended = self.ended.iter().find(|(ended, _)| *ended == id).map(|(_, outcome)| outcome.clone());
        ended.or_else(|| self.taken.contains_key(&id).then_some(Outcome::Unknown))
    }

    /// Whether all that may be asked for again is remembered.
    fn remembers_all(&self, now: Instant) -> bool {
        self.forgets_until.is_none_or(|until| until < now)
    }
}

impl Node {
    /// Gives an operation to the proposer that succeeded last, or does it here.
    pub(super) fn route(&mut self, id: OperationId) {
        let Some(asked) = self.agreeing.operations.get(&id) else { return };
        let register = asked.register.clone();
        let change = asked.change.clone();
        match self.last_proposer(&register) {
            Some(peer) => self.give(id, peer, self.known_version(&register)),
            None => self.propose_operation(Operation::new(id, change)),
        }
    }

    /// The proposer of a register was overtaken: operations and errands of applications that nobody has tried go to whoever succeeded. Those
    /// of peers stay, and so do those of changes of voters, and all that were tried: a peer could not tell what became of them.
    pub(super) fn let_go(&mut self, register: &str) {
        let is_overtaken = |part: &Part| *part.proposer.stage() == Stage::Waiting && !part.proposer.is_empty();
        if !self.agreeing.parts.get(register).is_some_and(is_overtaken) {
            return;
        }
        let Some(peer) = self.last_proposer(register) else { return };
        let base = self.known_version(register);
        let Agreeing { parts, operations, .. } = &mut *self.agreeing;
        let Some(part) = parts.get_mut(register) else { return };
        let of_application = |id| {
            operations.get(&id).is_some_and(|asked| matches!(asked.asker, Asker::Application(_) | Asker::Lease(_)))
        };
        for id in part.proposer.take_untried(of_application) {
            self.give(id, peer, base);
        }
    }

    /// Who succeeded last, if that is another node which can be asked, and this one has nothing on its way itself, unless that
    /// was overtaken.
    fn last_proposer(&self, register: &str) -> Option<NodeId> {
        let (founding, configuration) = self.agreeing.served().ok()?;
        let votes = self.agreeing.space.founding(founding)?.register(register)?.votes();
        let accepted = configuration.members().filter_map(|voter| votes.get(&voter)?.accepted_ballot());
        let last = accepted.max().filter(|ballot| ballot.configuration == configuration.number)?.proposer;
        let is_at_work = |part: &Part| !part.proposer.is_empty() && *part.proposer.stage() != Stage::Waiting;
        let is_busy = self.agreeing.parts.get(register).is_some_and(is_at_work);
        let can_be_asked = self.members.is_live(last)
            && self.members.address(last).is_some()
            && !self.agreeing.shunned.contains(last, self.fx.now.instant);
        (last != self.identity.id && !is_busy && can_be_asked).then_some(last)
    }

    /// The highest version that this node has seen decided, or was told of.
    fn known_version(&self, register: &str) -> u64 {
        let part = self.agreeing.parts.get(register);
        let told = part.map_or(0, |part| part.version);
        let proposed = part.and_then(|part| part.proposer.last()).map_or(0, |content| content.version);
        let founding = self.agreeing.served().ok().and_then(|(founding, _)| self.agreeing.space.founding(founding));
        let chosen = founding.and_then(|founding| founding.register(register)?.chosen());
        told.max(proposed).max(chosen.map_or(0, |chosen| chosen.content.version))
    }

    fn give(&mut self, id: OperationId, to: NodeId, base: u64) {
        let (due, boot) = (self.fx.now.instant, self.boot_of(to));
        if let Some(asked) = self.agreeing.operations.get_mut(&id) {
            asked.given = Some(Given { to, due, boot, tries: 0, base });
            asked.was_given = true;
            self.send_given(id);
        }
    }

    fn boot_of(&self, peer: NodeId) -> u64 {
        self.members.version(peer).map_or(0, |(incarnation, ..)| incarnation.boot())
    }

    /// Whether the peer that has an operation has started anew since it was given it.
    fn has_restarted(&self, id: OperationId) -> bool {
        let given = self.agreeing.operations.get(&id).and_then(|asked| asked.given);
        given.is_some_and(|given| self.boot_of(given.to) != given.boot)
    }

    /// Asks the peer that has an operation, first or again.
    fn send_given(&mut self, id: OperationId) {
        let Ok((founding, _)) = self.agreeing.served() else { return };
        if self.has_restarted(id) {
            return self.take_back(id);
        }
        let now = self.fx.now.instant;
        let agreeing = &mut *self.agreeing;
        let Some(asked) = agreeing.operations.get_mut(&id) else { return };
        let left = asked.deadline().since(now);
        let Some(given) = &mut asked.given else { return };
        agreeing.dues.remove(&(given.due, Due::Given(id)));
        let rtt = self.members.rtt(given.to).unwrap_or_default();
        given.due = now + (rtt * 4).max(PATIENCE_MIN) * 2_u32.pow(given.tries.min(4));
        agreeing.dues.insert((given.due, Due::Given(id)));
        let Given { to, base, boot, .. } = *given;
        let mut content = Vec::with_capacity(64);
        content.extend_from_slice(&id.0.to_le_bytes());
        content.extend_from_slice(&founding.0.to_le_bytes());
        content.put_varint(boot);
        content.put_varint(base);
        content.extend_from_slice(&u32::try_from(left.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
        content.put_short_block(asked.register.as_bytes());
        asked.change.write(&mut content);
        self.send_agreement(to, frame::KIND_FORWARD, &content);
        self.arm_agreement();
    }

    /// The peer that has an operation did not answer.
    pub(super) fn on_given_due(&mut self, id: OperationId) {
        let Some(asked) = self.agreeing.operations.get_mut(&id) else { return };
        // Whoever succeeded last may be a holder that has just died.
        let tries_max = if matches!(asked.asker, Asker::Lease(_)) { 1 } else { TRIES_MAX };
        let Some(given) = &mut asked.given else { return };
        given.tries += 1;
        if given.tries < tries_max && self.members.is_live(given.to) {
            return self.send_given(id);
        }
        let (to, until) = (given.to, self.fx.now.instant + SHUN_FOR);
        self.agreeing.shunned.note(to, until);
        self.take_back(id);
    }

    /// Does here what a peer was to do. It may have done it, or may do it yet.
    fn take_back(&mut self, id: OperationId) {
        let agreeing = &mut *self.agreeing;
        let Some(asked) = agreeing.operations.get_mut(&id) else { return };
        let Some(given) = asked.given.take() else { return };
        agreeing.dues.remove(&(given.due, Due::Given(id)));
        let operation = Operation::shared(id, asked.change.clone(), given.base);
        self.propose_operation(operation);
    }

    /// Registers that these operations are about have begun anew since they were given here, and nobody tried them here.
    pub(super) fn give_back(&mut self, operations: Vec<OperationId>, version: u64) {
        for id in operations {
            let asker = self.agreeing.operations.get(&id).map(|asked| asked.asker);
            let Some(Asker::Peer(peer)) = asker else {
                self.end_operation(id, Outcome::Unknown);
                continue;
            };
            self.forget_operation(id);
            // Should the same question come once more it is not done either.
            self.agreeing.favours.note_ended(id, Outcome::Unknown);
            self.send_word(peer, id, STALE, version);
        }
    }

    /// A peer gave back what nobody has tried, as the register has begun anew: it is done here.
    fn take_untried_back(&mut self, id: OperationId, version: u64) {
        let agreeing = &mut *self.agreeing;
        let Some(asked) = agreeing.operations.get_mut(&id) else { return };
        let Some(given) = asked.given.take() else { return };
        asked.was_given = false;
        agreeing.dues.remove(&(given.due, Due::Given(id)));
        let (register, change) = (asked.register.clone(), asked.change.clone());
        agreeing.begin_anew(&register, version);
        self.propose_operation(Operation::new(id, change));
    }

    /// A peer wants something done.
    pub(super) fn on_forward(&mut self, mut content: Reader<'_>, letter: &Letter) {
        let Some(forwarded) = Forwarded::read(&mut content) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        let Forwarded { id, founding, boot, base, timeout, register, change } = forwarded;
        let (peer, now) = (letter.peer, self.fx.now.instant);
        if self.agreeing.operations.contains_key(&id) {
            return;
        }
        if let Some(outcome) = self.agreeing.favours.recall(id) {
            return self.send_outcome(peer, id, &outcome);
        }
        let serves = self.agreeing.served().is_ok_and(|(served, _)| served == founding);
        let is_meant = serves && boot == self.incarnation.boot();
        if !is_meant || self.check_operation(register, &change, timeout).is_err() {
            return self.send_word(peer, id, REFUSED, 0);
        }
        let mut operation = Operation::shared(id, change.clone(), base);
        let remembers_all = self.agreeing.favours.remembers_all(now);
        let part = self.agreeing.part(register);
        part.shared_at = Some(now);
        match part.proposer.look_for(&mut operation) {
            Some(Outcome::Unknown) if remembers_all => {
                let version = part.proposer.last().map_or(0, |content| content.version);
                self.send_word(peer, id, STALE, version);
            }
            Some(outcome) => self.send_outcome(peer, id, &outcome),
            None => {
                self.agreeing.favours.note_taken(id, now);
                self.note_operation(id, Asker::Peer(peer), register, change, timeout);
                self.propose_operation(operation);
            }
        }
    }

    /// An operation of a peer ended.
    pub(super) fn answer_forwarded(&mut self, peer: NodeId, id: OperationId, outcome: Outcome) {
        self.send_outcome(peer, id, &outcome);
        self.agreeing.favours.note_ended(id, outcome);
    }

    fn send_outcome(&mut self, peer: NodeId, id: OperationId, outcome: &Outcome) {
        let mut content = id.0.to_le_bytes().to_vec();
        match outcome {
            Outcome::Done { version, value } => {
                content.push(DONE);
                content.put_varint(*version);
                put_value(&mut content, value.as_ref());
            }
            Outcome::Mismatch { version, value } => {
                content.push(MISMATCH);
                content.put_varint(*version);
                put_value(&mut content, value.as_ref());
            }
            Outcome::Unknown => content.push(UNKNOWN),
        }
        self.send_agreement(peer, frame::KIND_OUTCOME, &content);
    }

    fn send_word(&mut self, peer: NodeId, id: OperationId, word: u8, version: u64) {
        let mut content = id.0.to_le_bytes().to_vec();
        content.push(word);
        content.put_varint(version);
        self.send_agreement(peer, frame::KIND_OUTCOME, &content);
    }

    /// The peer that has an operation says how it ended.
    pub(super) fn on_outcome(&mut self, mut content: Reader<'_>, letter: &Letter) {
        let Some((id, word)) = content.u64().map(OperationId).zip(content.u8()) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        let asked = if self.agreeing.is_unused() { None } else { self.agreeing.operations.get_mut(&id) };
        let Some(asked) = asked.filter(|asked| asked.given.is_some_and(|given| given.to == letter.peer)) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let register = asked.register.clone();
        match word {
            REFUSED => {
                let (peer, until) = (letter.peer, self.fx.now.instant + SHUN_FOR / 5);
                self.agreeing.shunned.note(peer, until);
                self.take_back(id);
            }
            // What it says of the time before it started anew it cannot know.
            STALE if self.has_restarted(id) => self.take_back(id),
            STALE => {
                let Some(asked) = self.agreeing.operations.get_mut(&id) else { return };
                if let (Some(given), Some(version)) = (&mut asked.given, content.varint()) {
                    if version < given.base {
                        return self.take_untried_back(id, version);
                    }
                    given.base = given.base.max(version);
                    // It counts as a try: who always says so is not asked for ever.
                    self.on_given_due(id);
                }
            }
            _ => match read_outcome(word, &mut content) {
                Some(outcome) => {
                    if let Outcome::Done { version, .. } | Outcome::Mismatch { version, .. } = &outcome {
                        let part = self.agreeing.part(&register);
                        part.version = part.version.max(*version);
                    }
                    self.end_operation(id, outcome);
                }
                None => self.fx.counters.dropped.malformed += 1,
            },
        }
    }
}

/// An operation as it is forwarded.
struct Forwarded<'a> {
    id: OperationId,
    founding: FoundingId,
    /// For this start of the peer: an earlier one may have done it already.
    boot: u64,
    base: u64,
    timeout: Duration,
    register: &'a str,
    change: Change,
}

impl<'a> Forwarded<'a> {
    fn read(content: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            id: OperationId(content.u64()?),
            founding: FoundingId(content.u64()?),
            boot: content.varint()?,
            base: content.varint()?,
            timeout: Duration::from_millis(content.u32()?.into()),
            register: content.short_text()?,
            change: Change::read(content)?,
        })
    }
}

fn read_outcome(word: u8, content: &mut Reader<'_>) -> Option<Outcome> {
    Some(match word {
        DONE => Outcome::Done { version: content.varint()?, value: read_value(content)? },
        MISMATCH => Outcome::Mismatch { version: content.varint()?, value: read_value(content)? },
        UNKNOWN => Outcome::Unknown,
        _ => return None,
    })
}

fn value_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Done { value, .. } | Outcome::Mismatch { value, .. } => value.as_ref().map_or(0, |value| value.len()),
        Outcome::Unknown => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::VALUE_BYTES_MAX;

    fn ended(size: usize) -> Outcome {
        Outcome::Done { version: 1, value: Some(vec![0; size].into()) }
    }

    #[test]
    fn ends_are_remembered_up_to_a_number_and_so_many_bytes_and_are_unknown_beyond() {
        for (size, most) in [(8, ENDED_MAX), (VALUE_BYTES_MAX, ENDED_BYTES_MAX / VALUE_BYTES_MAX)] {
            let mut favours = Favours::default();
            let ids: Vec<OperationId> = (0..2_000).map(OperationId).collect();
            for id in &ids {
                favours.note_taken(*id, Instant::from_micros(1));
                favours.note_ended(*id, ended(size));
            }
            let known = ids.iter().filter(|id| favours.recall(**id) == Some(ended(size))).count();
            let unknown = ids.iter().filter(|id| favours.recall(**id) == Some(Outcome::Unknown)).count();
            assert_eq!((known, known + unknown), (most, ids.len()), "{size}");
            assert!(favours.ended_bytes <= ENDED_BYTES_MAX);
        }
    }
}
