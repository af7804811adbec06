//! The authority of a cluster whose identity is signed: its key pair in a file, the certificates that it gives to nodes, and
//! revocations. It is no server: it is a file that an operator keeps, and needs when somebody is admitted or revoked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rumormill_core::credentials::{DIGEST_BYTES, PublicKey, Signature};
use rumormill_core::{Certificate, NodeId, Revocation, Signatures, Wall};
use zeroize::Zeroizing;

use crate::error::StartError;
use crate::key::{self, NodeKey};
use crate::private_file::{self, PrivateFileError};
use crate::{clock, directory};

const FIRST_LINE: &str = "rumormill-authority 1";
const CERTIFICATE_LINE: &str = "rumormill-certificate 1";

/// Signs with Ed25519 (RFC 8032), and checks what others signed.
pub(crate) struct Ed25519(Ed25519KeyPair);

impl Ed25519 {
    pub(crate) const fn new(pair: Ed25519KeyPair) -> Self {
        Self(pair)
    }
}

/// Nothing of the private key.
impl fmt::Debug for Ed25519 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519({})", hex(&self.public_key()))
    }
}

impl Signatures for Ed25519 {
    fn public_key(&self) -> PublicKey {
        self.0.public_key().as_ref().try_into().expect("a public key has 32 bytes")
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        self.0.sign(bytes).as_ref().try_into().expect("a signature has 64 bytes")
    }

    fn verify(&self, key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature).is_ok()
    }

    fn id_of(&self, key: &PublicKey) -> NodeId {
        key::id_of(key)
    }

    fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }
}

/// Why a file of an authority, or a certificate, was not read or written. No private key is in it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read or written, or others can read the authority's.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It is not what it should be.
    #[error("{} is no {what}: `rumor authority {command}` makes one", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Which command makes one.
        command: &'static str,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// Decides who may be a member.
pub struct Authority {
    pair: Ed25519,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// Nothing of the private key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pair.fmt(f)
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn generate() -> Result<Self, AuthorityError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| AuthorityError::NoRandomness)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok(Self::from_pkcs8(pkcs8).expect("a key that was just made is valid"))
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let pair = Ed25519::new(Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?);
        Some(Self { pair, pkcs8 })
    }

    /// Reads the file of one, which only its owner can read.
    ///
    /// # Errors
    /// Where others can read it too, or it is no such file.
    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let text = private_file::read(path)?;
        let digits = content(&text, FIRST_LINE).and_then(|line| line.strip_prefix("key "));
        let read = digits.and_then(from_hex).and_then(|bytes| Self::from_pkcs8(Zeroizing::new(bytes)));
        let (what, command) = ("file of an authority", "new");
        read.ok_or_else(|| AuthorityError::Malformed { path: path.to_owned(), what, command })
    }

    /// Writes it to a new file of mode 0600.
    ///
    /// # Errors
    /// Where there is such a file already, or it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), AuthorityError> {
        let text = Zeroizing::new(format!(
            "{FIRST_LINE}\n# Whoever can read this decides who may join, and who may not. Its public key is\n# {}\nkey {}\n",
            self.public_key(),
            &*Zeroizing::new(hex(&self.pkcs8)),
        ));
        Ok(private_file::write_new(path, text.as_bytes())?)
    }

    /// Its public key, which all agents of its cluster have in their settings, as 64 hex digits.
    pub fn public_key(&self) -> String {
        hex(&self.pair.public_key())
    }

    /// Its word that the holder of a key may be a member: by any name or by that one alone, for ever or until then.
    pub fn admit(&self, key: PublicKey, name: Option<String>, until: Option<Wall>) -> Vec<u8> {
        let until = until.map(Wall::seconds);
        Certificate { key, until, name }.issue(&self.pair)
    }

    /// Its word that a member is none any more, for [`Cluster::revoke`](crate::Cluster::revoke). What that one wrote after
    /// `since` is void.
    pub fn revoke(&self, id: NodeId, name: String, since: Wall) -> Vec<u8> {
        Revocation { id, name, since, at: clock::wall() }.issue(&self.pair)
    }

    /// The present time of day, and one so long ago.
    pub fn ago(span: Duration) -> Wall {
        let back = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Wall::from_micros(clock::wall().as_micros().saturating_sub(back))
    }
}

