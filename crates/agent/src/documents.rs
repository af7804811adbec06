//! The documents of the command line and of HTTP, which are the same. Absent is `null`, never missing.

mod authority;
mod data;
mod dev;
mod gauges;
mod keys;
mod lab;
mod leases;
mod registers;
mod topics;
mod why;

use std::collections::BTreeMap;

pub(crate) use authority::{AuthorityDocument, CertificateDocument, IdentityDocument, RevocationDocument};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
pub(crate) use data::{EntryDocument, Imported, Misfit, WatchLine, WrittenDocument, beginning};
pub(crate) use dev::{DevDocument, DevNode, DevOrder, DevState};
pub(crate) use gauges::{AggregateDocument, Function, GaugeDocument};
pub(crate) use keys::{KeyChangeDocument, KeyDocument, KeygenDocument, SealingInfo};
pub(crate) use lab::{LabProgress, LabStarted};
pub(crate) use leases::{ElectionDocument, LeaseDocument, LeaseRequest, LockDocument};
pub(crate) use registers::{AgreementDocument, RegisterDocument, SwapDocument, VoterDocument, VotersChange};
use rumormill::data::Revision;
use rumormill::{Answer, Received, RoundTrip, Summary, TraceLine};
use rumormill_core::stats::MemberCounts;
use rumormill_core::{Member, Refusal};
use serde::{Deserialize, Serialize};
pub(crate) use topics::TopicDocument;
use utoipa::ToSchema;
pub(crate) use why::WhyDocument;

/// What a command prints that has nothing else to say.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Done {}

/// A member as one agent knows it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MemberDocument {
    /// 16 lowercase hex digits.
    pub(crate) id: String,
    /// As it is shown: `name~id4` while another member holds the name.
    pub(crate) name: String,
    /// Where it is reached.
    pub(crate) address: Option<String>,
    /// `alive`, `suspect`, `dead` or `left`.
    pub(crate) state: String,
    /// How often it was started, and behind a dot how often it had to contradict a suspicion since.
    pub(crate) incarnation: String,
    /// What it says about itself.
    pub(crate) tags: BTreeMap<String, String>,
    /// Since when the agent knows it in this state, Unix seconds.
    pub(crate) since: f64,
    /// Smoothed round-trip time in seconds.
    pub(crate) rtt: Option<f64>,
    /// Whether this is the agent's own node.
    #[serde(rename = "self")]
    pub(crate) is_self: bool,
    /// The protocol versions that it speaks.
    pub(crate) protocol: Protocol,
    /// In which view of the agent it is: `full`, `active` or `passive`. Of one in the passive view only id and address are known.
    pub(crate) view: String,
}

/// How long a packet and its answer take between two members.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct RoundTripDocument {
    /// One of them.
    pub(crate) from: String,
    /// The other.
    pub(crate) to: String,
    /// In seconds.
    pub(crate) rtt: f64,
    /// `measured` by the agent, or `estimated` from where both are.
    pub(crate) kind: String,
}

impl RoundTripDocument {
    pub(crate) fn new(from: String, to: String, found: RoundTrip) -> Self {
        let kind = if found.measured { "measured" } else { "estimated" };
        Self { from, to, rtt: found.rtt.as_secs_f64(), kind: kind.to_owned() }
    }
}

impl From<&Member> for MemberDocument {
    fn from(member: &Member) -> Self {
        let (min, max) = member.protocol;
        Self {
            id: member.id.to_string(),
            name: member.name.clone(),
            address: member.addresses.first().map(ToString::to_string),
            state: member.state.as_str().to_owned(),
            incarnation: member.incarnation.to_string(),
            tags: member.tags.clone(),
            since: member.since.as_secs_f64(),
            rtt: member.rtt.map(|rtt| rtt.as_secs_f64()),
            is_self: member.is_self,
            protocol: Protocol { min, max },
            view: member.view.as_str().to_owned(),
        }
    }
}

/// Members as documents, sorted by name.
pub(crate) fn members(members: &[Member]) -> Vec<MemberDocument> {
    let mut documents: Vec<MemberDocument> = members.iter().map(Into::into).collect();
    documents.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    documents
}

