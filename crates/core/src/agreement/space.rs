//! A node's copy of the agreement space: what was founded, who voted how, and what follows from it.
//!
//! Updates lie in the replica, which compares and spreads them; beside it they are indexed by what they are about. All that
//! is said here of registers and configurations follows from the updates held (design §2 rule 4), but for one memory:
//! the last content that was seen chosen, which later votes may hide.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ballot::COUNTER_MAX;
use super::statement::{CONFIGURATIONS, FoundingId, Says, Sealed, Statement, content_body, founding_body};
use super::{Accepted, Ballot, Configuration, Content, Proposal, Vote, Votes, chosen};
use crate::identity::NodeId;
use crate::limits::Limits;
use crate::replica::{FULL_PAUSE, Replica};
use crate::time::{Seconds, Wall};
use crate::update::{self, Head, Interner, Update, UpdateId, UpdateRef};

/// Foundings that are known at once; more are refused.
const FOUNDINGS_MAX: usize = 16;
/// Nodes that say something in one founding, or about one register; more are refused.
const SPEAKERS_MAX: usize = 64;
/// Registers that are kept of others, in multiples of what may be born here.
const OVERRUN: usize = 2;

/// What became of a statement that came in.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It says nothing new; its id, if it is held.
    Known(Option<UpdateId>),
    /// There is no room for it, or what it belongs to was dropped.
    Refused,
    /// This is held from now on, in the place of the other.
    Kept(Arc<Update>, Option<UpdateId>),
}

/// One register of a founding.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Register {
    votes: Votes,
    /// The same as updates.
    said: BTreeMap<NodeId, Arc<Update>>,
    proposals: BTreeMap<NodeId, Arc<Update>>,
    /// What was last seen chosen.
    chosen: Option<Accepted>,
}

impl Register {
    /// The votes that were seen.
    pub(crate) const fn votes(&self) -> &Votes {
        &self.votes
    }

    /// What was last seen chosen.
    pub(crate) const fn chosen(&self) -> Option<&Accepted> {
        self.chosen.as_ref()
    }

    /// A voter's vote as an update.
    pub(crate) fn vote_of(&self, voter: NodeId) -> Option<&Arc<Update>> {
        self.said.get(&voter)
    }

    /// The proposals that are held.
    pub(crate) fn proposals(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.proposals.values()
    }
}

/// One founding, and all that was said in it.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Founding {
    named: Option<(Vec<NodeId>, Arc<Update>)>,
    dropped: Option<Arc<Update>>,
    joined: BTreeMap<NodeId, Arc<Update>>,
    configured: Option<(Configuration, Arc<Update>)>,
    sealed: BTreeMap<NodeId, (Sealed, Arc<Update>)>,
    registers: BTreeMap<Box<str>, Register>,
}

impl Founding {
    /// Whom it named.
    pub(crate) fn voters(&self) -> &[NodeId] {
        self.named.as_ref().map_or(&[], |(voters, _)| voters)
    }

    pub(crate) fn has_joined(&self, voter: NodeId) -> bool {
        self.joined.contains_key(&voter)
    }

    pub(crate) const fn is_dropped(&self) -> bool {
        self.dropped.is_some()
    }

    /// Who votes now: those whom it named once all of them have joined, or those of the last configuration decided.
    pub(crate) fn configuration(&self) -> Option<Configuration> {
        if self.is_dropped() {
            return None;
        }
        if let Some((configuration, _)) = &self.configured {
            return Some(configuration.clone());
        }
        let voters = self.voters();
        let is_started = !voters.is_empty() && voters.iter().all(|voter| self.has_joined(*voter));
        is_started.then(|| Configuration::first(voters.iter().copied()))
    }

    /// The statement of the last configuration, if there was more than the first.
    pub(crate) fn configured(&self) -> Option<&Arc<Update>> {
        self.configured.as_ref().map(|(_, update)| update)
    }

    pub(crate) fn sealed(&self, voter: NodeId) -> Option<Sealed> {
        self.sealed.get(&voter).map(|(sealed, _)| *sealed)
    }

    pub(crate) fn register(&self, name: &str) -> Option<&Register> {
        self.registers.get(name)
    }

