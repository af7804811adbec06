//! Registers on which the cluster agrees: whoever reads one reads what was written last, whichever node was asked, and
//! whoever changes one by compare-and-set changes what it thinks it changes.
//!
//! ```no_run
//! # async fn example(cluster: rumormill::Cluster) -> Result<(), Box<dyn std::error::Error>> {
//! use rumormill::registers::{Expected, RegisterError};
//!
//! let registers = cluster.registers();
//! registers.found(cluster.members().await?.iter().take(3).map(|member| member.id)).await?;
//! let primary = registers.register("primary");
//! match primary.compare_and_set(Expected::Absent, "a").await {
//!     Ok(held) => println!("first, at version {}", held.version),
//!     Err(RegisterError::Mismatch(held)) => println!("another was first: {:?}", held.value),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use rumormill_core::agreement::{Change, Outcome};
pub use rumormill_core::agreement::{
    Configuration, Expected, FoundingId, REGISTER_BYTES_MAX, VALUE_BYTES_MAX, VOTERS_MAX, Value,
};
pub use rumormill_core::{AgreementStatus, FoundingStatus};
use rumormill_core::{Command, Node, NodeId, Refusal, Reply};
use tokio::sync::{oneshot, watch};

use crate::cluster::Shared;
use crate::error::{Closed, RequestError};
use crate::request::{self, Request};

/// How long an operation may take unless said otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A handle to the registers of a cluster, as good as the [`Cluster`](crate::Cluster) that it comes from.
#[derive(Clone, Debug)]
pub struct Registers(pub(crate) Arc<Shared>);

/// A handle to one register.
#[derive(Clone, Debug)]
pub struct Register {
    shared: Arc<Shared>,
    name: String,
    timeout: Duration,
}

/// What a register holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// How many operations have changed it; 0 if none ever has.
    pub version: u64,
    /// Nothing before the first and after a deletion.
    pub value: Option<Value>,
}

/// Why an operation on a register did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// The register holds something else. Nothing was changed.
    #[error("the register holds something else (version {})", .0.version)]
    Mismatch(Held),
    /// Others changed the register so often meanwhile that nobody can tell any more whether this operation was done.
    #[error("so many others changed the register meanwhile that it is not known whether this was done")]
    Unknown,
    /// As it says. [`Refusal::NoQuorum`] says whether it may have been done nevertheless.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node has stopped; whether the operation was done is not known.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<RequestError> for RegisterError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Closed(closed) => Self::Closed(closed),
        }
    }
}

impl RegisterError {
    /// Whether the operation may have been done, or may be yet.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Closed(_) | Self::Refused(Refusal::NoQuorum { unknown: true, .. }))
    }
}

impl Registers {
    /// Names the first voters of registers, once in the life of a cluster. They join, each one founding in its life at most;
    /// once all have, registers can be used. To name the same ones again changes nothing.
    ///
    /// # Errors
    /// Where there are none, too many, one twice, others were named before, or the node is leaving or has stopped.
    pub async fn found(&self, voters: impl IntoIterator<Item = NodeId>) -> Result<(), RequestError> {
        self.command(Command::Found { voters: voters.into_iter().collect() }).await.map(drop)
    }

    /// Drops a founding for good, with what was agreed on in it, where two clusters that each had one have met.
    ///
    /// # Errors
    /// Where there is no such founding, or the node is leaving or has stopped.
    pub async fn drop_founding(&self, founding: FoundingId) -> Result<(), RequestError> {
        self.command(Command::DropFounding { founding }).await.map(drop)
    }

    /// Changes who votes. Done once that is decided; the new voters take over what they lack afterwards.
    ///
    /// # Errors
    /// Where voters break their rules, another change is under way, or no quorum answers.
    pub async fn change_voters(
        &self,
        voters: impl IntoIterator<Item = NodeId>,
        timeout: Duration,
    ) -> Result<(), RegisterError> {
        let voters = voters.into_iter().collect();
        let reply = self.command(Command::ChangeVoters { voters, timeout }).await?;
        if let Reply::Operated(Outcome::Unknown) = reply { Err(RegisterError::Unknown) } else { Ok(()) }
    }

