//! A node's copy of one space: its updates, and what it takes to compare them with a peer's.
//!
//! Updates lie in dense slots. Beside them a replica keeps, incrementally, a sketch (the first symbols of the
//! rateless table), the root, and a ring of the last changes, so that serving a comparison costs no scan
//! (design §2 Pull).
//!
//! **Counted** are the updates that are forgotten later than `as_of`, a moment rounded up to ten seconds: two
//! replicas that name the same moment count the same updates although their clocks differ (design §2 rule 3).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::limits::Limits;
use crate::sketch::{self, Decoded, Sketch, Symbol};
use crate::slots::{Slot, SlotIndex, reserve_one};
use crate::time::{Seconds, Wall};
use crate::update::{Update, UpdateId};

/// How far a sketch's moment is rounded up.
const AS_OF_STEP: u32 = 10;
/// Changes that are remembered; an exchange that lasts longer starts again.
const RING_CHANGES: usize = 2_048;
/// The shortest prefix that is kept up to date.
const KEPT_SYMBOLS_MIN: usize = 8;
/// The longest prefix that is kept up to date.
const KEPT_SYMBOLS_MAX: usize = 1_024;
/// Ids of updates that are gone are remembered for this long, for a peer whose clock is behind.
const GONE_SECONDS: u32 = 60;
/// How long an update for which there is no room counts as known: then it may come again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_mins(1);
/// The most ids of refused updates; beyond it the node is degraded until they run out.
const REFUSED_MAX: usize = 4_096;

/// What is large of a replica.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct Contents {
    updates: Vec<Arc<Update>>,
    /// By short id.
    by_id: SlotIndex,
    sketch: Sketch,
    /// The last changes: inserted or removed, an id counts the same.
    ring: VecDeque<UpdateId>,
}

impl Contents {
    fn with_symbols(symbols: usize) -> Arc<Self> {
        let (updates, by_id, ring) = Default::default();
        Arc::new(Self { updates, by_id, sketch: Sketch::new(symbols), ring })
    }
}

/// Nothing: shared by all replicas that hold nothing yet, as two of the three of most nodes in a laboratory do.
static EMPTY: LazyLock<Arc<Contents>> = LazyLock::new(|| Contents::with_symbols(KEPT_SYMBOLS_MIN));
/// The same with a sketch that is never used.
static EMPTY_PRIVATE: LazyLock<Arc<Contents>> = LazyLock::new(|| Contents::with_symbols(1));

/// One space of one node. Copies share the contents until one of them changes.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Replica {
    contents: Arc<Contents>,
    root: u64,
    as_of: Seconds,
    /// Changes since the start.
    changes: u64,
    /// Updates that will be forgotten, and for a while those that were.
    fading: BTreeSet<(Seconds, UpdateId)>,
    /// Updates that this node must not hold but knows of (design §2 rule 4), until when.
    refused: BTreeMap<UpdateId, Seconds>,
    /// Whether these count as if they were held, so that those who hold them find no difference.
    counts_refused: bool,
    refused_overflow: bool,
    /// Whether peers compare theirs with it: else it keeps neither sketch nor ring, and its root is none.
    is_compared: bool,
}

/// What a comparison found.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// What only this side has, and the ids that only the other side has.
    Found { ours: Vec<Arc<Update>>, theirs: Vec<UpdateId> },
    /// More symbols are needed; so many ids came out of these.
    Incomplete { found: usize },
    /// These symbols cannot come from an honest sketch.
    Hostile,
}

impl Replica {
    pub(crate) fn new(now: Wall) -> Self {
        Self {
            contents: Arc::clone(&EMPTY),
            root: 0,
            as_of: as_of(now),
            changes: 0,
            fading: BTreeSet::new(),
            refused: BTreeMap::new(),
            counts_refused: false,
            refused_overflow: false,
            is_compared: true,
        }
    }

    /// One that is this node's alone: nobody else holds the same.
    pub(crate) fn private(now: Wall) -> Self {
        Self { is_compared: false, contents: Arc::clone(&EMPTY_PRIVATE), ..Self::new(now) }
    }

