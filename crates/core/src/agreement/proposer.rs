//! One proposer's part in one register: its operations, its present attempt, and what became of them.

use std::collections::VecDeque;

use super::decision::{chosen, is_blocked, is_chosen, promised};
use super::{Ballot, Ballots, Change, Configuration, Content, OperationId, Proposal, Value, Votes};

/// So many operations are proposed together at most: as many as a content remembers, so that each is found.
pub const BATCH_MAX: usize = super::APPLIED_MAX;

/// An operation on its way.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Operation {
    /// Known by this.
    pub id: OperationId,
    /// What it does.
    pub change: Change,
    /// Once it was proposed or given to others: it has not been applied up to this version. Nobody has tried it yet if `None`.
    pub base: Option<u64>,
    /// Whether others may try it as well.
    pub is_shared: bool,
    /// Of one that others may try as well, whether this proposer may have tried it, too.
    pub was_tried: bool,
}

impl Operation {
    /// One that nobody has tried yet.
    pub const fn new(id: OperationId, change: Change) -> Self {
        Self { id, change, base: None, is_shared: false, was_tried: false }
    }

    /// One that others may try as well, or have tried, but it has not been applied up to that version.
    pub const fn shared(id: OperationId, change: Change, base: u64) -> Self {
        Self { id, change, base: Some(base), is_shared: true, was_tried: false }
    }

    /// Makes the content what it is after this operation, unless it holds it already; how the operation ends if that
    /// content is chosen.
    fn settle(&mut self, content: &mut Content) -> Outcome {
        if let Some(outcome) = self.found_in(content) {
            return outcome;
        }
        let before = content.version;
        if !content.apply(self.id, &self.change) {
            return Outcome::Mismatch { version: content.version, value: content.value.clone() };
        }
        // The lowest version that it was built on: it is nowhere below.
        self.base = Some(self.base.map_or(before, |base| base.min(before)));
        self.was_tried = self.is_shared;
        Outcome::Done { version: content.version, value: content.value.clone() }
    }

    /// How it ended, if it was tried before and this content shows that, or can no longer show it.
    fn found_in(&self, content: &Content) -> Option<Outcome> {
        let Change::Swap { value, .. } = &self.change else { return None };
        let base = self.base?;
        if let Some(version) = content.version_of(self.id) {
            return Some(Outcome::Done { version, value: value.clone() });
        }
        (!content.remembers_since(base)).then_some(Outcome::Unknown)
    }

    /// Whether the register has begun anew since others gave it here, and nobody tried it here.
    fn is_of_before(&self, content: &Content) -> bool {
        self.is_shared && !self.was_tried && self.base > Some(content.version) && self.change != Change::Read
    }
}

/// How an operation ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Outcome {
    /// It was applied, and left this; or it read this.
    Done {
        /// The version that it made or read.
        version: u64,
        /// The value that it left or read.
        value: Option<Value>,
    },
    /// The register did not hold what was expected, but this. Nothing was changed.
    Mismatch {
        /// Its version.
        version: u64,
        /// Its value.
        value: Option<Value>,
    },
    /// It was tried, and so many others have gone by since that nobody can tell whether it was applied.
    Unknown,
}

/// Where an attempt is.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Stage {
    /// There is none.
    Idle,
    /// It was overtaken: others go first for a while.
    Waiting,
    /// Promises are being gathered.
    Preparing {
        /// Of this ballot.
        ballot: Ballot,
    },
    /// Acceptances are being gathered.
    Accepting {
        /// At this ballot.
        ballot: Ballot,
        /// The one that voters promise with their acceptance.
        next: Ballot,
        /// Of this.
        content: Content,
        /// How these operations end if it is chosen.
        batch: Vec<(Operation, Outcome)>,
    },
}

/// What a proposer does next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing, until votes change.
    Wait,
    /// It says this to the voters.
    Propose(Proposal),
    /// Others were ahead: it waits for a random time, then [`Proposer::resume`]s.
    Overtaken,
    /// These operations ended. It may have to wait all the same.
    Ended(Vec<(OperationId, Outcome)>),
    /// It takes these on no longer, and has not tried them. They were given with a version up to which they had not been applied,
    /// and the register, which was deleted and forgotten meanwhile, is at a lower one.
    BeganAnew(Vec<OperationId>, u64),
}

