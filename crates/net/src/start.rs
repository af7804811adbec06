//! The steps from a description to a running node. The first that fails leaves nothing running behind.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::config::IdentityKind;
use rumormill_core::io::KEYS_QUERY;
use rumormill_core::{
    Certificate, Config, ConfigError, Identity, Node, NodeId, Overhead, Signatures as _, Signing, Stored, Wall,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::address::{self, Address};
use crate::authority;
use crate::builder::Builder;
use crate::clock::{self, Clock};
use crate::cluster::{Cluster, Shared, SocketCounters};
use crate::desk::Desk;
use crate::directory;
use crate::driver::{Driver, Started};
use crate::error::{StartError, StopReason};
use crate::events::{Announcer, EventKind, Warning};
use crate::faults::Faults;
use crate::join::{self, Joiner, Standing};
use crate::keeper::Keeper;
use crate::key::{self, NodeKey};
use crate::keyring::Keyring;
use crate::keyring::derived;
use crate::keyring::holder::Holder;
use crate::keys;
use crate::noise::Terms;
use crate::questions::QUESTIONS_MAX;
use crate::recorder::{RECORD_BYTES_MIN, Recorder};
use crate::request::{REQUESTS_MAX, Request};
use crate::seal::{self, Sealer};
use crate::socket::{self, DatagramSealing, Datagrams};
use crate::streams::Streams;

/// How long a contact's name may take to resolve where its address decides which of ours is advertised.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn start(builder: Builder) -> Result<Cluster, StartError> {
    let Builder {
        name,
        cluster,
        bind,
        advertise,
        join,
        data_dir,
        tags,
        mut config,
        keyring,
        certificate,
        allow_faults,
        record,
        record_bytes_max,
        announcer,
    } = builder;
    if let Some(cluster) = cluster {
        config.cluster = cluster;
    }
    let config = config.build()?;
    let contacts = join::parse(join)?;
    let faults = if allow_faults { Some(Faults::new(key::random_bits()?)) } else { None };
    let sockets = Sockets::bind(&bind, faults).await?;
    let advertised = advertised(advertise.as_deref(), sockets.local_address, &contacts).await?;
    let mut identity = Identity {
        id: NodeId::NONE,
        name,
        addresses: vec![advertised],
        tags,
        session: key::random_bits()?,
        secret: keyring.as_ref().map(derived::secret_of_ids),
        stored: Stored::default(),
        durable: false,
        overhead: if keyring.is_some() { Sealer::overhead() } else { Overhead::default() },
        signing: None,
    };
    identity.check()?;
    let (keeper, key) = remember(&mut identity, data_dir.clone(), &announcer).await?;
    let mut certificate_end = None;
    if config.identity == IdentityKind::Signed {
        let (signing, end) = signing(&key, certificate, &config, &identity)?;
        (identity.signing, certificate_end) = (Some(signing), end);
        identity.check()?;
    }
    let sealing = match keyring {
        Some(keyring) => {
            let open = if identity.durable { Holder::open } else { Holder::passing };
            Some(Arc::new(hold(keyring, data_dir.clone(), open).await?))
        }
        None => None,
    };
    // The last that may fail: a start that ends before this leaves what was recorded alone.
    let recorder = record.map(|path| recorder(&path, record_bytes_max)).transpose()?;
    if let Some((recorder, signing)) = recorder.as_ref().zip(identity.signing.as_mut()) {
        signing.signatures = recorder.attend(Arc::clone(&signing.signatures));
    }
    let parts = Parts { identity, config, sockets, sealing, keeper, recorder, data_dir, certificate_end, announcer };
    let cluster = launch(parts).await?;
    cluster.0.contacts.replace(&cluster.0.joiner, contacts, &[]);
    Ok(cluster)
}

/// What a node is made of.
struct Parts {
    identity: Identity,
    config: Config,
    sockets: Sockets,
    sealing: Option<Arc<Holder>>,
    keeper: Keeper,
    recorder: Option<Recorder>,
    data_dir: Option<PathBuf>,
    certificate_end: Option<Wall>,
    announcer: Announcer,
}

/// Both sockets of a node, and what the fault table does to them.
struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    local_address: SocketAddr,
    faults: Option<Faults>,
}

impl Sockets {
    /// Binds the first address of `bind` that can be bound.
    async fn bind(bind: &str, faults: Option<Faults>) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind { address: bind.to_owned(), source };
        let mut result = Err(failed(io::ErrorKind::AddrNotAvailable.into()));
        for address in Address::parse("bind", bind)?.resolve().await.map_err(failed)? {
            if faults.is_some() && !address.ip().is_loopback() {
                return Err(StartError::FaultsNotLoopback { address });
            }
            result = socket::bind(address);
            if result.is_ok() {
                break;
            }
        }
        let (udp, tcp) = result?;
        let local_address = udp.local_addr().map_err(failed)?;
        Ok(Self { udp, tcp, local_address, faults })
    }
}

