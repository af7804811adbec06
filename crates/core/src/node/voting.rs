//! This node as a voter: what it promises and accepts, on its way to the disk, and then said (design §2 rule 5).
//!
//! A vote that is not durable is not said: not to the proposer, not in a comparison, not in anything else. The next vote about
//! a register builds on the one that is on its way; each is whole, so that one which fails takes nothing else with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::agreeing::{Agreeing, Due, REGISTERS_MAX};
use super::{Node, Worry};
use crate::agreement::space::{Founding, Register, floor_above};
use crate::agreement::statement::{AGREEMENT_PREFIX, FoundingId, Says, Statement, put_ballot, read_ballot};
use crate::agreement::{Answer, Ballot, Proposal, Vote};
use crate::frame::{self, Space};
use crate::identity::{Kept, NodeId, Record};
use crate::io::{Token, Warning};
use crate::time::Seconds;
use crate::update::{Head, Update, UpdateRef};
use crate::wire::Reader;

/// Votes on their way to the disk; proposals beyond are not answered, and come again.
const UNDER_WAY_MAX: usize = 4_096;
/// How long a disk that takes no writes is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Proposers that wait for one vote.
const ASKERS_MAX: usize = 16;

/// Something of this voter's own on its way to the disk.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Draft {
    token: Token,
    update: Arc<Update>,
    /// Who is told once it is durable.
    askers: Vec<NodeId>,
    /// Whether everybody is to hear of it.
    hot: bool,
}

impl Draft {
    /// Somebody asks for it before it is durable.
    fn note_asked(&mut self, way: Way) {
        match way {
            Way::Straight(asker) if !self.askers.contains(&asker) && self.askers.len() < ASKERS_MAX => {
                self.askers.push(asker);
            }
            Way::Straight(_) => {}
            Way::Gossip => self.hot = true,
        }
    }
}

/// The last vote about a register, durable or on its way.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct Working {
    vote: Vote,
    born: u64,
    token: Token,
}

/// This node as a voter.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Voting {
    /// In which founding it votes. That is durable.
    pub(super) joined: Option<FoundingId>,
    /// In which founding it is about to.
    pub(super) joining: Option<FoundingId>,
    /// It ends its part in a configuration once nothing is on its way to the disk; until then it does not vote.
    sealing: Option<FoundingId>,
    /// In which foundings votes have run out while it was down: what it has sealed it did not know of that.
    forgot: BTreeSet<FoundingId>,
    /// It has said more than it remembers: it votes no more.
    pub(super) is_stopped: bool,
    /// Below this nothing is accepted about registers without a vote.
    floor: Ballot,
    drafts: VecDeque<Draft>,
    /// Other records on their way to the disk.
    kept: BTreeSet<Token>,
    working: BTreeMap<Box<str>, Working>,
    /// The number of the next vote about a register without one.
    pub(super) born: u64,
}

impl Voting {
    /// Whether nothing of this voter's own is on its way to the disk. If something is, it votes on nothing more until that
    /// has ended, and is asked to seal again.
    pub(super) fn is_still(&mut self, founding: FoundingId) -> bool {
        self.sealing = Some(founding).filter(|_| !self.drafts.is_empty());
        self.drafts.is_empty()
    }
}

/// By which way a proposal came, and the answer goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// From its proposer, who is told.
    Straight(NodeId),
    /// By gossip: everybody is told. Its proposer is not: anybody may have named it.
    Gossip,
}

impl Way {
    fn asker(self) -> Option<NodeId> {
        if let Self::Straight(asker) = self { Some(asker) } else { None }
    }
}

impl Node {
    /// A proposal came.
    pub(super) fn consider(&mut self, founding: FoundingId, register: &str, proposal: &Proposal, way: Way) {
        if !self.votes_in(founding) {
            return;
        }
        let Some(known) = self.agreeing.space.founding(founding) else { return };
        let Some(configuration) = known.configuration() else { return };
        let me = self.identity.id;
        let number = proposal.ballot().configuration;
        if number != configuration.number {
            // One who is behind is told; who is ahead tells by himself.
            if number < configuration.number
                && let Some(configured) = known.configured().cloned()
                && let Some(asker) = way.asker()
            {
                self.tell_vote(asker, &configured);
            }
            return;
        }
        let is_sealed = known.sealed(me).is_some_and(|sealed| sealed.configuration >= number);
        let Some(since) = configuration.since(me).filter(|_| !is_sealed) else { return };
        let (held, birth) = self.last_vote(founding, register);
        match held.since(since).answer(proposal) {
            Answer::Changed(vote) => self.draft_vote(founding, register, &vote, (birth, false), way),
            Answer::Same | Answer::Refused => self.repeat_vote(founding, register, (held, birth), way),
        }
    }

