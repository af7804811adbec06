//! Updates of the data space: what each is about, what it says, and which of two on one subject holds.
//!
//! A key has one **head** (its kind, the value of a register, or that it was deleted), for a counter the **sums** of
//! each author, and for a set each **element**. Heads and elements are ordered by hybrid logical clock, then author, and a
//! deletion beats what it deletes. Sums are joined: what an author added and what was cleared of it only grow, so the join
//! takes the greater of each, and whoever joins two makes the same update, byte for byte (decision 0011).

use std::cmp::Ordering;

use crate::clock::Stamp;
use crate::identity::NodeId;
use crate::time::Seconds;
use crate::wire::{Put, Reader, varint_bytes};

/// The longest key.
pub const KEY_BYTES_MAX: usize = 512;
/// The largest value that any setting allows.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The longest element of a set.
pub const ELEMENT_BYTES_MAX: usize = 512;

const DELETED: u8 = 0x80;
const TAG_HEAD: u8 = 0;
const TAG_SUMS: u8 = 1;
const TAG_ELEMENT: u8 = 2;

/// What a key holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub enum Kind {
    /// A value; the last writer wins.
    Register,
    /// A sum to which all nodes add.
    Counter,
    /// Elements that come and go one by one.
    Set,
}

impl Kind {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Register),
            1 => Some(Self::Counter),
            2 => Some(Self::Set),
            _ => None,
        }
    }
}

/// Which write it was: the later one wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) struct Version {
    pub(crate) stamp: Stamp,
    pub(crate) author: NodeId,
}

/// What an update is about. The order keeps all updates of a key together, the head first, keys by their bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) part: Part<'a>,
}

/// Which part of a key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part<'a> {
    Head,
    /// What one author added to a counter.
    Sums(NodeId),
    /// An element of a set.
    Element(&'a [u8]),
}

impl<'a> Subject<'a> {
    pub(crate) const fn head(key: &'a [u8]) -> Self {
        Self { key, part: Part::Head }
    }

    pub(crate) const fn sums(key: &'a [u8], author: NodeId) -> Self {
        Self { key, part: Part::Sums(author) }
    }

    pub(crate) const fn element(key: &'a [u8], element: &'a [u8]) -> Self {
        Self { key, part: Part::Element(element) }
    }

    /// Reads what an update begins with behind its times.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let key = reader.block()?;
        let part = match reader.u8()? {
            TAG_HEAD => Part::Head,
            TAG_SUMS => Part::Sums(NodeId(reader.u64()?)),
            TAG_ELEMENT => Part::Element(reader.block()?),
            _ => return None,
        };
        Some(Self { key, part })
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.put_size(self.key.len());
        to.extend_from_slice(self.key);
        match self.part {
            Part::Head => to.push(TAG_HEAD),
            Part::Sums(author) => {
                to.push(TAG_SUMS);
                to.extend_from_slice(&author.0.to_le_bytes());
            }
            Part::Element(element) => {
                to.push(TAG_ELEMENT);
                to.put_size(element.len());
                to.extend_from_slice(element);
            }
        }
    }

    /// How many bytes it takes at most as it is written.
    pub(crate) fn bytes_max(&self) -> usize {
        let part = match self.part {
            Part::Head => 0,
            Part::Sums(_) => size_of::<u64>(),
            Part::Element(element) => varint_bytes(element.len()) + element.len(),
        };
        varint_bytes(self.key.len()) + self.key.len() + 1 + part
    }

    /// Whether key and element have lawful lengths and the key is text.
    fn is_lawful(&self) -> bool {
        let part = match self.part {
            Part::Head => true,
            Part::Sums(author) => author != NodeId::NONE,
            Part::Element(element) => (1..=ELEMENT_BYTES_MAX).contains(&element.len()),
        };
        part && (1..=KEY_BYTES_MAX).contains(&self.key.len()) && std::str::from_utf8(self.key).is_ok()
    }
}

/// Two sums that only grow: what came and what went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Tally {
    pub(crate) plus: u64,
    pub(crate) minus: u64,
}

