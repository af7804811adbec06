//! Who votes: foundings, and changes of voters (decision 0014).
//!
//! A change is decided on the register of configurations by the voters of before. From then on both the voters of before and
//! the new ones have to be enough for whatever is promised or accepted, until a majority of those of before has ended its part
//! and every register that they voted on has been read once under the new configuration. Whoever votes in the new one can drive
//! that: it follows from the statements seen. It is decided in its turn, and then the new voters are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Node;
use super::agreeing::{Agreeing, Asker, Due, RESERVED};
use super::commands::invalid;
use super::voting::Way;
use crate::agreement::space::{Founding, Register};
use crate::agreement::statement::{CONFIGURATIONS, FoundingId, Says, Sealed, Statement, digest_of};
use crate::agreement::{Change, Configuration, Expected, Operation, Outcome, VOTERS_MAX, Value, Voters, chosen};
use crate::identity::NodeId;
use crate::io::{Refusal, Reply, Ticket};
use crate::limits::Limits;
use crate::time::{Instant, Seconds};

/// How long each of the new voters leaves the driving to those before it.
const TURN: Duration = Duration::from_secs(5);
/// How often whoever drives looks whether it can go on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one of its operations may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Registers that are taken over at once.
pub(super) const TAKEN_AT_ONCE: usize = 8;
/// Voters of which it is remembered that they know the present configuration.
const KNOWN_MAX: usize = 64;

/// A change of voters, as far as this node drives it.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Changing {
    /// Under which configurations voters have voted.
    voted: BTreeMap<NodeId, u32>,
    drives: bool,
    due: Option<Instant>,
    /// What remains to be taken over, once that is known.
    rest: Option<Vec<Box<str>>>,
    /// What is being taken over.
    under_way: BTreeSet<Box<str>>,
}

impl Changing {
    /// Whether a voter is known to vote under a configuration.
    pub(super) fn knows(&self, voter: NodeId, (number, _): (u32, bool)) -> bool {
        self.voted.get(&voter).is_some_and(|voted| *voted >= number)
    }

    /// A vote was seen.
    pub(super) fn note_vote(&mut self, voter: NodeId, number: u32) {
        let voted = self.voted.entry(voter).or_default();
        *voted = number.max(*voted);
        while self.voted.len() > KNOWN_MAX {
            self.voted.pop_first();
        }
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        // What remains to be taken over are registers.
        let Self { voted, drives: _, due: _, rest: _, under_way } = self;
        to.entries("voters_up_to_date", voted.len(), KNOWN_MAX);
        to.entries("registers_taken_over", under_way.len(), TAKEN_AT_ONCE);
    }
}

/// A founding, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundingStatus {
    /// Which.
    pub id: FoundingId,
    /// Whom it named.
    pub voters: Vec<NodeId>,
    /// Who of them has joined.
    pub joined: Vec<NodeId>,
    /// Whether an operator has dropped it.
    pub is_dropped: bool,
}

/// How agreement stands, as this node knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgreementStatus {
    /// All foundings known. Registers can be used while exactly one has started and was not dropped.
    pub foundings: Vec<FoundingStatus>,
    /// Who votes, if somebody does.
    pub configuration: Option<Configuration>,
    /// How long ago voters last answered this node, as far as they did.
    pub heard: BTreeMap<NodeId, Duration>,
    /// How many registers have votes.
    pub registers: usize,
    /// Whether this node is a voter that has stopped, because it has said more than it remembers.
    pub is_stopped: bool,
}

/// What applications ask.
impl Node {
    /// Names the first voters.
    pub(super) fn found(&mut self, mut voters: Vec<NodeId>) -> Result<(), Refusal> {
        voters.sort_unstable();
        let named = voters.len();
        voters.dedup();
        if !(1..=VOTERS_MAX).contains(&named) || voters.len() != named || voters.contains(&NodeId::NONE) {
            let rule = format!("1 to {VOTERS_MAX} node ids, each once");
            return Err(invalid("voters", format!("{named} ids"), &rule));
        }
        self.use_agreement();
        let (id, update) = self.agreeing.space.make_founding(&voters);
        match self.agreeing.served() {
            Err(Refusal::NoVoters) => {}
            Ok((served, _)) if served == id => return Ok(()),
            Ok(_) => {
                return Err(invalid("voters", format!("{named} ids"), "named once; from then on they are changed"));
            }
            Err(refusal) => return Err(refusal),
        }
        if self.agreeing.space.founding(id).is_some_and(Founding::is_dropped) {
            return Err(invalid("voters", format!("{named} ids"), "others than those of a founding that was dropped"));
        }
        self.take_statement(&update.parts(), self.identity.id, true);
        Ok(())
    }

