//! Questions to all, answers to one: a query travels as a message on a reserved topic, answers go straight back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::{NodeId, Sequence, Tags};
use crate::io::{QueryId, Ticket, TraceStep};
use crate::returns::Returns;
use crate::time::{Instant, Wall};
use crate::wire::{Put, Reader};

/// The topic of queries; applications cannot publish on it because of its first letter.
pub(crate) const TOPIC: &str = ">query";
/// The name of the built-in query that collects traces.
pub(crate) const TRACE: &str = ">trace";
/// The name of the built-in query that everybody answers with nothing.
pub(crate) const PING: &str = "ping";
/// The name of the built-in query that begins an epoch of a gauge. Nobody answers: they average.
pub(crate) const AGGREGATE: &str = ">aggregate";
/// An answer is sent again after this long, so many times.
pub(crate) const ANSWER_RETRY: Duration = Duration::from_millis(500);
pub(crate) const ANSWER_TRIES: u32 = 4;
/// With a partial view a question has ended, if all may have answered, once nothing came for so long: an answer that was
/// lost is sent again a few times within, and a question that was lost is found by a comparison.
pub(crate) const QUIET: Duration = Duration::from_secs(3);
/// Answers of so many are heard: no cluster is larger.
pub(crate) const ANSWERS_MAX: usize = 1 << 20;
/// The largest answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The largest question.
pub(crate) const QUESTION_BYTES_MAX: usize = 1 << 10;
/// The largest answer that travels in a datagram.
pub(crate) const ANSWER_DATAGRAM_BYTES: usize = 1 << 10;
/// Questions that applications have not answered, and answers that were not confirmed.
const WAITING_MAX: usize = 1_024;

/// What a query says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) filter: Tags,
    /// Later than this nobody listens.
    pub(crate) until: Wall,
}

impl Question {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.until.as_micros().to_le_bytes());
        bytes.put_short_block(self.name.as_bytes());
        bytes.push(u8::try_from(self.filter.len()).expect("checked where it was asked"));
        for (key, value) in &self.filter {
            bytes.put_short_block(key.as_bytes());
            bytes.put_short_block(value.as_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let until = Wall::from_micros(reader.u64()?);
        let name = reader.short_text()?.to_owned();
        let mut filter = Tags::new();
        for _ in 0..reader.u8()? {
            filter.insert(reader.short_text()?.to_owned(), reader.short_text()?.to_owned());
        }
        Some(Self { name, payload: reader.rest().to_vec(), filter, until })
    }

    /// Whether a node with these tags is asked.
    pub(crate) fn is_for(&self, tags: &Tags) -> bool {
        self.filter.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

/// Which message a trace is about.
pub(crate) fn write_trace_question(topic: &str, origin: NodeId, sequence: Sequence) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&origin.0.to_le_bytes());
    bytes.extend_from_slice(&sequence.0.to_le_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes
}

pub(crate) fn read_trace_question(bytes: &[u8]) -> Option<(&str, NodeId, Sequence)> {
    let mut reader = Reader::new(bytes);
    let (origin, sequence) = (NodeId(reader.u64()?), Sequence(reader.u64()?));
    Some((std::str::from_utf8(reader.rest()).ok()?, origin, sequence))
}

pub(crate) fn write_trace_step(step: &TraceStep) -> Vec<u8> {
    let mut bytes = vec![step.hop];
    bytes.extend_from_slice(&step.from.unwrap_or(NodeId::NONE).0.to_le_bytes());
    bytes.extend_from_slice(&step.at.as_micros().to_le_bytes());
    bytes.extend_from_slice(&step.payloads.to_le_bytes());
    bytes
}

pub(crate) fn read_trace_step(node: NodeId, bytes: &[u8]) -> Option<TraceStep> {
    let mut reader = Reader::new(bytes);
    let hop = reader.u8()?;
    let from = NodeId(reader.u64()?);
    let at = Wall::from_micros(reader.u64()?);
    Some(TraceStep { node, hop, from: (from != NodeId::NONE).then_some(from), at, payloads: reader.u32()? })
}

/// A question of this node.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) traces: bool,
    pub(crate) started: Instant,
    /// When it ends at the latest.
    pub(crate) ends: Instant,
    /// Nobody is left out.
    pub(crate) is_for_all: bool,
    /// Who has not answered yet, where all members are known.
    pub(crate) missing: BTreeSet<NodeId>,
    /// How many members were asked; not known with a partial view.
    pub(crate) total: Option<usize>,
    pub(crate) answered: BTreeSet<NodeId>,
}

/// An answer of this node on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) tries: u32,
}

/// Queries under way, this node's and others'.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    /// Ours, by the sequence of the message that carries them.
    asked: BTreeMap<Sequence, Asked>,
    /// Others', not answered by the application yet.
    open: BTreeMap<QueryId, Wall>,
    answers: BTreeMap<QueryId, Answer>,
    /// Answers that go through this node, with a partial view.
    pub(crate) returns: Returns,
}

impl Queries {
    pub(crate) fn ask(&mut self, sequence: Sequence, asked: Asked) {
        self.asked.insert(sequence, asked);
    }

    pub(crate) fn asked_mut(&mut self, sequence: Sequence) -> Option<&mut Asked> {
        self.asked.get_mut(&sequence)
    }

    pub(crate) fn end(&mut self, sequence: Sequence) -> Option<Asked> {
        self.asked.remove(&sequence)
    }

    /// A question that the application may answer until then. Beyond the cap the one that ends first gives way.
    pub(crate) fn open(&mut self, query: QueryId, until: Wall) {
        if self.open.len() >= WAITING_MAX
            && let Some(first) = self.open.iter().min_by_key(|(_, until)| **until).map(|(query, _)| *query)
        {
            self.open.remove(&first);
        }
        self.open.insert(query, until);
    }

    /// The application answers: whether it may, at time `now`.
    pub(crate) fn close(&mut self, query: QueryId, now: Wall) -> bool {
        self.open.remove(&query).is_some_and(|until| now <= until)
    }

    /// Keeps an answer until it is confirmed; `false` if too many wait.
    pub(crate) fn send(&mut self, query: QueryId, answer: Answer) -> bool {
        let fits = self.answers.len() < WAITING_MAX;
        if fits {
            self.answers.insert(query, answer);
        }
        fits
    }

    pub(crate) fn answer_mut(&mut self, query: QueryId) -> Option<&mut Answer> {
        self.answers.get_mut(&query)
    }

    pub(crate) fn confirmed(&mut self, query: QueryId) -> Option<Answer> {
        self.answers.remove(&query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_and_selects_by_all_its_tags() {
        let filter = Tags::from([("role".to_owned(), "db".to_owned())]);
        let question =
            Question { name: "load".to_owned(), payload: b"x".to_vec(), filter, until: Wall::from_micros(7) };
        assert_eq!(Question::read(&question.write()), Some(question.clone()));
        assert!(!question.is_for(&Tags::new()));
        assert!(question.is_for(&[("role", "db"), ("zone", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()));
    }
}
