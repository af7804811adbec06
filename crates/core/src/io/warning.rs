//! What an operator should know, and why a contact did not let a node in.

use std::net::SocketAddr;

use crate::credentials::Distrust;
use crate::identity::NodeId;

/// Why a contact did not let this node in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, serde::Serialize)]
pub enum ContactError {
    /// No stream could be opened, or it ended early.
    #[error("it does not answer")]
    Unreachable,
    /// It belongs to another cluster.
    #[error("it belongs to another cluster")]
    ForeignCluster,
    /// It speaks no version that this node speaks.
    #[error("it speaks protocol version {major}, this node {ours}")]
    Version {
        /// Its major version.
        major: u8,
        /// Ours.
        ours: u8,
    },
    /// Settings that a cluster must share differ.
    #[error(
        "its shared settings differ from ours (view, identity, authority, history limits and certificate times must be the same everywhere)"
    )]
    Settings,
    /// Its certificate was revoked.
    #[error("the authority has revoked its certificate")]
    Revoked,
    /// It does not take this node's certificate.
    #[error("it takes no certificate of this node: of another authority, run out, or for another key or name")]
    NotAdmitted,
    /// It is this node itself.
    #[error("it is this node itself")]
    Myself,
    /// It does not take what this node seals: it has another key, none, or another cluster's name.
    #[error("it ended the stream before it answered: no key in common, another cluster's name, or no room")]
    NoCommonKey,
}

/// What an operator should know.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error, serde::Serialize)]
pub enum Warning {
    /// A node of another cluster speaks to this one.
    #[error("{from} belongs to another cluster and is not listened to")]
    ForeignCluster {
        /// One of the senders.
        from: SocketAddr,
    },
    /// A peer speaks a newer major version.
    #[error("{from} speaks protocol version {major}, which this node does not know")]
    NewerVersion {
        /// One of the senders.
        from: SocketAddr,
        /// What it speaks.
        major: u8,
    },
    /// A member that came first, or is alive, holds this node's name.
    #[error("the name {name} is held by {holder}; this node is shown as {shown}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who holds it.
        holder: NodeId,
        /// How this node is shown.
        shown: String,
    },
    /// Another process spoke with this node's identity; the boot was raised once.
    #[error("another process uses this node's identity: a copy of the data directory?")]
    IdentityInUse,
    /// A restored backup: the cluster has seen a higher boot of this node, which went above it.
    #[error("the cluster has seen boot {seen} of this node, which had only {stored}: a restored backup?")]
    BootBehind {
        /// What the cluster knows.
        seen: u64,
        /// What was stored.
        stored: u64,
    },
    /// This node is a voter whose disk is behind what it has said: a restored backup. It votes no more.
    #[error("this node has voted on more than its disk remembers, and votes no more: name another voter in its place")]
    VoterStopped,
    /// Updates that somebody passes on do not count.
    #[error("{from} at {address} passes on updates that do not count: {reason}")]
    NotTrusted {
        /// One of the senders.
        from: NodeId,
        /// Where that one is.
        address: SocketAddr,
        /// What was wrong with one of them.
        reason: Distrust,
    },
    /// Somebody wants to join who must not.
    #[error("{peer} at {from} was not let in: {reason}")]
    NotAdmitted {
        /// One of them.
        peer: NodeId,
        /// Where that one is.
        from: SocketAddr,
        /// Why, as it is told.
        reason: ContactError,
    },
    /// The data directory has data of another kind of identity, or of another authority.
    #[error(
        "data that were written before identity was changed are not taken up: export them with the old setting, and import them"
    )]
    OtherIdentity,
    /// Records could not be stored; what is not durable is not said.
    #[error("the data directory does not take writes: {reason}")]
    PersistFailed {
        /// What the driver said.
        reason: String,
    },
}
