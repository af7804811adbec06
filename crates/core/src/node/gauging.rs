//! Aggregates of gauges: epochs of push-pull averaging in which all nodes take part, begun by whoever asks.
//!
//! Whoever wants to know publishes the beginning of an epoch as a query that nobody answers. With it each node takes part with its
//! own value, and asks a random peer twice in each gossip interval, for as many rounds as the beginning says. Then all
//! hold the same, whoever began it included: nobody has collected anything. While nobody asks nothing is sent. Deviation from
//! Jelasity et al. (2005, §4.1): epochs do not follow each other by the clock, but each begins with a question.

use std::collections::BTreeMap;

use super::Node;
use super::commands::invalid;
use super::letters::Letter;
use crate::aggregate::gauge::{Epoch, HOLDING_BYTES_MAX, Holding, Refused};
use crate::config::is_name;
use crate::effects::Timer;
use crate::few::Few;
use crate::identity::Tags;
use crate::io::{Found, Quantile, QueryId, Refusal, Reply, Ticket};
use crate::queries::{self, Question};
use crate::time::Instant;
use crate::wire::Reader;

/// The longest name of a gauge.
const NAME_BYTES_MAX: usize = 64;
/// Gauges that a node gives values to.
const GAUGES_MAX: usize = 64;
/// Epochs at once; of more this node takes no part.
const EPOCHS_MAX: usize = 16;
/// Gauges of which the last answer is kept; beyond it the one that was found first goes.
const FOUND_MAX: usize = 64;
/// Commands that wait for one epoch.
const WAITING_MAX: usize = 256;
/// Rounds beside one for each doubling of the cluster. From a peak the error of n nodes after r rounds is about
/// sqrt(n) (2 sqrt(e))^(-r/2) (Jelasity et al. 2005, §3.3): below 1 in 10,000 for any n.
const ROUNDS_MIN: u32 = 16;
/// So many rounds go into a gossip interval, so that an answer comes within seconds. Guess.
const ROUNDS_AN_INTERVAL: u32 = 2;
/// The most rounds that others may have this node go through.
const ROUNDS_MAX: u32 = 96;
/// Neighbours of a partial view mix more slowly than random members. Guess.
const PARTIAL_FACTOR: u32 = 2;
/// A question is asked so often, once in each round.
const ASKS_MAX: u32 = 3;
/// For how long a question that begins an epoch goes on to nodes that missed it, in rounds. Whoever hears of it later
/// takes part later.
const BEGINNING_ROUNDS: u32 = 2;
/// A frame of averaging, without its holding: kind, length, epoch, number.
const FRAME_BYTES_MAX: usize = 1 + 2 + 16 + 2 + HOLDING_BYTES_MAX;

/// An epoch under way.
#[derive(Debug)]
struct Running {
    gauge: String,
    epoch: Epoch,
    rounds: u32,
    /// How many rounds are over.
    done: u32,
    /// How often the open question was asked.
    asks: u32,
    waiting: Vec<(Ticket, Option<f64>)>,
}

impl Running {
    /// Whether this node asks, rather than only answers those that began later.
    const fn is_asking(&self) -> bool {
        self.done < self.rounds
    }

    const fn is_over(&self) -> bool {
        self.done >= 2 * self.rounds
    }
}

/// What a node has to do with gauges.
#[derive(Debug, Default)]
pub(super) struct Gauging {
    values: BTreeMap<String, f64>,
    running: Few<QueryId, Running>,
    /// The last answer of each gauge, and when it was found.
    found: BTreeMap<String, (Instant, Found)>,
}

/// What applications ask.
impl Node {
    pub(super) fn set_gauge(&mut self, name: String, value: Option<f64>) -> Result<Reply, Refusal> {
        check_name(&name)?;
        if let Some(value) = value.filter(|value| !value.is_finite()) {
            return Err(invalid("value", value.to_string(), "a finite number"));
        }
        let values = &mut self.gauging.get_or_insert_default().values;
        match value {
            Some(_) if values.len() >= GAUGES_MAX && !values.contains_key(&name) => {
                return Err(invalid(
                    "gauge",
                    name,
                    &format!("one of the {GAUGES_MAX} that this node has, or no more than those"),
                ));
            }
            Some(value) => values.insert(name, value),
            None => values.remove(&name),
        };
        Ok(Reply::Accepted)
    }

