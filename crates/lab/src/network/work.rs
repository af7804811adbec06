//! Changes to the database drawn from the run's generator: many writers on few keys, of every kind.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::data::{Edit, Kind, Value, Write};
use rumormill_core::io::Ticket;

use super::Network;
use super::check::data::{AMOUNTS, amount};
use super::options::pick;

/// The keys that are written. Each is of the kind that its first letter says, those of x of any.
const KEYS: [&str; 10] = ["r1", "r1", "r2", "c1", "c1", "c2", "s1", "s1", "s2", "x1"];
/// Elements that are put into sets again and again; all others are of one insertion each.
const COMMON: [&str; 3] = ["apple", "bean", "cherry"];

/// What was drawn so far.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// How many values and elements.
    serial: usize,
    /// How many additions to each counter: each has an amount of its own.
    additions: BTreeMap<&'static str, usize>,
}

impl Network {
    /// Tells a node to change something in the database: what, and where, is drawn.
    pub fn work(&mut self, node: usize) -> Ticket {
        let count = if self.rng.chance(0.1) { 3 } else { 1 };
        let writes = (0..count).map(|_| self.drawn_write(node)).collect();
        let replicas = if self.rng.chance(0.1) { 1 + self.rng.below(2) } else { 0 };
        let timeout = pick(&mut self.rng, &[Duration::from_secs(1), Duration::from_secs(10)]);
        self.write_all(node, writes, replicas, timeout)
    }

    fn drawn_write(&mut self, node: usize) -> Write {
        let key = pick(&mut self.rng, &KEYS);
        let shown = self.get(node, key).map(|entry| entry.value);
        // Also where there is nothing to delete, now and then: that is refused.
        if self.rng.chance(if shown.is_some() { 0.15 } else { 0.02 }) {
            return Write::new(key, Edit::Delete);
        }
        let kind = match &key[..1] {
            "r" => Kind::Register,
            "c" => Kind::Counter,
            "s" => Kind::Set,
            _ => pick(&mut self.rng, &[Kind::Register, Kind::Counter, Kind::Set]),
        };
        self.work.serial += 1;
        let edit = match kind {
            Kind::Register => self.drawn_put(),
            Kind::Counter => self.drawn_addition(key),
            Kind::Set => self.drawn_change_of_set(shown),
        };
        Write::new(key, edit)
    }

    fn drawn_put(&mut self) -> Edit {
        let mut value = format!("v{}", self.work.serial).into_bytes();
        value.resize(pick(&mut self.rng, &[8, 8, 40, 40, 900, 5_000]), b'.');
        let ttl = self.rng.chance(0.3).then(|| Duration::from_millis(500 + self.rng.below(8_000) as u64));
        Edit::Put { value, ttl }
    }

    /// The next amount; where none is left, a deletion.
    fn drawn_addition(&mut self, key: &'static str) -> Edit {
        let additions = self.work.additions.entry(key).or_default();
        if *additions == AMOUNTS {
            return Edit::Delete;
        }
        *additions += 1;
        Edit::Add { amount: amount(*additions - 1) }
    }

    fn drawn_change_of_set(&mut self, shown: Option<Value>) -> Edit {
        if let Some(Value::Set(elements)) = shown
            && !elements.is_empty()
            && self.rng.chance(0.3)
        {
            let elements: Vec<_> = elements.into_iter().collect();
            return Edit::RemoveElement { element: pick(&mut self.rng, &elements) };
        }
        let own = format!("e{}", self.work.serial);
        let element = if self.rng.chance(0.3) { pick(&mut self.rng, &COMMON).to_owned() } else { own };
        Edit::Insert { element: element.into_bytes() }
    }
}
