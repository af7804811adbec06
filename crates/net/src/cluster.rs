//! The handle through which an application uses its node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumormill_core::data::Shelf;
use rumormill_core::io::{Found, KEYS_QUERY};
use rumormill_core::limits::Limits;
use rumormill_core::story::Story;
use rumormill_core::{Command, ConfigBuilder, Member, Node, NodeId, Refusal, Reply, Sequence, Tags, Wall};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::address::Address;
use crate::builder::Builder;
use crate::data::Data;
use crate::error::{Closed, RequestError, StopReason};
use crate::events::{Events, WeakAnnouncer};
use crate::faults::Faults;
use crate::gathering::{Answers, Gathering, Traces};
use crate::join::{self, Joiner, Standing};
use crate::keyring::holder::Holder;
use crate::keys::Keys;
use crate::leases::LeaseRegister;
use crate::questions::{QUESTIONS_MAX, Questions};
use crate::registers::Registers;
use crate::request::{self, Lines, Request};
use crate::seal::SealCounts;
use crate::subscription::{Subscription, subscription};

/// The first and the longest wait before a message that found the store full is offered again.
const FULL_RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often a node that is about to stop looks whether it has told everything.
const HANDED_OVER_LOOK: Duration = Duration::from_millis(20);

/// A handle to a running node. Clones share it; dropping the last one stops the node without a word to the cluster, as
/// a crash would, while [`leave`](Self::leave) says goodbye first.
#[derive(Clone, Debug)]
pub struct Cluster(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) cluster_name: String,
    pub(crate) local_address: SocketAddr,
    pub(crate) advertised: SocketAddr,
    pub(crate) is_durable: bool,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) certificate_end: Option<Wall>,
    pub(crate) shelf: Shelf,
    /// As many writes as the node lets wait.
    pub(crate) writers: Semaphore,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: WeakAnnouncer,
    pub(crate) joiner: Joiner,
    pub(crate) contacts: Standing,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
    pub(crate) faults: Option<Faults>,
    pub(crate) counters: Arc<SocketCounters>,
    pub(crate) sealing: Option<Arc<Holder>>,
}

/// What the sockets of a node counted, from the start of the process; the node itself counts the rest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketCounts {
    /// Datagrams that the system did not take, or for which no room was left to wait in.
    pub datagrams_unsent: u64,
    /// Connections closed at once because too many are open.
    pub streams_refused: u64,
    /// Datagrams that went out.
    pub datagrams_sent: u64,
    /// Datagrams that came in, refused ones included.
    pub datagrams_received: u64,
    /// Bytes that went out in datagrams and on streams, as on the socket, seal included.
    pub bytes_sent: u64,
    /// Bytes that came in likewise.
    pub bytes_received: u64,
}

#[derive(Debug, Default)]
pub(crate) struct SocketCounters {
    pub(crate) datagrams_unsent: AtomicU64,
    pub(crate) streams_refused: AtomicU64,
    pub(crate) datagrams_sent: AtomicU64,
    pub(crate) datagrams_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
}

impl SocketCounters {
    pub(crate) fn note_sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_received(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> SocketCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SocketCounts {
            datagrams_unsent: read(&self.datagrams_unsent),
            streams_refused: read(&self.streams_refused),
            datagrams_sent: read(&self.datagrams_sent),
            datagrams_received: read(&self.datagrams_received),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
        }
    }
}

/// How long a packet and its answer take between two nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RoundTrip {
    /// This long.
    pub rtt: Duration,
    /// Whether this node has measured it, smoothed over some pings; else it is estimated from where both are.
    pub measured: bool,
}

