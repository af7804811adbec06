//! Messages: what was published on which topic, in each origin's order.
//!
//! For each (topic, origin) a log keeps the highest sequences that fit the shared limits of count and bytes, so
//! that two replicas which saw the same messages keep the same ones (design §2 rule 4). A subscriber gets each
//! message once, in order; where one is missing, delivery waits until anti-entropy fills the gap or the gap is
//! final: below what the limits keep, or still open after comparisons with three different peers agreed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::config::Config;
use crate::identity::{NodeId, Sequence};
use crate::io::{Message, TraceStep};
use crate::replica::Replica;
use crate::slots::Slot;
use crate::time::Wall;
use crate::update::{Head, Update, UpdateId, UpdateRef};

/// Peers whose replicas must agree before a gap is final (design §5).
const AGREEMENTS: usize = 3;
/// Remote messages are kept up to this many times `messages_bytes_max`; then they are refused.
const OVERRUN: usize = 2;

/// A topic and an origin.
type Key = (String, NodeId);

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: UpdateId,
    size: usize,
    hop: u8,
    received_at: Wall,
}

/// What is kept of one origin on one topic.
#[derive(Debug, Default)]
struct Log {
    entries: BTreeMap<Sequence, Entry>,
    bytes: usize,
    /// Up to here everything was delivered, or is missed for good.
    delivered: Option<Sequence>,
    /// Peers that held the same while a gap was open.
    agreed: BTreeSet<NodeId>,
    /// The highest sequence that the limits pushed out.
    floor: Option<Sequence>,
}

/// How a message stands to what is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It is held.
    Known,
    /// It was held, or is too old for the limits, or there is no room: its id counts as known.
    Refused,
    /// It is new.
    News,
}

/// What a subscriber gets.
#[derive(Debug)]
pub(crate) enum Delivery {
    Message(Arc<Message>),
    Missed { topic: String, origin: NodeId, count: u64 },
}

/// The messages space of one node.
#[derive(Debug)]
pub(crate) struct Messages {
    replica: Replica,
    logs: BTreeMap<Key, Log>,
    /// Logs with a gap before the next message.
    gaps: BTreeSet<Key>,
    bytes: usize,
    published: BTreeMap<String, u32>,
    traces: BTreeMap<(Key, Sequence), TraceStep>,
    traced: VecDeque<(Key, Sequence)>,
}

impl Messages {
    pub(crate) fn new(now: Wall) -> Self {
        Self {
            replica: Replica::new(now),
            logs: BTreeMap::new(),
            gaps: BTreeSet::new(),
            bytes: 0,
            published: BTreeMap::new(),
            traces: BTreeMap::new(),
            traced: VecDeque::new(),
        }
    }