/// The address to tell others; port 0 stands for the one that is bound.
async fn advertised(
    advertise: Option<&str>,
    bound: SocketAddr,
    contacts: &[Address],
) -> Result<SocketAddr, StartError> {
    let Some(text) = advertise else {
        let resolved = if bound.ip().is_unspecified() { resolve_first(contacts).await } else { Vec::new() };
        return Ok(address::advertised(bound, &resolved));
    };
    let resolved = Address::parse("advertise", text)?.resolve().await.unwrap_or_default();
    let Some(&(mut address)) = resolved.first() else {
        let (value, rule) = (format!("{text:?}"), "an address that resolves".to_owned());
        return Err(ConfigError { field: "advertise", value, rule }.into());
    };
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    Ok(address)
}

async fn resolve_first(contacts: &[Address]) -> Vec<SocketAddr> {
    let Some(first) = contacts.first() else { return Vec::new() };
    // A name that does not resolve yet is tried again when joining.
    timeout(RESOLVE_TIMEOUT, first.resolve()).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Takes up the identity in the data directory, or a new one that ends with the process where there is none, or it takes
/// no writes.
async fn remember(
    identity: &mut Identity,
    data_dir: Option<PathBuf>,
    announcer: &Announcer,
) -> Result<(Keeper, NodeKey), StartError> {
    let passing = |identity: &mut Identity| {
        let key = NodeKey::generate()?;
        identity.id = key.id();
        Ok((Keeper::memory(), key))
    };
    let Some(path) = data_dir else { return passing(identity) };
    let directory = path.clone();
    let opened = tokio::task::spawn_blocking(move || directory::open(&directory)).await;
    match opened.expect("opening a directory neither panics nor is cancelled") {
        Ok(opened) => {
            (identity.id, identity.stored, identity.durable) = (opened.key.id(), opened.stored, true);
            if let Some(warning) = opened.warning {
                announcer.announce(clock::wall(), EventKind::Warning(warning));
            }
            let keeper = Keeper::disk(opened.directory).map_err(|source| StartError::DataDir { path, source })?;
            Ok((keeper, opened.key))
        }
        Err(StartError::DataDir { source, .. }) if takes_no_writes(source.kind()) => {
            announcer.announce(clock::wall(), EventKind::Warning(Warning::NotDurable { reason: source.to_string() }));
            passing(identity)
        }
        Err(error) => Err(error),
    }
}

/// What a node signs with, and until when, if its certificate is one that others will take.
fn signing(
    key: &NodeKey,
    certificate: Option<Vec<u8>>,
    config: &Config,
    identity: &Identity,
) -> Result<(Signing, Option<Wall>), StartError> {
    let signatures = key.signatures();
    let public_key = authority::hex(&signatures.public_key());
    let Some(certificate) = certificate else {
        let rule = if identity.durable {
            format!(
                "given, as identity is signed: `rumor authority admit FILE {public_key}` makes one, where FILE is the authority's; then start with --certificate"
            )
        } else {
            "given, as identity is signed, with a data directory that keeps the key which it is for".to_owned()
        };
        return Err(StartError::NoCertificate { rule });
    };
    let refuse = |value: &str, rule: String| Err(StartError::from(refusal(value, rule)));
    let authority = config.authority_key().expect("checked: who signs has an authority");
    let Some(read) = Certificate::read(&certificate, &authority, &signatures) else {
        return refuse("of another authority", "signed by the authority in the settings".to_owned());
    };
    if read.key != signatures.public_key() {
        return refuse("for another key", format!("for this node's key, {public_key}"));
    }
    if read.name.as_deref().is_some_and(|name| name != identity.name) {
        let name = read.name.unwrap_or_default();
        return refuse(&format!("for the name {name:?}"), format!("for this node's name, {:?}", identity.name));
    }
    if read.until.is_some_and(|until| until <= clock::wall().seconds()) {
        return refuse("run out", format!("one that counts: have {public_key} admitted again"));
    }
    let end = read.until.map(|until| Wall::from_micros(u64::from(until.0) * 1_000_000));
    Ok((Signing { signatures: Arc::new(signatures), certificate }, end))
}

fn refusal(value: &str, rule: String) -> ConfigError {
    ConfigError { field: "certificate", value: value.to_owned(), rule }
}

/// The flight recorder, where one is wanted.
fn recorder(path: &Path, bytes_max: u64) -> Result<Recorder, StartError> {
    if bytes_max < RECORD_BYTES_MIN {
        let (value, rule) = (bytes_max.to_string(), format!("at least {RECORD_BYTES_MIN}: snapshots need room"));
        return Err(ConfigError { field: "record_bytes_max", value, rule }.into());
    }
    Recorder::open(path, bytes_max)
}

/// Takes up the keys that an earlier life kept, or those that were given.
async fn hold(
    keyring: Keyring,
    directory: Option<PathBuf>,
    open: fn(&Keyring, Option<&Path>) -> Result<Holder, StartError>,
) -> Result<Holder, StartError> {
    let opened = tokio::task::spawn_blocking(move || open(&keyring, directory.as_deref())).await;
    opened.expect("opening a keyring neither panics nor is cancelled")
}

const fn takes_no_writes(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem)
}

