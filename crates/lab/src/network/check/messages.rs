//! Messages: each at most once, in its origin's order, gaps told, and the same everywhere.

use std::collections::BTreeMap;

use rumormill_core::{Event, Message, NodeId, Sequence};

use super::{Verdict, breach};
use crate::network::measure::MessageKey;
use crate::network::trace::fingerprint;

/// Checks, for every life of every node, by topic and origin: sequences only rise, and a gap between two messages of one
/// boot was told by `Missed`, exactly, or with more after a restart: what comes late of an earlier boot is told as well. And across all nodes: one message has one payload.
#[derive(Debug, Default)]
pub struct Messages {
    subscribers: Vec<BTreeMap<(String, NodeId), Last>>,
    payloads: BTreeMap<MessageKey, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    sequence: Sequence,
    missed: u64,
}

const ONCE: &str = "a message comes once and in its origin's order";
const GAP: &str = "a gap is told before the message behind it";
const SAME: &str = "a message is the same everywhere";

impl Messages {
    /// A node starts: its new life has got nothing yet.
    pub fn started(&mut self, node: usize) {
        let needed = self.subscribers.len().max(node + 1);
        self.subscribers.resize_with(needed, BTreeMap::new);
        self.subscribers[node].clear();
    }

    /// A node tells of something, perhaps of a message.
    pub fn told(&mut self, node: usize, event: &Event) -> Verdict {
        if let Event::Message(message) = event {
            self.came(node, message)?;
            return self.is_the_same(message);
        }
        if let Event::Missed { topic, origin, count } = event {
            self.subscribers[node].entry((topic.clone(), *origin)).or_default().missed += count;
        }
        Ok(())
    }

    fn came(&mut self, node: usize, message: &Message) -> Verdict {
        let Message { topic, origin, sequence, .. } = message;
        let last = self.subscribers[node].entry((topic.clone(), *origin)).or_default();
        let Last { sequence: before, missed } = std::mem::replace(last, Last { sequence: *sequence, missed: 0 });
        let place = || format!("{topic} {origin}: {sequence} after {before}");
        if *sequence <= before {
            return breach(ONCE, place());
        }
        // Before the first message, and across boots, nobody but the origin knows what there was.
        let gap = u64::from(sequence.count()) - 1;
        let gap = if sequence.boot() == before.boot() { gap - u64::from(before.count()) } else { return Ok(()) };
        // Messages of an earlier boot that come too late are told in between.
        if gap == missed || gap < missed && sequence.boot() > 1 {
            Ok(())
        } else {
            breach(GAP, format!("{}, with {missed} told as missed", place()))
        }
    }

    fn is_the_same(&mut self, message: &Message) -> Verdict {
        let Message { topic, origin, sequence, payload, .. } = message;
        let key = MessageKey { origin: *origin, sequence: *sequence, topic: topic.clone() };
        let fingerprint = fingerprint(payload);
        if *self.payloads.entry(key).or_insert(fingerprint) == fingerprint {
            return Ok(());
        }
        breach(SAME, format!("{topic} {origin} {sequence} has two payloads"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rumormill_core::Wall;

    use super::*;

    fn message(sequence: Sequence, payload: &[u8]) -> Event {
        Event::Message(Arc::new(Message {
            topic: "news".to_owned(),
            origin: NodeId(1),
            sequence,
            payload: payload.to_vec(),
            hops: 0,
            published_at: Wall::default(),
            received_at: Wall::default(),
        }))
    }

    fn missed(count: u64) -> Event {
        Event::Missed { topic: "news".to_owned(), origin: NodeId(1), count }
    }

    fn run(events: &[Event]) -> Verdict {
        let mut messages = Messages::default();
        messages.started(0);
        events.iter().try_for_each(|event| messages.told(0, event))
    }

    #[test]
    fn messages_in_order_pass_with_gaps_that_were_told_and_across_boots() {
        let (one, five) = (Sequence::new(1, 1), Sequence::new(1, 5));
        run(&[message(one, b"a"), missed(2), missed(1), message(five, b"b")]).unwrap();
        run(&[message(five, b"b"), message(Sequence::new(2, 4), b"c")]).unwrap();
    }

    #[test]
    fn a_second_delivery_and_a_late_one_are_caught() {
        let (one, two) = (Sequence::new(1, 1), Sequence::new(1, 2));
        assert_eq!(run(&[message(one, b"a"), message(one, b"a")]).unwrap_err().rule, ONCE);
        assert_eq!(run(&[message(two, b"b"), message(one, b"a")]).unwrap_err().rule, ONCE);
    }

    #[test]
    fn a_gap_that_nobody_told_is_caught() {
        let (one, three) = (Sequence::new(1, 1), Sequence::new(1, 3));
        assert_eq!(run(&[message(one, b"a"), message(three, b"c")]).unwrap_err().rule, GAP);
        assert_eq!(run(&[message(one, b"a"), missed(2), message(three, b"c")]).unwrap_err().rule, GAP);
    }

    #[test]
    fn what_an_earlier_boot_left_behind_may_be_told_between_messages_of_a_later_one() {
        let [one, two] = [1, 2].map(|count| Sequence::new(2, count));
        run(&[message(one, b"a"), missed(3), message(two, b"b")]).unwrap();
    }

    #[test]
    fn a_payload_that_changed_on_the_way_is_caught() {
        let mut messages = Messages::default();
        messages.started(0);
        messages.started(1);
        messages.told(0, &message(Sequence::new(1, 1), b"a")).unwrap();
        assert_eq!(messages.told(1, &message(Sequence::new(1, 1), b"x")).unwrap_err().rule, SAME);
    }

    #[test]
    fn a_new_life_starts_anew() {
        let mut messages = Messages::default();
        messages.started(0);
        messages.told(0, &message(Sequence::new(1, 1), b"a")).unwrap();
        messages.started(0);
        messages.told(0, &message(Sequence::new(1, 1), b"a")).unwrap();
    }
}
