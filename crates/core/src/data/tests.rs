//! Whole replicas: whatever comes, in whatever order and however often, those who have seen the same hold the same. And the
//! types beside those of the `crdts` crate, where both mean the same.

use std::collections::BTreeMap;

use crdts::{CmRDT, CvRDT, LWWReg, Orswot, PNCounter};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::clock::Stamp;
use crate::datum::{Part, Subject, Tally, Version};

/// The time of day in all that follows, in seconds.
const NOW: u32 = 1_000_000;

fn at(second: u32) -> Wall {
    Wall::from_micros(u64::from(second) * 1_000_000)
}

fn replica() -> Data {
    Data::new(1, [7; 16], Interner::default(), &Config::default(), at(NOW))
}

/// Versions shortly before now, few enough that two often meet.
fn version() -> impl Strategy<Value = Version> {
    (0..6_u64, 1..4_u64)
        .prop_map(|(n, author)| Version { stamp: Stamp(Stamp::of(at(NOW - 1)).0 + n), author: NodeId(author) })
}

fn forget() -> impl Strategy<Value = Seconds> {
    (1..4_u32).prop_map(|n| Seconds(NOW + 20 * n))
}

/// A head: deleted, of some kind, or with a value that may run out.
fn head() -> impl Strategy<Value = (Part<'static>, Statement, Seconds, Seconds, Vec<u8>)> {
    let kind = prop_oneof![Just(Kind::Register), Just(Kind::Counter), Just(Kind::Set)];
    (version(), kind, 0..3_u8, forget(), vec(any::<u8>(), 0..40)).prop_map(|(version, kind, state, forget, value)| {
        let never = Seconds::NEVER;
        let head = |is_deleted| Statement::Head { version, kind, is_deleted };
        match (state, kind) {
            (0, _) => (Part::Head, head(true), forget, forget, Vec::new()),
            (1, Kind::Register) => (Part::Head, head(false), Seconds(forget.0 - 10), forget, value),
            (_, Kind::Register) => (Part::Head, head(false), never, never, value),
            (_, Kind::Counter | Kind::Set) => (Part::Head, head(false), never, never, Vec::new()),
        }
    })
}

fn element() -> impl Strategy<Value = (Part<'static>, Statement, Seconds, Seconds, Vec<u8>)> {
    (version(), 0..2_usize, any::<bool>(), forget()).prop_map(|(version, place, is_removed, forget)| {
        let part = Part::Element(["a", "b"][place].as_bytes());
        let forget = if is_removed { forget } else { Seconds::NEVER };
        (part, Statement::Element { version, is_removed }, forget, forget, Vec::new())
    })
}

fn sums() -> impl Strategy<Value = (Part<'static>, Statement, Seconds, Seconds, Vec<u8>)> {
    let tally = || (0..4_u64, 0..4_u64).prop_map(|(plus, minus)| Tally { plus, minus });
    (1..4_u64, tally(), tally(), 0..2_u64, forget()).prop_map(|(author, added, cleared, epoch, until)| {
        let stamp = Stamp(Stamp::of(at(NOW - 1)).0 + added.plus + added.minus);
        let added = Tally { plus: added.plus.max(cleared.plus), minus: added.minus.max(cleared.minus) };
        let cleared_until = if cleared == Tally::default() { Seconds(0) } else { until };
        let sums = Sums { added, cleared, cleared_until, stamp, epoch: Stamp(epoch) };
        (Part::Sums(NodeId(author)), Statement::Sums(sums), sums.forget(), sums.forget(), Vec::new())
    })
}

/// Any update about one of two keys.
fn update() -> impl Strategy<Value = Vec<u8>> {
    (0..2_usize, prop_oneof![head(), element(), sums()]).prop_map(|(key, (part, statement, expires, forget, value))| {
        let subject = Subject { key: ["k", "l"][key].as_bytes(), part };
        update::data_bytes(&Datum { subject, statement }, expires, forget, &value)
    })
}

fn take(data: &mut Data, bytes: &[u8]) {
    if let Some(update) = UpdateRef::read(bytes).filter(|update| update.forget > Seconds(NOW)) {
        data.take(&update, &Config::default(), at(NOW));
    }
}