impl Tally {
    /// With `amount` more, or `None` where a sum would overflow.
    pub(crate) fn plus(self, amount: i64) -> Option<Self> {
        let size = amount.unsigned_abs();
        Some(if amount < 0 {
            Self { minus: self.minus.checked_add(size)?, ..self }
        } else {
            Self { plus: self.plus.checked_add(size)?, ..self }
        })
    }

    pub(crate) fn value(self) -> i128 {
        i128::from(self.plus) - i128::from(self.minus)
    }

    fn join(self, other: Self) -> Self {
        Self { plus: self.plus.max(other.plus), minus: self.minus.max(other.minus) }
    }
}

/// What one author added to a counter, and how much of that was deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Sums {
    pub(crate) added: Tally,
    /// What deleters had seen: never more than was added.
    pub(crate) cleared: Tally,
    /// When the last deletion is forgotten.
    pub(crate) cleared_until: Seconds,
    /// When the author added last.
    pub(crate) stamp: Stamp,
    /// When the author added for the first time since nothing was known of an earlier sum: sums that were forgotten and those
    /// begun since are never joined; the later count alone.
    pub(crate) epoch: Stamp,
}

impl Sums {
    pub(crate) const NONE: Self = Self {
        added: Tally { plus: 0, minus: 0 },
        cleared: Tally { plus: 0, minus: 0 },
        cleared_until: Seconds(0),
        stamp: Stamp(0),
        epoch: Stamp(0),
    };

    /// Whether nothing is left after deletion.
    pub(crate) fn is_cleared(&self) -> bool {
        self.added == self.cleared
    }

    /// What the author contributes to the counter.
    pub(crate) fn value(&self) -> i128 {
        self.added.value() - self.cleared.value()
    }

    /// When the update leaves the replica: nothing that counts does.
    pub(crate) fn forget(&self) -> Seconds {
        if self.is_cleared() { self.cleared_until } else { Seconds::NEVER }
    }

    /// The least that holds all that either says, of the later epoch.
    pub(crate) fn join(&self, other: &Self) -> Self {
        match self.epoch.cmp(&other.epoch) {
            Ordering::Less => return *other,
            Ordering::Greater => return *self,
            Ordering::Equal => {}
        }
        Self {
            added: self.added.join(other.added),
            cleared: self.cleared.join(other.cleared),
            cleared_until: self.cleared_until.max(other.cleared_until),
            stamp: self.stamp.max(other.stamp),
            epoch: self.epoch,
        }
    }

    /// What its author says of it, alone.
    pub(crate) fn added_half(&self) -> Self {
        let Self { added, stamp, epoch, .. } = *self;
        Self { added, stamp, epoch, ..Self::NONE }
    }

    /// What was cleared of it, alone.
    pub(crate) fn cleared_half(&self) -> Self {
        let Self { cleared, cleared_until, epoch, .. } = *self;
        Self { cleared, cleared_until, epoch, ..Self::NONE }
    }

    /// Whether anybody ever cleared something of it.
    pub(crate) fn has_clear(&self) -> bool {
        self.cleared_half() != Self { epoch: self.epoch, ..Self::NONE }
    }

    /// The join where each half is somebody's word and is taken whole: of each the greater, which includes the other unless
    /// an author or a deleter says things that cannot both be. Then the greater of the two sums holds, to everybody alike.
    pub(crate) fn join_halves(&self, other: &Self) -> Self {
        match self.epoch.cmp(&other.epoch) {
            Ordering::Less => return *other,
            Ordering::Greater => return *self,
            Ordering::Equal => {}
        }
        let by_added = |sums: &&Self| (sums.added.plus, sums.added.minus, sums.stamp);
        let by_cleared = |sums: &&Self| (sums.cleared.plus, sums.cleared.minus, sums.cleared_until);
        let greater = |a: bool| if a { self } else { other };
        let added = greater(by_added(&self) >= by_added(&other));
        let cleared = greater(by_cleared(&self) >= by_cleared(&other));
        let joined = Self { cleared: cleared.cleared, cleared_until: cleared.cleared_until, ..*added };
        if joined.added.join(joined.cleared) == joined.added {
            return joined;
        }
        *greater((by_added(&self), by_cleared(&self)) >= (by_added(&other), by_cleared(&other)))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let added = Tally { plus: reader.varint()?, minus: reader.varint()? };
        let cleared = Tally { plus: reader.varint()?, minus: reader.varint()? };
        let (cleared_until, stamp, epoch) = (Seconds(reader.u32()?), Stamp(reader.u64()?), Stamp(reader.u64()?));
        let sums = Self { added, cleared, cleared_until, stamp, epoch };
        let is_lawful = added.join(cleared) == added && sums.cleared_until != Seconds::NEVER;
        is_lawful.then_some(sums)
    }