    /// Begins an epoch of a gauge, or waits for one that is under way.
    pub(super) fn aggregate(&mut self, ticket: Ticket, gauge: &str, quantile: Option<f64>) -> Result<(), Refusal> {
        check_name(gauge)?;
        if let Some(part) = quantile.filter(|part| !(0.0..=1.0).contains(part)) {
            return Err(invalid("quantile", part.to_string(), "from 0 to 1"));
        }
        if self.under_way(gauge).is_none() {
            let epochs = self.gauging.as_ref().map_or(0, |gauging| gauging.running.len());
            if epochs >= EPOCHS_MAX {
                return Err(invalid(
                    "gauge",
                    gauge.to_owned(),
                    &format!("asked for when fewer than {EPOCHS_MAX} are averaged"),
                ));
            }
            self.begin_averaging(gauge);
        }
        let running = self.under_way(gauge).expect("it has just begun");
        if running.waiting.len() >= WAITING_MAX {
            return Err(invalid("gauge", gauge.to_owned(), &format!("waited for by fewer than {WAITING_MAX}")));
        }
        running.waiting.push((ticket, quantile));
        Ok(())
    }

    fn under_way(&mut self, gauge: &str) -> Option<&mut Running> {
        let running = self.gauging.as_mut()?.running.values_mut();
        running.filter(|running| running.is_asking()).find(|running| running.gauge == gauge)
    }

    /// Publishes the beginning; this node takes part as all others do.
    fn begin_averaging(&mut self, gauge: &str) {
        let factor = if self.is_partial() { PARTIAL_FACTOR } else { 1 };
        let rounds = (ROUNDS_MIN + self.size().max(1).ilog2()) * factor;
        let rounds = rounds.min(ROUNDS_MAX);
        let lasts = self.config.gossip_interval * rounds / ROUNDS_AN_INTERVAL * BEGINNING_ROUNDS;
        let mut payload = vec![u8::try_from(rounds).expect("at most 96")];
        payload.extend_from_slice(gauge.as_bytes());
        let until = self.fx.now.wall + lasts + self.config.clock_skew_max;
        let question = Question { name: queries::AGGREGATE.to_owned(), payload, filter: Tags::new(), until };
        self.put_message(queries::TOPIC, &question.write(), lasts + self.config.clock_skew_max);
    }

    /// What the last epochs have found, with the time since, by gauge: those that this node asked for, and all others.
    pub fn aggregates(&self) -> impl Iterator<Item = (&Found, std::time::Duration)> {
        let now = self.fx.now.instant;
        let found = self.gauging.iter().flat_map(|gauging| gauging.found.values());
        found.map(move |(at, found)| (found, now.since(*at)))
    }

    /// The values that this node gives to gauges.
    pub fn gauges(&self) -> impl Iterator<Item = (&str, f64)> {
        self.gauging.iter().flat_map(|gauging| &gauging.values).map(|(name, value)| (name.as_str(), *value))
    }
}

