//! The task that owns the node: it hands over what comes in, carries out what comes out, and waits for the deadline.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::data::Shelf;
use rumormill_core::io::{Event as CoreEvent, StopReason as CoreStopReason, Ticket, Warning as CoreWarning};
use rumormill_core::limits::Limits;
use rumormill_core::{Channel, Config, Identity, Input, Instant, Node, NodeId, Now, Output, Stored};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{self, Clock};
use crate::desk::Desk;
use crate::error::StopReason;
use crate::events::{EventKind, Warning};
use crate::keeper::{self, Keeper};
use crate::key::{self, NodeKey};
use crate::recorder::Recorder;
use crate::request::{Lines, Pending, Request};
use crate::seal::Unsealed;
use crate::socket::{Arrived, Datagrams, Refused, sleep_until};
use crate::streams::{StreamEvent, Streams};

/// How many datagrams are handed over before other input has its turn.
const DATAGRAMS_A_TURN: usize = 256;

/// How many stream events, and how many requests, likewise.
const OTHERS_A_TURN: usize = 64;

/// How many turns of waiting input come before a due deadline: an unbroken flood must not stop the node's clock.
const TURNS_MAX: usize = 64;

/// Each kind of warning about seals is told at most once in this time.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

/// Who a node turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) id: NodeId,
    pub(crate) is_durable: bool,
    pub(crate) shelf: Shelf,
}

/// Everything that a node needs from the machine.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) clock: Clock,
    pub(crate) node: Node,
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) datagrams: Datagrams,
    pub(crate) streams: Streams,
    pub(crate) keeper: Keeper,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) desk: Desk,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Taken when the node has started.
    pub(crate) started: Option<oneshot::Sender<Started>>,
    pub(crate) stop: watch::Sender<Option<StopReason>>,
    /// Why the last records that were not stored were not.
    pub(crate) not_stored: Option<Arc<str>>,
    /// When each kind of warning about seals was told last.
    pub(crate) warned: BTreeMap<Unsealed, Instant>,
    /// Why the loop ends.
    pub(crate) stopped: Option<StopReason>,
}

/// What ended a wait.
#[derive(Debug)]
enum Wake {
    /// Datagrams, or the deadline.
    Ready,
    Stream(StreamEvent),
    Kept(keeper::Answer),
    /// `None` when the last handle is gone.
    Request(Option<Request>),
    /// Nobody waits for that any more.
    Abandoned(Ticket),
}

impl Driver {
    pub(crate) async fn run(mut self) {
        self.carry_out();
        while self.stopped.is_none() {
            let wake = self.wake().await;
            self.on_wake(wake);
            self.take_waiting();
            if self.is_due() {
                // The process may have slept past the deadline with input waiting that the runtime has not seen yet.
                tokio::task::yield_now().await;
                self.take_waiting();
                self.on_due();
            }
        }
        self.finish().await;
    }

    /// Waits for whatever comes first, input before the deadline.
    async fn wake(&mut self) -> Wake {
        let due = [self.node.poll_timeout(), self.rest_recorder()].into_iter().flatten().min();
        let due = due.and_then(|due| self.clock.runtime_instant(due));
        tokio::select! {
            biased;
            () = self.datagrams.ready() => Wake::Ready,
            // A transfer that outruns the disk is slowed down by what TCP does when nobody reads.
            event = self.streams.event(), if !self.keeper.is_behind() => Wake::Stream(event),
            answer = self.keeper.answer() => Wake::Kept(answer),
            request = self.requests.recv() => Wake::Request(request),
            ticket = poll_fn(|cx| self.desk.poll_abandoned(cx)) => Wake::Abandoned(ticket),
            () = sleep_until(due) => Wake::Ready,
        }
    }

    /// When the recorder has to be looked after, if nothing happens before.
    fn rest_recorder(&mut self) -> Option<Instant> {
        let now = self.recorder.is_some().then(|| self.clock.now().instant)?;
        let mut due = None;
        self.record(|recorder| {
            due = recorder.rest(now)?;
            Ok(())
        });
        due
    }

    fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Ready => {}
            Wake::Stream(event) => self.on_stream_event(event),
            Wake::Kept(answer) => self.on_kept(answer),
            Wake::Request(Some(request)) => self.on_request(request),
            Wake::Abandoned(ticket) => self.hand_over(Input::Abandoned { ticket }),
            Wake::Request(None) => self.stopped = Some(StopReason::Stopped),
        }
    }

    fn take_waiting(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.stopped.is_some() || !self.take_turn() {
                return;
            }
        }
    }

    /// Hands over some of everything that waits; whether there was anything.
    fn take_turn(&mut self) -> bool {
        let mut is_any = false;
        for _ in 0..DATAGRAMS_A_TURN {
            let Some(arrived) = self.datagrams.receive() else { break };
            self.on_datagram(arrived);
            is_any = true;
        }
        for _ in 0..OTHERS_A_TURN {
            if self.keeper.is_behind() {
                break;
            }
            let Some(event) = self.streams.try_event() else { break };
            self.on_stream_event(event);
            is_any = true;
        }
        while let Some(answer) = self.keeper.try_answer() {
            self.on_kept(answer);
            is_any = true;
        }
        for _ in 0..OTHERS_A_TURN {
            let Ok(request) = self.requests.try_recv() else { break };
            self.on_request(request);
            is_any = true;
        }
        is_any
    }

    fn is_due(&self) -> bool {
        self.stopped.is_none() && self.node.poll_timeout().is_some_and(|due| due <= self.clock.now().instant)
    }

    fn on_due(&mut self) {
        if self.is_due() {
            self.hand_over(Input::Timeout);
        }
    }

    fn on_datagram(&mut self, arrived: Arrived) {
        let from = arrived.from;
        match arrived.payload {
            Ok(range) => {
                let input = Input::Datagram { from, bytes: self.datagrams.payload(range) };
                give(&mut self.node, self.recorder.as_mut(), self.clock.now(), input);
                self.carry_out();
                self.datagrams.settle();
            }
            Err(Refused { cause, key }) => self.on_unsealed(from, cause, key),
        }
    }

    /// Tells an operator what may be a mistake, each kind at most once a minute; the rest is counted only.
    fn on_unsealed(&mut self, from: SocketAddr, cause: Unsealed, key: u8) {
        let warning = match cause {
            Unsealed::Foreign => CoreWarning::ForeignCluster { from }.into(),
            Unsealed::UnknownKey => Warning::UnknownKey { from, key },
            Unsealed::Old => Warning::Clock { from, direction: "longer ago" },
            Unsealed::Ahead => Warning::Clock { from, direction: "further ahead" },
            Unsealed::Malformed | Unsealed::UnknownSession | Unsealed::Replayed | Unsealed::Forged => return,
        };
        let now = self.clock.now().instant;
        if self.warned.get(&cause).is_none_or(|told| now.since(*told) >= WARNING_PAUSE) {
            self.warned.insert(cause, now);
            self.desk.announce(clock::wall(), EventKind::Warning(warning));
        }
    }

    fn on_stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Accepted(accepted, from) => {
                if let Some(stream) = self.streams.accept(accepted, from) {
                    self.hand_over(Input::StreamOpened { stream, from });
                }
            }
            StreamEvent::Unproved(from, cause, key) => self.on_unsealed(from, cause, key),
            StreamEvent::Refused(stream) => {
                if self.streams.is_open(stream) {
                    self.streams.close(stream);
                    self.hand_over(Input::StreamRefused { stream });
                }
            }
            StreamEvent::Bytes(stream, bytes) => {
                if self.streams.is_open(stream) {
                    self.hand_over(Input::StreamBytes { stream, bytes: &bytes });
                }
            }
            StreamEvent::Written(stream, pieces) => {
                if self.streams.is_written(stream, pieces) {
                    self.hand_over(Input::StreamWritten { stream });
                }
            }
            StreamEvent::Closed(stream) => {
                if self.streams.is_open(stream) {
                    self.streams.close(stream);
                    self.hand_over(Input::StreamClosed { stream });
                }
            }
        }
    }

    fn on_kept(&mut self, answer: keeper::Answer) {
        let keeper::Answer { token, result } = answer;
        match result {
            Ok(()) => self.hand_over(Input::Persisted { token }),
            Err(reason) => {
                self.not_stored = Some(Arc::clone(&reason));
                self.hand_over(Input::PersistFailed { token, reason: reason.as_ref().to_owned() });
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        // Who asked may have given up: answers that nobody waits for are dropped.
        match request {
            Request::Command { command, pending } => {
                let ticket = self.desk.open(pending, &command);
                self.hand_over(Input::Command { ticket, command });
            }
            Request::Inspect(inspection) => inspection(&self.node),
            // Who asked may have gone in the meantime.
            Request::Limits(limits) => drop(limits.send(self.limits())),
            Request::Ending(ending) => drop(ending.send(self.streams.ending())),
            Request::Subscribe { topic, history, feed, done } => {
                self.desk.subscribe(&self.node, topic, history, feed);
                done.send(()).ok();
            }
            Request::Watch { prefix, since, watch } => drop(watch.send(self.desk.watch(&self.node, prefix, since))),
            Request::WatchRegister { register, watch } => {
                // Who asked may have gone in the meantime.
                watch.send(self.desk.watch_register(&self.node, register)).ok();
            }
            Request::OnQuery { name, questions, done } => {
                self.desk.handle_queries(name, questions);
                done.send(()).ok();
            }
            Request::Stop => self.stopped = Some(StopReason::Stopped),
        }
    }

    fn hand_over(&mut self, input: Input<'_>) {
        give(&mut self.node, self.recorder.as_mut(), self.clock.now(), input);
        self.carry_out();
    }

    /// Has the recorder do something. Where it cannot, the node goes on without.
    fn record(&mut self, work: impl FnOnce(&mut Recorder) -> Result<(), String>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(reason) = work(recorder)
        {
            self.recorder = None;
            self.desk.announce(clock::wall(), EventKind::Warning(Warning::RecordingEnded { reason }));
        }
    }

    fn carry_out(&mut self) {
        self.drain();
        while let Some(command) = self.desk.next_forgone() {
            let pending = Pending { result: None, lines: Lines::None };
            let ticket = self.desk.open(pending, &command);
            let input = Input::Command { ticket, command };
            give(&mut self.node, self.recorder.as_mut(), self.clock.now(), input);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            if let Some(recorder) = &mut self.recorder {
                recorder.on_output(&output);
            }
            match output {
                Output::Transmit { to, channel: Channel::Datagram, bytes } => self.datagrams.send(to, bytes),
                Output::Transmit { to, channel: Channel::Stream(stream), bytes } => {
                    self.streams.send(stream, to, bytes);
                }
                Output::Close { stream } => self.streams.close(stream),
                Output::Persist { token, records } => self.keeper.persist(token, records),
                Output::Event(event) => self.on_event(event),
            }
        }
        if let Some(recorder) = &mut self.recorder {
            let result = recorder.on_settled(&self.node);
            self.record(|_| result);
        }
    }

    fn on_event(&mut self, event: CoreEvent) {
        if let CoreEvent::Started { .. } = event
            && let Some(started) = self.started.take()
        {
            let Identity { id, durable: is_durable, .. } = self.identity;
            // Who started the node may have given up; then there is no handle either, and it stops.
            started.send(Started { id, is_durable, shelf: self.node.shelf().clone() }).ok();
        }
        if let CoreEvent::Stopped { reason } = event {
            if reason == CoreStopReason::BootNotStored && self.started.is_some() && self.start_in_memory() {
                return;
            }
            self.stopped = Some(reason.into());
        }
        self.desk.on_event(&self.node, clock::wall(), event);
    }

    /// An identity whose boot cannot be stored must not speak: goes on under a new one that ends with the process.
    /// Whether that was possible.
    fn start_in_memory(&mut self) -> bool {
        if self.identity.signing.is_some() {
            // Its certificate is for the identity that it cannot use.
            return false;
        }
        let (Ok(key), Ok(session), Ok(seed)) = (NodeKey::generate(), key::random_bits(), key::random_bits()) else {
            return false;
        };
        let identity = &mut self.identity;
        (identity.id, identity.session, identity.durable) = (key.id(), session, false);
        identity.stored = Stored::default();
        self.datagrams.rename(identity.id);
        self.keeper = Keeper::memory();
        self.node = Node::new(identity.clone(), self.config.clone(), seed, self.clock.now());
        if let Some(recorder) = &mut self.recorder {
            recorder.begin_again();
        }
        let reason = self.not_stored.take().as_deref().unwrap_or_default().to_owned();
        self.desk.announce(clock::wall(), EventKind::Warning(Warning::NotDurable { reason }));
        true
    }

    /// Frees sockets and data directory, then says so.
    async fn finish(self) {
        let Self { datagrams, streams, keeper, recorder, desk, requests, stop, stopped, .. } = self;
        let reason = stopped.unwrap_or(StopReason::Aborted);
        if reason == StopReason::Stopped {
            // Of every other reason the node has told.
            desk.announce(clock::wall(), EventKind::Stopped { reason });
        }
        drop((datagrams, desk, requests));
        streams.shutdown().await;
        keeper.close().await;
        if let Some(recorder) = recorder {
            // Nothing is left that could be told that it failed.
            tokio::task::spawn_blocking(move || recorder.close()).await.ok();
        }
        stop.send_replace(Some(reason));
    }

    /// What is bounded, in the node and around it.
    fn limits(&self) -> Limits {
        let Self {
            clock: _,
            node,
            identity: _,
            config: _,
            datagrams,
            streams,
            keeper,
            recorder,
            desk,
            requests,
            started: _,
            stop: _,
            not_stored: _,
            warned: _,
            stopped: _,
        } = self;
        let mut to = node.limits();
        datagrams.limits(&mut to);
        streams.limits(&mut to);
        keeper.limits(&mut to);
        if let Some(recorder) = recorder {
            recorder.limits(&mut to);
        }
        desk.limits(&mut to);
        to.entries("requests", requests.len(), requests.max_capacity());
        to
    }
}

/// Gives the node an input, which is recorded before.
fn give(node: &mut Node, recorder: Option<&mut Recorder>, now: Now, input: Input<'_>) {
    if let Some(recorder) = recorder {
        recorder.on_input(now, &input);
    }
    node.handle_input(now, input);
}