    /// Whether this node is a voter of a founding, and may vote.
    fn votes_in(&self, founding: FoundingId) -> bool {
        let voting = &self.agreeing.voting;
        voting.joined == Some(founding)
            && !voting.is_stopped
            && voting.sealing.is_none()
            && self.phase == super::Phase::Running
    }

    /// The last vote about a register, durable or on its way, with the number of its birth. Where there is none, what was
    /// promised for all that were forgotten.
    fn last_vote(&self, founding: FoundingId, register: &str) -> (Vote, Option<u64>) {
        let me = self.identity.id;
        if let Some(working) = self.agreeing.voting.working.get(register) {
            return (working.vote.clone(), Some(working.born));
        }
        let known = self.agreeing.space.founding(founding);
        let vote = known.and_then(|known| known.register(register)?.votes().get(&me));
        let birth = known.and_then(|known| known.birth(register, me));
        let floor = || Vote { promised: self.agreeing.voting.floor, accepted: None };
        let birth = birth.map(|(born, _)| born);
        (vote.cloned().unwrap_or_else(floor), birth)
    }

    /// Writes a vote down; it is said once that is durable.
    fn draft_vote(
        &mut self,
        founding: FoundingId,
        register: &str,
        vote: &Vote,
        (birth, bury): (Option<u64>, bool),
        way: Way,
    ) {
        let Agreeing { voting, space, .. } = &mut *self.agreeing;
        let known = space.founding(founding);
        let is_new = known.is_none_or(|known| known.register(register).is_none());
        let registers = known.map_or(0, Founding::len) + voting.working.len();
        if voting.drafts.len() >= UNDER_WAY_MAX || is_new && registers >= 2 * REGISTERS_MAX {
            return;
        }
        let born = birth.unwrap_or_else(|| {
            voting.born += 1;
            voting.born - 1
        });
        let now = self.fx.now.wall.seconds();
        let forget = if bury { now.plus(self.config.tombstone_ttl) } else { Seconds::NEVER };
        let update = self.agreeing.space.make_vote(founding, register, self.identity.id, vote, (born, forget));
        let record = Record { key: vote_key(register), value: Some(update.bytes().to_vec()) };
        let token = self.fx.persist(vec![record]);
        let voting = &mut self.agreeing.voting;
        let working = Working { vote: vote.clone(), born, token };
        voting.working.insert(register.into(), working);
        let me = self.identity.id;
        let askers = way.asker().filter(|asker| *asker != me).into_iter().collect();
        voting.drafts.push_back(Draft { token, update, askers, hot: way == Way::Gossip });
    }

    /// Who asks for what was answered before is told again, or once that is durable; by gossip everybody is, for the answer
    /// that went straight may have been lost. Where only a floor was promised, that becomes a vote: it has to be said somehow.
    fn repeat_vote(&mut self, founding: FoundingId, register: &str, (held, birth): (Vote, Option<u64>), way: Way) {
        if way == Way::Straight(self.identity.id) {
            return;
        }
        if let Some(working) = self.agreeing.voting.working.get(register) {
            let token = working.token;
            let draft = self.agreeing.voting.drafts.iter_mut().find(|draft| draft.token == token);
            if let Some(draft) = draft {
                draft.note_asked(way);
            }
            return;
        }
        let known = self.agreeing.space.founding(founding).and_then(|known| known.register(register));
        match (known.and_then(|known| known.vote_of(self.identity.id)).cloned(), way) {
            (Some(update), Way::Straight(asker)) => self.tell_vote(asker, &update),
            (Some(update), Way::Gossip) if self.rumors.is_hot(update.id) => {}
            (Some(update), Way::Gossip) => self.heat(update, 0, None),
            (None, _) => self.draft_vote(founding, register, &held, (birth, false), way),
        }
    }

