//! The agent: one node of the cluster, its HTTP interface and its log, until it leaves or is stopped.

mod answers;
mod discovery;
mod dns;
mod doors;
mod expiry;
mod founding;
pub(crate) mod gauges;
mod handlers;
mod reloading;
mod teller;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumormill::{Cluster, Events, KeyId, Node, SealCounts, StartError, StopReason, Wall};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, oneshot, watch};

use crate::cli;
use crate::commands::{authority, keys};
use crate::documents::{DataInfo, Info, Protocol, ReadyNode, SealingInfo, Traffic};
use crate::failure::{Failure, Kind};
use crate::http::Served;
use crate::logs::Logs;
use crate::settings::{Layers, Preset, Settings};

use discovery::Wanted;
use doors::Doors;
use reloading::Reloader;

pub(crate) use answers::{BUILT_IN, find};
pub(crate) use founding::{choices, meant, without_disk};
pub(crate) use handlers::{Handler, Outcomes};
pub(crate) use teller::document;

/// How long answers under way may take to reach their clients at the end, and what there is to tell to reach others: two rounds of
/// the lan.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the parts of a running agent share.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) cluster: Cluster,
    pub(crate) logs: Logs,
    /// The URL of its HTTP interface.
    pub(crate) http: String,
    /// Where metrics are served a second time.
    metrics: Option<String>,
    /// The contacts that are looked for.
    wanted: watch::Receiver<Wanted>,
    reloader: Arc<Mutex<Reloader>>,
    /// Held while tags are read and changed, so that no change undoes another.
    tags_turn: Arc<Mutex<()>>,
    /// How the commands of its handlers ended.
    pub(crate) handled: Arc<Outcomes>,
    /// What HTTP keeps.
    pub(crate) served: Served,
    /// Turns true when the process is about to end.
    pub(crate) ending: watch::Receiver<bool>,
    /// Where the `rumor dev` that started it takes orders, if one did.
    pub(crate) dev_control: Option<Arc<Path>>,
    /// Whether it offers the laboratory.
    pub(crate) lab: bool,
    preset: Preset,
    started: Instant,
}

/// Runs an agent until it has stopped.
pub(crate) fn run(flags: &cli::Agent, json: bool) -> Result<(), Failure> {
    let written = Layers::of_agent(flags)?.resolve()?;
    let settings = Settings::of(written.0.clone(), written.1.clone())?;
    let logs = Logs::new(settings.log, settings.log_level);
    logs.install().map_err(|error| Failure::new(Kind::Refused, "log", error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Refused, "system", format!("the system gives no event queue: {error}")))?;
    let reason = runtime.block_on(async {
        // Before anybody knows this process: a signal that is not caught ends it.
        let reloads = catch(SignalKind::hangup())?;
        let voters = settings.agreement_voters.clone();
        let doors = Doors::open(&settings).await?;
        let (wanted, seen) = watch::channel(Wanted::of(&settings));
        let reloader = Reloader::new(flags.clone(), written, doors.keys(), wanted);
        let (mut agent, events, end) = Box::pin(start(settings, logs, &doors, (reloader, seen))).await?;
        agent.dev_control = flags.dev_control.as_deref().map(Arc::from);
        greet(&agent);
        agent.reloader.lock().await.begin(&agent);
        tokio::spawn(reloading::reload_at(reloads, agent.clone()));
        tokio::spawn(discovery::discover(agent.cluster.clone(), agent.wanted.clone()));
        tokio::spawn(teller::tell(agent.clone(), events, json));
        tokio::spawn(answers::info(agent.clone()));
        tokio::spawn(answers::member(agent.clone()));
        tokio::spawn(gauges::measure(agent.clone()));
        if let Some(end) = agent.cluster.certificate_end() {
            tokio::spawn(expiry::warn(end));
        }
        if !voters.is_empty() {
            tokio::spawn(founding::name_voters(agent.clone(), voters));
        }
        let mut serving = doors.serve(&agent);
        let starter_gone = flags.until_stdin_closes.then(standard_input_closed);
        let close_doors = async {
            end.send_replace(true);
            // A client that does not read its answer in time loses it.
            tokio::time::timeout(FAREWELL, &mut serving).await.ok();
        };
        let reason = until_stopped(&agent.cluster, starter_gone, close_doors).await?;
        end.send_replace(true);
        if !serving.is_finished() {
            tokio::time::timeout(FAREWELL, serving).await.ok();
        }
        Ok::<_, Failure>(reason)
    })?;
    // Reads of standard input and the like must not hold up the end.
    runtime.shutdown_background();
    match reason {
        StopReason::Left | StopReason::Stopped => Ok(()),
        // Another start ends the same.
        StopReason::SharedIdentity | StopReason::Revoked | StopReason::CertificateExpired => {
            Err(had_to_stop(Kind::No, reason))
        }
        StopReason::BootNotStored | StopReason::Aborted => Err(had_to_stop(Kind::NotAnswered, reason)),
    }
}