/// What an epoch takes.
impl Node {
    /// An epoch begins, perhaps this node's own.
    pub(super) fn begin_epoch_of_gauge(&mut self, epoch: QueryId, payload: &[u8]) {
        let Some((rounds, gauge)) = read_beginning(payload) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        let members = (gauge == MEMBERS).then(|| self.size());
        let begins = epoch.origin == self.identity.id;
        let gauging = self.gauging.get_or_insert_default();
        if gauging.running.len() >= EPOCHS_MAX || gauging.running.contains_key(&epoch) {
            self.fx.counters.dropped.refused += 1;
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "members are far fewer than 2^53")]
        let value = gauging.values.get(gauge).copied().or_else(|| members.map(|members| members as f64));
        let running = Running {
            gauge: gauge.to_owned(),
            epoch: Epoch::new(value, begins),
            rounds,
            done: 0,
            asks: 0,
            waiting: Vec::new(),
        };
        gauging.running.insert(epoch, running);
        // Nodes that hear of it in one instant ask at different ones.
        let first = (self.config.gossip_interval / ROUNDS_AN_INTERVAL).mul_f64(self.fx.rng.fraction());
        self.fx.arm_once(first, Timer::Gauges);
    }

    pub(super) fn on_gauges_due(&mut self) {
        let epochs: Vec<QueryId> = self.gauging.iter().flat_map(|gauging| gauging.running.keys().copied()).collect();
        for epoch in epochs {
            self.go_round(epoch);
        }
        if self.gauging.as_ref().is_some_and(|gauging| !gauging.running.is_empty()) {
            self.fx.arm(self.config.gossip_interval / ROUNDS_AN_INTERVAL, Timer::Gauges);
        }
    }

    /// One round of an epoch.
    fn go_round(&mut self, epoch: QueryId) {
        let Some(gauging) = &mut self.gauging else { return };
        let Some(running) = gauging.running.get_mut(&epoch) else { return };
        if running.is_asking() {
            running.done += 1;
            return self.ask_about_gauge(epoch);
        }
        if running.done == running.rounds {
            self.conclude(epoch);
        }
        let Some(gauging) = &mut self.gauging else { return };
        if let Some(running) = gauging.running.get_mut(&epoch) {
            running.done += 1;
            if running.is_over() {
                gauging.running.remove(&epoch);
            }
        }
    }

    /// Asks a random peer, or the last one again if it has not answered.
    fn ask_about_gauge(&mut self, epoch: QueryId) {
        let Some(running) = self.gauging.as_ref().and_then(|gauging| gauging.running.get(&epoch)) else { return };
        let again = running.epoch.waits_for().filter(|_| running.asks < ASKS_MAX);
        let Some(peer) = again.or_else(|| self.members.pick(&mut self.fx.rng, 1, None).first().copied()) else {
            return;
        };
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        let Some(gauging) = &mut self.gauging else { return };
        let Some(running) = gauging.running.get_mut(&epoch) else { return };
        running.asks = if again.is_some() { running.asks + 1 } else { 1 };
        let (number, offered) = running.epoch.ask(peer);
        letter.packet.gauge(epoch, number, offered);
        self.post(letter);
    }

    /// What was found is what all have found.
    fn conclude(&mut self, epoch: QueryId) {
        let now = self.fx.now.instant;
        let Some(gauging) = &mut self.gauging else { return };
        let Some(running) = gauging.running.get_mut(&epoch) else { return };
        let waiting = std::mem::take(&mut running.waiting);
        let Some(aggregate) = running.epoch.aggregate() else {
            for (ticket, _) in waiting {
                self.done(ticket, Err(Refusal::Alone));
            }
            return;
        };
        let found = Found { gauge: running.gauge.clone(), aggregate, quantile: None, epoch, rounds: running.rounds };
        let quantile =
            |part: f64| running.epoch.quantile(part).map(|range| Quantile { part, low: range.low, high: range.high });
        let replies: Vec<(Ticket, Found)> = waiting
            .into_iter()
            .map(|(ticket, part)| (ticket, Found { quantile: part.and_then(quantile), ..found.clone() }))
            .collect();
        keep(&mut gauging.found, now, found);
        for (ticket, found) in replies {
            self.done(ticket, Ok(Reply::Aggregated(Box::new(found))));
        }
    }

    pub(super) fn on_gauge(&mut self, epoch: QueryId, number: u16, offered: Reader<'_>, letter: &mut Letter) {
        let Some(running) = self.gauging.as_mut().and_then(|gauging| gauging.running.get_mut(&epoch)) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let Some(offered) = Holding::read(offered) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        if letter.packet.room() < FRAME_BYTES_MAX {
            letter.hold_back();
            return;
        }
        match running.epoch.answer(letter.peer, number, &offered) {
            Ok(flows) => letter.packet.gauged(epoch, number, flows),
            Err(refused) => self.note_refused_holding(refused),
        }
    }

    pub(super) fn on_gauged(&mut self, epoch: QueryId, number: u16, flows: Reader<'_>, letter: &Letter) {
        let Some(running) = self.gauging.as_mut().and_then(|gauging| gauging.running.get_mut(&epoch)) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let flows = Holding::read(flows).ok_or(Refused::Senseless);
        if let Err(refused) = flows.and_then(|flows| running.epoch.settle(letter.peer, number, &flows)) {
            self.note_refused_holding(refused);
        }
    }

    fn note_refused_holding(&mut self, refused: Refused) {
        match refused {
            Refused::Senseless => self.fx.counters.dropped.malformed += 1,
            Refused::Unexpected => self.fx.counters.dropped.unexpected += 1,
        }
    }
}

/// The gauge that every node has: how many members it knows.
const MEMBERS: &str = "members";

fn check_name(name: &str) -> Result<(), Refusal> {
    if is_name(name) && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(invalid("gauge", format!("{name:?}"), "1 to 64 bytes without control characters"))
}

/// The rounds of an epoch, and the name of its gauge.
fn read_beginning(payload: &[u8]) -> Option<(u32, &str)> {
    let (rounds, name) = payload.split_first()?;
    let gauge = std::str::from_utf8(name).ok().filter(|name| check_name(name).is_ok())?;
    (1..=ROUNDS_MAX).contains(&u32::from(*rounds)).then_some(((*rounds).into(), gauge))
}

fn keep(all: &mut BTreeMap<String, (Instant, Found)>, now: Instant, found: Found) {
    if all.len() >= FOUND_MAX && !all.contains_key(&found.gauge) {
        let oldest = all.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone());
        oldest.and_then(|oldest| all.remove(&oldest));
    }
    all.insert(found.gauge.clone(), (now, found));
}