/// All that can be told of what a replica holds.
fn state(data: &Data, now: Wall) -> (Vec<Vec<u8>>, u64, usize, Vec<Option<Entry>>) {
    let entries = ["k", "l"].map(|key| data.shelf().get(key, now));
    (data.shelf().contents(), data.replica().root(), data.bytes(), entries.into())
}

proptest! {
    #[test]
    fn who_has_seen_the_same_holds_the_same(
        (updates, again) in vec(update(), 0..24).prop_flat_map(|updates| {
            let again = vec(prop::sample::select([vec![Vec::new()], updates.clone()].concat()), 0..12);
            (Just(updates), again)
        }),
        seed: u64,
    ) {
        let [mut a, mut b] = [replica(), replica()];
        for bytes in &updates {
            prop_assert!(UpdateRef::read(bytes).is_some(), "{bytes:?}");
            take(&mut a, bytes);
        }
        let mut shuffled = [updates, again].concat();
        crate::rng::Rng::new(seed).shuffle(&mut shuffled);
        for bytes in &shuffled {
            take(&mut b, bytes);
        }
        // As well as later, when one value after the other runs out and one update after the other is forgotten.
        for second in (NOW..NOW + 100).step_by(10) {
            a.fade(at(second));
            b.fade(at(second));
            prop_assert_eq!(state(&a, at(second)), state(&b, at(second)), "{} s later", second - NOW);
        }
    }

    #[test]
    fn who_takes_what_another_holds_holds_all_that_either_held(mine in vec(update(), 0..12), theirs in vec(update(), 0..12)) {
        let [mut a, mut b, mut all] = [replica(), replica(), replica()];
        for bytes in &mine {
            take(&mut a, bytes);
        }
        for bytes in &theirs {
            take(&mut b, bytes);
        }
        for bytes in mine.iter().chain(&theirs) {
            take(&mut all, bytes);
        }
        let (of_a, of_b) = (a.shelf().contents(), b.shelf().contents());
        for bytes in &of_b {
            take(&mut a, bytes);
        }
        for bytes in &of_a {
            take(&mut b, bytes);
        }
        prop_assert_eq!(state(&a, at(NOW)), state(&all, at(NOW)));
        prop_assert_eq!(state(&b, at(NOW)), state(&all, at(NOW)));
    }
}

/// What one of three replicas does, or which other it takes all from.
#[derive(Clone, Debug)]
enum Step {
    Write(usize, Edit),
    Take(usize, usize),
}

const REPLICAS: usize = 3;

fn steps(edit: impl Strategy<Value = Edit>) -> impl Strategy<Value = Vec<Step>> {
    let take = (0..REPLICAS, 1..REPLICAS).prop_map(|(to, by)| Step::Take(to, (to + by) % REPLICAS));
    vec(prop_oneof![(0..REPLICAS, edit).prop_map(|(at, edit)| Step::Write(at, edit)), take], 1..30)
}

/// Three replicas of one key, whose clocks go on by a millisecond with each write.
struct Three {
    data: [Data; REPLICAS],
    millis: u64,
}

const KEY: &str = "k";

impl Three {
    fn new() -> Self {
        Self { data: [replica(), replica(), replica()], millis: 0 }
    }

    /// Has a replica write; what it wrote, or nothing if that was refused.
    fn write(&mut self, at: usize, edit: &Edit) -> Option<Vec<Arc<Update>>> {
        self.millis += 1;
        let now = Wall::from_micros(u64::from(NOW) * 1_000_000 + self.millis * 1_000);
        let data = &mut self.data[at];
        let mut draft = Draft::new(data.shelf().clone(), NodeId(at as u64 + 1), &Config::default(), now);
        draft.write(data, &[Write::new(KEY, edit.clone())]).ok()?;
        let written: Vec<_> = draft.updates().iter().cloned().collect();
        for update in &written {
            data.take_own(Arc::clone(update));
        }
        Some(written)
    }

    fn take(&mut self, to: usize, from: usize) {
        for bytes in self.data[from].shelf().contents() {
            take(&mut self.data[to], &bytes);
        }
    }

    fn value(&self, at: usize) -> Option<Value> {
        self.data[at].shelf().get(KEY, self::at(NOW)).map(|entry| entry.value)
    }
}

