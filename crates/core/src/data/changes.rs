//! What changed lately, so that a watcher that was away gets what it missed.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::entry::Entry;
use crate::datum::Kind;
use crate::identity::NodeId;

/// A place in the changes that one start of one node made. Shown as one opaque word.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    session: u64,
    number: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.session, self.number)
    }
}

/// Not a position.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no position of a watch")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (session, number) = text.split_once('-').ok_or(PositionError)?;
        let session = u64::from_str_radix(session, 16).map_err(|_| PositionError)?;
        Ok(Self { session, number: number.parse().map_err(|_| PositionError)? })
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChangeKind {
    /// It holds something new.
    Put,
    /// It was deleted.
    Delete,
    /// Its value ran out.
    Expire,
}

impl ChangeKind {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }
}

/// A key changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What happened.
    pub change: ChangeKind,
    /// To which key.
    pub key: String,
    /// What it held last.
    pub kind: Kind,
    /// What it holds now.
    pub entry: Option<Entry>,
    /// Where in the changes of this node.
    pub position: Position,
    /// Whose write it was, if it was one.
    pub author: Option<NodeId>,
}

impl Change {
    /// How many bytes it takes, about.
    pub fn size(&self) -> usize {
        2 * self.key.len() + self.entry.as_ref().map_or(0, |entry| entry.value.size())
    }
}

/// The last changes of one node.
#[derive(Debug)]
pub(crate) struct Changes {
    session: u64,
    /// The number of the last change; changes count from 1.
    last: u64,
    kept: VecDeque<Arc<Change>>,
    bytes: usize,
    most: usize,
}

/// Bytes of keys and values that changes keep alive.
const CHANGES_BYTES_MAX: usize = 8 << 20;

impl Changes {
    pub(crate) fn new(session: u64, most: usize) -> Self {
        Self { session, last: 0, kept: VecDeque::new(), bytes: 0, most }
    }

    /// The place of the last change.
    pub(crate) const fn position(&self) -> Position {
        Position { session: self.session, number: self.last }
    }

    /// The changes after `since`, or `None` if they are not known any more: whoever asks has to read all again.
    pub(crate) fn since(&self, since: Position) -> Option<Vec<Arc<Change>>> {
        let missed = self.last.checked_sub(since.number)?;
        let kept = self.kept.len().checked_sub(usize::try_from(missed).ok()?)?;
        (since.session == self.session).then(|| self.kept.range(kept..).cloned().collect())
    }

    pub(crate) fn note(
        &mut self,
        key: Vec<u8>,
        author: Option<NodeId>,
        kind: Kind,
        entry: Option<Entry>,
    ) -> Arc<Change> {
        self.last += 1;
        let change = match (&entry, author) {
            (Some(_), _) => ChangeKind::Put,
            (None, Some(_)) => ChangeKind::Delete,
            (None, None) => ChangeKind::Expire,
        };
        let key = String::from_utf8(key).expect("keys are text: checked when they were read");
        let change = Arc::new(Change { change, key, kind, entry, position: self.position(), author });
        self.bytes += change.size();
        self.kept.push_back(Arc::clone(&change));
        while self.kept.len() > self.most || self.bytes > CHANGES_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.size();
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(changes: &mut Changes, count: u64) {
        (0..count).for_each(|n| drop(changes.note(n.to_string().into(), Some(NodeId(1)), Kind::Register, None)));
    }

    #[test]
    fn a_watcher_gets_what_it_missed_or_is_told_that_it_cannot() {
        let mut changes = Changes::new(7, 3);
        noted(&mut changes, 1);
        let early = changes.position();
        noted(&mut changes, 2);
        let keys = |since| changes.since(since).map(|missed| missed.iter().map(|c| c.key.clone()).collect::<Vec<_>>());
        assert_eq!(keys(early), Some(vec!["0".to_owned(), "1".to_owned()]));
        assert_eq!(keys(changes.position()), Some(vec![]));
        let other_life = Position { session: 8, ..early };
        assert_eq!(keys(other_life), None);
        assert_eq!(keys(Position { session: 7, number: 99 }), None);
        noted(&mut changes, 2);
        assert_eq!(changes.since(early), None, "one of those since then is gone");
    }

    #[test]
    fn a_position_survives_printing_and_nonsense_is_refused() {
        let position = Position { session: 7, number: 99 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for nonsense in ["", "7", "x-1", "7-x", "7-1-1"] {
            assert_eq!(nonsense.parse::<Position>(), Err(PositionError), "{nonsense}");
        }
    }
}