/// A certificate as text, as it is kept in files.
pub fn certificate_text(certificate: &[u8]) -> String {
    format!("{CERTIFICATE_LINE}\n{}\n", hex(certificate))
}

/// Reads the file of a certificate, which is no secret.
///
/// # Errors
/// Where it is no such file.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| PrivateFileError::Io { path: path.to_owned(), source })?;
    let malformed = AuthorityError::Malformed { path: path.to_owned(), what: "certificate", command: "admit" };
    content(&text, CERTIFICATE_LINE).and_then(from_hex).ok_or(malformed)
}

/// The public key of the node that a data directory is of; it is made if there is none yet.
///
/// # Errors
/// Where the directory cannot be read, or be made.
pub fn public_key_in(data_dir: &Path) -> Result<(NodeId, PublicKey), StartError> {
    let known = directory::key(data_dir)?;
    let key: NodeKey = match known {
        Some(key) => key,
        None => directory::open(data_dir)?.key,
    };
    Ok((key.id(), key.signatures().public_key()))
}

/// A public key as people write it: 64 hex digits.
pub fn parse_public_key(text: &str) -> Option<PublicKey> {
    from_hex(text)?.try_into().ok()
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.trim();
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// The one line behind the first, which says what a file is; lines for people are left out.
fn content<'a>(text: &'a str, first: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_it = lines.next() == Some(first);
    let line = lines.next().filter(|_| is_it)?;
    lines.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_of_its_authority_alone_and_for_one_key() {
        let (authority, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        let node = NodeKey::generate().unwrap().signatures();
        let until = Wall::from_micros(2_000_000_000_000_000);
        let bytes = authority.admit(node.public_key(), Some("db1".to_owned()), Some(until));
        let read = |authority: &Authority| Certificate::read(&bytes, &authority.pair.public_key(), &node);
        let certificate = read(&authority).unwrap();
        assert_eq!((certificate.key, certificate.name.as_deref()), (node.public_key(), Some("db1")));
        assert_eq!(certificate.until, Some(until.seconds()));
        assert_eq!(read(&other), None);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                let read = Certificate::read(&damaged, &authority.pair.public_key(), &node);
                assert_eq!(read, None, "bit {bit} of byte {place} does not matter");
            }
        }
        for length in 0..bytes.len() {
            assert_eq!(Certificate::read(&bytes[..length], &authority.pair.public_key(), &node), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_certificates_and_files_of_them_never_panic(kind: u8, rest: Vec<u8>, text: String, bytes: Vec<u8>) {
            let node = NodeKey::generate().unwrap().signatures();
            for bytes in [&bytes, &[&[0x10 | kind & 0x03][..], &rest].concat()] {
                prop_assert_eq!(Certificate::read(bytes, &[7; 32], &node), None);
                let file = certificate_text(bytes);
                prop_assert_eq!(content(&file, CERTIFICATE_LINE).and_then(from_hex), (!bytes.is_empty()).then(|| bytes.clone()));
            }
            let file = format!("{CERTIFICATE_LINE}\n{text}");
            prop_assert!(content(&text, CERTIFICATE_LINE).is_none());
            content(&file, CERTIFICATE_LINE).and_then(from_hex);
            parse_public_key(&text);
            Authority::from_pkcs8(Zeroizing::new(bytes));
        }
    }

    #[test]
    fn files_read_back_and_the_authority_s_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (path, authority) = (directory.path().join("authority"), Authority::generate().unwrap());
        authority.write_new(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Authority::read(&path).unwrap().public_key(), authority.public_key());
        assert!(authority.write_new(&path).is_err(), "a file was overwritten");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(Authority::read(&path), Err(AuthorityError::File(PrivateFileError::Open { .. }))));
        let certificate = authority.admit([7; 32], None, None);
        std::fs::write(&path, certificate_text(&certificate)).unwrap();
        assert_eq!(read_certificate(&path).unwrap(), certificate);
        assert!(!format!("{authority:?}").contains(&hex(&authority.pkcs8)[40..60]), "the private key is shown");
    }
}
