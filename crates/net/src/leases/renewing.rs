//! The renewals of one lease, in the background.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::uptime;

/// A lease is renewed when this part of it is over.
pub const RENEWED_AFTER: u32 = 3;
/// How often a holder looks at its clock: it may have stood still.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// What a try to renew a lease came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Renewal {
    /// It is held until then, by [`uptime`].
    Until(Duration),
    /// Somebody else has it, or nobody; no try will succeed.
    Lost,
    /// While it is held another try may succeed.
    Failed,
}

/// Renews a lease until it is lost, or this is dropped; then it runs out by itself.
#[derive(Debug)]
pub struct Renewing {
    /// When it runs out, by [`uptime`]; nothing once it is lost.
    until: watch::Receiver<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Renewing {
    /// Goes on renewing a lease of `ttl` that is held `until` then, by [`uptime`]. `renew` asks once; whoever counts from after
    /// it asked counts wrong.
    pub fn start<R, F>(ttl: Duration, until: Duration, renew: R) -> Self
    where
        R: Fn() -> F + Send + 'static,
        F: Future<Output = Renewal> + Send + 'static,
    {
        let (told, until) = watch::channel(Some(until));
        let task = tokio::spawn(go_on(ttl, told, renew));
        Self { until, task }
    }

    /// For how long it is held yet, if it is not renewed; nothing if it is lost.
    pub fn held_for(&self) -> Option<Duration> {
        let until = *self.until.borrow();
        until?.checked_sub(uptime()).filter(|left| !left.is_zero())
    }

    /// Waits until it is lost; this may return a moment later.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        while self.held_for().is_some() {
            // An error says that nobody renews it any more; then it runs out.
            timeout(LOOKED_EVERY, until.changed()).await.ok();
        }
    }

    /// Renews it no more.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn go_on<R, F>(ttl: Duration, told: watch::Sender<Option<Duration>>, renew: R)
where
    R: Fn() -> F,
    F: Future<Output = Renewal>,
{
    let until = || *told.borrow();
    while let Some(end) = until() {
        let left = end.saturating_sub(uptime());
        if left.is_zero() {
            break;
        }
        if left * RENEWED_AFTER > ttl * (RENEWED_AFTER - 1) {
            sleep(LOOKED_EVERY).await;
            continue;
        }
        match renew().await {
            Renewal::Until(end) => drop(told.send_replace(Some(end))),
            Renewal::Lost => break,
            Renewal::Failed => sleep(LOOKED_EVERY).await,
        }
    }
    told.send_replace(None);
}