/// What orders a write to a register or an element.
fn marker(update: &Update) -> (u64, u64) {
    let (Statement::Head { version, .. } | Statement::Element { version, .. }) = update.datum().statement else {
        unreachable!("sums are not ordered")
    };
    (version.stamp.0, version.author.0)
}

/// For each element whether it is there.
type RegisterSet = BTreeMap<Vec<u8>, LWWReg<bool, (u64, u64)>>;

proptest! {
    #[test]
    fn a_register_is_a_last_writer_wins_register(
        steps in steps(vec(any::<u8>(), 0..3).prop_map(|value| Edit::Put { value, ttl: None })),
    ) {
        let mut ours = Three::new();
        let mut theirs: [LWWReg<Vec<u8>, (u64, u64)>; REPLICAS] = Default::default();
        for step in steps {
            match step {
                Step::Write(at, edit) => {
                    let written = ours.write(at, &edit).unwrap();
                    let Edit::Put { value, .. } = edit else { unreachable!("only puts were drawn") };
                    theirs[at].update(value, marker(&written[0]));
                }
                Step::Take(to, from) => {
                    ours.take(to, from);
                    let other = theirs[from].clone();
                    theirs[to].merge(other);
                }
            }
            for (at, register) in theirs.iter().enumerate() {
                let expected = (register.marker != (0, 0)).then(|| Value::Register(register.val.clone()));
                prop_assert_eq!(ours.value(at), expected);
            }
        }
    }

    #[test]
    fn a_counter_that_is_not_deleted_is_a_counter_of_increments_and_decrements(
        steps in steps((-1_000..1_000_i64).prop_map(|amount| Edit::Add { amount })),
    ) {
        let mut ours = Three::new();
        let mut theirs: [PNCounter<usize>; REPLICAS] = Default::default();
        for step in steps {
            match step {
                Step::Write(at, edit) => {
                    ours.write(at, &edit).unwrap();
                    let Edit::Add { amount } = edit else { unreachable!("only additions were drawn") };
                    let (counter, size) = (&mut theirs[at], amount.unsigned_abs());
                    let op = if amount < 0 { counter.dec_many(at, size) } else { counter.inc_many(at, size) };
                    counter.apply(op);
                }
                Step::Take(to, from) => {
                    ours.take(to, from);
                    let other = theirs[from].clone();
                    theirs[to].merge(other);
                }
            }
            for (at, counter) in theirs.iter().enumerate() {
                let value = match ours.value(at) {
                    Some(Value::Counter(value)) => value.to_string(),
                    Some(Value::Register(_) | Value::Set(_)) | None => "0".to_owned(),
                };
                prop_assert_eq!(value, counter.read().to_string());
            }
        }
    }

    /// Of each element a register that says whether it is there: the crate has no set ordered by clocks.
    #[test]
    fn a_set_is_a_last_writer_wins_register_for_each_element(steps in steps(changes_of_sets(0..4))) {
        let mut ours = Three::new();
        let mut theirs = <[RegisterSet; REPLICAS]>::default();
        for step in steps {
            match step {
                Step::Write(at, edit) => {
                    // What is not there cannot be removed.
                    let Some(written) = ours.write(at, &edit) else { continue };
                    let part = written.iter().find(|update| matches!(update.subject().part, Part::Element(_))).unwrap();
                    let (element, is_there) = change_of_set(&edit);
                    theirs[at].entry(element).or_default().update(is_there, marker(part));
                }
                Step::Take(to, from) => {
                    ours.take(to, from);
                    for (element, register) in theirs[from].clone() {
                        theirs[to].entry(element).or_default().merge(register);
                    }
                }
            }
            for (at, set) in theirs.iter().enumerate() {
                let there = set.iter().filter(|(_, register)| register.val).map(|(element, _)| element.clone());
                prop_assert_eq!(elements(&ours, at), there.collect());
            }
        }
    }

    /// An observed-remove set lets an insertion win against any removal that did not see it; ours lets the later one win. So
    /// they agree where nobody removes what another inserts at the same time: here each element has one who changes it.
    #[test]
    fn a_set_is_an_observed_remove_set_where_each_element_is_changed_by_one_replica(
        steps in steps(changes_of_sets(0..6)),
    ) {
        let mut ours = Three::new();
        let mut theirs: [Orswot<Vec<u8>, usize>; REPLICAS] = Default::default();
        for step in steps {
            match step {
                Step::Write(_, edit) => {
                    let (element, is_there) = change_of_set(&edit);
                    let at = usize::from(element[0]) % REPLICAS;
                    if ours.write(at, &edit).is_none() {
                        continue;
                    }
                    let set = &mut theirs[at];
                    let op = if is_there {
                        set.add(element, set.read_ctx().derive_add_ctx(at))
                    } else {
                        let seen = set.contains(&element).derive_rm_ctx();
                        set.rm(element, seen)
                    };
                    set.apply(op);
                }
                Step::Take(to, from) => {
                    ours.take(to, from);
                    let other = theirs[from].clone();
                    theirs[to].merge(other);
                }
            }
            for (at, set) in theirs.iter().enumerate() {
                let there = set.iter().map(|read| read.val.clone()).collect();
                prop_assert_eq!(elements(&ours, at), there);
            }
        }
    }
}