    pub(crate) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) const fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Bytes of all messages held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place that the next message of this node on a topic will have.
    pub(crate) fn peek_sequence(&self, topic: &str, boot: u64) -> Sequence {
        Sequence::new(boot, self.published.get(topic).map_or(1, |count| count + 1))
    }

    /// The place of the next message of this node on a topic.
    pub(crate) fn next_sequence(&mut self, topic: &str, boot: u64) -> Sequence {
        let count = self.published.entry(topic.to_owned()).or_insert(0);
        *count += 1;
        Sequence::new(boot, *count)
    }

    pub(crate) fn standing(&self, update: &UpdateRef<'_>, config: &Config) -> Standing {
        let (key, sequence) = subject(update);
        let full = self.bytes + update.bytes.len() > config.messages_bytes_max * OVERRUN;
        let Some(log) = self.logs.get(&key) else {
            return if full { Standing::Refused } else { Standing::News };
        };
        if let Some(entry) = log.entries.get(&sequence) {
            let held = self.replica.get(entry.id).expect("logs and replica hold the same");
            return if held.bytes() >= update.bytes { Standing::Known } else { Standing::News };
        }
        if full || log.floor.is_some_and(|floor| sequence <= floor) {
            return Standing::Refused;
        }
        Standing::News
    }

    /// Takes in a message that is news. `false` if the limits pushed it out at once.
    pub(crate) fn insert(&mut self, update: Arc<Update>, step: TraceStep, config: &Config) -> bool {
        let (key, sequence) = subject(&update.parts());
        let entry = Entry { id: update.id, size: update.bytes().len(), hop: step.hop, received_at: step.at };
        let log = self.logs.entry(key.clone()).or_default();
        log.bytes += entry.size;
        self.bytes += entry.size;
        if let Some(old) = log.entries.insert(sequence, entry) {
            // Two messages of one subject: the origin is broken; the greater bytes hold everywhere.
            log.bytes -= old.size;
            self.bytes -= old.size;
            let slot = self.replica.slot_of(old.id).expect("logs and replica hold the same");
            self.replica.replace(slot, update);
        } else {
            self.replica.insert(update);
        }
        self.trace(&key, sequence, step, config.traces_max);
        self.trim(&key, config);
        self.logs.get(&key).is_some_and(|log| log.entries.contains_key(&sequence))
    }

    /// Lets the lowest sequences go until the limits hold.
    fn trim(&mut self, key: &Key, config: &Config) {
        let Some(log) = self.logs.get_mut(key) else { return };
        while log.entries.len() > config.history_count as usize || log.bytes > config.history_bytes {
            let Some((sequence, entry)) = log.entries.pop_first() else { break };
            log.floor = log.floor.max(Some(sequence));
            log.bytes -= entry.size;
            self.bytes -= entry.size;
            let slot = self.replica.slot_of(entry.id).expect("logs and replica hold the same");
            self.replica.remove(slot);
        }
    }

    /// Takes out messages whose time is over, given their slots. Returns what can be delivered because of that.
    pub(crate) fn forget(&mut self, slots: &[Slot]) -> Vec<Delivery> {
        let mut touched = BTreeSet::new();
        let gone: Vec<Arc<Update>> = slots.iter().map(|slot| Arc::clone(self.replica.at(*slot))).collect();
        for update in gone {
            let (key, sequence) = subject(&update.parts());
            if let Some(slot) = self.replica.slot_of(update.id) {
                self.replica.remove(slot);
            }
            let Some(log) = self.logs.get_mut(&key) else { continue };
            if let Some(entry) = log.entries.remove(&sequence) {
                log.bytes -= entry.size;
                self.bytes -= entry.size;
            }
            log.floor = log.floor.max(Some(sequence));
            touched.insert(key);
        }
        touched.into_iter().flat_map(|key| self.deliver(&key.0, key.1)).collect()
    }

    /// What can be delivered on the log of a message that came in.
    pub(crate) fn deliver(&mut self, topic: &str, origin: NodeId) -> Vec<Delivery> {
        let key = (topic.to_owned(), origin);
        let mut deliveries = Vec::new();
        self.gaps.remove(&key);
        while let Some((sequence, entry)) = self.next_after_delivered(&key) {
            let log = self.logs.get_mut(&key).expect("it has a next entry");
            if !follows(log.delivered, sequence) {
                let below_floor = log.floor.is_some_and(|floor| fills(floor, log.delivered, sequence));
                if log.agreed.len() < AGREEMENTS && !below_floor {
                    self.gaps.insert(key);
                    break;
                }
                if log.delivered.is_some() {
                    let count = missing(log.delivered, sequence);
                    deliveries.push(Delivery::Missed { topic: topic.to_owned(), origin, count });
                }
            }
            log.agreed.clear();
            log.delivered = Some(sequence);
            deliveries.push(Delivery::Message(self.message(sequence, &entry)));
        }
        deliveries
    }

    fn next_after_delivered(&self, key: &Key) -> Option<(Sequence, Entry)> {
        let log = self.logs.get(key)?;
        let from = log.delivered.map_or(Sequence(0), |delivered| Sequence(delivered.0 + 1));
        log.entries.range(from..).next().map(|(sequence, entry)| (*sequence, *entry))
    }

    /// A comparison with `peer` found no difference; `live` peers exist. Returns what gaps it closed for good.
    pub(crate) fn note_agreement(&mut self, peer: NodeId, live: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for key in self.gaps.clone() {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.agreed.insert(peer);
            if log.agreed.len() >= AGREEMENTS.min(live.max(1)) {
                // Fewer peers than three: all there are have agreed.
                log.agreed.extend((1..=AGREEMENTS as u64).map(NodeId));
                deliveries.extend(self.deliver(&key.0, key.1));
            }
        }
        deliveries
    }

    /// Whether any delivery waits for a message.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    fn message(&self, sequence: Sequence, entry: &Entry) -> Arc<Message> {
        let update = self.replica.get(entry.id).expect("logs and replica hold the same");
        let parts = update.parts();
        let (published_at, payload) = parts.message_body().expect("it was read before it was kept");
        let ((topic, origin), _) = subject(&parts);
        let (hops, received_at) = (entry.hop, entry.received_at);
        Arc::new(Message { topic, origin, sequence, payload: payload.to_vec(), hops, published_at, received_at })
    }

    /// The hop count with which a message came here.
    pub(crate) fn hop(&self, update: &UpdateRef<'_>) -> u8 {
        let (key, sequence) = subject(update);
        self.logs.get(&key).and_then(|log| log.entries.get(&sequence)).map_or(0, |entry| entry.hop)
    }

    /// The last messages on a topic that were delivered, by time of publication.
    pub(crate) fn history(&self, topic: &str, count: usize) -> Vec<Arc<Message>> {
        let of_topic = (topic.to_owned(), NodeId(0))..=(topic.to_owned(), NodeId(u64::MAX));
        let mut messages: Vec<Arc<Message>> = self
            .logs
            .range(of_topic)
            .flat_map(|(_, log)| {
                let delivered = log.delivered.unwrap_or_default();
                log.entries.range(..=delivered).map(|(sequence, entry)| self.message(*sequence, entry))
            })
            .collect();
        messages.sort_by_key(|message| (message.published_at, message.origin, message.sequence));
        messages.split_off(messages.len().saturating_sub(count))
    }

    fn trace(&mut self, key: &Key, sequence: Sequence, step: TraceStep, traces_max: usize) {
        let id = (key.clone(), sequence);
        if self.traces.insert(id.clone(), step).is_none() {
            self.traced.push_back(id);
        }
        while self.traced.len() > traces_max {
            if let Some(oldest) = self.traced.pop_front() {
                self.traces.remove(&oldest);
            }
        }
    }

    /// One more copy of the payload of a message that is held came in.
    pub(crate) fn count_payload(&mut self, update: &UpdateRef<'_>) {
        if let Some(step) = self.traces.get_mut(&subject(update)) {
            step.payloads += 1;
        }
    }

    /// When and from whom this node got a message.
    pub(crate) fn trace_step(&self, topic: &str, origin: NodeId, sequence: Sequence) -> Option<TraceStep> {
        self.traces.get(&((topic.to_owned(), origin), sequence)).copied()
    }
}

