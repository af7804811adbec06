//! The protocol of registers under a model checker that we did not write (stateright): three voters, two proposers, messages
//! that get lost, come twice and overtake each other, voters and proposers that crash and come back. What is run are the
//! core's own functions; the model only carries messages, keeps disks, and asks.
//!
//! All that was said stays in a heap from which anybody may take anything at any time, or never: that is loss, duplication
//! and reordering at once, and it is what gossip does. Then faults are put in deliberately, at the boundary between the
//! model and the core, and the same check must find each of them.
//!
//! `RUMOR_MODEL_DEEPER=4 cargo test -p rumormill-lab --test agreement_model` looks four steps deeper than CI does.
#![expect(clippy::print_stdout, reason = "how far was looked is the result")]

mod registers;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use registers::{Op, Register, Ret};
use rumormill_core::NodeId;
use rumormill_core::agreement::{
    Answer, Ballot, Ballots, Change, Configuration, Expected, Operation, OperationId, Outcome, Proposal, Proposer,
    Stage, Step, Vote, Votes, chosen,
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use stateright::{Checker, Model, Property};

/// A fault put in deliberately.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flaw {
    None,
    /// A voter accepts what is below its promise.
    AcceptsBelowPromise,
    /// A voter says what is not durable yet, and forgets it in a crash.
    ForgetsDurability,
    /// One voter fewer than a quorum is enough.
    QuorumOffByOne,
    /// What is known here is given out as what is.
    StaleReads,
}

/// What is looked at.
#[derive(Clone, Debug)]
struct Agreement {
    flaw: Flaw,
    /// What each proposer is asked to do, one after the other.
    scripts: [Vec<Op>; PROPOSERS],
    /// How many ballots there may be.
    counter_max: u64,
    /// How far the first proposer has come before anything else happens.
    start: Start,
    /// How many crashes of voters and of proposers.
    voter_crashes: u8,
    proposer_crashes: u8,
}

/// Where the search begins: at the very start, or some steps on a way on which nothing happens by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    /// Nothing has been said.
    Blank,
    /// Two voters have promised the first proposer's ballot, and it has seen that.
    Promised,
    /// They have accepted what it proposed, and it has seen that.
    Accepted,
}

const VOTERS: usize = 3;
const PROPOSERS: usize = 2;