    pub(super) fn drop_founding(&mut self, founding: FoundingId) -> Result<(), Refusal> {
        if self.agreeing.space.founding(founding).is_none() {
            return Err(Refusal::Unknown { what: "founding", name: founding.to_string() });
        }
        let statement = Statement { founding, says: Says::Dropped };
        let update = self.agreeing.space.make(&statement, Seconds::NEVER, &[]);
        self.take_statement(&update.parts(), self.identity.id, true);
        Ok(())
    }

    pub(super) fn change_voters(
        &mut self,
        ticket: Ticket,
        voters: &[NodeId],
        timeout: Duration,
    ) -> Result<(), Refusal> {
        // Checked like any other, under a name that users can give.
        self.check_operation("voters", &Change::Read, timeout)?;
        let (founding, configuration) = self.agreeing.served()?;
        if configuration.previous.is_some() {
            return Err(Refusal::VotersChange);
        }
        let elsewhere = |voter: &NodeId| {
            self.agreeing.space.foundings().any(|(id, known)| id != founding && known.has_joined(*voter))
        };
        if let Some(voter) = voters.iter().find(|voter| elsewhere(voter)) {
            return Err(invalid("voters", voter.to_string(), "a node that has not joined other voters in its life"));
        }
        let distinct: BTreeSet<NodeId> = voters.iter().copied().collect();
        let is_plain = distinct.len() == voters.len() && !distinct.contains(&NodeId::NONE);
        let Some(next) = configuration.next(distinct).filter(|_| is_plain) else {
            let rule = format!("1 to {VOTERS_MAX} node ids, each once, and others than now");
            return Err(invalid("voters", format!("{} ids", voters.len()), &rule));
        };
        self.agreeing.changing.drives = true;
        self.decide_configuration(Asker::Change(ticket), &configuration, &next, timeout);
        Ok(())
    }

    /// Proposes that one configuration follows another.
    fn decide_configuration(&mut self, asker: Asker, from: &Configuration, to: &Configuration, timeout: Duration) {
        let bytes = |configuration: &Configuration| Value::from(configuration.to_bytes());
        let is_first = from.place() == (1, true);
        let expected = if is_first { Expected::Absent } else { Expected::Value(bytes(from)) };
        let change = Change::Swap { expected, value: Some(bytes(to)) };
        let id = self.begin_operation(asker, CONFIGURATIONS, change.clone(), timeout);
        self.propose_operation(Operation::new(id, change));
    }

    pub(super) fn end_change(&mut self, ticket: Ticket, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Done { .. } => Ok(Reply::Accepted),
            Outcome::Mismatch { .. } => Err(Refusal::VotersChange),
            Outcome::Unknown => Ok(Reply::Operated(Outcome::Unknown)),
        };
        self.done(ticket, result);
    }

    /// How agreement stands, as this node knows it.
    pub fn agreement(&self) -> AgreementStatus {
        let served = self.agreeing.served().ok();
        let known = served.as_ref().and_then(|(founding, _)| self.agreeing.space.founding(*founding));
        let now = self.fx.now.instant;
        let status = |(id, founding): (FoundingId, &Founding)| FoundingStatus {
            id,
            voters: founding.voters().to_vec(),
            joined: founding.voters().iter().copied().filter(|voter| founding.has_joined(*voter)).collect(),
            is_dropped: founding.is_dropped(),
        };
        AgreementStatus {
            foundings: self.agreeing.space.foundings().map(status).collect(),
            configuration: served.map(|(_, configuration)| configuration),
            heard: self.agreeing.heard.iter().map(|(voter, at)| (*voter, now.since(*at))).collect(),
            registers: known.map_or(0, |known| known.registers().count()),
            is_stopped: self.agreeing.voting.is_stopped,
        }
    }

    /// What a register held when that was last seen decided: its version and its value. Others may know better.
    pub fn stale_register(&self, register: &str) -> Option<(u64, Option<Value>)> {
        let (founding, _) = self.agreeing.served().ok()?;
        let chosen = self.agreeing.space.founding(founding)?.register(register)?.chosen()?;
        Some((chosen.content.version, chosen.content.value.clone()))
    }

    /// The names of all registers that hold something as far as this node has seen, without those of leases.
    pub fn registers(&self) -> impl Iterator<Item = &str> {
        let founding = self.agreeing.served().ok().and_then(|(founding, _)| self.agreeing.space.founding(founding));
        let registers = founding.into_iter().flat_map(Founding::registers);
        let holds_something =
            |register: &Register| register.chosen().is_some_and(|chosen| chosen.content.value.is_some());
        let is_open = |name: &str| !name.starts_with(RESERVED);
        registers.filter(move |(name, register)| is_open(name) && holds_something(register)).map(|(name, _)| name)
    }

    /// Those that are not for everybody, with what was seen decided of them.
    pub(super) fn reserved_registers(&self) -> impl Iterator<Item = (&str, u64, Option<&Value>)> {
        let founding = self.agreeing.served().ok().and_then(|(founding, _)| self.agreeing.space.founding(founding));
        let registers = founding.into_iter().flat_map(Founding::registers);
        registers.filter(|(name, _)| name.starts_with(RESERVED)).filter_map(|(name, register)| {
            let content = &register.chosen()?.content;
            Some((name, content.version, content.value.as_ref()))
        })
    }
}

