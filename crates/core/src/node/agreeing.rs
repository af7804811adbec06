//! Operations on registers: asked here or by a peer, proposed to the voters, and ended.
//!
//! The fast path is a datagram to each voter and one back. Once two round trips have passed without a decision, proposal and
//! votes become hot and go by gossip besides, so that agreement works wherever gossip gets through; nothing is sent while
//! nothing is proposed. What happens with votes is in `voting`, with voters in `founding`, with peers' operations in
//! `forwarding`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::commands::invalid;
use super::forwarding::{Favours, Given, Shunned};
use super::founding::{Changing, TAKEN_AT_ONCE};
use super::leasing::Leasing;
use super::letters::Letter;
use super::proposing::{PARTS_MAX, PROPOSAL_TTL, Part};
use super::voting::{Voting, Way};
use super::{Node, Phase};
use crate::agreement::space::{Founding, Space, Taken};
use crate::agreement::statement::{CONFIGURATIONS, FoundingId, Says};
use crate::agreement::{
    Ballots, Change, Configuration, Operation, OperationId, Outcome, REGISTER_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::effects::Timer;
use crate::frame::{self, Items};
use crate::identity::NodeId;
use crate::io::{Event, Refusal, Reply, Ticket};
use crate::limits::Limits;
use crate::time::{Instant, Wall};
use crate::update::{Head, Interner, Update, UpdateRef};

/// Registers that may be born here; of others twice as many are kept.
pub(super) const REGISTERS_MAX: usize = 4_096;
/// Operations on their way, peers' included, and of them those on one register.
const OPERATIONS_MAX: usize = 4_096;
const OPERATIONS_OF_REGISTER_MAX: usize = 256;
/// With this begin the names of registers that are not for everybody.
pub(super) const RESERVED: char = '>';
/// The longest time that an operation may take.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_mins(1);
/// Who waits for an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(super) enum Asker {
    Application(Ticket),
    Peer(NodeId),
    /// An application that changes the voters.
    Change(Ticket),
    /// An errand about a lease.
    Lease(u64),
    /// This node, that takes registers over to new voters.
    Itself,
}

/// An operation on its way.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Asked {
    pub(super) asker: Asker,
    pub(super) register: Box<str>,
    pub(super) change: Change,
    deadline: Instant,
    /// To whom it was given.
    pub(super) given: Option<Given>,
    /// Whether somebody else may have tried it.
    pub(super) was_given: bool,
}

/// What comes due.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(super) enum Due {
    /// An operation is over.
    Deadline(OperationId),
    /// The peer that has an operation did not answer.
    Given(OperationId),
    /// A proposal is said again, or made after all, or the next may be made.
    Part(Box<str>),
    /// An errand about a lease goes on.
    Lease(u64),
    /// A change of voters goes on.
    Change,
    /// The disk is tried again.
    Keep,
}

/// All that a node has to do with agreement.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Agreeing {
    pub(super) space: Space,
    pub(super) voting: Voting,
    pub(super) ballots: Ballots,
    pub(super) parts: BTreeMap<Box<str>, Part>,
    pub(super) operations: BTreeMap<OperationId, Asked>,
    pub(super) dues: BTreeSet<(Instant, Due)>,
    pub(super) changing: Changing,
    /// When voters last answered.
    pub(super) heard: BTreeMap<NodeId, Instant>,
    pub(super) favours: Favours,
    pub(super) shunned: Shunned,
    pub(super) leasing: Leasing,
}

/// The same, made when the first statement comes in: a node of a cluster that agrees on nothing takes no memory for it.
///
/// **Invariant:** whoever changes something has seen that it is there, or came here because of something that is: frames and
/// timers of peers look first (`crates/core/tests/hostile_agreement.rs`).
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct WhenUsed(Option<Box<Agreeing>>);

/// What those read who have none.
static UNUSED: LazyLock<Agreeing> = LazyLock::new(|| {
    let space = Space::new([0; 16], Interner::default(), Wall::from_micros(0));
    Agreeing::new(space, Ballots::new(NodeId::NONE, 0, 0))
});

impl WhenUsed {
    pub(super) const fn is_unused(&self) -> bool {
        self.0.is_none()
    }
}

impl Deref for WhenUsed {
    type Target = Agreeing;

    fn deref(&self) -> &Agreeing {
        self.0.as_deref().unwrap_or(&UNUSED)
    }
}

