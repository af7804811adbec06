//! What is used in place of the keys themselves: each use has a key of its own, derived by HKDF-SHA256 (RFC 5869), so that
//! none tells anything about another.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

use super::{KEY_BYTES, Key, KeyId, Keyring, SECRET_BYTES};

/// Separates what is derived here from whatever else a key might be used for.
const SALT: &[u8] = b"rumormill 1";

/// What is derived from one key.
pub(crate) struct Derived {
    id: KeyId,
    root: Prk,
}

impl Derived {
    fn of(key: &Key) -> Self {
        let root = Salt::new(HKDF_SHA256, SALT).extract(key.bytes());
        let mut id = [0; 8];
        expand(&root, &[b"id"], &mut id);
        Self { id: KeyId(u64::from_be_bytes(id)), root }
    }

    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// The key of all datagrams of one session.
    pub(crate) fn datagrams(&self, session: u64) -> LessSafeKey {
        self.cipher(&[b"datagrams", &session.to_le_bytes()])
    }

    /// The pre-shared key of streams.
    pub(crate) fn streams(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        expand(&self.root, &[b"streams"], &mut *bytes);
        bytes
    }

    /// The key under which other keys travel; `nonce` is random, and part of what this key is derived from.
    pub(crate) fn wrapping(&self, nonce: &[u8; 16]) -> LessSafeKey {
        self.cipher(&[b"wrapping", nonce])
    }

    fn cipher(&self, info: &[&[u8]]) -> LessSafeKey {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        expand(&self.root, info, &mut *bytes);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).expect("a key of AES-256 has 32 bytes"))
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Derived({})", self.id)
    }
}

/// The secret that keys the ids of updates, for the core. What is in the key file itself never leaves this crate.
pub(crate) fn secret_of_ids(keyring: &Keyring) -> [u8; SECRET_BYTES] {
    let root = Salt::new(HKDF_SHA256, SALT).extract(keyring.secret());
    let mut secret = [0; SECRET_BYTES];
    expand(&root, &[b"update ids"], &mut secret);
    secret
}

pub(super) fn id_of(key: &Key) -> KeyId {
    Derived::of(key).id
}

/// The keys that are accepted, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// The first is used.
    keys: Vec<Arc<Derived>>,
}

impl Ring {
    pub(crate) fn of(keyring: &Keyring) -> Self {
        Self { keys: keyring.keys().iter().map(|key| Arc::new(Derived::of(key))).collect() }
    }

    /// The key under which this node seals.
    pub(crate) fn used(&self) -> &Arc<Derived> {
        self.keys.first().expect("a ring has a key")
    }

    /// The accepted key with this byte in front.
    pub(crate) fn get(&self, byte: u8) -> Option<&Arc<Derived>> {
        self.keys.iter().find(|key| key.id.byte() == byte)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(root: &Prk, info: &[&[u8]], to: &mut [u8]) {
    let length = Length(to.len());
    root.expand(info, length).and_then(|output| output.fill(to)).expect("HKDF-SHA256 gives up to 8,160 bytes");
}

#[cfg(test)]
mod tests {
    use ring::aead::{Aad, Nonce};

    use super::*;

    fn tag(cipher: &LessSafeKey) -> Vec<u8> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        cipher.seal_in_place_separate_tag(nonce, Aad::empty(), &mut []).unwrap().as_ref().to_vec()
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let (one, other) = (Derived::of(&Key::new(&[1; 32])), Derived::of(&Key::new(&[2; 32])));
        assert_ne!(one.id(), other.id());
        assert_eq!(tag(&one.datagrams(7)), tag(&Derived::of(&Key::new(&[1; 32])).datagrams(7)));
        assert_ne!(tag(&one.datagrams(7)), tag(&one.datagrams(8)));
        assert_ne!(tag(&one.datagrams(7)), tag(&other.datagrams(7)));
        assert_ne!(tag(&one.wrapping(&[0; 16])), tag(&one.wrapping(&[1; 16])));
        assert_ne!(*one.streams(), *other.streams());
    }

    #[test]
    fn what_is_derived_never_changes() {
        // Computed with HMAC from the standard library of Python: another result would split a cluster at an upgrade.
        let one = Derived::of(&Key::new(&[1; 32]));
        assert_eq!(one.id().to_string(), "044434f58e339d9c");
        assert_eq!(one.streams()[..8], [0xee, 0x6a, 0xdf, 0x99, 0x94, 0xdc, 0x4a, 0x58]);
    }
}
