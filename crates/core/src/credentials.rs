//! Credentials: who may be a member, and whose word an update is (decision 0018).
//!
//! A **certificate** is the word of the cluster's authority that a public key belongs to a member. What a member says of
//! itself, and what it writes, carries its certificate and its signature, so that whoever gets the update can check it with
//! nothing but the authority's public key, whatever else it has seen. A **revocation** is an update by the authority
//! itself.
//!
//! The core knows no cryptography: a driver gives it [`Signatures`].
//!
//! **Invariant:** what is signed names what it is, and for updates which cluster it is of: no signature counts for
//! anything else.

use std::fmt;
use std::sync::Arc;

use crate::clock::Stamp;
use crate::config::is_name;
use crate::datum::{Datum, Kind, Part, Statement, Subject, Sums, Version};
use crate::identity::NodeId;
use crate::recording::Memory;
use crate::time::{Seconds, Wall};
use crate::update::{self, Head, UpdateRef};
use crate::wire::{Put, Reader};

/// Bytes of a public key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 16;
/// The largest certificate: kind, key, moment, name, signature.
pub const CERTIFICATE_BYTES_MAX: usize = 1 + KEY_BYTES + 4 + 129 + SIGNATURE_BYTES;

/// The public half of a key pair.
pub type PublicKey = [u8; KEY_BYTES];
/// What a key pair makes of some bytes.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Keys of revocations begin with this, which no application's key does: they are neither read nor written as data.
pub(crate) const REVOKED_PREFIX: &[u8] = b"\0revoked/";

/// The first format of certificates, and what may be in one.
const CERTIFICATE_KIND: u8 = 0x10;
const HAS_END: u8 = 0x01;
const HAS_NAME: u8 = 0x02;

/// What the core needs of cryptography: one key pair, and the means to check what others signed. Functions of their
/// arguments alone: the same bytes give the same signature.
pub trait Signatures: fmt::Debug + Send + Sync {
    /// The public key of the pair.
    fn public_key(&self) -> PublicKey;
    /// The signature of the pair.
    fn sign(&self, bytes: &[u8]) -> Signature;
    /// Whether a signature of these bytes is that of this key.
    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool;
    /// The id of the node that has this key.
    fn id_of(&self, key: &PublicKey) -> NodeId;
    /// A hash that nobody finds other bytes for.
    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES];
}

/// What a node signs with.
#[derive(Clone, Debug)]
pub struct Signing {
    /// Its key pair.
    pub signatures: Arc<dyn Signatures>,
    /// The authority's word for its key.
    pub certificate: Vec<u8>,
}

/// Why somebody's word does not count.
#[derive(
    Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize, thiserror::Error,
)]
pub enum Distrust {
    /// It carries no signature.
    #[error("it is not signed")]
    Unsigned,
    /// A signature or a certificate is not what it says, or is of another authority.
    #[error("its certificate or its signature is not valid")]
    Forged,
    /// The certificate ran out before.
    #[error("its certificate has run out")]
    Expired,
    /// The authority has revoked it.
    #[error("its certificate was revoked")]
    Revoked,
    /// So much of this sender was invalid lately that nothing more of it is checked for now.
    #[error("too much of its sender was invalid")]
    Unchecked,
}

/// A certificate, taken apart where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) key: &'a PublicKey,
    /// Until when it counts.
    pub(crate) until: Seconds,
    /// The only name that the member may have.
    pub(crate) name: Option<&'a str>,
    pub(crate) signature: &'a Signature,
}

impl<'a> CertificateRef<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let start = *reader;
        let kind = reader.u8()?;
        if kind & !(HAS_END | HAS_NAME) != CERTIFICATE_KIND {
            return None;
        }
        let key = array(reader)?;
        let until = if kind & HAS_END != 0 { Seconds(reader.u32()?) } else { Seconds::NEVER };
        let name = if kind & HAS_NAME != 0 { Some(reader.short_text().filter(|name| is_name(name))?) } else { None };
        let signature = array(reader)?;
        Some(Self { bytes: consumed(start, *reader), key, until, name, signature })
    }

    /// What the authority signed.
    pub(crate) fn statement(&self) -> Vec<u8> {
        statement(b"certificate", 0, &[&self.bytes[..self.bytes.len() - SIGNATURE_BYTES]])
    }
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Whose key it is.
    pub key: PublicKey,
    /// Until when it counts, if it ends.
    pub until: Option<Seconds>,
    /// The only name that the member may have, if there is one.
    pub name: Option<String>,
}