impl DerefMut for WhenUsed {
    fn deref_mut(&mut self) -> &mut Agreeing {
        self.0.as_deref_mut().expect("nothing changes before the first statement")
    }
}

impl Asked {
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Agreeing {
    pub(super) fn new(space: Space, ballots: Ballots) -> Self {
        Self {
            space,
            voting: Voting::default(),
            ballots,
            parts: BTreeMap::new(),
            operations: BTreeMap::new(),
            dues: BTreeSet::new(),
            changing: Changing::default(),
            heard: BTreeMap::new(),
            favours: Favours::default(),
            shunned: Shunned::default(),
            leasing: Leasing::default(),
        }
    }

    /// The one founding that has started, and who votes in it.
    pub(super) fn served(&self) -> Result<(FoundingId, Configuration), Refusal> {
        let mut started = self.space.foundings().filter_map(|(id, founding)| Some((id, founding.configuration()?)));
        let first = started.next().ok_or(Refusal::NoVoters)?;
        match started.next() {
            Some((second, _)) => Err(Refusal::TwoFoundings { first: first.0, second }),
            None => Ok(first),
        }
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        // Dues are of operations, registers and voters.
        let Self { space, voting, ballots: _, parts, operations, dues: _, changing, heard, favours, shunned, leasing } =
            self;
        space.limits(REGISTERS_MAX, to);
        voting.limits(to);
        // While voters change this node reads registers beside what it is asked for.
        let operations_max = OPERATIONS_MAX + TAKEN_AT_ONCE;
        to.entries("operations", operations.len(), operations_max);
        // Those with operations stay, however many.
        to.entries("registers_proposed_on", parts.len(), operations_max.max(PARTS_MAX));
        let of_register = parts.values().map(|part| part.proposer.len()).max();
        to.entries("operations_on_one_register", of_register.unwrap_or(0), OPERATIONS_OF_REGISTER_MAX + 1);
        changing.limits(to);
        to.entries("voters_heard_of", heard.len(), HEARD_MAX);
        favours.limits(to);
        shunned.limits(to);
        leasing.limits(to);
    }
}

/// What applications ask.
impl Node {
    /// Makes it for whoever has something to keep.
    pub(super) fn use_agreement(&mut self) {
        if self.agreeing.is_unused() {
            let space = Space::new(self.secret, self.interner.clone(), self.fx.now.wall);
            let first = self.fx.rng.below(1 << 16) as u64;
            let ballots = Ballots::new(self.identity.id, self.incarnation.boot(), first);
            self.agreeing = WhenUsed(Some(Box::new(Agreeing::new(space, ballots))));
        }
    }

    /// Operates on a register; done at the latest when the time is over.
    pub(super) fn operate(&mut self, ticket: Ticket, register: &str, change: Change, timeout: Duration) {
        let asker = Asker::Application(ticket);
        if let Err(refusal) = self.check_operation(register, &change, timeout) {
            return self.done(ticket, Err(refusal));
        }
        if register.starts_with(RESERVED) {
            let refusal = invalid("register", format!("{register:?}"), "a name that does not begin with >");
            return self.done(ticket, Err(refusal));
        }
        let id = self.begin_operation(asker, register, change, timeout);
        self.route(id);
    }

    pub(super) fn check_operation(&self, register: &str, change: &Change, timeout: Duration) -> Result<(), Refusal> {
        if !(1..=REGISTER_BYTES_MAX).contains(&register.len()) {
            return Err(invalid("register", format!("{register:?}"), "1 to 255 bytes"));
        }
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(invalid("timeout", format!("{timeout:?}"), "above 0 and at most 1m"));
        }
        if self.phase != Phase::Running {
            return Err(Refusal::NotDurable);
        }
        let (founding, _) = self.agreeing.served()?;
        let founding = self.agreeing.space.founding(founding);
        let waiting = self.agreeing.operations.len();
        let of_register = self.agreeing.parts.get(register).map_or(0, |part| part.proposer.len());
        if waiting >= OPERATIONS_MAX || of_register >= OPERATIONS_OF_REGISTER_MAX {
            return Err(Refusal::OperationsWaiting { waiting: waiting.max(of_register) });
        }
        let Change::Swap { value, .. } = change else { return Ok(()) };
        if let Some(value) = value.as_ref().filter(|value| value.len() > VALUE_BYTES_MAX) {
            let rule = format!("at most {VALUE_BYTES_MAX} bytes");
            return Err(invalid("value", format!("{} bytes", value.len()), &rule));
        }
        let is_new = founding.is_some_and(|founding| founding.register(register).is_none());
        let registers = founding.map_or(0, Founding::len);
        if is_new && registers >= REGISTERS_MAX {
            return Err(Refusal::RegistersFull { registers, limit: REGISTERS_MAX });
        }
        Ok(())
    }

