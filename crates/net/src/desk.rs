//! Who waits for what: results of commands, answers, messages of topics, changes of data, questions of handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use rumormill_core::agreement::LEASE_PREFIX;
use rumormill_core::data::{Change, Position};
use rumormill_core::io::{Event as CoreEvent, KEYS_QUERY, QueryId, Ticket};
use rumormill_core::limits::Limits;
use rumormill_core::{Command, Member, Message, Node, NodeId, Reply, Wall};
use tokio::sync::{mpsc, watch};

use crate::data::{self, Changed, Watch};
use crate::events::{Announcer, EventKind};
use crate::gathering::{Answer, Line, Summary, TraceLine};
use crate::leases::TRY_MAX;
use crate::questions::{QUESTIONS_MAX, Question};
use crate::registers::Held;
use crate::request::{CommandResult, LINES_MAX, Lines, Pending, Request};
use crate::subscription::{self, Feed, Received};

/// So few pending commands need no order among them.
const SWEEP_MIN: usize = 64;

/// Brings what the node tells to those who asked for it. None of them can make it wait.
#[derive(Debug)]
pub(crate) struct Desk {
    tickets: u64,
    pending: BTreeMap<Ticket, Pending>,
    /// At how many pending commands those that were given up are looked for.
    sweep_at: usize,
    /// Which of them want which lease, and as whom: when nobody waits for one any more it is not wanted.
    contending: BTreeMap<Ticket, (String, u64)>,
    /// What is to be given back.
    forgone: Vec<Command>,
    feeds: BTreeMap<String, Vec<Feed>>,
    watches: Vec<data::Feed>,
    registers: BTreeMap<String, watch::Sender<Held>>,
    /// By name, the newest last.
    handlers: BTreeMap<String, Vec<mpsc::Sender<Question>>>,
    announcer: Announcer,
    requests: mpsc::WeakSender<Request>,
}

impl Desk {
    pub(crate) const fn new(announcer: Announcer, requests: mpsc::WeakSender<Request>) -> Self {
        Self {
            tickets: 0,
            pending: BTreeMap::new(),
            sweep_at: SWEEP_MIN,
            contending: BTreeMap::new(),
            forgone: Vec::new(),
            feeds: BTreeMap::new(),
            watches: Vec::new(),
            registers: BTreeMap::new(),
            handlers: BTreeMap::new(),
            announcer,
            requests,
        }
    }

