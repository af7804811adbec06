//! Who does not answer: SWIM's probes (Das, Gupta, Motivala, DSN 2002) with Lifeguard (Dadgar, Phillips, Currey,
//! 2018).
//!
//! A probe pings its target, again after each adaptive timeout, then asks others to ping it and tries a stream;
//! when all have failed it ends at once. Deviation from SWIM: suspicion follows at that moment, not at the end of
//! the period. The detector decides *when*; `node` sends the bytes and makes the claims.
//!
//! **Invariant:** a timer that comes late by more than half a probe timeout judges nobody (design §4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Config;
use crate::effects::{Effects, Timer};
use crate::few::Few;
use crate::identity::{Incarnation, NodeId};
use crate::io::StreamId;
use crate::limits::Limits;
use crate::slots::reserve_one;
use crate::time::Instant;

/// Probes under way at once, whatever happens.
const PROBES_MAX: usize = 64;
/// Probes of the pass under way at once while many fail: it doubles from one with each failure.
const BURST_MAX: usize = 16;
/// Members whose acks came last: whom to ask for indirect probes while many are dead.
const HEARD_MAX: usize = 16;
/// Pings for others under way at once.
const RELAYS_MAX: usize = 256;

/// Why somebody is probed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) enum Purpose {
    /// It is its turn.
    Turn,
    /// Somebody suspects it, and this node drew the lot to confirm.
    Hearsay,
    /// It is about to be declared dead.
    LastChance,
    /// Somebody says that it is dead, and this node heard nothing of it before.
    Doubt,
}

/// What to do about a probe.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// Ping again.
    Ping { target: NodeId, address: SocketAddr },
    /// Ask others, and try a stream.
    Indirect { target: NodeId, address: SocketAddr },
    /// It failed.
    Failed { target: NodeId, purpose: Purpose, missed: Missed },
}

/// What a probe that failed went through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Missed {
    /// Pings sent to the target.
    pub(crate) pings: u32,
    /// Others that were asked to ping it.
    pub(crate) helpers: usize,
    /// How many of those said that it does not answer them either.
    pub(crate) nacks: usize,
}

/// A probe that succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) target: NodeId,
    pub(crate) purpose: Purpose,
    /// Where the first ping was answered.
    pub(crate) rtt: Option<Duration>,
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Probe {
    target: NodeId,
    address: SocketAddr,
    purpose: Purpose,
    started: Instant,
    timeout: Duration,
    attempts: u32,
    indirect: Option<Indirect>,
}

/// The second half of a probe.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Indirect {
    relays: Vec<NodeId>,
    nacks: BTreeSet<NodeId>,
    stream: Option<StreamId>,
}

/// A ping on behalf of another node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Relay {
    pub(crate) asker: SocketAddr,
    pub(crate) asker_id: NodeId,
    pub(crate) asker_number: u16,
    pub(crate) target: NodeId,
    pub(crate) address: SocketAddr,
    again: bool,
}

/// A suspicion as this node holds it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Suspicion {
    incarnation: Incarnation,
    started: Instant,
    /// The first accuser and those who confirmed, at most K + 1.
    accusers: Vec<NodeId>,
}

/// What hearing an accusation did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// It is the first: a suspicion begins.
    Began,
    /// It confirms, and is worth passing on.
    Confirmed,
    /// It adds nothing.
    Nothing,
}

/// The failure detector of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Detector {
    /// By the number of their pings: few at any time, mostly one.
    probes: Few<u16, Probe>,
    relays: BTreeMap<u16, Relay>,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// The latest last.
    heard: Vec<NodeId>,
    number: u16,
    burst: usize,
    health: u32,
    round_trip: RoundTrip,
}

impl Detector {
    pub(crate) fn new(first_number: u16) -> Self {
        Self {
            probes: Few::new(),
            relays: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            heard: Vec::new(),
            number: first_number,
            burst: 1,
            health: 0,
            round_trip: RoundTrip::default(),
        }
    }

