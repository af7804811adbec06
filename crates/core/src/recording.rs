//! Recordings of a node's life: how they lie in a file. A node is a function of its state and its inputs, so that a snapshot and
//! every input since then tell all that it did.
//!
//! A recording has two halves. Each begins with its [`Heading`], then come parts: the snapshot, and inputs in batches. When one half
//! is full the other is written anew, with a snapshot of its own, so that one of the two is whole at any time. What is in a part is
//! encoded by whoever writes it, by what `serde` derives: no field of a node can be forgotten.
//!
//! A part that was cut off, or that a harmed disk changed, ends its half: its checksum is keyed by the number of the half's
//! writing, so that what an earlier writing left behind is none of its parts either.

mod fingerprint;
mod testimony;

use crate::io::Input;
use crate::time::Now;
use crate::wire::{Put, Reader};

pub use fingerprint::Fingerprint;
pub use testimony::{Memory, Notes, Testimony};

/// The first bytes of a half.
const MAGIC: &[u8; 8] = b"rumorrec";
/// Raised with every change of what stands in this file.
const FORMAT: u16 = 3;
/// Length 4, checksum 8, kind 1.
const PART_HEAD_BYTES: usize = 13;

/// An input of a node, when it came, and what the node did.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub struct Step<'a> {
    /// When.
    pub at: Now,
    /// What came in.
    #[serde(borrow)]
    pub input: Input<'a>,
    /// What the node's signatures answered meanwhile, where it signs: the answers of a [`Testimony`].
    pub answers: &'a [u8],
    /// The [`Fingerprint`] of all outputs, and of what was asked of signatures, from the snapshot on, those of this input included.
    pub outputs: u64,
}

/// What a part holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A node between two inputs, with which a recording begins.
    Birth,
    /// The same node later.
    Snapshot,
    /// [`Step`]s.
    Steps,
    /// The last step before the snapshot that follows: for who comes from the other half.
    StepBefore,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Birth, Self::Snapshot, Self::Steps, Self::StepBefore];
}

/// What stands at the beginning of a half.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heading {
    /// Which release wrote it: another one may do something else with the same inputs.
    pub version: String,
    /// Bytes of each half; the second begins there.
    pub half_bytes: u64,
    /// Rises with every snapshot.
    pub number: u64,
    /// How many steps were written before what is in this half: whoever took as many can go on here.
    pub steps: u64,
}

/// Why a half cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoHalf {
    /// It begins otherwise.
    #[error("it is no recording")]
    Foreign,
    /// It begins like one, and then is harmed.
    #[error("its beginning is harmed")]
    Harmed,
    /// It is laid out in another way.
    #[error("it has format {0}, and this release reads format {FORMAT}")]
    Format(u16),
}

impl Heading {
    /// As it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
        bytes.extend_from_slice(&self.half_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.steps.to_le_bytes());
        bytes.put_short_block(self.version.as_bytes());
        let sum = checksum(self.number, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the beginning of a half, and what follows it.
    ///
    /// # Errors
    /// That it is none.
    pub fn read(half: &[u8]) -> Result<(Self, Parts<'_>), NoHalf> {
        let mut reader = Reader::new(half);
        if reader.take(MAGIC.len()) != Some(MAGIC) {
            return Err(NoHalf::Foreign);
        }
        let format = reader.u16().ok_or(NoHalf::Harmed)?;
        if format != FORMAT {
            return Err(NoHalf::Format(format));
        }
        let heading = Self::read_rest(&mut reader).ok_or(NoHalf::Harmed)?;
        let said = half.len() - reader.clone().rest().len();
        if reader.u64() != Some(checksum(heading.number, &half[..said])) {
            return Err(NoHalf::Harmed);
        }
        let rest = Reader::new(reader.rest());
        let parts = Parts { number: heading.number, rest };
        Ok((heading, parts))
    }

    fn read_rest(reader: &mut Reader<'_>) -> Option<Self> {
        let (half_bytes, number, steps) = (reader.u64()?, reader.u64()?, reader.u64()?);
        Some(Self { version: reader.short_text()?.to_owned(), half_bytes, number, steps })
    }

    /// A part of the half as it is written.
    ///
    /// # Panics
    /// If it is longer than 4 GiB.
    pub fn part(&self, kind: Kind, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PART_HEAD_BYTES + content.len());
        let length = u32::try_from(content.len()).expect("a part is shorter than 4 GiB");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum_of_part(self.number, kind as u8, content).to_le_bytes());
        bytes.push(kind as u8);
        bytes.extend_from_slice(content);
        bytes
    }

    /// How many bytes a part takes.
    pub const fn part_bytes(content: usize) -> usize {
        PART_HEAD_BYTES + content
    }
}