/// Starts the task, and waits until the node may speak.
async fn launch(parts: Parts) -> Result<Cluster, StartError> {
    let Parts { identity, config, sockets, sealing, keeper, recorder, data_dir, certificate_end, announcer } = parts;
    let Sockets { udp, tcp, local_address, faults } = sockets;
    let (name, advertised) = (identity.name.clone(), identity.addresses[0]);
    let (requests, receiver) = mpsc::channel::<Request>(REQUESTS_MAX);
    let (started, is_started) = oneshot::channel();
    let (stop, stopped) = watch::channel(None);
    let counters = Arc::new(SocketCounters::default());
    let events = announcer.downgrade();
    let joiner = Joiner::new(&requests, events.clone(), [local_address, advertised], &config);
    let clock = Clock::start();
    let node = Node::new(identity.clone(), config.clone(), key::random_bits()?, clock.now());
    let seal = sealing.as_ref().map(|holder| of_datagrams(holder, &node)).transpose()?;
    let terms = sealing.as_ref().map(|holder| of_streams(holder, &node));
    let mut desk = Desk::new(announcer, requests.downgrade());
    if let Some(holder) = &sealing {
        let (questions, waiting) = mpsc::channel(QUESTIONS_MAX);
        desk.handle_queries(KEYS_QUERY.to_owned(), questions);
        // It ends with the desk.
        tokio::spawn(keys::answer(Arc::clone(holder), waiting));
    }
    let driver = Driver {
        node,
        clock,
        identity,
        datagrams: Datagrams::new(udp, local_address, seal, faults.clone(), Arc::clone(&counters)),
        streams: Streams::new(tcp, local_address, config.streams_max, terms, faults.clone(), Arc::clone(&counters)),
        keeper,
        recorder,
        desk,
        requests: receiver,
        started: Some(started),
        stop,
        not_stored: None,
        warned: BTreeMap::new(),
        stopped: None,
        config: config.clone(),
    };
    tokio::spawn(driver.run());
    let Ok(Started { id, is_durable, shelf }) = is_started.await else {
        let is_revoked = *stopped.borrow() == Some(StopReason::Revoked);
        return Err(if is_revoked { StartError::Revoked } else { StartError::NotStarted });
    };
    Ok(Cluster(Arc::new(Shared {
        id,
        name,
        cluster_name: config.cluster.clone(),
        local_address,
        advertised,
        is_durable,
        data_dir,
        certificate_end,
        shelf,
        writers: Semaphore::new(config.writes_max),
        requests,
        events,
        joiner,
        contacts: Standing::default(),
        stop: stopped,
        faults,
        counters,
        sealing,
    })))
}

/// How the datagrams of a node are sealed.
fn of_datagrams(holder: &Holder, node: &Node) -> Result<DatagramSealing, StartError> {
    let window = seal::window_of(node.config().tombstone_ttl);
    let draw = || key::random_bits().ok();
    let sealer = Sealer::new(node.id(), node.cluster_hash(), window, holder.ring.subscribe(), draw);
    let sealer = Box::new(sealer.ok_or(StartError::NoRandomness)?);
    Ok(DatagramSealing { sealer, counters: Arc::clone(&holder.counters) })
}

/// How its streams are.
fn of_streams(holder: &Holder, node: &Node) -> Terms {
    Terms {
        cluster: node.cluster_hash(),
        cluster_name: node.config().cluster.as_str().into(),
        window: seal::window_of(node.config().tombstone_ttl),
        keys: holder.ring.subscribe(),
        counters: Arc::clone(&holder.counters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_identity_whose_boot_cannot_be_stored_does_not_speak_and_another_does() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::disk(directory::tests::broken(directory.path())).unwrap();
        let sockets = Sockets::bind("127.0.0.1:0", None).await.unwrap();
        let identity = Identity { durable: true, ..Identity::new(NodeId(7), "a", sockets.local_address, 1) };
        let announcer = Announcer::new();
        let mut events = announcer.listen();
        let (config, data_dir, sealing, recorder) = (Config::default(), None, None, None);
        let certificate_end = None;
        let parts =
            Parts { identity, config, sockets, sealing, keeper, recorder, data_dir, certificate_end, announcer };
        let cluster = launch(parts).await.unwrap();
        assert_ne!(cluster.id(), NodeId(7));
        assert!(!cluster.is_durable());
        let first = events.next().await.unwrap().unwrap();
        let EventKind::Warning(Warning::NotDurable { reason }) = first.kind else { panic!("{first:?}") };
        assert!(!reason.is_empty(), "the warning names no reason");
        cluster.publish("news", "hi").await.unwrap();
    }
}