/// The lowest and the highest protocol version.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Protocol {
    pub(crate) min: u8,
    pub(crate) max: u8,
}

/// A line of `members --watch` and of GET events.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum MemberEvent {
    /// The first line: everybody.
    Snapshot {
        /// `snapshot`.
        event: String,
        members: Vec<MemberDocument>,
    },
    /// Something changed about a member.
    Change {
        /// `joined`, `updated`, `suspected`, `refuted`, `failed`, `left`, `removed` or `replaced`.
        event: String,
        /// When, Unix seconds.
        at: f64,
        /// The name of who decided it or brought the news.
        by: String,
        /// The member after the change.
        member: Box<MemberDocument>,
    },
    /// This reader was too slow; the next snapshot says how things are now.
    Missed {
        /// How many lines.
        missed: u64,
    },
}

impl MemberEvent {
    /// The line that begins a stream.
    pub(crate) fn snapshot(listed: &[Member]) -> Self {
        Self::Snapshot { event: "snapshot".to_owned(), members: members(listed) }
    }
}

/// The first line of `rumor agent --json` and `rumor dev --json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// `ready`.
    pub(crate) event: String,
    pub(crate) nodes: Vec<ReadyNode>,
}

/// An agent that answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReadyNode {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) pid: u32,
    pub(crate) gossip: String,
    pub(crate) http: Option<String>,
    pub(crate) data_dir: Option<String>,
}

impl Ready {
    pub(crate) fn new(nodes: Vec<ReadyNode>) -> Self {
        Self { event: "ready".to_owned(), nodes }
    }
}

/// What an agent is and how it fares.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "a document says what holds, each by its name")]
pub(crate) struct Info {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) pid: u32,
    /// Where it gossips, UDP and TCP.
    pub(crate) address: String,
    /// Where it serves HTTP.
    pub(crate) http: Option<String>,
    /// Where it serves metrics a second time.
    pub(crate) metrics: Option<String>,
    /// Of the program.
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    pub(crate) preset: String,
    pub(crate) view: String,
    pub(crate) mode: String,
    /// Whether a `rumor dev` started it, and takes orders through it.
    pub(crate) dev: bool,
    /// Whether it offers the laboratory.
    pub(crate) lab: bool,
    /// How many peers it tells news at once; with a partial view it tells all its neighbours.
    pub(crate) fanout: usize,
    /// Whether its traffic is encrypted and authenticated.
    pub(crate) sealed: bool,
    /// Whether it keeps its state across restarts.
    pub(crate) durable: bool,
    pub(crate) data_dir: Option<String>,
    /// Seconds since the start of the process.
    pub(crate) uptime: f64,
    /// Lifeguard's score of its own health, 0 best.
    pub(crate) health: u32,
    /// How many nodes the cluster has, as far as this one knows.
    pub(crate) size_estimate: u64,
    pub(crate) members: MembersByState,
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
    /// How many bytes it may send in a second; null where nothing bounds it.
    pub(crate) bandwidth_max: Option<u64>,
    /// What was dropped, by cause.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// `plain` or `signed`.
    #[serde(default)]
    pub(crate) identity: String,
    /// When its certificate runs out, and the agent stops, in Unix seconds; null where that never happens.
    pub(crate) certificate_end: Option<f64>,
    /// With which keys; null where nothing is sealed.
    pub(crate) sealing: Option<SealingInfo>,
    /// What was not opened, by cause; null where nothing is sealed.
    pub(crate) unsealed: Option<BTreeMap<String, u64>>,
    /// Whether updates had to be refused for lack of room, so that this node may differ from others.
    pub(crate) degraded: bool,
    pub(crate) data: DataInfo,
}

/// How the database fares.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DataInfo {
    /// How many updates make it up: a register is one, a counter one and one for each node that adds, a set one and one
    /// for each element; what was deleted counts until it is forgotten.
    pub(crate) updates: u64,
    /// What they take.
    pub(crate) bytes: u64,
    /// What they may take.
    pub(crate) bytes_max: u64,
    /// How many of them the disk has not taken yet.
    pub(crate) unsaved: u64,
}