    /// One that counts what it refused as if it held it.
    pub(crate) fn counting_refused(now: Wall) -> Self {
        Self { counts_refused: true, ..Self::new(now) }
    }

    pub(crate) fn at(&self, slot: Slot) -> &Arc<Update> {
        &self.contents.updates[slot as usize]
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<Update>> {
        self.contents.updates.iter()
    }

    pub(crate) fn slot_of(&self, id: UpdateId) -> Option<Slot> {
        self.contents.by_id.candidates(id.short()).find(|slot| self.contents.updates[*slot as usize].id == id)
    }

    pub(crate) fn get(&self, id: UpdateId) -> Option<&Arc<Update>> {
        self.slot_of(id).map(|slot| self.at(slot))
    }

    /// The updates with that short id: one, hardly ever more.
    pub(crate) fn named(&self, short: u64) -> impl Iterator<Item = &Arc<Update>> {
        self.contents.by_id.candidates(short).map(|slot| self.at(slot)).filter(move |update| update.id.short() == short)
    }

    /// The xor of all counted ids.
    pub(crate) const fn root(&self) -> u64 {
        self.root
    }

    /// Since when updates count, and how many do.
    pub(crate) fn counted(&self) -> (Seconds, u32) {
        (self.as_of, u32::try_from(self.contents.sketch.count()).unwrap_or(u32::MAX))
    }

    /// The number of the last change, which a sketch that starts now is as of.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether so much was refused that this replica may differ from others.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.refused_overflow
    }

    pub(crate) fn insert(&mut self, update: Arc<Update>) -> Slot {
        // In a large replica this look costs more than everything else here.
        debug_assert!(self.slot_of(update.id).is_none(), "an update is inserted once");
        let slot = Slot::try_from(self.contents.updates.len()).expect("fewer than 2^32 updates");
        self.readmit(update.id);
        self.note_arrival(&update);
        let Contents { updates, by_id, .. } = Arc::make_mut(&mut self.contents);
        by_id.insert(update.id.short(), slot, |slot| updates[slot as usize].id.short());
        reserve_one(updates);
        updates.push(update);
        self.grow_sketch();
        slot
    }

    /// Puts a newer update into the slot of the one that it supersedes.
    pub(crate) fn replace(&mut self, slot: Slot, update: Arc<Update>) {
        let old = Arc::clone(self.at(slot));
        assert_ne!(old.id, update.id, "an update does not supersede itself");
        self.note_departure(&old);
        self.readmit(update.id);
        self.note_arrival(&update);
        let Contents { updates, by_id, .. } = Arc::make_mut(&mut self.contents);
        by_id.remove(old.id.short(), slot, |slot| updates[slot as usize].id.short());
        by_id.insert(update.id.short(), slot, |slot| updates[slot as usize].id.short());
        updates[slot as usize] = update;
    }

    /// Puts another form of the same update into its slot.
    pub(crate) fn swap(&mut self, slot: Slot, update: Arc<Update>) {
        assert_eq!(self.at(slot).id, update.id, "it is the same update");
        Arc::make_mut(&mut self.contents).updates[slot as usize] = update;
    }

