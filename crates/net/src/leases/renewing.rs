//! The renewals of one lease, in the background.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::uptime;

/// A lease is renewed when this part of it is over.
pub const RENEWED_AFTER: u32 = 3;
/// What goes on under a lease ends before it does, by this part of it and at least so much: ending takes time.
const MARGIN_PART: u32 = 50;
const MARGIN_MIN: Duration = Duration::from_millis(100);
/// How often a holder looks at its clock: it may have stood still. Well below the margin.
const LOOKED_EVERY: Duration = Duration::from_millis(20);

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
    ttl: Duration,
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
        Self { ttl, until, task }
    }

    /// For how long it is held yet, if it is not renewed; nothing if it is lost.
    pub fn held_for(&self) -> Option<Duration> {
        let until = *self.until.borrow();
        until?.checked_sub(uptime()).filter(|left| !left.is_zero())
    }

    /// For how long what goes on under it may go on: a fiftieth of the lease less than it is held, and at least 100 ms.
    pub fn usable_for(&self) -> Duration {
        self.held_for().unwrap_or_default().saturating_sub((self.ttl / MARGIN_PART).max(MARGIN_MIN))
    }

    /// Waits until what goes on under it may go on no longer.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let look = self.usable_for().min(LOOKED_EVERY);
            if look.is_zero() {
                return;
            }
            // An error says that nobody renews it any more; then it runs out.
            if let Ok(Err(_)) = timeout(look, until.changed()).await {
                sleep(look).await;
            }
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
