//! Questions to all, answers to one: a query travels as a message on a reserved topic, answers go straight back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::coordinates::Coordinate;
use crate::identity::{NodeId, Sequence, Tags};
use crate::io::{QueryId, Refusal, Reply, Ticket, TraceStep};
use crate::returns::Returns;
use crate::seldom::Vacant;
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
/// The name of the built-in query that asks members where they are.
pub(crate) const LOCATE: &str = ">locate";
/// Members that a question names at most.
pub(crate) const NAMED_MAX: usize = 64;
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
    /// Only these are asked; all, if it names none.
    pub(crate) named: Vec<NodeId>,
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
        bytes.push(u8::try_from(self.named.len()).expect("checked where it was asked"));
        for id in &self.named {
            bytes.extend_from_slice(&id.0.to_le_bytes());
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
        let named = (0..reader.u8()?).map(|_| reader.u64().map(NodeId)).collect::<Option<_>>()?;
        Some(Self { name, payload: reader.rest().to_vec(), filter, named, until })
    }

    /// Whether that node, with these tags, is asked.
    pub(crate) fn is_for(&self, id: NodeId, tags: &Tags) -> bool {
        (self.named.is_empty() || self.named.contains(&id)) && self.has_tags(tags)
    }

    /// Whether nodes with these tags are asked.
    pub(crate) fn has_tags(&self, tags: &Tags) -> bool {
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

/// What is made of the answers to a question.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) enum Collects {
    /// They are handed to the application as they come.
    Answers,
    /// They are steps of a trace.
    Steps,
    /// They are coordinates, of one or both of two nodes.
    Coordinates(Box<Sought>),
}

/// A round trip that waits for coordinates.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Sought {
    pub(crate) ends: [NodeId; 2],
    pub(crate) at: [Option<Coordinate>; 2],
}

impl Sought {
    /// Somebody says where it is.
    pub(crate) fn note(&mut self, from: NodeId, said: &[u8]) {
        let coordinate = Coordinate::read(&mut Reader::new(said)).filter(Coordinate::is_known);
        for (end, at) in self.ends.iter().zip(&mut self.at) {
            if *end == from {
                *at = coordinate.or(*at);
            }
        }
    }

    /// What that comes to, as far as it is known.
    pub(crate) fn round_trip(&self) -> Result<Reply, Refusal> {
        if let [Some(from), Some(to)] = &self.at {
            return Ok(Reply::RoundTrip { rtt: from.round_trip_to(to), measured: false });
        }
        Err(Refusal::NotLocated { nodes: self.missing().collect() })
    }

    /// Those of whom it is not known where they are.
    pub(crate) fn missing(&self) -> impl Iterator<Item = NodeId> {
        self.ends.iter().zip(&self.at).filter(|(_, at)| at.is_none()).map(|(end, _)| *end)
    }
}

/// A question of this node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) collects: Collects,
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
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Answer {
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) tries: u32,
}

/// Queries under way, this node's and others'.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Queries {
    /// Ours, by the sequence of the message that carries them.
    asked: BTreeMap<Sequence, Asked>,
    /// Others', not answered by the application yet.
    open: BTreeMap<QueryId, Wall>,
    answers: BTreeMap<QueryId, Answer>,
    /// Answers that go through this node, with a partial view.
    pub(crate) returns: Returns,
}

impl Vacant for Queries {
    const VACANT: Self =
        Self { asked: BTreeMap::new(), open: BTreeMap::new(), answers: BTreeMap::new(), returns: Returns::new() };
    const SHARED: &'static Self = &Self::VACANT;
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
        let question = Question {
            name: "load".to_owned(),
            payload: b"x".to_vec(),
            filter,
            named: Vec::new(),
            until: Wall::from_micros(7),
        };
        assert_eq!(Question::read(&question.write()), Some(question.clone()));
        let tags: Tags = [("role", "db"), ("zone", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert!(question.is_for(NodeId(1), &tags) && !question.is_for(NodeId(1), &Tags::new()));
        let question = Question { named: vec![NodeId(2), NodeId(3)], ..question };
        assert_eq!(Question::read(&question.write()), Some(question.clone()));
        assert!(question.is_for(NodeId(3), &tags) && !question.is_for(NodeId(1), &tags));
    }
}
