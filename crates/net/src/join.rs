//! Joining through contacts, whose names may not resolve yet, or to other addresses later.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumormill_core::{Command, Config, ConfigError, Reply};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::clock;
use crate::error::{Closed, RequestError};
use crate::events::{EventKind, WeakAnnouncer};
use crate::request::{self, Lines, Request};

/// Reads contacts as people write them.
pub(crate) fn parse(contacts: impl IntoIterator<Item = impl Into<String>>) -> Result<Vec<Address>, ConfigError> {
    contacts.into_iter().map(|contact| Address::parse("join", &contact.into())).collect()
}

/// Resolves contacts and hands them to the node, again and again until one of them has answered. It keeps neither the
/// node nor its events alive.
#[derive(Clone, Debug)]
pub(crate) struct Joiner {
    requests: mpsc::WeakSender<Request>,
    events: WeakAnnouncer,
    /// This node's own addresses: one list of contacts often serves all nodes.
    own: [SocketAddr; 2],
    retry_min: Duration,
    retry_max: Duration,
}

impl Joiner {
    pub(crate) fn new(
        requests: &mpsc::Sender<Request>,
        events: WeakAnnouncer,
        own: [SocketAddr; 2],
        config: &Config,
    ) -> Self {
        let (retry_min, retry_max) = (config.join_retry_min, config.join_retry_max);
        Self { requests: requests.downgrade(), events, own, retry_min, retry_max }
    }

    /// Returns the contact that answered. The node itself tries the addresses that it has again, with back-off up to
    /// `retry_max`. This resolves names again, which may have moved, and from `retry_max` on names the contacts to the
    /// node once more: another command may have taken over one of them.
    pub(crate) async fn join(&self, contacts: &[Address]) -> Result<SocketAddr, RequestError> {
        self.join_noting(contacts, |_| {}).await
    }

    /// The same; `note` is told all addresses that the node is given.
    async fn join_noting(
        &self,
        contacts: &[Address],
        note: impl Fn(&[SocketAddr]),
    ) -> Result<SocketAddr, RequestError> {
        let mut known = Vec::new();
        let mut under_way = None;
        let mut wait = self.retry_min;
        loop {
            let addresses = self.resolve(contacts, wait).await;
            if !addresses.is_empty() && (addresses != known || wait == self.retry_max) {
                known.clone_from(&addresses);
                note(&addresses);
                let requests = self.requests.upgrade().ok_or(Closed)?;
                under_way = Some(request::open(&requests, Command::Join { contacts: addresses }, Lines::None).await?);
            }
            match &mut under_way {
                Some(answer) => {
                    if let Ok(answer) = timeout(wait, answer).await {
                        return Ok(contact_of(answer.map_err(|_| Closed)??));
                    }
                }
                None => sleep(wait).await,
            }
            wait = (wait * 2).min(self.retry_max);
        }
    }

    async fn resolve(&self, contacts: &[Address], retry_after: Duration) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for contact in contacts {
            match contact.resolve().await {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    let (contact, reason) = (contact.to_string(), format!("its name does not resolve: {error}"));
                    self.events.announce(clock::wall(), EventKind::ContactFailed { contact, reason, retry_after });
                }
            }
        }
        addresses.retain(|address| !self.own.contains(address));
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// The contacts of a node as they are now: those that it was started with, or others that took their place.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Tried>);

#[derive(Debug, Default)]
struct Tried {
    /// Every address that the node was given and that was not taken away since.
    given: Arc<Mutex<Vec<SocketAddr>>>,
    joining: Option<AbortHandle>,
}

impl Standing {
    /// Joins through these in the background, until one has answered or others take their place. Returns those that were
    /// given before and are not among `addresses`.
    pub(crate) fn replace(&self, joiner: &Joiner, contacts: Vec<Address>, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joining) = tried.joining.take() {
            joining.abort();
        }
        let mut gone = std::mem::take(&mut *given(&tried.given));
        gone.retain(|address| !addresses.contains(address));
        // What comes from a join that was ended in this moment is noted nowhere.
        tried.given = Arc::new(Mutex::new(addresses.to_vec()));
        if !contacts.is_empty() {
            let (joiner, noted) = (joiner.clone(), Arc::clone(&tried.given));
            let joining = tokio::spawn(async move {
                let note = |addresses: &[SocketAddr]| {
                    let mut given = given(&noted);
                    given.extend(addresses);
                    given.sort_unstable();
                    given.dedup();
                };
                // It ends when a contact has answered, or with the node.
                joiner.join_noting(&contacts, note).await.ok();
            });
            tried.joining = Some(joining.abort_handle());
        }
        gone
    }
}

fn given(addresses: &Mutex<Vec<SocketAddr>>) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contact_of(reply: Reply) -> SocketAddr {
    let Reply::Joined { contact } = reply else { unreachable!("a join ends as joined") };
    contact
}
