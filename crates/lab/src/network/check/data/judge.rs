//! What a key may hold, given all that was done to it.

use std::collections::BTreeSet;

use rumormill_core::Wall;
use rumormill_core::data::{Edit, Entry, Kind, Value};

use super::super::{Breach, Verdict, breach};
use super::history::{Cell, Key, Op, Outcome, coarse_sum};
use super::{LOST, NOWHERE, RETURNED};

/// What is seen of a key at a node.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) cells: BTreeSet<Cell>,
    /// The operations whose effect that is, where only one can have had it.
    pub(super) ops: BTreeSet<usize>,
}

impl Sight {
    /// Takes apart what is shown; a breach if nobody wrote it.
    pub(super) fn of(key: &Key, entry: Option<&Entry>) -> Result<Self, Breach> {
        let cells = key.cells(entry)?;
        let mut ops = BTreeSet::new();
        let mut origin = |what: String, writers: BTreeSet<usize>| {
            if writers.is_empty() {
                return Err(Breach { rule: NOWHERE, detail: what });
            }
            ops.extend(writers.first().filter(|_| writers.len() == 1));
            Ok(())
        };
        if let Some(Value::Register(value)) = entry.map(|entry| &entry.value) {
            origin(format!("value {}", shown(value)), key.ops_where(|op| may_be(op) && puts_value(op, value)))?;
        }
        for cell in &cells {
            let writers = key.ops_where(|op| may_be(op) && op.cell().as_ref() == Some(cell));
            origin(format!("{cell:?}"), writers)?;
        }
        Ok(Self { cells, ops })
    }
}

/// Whether it was made, or may have been.
fn may_be(op: &Op) -> bool {
    op.outcome != Outcome::Refused
}

fn puts_value(op: &Op, expected: &[u8]) -> bool {
    matches!(&op.edit, Edit::Put { value, .. } if value == expected)
}

/// The beginning of a value, which may be large.
fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned()
}

/// Whether a key may hold that, where those writes `count` that certainly left their effect.
pub(super) fn judge(key: &Key, entry: Option<&Entry>, latest: Wall, counts: &impl Fn(&Op) -> bool) -> Verdict {
    if key.is_free {
        return Ok(());
    }
    Sight::of(key, entry)?;
    let case = Case { key, latest, counts };
    case.register(entry)?;
    if let (true, Some(Value::Counter(value))) = (key.is_coarse && !key.is_mixed(), entry.map(|entry| &entry.value)) {
        let deleted = key.ops.iter().any(|op| may_be(op) && op.edit == Edit::Delete);
        return if deleted { Ok(()) } else { coarse_sum(key, *value, counts) };
    }
    case.cells(entry)
}

struct Case<'a, F> {
    key: &'a Key,
    /// The latest time of day that any machine has shown.
    latest: Wall,
    counts: &'a F,
}