    fn write(&self, to: &mut Vec<u8>) {
        for sum in [self.added.plus, self.added.minus, self.cleared.plus, self.cleared.minus] {
            to.put_varint(sum);
        }
        to.extend_from_slice(&self.cleared_until.0.to_le_bytes());
        to.extend_from_slice(&self.stamp.0.to_le_bytes());
        to.extend_from_slice(&self.epoch.0.to_le_bytes());
    }
}

/// What an update says about its subject; the value of a register is the update's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Statement {
    Head { version: Version, kind: Kind, is_deleted: bool },
    Sums(Sums),
    Element { version: Version, is_removed: bool },
}

/// One update of the data space, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Datum<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) statement: Statement,
}

impl<'a> Datum<'a> {
    /// Reads the head of an update behind its times.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let subject = Subject::read(reader)?;
        let statement = match subject.part {
            Part::Head => {
                let version = Version::read(reader)?;
                let flags = reader.u8()?;
                Statement::Head { version, kind: Kind::from_byte(flags & !DELETED)?, is_deleted: flags & DELETED != 0 }
            }
            Part::Sums(_) => Statement::Sums(Sums::read(reader)?),
            Part::Element(_) => {
                let version = Version::read(reader)?;
                let flags = reader.u8()?;
                if flags & !DELETED != 0 {
                    return None;
                }
                Statement::Element { version, is_removed: flags != 0 }
            }
        };
        Some(Self { subject, statement })
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        self.subject.write(to);
        match self.statement {
            Statement::Head { version, kind, is_deleted } => {
                version.write(to);
                to.push(kind as u8 | if is_deleted { DELETED } else { 0 });
            }
            Statement::Sums(sums) => sums.write(to),
            Statement::Element { version, is_removed } => {
                version.write(to);
                to.push(if is_removed { DELETED } else { 0 });
            }
        }
    }

    /// Whether lengths, also that of the value, are lawful, and the times are those that the statement must have: what is deleted is forgotten,
    /// what counts is not, and only a value expires.
    pub(crate) fn is_lawful(&self, expires: Seconds, forget: Seconds, value_bytes: usize) -> bool {
        let expires_alone = expires != forget;
        let times = match self.statement {
            Statement::Head { is_deleted: false, kind: Kind::Register, .. } if expires_alone => expires < forget,
            Statement::Head { is_deleted, .. } => !expires_alone && is_deleted == (forget != Seconds::NEVER),
            Statement::Element { is_removed, .. } => !expires_alone && is_removed == (forget != Seconds::NEVER),
            Statement::Sums(sums) => !expires_alone && forget == sums.forget(),
        };
        times && self.subject.is_lawful() && value_bytes <= self.value_bytes_max()
    }

    /// Only registers have values.
    const fn value_bytes_max(&self) -> usize {
        match self.statement {
            Statement::Head { kind: Kind::Register, is_deleted: false, .. } => VALUE_BYTES_MAX,
            Statement::Head { .. } | Statement::Sums(_) | Statement::Element { .. } => 0,
        }
    }

    /// Whether it only says that something was deleted.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self.statement {
            Statement::Head { is_deleted, .. } => is_deleted,
            Statement::Sums(sums) => sums.is_cleared(),
            Statement::Element { is_removed, .. } => is_removed,
        }
    }

    /// When it was written.
    pub(crate) const fn stamp(&self) -> Stamp {
        match self.statement {
            Statement::Head { version, .. } | Statement::Element { version, .. } => version.stamp,
            Statement::Sums(sums) => sums.stamp,
        }
    }

    /// Who wrote it.
    pub(crate) const fn author(&self) -> NodeId {
        match (self.statement, self.subject.part) {
            (Statement::Head { version, .. } | Statement::Element { version, .. }, _) => version.author,
            (Statement::Sums(_), Part::Sums(author)) => author,
            (Statement::Sums(_), Part::Head | Part::Element(_)) => NodeId::NONE,
        }
    }

    /// The same, deleted as it is: exactly this version, and nothing that was written later. Also when that is
    /// forgotten.
    pub(crate) fn deleted(self, forget: Seconds) -> (Self, Seconds) {
        let (statement, forget) = match self.statement {
            Statement::Head { version, kind, .. } => (Statement::Head { version, kind, is_deleted: true }, forget),
            Statement::Element { version, .. } => (Statement::Element { version, is_removed: true }, forget),
            Statement::Sums(sums) => {
                let cleared_until = sums.cleared_until.max(forget);
                (Statement::Sums(Sums { cleared: sums.added, cleared_until, ..sums }), cleared_until)
            }
        };
        (Self { statement, ..self }, forget)
    }
}

