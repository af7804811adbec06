//! The node: one input in, outputs and a deadline out. Here inputs, frames and timers find their handlers; the
//! handlers are in the files below, by what they are about.
//!
//! The parts of a node (members, detector, rumors, messages, …) do not know each other. Each keeps its own state
//! and says in its return value what happened; the handlers carry that from one to the next.

mod acquaint;
mod agreeing;
mod averaging;
mod claims;
mod commands;
mod exchanging;
mod explaining;
mod forwarding;
mod founding;
mod gauging;
mod gossip;
mod intake;
mod joining;
mod leasing;
mod letters;
mod limits;
mod locating;
mod overlaying;
mod planting;
mod probing;
mod proposing;
mod questions;
mod replicas;
mod returning;
mod reunion;
mod saving;
mod serving;
mod snapshot;
mod trusting;
mod voting;
mod writing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::apart::Apart;
use crate::budget::Budget;
use crate::clock;
use crate::config::{Config, Mode, View};
use crate::contacts::Contacts;
use crate::coordinates::{Place, Whereabouts};
use crate::credentials::Distrust;
use crate::data::{Change, Data, Position, Shelf};
use crate::detector::Detector;
use crate::effects::{Effects, Timer};
use crate::exchange::Exchanges;
use crate::few::Few;
use crate::frame::{Frame, Frames, Malformed, Space};
use crate::hash;
use crate::identity::{BOOT_MAX, Identity, Incarnation, NodeId, Own, Sequence, Stored, Tags};
use crate::io::{
    ContactError, Event, InView, Input, Member, Message, Output, State, StopReason, Ticket, Token, TraceStep, Warning,
};
use crate::membership::Members;
use crate::messages::{Messages, Topic};
use crate::queries::Queries;
use crate::rumors::Rumors;
use crate::seldom::Seldom;
use crate::stats::{Counters, MemberCounts};
use crate::story::Stories;
use crate::streams::Streams;
use crate::time::{Instant, Now, Seconds};
use crate::update::{Interner, UpdateId, UpdateRef};
use crate::verifier::Verifier;
use crate::wire::{HEADER_BYTES, Header, Reader, VERSION, Version};

pub use acquaint::FullView;
use agreeing::WhenUsed;
use averaging::Averaging;
use claims::Doubt;
pub use founding::{AgreementStatus, FoundingStatus};
use gauging::Gauging;
use gossip::Gossip;
use intake::Want;
use joining::Hospitality;
pub use leasing::LeaseHeard;
use letters::Letter;
use overlaying::Neighbourhood;
use planting::Planting;
use replicas::Replicas;
use reunion::Reunions;
use saving::Saving;
use serving::Servings;
pub use snapshot::{Restored, Snapshot};
use writing::Writing;

/// No datagram is larger: the largest `mtu_bytes`.
const DATAGRAM_BYTES_MAX: usize = 65_000;
/// What a driver may add to a datagram: the largest claim still fits the smallest `mtu_bytes`.
const OVERHEAD_MAX: usize = 64;
/// Room for so many outputs stays: mostly one answer.
const OUTPUTS_KEPT: usize = 1;
/// Each kind of warning is told at most once in this time.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

