//! This node as a proposer of registers: what it says to the voters, and when it says it again or steps back.
//!
//! What is proposed goes straight to the voters. Undecided after two round trips it becomes hot, and goes by gossip besides.

use std::sync::Arc;
use std::time::Duration;

use super::agreeing::{Agreeing, Due};
use super::voting::Way;
use super::{Node, Phase};
use crate::agreement::space::{Founding, Register};
use crate::agreement::statement::{FoundingId, Says};
use crate::agreement::{Configuration, Proposal, Proposer, Stage, Step, Votes};
use crate::frame;
use crate::identity::NodeId;
use crate::time::Instant;
use crate::update::Update;

/// The least and the longest time until a proposal that was not decided is said again.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// The longest time for which others go first: several attempts, also where disks take long.
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// How far counters leap once a proposer was overtaken, doubled with each time: more than are used while it waits.
const LEAP: u64 = 128;
const LEAPS_MAX: u32 = 14;
/// So long after an operation of a peer a register counts as shared with peers.
const SHARED_FOR: Duration = Duration::from_millis(500);
/// How long a proposer rests after an attempt that it made for others too, in parts of the time that it took, and at most. Guess.
const REST_PERCENT: u32 = 75;
const REST_MAX: Duration = Duration::from_millis(250);
/// Proposals are forgotten after this time: the longest that an operation may take, and clocks that differ.
pub(super) const PROPOSAL_TTL: Duration = Duration::from_mins(5);
/// Registers of which this node remembers that it was their last proposer.
pub(super) const PARTS_MAX: usize = 1_024;

/// This node as a proposer of one register.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Part {
    pub(super) proposer: Proposer,
    /// What it proposed last, while that is open.
    open: Option<Arc<Update>>,
    /// How often that was said again.
    tries: u32,
    /// How often in a row others were ahead.
    overtaken: u32,
    due: Option<Instant>,
    /// When its open attempt began.
    begun: Option<Instant>,
    /// When a peer last gave it an operation.
    pub(super) shared_at: Option<Instant>,
    /// The next attempt begins no earlier.
    rests_until: Option<Instant>,
    /// The highest version that peers told of.
    pub(super) version: u64,
}

impl Part {
    /// An attempt has succeeded. Where peers use the register too, the next one waits for most of the time that this one took, so
    /// that all who were told how it ended can ask again: otherwise whoever is nearest always comes first, and the others
    /// find something else than they expect for ever.
    fn rest(&mut self, now: Instant) {
        let took = self.begun.take().map_or(Duration::ZERO, |begun| now.since(begun));
        let is_shared = self.shared_at.is_some_and(|at| now.since(at) < SHARED_FOR);
        self.rests_until = is_shared.then(|| now + (took * REST_PERCENT / 100).min(REST_MAX));
    }
}

impl Agreeing {
    /// What a register's proposer does next.
    fn step(&mut self, register: &str) -> Option<(FoundingId, Step)> {
        let part = self.parts.get_mut(register)?;
        let none = Votes::new();
        let mut started =
            self.space.foundings().filter_map(|(id, founding)| Some((id, founding, founding.configuration()?)));
        let (id, founding, configuration) = started.next()?;
        if started.next().is_some() {
            return None;
        }
        let votes = founding.register(register).map_or(&none, Register::votes);
        Some((id, part.proposer.advance(votes, &configuration, &mut self.ballots)))
    }

    pub(super) fn set_due(&mut self, register: &str, at: Option<Instant>) {
        let Some(part) = self.parts.get_mut(register) else { return };
        if let Some(old) = std::mem::replace(&mut part.due, at) {
            self.dues.remove(&(old, Due::Part(register.into())));
        }
        if let Some(at) = at {
            self.dues.insert((at, Due::Part(register.into())));
        }
    }

    /// A register was deleted and forgotten: it counts from the beginning, and is at that version now.
    pub(super) fn begin_anew(&mut self, register: &str, version: u64) {
        if let Some(part) = self.parts.get_mut(register) {
            part.version = part.version.min(version);
            part.proposer.begin_anew(version);
        }
    }