    /// All registers but that of configurations, in the order of their names.
    pub(crate) fn registers(&self) -> impl Iterator<Item = (&str, &Register)> {
        let all = self.registers.iter().map(|(name, register)| (&**name, register));
        all.filter(|(name, _)| *name != CONFIGURATIONS)
    }

    /// The same with that of configurations, without names.
    pub(crate) fn all_registers(&self) -> impl Iterator<Item = &Register> {
        self.registers.values()
    }

    /// How many registers anybody has voted on.
    pub(crate) fn len(&self) -> usize {
        self.registers.len()
    }

    /// What is known of a vote besides what it says: the number of its birth, and whether it is to be forgotten.
    pub(crate) fn birth(&self, register: &str, voter: NodeId) -> Option<(u64, bool)> {
        let update = self.registers.get(register)?.said.get(&voter)?;
        match update.statement().says {
            Says::Vote { born, .. } => Some((born, update.forget() != Seconds::NEVER)),
            Says::Founding
            | Says::Dropped
            | Says::Joined { .. }
            | Says::Configured { .. }
            | Says::Sealed(_)
            | Says::Proposal { .. } => None,
        }
    }

    fn held(&self, says: &Says<'_>) -> Option<&Arc<Update>> {
        match *says {
            Says::Founding => self.named.as_ref().map(|(_, update)| update),
            Says::Dropped => self.dropped.as_ref(),
            Says::Joined { voter } => self.joined.get(&voter),
            Says::Configured { .. } => self.configured(),
            Says::Sealed(sealed) => self.sealed.get(&sealed.voter).map(|(_, update)| update),
            Says::Vote { register, voter, .. } => self.registers.get(register)?.said.get(&voter),
            Says::Proposal { register, ballot, .. } => self.registers.get(register)?.proposals.get(&ballot.proposer),
        }
    }

    /// Whether there is room for something new of this kind.
    fn has_room(&self, says: &Says<'_>, registers_max: usize) -> bool {
        // However many have voted before: whoever votes now is heard, and keeps its own word.
        let votes = |voter: NodeId| self.configuration().is_some_and(|present| present.members().any(|it| it == voter));
        if let Says::Joined { voter } | Says::Vote { voter, .. } | Says::Sealed(Sealed { voter, .. }) = *says
            && votes(voter)
        {
            let Says::Vote { register, .. } = *says else { return true };
            return self.registers.contains_key(register) || self.registers.len() < registers_max * OVERRUN;
        }
        let fits = |name: &str, count: &dyn Fn(&Register) -> usize| match self.registers.get(name) {
            Some(register) => count(register) < SPEAKERS_MAX,
            None => self.registers.len() < registers_max * OVERRUN,
        };
        match *says {
            Says::Founding | Says::Dropped | Says::Configured { .. } => true,
            Says::Joined { .. } => self.joined.len() < SPEAKERS_MAX,
            Says::Sealed(_) => self.sealed.len() < SPEAKERS_MAX,
            Says::Vote { register, .. } => fits(register, &|register| register.votes.len()),
            Says::Proposal { register, .. } => fits(register, &|register| register.proposals.len()),
        }
    }

    fn put(&mut self, update: Arc<Update>) {
        let parts = update.parts();
        match update.statement().says {
            Says::Founding => self.named = parts.founding_voters().map(|voters| (voters, Arc::clone(&update))),
            Says::Dropped => self.dropped = Some(update),
            Says::Joined { voter } => {
                self.joined.insert(voter, update);
            }
            Says::Configured { .. } => {
                self.configured = parts.configuration().map(|configuration| (configuration, Arc::clone(&update)));
            }
            Says::Sealed(sealed) => {
                self.sealed.insert(sealed.voter, (sealed, update));
            }
            Says::Vote { register, voter, promised, accepted, .. } => {
                let accepted = accepted.and_then(|ballot| Some(Accepted { ballot, content: parts.content()? }));
                let register = self.registers.entry(register.into()).or_default();
                register.votes.insert(voter, Vote { promised, accepted });
                register.said.insert(voter, Arc::clone(&update));
            }
            Says::Proposal { register, ballot, .. } => {
                let register = self.registers.entry(register.into()).or_default();
                register.proposals.insert(ballot.proposer, Arc::clone(&update));
            }
        }
    }