/// A proposer of one register.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Proposer {
    waiting: VecDeque<Operation>,
    stage: Stage,
    /// What voters promised with the last acceptance: an attempt at this ballot needs no prepare.
    next: Option<Ballot>,
    /// The last content that it saw chosen.
    last: Option<Content>,
    /// The last of its attempts that may have been accepted by some and was given up.
    left: Option<Ballot>,
}

impl Default for Proposer {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), stage: Stage::Idle, next: None, last: None, left: None }
    }
}

impl Proposer {
    /// Takes on an operation.
    pub fn ask(&mut self, operation: Operation) {
        self.waiting.push_back(operation);
    }

    /// Brings operations that wait into another order.
    pub fn reorder(&mut self, order: impl FnOnce(&mut [Operation])) {
        order(self.waiting.make_contiguous());
    }

    /// Gives up an operation; whether it may have been applied, or may be yet. `None` if it is not known here.
    pub fn give_up(&mut self, id: OperationId) -> Option<bool> {
        if let Some(place) = self.waiting.iter().position(|operation| operation.id == id) {
            let operation = self.waiting.remove(place)?;
            return Some(operation.base.is_some());
        }
        let Stage::Accepting { batch, .. } = &mut self.stage else { return None };
        let place = batch.iter().position(|(operation, _)| operation.id == id)?;
        // What was tried before may be found by others yet, until this attempt is chosen.
        let (operation, _) = batch.remove(place);
        Some(operation.base.is_some())
    }