/// How many members are in which state.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MembersByState {
    pub(crate) alive: u64,
    pub(crate) suspect: u64,
    pub(crate) dead: u64,
    pub(crate) left: u64,
}

impl From<MemberCounts> for MembersByState {
    fn from(MemberCounts { alive, suspect, dead, left }: MemberCounts) -> Self {
        let [alive, suspect, dead, left] = [alive, suspect, dead, left].map(|count| count as u64);
        Self { alive, suspect, dead, left }
    }
}

/// UDP datagrams, and bytes of UDP payload and streams as on the socket.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Traffic {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
}

/// Bytes that people wrote: as text where they are UTF-8, otherwise in base64.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct Payload {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Payload {
    /// The bytes again.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(encoded)) => BASE64.decode(encoded).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// For people: what is not text shows its replacement characters.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        let (payload, payload_base64) = text_or_base64(bytes);
        Self { payload, payload_base64 }
    }
}

/// Bytes as text, or where they are none as Base64.
fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// The place that a published message was given.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Published {
    pub(crate) topic: String,
    /// The name of the node that published it.
    pub(crate) origin: String,
    pub(crate) sequence: String,
    /// Of payload.
    pub(crate) bytes: u64,
}

/// A message as a subscriber gets it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct MessageDocument {
    pub(crate) topic: String,
    /// The name of the node that published it.
    pub(crate) origin: String,
    pub(crate) origin_id: String,
    pub(crate) sequence: String,
    #[serde(flatten)]
    pub(crate) payload: Payload,
    /// How many nodes it went through.
    pub(crate) hops: u8,
    /// By the origin's clock, Unix seconds.
    pub(crate) published_at: f64,
    /// By this agent's clock, Unix seconds.
    pub(crate) received_at: f64,
}

impl From<&Received> for MessageDocument {
    fn from(received: &Received) -> Self {
        let Received { message, origin_name } = received;
        Self {
            topic: message.topic.clone(),
            origin: origin_name.to_string(),
            origin_id: message.origin.to_string(),
            sequence: message.sequence.to_string(),
            payload: message.payload.as_slice().into(),
            hops: message.hops,
            published_at: message.published_at.as_secs_f64(),
            received_at: message.received_at.as_secs_f64(),
        }
    }
}

/// Messages that this subscriber will not get.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Gap {
    pub(crate) missed: u64,
    /// The name of the node that published them.
    pub(crate) origin: String,
    pub(crate) topic: String,
}

/// A line of a subscription.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DeliveryDocument {
    Message(MessageDocument),
    Missed(Gap),
}

/// When and from whom a member got a message.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct TraceStep {
    /// Its name.
    pub(crate) node: String,
    /// How many nodes the payload had gone through.
    pub(crate) hop: u8,
    /// The name of who sent it; null at the origin.
    pub(crate) from: Option<String>,
    /// By that node's clock, Unix seconds.
    pub(crate) at: f64,
}

impl From<&TraceLine> for TraceStep {
    fn from(line: &TraceLine) -> Self {
        Self {
            node: line.name.clone(),
            hop: line.step.hop,
            from: line.from_name.clone(),
            at: line.step.at.as_secs_f64(),
        }
    }
}

/// How far a message got.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct TraceSummary {
    /// `true`.
    pub(crate) done: bool,
    /// How many members have it.
    pub(crate) reached: u64,
    /// How many members were asked; null if nobody knows, with a partial view.
    pub(crate) members: Option<u64>,
    /// `members` is an estimate: the view is partial.
    pub(crate) estimated: bool,
    /// How many copies of the payload were received, by all together.
    pub(crate) payloads: u64,
}

/// How a message travelled: by hops, then by time.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<TraceStep>,
    #[serde(flatten)]
    pub(crate) summary: TraceSummary,
}

/// An answer to a query.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct AnswerDocument {
    /// The name of who answers.
    pub(crate) from: String,
    #[serde(flatten)]
    pub(crate) payload: Payload,
    /// Seconds after the question.
    pub(crate) after: f64,
}