    fn take_out(&mut self, says: &Says<'_>) {
        let name = match *says {
            Says::Vote { register, .. } | Says::Proposal { register, .. } => register,
            Says::Founding | Says::Dropped | Says::Joined { .. } | Says::Configured { .. } | Says::Sealed(_) => {
                unreachable!("only votes and proposals are forgotten")
            }
        };
        let Some(register) = self.registers.get_mut(name) else { return };
        match *says {
            Says::Vote { voter, .. } => {
                register.votes.remove(&voter);
                register.said.remove(&voter);
                if register.votes.is_empty() {
                    // Proposals may be there for longer.
                    register.chosen = None;
                }
            }
            Says::Proposal { ballot, .. } => {
                register.proposals.remove(&ballot.proposer);
            }
            Says::Founding | Says::Dropped | Says::Joined { .. } | Says::Configured { .. } | Says::Sealed(_) => {}
        }
        if register.votes.is_empty() && register.proposals.is_empty() {
            self.registers.remove(name);
        }
    }

    /// What must be known as long as anybody may come back who has to know it.
    pub(crate) fn to_keep(&self) -> Vec<Arc<Update>> {
        let founding = self.named.as_ref().map(|(_, update)| update);
        founding.into_iter().chain(&self.dropped).chain(self.configured()).cloned().collect()
    }

    /// Everything that goes with it once it is dropped.
    fn contents(&mut self) -> Vec<Arc<Update>> {
        let registers = std::mem::take(&mut self.registers).into_values();
        let said = registers.flat_map(|register| register.said.into_values().chain(register.proposals.into_values()));
        let joined = std::mem::take(&mut self.joined).into_values();
        let sealed = std::mem::take(&mut self.sealed).into_values().map(|(_, update)| update);
        let configured = self.configured.take().map(|(_, update)| update);
        let founding = self.named.take().map(|(_, update)| update);
        said.chain(joined).chain(sealed).chain(configured).chain(founding).collect()
    }
}

/// The agreement space of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Space {
    replica: Replica,
    foundings: BTreeMap<FoundingId, Founding>,
    secret: [u8; 16],
    interner: Interner,
}

impl Space {
    pub(crate) fn new(secret: [u8; 16], interner: Interner, now: Wall) -> Self {
        Self { replica: Replica::counting_refused(now), foundings: BTreeMap::new(), secret, interner }
    }

