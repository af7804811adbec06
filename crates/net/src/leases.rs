//! Leases: the right to do something, for a time, that at most one holds at once.
//!
//! ```no_run
//! # async fn example(cluster: rumormill::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let lease = cluster.lease("backup").acquire(Duration::from_secs(15), Duration::from_secs(60)).await?;
//! // Whoever stores what is done under the lease refuses tokens lower than the highest that it has seen.
//! println!("mine, with fencing token {}", lease.token());
//! tokio::select! {
//!     () = lease.lost() => println!("no longer mine"),
//!     () = do_the_work() => lease.release().await?,
//! }
//! # async fn do_the_work() {}
//! # Ok(())
//! # }
//! ```
//!
//! The holder counts a lease from before it asked for it, everybody else from after they saw it, and for longer, by what
//! clocks may differ (`clock_drift_max`). No time of day is compared. Against a process or machine that stands still between
//! looking at its clock and acting nothing but the fencing token helps.

mod asking;
mod renewing;

use std::sync::Arc;
use std::time::Duration;

pub use renewing::{RENEWED_AFTER, Renewal, Renewing};
pub use rumormill_core::LeaseHeard;
pub use rumormill_core::agreement::{
    LABEL_BYTES_MAX, LEASE_BYTES_MAX, LEASE_PREFIX, Lease as LeaseState, TTL_MAX, TTL_MIN,
};
use rumormill_core::{Command, Node, Refusal, Reply};
use rustix::time::{ClockId, clock_gettime};

use crate::cluster::{Cluster, Shared};
use crate::error::{Closed, RequestError};
use crate::key;
use crate::leases::asking::{Asking, in_background};
use crate::registers::RegisterWatch;
use crate::request;

/// The longest that one try to renew it, or to give it back, may take.
pub(crate) const TRY_MAX: Duration = Duration::from_secs(5);

/// The time since the machine was started, with the time for which it was suspended: the clock by which leases run out.
pub fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// A number by which nobody else asks for a lease.
///
/// # Panics
/// Where the system has no random numbers, which a node needs to start.
pub fn holder() -> u64 {
    key::random_bits().expect("the system has random numbers").max(1)
}

/// A handle to a lease, by its name of 1 to [`LEASE_BYTES_MAX`] bytes.
#[derive(Clone, Debug)]
pub struct LeaseRegister {
    shared: Arc<Shared>,
    name: String,
}

/// A lease that is held, renewed in the background until it is given back or dropped. Dropped, it runs out by itself.
#[derive(Debug)]
pub struct Lease {
    held: Arc<Held>,
    renewing: Renewing,
}

#[derive(Debug)]
struct Held {
    lease: LeaseRegister,
    holder: u64,
    token: u64,
    ttl: Duration,
}

impl LeaseRegister {
    pub(crate) fn new(shared: &Arc<Shared>, name: String) -> Self {
        Self { shared: Arc::clone(shared), name }
    }

    /// Waits until it is free, takes it for `ttl` (from 1 s to 1 h), and renews it in the background. So long others wait
    /// after a crash of this process. Others are shown this node's name.
    ///
    /// # Errors
    /// [`Refusal::Held`] if somebody else has it all that time, what breaks a rule, no quorum, or the node has stopped. Then, and if this is
    /// dropped, it is not waited for any more, and given back if it was won.
    pub async fn acquire(self, ttl: Duration, timeout: Duration) -> Result<Lease, RequestError> {
        let holder = holder();
        let token = self.acquire_as(holder, self.shared.name.clone(), ttl, timeout).await?;
        let held = Arc::new(Held { lease: self, holder, token, ttl });
        let unclaimed = Unclaimed(Some(Arc::clone(&held)));
        // It was asked for long ago, perhaps: renewed, it counts from now.
        let until = held.renew().await?;
        unclaimed.claim();
        let renewed = Arc::clone(&held);
        let renewing = Renewing::start(ttl, until, move || {
            let held = Arc::clone(&renewed);
            async move { held.try_to_renew().await }
        });
        Ok(Lease { held, renewing })
    }