    fn tell_vote(&mut self, asker: NodeId, update: &Update) {
        let mut items = Vec::new();
        frame::item(&mut items, 0, update.bytes());
        self.send_agreement(asker, frame::KIND_VOTE, &items);
    }

    /// Writes something else of this voter's own down, to be said to everybody once it is durable.
    pub(super) fn draft_statement(&mut self, says: Says<'_>, founding: FoundingId) {
        let update = self.agreeing.space.make(&Statement { founding, says }, Seconds::NEVER, &[]);
        let record = Record { key: statement_key(&update), value: Some(update.bytes().to_vec()) };
        let token = self.fx.persist(vec![record]);
        self.agreeing.voting.drafts.push_back(Draft { token, update, askers: Vec::new(), hot: true });
    }

    /// Something is durable: it enters the replica, and is said.
    pub(super) fn on_vote_persisted(&mut self, token: Token) {
        if self.agreeing.is_unused() {
            return;
        }
        self.agreeing.voting.kept.remove(&token);
        let Some(draft) = self.agreeing.voting.drafts.pop_front_if(|draft| draft.token == token) else { return };
        let Draft { update, askers, hot, .. } = draft;
        match update.statement().says {
            Says::Vote { register, .. } => self.settle_working(register, token),
            Says::Joined { .. } => {
                self.agreeing.voting.joined = Some(update.statement().founding);
                self.agreeing.voting.joining = None;
            }
            Says::Founding | Says::Dropped | Says::Configured { .. } | Says::Sealed(_) | Says::Proposal { .. } => {}
        }
        for asker in askers {
            self.tell_vote(asker, &update);
        }
        self.take_statement(&update.parts(), self.identity.id, hot);
        self.seal_if_still();
    }

    /// Nothing may be on its way any more.
    fn seal_if_still(&mut self) {
        let voting = &mut self.agreeing.voting;
        if voting.drafts.is_empty()
            && let Some(founding) = voting.sealing.take()
        {
            self.seal_anew(founding);
        }
    }

    pub(super) fn on_vote_failed(&mut self, token: Token) {
        if self.agreeing.is_unused() {
            return;
        }
        if self.agreeing.voting.kept.remove(&token) {
            self.retry_keeping();
        }
        let Some(draft) = self.agreeing.voting.drafts.pop_front_if(|draft| draft.token == token) else { return };
        match draft.update.statement().says {
            // Nobody was told; what is asked again is tried again.
            Says::Vote { register, .. } => self.settle_working(register, token),
            Says::Joined { .. } => {
                self.agreeing.voting.joining = None;
                self.retry_keeping();
            }
            Says::Sealed(_) => self.retry_keeping(),
            Says::Founding | Says::Dropped | Says::Configured { .. } | Says::Proposal { .. } => {}
        }
        self.seal_if_still();
    }

    /// The disk is left alone for a while, and then tried again.
    fn retry_keeping(&mut self) {
        let is_armed = self.agreeing.dues.iter().any(|(_, due)| *due == Due::Keep);
        if !is_armed {
            let at = self.fx.now.instant + RETRY_PAUSE;
            self.agreeing.dues.insert((at, Due::Keep));
            self.arm_agreement();
        }
    }

    /// A vote is no longer on its way, unless a later one about the same register is.
    fn settle_working(&mut self, register: &str, token: Token) {
        let working = &mut self.agreeing.voting.working;
        if working.get(register).is_some_and(|working| working.token == token) {
            working.remove(register);
        }
    }

    /// A peer tells a vote of this node's own. Whether there is no more to it: what this node said is known to it, unless its
    /// disk is a backup that was restored.
    pub(super) fn hear_own_vote(&mut self, update: &UpdateRef<'_>) -> bool {
        let Head::Agreement(statement) = update.head else { unreachable!("sorted by space before") };
        let Says::Vote { register, voter, promised, accepted, .. } = statement.says else { return false };
        if voter != self.identity.id {
            return false;
        }
        let (last, _) = self.last_vote(statement.founding, register);
        let is_held = {
            let known = self.agreeing.space.founding(statement.founding).and_then(|known| known.register(register));
            known.and_then(|known| known.vote_of(voter)).map(|held| held.statement().version(held.forget()))
        };
        if (promised, accepted) <= (last.promised, last.accepted_ballot()) {
            if is_held.is_none()
                && self.votes_in(statement.founding)
                && !self.agreeing.voting.working.contains_key(register)
            {
                // It was forgotten everywhere but there: the floor takes its place, and is forgotten in its turn.
                let me = self.identity.id;
                self.draft_vote(statement.founding, register, &last, (None, true), Way::Straight(me));
            }
            return is_held.is_none_or(|held| held >= statement.version(update.forget));
        }
        self.stop_voting();
        false
    }

