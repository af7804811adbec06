//! The key pair that a node's id comes from, and everything else that has to be random.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rumormill_core::NodeId;

use crate::authority::Ed25519;
use crate::error::StartError;

/// An Ed25519 key in PKCS#8, as it is stored.
pub(crate) struct NodeKey {
    pkcs8: Vec<u8>,
    id: NodeId,
}

impl NodeKey {
    pub(crate) fn generate() -> Result<Self, StartError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| StartError::NoRandomness)?;
        Ok(Self::from_pkcs8(document.as_ref().to_vec()).expect("a key that was just made is valid"))
    }

    /// Reads a stored key; `None` if it is not one.
    pub(crate) fn from_pkcs8(pkcs8: Vec<u8>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?;
        let id = id_of(pair.public_key().as_ref());
        Some(Self { pkcs8, id })
    }

    pub(crate) fn as_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// What signs with it.
    pub(crate) fn signatures(&self) -> Ed25519 {
        Ed25519::new(Ed25519KeyPair::from_pkcs8(&self.pkcs8).expect("it was read before"))
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }
}

/// The first 64 bits of the hash of the public key.
pub(crate) fn id_of(public_key: &[u8]) -> NodeId {
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
    let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 has 32 bytes");
    NodeId(u64::from_be_bytes(*first))
}

/// 64 bits from the operating system.
pub(crate) fn random_bits() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::NoRandomness)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_gives_the_same_id_again() {
        let key = NodeKey::generate().unwrap();
        let again = NodeKey::from_pkcs8(key.as_pkcs8().to_vec()).unwrap();
        assert_eq!(key.id(), again.id());
        assert_ne!(key.id(), NodeKey::generate().unwrap().id());
    }

    #[test]
    fn the_id_is_the_head_of_the_hash_of_the_public_key() {
        // The public key of RFC 8032 §7.1, test 1. Its SHA-256 begins with 21fe31dfa154a261.
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
            0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        assert_eq!(id_of(&public).to_string(), "21fe31dfa154a261");
    }
}