/// What voters do.
impl Node {
    /// Joins a founding that names this node, or a configuration of it that has it as a voter, unless it joined another before.
    pub(super) fn join_founding(&mut self, founding: FoundingId) {
        let Agreeing { space, voting, .. } = &mut *self.agreeing;
        let Some(known) = space.founding(founding).filter(|known| !known.is_dropped()) else { return };
        let me = self.identity.id;
        let votes = known.configuration().is_some_and(|configuration| configuration.voters.contains_key(&me));
        let is_free = voting.joined.is_none() && voting.joining.is_none() && !voting.is_stopped;
        // What would not outlive this process is promised to nobody.
        if self.identity.durable && is_free && (votes || known.voters().contains(&me)) {
            voting.joining = Some(founding);
            self.draft_statement(Says::Joined { voter: me }, founding);
        }
    }

    /// There may be another configuration than a moment ago: what was proposed under it can be answered now, and what waits
    /// can be proposed.
    pub(super) fn note_started(&mut self, founding: FoundingId) {
        let Some(known) = self.agreeing.space.founding(founding).filter(|known| known.configuration().is_some()) else {
            return;
        };
        let proposals: Vec<_> = known.all_registers().flat_map(Register::proposals).cloned().collect();
        for update in proposals {
            if let Says::Proposal { register, ballot, next } = update.statement().says
                && let Some(proposal) = update.parts().proposal(ballot, next)
            {
                self.consider(founding, register, &proposal, Way::Gossip);
            }
        }
        let registers: Vec<Box<str>> = self.agreeing.parts.keys().cloned().collect();
        for register in registers {
            self.advance_register(&register);
        }
    }

    /// A configuration was seen decided.
    pub(super) fn adopt_configuration(&mut self, founding: FoundingId, configuration: &Configuration) {
        let present = self.agreeing.space.founding(founding).and_then(Founding::configuration);
        if present.is_some_and(|present| present.place() < configuration.place()) {
            let update = self.agreeing.space.make_configured(founding, configuration);
            self.take_statement(&update.parts(), self.identity.id, true);
        }
    }

    /// There is another configuration.
    pub(super) fn on_configured(&mut self, founding: FoundingId) {
        self.join_founding(founding);
        self.seal(founding);
        let configuration = self.agreeing.space.founding(founding).and_then(Founding::configuration);
        let Some(configuration) = configuration else { return };
        (self.agreeing.changing.rest, self.agreeing.changing.under_way) = (None, BTreeSet::new());
        let me = self.identity.id;
        let rank = configuration.voters.keys().position(|voter| *voter == me);
        let drives = self.agreeing.changing.drives;
        if configuration.previous.is_none() {
            self.agreeing.changing.drives = false;
            self.set_change_due(None);
        } else if drives {
            self.set_change_due(Some(Duration::ZERO));
        } else if let Some(rank) = rank {
            let turns = u32::try_from(rank + 1).expect("there are few voters");
            self.set_change_due(Some(TURN * turns));
        }
        self.note_started(founding);
    }

    /// Ends this voter's part in the configuration of before: it votes for no ballot of it any more, and says on what it did.
    pub(super) fn seal(&mut self, founding: FoundingId) {
        let me = self.identity.id;
        let known = self.agreeing.space.founding(founding);
        let number = known.and_then(Founding::configuration).map_or(0, |configuration| configuration.number);
        let sealed = known.and_then(|known| known.sealed(me));
        if sealed.is_none_or(|sealed| sealed.configuration < number.saturating_sub(1)) {
            self.seal_anew(founding);
        }
    }