    /// Lifeguard's local health: 0 is best.
    pub(crate) const fn health(&self) -> u32 {
        self.health
    }

    /// The time between two probes: longer while this node itself is not well (Lifeguard §IV-A).
    pub(crate) fn interval(&self, config: &Config) -> Duration {
        config.probe_interval * (self.health + 1)
    }

    /// How long to wait for one ack, given the target's own round trip.
    pub(crate) fn timeout(&self, config: &Config, rtt: Option<Duration>) -> Duration {
        let measured = self.round_trip.timeout().unwrap_or(config.probe_timeout);
        let own = rtt.unwrap_or_default() * 3;
        measured.max(own).clamp(config.probe_timeout_min, config.probe_timeout)
    }

    /// How many probes of the pass may still be started now.
    pub(crate) fn openings(&self) -> usize {
        let turns = self.probes.values().filter(|probe| probe.purpose == Purpose::Turn).count();
        self.burst.saturating_sub(turns).min(PROBES_MAX.saturating_sub(self.probes.len()))
    }

    pub(crate) fn is_probing(&self, target: NodeId) -> bool {
        self.probes.values().any(|probe| probe.target == target)
    }

    /// Who is being probed because its death is doubted.
    pub(crate) fn doubting(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.probes.values().filter(|probe| probe.purpose == Purpose::Doubt).map(|probe| probe.target)
    }

    pub(crate) fn is_doubting(&self, target: NodeId) -> bool {
        self.doubting().any(|doubted| doubted == target)
    }

    fn probe(&self, number: u16) -> Option<&Probe> {
        self.probes.get(&number)
    }

    fn probe_mut(&mut self, number: u16) -> Option<&mut Probe> {
        self.probes.get_mut(&number)
    }

    fn take_probe(&mut self, number: u16) -> Option<Probe> {
        self.probes.remove(&number)
    }

    /// Starts a probe and returns the number of its ping, or `None` if too many are under way.
    pub(crate) fn start(
        &mut self,
        target: NodeId,
        address: SocketAddr,
        purpose: Purpose,
        timeout: Duration,
        fx: &mut Effects,
    ) -> Option<u16> {
        if self.probes.len() >= PROBES_MAX {
            return None;
        }
        let number = self.next_number();
        let timeout = timeout * (self.health + 1);
        let started = fx.now.instant;
        let probe = Probe { target, address, purpose, started, timeout, attempts: 1, indirect: None };
        self.probes.insert(number, probe);
        fx.arm(timeout, Timer::Probe(number));
        Some(number)
    }

    /// The present step of a probe had its time, which was due at `due`.
    pub(crate) fn on_probe_due(&mut self, number: u16, due: Instant, config: &Config, fx: &mut Effects) -> Step {
        let Some(probe) = self.probe_mut(number) else { return Step::Wait };
        let (target, address, timeout) = (probe.target, probe.address, probe.timeout);
        if fx.now.instant.since(due) > timeout / 2 {
            self.worsen(1, config);
            fx.arm(timeout, Timer::Probe(number));
            return Step::Ping { target, address };
        }
        if probe.indirect.is_some() {
            return self.fail(number, config, fx);
        }
        if probe.attempts <= config.probe_resends {
            probe.attempts += 1;
            fx.arm(timeout, Timer::Probe(number));
            return Step::Ping { target, address };
        }
        probe.indirect = Some(Indirect { relays: Vec::new(), nacks: BTreeSet::new(), stream: None });
        // A relay sends its nack after 1.6 timeouts of its own.
        fx.arm(timeout * 2, Timer::Probe(number));
        Step::Indirect { target, address }
    }

    /// Who was asked to help, and over which stream a ping went.
    pub(crate) fn asked(&mut self, number: u16, relays: Vec<NodeId>, stream: Option<StreamId>) {
        if let Some(indirect) = self.probe_mut(number).and_then(|probe| probe.indirect.as_mut()) {
            indirect.relays = relays;
            indirect.stream = stream;
        }
    }

