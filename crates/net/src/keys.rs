//! The keys of the cluster, changed everywhere while it runs.
//!
//! Each step is a query to all members, so that who asks learns who has taken it. What it says is wrapped in the key that is
//! used: neither the node nor a record of what it was told ever holds a key.

mod message;

use std::sync::Arc;
use std::time::Duration;

use rumormill_core::io::KEYS_QUERY;
use rumormill_core::{Command, Node, NodeId, Tags};
use tokio::sync::{mpsc, oneshot};

use crate::cluster::Shared;
use crate::error::{Closed, RequestError};
use crate::gathering::{Answers, Gathering};
use crate::keyring::holder::{Change, Holder, Unchanged};
use crate::keyring::{Key, KeyId, Keyring};
use crate::questions::Question;
use crate::request::{self, Lines, Request};

/// A handle to the keys of the cluster.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Shared>);

/// The keys of one member, as it told them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyHolder {
    /// Which member.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The keys that it accepts; with the first it seals.
    pub keys: Vec<KeyId>,
    /// Why it did not do what it was asked.
    pub refused: Option<KeyRefusal>,
}

impl KeyHolder {
    /// Whether it accepts this key.
    pub fn accepts(&self, key: KeyId) -> bool {
        self.keys.contains(&key)
    }

    /// Whether it seals with this key.
    pub fn uses(&self, key: KeyId) -> bool {
        self.keys.first() == Some(&key)
    }
}

/// Why a member did not change its keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRefusal {
    /// It does not have it.
    #[error("it does not have this key")]
    Unknown,
    /// It seals with it.
    #[error("it seals with this key")]
    InUse,
    /// It accepts as many as it can, or one whose id begins alike.
    #[error("it accepts 8 keys already, or one whose id begins with the same two digits")]
    NoPlace,
    /// Its data directory does not take it.
    #[error("its data directory does not take it")]
    NotStored,
    /// It cannot read what it was asked.
    #[error("it cannot read the question")]
    Unreadable,
}

impl From<Unchanged> for KeyRefusal {
    fn from(unchanged: Unchanged) -> Self {
        match unchanged {
            Unchanged::Unknown => Self::Unknown,
            Unchanged::InUse => Self::InUse,
            Unchanged::NoPlace => Self::NoPlace,
            Unchanged::NotStored => Self::NotStored,
            Unchanged::Unreadable => Self::Unreadable,
        }
    }
}

/// Who has which keys: the answers of all members that could be asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeysReport {
    /// Those that answered, by name.
    pub holders: Vec<KeyHolder>,
    /// The names of live members that did not answer in time. With a partial view nobody knows them all.
    pub silent: Vec<String>,
    /// With a partial view, how many members there may be besides.
    pub unknown: usize,
}

impl KeysReport {
    /// Whether each live member has answered, and this is true of all answers.
    pub fn all(&self, is_so: impl Fn(&KeyHolder) -> bool) -> bool {
        self.silent.is_empty() && self.unknown == 0 && self.holders.iter().all(is_so)
    }

    /// The names of all members of which this is not known to be true.
    pub fn lacking(&self, is_so: impl Fn(&KeyHolder) -> bool) -> Vec<String> {
        let lacking = self.holders.iter().filter(|holder| !is_so(holder)).map(|holder| holder.name.clone());
        lacking.chain(self.silent.iter().cloned()).collect()
    }
}

/// Why keys were not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeysError {
    /// The node refused to ask, or has stopped.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// This node has no such key; nothing was asked.
    #[error("no key {0}")]
    Unknown(KeyId),
    /// Some members would be cut off; nothing was changed.
    #[error("not known to have key {key}: {}", said(.lacking))]
    NotEverywhere {
        /// The key that was to be used.
        key: KeyId,
        /// The names of those that do not have it or did not answer.
        lacking: Vec<String>,
    },
    /// Some members seal with it, or did not answer; nothing was changed.
    #[error("not known to seal with another key than {key}: {}", said(.by))]
    InUse {
        /// The key that was to be removed.
        key: KeyId,
        /// The names of those that use it or did not answer.
        by: Vec<String>,
    },
}

fn said(names: &[String]) -> String {
    if names.is_empty() { "members that are not in view".to_owned() } else { names.join(", ") }
}

impl Keys {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The keys that this node accepts; with the first it seals.
    pub fn own(&self) -> Vec<KeyId> {
        self.holder().keyring().keys().iter().map(Key::id).collect()
    }

    /// Whether a keyring is of this cluster.
    pub fn is_of_same_cluster(&self, keyring: &Keyring) -> bool {
        self.holder().keyring().is_of_same_cluster(keyring)
    }

    /// Asks all members which keys they have.
    ///
    /// # Errors
    /// Where the node is leaving or has stopped.
    pub async fn list(&self, timeout: Duration) -> Result<KeysReport, KeysError> {
        self.ask(&Change::Nothing, timeout).await
    }