/// A node of the cluster, as a deterministic state machine.
///
/// Contract: one input, then [`poll_output`](Self::poll_output) until it is empty, then
/// [`poll_timeout`](Self::poll_timeout). The same identity, config, seed and inputs give the same outputs.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(remote = "Self")]
pub struct Node {
    identity: Own,
    /// The nodes of a laboratory share it.
    config: Arc<Config>,
    secret: [u8; 16],
    /// Keys the tokens that prove addresses.
    token_key: [u8; 16],
    cluster: u32,
    settings: u64,
    interner: Interner,
    phase: Phase,
    incarnation: Incarnation,
    first_boot: Seconds,
    /// When this node last raised its boot because another process spoke with its identity.
    raised_at: Option<Instant>,
    fx: Effects,
    members: Members,
    detector: Detector,
    place: Place,
    /// Of others, with a full view.
    whereabouts: Seldom<Whereabouts>,
    rumors: Rumors,
    messages: Messages,
    data: Data,
    apart: Apart,
    reunions: Reunions,
    writing: Writing,
    saving: Seldom<Saving>,
    servings: Servings,
    replicas: Replicas,
    exchanges: Exchanges,
    streams: Streams,
    contacts: Contacts,
    queries: Seldom<Queries>,
    budget: Budget,
    gossip: Gossip,
    hospitality: Hospitality,
    neighbourhood: Neighbourhood,
    planting: Planting,
    averaging: Averaging,
    /// Nothing until the first statement comes in.
    agreeing: WhenUsed,
    gauging: Seldom<Gauging>,
    doubts: Seldom<BTreeMap<NodeId, Doubt>>,
    stories: Seldom<Stories>,
    wants: Seldom<BTreeMap<UpdateId, Want>>,
    warned: Few<Worry, Instant>,
    /// Updates are looked through again from this second on.
    fade_at: Seconds,
    /// Where identity is signed.
    verifier: Option<Box<Verifier>>,
}

/// Kinds of warnings, of which each has a pause of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
enum Worry {
    Foreign,
    Version,
    Name,
    Boot,
    Disk,
    Voter,
    Signing,
    NotAdmitted,
    Distrust(Distrust),
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
enum Phase {
    /// Its boot is not durable yet: it does not speak.
    Storing(Token),
    Running,
    /// A higher boot is being stored.
    Raising(Token, u64),
    /// It said goodbye and waits for others to learn it.
    Leaving(Ticket),
    Stopped,
}

impl Node {
    /// A node that has not spoken yet. It asks to persist its boot first, or starts at once if it is not durable.
    /// Poll outputs after this as after an input.
    ///
    /// # Panics
    /// If the name, the addresses or the tags of `identity` break their rules: ask [`Identity::check`] first.
    pub fn new(identity: Identity, config: impl Into<Arc<Config>>, seed: u64, now: Now) -> Self {
        Self::sharing(identity, config, seed, now, Interner::default())
    }

    /// Like [`new`](Self::new), for many nodes in one process that share the bytes of their updates, and settings.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn sharing(
        identity: Identity,
        config: impl Into<Arc<Config>>,
        seed: u64,
        now: Now,
        interner: Interner,
    ) -> Self {
        let config = config.into();
        assert_eq!(identity.check(), Ok(()), "an identity is checked before a node is made of it");
        assert_ne!(identity.id, NodeId::NONE, "zero is nobody's id");
        assert!(identity.overhead.datagram <= OVERHEAD_MAX, "every datagram leaves room for a seal, and for a claim");
        let mut fx = Effects::new(now, seed);
        let (identity, secret, stored, signing) = identity.take_apart();
        let secret = secret.unwrap_or_else(|| hash::secret_of_name(&config.cluster));
        let token_key: [u8; 16] =
            std::array::from_fn(|_| u8::try_from(fx.rng.below(256)).expect("a byte is below 256"));
        let first_number = u16::try_from(fx.rng.below(1 << 16)).expect("below 2^16");
        let Stored { boot: last_boot, first_boot, members: known, former, gone, heard, data: shelved, agreement } =
            stored;
        let boot = (last_boot + 1).min(BOOT_MAX);
        let listed_as = if config.view == View::Full { InView::Full } else { InView::Active };
        let mut node = Self {
            cluster: hash::short(&secret, config.cluster.as_bytes()),
            settings: config.shared_fingerprint(),
            phase: Phase::Running,
            incarnation: Incarnation::of_boot(boot),
            first_boot: first_boot.unwrap_or_else(|| now.wall.seconds()),
            raised_at: None,
            members: Members::new(identity.id, listed_as, now.wall),
            detector: Detector::new(first_number),
            place: Place::default(),
            whereabouts: Seldom::new(),
            rumors: Rumors::new(&config),
            messages: Messages::new(now.wall),
            data: Data::new(identity.session, secret, interner.clone(), &config, now.wall),
            apart: Apart::new(gone, heard, now.wall.seconds(), config.tombstone_ttl),
            reunions: Reunions::default(),
            writing: Writing::new(last_boot > 0),
            saving: Seldom::new(),
            servings: Servings::default(),
            replicas: Replicas::new(fx.rng.bits()),
            exchanges: Exchanges::default(),
            streams: Streams::new(config.streams_max),
            contacts: Contacts::new(known, former),
            queries: Seldom::new(),
            budget: Budget::new(config.bandwidth_max, identity.overhead, now.instant),
            gossip: Gossip::new(&config, now.instant),
            hospitality: Hospitality::new(now.instant),
            neighbourhood: Neighbourhood::new(now.instant),
            planting: Planting::default(),
            averaging: Averaging::new(now.instant),
            agreeing: WhenUsed::default(),
            gauging: Seldom::new(),
            doubts: Seldom::new(),
            stories: Seldom::new(),
            wants: Seldom::new(),
            warned: Few::new(),
            fade_at: now.wall.seconds(),
            verifier: None,
            identity,
            config,
            secret,
            token_key,
            interner,
            fx,
        };
        node.begin_signing(signing);
        node.restore_data(shelved);
        node.restore_agreement(agreement);
        node.restore_revocations();
        node.begin(boot);
        node
    }

