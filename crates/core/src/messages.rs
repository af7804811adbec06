//! Messages: what was published on which topic, in each origin's order.
//!
//! For each (topic, origin) a log keeps the highest sequences that fit the shared limits of count and bytes, so
//! that two replicas which saw the same messages keep the same ones (design §2 rule 4). A subscriber gets each
//! message once, in order; where one is missing, delivery waits until anti-entropy fills the gap or the gap is
//! final: below what the limits keep, or gone at the origin itself, or still open after comparisons with three
//! different peers agreed. Deviation from design §5: agreements count only once the gap has been open for a repair
//! interval, because three peers may lack what is still on its way; the origin's own agreement counts at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::few::Few;
use crate::identity::{NodeId, Sequence};
use crate::io::{Message, TraceStep};
use crate::limits::Limits;
use crate::replica::Replica;
use crate::slots::Slot;
use crate::time::Wall;
use crate::update::{Head, MessageBody, Update, UpdateId, UpdateRef};

/// Peers whose replicas must agree before a gap is final (design §5).
const AGREEMENTS: usize = 3;
/// Remote messages are kept up to this many times `messages_bytes_max`; then they are refused.
const OVERRUN: usize = 2;

/// What a message takes beside its bytes, so that a flood of tiny ones finds the cap too.
const MESSAGE_OVERHEAD: usize = 256;
/// Logs without messages that are remembered, so that an origin's next message finds its place.
const EMPTY_LOGS_MAX: usize = 16_384;
/// Earlier boots of an origin of which the last delivery is remembered.
const ENDS_MAX: usize = 16;

/// A topic and an origin.
type Key = (String, NodeId);

#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
struct Entry {
    id: UpdateId,
    size: usize,
    hop: u8,
    received_at: Wall,
}

/// What is kept of one origin on one topic.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct Log {
    entries: Few<Sequence, Entry>,
    bytes: usize,
    /// Up to here everything was delivered, or is missed for good.
    delivered: Option<Sequence>,
    /// Since when delivery waits for a message.
    gap_since: Option<Wall>,
    /// Peers that held the same while it waited.
    agreed: BTreeSet<NodeId>,
    /// The last that was delivered of each earlier boot.
    ends: BTreeMap<u64, u32>,
    /// Messages of earlier boots that came after a later boot's were delivered, and are to be told as missed.
    late: u64,
    /// The highest sequence that the limits pushed out.
    floor: Option<Sequence>,
    /// All up to here was gone at the origin itself when it published something later.
    gone: Option<Sequence>,
}

/// How a message stands to what is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It is held.
    Known,
    /// It was held, or is too old for the limits: its id counts as known.
    Refused,
    /// There is no room now: its id counts as known for a while.
    Full,
    /// It is new.
    News,
}

/// What a node holds of one topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Topic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many messages.
    pub messages: usize,
    /// What they take, as they are sent.
    pub bytes: usize,
    /// When the highest sequence of an origin came in, of whichever came in last.
    pub last: Wall,
}

/// What a subscriber gets.
#[derive(Debug)]
pub(crate) enum Delivery {
    Message(Arc<Message>),
    Missed { topic: String, origin: NodeId, count: u64 },
}

/// The messages space of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Messages {
    replica: Replica,
    logs: ByTopic<NodeId, Log>,
    /// Logs with a gap before the next message.
    gaps: BTreeSet<Key>,
    bytes: usize,
    published: BTreeMap<String, u32>,
    traces: ByTopic<(NodeId, Sequence), TraceStep>,
    traced: VecDeque<(Arc<str>, NodeId, Sequence)>,
}

impl Messages {
    pub(crate) fn new(now: Wall) -> Self {
        Self {
            replica: Replica::new(now),
            logs: ByTopic::default(),
            gaps: BTreeSet::new(),
            bytes: 0,
            published: BTreeMap::new(),
            traces: ByTopic::default(),
            traced: VecDeque::new(),
        }
    }