    /// How many operations are on their way.
    pub fn len(&self) -> usize {
        let under_way = if let Stage::Accepting { batch, .. } = &self.stage { batch.len() } else { 0 };
        self.waiting.len() + under_way
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an operation is on its way.
    pub fn knows(&self, id: OperationId) -> bool {
        let is_under_way = |batch: &[(Operation, Outcome)]| batch.iter().any(|(operation, _)| operation.id == id);
        self.waiting.iter().any(|operation| operation.id == id)
            || matches!(&self.stage, Stage::Accepting { batch, .. } if is_under_way(batch))
    }

    /// Where its attempt is.
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The last content that it saw chosen.
    pub const fn last(&self) -> Option<&Content> {
        self.last.as_ref()
    }

    /// The register is at that version again: it was deleted and forgotten since more was seen of it.
    pub fn begin_anew(&mut self, version: u64) {
        self.last.take_if(|last| last.version > version);
    }

    /// What the last content that it saw chosen tells of an operation that others may have tried: how it ended, if it did;
    /// unknown, if too many have gone by since its base. Otherwise it had not been applied by then.
    pub fn look_for(&self, operation: &mut Operation) -> Option<Outcome> {
        // Where others were ahead since, it tells nothing.
        let last = self.last.as_ref().filter(|last| operation.base.is_none_or(|base| base <= last.version))?;
        let outcome = operation.found_in(last);
        if outcome.is_none() {
            operation.base = operation.base.map(|_| last.version);
        }
        outcome
    }

    /// What it last said, for voters that may not have heard it.
    pub fn proposal(&self) -> Option<Proposal> {
        match &self.stage {
            Stage::Idle | Stage::Waiting => None,
            Stage::Preparing { ballot } => Some(Proposal::Prepare { ballot: *ballot }),
            Stage::Accepting { ballot, next, content, .. } => {
                Some(Proposal::Accept { ballot: *ballot, content: content.clone(), next: *next })
            }
        }
    }

    /// Ends the present attempt; its operations are tried again. What it proposed may be chosen yet.
    pub fn abandon(&mut self) {
        if let Stage::Accepting { ballot, batch, .. } = std::mem::replace(&mut self.stage, Stage::Idle) {
            self.left = Some(ballot);
            for (operation, _) in batch.into_iter().rev() {
                self.waiting.push_front(operation);
            }
        }
        self.next = None;
    }

    /// Takes out those of its operations that nobody can have tried, among which reads always are: somebody else may do them.
    pub fn take_untried(&mut self, may_go: impl Fn(OperationId) -> bool) -> Vec<OperationId> {
        let is_untried = |operation: &Operation| operation.base.is_none() || operation.change == Change::Read;
        let mut untried = Vec::new();
        self.waiting.retain(|operation| {
            let goes = !operation.is_shared && is_untried(operation) && may_go(operation.id);
            untried.extend(goes.then_some(operation.id));
            !goes
        });
        untried
    }

    /// Others had their time.
    pub fn resume(&mut self) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Idle;
        }
    }

    /// Does what the votes seen allow. To be called again until it waits.
    pub fn advance(&mut self, votes: &Votes, configuration: &Configuration, ballots: &mut Ballots) -> Step {
        let under_way = match &self.stage {
            Stage::Waiting => return self.look_back(votes, configuration),
            Stage::Idle if self.waiting.is_empty() => return Step::Wait,
            Stage::Idle => return self.begin(votes, configuration, ballots),
            Stage::Preparing { ballot } | Stage::Accepting { ballot, .. } => *ballot,
        };
        if under_way.configuration != configuration.number {
            self.abandon();
            return self.advance(votes, configuration, ballots);
        }
        if matches!(self.stage, Stage::Preparing { .. }) {
            if self.waiting.is_empty() {
                // All were given up. What is promised is of use for the next.
                (self.stage, self.next) = (Stage::Idle, Some(under_way));
                return Step::Wait;
            }
            if let Some(accepted) = promised(votes, configuration, under_way) {
                let content = accepted.map(|accepted| accepted.content.clone()).unwrap_or_default();
                return self.accept(under_way, content, ballots);
            }
        } else if is_chosen(votes, configuration, under_way) {
            return self.end();
        }
        if is_blocked(votes, configuration, under_way) {
            self.abandon();
            self.stage = Stage::Waiting;
            return Step::Overtaken;
        }
        Step::Wait
    }

    /// What others have made of the register since tells of its operations, too. What was chosen at a later ballot than that of
    /// its last attempt comes after all of that attempt that ever will be: an operation that is not there was not tried, unless
    /// others tried it.
    fn look_back(&mut self, votes: &Votes, configuration: &Configuration) -> Step {
        let later = chosen(votes, configuration).filter(|accepted| Some(accepted.ballot) > self.left);
        let Some(content) = later.map(|accepted| &accepted.content) else { return Step::Wait };
        let ended = self.settle_waiting(content);
        if ended.is_empty() { Step::Wait } else { Step::Ended(ended) }
    }

    fn begin(&mut self, votes: &Votes, configuration: &Configuration, ballots: &mut Ballots) -> Step {
        // Round-trip saving: what was promised with the last acceptance is as good as a prepare.
        if let Some(next) = self.next.take()
            && next.configuration == configuration.number
            && let Some(accepted) = promised(votes, configuration, next)
        {
            let content = accepted.map(|accepted| accepted.content.clone()).unwrap_or_default();
            return self.accept(next, content, ballots);
        }
        let of_this = votes.values().map(|vote| vote.promised);
        let seen = of_this.filter(|ballot| ballot.configuration == configuration.number);
        let Some(ballot) = ballots.next(configuration.number, seen.map(|ballot| ballot.counter).max().unwrap_or(0))
        else {
            return Step::Wait;
        };
        self.stage = Stage::Preparing { ballot };
        Step::Propose(Proposal::Prepare { ballot })
    }

    /// Proposes what the register is to hold after the operations that wait.
    fn accept(&mut self, ballot: Ballot, mut content: Content, ballots: &mut Ballots) -> Step {
        let before = self.waiting.iter().filter(|operation| operation.is_of_before(&content));
        let before: Vec<OperationId> = before.map(|operation| operation.id).collect();
        if !before.is_empty() {
            self.waiting.retain(|operation| !before.contains(&operation.id));
            // What is promised stays so for the others.
            self.stage = Stage::Preparing { ballot };
            return Step::BeganAnew(before, content.version);
        }
        let Some(next) = ballots.next(ballot.configuration, ballot.counter) else { return Step::Wait };
        let count = self.waiting.len().min(BATCH_MAX);
        let settle = |mut operation: Operation| {
            let outcome = operation.settle(&mut content);
            (operation, outcome)
        };
        let batch = self.waiting.drain(..count).map(settle).collect();
        self.stage = Stage::Accepting { ballot, next, content: content.clone(), batch };
        Step::Propose(Proposal::Accept { ballot, content, next })
    }

    /// What was proposed is chosen.
    fn end(&mut self) -> Step {
        let Stage::Accepting { next, content, batch, .. } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("only what was proposed is chosen");
        };
        self.next = Some(next);
        let mut ended: Vec<_> = batch.into_iter().map(|(operation, outcome)| (operation.id, outcome)).collect();
        ended.extend(self.settle_waiting(&content));
        self.last = Some(content);
        Step::Ended(ended)
    }

    /// Those that were tried before are looked for in each content that is chosen after that, so that not too many go by.
    fn settle_waiting(&mut self, content: &Content) -> Vec<(OperationId, Outcome)> {
        let mut ended = Vec::new();
        self.waiting.retain_mut(|operation| {
            let Some(base) = operation.base else { return true };
            let is_later = base > content.version;
            // Others may know of more. What this one built on itself was never chosen, and nor was what it built.
            let outcome = if is_later { None } else { operation.found_in(content) };
            operation.base = operation.is_shared.then_some(base.max(content.version));
            let waits = outcome.is_none();
            ended.extend(outcome.map(|outcome| (operation.id, outcome)));
            waits
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{Answer, Expected, Vote};
    use crate::identity::NodeId;

    /// Three voters who hear everything at once, and proposers who see all votes.
    struct Table {
        configuration: Configuration,
        votes: Votes,
        ballots: [Ballots; 2],
        proposers: [Proposer; 2],
        ids: u64,
        proposals: usize,
    }

    impl Table {
        fn new() -> Self {
            Self {
                configuration: Configuration::first([1, 2, 3].map(NodeId)),
                votes: Votes::new(),
                ballots: [8, 9].map(|id| Ballots::new(NodeId(id), 1, 0)),
                proposers: Default::default(),
                ids: 0,
                proposals: 0,
            }
        }

        fn ask(&mut self, proposer: usize, change: Change) -> OperationId {
            self.ids += 1;
            let id = OperationId(self.ids);
            self.proposers[proposer].ask(Operation::new(id, change));
            id
        }

        fn step(&mut self, proposer: usize) -> Step {
            let step = self.proposers[proposer].advance(&self.votes, &self.configuration, &mut self.ballots[proposer]);
            self.proposals += usize::from(matches!(step, Step::Propose(_)));
            step
        }

        /// Those of the voters hear it.
        fn hear(&mut self, proposal: &Proposal, voters: &[u64]) {
            for voter in voters.iter().copied().map(NodeId) {
                let vote = self.votes.entry(voter).or_default();
                if let Answer::Changed(changed) = vote.answer(proposal) {
                    *vote = changed;
                }
            }
        }

        /// Goes on until nothing waits, everybody hearing everything.
        fn run(&mut self, proposer: usize) -> Vec<(OperationId, Outcome)> {
            let mut ended = Vec::new();
            loop {
                match self.step(proposer) {
                    Step::Wait | Step::BeganAnew(..) => return ended,
                    Step::Propose(proposal) => self.hear(&proposal, &[1, 2, 3]),
                    Step::Overtaken => self.proposers[proposer].resume(),
                    Step::Ended(list) => ended.extend(list),
                }
            }
        }
    }

    fn value(text: &str) -> Value {
        text.as_bytes().into()
    }

    fn set(text: &str) -> Change {
        Change::set(value(text))
    }

    fn cas(expected: &str, new: &str) -> Change {
        Change::Swap { expected: Expected::Value(value(expected)), value: Some(value(new)) }
    }

    fn done(version: u64, text: &str) -> Outcome {
        Outcome::Done { version, value: Some(value(text)) }
    }

    #[test]
    fn what_was_set_is_read() {
        let mut table = Table::new();
        let (first, second) = (table.ask(0, set("a")), table.ask(0, Change::Read));
        assert_eq!(table.run(0), [(first, done(1, "a")), (second, done(1, "a"))]);
        let other = table.ask(1, Change::Read);
        assert_eq!(table.run(1), [(other, done(1, "a"))]);
    }

    #[test]
    fn who_was_last_needs_no_prepare_and_whoever_comes_after_another_does() {
        let mut table = Table::new();
        for (proposer, proposals) in [(0, 2), (0, 1), (0, 1), (1, 2), (1, 1), (0, 2)] {
            table.ask(proposer, set("a"));
            table.proposals = 0;
            table.run(proposer);
            assert_eq!(table.proposals, proposals);
        }
    }

    #[test]
    fn an_operation_that_finds_something_else_is_told_what() {
        let mut table = Table::new();
        table.ask(0, set("a"));
        table.run(0);
        let id = table.ask(1, cas("b", "c"));
        assert_eq!(table.run(1), [(id, Outcome::Mismatch { version: 1, value: Some(value("a")) })]);
    }

    #[test]
    fn operations_go_together_in_their_order_sixteen_at_a_time() {
        let mut table = Table::new();
        table.ask(0, set("0"));
        for n in 0..20 {
            table.ask(0, cas(&n.to_string(), &(n + 1).to_string()));
        }
        let ended = table.run(0);
        assert_eq!(ended.len(), 21);
        assert_eq!(ended.last().map(|(_, outcome)| outcome.clone()), Some(done(21, "20")));
        assert_eq!(table.proposals, 3, "a prepare and two batches");
    }

    /// The first proposer's operation is accepted by some voters; then the other is promised a ballot, and sets something `times`
    /// times.
    fn overtaken_and_waiting(accepted_by: &[u64], change: Change, times: usize) -> (Table, OperationId) {
        let mut table = Table::new();
        table.ask(0, set("a"));
        table.run(0);
        let id = table.ask(0, change);
        let Step::Propose(proposal) = table.step(0) else { panic!("it proposes") };
        table.hear(&proposal, accepted_by);
        let ballot = table.ballots[1].next(1, 9).unwrap();
        table.hear(&Proposal::Prepare { ballot }, &[1, 2, 3]);
        for n in 0..times {
            table.ask(1, set(&n.to_string()));
            table.run(1);
        }
        assert_eq!(table.step(0), Step::Overtaken);
        (table, id)
    }

    fn overtaken(accepted_by: &[u64], change: Change, times: usize) -> (Table, OperationId) {
        let (mut table, id) = overtaken_and_waiting(accepted_by, change, times);
        table.proposers[0].resume();
        (table, id)
    }

    #[test]
    fn a_proposer_that_was_overtaken_finds_that_it_won() {
        for times in [1, 15] {
            let (mut table, id) = overtaken(&[1, 2], cas("a", "b"), times);
            assert_eq!(table.run(0), [(id, done(2, "b"))], "{times}");
        }
    }

    #[test]
    fn a_proposer_that_was_overtaken_and_lost_tries_again() {
        let (mut table, id) = overtaken(&[], cas("0", "b"), 1);
        assert_eq!(table.run(0), [(id, done(3, "b"))]);
        let (mut table, id) = overtaken(&[], cas("a", "b"), 1);
        assert_eq!(table.run(0), [(id, Outcome::Mismatch { version: 2, value: Some(value("0")) })]);
    }

    #[test]
    fn once_more_than_sixteen_have_gone_by_nobody_can_tell() {
        let (mut table, id) = overtaken(&[1, 2], cas("a", "b"), 16);
        assert_eq!(table.run(0), [(id, Outcome::Unknown)]);
        let (mut table, id) = overtaken(&[], cas("a", "b"), 17);
        assert_eq!(table.run(0), [(id, Outcome::Unknown)]);
        let (mut table, id) = overtaken(&[], Change::Read, 17);
        assert_eq!(table.run(0), [(id, done(18, "16"))], "a read is never in doubt");
    }

    #[test]
    fn what_was_given_with_a_version_that_the_register_has_not_reached_anew_goes_back_untried() {
        let mut table = Table::new();
        table.ask(0, set("a"));
        table.run(0);
        for _ in 0..2 {
            let own = table.ask(0, set("b"));
            table.proposers[0].ask(Operation::shared(OperationId(77), set("c"), 100));
            let version = 1 + table.votes[&NodeId(1)].accepted.as_ref().unwrap().content.version;
            assert_eq!(table.step(0), Step::BeganAnew(vec![OperationId(77)], version - 1));
            assert_eq!(table.run(0), [(own, done(version, "b"))], "others go on");
        }
        // One that was tried here, or is a read, stays.
        let tried = Operation { was_tried: true, ..Operation::shared(OperationId(78), set("c"), 100) };
        table.proposers[0].ask(tried);
        table.proposers[0].ask(Operation::shared(OperationId(79), Change::Read, 100));
        assert_eq!(table.run(0), [(OperationId(78), Outcome::Unknown), (OperationId(79), done(3, "b"))]);
    }

    /// What it finds out and gives away while it waits, after the other has set something so many times.
    fn look_back(accepted_by: &[u64], change: Change, times: usize) -> (Step, Vec<OperationId>, OperationId) {
        let (mut table, id) = overtaken_and_waiting(accepted_by, change, times);
        let step = table.step(0);
        let untried = table.proposers[0].take_untried(|_| true);
        (step, untried, id)
    }

    #[test]
    fn what_others_made_of_the_register_tells_while_it_waits() {
        let (step, untried, id) = look_back(&[1, 2], cas("a", "b"), 1);
        assert_eq!((step, untried), (Step::Ended(vec![(id, done(2, "b"))]), vec![]));
        let (step, untried, id) = look_back(&[], cas("a", "b"), 1);
        assert_eq!((step, untried), (Step::Wait, vec![id]), "it was never tried, for it is not there");
        let (step, untried, id) = look_back(&[3], cas("a", "b"), 17);
        assert_eq!((step, untried), (Step::Ended(vec![(id, Outcome::Unknown)]), vec![]), "who knows");
        let (step, untried, id) = look_back(&[], Change::Read, 17);
        assert_eq!((step, untried), (Step::Wait, vec![id]));
    }

    #[test]
    fn what_was_tried_stays_until_others_were_chosen_later_and_what_others_may_try_stays_anyway() {
        let (mut table, id) = overtaken_and_waiting(&[], cas("a", "b"), 0);
        table.proposers[0].ask(Operation::shared(OperationId(77), set("c"), 1));
        assert_eq!(table.step(0), Step::Wait, "the other has promises so far");
        assert_eq!(table.proposers[0].take_untried(|_| true), []);
        table.ask(1, set("d"));
        table.run(1);
        assert_eq!(table.step(0), Step::Wait);
        assert_eq!(table.proposers[0].take_untried(|_| true), [id]);
        assert_eq!(table.proposers[0].len(), 1);
    }

    #[test]
    fn an_operation_that_is_given_up_may_have_been_applied_once_it_was_proposed() {
        let mut table = Table::new();
        let id = table.ask(0, set("a"));
        let Step::Propose(prepare) = table.step(0) else { panic!("it prepares") };
        assert_eq!(table.proposers[0].clone().give_up(id), Some(false));
        table.hear(&prepare, &[1, 2, 3]);
        table.step(0);
        assert_eq!(table.proposers[0].give_up(id), Some(true));
        assert_eq!(table.proposers[0].give_up(id), None);
    }

    #[test]
    fn a_new_configuration_ends_attempts_under_the_old_one() {
        let mut table = Table::new();
        let id = table.ask(0, set("a"));
        let Step::Propose(prepare) = table.step(0) else { panic!("it prepares") };
        table.hear(&prepare, &[1, 2, 3]);
        let Step::Propose(accept) = table.step(0) else { panic!("it proposes") };
        table.hear(&accept, &[1, 2]);
        table.configuration = table.configuration.next([1, 2, 4].map(NodeId)).unwrap();
        let Step::Propose(Proposal::Prepare { ballot }) = table.step(0) else { panic!("it prepares again") };
        assert_eq!(ballot.configuration, 2);
        table.hear(&Proposal::Prepare { ballot }, &[1, 2, 4]);
        let Step::Propose(accept) = table.step(0) else { panic!("it proposes") };
        table.hear(&accept, &[1, 2, 4]);
        assert_eq!(table.step(0), Step::Ended(vec![(id, done(1, "a"))]), "it had been accepted before");
    }

    #[test]
    fn a_vote_of_a_stranger_changes_nothing() {
        let mut table = Table::new();
        table.ask(0, set("a"));
        table.votes.insert(NodeId(99), Vote { promised: Ballot::default(), accepted: None });
        assert_eq!(table.run(0).len(), 1);
    }
}