impl Certificate {
    /// Has an authority put its word under it.
    ///
    /// # Panics
    /// If the name is none.
    pub fn issue(&self, authority: &dyn Signatures) -> Vec<u8> {
        assert!(self.name.as_deref().is_none_or(is_name), "a name has 1 to 128 bytes without control characters");
        let mut bytes = vec![CERTIFICATE_KIND];
        bytes.extend_from_slice(&self.key);
        if let Some(until) = self.until {
            bytes[0] |= HAS_END;
            bytes.extend_from_slice(&until.0.to_le_bytes());
        }
        if let Some(name) = &self.name {
            bytes[0] |= HAS_NAME;
            bytes.put_short_block(name.as_bytes());
        }
        let signature = authority.sign(&statement(b"certificate", 0, &[&bytes]));
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// What a certificate says, if it is one of this authority.
    pub fn read(bytes: &[u8], authority: &PublicKey, signatures: &dyn Signatures) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let read = CertificateRef::read(&mut reader).filter(|_| reader.is_empty())?;
        let is_valid = signatures.verify(authority, &read.statement(), read.signature);
        is_valid.then(|| Self {
            key: *read.key,
            until: (read.until != Seconds::NEVER).then_some(read.until),
            name: read.name.map(str::to_owned),
        })
    }
}

/// A member whose certificate counts no more.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Revocation {
    /// Whose.
    pub id: NodeId,
    /// The name that it had, for people; may be empty.
    pub name: String,
    /// What it wrote after this moment is void.
    pub since: Wall,
    /// When the authority said so.
    pub at: Wall,
}

impl Revocation {
    /// The update by which an authority says it.
    ///
    /// # Panics
    /// If the name is longer than names are.
    pub fn issue(&self, authority: &dyn Signatures) -> Vec<u8> {
        assert!(self.name.len() <= 128, "a name has at most 128 bytes");
        let author = authority.id_of(&authority.public_key());
        let version = Version { stamp: Stamp::of(self.at), author };
        let key = revocation_key(self.id);
        let statement = Statement::Head { version, kind: Kind::Register, is_deleted: false };
        let datum = Datum { subject: Subject::head(&key), statement };
        let mut body = self.since.as_micros().to_le_bytes().to_vec();
        body.extend_from_slice(self.name.as_bytes());
        let plain = update::data_bytes(&datum, Seconds::NEVER, Seconds::NEVER, &body);
        let signature = authority.sign(&self::statement(b"revocation", 0, &[&plain]));
        update::with_credentials(plain, &signature)
    }

    /// What an update of the data space says, if it is one of these. Its signature is not looked at.
    pub(crate) fn of(update: &UpdateRef<'_>) -> Option<Self> {
        let Head::Data(datum) = update.head else { return None };
        let digits = datum.subject.key.strip_prefix(REVOKED_PREFIX)?;
        let Statement::Head { version, kind: Kind::Register, is_deleted: false } = datum.statement else {
            return None;
        };
        let id: NodeId = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?.parse().ok()?;
        let (since, name) = update.value().split_first_chunk()?;
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= 128)?;
        let is_whole = revocation_key(id) == datum.subject.key && update.forget == Seconds::NEVER;
        let since = Wall::from_micros(u64::from_le_bytes(*since));
        is_whole.then(|| Self { id, name: name.to_owned(), since, at: version.stamp.wall() })
    }
}

/// The key under which a revocation lies.
pub(crate) fn revocation_key(id: NodeId) -> Vec<u8> {
    [REVOKED_PREFIX, id.to_string().as_bytes()].concat()
}

/// A certificate and a signature of the key that it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credential<'a> {
    pub(crate) certificate: CertificateRef<'a>,
    pub(crate) signature: &'a Signature,
    bytes: &'a [u8],
}

