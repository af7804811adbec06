//! Writes of this node's own on their way to the disk: what they change, on top of what is held and of each other.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{self, Summary, Value, head_kind};
use super::index::Index;
use super::write::{Condition, Edit, Write};
use super::{Data, Shelf, UPDATE_OVERHEAD, is_reserved};
use crate::config::Config;
use crate::datum::{Datum, ELEMENT_BYTES_MAX, KEY_BYTES_MAX, Kind, Part, Statement, Subject, Sums, Version};
use crate::identity::NodeId;
use crate::io::Refusal;
use crate::time::{Seconds, Wall};
use crate::update::Update;

/// The longest time to live: ten years, far below the end of seconds.
const TTL_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// Updates that are not said to anybody yet.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Draft {
    shelf: Shelf,
    updates: Index,
    author: NodeId,
    now: Wall,
    tombstone_ttl: Duration,
    value_bytes_max: usize,
    bytes_max: usize,
    /// By how many bytes the store grows.
    growth: usize,
    /// By how many it grows with other drafts that are not merged yet.
    others: usize,
    /// How many bytes were drafted.
    volume: usize,
    /// What was drafted since the last writes that belong together, and in whose place, so that it can be taken back.
    undo: Vec<(Arc<Update>, Option<Arc<Update>>)>,
}

impl Draft {
    pub(crate) fn new(shelf: Shelf, author: NodeId, config: &Config, now: Wall) -> Self {
        Self {
            shelf,
            updates: Index::default(),
            author,
            now,
            tombstone_ttl: config.tombstone_ttl,
            value_bytes_max: config.value_bytes_max,
            bytes_max: config.data_bytes_max,
            growth: 0,
            others: 0,
            volume: 0,
            undo: Vec::new(),
        }
    }

    /// After this was read from a snapshot.
    pub(crate) fn relink(&mut self, shelf: &Shelf) {
        self.shelf = shelf.clone();
    }

    /// After other writes that let the store grow by so much.
    pub(crate) fn on_top_of(self, growth: usize) -> Self {
        Self { growth, ..self }
    }

    /// Beside other drafts, about other keys, that let the store grow by so much.
    pub(crate) fn beside(self, others: usize) -> Self {
        Self { others, ..self }
    }

    /// What was drafted.
    pub(crate) const fn updates(&self) -> &Index {
        &self.updates
    }

    /// By how many bytes the store grows with it, and with what comes before it.
    pub(crate) const fn growth(&self) -> usize {
        self.growth
    }

    /// How many bytes were drafted, also in place of others.
    pub(crate) const fn volume(&self) -> usize {
        self.volume
    }

    /// Adds what writes change: all of them, or none if one is refused.
    pub(crate) fn write(&mut self, data: &mut Data, writes: &[Write]) -> Result<(), Refusal> {
        let before = (self.growth, self.volume);
        self.undo.clear();
        for (place, write) in writes.iter().enumerate() {
            if let Err(refusal) = self.write_one(data, write) {
                (self.growth, self.volume) = before;
                self.take_back();
                let is_alone = writes.len() == 1;
                return Err(if is_alone { refusal } else { Refusal::At { place, refusal: Box::new(refusal) } });
            }
        }
        Ok(())
    }

    /// Takes back what was drafted last, and nothing before it.
    fn take_back(&mut self) {
        while let Some((update, before)) = self.undo.pop() {
            match before {
                Some(before) => drop(self.updates.put(before)),
                None => self.updates.remove(&update.subject()),
            }
        }
    }

    fn write_one(&mut self, data: &mut Data, write: &Write) -> Result<(), Refusal> {
        let Write { key, edit, condition } = write;
        within("key", key.len(), 1, KEY_BYTES_MAX)?;
        if is_reserved(key.as_bytes()) {
            return Err(invalid(
                "key",
                format!("{key:?}"),
                "a key of an application: the cluster keeps revocations there",
            ));
        }
        self.check(key, *condition)?;
        match edit {
            Edit::Put { value, ttl } => {
                let expires = self.expires(*ttl)?;
                self.put(data, key, value, expires)
            }
            Edit::Delete => self.delete(data, key),
            Edit::Add { amount } => self.add(data, key, *amount),
            Edit::Insert { element } => self.insert(data, key, element),
            Edit::RemoveElement { element } => self.remove_element(data, key, element),
            Edit::Restore { value, expires } => self.restore(data, key, value, *expires),
        }
    }

    fn check(&self, key: &str, condition: Condition) -> Result<(), Refusal> {
        let expected = match condition {
            Condition::None => return Ok(()),
            Condition::Absent => None,
            Condition::Revision(revision) => Some(revision),
        };
        let actual = self.present(key).map(|summary| summary.revision);
        if actual == expected {
            return Ok(());
        }
        Err(Refusal::Mismatch { key: key.to_owned(), expected, actual })
    }

    fn expires(&self, ttl: Option<Duration>) -> Result<Option<Seconds>, Refusal> {
        let Some(ttl) = ttl else { return Ok(None) };
        if ttl.is_zero() || ttl > TTL_MAX {
            return Err(invalid("ttl", crate::duration::format(ttl), "above zero and at most ten years"));
        }
        Ok(Some(self.now.seconds().plus(ttl)))
    }

