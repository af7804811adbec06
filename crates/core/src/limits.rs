//! What is bounded, and how much of it is taken: every queue, table, view and allowance of a node.
//!
//! **Invariant:** nothing that grows is missing here. Each part takes itself apart field by field, with no `..`, so that a field
//! that somebody adds does not compile until it is named, as something that is bounded, or as something that cannot grow.

/// One thing that is bounded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Its name; with `unit` it stands for one thing only.
    pub what: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// How much there is.
    pub held: u64,
    /// How much there may be.
    pub most: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unit {
    /// Single things.
    Entries,
    /// Their bytes.
    Bytes,
}

/// A list that the parts write into.
#[derive(Clone, Debug, Default)]
pub struct Limits(Vec<Limit>);

impl Limits {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// So many are held, of so many.
    pub fn entries(&mut self, what: &'static str, held: usize, most: usize) {
        self.put(what, Unit::Entries, held, most);
    }

    /// So many bytes are held, of so many.
    pub fn bytes(&mut self, what: &'static str, held: usize, most: usize) {
        self.put(what, Unit::Bytes, held, most);
    }

    fn put(&mut self, what: &'static str, unit: Unit, held: usize, most: usize) {
        self.0.push(Limit { what, unit, held: held as u64, most: most as u64 });
    }

    /// What was written.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.0.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests;
