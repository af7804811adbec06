//! From a description of a node to a running one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rumormill_core::{ConfigBuilder, Tags};

use crate::cluster::Cluster;
use crate::error::StartError;
use crate::events::{Announcer, Events};
use crate::keyring::Keyring;
use crate::start;

/// The description of a node that has not been started. Nothing is checked before [`start`](Self::start).
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    pub(crate) name: String,
    pub(crate) cluster: Option<String>,
    pub(crate) bind: String,
    pub(crate) advertise: Option<String>,
    pub(crate) join: Vec<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) tags: Tags,
    pub(crate) config: ConfigBuilder,
    pub(crate) keyring: Option<Keyring>,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) allow_faults: bool,
    pub(crate) record: Option<PathBuf>,
    pub(crate) record_bytes_max: u64,
    pub(crate) announcer: Announcer,
}

/// How large a recording becomes, where nothing else is said.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

impl Builder {
    /// A node of this name, 1 to 128 bytes without control characters, on `127.0.0.1:4747`, alone, with nothing kept.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cluster: None,
            bind: "127.0.0.1".to_owned(),
            advertise: None,
            join: Vec::new(),
            data_dir: None,
            tags: BTreeMap::new(),
            config: ConfigBuilder::default(),
            keyring: None,
            certificate: None,
            allow_faults: false,
            record: None,
            record_bytes_max: RECORD_BYTES_MAX,
            announcer: Announcer::new(),
        }
    }

    /// The name of the cluster, where it is not the one in [`config`](Self::config).
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Where to be reached, for UDP and TCP: `host`, `host:port` or `[v6]:port`. Port 0 lets the system choose one.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.bind = address.into();
        self
    }

    /// The address to tell others, where it is not the one bound. By default, when bound to all addresses: the source
    /// address towards the first contact, else towards a private network.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Contacts to join through: addresses of any nodes of the cluster. They are tried until one answers.
    pub fn join(mut self, contacts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.join.extend(contacts.into_iter().map(Into::into));
        self
    }

    /// Where to keep identity, boot and known members, so that the node is the same member after a restart.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// One more tag.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// All settings of the protocol.
    pub fn config(mut self, config: ConfigBuilder) -> Self {
        self.config = config;
        self
    }

    /// The cluster's keys: everything is sealed, and only nodes that have them are heard. Without one anybody who reaches the
    /// port can read, forge and join.
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// The authority's word that this node may be a member, where identity is signed. It is for the key in the
    /// [data directory](Self::data_dir).
    pub fn certificate(mut self, certificate: Vec<u8>) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Offers the fault table, on a loopback address only.
    pub fn allow_faults(mut self) -> Self {
        self.allow_faults = true;
        self
    }

    /// Writes to this file what happens to the node, for `rumor lab replay`. A recording that is there already is kept beside it, as
    /// `.old`; any other file is left alone, and the start fails. The file holds what the cluster says, but no key.
    pub fn record(mut self, file: impl Into<PathBuf>) -> Self {
        self.record = Some(file.into());
        self
    }

    /// How large that file may become, at least 8 MiB: what is older is overwritten.
    pub const fn record_bytes_max(mut self, bytes: u64) -> Self {
        self.record_bytes_max = bytes;
        self
    }

    /// The events of the node from its very start on.
    pub fn events(&self) -> Events {
        self.announcer.listen()
    }

    /// Starts the node in a task of the current tokio runtime. Returns as soon as it may speak; joining goes on by itself.
    ///
    /// # Errors
    /// Where a setting breaks its rule, a port or the data directory is in use, or the system refuses. A contact that
    /// does not answer or resolve is no error: it is tried again.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O enabled.
    pub async fn start(self) -> Result<Cluster, StartError> {
        start::start(self).await
    }
}
