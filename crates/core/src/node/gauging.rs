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
use crate::aggregate::gauge::{Epoch, HOLDING_BYTES_MAX, Holding, VALUE_MAX};
use crate::aggregate::{Aggregate, Refused};
use crate::config::is_name;
use crate::effects::Timer;
use crate::few::Few;
use crate::identity::Tags;
use crate::io::{Found, Quantile, QueryId, Refusal, Reply, Ticket};
use crate::queries::{self, Question};
use crate::seldom::Vacant;
use crate::time::Instant;
use crate::wire::Reader;

/// The longest name of a gauge.
const NAME_BYTES_MAX: usize = 64;
/// Gauges that a node gives values to.
const GAUGES_MAX: usize = 64;
/// Epochs at once. Of more all nodes take part in the same: those with the lowest ids.
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
/// For how long a question that begins an epoch goes on to nodes that missed it, in times that the epoch takes; and for what
/// clocks may differ beyond. Whoever hears of it when others have ended meets nobody, and does not take its own part for an answer.
const BEGINNING: u32 = 2;
/// A frame of averaging without its holding: kind, length, epoch, number.
const FRAME_BYTES: usize = 1 + 2 + 16 + 2;
/// An epoch that finds more or fewer members than this node knows of, by this part, is doubted: whoever began it may have
/// crashed with its share, or many may not have heard of it. Whoever waits for it asks once more. Guess.
const DOUBTED: f64 = 0.25;

/// An epoch under way.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Running {
    gauge: String,
    epoch: Epoch,
    rounds: u32,
    /// How many rounds are over.
    done: u32,
    /// How often the open question was asked.
    asks: u32,
    waiting: Vec<Waiting>,
}

/// A command that waits for an epoch to end.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
struct Waiting {
    ticket: Ticket,
    quantile: Option<f64>,
    /// It has waited for one before, and takes what this one finds.
    is_last: bool,
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
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Gauging {
    values: BTreeMap<String, f64>,
    running: Few<QueryId, Running>,
    /// The last answer of each gauge, and when it was found.
    found: BTreeMap<String, (Instant, Found)>,
}

impl Vacant for Gauging {
    const VACANT: Self = Self { values: BTreeMap::new(), running: Few::new(), found: BTreeMap::new() };
    const SHARED: &'static Self = &Self::VACANT;
}

impl Gauging {
    /// Whether an epoch may begin here: it has not yet, and there is room, or one that goes for it.
    fn takes_part_in(&self, epoch: QueryId) -> bool {
        let goes_first = || {
            self.dispensable()
                .is_some_and(|other| other > epoch || !self.running.get(&other).is_some_and(Running::is_asking))
        };
        !self.running.contains_key(&epoch) && (self.running.len() < EPOCHS_MAX || goes_first())
    }

    /// One in which this node asks nothing any more, or else the one with the highest id.
    fn dispensable(&self) -> Option<QueryId> {
        let over = self.running.iter().find(|(_, running)| !running.is_asking()).map(|(epoch, _)| *epoch);
        over.or_else(|| self.running.keys().max().copied())
    }
}

/// What applications ask.
impl Node {
    pub(super) fn set_gauge(&mut self, name: String, value: Option<f64>) -> Result<Reply, Refusal> {
        check_name(&name)?;
        if let Some(value) = value.filter(|value| !(-VALUE_MAX..=VALUE_MAX).contains(value)) {
            return Err(invalid("value", value.to_string(), "a number between -1e300 and 1e300"));
        }
        let values = &mut self.gauging.values;
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
            let epochs = self.gauging.running.len();
            if epochs >= EPOCHS_MAX {
                return Err(too_many(gauge));
            }
            self.begin_averaging(gauge);
        }
        let Some(running) = self.under_way(gauge) else { return Err(too_many(gauge)) };
        if running.waiting.len() >= WAITING_MAX {
            return Err(invalid("gauge", gauge.to_owned(), &format!("waited for by fewer than {WAITING_MAX}")));
        }
        running.waiting.push(Waiting { ticket, quantile, is_last: false });
        Ok(())
    }

    fn under_way(&mut self, gauge: &str) -> Option<&mut Running> {
        let running = self.gauging.running.values_mut();
        running.filter(|running| running.is_asking()).find(|running| running.gauge == gauge)
    }

