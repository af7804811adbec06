//! What goes into a node and what comes out: the whole boundary between the core and its driver.

mod member;
mod refusal;
mod warning;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::Aggregate;
use crate::agreement::{self, FoundingId, Outcome, Value};
use crate::config::Config;
use crate::data::{Change, Write, Written};
use crate::identity::{NodeId, Record, Sequence, Tags};
use crate::recording::bytes;
use crate::time::Wall;

pub use member::{InView, Member, MemberChange, State};
pub use refusal::Refusal;
pub use warning::{ContactError, Warning};

/// A stream between two nodes, reliable and in order. The core numbers those that it opens with even numbers
/// from 2, the driver those that it accepts with odd ones.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct StreamId(pub u64);

/// What a command is known by until its [`Event::Done`]. The driver picks it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Ticket(pub u64);

/// What a [`Output::Persist`] is known by until its answer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Token(pub u64);

/// The name of the query by which drivers that seal change the cluster's keys. The node carries it like any other, and cannot
/// read what it says.
pub const KEYS_QUERY: &str = ">keys";

/// Everything that can happen to a node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub enum Input<'a> {
    /// A datagram came in.
    Datagram {
        /// Its source address, which anybody may have forged.
        from: SocketAddr,
        /// The whole payload.
        #[serde(borrow, serialize_with = "bytes::serialize")]
        bytes: &'a [u8],
    },
    /// Another node opened a stream to this one.
    StreamOpened {
        /// An odd number that was never used before.
        stream: StreamId,
        /// The other end.
        from: SocketAddr,
    },
    /// Bytes arrived on a stream; how they are cut into pieces carries no meaning.
    StreamBytes {
        /// Which stream.
        stream: StreamId,
        /// At least one byte.
        #[serde(borrow, serialize_with = "bytes::serialize")]
        bytes: &'a [u8],
    },
    /// All that was transmitted on the stream so far has been handed to the network; the next piece may follow.
    StreamWritten {
        /// Which stream.
        stream: StreamId,
    },
    /// The stream ended: closed or reset by the other end, timed out, or never opened.
    StreamClosed {
        /// Which stream.
        stream: StreamId,
    },
    /// A stream that this node opened has ended before it began: the other end does not take its key.
    StreamRefused {
        /// Which stream.
        stream: StreamId,
    },
    /// The deadline of [`Node::poll_timeout`](crate::Node::poll_timeout) has passed. All waiting input comes first.
    Timeout,
    /// The records are durable. Tokens complete in the order in which they were asked for.
    Persisted {
        /// Which request.
        token: Token,
    },
    /// The records could not be stored.
    PersistFailed {
        /// Which request.
        token: Token,
        /// Why, for people.
        reason: String,
    },
    /// The application asks for something; [`Event::Done`] answers.
    Command {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What to do.
        command: Command,
    },
    /// Nobody waits for the answer of a command any more. An [`Command::Acquire`] ends with that, and what it has won since is
    /// given back; others go on.
    Abandoned {
        /// Of which command.
        ticket: Ticket,
    },
}

