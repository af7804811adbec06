//! Changes of data on their way to one watcher, who may be slow without slowing anybody else.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rumormill_core::data::{Change, ChangeKind, Position};
use rumormill_core::limits::Limits;
use tokio::sync::Notify;

/// How many changes wait for a slow watcher, besides those that it missed before it began.
const WAITING_MAX: usize = 1_024;

/// How many bytes of keys and values wait for a slow watcher; one change may exceed it.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What a watcher gets.
#[derive(Clone, Debug)]
pub enum News {
    /// A key changed.
    Change(Changed),
    /// Changes are missing here: too many to be kept, for this node or for this watcher. A list that is read now contains
    /// all of them, and later changes follow.
    Reload(Position),
}

impl News {
    /// Where in the changes of this node: what to watch from after this.
    pub fn position(&self) -> Position {
        match self {
            Self::Change(changed) => changed.position,
            Self::Reload(position) => *position,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(changed) => changed.fmt(f),
            Self::Reload(_) => f.write_str("changes were missed: read all again"),
        }
    }
}

/// A change, with the name of who made it. Reads like a [`Change`].
#[derive(Clone, Debug)]
pub struct Changed {
    /// The change, shared with the node and with other watchers.
    pub change: Arc<Change>,
    /// The name of its author when it came; none where a value ran out.
    pub author_name: Option<Arc<str>>,
}

impl Deref for Changed {
    type Target = Change;

    fn deref(&self) -> &Change {
        &self.change
    }
}

/// The key with what it holds now, or what became of it.
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.entry(), self.change.change) {
            (Some(entry), _) => entry.fmt(f)?,
            (None, ChangeKind::Put | ChangeKind::Delete) => write!(f, "{} was deleted", self.key)?,
            (None, ChangeKind::Expire) => write!(f, "{} ran out", self.key)?,
        }
        self.author_name.as_ref().map_or(Ok(()), |name| write!(f, " ({name})"))
    }
}

/// The changes of all keys that begin with one prefix.
#[derive(Debug)]
pub struct Watch {
    inbox: Arc<Inbox>,
    position: Position,
}

impl Watch {
    /// The next news, or `None` once the node has stopped and all has been read.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            {
                let mut queue = self.inbox.lock();
                if let Some(news) = queue.pop() {
                    self.position = news.position();
                    return Some(news);
                }
                if queue.is_closed {
                    return None;
                }
            }
            // One permit is kept when nobody waits, so that a push between the check and here is not lost.
            self.inbox.changed.notified().await;
        }
    }

    /// What keys have to begin with.
    pub fn prefix(&self) -> &str {
        &self.inbox.prefix
    }

    /// Where this watch is: another one of this node that begins here, with
    /// [`watch_since`](crate::Data::watch_since), misses nothing that has not been read from this one.
    pub fn position(&self) -> Position {
        let queue = self.inbox.lock();
        if queue.is_empty() { queue.seen } else { self.position }
    }
}

/// The driver's end of a watch. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Feed(Weak<Inbox>);

impl Feed {
    /// Both ends of a watch that begins at `now`, with what it missed before; `None` if that is not known.
    pub(crate) fn new(prefix: String, missed: Option<Vec<Changed>>, began: Position, now: Position) -> (Watch, Self) {
        let must_reload = missed.is_none();
        let waiting: VecDeque<Changed> = missed.unwrap_or_default().into();
        let bytes = waiting.iter().map(|changed| changed.size()).sum();
        let (most, bytes_max) = (waiting.len() + WAITING_MAX, bytes + WAITING_BYTES_MAX);
        let queue = Queue { waiting, bytes, most, bytes_max, must_reload, seen: now, is_closed: false };
        let inbox = Arc::new(Inbox { prefix, queue: Mutex::new(queue), changed: Notify::new() });
        let feed = Self(Arc::downgrade(&inbox));
        (Watch { inbox, position: began }, feed)
    }

    /// Whether somebody still reads.
    pub(crate) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Tells a change where it is of the watcher's; `named` gives it the name of its author.
    pub(crate) fn push(&self, change: &Change, named: impl FnOnce() -> Changed) {
        let Some(inbox) = self.0.upgrade() else { return };
        let is_watched = change.key.starts_with(&inbox.prefix);
        let mut queue = inbox.lock();
        queue.seen = change.position;
        if is_watched {
            queue.push(named());
            drop(queue);
            inbox.changed.notify_one();
        }
    }
}

/// What is bounded in watches: the fullest of them. Beside the room of each there is what it had missed when it began.
pub(crate) fn limits(feeds: &[Feed], to: &mut Limits) {
    let (mut entries, mut bytes) = ((0, WAITING_MAX), (0, WAITING_BYTES_MAX));
    for inbox in feeds.iter().filter_map(|feed| feed.0.upgrade()) {
        let queue = inbox.lock();
        entries = entries.max((queue.waiting.len(), queue.most));
        bytes = bytes.max((queue.bytes, queue.bytes_max));
    }
    to.entries("changes_of_one_watch", entries.0, entries.1);
    to.bytes("changes_of_one_watch", bytes.0, bytes.1);
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(inbox) = self.0.upgrade() {
            inbox.lock().is_closed = true;
            inbox.changed.notify_one();
        }
    }
}