impl<'a> Credential<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let start = *reader;
        let certificate = CertificateRef::read(reader)?;
        let signature = array(reader)?;
        Some(Self { certificate, signature, bytes: consumed(start, *reader) })
    }
}

/// What an update carries behind its body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credentials<'a> {
    /// Of a claim: the member's word for what it says of itself, and, if it left, for that.
    Claim { own: Credential<'a>, goodbye: Option<&'a Signature> },
    /// Of a head or an element: whoever wrote or deleted it; and the digest of a value that runs out.
    Datum { digest: Option<&'a [u8; DIGEST_BYTES]>, by: Credential<'a> },
    /// Of sums: the author's word for what it added, and the deleter's for what is cleared of that.
    Sums { added: Credential<'a>, cleared: Option<Credential<'a>> },
    /// Of a revocation.
    Authority(&'a Signature),
}

impl<'a> Credentials<'a> {
    /// Reads what stands behind an update with this head.
    pub(crate) fn read(head: &Head<'_>, expires_alone: bool, trailer: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(trailer);
        let reader = &mut reader;
        let credentials = match *head {
            Head::Claim { state, .. } => {
                let own = Credential::read(reader)?;
                let has_left = state == crate::io::State::Left;
                Self::Claim { own, goodbye: if has_left { Some(array(reader)?) } else { None } }
            }
            Head::Data(Datum { subject, .. }) if subject.key.starts_with(REVOKED_PREFIX) => {
                Self::Authority(array(reader)?)
            }
            Head::Data(Datum { statement: Statement::Sums(sums), .. }) => {
                let added = Credential::read(reader)?;
                Self::Sums { added, cleared: if sums.has_clear() { Some(Credential::read(reader)?) } else { None } }
            }
            Head::Data(_) => {
                let digest = if expires_alone { Some(array(reader)?) } else { None };
                Self::Datum { digest, by: Credential::read(reader)? }
            }
            Head::Message { .. } | Head::Agreement(_) => return None,
        };
        reader.is_empty().then_some(credentials)
    }
}

/// Signs for a node.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Signer {
    /// No key is written: a node that was read is given signatures before it has its next input.
    #[serde(skip, default = "answers_of_nobody")]
    pub(crate) signatures: Arc<dyn Signatures>,
    certificate: Box<[u8]>,
    /// Stands for the cluster in all that is signed.
    domain: u64,
}

impl Signer {
    pub(crate) fn new(signing: Signing, domain: u64) -> Self {
        Self { signatures: signing.signatures, certificate: signing.certificate.into(), domain }
    }

    /// Of which cluster everything is that it signs and checks.
    pub(crate) const fn domain(&self) -> u64 {
        self.domain
    }

    /// A claim that this node makes about itself, as alive.
    pub(crate) fn claim(&self, plain: Vec<u8>) -> Vec<u8> {
        let trailer = self.credential(&claim_statement(self.domain, &plain));
        update::with_credentials(plain, &trailer)
    }

    /// Its goodbye, given what it carried while it was alive.
    pub(crate) fn goodbye(&self, plain: Vec<u8>, alive: &[u8]) -> Vec<u8> {
        let signature = self.signatures.sign(&goodbye_statement(self.domain, &plain));
        update::with_credentials(plain, &[alive, &signature].concat())
    }

    /// A head or an element; `runs_out` if its value does.
    pub(crate) fn datum(&self, plain: Vec<u8>, body: &[u8], runs_out: bool) -> Vec<u8> {
        let header = &plain[..plain.len() - body.len()];
        let digest = self.signatures.digest(body);
        let said: &[u8] = if runs_out { &digest } else { body };
        let credential = self.credential(&statement(b"datum", self.domain, &[header, said]));
        let trailer = if runs_out { [&digest[..], &credential].concat() } else { credential };
        update::with_credentials(plain, &trailer)
    }