/// What an application asks of its node.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub enum Command {
    /// Try these contacts, now and with back-off until one of them answers. Done once one has.
    Join {
        /// Addresses of any nodes of the cluster.
        contacts: Vec<SocketAddr>,
    },
    /// Forget contacts: they are not tried any more, unless they are members. Who joins through nobody else is refused.
    DropContacts {
        /// Addresses that were given before.
        contacts: Vec<SocketAddr>,
    },
    /// Write down now whom this node knows, as it does from time to time, and send what nobody has fetched to somebody: it is about to be
    /// stopped.
    Remember,
    /// Go on with these settings. Refused where they differ in one that takes a restart ([`RELOADED`](crate::config::RELOADED)).
    Configure {
        /// All of them.
        config: Box<Config>,
    },
    /// Leave for good: tell others for five rounds, at most for `leave_timeout`, then [`Event::Stopped`].
    Leave,
    /// Strike a dead or left member from the list, everywhere.
    Remove {
        /// Whom.
        member: NodeId,
        /// Also a member that is alive or suspect. If it still runs it comes back.
        force: bool,
    },
    /// Pass on an update by which the authority revokes a member's certificate. Ends as [`Reply::Revoked`].
    Revoke {
        /// The update.
        revocation: Vec<u8>,
    },
    /// Replace this node's tags.
    SetTags {
        /// All of them.
        tags: Tags,
    },
    /// Send a message to every node.
    Publish {
        /// 1 to 255 bytes, without `*` and `>`.
        topic: String,
        /// Up to `payload_bytes_max`.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    },
    /// Ask all members, or those that have all of `filter`'s tags. Answers come as [`Event::Answer`], the end as
    /// [`Event::Answered`].
    Query {
        /// What handlers select by; 1 to 255 bytes.
        name: String,
        /// For the handlers; up to 1 KiB.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
        /// Only members with these tags are asked.
        filter: Tags,
        /// Only so many of them, those nearest to this node by round trip, itself not counted: 1 to 64. With a partial view
        /// they are neighbours.
        nearest: Option<usize>,
        /// How long answers are waited for.
        timeout: Duration,
    },
    /// Answer a query that came as [`Event::Query`].
    Answer {
        /// Which query.
        query: QueryId,
        /// Up to 64 KiB; above 1 KiB it travels by stream.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    },
    /// Change data: all of `writes` or none of them. Done once that is durable here, and then, if `replicas` is not zero,
    /// once so many other nodes hold it durably or `timeout` is over.
    Write {
        /// What to do, in this order. Of more than one, a refusal names which.
        writes: Vec<Write>,
        /// How many other nodes are to confirm.
        replicas: usize,
        /// How long to wait for the turn of the write, and for confirmations.
        timeout: Duration,
    },
    /// Give this node's gauge of a name a value, or take it away. Nothing is sent: it counts where somebody asks for an
    /// aggregate.
    SetGauge {
        /// 1 to 64 bytes without control characters.
        name: String,
        /// A finite number, or none.
        value: Option<f64>,
    },
    /// Find out what the values of a gauge on all nodes add up to, by an epoch of averaging in which all take part: done after
    /// some twenty rounds, two in each gossip interval, and then every node has the answer. One that is under way already is waited for.
    Aggregate {
        /// Its name.
        gauge: String,
        /// From 0 to 1: below which number this part of the values lies is told as well.
        quantile: Option<f64>,
    },
    /// Find out whether [`Command::Write`] would be refused now; nothing is written.
    Check {
        /// What would be written, in this order.
        writes: Vec<Write>,
        /// By how many bytes others that are to be written first let the store grow.
        growth: usize,
    },
    /// Name the first voters of registers. They join, each at most one founding in its life; once all have, registers can be
    /// used.
    Found {
        /// Whom; each once.
        voters: Vec<NodeId>,
    },
    /// Drop a founding for good, everywhere: what was agreed on in it is lost. For two clusters that each had one and met.
    DropFounding {
        /// Which.
        founding: FoundingId,
    },
    /// Change who votes. Done once that is decided; what the new voters lack is taken over then.
    ChangeVoters {
        /// All that are to vote.
        voters: Vec<NodeId>,
        /// How long it may take.
        timeout: Duration,
    },
    /// Read a register, or change it by compare-and-set, linearizably.
    Operate {
        /// 1 to 255 bytes.
        register: String,
        /// What to do.
        change: agreement::Change,
        /// How long it may take; then it ends as [`Refusal::NoQuorum`].
        timeout: Duration,
    },
    /// Have a lease, as soon as nobody else has it. Whoever has it, by the same holder, gets it again at once, with the same
    /// token. Ends as [`Reply::Leased`].
    Acquire {
        /// Which: 1 to 200 bytes.
        lease: String,
        /// Whoever asks: a random number above 0 of its own, whatever node it asks.
        holder: u64,
        /// What people are shown: at most 64 bytes.
        label: String,
        /// For how long, from 1 s to 1 h. Whoever has it counts from before it asked.
        ttl: Duration,
        /// How long it may take; then it ends as [`Refusal::Held`] or [`Refusal::NoQuorum`].
        timeout: Duration,
    },
    /// Have a lease for longer, from now on. Ends as [`Reply::Leased`], or as [`Refusal::NotHeld`] if it was lost.
    Renew {
        /// Which.
        lease: String,
        /// By whom it was acquired.
        holder: u64,
        /// With which token.
        token: u64,
        /// For how long; never for less than others wait already.
        ttl: Duration,
        /// How long it may take.
        timeout: Duration,
    },
    /// Have a lease no more. Ends as [`Reply::Accepted`], or as [`Refusal::NotHeld`] if it was lost.
    Release {
        /// Which.
        lease: String,
        /// By whom it was acquired.
        holder: u64,
        /// With which token.
        token: u64,
        /// How long it may take.
        timeout: Duration,
    },
    /// Find out how long a packet and its answer take between two nodes. Ends as [`Reply::RoundTrip`]: at once if this node is one of
    /// them and has measured it, or knows where both are; otherwise those two are asked where they are.
    RoundTrip {
        /// From whom; with a full view a member.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// How long answers are waited for.
        timeout: Duration,
    },
    /// Give a lease back that was acquired for somebody who has gone without hearing of it, unless it was renewed or acquired
    /// again since: then somebody has it. Ends as [`Reply::Accepted`], or as [`Refusal::NotHeld`].
    Forgo {
        /// Which.
        lease: String,
        /// By whom it was acquired.
        holder: u64,
        /// With which token.
        token: u64,
        /// How long it may take.
        timeout: Duration,
    },
    /// Ask every member when it got a message and from whom. Lines come as [`Event::Trace`], the end as
    /// [`Event::Answered`].
    Trace {
        /// The message's topic.
        topic: String,
        /// Who published it.
        origin: NodeId,
        /// Which of its messages.
        sequence: Sequence,
        /// How long lines are waited for.
        timeout: Duration,
    },
}

/// What an epoch of a gauge has found.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Found {
    /// The gauge.
    pub gauge: String,
    /// What its values are together.
    pub aggregate: Aggregate,
    /// The one that was asked for; absent if no node has a value.
    pub quantile: Option<Quantile>,
    /// Which epoch: who began it, and a number of its own.
    pub epoch: QueryId,
    /// How many rounds it went through.
    pub rounds: u32,
}