impl From<&Answer> for AnswerDocument {
    fn from(answer: &Answer) -> Self {
        Self { from: answer.name.clone(), payload: answer.payload.as_slice().into(), after: answer.after.as_secs_f64() }
    }
}

/// How a query ended.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct QueryEnd {
    /// `true`.
    pub(crate) done: bool,
    /// Null if nobody knows, with a partial view.
    pub(crate) asked: Option<u64>,
    /// `asked` is an estimate: the view is partial.
    pub(crate) estimated: bool,
    pub(crate) answered: u64,
    /// Seconds.
    pub(crate) elapsed: f64,
}

impl From<Summary> for QueryEnd {
    fn from(Summary { asked, estimated, answered, elapsed }: Summary) -> Self {
        let (asked, answered) = (asked.map(|asked| asked as u64), answered as u64);
        Self { done: true, asked, estimated, answered, elapsed: elapsed.as_secs_f64() }
    }
}

/// A line of the answers to a query.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum AnswerLine {
    Answer(AnswerDocument),
    Done(QueryEnd),
}

/// A question for a handler.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct QuestionDocument {
    /// Under which the answer is posted.
    pub(crate) question: String,
    /// What is asked.
    pub(crate) name: String,
    /// The name of who asks.
    pub(crate) from: String,
    #[serde(flatten)]
    pub(crate) payload: Payload,
}

/// All tags of the agent's node.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct TagsDocument {
    pub(crate) tags: BTreeMap<String, String>,
}

/// What became of settings that an agent read again.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct ReloadDocument {
    /// The settings that it goes by from now on; those that name a file also where the file says something else.
    pub(crate) changed: Vec<String>,
    /// The settings that take a restart: they stay as they are.
    pub(crate) kept: Vec<String>,
}

/// Contacts to join through.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Contacts {
    /// host, host:port or \[v6\]:port.
    pub(crate) contacts: Vec<String>,
}

/// The faults that an agent applies to what it sends and receives.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct FaultsDocument {
    /// Share of the datagrams sent that get lost.
    pub(crate) loss: f64,
    /// Seconds by which everything sent is held back.
    pub(crate) delay: f64,
    /// Names of the members with whom nothing is exchanged.
    pub(crate) cut: Vec<String>,
}

/// A change of an agent's faults; what is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FaultsChange {
    /// Share of the datagrams sent that get lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<f64>,
    /// Seconds by which everything sent is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<f64>,
    /// Names or ids of members with whom nothing is exchanged from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cut: Vec<String>,
}

/// A line of the log.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// Unix seconds.
    pub(crate) at: f64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    pub(crate) message: String,
    /// What else was recorded.
    pub(crate) fields: BTreeMap<String, String>,
}