/// Insertions and removals of so many elements.
fn changes_of_sets(elements: std::ops::Range<u8>) -> impl Strategy<Value = Edit> {
    (elements, any::<bool>()).prop_map(|(element, inserts)| {
        let element = vec![element];
        if inserts { Edit::Insert { element } } else { Edit::RemoveElement { element } }
    })
}

/// The element that is changed, and whether it is there then.
fn change_of_set(edit: &Edit) -> (Vec<u8>, bool) {
    match edit {
        Edit::Insert { element } => (element.clone(), true),
        Edit::RemoveElement { element } => (element.clone(), false),
        Edit::Put { .. } | Edit::Delete | Edit::Add { .. } | Edit::Restore { .. } => {
            unreachable!("only changes of sets were drawn")
        }
    }
}

fn elements(ours: &Three, at: usize) -> BTreeSet<Vec<u8>> {
    match ours.value(at) {
        Some(Value::Set(elements)) => elements,
        Some(Value::Register(_) | Value::Counter(_)) | None => BTreeSet::new(),
    }
}

#[test]
fn of_an_insertion_and_a_removal_at_once_the_later_wins_where_an_observed_remove_set_keeps_the_element() {
    let element = || vec![1];
    let (mut ours, mut theirs) = (Three::new(), <[Orswot<Vec<u8>, usize>; 2]>::default());
    ours.write(0, &Edit::Insert { element: element() }).unwrap();
    ours.take(1, 0);
    let first = theirs[0].add(element(), theirs[0].read_ctx().derive_add_ctx(0));
    for set in &mut theirs {
        set.apply(first.clone());
    }
    // Neither sees what the other does; the removal is the later one.
    ours.write(0, &Edit::Insert { element: element() }).unwrap();
    ours.write(1, &Edit::RemoveElement { element: element() }).unwrap();
    let insertion = theirs[0].add(element(), theirs[0].read_ctx().derive_add_ctx(0));
    let removal = theirs[1].rm(element(), theirs[1].contains(&element()).derive_rm_ctx());
    theirs[0].apply(insertion.clone());
    theirs[0].apply(removal.clone());
    theirs[1].apply(removal);
    theirs[1].apply(insertion);
    ours.take(0, 1);
    ours.take(1, 0);
    for (at, set) in theirs.iter().enumerate() {
        assert!(elements(&ours, at).is_empty());
        assert!(set.contains(&element()).val);
    }
}

/// A replica that takes the writes of one author, and what it tells of them.
struct One {
    data: Data,
    millis: u64,
}

impl One {
    fn new() -> Self {
        Self { data: replica(), millis: 0 }
    }

    fn now(&mut self) -> Wall {
        self.millis += 1;
        Wall::from_micros(u64::from(NOW) * 1_000_000 + self.millis)
    }

    /// Writes as `author`, and returns what watchers are told.
    fn write(&mut self, author: u64, edit: Edit) -> Vec<Arc<Change>> {
        let now = self.now();
        let mut draft = Draft::new(self.data.shelf().clone(), NodeId(author), &Config::default(), now);
        draft.write(&mut self.data, &[Write::new(KEY, edit)]).unwrap();
        for update in draft.updates().iter() {
            self.data.take_own(Arc::clone(update));
        }
        self.data.settle_changes(now)
    }