    /// Has the boot stored, or starts at once where nothing is durable.
    fn begin(&mut self, boot: u64) {
        if self.has_stopped() {
            return;
        }
        if self.identity.durable {
            let records = self.boot_records(boot);
            self.phase = Phase::Storing(self.fx.persist(records));
        } else {
            self.start();
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// If outputs of the last input are still waiting, or if time runs back.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        assert!(self.fx.outputs.is_empty(), "outputs are drained before the next input");
        assert!(now.instant >= self.fx.now.instant, "the monotonic clock does not run back");
        self.fx.now = now;
        match self.phase {
            Phase::Stopped => return,
            Phase::Storing(token) => return self.handle_before_start(token, input),
            Phase::Running | Phase::Raising(..) | Phase::Leaving(_) => {}
        }
        let second = now.wall.seconds();
        // The time of day may have been set back: then the next second is not far off either.
        if second >= self.fade_at || second.after() < self.fade_at {
            self.fade();
            if self.has_stopped() {
                return;
            }
        }
        match input {
            Input::Datagram { from, bytes } => self.on_datagram(from, bytes),
            Input::StreamOpened { stream, from } => self.on_stream_opened(stream, from),
            Input::StreamBytes { stream, bytes } => self.on_stream_bytes(stream, bytes),
            Input::StreamWritten { stream } => self.streams.on_written(stream, &mut self.fx, &mut self.budget),
            Input::StreamClosed { stream } => self.on_stream_closed(stream, ContactError::Unreachable),
            Input::StreamRefused { stream } => self.on_stream_closed(stream, ContactError::NoCommonKey),
            Input::Timeout => self.on_timeout(),
            Input::Persisted { token } => self.on_persisted(token),
            Input::PersistFailed { token, reason } => self.on_persist_failed(token, reason),
            Input::Command { ticket, command } => self.on_command(ticket, command),
            Input::Abandoned { ticket } => self.abandon_errand(ticket),
        }
        self.send_planted();
        self.forward_fresh();
        self.serve_peers();
        self.save_fresh();
        self.tell_changes();
    }

    /// The next thing to do for the driver, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.fx.outputs.pop_front();
        if output.is_none() {
            // The next one is written where the last one was; what a busy moment took is given back.
            self.fx.outputs.clear();
            self.fx.outputs.shrink_to(OUTPUTS_KEPT);
        }
        output
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fx.timers.next()
    }

