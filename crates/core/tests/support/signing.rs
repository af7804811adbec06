//! Nodes whose identity is signed, with signatures that cost nothing.

use std::hash::Hasher as _;
use std::sync::Arc;

use rumormill_core::config::IdentityKind;
use rumormill_core::credentials::{DIGEST_BYTES, PublicKey, Signature};
use rumormill_core::{Certificate, ConfigBuilder, Identity, NodeId, Signatures, Signing};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::support::address;

/// A key pair: its signatures are keyed hashes, which whoever knows the public key could make.
#[derive(Debug)]
pub(crate) struct Pair(pub(crate) u64);

fn hash(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new();
    hasher.write(key);
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

impl Signatures for Pair {
    fn public_key(&self) -> PublicKey {
        key(self.0)
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let hash = hash(&self.public_key(), bytes);
        std::array::from_fn(|place| hash[place % 16])
    }

    fn verify(&self, public: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        let signer = Self(self.id_of(public).0);
        signer.sign(bytes) == *signature && signer.public_key() == *public
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        NodeId(u64::from_le_bytes(*key.first_chunk().expect("keys are longer than ids")))
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        hash(b"digest", bytes)
    }
}

pub(crate) fn key(id: u64) -> PublicKey {
    std::array::from_fn(|place| id.to_le_bytes()[place % 8])
}

/// Who decides who may join.
pub(crate) const AUTHORITY: u64 = 200;

/// Settings under an authority.
pub(crate) fn signed_by(authority: u64) -> ConfigBuilder {
    let half = |half: u8| char::from_digit(half.into(), 16).expect("half a byte is below 16");
    let authority = key(authority).into_iter().flat_map(|byte| [half(byte >> 4), half(byte & 0xf)]).collect();
    ConfigBuilder { identity: IdentityKind::Signed, authority, ..ConfigBuilder::lan() }
}

/// Node `number`, with a certificate of that issuer.
pub(crate) fn identity_of(number: u64, issuer: u64) -> Identity {
    let certificate = Certificate { key: key(number), until: None, name: None }.issue(&Pair(issuer));
    let place = address(u8::try_from(number % 250).expect("below 250"));
    Identity {
        signing: Some(Signing { signatures: Arc::new(Pair(number)), certificate }),
        ..Identity::new(NodeId(number), format!("n{number}"), place, number)
    }
}