    fn put(&mut self, data: &mut Data, key: &str, value: &[u8], expires: Option<Seconds>) -> Result<(), Refusal> {
        within("value", value.len(), 0, self.value_bytes_max)?;
        self.expect(key, Kind::Register)?;
        let version = self.version(data);
        let statement = Statement::Head { version, kind: Kind::Register, is_deleted: false };
        let datum = Datum { subject: Subject::head(key.as_bytes()), statement };
        let forget = expires.map_or(Seconds::NEVER, |expires| expires.plus(self.tombstone_ttl));
        let update = data.make(&datum, expires.unwrap_or(forget), forget, value);
        self.affords(data, &update)?;
        self.put_update(update);
        Ok(())
    }

    /// Deletes exactly what is held: the head, what each author added so far, and each element as it was inserted last.
    fn delete(&mut self, data: &mut Data, key: &str) -> Result<(), Refusal> {
        let Some(Summary { kind, .. }) = self.present(key) else { return Err(unknown("key", key)) };
        let forget = self.forget();
        for update in self.of_key(key).iter() {
            let datum = update.datum();
            if datum.is_tombstone() || datum.subject.part == Part::Head {
                continue;
            }
            self.put_update(data.tombstone_of(update, forget));
        }
        let statement = Statement::Head { version: self.version(data), kind, is_deleted: true };
        let datum = Datum { subject: Subject::head(key.as_bytes()), statement };
        self.put_update(data.make(&datum, forget, forget, &[]));
        Ok(())
    }

    fn add(&mut self, data: &mut Data, key: &str, amount: i64) -> Result<(), Refusal> {
        self.expect(key, Kind::Counter)?;
        let head = self.live_head(data, key, Kind::Counter);
        let subject = Subject::sums(key.as_bytes(), self.author);
        let sums = match self.get(&subject).map(|update| update.datum().statement) {
            Some(Statement::Sums(sums)) => sums,
            Some(Statement::Head { .. } | Statement::Element { .. }) | None => Sums::NONE,
        };
        let Some(added) = sums.added.plus(amount) else {
            return Err(invalid("amount", amount.to_string(), "such that the sums of this node stay below 2^64"));
        };
        let stamp = data.tick(self.now);
        let epoch = if sums == Sums::NONE { stamp } else { sums.epoch };
        let sums = Sums { added, stamp, epoch, ..sums };
        let parts = (amount != 0).then(|| {
            let datum = Datum { subject, statement: Statement::Sums(sums) };
            data.make(&datum, sums.forget(), sums.forget(), &[])
        });
        self.put_all(data, head.into_iter().chain(parts).collect())
    }

    fn insert(&mut self, data: &mut Data, key: &str, element: &[u8]) -> Result<(), Refusal> {
        within("element", element.len(), 1, ELEMENT_BYTES_MAX)?;
        self.expect(key, Kind::Set)?;
        let head = self.live_head(data, key, Kind::Set);
        let statement = Statement::Element { version: self.version(data), is_removed: false };
        let datum = Datum { subject: Subject::element(key.as_bytes(), element), statement };
        let part = data.make(&datum, Seconds::NEVER, Seconds::NEVER, &[]);
        self.put_all(data, head.into_iter().chain([part]).collect())
    }

    fn remove_element(&mut self, data: &mut Data, key: &str, element: &[u8]) -> Result<(), Refusal> {
        within("element", element.len(), 1, ELEMENT_BYTES_MAX)?;
        self.expect(key, Kind::Set)?;
        let subject = Subject::element(key.as_bytes(), element);
        if self.get(&subject).is_none_or(|update| update.datum().is_tombstone()) {
            return Err(unknown("element", &String::from_utf8_lossy(element)));
        }
        let forget = self.forget();
        let statement = Statement::Element { version: self.version(data), is_removed: true };
        self.put_update(data.make(&Datum { subject, statement }, forget, forget, &[]));
        Ok(())
    }

    /// Makes a key hold this value and no other.
    fn restore(&mut self, data: &mut Data, key: &str, value: &Value, expires: Option<Seconds>) -> Result<(), Refusal> {
        if let Some(expires) = expires.filter(|expires| *expires > self.now.seconds().plus(TTL_MAX)) {
            return Err(invalid("expires_at", expires.0.to_string(), "at most ten years from now"));
        }
        self.expect(key, value.kind())?;
        let held = entry::compose(self.of_key(key).iter(), self.now.seconds()).map(|entry| entry.value);
        match value {
            Value::Register(value) if expires.is_none_or(|expires| expires > self.now.seconds()) => {
                self.put(data, key, value, expires)
            }
            Value::Register(_) => Ok(()),
            Value::Counter(value) => {
                let held = if let Some(Value::Counter(held)) = held { held } else { 0 };
                let rule = "less than 2^63 away from what the counter holds";
                let amount = value.checked_sub(held).and_then(|amount| i64::try_from(amount).ok());
                let amount = amount.ok_or_else(|| invalid("value", value.to_string(), rule))?;
                self.add(data, key, amount)
            }
            Value::Set(elements) => {
                let held = if let Some(Value::Set(held)) = held { held } else { std::collections::BTreeSet::new() };
                for element in held.difference(elements) {
                    self.remove_element(data, key, element)?;
                }
                let head = self.live_head(data, key, Kind::Set);
                self.put_all(data, head.into_iter().collect())?;
                elements.difference(&held).try_for_each(|element| self.insert(data, key, element))
            }
        }
    }

