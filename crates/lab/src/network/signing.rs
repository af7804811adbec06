//! Signed identity on the virtual network: key pairs that cost next to nothing, an authority, and what can be done with it.
//!
//! The signatures of the laboratory keep nobody from forging one: they are keyed hashes, as long as those of Ed25519 and as
//! sensitive to every bit. Who is to forge here does it by [`Network::lie`].

use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rumormill_core::config::IdentityKind;
use rumormill_core::credentials::{DIGEST_BYTES, PublicKey, SIGNATURE_BYTES, Signature};
use rumormill_core::io::Ticket;
use rumormill_core::{Certificate, Command, NodeId, Revocation, Seconds, Signatures, Signing};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::Network;

/// The authority of every signed network, and another one.
const AUTHORITY: u64 = 1;
const IMPOSTOR: u64 = 2;

/// A key pair: a number that only its holder knows, as it were.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    number: u64,
    /// Whether it makes signatures that are not valid.
    lies: Arc<AtomicBool>,
}

impl Pair {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, lies: Arc::default() }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id_of(&self.public_key())
    }
}

impl Signatures for Pair {
    fn public_key(&self) -> PublicKey {
        let number = self.number.to_le_bytes();
        let (first, second) = (hash(b"public key half 1", &number), hash(b"public key half 2", &number));
        std::array::from_fn(|place| if place < 16 { first[place] } else { second[place - 16] })
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = signature(&self.public_key(), bytes);
        signature[0] ^= u8::from(self.lies.load(Ordering::Relaxed));
        signature
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        self::signature(key, bytes) == *signature
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        let hash = hash(b"id of public key", key);
        NodeId(u64::from_le_bytes(std::array::from_fn(|place| hash[place])).max(1))
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        hash(b"digest", bytes)
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("half a byte is below 16")
}

fn signature(key: &PublicKey, bytes: &[u8]) -> Signature {
    let hash = hash(key, bytes);
    std::array::from_fn::<u8, SIGNATURE_BYTES, _>(|place| hash[place % 16])
}

fn hash(what: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new();
    hasher.write(what);
    hasher.write_usize(what.len());
    hasher.write(bytes);
    hasher.finish128().as_bytes()
}

/// What the certificate of a machine's next start says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Papers {
    /// It is of an authority that nobody knows.
    is_false: bool,
    until: Option<Seconds>,
}

/// What can be done to signed networks.
impl Network {
    /// Nodes sign what they say of themselves and what they write, with certificates of one authority.
    #[must_use]
    pub fn signed(mut self) -> Self {
        let key = Pair::new(AUTHORITY).public_key();
        self.options.config.identity = IdentityKind::Signed;
        self.options.config.authority = key.iter().flat_map(|byte| [byte >> 4, byte & 0xf].map(hex_digit)).collect();
        self
    }

    /// From its next start on a node has a certificate of an authority that nobody knows.
    pub fn falsify_certificate(&mut self, node: usize) {
        self.hosts[node].papers.is_false = true;
    }

    /// From its next start on a node has a certificate that counts for so long from now.
    pub fn limit_certificate(&mut self, node: usize, span: Duration) {
        self.hosts[node].papers.until = Some(self.true_wall().seconds().plus(span));
    }

    /// From now on the signatures of a node are not valid, or are again.
    pub fn lie(&mut self, node: usize, lies: bool) {
        if let Some(pair) = &self.hosts[node].pair {
            pair.lies.store(lies, Ordering::Relaxed);
        }
    }

    /// Has the authority revoke the certificate of a member, at a node; what it wrote after `since` is void.
    pub fn revoke(&mut self, node: usize, member: usize, since: rumormill_core::Wall) -> Ticket {
        self.revoke_as(AUTHORITY, node, member, since)
    }

    /// The same by an authority that is not the cluster's.
    pub fn revoke_falsely(&mut self, node: usize, member: usize, since: rumormill_core::Wall) -> Ticket {
        self.revoke_as(IMPOSTOR, node, member, since)
    }

    fn revoke_as(&mut self, issuer: u64, node: usize, member: usize, since: rumormill_core::Wall) -> Ticket {
        let (id, name) = (self.id(member), self.hosts[member].name.clone());
        let revocation = Revocation { id, name, since, at: self.true_wall() };
        self.command(node, Command::Revoke { revocation: revocation.issue(&Pair::new(issuer)) })
    }

    /// What a machine's node signs with.
    pub(crate) fn signing(&self, node: usize) -> Option<Signing> {
        let host = &self.hosts[node];
        let pair = host.pair.clone()?;
        let certificate = Certificate { key: pair.public_key(), until: host.papers.until, name: None };
        let issuer = Pair::new(if host.papers.is_false { IMPOSTOR } else { AUTHORITY });
        Some(Signing { certificate: certificate.issue(&issuer), signatures: Arc::new(pair) })
    }
}
