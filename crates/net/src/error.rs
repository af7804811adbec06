//! What can go wrong, at the start and later.

use std::net::SocketAddr;
use std::path::PathBuf;

use rumormill_core::data::Written;
use rumormill_core::{ConfigError, Refusal};

/// Why a node did not start. Nothing was sent, and nothing of an earlier life was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting, the name, a tag or an address breaks its rule.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Another process has the port, for datagrams or for streams.
    #[error("bind is {address}, must be {}", self.rule())]
    PortInUse {
        /// Where the node was to be reached.
        address: SocketAddr,
    },
    /// The address cannot be bound for another reason: not of this machine, or not permitted.
    #[error("bind is {address}, must be {}: {source}", self.rule())]
    Bind {
        /// Where the node was to be reached.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("data_dir is {}, must be {}", path.display(), self.rule())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory cannot be made, read or written.
    #[error("data_dir is {}, must be {}: {source}", path.display(), self.rule())]
    DataDir {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A later version of this program wrote the data directory. Nothing in it was changed.
    #[error("data_dir is {} of format {found}, must be {}", path.display(), self.rule())]
    DataDirNewer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Faults may be injected on loopback addresses only.
    #[error("allow_faults is true with bind {address}, must be {}", self.rule())]
    FaultsNotLoopback {
        /// Where the node was to be reached.
        address: SocketAddr,
    },
    /// Identity is signed, and there is no certificate. The key that it is to be for is in the data directory.
    #[error("certificate is missing, must be {}", self.rule())]
    NoCertificate {
        /// What to do, with the node's public key.
        rule: String,
    },
    /// The authority has revoked this node's certificate.
    #[error("certificate is revoked, must be {}", self.rule())]
    Revoked,
    /// The file for the flight recorder cannot be made or written.
    #[error("record is {}, must be {}: {source}", path.display(), self.rule())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no random numbers.
    #[error("random numbers are not available, must be {}", self.rule())]
    NoRandomness,
    /// The node stopped before it could speak: the boot could not be stored, and no other identity be made.
    #[error("the node stopped before it could speak, must be {}", self.rule())]
    NotStarted,
}

impl StartError {
    /// The setting that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.field,
            Self::PortInUse { .. } | Self::Bind { .. } => "bind",
            Self::DataDirInUse { .. } | Self::DataDir { .. } | Self::DataDirNewer { .. } => "data_dir",
            Self::FaultsNotLoopback { .. } => "allow_faults",
            Self::NoCertificate { .. } | Self::Revoked => "certificate",
            Self::Record { .. } => "record",
            Self::NoRandomness | Self::NotStarted => "system",
        }
    }

    /// What it was set to.
    pub fn value(&self) -> String {
        match self {
            Self::Invalid(error) => error.value.clone(),
            Self::PortInUse { address } => address.to_string(),
            Self::Bind { address, .. } => address.clone(),
            Self::DataDirInUse { path } | Self::DataDir { path, .. } | Self::Record { path, .. } => {
                path.display().to_string()
            }
            Self::DataDirNewer { path, found } => format!("{} of format {found}", path.display()),
            Self::FaultsNotLoopback { address } => format!("true with bind {address}"),
            Self::NoCertificate { .. } => "missing".to_owned(),
            Self::Revoked => "revoked".to_owned(),
            Self::NoRandomness => "no random numbers".to_owned(),
            Self::NotStarted => "stopped early".to_owned(),
        }
    }

    /// What it must be.
    pub fn rule(&self) -> &str {
        match self {
            Self::Invalid(error) => &error.rule,
            Self::PortInUse { .. } => "an address whose port no other process uses, for UDP and TCP",
            Self::Bind { .. } => "an address of this machine that may be bound",
            Self::DataDirInUse { .. } => "a directory that no other process uses",
            Self::DataDir { .. } => "a directory that this process can read and write",
            Self::DataDirNewer { .. } => "of format 2 or older: this version reads no newer one",
            Self::FaultsNotLoopback { .. } => "bound to a loopback address: faults are for experiments",
            Self::NoCertificate { rule } => rule,
            Self::Revoked => {
                "one that counts: the authority has revoked it, so this node needs an empty data directory and a certificate for the key that it makes there"
            }
            Self::Record { .. } => "a new file, or a recording, in a directory that this process can write",
            Self::NoRandomness => "a system with random numbers",
            Self::NotStarted => "able to store a boot or to make a new identity",
        }
    }
}

/// The node has stopped; [`Cluster::stopped`](crate::Cluster::stopped) says why.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Closed;

/// Why a request was not carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The node refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node has stopped. A request under way at that moment may have been carried out.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<ConfigError> for RequestError {
    fn from(ConfigError { field, value, rule }: ConfigError) -> Self {
        Self::Refused(Refusal::Invalid { field, value, rule })
    }
}

/// Why a write is not as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The node refused; nothing was changed, except after [`Refusal::NotConfirmed`], where this is not known.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is written on this node, but not as many others as were asked for confirmed it in time. It goes on spreading.
    #[error("written here, but confirmed by {} of {} other nodes in time; it goes on spreading", .0.replicas, .0.wanted)]
    Unconfirmed(Box<Written>),
    /// Of many writes that were to be made in pieces, the first so many were made, the others not. All together may be
    /// made again.
    #[error("the first {made} were made; then: {error}")]
    Partly {
        /// How many.
        made: usize,
        /// What stopped the others.
        error: Box<Self>,
    },
    /// The node has stopped. A write under way at that moment may have been made.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<RequestError> for WriteError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => Self::Refused(refusal),
            RequestError::Closed(closed) => Self::Closed(closed),
        }
    }
}

/// Why a node stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StopReason {
    /// It left, as asked: the others know.
    #[error("left")]
    Left,
    /// It was stopped without a word, or its last handle was dropped.
    #[error("stopped")]
    Stopped,
    /// Two processes share this identity: a copy of the data directory.
    #[error("two processes share this identity")]
    SharedIdentity,
    /// The boot could not be stored, so that this identity must not speak.
    #[error("the boot could not be stored")]
    BootNotStored,
    /// The authority has revoked its certificate.
    #[error(
        "the authority has revoked this node's certificate; to come back it needs an empty data directory, and a certificate for the key that it makes there"
    )]
    Revoked,
    /// Its certificate has run out.
    #[error("this node's certificate has run out; have its key admitted again, and start with the new certificate")]
    CertificateExpired,
    /// Its task ended early: an invariant was broken, or the runtime was shut down.
    #[error("its task ended early")]
    Aborted,
}

impl From<rumormill_core::io::StopReason> for StopReason {
    fn from(reason: rumormill_core::io::StopReason) -> Self {
        use rumormill_core::io::StopReason as Core;
        match reason {
            Core::Left => Self::Left,
            Core::SharedIdentity => Self::SharedIdentity,
            Core::BootNotStored => Self::BootNotStored,
            Core::Revoked => Self::Revoked,
            Core::CertificateExpired => Self::CertificateExpired,
        }
    }
}