    /// The same, also if it did so before and has forgotten something since.
    pub(super) fn seal_anew(&mut self, founding: FoundingId) {
        let me = self.identity.id;
        let Some(known) = self.agreeing.space.founding(founding) else { return };
        let Some(configuration) = known.configuration() else { return };
        let Some(previous) = &configuration.previous else { return };
        let number = configuration.number - 1;
        let voting = &self.agreeing.voting;
        let votes = voting.joined == Some(founding) && !voting.is_stopped;
        if !votes || !previous.contains_key(&me) || !self.agreeing.voting.is_still(founding) {
            return;
        }
        let Some(known) = self.agreeing.space.founding(founding) else { return };
        let voted = known.registers().filter(|(name, _)| known.birth(name, me).is_some());
        let (count, digest) = voted.fold((0, 0), |(count, digest), (name, _)| (count + 1, digest ^ digest_of(name)));
        // Each time another number.
        self.agreeing.voting.born += 1;
        let born = self.agreeing.voting.born;
        let sealed = Sealed { voter: me, configuration: number, born, count, digest };
        self.draft_statement(Says::Sealed(sealed), founding);
    }

    fn set_change_due(&mut self, after: Option<Duration>) {
        if let Some(due) = self.agreeing.changing.due.take() {
            self.agreeing.dues.remove(&(due, Due::Change));
        }
        if let Some(after) = after {
            let at = self.fx.now.instant + after;
            self.agreeing.changing.due = Some(at);
            self.agreeing.dues.insert((at, Due::Change));
        }
        self.arm_agreement();
    }
}

/// Driving a change to its end.
impl Node {
    pub(super) fn on_change_due(&mut self) {
        self.agreeing.changing.due = None;
        self.agreeing.changing.drives = true;
        self.set_change_due(Some(LOOK_EVERY));
        self.drive_change();
    }

    /// Takes over what the voters of before voted on, as far as that can be done now.
    pub(super) fn drive_change(&mut self) {
        if !self.agreeing.changing.drives {
            return;
        }
        let Ok((founding, configuration)) = self.agreeing.served() else { return };
        let Some(previous) = &configuration.previous else { return };
        if self.agreeing.changing.rest.is_none() {
            let Some(known) = self.agreeing.space.founding(founding) else { return };
            self.agreeing.changing.rest = to_take_over(known, &configuration, previous);
        }
        while self.agreeing.changing.under_way.len() < TAKEN_AT_ONCE
            && let Some(register) = self.agreeing.changing.rest.as_mut().and_then(Vec::pop)
        {
            self.agreeing.changing.under_way.insert(register.clone());
            let id = self.begin_operation(Asker::Itself, &register, Change::Read, STEP_TIMEOUT);
            self.propose_operation(Operation::new(id, Change::Read));
        }
        let changing = &mut self.agreeing.changing;
        if changing.rest.as_ref().is_some_and(Vec::is_empty) && changing.under_way.is_empty() {
            changing.under_way.insert(CONFIGURATIONS.into());
            let settled = configuration.settled();
            self.decide_configuration(Asker::Itself, &configuration, &settled, STEP_TIMEOUT);
        }
    }

    /// An operation of this node's own on a register ended, or had its time. What remains is looked for anew when none is
    /// left under way.
    pub(super) fn note_taken_over(&mut self, register: &str) {
        let changing = &mut self.agreeing.changing;
        changing.under_way.remove(register);
        if changing.under_way.is_empty() && changing.rest.as_ref().is_some_and(Vec::is_empty) {
            changing.rest = None;
        }
        self.drive_change();
    }
}

/// The registers that have to be read once under the new configuration. `None` while it is not known: votes of the voters of
/// before are lacking.
fn to_take_over(known: &Founding, configuration: &Configuration, previous: &Voters) -> Option<Vec<Box<str>>> {
    let shown = |voter: NodeId| -> Option<Vec<&str>> {
        let sealed = known.sealed(voter).filter(|sealed| sealed.configuration >= configuration.number - 1)?;
        let counts = |(name, _): &(&str, _)| known.birth(name, voter).is_some_and(|(born, _)| born < sealed.born);
        let names: Vec<&str> = known.registers().filter(counts).map(|(name, _)| name).collect();
        let digest = names.iter().fold(0, |digest, name| digest ^ digest_of(name));
        ((names.len() as u64, digest) == (sealed.count, sealed.digest)).then_some(names)
    };
    let whole: BTreeMap<NodeId, Vec<&str>> =
        previous.keys().filter_map(|voter| Some((*voter, shown(*voter)?))).collect();
    if whole.len() <= previous.len() / 2 {
        return None;
    }
    let names: BTreeSet<&str> = whole.into_values().flatten().collect();
    let is_there = |name: &&str| {
        let votes = known.register(name).map(Register::votes);
        let accepted = votes.and_then(|votes| chosen(votes, configuration));
        accepted.is_some_and(|accepted| accepted.ballot.configuration == configuration.number)
    };
    Some(names.into_iter().filter(|name| !is_there(name)).map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tests::fill;

    #[test]
    fn voters_that_are_up_to_date_have_their_cap() {
        fill(Changing::default(), "voters_up_to_date", &Changing::limits, |it, n| it.note_vote(NodeId(n), 1));
    }
}