    /// What watchers are told of an update that comes in.
    fn take(&mut self, part: Part<'_>, statement: Statement, forget: Seconds) -> Vec<Arc<Change>> {
        let subject = Subject { key: KEY.as_bytes(), part };
        take(&mut self.data, &update::data_bytes(&Datum { subject, statement }, forget, forget, &[]));
        let now = self.now();
        self.data.settle_changes(now)
    }

    fn insert(&mut self, element: u32) -> Vec<Arc<Change>> {
        self.write(1, Edit::Insert { element: element.to_be_bytes().to_vec() })
    }

    fn entry(&self) -> Entry {
        self.data.shelf().get(KEY, at(NOW)).unwrap()
    }

    fn summary(&self) -> Summary {
        self.data.shelf().read().summary(KEY.as_bytes(), Seconds(NOW)).unwrap()
    }
}

#[test]
fn a_change_of_a_set_of_any_size_looks_at_few_of_its_elements() {
    let mut one = One::new();
    let mut most = 0;
    for element in 0..2_000 {
        let before = parts::looked_at();
        one.insert(element);
        most = most.max(parts::looked_at() - before);
    }
    // When what it adds up to begins to be kept, all elements so far are looked at once.
    assert!(most < 300, "{most} updates were looked at for one insertion");
    let before = parts::looked_at();
    let changes = one.insert(2_000);
    assert!(parts::looked_at() - before < 10, "{} updates in a set of 2,000", parts::looked_at() - before);
    assert!(matches!(changes[0].holds, Holds::Large(..)));
    let entry = changes[0].entry().unwrap().into_owned();
    assert_eq!(entry, one.entry());
    assert!(matches!(&entry.value, Value::Set(elements) if elements.len() == 2_001));
}

#[test]
fn what_many_parts_add_up_to_is_what_they_are_one_by_one() {
    let mut one = One::new();
    let mut rng = crate::rng::Rng::new(1);
    for _ in 0..1_500 {
        let element = Edit::Insert { element: vec![u8::try_from(rng.below(160)).unwrap()] };
        let there = match one.data.shelf().get(KEY, at(NOW)).map(|entry| entry.value) {
            Some(Value::Set(elements)) => elements.into_iter().collect(),
            Some(Value::Register(_) | Value::Counter(_)) | None => Vec::new(),
        };
        let is_shrinking = rng.chance(0.5) && !there.is_empty();
        one.write(
            1,
            if is_shrinking { Edit::RemoveElement { element: there[rng.below(there.len())].clone() } } else { element },
        );
        let index = one.data.shelf().read();
        let counted = parts::Parts::of(index.of_key(KEY.as_bytes()).map(|update| &**update));
        assert_eq!(index.parts_of(KEY.as_bytes()), counted);
        drop(index);
        let Entry { revision, conflict, expires, .. } = one.entry();
        assert_eq!(one.summary(), Summary { kind: Kind::Set, revision, expires, conflict, sum: None });
    }
    // And when all is forgotten.
    one.write(1, Edit::Delete);
    one.data.fade(at(NOW + 10 * 24 * 3_600));
    assert_eq!(one.data.shelf().updates(), 0);
    assert!(!one.data.shelf().read().is_large(KEY.as_bytes()));
}