    pub(crate) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) const fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Bytes of all messages held, with what each takes beside its own.
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
        let (topic, origin, sequence) = subject(update);
        let full = self.bytes + update.bytes.len() + MESSAGE_OVERHEAD > config.messages_bytes_max * OVERRUN;
        let Some(log) = self.logs.get(topic, &origin) else {
            return if full { Standing::Full } else { Standing::News };
        };
        if let Some(entry) = log.entries.get(&sequence) {
            let held = self.replica.get(entry.id).expect("logs and replica hold the same");
            return if held.bytes() >= update.bytes { Standing::Known } else { Standing::News };
        }
        if log.floor.is_some_and(|floor| sequence <= floor) {
            return Standing::Refused;
        }
        if full { Standing::Full } else { Standing::News }
    }

    /// Takes in a message that is news. Returns the ids of those that the limits pushed out for it, itself perhaps.
    pub(crate) fn insert(&mut self, update: Arc<Update>, step: TraceStep, config: &Config) -> Vec<UpdateId> {
        let shared = Arc::clone(&update);
        let parts = shared.parts();
        let (topic, origin, sequence) = subject(&parts);
        let entry = Entry { id: update.id, size: update.bytes().len(), hop: step.hop, received_at: step.at };
        let kept = parts.message_body().map_or(0, |body| body.kept);
        let log = self.logs.get_or_default(topic, origin);
        let gone = Sequence::new(sequence.boot(), (sequence.count() - 1).saturating_sub(kept));
        log.gone = log.gone.max(Some(gone));
        if log.delivered.is_some_and(|delivered| sequence.boot() < delivered.boot())
            && log.ends.get(&sequence.boot()).is_none_or(|end| *end < sequence.count())
            && !log.entries.contains_key(&sequence)
        {
            log.late += 1;
        }
        log.bytes += entry.size;
        self.bytes += entry.size + MESSAGE_OVERHEAD;
        if let Some(old) = log.entries.insert(sequence, entry) {
            // Two messages of one subject: the origin is broken; the greater bytes hold everywhere.
            log.bytes -= old.size;
            self.bytes -= old.size + MESSAGE_OVERHEAD;
            let slot = self.replica.slot_of(old.id).expect("logs and replica hold the same");
            self.replica.replace(slot, update);
        } else {
            self.replica.insert(update);
        }
        self.trace(topic, origin, sequence, step, config.traces_max);
        self.trim(topic, origin, config)
    }

    /// Lets the lowest sequences go until the limits hold; returns their ids.
    fn trim(&mut self, topic: &str, origin: NodeId, config: &Config) -> Vec<UpdateId> {
        let mut gone = Vec::new();
        let Some(log) = self.logs.get_mut(topic, &origin) else { return gone };
        while log.entries.len() > config.history_count as usize || log.bytes > config.history_bytes {
            let Some((sequence, entry)) = log.entries.pop_first() else { break };
            log.floor = log.floor.max(Some(sequence));
            log.bytes -= entry.size;
            self.bytes -= entry.size + MESSAGE_OVERHEAD;
            let slot = self.replica.slot_of(entry.id).expect("logs and replica hold the same");
            self.replica.remove(slot);
            gone.push(entry.id);
        }
        gone
    }

    /// Takes out messages whose time is over, given their slots. Returns what can be delivered because of that.
    pub(crate) fn forget(&mut self, slots: &[Slot], now: Wall) -> Vec<Delivery> {
        let mut touched = BTreeSet::new();
        let gone: Vec<Arc<Update>> = slots.iter().map(|slot| Arc::clone(self.replica.at(*slot))).collect();
        for update in gone {
            let parts = update.parts();
            let (topic, origin, sequence) = subject(&parts);
            if let Some(slot) = self.replica.slot_of(update.id) {
                self.replica.remove(slot);
            }
            let Some(log) = self.logs.get_mut(topic, &origin) else { continue };
            if let Some(entry) = log.entries.remove(&sequence) {
                log.bytes -= entry.size;
                self.bytes -= entry.size + MESSAGE_OVERHEAD;
            }
            if !is_reserved(topic) {
                // Queries live for different times: one that runs out says nothing about those before it.
                log.floor = log.floor.max(Some(sequence));
            }
            let (is_empty, key) = (log.entries.is_empty(), (topic.to_owned(), origin));
            if is_empty && self.logs.len() > EMPTY_LOGS_MAX {
                self.logs.remove(topic, &origin);
                self.gaps.remove(&key);
            } else {
                touched.insert(key);
            }
        }
        touched.into_iter().flat_map(|key| self.deliver(&key.0, key.1, now)).collect()
    }

    /// What can be delivered on the log of a message that came in.
    pub(crate) fn deliver(&mut self, topic: &str, origin: NodeId, now: Wall) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        if is_reserved(topic) {
            return deliveries;
        }
        if !self.gaps.is_empty() {
            self.gaps.remove(&(topic.to_owned(), origin));
        }
        let late = self.logs.get_mut(topic, &origin).map_or(0, |log| std::mem::take(&mut log.late));
        if late > 0 {
            // Nobody knows how much an earlier boot published, so the next boot's do not wait for it; order forbids it now.
            deliveries.push(Delivery::Missed { topic: topic.to_owned(), origin, count: late });
        }
        while let Some((sequence, entry)) = self.next_after_delivered(topic, origin) {
            let log = self.logs.get_mut(topic, &origin).expect("it has a next entry");
            if !follows(log.delivered, sequence) {
                let lowest = log.floor.max(log.gone);
                let is_final = log.agreed.len() >= AGREEMENTS || lowest.is_some_and(|low| low.0 + 1 >= sequence.0);
                if !is_final {
                    log.gap_since.get_or_insert(now);
                    self.gaps.insert((topic.to_owned(), origin));
                    break;
                }
                // What was gone before this node heard of the log is not missed.
                let count = missing(log.delivered.or(lowest), sequence);
                if count > 0 {
                    deliveries.push(Delivery::Missed { topic: topic.to_owned(), origin, count });
                }
            }
            log.agreed.clear();
            log.gap_since = None;
            let before = log.delivered.replace(sequence);
            if let Some(end) = before.filter(|before| before.boot() < sequence.boot()) {
                log.ends.insert(end.boot(), end.count());
                if log.ends.len() > ENDS_MAX {
                    log.ends.pop_first();
                }
            }
            deliveries.push(Delivery::Message(self.message(sequence, &entry)));
        }
        deliveries
    }

    fn next_after_delivered(&self, topic: &str, origin: NodeId) -> Option<(Sequence, Entry)> {
        let log = self.logs.get(topic, &origin)?;
        let behind = log.delivered.map_or(Bound::Unbounded, Bound::Excluded);
        log.entries.range((behind, Bound::Unbounded)).next().map(|(sequence, entry)| (*sequence, *entry))
    }

    /// A comparison with `peer` found no difference; `live` peers exist, and whom a gap waits for has had `patience`.
    /// Returns what gaps that closed for good.
    pub(crate) fn note_agreement(&mut self, peer: NodeId, live: usize, now: Wall, patience: Duration) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for key in self.gaps.clone() {
            let Some(log) = self.logs.get_mut(&key.0, &key.1) else { continue };
            if peer != key.1 && log.gap_since.is_none_or(|since| since + patience > now) {
                continue;
            }
            log.agreed.insert(peer);
            if peer == key.1 || log.agreed.len() >= AGREEMENTS.min(live.max(1)) {
                // The origin has none of it, or there are fewer peers than three: nobody is left to ask.
                log.agreed.extend((1..=AGREEMENTS as u64).map(NodeId));
                deliveries.extend(self.deliver(&key.0, key.1, now));
            }
        }
        deliveries
    }

    /// How many messages right before `sequence`, of its boot, are held.
    pub(crate) fn kept_before(&self, topic: &str, origin: NodeId, sequence: Sequence) -> u32 {
        let Some(log) = self.logs.get(topic, &origin) else { return 0 };
        let first = Sequence::new(sequence.boot(), 1);
        let lowest = log.entries.range(first..sequence).next().map(|(lowest, _)| lowest.count());
        lowest.map_or(0, |lowest| sequence.count() - lowest)
    }

    /// Whether any delivery waits for a message.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    fn message(&self, sequence: Sequence, entry: &Entry) -> Arc<Message> {
        let update = self.replica.get(entry.id).expect("logs and replica hold the same");
        let parts = update.parts();
        let MessageBody { published_at, payload, .. } = parts.message_body().expect("it was read before it was kept");
        let (topic, origin, _) = subject(&parts);
        let topic = topic.to_owned();
        let (hops, received_at) = (entry.hop, entry.received_at);
        Arc::new(Message { topic, origin, sequence, payload: payload.to_vec(), hops, published_at, received_at })
    }

    /// The hop count with which a message came here.
    pub(crate) fn hop(&self, update: &UpdateRef<'_>) -> u8 {
        let (topic, origin, sequence) = subject(update);
        self.logs.get(topic, &origin).and_then(|log| log.entries.get(&sequence)).map_or(0, |entry| entry.hop)
    }

    /// The last messages on a topic that were delivered, by time of publication.
    pub(crate) fn history(&self, topic: &str, count: usize) -> Vec<Arc<Message>> {
        let mut messages: Vec<Arc<Message>> = self
            .logs
            .of(topic)
            .flat_map(|log| {
                let delivered = log.delivered.unwrap_or_default();
                log.entries.range(..=delivered).map(|(sequence, entry)| self.message(*sequence, entry))
            })
            .collect();
        messages.sort_by_key(|message| (message.published_at, message.origin, message.sequence));
        messages.split_off(messages.len().saturating_sub(count))
    }

    /// What is held of each topic, by name; not of those that are not for subscribers.
    pub(crate) fn topics(&self) -> impl Iterator<Item = Topic<'_>> {
        let all = self.logs.topics.iter().filter(|(name, _)| !is_reserved(name));
        all.filter_map(|(name, logs)| {
            let last = logs.values().filter_map(|log| log.entries.last()).map(|entry| entry.received_at).max()?;
            let messages = logs.values().map(|log| log.entries.len()).sum();
            Some(Topic { name, messages, bytes: logs.values().map(|log| log.bytes).sum(), last })
        })
    }

    fn trace(&mut self, topic: &str, origin: NodeId, sequence: Sequence, step: TraceStep, traces_max: usize) {
        if self.traces.insert(topic, (origin, sequence), step).is_none() {
            let topic = self.traces.name(topic).expect("something is on this topic");
            self.traced.push_back((topic, origin, sequence));
        }
        while self.traced.len() > traces_max {
            if let Some((topic, origin, sequence)) = self.traced.pop_front() {
                self.traces.remove(&topic, &(origin, sequence));
            }
        }
    }

    /// One more copy of the payload of a message that is held came in. Returns its id.
    pub(crate) fn count_payload(&mut self, update: &UpdateRef<'_>) -> Option<UpdateId> {
        let (topic, origin, sequence) = subject(update);
        if let Some(step) = self.traces.get_mut(topic, &(origin, sequence)) {
            step.payloads += 1;
        }
        self.logs.get(topic, &origin)?.entries.get(&sequence).map(|entry| entry.id)
    }

    /// When and from whom this node got a message.
    pub(crate) fn trace_step(&self, topic: &str, origin: NodeId, sequence: Sequence) -> Option<TraceStep> {
        self.traces.get(topic, &(origin, sequence)).copied()
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, config: &Config, to: &mut Limits) {
        // Messages with a gap before them are messages held; what was published has a log.
        let Self { replica, logs, gaps: _, bytes, published: _, traces, traced: _ } = self;
        to.bytes("messages", *bytes, config.messages_bytes_max * OVERRUN);
        replica.limits("refused_messages", to);
        to.entries(
            "silent_origins",
            logs.topics.values().flat_map(BTreeMap::values).filter(|log| log.entries.is_empty()).count(),
            EMPTY_LOGS_MAX,
        );
        to.entries("traces", traces.len, config.traces_max);
    }
}

