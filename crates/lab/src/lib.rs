//! The laboratory: how gossip spreads, shown, measured and predicted.
//!
//! Two things run here. **Models** are textbook epidemics and their relatives on bare arrays, a million nodes and more
//! ([`spread`]). The **virtual network** ([`Network`]) runs real [`Node`](rumormill_core::Node)s that exchange real
//! bytes in virtual time: it owns the nodes, one clock, the links between them and one random generator, so that a run
//! is a function of its seed and [`Options`]. It plays the driver's part of the core's contract (one input, then all
//! outputs, then the deadline) and hands over waiting input before a due timeout. Checkers ([`check`]) look at every
//! step; the first breach ends the run with a line that replays it.
//!
//! ```
//! use std::time::Duration;
//! use rumormill_lab::Network;
//!
//! let mut net = Network::new(7).nodes(3).latency(Duration::from_millis(1)).start_cold(0, Duration::from_millis(100));
//! net.run_for(Duration::from_millis(10)).unwrap();
//! assert_eq!(net.now(), Duration::from_millis(10));
//! ```

pub mod averaging;
pub mod chart;
pub mod detection;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod jobs;
pub mod memory;
mod network;
pub mod overlay;
pub mod planner;
pub mod published;
pub mod recording;
pub mod scenario;
pub mod seeds;
pub mod settings;
pub mod sketches;
pub mod spread;
mod summary;
pub mod sweep;
pub mod theory;

pub use error::Error;
pub use network::Network;
pub use network::act::{Act, DiskFate, Planned};
pub use network::check;
pub use network::data::Backup;
pub use network::failure::Failure;
pub use network::link::Link;
pub use network::measure::{Arrival, Change, End, Life, Measured, MessageKey, Note, Publication, Spread, Traffic};
pub use network::options::Options;
pub use network::place::EstimateError;
pub use scenario::Scenario;
pub use summary::{Summary, percent};

use std::time::Duration;

/// A duration on the virtual clock, which counts microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("half a million years")
}