    pub(crate) const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Whether nobody has ever founded anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.foundings.is_empty()
    }

    pub(crate) fn founding(&self, id: FoundingId) -> Option<&Founding> {
        self.foundings.get(&id)
    }

    /// All foundings, the lowest id first.
    pub(crate) fn foundings(&self) -> impl Iterator<Item = (FoundingId, &Founding)> {
        self.foundings.iter().map(|(id, founding)| (*id, founding))
    }

    /// A statement of this node's making.
    pub(crate) fn make(&self, statement: &Statement<'_>, forget: Seconds, body: &[u8]) -> Arc<Update> {
        let bytes = update::agreement_bytes(statement, forget, body);
        let update = UpdateRef::read(&bytes).expect("own statements make sense");
        self.interner.intern(&update, &self.secret)
    }

    /// There is a founding with these voters, in ascending order.
    pub(crate) fn make_founding(&self, voters: &[NodeId]) -> (FoundingId, Arc<Update>) {
        let founding = FoundingId::of(voters);
        let statement = Statement { founding, says: Says::Founding };
        (founding, self.make(&statement, Seconds::NEVER, &founding_body(voters)))
    }

    /// That configuration has been decided.
    pub(crate) fn make_configured(&self, founding: FoundingId, configuration: &Configuration) -> Arc<Update> {
        let (number, is_settled) = configuration.place();
        let statement = Statement { founding, says: Says::Configured { number, is_settled } };
        self.make(&statement, Seconds::NEVER, &configuration.to_bytes())
    }

    /// A proposal, which lives for a while only.
    pub(crate) fn make_proposal(
        &self,
        founding: FoundingId,
        register: &str,
        proposal: &Proposal,
        forget: Seconds,
    ) -> Arc<Update> {
        let (ballot, next, body) = match proposal {
            Proposal::Prepare { ballot } => (*ballot, None, Vec::new()),
            Proposal::Accept { ballot, content, next } => (*ballot, Some(*next), content_body(content)),
        };
        self.make(&Statement { founding, says: Says::Proposal { register, ballot, next } }, forget, &body)
    }

    /// A vote.
    pub(crate) fn make_vote(
        &self,
        founding: FoundingId,
        register: &str,
        voter: NodeId,
        vote: &Vote,
        (born, forget): (u64, Seconds),
    ) -> Arc<Update> {
        let (promised, accepted) = (vote.promised, vote.accepted_ballot());
        let body = vote.accepted.as_ref().map(|accepted| content_body(&accepted.content)).unwrap_or_default();
        let says = Says::Vote { register, voter, born, promised, accepted };
        self.make(&Statement { founding, says }, forget, &body)
    }

    /// Takes in a statement. `registers_max` is how many registers may be born here.
    pub(crate) fn take(&mut self, update: &UpdateRef<'_>, registers_max: usize, now: Wall) -> Taken {
        let Head::Agreement(statement) = update.head else { unreachable!("sorted by space before") };
        let known = self.foundings.get(&statement.founding);
        let held = known.and_then(|founding| founding.held(&statement.says));
        if let Some(held) = held {
            let version = |statement: &Statement<'_>, forget| statement.version(forget);
            let id = update.id(&self.secret);
            let ours = (version(&held.statement(), held.forget()), held.id);
            if (version(&statement, update.forget), id) <= ours {
                return Taken::Known((id == held.id).then_some(id));
            }
        } else {
            let has_room = match known {
                Some(founding) if founding.is_dropped() => statement.says == Says::Dropped,
                Some(founding) => founding.has_room(&statement.says, registers_max),
                None => self.foundings.len() < FOUNDINGS_MAX,
            };
            if !has_room {
                let until = (now + FULL_PAUSE).seconds();
                self.replica.refuse(update.id(&self.secret), until.min(update.forget));
                return Taken::Refused;
            }
        }
        let old = held.map(|held| held.id);
        let update = self.interner.intern(update, &self.secret);
        self.keep(Arc::clone(&update));
        Taken::Kept(update, old)
    }

    /// Puts a statement into the place of what it supersedes.
    fn keep(&mut self, update: Arc<Update>) {
        let statement = update.statement();
        let founding = self.foundings.entry(statement.founding).or_default();
        let old = founding.held(&statement.says).map(|held| held.id);
        founding.put(Arc::clone(&update));
        let gone = if founding.is_dropped() { founding.contents() } else { Vec::new() };
        match old {
            Some(old) => {
                let slot = self.replica.slot_of(old).expect("index and replica hold the same");
                self.replica.replace(slot, update);
            }
            None => {
                self.replica.insert(update);
            }
        }
        for update in gone {
            let slot = self.replica.slot_of(update.id).expect("index and replica hold the same");
            self.replica.remove(slot);
        }
    }

    /// What was last seen chosen, if that is news.
    pub(crate) fn note_chosen(&mut self, founding: FoundingId, register: &str) -> Option<&Content> {
        let founding = self.foundings.get_mut(&founding)?;
        let configuration = founding.configuration()?;
        let register = founding.registers.get_mut(register)?;
        let accepted = chosen(&register.votes, &configuration)?;
        let last = register.chosen.as_ref();
        if last.is_some_and(|last| accepted.ballot <= last.ballot) {
            return None;
        }
        let is_news = last.is_none_or(|last| last.content != accepted.content);
        register.chosen = Some(accepted.clone());
        register.chosen.as_ref().map(|accepted| &accepted.content).filter(|_| is_news)
    }

    /// Lets go what has had its time.
    pub(crate) fn fade(&mut self, now: Wall) -> Vec<Arc<Update>> {
        let slots = self.replica.advance(now);
        let forgotten: Vec<Arc<Update>> = slots.into_iter().map(|slot| Arc::clone(self.replica.at(slot))).collect();
        for update in &forgotten {
            let statement = update.statement();
            if let Some(founding) = self.foundings.get_mut(&statement.founding) {
                founding.take_out(&statement.says);
            }
            let slot = self.replica.slot_of(update.id).expect("index and replica hold the same");
            self.replica.remove(slot);
        }
        forgotten
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, registers_max: usize, to: &mut Limits) {
        let Self { replica, foundings, secret: _, interner: _ } = self;
        replica.limits("refused_votes", to);
        to.entries("foundings", foundings.len(), FOUNDINGS_MAX);
        let registers = foundings.values().map(Founding::len).max();
        to.entries("registers", registers.unwrap_or(0), registers_max * OVERRUN);
        let speakers = foundings.values().flat_map(|founding| founding.registers.values());
        let speakers = speakers.map(|register| register.votes.len().max(register.proposals.len())).max();
        to.entries("speakers_on_one_register", speakers.unwrap_or(0), SPEAKERS_MAX + super::VOTERS_MAX);
    }
}