    pub(super) fn begin_operation(
        &mut self,
        asker: Asker,
        register: &str,
        change: Change,
        timeout: Duration,
    ) -> OperationId {
        let id = OperationId(self.fx.rng.bits());
        self.note_operation(id, asker, register, change, timeout);
        id
    }

    pub(super) fn note_operation(
        &mut self,
        id: OperationId,
        asker: Asker,
        register: &str,
        change: Change,
        timeout: Duration,
    ) {
        let deadline = self.fx.now.instant + timeout;
        let asked = Asked { asker, register: register.into(), change, deadline, given: None, was_given: false };
        self.agreeing.operations.insert(id, asked);
        self.agreeing.dues.insert((deadline, Due::Deadline(id)));
        self.arm_agreement();
    }

    /// Proposes an operation itself.
    pub(super) fn propose_operation(&mut self, operation: Operation) {
        let Some(asked) = self.agreeing.operations.get(&operation.id) else { return };
        let register = asked.register.clone();
        self.agreeing.part(&register).proposer.ask(operation);
        self.advance_register(&register);
    }

    /// An operation is no longer on its way.
    pub(super) fn forget_operation(&mut self, id: OperationId) -> Option<Asked> {
        let asked = self.agreeing.operations.remove(&id)?;
        self.agreeing.dues.remove(&(asked.deadline, Due::Deadline(id)));
        if let Some(given) = asked.given {
            self.agreeing.dues.remove(&(given.due, Due::Given(id)));
        }
        self.arm_agreement();
        Some(asked)
    }

    /// An operation ended.
    pub(super) fn end_operation(&mut self, id: OperationId, outcome: Outcome) {
        let Some(asked) = self.forget_operation(id) else { return };
        let was_taken_back = asked.was_given && asked.given.is_none();
        let outcome = match outcome {
            // The peer that had it may do it yet, should what was expected come to be there.
            Outcome::Mismatch { .. } if was_taken_back => Outcome::Unknown,
            Outcome::Done { .. } | Outcome::Mismatch { .. } | Outcome::Unknown => outcome,
        };
        match asked.asker {
            Asker::Application(ticket) => self.done(ticket, Ok(Reply::Operated(outcome))),
            Asker::Peer(peer) => self.answer_forwarded(peer, id, outcome),
            Asker::Change(ticket) => self.end_change(ticket, &outcome),
            Asker::Lease(errand) => self.on_lease_outcome(errand, outcome),
            Asker::Itself => self.note_taken_over(&asked.register),
        }
    }

    /// The time of an operation is over.
    fn on_deadline(&mut self, id: OperationId) {
        let Some(asked) = self.agreeing.operations.remove(&id) else { return };
        if let Some(given) = &asked.given {
            self.agreeing.dues.remove(&(given.due, Due::Given(id)));
        }
        let part = self.agreeing.parts.get_mut(&asked.register);
        let was_proposed = part.and_then(|part| part.proposer.give_up(id)).unwrap_or(false);
        // Of one that a peer has no voter was asked here.
        let unheard = asked.given.map_or_else(|| self.unheard(&asked.register), |given| vec![given.to]);
        match asked.asker {
            Asker::Application(ticket) | Asker::Change(ticket) => {
                let unknown = asked.change != Change::Read && (was_proposed || asked.was_given);
                self.done(ticket, Err(Refusal::NoQuorum { unheard, unknown }));
            }
            Asker::Lease(errand) => self.on_lease_unheard(errand, unheard),
            Asker::Peer(_) => {}
            Asker::Itself => self.note_taken_over(&asked.register),
        }
    }

    /// The voters that did not answer the present proposal about a register. Where there is none all that were asked did: others were
    /// ahead.
    fn unheard(&self, register: &str) -> Vec<NodeId> {
        let Ok((founding, configuration)) = self.agreeing.served() else { return Vec::new() };
        let part = self.agreeing.parts.get(register);
        let Some(proposal) = part.and_then(|part| part.proposer.proposal()) else { return Vec::new() };
        let register = self.agreeing.space.founding(founding).and_then(|founding| founding.register(register));
        let answered = |voter: &NodeId| {
            let vote = register.and_then(|register| register.votes().get(voter));
            vote.is_some_and(|vote| vote.has_answered(&proposal))
        };
        configuration.members().filter(|voter| !answered(voter)).collect()
    }
}