/// Why something was not done.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A word for programs.
    pub(crate) code: String,
    /// A sentence for people.
    pub(crate) detail: String,
    /// Which argument breaks a rule.
    #[serde(default)]
    pub(crate) field: Option<String>,
    /// What it is.
    #[serde(default)]
    pub(crate) value: Option<String>,
    /// What it must be.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// In which line of an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// What was done nevertheless: a write that too few other nodes confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<WrittenDocument>,
    /// What a register holds in place of what was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actual: Option<RegisterDocument>,
    /// `none` if nothing was done, `unknown` if it may have been, where the code does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.into(),
            field: None,
            value: None,
            rule: None,
            line: None,
            written: None,
            actual: None,
            outcome: None,
        }
    }

    /// A value that breaks a rule.
    pub(crate) fn value(field: impl Into<String>, value: impl ToString, rule: impl Into<String>) -> Self {
        let (field, value, rule) = (field.into(), value.to_string(), rule.into());
        let detail = format!("{field} is {value}, must be {rule}");
        Self { field: Some(field), value: Some(value), rule: Some(rule), ..Self::new("value", detail) }
    }

    /// The same about one line of an import.
    pub(crate) fn in_line(self, line: u64) -> Self {
        let detail = format!("line {line}: {}", self.detail);
        Self { line: Some(line), detail, ..self }
    }

    /// The same with more words behind it.
    pub(crate) fn and(self, words: &str) -> Self {
        Self { detail: format!("{}; {words}", self.detail), ..self }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Invalid { field, value, rule } => Self::value(field, value, rule),
            Refusal::Full { .. } | Refusal::DataFull { .. } | Refusal::RegistersFull { .. } => {
                Self::new("full", detail)
            }
            Refusal::Unknown { .. } => Self::new("absent", detail),
            Refusal::StillAlive { .. } => Self::new("still_alive", detail),
            Refusal::Alone => Self::new("alone", detail),
            Refusal::NotLocated { .. } => Self::new("not_located", detail),
            Refusal::Leaving => Self::new("leaving", detail),
            Refusal::NotStored { .. } | Refusal::RevocationNotStored => Self::new("not_stored", detail),
            Refusal::NotDurable => Self::new("not_durable", detail),
            Refusal::NoVoters => Self::new("no_voters", detail),
            Refusal::TwoFoundings { .. } => Self::new("two_foundings", detail),
            Refusal::VotersChange => Self::new("voters_change", detail),
            Refusal::Held { .. } => Self::new("held", detail),
            Refusal::NotHeld => Self::new("not_held", detail),
            Refusal::NoQuorum { .. } => Self::new("no_quorum", detail),
            Refusal::WritesWaiting { .. } | Refusal::OperationsWaiting { .. } | Refusal::QuestionsWaiting { .. } => {
                Self::new("busy", detail)
            }
            Refusal::WrongKind { .. } => Self::new("wrong_kind", detail),
            Refusal::Mismatch { actual, expected, .. } => {
                let word =
                    |revision: Option<Revision>| revision.map_or_else(|| "absent".to_owned(), |it| it.to_string());
                let (field, value, rule) = (Some("version".to_owned()), Some(word(actual)), Some(word(expected)));
                Self { field, value, rule, ..Self::new("mismatch", detail) }
            }
            Refusal::ClockAhead { .. } => Self::new("clock_ahead", detail),
            Refusal::Late => Self::new("late", detail),
            Refusal::NotConfirmed => Self::new("not_confirmed", detail),
            Refusal::At { refusal, .. } => Self::from(*refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Incarnation, NodeId, State, Wall};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_shows_its_id_as_text_and_what_is_absent_as_null() {
        let member = Member {
            id: NodeId(0xab),
            name: "n1".to_owned(),
            addresses: vec!["127.0.0.1:4747".parse().unwrap()],
            state: State::Alive,
            incarnation: Incarnation::of_boot(2).next(),
            tags: [("dev".to_owned(), "true".to_owned())].into(),
            since: Wall::from_micros(1_500_000),
            rtt: None,
            is_self: true,
            protocol: (1, 1),
            view: rumormill_core::io::InView::Full,
        };
        assert_eq!(
            serde_json::to_value(MemberDocument::from(&member)).unwrap(),
            json!({
                "id": "00000000000000ab", "name": "n1", "address": "127.0.0.1:4747", "state": "alive",
                "incarnation": "2.1", "tags": { "dev": "true" }, "since": 1.5, "rtt": null, "self": true,
                "protocol": { "min": 1, "max": 1 }, "view": "full",
            })
        );
    }

    #[test]
    fn a_payload_is_text_where_it_can_be_and_survives_where_it_cannot() {
        let text = Payload::from("hello".as_bytes());
        assert_eq!(serde_json::to_value(&text).unwrap(), json!({ "payload": "hello" }));
        let bytes = Payload::from(&[0xff, 0x00][..]);
        assert_eq!(serde_json::to_value(&bytes).unwrap(), json!({ "payload_base64": "/wA=" }));
        assert_eq!(bytes.bytes(), [0xff, 0x00]);
    }

    #[test]
    fn a_trace_is_its_steps_and_a_summary_on_one_level() {
        let summary = TraceSummary { done: true, reached: 5, members: Some(5), estimated: false, payloads: 6 };
        let document = serde_json::to_value(Trace { steps: vec![], summary }).unwrap();
        assert_eq!(
            document,
            json!({ "steps": [], "done": true, "reached": 5, "members": 5, "estimated": false, "payloads": 6 })
        );
    }
}
