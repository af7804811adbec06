//! Data: a replicated database of registers, counters and sets that every node can read and write.
//!
//! What a key holds is composed, at each read, from the updates about it (`entry`): its head, the sums of each author, the
//! elements. So contents are a function of the updates seen (design §2 rule 4), and replicas that have seen the same are
//! equal. Updates lie in the replica, which compares and spreads them, and in an index by subject, which readers of other
//! threads share ([`Shelf`]); nothing else is kept of a key.

mod changes;
mod draft;
mod entry;
mod index;
mod ordered;
mod parts;
mod shelf;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use changes::{Change, ChangeKind, Holds, Position, PositionError};
pub use entry::{Entry, Revision, Summary, Value};
pub use shelf::{Page, Shelf};
pub use write::{Condition, Edit, Write, Written};

use crate::clock::{Clock, Stamp};
use crate::config::Config;
use crate::credentials::{REVOKED_PREFIX, Revocation, Signer, revocation_key};
use crate::datum::{self, Datum, Standing, Statement, Sums};
pub use crate::datum::{ELEMENT_BYTES_MAX, KEY_BYTES_MAX, Kind, VALUE_BYTES_MAX};
use crate::identity::NodeId;
use crate::limits::Limits;
use crate::replica::{FULL_PAUSE, Replica};
use crate::time::{Seconds, Wall};
use crate::update::{self, Head, Interner, Update, UpdateId, UpdateRef};
use crate::wire::Reader;
use changes::Changes;
pub(crate) use draft::Draft;
pub(crate) use index::Index;

/// What an update takes of `data_bytes_max` beside its bytes, so that a flood of tiny ones finds the cap too.
pub const UPDATE_OVERHEAD: usize = 128;
/// Updates of others are kept up to this many times `data_bytes_max`; then they are refused.
const OVERRUN: usize = 2;
/// The same of deletions: they make room in the end, so they have some of their own.
const OVERRUN_OF_DELETIONS: usize = 2 * OVERRUN;

/// What became of an update that came in.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It says nothing new; its id, if it is held.
    Known(Option<UpdateId>),
    /// It must not be held: its id counts as known for a while.
    Refused,
    /// This is held from now on, in the place of the other: the update, or its join with what was held.
    Kept(Arc<Update>, Option<UpdateId>),
}

/// What ran out.
#[derive(Debug, Default)]
pub(crate) struct Faded {
    /// Updates that left the replica.
    pub(crate) forgotten: Vec<Arc<Update>>,
    /// Updates whose value is dropped: the same without it.
    pub(crate) stripped: Vec<Arc<Update>>,
}

/// A key may have changed.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Touched {
    /// What it held when that was last told.
    before: Option<Summary>,
    /// Whose doing it was; nobody's if a value ran out.
    author: Option<NodeId>,
}

/// The data space of one node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Data {
    replica: Replica,
    /// The same updates by what they are about.
    shelf: Shelf,
    clock: Clock,
    bytes: usize,
    /// Values that will run out.
    expiring: BTreeSet<(Seconds, UpdateId)>,
    changes: Changes,
    /// Keys that may have changed since it was last told.
    touched: BTreeMap<Vec<u8>, Touched>,
    secret: [u8; 16],
    interner: Interner,
    /// Signs what this node writes, where writes are signed.
    signer: Option<Signer>,
}

impl Data {
    pub(crate) fn new(session: u64, secret: [u8; 16], interner: Interner, config: &Config, now: Wall) -> Self {
        Self {
            signer: None,
            replica: Replica::counting_refused(now),
            shelf: Shelf::default(),
            clock: Clock::default(),
            bytes: 0,
            expiring: BTreeSet::new(),
            changes: Changes::new(session, config.watch_changes),
            touched: BTreeMap::new(),
            secret,
            interner,
        }
    }

    /// Has everything signed that is made from now on.
    pub(crate) fn sign_with(&mut self, signer: Signer) {
        self.signer = Some(signer);
    }