    /// Publishes the beginning; this node takes part as all others do.
    fn begin_averaging(&mut self, gauge: &str) {
        let factor = if self.is_partial() { PARTIAL_FACTOR } else { 1 };
        let rounds = (ROUNDS_MIN + self.size().max(1).ilog2()) * factor;
        let rounds = rounds.min(ROUNDS_MAX);
        let lasts = self.config.gossip_interval * rounds / ROUNDS_AN_INTERVAL * BEGINNING;
        let mut payload = vec![u8::try_from(rounds).expect("at most 96")];
        payload.extend_from_slice(gauge.as_bytes());
        let until = self.fx.now.wall + lasts + self.config.clock_skew_max;
        let (filter, named) = (Tags::new(), Vec::new());
        let question = Question { name: queries::AGGREGATE.to_owned(), payload, filter, named, until };
        self.put_message(queries::TOPIC, &question.write(), lasts + self.config.clock_skew_max);
    }

    /// What the last epochs have found, with the time since, by gauge: those that this node asked for, and all others.
    pub fn aggregates(&self) -> impl Iterator<Item = (&Found, std::time::Duration)> {
        let now = self.fx.now.instant;
        let found = self.gauging.found.values();
        found.map(move |(at, found)| (found, now.since(*at)))
    }

    /// The values that this node gives to gauges.
    pub fn gauges(&self) -> impl Iterator<Item = (&str, f64)> {
        self.gauging.values.iter().map(|(name, value)| (name.as_str(), *value))
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
        if begins && epoch.sequence.boot() != self.incarnation.boot() {
            // What an earlier life of this node began goes on without it: its part is out there.
            return;
        }
        if !self.gauging.takes_part_in(epoch) {
            self.fx.counters.dropped.refused += 1;
            return;
        }
        let given_up = self.give_up_epoch();
        #[expect(clippy::cast_precision_loss, reason = "members are far fewer than 2^53")]
        let value = self.gauging.values.get(gauge).copied().or_else(|| members.map(|members| members as f64));
        let running = Running {
            gauge: gauge.to_owned(),
            epoch: Epoch::new(value, begins),
            rounds,
            done: 0,
            asks: 0,
            waiting: Vec::new(),
        };
        self.gauging.running.insert(epoch, running);
        self.rehouse(given_up);
        // Nodes that hear of it in one instant ask at different ones.
        let first = (self.config.gossip_interval / ROUNDS_AN_INTERVAL).mul_f64(self.fx.rng.fraction());
        self.fx.arm_once(first, Timer::Gauges);
    }

    /// Makes room for an epoch that has not begun here. Returns the one that had to go for it.
    fn give_up_epoch(&mut self) -> Option<Running> {
        let gauging = &mut *self.gauging;
        let given_up = (gauging.running.len() >= EPOCHS_MAX).then(|| gauging.dispensable())??;
        gauging.running.remove(&given_up)
    }

    /// Those who waited for an epoch that was given up wait for another of the same gauge.
    fn rehouse(&mut self, given_up: Option<Running>) {
        let Some(Running { gauge, waiting, .. }) = given_up else { return };
        if let Some(running) = self.under_way(&gauge) {
            return running.waiting.extend(waiting);
        }
        for Waiting { ticket, .. } in waiting {
            self.done(ticket, Err(too_many(&gauge)));
        }
    }

    pub(super) fn on_gauges_due(&mut self) {
        let epochs: Vec<QueryId> = self.gauging.running.keys().copied().collect();
        for epoch in epochs {
            self.go_round(epoch);
        }
        if !self.gauging.running.is_empty() {
            self.fx.arm(self.config.gossip_interval / ROUNDS_AN_INTERVAL, Timer::Gauges);
        }
    }

    /// One round of an epoch.
    fn go_round(&mut self, epoch: QueryId) {
        let Some(running) = self.gauging.running.get_mut(&epoch) else { return };
        if running.is_asking() {
            running.done += 1;
            return self.ask_about_gauge(epoch);
        }
        if running.done == running.rounds {
            self.conclude(epoch);
        }
        if let Some(running) = self.gauging.running.get_mut(&epoch) {
            running.done += 1;
            if running.is_over() {
                self.gauging.running.remove(&epoch);
            }
        }
    }

    /// Asks a random peer, or the last one again if it has not answered.
    fn ask_about_gauge(&mut self, epoch: QueryId) {
        let Some(running) = self.gauging.running.get(&epoch) else { return };
        let again = running.epoch.waits_for();
        let again = again.filter(|peer| running.asks < ASKS_MAX && self.members.is_live(*peer));
        let Some(peer) = again.or_else(|| self.members.pick(&mut self.fx.rng, 1, None).first().copied()) else {
            return;
        };
        let Some(address) = self.members.address(peer) else { return };
        let mut letter = self.letter(peer, address);
        let Some(running) = self.gauging.running.get_mut(&epoch) else { return };
        running.asks = if again.is_some() { running.asks + 1 } else { 1 };
        let (number, offered) = running.epoch.ask(peer);
        letter.packet.gauge(epoch, number, offered);
        if !self.members.is_proven(peer, address) {
            // Whoever does not know this node's address yet answers with no more bytes than came.
            letter.packet.pad(HOLDING_BYTES_MAX - offered.bytes());
        }
        self.post(letter);
    }