    /// This node has said more than it remembers, or may have: it votes no more.
    pub(super) fn stop_voting(&mut self) {
        let voting = &self.agreeing.voting;
        if voting.joined.is_none() && voting.joining.is_none() || voting.is_stopped {
            return;
        }
        self.agreeing.voting.is_stopped = true;
        self.keep_stopped();
        self.warn(Worry::Voter, Warning::VoterStopped);
    }

    fn keep_stopped(&mut self) {
        let key = [AGREEMENT_PREFIX, b"stopped"].concat();
        self.keep(vec![Record { key, value: Some(vec![1]) }]);
    }

    /// Writes something down that is tried again until the disk takes it.
    fn keep(&mut self, records: Vec<Record>) {
        let token = self.fx.persist(records);
        self.agreeing.voting.kept.insert(token);
    }

    /// A register was deleted, and all voters hold that: each makes its vote again, to be forgotten after a while.
    pub(super) fn bury(&mut self, founding: FoundingId, register: &str) {
        if !self.votes_in(founding) || self.agreeing.voting.working.contains_key(register) {
            return;
        }
        let Some(known) = self.agreeing.space.founding(founding) else { return };
        let Some(configuration) = known.configuration().filter(|configuration| configuration.previous.is_none()) else {
            return;
        };
        let me = self.identity.id;
        let Some((born, false)) = known.birth(register, me) else { return };
        let Some(votes) = known.register(register).map(Register::votes) else { return };
        let Some(own) = votes.get(&me).filter(|_| configuration.since(me).is_some()) else { return };
        let is_deleted = |vote: &Vote| vote.accepted.as_ref().is_some_and(|accepted| accepted.content.value.is_none());
        let holds_it = |voter| votes.get(&voter).is_some_and(|vote| vote.accepted_ballot() == own.accepted_ballot());
        if is_deleted(own) && configuration.members().all(holds_it) {
            let vote = own.clone();
            self.draft_vote(founding, register, &vote, (Some(born), true), Way::Straight(me));
        }
    }

    /// A vote of this node's own is forgotten: from now on nothing as old is accepted about any register without a vote.
    pub(super) fn note_buried(&mut self, update: &Update) {
        let Says::Vote { register, voter, promised, .. } = update.statement().says else { return };
        if voter != self.identity.id {
            return;
        }
        let voting = &mut self.agreeing.voting;
        voting.floor = voting.floor.max(floor_above(promised));
        let mut floor = Vec::new();
        put_ballot(&mut floor, voting.floor);
        let mut records = vec![Record { key: [AGREEMENT_PREFIX, b"floor"].concat(), value: Some(floor) }];
        if !voting.working.contains_key(register) {
            records.push(Record { key: vote_key(register), value: None });
        }
        self.fx.persist(records);
    }

    /// Lets go what has had its time.
    pub(super) fn fade_agreement(&mut self) {
        if self.agreeing.is_unused() {
            return;
        }
        for update in self.agreeing.space.fade(self.fx.now.wall) {
            self.rumors.cool(update.id);
            self.note_buried(&update);
            self.note_forgotten(&update);
            if matches!(update.statement().says, Says::Vote { voter, .. } if voter == self.identity.id) {
                self.seal_anew(update.statement().founding);
            }
        }
    }

    /// Once nothing is known of a register any more it is as good as new.
    fn note_forgotten(&mut self, update: &Update) {
        let statement = update.statement();
        let Says::Vote { register, .. } = statement.says else { return };
        let agreeing = &mut *self.agreeing;
        let known = agreeing.space.founding(statement.founding).and_then(|known| known.register(register));
        if known.is_none_or(|known| known.votes().is_empty()) {
            agreeing.begin_anew(register, 0);
        }
    }