/// The number below which a part of the values lies, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Quantile {
    /// The part.
    pub part: f64,
    /// It is not below this.
    pub low: f64,
    /// Nor above this.
    pub high: f64,
}

/// A query: who asked, and a number of the asker's own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct QueryId {
    /// Who asked.
    pub origin: NodeId,
    /// Unique for this origin.
    pub sequence: Sequence,
}

/// How bytes leave.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub enum Channel {
    /// One datagram, which may get lost.
    Datagram,
    /// A stream. The first bytes on an even number that was not used before open it.
    Stream(StreamId),
}

/// What a node wants done.
#[derive(Debug, serde::Serialize)]
pub enum Output {
    /// Send bytes.
    Transmit {
        /// To whom; for a stream that another node opened, where it came from.
        to: SocketAddr,
        /// How.
        channel: Channel,
        /// What: a whole datagram, or a piece of a stream.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// Send what was handed over, then end the stream. No [`Input::StreamClosed`] follows.
    Close {
        /// Which stream.
        stream: StreamId,
    },
    /// Make records durable, all or none, then answer with [`Input::Persisted`] or [`Input::PersistFailed`].
    Persist {
        /// Comes back with the answer.
        token: Token,
        /// In order.
        records: Vec<Record>,
    },
    /// Tell the application.
    Event(Event),
}

/// A message as a subscriber gets it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// By whom.
    pub origin: NodeId,
    /// Which of its messages on this topic.
    pub sequence: Sequence,
    /// What it says.
    #[serde(with = "bytes")]
    pub payload: Vec<u8>,
    /// How many nodes it went through on its way: 0 at the origin itself.
    pub hops: u8,
    /// When the origin published it, by the origin's clock.
    pub published_at: Wall,
    /// When it came here, by this node's clock.
    pub received_at: Wall,
}

/// When and from whom a member got a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct TraceStep {
    /// Whose step this is.
    pub node: NodeId,
    /// How many nodes the payload had gone through.
    pub hop: u8,
    /// Who sent it; `None` at the origin.
    pub from: Option<NodeId>,
    /// When it came, by that node's clock.
    pub at: Wall,
    /// How many copies of the payload that node received in all.
    pub payloads: u32,
}

