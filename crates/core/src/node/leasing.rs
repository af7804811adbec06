//! Leases: registers that somebody holds for a time ([`Lease`]), as applications ask for them here.
//!
//! What an application wants is an errand: reads and swaps, one after the other, until it is there or its time is over. Whatever
//! became of a swap that nobody could tell of, the next read shows. While another has the lease an errand that wants it reads
//! again and again, so that it sees renewals and releases soon, and takes the lease over when its time is over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Node;
use super::agreeing::{Asker, Due};
use super::commands::invalid;
use crate::agreement::lease::{LABEL_BYTES_MAX, LEASE_BYTES_MAX, LEASE_PREFIX, TTL_MAX, TTL_MIN};
use crate::agreement::statement::FoundingId;
use crate::agreement::{Change, Contender, Expected, Lease, Move, Outcome, Value, Wish};
use crate::identity::NodeId;
use crate::io::{Event, Refusal, Reply, Ticket};
use crate::time::{Instant, Wall};

/// Errands at once; more are refused.
const ERRANDS_MAX: usize = 256;
/// Leases of others that are remembered between errands.
const SIGHTS_MAX: usize = 1_024;
/// Leases of which it is remembered when they were heard of.
const HEARD_MAX: usize = 8_192;
/// The longest time that an errand may take.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// The longest time that one of its operations takes before it looks anew.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time between two looks at a lease that another has; a quarter of its time if that is less.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an application wants of a lease, on its way.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Errand {
    ticket: Ticket,
    register: Box<str>,
    contender: Contender,
    deadline: Instant,
    /// What the register was last seen to hold, and whether that was read.
    seen: (u64, Lease, bool),
    /// What it has put there, if its last operation was a swap, and before what moment it had not asked for that.
    offered: Option<(Lease, Instant)>,
    /// The version after which a swap, of which nobody could tell, is not made any more.
    doubt: Option<u64>,
    due: Option<Instant>,
    /// Whoever asked has gone, while a swap was under way.
    is_abandoned: bool,
    /// It judges what it has seen by then; before, it reads.
    judges_at: Instant,
}

/// All errands of a node.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Leasing {
    errands: BTreeMap<u64, Errand>,
    last: u64,
    /// The versions that others were seen to have, and since when: the next errand goes on from there.
    sights: BTreeMap<Box<str>, (u64, Instant)>,
    /// When it was first seen decided that somebody has a lease, and when the last version was.
    heard: BTreeMap<Box<str>, LeaseHeard>,
}

/// When this node heard of a lease, by its time of day: for people only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct LeaseHeard {
    /// That its present holder has it, or that nobody does.
    pub since: Wall,
    /// Of the last version, which renewals are as well.
    pub renewed: Wall,
}

impl Leasing {
    fn note_sight(&mut self, register: Box<str>, sight: (u64, Instant)) {
        self.sights.insert(register, sight);
        while self.sights.len() > SIGHTS_MAX {
            // Whoever waits for that one begins anew.
            self.sights.pop_first();
        }
    }

    fn note_heard(&mut self, register: &str, is_another: bool, now: Wall) {
        let heard = self.heard.entry(register.into()).or_insert(LeaseHeard { since: now, renewed: now });
        heard.since = if is_another { now } else { heard.since };
        heard.renewed = now;
        while self.heard.len() > HEARD_MAX {
            // Of that one it counts from when it is asked for.
            self.heard.pop_first();
        }
    }
}

/// Whether a register is one of a lease, and of which.
fn lease_name(register: &str) -> Option<&str> {
    register.strip_prefix(LEASE_PREFIX)
}