    /// Whether an update says more than what is held: only then it is looked at whose word it is.
    pub(crate) fn is_news(&self, update: &UpdateRef<'_>) -> bool {
        let Head::Data(datum) = update.head else { unreachable!("only data are compared as such") };
        let index = self.shelf.read();
        let Some(held) = index.get(&datum.subject) else { return true };
        match self.compare(update, held).0 {
            Standing::Older | Standing::Same => false,
            Standing::Newer | Standing::Joined(_) => true,
        }
    }

    /// The revocations that are held.
    pub(crate) fn revocations(&self) -> Vec<Revocation> {
        let index = self.shelf.read();
        let reserved = index.starting_at(REVOKED_PREFIX);
        let reserved = reserved.take_while(|update| update.subject().key.starts_with(REVOKED_PREFIX));
        reserved.filter_map(|update| Revocation::of(&update.parts())).collect()
    }

    /// The revocation of a member, as the update that it came in.
    pub(crate) fn revocation_of(&self, id: NodeId) -> Option<Arc<Update>> {
        self.shelf.read().get(&datum::Subject::head(&revocation_key(id))).cloned()
    }

    /// Everything that is held.
    pub(crate) fn updates(&self) -> Vec<Arc<Update>> {
        self.shelf.read().iter().cloned().collect()
    }

    /// Takes out what must not be held any more.
    pub(crate) fn expunge(&mut self, update: &Update) {
        let slot = self.replica.slot_of(update.id).expect("index and replica hold the same");
        self.touch(update.subject().key, None);
        self.let_go(update);
        self.shelf.write().remove(&update.subject());
        self.replica.remove(slot);
    }

    /// Sums without what was cleared of them: what is left where the word of whoever cleared it counts no more.
    pub(crate) fn restored(&self, update: &Update) -> Option<Arc<Update>> {
        let datum = update.datum();
        let Statement::Sums(sums) = datum.statement else { return None };
        let datum = Datum { statement: Statement::Sums(sums.added_half()), ..datum };
        let parts = update.parts();
        Some(self.make_beside(Some(&parts), &datum, Seconds::NEVER, Seconds::NEVER, &[]))
    }