    /// What was found is what all have found, unless it is doubted.
    fn conclude(&mut self, epoch: QueryId) {
        let (is_alone, is_known) = (self.members.live_ids().next().is_none(), self.known_size());
        let Some(running) = self.gauging.running.get_mut(&epoch) else { return };
        let (gauge, rounds) = (running.gauge.clone(), running.rounds);
        let mut waiting = std::mem::take(&mut running.waiting);
        let aggregate = running.epoch.aggregate().filter(|_| running.epoch.has_met() || is_alone);
        let doubts = |found: &Aggregate| is_known.is_some_and(|size| (found.members - size).abs() > size * DOUBTED);
        let is_doubted = !is_alone && aggregate.as_ref().is_none_or(doubts);
        let again = if is_doubted { waiting.extract_if(.., |waiting| !waiting.is_last).collect() } else { Vec::new() };
        if let Some(aggregate) = aggregate.filter(|_| !is_doubted || !waiting.is_empty()) {
            let found = Found { gauge: gauge.clone(), aggregate, quantile: None, epoch, rounds };
            self.tell_found(found, waiting);
        } else {
            for Waiting { ticket, .. } in waiting {
                self.done(ticket, Err(Refusal::Alone));
            }
        }
        if !again.is_empty() {
            self.average_again(&gauge, again);
        }
    }

    /// Those who wait for an epoch get what it found.
    fn tell_found(&mut self, found: Found, waiting: Vec<Waiting>) {
        let now = self.fx.now.instant;
        for Waiting { ticket, quantile, .. } in waiting {
            let running = self.gauging.running.get(&found.epoch);
            let range = quantile.zip(running).and_then(|(part, running)| running.epoch.quantile(part));
            let quantile = range.zip(quantile).map(|(range, part)| Quantile { part, low: range.low, high: range.high });
            self.done(ticket, Ok(Reply::Aggregated(Box::new(Found { quantile, ..found.clone() }))));
        }
        keep(&mut self.gauging.found, now, found);
    }

    /// Those who do not trust what an epoch found wait for one that this node begins.
    fn average_again(&mut self, gauge: &str, waiting: Vec<Waiting>) {
        if self.under_way(gauge).is_none() {
            self.begin_averaging(gauge);
        }
        let waiting = waiting.into_iter().map(|waiting| Waiting { is_last: true, ..waiting });
        match self.under_way(gauge) {
            Some(running) => running.waiting.extend(waiting),
            None => {
                for Waiting { ticket, .. } in waiting {
                    self.done(ticket, Err(too_many(gauge)));
                }
            }
        }
    }

    /// How many nodes there are as far as this one knows, itself included; `None` with a partial view before the first estimate.
    #[expect(clippy::cast_precision_loss, reason = "members are far fewer than 2^53")]
    fn known_size(&self) -> Option<f64> {
        let size = if self.is_partial() { self.estimated_size() } else { Some(self.size()) };
        size.map(|size| size as f64)
    }

    pub(super) fn on_gauge(&mut self, epoch: QueryId, number: u16, offered: Reader<'_>, letter: &mut Letter) {
        let Some(running) = self.gauging.running.get_mut(&epoch) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let Some(offered) = Holding::read(offered) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        if letter.packet.room() < FRAME_BYTES + running.epoch.answer_bytes_max(&offered) {
            letter.hold_back();
            return;
        }
        match running.epoch.answer(letter.peer, number, &offered) {
            Ok(flows) => letter.packet.gauged(epoch, number, flows),
            Err(refused) => self.note_refused(refused),
        }
    }

    pub(super) fn on_gauged(&mut self, epoch: QueryId, number: u16, flows: Reader<'_>, letter: &Letter) {
        let Some(running) = self.gauging.running.get_mut(&epoch) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let flows = Holding::read(flows).ok_or(Refused::Senseless);
        if let Err(refused) = flows.and_then(|flows| running.epoch.settle(letter.peer, number, &flows)) {
            self.note_refused(refused);
        }
    }
}

fn too_many(gauge: &str) -> Refusal {
    invalid("gauge", gauge.to_owned(), &format!("asked for when fewer than {EPOCHS_MAX} are averaged"))
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
