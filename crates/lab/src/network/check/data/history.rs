//! What was done to one key.

use std::collections::BTreeSet;
use std::fmt;

use rumormill_core::data::{Edit, Entry, Kind, Value};
use rumormill_core::{Wall, duration};

use super::super::{Breach, Verdict};
use super::amount;

/// How a write ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It waits, or its node died before it could say.
    Unknown,
    Made,
    Refused,
}

/// Something that is there or not, apart from the value of a register.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Cell {
    Element(Vec<u8>),
    /// The nth addition to a counter.
    Addition(usize),
}

/// One write to one key.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) node: usize,
    /// Which of the disks of that machine it is on.
    pub(super) disk: u32,
    pub(super) edit: Edit,
    pub(super) outcome: Outcome,
    /// Other operations whose effect, or something later, its node certainly held.
    pub(super) knew: BTreeSet<usize>,
    /// What it certainly found there.
    pub(super) saw: BTreeSet<Cell>,
    /// What it may have found.
    pub(super) may_have_seen: BTreeSet<Cell>,
    /// By the clock of its node.
    pub(super) asked: Wall,
    /// By the clock that was furthest ahead.
    pub(super) ended: Option<Wall>,
    /// The same in the order in which all happened.
    pub(super) asked_at: u64,
    pub(super) ended_at: Option<u64>,
}

impl Op {
    /// What it puts there, if that is a cell.
    pub(super) fn cell(&self) -> Option<Cell> {
        match &self.edit {
            Edit::Insert { element } => Some(Cell::Element(element.clone())),
            Edit::Add { amount } => amount::number(*amount).map(Cell::Addition),
            Edit::Put { .. } | Edit::Delete | Edit::RemoveElement { .. } | Edit::Restore { .. } => None,
        }
    }

    /// Whether it could have taken a cell away, having seen it.
    pub(super) fn takes_away(&self, cell: &Cell) -> bool {
        match (&self.edit, cell) {
            (Edit::Delete, _) => true,
            (Edit::RemoveElement { element }, Cell::Element(other)) => element == other,
            (Edit::RemoveElement { .. }, Cell::Addition(_))
            | (Edit::Put { .. } | Edit::Add { .. } | Edit::Insert { .. } | Edit::Restore { .. }, _) => false,
        }
    }

    /// The kind of key that it is for.
    fn kind(&self) -> Option<Kind> {
        match &self.edit {
            Edit::Put { .. } => Some(Kind::Register),
            Edit::Add { .. } => Some(Kind::Counter),
            Edit::Insert { .. } | Edit::RemoveElement { .. } => Some(Kind::Set),
            Edit::Restore { value, .. } => Some(value.kind()),
            Edit::Delete => None,
        }
    }
}

/// As a reader of a failure wants it: `3: n2 put v17.. made, knew 0 1`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(16)]).into_owned();
        let what = match &self.edit {
            Edit::Put { value, ttl } => {
                format!("put {} {}", text(value), ttl.map(duration::format).unwrap_or_default())
            }
            Edit::Delete => "delete".to_owned(),
            Edit::Add { amount } => format!("add {amount}"),
            Edit::Insert { element } => format!("insert {}", text(element)),
            Edit::RemoveElement { element } => format!("remove {}", text(element)),
            Edit::Restore { value, .. } => format!("restore {value:?}"),
        };
        let knew: Vec<_> = self.knew.iter().map(usize::to_string).collect();
        let (asked, ended) = (self.asked_at, self.ended_at.map(|at| at.to_string()).unwrap_or_default());
        write!(f, "n{} {what} {:?} {asked}..{ended}, knew {}", self.node, self.outcome, knew.join(" "))
    }
}

/// All that was done to one key.
#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) ops: Vec<Op>,
    kinds: BTreeSet<Kind>,
    /// Some amounts name no addition, or the same as another.
    pub(super) is_coarse: bool,
    /// Some write was no plain change: of the key only is asked that nodes agree.
    pub(super) is_free: bool,
}

pub(super) const ONCE: &str = "a counter holds what was added to it, each once";

impl Key {
    pub(super) fn add(&mut self, op: Op) -> usize {
        if let Edit::Add { amount: size } = op.edit {
            let same = |other: &Op| matches!(other.edit, Edit::Add { amount } if amount == size);
            self.is_coarse |= amount::number(size).is_none() || self.ops.iter().any(same);
        }
        self.is_free |= matches!(op.edit, Edit::Restore { .. });
        self.kinds.extend(op.kind());
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// Whether values of several kinds were written to it, some of which may be hidden.
    pub(super) fn is_mixed(&self) -> bool {
        self.kinds.len() > 1
    }

    /// All that was done and not refused, line by line.
    pub(super) fn story(&self) -> String {
        let told = self.ops.iter().enumerate().filter(|(_, op)| op.outcome != Outcome::Refused);
        let lines: Vec<_> = told.map(|(number, op)| format!("  {number}: {op}")).collect();
        lines.join("\n")
    }

    pub(super) fn ops_where(&self, holds: impl Fn(&Op) -> bool) -> BTreeSet<usize> {
        (0..self.ops.len()).filter(|op| holds(&self.ops[*op])).collect()
    }

    /// An operation and all that its node knew.
    pub(super) fn with_past(&self, op: usize) -> BTreeSet<usize> {
        let mut past = self.ops[op].knew.clone();
        past.insert(op);
        past
    }

    /// The deletion that there is, if there is just one, of those by whom it may be.
    pub(super) fn only_deletion(&self, may_be: impl Fn(&Op) -> bool) -> Option<usize> {
        let is_one = |op: &Op| op.edit == Edit::Delete && op.outcome != Outcome::Refused && may_be(op);
        let found = self.ops_where(is_one);
        found.first().copied().filter(|_| found.len() == 1)
    }

    /// The cells that are there.
    pub(super) fn cells(&self, entry: Option<&Entry>) -> Result<BTreeSet<Cell>, Breach> {
        Ok(match entry.map(|entry| &entry.value) {
            Some(Value::Set(elements)) => elements.iter().cloned().map(Cell::Element).collect(),
            Some(Value::Counter(value)) if !self.is_coarse => {
                let parts = amount::parts(*value);
                let parts = parts.ok_or_else(|| Breach { rule: ONCE, detail: format!("it is {value}") })?;
                parts.into_iter().map(Cell::Addition).collect()
            }
            Some(Value::Counter(_) | Value::Register(_)) | None => BTreeSet::new(),
        })
    }
}

/// Whether a counter whose additions cannot be told apart has a sum that it may have.
pub(super) fn coarse_sum(key: &Key, value: i128, counts: &impl Fn(&Op) -> bool) -> Verdict {
    let amount = |op: &Op| if let Edit::Add { amount } = op.edit { i128::from(amount) } else { 0 };
    let sum: i128 = key.ops.iter().filter(|op| counts(op)).map(amount).sum();
    let open = |op: &&Op| op.outcome != Outcome::Refused && !counts(op) && amount(op) != 0;
    let mut sums = BTreeSet::from([sum]);
    for op in key.ops.iter().filter(open) {
        sums.extend(sums.clone().into_iter().map(|sum| sum + amount(op)));
    }
    if sums.contains(&value) {
        return Ok(());
    }
    super::breach(ONCE, format!("it is {value}, and what was acknowledged makes {sum}"))
}