/// What applications ask.
impl Node {
    /// Begins an errand.
    pub(super) fn contend(&mut self, ticket: Ticket, lease: &str, (holder, wish): (u64, Wish), timeout: Duration) {
        if let Err(refusal) = self.check_errand(lease, holder, &wish, timeout) {
            return self.done(ticket, Err(refusal));
        }
        let register = [LEASE_PREFIX, lease].concat();
        let known = self.stale_register(&register);
        let (version, value) = known.unwrap_or((0, None));
        let now = self.fx.now.instant;
        let leasing = &mut self.agreeing.leasing;
        let sight = leasing.sights.get(&*register).copied();
        leasing.last += 1;
        let id = leasing.last;
        let errand = Errand {
            ticket,
            register: register.into(),
            contender: Contender::new(holder, wish).having_seen(sight),
            deadline: now + timeout,
            seen: (version, Lease::read(version, value.as_deref()), false),
            offered: None,
            doubt: None,
            due: None,
            is_abandoned: false,
            judges_at: now,
        };
        leasing.errands.insert(id, errand);
        self.judge_lease(id);
    }

    fn check_errand(&self, lease: &str, holder: u64, wish: &Wish, timeout: Duration) -> Result<(), Refusal> {
        if !(1..=LEASE_BYTES_MAX).contains(&lease.len()) {
            return Err(invalid("lease", format!("{} bytes", lease.len()), "a name of 1 to 200 bytes"));
        }
        if holder == 0 {
            return Err(invalid("holder", "0".to_owned(), "a random number above 0"));
        }
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(invalid("timeout", format!("{timeout:?}"), "above 0 and at most 1h"));
        }
        if let Wish::Acquire { ttl, .. } | Wish::Renew { ttl, .. } = wish
            && !(TTL_MIN..=TTL_MAX).contains(ttl)
        {
            return Err(invalid("ttl", format!("{ttl:?}"), "1s to 1h"));
        }
        if let Wish::Acquire { label, .. } = wish
            && label.len() > LABEL_BYTES_MAX
        {
            return Err(invalid("label", format!("{} bytes", label.len()), "at most 64 bytes"));
        }
        let waiting = self.agreeing.leasing.errands.len();
        if waiting >= ERRANDS_MAX {
            return Err(Refusal::OperationsWaiting { waiting });
        }
        self.check_operation(&[LEASE_PREFIX, lease].concat(), &Change::Read, STEP_TIMEOUT)
    }

    /// What a lease was when it was last seen decided here. Others may know better, and its time may be over.
    pub fn lease(&self, lease: &str) -> Option<Lease> {
        let (version, value) = self.stale_register(&[LEASE_PREFIX, lease].concat())?;
        Some(Lease::read(version, value.as_deref()))
    }

    /// When that was. `None` where this node has known it since it started, or no longer knows.
    pub fn lease_heard(&self, lease: &str) -> Option<LeaseHeard> {
        self.agreeing.leasing.heard.get(&*[LEASE_PREFIX, lease].concat()).copied()
    }

    /// The names of all leases that anybody has, as far as was seen here.
    pub fn leases(&self) -> impl Iterator<Item = (&str, Lease)> {
        let all = self.reserved_registers().filter_map(|(register, version, value)| {
            Some((lease_name(register)?, Lease::read(version, value.map(|value| &**value))))
        });
        all.filter(|(_, lease)| lease.is_held())
    }
}

/// Errands on their way.
impl Node {
    /// Does what follows from what an errand has seen.
    fn judge_lease(&mut self, id: u64) {
        let (now, drift) = (self.fx.now.instant, self.config.clock_drift_max);
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        let (version, lease, _) = &errand.seen;
        let next = errand.contender.judge(*version, lease, now, drift);
        if let Some(sight) = errand.contender.sight() {
            let register = errand.register.clone();
            self.agreeing.leasing.note_sight(register, sight);
        }
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        let (version, lease, was_read) = &errand.seen;
        match next {
            Move::Swap(lease) => {
                let change = Change::Swap { expected: Expected::Version(*version), value: Some(lease.to_bytes()) };
                errand.offered = Some((lease, now));
                self.ask_lease(id, change);
            }
            Move::Lost if *was_read => self.end_errand(id, Err(Refusal::NotHeld)),
            Move::Lost => self.read_lease(id),
            Move::Wait(over) => {
                let longest = LOOK_EVERY.min(lease.ttl / 4);
                errand.judges_at = over;
                let wait = longest / 2 + (longest / 2).mul_f64(self.fx.rng.fraction());
                self.set_lease_due(id, over.min(now + wait));
            }
        }
    }