    /// Ends a probe at once if nobody is left who could still answer it.
    pub(crate) fn conclude(&mut self, number: u16, config: &Config, fx: &mut Effects) -> Step {
        let exhausted = self.probe(number).and_then(|probe| probe.indirect.as_ref());
        match exhausted {
            Some(indirect) if indirect.stream.is_none() && indirect.nacks.len() >= indirect.relays.len() => {
                self.fail(number, config, fx)
            }
            Some(_) | None => Step::Wait,
        }
    }

    /// An ack came. `from` must be the target or one of those who were asked to ping it.
    pub(crate) fn on_ack(&mut self, number: u16, from: NodeId, fx: &mut Effects) -> Option<Acked> {
        let probe = self.probe(number)?;
        let helped = probe.indirect.as_ref().is_some_and(|indirect| indirect.relays.contains(&from));
        if from != probe.target && !helped {
            return None;
        }
        let probe = self.take_probe(number).expect("it was just there");
        fx.cancel(Timer::Probe(number));
        self.health = self.health.saturating_sub(1);
        self.burst = 1;
        let took = fx.now.instant.since(probe.started);
        if probe.indirect.is_none() {
            // Deviation from Karn's rule: an ack after a second ping counts from the first, so that the timeout
            // grows with a path that became slow.
            self.round_trip.sample(took);
        }
        self.note_heard(probe.target);
        // Karn's rule: of a ping that was sent again nobody knows which one was answered.
        let rtt = (probe.attempts == 1 && probe.indirect.is_none()).then_some(took);
        Some(Acked { target: probe.target, purpose: probe.purpose, rtt })
    }

    /// Somebody who was asked could not reach the target either.
    pub(crate) fn on_nack(&mut self, number: u16, from: NodeId, config: &Config, fx: &mut Effects) -> Step {
        let Some(indirect) = self.probe_mut(number).and_then(|probe| probe.indirect.as_mut()) else {
            return Step::Wait;
        };
        if !indirect.relays.contains(&from) || !indirect.nacks.insert(from) {
            return Step::Wait;
        }
        self.conclude(number, config, fx)
    }

    /// The stream over which a target was tried ended.
    pub(crate) fn on_stream_closed(&mut self, stream: StreamId, config: &Config, fx: &mut Effects) -> Step {
        let tried = |probe: &Probe| probe.indirect.as_ref().is_some_and(|indirect| indirect.stream == Some(stream));
        let Some((number, probe)) = self.probes.iter_mut().find(|(_, probe)| tried(probe)) else {
            return Step::Wait;
        };
        let number = *number;
        if let Some(indirect) = probe.indirect.as_mut() {
            indirect.stream = None;
        }
        self.conclude(number, config, fx)
    }

    /// Lifeguard §IV-A: who gets no nack may not be well itself. Deviation from memberlist, which counts each nack that is missing:
    /// one that comes shows that this node speaks and hears, and others are missing wherever members stand still or datagrams get lost.
    fn fail(&mut self, number: u16, config: &Config, fx: &mut Effects) -> Step {
        let Some(probe) = self.take_probe(number) else { return Step::Wait };
        fx.cancel(Timer::Probe(number));
        let is_heard = probe.indirect.as_ref().is_some_and(|indirect| !indirect.nacks.is_empty());
        self.worsen(u32::from(!is_heard), config);
        self.burst = (self.burst * 2).min(BURST_MAX);
        self.heard.retain(|heard| *heard != probe.target);
        let (helpers, nacks) = probe.indirect.map_or((0, 0), |indirect| (indirect.relays.len(), indirect.nacks.len()));
        let missed = Missed { pings: probe.attempts, helpers, nacks };
        Step::Failed { target: probe.target, purpose: probe.purpose, missed }
    }

    /// This node had to contradict a suspicion, or was slow: Lifeguard §IV-A.
    pub(crate) fn worsen(&mut self, by: u32, config: &Config) {
        self.health = (self.health + by).min(config.health_max);
    }

    /// Members that answered lately, the latest first.
    pub(crate) fn heard(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.heard.iter().rev().copied()
    }