    /// Who votes, and how that stands, as this node knows it.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn status(&self) -> Result<AgreementStatus, Closed> {
        self.inspect(Node::agreement).await
    }

    /// The registers that this node knows to hold something, by name.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn names(&self) -> Result<Vec<String>, Closed> {
        self.inspect(|node| node.registers().map(ToOwned::to_owned).collect()).await
    }

    /// A register, by its name of 1 to [`REGISTER_BYTES_MAX`] bytes.
    pub fn register(&self, name: impl Into<String>) -> Register {
        Register { shared: Arc::clone(&self.0), name: name.into(), timeout: TIMEOUT_DEFAULT }
    }

    async fn command(&self, command: Command) -> Result<Reply, RequestError> {
        request::command(&self.0.requests, command).await
    }

    async fn inspect<T: Send + 'static>(&self, read: impl FnOnce(&Node) -> T + Send + 'static) -> Result<T, Closed> {
        crate::Cluster(Arc::clone(&self.0)).inspect(read).await
    }
}

impl Register {
    /// The same with another deadline, of at most a minute.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds, linearizably: the last change that was confirmed to anybody before this is in it.
    ///
    /// # Errors
    /// Where the name breaks its rule, nobody votes, or no quorum answers in time.
    pub async fn get(&self) -> Result<Held, RegisterError> {
        self.operate(Change::Read).await
    }

    /// What it holds as far as this node has heard, at once; `None` if it has heard nothing. Later changes may be hidden.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn get_stale(&self) -> Result<Option<Held>, Closed> {
        let name = self.name.clone();
        let registers = Registers(Arc::clone(&self.shared));
        let held = registers.inspect(move |node| node.stale_register(&name)).await?;
        Ok(held.map(|(version, value)| Held { version, value }))
    }

    /// Gives it a value, whatever it holds.
    ///
    /// # Errors
    /// As [`get`](Self::get), and where the value is larger than [`VALUE_BYTES_MAX`].
    pub async fn set(&self, value: impl AsRef<[u8]>) -> Result<Held, RegisterError> {
        self.compare_and_set(Expected::Anything, value).await
    }

    /// Gives it a value if it holds what is expected.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`RegisterError::Mismatch`] with what it holds.
    pub async fn compare_and_set(&self, expected: Expected, value: impl AsRef<[u8]>) -> Result<Held, RegisterError> {
        self.operate(Change::Swap { expected, value: Some(value.as_ref().into()) }).await
    }

    /// Takes its value away if it holds what is expected.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`RegisterError::Mismatch`] with what it holds.
    pub async fn delete(&self, expected: Expected) -> Result<Held, RegisterError> {
        self.operate(Change::Swap { expected, value: None }).await
    }

    /// What it holds from now on, as far as this node hears of it.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn watch(&self) -> Result<RegisterWatch, Closed> {
        let (watch, opened) = oneshot::channel();
        let request = Request::WatchRegister { register: self.name.clone(), watch };
        self.shared.requests.send(request).await.map_err(|_| Closed)?;
        Ok(RegisterWatch(opened.await.map_err(|_| Closed)?))
    }

    async fn operate(&self, change: Change) -> Result<Held, RegisterError> {
        let command = Command::Operate { register: self.name.clone(), change, timeout: self.timeout };
        let Reply::Operated(outcome) = request::command(&self.shared.requests, command).await? else {
            unreachable!("an operation ends with its outcome")
        };
        match outcome {
            Outcome::Done { version, value } => Ok(Held { version, value }),
            Outcome::Mismatch { version, value } => Err(RegisterError::Mismatch(Held { version, value })),
            Outcome::Unknown => Err(RegisterError::Unknown),
        }
    }
}

/// What a register holds, as it changes: the last value counts, those between may be left out.
#[derive(Debug)]
pub struct RegisterWatch(watch::Receiver<Held>);

impl RegisterWatch {
    /// What it holds now, as far as the node has heard.
    pub fn held(&mut self) -> Held {
        self.0.borrow_and_update().clone()
    }

    /// Waits until it holds something else than was last seen here; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<Held> {
        self.0.changed().await.ok()?;
        Some(self.held())
    }
}