    fn handle_before_start(&mut self, waits_for: Token, input: Input<'_>) {
        match input {
            Input::Persisted { token } if token == waits_for => self.start(),
            Input::PersistFailed { token, .. } if token == waits_for => self.stop(StopReason::BootNotStored),
            Input::Command { ticket, command } => self.on_command_before_start(ticket, command),
            Input::StreamOpened { stream, .. } => self.fx.outputs.push_back(Output::Close { stream }),
            Input::Datagram { .. }
            | Input::StreamBytes { .. }
            | Input::StreamWritten { .. }
            | Input::StreamClosed { .. }
            | Input::StreamRefused { .. }
            | Input::Timeout
            | Input::Persisted { .. }
            | Input::PersistFailed { .. }
            | Input::Abandoned { .. } => {}
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.fx.counters.datagrams_received += 1;
        self.fx.counters.bytes_received += bytes.len() as u64;
        if bytes.len() > DATAGRAM_BYTES_MAX {
            self.fx.counters.dropped.oversized += 1;
            return;
        }
        let mut reader = Reader::new(bytes);
        let (Some(header), Some(version)) = (Header::read(&mut reader), reader.u8()) else {
            self.fx.counters.dropped.malformed += 1;
            return;
        };
        if !self.admits(from, &header, Version::from_byte(version)) {
            return;
        }
        let mut letter = self.reply_to(header.sender, from, bytes.len());
        letter.clock = header.clock;
        self.note_source(from, letter.is_proven());
        if header.target != NodeId::NONE && header.target != self.identity.id {
            self.fx.counters.dropped.misdirected += 1;
            // Who is taken for somebody else says who lives here now, but to a member only where that says it is: under seal an
            // introduction opens at every node, and whoever recorded one is to get no answer for it.
            letter.shows_self = self.members.address(header.sender).is_none_or(|claimed| claimed == from);
        } else {
            self.on_frames(reader.rest(), &mut letter);
        }
        self.post_reply(letter);
    }

    /// Whether bytes of this origin are looked at at all.
    fn admits(&mut self, from: SocketAddr, header: &Header, version: Version) -> bool {
        if header.cluster != self.cluster {
            self.fx.counters.dropped.foreign += 1;
            self.warn(Worry::Foreign, Warning::ForeignCluster { from });
            return false;
        }
        if version.major != VERSION.major {
            self.fx.counters.dropped.version += 1;
            self.warn(Worry::Version, Warning::NewerVersion { from, major: version.major });
            return false;
        }
        if header.sender == NodeId::NONE || header.sender == self.identity.id {
            self.fx.counters.dropped.misdirected += 1;
            return false;
        }
        if self.is_revoked(header.sender) {
            self.fx.counters.dropped.revoked += 1;
            return false;
        }
        true
    }

    fn on_frames(&mut self, bytes: &[u8], letter: &mut Letter) {
        for frame in Frames::new(bytes) {
            match frame {
                Ok(_) if self.phase == Phase::Stopped => return,
                Ok(frame) => self.on_frame(frame, letter),
                Err(Malformed) => self.fx.counters.dropped.malformed += 1,
            }
        }
        self.forget_introduction();
    }

    fn on_frame(&mut self, frame: Frame<'_>, letter: &mut Letter) {
        match frame {
            Frame::Ping { number, root } => self.on_ping(number, root, letter),
            Frame::Ack { number, root } => self.on_ack(number, root, letter),
            Frame::PingReq { number, target, address } => self.on_ping_req(number, target, address, letter),
            Frame::Nack { number } => self.on_nack(number, letter.peer),
            Frame::Updates { packet, asks, items } => self.on_updates(packet, asks, items, letter),
            Frame::Feedback { packet, known } => self.rumors.feedback(packet, known, &mut self.fx.rng),
            Frame::Accusations(list) => list.accusations().for_each(|accusation| self.on_accusation(accusation)),
            Frame::Announce(list) => self.on_announce(list, letter),
            Frame::Request(list) => self.on_request(list, letter),
            Frame::Sketch { head, symbols } => self.on_sketch(&head, symbols, letter),
            Frame::More { exchange, from, until } => self.on_more(exchange, from, until, letter),
            Frame::Settled { exchange, differences } => self.on_settled(exchange, differences, letter),
            Frame::Bulk { space, exchange } => self.on_bulk(space, exchange, letter),
            Frame::Challenge { token } => self.on_challenge(token, letter),
            Frame::Echo { token } => self.on_echo(token, letter),
            Frame::Join => self.on_join(letter),
            Frame::Welcome { complete } => self.on_welcome(complete, letter),
            Frame::Answer { sequence, payload } => self.on_answer(Sequence(sequence), payload, letter),
            Frame::Reunion { since, root, answers } => self.on_reunion(since, root, answers, letter),
            Frame::Roll { total, list } => self.on_roll(total, list, letter),
            Frame::Hold { number, items } => self.on_hold(number, items, letter),
            Frame::Held { number, durable } => self.on_held(number, durable, letter.peer),
            Frame::Walk { ttl, joiner } => self.on_walk(ttl, joiner, letter),
            Frame::Neighbour(word) => self.on_neighbour(word, letter),
            Frame::Shuffle { ttl, origin, peers } => self.on_shuffle(ttl, origin, peers, letter),
            Frame::Peers(peers) => self.on_peers(peers),
            Frame::Payload(items) => self.on_payload(items, letter),
            Frame::Ihave(list) => self.on_ihave(list, letter),
            Frame::Graft { lacks, ids } => self.on_graft(lacks, ids, letter),
            Frame::Prune(origins) => self.on_prune(origins, letter),
            Frame::Average { epoch, number, offered } => self.on_average(epoch, number, offered, letter),
            Frame::Averaged { epoch, number, flows } => self.on_averaged(epoch, number, flows, letter),
            Frame::Size(size) => self.on_size(size, letter),
            Frame::Propose(items) => self.on_propose(items, letter),
            Frame::Vote(items) => self.on_vote(items, letter),
            Frame::Forward(content) => self.on_forward(content, letter),
            Frame::Outcome(content) => self.on_outcome(content, letter),
            Frame::Gauge { epoch, number, offered } => self.on_gauge(epoch, number, offered, letter),
            Frame::Gauged { epoch, number, flows } => self.on_gauged(epoch, number, flows, letter),
            Frame::Return { number, answer } => self.on_return(number, &answer, letter),
            Frame::Returned { number } => self.on_returned(number, letter.peer),
            Frame::Locate => self.on_locate(letter),
            Frame::Located(coordinate) => self.on_located(coordinate, letter),
            Frame::Refused => self.on_refused(letter),
            Frame::Unknown => {}
            Frame::Answered { sequence } => self.on_answered(Sequence(sequence), letter.peer),
        }
    }

    fn on_timeout(&mut self) {
        while let Some((timer, due)) = self.fx.timers.expire(self.fx.now.instant) {
            match timer {
                Timer::ProbeInterval => self.on_probe_interval(),
                Timer::Probe(number) => self.on_probe_due(number, due),
                Timer::Relay(number) => self.on_relay_due(number),
                Timer::Suspicion(member) => self.on_suspicion_due(member, due),
                Timer::Verdict(member) => self.on_verdict_due(member, due),
                Timer::Doubt(member) => self.on_doubt_due(member),
                Timer::Round => self.on_round_due(),
                Timer::Ask(peer) => self.on_ask_due(peer),
                Timer::Echo => self.on_echo_due(),
                Timer::Repair => self.on_repair_due(),
                Timer::Rejoin => self.on_rejoin_due(),
                Timer::Contact(address) => self.on_contact_due(address),
                Timer::Want(id) => self.on_want_due(id),
                Timer::Query(sequence) => self.on_query_due(Sequence(sequence)),
                Timer::Answer(origin, sequence) => self.on_answer_due(origin, Sequence(sequence)),
                Timer::Return => self.on_return_due(),
                Timer::Stream(stream) => self.on_stream_idle(stream),
                Timer::Pace => self.streams.on_pace_due(&mut self.fx, &mut self.budget),
                Timer::Leave => self.on_leave_due(),
                Timer::Remember => self.remember(),
                Timer::Write => self.on_write_due(),
                Timer::Save => self.on_save_due(),
                Timer::OwnSums => self.on_own_sums_due(),
                Timer::Reunion => self.on_reunion_due(),
                Timer::Shuffle => self.on_shuffle_due(),
                Timer::Search => self.search(),
                Timer::Lazy => self.on_lazy_due(),
                Timer::Agree => self.on_agree_due(),
                Timer::Gauges => self.on_gauges_due(),
                Timer::Graft(id) => self.on_graft_due(id),
                Timer::Neighbour(id) => self.on_neighbour_due(id),
                Timer::Hold(number) => self.on_hold_due(number),
            }
            if self.phase == Phase::Stopped {
                return;
            }
        }
    }

    /// What runs out is taken out; what runs out soon no longer counts in sketches.
    fn fade(&mut self) {
        let now = self.fx.now.wall;
        self.note_sleep(self.fade_at);
        self.fade_at = now.seconds().after();
        let slots = self.members.replica_mut().advance(now);
        let mut ids: Vec<NodeId> = slots.iter().map(|slot| self.members.id_at(*slot)).collect();
        self.expel_expired(&mut ids);
        if self.has_stopped() {
            return;
        }
        let gone: Vec<Member> = ids.iter().filter_map(|id| self.members.member(*id)).collect();
        self.members.forget(&ids);
        for member in gone {
            self.forget_story(member.id);
            self.tell(crate::io::MemberChange::Removed, self.identity.id, member);
        }
        let slots = self.messages.replica_mut().advance(now);
        for slot in &slots {
            self.rumors.cool(self.messages.replica().at(*slot).id);
        }
        let deliveries = self.messages.forget(&slots, now);
        self.deliver(deliveries);
        let faded = self.data.fade(now);
        for update in faded.forgotten {
            self.rumors.cool(update.id);
            self.saving.note_gone(&update);
        }
        for update in faded.stripped {
            // Whoever still hears of it gets no value any more.
            self.rumors.cool(update.id);
            self.saving.note(update);
        }
        self.fade_agreement();
    }

    /// Takes up the data that an earlier life stored.
    fn restore_data(&mut self, stored: Vec<Box<[u8]>>) {
        let now = self.fx.now.wall;
        for bytes in stored {
            if UpdateRef::read(&bytes).is_some_and(|update| !self.is_of_this_identity(&update)) {
                // Others would refuse it.
                self.warn(Worry::Signing, Warning::OtherIdentity);
                continue;
            }
            if let Some(forgotten) = self.data.restore(&bytes, now) {
                self.saving.note_gone(&forgotten);
            }
        }
    }

    /// Tells the application what changed in the database.
    fn tell_changes(&mut self) {
        if self.data.has_changed() {
            for change in self.data.settle_changes(self.fx.now.wall) {
                self.fx.event(Event::Data(change));
            }
        }
    }

    /// Tells a warning, unless one of its kind was told within the last minute.
    fn warn(&mut self, kind: Worry, warning: Warning) {
        let now = self.fx.now.instant;
        if self.warned.get(&kind).is_none_or(|told| now.since(*told) >= WARNING_PAUSE) {
            self.warned.insert(kind, now);
            self.fx.event(Event::Warning(warning));
        }
    }

    fn stop(&mut self, reason: StopReason) {
        self.phase = Phase::Stopped;
        self.fx.timers.clear();
        self.fx.event(Event::Stopped { reason });
    }

    fn header(&self, target: NodeId) -> Header {
        let clock = clock::low_seconds(self.fx.now.wall);
        Header { cluster: self.cluster, sender: self.identity.id, target, session: self.identity.session, clock }
    }

    /// This node's id.
    pub const fn id(&self) -> NodeId {
        self.identity.id
    }

    /// The hash of the cluster's name with which every datagram and every greeting begins.
    pub const fn cluster_hash(&self) -> u32 {
        self.cluster
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This node's present incarnation.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Every member that is listed, this node included, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.members.iter()
    }

    /// The bare claims of every member, removed ones included: cheap enough to check after each input.
    pub fn claims(&self) -> impl Iterator<Item = (NodeId, Incarnation, State)> {
        self.members.versions().map(|(id, (incarnation, state, _))| (id, incarnation, state))
    }

    /// Those of the passive view, as members of whom little is known.
    pub fn passive_members(&self) -> impl Iterator<Item = Member> {
        self.neighbourhood.overlay.passive().map(|peer| Member {
            id: peer.id,
            name: peer.id.to_string(),
            addresses: vec![peer.address],
            state: State::Alive,
            incarnation: Incarnation::default(),
            tags: Tags::default(),
            since: self.fx.now.wall,
            rtt: None,
            is_self: false,
            protocol: (VERSION.major, VERSION.major),
            view: InView::Passive,
        })
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        self.members.member(id)
    }

    /// How many members are in which state.
    pub const fn member_counts(&self) -> MemberCounts {
        self.members.counts()
    }

    /// The last `count` messages kept on a topic, by time of publication.
    pub fn history(&self, topic: &str, count: usize) -> Vec<Arc<Message>> {
        self.messages.history(topic, count)
    }

    /// What this node holds of each topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = Topic<'_>> {
        self.messages.topics()
    }

