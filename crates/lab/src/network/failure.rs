//! Why a run ended early.

use std::fmt;
use std::time::Duration;

use super::check::Breach;

/// A rule was broken, or something did not come true in time. Shows the line that replays the run.
#[derive(Clone, Eq, PartialEq)]
pub struct Failure {
    pub(crate) at: Duration,
    pub(crate) node: Option<usize>,
    pub(crate) breach: Breach,
    pub(crate) trace_hash: u64,
    pub(crate) replay: String,
}

impl Failure {
    /// The rule.
    pub fn rule(&self) -> &'static str {
        self.breach.rule
    }

    /// The hash over all inputs until then.
    pub fn trace_hash(&self) -> u64 {
        self.trace_hash
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breach { rule, detail } = &self.breach;
        write!(f, "after {:?}", self.at)?;
        if let Some(node) = self.node {
            write!(f, " at n{node}")?;
        }
        write!(f, ": {rule}: {detail}\ntrace hash {:016x}\nreplay: {}", self.trace_hash, self.replay)
    }
}

/// As it displays, so that `unwrap` in a test shows sentences.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failure {}