    /// Refuses a write of one kind to a key that holds another.
    fn expect(&self, key: &str, kind: Kind) -> Result<(), Refusal> {
        let subject = Subject::head(key.as_bytes());
        let held = match self.get(&subject) {
            Some(head) if self.is_live(&head) => head_kind(&head),
            Some(_) | None => self.present(key).map(|summary| summary.kind),
        };
        match held {
            Some(held) if held != kind => Err(Refusal::WrongKind { key: key.to_owned(), held, wanted: kind }),
            Some(_) | None => Ok(()),
        }
    }

    /// A head that says of which kind a key is, unless it says so already.
    fn live_head(&self, data: &mut Data, key: &str, kind: Kind) -> Option<Arc<Update>> {
        let subject = Subject::head(key.as_bytes());
        let head = self.get(&subject).filter(|head| self.is_live(head));
        if head.and_then(|head| head_kind(&head)) == Some(kind) {
            return None;
        }
        let statement = Statement::Head { version: self.version(data), kind, is_deleted: false };
        Some(data.make(&Datum { subject, statement }, Seconds::NEVER, Seconds::NEVER, &[]))
    }

    fn is_live(&self, head: &Update) -> bool {
        let parts = head.parts();
        !head.datum().is_tombstone() && !parts.is_stripped() && parts.expires > self.now.seconds()
    }

    fn version(&self, data: &mut Data) -> Version {
        Version { stamp: data.tick(self.now), author: self.author }
    }

    fn forget(&self) -> Seconds {
        self.now.seconds().plus(self.tombstone_ttl)
    }

    fn get(&self, subject: &Subject<'_>) -> Option<Arc<Update>> {
        self.updates.get(subject).cloned().or_else(|| self.shelf.read().get(subject).cloned())
    }

    /// All updates about a key, as they will be.
    fn of_key(&self, key: &str) -> Index {
        let mut updates = Index::default();
        for update in self.shelf.read().of_key(key.as_bytes()) {
            updates.put(Arc::clone(update));
        }
        for update in self.updates.of_key(key.as_bytes()) {
            updates.put(Arc::clone(update));
        }
        updates
    }

    /// What is to be said of a key, as it will be.
    fn present(&self, key: &str) -> Option<Summary> {
        let (key, held) = (key.as_bytes(), self.shelf.read());
        let mut parts = held.parts_of(key);
        for update in self.updates.of_key(key) {
            if update.subject().part != Part::Head {
                if let Some(held) = held.get(&update.subject()) {
                    parts.take(held);
                }
                parts.put(update);
            }
        }
        let head = self.updates.head(key).or_else(|| held.head(key));
        Summary::of(head.map(|head| &**head), &parts, self.now.seconds())
    }

    /// Puts updates into the draft if there is room for all of them.
    fn put_all(&mut self, data: &Data, updates: Vec<Arc<Update>>) -> Result<(), Refusal> {
        updates.iter().try_for_each(|update| self.affords(data, update))?;
        for update in updates {
            self.put_update(update);
        }
        Ok(())
    }

    /// Whether the store has room for an update in the place of what it supersedes.
    fn affords(&self, data: &Data, update: &Update) -> Result<(), Refusal> {
        let grows = self.grows(update);
        let bytes = data.bytes() + self.others + self.growth + grows;
        if grows > 0 && bytes > self.bytes_max {
            return Err(Refusal::DataFull { bytes, limit: self.bytes_max });
        }
        Ok(())
    }

    fn grows(&self, update: &Update) -> usize {
        let held = self.get(&update.subject()).map_or(0, |held| held.bytes().len() + UPDATE_OVERHEAD);
        (update.bytes().len() + UPDATE_OVERHEAD).saturating_sub(held)
    }

    fn put_update(&mut self, update: Arc<Update>) {
        self.growth += self.grows(&update);
        self.volume += update.bytes().len();
        let before = self.updates.put(Arc::clone(&update));
        self.undo.push((update, before));
    }
}

fn within(field: &'static str, bytes: usize, least: usize, most: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&bytes) {
        return Ok(());
    }
    Err(invalid(field, format!("{bytes} bytes"), &format!("{least} to {most} bytes")))
}

fn invalid(field: &'static str, value: String, rule: &str) -> Refusal {
    Refusal::Invalid { field, value, rule: rule.to_owned() }
}

fn unknown(what: &'static str, name: &str) -> Refusal {
    Refusal::Unknown { what, name: format!("{name:?}") }
}
