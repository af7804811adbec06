//! Keyed hashes: SipHash-2-4 (Aumasson and Bernstein 2012), 64 and 128 bits wide.
//!
//! Keyed by a secret of the cluster, so that nobody outside can make two updates of one id.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher128};

/// 64 bits of `bytes` under `key`.
pub(crate) fn keyed(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}

/// 32 bits of `bytes` under `key`: to tell strangers, not to keep them out.
pub(crate) fn short(key: &[u8; 16], bytes: &[u8]) -> u32 {
    let [a, b, c, d, ..] = keyed(key, bytes).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// 128 bits of `bytes` under `key`.
pub(crate) fn keyed_wide(key: &[u8; 16], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher128::new_with_key(key);
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

/// The secret of a cluster that has no key: a function of its name, which keeps clusters apart and no attacker out.
pub(crate) fn secret_of_name(cluster: &str) -> [u8; 16] {
    keyed_wide(b"rumormill-secret", cluster.as_bytes())
}