fn had_to_stop(kind: Kind, reason: StopReason) -> Failure {
    Failure::new(kind, "stopped", format!("the agent had to stop: {reason}"))
}

async fn start(
    settings: Settings,
    logs: Logs,
    doors: &Doors,
    (reloader, wanted): (Reloader, watch::Receiver<Wanted>),
) -> Result<(Agent, Events, watch::Sender<bool>), Failure> {
    let join = wanted.borrow().at_once();
    let Settings { node, preset, name, bind, advertise, data_dir, tags, lab, .. } = settings;
    let mut builder = Cluster::builder(name).bind(bind.to_string()).join(join).config((*node).clone());
    for (key, value) in tags {
        builder = builder.tag(key, value);
    }
    if let Some(address) = advertise {
        builder = builder.advertise(address.to_string());
    }
    if let Some(directory) = data_dir {
        builder = builder.data_dir(directory);
    }
    if settings.allow_faults {
        builder = builder.allow_faults();
    }
    if let Some(path) = settings.key_file {
        builder = builder.keyring(keys::read("key_file", &path)?);
    }
    if let Some(path) = settings.certificate {
        builder = builder.certificate(authority::certificate(&path)?);
    }
    if let Some(file) = settings.record {
        builder = builder.record(file).record_bytes_max(settings.record_bytes_max);
    }
    let events = builder.events();
    let cluster = builder.start().await?;
    let (end, ending) = watch::channel(false);
    let (http, metrics) = (doors.url.clone(), doors.metrics_url.clone());
    let (handled, started, reloader) = (Arc::default(), Instant::now(), Arc::new(Mutex::new(reloader)));
    let (served, dev_control) = (Served::default(), None);
    let agent = Agent {
        cluster,
        logs,
        http,
        metrics,
        wanted,
        reloader,
        tags_turn: Arc::default(),
        handled,
        served,
        ending,
        dev_control,
        lab,
        preset,
        started,
    };
    Ok((agent, events, end))
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::value(error.field(), error.value(), error.rule());
        match error {
            StartError::PortInUse { .. } | StartError::DataDirInUse { .. } => failure.with_code("in_use"),
            StartError::NoCertificate { .. } => failure.with_code("no_certificate"),
            StartError::Revoked => failure.with_code("revoked").for_good(),
            StartError::Invalid(_)
            | StartError::Bind { .. }
            | StartError::DataDir { .. }
            | StartError::DataDirNewer { .. }
            | StartError::FaultsNotLoopback { .. }
            | StartError::Record { .. }
            | StartError::NoRandomness
            | StartError::NotStarted => failure,
        }
    }
}

/// Says in the log what was started, and what it does not protect.
fn greet(agent: &Agent) {
    let cluster = &agent.cluster;
    let kept =
        cluster.data_dir().map_or_else(|| "nothing is kept".to_owned(), |dir| format!("kept in {}", dir.display()));
    tracing::info!(
        "agent {} of cluster {} gossips on {} (UDP and TCP, {}) and serves {}; {kept}",
        cluster.name(),
        cluster.cluster_name(),
        cluster.local_address(),
        if cluster.is_sealed() { "sealed" } else { "not sealed" },
        agent.http,
    );
    if let Some(url) = &agent.metrics {
        tracing::info!("metrics are at {url} too, for everybody in reach");
    }
}

/// How an agent ends.
enum End {
    /// For good, as far as the cluster is concerned.
    Leave,
    /// It is expected back.
    HandOver,
    AtOnce,
}

/// Waits for the end: a signal, the starter's end, or the node's own.
async fn until_stopped(
    cluster: &Cluster,
    starter_gone: Option<oneshot::Receiver<()>>,
    close_doors: impl Future<Output = ()>,
) -> Result<StopReason, Failure> {
    let mut interrupted = catch(SignalKind::interrupt())?;
    let mut terminated = catch(SignalKind::terminate())?;
    let starter_gone = async {
        match starter_gone {
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        reason = cluster.stopped() => return Ok(reason),
        _ = interrupted.recv() => End::Leave,
        // An error says that the node has stopped already.
        _ = terminated.recv() => match cluster.inspect(|node| node.config().leave_on_terminate).await {
            Ok(true) => End::Leave,
            Ok(false) | Err(_) => End::HandOver,
        },
        () = starter_gone => End::AtOnce,
    };
    let end = async {
        match end {
            End::Leave => {
                tracing::info!("leaving; a second signal stops at once");
                cluster.leave().await.ok();
            }
            End::HandOver => {
                // What comes from here on is not taken: whoever was told that it was must not be told wrong.
                close_doors.await;
                if let Ok(false) = cluster.hand_over(FAREWELL).await {
                    tracing::warn!("not everything could be told to others before the end");
                }
            }
            End::AtOnce => {}
        }
    };
    tokio::select! {
        () = end => {}
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    cluster.clone().stop().await;
    Ok(cluster.stopped().await)
}

fn catch(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Kind::Refused, "system", error.to_string()))
}