    /// Takes an update out; the last slot moves into its place. Returns that slot's old number if it moved.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Slot> {
        let old = Arc::clone(self.at(slot));
        let last = Slot::try_from(self.contents.updates.len() - 1).expect("fewer than 2^32 updates");
        self.note_departure(&old);
        let Contents { updates, by_id, .. } = Arc::make_mut(&mut self.contents);
        by_id.remove(old.id.short(), slot, |slot| updates[slot as usize].id.short());
        if slot != last {
            by_id.moved(updates[last as usize].id.short(), last, slot);
        }
        updates.swap_remove(slot as usize);
        (slot != last).then_some(last)
    }

    /// Moves on to the time `now`: what is forgotten soon no longer counts. Returns the updates that are to be
    /// removed because their time has come.
    pub(crate) fn advance(&mut self, now: Wall) -> Vec<Slot> {
        let seconds = now.seconds();
        let target = as_of(now);
        if target > self.as_of {
            let fading: Vec<_> =
                self.fading.range((self.as_of.after(), UpdateId(0))..(target.after(), UpdateId(0))).copied().collect();
            for (_, id) in fading {
                if self.get(id).is_some() {
                    self.toggle(id, false);
                }
            }
            self.as_of = target;
        }
        let over = self.fading.range(..(seconds.after(), UpdateId(0)));
        let slots = over.filter_map(|(_, id)| self.slot_of(*id)).collect();
        let gone = Seconds(seconds.0.saturating_sub(GONE_SECONDS));
        drop_before(&mut self.fading, gone);
        let over: Vec<UpdateId> =
            self.refused.iter().filter(|(_, until)| **until <= seconds).map(|(id, _)| *id).collect();
        for id in over {
            self.readmit(id);
        }
        self.refused_overflow &= !self.refused.is_empty();
        slots
    }

    /// Remembers an update that must not be held, so that comparisons do not fetch it again and again.
    pub(crate) fn refuse(&mut self, id: UpdateId, until: Seconds) {
        if self.refused.contains_key(&id) || self.refused.len() < REFUSED_MAX {
            let is_new = self.refused.insert(id, until).is_none();
            if is_new && self.counts_refused {
                self.toggle(id, true);
            }
        } else {
            self.refused_overflow = true;
        }
    }

    /// An update may be held again.
    fn readmit(&mut self, id: UpdateId) {
        if self.refused.remove(&id).is_some() && self.counts_refused {
            self.toggle(id, false);
        }
    }

    /// Whether the sketch can still be told as it was at change number `change`.
    pub(crate) fn remembers(&self, change: u64) -> bool {
        usize::try_from(self.changes - change).is_ok_and(|since| since <= self.contents.ring.len())
    }

    /// Symbols `from..to` of the sketch as it was at change number `change`, or `None` if that is too long ago.
    pub(crate) fn symbols(&self, from: usize, to: usize, change: u64) -> Option<Cow<'_, [Symbol]>> {
        assert!(from <= to && change <= self.changes);
        let since = usize::try_from(self.changes - change).ok()?;
        let kept = self.contents.ring.len().checked_sub(since)?;
        let mut symbols = match self.contents.sketch.symbols().get(from..to) {
            Some(kept) => Cow::Borrowed(kept),
            None => Cow::Owned(self.prefix(to).split_off(from)),
        };
        for id in self.contents.ring.range(kept..) {
            sketch::toggle(symbols.to_mut(), from, id.0);
        }
        Some(symbols)
    }

    /// Compares a peer's symbols, as received, with this replica as it is now. `as_of` is the peer's.
    pub(crate) fn compare(&self, received: &[Symbol], as_of: Seconds) -> Comparison {
        if as_of == self.as_of
            && !received.is_empty()
            && self.contents.sketch.symbols().get(..received.len()) == Some(received)
        {
            // As it is most of the time in a quiet cluster.
            return Comparison::Found { ours: Vec::new(), theirs: Vec::new() };
        }
        let mut difference = self.prefix(received.len());
        let (low, high) = (as_of.min(self.as_of), as_of.max(self.as_of));
        for (_, id) in self.fading.range((low.after(), UpdateId(0))..(high.after(), UpdateId(0))) {
            sketch::toggle(&mut difference, 0, id.0);
        }
        for (own, theirs) in difference.iter_mut().zip(received) {
            *own ^= *theirs;
        }
        match sketch::decode(difference) {
            Decoded::Complete(ids) => self.sort_out(&ids),
            Decoded::Incomplete { found } => Comparison::Incomplete { found },
            Decoded::Hostile => Comparison::Hostile,
        }
    }

    fn sort_out(&self, ids: &[u64]) -> Comparison {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for id in ids.iter().copied().map(UpdateId) {
            match self.get(id) {
                Some(update) => ours.push(Arc::clone(update)),
                None if self.is_refused(id) => {}
                None => theirs.push(id),
            }
        }
        Comparison::Found { ours, theirs }
    }

    /// Whether an update was refused and still counts as known.
    pub(crate) fn is_refused(&self, id: UpdateId) -> bool {
        self.refused.contains_key(&id)
    }

    /// The first `len` symbols as of now: kept up to date to a length, built by a scan beyond it.
    fn prefix(&self, len: usize) -> Vec<Symbol> {
        if let Some(kept) = self.contents.sketch.symbols().get(..len) {
            return kept.to_vec();
        }
        Sketch::grown(len, self.counted_ids()).symbols().to_vec()
    }

    fn counted_ids(&self) -> impl Iterator<Item = u64> {
        let held = self.contents.updates.iter().filter(|update| self.counts(update)).map(|update| update.id.0);
        let refused = self.refused.keys().filter(|_| self.counts_refused).map(|id| id.0);
        held.chain(refused)
    }

    fn counts(&self, update: &Update) -> bool {
        update.forget() > self.as_of
    }

    fn note_arrival(&mut self, update: &Update) {
        if update.forget() != Seconds::NEVER {
            self.fading.insert((update.forget(), update.id));
        }
        if self.counts(update) {
            self.toggle(update.id, true);
        }
    }

    fn note_departure(&mut self, update: &Update) {
        if self.counts(update) {
            // Superseded before its time: it must not be taken for one that faded away.
            self.fading.remove(&(update.forget(), update.id));
            self.toggle(update.id, false);
        }
    }

    fn toggle(&mut self, id: UpdateId, arrives: bool) {
        if !self.is_compared {
            return;
        }
        let Contents { sketch, ring, .. } = Arc::make_mut(&mut self.contents);
        if arrives {
            sketch.insert(id.0);
        } else {
            sketch.remove(id.0);
        }
        self.root ^= id.0;
        self.changes += 1;
        if ring.len() == RING_CHANGES {
            ring.pop_front();
        }
        ring.push_back(id);
    }

    fn grow_sketch(&mut self) {
        let kept = self.contents.sketch.symbols().len();
        if self.is_compared && self.contents.updates.len() * 2 > kept && kept < KEPT_SYMBOLS_MAX {
            let grown = Sketch::grown(kept * 2, self.counted_ids());
            Arc::make_mut(&mut self.contents).sketch = grown;
        }
    }

    /// What is bounded here; `refused` is how the refused updates of this replica are called. Whoever owns it bounds its contents.
    pub(crate) fn limits(&self, refused: &'static str, to: &mut Limits) {
        // What fades is held, or was within a minute.
        let Self {
            contents: _,
            root: _,
            as_of: _,
            changes: _,
            fading: _,
            refused: ids,
            counts_refused: _,
            refused_overflow: _,
            is_compared: _,
        } = self;
        to.entries(refused, ids.len(), REFUSED_MAX);
    }
}

