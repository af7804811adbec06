//! The two clocks of a node.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rumormill_core::{Instant, Now, Wall};

/// The node's monotonic clock, whose origin is the start of the process, and the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now { instant: Instant::ZERO + elapsed, wall: wall() }
    }

    /// A moment of the node's clock as the runtime's timers know it; `None` if it is later than they can tell.
    pub(crate) fn runtime_instant(&self, instant: Instant) -> Option<tokio::time::Instant> {
        self.origin.checked_add(Duration::from_micros(instant.as_micros()))
    }
}

/// The time of day; the epoch where the system's clock stands before it.
pub(crate) fn wall() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_micros(0) + since_epoch
}