/// Resolves when standard input closes. A thread reads it, as it may be anything; it needs no memory of its own.
fn standard_input_closed() -> oneshot::Receiver<()> {
    let (closed, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::Read::read(&mut std::io::stdin(), &mut byte), Ok(1)) {}
        // An error says that the agent is ending anyway.
        closed.send(()).ok();
    });
    receiver
}

impl Agent {
    /// The info document.
    pub(crate) async fn info(&self) -> Result<Info, rumormill::Closed> {
        let cluster = &self.cluster;
        let (http, metrics) = (self.http.clone(), self.metrics.clone());
        let (preset, uptime) = (self.preset, self.uptime());
        let (name, address) = (cluster.name().to_owned(), cluster.advertised());
        let (is_durable, data_dir) = (cluster.is_durable(), cluster.data_dir().map(|dir| dir.display().to_string()));
        let (is_dev, lab) = (self.dev_control.is_some(), self.lab);
        let (is_sealed, sockets) = (cluster.is_sealed(), cluster.socket_counts());
        let certificate_end = cluster.certificate_end().map(Wall::as_secs_f64);
        let unsealed = cluster.seal_counts().map(|counts| {
            let handshakes = ("handshakes", counts.handshakes);
            counts.by_cause().into_iter().chain([handshakes]).map(|(cause, count)| (cause.to_owned(), count)).collect()
        });
        let sealing = cluster.keys().map(|keys| sealing_info(&keys.own(), cluster.seal_counts()));
        cluster
            .inspect(move |node| {
                let counts = node.member_counts();
                let counters = node.counters();
                let this = node.member(node.id());
                let (min, max) = this.as_ref().map_or((0, 0), |member| member.protocol);
                Info {
                    id: node.id().to_string(),
                    name: this.map_or(name, |member| member.name),
                    cluster: node.config().cluster.clone(),
                    pid: std::process::id(),
                    address: address.to_string(),
                    http: Some(http),
                    metrics,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    protocol: Protocol { min, max },
                    preset: preset.as_str().to_owned(),
                    view: word(&node.config().view),
                    mode: word(&node.config().mode),
                    dev: is_dev,
                    lab,
                    fanout: node.config().fanout,
                    sealed: is_sealed,
                    durable: is_durable,
                    data_dir,
                    uptime: uptime.as_secs_f64(),
                    health: node.health(),
                    size_estimate: node.size() as u64,
                    members: counts.into(),
                    sent: Traffic { datagrams: sockets.datagrams_sent, bytes: sockets.bytes_sent },
                    received: Traffic { datagrams: sockets.datagrams_received, bytes: sockets.bytes_received },
                    bandwidth_max: Some(node.config().bandwidth_max).filter(|limit| *limit > 0),
                    dropped: counters.dropped.by_cause().map(|(cause, count)| (cause.to_owned(), count)).into(),
                    identity: word(&node.config().identity),
                    certificate_end,
                    sealing,
                    unsealed,
                    degraded: node.is_degraded(),
                    data: data_info(node),
                }
            })
            .await
    }

    /// Whether contacts were given, so that being alone means not having joined yet.
    pub(crate) fn has_contacts(&self) -> bool {
        self.wanted.borrow().is_any()
    }

    /// For how long it has been up.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What tells people about this agent as soon as it answers.
    pub(crate) fn ready(&self) -> ReadyNode {
        ReadyNode {
            name: self.cluster.name().to_owned(),
            id: self.cluster.id().to_string(),
            pid: std::process::id(),
            gossip: self.cluster.local_address().to_string(),
            http: Some(self.http.clone()),
            data_dir: self.cluster.data_dir().map(|dir| dir.display().to_string()),
        }
    }
}

fn sealing_info(keys: &[KeyId], counts: Option<SealCounts>) -> SealingInfo {
    let accepted: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let refused_by = counts.and_then(|counts| counts.refused_by).map(|by| by.to_string());
    SealingInfo { key: accepted.first().cloned().unwrap_or_default(), accepted, refused_by }
}

fn data_info(node: &Node) -> DataInfo {
    DataInfo {
        updates: node.shelf().updates() as u64,
        bytes: node.data_bytes() as u64,
        bytes_max: node.config().data_bytes_max as u64,
        unsaved: node.unsaved() as u64,
    }
}

/// The word by which a setting is written.
fn word(setting: &impl serde::Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
