//! Who a node is: its id, its name, and what it remembers of its earlier lives.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::agreement::statement::AGREEMENT_PREFIX;
use crate::apart::Apart;
use crate::config::{ConfigError, is_name};
use crate::credentials::{SIGNATURE_BYTES, Signing};
use crate::data::RECORD_PREFIX;
use crate::time::Seconds;
use crate::wire::{Put, Reader};

/// The identity of a node: the first 64 bits of the hash of its public key. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// No node: the target of a datagram to an address whose owner is not known yet.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What an application says about its node, for others to filter by.
pub type Tags = BTreeMap<String, String>;

/// How often a member was started (`boot`) and how often it had to contradict a suspicion since then.
///
/// Only the member itself raises it. Design rule 1: one durable number, the boot, makes it rise across restarts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Incarnation(pub u64);

impl Incarnation {
    const REFUTATION_BITS: u32 = 20;

    /// The first incarnation of a boot.
    pub const fn of_boot(boot: u64) -> Self {
        Self(boot << Self::REFUTATION_BITS)
    }

    /// An incarnation from its two parts, or `None` if one of them is too large.
    pub const fn from_parts(boot: u64, refutations: u64) -> Option<Self> {
        if boot > BOOT_MAX || refutations >= 1 << Self::REFUTATION_BITS {
            return None;
        }
        Some(Self(boot << Self::REFUTATION_BITS | refutations))
    }

    /// The start of the node that this belongs to, from 1.
    pub const fn boot(self) -> u64 {
        self.0 >> Self::REFUTATION_BITS
    }

    /// How many suspicions were contradicted since that start.
    pub const fn refutations(self) -> u64 {
        self.0 & ((1 << Self::REFUTATION_BITS) - 1)
    }

    /// The next one, with which a node contradicts a claim about itself.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Boot, and the refutations behind a dot where there were any: `3`, `3.1`.
impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refutations() {
            0 => write!(f, "{}", self.boot()),
            refutations => write!(f, "{}.{refutations}", self.boot()),
        }
    }
}

/// The highest boot: it fills the upper half of a [`Sequence`], and one more must still fit.
pub const BOOT_MAX: u64 = u32::MAX as u64 - 1;

/// The place of a message among those of one origin on one topic: boot, then a count from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The `count`th message of a boot.
    pub const fn new(boot: u64, count: u32) -> Self {
        Self(boot << 32 | count as u64)
    }

    /// The start of the origin that this belongs to, from 1.
    pub const fn boot(self) -> u64 {
        self.0 >> 32
    }

    /// The place among the messages of that boot, from 1.
    pub const fn count(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// The count, and the boot before a dot where it is not the first: `7`, `3.7`.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.boot() {
            1 => write!(f, "{}", self.count()),
            boot => write!(f, "{boot}.{}", self.count()),
        }
    }
}

impl FromStr for Sequence {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (boot, count) = text.split_once('.').unwrap_or(("1", text));
        Ok(Self::new(boot.parse::<u32>()?.into(), count.parse()?))
    }
}

/// Everything that makes this process this node, as the driver hands it to [`Node::new`](crate::Node::new).
#[derive(Clone, Debug)]
pub struct Identity {
    /// Stable across restarts where there is a data directory.
    pub id: NodeId,
    /// For people; 1 to 128 bytes without control characters.
    pub name: String,
    /// Where others reach this node, the preferred address first; 1 to 4 of them.
    pub addresses: Vec<SocketAddr>,
    /// What the node starts with; changed by a command.
    pub tags: Tags,
    /// A random number of this very start. Two processes that claim one id with different sessions are copies.
    pub session: u64,
    /// The secret that keys the ids of updates; without a cluster key the core derives it from the cluster's name.
    pub secret: Option<[u8; 16]>,
    /// What earlier lives left behind; [`Stored::default`] for a node that has none.
    pub stored: Stored,
    /// Whether records that this node asks to persist outlive the process.
    pub durable: bool,
    /// What the driver adds to what this node sends.
    pub overhead: Overhead,
    /// What it signs with; needed where `identity` is signed.
    pub signing: Option<Signing>,
}

/// What a driver that seals adds to what its node sends, at most, in bytes. It counts in `mtu_bytes` and `bandwidth_max`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Overhead {
    /// To a datagram.
    pub datagram: usize,
    /// To a piece of a stream.
    pub piece: usize,
    /// Before the first piece of a stream.
    pub opening: usize,
}

/// What a running node keeps of its [`Identity`].
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Own {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tags: Tags,
    pub(crate) session: u64,
    pub(crate) durable: bool,
    pub(crate) overhead: Overhead,
    /// So many bytes of tags fit its claims.
    pub(crate) tags_bytes_max: usize,
}

/// What credentials take of a claim: certificate, two signatures, a length.
const fn credentials_bytes(signing: &Signing) -> usize {
    signing.certificate.len() + 2 * SIGNATURE_BYTES + 2
}

impl Identity {
    /// A node in its first life, without a disk, a key or a certificate.
    pub fn new(id: NodeId, name: impl Into<String>, address: impl Into<SocketAddr>, session: u64) -> Self {
        Self {
            id,
            name: name.into(),
            addresses: vec![address.into()],
            tags: Tags::new(),
            session,
            secret: None,
            stored: Stored::default(),
            durable: false,
            overhead: Overhead::default(),
            signing: None,
        }
    }

    /// What a node keeps, and what it needs at its start alone: the secret if there is one, and what earlier lives left.
    pub(crate) fn take_apart(self) -> (Own, Option<[u8; 16]>, Stored, Option<Signing>) {
        let Self { id, name, addresses, tags, session, secret, stored, durable, overhead, signing } = self;
        let tags_bytes_max = TAGS_BYTES_MAX - signing.as_ref().map_or(0, credentials_bytes);
        (Own { id, name, addresses, tags, session, durable, overhead, tags_bytes_max }, secret, stored, signing)
    }