#[derive(Debug)]
struct Inbox {
    prefix: String,
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits. One who does not keep up loses all that waits and is told to reload, which is less to read than what it
/// has missed; until it has been told, nothing more is kept for it.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Changed>,
    bytes: usize,
    most: usize,
    bytes_max: usize,
    must_reload: bool,
    /// The last change that came by, watched or not.
    seen: Position,
    is_closed: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.must_reload
    }

    fn push(&mut self, changed: Changed) {
        let size = changed.size();
        if self.must_reload || self.waiting.len() >= self.most || self.bytes + size > self.bytes_max {
            self.waiting = VecDeque::new();
            self.bytes = 0;
            self.must_reload = true;
            return;
        }
        self.bytes += size;
        self.waiting.push_back(changed);
    }

    fn pop(&mut self) -> Option<News> {
        if std::mem::take(&mut self.must_reload) {
            return Some(News::Reload(self.seen));
        }
        let changed = self.waiting.pop_front()?;
        self.bytes -= changed.size();
        Some(News::Change(changed))
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::data::{Holds, Kind};
    use rumormill_core::limits::Unit;

    use super::*;

    fn position(number: usize) -> Position {
        format!("1-{number}").parse().unwrap()
    }

    fn change(number: usize, key: &str) -> Changed {
        let change = Change {
            change: ChangeKind::Delete,
            key: key.to_owned(),
            kind: Kind::Register,
            holds: Holds::Nothing,
            position: position(number),
            author: None,
        };
        Changed { change: Arc::new(change), author_name: None }
    }

    fn push(feed: &Feed, changed: &Changed) {
        feed.push(changed, || changed.clone());
    }

    fn watch(missed: Option<Vec<Changed>>) -> (Watch, Feed) {
        Feed::new("key".to_owned(), missed, position(0), position(9))
    }

    #[tokio::test]
    async fn a_slow_watcher_loses_what_waits_and_is_told_to_reload_from_where_it_goes_on() {
        let (mut watch, feed) = watch(Some(Vec::new()));
        for number in 10..10 + WAITING_MAX + 3 {
            push(&feed, &change(number, "key"));
        }
        push(&feed, &change(5_000, "other"));
        assert_eq!(watch.position(), position(0), "nothing was read yet");
        let Some(News::Reload(reload)) = watch.next().await else { panic!("it must reload") };
        assert_eq!(reload, position(5_000));
        push(&feed, &change(5_001, "key"));
        assert_eq!(watch.next().await.unwrap().position(), position(5_001));
    }

    #[tokio::test]
    async fn what_was_missed_before_does_not_take_the_room_of_what_comes() {
        let missed: Vec<Changed> = (0..2 * WAITING_MAX).map(|number| change(number, "key")).collect();
        let (mut watch, feed) = watch(Some(missed));
        for number in 0..WAITING_MAX {
            push(&feed, &change(5_000 + number, "key"));
        }
        for _ in 0..3 * WAITING_MAX {
            assert!(matches!(watch.next().await, Some(News::Change(_))));
        }
        assert_eq!(watch.position(), position(5_000 + WAITING_MAX - 1));
    }

    #[tokio::test]
    async fn large_changes_wait_up_to_a_number_of_bytes() {
        let (mut watch, feed) = watch(Some(Vec::new()));
        // It counts twice: a quarter of the room.
        let key = format!("key{}", "k".repeat((1 << 20) - 3));
        let levels = |feed: &Feed| {
            let mut limits = Limits::new();
            super::limits(std::slice::from_ref(feed), &mut limits);
            let bytes = limits.iter().find(|limit| limit.unit == Unit::Bytes).unwrap();
            (bytes.what, bytes.held, bytes.most)
        };
        let mut highest = 0;
        for number in 10..30 {
            push(&feed, &change(number, &key));
            let (what, held, most) = levels(&feed);
            assert!(held <= most && what == "changes_of_one_watch", "{held} of {most}");
            highest = highest.max(held);
        }
        assert_eq!(highest, WAITING_BYTES_MAX as u64);
        assert!(matches!(watch.next().await, Some(News::Reload(_))));
    }

    #[tokio::test]
    async fn a_watch_ends_with_its_feed_after_what_waits() {
        let (mut watch, feed) = watch(None);
        drop(feed);
        assert!(matches!(watch.next().await, Some(News::Reload(_))));
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn changes_of_other_keys_move_the_position_on() {
        let (watch, feed) = watch(Some(Vec::new()));
        push(&feed, &change(10, "other"));
        assert_eq!(watch.position(), position(10));
    }
}