    /// This node's part in a register.
    pub(super) fn part(&mut self, register: &str) -> &mut Part {
        if !self.parts.contains_key(register) && self.parts.len() >= PARTS_MAX {
            let is_idle = |part: &Part| part.proposer.is_empty() && part.due.is_none();
            let idle = self.parts.iter().find(|(_, part)| is_idle(part));
            // Else one whose operations had their time: what it proposed is left to whoever comes next.
            let idle = idle.or_else(|| self.parts.iter().find(|(_, part)| part.proposer.is_empty()));
            if let Some(idle) = idle.map(|(register, _)| register.clone()) {
                self.set_due(&idle, None);
                self.parts.remove(&idle);
            }
        }
        self.parts.entry(register.into()).or_default()
    }
}

/// Proposals.
impl Node {
    /// Lets this node's proposer of a register do what the votes seen allow.
    pub(super) fn advance_register(&mut self, register: &str) {
        // Ballots of a boot that an earlier life may have used are not used any more.
        while self.phase == Phase::Running
            && !self.rests(register)
            && let Some((founding, step)) = self.agreeing.step(register)
        {
            match step {
                Step::Wait => break,
                Step::Propose(proposal) => self.propose(founding, register, &proposal),
                Step::Overtaken => self.step_back(register),
                Step::BeganAnew(operations, version) => self.give_back(operations, version),
                Step::Ended(mut ended) => {
                    // Whoever is told first is the first to ask again, with what the register holds now.
                    self.fx.rng.shuffle(&mut ended);
                    let now = self.fx.now.instant;
                    let part = self.agreeing.part(register);
                    if *part.proposer.stage() != Stage::Waiting {
                        part.overtaken = 0;
                        part.rest(now);
                        self.close_proposal(register);
                    }
                    for (id, outcome) in ended {
                        self.end_operation(id, outcome);
                    }
                }
            }
        }
        self.let_go(register);
        self.arm_agreement();
    }

    /// Whether the next attempt at a register has to wait; if so it is begun in time.
    fn rests(&mut self, register: &str) -> bool {
        let now = self.fx.now.instant;
        let Some(part) = self.agreeing.parts.get_mut(register) else { return false };
        let rests_until = part.rests_until.filter(|until| *until > now && *part.proposer.stage() == Stage::Idle);
        if let Some(until) = rests_until {
            if !part.proposer.is_empty() {
                self.agreeing.set_due(register, Some(until));
            }
            return true;
        }
        if part.rests_until.take().is_some() {
            // In no order that favours anybody.
            part.proposer.reorder(|waiting| self.fx.rng.shuffle(waiting));
        }
        false
    }

    /// Says a proposal to the voters.
    fn propose(&mut self, founding: FoundingId, register: &str, proposal: &Proposal) {
        self.close_proposal(register);
        let forget = self.fx.now.wall.seconds().plus(PROPOSAL_TTL);
        let update = self.agreeing.space.make_proposal(founding, register, proposal, forget);
        let reached = self.tell_voters(founding, &update);
        let wait = if reached { self.voters_patience(founding) } else { Duration::ZERO };
        let now = self.fx.now.instant;
        let part = self.agreeing.part(register);
        (part.open, part.tries) = (Some(update), 0);
        part.begun.get_or_insert(now);
        let at = now + wait;
        self.agreeing.set_due(register, Some(at));
        let me = self.identity.id;
        self.consider(founding, register, proposal, Way::Straight(me));
    }

    /// What was proposed is decided, or given up: nobody is told of it any more.
    fn close_proposal(&mut self, register: &str) {
        let Some(part) = self.agreeing.parts.get_mut(register) else { return };
        part.tries = 0;
        if let Some(update) = part.open.take() {
            self.rumors.cool(update.id);
        }
        self.agreeing.set_due(register, None);
    }

    /// This node has a higher boot: what it proposed with the one before is left, and proposed again.
    pub(super) fn restart_proposals(&mut self) {
        let registers: Vec<Box<str>> = self.agreeing.parts.keys().cloned().collect();
        for register in registers {
            self.agreeing.part(&register).proposer.abandon();
            self.close_proposal(&register);
            self.advance_register(&register);
        }
    }