impl Version {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let version = Self { stamp: Stamp(reader.u64()?), author: NodeId(reader.u64()?) };
        (version.author != NodeId::NONE).then_some(version)
    }

    fn write(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.stamp.0.to_le_bytes());
        to.extend_from_slice(&self.author.0.to_le_bytes());
    }
}

/// How one statement stands to another about the same subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It says less.
    Older,
    /// It says the same; where bytes differ nevertheless, ids decide.
    Same,
    /// It says more.
    Newer,
    /// Neither says all that the other does: this does.
    Joined(Sums),
}

/// Compares what `new` says with what is `held` about the same subject.
pub(crate) fn compare(new: &Statement, held: &Statement) -> Standing {
    compare_by(Sums::join, new, held)
}

/// The same of signed statements, where sums are joined by halves.
pub(crate) fn compare_signed(new: &Statement, held: &Statement) -> Standing {
    compare_by(Sums::join_halves, new, held)
}

fn compare_by(join: fn(&Sums, &Sums) -> Sums, new: &Statement, held: &Statement) -> Standing {
    let order = match (new, held) {
        (Statement::Sums(new), Statement::Sums(held)) => {
            let joined = join(new, held);
            return match (joined == *new, joined == *held) {
                (true, true) => Standing::Same,
                (true, false) => Standing::Newer,
                (false, true) => Standing::Older,
                (false, false) => Standing::Joined(joined),
            };
        }
        (Statement::Head { version: a, is_deleted: x, .. }, Statement::Head { version: b, is_deleted: y, .. })
        | (Statement::Element { version: a, is_removed: x }, Statement::Element { version: b, is_removed: y }) => {
            (a, x).cmp(&(b, y))
        }
        (Statement::Sums(_) | Statement::Head { .. } | Statement::Element { .. }, _) => {
            unreachable!("statements about one subject are of one form")
        }
    };
    match order {
        Ordering::Less => Standing::Older,
        Ordering::Equal => Standing::Same,
        Ordering::Greater => Standing::Newer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally() -> impl Strategy<Value = Tally> {
        (0..5_u64, 0..5_u64).prop_map(|(plus, minus)| Tally { plus, minus })
    }

    fn sums() -> impl Strategy<Value = Sums> {
        (tally(), tally(), 0..3_u32, 0..3_u64, 0..2_u64).prop_map(|(a, b, until, stamp, epoch)| Sums {
            added: a.join(b),
            cleared: b,
            cleared_until: Seconds(until),
            stamp: Stamp(stamp),
            epoch: Stamp(epoch),
        })
    }

    fn version() -> impl Strategy<Value = Version> {
        (0..4_u64, 1..4_u64).prop_map(|(stamp, author)| Version { stamp: Stamp(stamp), author: NodeId(author) })
    }

    /// Any two statements about one subject.
    fn statements() -> impl Strategy<Value = [Statement; 3]> {
        let head = (version(), any::<bool>()).prop_map(|(version, is_deleted)| Statement::Head {
            version,
            kind: Kind::Set,
            is_deleted,
        });
        let element =
            (version(), any::<bool>()).prop_map(|(version, is_removed)| Statement::Element { version, is_removed });
        prop_oneof![
            proptest::array::uniform3(head),
            proptest::array::uniform3(element),
            proptest::array::uniform3(sums().prop_map(Statement::Sums)),
        ]
    }

    fn merge(new: Statement, held: Statement) -> Statement {
        match compare(&new, &held) {
            Standing::Older | Standing::Same => held,
            Standing::Newer => new,
            Standing::Joined(sums) => Statement::Sums(sums),
        }
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent([a, b, c] in statements()) {
            prop_assert_eq!(merge(a, b), merge(b, a));
            prop_assert_eq!(merge(merge(a, b), c), merge(a, merge(b, c)));
            prop_assert_eq!(merge(a, a), a);
        }

        #[test]
        fn a_join_reads_back_although_its_parts_came_from_anywhere(a in sums(), b in sums()) {
            let mut bytes = Vec::new();
            let joined = a.join(&b);
            joined.write(&mut bytes);
            prop_assert_eq!(Sums::read(&mut Reader::new(&bytes)), Some(joined));
        }

        #[test]
        fn a_datum_reads_back(key in "[a-zäö]{1,40}", element in proptest::collection::vec(any::<u8>(), 1..40), [a, ..] in statements()) {
            let key = key.as_bytes();
            let subject = match a {
                Statement::Head { .. } => Subject::head(key),
                Statement::Sums(_) => Subject::sums(key, NodeId(7)),
                Statement::Element { .. } => Subject::element(key, &element),
            };
            let datum = Datum { subject, statement: a };
            let mut bytes = Vec::new();
            datum.write(&mut bytes);
            prop_assert_eq!(Datum::read(&mut Reader::new(&bytes)), Some(datum));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            Datum::read(&mut Reader::new(&bytes));
        }

        #[test]
        fn deleting_removes_exactly_what_was_seen([seen, unseen, _] in statements()) {
            let datum = |statement| Datum { subject: Subject::head(b"k"), statement };
            let deleted = datum(seen).deleted(Seconds(9)).0.statement;
            prop_assert!(datum(merge(deleted, seen)).is_tombstone());
            let adds = match (unseen, seen) {
                // What others deleted meanwhile stays deleted.
                (Statement::Sums(unseen), Statement::Sums(seen)) => {
                    unseen.epoch > seen.epoch || unseen.added != seen.added && unseen.cleared == seen.cleared
                }
                _ => true,
            };
            if adds && compare(&unseen, &seen) == Standing::Newer && !datum(unseen).is_tombstone() {
                prop_assert!(!datum(merge(deleted, unseen)).is_tombstone());
            }
        }
    }

    #[test]
    fn a_sum_that_was_forgotten_here_and_not_yet_there_takes_nothing_from_the_next() {
        let tally = |plus| Tally { plus, minus: 0 };
        let old =
            Sums { added: tally(5), cleared: tally(5), cleared_until: Seconds(9), stamp: Stamp(1), epoch: Stamp(1) };
        let new = Sums { added: tally(6), stamp: Stamp(7), epoch: Stamp(7), ..Sums::NONE };
        assert_eq!(old.join(&new).value(), 6);
        assert_eq!(new.join(&old), new);
    }

    #[test]
    fn two_deleters_who_saw_different_sums_clear_what_either_saw() {
        let sums = |plus, cleared| Sums {
            added: Tally { plus, minus: 0 },
            cleared: Tally { plus: cleared, minus: 0 },
            cleared_until: Seconds(5),
            stamp: Stamp(1),
            epoch: Stamp(1),
        };
        // One deleted at 3, the other at 5, and the author has added two more that neither saw.
        let joined = sums(3, 3).join(&sums(5, 5)).join(&Sums { cleared_until: Seconds(0), ..sums(7, 0) });
        assert_eq!(joined.value(), 2);
        assert_eq!(joined.forget(), Seconds::NEVER);
    }
}