    /// Has all members accept a key besides those that they have; nobody seals with it yet.
    ///
    /// # Errors
    /// Where the node is leaving or has stopped. Who did not take it is in the report.
    pub async fn add(&self, key: &Key, timeout: Duration) -> Result<KeysReport, KeysError> {
        self.ask(&Change::Add(key.clone()), timeout).await
    }

    /// Has all members seal with a key that they have. Unless it is forced, all live members have to say first that they have it.
    ///
    /// # Errors
    /// [`KeysError::NotEverywhere`], or where this node does not have it, is leaving or has stopped.
    pub async fn switch_to(&self, key: KeyId, force: bool, timeout: Duration) -> Result<KeysReport, KeysError> {
        if self.holder().keyring().get(key).is_none() {
            return Err(KeysError::Unknown(key));
        }
        if !force {
            let report = self.list(timeout).await?;
            let has_it = |holder: &KeyHolder| holder.accepts(key);
            if !report.all(has_it) {
                return Err(KeysError::NotEverywhere { key, lacking: report.lacking(has_it) });
            }
        }
        self.ask(&Change::Use(key), timeout).await
    }

    /// Has all members accept a key no more. Who seals with it keeps it; unless it is forced, all live members have to say first
    /// that they do not.
    ///
    /// # Errors
    /// [`KeysError::InUse`], or where the node is leaving or has stopped.
    pub async fn remove(&self, key: KeyId, force: bool, timeout: Duration) -> Result<KeysReport, KeysError> {
        let report = self.list(timeout).await?;
        let uses_another = |holder: &KeyHolder| !holder.uses(key);
        let is_used = !report.holders.iter().all(uses_another);
        if is_used || !force && !report.all(uses_another) {
            return Err(KeysError::InUse { key, by: report.lacking(uses_another) });
        }
        if !report.holders.iter().any(|holder| holder.accepts(key)) {
            return Err(KeysError::Unknown(key));
        }
        self.ask(&Change::Remove(key), timeout).await
    }

    fn holder(&self) -> &Holder {
        self.0.sealing.as_ref().expect("there are keys where a handle to them is")
    }

    async fn ask(&self, change: &Change, timeout: Duration) -> Result<KeysReport, KeysError> {
        let payload = message::wrap(&self.holder().ring.borrow(), change).ok_or(RequestError::Closed(Closed))?;
        let (name, filter) = (KEYS_QUERY.to_owned(), Tags::new());
        let (sender, lines) = mpsc::channel(request::LINES_MAX);
        let command = Command::Query { name, payload, filter, nearest: None, timeout };
        request::gather(&self.0.requests, command, Lines::Answers(sender)).await?;
        let mut answers: Answers = Gathering::new(lines);
        let mut report = KeysReport::default();
        while let Some(answer) = answers.next().await {
            if let Some(holder) = message::read_answer(answer) {
                report.holders.push(holder);
            }
        }
        report.holders.sort_unstable_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        report.silent = self.silent(&report).await?;
        let answered = report.holders.len() + report.silent.len();
        let asked = answers.summary().map_or(Some(answered), |summary| summary.asked);
        report.unknown = asked.map_or(1, |asked| asked.saturating_sub(answered));
        Ok(report)
    }

    /// The live members that have not answered.
    async fn silent(&self, report: &KeysReport) -> Result<Vec<String>, RequestError> {
        let (sender, result) = oneshot::channel();
        let inspection = Box::new(move |node: &Node| {
            let live = node.members().filter(|member| member.state.is_live());
            sender.send(live.map(|member| (member.id, member.name)).collect::<Vec<_>>()).ok();
        });
        self.0.requests.send(Request::Inspect(inspection)).await.map_err(|_| Closed)?;
        let live = result.await.map_err(|_| Closed)?;
        let has_answered = |id: NodeId| report.holders.iter().any(|holder| holder.id == id);
        let mut silent: Vec<String> =
            live.into_iter().filter(|(id, _)| !has_answered(*id)).map(|(_, name)| name).collect();
        silent.sort_unstable();
        Ok(silent)
    }
}

/// Answers what others ask about keys, and does it.
pub(crate) async fn answer(holder: Arc<Holder>, mut questions: mpsc::Receiver<Question>) {
    while let Some(question) = questions.recv().await {
        let change = message::unwrap(&holder.ring.borrow(), &question.payload).ok_or(Unchanged::Unreadable);
        let changing = Arc::clone(&holder);
        let changed = match change {
            // It waits for the disk.
            Ok(change) => tokio::task::spawn_blocking(move || changing.change(&change)).await,
            Err(unreadable) => Ok(Err(unreadable)),
        };
        let Ok(result) = changed else { return };
        let payload = message::write_answer(&holder.keyring(), result);
        // Who asked may have given up.
        question.answer(payload).await.ok();
    }
}