    fn note_heard(&mut self, id: NodeId) {
        self.heard.retain(|heard| *heard != id);
        if self.heard.len() == HEARD_MAX {
            self.heard.remove(0);
        }
        reserve_one(&mut self.heard);
        self.heard.push(id);
    }

    /// Starts to ping a member for somebody else; returns the number of the ping.
    pub(crate) fn relay(
        &mut self,
        asker: (NodeId, SocketAddr, u16),
        target: (NodeId, SocketAddr),
        config: &Config,
        fx: &mut Effects,
    ) -> Option<u16> {
        if self.relays.len() >= RELAYS_MAX {
            return None;
        }
        let number = self.next_number();
        let (asker_id, asker, asker_number) = asker;
        let (target, address) = target;
        self.relays.insert(number, Relay { asker, asker_id, asker_number, target, address, again: false });
        fx.arm(self.timeout(config, None), Timer::Relay(number));
        Some(number)
    }

    /// An ack came for a ping on behalf of another node: that node is to be told.
    pub(crate) fn on_relayed_ack(&mut self, number: u16, from: NodeId, fx: &mut Effects) -> Option<Relay> {
        if self.relays.get(&number)?.target != from {
            return None;
        }
        fx.cancel(Timer::Relay(number));
        self.relays.remove(&number)
    }

    /// A ping for another node had its time. First it is sent again (`Ok`), then the asker gets a nack (`Err`).
    pub(crate) fn on_relay_due(
        &mut self,
        number: u16,
        config: &Config,
        fx: &mut Effects,
    ) -> Option<Result<(NodeId, SocketAddr), Relay>> {
        let timeout = self.timeout(config, None);
        let relay = self.relays.get_mut(&number)?;
        if relay.again {
            return self.relays.remove(&number).map(Err);
        }
        relay.again = true;
        fx.arm(timeout * 6 / 10, Timer::Relay(number));
        Some(Ok((relay.target, relay.address)))
    }

    /// Takes in that a member is suspected, by `accuser` where that is known. `peers` is the number of live members
    /// besides this node.
    pub(crate) fn accuse(
        &mut self,
        member: NodeId,
        incarnation: Incarnation,
        accuser: Option<NodeId>,
        peers: usize,
        config: &Config,
        fx: &mut Effects,
    ) -> Heard {
        let confirmations = confirmations(peers, config);
        let suspicion = self.suspicions.entry(member).or_insert_with(|| Suspicion {
            incarnation,
            started: fx.now.instant,
            accusers: Vec::new(),
        });
        if suspicion.incarnation > incarnation {
            return Heard::Nothing;
        }
        if suspicion.incarnation < incarnation {
            *suspicion = Suspicion { incarnation, started: fx.now.instant, accusers: Vec::new() };
        }
        if let Some(accuser) = accuser {
            if suspicion.accusers.contains(&accuser) || suspicion.accusers.len() > confirmations {
                return Heard::Nothing;
            }
            suspicion.accusers.push(accuser);
        }
        let confirmed = suspicion.accusers.len().saturating_sub(1);
        // The last chance that follows takes two probe timeouts, which are part of the time.
        let timeout = suspicion_timeout(confirmed, confirmations, peers + 1, config);
        let deadline = suspicion.started + timeout.saturating_sub(config.probe_timeout_min * 2);
        if fx.timers.due(Timer::Verdict(member)).is_none() {
            fx.timers.set(Timer::Suspicion(member), deadline.max(fx.now.instant));
        }
        if confirmed == 0 { Heard::Began } else { Heard::Confirmed }
    }

    /// Whether a suspicion of that incarnation has run for so long here that those who had it first may have declared the member
    /// dead: half of the least time, as it takes a while until all hear of a suspicion.
    pub(crate) fn expects_verdict(
        &self,
        (member, incarnation): (NodeId, Incarnation),
        peers: usize,
        config: &Config,
        now: Instant,
    ) -> bool {
        let all = confirmations(peers, config);
        let least = suspicion_timeout(all, all, peers + 1, config);
        let has_run = |suspicion: &Suspicion| now.since(suspicion.started) >= least / 2;
        self.suspicions.get(&member).is_some_and(|held| held.incarnation == incarnation && has_run(held))
    }