    /// Sums: this node's word for those of their two halves that none of `sources` has.
    pub(crate) fn sums(
        &self,
        plain: Vec<u8>,
        subject: &Subject<'_>,
        sums: &Sums,
        sources: &[UpdateRef<'_>],
    ) -> Vec<u8> {
        let known = |half: fn(&Sums) -> Sums, pick: fn(&Credentials<'_>) -> Option<Vec<u8>>| {
            let same = |source: &&UpdateRef<'_>| source.sums().is_some_and(|known| half(&known) == half(sums));
            let held = sources.iter().filter(same).filter_map(|source| pick(&source.credentials()?));
            held.max()
        };
        let added = known(Sums::added_half, |credentials| match credentials {
            Credentials::Sums { added, .. } => Some(added.bytes.to_vec()),
            Credentials::Claim { .. } | Credentials::Datum { .. } | Credentials::Authority(_) => None,
        });
        let cleared = known(Sums::cleared_half, |credentials| match credentials {
            Credentials::Sums { cleared, .. } => cleared.map(|cleared| cleared.bytes.to_vec()),
            Credentials::Claim { .. } | Credentials::Datum { .. } | Credentials::Authority(_) => None,
        });
        let mut trailer = added.unwrap_or_else(|| self.credential(&added_statement(self.domain, subject, sums)));
        if sums.has_clear() {
            let own = || self.credential(&cleared_statement(self.domain, subject, sums));
            trailer.extend(cleared.unwrap_or_else(own));
        }
        update::with_credentials(plain, &trailer)
    }

    fn credential(&self, statement: &[u8]) -> Vec<u8> {
        [&self.certificate[..], &self.signatures.sign(statement)].concat()
    }
}

fn answers_of_nobody() -> Arc<dyn Signatures> {
    Arc::new(Memory::default())
}

/// What a member signs of a claim: the claim as alive, without credentials.
pub(crate) fn claim_statement(domain: u64, alive: &[u8]) -> Vec<u8> {
    statement(b"claim", domain, &[alive])
}

/// What a member signs when it leaves.
pub(crate) fn goodbye_statement(domain: u64, left: &[u8]) -> Vec<u8> {
    statement(b"goodbye", domain, &[left])
}

/// What the writer of a head or an element signs: the update without credentials, with the digest of a value that runs out
/// in the place of the value.
pub(crate) fn datum_statement(domain: u64, header: &[u8], said: &[u8]) -> Vec<u8> {
    statement(b"datum", domain, &[header, said])
}

/// What the author of sums signs.
pub(crate) fn added_statement(domain: u64, subject: &Subject<'_>, sums: &Sums) -> Vec<u8> {
    half_statement(b"added", domain, subject, &sums.added_half())
}

/// What whoever clears sums signs.
pub(crate) fn cleared_statement(domain: u64, subject: &Subject<'_>, sums: &Sums) -> Vec<u8> {
    half_statement(b"cleared", domain, subject, &sums.cleared_half())
}

fn half_statement(what: &[u8], domain: u64, subject: &Subject<'_>, half: &Sums) -> Vec<u8> {
    debug_assert!(matches!(subject.part, Part::Sums(_)), "only sums have halves");
    let mut said = Vec::new();
    Datum { subject: *subject, statement: Statement::Sums(*half) }.write(&mut said);
    statement(what, domain, &[&said])
}

/// What the authority signs of a revocation.
pub(crate) fn revocation_statement(plain: &[u8]) -> Vec<u8> {
    statement(b"revocation", 0, &[plain])
}

/// What is signed says first what it is, and of which cluster.
fn statement(what: &[u8], domain: u64, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + parts.iter().map(|part| part.len()).sum::<usize>());
    bytes.extend_from_slice(b"rumormill ");
    bytes.extend_from_slice(what);
    bytes.push(0);
    bytes.extend_from_slice(&domain.to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn array<'a, const N: usize>(reader: &mut Reader<'a>) -> Option<&'a [u8; N]> {
    reader.take(N)?.try_into().ok()
}

/// What lies between two places of one reader.
fn consumed<'a>(mut start: Reader<'a>, mut end: Reader<'a>) -> &'a [u8] {
    let all = start.rest();
    &all[..all.len() - end.rest().len()]
}
