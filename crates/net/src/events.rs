//! What happens to a node, told to whoever listens, and never waiting for anybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::limits::Limits;
use rumormill_core::{Member, MemberChange, NodeId, Wall};
use tokio::sync::broadcast;

use crate::error::StopReason;

/// How many events wait for a slow reader.
const EVENTS_MAX: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, by this machine's clock.
    pub at: Wall,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// The node speaks from now on.
    Started {
        /// Which start of this identity this is, from 1.
        boot: u64,
    },
    /// Something changed about a member, this node included.
    Member {
        /// What.
        change: MemberChange,
        /// Who decided it, or brought the news.
        by: NodeId,
        /// Its name.
        by_name: String,
        /// The member after the change.
        member: Arc<Member>,
    },
    /// A contact did not answer, refused, or could not be resolved.
    ContactFailed {
        /// Which: an address, or what was given where that could not be resolved.
        contact: String,
        /// Why, for people.
        reason: String,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// Something that an operator should know.
    Warning(Warning),
    /// The node has stopped; nothing follows.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// What an operator should know.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Warning {
    /// Something about the protocol.
    #[error(transparent)]
    Node(#[from] rumormill_core::io::Warning),
    /// The store in the data directory could not be read; it was set aside, and this node is a new member.
    #[error("the data directory is damaged ({reason}); it was set aside as {}, and this node is a new member", path.display())]
    StoreSetAside {
        /// Where it is now.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// Somebody seals with a key that this node does not have.
    #[error(
        "{from} seals with a key that this node does not accept (its id begins with {key:02x}): no key in common; see `rumor keys list`"
    )]
    UnknownKey {
        /// One of the senders.
        from: SocketAddr,
        /// How the key's id begins.
        key: u8,
    },
    /// What somebody sends is sealed at a time that is far from this node's: a clock is wrong, or somebody repeats what was said.
    #[error("what {from} sends is sealed {direction} than this node accepts: is a clock wrong?")]
    Clock {
        /// One of the senders.
        from: SocketAddr,
        /// `longer ago` or `further ahead`.
        direction: &'static str,
    },
    /// The flight recorder has stopped; the node goes on without.
    #[error("the recording ends here: {reason}")]
    RecordingEnded {
        /// Why.
        reason: String,
    },
    /// The data directory takes no writes: this node runs under a new identity that ends with the process.
    #[error(
        "the data directory does not take writes ({reason}); this node runs under a new identity that ends with the process"
    )]
    NotDurable {
        /// What the system says.
        reason: String,
    },
}

/// So many events were not read in time and are gone; the next ones follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} events were not read in time")]
pub struct Lagged(pub u64);

/// The events of a node from some moment on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event, or `None` once the node has stopped.
    ///
    /// # Errors
    /// [`Lagged`] where this reader was too slow; reading goes on after it.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Err(Lagged(count))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Tells events to all that listen.
#[derive(Clone, Debug)]
pub(crate) struct Announcer(broadcast::Sender<Event>);

impl Announcer {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(EVENTS_MAX))
    }

    pub(crate) fn announce(&self, at: Wall, kind: EventKind) {
        // An error only says that nobody listens.
        self.0.send(Event { at, kind }).ok();
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn listen(&self) -> Events {
        Events(self.0.subscribe())
    }

    pub(crate) fn downgrade(&self) -> WeakAnnouncer {
        WeakAnnouncer(self.0.downgrade())
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, to: &mut Limits) {
        to.entries("events", self.0.len(), EVENTS_MAX);
    }
}

/// An announcer that does not keep the events of a stopped node open.
#[derive(Clone, Debug)]
pub(crate) struct WeakAnnouncer(broadcast::WeakSender<Event>);

impl WeakAnnouncer {
    pub(crate) fn announce(&self, at: Wall, kind: EventKind) {
        if let Some(sender) = self.0.upgrade() {
            Announcer(sender).announce(at, kind);
        }
    }

    /// The events from now on; none if the node has stopped.
    pub(crate) fn listen(&self) -> Events {
        let sender = self.0.upgrade().unwrap_or_else(|| broadcast::Sender::new(1));
        Events(sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_events_and_is_told_how_many() {
        let announcer = Announcer::new();
        let mut events = announcer.listen();
        let count = EVENTS_MAX as u64 + 5;
        for boot in 0..count {
            announcer.announce(Wall::from_micros(0), EventKind::Started { boot });
        }
        let mut limits = Limits::new();
        announcer.limits(&mut limits);
        let limit = limits.iter().find(|limit| limit.what == "events").unwrap();
        assert_eq!((limit.held, limit.most), (limit.most, EVENTS_MAX as u64));
        assert!(matches!(events.next().await, Some(Err(Lagged(5)))));
        assert!(matches!(events.next().await, Some(Ok(Event { kind: EventKind::Started { boot: 5 }, .. }))));
    }
}
