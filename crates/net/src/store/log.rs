//! The groups of a store, in the order in which they were written, and their end, where new ones are put.

use redb::{Error, ReadableTable, Table, TableDefinition};

use crate::store::group::{Entry, GROUP_BYTES_MAX};

/// Groups under rising numbers.
pub(crate) const GROUPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("groups");

/// What is known of the groups.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// The next group's number.
    pub(crate) next: u64,
    /// The length of all groups together.
    pub(crate) bytes: u64,
    /// How much of that was needed when it was last known.
    pub(crate) needed: u64,
}

/// The groups, in a transaction that writes.
pub(crate) struct Log<'a, 't> {
    table: Table<'t, u64, &'static [u8]>,
    extent: &'a mut Extent,
    /// What is not written yet.
    group: Vec<u8>,
    written: u64,
}

impl<'a, 't> Log<'a, 't> {
    pub(crate) fn new(table: Table<'t, u64, &'static [u8]>, extent: &'a mut Extent) -> Self {
        Self { table, extent, group: Vec::new(), written: 0 }
    }

    /// Removes what a commit that failed may have left.
    pub(crate) fn cut(&mut self) -> Result<(), Error> {
        Ok(self.table.retain_in(self.extent.next.., |_, _| false)?)
    }

    pub(crate) fn push(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        if !self.group.is_empty() && self.group.len() + entry.size() > GROUP_BYTES_MAX {
            self.flush()?;
        }
        entry.write(&mut self.group);
        Ok(())
    }

    /// Writes what has been pushed; returns how much was written so far.
    pub(crate) fn flush(&mut self) -> Result<u64, Error> {
        if !self.group.is_empty() {
            self.table.insert(self.extent.next, self.group.as_slice())?;
            self.extent.next += 1;
            self.extent.bytes += self.group.len() as u64;
            self.written += self.group.len() as u64;
            self.group.clear();
        }
        Ok(self.written)
    }

    /// The newest group with a lower number.
    pub(crate) fn last_below(&self, number: u64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let last = self.table.range(..number)?.next_back().transpose()?;
        Ok(last.map(|(number, group)| (number.value(), group.value().to_vec())))
    }

    pub(crate) fn remove(&mut self, number: u64, length: u64) -> Result<(), Error> {
        self.table.remove(number)?;
        self.extent.bytes -= length;
        Ok(())
    }

    /// It was found out how much is needed.
    pub(crate) fn set_needed(&mut self, bytes: u64) {
        self.extent.needed = bytes;
    }
}

/// Says that a group makes no sense although the database found its pages unharmed.
pub(crate) fn malformed(number: u64) -> Error {
    Error::Corrupted(format!("group {number} makes no sense"))
}