/// What comes due.
impl Node {
    pub(super) fn on_agree_due(&mut self) {
        if self.agreeing.is_unused() {
            return;
        }
        let now = self.fx.now.instant;
        while let Some((_, due)) = self.agreeing.dues.pop_first_if(now) {
            match due {
                Due::Deadline(id) => self.on_deadline(id),
                Due::Given(id) => self.on_given_due(id),
                Due::Part(register) => self.on_part_due(&register),
                Due::Lease(errand) => self.on_lease_due(errand),
                Due::Change => self.on_change_due(),
                Due::Keep => self.on_keep_due(),
            }
        }
        self.arm_agreement();
    }

    pub(super) fn arm_agreement(&mut self) {
        match self.agreeing.dues.first() {
            Some((at, _)) => self.fx.timers.set(Timer::Agree, *at),
            None => self.fx.cancel(Timer::Agree),
        }
    }
}

/// Takes out what is due.
trait PopDue {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, Due)>;
}

impl PopDue for BTreeSet<(Instant, Due)> {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, Due)> {
        if self.first().is_some_and(|(at, _)| *at <= now) { self.pop_first() } else { None }
    }
}

/// What comes in.
impl Node {
    /// A proposal came straight from its proposer.
    pub(super) fn on_propose(&mut self, items: Items<'_>, letter: &Letter) {
        for (_, bytes) in items {
            let Some(update) = UpdateRef::read(bytes) else {
                self.fx.counters.dropped.malformed += 1;
                continue;
            };
            let Head::Agreement(statement) = update.head else { continue };
            let Says::Proposal { register, ballot, next } = statement.says else {
                self.take_statement(&update, letter.peer, true);
                continue;
            };
            if ballot.proposer == letter.peer
                && let Some(proposal) = update.proposal(ballot, next)
            {
                self.consider(statement.founding, register, &proposal, Way::Straight(letter.peer));
            }
        }
    }

