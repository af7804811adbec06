//! The gossip protocols of Rumormill as one deterministic state machine: no sockets, no clock, no threads.

pub mod config;
pub mod duration;
mod hash;
pub mod identity;
pub mod io;
mod node;
pub mod rng;
pub mod sketch;
pub mod stats;
pub mod stop;
pub mod time;

pub use config::{Config, ConfigBuilder, ConfigError};
pub use identity::{Identity, Incarnation, NodeId, Record, Sequence, Stored, Tags};
pub use io::{Channel, Command, Event, Input, Member, MemberChange, Message, Output, Refusal, Reply, State};
pub use node::Node;
pub use stop::StopRule;
pub use time::{Instant, Now, Seconds, Wall};