impl<F: Fn(&Op) -> bool> Case<'_, F> {
    /// Whether an operation is superseded by one of `rivals` that counts.
    fn is_beaten(&self, op: usize, is_rival: impl Fn(&Op) -> bool) -> bool {
        self.key.ops.iter().enumerate().any(|(number, rival)| {
            let knew = rival.knew.contains(&op);
            number != op && is_rival(rival) && (self.counts)(rival) && (knew || is_later(rival, &self.key.ops[op]))
        })
    }

    fn is_there(&self, holds: impl Fn(&Op) -> bool) -> bool {
        self.key.ops.iter().any(holds)
    }

    fn register(&self, entry: Option<&Entry>) -> Verdict {
        let writes_head = |op: &Op| matches!(op.edit, Edit::Put { .. } | Edit::Delete);
        let stands = |op: &usize| !self.is_beaten(*op, writes_head);
        if let Some(Value::Register(value)) = entry.map(|entry| &entry.value) {
            let writers = self.key.ops_where(|op| may_be(op) && puts_value(op, value));
            if writers.iter().any(stands) {
                return Ok(());
            }
            return breach(LOST, format!("it holds {}, which an acknowledged write had superseded", shown(value)));
        }
        let empties = |op: &Op| match &op.edit {
            Edit::Put { ttl: Some(ttl), .. } => self.latest.seconds() >= op.asked.seconds().plus(*ttl),
            Edit::Put { ttl: None, .. } | Edit::RemoveElement { .. } | Edit::Restore { .. } => false,
            Edit::Delete => true,
            // It says that the key is of another kind now.
            Edit::Add { .. } | Edit::Insert { .. } => self.key.is_mixed(),
        };
        let was_written = self.is_there(|op| (self.counts)(op) && matches!(op.edit, Edit::Put { .. }));
        let reasons = self.key.ops_where(|op| may_be(op) && empties(op));
        if !was_written || reasons.iter().any(stands) {
            return Ok(());
        }
        breach(LOST, "it holds no value, and one was acknowledged that nothing has superseded".to_owned())
    }

    fn cells(&self, entry: Option<&Entry>) -> Verdict {
        let present = self.key.cells(entry)?;
        let all: BTreeSet<Cell> = self.key.ops.iter().filter_map(Op::cell).collect();
        for cell in all {
            let kind = match cell {
                Cell::Element(_) => Kind::Set,
                Cell::Addition(_) => Kind::Counter,
            };
            if entry.is_some_and(|entry| entry.conflict.contains(&kind)) || self.key.is_coarse && kind == Kind::Counter
            {
                // What is hidden, or cannot be told apart, is not known.
                continue;
            }
            self.cell(&cell, present.contains(&cell))?;
        }
        Ok(())
    }

    fn cell(&self, cell: &Cell, is_present: bool) -> Verdict {
        let rivals = |op: &Op| match op.edit {
            Edit::Delete => op.saw.contains(cell),
            Edit::Put { .. } | Edit::Add { .. } | Edit::Restore { .. } => false,
            Edit::Insert { .. } | Edit::RemoveElement { .. } => op.takes_away(cell) || op.cell().as_ref() == Some(cell),
        };
        let writers = self.key.ops_where(|op| may_be(op) && op.cell().as_ref() == Some(cell));
        let standing = |op: &usize| !self.is_beaten(*op, rivals);
        if is_present {
            if writers.iter().any(standing) {
                return Ok(());
            }
            return breach(RETURNED, format!("{cell:?} is there, and a deletion that had seen it was acknowledged"));
        }
        let mut certain = writers.iter().filter(|op| (self.counts)(&self.key.ops[**op])).filter(|op| standing(op));
        let lost = certain.find(|op| !self.may_be_gone(**op, cell));
        match lost {
            Some(_) => breach(LOST, format!("{cell:?} was acknowledged, no deletion can have seen it, and it is gone")),
            None => Ok(()),
        }
    }

    /// Whether some deletion can have taken away what an operation put there.
    fn may_be_gone(&self, put: usize, cell: &Cell) -> bool {
        let (number, put) = (put, &self.key.ops[put]);
        let is_only = self.key.ops.iter().filter(|op| op.cell().as_ref() == Some(cell)).count() == 1;
        self.key.ops.iter().enumerate().any(|(other, op)| {
            let saw = self.key.is_mixed() || op.may_have_seen.contains(cell);
            let came_before = if is_only {
                // What it saw was this, or nothing.
                op.ended_at.is_some_and(|ended| ended < put.asked_at)
            } else {
                // It may have taken away another insertion, of a clock that is ahead: then this one goes with that.
                is_before(op, put)
            };
            other != number && may_be(op) && op.takes_away(cell) && saw && !came_before && !put.knew.contains(&other)
        })
    }
}

/// Whether an operation was certainly written later than another, by every clock, and is ordered by that.
fn is_later(op: &Op, than: &Op) -> bool {
    // A deletion takes elements away as they were, not as of its own time; sums have no clock.
    let has_own_time = op.edit != Edit::Delete || matches!(than.edit, Edit::Put { .. } | Edit::Delete);
    has_own_time && !matches!(op.edit, Edit::Add { .. }) && is_before(than, op)
}

/// Whether an operation had ended, by every clock, when another began.
fn is_before(op: &Op, than: &Op) -> bool {
    let millis = |wall: Wall| wall.as_micros() / 1_000;
    op.ended.is_some_and(|ended| millis(ended) < millis(than.asked))
}
