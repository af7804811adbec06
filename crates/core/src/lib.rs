//! The gossip protocols of Rumormill as one deterministic state machine: no sockets, no clock, no threads.

pub mod aggregate;
mod budget;
pub mod config;
mod contacts;
mod detector;
pub mod duration;
mod effects;
mod exchange;
mod frame;
mod hash;
pub mod identity;
pub mod io;
mod map;
mod membership;
mod messages;
mod node;
mod packet;
mod queries;
mod replica;
pub mod rng;
mod rumors;
pub mod sketch;
mod slots;
pub mod stats;
pub mod stop;
mod streams;
pub mod time;
mod update;
pub mod wire;

pub use config::{Config, ConfigBuilder, ConfigError};
pub use identity::{Identity, Incarnation, NodeId, Record, Sequence, Stored, Tags};
pub use io::{Channel, Command, Event, Input, Member, MemberChange, Message, Output, Refusal, Reply, State};
pub use node::{FullView, Node};
pub use stop::{Interest, StopRule};
pub use time::{Instant, Now, Seconds, Wall};
pub use update::Interner;
