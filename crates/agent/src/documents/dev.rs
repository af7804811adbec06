//! Documents of `rumor dev`: what it runs, and what it is told to do with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a `rumor dev` runs, and which faults it keeps up.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DevDocument {
    /// Its agents, in the order in which they started.
    pub(crate) nodes: Vec<DevNode>,
    /// Share of the datagrams of each agent that get lost.
    pub(crate) loss: f64,
    /// Names of agents: those of one group exchange nothing with those of another. None if nothing is cut.
    pub(crate) groups: Vec<Vec<String>>,
}

/// An agent of a `rumor dev`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DevNode {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) pid: u32,
    /// Where it serves HTTP.
    pub(crate) http: Option<String>,
    pub(crate) state: DevState,
}

/// What the process of an agent does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DevState {
    /// It runs.
    Running,
    /// It stands still, as one that swaps or is collected.
    Paused,
    /// It is gone.
    Ended,
}

/// What a `rumor dev` is to do.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "order", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum DevOrder {
    /// Say what runs.
    Show {},
    /// Let an agent stand still (SIGSTOP).
    Pause {
        /// By name.
        node: String,
    },
    /// Let it go on (SIGCONT).
    Resume {
        /// By name.
        node: String,
    },
    /// End its process without a word (SIGKILL).
    Kill {
        /// By name.
        node: String,
    },
    /// Start it again, from its data directory.
    Restart {
        /// By name.
        node: String,
    },
    /// Let every agent lose a share of the datagrams that it sends.
    Loss {
        /// From 0 to 1.
        share: f64,
    },
    /// Let groups exchange nothing with each other.
    Cut {
        /// Each a list of names.
        groups: Vec<Vec<String>>,
    },
    /// Undo loss and cuts.
    Heal {},
}
