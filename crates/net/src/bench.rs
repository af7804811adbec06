//! A door for benchmarks and for tests that attack, and for nobody else: what is behind it may change at any time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::io::Token;
use rumormill_core::wire::{Header, VERSION};
use rumormill_core::{Config, Identity, Node, NodeId, Now, Record, Signatures, Stored, Wall};
use tokio::sync::watch;

use crate::clock;
use crate::directory::{self, DataDir, Opened};
use crate::error::StartError;
use crate::keeper::Keeper;
use crate::key;
use crate::keyring::Keyring;
use crate::keyring::derived::{self, Ring};
use crate::seal::{HEADROOM, Sealer};

/// A new key pair of a node, and what it signs with.
pub fn signatures() -> Arc<dyn Signatures> {
    Arc::new(key::NodeKey::generate().expect("the system has random numbers").signatures())
}

/// A data directory to whose store whoever calls commits.
#[derive(Debug)]
pub struct Storing(DataDir);

impl Storing {
    /// Opens a data directory as a node does.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        directory::open(path).map(|opened| Self(opened.directory))
    }

    /// Makes records durable, all or none.
    pub fn commit(&mut self, records: &[Record]) -> io::Result<()> {
        self.0.store.commit(records.iter()).map_err(io::Error::other)
    }
}

/// A data directory, and the thread that commits to it.
#[derive(Debug)]
pub struct Keeping {
    keeper: Keeper,
    token: u64,
}

impl Keeping {
    /// Opens a data directory as a node does, and returns what is in it. One that had to be set aside is an error.
    pub fn open(path: &Path) -> Result<(Self, Stored), StartError> {
        let failed = |source| StartError::DataDir { path: path.to_owned(), source };
        let Opened { directory, stored, warning, .. } = directory::open(path)?;
        if let Some(warning) = warning {
            return Err(failed(io::Error::other(warning)));
        }
        let keeper = Keeper::disk(directory).map_err(failed)?;
        Ok((Self { keeper, token: 0 }, stored))
    }

    /// Asks for records to be made durable.
    pub fn persist(&mut self, records: Vec<Record>) {
        self.token += 1;
        self.keeper.persist(Token(self.token), records);
    }

    /// Waits for the next request that was not waited for: whether its records are durable.
    pub async fn stored(&mut self) -> bool {
        self.keeper.answer().await.result.is_ok()
    }

    /// Waits until the directory is free.
    pub async fn close(self) {
        self.keeper.close().await;
    }
}

/// Two nodes that seal, and know each other.
#[derive(Debug)]
pub struct Sealing {
    keyring: Keyring,
    cluster: u32,
    sender: Sealer,
    receiver: Sealer,
    ids: (NodeId, NodeId),
    clock: u64,
    buffer: Vec<u8>,
    _keys: watch::Sender<Arc<Ring>>,
}

impl Sealing {
    /// Two nodes with a key of their own.
    pub fn pair() -> Self {
        let keyring = Keyring::generate().expect("the system has random numbers");
        let keys = watch::Sender::new(Arc::new(Ring::of(&keyring)));
        let ids = (NodeId(1), NodeId(2));
        let cluster = cluster_hash(derived::secret_of_ids(&keyring));
        let sealer = |id| {
            let draw = || key::random_bits().ok();
            Sealer::new(id, cluster, Duration::from_hours(1), keys.subscribe(), draw).expect("random numbers")
        };
        let (sender, receiver) = (sealer(ids.0), sealer(ids.1));
        let clock = 1_800_000_000_000_000;
        let mut pair = Self { keyring, cluster, sender, receiver, ids, clock, buffer: Vec::new(), _keys: keys };
        let hello = pair.datagram(&[]);
        let introduced = pair.seal(&hello);
        assert!(pair.open(&introduced).is_some(), "it is authentic");
        pair.greet_back();
        pair
    }

    /// The hash of the cluster's name.
    pub const fn cluster(&self) -> u32 {
        self.cluster
    }