    /// Writes down a statement of others that must outlive all of them.
    pub(super) fn keep_statement(&mut self, update: &Update) {
        if self.identity.durable {
            self.keep(vec![Record { key: statement_key(update), value: Some(update.bytes().to_vec()) }]);
        }
    }

    /// The disk did not take something, or this node has just started: what has to be there is written as it is now, and what
    /// this voter has not said is said.
    pub(super) fn on_keep_due(&mut self) {
        let known: Vec<_> = self.agreeing.space.foundings().map(|(id, known)| (id, known.to_keep())).collect();
        for (founding, updates) in known {
            for update in updates {
                self.keep_statement(&update);
            }
            self.join_founding(founding);
            self.seal(founding);
        }
        if self.agreeing.voting.is_stopped {
            self.keep_stopped();
        }
    }

    /// This node starts.
    pub(super) fn start_agreement(&mut self) {
        if self.agreeing.space.is_empty() {
            return;
        }
        self.note_change(Space::Agreement);
        let foundings: Vec<FoundingId> = self.agreeing.space.foundings().map(|(id, _)| id).collect();
        for founding in foundings {
            self.on_configured(founding);
            if self.agreeing.voting.forgot.remove(&founding) {
                self.seal_anew(founding);
            }
        }
    }

    /// Takes up what an earlier life stored.
    pub(super) fn restore_agreement(&mut self, kept: Vec<Kept>) {
        if kept.is_empty() {
            return;
        }
        self.use_agreement();
        let now = self.fx.now.wall;
        for (key, value) in kept {
            match &*key {
                b"stopped" => self.agreeing.voting.is_stopped = true,
                b"floor" => {
                    let floor = read_ballot(&mut Reader::new(&value)).unwrap_or_default();
                    self.agreeing.voting.floor = self.agreeing.voting.floor.max(floor);
                }
                _ => self.restore_statement(&value),
            }
        }
        for update in self.agreeing.space.fade(now) {
            self.note_buried(&update);
            self.agreeing.voting.forgot.insert(update.statement().founding);
        }
    }

    fn restore_statement(&mut self, bytes: &[u8]) {
        let Some(update) = UpdateRef::read(bytes) else { return };
        let Head::Agreement(statement) = update.head else { return };
        let me = self.identity.id;
        match statement.says {
            Says::Joined { voter } if voter == me => self.agreeing.voting.joined = Some(statement.founding),
            Says::Vote { voter, born, .. } if voter == me => {
                self.agreeing.voting.born = self.agreeing.voting.born.max(born.saturating_add(1));
            }
            Says::Sealed(sealed) if sealed.voter == me => {
                self.agreeing.voting.born = self.agreeing.voting.born.max(sealed.born);
            }
            Says::Founding
            | Says::Dropped
            | Says::Joined { .. }
            | Says::Configured { .. }
            | Says::Sealed(_)
            | Says::Vote { .. }
            | Says::Proposal { .. } => {}
        }
        self.agreeing.space.take(&update, REGISTERS_MAX, self.fx.now.wall);
        if let Says::Vote { register, .. } = statement.says {
            self.agreeing.space.note_chosen(statement.founding, register);
        }
    }
}

/// The key of the record of a vote.
fn vote_key(register: &str) -> Vec<u8> {
    [AGREEMENT_PREFIX, b"vote/", register.as_bytes()].concat()
}

/// The key of the record of another statement.
fn statement_key(update: &Update) -> Vec<u8> {
    let statement = update.statement();
    let (kind, founding): (&[u8], _) = match statement.says {
        Says::Founding => (b"founding/", Some(statement.founding)),
        Says::Dropped => (b"dropped/", Some(statement.founding)),
        Says::Configured { .. } => (b"configured/", Some(statement.founding)),
        // Of these a node has one.
        Says::Joined { .. } => (b"joined", None),
        Says::Sealed(_) => (b"sealed", None),
        Says::Vote { .. } | Says::Proposal { .. } => unreachable!("they are not kept so"),
    };
    let founding = founding.map(|founding| founding.0.to_le_bytes());
    [AGREEMENT_PREFIX, kind, founding.as_ref().map_or(&[], <[u8; 8]>::as_slice)].concat()
}
