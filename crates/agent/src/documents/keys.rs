//! Documents about keys. No key is in any of them.

use rumormill::{KeyHolder, KeyId, KeysReport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `rumor keygen FILE` made. The key itself is in the file, and nowhere else.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeygenDocument {
    /// What the key is called by.
    pub(crate) id: String,
    pub(crate) file: String,
}

/// A key, and who has it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct KeyDocument {
    pub(crate) id: String,
    /// Whether the agent that was asked seals with it.
    pub(crate) primary: bool,
    /// How many members accept it.
    pub(crate) members: u64,
    /// Of how many, as far as is known.
    pub(crate) of: u64,
    /// How many seal with it.
    pub(crate) used_by: u64,
    /// The names of those that do not accept it or did not answer.
    pub(crate) lacking: Vec<String>,
}

/// What became of a change of keys.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct KeyChangeDocument {
    pub(crate) id: String,
    /// How many members did it.
    pub(crate) members: u64,
    /// Of how many, as far as is known.
    pub(crate) of: u64,
    pub(crate) refused: Vec<KeyRefusalDocument>,
    /// The names of those that did not answer.
    pub(crate) silent: Vec<String>,
}

/// A member that did not change its keys.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct KeyRefusalDocument {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// How an agent seals.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct SealingInfo {
    /// The id of the key with which it seals.
    pub(crate) key: String,
    /// The ids of all keys that it accepts.
    pub(crate) accepted: Vec<String>,
    /// Who last ended a stream before it answered the first sealed word, if none was taken since: no key in common, or no room.
    pub(crate) refused_by: Option<String>,
}

fn count(number: usize) -> u64 {
    number as u64
}

fn asked(report: &KeysReport) -> u64 {
    count(report.holders.len() + report.silent.len() + report.unknown)
}

impl KeyDocument {
    /// All keys that somebody has, the one in use first.
    pub(crate) fn all(report: &KeysReport, used: Option<KeyId>) -> Vec<Self> {
        let mut ids: Vec<KeyId> = report.holders.iter().flat_map(|holder| holder.keys.iter().copied()).collect();
        ids.sort_unstable_by_key(|id| (Some(*id) != used, *id));
        ids.dedup();
        ids.into_iter().map(|id| Self::of(report, id, Some(id) == used)).collect()
    }

    fn of(report: &KeysReport, id: KeyId, primary: bool) -> Self {
        let having = |is_so: fn(&KeyHolder, KeyId) -> bool| {
            count(report.holders.iter().filter(|holder| is_so(holder, id)).count())
        };
        Self {
            id: id.to_string(),
            primary,
            members: having(KeyHolder::accepts),
            of: asked(report),
            used_by: having(KeyHolder::uses),
            lacking: report.lacking(|holder| holder.accepts(id)),
        }
    }
}

impl KeyChangeDocument {
    pub(crate) fn new(report: KeysReport, id: KeyId) -> Self {
        let of = asked(&report);
        let refusal = |holder: &KeyHolder| {
            let reason = holder.refused?.to_string();
            Some(KeyRefusalDocument { name: holder.name.clone(), reason })
        };
        let refused: Vec<KeyRefusalDocument> = report.holders.iter().filter_map(refusal).collect();
        let members = count(report.holders.len() - refused.len());
        Self { id: id.to_string(), members, of, refused, silent: report.silent }
    }
}