/// A voter, with all that there is of it anywhere, so that voters can change places.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Voter {
    durable: Vote,
    /// What is on its way to the disk.
    drafted: Option<Vote>,
    /// All votes that it ever said.
    said: BTreeMap<(Ballot, Option<Ballot>), Arc<Vote>>,
    /// What each proposer has seen of them.
    seen: [Option<Arc<Vote>>; PROPOSERS],
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Part {
    proposer: Proposer,
    ballots: Ballots,
    boot: u64,
    /// How many of its operations were begun.
    begun: usize,
    /// The one under way, and which client asked.
    asked: Option<(OperationId, usize)>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct State {
    voters: [Voter; VOTERS],
    parts: [Part; PROPOSERS],
    /// All proposals that were ever made.
    proposals: BTreeMap<(Ballot, bool), Arc<Proposal>>,
    history: Arc<LinearizabilityTester<usize, Register>>,
    is_linearizable: bool,
    clients: usize,
    voter_crashes: u8,
    proposer_crashes: u8,
}

impl State {
    /// Voters are alike: of states that differ only in their places one is looked at.
    fn in_order(mut self) -> Self {
        let key = |voter: &Voter| {
            let mut hasher = DefaultHasher::new();
            voter.hash(&mut hasher);
            hasher.finish()
        };
        self.voters.sort_by_cached_key(key);
        self
    }

    /// What a proposer has seen.
    fn seen(&self, place: usize) -> Votes {
        let seen = |(voter, of): (usize, &Voter)| Some((NodeId(1 + voter as u64), of.seen[place].as_deref()?.clone()));
        self.voters.iter().enumerate().filter_map(seen).collect()
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Action {
    /// A proposer is asked for the next of its operations.
    Begin(usize),
    /// A voter hears a proposal.
    Hear(usize, Ballot, bool),
    /// What it wrote is durable.
    Store(usize),
    /// A proposer sees a vote.
    See(usize, usize, (Ballot, Option<Ballot>)),
    /// A proposer that was overtaken goes on.
    Resume(usize),
    /// They lose what is not durable.
    CrashVoter(usize),
    CrashProposer(usize),
}

fn change(op: &Op) -> Change {
    let bytes = |value: &Option<Vec<u8>>| value.as_ref().map(|value| value.as_slice().into());
    match op {
        Op::Read => Change::Read,
        Op::Set(value) => Change::Swap { expected: Expected::Anything, value: bytes(value) },
        Op::Cas(None, value) => Change::Swap { expected: Expected::Absent, value: bytes(value) },
        Op::Cas(Some(expected), value) => {
            Change::Swap { expected: Expected::Value(expected.as_slice().into()), value: bytes(value) }
        }
    }
}

impl Agreement {
    fn configuration() -> Configuration {
        Configuration::first((1..=VOTERS as u64).map(NodeId))
    }

    /// What a voter that holds this answers.
    fn answer(&self, vote: &Vote, proposal: &Proposal) -> Answer {
        let is_accept = matches!(proposal, Proposal::Accept { .. });
        if self.flaw == Flaw::AcceptsBelowPromise && is_accept {
            return Vote { promised: Ballot::default(), ..vote.clone() }.answer(proposal);
        }
        vote.answer(proposal)
    }

    /// The votes as a proposer counts them.
    fn counted(&self, seen: &Votes) -> Votes {
        let mut votes = seen.clone();
        if self.flaw == Flaw::QuorumOffByOne {
            // Each vote counts for the next voter too, unless that one has said something itself.
            for (voter, vote) in seen {
                votes.entry(NodeId(voter.0 % 3 + 1)).or_insert_with(|| vote.clone());
            }
        }
        votes
    }

    /// Lets a proposer do what the votes that it has seen allow.
    fn advance(&self, state: &mut State, place: usize) {
        loop {
            let votes = self.counted(&state.seen(place));
            let part = &mut state.parts[place];
            match part.proposer.advance(&votes, &Self::configuration(), &mut part.ballots) {
                Step::Wait => return,
                Step::Overtaken => {}
                Step::BeganAnew(..) => unreachable!("nothing is given to others here"),
                Step::Propose(proposal) => {
                    let phase = matches!(proposal, Proposal::Accept { .. });
                    let proposal = Arc::new(proposal);
                    let other = state.proposals.insert((proposal.ballot(), phase), Arc::clone(&proposal));
                    assert!(other.is_none_or(|other| other == proposal), "no ballot is used twice");
                }
                Step::Ended(ended) => {
                    for (id, outcome) in ended {
                        end(state, place, id, &outcome);
                    }
                }
            }
        }
    }
}

/// A client is told how its operation ended.
fn end(state: &mut State, place: usize, id: OperationId, outcome: &Outcome) {
    let Some((asked, client)) = state.parts[place].asked.take() else { return };
    assert_eq!(asked, id, "one operation at a time");
    if let Some(ret) = Ret::of(outcome) {
        Arc::make_mut(&mut state.history).on_return(client, ret).expect("it was begun");
        state.is_linearizable = state.history.serialized_history().is_some();
    }
}

impl Model for Agreement {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let part = |place: usize| Part {
            proposer: Proposer::default(),
            ballots: Ballots::new(NodeId(8 + place as u64), 1, 0),
            boot: 1,
            begun: 0,
            asked: None,
        };
        let mut state = State {
            voters: Default::default(),
            parts: [part(0), part(1)],
            proposals: BTreeMap::new(),
            history: Arc::new(LinearizabilityTester::new(Register::default())),
            is_linearizable: true,
            clients: 0,
            voter_crashes: 0,
            proposer_crashes: 0,
        };
        let rounds = match self.start {
            Start::Blank => 0,
            Start::Promised => 1,
            Start::Accepted => 2,
        };
        if rounds > 0 {
            self.apply(&mut state, Action::Begin(0)).expect("it is idle");
        }
        for _ in 0..rounds {
            let (ballot, phase) = *state.proposals.keys().last().expect("it has proposed");
            for voter in 0..2 {
                self.apply(&mut state, Action::Hear(voter, ballot, phase)).expect("it is news");
            }
            for voter in 0..2 {
                let vote = *state.voters[voter].said.keys().last().expect("it has answered");
                self.apply(&mut state, Action::See(0, voter, vote)).expect("it is news");
            }
        }
        vec![state.in_order()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (place, part) in state.parts.iter().enumerate() {
            if part.asked.is_none() && part.begun < self.scripts[place].len() {
                actions.push(Action::Begin(place));
            }
            if *part.proposer.stage() == Stage::Waiting {
                actions.push(Action::Resume(place));
            }
            let ballot = match part.proposer.stage() {
                Stage::Preparing { ballot } | Stage::Accepting { ballot, .. } => *ballot,
                Stage::Idle | Stage::Waiting => Ballot::default(),
            };
            if part.asked.is_some() {
                for (voter, of) in state.voters.iter().enumerate() {
                    // A vote that promised less says nothing about this ballot.
                    let telling = of.said.keys().filter(|(promised, _)| *promised >= ballot);
                    actions.extend(telling.map(|key| Action::See(place, voter, *key)));
                }
                if state.proposer_crashes < self.proposer_crashes {
                    actions.push(Action::CrashProposer(place));
                }
            }
        }
        for (place, voter) in state.voters.iter().enumerate() {
            if voter.drafted.is_some() {
                actions.push(Action::Store(place));
                if state.voter_crashes < self.voter_crashes {
                    actions.push(Action::CrashVoter(place));
                }
            }
            actions.extend(state.proposals.keys().map(|(ballot, phase)| Action::Hear(place, *ballot, *phase)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, action)?;
        Some(state.in_order())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let linearizable = Property::always("linearizable", |_: &Self, state: &State| state.is_linearizable);
        if self.flaw != Flaw::None {
            // The search ends once it is found.
            return vec![linearizable];
        }
        vec![
            linearizable,
            Property::sometimes("all end", |model: &Self, state: &State| {
                let ended = |(part, script): (&Part, &Vec<Op>)| part.asked.is_none() && part.begun == script.len();
                state.proposer_crashes == 0 && state.parts.iter().zip(&model.scripts).all(ended)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.proposals.keys().all(|(ballot, _)| ballot.counter <= self.counter_max)
    }
}

impl Agreement {
    /// What happens, if anything does.
    fn apply(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Begin(place) => self.begin(state, place),
            Action::Hear(place, ballot, phase) => {
                let voter = &mut state.voters[place];
                match self.answer(voter.drafted.as_ref().unwrap_or(&voter.durable), &state.proposals[&(ballot, phase)])
                {
                    Answer::Changed(vote) => voter.drafted = Some(vote),
                    Answer::Same | Answer::Refused => return None,
                }
                voter.say();
                if self.flaw != Flaw::ForgetsDurability {
                    // Nobody sees what is on its way to a disk, and who crashes meanwhile has heard nothing: so it is
                    // stored and said in one step.
                    voter.durable = voter.drafted.take()?;
                }
            }
            Action::Store(place) => {
                let voter = &mut state.voters[place];
                voter.durable = voter.drafted.take()?;
            }
            Action::See(place, voter, key) => {
                let Voter { said, seen, .. } = &mut state.voters[voter];
                let vote = &said[&key];
                if seen[place].as_ref().is_some_and(|seen| vote.cmp_said(seen).is_le()) {
                    return None;
                }
                seen[place] = Some(Arc::clone(vote));
                self.advance(state, place);
            }
            Action::Resume(place) => {
                state.parts[place].proposer.resume();
                self.advance(state, place);
            }
            Action::CrashVoter(place) => {
                state.voters[place].drafted = None;
                state.voter_crashes += 1;
            }
            Action::CrashProposer(place) => {
                // Its client never hears, and somebody else goes on with the script.
                let part = &mut state.parts[place];
                let (boot, begun) = (part.boot + 1, part.begun);
                let ballots = Ballots::new(NodeId(8 + place as u64), boot, 0);
                *part = Part { proposer: Proposer::default(), ballots, boot, begun, asked: None };
                for voter in &mut state.voters {
                    voter.seen[place] = None;
                }
                state.proposer_crashes += 1;
            }
        }
        Some(())
    }

    fn begin(&self, state: &mut State, place: usize) {
        let part = &mut state.parts[place];
        let op = self.scripts[place][part.begun].clone();
        part.begun += 1;
        let client = state.clients;
        state.clients += 1;
        Arc::make_mut(&mut state.history).on_invoke(client, op.clone()).expect("each client does one thing");
        let id = OperationId(client as u64);
        part.asked = Some((id, client));
        if self.flaw == Flaw::StaleReads && op == Op::Read {
            let known = chosen(&state.seen(place), &Self::configuration()).map(|accepted| accepted.content.clone());
            let content = known.unwrap_or_default();
            end(state, place, id, &Outcome::Done { version: content.version, value: content.value });
            return;
        }
        part.proposer.ask(Operation::new(id, change(&op)));
        self.advance(state, place);
    }
}

impl Voter {
    /// What it says from now on is in the heap.
    fn say(&mut self) {
        if let Some(vote) = self.drafted.clone() {
            self.said.insert((vote.promised, vote.accepted_ballot()), Arc::new(vote));
        }
    }
}

fn value(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// One sets, the other compares and sets, and then reads.
fn small(flaw: Flaw, start: Start) -> Agreement {
    Agreement {
        flaw,
        start,
        scripts: [vec![Op::Set(Some(value("a")))], vec![Op::Cas(None, Some(value("b"))), Op::Read]],
        counter_max: 4,
        voter_crashes: 1,
        proposer_crashes: 1,
    }
}

/// How much deeper than in an ordinary run of the tests: `RUMOR_MODEL_DEEPER`.
fn deeper() -> usize {
    let text = std::env::var("RUMOR_MODEL_DEEPER").unwrap_or_else(|_| "0".to_owned());
    text.parse().unwrap_or_else(|_| panic!("RUMOR_MODEL_DEEPER is {text:?}, must be a number"))
}

/// Looks at all states that up to so many steps lead to.
fn check(model: Agreement, depth: usize) -> impl Checker<Agreement> {
    let checker = model.checker().threads(2).target_max_depth(depth).spawn_bfs().join();
    println!(
        "{:?}, {:?}: {} states to a depth of {}",
        checker.model().flaw,
        checker.model().start,
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker
}

#[test]
fn registers_are_linearizable_whatever_is_lost_or_comes_twice_and_whoever_crashes() {
    for (start, depth) in [(Start::Blank, 16), (Start::Promised, 16), (Start::Accepted, 19)] {
        check(small(Flaw::None, start), depth + deeper()).assert_no_discovery("linearizable");
    }
}

#[test]
fn both_proposers_come_to_an_end() {
    let model = Agreement {
        scripts: [vec![Op::Set(Some(value("a")))], vec![Op::Cas(None, Some(value("b")))]],
        voter_crashes: 0,
        proposer_crashes: 0,
        ..small(Flaw::None, Start::Accepted)
    };
    check(model, 14).assert_any_discovery("all end");
}

#[test]
fn a_voter_that_accepts_below_its_promise_is_found_out() {
    let model = Agreement { proposer_crashes: 0, counter_max: 3, ..small(Flaw::AcceptsBelowPromise, Start::Promised) };
    check(model, 20).assert_any_discovery("linearizable");
}

#[test]
fn a_voter_that_says_what_is_not_durable_is_found_out() {
    check(small(Flaw::ForgetsDurability, Start::Accepted), 20).assert_any_discovery("linearizable");
}

#[test]
fn a_quorum_that_is_one_too_small_is_found_out() {
    check(small(Flaw::QuorumOffByOne, Start::Blank), 20).assert_any_discovery("linearizable");
}

#[test]
fn a_stale_read_that_is_given_out_as_linearizable_is_found_out() {
    check(small(Flaw::StaleReads, Start::Blank), 20).assert_any_discovery("linearizable");
}