    /// Who accused a member first.
    pub(crate) fn first_accuser(&self, member: NodeId) -> Option<NodeId> {
        self.suspicions.get(&member)?.accusers.first().copied()
    }

    /// How many accuse a member, as far as they count.
    pub(crate) fn accusers(&self, member: NodeId) -> usize {
        self.suspicions.get(&member).map_or(0, |suspicion| suspicion.accusers.len())
    }

    /// A member has just said that it is alive: pings that went to its earlier self judge nobody.
    pub(crate) fn abandon(&mut self, target: NodeId, fx: &mut Effects) {
        let pending: Vec<u16> =
            self.probes.iter().filter(|(_, probe)| probe.target == target).map(|(number, _)| *number).collect();
        for number in pending {
            self.take_probe(number);
            fx.cancel(Timer::Probe(number));
        }
        self.heard.retain(|heard| *heard != target);
    }

    /// A member is no longer suspect: it contradicted, or is dead, or left.
    pub(crate) fn acquit(&mut self, member: NodeId, fx: &mut Effects) {
        self.suspicions.remove(&member);
        fx.cancel(Timer::Suspicion(member));
        fx.cancel(Timer::Verdict(member));
    }

    /// A number for a ping that no other ping under way has.
    pub(crate) fn next_number(&mut self) -> u16 {
        loop {
            self.number = self.number.wrapping_add(1);
            if self.probe(self.number).is_none() && !self.relays.contains_key(&self.number) {
                return self.number;
            }
        }
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // Suspicions are of members.
        let Self { probes, relays, suspicions: _, heard, number: _, burst: _, health: _, round_trip: _ } = self;
        to.entries("probes", probes.len(), PROBES_MAX);
        to.entries("pings_for_others", relays.len(), RELAYS_MAX);
        to.entries("members_acked_last", heard.len(), HEARD_MAX);
    }
}

/// K of Lifeguard, as far as there are that many who could confirm: not the suspect, and not the first accuser.
pub(crate) fn confirmations(peers: usize, config: &Config) -> usize {
    (config.confirmations as usize).min(peers.saturating_sub(1))
}

/// How long a suspect has to contradict in a cluster of `members` (Lifeguard §IV-B), with `confirmed` of
/// `confirmations` independent accusers beside the first.
#[expect(clippy::cast_precision_loss, reason = "members and confirmations are small numbers")]
pub(crate) fn suspicion_timeout(confirmed: usize, confirmations: usize, members: usize, config: &Config) -> Duration {
    let least = config.suspicion_timeout_min.max(config.suspicion_timeout_log.mul_f64((members.max(1) as f64).log10()));
    let most = least * config.suspicion_timeout_factor;
    if confirmations == 0 {
        return least;
    }
    let share = ((confirmed + 1) as f64).ln() / ((confirmations + 1) as f64).ln();
    let spread = most.saturating_sub(least);
    most.saturating_sub(spread.mul_f64(share.min(1.0))).max(least)
}

