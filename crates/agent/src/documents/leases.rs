//! Documents of locks and elections, which are leases.

use std::time::Duration;

use rumormill::leases::{LeaseHeard, LeaseState};
use rumormill_core::Wall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who asks for a lease.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseRequest {
    /// A random number of 16 hex digits that whoever asks has made up, whatever agent it asks.
    pub(crate) holder: String,
    /// What people are shown, up to 64 bytes.
    #[serde(default)]
    pub(crate) label: String,
    /// For how many seconds, from 1 to 3600.
    #[serde(default)]
    pub(crate) ttl: f64,
    /// With which it was acquired, to renew it or to give it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<u64>,
}

impl LeaseRequest {
    pub(crate) fn new(holder: u64, label: &str, ttl: Duration) -> Self {
        Self { holder: format!("{holder:016x}"), label: label.to_owned(), ttl: ttl.as_secs_f64(), token: None }
    }
}

/// A lease, held or not.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct LeaseDocument {
    /// The lock or election.
    pub(crate) name: String,
    /// Who has it, or had it last and has not given it back; absent if nobody does.
    pub(crate) holder: Option<String>,
    /// The fencing token: higher than that of every earlier holder.
    pub(crate) token: u64,
    /// For how many seconds it is held unless it is renewed.
    pub(crate) ttl: f64,
}

impl LeaseDocument {
    pub(crate) fn new(name: &str, state: &LeaseState) -> Self {
        Self {
            name: name.to_owned(),
            holder: state.is_held().then(|| state.label.clone()),
            token: state.token,
            ttl: state.ttl.as_secs_f64(),
        }
    }
}

/// Who has a lock, as one agent has heard.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct LockDocument {
    /// The lock.
    pub(crate) name: String,
    /// Who has it, or had it last and has not given it back.
    pub(crate) holder: String,
    /// The fencing token: higher than that of every earlier holder.
    pub(crate) token: u64,
    /// For how many seconds it is held unless it is renewed.
    pub(crate) ttl: f64,
    /// When the agent heard that this holder has it, Unix seconds; absent if it no longer knows.
    pub(crate) since: Option<f64>,
    /// Until when it is held unless it is renewed, as far as the agent can tell, Unix seconds.
    pub(crate) lease_until: Option<f64>,
}

impl LockDocument {
    pub(crate) fn new(name: &str, state: &LeaseState, heard: Option<LeaseHeard>) -> Self {
        let ttl = state.ttl.as_secs_f64();
        Self {
            name: name.to_owned(),
            holder: state.label.clone(),
            token: state.token,
            ttl,
            since: heard.map(|heard| heard.since.as_secs_f64()),
            lease_until: heard.map(|heard| heard.renewed.as_secs_f64() + ttl),
        }
    }
}

/// Who leads, as one agent has heard.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct ElectionDocument {
    pub(crate) election: String,
    /// Absent if nobody does, or the last one has stepped down.
    pub(crate) leader: Option<String>,
    /// The fencing token of the leader, or of the last one.
    pub(crate) token: u64,
    /// When the agent heard of it, Unix seconds.
    pub(crate) since: f64,
    /// Until when it leads unless it renews its lease, as far as the agent can tell, Unix seconds.
    pub(crate) lease_until: Option<f64>,
}

impl ElectionDocument {
    /// What was heard of just now.
    pub(crate) fn new(election: &str, state: &LeaseState, now: f64) -> Self {
        Self::heard(election, state, None, now)
    }

    /// What was heard of some time ago.
    pub(crate) fn heard(election: &str, state: &LeaseState, heard: Option<LeaseHeard>, now: f64) -> Self {
        let LeaseDocument { holder, token, ttl, .. } = LeaseDocument::new(election, state);
        let at = |at: fn(LeaseHeard) -> Wall| heard.map_or(now, |heard| at(heard).as_secs_f64());
        let lease_until = holder.is_some().then_some(at(|heard| heard.renewed) + ttl);
        let since = at(|heard| heard.since);
        Self { election: election.to_owned(), leader: holder, token, since, lease_until }
    }
}