    fn read_lease(&mut self, id: u64) {
        if let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) {
            errand.offered = None;
            self.ask_lease(id, Change::Read);
        }
    }

    fn ask_lease(&mut self, id: u64, change: Change) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get(&id) else { return };
        let (register, left) = (errand.register.clone(), errand.deadline.since(now));
        let operation = self.begin_operation(Asker::Lease(id), &register, change, left.min(STEP_TIMEOUT));
        self.route(operation);
    }

    fn set_lease_due(&mut self, id: u64, at: Instant) {
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        let at = at.min(errand.deadline);
        if let Some(old) = errand.due.replace(at) {
            self.agreeing.dues.remove(&(old, Due::Lease(id)));
        }
        self.agreeing.dues.insert((at, Due::Lease(id)));
        self.arm_agreement();
    }

    /// An errand goes on.
    pub(super) fn on_lease_due(&mut self, id: u64) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        errand.due = None;
        if errand.deadline <= now {
            self.end_late(id, Vec::new());
        } else if errand.judges_at <= now {
            self.judge_lease(id);
        } else {
            self.read_lease(id);
        }
    }

    /// An operation of an errand ended.
    pub(super) fn on_lease_outcome(&mut self, id: u64, outcome: Outcome) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        let (version, value) = match outcome {
            Outcome::Done { version, .. } if errand.is_abandoned => return self.forgo(id, version),
            Outcome::Mismatch { .. } | Outcome::Unknown if errand.is_abandoned => return self.end_late(id, Vec::new()),
            Outcome::Unknown => return self.look_anew(id),
            Outcome::Done { .. } if errand.offered.is_some() => return self.end_well(id),
            Outcome::Done { version, value } | Outcome::Mismatch { version, value } => (version, value),
        };
        errand.doubt = errand.doubt.filter(|expected| version <= *expected);
        if version >= errand.seen.0 {
            errand.seen = (version, Lease::read(version, value.as_deref()), true);
        }
        errand.judges_at = now;
        self.set_lease_due(id, now);
    }

    /// Nobody can tell what became of its operation: it reads.
    fn look_anew(&mut self, id: u64) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        if errand.offered.is_some() {
            errand.doubt = Some(errand.seen.0);
        }
        errand.judges_at = now + TIMEOUT_MAX;
        self.set_lease_due(id, now);
    }

    /// The time of its operation was over, and a quorum not there.
    pub(super) fn on_lease_unheard(&mut self, id: u64, unheard: Vec<NodeId>) {
        self.look_anew(id);
        let errand = self.agreeing.leasing.errands.get(&id);
        if errand.is_some_and(|errand| errand.is_abandoned || errand.deadline <= self.fx.now.instant) {
            self.end_late(id, unheard);
        }
    }

    /// It put there what it wanted to.
    fn end_well(&mut self, id: u64) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get(&id) else { return };
        let Some((lease, asked)) = &errand.offered else { return };
        let reply = match errand.contender.wish() {
            // What it asked for: others may wait for longer.
            Wish::Acquire { ttl, .. } | Wish::Renew { ttl, .. } => {
                let held_for = ttl.saturating_sub(now.since(*asked));
                if held_for.is_zero() {
                    // It comes too late to be of use, and somebody else may have it by now.
                    return self.look_anew(id);
                }
                Reply::Leased { token: lease.token, held_for }
            }
            Wish::Release { .. } | Wish::Forgo { .. } => Reply::Accepted,
        };
        self.end_errand(id, Ok(reply));
    }

    /// Whoever asked has gone. What wants a lease wants it no more; what gives one back goes on. Where its own swap is under way,
    /// that may be won yet.
    pub(super) fn abandon_errand(&mut self, ticket: Ticket) {
        if self.agreeing.is_unused() {
            return;
        }
        let mut errands = self.agreeing.leasing.errands.iter_mut();
        let Some((id, errand)) = errands.find(|(_, errand)| errand.ticket == ticket) else { return };
        let id = *id;
        match errand.contender.wish() {
            Wish::Acquire { .. } if errand.due.is_none() && errand.offered.is_some() => errand.is_abandoned = true,
            Wish::Acquire { .. } => self.end_late(id, Vec::new()),
            Wish::Renew { .. } | Wish::Release { .. } | Wish::Forgo { .. } => {}
        }
    }

    /// It has won, at a version, what nobody waits for any more. Where nobody knows whether it has, the lease runs out by itself:
    /// the same holder may have got it through another node, and know.
    fn forgo(&mut self, id: u64, version: u64) {
        let now = self.fx.now.instant;
        let Some(errand) = self.agreeing.leasing.errands.get_mut(&id) else { return };
        let Some((lease, _)) = errand.offered.take() else { return };
        errand.is_abandoned = false;
        errand.contender = Contender::new(lease.holder, Wish::Forgo { token: version });
        (errand.seen, errand.doubt, errand.deadline) = ((version, lease, true), None, now + STEP_TIMEOUT);
        self.judge_lease(id);
    }

    /// Its time is over.
    fn end_late(&mut self, id: u64, unheard: Vec<NodeId>) {
        let Some(errand) = self.agreeing.leasing.errands.get(&id) else { return };
        let (_, lease, was_read) = &errand.seen;
        let unknown = errand.doubt.is_some();
        let has_another = *was_read && lease.is_held() && !errand.contender.has(lease);
        // Its last look may have been cut short; an earlier one was not.
        let refusal = if has_another && !unknown {
            Refusal::Held { by: lease.label.clone(), token: lease.token }
        } else {
            Refusal::NoQuorum { unheard, unknown }
        };
        self.end_errand(id, Err(refusal));
    }

    fn end_errand(&mut self, id: u64, result: Result<Reply, Refusal>) {
        let Some(errand) = self.agreeing.leasing.errands.remove(&id) else { return };
        if let Some(due) = errand.due {
            self.agreeing.dues.remove(&(due, Due::Lease(id)));
        }
        self.arm_agreement();
        self.done(errand.ticket, result);
    }

    /// What was last seen decided of a register, if it is that of a lease.
    pub(super) fn lease_held(&self, founding: FoundingId, register: &str) -> Option<Lease> {
        lease_name(register)?;
        let known = self.agreeing.space.founding(founding).and_then(|founding| founding.register(register)?.chosen());
        let lease = known.map(|known| Lease::read(known.content.version, known.content.value.as_deref()));
        Some(lease.unwrap_or_default())
    }

    /// A lease was seen decided: those who wait for it look at it, and applications are told whose it is.
    pub(super) fn note_lease(&mut self, register: &str, before: &Lease, version: u64, value: Option<&Value>) {
        let Some(name) = lease_name(register) else { return };
        let lease = Lease::read(version, value.map(|value| &**value));
        let is_another = (before.holder, before.token) != (lease.holder, lease.token);
        self.agreeing.leasing.note_heard(register, is_another, self.fx.now.wall);
        if is_another {
            let (label, token, is_held) = (lease.label.clone(), lease.token, lease.is_held());
            self.fx.event(Event::Lease { lease: name.to_owned(), label, token, is_held });
        }
        let now = self.fx.now.instant;
        let errands = self.agreeing.leasing.errands.iter_mut();
        let waiting = errands
            .filter(|(_, errand)| errand.due.is_some() && *errand.register == *register && version > errand.seen.0);
        let mut woken = Vec::new();
        for (id, errand) in waiting {
            errand.seen = (version, lease.clone(), true);
            errand.judges_at = now;
            woken.push(*id);
        }
        for id in woken {
            self.set_lease_due(id, now);
        }
    }
}