    /// Remembers who waits for a command, under a number of its own. Whoever gave up waiting for a result is forgotten:
    /// a join may never end.
    pub(crate) fn open(&mut self, pending: Pending, command: &Command) -> Ticket {
        if self.pending.len() >= self.sweep_at {
            let contending = &self.contending;
            self.pending.retain(|ticket, pending| contending.contains_key(ticket) || !pending.is_given_up());
            self.sweep_at = SWEEP_MIN.max(2 * self.pending.len());
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.pending.insert(ticket, pending);
        if let Command::Acquire { lease, holder, .. } = command {
            self.contending.insert(ticket, (lease.clone(), *holder));
        }
        ticket
    }

    /// A command that wants a lease and for whose answer nobody waits any more; it is forgotten here.
    pub(crate) fn poll_abandoned(&mut self, cx: &mut Context<'_>) -> Poll<Ticket> {
        let is_gone = |ticket: &&Ticket| {
            let waiting = self.pending.get_mut(ticket).and_then(|pending| pending.result.as_mut());
            waiting.is_some_and(|waiting| waiting.poll_closed(cx).is_ready())
        };
        let Some(gone) = self.contending.keys().find(is_gone).copied() else { return Poll::Pending };
        self.pending.remove(&gone);
        self.contending.remove(&gone);
        Poll::Ready(gone)
    }

    /// What the node has to do besides, in place of those who have gone.
    pub(crate) fn next_forgone(&mut self) -> Option<Command> {
        self.forgone.pop()
    }

    pub(crate) fn subscribe(&mut self, node: &Node, topic: String, history: usize, feed: Feed) {
        for message in node.history(&topic, history) {
            let origin_name = name_of(node, message.origin).into();
            feed.push(Received { message, origin_name });
        }
        let feeds = self.feeds.entry(topic).or_default();
        feeds.retain(Feed::is_open);
        feeds.push(feed);
    }

    pub(crate) fn watch(&mut self, node: &Node, prefix: String, since: Option<Position>) -> Watch {
        let now = node.data_position();
        let began = since.unwrap_or(now);
        let missed = node.data_changes(began).map(|changes| {
            let watched = changes.into_iter().filter(|change| change.key.starts_with(&prefix));
            watched.map(|change| named(node, change)).collect()
        });
        let (watch, feed) = data::Feed::new(prefix, missed, began, now);
        self.watches.push(feed);
        watch
    }

    pub(crate) fn watch_register(&mut self, node: &Node, register: String) -> watch::Receiver<Held> {
        self.registers.retain(|_, watched| !watched.is_closed());
        let (version, value) = node.stale_register(&register).unwrap_or_default();
        let watched = self.registers.entry(register).or_insert_with(|| watch::Sender::new(Held { version, value }));
        watched.subscribe()
    }

    /// Of several handlers of a name the newest gets the questions; a name of the protocol's own keeps its first.
    pub(crate) fn handle_queries(&mut self, name: String, questions: mpsc::Sender<Question>) {
        if name == KEYS_QUERY && self.handlers.contains_key(&name) {
            return;
        }
        let handlers = self.handlers.entry(name).or_default();
        handlers.retain(|handler| !handler.is_closed());
        handlers.push(questions);
    }

    pub(crate) fn announce(&self, at: Wall, kind: EventKind) {
        self.announcer.announce(at, kind);
    }

    /// Routes what the node tells.
    pub(crate) fn on_event(&mut self, node: &Node, at: Wall, event: CoreEvent) {
        match event {
            CoreEvent::Started { boot } => self.announce(at, EventKind::Started { boot }),
            CoreEvent::Member { change, by, member } => {
                if self.announcer.is_heard() {
                    let by_name = name_of(node, by);
                    self.announce(at, EventKind::Member { change, by, by_name, member: Arc::new(*member) });
                }
            }
            CoreEvent::Message(message) => self.on_message(node, message),
            CoreEvent::Data(change) => self.on_data(node, &change),
            CoreEvent::Lease { lease, token, .. } => {
                // Who watches it looks at the node for the rest.
                self.on_register(&[LEASE_PREFIX, &lease].concat(), Held { version: token, value: None });
            }
            CoreEvent::Register { register, version, value } => self.on_register(&register, Held { version, value }),
            CoreEvent::Missed { topic, origin, count } => self.on_missed(node, &topic, origin, count),
            CoreEvent::Query { query, name, payload } => self.on_query(node, query, name, payload),
            CoreEvent::Answer { ticket, from, name, payload, after } => {
                if let Some(Pending { lines: Lines::Answers(lines), .. }) = self.pending.get(&ticket) {
                    let answer = Answer { from, name, payload, after };
                    lines.try_send(Line::Item(answer)).ok();
                }
            }
            CoreEvent::Trace { ticket, name, step } => {
                if let Some(Pending { lines: Lines::Traces(lines), .. }) = self.pending.get(&ticket) {
                    let from_name = step.from.map(|from| name_of(node, from));
                    let line = TraceLine { step, name, from_name };
                    lines.try_send(Line::Item(line)).ok();
                }
            }
            CoreEvent::Answered { ticket, asked, estimated, answered, elapsed } => {
                self.on_answered(ticket, Summary { asked, estimated, answered, elapsed });
            }
            CoreEvent::Done { ticket, result } => self.on_done(ticket, result),
            CoreEvent::ContactFailed { contact, reason, retry_after } => {
                let (contact, reason) = (contact.to_string(), reason.to_string());
                self.announce(at, EventKind::ContactFailed { contact, reason, retry_after });
            }
            CoreEvent::Warning(warning) => self.announce(at, EventKind::Warning(warning.into())),
            CoreEvent::Stopped { reason } => self.announce(at, EventKind::Stopped { reason: reason.into() }),
        }
    }

    fn on_message(&mut self, node: &Node, message: Arc<Message>) {
        let Some(feeds) = self.open_feeds(&message.topic) else { return };
        let origin_name: Arc<str> = name_of(node, message.origin).into();
        for feed in feeds {
            feed.push(Received { message: Arc::clone(&message), origin_name: Arc::clone(&origin_name) });
        }
    }

    fn on_data(&mut self, node: &Node, change: &Arc<Change>) {
        self.watches.retain(data::Feed::is_open);
        let mut with_name = None;
        for watch in &self.watches {
            watch.push(change, || with_name.get_or_insert_with(|| named(node, Arc::clone(change))).clone());
        }
    }

    fn on_register(&mut self, register: &str, held: Held) {
        let Some(watched) = self.registers.get(register) else { return };
        if watched.send(held).is_err() {
            // Nobody watches it any more.
            self.registers.remove(register);
        }
    }

    fn on_missed(&mut self, node: &Node, topic: &str, origin: NodeId, count: u64) {
        let Some(feeds) = self.open_feeds(topic) else { return };
        let origin_name: Arc<str> = name_of(node, origin).into();
        for feed in feeds {
            feed.miss(origin, &origin_name, count);
        }
    }

    /// The feeds of a topic that are still read; a topic that nobody reads is forgotten.
    fn open_feeds(&mut self, topic: &str) -> Option<&[Feed]> {
        let feeds = self.feeds.get_mut(topic)?;
        feeds.retain(Feed::is_open);
        if feeds.is_empty() {
            self.feeds.remove(topic);
        }
        self.feeds.get(topic).map(Vec::as_slice)
    }

    fn on_query(&mut self, node: &Node, query: QueryId, name: String, payload: Vec<u8>) {
        let Some(handlers) = self.handlers.get_mut(&name) else { return };
        handlers.retain(|handler| !handler.is_closed());
        let Some(newest) = handlers.last() else {
            self.handlers.remove(&name);
            return;
        };
        let (from, from_name) = (query.origin, name_of(node, query.origin));
        let requests = self.requests.clone();
        // A handler that is this far behind leaves the question unanswered.
        newest.try_send(Question { name, payload, from, from_name, query, requests }).ok();
    }

    fn on_done(&mut self, ticket: Ticket, result: CommandResult) {
        let Some(mut pending) = self.pending.remove(&ticket) else { return };
        let goes_on = result.is_ok() && !matches!(pending.lines, Lines::None);
        let contended = self.contending.remove(&ticket);
        let waiting = pending.result.take();
        // Who asked may have given up.
        if let Some(Err(Ok(Reply::Leased { token, .. }))) = waiting.map(|waiting| waiting.send(result))
            && let Some((lease, holder)) = contended
        {
            self.forgone.push(Command::Forgo { lease, holder, token, timeout: TRY_MAX });
        }
        if goes_on {
            self.pending.insert(ticket, pending);
        }
    }

    fn on_answered(&mut self, ticket: Ticket, summary: Summary) {
        match self.pending.remove(&ticket).map(|pending| pending.lines) {
            Some(Lines::Answers(lines)) => lines.try_send(Line::End(summary)).unwrap_or_default(),
            Some(Lines::Traces(lines)) => lines.try_send(Line::End(summary)).unwrap_or_default(),
            Some(Lines::None) | None => {}
        }
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        // Each of those who wait, subscribe, watch or answer holds a handle of the application.
        let Self {
            tickets: _,
            pending,
            sweep_at: _,
            contending: _,
            forgone: _,
            feeds,
            watches,
            registers: _,
            handlers,
            announcer,
            requests: _,
        } = self;
        let lines = pending.values().map(|pending| pending.lines.waiting()).max();
        to.entries("lines_of_one_query", lines.unwrap_or(0), LINES_MAX);
        subscription::limits(feeds.values().flatten(), to);
        data::limits(watches, to);
        let questions = handlers.values().flatten().map(|handler| handler.max_capacity() - handler.capacity()).max();
        to.entries("questions_of_one_handler", questions.unwrap_or(0), QUESTIONS_MAX);
        announcer.limits(to);
    }
}

fn named(node: &Node, change: Arc<Change>) -> Changed {
    let author_name = change.author.map(|author| name_of(node, author).into());
    Changed { change, author_name }
}

/// The name of a member as it is shown, or its id where it is no longer listed.
fn name_of(node: &Node, id: NodeId) -> String {
    node.member(id).map_or_else(|| id.to_string(), |Member { name, .. }| name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rumormill_core::{Config, Identity, Now, Sequence};

    use super::*;

    fn level(desk: &Desk, what: &str) -> (u64, u64) {
        let mut limits = Limits::new();
        desk.limits(&mut limits);
        limits.iter().find(|limit| limit.what == what).map(|limit| (limit.held, limit.most)).unwrap()
    }

    fn desk() -> (Desk, Node) {
        let (requests, _) = mpsc::channel(1);
        let identity = Identity::new(NodeId(1), "n1", ([127, 0, 0, 1], 1), 1);
        (Desk::new(Announcer::new(), requests.downgrade()), Node::new(identity, Config::default(), 1, Now::default()))
    }

    #[test]
    fn answers_that_nobody_reads_wait_up_to_a_bound_and_then_get_lost() {
        let (mut desk, node) = desk();
        let (lines, mut answers) = mpsc::channel(LINES_MAX);
        let command = Command::SetTags { tags: [].into() };
        let ticket = desk.open(Pending { result: None, lines: Lines::Answers(lines) }, &command);
        for from in 0..LINES_MAX as u64 + 100 {
            let (name, payload, after) = (String::new(), Vec::new(), Duration::ZERO);
            let answer = CoreEvent::Answer { ticket, from: NodeId(from), name, payload, after };
            desk.on_event(&node, Wall::from_micros(0), answer);
        }
        let most = LINES_MAX as u64;
        assert_eq!(level(&desk, "lines_of_one_query"), (most, most));
        assert!(matches!(answers.try_recv(), Ok(Line::Item(Answer { from: NodeId(0), .. }))), "the first are there");
    }

    #[test]
    fn questions_that_nobody_takes_wait_up_to_a_bound_and_stay_unanswered_beyond_it() {
        let (mut desk, node) = desk();
        let (questions, mut handler) = mpsc::channel(QUESTIONS_MAX);
        desk.handle_queries("load".to_owned(), questions);
        for number in 0..QUESTIONS_MAX as u64 + 100 {
            let query = QueryId { origin: NodeId(2), sequence: Sequence(number) };
            let question = CoreEvent::Query { query, name: "load".to_owned(), payload: Vec::new() };
            desk.on_event(&node, Wall::from_micros(0), question);
        }
        let most = QUESTIONS_MAX as u64;
        assert_eq!(level(&desk, "questions_of_one_handler"), (most, most));
        assert_eq!(handler.try_recv().unwrap().query.sequence, Sequence(0), "the first are there");
    }
}
