//! Key files: what is in them, and who may read them.
//!
//! A file begins with a line that says what it is; then come `secret` and one or more `key`, each a line with hex digits
//! behind it. The first key is used, the others are accepted. Lines that begin with `#` are for people.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KEY_BYTES, Key, Keyring, SECRET_BYTES};
use crate::private_file::{self, PrivateFileError};
use crate::store::sync_directory;

const FIRST_LINE: &str = "rumormill-key 1";
/// Readable and writable by its owner alone.
const MODE: u32 = 0o600;

/// Why a key file was not read or written. No key is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written, or others can.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// There is no key in it, or not as this version writes it.
    #[error("{} is no key file: `rumor keygen FILE` makes one", path.as_deref().unwrap_or_else(|| Path::new("this")).display())]
    Malformed {
        /// The file.
        path: Option<PathBuf>,
    },
}

pub(super) fn read(path: &Path) -> Result<Keyring, KeyFileError> {
    parse(&private_file::read(path)?).ok_or_else(|| KeyFileError::Malformed { path: Some(path.to_owned()) })
}

pub(super) fn write_new(keyring: &Keyring, path: &Path) -> Result<(), KeyFileError> {
    Ok(private_file::write_new(path, to_text(keyring).as_bytes())?)
}

/// Puts a file that only its owner can read in the place of another, so that a crash leaves all of either.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

pub(super) fn to_text(keyring: &Keyring) -> Zeroizing<String> {
    // Long enough from the start: a text that grows leaves its beginnings behind in memory.
    let mut text = Zeroizing::new(String::with_capacity(1 << 10));
    text.push_str(FIRST_LINE);
    text.push_str("\n# Whoever can read this can join the cluster and read all that it says.\nsecret ");
    put_hex(&mut text, keyring.secret());
    for key in keyring.keys() {
        // Writing to a string cannot fail.
        write!(text, "\n# {}\nkey ", key.id()).ok();
        put_hex(&mut text, key.bytes());
    }
    text.push('\n');
    text
}

pub(super) fn parse(text: &str) -> Option<Keyring> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut secret = None;
    let mut keys = Vec::new();
    for line in lines {
        let (word, digits) = line.split_once(' ')?;
        match word {
            "secret" if secret.is_none() => secret = Some(from_hex::<SECRET_BYTES>(digits.trim())?),
            "key" => keys.push(Key::new(&*from_hex::<KEY_BYTES>(digits.trim())?)),
            _ => return None,
        }
    }
    Keyring::new(&*secret?, keys)
}

fn put_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(digit.into(), 16).expect("a digit is below 16"));
        }
    }
}

fn from_hex<const N: usize>(digits: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_file_reads_back_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let keyring = Keyring::generate().unwrap();
        keyring.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let again = Keyring::read(&path).unwrap();
        assert!(again.is_of_same_cluster(&keyring));
        assert_eq!(again.keys(), keyring.keys());
    }

    proptest! {
        #[test]
        fn arbitrary_key_files_never_panic(text: String, digits in "[0-9a-f]{0,70}", place: prop::sample::Index) {
            let genuine = to_text(&Keyring::generate().unwrap()).to_string();
            let mut changed: Vec<char> = genuine.chars().collect();
            let place = place.index(changed.len());
            changed.splice(place..=place, text.chars());
            let begun = format!("{FIRST_LINE}\nsecret {digits}\nkey {text}");
            for text in [text, begun, changed.into_iter().collect()] {
                if let Some(keyring) = parse(&text) {
                    prop_assert_eq!(keyring.keys().len(), 1);
                }
            }
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let (_directory, path) = written("something else", 0o600);
        let error = Keyring::generate().unwrap().write_new(&path).unwrap_err();
        assert!(
            matches!(error, KeyFileError::File(PrivateFileError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_mends_it() {
        let text = Keyring::generate().unwrap().to_text();
        for mode in [0o644, 0o604, 0o620, 0o602] {
            let (_directory, path) = written(&text, mode);
            let error = Keyring::read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {mode:04o}); `chmod 06")), "{error}");
            assert!(error.contains(&format!("{}` mends it", path.display())), "{error}");
        }
        let (_directory, path) = written(&text, 0o400);
        assert!(Keyring::read(&path).is_ok());
    }

    #[test]
    fn a_group_may_read_what_is_of_root() {
        let (_directory, path) = written(&Keyring::generate().unwrap().to_text(), 0o640);
        let is_of_root = fs::metadata(&path).unwrap().uid() == 0;
        assert_eq!(Keyring::read(&path).is_ok(), is_of_root);
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_a_word_of_its_content() {
        let good = Keyring::generate().unwrap().to_text();
        let damaged = [
            String::new(),
            "hello".to_owned(),
            good.replace("key 1", "key 2"),
            good.replace("secret ", "secret 0"),
            good.replace("\nkey ", "\nkey x"),
            good.lines().filter(|line| !line.starts_with("key")).collect::<Vec<_>>().join("\n"),
        ];
        for text in damaged {
            let (_directory, path) = written(&text, 0o600);
            let error = Keyring::read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
        }
    }
}