/// What travels on these topics is not for subscribers.
pub(crate) fn is_reserved(topic: &str) -> bool {
    topic.starts_with('>')
}

/// Topic, origin and place of a message.
fn subject<'a>(update: &UpdateRef<'a>) -> (&'a str, NodeId, Sequence) {
    let Head::Message { origin, sequence, topic } = update.head else {
        unreachable!("the messages space holds messages");
    };
    (topic, origin, sequence)
}

/// Things by topic and something else, found without a copy of the topic. A topic without things is forgotten.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(bound(deserialize = "K: Ord + serde::Deserialize<'de>, V: serde::Deserialize<'de>"))]
struct ByTopic<K, V> {
    topics: BTreeMap<Arc<str>, BTreeMap<K, V>>,
    len: usize,
}

impl<K, V> Default for ByTopic<K, V> {
    fn default() -> Self {
        Self { topics: BTreeMap::new(), len: 0 }
    }
}

impl<K: Ord, V> ByTopic<K, V> {
    const fn len(&self) -> usize {
        self.len
    }

    fn get(&self, topic: &str, key: &K) -> Option<&V> {
        self.topics.get(topic)?.get(key)
    }

    fn get_mut(&mut self, topic: &str, key: &K) -> Option<&mut V> {
        self.topics.get_mut(topic)?.get_mut(key)
    }