/// The ballot below which nothing is accepted for a register whose vote was forgotten: above all that had been promised.
pub(crate) fn floor_above(promised: Ballot) -> Ballot {
    Ballot { counter: (promised.counter + 1).min(COUNTER_MAX), boot: 0, proposer: NodeId::NONE, ..promised }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn space() -> Space {
        Space::new([0; 16], Interner::default(), Wall::from_micros(0))
    }

    fn take(space: &mut Space, update: &Update) -> Taken {
        space.take(&update.parts(), 2, Wall::from_micros(0))
    }

    fn ballot(counter: u64) -> Ballot {
        Ballot { configuration: 1, counter, boot: 1, proposer: NodeId(8) }
    }

    fn vote(space: &Space, founding: FoundingId, register: &str, voter: NodeId, counter: u64) -> Arc<Update> {
        let content = Content { version: counter, ..Content::default() };
        let accepted = Some(Accepted { ballot: ballot(counter), content });
        let vote = Vote { promised: ballot(counter), accepted };
        space.make_vote(founding, register, voter, &vote, (0, Seconds::NEVER))
    }

    fn joined(space: &Space, founding: FoundingId, voter: NodeId) -> Arc<Update> {
        space.make(&Statement { founding, says: Says::Joined { voter } }, Seconds::NEVER, &[])
    }

    /// A space in which a founding has started.
    fn started() -> (Space, FoundingId) {
        let mut space = space();
        let (founding, update) = space.make_founding(&VOTERS);
        take(&mut space, &update);
        for voter in VOTERS {
            let update = joined(&space, founding, voter);
            take(&mut space, &update);
        }
        (space, founding)
    }

    #[test]
    fn a_founding_starts_once_all_whom_it_names_have_joined() {
        let mut space = space();
        let (founding, update) = space.make_founding(&VOTERS);
        for voter in VOTERS {
            assert!(space.founding(founding).is_none_or(|founding| founding.configuration().is_none()));
            let update = joined(&space, founding, voter);
            take(&mut space, &update);
        }
        assert!(space.founding(founding).unwrap().configuration().is_none(), "nobody knows whom it names");
        take(&mut space, &update);
        let configuration = space.founding(founding).unwrap().configuration();
        assert_eq!(configuration, Some(Configuration::first(VOTERS)));
    }

    #[test]
    fn of_two_votes_of_a_voter_the_later_holds_whichever_came_first() {
        let (mut space, founding) = started();
        let (old, new) = (vote(&space, founding, "r", VOTERS[0], 1), vote(&space, founding, "r", VOTERS[0], 2));
        for update in [&new, &old, &new] {
            take(&mut space, update);
        }
        let root = space.replica().root();
        let (mut other, _) = started();
        take(&mut other, &old);
        take(&mut other, &new);
        assert_eq!(other.replica().root(), root);
        let register = space.founding(founding).unwrap().register("r").unwrap();
        assert_eq!(register.votes()[&VOTERS[0]].promised, ballot(2));
    }

    #[test]
    fn what_was_chosen_is_told_once_and_remembered_when_votes_hide_it() {
        let (mut space, founding) = started();
        for (voter, is_news) in VOTERS.into_iter().zip([false, true, false]) {
            let update = vote(&space, founding, "r", voter, 1);
            take(&mut space, &update);
            assert_eq!(space.note_chosen(founding, "r").is_some(), is_news);
        }
        for (voter, counter) in VOTERS.into_iter().zip([2, 3, 4]) {
            let update = vote(&space, founding, "r", voter, counter);
            take(&mut space, &update);
            assert!(space.note_chosen(founding, "r").is_none());
        }
        let register = space.founding(founding).unwrap().register("r").unwrap();
        assert_eq!(register.chosen().map(|accepted| accepted.ballot), Some(ballot(1)));
    }

    #[test]
    fn there_is_room_for_twice_as_many_registers_as_may_be_born_here() {
        let (mut space, founding) = started();
        for (register, fits) in [("a", true), ("b", true), ("c", true), ("d", true), ("e", false), ("a", true)] {
            let update = vote(&space, founding, register, VOTERS[1], 1);
            assert_eq!(!matches!(take(&mut space, &update), Taken::Refused), fits, "{register}");
        }
    }

    #[test]
    fn whoever_votes_is_heard_though_others_that_do_not_exist_have_filled_the_register() {
        let (mut space, founding) = started();
        let strangers: Vec<NodeId> = (100..).map(NodeId).take(SPEAKERS_MAX + 1).collect();
        for (place, stranger) in strangers.into_iter().enumerate() {
            let update = vote(&space, founding, "r", stranger, 1);
            assert_eq!(matches!(take(&mut space, &update), Taken::Kept(..)), place < SPEAKERS_MAX, "{place}");
        }
        for voter in VOTERS {
            let update = vote(&space, founding, "r", voter, 1);
            assert!(matches!(take(&mut space, &update), Taken::Kept(..)));
        }
        assert!(space.note_chosen(founding, "r").is_some());
    }

    #[test]
    fn a_founding_that_is_dropped_takes_everything_with_it_and_stays_away() {
        let (mut space, founding) = started();
        let update = vote(&space, founding, "r", VOTERS[1], 1);
        take(&mut space, &update);
        let dropped = space.make(&Statement { founding, says: Says::Dropped }, Seconds::NEVER, &[]);
        take(&mut space, &dropped);
        assert_eq!(space.founding(founding).unwrap().configuration(), None);
        assert!(matches!(take(&mut space, &update), Taken::Refused));
        assert_eq!(space.replica().iter().count(), 1);
    }

    #[test]
    fn what_was_chosen_is_forgotten_with_the_last_vote_though_a_proposal_is_there_for_longer() {
        let (mut space, founding) = started();
        let accepted = Some(Accepted { ballot: ballot(1), content: Content { version: 9, ..Content::default() } });
        let held = Vote { promised: ballot(1), accepted };
        for voter in VOTERS {
            let update = space.make_vote(founding, "r", voter, &held, (0, Seconds(100)));
            take(&mut space, &update);
        }
        let update = space.make_proposal(founding, "r", &Proposal::Prepare { ballot: ballot(2) }, Seconds(200));
        take(&mut space, &update);
        assert!(space.note_chosen(founding, "r").is_some());
        assert_eq!(space.fade(Wall::from_micros(100_000_000)).len(), 3);
        assert!(space.founding(founding).unwrap().register("r").unwrap().chosen().is_none());
    }

    #[test]
    fn a_vote_that_is_to_be_forgotten_is() {
        let (mut space, founding) = started();
        let held = Vote { promised: ballot(1), accepted: None };
        let update = space.make_vote(founding, "r", VOTERS[0], &held, (0, Seconds(100)));
        take(&mut space, &update);
        assert!(space.fade(Wall::from_micros(99_000_000)).is_empty());
        assert_eq!(space.fade(Wall::from_micros(100_000_000)).len(), 1);
        assert!(space.founding(founding).unwrap().register("r").is_none());
    }
}
