//! What the figures of other systems are, and the goals set by them.

/// The systems, in the order of the figures below.
///
/// Measured on two virtual cores in November 2026: Serf as one process an agent, with its LAN profile; memberlist (the
/// Rust port) and chitchat as 50 nodes in one process, so that their memory cannot be compared, and their CPU time
/// lacks what separate processes cost.
pub(crate) const NAMES: [&str; 3] = ["Serf 0.9.4", "memberlist 0.8.5", "chitchat 0.13"];

/// What 50 nodes of each system need for one kind of work, in our unit.
pub(crate) type Peers = [Option<f64>; NAMES.len()];

pub(crate) const NONE: Peers = [None; NAMES.len()];
pub(crate) const JOINED: Peers = [Some(0.88), Some(0.48), Some(5.0)];
pub(crate) const PUBLISHED: Peers = [Some(0.51), None, Some(1.36)];
pub(crate) const WRITTEN: Peers = [None, None, Some(1.36)];
pub(crate) const DETECTED: Peers = [Some(8.6), Some(4.1), Some(7.9)];
pub(crate) const CRASHED: Peers = [Some(8.9), Some(4.4), Some(12.1)];
pub(crate) const TRAFFIC: Peers = [Some(295.0), Some(191.0), Some(2_423.0)];
pub(crate) const RESIDENT: Peers = [Some(14.8 * 1024.0 * 1024.0), None, None];
pub(crate) const CPU: Peers = [Some(0.15), Some(0.044), Some(0.068)];
