//! A lease that this process holds through an agent, renewed and watched over while something goes on under it.
//!
//! The process counts the lease itself, from before it asked: whatever happens to the agent, or to the way there, it knows
//! when others may have it. Its clock counts the time for which the machine is suspended.

use std::sync::Arc;
use std::time::Duration;

use rumormill::leases::{LABEL_BYTES_MAX, RENEWED_AFTER, Renewal, Renewing, TTL_MAX, TTL_MIN, uptime};
use rumormill_core::duration;
use tokio::task::spawn_blocking;
use ureq::http::Method;

use crate::client::Client;
use crate::documents::{Done, Info, LeaseDocument, LeaseRequest};
use crate::failure::Failure;
use crate::percent;

/// The clock is looked at so often: the process may have stood still.
pub(super) const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) client: Client,
    /// `locks` or `elections`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) label: String,
    /// The number by which this process asks, for as long as it lives: what it may have got it gets again.
    pub(super) holder: u64,
    pub(super) ttl: Duration,
    /// How long it is waited for.
    pub(super) wait: Duration,
}

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Lease {
    wanted: Arc<Wanted>,
    request: LeaseRequest,
    /// Higher than that of every earlier holder.
    pub(super) token: u64,
    renewing: Renewing,
}

/// What others are shown of this process: the agent that it asks, and its own number.
pub(super) fn label(client: &Client) -> Result<String, Failure> {
    let agent: Info = client.get("/v1/info")?;
    let number = std::process::id().to_string();
    let room = LABEL_BYTES_MAX - number.len() - 1;
    let name: String = agent
        .name
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= room).then_some(c)
        })
        .collect();
    Ok(format!("{name}/{number}"))
}

/// For how long it is asked for.
pub(super) fn checked(ttl: Duration) -> Result<Duration, Failure> {
    let rule = || format!("from {} to {}", duration::format(TTL_MIN), duration::format(TTL_MAX));
    if (TTL_MIN..=TTL_MAX).contains(&ttl) { Ok(ttl) } else { Err(Failure::value("ttl", duration::format(ttl), rule())) }
}

impl Wanted {
    fn path(&self, parameters: &str) -> String {
        format!("/v1/{}/{}?{parameters}", self.kind, percent::encode(&self.name))
    }

    fn ask(&self, method: Method, request: &LeaseRequest, timeout: &str) -> Result<LeaseDocument, Failure> {
        self.client.call(method, &self.path(timeout), Some(request))
    }

    /// Until when it is held then.
    fn renew(&self, request: &LeaseRequest) -> Result<Duration, Failure> {
        let asked_at = uptime();
        let timeout = format!("timeout={}ms", (self.ttl / RENEWED_AFTER).as_millis());
        self.ask(Method::PUT, request, &timeout)?;
        Ok(asked_at + self.ttl)
    }

    fn release(&self, request: &LeaseRequest) -> Result<(), Failure> {
        let path = self.path(&self.client.timeout_parameter());
        self.client.call::<Done>(Method::DELETE, &path, Some(request)).map(drop)
    }

    /// Waits for it, and takes it.
    pub(super) async fn acquire(self: Arc<Self>) -> Result<Lease, Failure> {
        let request = LeaseRequest::new(self.holder, &self.label, self.ttl);
        let (wanted, asked) = (Arc::clone(&self), request.clone());
        let acquiring = move || {
            let timeout = format!("timeout={}ms", wanted.wait.as_millis().max(1));
            let lease = wanted.ask(Method::POST, &asked, &timeout)?;
            let renewed = LeaseRequest { token: Some(lease.token), ..asked };
            // It was asked for long ago, perhaps: renewed, it counts from now.
            match wanted.renew(&renewed) {
                Ok(until) => Ok((lease.token, renewed, until)),
                Err(failure) => {
                    // Nobody must wait for a lease that nobody holds. If this fails it runs out.
                    wanted.release(&renewed).ok();
                    Err(failure)
                }
            }
        };
        let (token, request, until) = blocking(acquiring).await?;
        let (wanted, asked) = (Arc::clone(&self), request.clone());
        let renewing = Renewing::start(self.ttl, until, move || {
            let (wanted, asked) = (Arc::clone(&wanted), asked.clone());
            blocking(move || match wanted.renew(&asked) {
                Ok(until) => Renewal::Until(until),
                Err(failure) if failure.code() == "not_held" => Renewal::Lost,
                Err(_) => Renewal::Failed,
            })
        });
        Ok(Lease { wanted: self, request, token, renewing })
    }
}

impl Lease {
    /// For how long what goes on under it may go on: less than it is held, by what it takes to end that.
    pub(super) fn usable_for(&self) -> Duration {
        self.renewing.usable_for()
    }

    /// Waits until what goes on under it may go on no longer.
    pub(super) async fn lost(&self) {
        self.renewing.lost().await;
    }

    /// For how long it is held yet; nothing if it is lost.
    pub(super) fn left(&self) -> Option<Duration> {
        self.renewing.held_for()
    }

    /// Gives it back. If that fails it runs out.
    pub(super) async fn release(self) -> Result<(), Failure> {
        self.renewing.stop();
        let (wanted, request) = (Arc::clone(&self.wanted), self.request.clone());
        blocking(move || wanted.release(&request)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("requests do not panic, and nobody aborts them")
}
