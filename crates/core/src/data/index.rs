//! Updates in the order of their subjects: all of one key together, its head first, keys by their bytes.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::datum::Subject;
use crate::update::Update;

/// An update, ordered by what it is about.
#[derive(Clone, Debug)]
struct Held(Arc<Update>);

/// What can be looked for in the index.
trait About {
    fn subject(&self) -> Subject<'_>;
}

impl About for Held {
    fn subject(&self) -> Subject<'_> {
        self.0.subject()
    }
}

impl About for Subject<'_> {
    fn subject(&self) -> Subject<'_> {
        *self
    }
}

impl<'a> Borrow<dyn About + 'a> for Held {
    fn borrow(&self) -> &(dyn About + 'a) {
        self
    }
}

impl PartialEq for dyn About + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }
}

impl Eq for dyn About + '_ {}

impl PartialOrd for dyn About + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn About + '_ {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.subject().cmp(&other.subject())
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.subject().cmp(&other.subject())
    }
}

/// One update for each subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(BTreeSet<Held>);

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, subject: &Subject<'_>) -> Option<&Arc<Update>> {
        self.0.get(subject as &dyn About).map(|held| &held.0)
    }

    /// Puts an update into its place; returns what was there.
    pub(crate) fn put(&mut self, update: Arc<Update>) -> Option<Arc<Update>> {
        self.0.replace(Held(update)).map(|held| held.0)
    }

    pub(crate) fn remove(&mut self, subject: &Subject<'_>) {
        self.0.remove(subject as &dyn About);
    }

    /// Everything, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.0.iter().map(|held| &held.0)
    }

    /// Everything from the head of `key` on.
    pub(crate) fn starting_at<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = &'a Arc<Update>> + use<'a> {
        let start = Subject::head(key);
        let range: (Bound<&dyn About>, Bound<&dyn About>) = (Bound::Included(&start), Bound::Unbounded);
        self.0.range::<dyn About, _>(range).map(|held| &held.0)
    }

    /// All updates about one key, its head first.
    pub(crate) fn of_key<'a, 'k>(&'a self, key: &'k [u8]) -> impl Iterator<Item = &'a Arc<Update>> + use<'a, 'k> {
        self.starting_at(key).take_while(move |update| update.subject().key == key)
    }
}