#[test]
fn watchers_are_told_nothing_of_what_is_hidden_nor_of_what_changes_nothing() {
    let mut one = One::new();
    let tally = |plus| Tally { plus, minus: 0 };
    let stamp = Stamp::of(at(NOW - 1));
    let sums = |added, cleared, until| {
        Statement::Sums(Sums {
            added: tally(added),
            cleared: tally(cleared),
            cleared_until: Seconds(until),
            stamp,
            epoch: stamp,
        })
    };
    let author = Part::Sums(NodeId(3));
    assert_eq!(one.take(author, sums(5, 2, NOW + 50), Seconds::NEVER).len(), 1);
    let before = one.entry();
    assert_eq!(one.take(author, sums(5, 2, NOW + 60), Seconds::NEVER), [], "the same, deleted by another as well");
    assert_eq!(one.entry(), before);
    let version = Version { stamp: Stamp::of(at(NOW - 1)), author: NodeId(4) };
    let head = Statement::Head { version, kind: Kind::Register, is_deleted: false };
    assert_eq!(one.take(Part::Head, head, Seconds::NEVER).len(), 1);
    assert_eq!(one.entry().conflict, [Kind::Counter]);
    assert_eq!(one.take(author, sums(9, 2, NOW + 60), Seconds::NEVER), [], "the counter is hidden");
    // What shows that there is something hidden is told.
    let element = Statement::Element { version, is_removed: false };
    assert_eq!(one.take(Part::Element(b"e"), element, Seconds::NEVER).len(), 1);
    assert_eq!(one.entry().conflict, [Kind::Counter, Kind::Set]);
    let mut other = One::new();
    let tombstone = Statement::Element { version, is_removed: true };
    assert_eq!(other.take(Part::Element(b"e"), tombstone, Seconds(NOW + 100)), [], "it was never here");
}

#[test]
fn watchers_are_told_when_a_key_shows_another_kind_as_its_deletion_is_forgotten() {
    let mut one = One::new();
    let version = Version { stamp: Stamp::of(at(NOW - 1)), author: NodeId(4) };
    let deleted = Statement::Head { version, kind: Kind::Set, is_deleted: true };
    one.take(Part::Head, deleted, Seconds(NOW + 100));
    one.take(Part::Element(b"e"), Statement::Element { version, is_removed: false }, Seconds::NEVER);
    let tally = Tally { plus: 1, minus: 0 };
    let sums = Sums { added: tally, stamp: version.stamp, epoch: version.stamp, ..Sums::NONE };
    one.take(Part::Sums(NodeId(3)), Statement::Sums(sums), Seconds::NEVER);
    assert_eq!((one.entry().value.kind(), one.entry().conflict), (Kind::Set, vec![Kind::Counter]));
    one.data.fade(at(NOW + 100));
    let changes = one.data.settle_changes(at(NOW + 100));
    assert_eq!((one.entry().value.kind(), one.entry().conflict), (Kind::Counter, vec![Kind::Set]));
    let told: Vec<_> = changes.iter().map(|change| (change.change, change.kind, change.author)).collect();
    assert_eq!(told, [(ChangeKind::Put, Kind::Counter, None)]);
}

#[test]
fn writes_that_are_refused_take_back_what_they_drafted_and_nothing_else() {
    let mut one = One::new();
    let now = one.now();
    let mut draft = Draft::new(one.data.shelf().clone(), NodeId(1), &Config::default(), now);
    let put = |key: &str, value: &[u8]| Write::new(key, Edit::Put { value: value.to_vec(), ttl: None });
    let other: Vec<Write> = (0..1_000).map(|n| put(&format!("k{n}"), b"v")).collect();
    draft.write(&mut one.data, &other).unwrap();
    let ids = |draft: &Draft| draft.updates().iter().map(|update| update.id).collect::<Vec<_>>();
    let before = ids(&draft);
    let sizes = (draft.growth(), draft.volume());
    let writes = [put("k0", b"other"), put("new", b"v"), Write::new("absent", Edit::Delete)];
    let refusal = draft.write(&mut one.data, &writes).unwrap_err();
    assert!(matches!(refusal, crate::io::Refusal::At { place: 2, .. }), "{refusal}");
    assert_eq!(ids(&draft), before);
    assert_eq!((draft.growth(), draft.volume()), sizes);
}

#[test]
fn one_write_of_many_parts_that_is_refused_leaves_nothing_behind() {
    let mut one = One::new();
    one.insert(1);
    let now = one.now();
    let config = Config::default();
    let mut draft = Draft::new(one.data.shelf().clone(), NodeId(1), &config, now).on_top_of(config.data_bytes_max);
    let elements = BTreeSet::from([b"another".to_vec()]);
    let restore = Edit::Restore { value: Value::Set(elements), expires: None };
    draft.write(&mut one.data, &[Write::new(KEY, restore)]).unwrap_err();
    assert_eq!(draft.updates().len(), 0, "the removal of the first element");
}