/// Lets entries go that are older than `until`.
fn drop_before(entries: &mut BTreeSet<(Seconds, UpdateId)>, until: Seconds) {
    if entries.first().is_some_and(|(oldest, _)| *oldest < until) {
        *entries = entries.split_off(&(until, UpdateId(0)));
    }
}

/// The moment that a sketch made now is as of.
fn as_of(now: Wall) -> Seconds {
    now.seconds().rounded_up(AS_OF_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{NodeId, Sequence};
    use crate::update::{MessageBody, UpdateRef, message_bytes};

    fn update(origin: u64, count: u32, forget: u32) -> Arc<Update> {
        let sequence = Sequence::new(1, count);
        let bytes = message_bytes(NodeId(origin), sequence, "t", Seconds(forget), &MessageBody::test(b""));
        Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    }

    fn at(second: u64) -> Wall {
        Wall::from_micros(second * 1_000_000)
    }

    fn filled(updates: impl Iterator<Item = Arc<Update>>) -> Replica {
        let mut replica = Replica::new(at(0));
        for update in updates {
            replica.insert(update);
        }
        replica
    }

    fn found(comparison: Comparison) -> (usize, usize) {
        match comparison {
            Comparison::Found { ours, theirs } => (ours.len(), theirs.len()),
            Comparison::Incomplete { .. } | Comparison::Hostile => panic!("{comparison:?}"),
        }
    }

    #[test]
    fn two_replicas_find_what_each_lacks_while_both_take_a_thousand_updates_a_second() {
        // 40 differences; the batches of one sketch lie 20 ms apart, in which each side takes 20 more updates.
        let mut ours = filled((1..=2_000).map(|count| update(1, count, 900)));
        let mut theirs = filled((1..=1_980).chain(5_000..5_020).map(|count| update(1, count, 900)));
        let (change, (as_of, count)) = (ours.changes(), ours.counted());
        assert_eq!(count, 2_000);
        let mut received: Vec<Symbol> = Vec::new();
        let mut fresh = 0;
        let (mine, lacking) = loop {
            let from = received.len();
            received.extend_from_slice(&ours.symbols(from, from + 32, change).expect("the ring reaches that far back"));
            if let Comparison::Found { ours, theirs } = theirs.compare(&received, as_of) {
                break (ours.len(), theirs.len());
            }
            for _ in 0..20 {
                fresh += 1;
                ours.insert(update(2, fresh, 900));
                theirs.insert(update(3, fresh, 900));
            }
            assert!(received.len() < 1_000, "it decodes although both sides change");
        };
        // What the asker took since it began is not in its sketch; what the answerer took is.
        assert_eq!((mine, lacking), (20 + fresh as usize, 20));
        let differences = mine + lacking;
        assert!(received.len() <= differences * 2 + 32, "{} symbols for {differences}", received.len());
    }

    #[test]
    fn without_taking_changes_out_the_same_exchange_would_not_decode() {
        let mut ours = filled((1..=2_000).map(|count| update(1, count, 900)));
        let theirs = filled((1..=1_980).map(|count| update(1, count, 900)));
        let (change, (as_of, _)) = (ours.changes(), ours.counted());
        let mut received = ours.symbols(0, 32, change).unwrap().into_owned();
        for count in 1..=20 {
            ours.insert(update(2, count, 900));
        }
        let spoilt = [received.as_slice(), &ours.symbols(32, 96, ours.changes()).unwrap()].concat();
        received.extend_from_slice(&ours.symbols(32, 96, change).unwrap());
        assert_eq!(found(theirs.compare(&received, as_of)), (0, 20));
        assert!(!matches!(theirs.compare(&spoilt, as_of), Comparison::Found { .. }));
    }

    #[test]
    fn what_fades_counts_on_neither_side_although_their_clocks_differ() {
        let updates = || (1..=50).map(|count| update(1, count, 100 + count));
        let (mut early, mut late) = (filled(updates()), filled(updates()));
        early.advance(at(118));
        for slot in late.advance(at(132)).into_iter().rev() {
            late.remove(slot);
        }
        for (asker, answerer) in [(&early, &late), (&late, &early)] {
            let (as_of, _) = asker.counted();
            let symbols = asker.symbols(0, 16, asker.changes()).unwrap();
            assert_eq!(found(answerer.compare(&symbols, as_of)), (0, 0));
        }
    }

    #[test]
    fn an_update_that_was_refused_is_not_asked_for_until_its_time_has_come() {
        let (mut ours, theirs) =
            (filled((1..=3).map(|n| update(1, n, 900))), filled((1..=4).map(|n| update(1, n, 900))));
        let refused = update(1, 4, 900);
        ours.refuse(refused.id, Seconds(50));
        let (as_of, _) = theirs.counted();
        let symbols = theirs.symbols(0, 8, theirs.changes()).unwrap();
        assert_eq!(found(ours.compare(&symbols, as_of)), (0, 0));
        ours.advance(at(60));
        let mut theirs = theirs;
        theirs.advance(at(60));
        let (as_of, symbols) = (theirs.counted().0, theirs.symbols(0, 8, theirs.changes()).unwrap());
        assert_eq!(found(ours.compare(&symbols, as_of)), (0, 1));
    }

    #[test]
    fn the_root_is_the_same_whatever_way_led_there() {
        let (a, b, c) = (update(1, 1, 900), update(1, 2, 900), update(1, 3, 900));
        let direct = filled([a.clone(), c.clone()].into_iter());
        let mut detour = filled([c, b.clone()].into_iter());
        let slot = detour.slot_of(b.id).unwrap();
        detour.replace(slot, a);
        assert_eq!(direct.root(), detour.root());
        assert_eq!(direct.contents.sketch.symbols(), detour.contents.sketch.symbols());
    }
}
