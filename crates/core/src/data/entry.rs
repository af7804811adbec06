//! What a key holds, composed from the updates about it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::datum::{Datum, Kind, Part, Statement};
use crate::time::Seconds;
use crate::update::{Head, Update};

/// The value of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// What the parts of a key add up to.
#[derive(Debug, Default)]
struct Sum<'a> {
    /// The kind that was written last, whether or not the head counts.
    kind: Option<Kind>,
    /// The head, while it counts.
    head: Option<&'a Arc<Update>>,
    counter: i128,
    has_sums: bool,
    elements: Vec<&'a [u8]>,
    revision: u64,
}

impl<'a> Sum<'a> {
    fn of(updates: impl Iterator<Item = &'a Arc<Update>>, now: Seconds) -> Self {
        let mut sum = Self::default();
        for update in updates {
            let parts = update.parts();
            let Head::Data(datum) = parts.head else { unreachable!("the index holds data") };
            if let Statement::Head { kind, .. } = datum.statement {
                sum.kind = Some(kind);
            }
            if datum.is_tombstone() || parts.is_stripped() || parts.expires <= now {
                continue;
            }
            sum.revision ^= update.id.0;
            match (datum.statement, update.subject().part) {
                (Statement::Sums(sums), _) => {
                    sum.has_sums = true;
                    sum.counter += sums.value();
                }
                (_, Part::Element(element)) => sum.elements.push(element),
                (_, Part::Head | Part::Sums(_)) => sum.head = Some(update),
            }
        }
        sum
    }

    /// The kind that is shown: the one written last, if anything of it is left, else what is left.
    fn shown(&self) -> Option<Kind> {
        let last = self.kind.filter(|kind| self.head.is_some() || self.has(*kind));
        last.or_else(|| [Kind::Counter, Kind::Set].into_iter().find(|kind| self.has(*kind)))
    }

    /// Whether there are parts of that kind.
    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Register => false,
            Kind::Counter => self.has_sums,
            Kind::Set => !self.elements.is_empty(),
        }
    }
}

/// What a key holds, given all updates about it; `None` if nothing.
pub(crate) fn compose<'a>(updates: impl Iterator<Item = &'a Arc<Update>>, now: Seconds) -> Option<Entry> {
    let mut updates = updates.peekable();
    let key = updates.peek()?.subject().key;
    let sum = Sum::of(updates, now);
    let kind = sum.shown()?;
    let conflict = [Kind::Counter, Kind::Set].into_iter().filter(|other| *other != kind && sum.has(*other)).collect();
    let head = sum.head.map(|head| head.parts());
    let value = match kind {
        Kind::Register => Value::Register(head.map_or_else(Vec::new, |head| head.value().to_vec())),
        Kind::Counter => Value::Counter(sum.counter),
        Kind::Set => Value::Set(sum.elements.into_iter().map(<[u8]>::to_vec).collect()),
    };
    let expires = head.filter(|head| head.expires != head.forget).map(|head| head.expires);
    let key = String::from_utf8(key.to_vec()).expect("keys are text: checked when they were read");
    Some(Entry { key, value, revision: Revision(sum.revision), expires, conflict })
}

/// What a key holds of which there is only the head: the same as [`compose`], for the many reads of registers.
pub(crate) fn compose_head(head: &Update, now: Seconds) -> Option<Entry> {
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
pub(crate) fn kind_of<'a>(updates: impl Iterator<Item = &'a Arc<Update>>) -> Kind {
    let sum = Sum::of(updates, Seconds(0));
    sum.shown().or(sum.kind).unwrap_or(Kind::Register)
}

/// The kind of what a key holds now, and its revision.
pub(crate) fn present<'a>(updates: impl Iterator<Item = &'a Arc<Update>>, now: Seconds) -> Option<(Kind, Revision)> {
    let sum = Sum::of(updates, now);
    Some((sum.shown()?, Revision(sum.revision)))
}
