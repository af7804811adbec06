//! A gossip engine to embed: a fleet of processes that know each other, notice who failed, pass messages and questions
//! around, and share data, with no server in the middle.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rumormill::Cluster;
//!
//! let c = Cluster::builder("a").bind("127.0.0.1:0").join(["127.0.0.1:4747"]).start().await?;
//! let mut news = c.subscribe("news").await?;
//! c.publish("news", "hi").await?;
//! while let Some(m) = news.next().await {
//!     println!("{m}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Cluster`] is a handle to one task that owns one [`Node`], its sockets and its data directory. The node decides
//! everything and does no I/O; the task carries bytes, time and records between it and the machine. The library logs
//! nothing: whatever an operator should know is an [`Event`].

mod address;
pub mod authority;
#[doc(hidden)]
pub mod bench;
mod builder;
mod clock;
mod cluster;
pub mod data;
mod desk;
mod directory;
mod driver;
mod error;
mod events;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod gathering;
mod join;
mod keeper;
mod key;
mod keyring;
mod keys;
pub mod leases;
mod noise;
pub mod private_file;
mod questions;
mod recorder;
pub mod registers;
mod request;
mod seal;
mod socket;
mod start;
mod store;
mod streams;
mod subscription;

pub use authority::Authority;
pub use builder::{Builder, RECORD_BYTES_MAX};
pub use cluster::{Cluster, RoundTrip, SocketCounts};
pub use data::Data;
pub use error::{Closed, RequestError, StartError, StopReason, WriteError};
pub use events::{Event, EventKind, Events, Lagged, Warning};
pub use faults::{Direction, Fault, FaultRule, Faults, Peer};
pub use gathering::{Answer, Answers, Gathering, Summary, TraceLine, Traces};
pub use keyring::{Key, KeyFileError, KeyId, Keyring};
pub use keys::{KeyHolder, KeyRefusal, Keys, KeysError, KeysReport};
pub use questions::{Question, Questions};
pub use registers::Registers;
pub use rumormill_core::aggregate::Aggregate;
pub use rumormill_core::io::{ContactError, Found, Quantile, TraceStep};
pub use rumormill_core::story;
pub use rumormill_core::{
    Config, ConfigBuilder, ConfigError, Incarnation, Member, MemberChange, Message, Node, NodeId, Refusal, Sequence,
    State, Tags, Wall,
};
pub use seal::SealCounts;
pub use subscription::{Delivery, Received, Subscription};
