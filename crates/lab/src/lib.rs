//! The laboratory: real [`Node`](rumormill_core::Node)s that exchange real bytes on a virtual network, in virtual time.
//!
//! A [`Network`] owns the nodes, one clock, the links between them and one random generator, so that a run is a
//! function of its seed and [`Options`]. It plays the driver's part of the core's contract (one input, then all
//! outputs, then the deadline) and hands over waiting input before a due timeout. Checkers ([`check`]) look at every step;
//! the first breach ends the run with a line that replays it.
//!
//! ```
//! use std::time::Duration;
//! use rumormill_lab::Network;
//!
//! let mut net = Network::new(7).nodes(3).latency(Duration::from_millis(1)).start_cold(0, Duration::from_millis(100));
//! net.run_for(Duration::from_millis(10)).unwrap();
//! assert_eq!(net.now(), Duration::from_millis(10));
//! ```

mod act;
pub mod check;
mod clock;
mod disk;
mod failure;
mod host;
mod link;
mod measure;
mod network;
mod observe;
mod options;
mod queue;
mod run;
pub mod seeds;
mod streams;
mod trace;

pub use act::{Act, DiskFate, Planned};
pub use failure::Failure;
pub use link::Link;
pub use measure::{Arrival, Change, Measured, MessageKey, Note, Spread, Traffic};
pub use network::Network;
pub use options::Options;

use std::time::Duration;

/// A duration on the virtual clock, which counts microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("half a million years")
}
