//! Why a command was refused.

use std::time::Duration;

use crate::agreement::FoundingId;
use crate::data::Revision;
use crate::datum::Kind;
use crate::identity::NodeId;

/// Why a command was refused. Nothing was changed, except where it says that this is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, serde::Serialize)]
pub enum Refusal {
    /// Nobody took part in an epoch with whoever began it, and neither did that one to the end.
    #[error("no other node took part")]
    Alone,
    /// A value breaks a rule.
    #[error("{field} is {value}, must be {rule}")]
    Invalid {
        /// Which argument.
        field: &'static str,
        /// What was given, or its size.
        value: String,
        /// What would be accepted.
        rule: String,
    },
    /// The messages that the fleet has not yet drained fill the store; try again later.
    #[error("messages are published faster than they drain ({bytes} of {limit} bytes kept); try again later")]
    Full {
        /// Bytes held.
        bytes: usize,
        /// The most that may be held.
        limit: usize,
    },
    /// The database is full; deletions are still taken.
    #[error("the database is full ({bytes} of {limit} bytes); delete something first")]
    DataFull {
        /// Bytes that it would hold.
        bytes: usize,
        /// The most that it may hold.
        limit: usize,
    },
    /// More writes wait for the disk than may.
    #[error("{waiting} writes wait for the disk; try again later")]
    WritesWaiting {
        /// How many wait.
        waiting: usize,
    },
    /// The key holds something of another kind.
    #[error("{key:?} is a {}, which is no {}; delete it first", held.as_str(), wanted.as_str())]
    WrongKind {
        /// Which key.
        key: String,
        /// What it holds.
        held: Kind,
        /// What the write is for.
        wanted: Kind,
    },
    /// The key is not at the revision that was asked for.
    #[error("{key:?} is {}, not {}", revision(*actual), revision(*expected))]
    Mismatch {
        /// Which key.
        key: String,
        /// What was asked for; none for absent.
        expected: Option<Revision>,
        /// What it is at.
        actual: Option<Revision>,
    },
    /// One of several writes was refused, so none was made.
    #[error("write {} of several: {refusal}", place + 1)]
    At {
        /// Which, from 0.
        place: usize,
        /// Why.
        refusal: Box<Self>,
    },
    /// What is written with this clock would be refused by others.
    #[error("this node's clock is {} s ahead of its peers'; what it writes would be refused elsewhere", ahead.as_secs())]
    ClockAhead {
        /// By how much.
        ahead: Duration,
    },
    /// The write did not have its turn in time: nothing was written.
    #[error("the write did not have its turn within its time, and was not made")]
    Late,
    /// The disk did not say in time whether it has the write: it may be made yet, or fail. Nobody is told of it before it is
    /// durable.
    #[error("the disk has not confirmed the write within its time; whether it is made is not known yet")]
    NotConfirmed,
    /// Nobody votes on registers yet.
    #[error("nobody votes on registers yet: voters have to be named, and all of them to join")]
    NoVoters,
    /// Two sets of voters were founded apart from each other.
    #[error("voters were named twice, apart from each other ({first} and {second}); an operator has to drop one")]
    TwoFoundings {
        /// One of them.
        first: FoundingId,
        /// Another.
        second: FoundingId,
    },
    /// Another change of voters is under way.
    #[error("another change of voters is under way")]
    VotersChange,
    /// The operation was not decided in time.
    #[error(
        "no quorum agreed in time; {}; {}",
        unheard_of(unheard),
        if *unknown { "whether it was done is not known" } else { "nothing was done" }
    )]
    NoQuorum {
        /// Who was asked and did not answer: voters, or the peer that was to propose it. Nobody where others were ahead all the time.
        unheard: Vec<NodeId>,
        /// Whether it may have been done, or may be yet.
        unknown: bool,
    },
    /// Another has the lease.
    #[error("{by:?} has it, with token {token}")]
    Held {
        /// What it is shown as.
        by: String,
        /// With which token.
        token: u64,
    },
    /// Another has the lease, or nobody.
    #[error("it is no longer held with this token")]
    NotHeld,
    /// More questions of this node's own are open than may be.
    #[error("{waiting} questions wait for answers; try again later")]
    QuestionsWaiting {
        /// How many.
        waiting: usize,
    },
    /// More operations are on their way than may be.
    #[error("{waiting} operations on registers are on their way; try again later")]
    OperationsWaiting {
        /// How many.
        waiting: usize,
    },
    /// There are as many registers as there may be.
    #[error("there are {registers} registers, and may be {limit}; delete some first")]
    RegistersFull {
        /// How many there are.
        registers: usize,
        /// How many there may be.
        limit: usize,
    },
    /// No such member, message, query, key or element.
    #[error("no {what} {name}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// Nothing is known of where nodes are: they did not say in time, or have measured too little.
    #[error("it is not known where {} {}", list(.nodes), if .nodes.len() == 1 { "is" } else { "are" })]
    NotLocated {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// The member is alive, and `force` was not given.
    #[error("{name} is {state}; only dead and left members are removed unless forced")]
    StillAlive {
        /// Whom.
        name: String,
        /// Its state.
        state: &'static str,
    },
    /// The node is leaving or has left.
    #[error("this node is leaving")]
    Leaving,
    /// What had to be durable first could not be stored.
    #[error(
        "nothing of this node's own is durable now: its boot is being stored, or the data directory takes no writes"
    )]
    NotDurable,
    /// A revocation counts and spreads, but the data directory of this node has not taken it yet.
    #[error(
        "the member is revoked and others hear of it, but this node's data directory has not taken that yet; revoke it again to be sure"
    )]
    RevocationNotStored,
    /// The data directory does not take writes now. Every further request tries again.
    #[error("the data directory does not take writes: {reason}")]
    NotStored {
        /// What the driver said.
        reason: String,
    },
}

fn unheard_of(ids: &[NodeId]) -> String {
    if ids.is_empty() {
        return "all who were asked answered".to_owned();
    }
    format!("not heard: {}", list(ids))
}

fn list(ids: &[NodeId]) -> String {
    ids.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

fn revision(revision: Option<Revision>) -> String {
    revision.map_or_else(|| "absent".to_owned(), |revision| format!("at version {revision}"))
}
