//! What a key holds, composed from the updates about it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::index::Index;
use super::parts::Parts;
use crate::datum::{Datum, Kind, Part, Statement};
use crate::time::Seconds;
use crate::update::{Head, Update};

/// The value of a key.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Value {
    /// Of a register: any bytes.
    Register(Vec<u8>),
    /// Of a counter: the sum of what all nodes added.
    Counter(i128),
    /// Of a set: its elements, sorted.
    Set(BTreeSet<Vec<u8>>),
}

impl Value {
    /// Which kind of value it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Register(_) => Kind::Register,
            Self::Counter(_) => Kind::Counter,
            Self::Set(_) => Kind::Set,
        }
    }

    /// How many bytes it takes, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Register(value) => value.len(),
            Self::Counter(_) => 16,
            Self::Set(elements) => elements.iter().map(|element| element.len() + 24).sum(),
        }
    }
}

/// As people read it; what is not text shows its replacement characters.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(value) => f.write_str(&String::from_utf8_lossy(value)),
            Self::Counter(sum) => sum.fmt(f),
            Self::Set(elements) => {
                let texts: Vec<_> = elements.iter().map(|element| String::from_utf8_lossy(element)).collect();
                write!(f, "{{{}}}", texts.join(", "))
            }
        }
    }
}

/// Tells two states of a key apart, for compare and set on one node. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Revision {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A key and what it holds.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Entry {
    /// 1 to 512 bytes.
    pub key: String,
    /// What it holds.
    pub value: Value,
    /// Another one whenever the value was written.
    pub revision: Revision,
    /// When the value runs out, if it does.
    pub expires: Option<Seconds>,
    /// Values of other kinds that were written at the same time elsewhere, and are hidden behind this one until the key
    /// is deleted.
    pub conflict: Vec<Kind>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.value)
    }
}

/// All that is to be said of what a key holds, except the value of a register and the elements of a set: there may be many.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Summary {
    /// What it is.
    pub kind: Kind,
    /// Another one whenever the value was written.
    pub revision: Revision,
    /// When the value runs out, if it does.
    pub expires: Option<Seconds>,
    /// Values of other kinds that are hidden behind this one until the key is deleted.
    pub conflict: Vec<Kind>,
    /// The sum, if it is a counter.
    pub sum: Option<i128>,
}

impl Summary {
    /// Of a key with this head and these parts; `None` if it holds nothing.
    pub(crate) fn of(head: Option<&Update>, parts: &Parts, now: Seconds) -> Option<Self> {
        let last = head.and_then(head_kind);
        let live = head.map(|head| (head.id, head.datum(), head.parts()));
        let live =
            live.filter(|(_, datum, parts)| !datum.is_tombstone() && !parts.is_stripped() && parts.expires > now);
        // The kind that was written last, if anything of it is left, else what is left.
        let shown = last.filter(|kind| live.is_some() || parts.has(*kind));
        let kind = shown.or_else(|| [Kind::Counter, Kind::Set].into_iter().find(|kind| parts.has(*kind)))?;
        let hidden = [Kind::Counter, Kind::Set].into_iter().filter(|other| *other != kind && parts.has(*other));
        let conflict: Vec<Kind> = hidden.collect();
        // What is hidden shows by its kind alone, also here.
        let revision = conflict.iter().map(|kind| 1 << *kind as u64).sum::<u64>()
            ^ live.map_or(0, |(id, _, _)| id.0)
            ^ parts.mark(kind);
        let expires = live.filter(|(_, _, parts)| parts.expires != parts.forget).map(|(_, _, parts)| parts.expires);
        let sum = (kind == Kind::Counter).then(|| parts.counter());
        Some(Self { kind, revision: Revision(revision), expires, conflict, sum })
    }

    /// With the key and what it holds.
    pub(crate) fn into_entry(self, key: &[u8], value: Value) -> Entry {
        let key = String::from_utf8(key.to_vec()).expect("keys are text: checked when they were read");
        Entry { key, value, revision: self.revision, expires: self.expires, conflict: self.conflict }
    }
}

/// What a key holds, given all updates about it; `None` if nothing.
pub(crate) fn compose<'a>(updates: impl Iterator<Item = &'a Arc<Update>>, now: Seconds) -> Option<Entry> {
    let mut updates = updates.peekable();
    let key = updates.peek()?.subject().key;
    let (mut head, mut parts, mut elements) = (None, Parts::default(), Vec::new());
    for update in updates {
        parts.put(update);
        match update.subject().part {
            Part::Head => head = Some(update),
            Part::Element(element) if !update.datum().is_tombstone() => elements.push(element),
            Part::Element(_) | Part::Sums(_) => {}
        }
    }
    let summary = Summary::of(head.map(|head| &**head), &parts, now)?;
    let value = match summary.kind {
        Kind::Register => Value::Register(head.map_or_else(Vec::new, |head| head.parts().value().to_vec())),
        Kind::Counter => Value::Counter(parts.counter()),
        Kind::Set => Value::Set(elements.into_iter().map(<[u8]>::to_vec).collect()),
    };
    Some(summary.into_entry(key, value))
}

/// What a key holds.
pub(crate) fn of_key(index: &Index, key: &[u8], now: Seconds) -> Option<Entry> {
    if index.has_parts(key) { compose(index.of_key(key), now) } else { compose_head(index.head(key)?, now) }
}

/// What a key holds of which there is only the head: the same as [`compose`], for the many reads of registers.
fn compose_head(head: &Update, now: Seconds) -> Option<Entry> {
    let parts = head.parts();
    let Head::Data(Datum { subject, statement: Statement::Head { kind, is_deleted: false, .. } }) = parts.head else {
        return None;
    };
    if parts.is_stripped() || parts.expires <= now {
        return None;
    }
    let value = match kind {
        Kind::Register => Value::Register(parts.value().to_vec()),
        Kind::Counter => Value::Counter(0),
        Kind::Set => Value::Set(BTreeSet::new()),
    };
    let expires = (parts.expires != parts.forget).then_some(parts.expires);
    let key = String::from_utf8(subject.key.to_vec()).expect("keys are text: checked when they were read");
    Some(Entry { key, value, revision: Revision(head.id.0), expires, conflict: Vec::new() })
}

/// The kind that was written last, also of a key that is deleted.
pub(crate) fn head_kind(head: &Update) -> Option<Kind> {
    let Statement::Head { kind, .. } = head.datum().statement else { return None };
    Some(kind)
}
