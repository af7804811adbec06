//! What changed lately, so that a watcher that was away gets what it missed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::entry::Entry;
use super::shelf::Shelf;
use crate::datum::Kind;
use crate::identity::NodeId;
use crate::time::Wall;

/// A place in the changes that one start of one node made. Shown as one opaque word.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
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
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
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

/// What a key holds after a change.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// This.
    Entry(Entry),
    /// A set of many elements, which are not copied for each that comes or goes: they are read here when they are asked for.
    Large(Shelf, Wall),
}

/// A key changed.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Change {
    /// What happened.
    pub change: ChangeKind,
    /// To which key.
    pub key: String,
    /// What it held last.
    pub kind: Kind,
    /// What it holds now.
    pub holds: Holds,
    /// Where in the changes of this node.
    pub position: Position,
    /// Whose write it was, if it was one.
    pub author: Option<NodeId>,
}

impl Change {
    /// What the key holds now. Of a set of many elements, what it holds as this is asked: the same, or what a later change of
    /// the set made of it; `None` if it is no set any more.
    pub fn entry(&self) -> Option<Cow<'_, Entry>> {
        match &self.holds {
            Holds::Nothing => None,
            Holds::Entry(entry) => Some(Cow::Borrowed(entry)),
            Holds::Large(shelf, now) => {
                shelf.get(&self.key, *now).filter(|entry| entry.value.kind() == self.kind).map(Cow::Owned)
            }
        }
    }

    /// How many bytes it takes, about.
    pub fn size(&self) -> usize {
        let value = if let Holds::Entry(entry) = &self.holds { entry.value.size() } else { 0 };
        2 * self.key.len() + value
    }
}

/// The last changes of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
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

    /// After this was read from a snapshot.
    pub(crate) fn relink(&mut self, shelf: &Shelf) {
        for change in &mut self.kept {
            if let Holds::Large(linked, _) = &mut Arc::make_mut(change).holds {
                *linked = shelf.clone();
            }
        }
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

    pub(crate) fn note(&mut self, key: Vec<u8>, author: Option<NodeId>, kind: Kind, holds: Holds) -> Arc<Change> {
        self.last += 1;
        let change = match (&holds, author) {
            (Holds::Entry(_) | Holds::Large(..), _) => ChangeKind::Put,
            (Holds::Nothing, Some(_)) => ChangeKind::Delete,
            (Holds::Nothing, None) => ChangeKind::Expire,
        };
        let key = String::from_utf8(key).expect("keys are text: checked when they were read");
        let change = Arc::new(Change { change, key, kind, holds, position: self.position(), author });
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
        (0..count)
            .for_each(|n| drop(changes.note(n.to_string().into(), Some(NodeId(1)), Kind::Register, Holds::Nothing)));
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
