//! What agents say about the death of members that live.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sighting::Change;

/// Suspicions and false deaths of living members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    /// `failed` events about a living member, one for each agent that says so. Each is a false positive.
    pub(crate) failed: usize,
    /// `suspected` events about a living member, likewise.
    pub(crate) suspected: usize,
    /// `refuted` events, likewise.
    pub(crate) refuted: usize,
    /// Which members were suspected at which incarnation: one suspicion is seen by many.
    suspicions: BTreeSet<(String, String)>,
    /// How often an agent's stream left events out, so that something may be missing here.
    pub(crate) gaps: usize,
    /// Every false death: who said so of whom.
    pub(crate) deaths: Vec<String>,
}

impl Alarms {
    /// Notes what `witness` says about a living member.
    pub(crate) fn note(&mut self, change: Change, witness: &str, name: &str, incarnation: &str, by: &str) {
        match change {
            Change::Suspected => {
                self.suspected += 1;
                self.suspicions.insert((name.to_owned(), incarnation.to_owned()));
            }
            Change::Refuted => self.refuted += 1,
            Change::Failed => {
                self.failed += 1;
                self.deaths.push(format!("{name} (incarnation {incarnation}) at {witness}, by {by}"));
            }
            Change::Alive | Change::Gone => {}
        }
    }

    /// How many suspicions there were, however many saw each.
    pub(crate) fn suspicions(&self) -> usize {
        self.suspicions.len()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "failed": self.failed, "suspicions": self.suspicions(), "suspected": self.suspected,
            "refuted": self.refuted, "gaps": self.gaps, "deaths": self.deaths,
        })
    }
}
