//! Signatures for scripts: keyed hashes, which a script has put under whatever it says, as a fuzzer does not guess them.

use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::script::EPOCH;
use crate::config::Config;
use crate::credentials::{
    self, Certificate, DIGEST_BYTES, KEY_BYTES, PublicKey, REVOKED_PREFIX, Revocation, Signature, Signatures, Signer,
    Signing,
};
use crate::datum::Statement;
use crate::hash;
use crate::identity::NodeId;
use crate::io::State;
use crate::time::Wall;
use crate::update::{Head, UpdateRef, with_credentials};

/// The authority of all scripts.
const AUTHORITY: u8 = 255;
/// From this number on a certificate has a name in it, and from the next one on an end.
const NAMED: u8 = 64;
const ENDING: u8 = 128;
/// So many seconds after the beginning.
const END: u64 = 30;

/// The key pair of the node of that number: nobody's secret.
#[derive(Debug)]
struct Pair(u8);

impl Signatures for Pair {
    fn public_key(&self) -> PublicKey {
        [self.0; KEY_BYTES]
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let hash = keyed(&self.public_key(), bytes);
        std::array::from_fn(|place| hash[place % hash.len()])
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        key.iter().all(|byte| *byte == key[0]) && Self(key[0]).sign(bytes) == *signature
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        super::script::id(key[0])
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        keyed(b"digest", bytes)
    }
}

fn keyed(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new();
    hasher.write(key);
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

/// The authority's public key, as settings have it.
pub(super) fn authority() -> String {
    format!("{AUTHORITY:02x}").repeat(KEY_BYTES)
}

/// What the node of that number signs with.
pub(super) fn signing(number: u8) -> Signing {
    let until = (number >= ENDING).then(|| Wall::from_micros(EPOCH + END * 1_000_000).seconds());
    let name = (number >= NAMED).then(|| format!("n{number}"));
    let certificate = Certificate { key: [number; KEY_BYTES], until, name }.issue(&Pair(AUTHORITY));
    Signing { signatures: Arc::new(Pair(number)), certificate }
}

/// A revocation of the node of the number that is the first byte, as of the second one's second; by the third the authority
/// said so, and by an odd fourth one it was another. Longer ones are bytes as they come.
pub(super) fn revocation(text: &[u8]) -> Vec<u8> {
    let [number, since, at, issuer] = [0, 1, 2, 3].map(|place| text.get(place).copied().unwrap_or(0));
    let second = |second: u8| Wall::from_micros(EPOCH + u64::from(second) * 1_000_000);
    if text.len() > 4 {
        return text.to_vec();
    }
    let revocation =
        Revocation { id: super::script::id(number), name: format!("n{number}"), since: second(since), at: second(at) };
    revocation.issue(&Pair(AUTHORITY - issuer % 2))
}

/// An update as it would be if the node of that number, or the authority, had signed it.
pub(super) fn vouched(number: u8, bytes: &[u8], config: &Config) -> Option<Vec<u8>> {
    let update = UpdateRef::read(bytes).filter(|update| !update.is_stripped())?;
    let secret = hash::secret_of_name(&config.cluster);
    let signer = Signer::new(signing(number), hash::keyed(&secret, config.cluster.as_bytes()));
    let plain = || [&update.plain_header(), update.value()].concat();
    Some(match &update.head {
        Head::Claim { state, .. } => {
            let alive = signer.claim(update.alive_plain());
            let alive = UpdateRef::read(&alive)?.trailer();
            let own = update.in_state(*state, update.forget);
            if *state == State::Left { signer.goodbye(own, alive) } else { with_credentials(own, alive) }
        }
        Head::Data(datum) if datum.subject.key.starts_with(REVOKED_PREFIX) => {
            let plain = plain();
            let signature = Pair(AUTHORITY).sign(&credentials::revocation_statement(&plain));
            with_credentials(plain, &signature)
        }
        Head::Data(datum) => match &datum.statement {
            Statement::Sums(sums) => signer.sums(plain(), &datum.subject, sums, &[]),
            Statement::Head { .. } | Statement::Element { .. } => {
                signer.datum(plain(), update.value(), update.expires != update.forget)
            }
        },
        Head::Message { .. } | Head::Agreement(_) => bytes.to_vec(),
    })
}
