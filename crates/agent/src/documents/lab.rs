//! Documents of the laboratory as an agent serves it; the outcomes are those of `rumor lab`.

use serde::Serialize;
use utoipa::ToSchema;

/// The first event of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LabStarted {
    /// The command line that does the same.
    pub(crate) command: String,
    /// The share of nodes that is to know by round from 0, or by hop on the virtual network; null where no formula says so.
    pub(crate) theory: Option<Vec<f64>>,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum LabProgress {
    /// Of the model.
    Spread {
        /// Which of its runs, from 1.
        run: usize,
        /// How many there are.
        runs: usize,
        /// The share of nodes that knows in that run, by round from 0.
        known: Vec<f64>,
    },
    /// On the virtual network.
    Run {
        /// Virtual time since the start, in seconds.
        at: f64,
        /// When it is to end.
        until: f64,
        /// When all had joined.
        joined_after: Option<f64>,
        /// Seconds since publication, and the share of those that were to get a message and had it, of all messages together.
        heard: Vec<(f64, f64)>,
        /// The same of failures, and of those that were to know.
        known: Vec<(f64, f64)>,
        /// The share of those that were to get a message and had it, by hop from 0.
        hops: Vec<f64>,
    },
}