    fn get_or_default(&mut self, topic: &str, key: K) -> &mut V
    where
        K: Copy,
        V: Default,
    {
        if self.get(topic, &key).is_none() {
            self.insert(topic, key, V::default());
        }
        self.get_mut(topic, &key).expect("it is there now")
    }

    fn insert(&mut self, topic: &str, key: K, thing: V) -> Option<V> {
        let things = match self.topics.get_mut(topic) {
            Some(things) => things,
            None => self.topics.entry(topic.into()).or_default(),
        };
        let old = things.insert(key, thing);
        self.len += usize::from(old.is_none());
        old
    }

    fn remove(&mut self, topic: &str, key: &K) {
        let Some(things) = self.topics.get_mut(topic) else { return };
        self.len -= usize::from(things.remove(key).is_some());
        if things.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// The topic itself, if anything is on it.
    fn name(&self, topic: &str) -> Option<Arc<str>> {
        self.topics.get_key_value(topic).map(|(name, _)| Arc::clone(name))
    }

    /// Everything on one topic.
    fn of(&self, topic: &str) -> impl Iterator<Item = &V> {
        self.topics.get(topic).into_iter().flat_map(BTreeMap::values)
    }
}

/// Whether nothing can lie between `last` and `next`. The end of an earlier boot cannot be known: the first
/// message of a new boot follows whatever came before it.
fn follows(last: Option<Sequence>, next: Sequence) -> bool {
    match last {
        Some(last) if last.boot() == next.boot() => last.count() + 1 == next.count(),
        Some(_) | None => next.count() == 1,
    }
}

fn missing(last: Option<Sequence>, next: Sequence) -> u64 {
    match last {
        Some(last) if last.boot() == next.boot() => u64::from((next.count() - 1).saturating_sub(last.count())),
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
        let bytes = message_bytes(ORIGIN, sequence, "t", Seconds(1_000), &MessageBody::test(payload));
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
        said(messages.deliver("t", ORIGIN, Wall::default()))
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
    fn a_gap_is_final_once_three_peers_that_hold_the_same_left_it_open_for_a_while() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        arrive(&mut messages, &config, Sequence::new(1, 1));
        assert!(arrive(&mut messages, &config, Sequence::new(1, 4)).is_empty());
        let patience = Duration::from_secs(10);
        let mut agree = |peer, second: u64| {
            said(messages.note_agreement(NodeId(peer), 9, Wall::from_micros(second * 1_000_000), patience))
        };
        let early = [5, 6, 7].map(|peer| agree(peer, 9));
        assert_eq!(early, [const { Vec::<i64>::new() }; 3], "what they lack may still be on its way");
        let late = [2, 2, 3, 4].map(|peer| agree(peer, 10));
        assert_eq!(late, [vec![], vec![], vec![], vec![-2, 4]]);
    }

    #[test]
    fn a_gap_is_final_as_soon_as_the_origin_itself_holds_no_more() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        assert!(arrive(&mut messages, &config, Sequence::new(1, 4)).is_empty());
        assert_eq!(said(messages.note_agreement(ORIGIN, 9, Wall::default(), Duration::from_secs(10))), [-3, 4]);
    }

