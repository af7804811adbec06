//! What a node tells of its members: a copy that an application may keep.

use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::{Incarnation, NodeId, Tags};
use crate::time::Wall;

/// The state of a member. The order is the order of precedence within one incarnation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub enum State {
    /// Answers, as far as anybody knows.
    Alive,
    /// Did not answer; will be dead unless it contradicts in time.
    Suspect,
    /// Did not contradict in time.
    Dead,
    /// Said goodbye, or was declared to have done so by an operator.
    Left,
    /// Struck from the list by an operator.
    Removed,
    /// The authority has revoked its certificate. No claim says so: nothing that it says of itself, or others do, counts.
    Revoked,
}

impl State {
    /// The word that documents and people use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
        }
    }

    /// Whether a member in this state is still talked to.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// What a node knows of a member: a copy that an application may keep.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// Under which name it is shown: its own, or `name~id4` while another holds that one.
    pub name: String,
    /// Where it is reached, the preferred address first.
    pub addresses: Vec<SocketAddr>,
    /// Its state as this node knows it.
    pub state: State,
    /// The incarnation that the state belongs to.
    pub incarnation: Incarnation,
    /// What it says about itself.
    pub tags: Tags,
    /// Since when this node knows it in this state; to the second.
    pub since: Wall,
    /// Smoothed round-trip time of probes, if there was one.
    pub rtt: Option<Duration>,
    /// Whether this is the node itself.
    pub is_self: bool,
    /// The lowest and the highest protocol version that it speaks.
    pub protocol: (u8, u8),
    /// In which view of the node it is.
    pub view: InView,
}

/// In which view of a node a member is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum InView {
    /// The full one: the node knows every member.
    Full,
    /// The active one: it is a neighbour.
    Active,
    /// The passive one: it could be a neighbour. Only its id and its address are known, and that it was there.
    Passive,
}

impl InView {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// What changed about a member.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub enum MemberChange {
    /// It is there: new, or back from being dead or left.
    Joined,
    /// Address, name, tags or incarnation changed.
    Updated,
    /// It became suspect.
    Suspected,
    /// It was suspect and is alive.
    Refuted,
    /// It is dead.
    Failed,
    /// It left.
    Left,
    /// It was removed, or its certificate ran out: it is no longer listed.
    Removed,
    /// Its name is now another member's; it is shown as `name~id4`.
    Replaced,
    /// The authority has revoked its certificate: nobody listens to it any more.
    Revoked,
}

impl MemberChange {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Joined,
        Self::Updated,
        Self::Suspected,
        Self::Refuted,
        Self::Failed,
        Self::Left,
        Self::Removed,
        Self::Replaced,
        Self::Revoked,
    ];

    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Updated => "updated",
            Self::Suspected => "suspected",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
        }
    }
}
