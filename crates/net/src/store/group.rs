//! Groups of records: what was written together, in order, as one value of the database.
//!
//! A record is its key's length, its value's length (or [`REMOVED`]), the key and the value; lengths are four bytes,
//! the lowest first.

use rumormill_core::Record;

/// Most groups are at most this long, so that each fills a power of two of the database's pages. A record that is
/// longer is a group of its own.
pub(crate) const GROUP_BYTES_MAX: usize = (64 << 10) - 128;

/// In place of a value's length where the key was removed.
const REMOVED: u32 = u32::MAX;

/// What a record takes beside its key and its value.
const LENGTHS: usize = 8;

/// A record as it lies in a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// The bytes that it takes in a group.
    pub(crate) fn size(&self) -> usize {
        LENGTHS + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    pub(crate) fn write(&self, group: &mut Vec<u8>) {
        group.extend(length(self.key));
        group.extend(self.value.map_or(REMOVED.to_le_bytes(), length));
        group.extend(self.key);
        group.extend(self.value.unwrap_or_default());
    }

    /// The first record of a group, and the rest of it. `None` if it makes no sense.
    fn read(group: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (key_length, rest) = group.split_first_chunk()?;
        let (value_length, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*key_length)).ok()?)?;
        let value_length = u32::from_le_bytes(*value_length);
        if value_length == REMOVED {
            return Some((Self { key, value: None }, rest));
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(value_length).ok()?)?;
        Some((Self { key, value: Some(value) }, rest))
    }
}

impl<'a> From<&'a Record> for Entry<'a> {
    fn from(Record { key, value }: &'a Record) -> Self {
        Self { key, value: value.as_deref() }
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("records are far below four gigabytes").to_le_bytes()
}

/// The records of a group, in order. `None` if it makes no sense.
pub(crate) fn entries(mut group: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !group.is_empty() {
        let (entry, rest) = Entry::read(group)?;
        entries.push(entry);
        group = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_a_group_in_order() {
        let long = vec![9; 70_000];
        let written = [
            Entry { key: b"a", value: Some(b"1") },
            Entry { key: b"", value: Some(b"") },
            Entry { key: b"gone", value: None },
            Entry { key: b"long", value: Some(&long) },
        ];
        let mut group = Vec::new();
        for entry in written {
            entry.write(&mut group);
        }
        assert_eq!(group.len(), written.iter().map(Entry::size).sum::<usize>());
        assert_eq!(entries(&group).unwrap(), written);
    }

    #[test]
    fn a_group_that_was_cut_makes_no_sense_and_does_not_panic() {
        let mut group = Vec::new();
        Entry { key: b"key", value: Some(b"value") }.write(&mut group);
        for length in 1..group.len() {
            assert_eq!(entries(&group[..length]), None, "{length} bytes");
        }
        assert_eq!(entries(&[0xff; 12]), None);
    }
}