    /// Sends a proposal to the voters that have not answered it. Whether enough of them can be reached so.
    fn tell_voters(&mut self, founding: FoundingId, update: &Arc<Update>) -> bool {
        let Says::Proposal { register, ballot, next } = update.statement().says else { return false };
        let Some(proposal) = update.parts().proposal(ballot, next) else { return false };
        let Some(known) = self.agreeing.space.founding(founding) else { return false };
        let Some(configuration) = known.configuration() else { return false };
        let register = known.register(register);
        let has_answered = |voter: &NodeId| {
            let vote = register.and_then(|register| register.votes().get(voter));
            vote.is_some_and(|vote| vote.has_answered(&proposal))
        };
        let configured = known.configured().cloned();
        let open: Vec<NodeId> = configuration.members().filter(|voter| !has_answered(voter)).collect();
        let me = self.identity.id;
        let reachable = |voter| voter == me || self.members.is_live(voter) && self.members.address(voter).is_some();
        let is_enough = configuration.is_quorum(reachable);
        for voter in open.into_iter().filter(|voter| *voter != me) {
            let mut items = Vec::new();
            // Voters do not vote under configurations that they have not heard of.
            let knows = self.agreeing.changing.knows(voter, configuration.place());
            if let Some(configured) = configured.as_ref().filter(|_| !knows) {
                frame::item(&mut items, 0, configured.bytes());
            }
            frame::item(&mut items, 0, update.bytes());
            self.send_agreement(voter, frame::KIND_PROPOSE, &items);
        }
        is_enough
    }

    /// Two round trips to the voters, as far as they were measured.
    fn voters_patience(&self, founding: FoundingId) -> Duration {
        let configuration = self.agreeing.space.founding(founding).and_then(Founding::configuration);
        let voters = configuration.iter().flat_map(Configuration::members);
        let longest = voters.filter_map(|voter| self.members.rtt(voter)).max().unwrap_or_default();
        (longest * 2).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Others were ahead: they go first for a random time, the longer the more often it happens.
    fn step_back(&mut self, register: &str) {
        self.close_proposal(register);
        let patience = self.agreeing.served().map_or(PATIENCE_MIN, |(founding, _)| self.voters_patience(founding));
        let part = self.agreeing.part(register);
        part.overtaken += 1;
        part.begun = None;
        let longest = (patience / 4 * 2_u32.saturating_pow(part.overtaken.min(9))).min(BACKOFF_MAX);
        let wait = longest.mul_f64(self.fx.rng.fraction());
        let at = self.fx.now.instant + wait;
        self.agreeing.set_due(register, Some(at));
    }

    /// Whoever was overtaken knows of ballots that were used when it was. Others may have used many since, without a prepare: it
    /// goes far beyond, the farther the more often they were ahead, so that they have to wait for once.
    fn leap(&mut self, register: &str) {
        let agreeing = &mut *self.agreeing;
        let Some(part) = agreeing.parts.get(register) else { return };
        let seen = agreeing.served().ok().and_then(|(founding, configuration)| {
            let votes = agreeing.space.founding(founding)?.register(register)?.votes().values();
            let of_this = votes.map(|vote| vote.promised).filter(|it| it.configuration == configuration.number);
            of_this.map(|ballot| ballot.counter).max()
        });
        agreeing.ballots.leave_behind(seen.unwrap_or(0) + (LEAP << part.overtaken.min(LEAPS_MAX)));
    }

    /// A proposal was not decided in time, or its turn has come again.
    pub(super) fn on_part_due(&mut self, register: &str) {
        let Some(part) = self.agreeing.parts.get_mut(register) else { return };
        part.due = None;
        if *part.proposer.stage() == Stage::Waiting {
            part.proposer.resume();
            self.leap(register);
            return self.advance_register(register);
        }
        let Some(update) = part.open.clone() else { return self.advance_register(register) };
        if part.proposer.is_empty() {
            // Nobody waits for it any more.
            part.proposer.abandon();
            return self.close_proposal(register);
        }
        part.tries += 1;
        let tries = part.tries;
        let founding = update.statement().founding;
        self.tell_voters(founding, &update);
        if let Some(proposal) = self.agreeing.part(register).proposer.proposal() {
            // This node's own disk may not have taken its vote.
            self.consider(founding, register, &proposal, Way::Straight(self.identity.id));
        }
        self.take_statement(&update.parts(), self.identity.id, true);
        let wait = (self.voters_patience(founding) * 2_u32.saturating_pow(tries.min(8))).min(PATIENCE_MAX);
        let at = self.fx.now.instant + wait;
        self.agreeing.set_due(register, Some(at));
    }
}