    pub(crate) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) const fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Bytes of all updates held, with what each takes beside its own.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// After this was read from a snapshot: the shelf is filled from the replica, and others that read it get it again.
    pub(crate) fn relink(&mut self) {
        let updates: Vec<Arc<Update>> = self.replica.iter().cloned().collect();
        *self.shelf.write() = Index::from(updates);
        self.changes.relink(&self.shelf);
    }

    /// Takes in what an earlier life stored: it changes nothing that anybody watches. What has been forgotten meanwhile is
    /// given back, for its record to be removed.
    pub(crate) fn restore(&mut self, bytes: &[u8], now: Wall) -> Option<Arc<Update>> {
        let update = UpdateRef::read(bytes)?;
        let Head::Data(datum) = update.head else { return None };
        if update.forget <= now.seconds() {
            return Some(self.interner.intern(&update, &self.secret));
        }
        if self.shelf.read().get(&datum.subject).is_none() {
            let update = self.interner.intern(&update, &self.secret);
            self.keep(update);
            self.touched.clear();
        }
        None
    }

    /// Merges an update, another's or this node's own.
    pub(crate) fn take(&mut self, update: &UpdateRef<'_>, config: &Config, now: Wall) -> Taken {
        let Head::Data(datum) = update.head else { unreachable!("only data are merged as such") };
        if let Some(until) = refused_until(update, &datum, config, now) {
            self.replica.refuse(update.id(&self.secret), until.min(update.forget));
            return Taken::Refused;
        }
        let held = self.shelf.read().get(&datum.subject).cloned();
        let standing = held.as_ref().map(|held| self.compare(update, held));
        let update = match standing {
            Some((Standing::Older | Standing::Same, id)) => return Taken::Known(id),
            Some((Standing::Joined(sums), _)) => self.joined(update, &datum, sums),
            Some((Standing::Newer, _)) | None => {
                let times = if datum.is_tombstone() { OVERRUN_OF_DELETIONS } else { OVERRUN };
                let is_full = self.bytes + update.bytes.len() + UPDATE_OVERHEAD > config.data_bytes_max * times
                    && !is_reserved(datum.subject.key);
                if is_full {
                    let until = (now + FULL_PAUSE).seconds();
                    self.replica.refuse(update.id(&self.secret), until.min(update.forget));
                    return Taken::Refused;
                }
                self.interner.intern(update, &self.secret)
            }
        };
        let kept = Arc::clone(&update);
        self.keep(update);
        Taken::Kept(kept, held.map(|held| held.id))
    }

    /// How an update stands to what is held; the id of the latter if they are the same.
    fn compare(&self, update: &UpdateRef<'_>, held: &Update) -> (Standing, Option<UpdateId>) {
        if update.bytes == held.bytes() {
            return (Standing::Same, Some(held.id));
        }
        match update.stands_to(held) {
            Standing::Same => {
                let id = update.id(&self.secret);
                match id.cmp(&held.id) {
                    std::cmp::Ordering::Less => (Standing::Older, None),
                    std::cmp::Ordering::Equal => (Standing::Same, Some(id)),
                    std::cmp::Ordering::Greater => (Standing::Newer, None),
                }
            }
            standing @ (Standing::Older | Standing::Newer | Standing::Joined(_)) => (standing, None),
        }
    }

    fn joined(&self, update: &UpdateRef<'_>, datum: &Datum<'_>, sums: Sums) -> Arc<Update> {
        let datum = Datum { statement: Statement::Sums(sums), ..*datum };
        self.make_beside(Some(update), &datum, sums.forget(), sums.forget(), &[])
    }

    /// An update of this node's making.
    pub(crate) fn make(&self, datum: &Datum<'_>, expires: Seconds, forget: Seconds, value: &[u8]) -> Arc<Update> {
        self.make_beside(None, datum, expires, forget, value)
    }

    /// One that may say again what `other` does, by the word that it carries.
    fn make_beside(
        &self,
        other: Option<&UpdateRef<'_>>,
        datum: &Datum<'_>,
        expires: Seconds,
        forget: Seconds,
        value: &[u8],
    ) -> Arc<Update> {
        let mut bytes = update::data_bytes(datum, expires, forget, value);
        bytes = match (&self.signer, &datum.statement) {
            (None, _) => bytes,
            (Some(signer), Statement::Head { .. } | Statement::Element { .. }) => {
                signer.datum(bytes, value, expires != forget)
            }
            (Some(signer), Statement::Sums(sums)) => {
                let held = self.shelf.read().get(&datum.subject).cloned();
                let sources: Vec<_> = held.iter().map(|held| held.parts()).chain(other.copied()).collect();
                signer.sums(bytes, &datum.subject, sums, &sources)
            }
        };
        let update = UpdateRef::read(&bytes).expect("own updates make sense");
        self.interner.intern(&update, &self.secret)
    }

    /// What is left of an update when exactly this version is deleted, for as long as tombstones are kept.
    pub(crate) fn tombstone_of(&self, update: &Update, forget: Seconds) -> Arc<Update> {
        let (datum, forget) = update.datum().deleted(forget);
        self.make(&datum, forget, forget, &[])
    }

    /// Merges an update of this node's own that is durable now.
    pub(crate) fn take_own(&mut self, update: Arc<Update>) -> Taken {
        let held = self.shelf.read().get(&update.subject()).cloned();
        let standing = held.as_ref().map(|held| update.parts().stands_to(held));
        match standing {
            Some(Standing::Older | Standing::Same | Standing::Joined(_)) => Taken::Known(None),
            Some(Standing::Newer) | None => {
                self.keep(Arc::clone(&update));
                Taken::Kept(update, held.map(|held| held.id))
            }
        }
    }

    /// Puts an update into the place of what it supersedes.
    fn keep(&mut self, update: Arc<Update>) {
        let parts = update.parts();
        let Head::Data(datum) = parts.head else { unreachable!("only data are kept here") };
        self.clock.hear(datum.stamp());
        self.touch(datum.subject.key, Some(datum.author()));
        if parts.expires != parts.forget && !parts.is_stripped() {
            self.expiring.insert((parts.expires, update.id));
        }
        self.bytes += size(&update);
        let held = self.shelf.write().put(Arc::clone(&update));
        if let Some(held) = held {
            self.let_go(&held);
            let slot = self.replica.slot_of(held.id).expect("index and replica hold the same");
            self.replica.replace(slot, Arc::clone(&update));
        } else {
            self.replica.insert(Arc::clone(&update));
        }
    }

    /// A key is about to change, perhaps.
    fn touch(&mut self, key: &[u8], author: Option<NodeId>) {
        if let Some(touched) = self.touched.get_mut(key) {
            touched.author = author;
            return;
        }
        // A value that runs out counts until that is told.
        let before = self.shelf.read().summary(key, Seconds(0));
        self.touched.insert(key.to_vec(), Touched { before, author });
    }

    /// What is no longer held takes no room and does not run out.
    fn let_go(&mut self, held: &Update) {
        self.bytes -= size(held);
        let parts = held.parts();
        if parts.expires != parts.forget {
            self.expiring.remove(&(parts.expires, held.id));
        }
    }

    /// Lets values and updates go whose time has come.
    pub(crate) fn fade(&mut self, now: Wall) -> Faded {
        let mut faded = Faded::default();
        let slots = self.replica.advance(now);
        let forgotten: Vec<Arc<Update>> = slots.into_iter().map(|slot| Arc::clone(self.replica.at(slot))).collect();
        for update in forgotten {
            // Also where the node stood still while a value ran out, and where the kind written last was known by this alone.
            self.touch(update.subject().key, None);
            self.let_go(&update);
            self.shelf.write().remove(&update.subject());
            let slot = self.replica.slot_of(update.id).expect("index and replica hold the same");
            self.replica.remove(slot);
            faded.forgotten.push(update);
        }
        while let Some((expires, id)) = self.expiring.first().copied()
            && expires <= now.seconds()
        {
            self.expiring.pop_first();
            faded.stripped.extend(self.strip(id));
        }
        faded
    }

    /// Drops a value that has run out; what is left is a tombstone with the same id.
    fn strip(&mut self, id: UpdateId) -> Option<Arc<Update>> {
        let slot = self.replica.slot_of(id).expect("only what is held runs out");
        let held = Arc::clone(self.replica.at(slot));
        self.touch(held.subject().key, None);
        let bytes = held.parts().stripped(&self.secret)?;
        let update = UpdateRef::read(&bytes).expect("made from an update that made sense");
        let stripped = Arc::new(Update::new(&update, &self.secret));
        self.bytes = self.bytes - size(&held) + size(&stripped);
        self.replica.swap(slot, Arc::clone(&stripped));
        self.shelf.write().put(Arc::clone(&stripped));
        Some(stripped)
    }

    /// The next stamp of this node's own.
    pub(crate) fn tick(&mut self, now: Wall) -> Stamp {
        self.clock.tick(now)
    }

    /// Whether there is anything to tell those who watch.
    pub(crate) fn has_changed(&self) -> bool {
        !self.touched.is_empty()
    }

    /// What changed since this was last asked, for those who watch.
    pub(crate) fn settle_changes(&mut self, now: Wall) -> Vec<Arc<Change>> {
        let touched = std::mem::take(&mut self.touched);
        let shelf = self.shelf.clone();
        let index = shelf.read();
        let mut told = Vec::with_capacity(touched.len());
        for (key, Touched { before, author }) in touched {
            if is_reserved(&key) {
                continue;
            }
            let after = index.summary(&key, now.seconds());
            if after == before {
                // What came is hidden, or adds nothing to what was known.
                continue;
            }
            let Some(kind) = after.as_ref().or(before.as_ref()).map(|summary| summary.kind) else { continue };
            let holds = match after {
                None => Holds::Nothing,
                Some(Summary { kind: Kind::Set, .. }) if index.is_large(&key) => Holds::Large(shelf.clone(), now),
                Some(summary @ Summary { sum: Some(sum), .. }) => {
                    Holds::Entry(summary.into_entry(&key, Value::Counter(sum)))
                }
                Some(_) => entry::of_key(&index, &key, now.seconds()).map_or(Holds::Nothing, Holds::Entry),
            };
            told.push(self.changes.note(key, author, kind, holds));
        }
        told
    }

    /// Updates after the subject of a record, or from the first on, in the order of their subjects: about `bytes`.
    pub(crate) fn after(&self, record: &[u8], bytes: usize) -> Vec<Arc<Update>> {
        let start =
            record.strip_prefix(RECORD_PREFIX).and_then(|subject| datum::Subject::read(&mut Reader::new(subject)));
        let start = start.unwrap_or(datum::Subject::head(&[]));
        let index = self.shelf.read();
        let mut taken = 0;
        let updates = index.after(&start);
        let fits = |update: &&Arc<Update>| {
            let had_room = taken < bytes;
            taken += update.bytes().len();
            had_room
        };
        updates.take_while(fits).cloned().collect()
    }

    /// The key under which the driver keeps the update about a subject.
    pub(crate) fn record_key(subject: &datum::Subject<'_>) -> Vec<u8> {
        let mut key = Vec::with_capacity(RECORD_PREFIX.len() + subject.bytes_max());
        key.extend_from_slice(RECORD_PREFIX);
        subject.write(&mut key);
        key
    }

    /// What the key of a record says that it is about.
    pub(crate) fn subject_of(key: &[u8]) -> Option<datum::Subject<'_>> {
        datum::Subject::read(&mut Reader::new(key.strip_prefix(RECORD_PREFIX)?))
    }

    /// What is bounded here.
    pub(crate) fn limits(&self, config: &Config, to: &mut Limits) {
        // Updates are paid for in bytes, those that expire and the keys just touched among them.
        let Self {
            replica,
            shelf: _,
            clock,
            bytes,
            expiring: _,
            changes,
            touched: _,
            secret: _,
            interner: _,
            signer: _,
        } = self;
        to.bytes("data", *bytes, config.data_bytes_max * OVERRUN_OF_DELETIONS);
        replica.limits("refused_data", to);
        clock.limits(to);
        changes.limits(to);
    }
}

