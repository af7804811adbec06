//! The data directory: a lock, the node's key, and the store of its records.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rumormill_core::Stored;

use crate::clock;
use crate::error::StartError;
use crate::events::Warning;
use crate::key::NodeKey;
use crate::store::file::HEADER_BYTES;
use crate::store::{Store, StoreError, sync_directory};

const LOCK: &str = "lock";
const KEY: &str = "identity.pk8";
const STORE: &str = "store.redb";

/// A data directory that is this process's alone.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) store: Store,
    /// Held as long as the store is open, and released after it.
    _lock: File,
}

/// What an earlier life left behind.
pub(crate) struct Opened {
    pub(crate) directory: DataDir,
    pub(crate) key: NodeKey,
    pub(crate) stored: Stored,
    pub(crate) warning: Option<Warning>,
}

/// Opens a data directory, made where there is none. Waits for the disk.
///
/// A key without its store, or with a damaged one, must not speak again, because its boot is not known: both are set
/// aside, and the node is a new member.
pub(crate) fn open(path: &Path) -> Result<Opened, StartError> {
    let failed = |source| StartError::DataDir { path: path.to_owned(), source };
    make_directory(path).map_err(failed)?;
    let lock = lock(path)?;
    let (key_path, store_path) = (path.join(KEY), path.join(STORE));
    let mut key = read_key(&key_path)?;
    let mut warning = None;
    if key.is_some() && is_missing(&store_path).map_err(failed)? {
        let reason = "the store is missing, or nothing is in it".to_owned();
        warning = Some(set_aside(&key_path, &store_path, reason).map_err(failed)?);
        key = None;
    }
    let (store, stored) = match Store::open(&store_path) {
        Ok(opened) => opened,
        Err(StoreError::Damaged(reason)) => {
            warning = Some(set_aside(&key_path, &store_path, reason).map_err(failed)?);
            key = None;
            Store::open(&store_path).map_err(|error| failed(error.into()))?
        }
        Err(StoreError::Newer { found }) => return Err(StartError::DataDirNewer { path: store_path, found }),
        Err(StoreError::Io(source)) => return Err(failed(source)),
    };
    let key = match key {
        Some(key) => key,
        // After the store, so that a crash in between leaves no key without one.
        None => make_key(&key_path)?,
    };
    Ok(Opened { directory: DataDir { store, _lock: lock }, key, stored, warning })
}

/// The key in a directory, also while a node uses it; `None` if there is none yet.
pub(crate) fn key(path: &Path) -> Result<Option<NodeKey>, StartError> {
    read_key(&path.join(KEY))
}

/// Whether there is no store, or no database in it: one was made before the key was.
fn is_missing(store: &Path) -> io::Result<bool> {
    match fs::metadata(store) {
        Ok(metadata) => Ok(metadata.len() <= HEADER_BYTES),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn lock(path: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::DataDir { path: path.to_owned(), source };
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::DataDirInUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read_key(path: &Path) -> Result<Option<NodeKey>, StartError> {
    let failed = |source| StartError::DataDir { path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let key = NodeKey::from_pkcs8(bytes);
    key.map(Some).ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "not an Ed25519 key in PKCS#8")))
}

/// Writes a new key under another name first, so that a crash leaves all of it or nothing.
fn make_key(path: &Path) -> Result<NodeKey, StartError> {
    let key = NodeKey::generate()?;
    let new = path.with_extension("new");
    write_key(&new, key.as_pkcs8())
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| sync_directory(path))
        .map_err(|source| StartError::DataDir { path: path.to_owned(), source })?;
    Ok(key)
}

fn write_key(path: &Path, pkcs8: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(pkcs8)?;
    file.sync_all()
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Renames key and store; either may be missing.
fn set_aside(key: &Path, store: &Path, reason: String) -> io::Result<Warning> {
    let moment = clock::wall().as_micros();
    let aside = |path: &Path| -> io::Result<PathBuf> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{moment}"));
        match fs::rename(path, &name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(name.into()),
        }
    };
    aside(key)?;
    Ok(Warning::StoreSetAside { path: aside(store)?, reason })
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error,
            StoreError::Damaged(_) | StoreError::Newer { .. } => {
                Self::new(io::ErrorKind::InvalidData, error.to_string())
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::file::FORMAT;

    /// A directory that takes no writes any more.
    pub(crate) fn broken(path: &Path) -> DataDir {
        DataDir { store: Store::broken(), _lock: lock(path).unwrap() }
    }

    #[test]
    fn a_directory_gives_the_same_identity_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path()).unwrap().key.id();
        let second = open(directory.path()).unwrap();
        assert_eq!(first, second.key.id());
        assert_eq!(second.warning, None);
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path()).unwrap();
        assert!(matches!(open(directory.path()), Err(StartError::DataDirInUse { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        let mode = fs::metadata(directory.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_store_is_set_aside_with_the_identity_whose_boot_it_held() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path()).unwrap().key.id();
        fs::write(directory.path().join(STORE), [1; 9_999]).unwrap();
        let second = open(directory.path()).unwrap();
        assert_ne!(first, second.key.id());
        let Some(Warning::StoreSetAside { path, .. }) = second.warning else { panic!("nothing was reported") };
        assert_eq!(fs::read(path).unwrap(), [1; 9_999]);
    }

    #[test]
    fn a_key_whose_store_was_emptied_is_not_used_again() {
        for length in [0, HEADER_BYTES] {
            let directory = tempfile::tempdir().unwrap();
            let key = open(directory.path()).unwrap().key;
            let store = File::options().write(true).open(directory.path().join(STORE)).unwrap();
            store.set_len(length).unwrap();
            let opened = open(directory.path()).unwrap();
            assert_ne!(opened.key.id(), key.id(), "{length} bytes");
            assert!(opened.warning.is_some(), "{length} bytes");
        }
    }

    #[test]
    fn a_store_of_a_newer_format_is_refused_and_nothing_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        let path = directory.path().join(STORE);
        let mut store = fs::read(&path).unwrap();
        let newer = FORMAT + 1;
        store[16..20].copy_from_slice(&newer.to_le_bytes());
        store[20..24].copy_from_slice(&(!newer).to_le_bytes());
        fs::write(&path, &store).unwrap();
        let files =
            || fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect::<BTreeSet<_>>();
        let before = files();
        let Err(error) = open(directory.path()) else { panic!("a newer store was opened") };
        assert_eq!(
            error.to_string(),
            format!(
                "data_dir is {} of format {newer}, must be of format {FORMAT} or older: this version reads no newer one",
                path.display()
            )
        );
        assert_eq!((error.field(), files()), ("data_dir", before));
        assert_eq!(fs::read(&path).unwrap(), store);
    }

    #[test]
    fn a_key_whose_store_is_missing_is_not_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path()).unwrap().key.id();
        fs::remove_file(directory.path().join(STORE)).unwrap();
        let second = open(directory.path()).unwrap();
        assert_ne!(first, second.key.id());
        assert!(second.warning.is_some());
    }

    #[test]
    fn a_damaged_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        fs::write(directory.path().join(KEY), b"no key").unwrap();
        let Err(error) = open(directory.path()) else { panic!("a damaged key was used") };
        assert_eq!(error.field(), "data_dir");
        assert_eq!(fs::read(directory.path().join(KEY)).unwrap(), b"no key");
    }
}