    /// A vote came straight from its voter.
    pub(super) fn on_vote(&mut self, items: Items<'_>, letter: &Letter) {
        if self.agreeing.is_unused() {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        self.agreeing.heard.insert(letter.peer, self.fx.now.instant);
        while self.agreeing.heard.len() > HEARD_MAX {
            self.agreeing.heard.pop_first();
        }
        for (_, bytes) in items {
            match UpdateRef::read(bytes) {
                Some(update) if matches!(update.head, Head::Agreement(_)) => {
                    self.take_statement(&update, letter.peer, false);
                }
                Some(_) | None => self.fx.counters.dropped.malformed += 1,
            }
        }
    }

    /// Takes in a statement, this node's own or another's. Returns whether it was known.
    pub(super) fn take_statement(&mut self, update: &UpdateRef<'_>, from: NodeId, hot: bool) -> bool {
        let Head::Agreement(statement) = update.head else { unreachable!("sorted by space before") };
        self.use_agreement();
        if from != self.identity.id && self.hear_own_vote(update) {
            return true;
        }
        let now = self.fx.now.wall;
        let latest = now.seconds().plus(self.config.tombstone_ttl.max(PROPOSAL_TTL) + self.config.clock_skew_max * 2);
        if update.forget != crate::time::Seconds::NEVER && update.forget > latest {
            self.fx.counters.dropped.refused += 1;
            return true;
        }
        let (update, old) = match self.agreeing.space.take(update, REGISTERS_MAX, now) {
            Taken::Known(id) => {
                if let Some(id) = id {
                    self.rumors.note_knower(id, from);
                }
                return true;
            }
            Taken::Refused => {
                self.fx.counters.dropped.refused += 1;
                return true;
            }
            Taken::Kept(update, old) => (update, old),
        };
        self.note_arrival(update.id);
        if let Some(old) = old {
            self.rumors.cool(old);
        }
        if hot {
            self.heat(Arc::clone(&update), 0, Some(from));
        }
        self.note_change(frame::Space::Agreement);
        self.follow_statement(statement.founding, &update);
        false
    }

    /// What follows from a statement that is news.
    fn follow_statement(&mut self, founding: FoundingId, update: &Arc<Update>) {
        match update.statement().says {
            Says::Founding => {
                self.keep_statement(update);
                self.join_founding(founding);
                self.note_started(founding);
            }
            Says::Dropped => self.keep_statement(update),
            Says::Joined { .. } => self.note_started(founding),
            Says::Configured { .. } => {
                self.keep_statement(update);
                self.on_configured(founding);
            }
            Says::Sealed(_) => self.drive_change(),
            Says::Vote { register, voter, promised, .. } => {
                self.agreeing.changing.note_vote(voter, promised.configuration);
                self.note_votes(founding, register);
            }
            Says::Proposal { register, ballot, next } => {
                if let Some(proposal) = update.parts().proposal(ballot, next) {
                    // This node's own went straight to its voter when it was made.
                    let is_own = ballot.proposer == self.identity.id;
                    let way = if is_own { Way::Straight(ballot.proposer) } else { Way::Gossip };
                    self.consider(founding, register, &proposal, way);
                }
            }
        }
    }

    /// Votes about a register changed.
    pub(super) fn note_votes(&mut self, founding: FoundingId, register: &str) {
        let before = self.lease_held(founding, register);
        let known = self.agreeing.space.founding(founding).and_then(|known| known.register(register)?.chosen());
        let known_version = known.map_or(0, |known| known.content.version);
        let chosen = self.agreeing.space.note_chosen(founding, register).cloned();
        if let Some(content) = chosen {
            if content.version < known_version {
                self.agreeing.begin_anew(register, content.version);
            }
            if register == CONFIGURATIONS {
                let decided = content.value.as_deref().and_then(Configuration::read);
                if let Some(configuration) = decided {
                    self.adopt_configuration(founding, &configuration);
                }
            } else if let Some(before) = before {
                self.note_lease(register, &before, content.version, content.value.as_ref());
            } else {
                let (version, value) = (content.version, content.value);
                self.fx.event(Event::Register { register: register.to_owned(), version, value });
            }
        }
        self.bury(founding, register);
        self.advance_register(register);
    }

    /// Sends a frame of the agreement space: in a datagram if it fits, else over a stream.
    pub(super) fn send_agreement(&mut self, peer: NodeId, kind: u8, content: &[u8]) {
        let Some(address) = self.members.address(peer).filter(|_| self.members.is_live(peer)) else { return };
        let mut letter = self.letter(peer, address);
        if letter.packet.room() >= FRAME_HEAD_BYTES + content.len() {
            letter.packet.agreement(kind, content);
            self.post(letter);
        } else if matches!(kind, frame::KIND_VOTE | frame::KIND_OUTCOME) && !self.members.is_proven(peer, address) {
            // Whoever asked may not live there. A member that does asks again.
            self.put_challenge(&mut letter);
            self.post(letter);
        } else if let Some(stream) = self.exchange_stream(&letter) {
            let mut letter = Letter::on_stream(stream, peer, address);
            letter.packet.agreement(kind, content);
            self.post(letter);
            self.streams.close_after(stream, &mut self.fx);
        }
    }
}

/// Kind and length of a frame.
const FRAME_HEAD_BYTES: usize = 1 + 4;
/// Voters of which it is remembered when they answered.
const HEARD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::identity::Identity;
    use crate::io::{Command, Input};
    use crate::time::Now;

    fn now(secs: u64) -> Now {
        Now { instant: Instant::from_micros(secs * 1_000_000), wall: Wall::from_micros(secs * 1_000_000) }
    }

    #[test]
    fn who_agrees_on_nothing_has_nothing_of_it() {
        let identity = Identity::new(NodeId(1), "n1", ([10, 0, 0, 1], 4747), 1);
        let mut node = Node::new(identity, Config::default(), 1, now(0));
        let mut give = |at, input| {
            while node.poll_output().is_some() {}
            node.handle_input(now(at), input);
            node.agreeing.is_unused()
        };
        let command = |command| Input::Command { ticket: Ticket(1), command };
        let operate =
            Command::Operate { register: "r".to_owned(), change: Change::Read, timeout: Duration::from_secs(1) };
        assert!(give(1, command(operate)) && give(60, Input::Timeout));
        assert!(!give(61, command(Command::Found { voters: vec![NodeId(1)] })));
        assert_eq!(size_of::<WhenUsed>(), size_of::<usize>());
    }
}