/// What the keys of all records of this space begin with.
pub(crate) const RECORD_PREFIX: &[u8] = b"data/";

/// Whether a key is none of an application's.
pub(crate) fn is_reserved(key: &[u8]) -> bool {
    key.starts_with(REVOKED_PREFIX)
}

fn size(update: &Update) -> usize {
    update.bytes().len() + UPDATE_OVERHEAD
}

/// Until when an update must not be held: from a clock too far ahead, without its value long before that runs out, or a
/// deletion to be remembered for longer than deletions are.
fn refused_until(update: &UpdateRef<'_>, datum: &Datum<'_>, config: &Config, now: Wall) -> Option<Seconds> {
    let limit = now + config.clock_skew_max;
    let written = datum.stamp().wall();
    if written > limit {
        let skew = u64::try_from(config.clock_skew_max.as_micros()).unwrap_or(0);
        let acceptable = Wall::from_micros(written.as_micros().saturating_sub(skew));
        return Some(acceptable.seconds().after());
    }
    let is_late = datum.is_tombstone() && update.forget > limit.seconds().plus(config.tombstone_ttl);
    (is_late || update.is_stripped() && update.expires > limit.seconds()).then(|| (now + FULL_PAUSE).seconds())
}

#[cfg(test)]
mod tests;