    /// The secret of the ids of updates.
    pub fn secret(&self) -> [u8; 16] {
        derived::secret_of_ids(&self.keyring)
    }

    /// The id of the node that opens.
    pub const fn receiver(&self) -> NodeId {
        self.ids.1
    }

    /// A datagram as a node writes it.
    pub fn datagram(&self, frames: &[u8]) -> Vec<u8> {
        self.between(self.ids, frames)
    }

    /// Seals a datagram of the sender.
    pub fn seal(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.clock += 1;
        self.sender.seal(datagram, Wall::from_micros(self.clock))
    }

    /// Seals one right after the receiver was heard, as in a dialogue of pings and acks.
    pub fn seal_in_touch(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.greet_back();
        self.seal(datagram)
    }

    /// Seals a datagram of the receiver, as it is, to nobody in particular.
    pub fn seal_back(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.clock += 1;
        self.receiver.seal(datagram, Wall::from_micros(self.clock))
    }

    /// Opens what came in at the receiver.
    pub fn open(&mut self, sealed: &[u8]) -> Option<&[u8]> {
        open(&mut self.receiver, &mut self.buffer, sealed, self.clock)
    }

    /// A datagram of a session that is known, with a counter of its own and a tag that is wrong.
    pub fn garbage(&mut self) -> Vec<u8> {
        let mut sealed = self.seal_in_touch(&self.datagram(&[0; 11]));
        if let Some(last) = sealed.last_mut() {
            *last ^= 1;
        }
        sealed
    }

    fn greet_back(&mut self) {
        let back = self.between((self.ids.1, self.ids.0), &[]);
        let sealed = self.seal_back(&back);
        assert!(open(&mut self.sender, &mut self.buffer, &sealed, self.clock).is_some(), "it is authentic");
        self.sender.settle();
    }

    fn between(&self, (sender, target): (NodeId, NodeId), frames: &[u8]) -> Vec<u8> {
        let header = Header { cluster: self.cluster, sender, target, session: 1, clock: 0 };
        [&header.to_bytes()[..], &[VERSION.major << 4], frames].concat()
    }
}

/// Somebody who has the key of a cluster, and seals what a member never would.
#[derive(Debug)]
pub struct Insider {
    sealer: Sealer,
    secret: [u8; 16],
    _keys: watch::Sender<Arc<Ring>>,
}

impl Insider {
    /// Speaks as the node of that id, in the default cluster.
    pub fn new(keyring: &Keyring, id: NodeId) -> Self {
        let keys = watch::Sender::new(Arc::new(Ring::of(keyring)));
        let secret = derived::secret_of_ids(keyring);
        let draw = || key::random_bits().ok();
        let sealer = Sealer::new(id, cluster_hash(secret), Duration::from_hours(1), keys.subscribe(), draw);
        Self { sealer: sealer.expect("the system has random numbers"), secret, _keys: keys }
    }

    /// The secret of the ids of updates.
    pub const fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// Seals a datagram as a node writes it.
    pub fn seal(&mut self, datagram: &[u8]) -> Vec<u8> {
        self.sealer.seal(datagram, clock::wall())
    }
}

fn open<'a>(sealer: &mut Sealer, buffer: &'a mut Vec<u8>, sealed: &[u8], clock: u64) -> Option<&'a [u8]> {
    buffer.clear();
    buffer.resize(HEADROOM, 0);
    buffer.extend_from_slice(sealed);
    let range = sealer.open(buffer, Wall::from_micros(clock)).ok()?;
    Some(&buffer[range])
}

/// The hash of the name of the default cluster under a secret, as a node computes it.
fn cluster_hash(secret: [u8; 16]) -> u32 {
    let identity = Identity { secret: Some(secret), ..Identity::new(NodeId(1), "bench", ([127, 0, 0, 1], 1), 1) };
    Node::new(identity, Config::default(), 1, Now::default()).cluster_hash()
}
