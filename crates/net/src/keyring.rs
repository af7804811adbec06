//! The keys of a cluster: whoever has one of those that it accepts belongs to it, and nobody else.
//!
//! Nothing here is ever shown: `Debug`, errors and events name a key by its [`KeyId`]. What this crate holds of a key is
//! overwritten when it is dropped; what ring and the system's memory hold of it is not (`docs/security.md`).

pub(crate) mod derived;
mod file;
pub(crate) mod holder;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::file::KeyFileError;
use crate::error::StartError;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of the secret that keys the ids of updates.
pub(crate) const SECRET_BYTES: usize = 16;
/// How many keys a node accepts at once. Two serve a rotation; the rest is for those that were forgotten to be removed.
pub(crate) const KEYS_MAX: usize = 8;

/// What a key is called by: a fingerprint, from which nothing about the key follows. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u64);

impl KeyId {
    /// What stands in front of each sealed datagram. No two keys of a ring have the same.
    pub(crate) const fn byte(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A key of the cluster.
#[derive(Clone)]
pub struct Key(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    pub(crate) fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut kept = Zeroizing::new([0; KEY_BYTES]);
        kept.copy_from_slice(bytes);
        Self(Arc::new(kept))
    }

    /// A new key.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn generate() -> Result<Self, StartError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *bytes)?;
        Ok(Self::new(&bytes))
    }

    /// What it is called by.
    pub fn id(&self) -> KeyId {
        derived::id_of(self)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// What makes a node one of its cluster: the secret that keys the ids of updates, which never changes, and the keys that are
/// accepted, of which the first is used.
#[derive(Clone)]
pub struct Keyring {
    secret: Arc<Zeroizing<[u8; SECRET_BYTES]>>,
    /// At least one, at most [`KEYS_MAX`], with different first bytes of their ids.
    keys: Vec<Key>,
}

impl Keyring {
    pub(crate) fn new(secret: &[u8; SECRET_BYTES], keys: Vec<Key>) -> Option<Self> {
        let ids: std::collections::BTreeSet<u8> = keys.iter().map(|key| key.id().byte()).collect();
        if keys.is_empty() || keys.len() > KEYS_MAX || ids.len() != keys.len() {
            return None;
        }
        let mut kept = Zeroizing::new([0; SECRET_BYTES]);
        kept.copy_from_slice(secret);
        Some(Self { secret: Arc::new(kept), keys })
    }

    /// The keyring of a new cluster: a secret, and one key.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn generate() -> Result<Self, StartError> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        fill(&mut *secret)?;
        Ok(Self::new(&secret, vec![Key::generate()?]).expect("one key is a ring"))
    }

    /// The keyring of the same cluster with a new key alone: what a rotation begins with.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn renewed(&self) -> Result<Self, StartError> {
        let taken: Vec<u8> = self.keys.iter().map(|key| key.id().byte()).collect();
        let mut key = Key::generate()?;
        while taken.contains(&key.id().byte()) {
            key = Key::generate()?;
        }
        Ok(Self { secret: Arc::clone(&self.secret), keys: vec![key] })
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Where it cannot be read, others than its owner can read it, or it is no key file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        file::read(path)
    }

    /// Writes a new key file that only its owner can read.
    ///
    /// # Errors
    /// Where there is a file of that name, or it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyFileError> {
        file::write_new(self, path)
    }

    /// The content of a key file. Whoever reads it can join the cluster.
    pub fn to_text(&self) -> Zeroizing<String> {
        file::to_text(self)
    }

    /// The keys that are accepted; the first is used.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether this is a keyring of the same cluster.
    pub fn is_of_same_cluster(&self, other: &Self) -> bool {
        self.secret.as_slice().ct_eq(other.secret.as_slice()).into()
    }

    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }

    pub(crate) fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }
}

/// Reads the content of a key file.
impl FromStr for Keyring {
    type Err = KeyFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        file::parse(text).ok_or(KeyFileError::Malformed { path: None })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), StartError> {
    SystemRandom::new().fill(bytes).map_err(|_| StartError::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_key() {
        let (secret, key) = ([0xab; SECRET_BYTES], [0xcd; KEY_BYTES]);
        let ring = Keyring::new(&secret, vec![Key::new(&key)]).unwrap();
        let shown = format!("{ring:?} {:?} {}", ring.keys(), ring.keys()[0].id());
        assert!(!shown.contains("cdcd") && !shown.contains("abab") && !shown.contains("205"), "{shown}");
    }

    #[test]
    fn a_renewed_keyring_has_the_secret_and_another_key() {
        let old = Keyring::generate().unwrap();
        let new = old.renewed().unwrap();
        assert!(new.is_of_same_cluster(&old));
        assert_ne!(new.keys()[0].id().byte(), old.keys()[0].id().byte());
        assert!(!new.is_of_same_cluster(&Keyring::generate().unwrap()));
    }

    #[test]
    fn keys_whose_first_bytes_are_alike_make_no_ring() {
        let key = Key::generate().unwrap();
        assert!(Keyring::new(&[1; SECRET_BYTES], vec![key.clone(), key]).is_none());
        assert!(Keyring::new(&[1; SECRET_BYTES], Vec::new()).is_none());
    }
}