    /// When and from whom this node got one of its last messages, and how many copies.
    pub fn trace_step(&self, topic: &str, origin: NodeId, sequence: Sequence) -> Option<TraceStep> {
        self.messages.trace_step(topic, origin, sequence)
    }

    /// What was counted since the start.
    pub const fn counters(&self) -> &Counters {
        &self.fx.counters
    }

    /// Lifeguard's score of this node's own health: 0 is best.
    pub const fn health(&self) -> u32 {
        self.detector.health()
    }

    /// The xor of the ids of all updates held: equal on nodes that hold the same.
    pub fn root(&self) -> u64 {
        let roots = Space::ALL.map(|space| self.replica(space).root());
        roots.into_iter().fold(0, |all, root| all ^ root)
    }

    /// How many nodes there are, this one included: known with a full view, estimated with a partial one. Before the first
    /// estimate it is as many as this node knows of.
    pub fn size(&self) -> usize {
        if !self.is_partial() {
            return self.members.alive();
        }
        let overlay = &self.neighbourhood.overlay;
        self.estimated_size().map_or(1 + overlay.len(), |estimate| estimate.max(1 + overlay.active().len()))
    }

    /// Whom this node talks to: its neighbours with a partial view, every other live member with a full one.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.members.live_ids()
    }

    /// How many others a node with a partial view keeps in mind, to have as neighbours instead.
    pub fn passive_count(&self) -> usize {
        self.neighbourhood.overlay.passive().count()
    }

    /// Whether updates had to be refused for which no room was left, so that this node may differ from others.
    pub fn is_degraded(&self) -> bool {
        self.members.replica().is_degraded()
            || self.data.replica().is_degraded()
            || self.messages.replica().is_degraded()
            || self.agreeing.space.replica().is_degraded()
    }

    /// The data of this node, for readers on any thread.
    pub const fn shelf(&self) -> &Shelf {
        self.data.shelf()
    }

    /// The place of the last change of data: what is read now contains all changes up to it.
    pub const fn data_position(&self) -> Position {
        self.data.changes().position()
    }

    /// The changes of data after a place, or `None` if too much has happened since, or it is of another start.
    pub fn data_changes(&self, since: Position) -> Option<Vec<Arc<Change>>> {
        self.data.changes().since(since)
    }

    /// What the database takes of `data_bytes_max`, in bytes.
    pub const fn data_bytes(&self) -> usize {
        self.data.bytes()
    }

    /// How many updates of data are held that the disk did not take yet.
    pub fn unsaved(&self) -> usize {
        self.saving.unsaved()
    }

    /// What would be lost with this node, or come late: how many updates it has yet to tell `fanout` others, or all if there are fewer
    /// (in mode pull others ask for them), how many that it announced nobody has fetched, and how many streams have something to send.
    pub fn untold(&self) -> usize {
        let peers = self.config.fanout.min(self.members.live());
        if peers == 0 {
            return 0;
        }
        let told_to_few = if self.config.mode == Mode::Pull {
            0
        } else {
            self.rumors.told_to_fewer(u32::try_from(peers).unwrap_or(u32::MAX))
        };
        told_to_few + self.rumors.untaken().len() + self.streams.sending()
    }

    /// How many streams are open and how many updates are hot: for checks of their caps.
    pub fn load(&self) -> (usize, usize) {
        (self.streams.len(), self.rumors.len())
    }
}

/// Bytes of a datagram without frames.
pub(crate) const ENVELOPE_BYTES: usize = HEADER_BYTES + 1;
