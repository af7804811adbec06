//! Messages of one topic on their way to one subscriber, who may be slow without slowing anybody else.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rumormill_core::limits::Limits;
use rumormill_core::{Message, NodeId};
use tokio::sync::Notify;

/// How many messages wait for a slow subscriber, at most.
const WAITING_MAX: usize = 1_024;

/// How many bytes of payload wait for a slow subscriber; one message may exceed it.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A message, in its origin's order.
    Message(Received),
    /// Messages that will not come: they were lost in the cluster, or this subscriber read too slowly.
    Missed {
        /// Where.
        topic: Arc<str>,
        /// Whose.
        origin: NodeId,
        /// The name of whose.
        origin_name: Arc<str>,
        /// How many.
        count: u64,
    },
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => message.fmt(f),
            Self::Missed { origin_name, count, .. } => write!(f, "{count} messages of {origin_name} were missed"),
        }
    }
}

/// A message, with the name of who published it. Reads like a [`Message`].
#[derive(Clone, Debug)]
pub struct Received {
    /// The message, shared with the node and with other subscribers.
    pub message: Arc<Message>,
    /// The name of its origin when it came.
    pub origin_name: Arc<str>,
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// The origin's name and the message's place, then the payload as text.
impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}  {}", self.origin_name, self.sequence, String::from_utf8_lossy(&self.payload))
    }
}

/// The messages of one topic, from the moment of subscription on.
#[derive(Debug)]
pub struct Subscription(Arc<Inbox>);

impl Subscription {
    /// The next delivery, or `None` once the node has stopped and all has been read.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut queue = self.0.lock();
                if let Some(delivery) = queue.pop(&self.0.topic) {
                    return Some(delivery);
                }
                if queue.is_closed {
                    return None;
                }
            }
            // One permit is kept when nobody waits, so that a push between the check and here is not lost.
            self.0.changed.notified().await;
        }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }
}

/// The driver's end of a subscription. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Feed(Weak<Inbox>);

/// Both ends of a new subscription.
pub(crate) fn subscription(topic: &str) -> (Subscription, Feed) {
    let inbox = Arc::new(Inbox { topic: topic.into(), queue: Mutex::default(), changed: Notify::new() });
    let feed = Feed(Arc::downgrade(&inbox));
    (Subscription(inbox), feed)
}

impl Feed {
    /// Whether somebody still reads.
    pub(crate) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn push(&self, received: Received) {
        self.change(|queue, topic| queue.push(topic, received));
    }

    pub(crate) fn miss(&self, origin: NodeId, origin_name: &Arc<str>, count: u64) {
        self.change(|queue, _| queue.miss(origin, origin_name, count));
    }

    fn change(&self, change: impl FnOnce(&mut Queue, &Arc<str>)) {
        if let Some(inbox) = self.0.upgrade() {
            change(&mut inbox.lock(), &inbox.topic);
            inbox.changed.notify_one();
        }
    }
}

/// What is bounded in subscriptions: the fullest of them. A message goes in where there is room for some of it.
pub(crate) fn limits<'a>(feeds: impl Iterator<Item = &'a Feed>, to: &mut Limits) {
    let queues = feeds.filter_map(|feed| feed.0.upgrade()).map(|inbox| {
        let queue = inbox.lock();
        (queue.waiting.len(), queue.bytes)
    });
    let (entries, bytes) = queues.fold((0, 0), |(entries, bytes), queue| (entries.max(queue.0), bytes.max(queue.1)));
    to.entries("messages_of_one_subscription", entries, WAITING_MAX);
    to.bytes("messages_of_one_subscription", bytes, WAITING_BYTES_MAX);
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.change(|queue, _| queue.is_closed = true);
    }
}

#[derive(Debug)]
struct Inbox {
    topic: Arc<str>,
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits, and behind it what no longer found room. A message that finds room goes behind the news of those
/// that did not, so that a gap shows where it is.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    missed: BTreeMap<NodeId, (Arc<str>, u64)>,
    is_closed: bool,
}

impl Queue {
    fn push(&mut self, topic: &Arc<str>, received: Received) {
        if !self.has_room() {
            return self.miss(received.origin, &received.origin_name, 1);
        }
        while let Some(missed) = self.pop_missed(topic) {
            self.waiting.push_back(missed);
        }
        self.bytes += received.payload.len();
        self.waiting.push_back(Delivery::Message(received));
    }

    fn miss(&mut self, origin: NodeId, origin_name: &Arc<str>, count: u64) {
        let (_, total) = self.missed.entry(origin).or_insert_with(|| (Arc::clone(origin_name), 0));
        *total += count;
    }

    fn pop(&mut self, topic: &Arc<str>) -> Option<Delivery> {
        let Some(delivery) = self.waiting.pop_front() else { return self.pop_missed(topic) };
        if let Delivery::Message(received) = &delivery {
            self.bytes -= received.payload.len();
        }
        Some(delivery)
    }

    fn pop_missed(&mut self, topic: &Arc<str>) -> Option<Delivery> {
        let (origin, (origin_name, count)) = self.missed.pop_first()?;
        Some(Delivery::Missed { topic: Arc::clone(topic), origin, origin_name, count })
    }

    /// Once something was missed, half of the room has to be free again: otherwise a subscriber that stays too slow
    /// would be told of a gap after every message.
    fn has_room(&self) -> bool {
        let share = if self.missed.is_empty() { 1 } else { 2 };
        self.waiting.len() < WAITING_MAX / share && self.bytes < WAITING_BYTES_MAX / share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(origin: u64, payload: Vec<u8>) -> Received {
        let message = Message {
            topic: "news".to_owned(),
            origin: NodeId(origin),
            sequence: rumormill_core::Sequence::new(1, 1),
            payload,
            hops: 0,
            published_at: rumormill_core::Wall::default(),
            received_at: rumormill_core::Wall::default(),
        };
        Received { message: Arc::new(message), origin_name: "n".into() }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_many_it_missed_of_whom_and_where() {
        let (mut news, feed) = subscription("news");
        for n in 0..WAITING_MAX + 5 {
            feed.push(message(if n % 5 == 0 { 1 } else { 2 }, Vec::new()));
        }
        for _ in 0..WAITING_MAX {
            assert!(matches!(news.next().await, Some(Delivery::Message(_))));
        }
        feed.push(message(3, b"after".to_vec()));
        let mut missed = Vec::new();
        while let Some(Delivery::Missed { origin, count, .. }) = news.next().await {
            missed.push((origin.0, count));
            if missed.len() == 2 {
                break;
            }
        }
        assert_eq!(missed, [(1, 1), (2, 4)]);
        let Some(Delivery::Message(last)) = news.next().await else { panic!("the last message is gone") };
        assert_eq!(last.payload, b"after");
    }

    #[tokio::test]
    async fn large_messages_wait_up_to_a_number_of_bytes() {
        let (mut news, feed) = subscription("news");
        for _ in 0..9 {
            feed.push(message(1, vec![0; 1 << 20]));
        }
        for _ in 0..8 {
            assert!(matches!(news.next().await, Some(Delivery::Message(_))));
        }
        assert!(matches!(news.next().await, Some(Delivery::Missed { count: 1, .. })));
    }

    #[tokio::test]
    async fn a_subscription_ends_with_its_feed_after_what_waits() {
        let (mut news, feed) = subscription("news");
        feed.push(message(1, Vec::new()));
        drop(feed);
        assert!(news.next().await.is_some());
        assert!(news.next().await.is_none());
    }
}