impl Cluster {
    /// Describes a node of this name; [`Builder::start`] starts it.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name)
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The node's name, as it was started; while another member holds it, it is shown as `name~id4`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.0.cluster_name
    }

    /// The address that the sockets are bound to, with the real port.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address
    }

    /// The address that others are told.
    pub fn advertised(&self) -> SocketAddr {
        self.0.advertised
    }

    /// Whether the identity outlives the process: there is a data directory, and it takes writes.
    pub fn is_durable(&self) -> bool {
        self.0.is_durable
    }

    /// The data directory, if one was given.
    pub fn data_dir(&self) -> Option<&Path> {
        self.0.data_dir.as_deref()
    }

    /// When its certificate ends, and the node with it; `None` where it does not, or nobody needs one.
    pub fn certificate_end(&self) -> Option<Wall> {
        self.0.certificate_end
    }

    /// Looks at the node: `read` runs in its task between two inputs, and should be quick.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn inspect<T, F>(&self, read: F) -> Result<T, Closed>
    where
        T: Send + 'static,
        F: FnOnce(&Node) -> T + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        let inspection = Box::new(move |node: &Node| {
            // Who asked may have gone in the meantime.
            sender.send(read(node)).ok();
        });
        self.send(Request::Inspect(inspection)).await?;
        result.await.map_err(|_| Closed)
    }

    /// Every queue, table, view, buffer and allowance of this node that is bounded, and how much of it is taken.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn limits(&self) -> Result<Limits, Closed> {
        let (sender, result) = oneshot::channel();
        self.send(Request::Limits(sender)).await?;
        result.await.map_err(|_| Closed)
    }

    /// Why this node holds a member for what it does: what happened to it lately. Also of one that is not listed any more, as
    /// long as that is remembered.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn story(&self, member: NodeId) -> Result<Option<Story>, Closed> {
        self.inspect(move |node| node.story(member)).await
    }

    /// Has the whole cluster take a member for none, by the authority's word ([`Authority::revoke`](crate::Authority::revoke)).
    /// Returns whom.
    ///
    /// # Errors
    /// Where identity is not signed, the word is not the authority's, or the node has stopped.
    pub async fn revoke(&self, revocation: Vec<u8>) -> Result<NodeId, RequestError> {
        let Reply::Revoked { id } = self.command(Command::Revoke { revocation }).await? else {
            unreachable!("a revocation ends as revoked")
        };
        Ok(id)
    }

    /// Every member that is listed, this node included, by name; also those whose certificates were revoked. With a partial view these are the node itself, its
    /// neighbours, and those of whom it knows only where they are.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn members(&self) -> Result<Vec<Member>, Closed> {
        let mut members = self
            .inspect(|node| {
                node.members().chain(node.passive_members()).chain(node.revoked_members()).collect::<Vec<_>>()
            })
            .await?;
        members.sort_unstable_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(members)
    }

    /// The events from now on. [`Builder::events`] also has those of the start.
    pub fn events(&self) -> Events {
        self.0.events.listen()
    }

    /// The messages of a topic from now on, this node's own included. It is in force when this returns.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn subscribe(&self, topic: impl Into<String>) -> Result<Subscription, Closed> {
        self.subscribe_with_history(topic, 0).await
    }

    /// The last `count` messages that are kept on a topic, by time of publication, and all from now on.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn subscribe_with_history(&self, topic: impl Into<String>, count: usize) -> Result<Subscription, Closed> {
        let topic = topic.into();
        let (subscription, feed) = subscription(&topic);
        let (done, in_force) = oneshot::channel();
        self.send(Request::Subscribe { topic, history: count, feed, done }).await?;
        in_force.await.map_err(|_| Closed)?;
        Ok(subscription)
    }

    /// Sends a message to every node. Where the fleet has not yet drained what was published before, this waits.
    ///
    /// # Errors
    /// Where topic or payload break their rules, or the node is leaving or has stopped.
    pub async fn publish(
        &self,
        topic: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Sequence, RequestError> {
        let (topic, payload) = (topic.into(), payload.into());
        let (mut wait, longest) = FULL_RETRY;
        loop {
            match self.try_publish(topic.clone(), payload.clone()).await {
                Err(RequestError::Refused(Refusal::Full { .. })) => tokio::time::sleep(wait).await,
                result => return result,
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// Sends a message to every node, or says at once that the store is full.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`Refusal::Full`].
    pub async fn try_publish(
        &self,
        topic: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Sequence, RequestError> {
        let command = Command::Publish { topic: topic.into(), payload: payload.into() };
        let Reply::Published { sequence } = self.command(command).await? else {
            unreachable!("a publication ends as published")
        };
        Ok(sequence)
    }

    /// Asks all members, or those that have all of `filter`'s tags, this node included, and gathers their answers until
    /// all have come or `timeout` is over. With a partial view nobody knows all: see [`Answers`].
    ///
    /// # Errors
    /// Where name or payload break their rules, or the node is leaving or has stopped.
    pub async fn query(
        &self,
        name: impl Into<String>,
        payload: impl Into<Vec<u8>>,
        filter: Tags,
        timeout: Duration,
    ) -> Result<Answers, RequestError> {
        self.gather_answers(name.into(), payload.into(), filter, None, timeout).await
    }

    /// Asks only the `count` members, 1 to 64, that are nearest to this node by round trip, itself not counted, of those that
    /// have all of `filter`'s tags. Members of whose place nothing is known come last; with a partial view all are neighbours.
    ///
    /// # Errors
    /// As [`query`](Self::query), and where `count` breaks its rule.
    pub async fn query_nearest(
        &self,
        count: usize,
        name: impl Into<String>,
        payload: impl Into<Vec<u8>>,
        filter: Tags,
        timeout: Duration,
    ) -> Result<Answers, RequestError> {
        self.gather_answers(name.into(), payload.into(), filter, Some(count), timeout).await
    }

    /// How long a packet and its answer take between two nodes: as this node has measured it, where it is one of them, or by an
    /// estimate from where both are (Vivaldi). Only where this node does not know that yet they are asked, for at most `timeout`.
    ///
    /// # Errors
    /// Where one is not known, has measured too little or does not answer, or the node is leaving or has stopped.
    pub async fn round_trip(&self, from: NodeId, to: NodeId, timeout: Duration) -> Result<RoundTrip, RequestError> {
        let Reply::RoundTrip { rtt, measured } = self.command(Command::RoundTrip { from, to, timeout }).await? else {
            unreachable!("a round trip ends as one")
        };
        Ok(RoundTrip { rtt, measured })
    }

    async fn gather_answers(
        &self,
        name: String,
        payload: Vec<u8>,
        filter: Tags,
        nearest: Option<usize>,
        timeout: Duration,
    ) -> Result<Answers, RequestError> {
        if name == KEYS_QUERY {
            let (value, rule) = (name, "another name: this one is the protocol's own".to_owned());
            return Err(Refusal::Invalid { field: "name", value, rule }.into());
        }
        let command = Command::Query { name, payload, filter, nearest, timeout };
        let (sender, lines) = mpsc::channel(request::LINES_MAX);
        request::gather(&self.0.requests, command, Lines::Answers(sender)).await?;
        Ok(Gathering::new(lines))
    }

    /// Asks every member when, how and from whom it got a message.
    ///
    /// # Errors
    /// Where the topic breaks its rule, or the node is leaving or has stopped.
    pub async fn trace(
        &self,
        topic: impl Into<String>,
        origin: NodeId,
        sequence: Sequence,
        timeout: Duration,
    ) -> Result<Traces, RequestError> {
        let command = Command::Trace { topic: topic.into(), origin, sequence, timeout };
        let (sender, lines) = mpsc::channel(request::LINES_MAX);
        request::gather(&self.0.requests, command, Lines::Traces(sender)).await?;
        Ok(Gathering::new(lines))
    }

    /// Gives this node's gauge of a name a value, or takes it away. Nothing is sent: it counts when somebody asks for an
    /// [`aggregate`](Self::aggregate).
    ///
    /// # Errors
    /// Where name or value break their rules, this node has 64 gauges already, or it is leaving or has stopped.
    pub async fn set_gauge(&self, name: impl Into<String>, value: Option<f64>) -> Result<(), RequestError> {
        self.command(Command::SetGauge { name: name.into(), value }).await.map(drop)
    }

    /// What the values of a gauge on all nodes are together, and below which number the part `quantile` of them lies. All
    /// nodes average for some twenty rounds, two in each gossip interval; then this one has the answer, and every other.
    ///
    /// # Errors
    /// Where the name or the part break their rules, too many gauges are averaged, or the node is leaving or has stopped.
    pub async fn aggregate(&self, gauge: impl Into<String>, quantile: Option<f64>) -> Result<Found, RequestError> {
        let Reply::Aggregated(found) = self.command(Command::Aggregate { gauge: gauge.into(), quantile }).await? else {
            unreachable!("an epoch ends with what it found")
        };
        Ok(*found)
    }

    /// The replicated database.
    pub fn data(&self) -> Data {
        Data(Arc::clone(&self.0))
    }

    /// Registers on which the cluster agrees.
    pub fn registers(&self) -> Registers {
        Registers(Arc::clone(&self.0))
    }

    /// A lease, by its name.
    pub fn lease(&self, name: impl Into<String>) -> LeaseRegister {
        LeaseRegister::new(&self.0, name.into())
    }

    /// The queries of this name, to be answered here. Of several handlers of a name the newest gets them.
    ///
    /// # Errors
    /// [`Closed`] if the node has stopped.
    pub async fn on_query(&self, name: impl Into<String>) -> Result<Questions, Closed> {
        let (questions, receiver) = mpsc::channel(QUESTIONS_MAX);
        let (done, in_force) = oneshot::channel();
        self.send(Request::OnQuery { name: name.into(), questions, done }).await?;
        in_force.await.map_err(|_| Closed)?;
        Ok(Questions(receiver))
    }

    /// Joins through any of these contacts, trying with back-off until one answers, and says which one did. Dropping
    /// the future does not end the tries.
    ///
    /// # Errors
    /// Where a contact is no address, or the node is leaving or has stopped.
    pub async fn join(
        &self,
        contacts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<SocketAddr, RequestError> {
        let contacts = join::parse(contacts)?;
        if contacts.is_empty() {
            let (value, rule) = ("no contact".to_owned(), "at least one address".to_owned());
            return Err(Refusal::Invalid { field: "join", value, rule }.into());
        }
        self.0.joiner.join(&contacts).await
    }

    /// Has these contacts take the place of those that the node was started with, or that were set before: what is new among
    /// them is tried until one answers, unless it is a member already, and what is not among them any more is forgotten.
    /// Contacts given to [`join`](Self::join) stay.
    ///
    /// # Errors
    /// Where the node is leaving or has stopped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set_contacts(&self, contacts: impl IntoIterator<Item = SocketAddr>) -> Result<(), RequestError> {
        let contacts: Vec<SocketAddr> = contacts.into_iter().collect();
        let live = self.inspect(|node| {
            let live = node.members().filter(|member| member.state.is_live());
            live.flat_map(|member| member.addresses).collect::<Vec<_>>()
        });
        let live = live.await?;
        let wanted = contacts.iter().filter(|contact| !live.contains(contact)).copied().map(Address::from).collect();
        let gone = self.0.contacts.replace(&self.0.joiner, wanted, &contacts);
        self.command(Command::DropContacts { contacts: gone }).await.map(drop)
    }

    /// Goes on with other settings, those that a running node can take over ([`RELOADED`](rumormill_core::config::RELOADED)).
    ///
    /// # Errors
    /// Where a setting breaks its rule or takes a restart, or the node is leaving or has stopped; then nothing has changed.
    pub async fn configure(&self, config: ConfigBuilder) -> Result<(), RequestError> {
        let config = Box::new(config.build()?);
        self.command(Command::Configure { config }).await.map(drop)
    }

    /// Leaves for good: tells everybody, and stops. Returns after telling others for five rounds, at most `leave_timeout`.
    ///
    /// # Errors
    /// [`RequestError::Closed`] if the node has stopped already.
    pub async fn leave(&self) -> Result<(), RequestError> {
        self.command(Command::Leave).await.map(drop)
    }

    /// Makes ready to be stopped and started again: whom this node knows is written down, what it has to tell goes to as many
    /// others as rumors go at a round, and what was announced and fetched by nobody goes to one of them. Whether all of it did before `timeout` was over; whatever did not is not lost where it is
    /// kept in a data directory, or others have it.
    ///
    /// # Errors
    /// Where the node is leaving or has stopped.
    pub async fn hand_over(&self, timeout: Duration) -> Result<bool, RequestError> {
        self.command(Command::Remember).await?;
        let all_told = async {
            while self.inspect(Node::untold).await? > 0 || self.streams_ending().await? > 0 {
                tokio::time::sleep(HANDED_OVER_LOOK).await;
            }
            Ok::<_, Closed>(())
        };
        match tokio::time::timeout(timeout, all_told).await {
            Ok(told) => Ok(told.map(|()| true)?),
            Err(_) => Ok(false),
        }
    }

    /// How many streams wait for what they were given to arrive, and for nothing else.
    async fn streams_ending(&self) -> Result<usize, Closed> {
        let (sender, result) = oneshot::channel();
        self.send(Request::Ending(sender)).await?;
        result.await.map_err(|_| Closed)
    }

    /// Stops without a word to the cluster, as dropping the last handle does, and waits until sockets and data directory
    /// are free again.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        self.send(Request::Stop).await.ok();
        self.stopped().await;
    }

    /// Strikes a dead or left member from the list, everywhere; with `force` any member. One that still runs comes back.
    ///
    /// # Errors
    /// Where there is no such member, it is alive and `force` is not set, or the node is leaving or has stopped.
    pub async fn remove(&self, member: NodeId, force: bool) -> Result<(), RequestError> {
        self.command(Command::Remove { member, force }).await.map(drop)
    }

    /// Replaces this node's tags.
    ///
    /// # Errors
    /// Where a tag breaks its rule, or the node is leaving or has stopped.
    pub async fn set_tags(&self, tags: Tags) -> Result<(), RequestError> {
        self.command(Command::SetTags { tags }).await.map(drop)
    }

    /// The fault table, where [`Builder::allow_faults`] was called.
    pub fn faults(&self) -> Option<&Faults> {
        self.0.faults.as_ref()
    }

    /// What the sockets counted.
    pub fn socket_counts(&self) -> SocketCounts {
        self.0.counters.read()
    }

    /// Whether everything is sealed that this node sends and takes.
    pub fn is_sealed(&self) -> bool {
        self.0.sealing.is_some()
    }

    /// What was not opened, where traffic is sealed.
    pub fn seal_counts(&self) -> Option<SealCounts> {
        self.0.sealing.as_ref().map(|holder| holder.counters.read())
    }

    /// The keys of the cluster; `None` where nothing is sealed.
    pub fn keys(&self) -> Option<Keys> {
        self.is_sealed().then(|| Keys::new(Arc::clone(&self.0)))
    }

    /// Waits until the node has stopped and its data directory is free, and says why it did.
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.0.stop.clone();
        let reason = stop.wait_for(Option::is_some).await.map_or(None, |reason| *reason);
        reason.unwrap_or(StopReason::Aborted)
    }

    async fn command(&self, command: Command) -> Result<Reply, RequestError> {
        request::command(&self.0.requests, command).await
    }

    async fn send(&self, request: Request) -> Result<(), Closed> {
        self.0.requests.send(request).await.map_err(|_| Closed)
    }
}