/// What a node tells its application.
#[derive(Clone, Debug, serde::Serialize)]
pub enum Event {
    /// The boot is durable: the node speaks from now on.
    Started {
        /// Which start this is, from 1.
        boot: u64,
    },
    /// Something changed about a member, this node included.
    Member {
        /// What.
        change: MemberChange,
        /// Who brought the news, or decided it: this node itself, the sender of the claim, or the first accuser.
        by: NodeId,
        /// The member after the change.
        member: Box<Member>,
    },
    /// A message came, in its origin's order.
    Message(Arc<Message>),
    /// Messages that will not come any more: `count` of them before the next that does.
    Missed {
        /// Where.
        topic: String,
        /// Whose.
        origin: NodeId,
        /// How many.
        count: u64,
    },
    /// A key changed, by a write of this node or of another, or because its value ran out.
    Data(Arc<Change>),
    /// A register holds something else, as far as the votes seen here show; later changes may be hidden.
    Register {
        /// Which.
        register: String,
        /// How many operations have changed it.
        version: u64,
        /// What it holds; nothing after a deletion.
        value: Option<Value>,
    },
    /// A lease has another holder, or none, as far as the votes seen here show.
    Lease {
        /// Which.
        lease: String,
        /// What its holder is shown as.
        label: String,
        /// With which token it is or was held.
        token: u64,
        /// Whether it was acquired, rather than released. Its time may be over.
        is_held: bool,
    },
    /// A query for handlers of the application.
    Query {
        /// To answer it by.
        query: QueryId,
        /// What is asked.
        name: String,
        /// With what.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
    },
    /// An answer to a query of this node.
    Answer {
        /// Of the query.
        ticket: Ticket,
        /// Who answers.
        from: NodeId,
        /// What that one is called.
        name: String,
        /// What.
        #[serde(with = "bytes")]
        payload: Vec<u8>,
        /// How long after the question.
        after: Duration,
    },
    /// A line of a trace that this node asked for.
    Trace {
        /// Of the command.
        ticket: Ticket,
        /// What the member is called.
        name: String,
        /// What it said.
        step: TraceStep,
    },
    /// A query or trace ended: everybody answered, or its time is over. With a partial view, where nobody knows who everybody
    /// is: its time is over, or nothing came any more after as many answers as the cluster has nodes by the estimate.
    Answered {
        /// Of the command.
        ticket: Ticket,
        /// How many members were asked, this node included. `None` if nobody knows: with a partial view and a filter, or before
        /// the first estimate.
        asked: Option<usize>,
        /// `asked` is an estimate: the view is partial.
        estimated: bool,
        /// How many answered.
        answered: usize,
        /// How long it took.
        elapsed: Duration,
    },
    /// A command ended. Queries and traces first end with `Ok(Reply::Accepted)`, then go on.
    Done {
        /// Of the command.
        ticket: Ticket,
        /// How it ended.
        result: Result<Reply, Refusal>,
    },
    /// A contact did not answer, or refused; it is tried again after `retry_after`.
    ContactFailed {
        /// Which.
        contact: SocketAddr,
        /// Why, for people.
        reason: ContactError,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// Something that an operator should know. Each kind is told at most once a minute.
    Warning(Warning),
    /// The node said goodbye or has to stop; it will not speak again.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// What a command that succeeded gives back.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub enum Reply {
    /// A query or trace is on its way, or an answer, a tag change, a removal is accepted.
    Accepted,
    /// A contact answered.
    Joined {
        /// Which.
        contact: SocketAddr,
    },
    /// A member's certificate is revoked.
    Revoked {
        /// Whose.
        id: NodeId,
    },
    /// Others were told for five rounds, or `leave_timeout` passed.
    Left,
    /// The message was given its place.
    Published {
        /// Which place.
        sequence: Sequence,
    },
    /// Data were changed.
    Written(Box<Written>),
    /// An operation on a register ended.
    Operated(Outcome),
    /// A lease is held.
    Leased {
        /// What fences: it rises with each acquisition.
        token: u64,
        /// What is left, now, of the time that was asked for, counted from before the last swap was asked for. Whoever cannot be
        /// sure that this reply came at once counts from before the command instead.
        held_for: Duration,
    },
    /// What an epoch of a gauge has found.
    Aggregated(Box<Found>),
    /// How long it takes there and back.
    RoundTrip {
        /// This.
        rtt: Duration,
        /// Whether it was measured, smoothed over some pings; else it is estimated.
        measured: bool,
    },
    /// Data can be changed so.
    Checked {
        /// By how many bytes the store would grow, with what was to be written first.
        growth: usize,
    },
}

/// Why a node stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error, serde::Serialize)]
pub enum StopReason {
    /// It left, as asked.
    #[error("left")]
    Left,
    /// Two processes share this identity.
    #[error("two processes share this identity")]
    SharedIdentity,
    /// The boot could not be stored, so this identity must not speak.
    #[error("the boot could not be stored")]
    BootNotStored,
    /// The authority has revoked this node's certificate.
    #[error(
        "the authority has revoked this node's certificate; to come back it needs a new identity, that is an empty data directory, and a certificate for that"
    )]
    Revoked,
    /// This node's certificate has run out.
    #[error("this node's certificate has run out; have it admitted again, and start with the new certificate")]
    CertificateExpired,
}