    /// Checks name, addresses and tags.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, value: String, rule: &str| Err(ConfigError { field, value, rule: rule.to_owned() });
        if !is_name(&self.name) {
            return refuse(
                "name",
                format!("{:?} ({} bytes)", self.name, self.name.len()),
                "1 to 128 bytes without control characters",
            );
        }
        if !(1..=4).contains(&self.addresses.len()) {
            return refuse("advertise", format!("{} addresses", self.addresses.len()), "1 to 4 addresses");
        }
        if let Some(address) = self.addresses.iter().find(|a| a.ip().is_unspecified() || a.port() == 0) {
            return refuse("advertise", address.to_string(), "an address that others can reach, with a port");
        }
        check_tags(&self.tags)?;
        let bytes = tags_bytes(&self.tags);
        let most = TAGS_BYTES_MAX.saturating_sub(self.signing.as_ref().map_or(0, credentials_bytes));
        if bytes > most {
            return refuse("tags", format!("{bytes} bytes"), &tags_rule(most));
        }
        Ok(())
    }
}

/// Checks tags: keys of 1 to 64 bytes, values to 255, all together at most [`TAGS_BYTES_MAX`] bytes.
///
/// # Errors
/// The first tag that breaks a rule.
pub fn check_tags(tags: &Tags) -> Result<(), ConfigError> {
    let refuse = |value: String, rule: &str| Err(ConfigError { field: "tags", value, rule: rule.to_owned() });
    for (key, value) in tags {
        if !(1..=64).contains(&key.len()) || value.len() > 255 {
            return refuse(format!("{key}={value}"), "keys of 1 to 64 bytes with values of up to 255");
        }
    }
    let bytes = tags_bytes(tags);
    if bytes > TAGS_BYTES_MAX {
        return refuse(format!("{bytes} bytes"), &tags_rule(TAGS_BYTES_MAX));
    }
    Ok(())
}

pub(crate) fn tags_bytes(tags: &Tags) -> usize {
    tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
}

pub(crate) fn tags_rule(most: usize) -> String {
    format!("at most {most} bytes, keys, values and two bytes a tag, so that a claim fits a datagram")
}

/// The most bytes of all tags of a node; less where claims are signed, by what certificate and signatures take.
pub const TAGS_BYTES_MAX: usize = 750;

/// What a node keeps across restarts, read back from the records that it asked to persist.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stored {
    /// The last boot, zero before the first.
    pub boot: u64,
    /// When this identity first started.
    pub first_boot: Option<Seconds>,
    /// Addresses of the members known last: contacts to rejoin through, never claims.
    pub members: Vec<SocketAddr>,
    /// Addresses of members that died or left, tried now and then because a partition looks the same.
    pub former: Vec<SocketAddr>,
    /// Members that died or left, and since when; longer than their certificates.
    pub gone: Vec<(NodeId, Seconds)>,
    /// When this node was last in touch with others.
    pub heard: Option<Seconds>,
    /// The data: each update as its bytes.
    pub data: Vec<Box<[u8]>>,
    /// What this node must remember of agreement, by the rest of its key.
    pub agreement: Vec<Kept>,
}

/// Something that a node keeps, by the rest of its key.
pub type Kept = (Box<[u8]>, Box<[u8]>);

impl Stored {
    /// Reads back what [`Output::Persist`](crate::Output::Persist) asked to store, each key once. What it does not
    /// understand it leaves out: a newer version may have written it.
    pub fn from_records<'a>(records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut stored = Self::default();
        for (key, value) in records {
            stored.add(key, value);
        }
        stored
    }

    /// Reads back one record, in any order; each key once.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut reader = Reader::new(value);
        match key {
            b"boot" => self.boot = reader.u64().unwrap_or(self.boot),
            b"first_boot" => self.first_boot = reader.u32().map(Seconds),
            b"members" => self.members = read_addresses(reader),
            b"gone" => self.gone = Apart::read(reader),
            b"heard" => self.heard = reader.u32().map(Seconds),
            b"former" => self.former = read_addresses(reader),
            key if key.starts_with(RECORD_PREFIX) => self.data.push(value.into()),
            key if key.starts_with(AGREEMENT_PREFIX) => {
                self.agreement.push((key[AGREEMENT_PREFIX.len()..].into(), value.into()));
            }
            _ => {}
        }
    }
}

fn read_addresses(mut reader: Reader<'_>) -> Vec<SocketAddr> {
    std::iter::from_fn(|| reader.address()).collect()
}

pub(crate) fn write_addresses(addresses: &[SocketAddr]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(addresses.len() * 7);
    for address in addresses {
        bytes.put_address(*address);
    }
    bytes
}

/// One change to what a node keeps: `value` under `key`, or the removal of `key`.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Record {
    /// Short, unique to what it names; the driver does not look inside.
    pub key: Vec<u8>,
    /// The new content; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_shows_its_boot_and_its_refutations() {
        assert_eq!(Incarnation::of_boot(3).to_string(), "3");
        assert_eq!(Incarnation::of_boot(3).next().to_string(), "3.1");
        assert!(Incarnation::of_boot(3).next() < Incarnation::of_boot(4));
    }

    #[test]
    fn a_sequence_survives_printing() {
        for sequence in [Sequence::new(1, 1), Sequence::new(7, u32::MAX)] {
            assert_eq!(sequence.to_string().parse(), Ok(sequence));
        }
    }
}