fn subject(update: &UpdateRef<'_>) -> (Key, Sequence) {
    let Head::Message { origin, sequence, topic } = update.head else {
        unreachable!("the messages space holds messages");
    };
    ((topic.to_owned(), origin), sequence)
}

/// Whether nothing can lie between `last` and `next`. The end of an earlier boot cannot be known: the first
/// message of a new boot follows whatever came before it.
fn follows(last: Option<Sequence>, next: Sequence) -> bool {
    match last {
        Some(last) if last.boot() == next.boot() => last.count() + 1 == next.count(),
        Some(_) | None => next.count() == 1,
    }
}

/// Whether all that is missing between `last` and `next` lies at or below `floor`.
fn fills(floor: Sequence, last: Option<Sequence>, next: Sequence) -> bool {
    last.is_none_or(|last| last < floor) && floor.0 + 1 >= next.0
}

fn missing(last: Option<Sequence>, next: Sequence) -> u64 {
    match last {
        Some(last) if last.boot() == next.boot() => u64::from(next.count() - last.count() - 1),
        Some(_) | None => u64::from(next.count() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;
    use crate::time::Seconds;
    use crate::update::message_bytes;

    const ORIGIN: NodeId = NodeId(9);

    fn update(sequence: Sequence, payload: &[u8]) -> Arc<Update> {
        let bytes = message_bytes(ORIGIN, sequence, "t", Seconds(1_000), Wall::default(), payload);
        Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    }

    fn step() -> TraceStep {
        TraceStep { node: NodeId(1), hop: 1, from: None, at: Wall::default(), payloads: 1 }
    }

    /// Counts of what was delivered, `-n` for n missed.
    fn arrive(messages: &mut Messages, config: &Config, sequence: Sequence) -> Vec<i64> {
        let update = update(sequence, b"x");
        if messages.standing(&update.parts(), config) == Standing::News {
            messages.insert(update, step(), config);
        }
        said(messages.deliver("t", ORIGIN))
    }

    fn said(deliveries: Vec<Delivery>) -> Vec<i64> {
        let number = |delivery| match delivery {
            Delivery::Message(message) => i64::from(message.sequence.count()),
            Delivery::Missed { count, .. } => -i64::try_from(count).unwrap(),
        };
        deliveries.into_iter().map(number).collect()
    }

    #[test]
    fn messages_that_arrive_out_of_order_are_delivered_in_order_and_once() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        let order = [1, 3, 2, 3, 4].map(|count| arrive(&mut messages, &config, Sequence::new(1, count)));
        assert_eq!(order, [vec![1], vec![], vec![2, 3], vec![], vec![4]]);
    }

    #[test]
    fn a_gap_is_final_once_three_peers_that_hold_the_same_left_it_open() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        arrive(&mut messages, &config, Sequence::new(1, 1));
        assert!(arrive(&mut messages, &config, Sequence::new(1, 4)).is_empty());
        let after = [2, 2, 3, 4].map(|peer| said(messages.note_agreement(NodeId(peer), 9)));
        assert_eq!(after, [vec![], vec![], vec![], vec![-2, 4]]);
    }

    #[test]
    fn a_new_boot_follows_whatever_came_before_it() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        arrive(&mut messages, &config, Sequence::new(1, 1));
        assert_eq!(arrive(&mut messages, &config, Sequence::new(2, 1)), [1]);
    }

    #[test]
    fn replicas_that_saw_the_same_in_any_order_keep_the_same() {
        let config = ConfigBuilder { history_count: 3, ..ConfigBuilder::lan() }.build().unwrap();
        let roots = [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 5, 1, 4, 2]].map(|order| {
            let mut messages = Messages::new(Wall::default());
            for count in order {
                arrive(&mut messages, &config, Sequence::new(1, count));
            }
            (messages.replica().iter().len(), messages.replica().root())
        });
        assert_eq!(roots[0].0, 3);
        assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    }
}