/// The parts of a half, up to the first that is not whole.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    number: u64,
    rest: Reader<'a>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (Kind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.rest.u32()? as usize;
        let (sum, kind) = (self.rest.u64()?, self.rest.u8()?);
        let content = self.rest.take(length)?;
        let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
        let part = known.filter(|_| sum == checksum_of_part(self.number, kind, content));
        if part.is_none() {
            self.rest = Reader::new(&[]);
        }
        part.map(|kind| (kind, content))
    }
}

fn checksum_of_part(number: u64, kind: u8, content: &[u8]) -> u64 {
    checksum(number.rotate_left(8) ^ u64::from(kind), content)
}

fn checksum(key: u64, bytes: &[u8]) -> u64 {
    let mut sum = Fingerprint::keyed(key);
    sum.note(bytes);
    sum.get()
}

/// Bytes as one block, not one by one.
pub(crate) mod bytes {
    use std::borrow::Cow;
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes.as_ref())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(from: D) -> Result<T, D::Error> {
        from.deserialize_byte_buf(Block).map(|bytes| bytes.into_owned().into())
    }

    struct Block;

    impl<'de> Visitor<'de> for Block {
        type Value = Cow<'de, [u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a block of bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(bytes.to_vec()))
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
            Ok(Cow::Owned(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heading(number: u64) -> Heading {
        Heading { version: "1.2.3".to_owned(), half_bytes: 1 << 20, number, steps: 0 }
    }

    #[test]
    fn what_was_written_is_read_and_what_an_earlier_writing_left_is_not() {
        let (old, new) = (heading(1), heading(3));
        let mut half = [old.to_bytes(), old.part(Kind::Snapshot, b"state"), old.part(Kind::Steps, b"abc")].concat();
        let written = [new.to_bytes(), new.part(Kind::Snapshot, b"STATE")].concat();
        half[..written.len()].copy_from_slice(&written);
        let (read, parts) = Heading::read(&half).unwrap();
        assert_eq!(read, new);
        assert_eq!(parts.collect::<Vec<_>>(), [(Kind::Snapshot, &b"STATE"[..])]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, said: Vec<u8>, number: u64) {
            let begun = [&MAGIC[..], &FORMAT.to_le_bytes(), &bytes].concat();
            // A heading whose checksum is right, before parts that are anything.
            let headed = [heading(number).to_bytes(), said].concat();
            for half in [&bytes, &begun, &headed] {
                if let Ok((_, parts)) = Heading::read(half) {
                    prop_assert!(parts.map(|(_, content)| Heading::part_bytes(content.len())).sum::<usize>() <= half.len());
                }
            }
        }
    }

    #[test]
    fn a_part_that_is_cut_or_harmed_ends_its_half() {
        let heading = heading(1);
        let parts = [heading.part(Kind::Snapshot, b"state"), heading.part(Kind::Steps, b"abc")].concat();
        let half = [heading.to_bytes(), parts].concat();
        let whole = Heading::read(&half).unwrap().1.count();
        assert_eq!(whole, 2);
        let second = half.len() - Heading::part_bytes(3);
        for length in heading.to_bytes().len()..half.len() {
            let (_, parts) = Heading::read(&half[..length]).unwrap();
            assert_eq!(parts.count(), usize::from(length >= second), "cut to {length} bytes");
        }
        for place in 0..half.len() {
            let mut harmed = half.clone();
            harmed[place] ^= 0x10;
            let parts = Heading::read(&harmed).map_or(0, |(_, parts)| parts.count());
            assert!(parts < whole, "byte {place} is harmed");
        }
    }
}
