//! Ctrl-C and SIGTERM, as an error where something is waited for: what was started is then ended on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How long a wait goes on before it looks whether it still should.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);

/// Whether somebody asked for the end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the first signal of each kind; a second one ends this process at once, and with it all that it started.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
                .context("failed to catch signals")?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// How long to wait in one go for something that may come until `deadline`.
    pub(crate) fn patience(&self, deadline: Instant) -> anyhow::Result<Duration> {
        self.check()?;
        Ok(deadline.saturating_duration_since(Instant::now()).min(GLANCE))
    }
}
