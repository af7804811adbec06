//! What an agent does for one client at a time.

use std::sync::Arc;
use std::time::Duration;

use rumormill_core::limits::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Whose turn it is.
#[derive(Clone, Debug)]
pub(super) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turn {
    /// What is bounded here, under that name.
    pub(super) fn limits(&self, what: &'static str, to: &mut Limits) {
        to.entries(what, 1 - self.0.available_permits(), 1);
    }

    /// A turn, for as long as it is kept; nothing if another has it for all that time.
    pub(super) async fn take(&self, within: Duration) -> Option<OwnedSemaphorePermit> {
        let permit = timeout(within, Arc::clone(&self.0).acquire_owned()).await.ok()?;
        Some(permit.expect("it is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn another_is_turned_away_until_the_first_has_ended() {
        let turn = Turn::default();
        let first = turn.take(Duration::ZERO).await;
        assert!(first.is_some() && turn.take(Duration::ZERO).await.is_none());
        drop(first);
        assert!(turn.take(Duration::ZERO).await.is_some());
    }
}
