//! The byte layout of datagrams and streams, and how bytes are taken apart and put together. `docs/protocol.md` draws
//! what stands here; frames are in `frame`, what goes out in `packet`.
//!
//! A datagram is a header of 30 bytes, which is what the seal will take, then a version byte, then frames. A
//! stream is the same header with a version and a fingerprint of the shared settings, once each way, then
//! packets: a length and frames. Integers are little-endian; `varint` is LEB128 of at most ten bytes.
//!
//! **Invariant:** nothing here allocates more than the bytes at hand justify, and nothing panics on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::identity::NodeId;

/// What the seal will take of each datagram, and what an unsealed header takes today.
pub const HEADER_BYTES: usize = 30;
/// The protocol version that this node speaks: another major version is refused, an unknown minor one is fine.
pub const VERSION: Version = Version { major: 1, minor: 0 };
/// The first bytes of a stream, each way: header, version, fingerprint of the shared settings.
pub(crate) const HELLO_BYTES: usize = HEADER_BYTES + 1 + 8;
/// The largest packet on a stream: the largest message with room for its head.
pub(crate) const PACKET_BYTES_MAX: usize = (1 << 20) + 4_096;

/// A protocol version; both parts are below 16, so that it fits a byte.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Another one is refused.
    pub major: u8,
    /// A newer one adds frames and fields that are skipped.
    pub minor: u8,
}

impl Version {
    pub(crate) const fn to_byte(self) -> u8 {
        self.major << 4 | self.minor
    }

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self { major: byte >> 4, minor: byte & 0xf }
    }
}

/// Who sends to whom. A driver that seals takes it off each datagram, and gives it back to each that it has opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// A hash of the cluster's name: strangers are dropped by it.
    pub cluster: u32,
    /// Who sends.
    pub sender: NodeId,
    /// To whom; [`NodeId::NONE`] while it is not known who lives at the address.
    pub target: NodeId,
    /// Of the sender's start.
    pub session: u64,
    /// The low 16 bits of the seconds that the sender's clock shows. The seal, which takes this place, tells its clock too.
    pub clock: u16,
}

impl Header {
    /// The header of a datagram, and what follows it; `None` if it is too short.
    pub fn split(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(datagram);
        let header = Self::read(&mut reader)?;
        Some((header, reader.rest()))
    }

    /// The header as it stands in front of a datagram.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.sender.0.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.target.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.session.to_le_bytes());
        bytes[28..].copy_from_slice(&self.clock.to_le_bytes());
        bytes
    }

    pub(crate) fn write(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_bytes());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            cluster: from.u32()?,
            sender: NodeId(from.u64()?),
            target: NodeId(from.u64()?),
            session: from.u64()?,
            clock: from.u16()?,
        })
    }
}

/// Takes bytes apart from the front. `None` means that there are too few, or that they make no sense.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of four bytes.
    pub(crate) fn short_float(&mut self) -> Option<f64> {
        self.u32().map(|bits| f32::from_bits(bits).into())
    }

    /// `None` also where it has more bytes than it needs: what was said can be written in one way only, and is signed as such.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                let is_padded = byte == 0 && shift > 0;
                return (!is_padded).then_some(value);
            }
        }
        None
    }

    /// A varint that counts bytes or things at hand.
    pub(crate) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// Bytes behind their length as a varint.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let len = self.size()?;
        self.take(len)
    }

    /// Bytes behind their length in one byte.
    pub(crate) fn short_block(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// UTF-8 behind its length in one byte.
    pub(crate) fn short_text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.short_block()?).ok()
    }

    pub(crate) fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.u16()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }
}

/// Puts bytes together; the counterpart of [`Reader`].
pub(crate) trait Put {
    fn put_varint(&mut self, value: u64);
    fn put_size(&mut self, size: usize);
    fn put_short_block(&mut self, bytes: &[u8]);
    fn put_address(&mut self, address: SocketAddr);
    /// Rounded to four bytes.
    fn put_short_float(&mut self, number: f64);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.push(value.to_le_bytes()[0]);
    }

    fn put_size(&mut self, size: usize) {
        self.put_varint(size as u64);
    }

    fn put_short_block(&mut self, bytes: &[u8]) {
        self.push(u8::try_from(bytes.len()).expect("checked where the text entered"));
        self.extend_from_slice(bytes);
    }

    fn put_address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.push(4);
                self.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.push(6);
                self.extend_from_slice(&ip.octets());
            }
        }
        self.extend_from_slice(&address.port().to_le_bytes());
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    fn put_short_float(&mut self, number: f64) {
        self.extend_from_slice(&(number as f32).to_le_bytes());
    }
}

/// How many bytes `value` takes as a varint.
pub(crate) const fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_reads_back(value: u64) {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            prop_assert_eq!(Reader::new(&bytes).varint(), Some(value));
            if let Some(last) = bytes.last_mut().filter(|_| value < 1 << 63) {
                *last |= 0x80;
                bytes.push(0);
                prop_assert_eq!(Reader::new(&bytes).varint(), None, "it is padded");
            }
        }
    }
}