    /// For whoever counts and renews it itself: waits until it is free, and takes it. Gives back the fencing token. The same
    /// `holder`, a random number above 0, gets what it has again, with the same token. If this is dropped it is not waited for any
    /// more, and given back if it was won.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_as(
        &self,
        holder: u64,
        label: String,
        ttl: Duration,
        timeout: Duration,
    ) -> Result<u64, RequestError> {
        let command = Command::Acquire { lease: self.name.clone(), holder, label, ttl, timeout };
        let asking = Asking::open(&self.shared, command, (&self.name, holder)).await?;
        let Reply::Leased { token, .. } = asking.answer().await? else {
            unreachable!("a lease is acquired or refused")
        };
        Ok(token)
    }

    /// Has it for `ttl` from before this was called.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`] if it was lost, what breaks a rule, no quorum, or the node has stopped.
    pub async fn renew_as(
        &self,
        holder: u64,
        token: u64,
        ttl: Duration,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        let command = Command::Renew { lease: self.name.clone(), holder, token, ttl, timeout };
        request::command(&self.shared.requests, command).await.map(drop)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// As [`renew_as`](Self::renew_as).
    pub async fn release_as(&self, holder: u64, token: u64, timeout: Duration) -> Result<(), RequestError> {
        let command = Command::Release { lease: self.name.clone(), holder, token, timeout };
        request::command(&self.shared.requests, command).await.map(drop)
    }

    /// Who has it, as far as this node has heard.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn state(&self) -> Result<LeaseState, Closed> {
        let name = self.name.clone();
        let state = Cluster(Arc::clone(&self.shared)).inspect(move |node| node.lease(&name)).await?;
        Ok(state.unwrap_or_default())
    }

    /// The same, and when the node heard of that, if it knows.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn heard(&self) -> Result<(LeaseState, Option<LeaseHeard>), Closed> {
        let name = self.name.clone();
        let read = move |node: &Node| (node.lease(&name).unwrap_or_default(), node.lease_heard(&name));
        Cluster(Arc::clone(&self.shared)).inspect(read).await
    }

    /// Who has it from now on, as far as this node hears of it.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn watch(&self) -> Result<Watch, Closed> {
        let register = format!("{LEASE_PREFIX}{}", self.name);
        let watch = Cluster(Arc::clone(&self.shared)).registers().register(register).watch().await?;
        Ok(Watch { lease: self.clone(), watch })
    }
}

/// Who has a lease, as it changes; renewals are not told.
#[derive(Debug)]
pub struct Watch {
    lease: LeaseRegister,
    watch: RegisterWatch,
}

impl Watch {
    /// The next change as the node has heard of it; `None` once it has stopped.
    pub async fn next(&mut self) -> Option<LeaseState> {
        self.watch.next().await?;
        self.lease.state().await.ok()
    }
}

/// A lease that was won, and is given back unless somebody gets it.
#[derive(Debug)]
struct Unclaimed(Option<Arc<Held>>);

impl Unclaimed {
    fn claim(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        // Nobody must wait for a lease that nobody holds. If this fails it runs out.
        if let Some(held) = self.0.take() {
            let Held { lease: LeaseRegister { shared, name }, holder, token, .. } = &*held;
            let lease = name.clone();
            in_background(shared, Command::Release { lease, holder: *holder, token: *token, timeout: TRY_MAX });
        }
    }
}

impl Held {
    /// Until when it is held then.
    async fn renew(&self) -> Result<Duration, RequestError> {
        let asked_at = uptime();
        let timeout = (self.ttl / RENEWED_AFTER).min(TRY_MAX);
        self.lease.renew_as(self.holder, self.token, self.ttl, timeout).await?;
        Ok(asked_at + self.ttl)
    }

    async fn try_to_renew(&self) -> Renewal {
        match self.renew().await {
            Ok(until) => Renewal::Until(until),
            Err(RequestError::Closed(_) | RequestError::Refused(Refusal::NotHeld)) => Renewal::Lost,
            Err(RequestError::Refused(_)) => Renewal::Failed,
        }
    }
}

impl Lease {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.held.lease.name
    }

    /// Higher than that of every earlier holder.
    pub fn token(&self) -> u64 {
        self.held.token
    }

    /// For how long it is held yet, if it is not renewed; nothing if it is lost.
    pub fn held_for(&self) -> Option<Duration> {
        self.renewing.held_for()
    }

    /// Waits until what goes on under it may go on no longer: it is lost, or will be in a fiftieth of its time, in 100 ms at least. This may
    /// return late where the process stood still: look at [`held_for`](Self::held_for) before doing what nobody else may do at once.
    pub async fn lost(&self) {
        self.renewing.lost().await;
    }

    /// Gives it back, so that others need not wait until it runs out.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`] if it was lost, no quorum, or the node has stopped. Then it runs out by itself.
    pub async fn release(self) -> Result<(), RequestError> {
        self.renewing.stop();
        self.held.lease.release_as(self.held.holder, self.held.token, TRY_MAX).await
    }
}