/// Smoothed round trip and its deviation over all peers, as TCP has it (RFC 6298 §2).
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct RoundTrip {
    smoothed: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    fn sample(&mut self, took: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(took);
                self.deviation = took / 2;
            }
            Some(smoothed) => {
                self.deviation = self.deviation * 3 / 4 + smoothed.abs_diff(took) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + took / 8);
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        self.smoothed.map(|smoothed| smoothed + self.deviation * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_ends_sooner_with_each_confirmation() {
        let config = Config::default();
        // Lifeguard's formula by hand for K = 3: 0, 50, 79.2 and 100 % of the way from most to least.
        let seconds: Vec<f64> = (0..4).map(|c| suspicion_timeout(c, 3, 10, &config).as_secs_f64()).collect();
        for (got, want) in seconds.iter().zip([13.2, 7.7, 4.482, 2.2_f64]) {
            assert!((got - want).abs() < 0.01, "{seconds:?}");
        }
    }

    #[test]
    fn a_probe_of_a_member_that_has_spoken_since_judges_nobody() {
        let config = Config::default();
        let mut fx = Effects::new(crate::time::Now::default(), 1);
        let mut detector = Detector::new(0);
        let (address, timeout) = ("127.0.0.1:1".parse().unwrap(), Duration::from_millis(100));
        let number = detector.start(NodeId(2), address, Purpose::Turn, timeout, &mut fx).unwrap();
        detector.abandon(NodeId(2), &mut fx);
        assert_eq!(fx.timers.next(), None);
        assert_eq!(detector.on_probe_due(number, Instant::ZERO, &config, &mut fx), Step::Wait);
    }

    #[test]
    fn round_trips_adapt_the_probe_timeout_between_its_bounds() {
        let config = Config::default();
        let mut detector = Detector::new(0);
        assert_eq!(detector.timeout(&config, None), config.probe_timeout, "nothing is measured yet");
        (0..50).for_each(|_| detector.round_trip.sample(Duration::from_micros(200)));
        assert_eq!(detector.timeout(&config, None), config.probe_timeout_min);
        assert_eq!(detector.timeout(&config, Some(Duration::from_millis(100))), Duration::from_millis(300));
        (0..50).for_each(|_| detector.round_trip.sample(Duration::from_millis(90)));
        let adapted = detector.timeout(&config, None);
        assert!((Duration::from_millis(80)..Duration::from_millis(200)).contains(&adapted), "{adapted:?}");
        assert_eq!(detector.timeout(&config, Some(Duration::from_secs(9))), config.probe_timeout);
    }

    #[test]
    fn a_pair_has_nobody_to_confirm_and_waits_the_least_time() {
        let config = Config::default();
        let alone = confirmations(1, &config);
        assert_eq!((alone, suspicion_timeout(0, alone, 2, &config)), (0, config.suspicion_timeout_min));
    }

    #[test]
    fn a_timer_that_comes_late_judges_nobody_and_counts_against_this_node() {
        let config = Config::default();
        let mut fx = Effects::new(crate::time::Now::default(), 1);
        let mut detector = Detector::new(0);
        let address = "127.0.0.1:1".parse().unwrap();
        let timeout = Duration::from_millis(100);
        let number = detector.start(NodeId(2), address, Purpose::Turn, timeout, &mut fx).unwrap();
        let due = Instant::ZERO + timeout;
        fx.now.instant = due + Duration::from_millis(51);
        let step = detector.on_probe_due(number, due, &config, &mut fx);
        assert_eq!((step, detector.health()), (Step::Ping { target: NodeId(2), address }, 1));
        assert_eq!(detector.probe(number).unwrap().attempts, 1);
    }

    #[test]
    fn a_probe_without_any_nack_counts_against_this_node_and_one_with_a_nack_does_not() {
        let config = Config::default();
        let mut fx = Effects::new(crate::time::Now::default(), 1);
        let mut detector = Detector::new(0);
        let (address, timeout) = ("127.0.0.1:1".parse().unwrap(), Duration::from_millis(100));
        for (nacks, health) in [(0, 1), (1, 1), (0, 2)] {
            let number = detector.start(NodeId(2), address, Purpose::Turn, timeout, &mut fx).unwrap();
            for _ in 0..=config.probe_resends {
                detector.on_probe_due(number, fx.now.instant, &config, &mut fx);
            }
            detector.asked(number, vec![NodeId(3), NodeId(4), NodeId(5)], None);
            for relay in 0..nacks {
                detector.on_nack(number, NodeId(3 + relay), &config, &mut fx);
            }
            let step = detector.on_probe_due(number, fx.now.instant, &config, &mut fx);
            assert!(matches!(step, Step::Failed { .. }), "{step:?}");
            assert_eq!(detector.health(), health, "after {nacks} nacks");
        }
    }
}