    #[test]
    fn who_comes_late_does_not_wait_for_what_was_gone_before() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        let body = MessageBody { kept: 1, ..MessageBody::test(b"") };
        let bytes = message_bytes(ORIGIN, Sequence::new(1, 500), "t", Seconds(1_000), &body);
        let update = Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]));
        assert!(messages.insert(update, step(), &config).is_empty());
        assert!(messages.deliver("t", ORIGIN, Wall::default()).is_empty(), "499 exists");
        assert_eq!(arrive(&mut messages, &config, Sequence::new(1, 499)), [499, 500]);
    }

    #[test]
    fn a_new_boot_follows_whatever_came_before_it() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        arrive(&mut messages, &config, Sequence::new(1, 1));
        assert_eq!(arrive(&mut messages, &config, Sequence::new(2, 1)), [1]);
    }

    #[test]
    fn what_comes_after_a_later_boot_is_told_as_missed_once() {
        let (mut messages, config) = (Messages::new(Wall::default()), Config::default());
        let order = [(1, 1), (1, 2), (3, 1), (1, 4), (1, 4), (1, 2), (2, 1), (3, 2)];
        let said = order.map(|(boot, count)| arrive(&mut messages, &config, Sequence::new(boot, count)));
        assert_eq!(said, [vec![1], vec![2], vec![1], vec![-1], vec![], vec![], vec![-1], vec![2]]);
    }

    #[test]
    fn topics_are_told_with_what_is_held_of_them() {
        let config = ConfigBuilder { history_count: 2, ..ConfigBuilder::lan() }.build().unwrap();
        let mut messages = Messages::new(Wall::default());
        assert_eq!(messages.topics().count(), 0);
        let body = MessageBody::test(b"x");
        let sizes =
            [("b", 1, 1), ("b", 2, 5), ("b", 3, 9), ("a", 1, 7), (">reserved", 1, 8)].map(|(topic, count, at)| {
                let bytes = message_bytes(ORIGIN, Sequence::new(1, count), topic, Seconds(1_000), &body);
                let update = Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]));
                messages.insert(update, TraceStep { at: Wall::from_micros(at), ..step() }, &config);
                bytes.len()
            });
        let a = Topic { name: "a", messages: 1, bytes: sizes[3], last: Wall::from_micros(7) };
        let b = Topic { name: "b", messages: 2, bytes: sizes[1] + sizes[2], last: Wall::from_micros(9) };
        assert_eq!(messages.topics().collect::<Vec<_>>(), [a, b]);
    }

    #[test]
    fn what_there_is_no_room_for_is_welcome_once_there_is() {
        let config = ConfigBuilder {
            payload_bytes_max: 5_000,
            history_count: 2,
            history_bytes: 20_000,
            messages_bytes_max: 20_000,
            ..ConfigBuilder::lan()
        };
        let config = config.build().unwrap();
        let mut messages = Messages::new(Wall::default());
        let payload = [0; 5_000];
        let message = |origin, count| {
            let body = MessageBody::test(&payload);
            message_bytes(NodeId(origin), Sequence::new(1, count), "t", Seconds(1_000), &body)
        };
        let mut standing = |origin, count| {
            let bytes = message(origin, count);
            let update = UpdateRef::read(&bytes).unwrap();
            let standing = messages.standing(&update, &config);
            if standing == Standing::News {
                messages.insert(Arc::new(Update::new(&update, &[0; 16])), step(), &config);
            }
            standing
        };
        assert!((1..=3).all(|count| standing(1, count) == Standing::News));
        assert!((2..=6).all(|origin| standing(origin, 1) == Standing::News));
        assert_eq!(standing(7, 1), Standing::Full);
        assert_eq!(standing(1, 1), Standing::Refused, "the topic keeps two");
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
