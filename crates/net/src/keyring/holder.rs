//! The keyring of a running node: changed at run time, kept in the data directory, watched by whatever seals.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use zeroize::Zeroizing;

use super::derived::Ring;
use super::{KEYS_MAX, Key, KeyId, Keyring, file};
use crate::error::StartError;
use crate::seal::SealCounters;

/// The keyring in the data directory.
const KEYRING: &str = "keyring";
/// What its first line begins with; the ids of the keys follow that the node was started with.
const ORIGIN: &str = "origin";

/// Why a keyring was not changed. Nothing of it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Unchanged {
    /// There is no such key.
    Unknown = 1,
    /// It is the key that is used.
    InUse = 2,
    /// So many keys are accepted already, or one has the same first byte in its id.
    NoPlace = 3,
    /// The data directory does not take it.
    NotStored = 4,
    /// The question could not be read: it was wrapped in a key that is not accepted here, or makes no sense.
    Unreadable = 5,
}

impl Unchanged {
    pub(crate) const fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Unknown,
            2 => Self::InUse,
            3 => Self::NoPlace,
            4 => Self::NotStored,
            _ => Self::Unreadable,
        }
    }
}

/// What to do with a keyring.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Leave it as it is.
    Nothing,
    /// Accept one more.
    Add(Key),
    /// Seal with this one from now on.
    Use(KeyId),
    /// Accept it no more.
    Remove(KeyId),
}

/// The keys of a running node.
#[derive(Debug)]
pub(crate) struct Holder {
    keyring: Mutex<Keyring>,
    /// Where it is kept, and the keys that the node was started with.
    kept: Option<(PathBuf, Vec<KeyId>)>,
    pub(crate) ring: watch::Sender<Arc<Ring>>,
    pub(crate) counters: Arc<SealCounters>,
}

impl Holder {
    /// Takes up what an earlier life kept in the data directory, if that life was started with the same keys. Other keys mean
    /// that an operator has put others in their place: then they alone hold. Waits for the disk.
    pub(crate) fn open(given: &Keyring, directory: Option<&Path>) -> Result<Self, StartError> {
        let origin: Vec<KeyId> = given.keys().iter().map(Key::id).collect();
        let kept = directory.map(|directory| (directory.join(KEYRING), origin.clone()));
        let mut keyring = given.clone();
        if let Some((path, _)) = &kept {
            let failed = |source| StartError::DataDir { path: path.clone(), source };
            match read(path).map_err(failed)? {
                Some((before, stored)) if before == origin && stored.is_of_same_cluster(given) => keyring = stored,
                Some(_) | None => write(path, &origin, given).map_err(failed)?,
            }
        }
        Ok(Self::of(keyring, kept))
    }

    /// Takes up what an earlier life kept, as [`open`](Self::open) does, and keeps nothing: the data directory takes no writes.
    /// Waits for the disk.
    pub(crate) fn passing(given: &Keyring, directory: Option<&Path>) -> Result<Self, StartError> {
        let origin: Vec<KeyId> = given.keys().iter().map(Key::id).collect();
        let path = directory.map(|directory| directory.join(KEYRING));
        let failed = |path: &Path, source| StartError::DataDir { path: path.to_owned(), source };
        let stored = path.map(|path| read(&path).map_err(|source| failed(&path, source))).transpose()?.flatten();
        let keyring = stored.filter(|(before, stored)| *before == origin && stored.is_of_same_cluster(given));
        Ok(Self::of(keyring.map_or_else(|| given.clone(), |(_, stored)| stored), None))
    }

    fn of(keyring: Keyring, kept: Option<(PathBuf, Vec<KeyId>)>) -> Self {
        let ring = watch::Sender::new(Arc::new(Ring::of(&keyring)));
        Self { keyring: Mutex::new(keyring), kept, ring, counters: Arc::default() }
    }

    /// The keys as they are now.
    pub(crate) fn keyring(&self) -> Keyring {
        self.lock().clone()
    }

    /// Changes the keyring: first on disk, then in use. What was done already is not done again. Waits for the disk.
    pub(crate) fn change(&self, change: &Change) -> Result<(), Unchanged> {
        let mut keyring = self.lock();
        let mut keys = keyring.keys().to_vec();
        let place = |keys: &[Key], id: KeyId| keys.iter().position(|key| key.id() == id).ok_or(Unchanged::Unknown);
        match change {
            Change::Nothing => return Ok(()),
            Change::Add(key) if keys.contains(key) => {}
            Change::Add(key) => keys.push(key.clone()),
            Change::Use(id) => {
                let chosen = place(&keys, *id)?;
                keys[..=chosen].rotate_right(1);
            }
            Change::Remove(id) => match place(&keys, *id) {
                Ok(0) => return Err(Unchanged::InUse),
                Ok(removed) => drop(keys.remove(removed)),
                // As after a removal of which nobody knew whether it was made.
                Err(_) => {}
            },
        }
        if keys == keyring.keys() {
            return Ok(());
        }
        debug_assert!(keys.len() <= KEYS_MAX + 1, "one more at a time");
        let changed = Keyring::new(keyring.secret(), keys).ok_or(Unchanged::NoPlace)?;
        if let Some((path, origin)) = &self.kept {
            write(path, origin, &changed).map_err(|_| Unchanged::NotStored)?;
        }
        self.ring.send_replace(Arc::new(Ring::of(&changed)));
        *keyring = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Keyring> {
        // A change is made in one step: one that panicked has made none.
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept, and with which keys the node was started then.
fn read(path: &Path) -> io::Result<Option<(Vec<KeyId>, Keyring)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "no keyring; without it the node takes its key file");
    let (first, rest) = text.split_once('\n').ok_or_else(damaged)?;
    let ids = first.strip_prefix(ORIGIN).ok_or_else(damaged)?;
    let origin: Result<Vec<KeyId>, _> = ids.split_whitespace().map(str::parse).collect();
    let keyring = file::parse(rest).ok_or_else(damaged)?;
    Ok(Some((origin.map_err(|_| damaged())?, keyring)))
}

fn write(path: &Path, origin: &[KeyId], keyring: &Keyring) -> io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(2 << 10));
    text.push_str(ORIGIN);
    for id in origin {
        text.push(' ');
        text.push_str(&id.to_string());
    }
    text.push('\n');
    text.push_str(&file::to_text(keyring));
    file::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(holder: &Holder) -> Vec<KeyId> {
        holder.keyring().keys().iter().map(Key::id).collect()
    }

    #[test]
    fn a_rotation_survives_a_restart_and_another_key_file_ends_it() {
        let directory = tempfile::tempdir().unwrap();
        let old = Keyring::generate().unwrap();
        let new = old.renewed().unwrap();
        let (first, second) = (old.keys()[0].id(), new.keys()[0].id());
        let open = |keyring: &Keyring| Holder::open(keyring, Some(directory.path())).unwrap();
        let holder = open(&old);
        let watched = holder.ring.subscribe();
        holder.change(&Change::Add(new.keys()[0].clone())).unwrap();
        assert_eq!(ids(&open(&old)), [first, second]);
        assert_eq!(holder.change(&Change::Remove(first)), Err(Unchanged::InUse));
        holder.change(&Change::Use(second)).unwrap();
        assert_eq!(watched.borrow().used().id(), second);
        assert_eq!(ids(&open(&old)), [second, first]);
        for _ in 0..2 {
            holder.change(&Change::Remove(first)).unwrap();
        }
        assert_eq!(ids(&open(&old)), [second], "the key file is from before the rotation");
        assert!(watched.borrow().get(first.byte()).is_none());

        let other = old.renewed().unwrap();
        assert_eq!(ids(&open(&other)), [other.keys()[0].id()]);
        assert_eq!(ids(&open(&old)), [first], "it was replaced twice");
    }

    #[test]
    fn where_nothing_can_be_kept_what_was_kept_counts_nevertheless() {
        let directory = tempfile::tempdir().unwrap();
        let old = Keyring::generate().unwrap();
        let new = old.renewed().unwrap().keys()[0].clone();
        let holder = Holder::open(&old, Some(directory.path())).unwrap();
        holder.change(&Change::Add(new.clone())).unwrap();
        holder.change(&Change::Use(new.id())).unwrap();
        let stored = fs::read(directory.path().join(KEYRING)).unwrap();
        let passing = Holder::passing(&old, Some(directory.path())).unwrap();
        assert_eq!(ids(&passing), ids(&holder));
        passing.change(&Change::Remove(old.keys()[0].id())).unwrap();
        assert_eq!(ids(&passing), [new.id()]);
        assert_eq!(fs::read(directory.path().join(KEYRING)).unwrap(), stored);
        let other = old.renewed().unwrap();
        assert_eq!(ids(&Holder::passing(&other, Some(directory.path())).unwrap()), [other.keys()[0].id()]);
    }

    #[test]
    fn a_keyring_that_cannot_be_stored_is_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate().unwrap();
        let holder = Holder::open(&keyring, Some(directory.path())).unwrap();
        directory.close().unwrap();
        let add = Change::Add(keyring.renewed().unwrap().keys()[0].clone());
        assert_eq!(holder.change(&add), Err(Unchanged::NotStored));
        let first = keyring.keys()[0].clone();
        for done in [Change::Use(first.id()), Change::Add(first), Change::Remove(KeyId(7))] {
            assert_eq!(holder.change(&done), Ok(()), "what is so already asks nothing of the disk");
        }
        assert_eq!(ids(&holder), [keyring.keys()[0].id()]);
        assert_eq!(holder.ring.borrow().used().id(), keyring.keys()[0].id());
    }

    #[test]
    fn what_is_unknown_or_too_much_changes_nothing() {
        let holder = Holder::open(&Keyring::generate().unwrap(), None).unwrap();
        assert_eq!(holder.change(&Change::Use(KeyId(7))), Err(Unchanged::Unknown));
        let mut added = 0;
        while holder.change(&Change::Add(Key::generate().unwrap())).is_ok() || holder.keyring().keys().len() < KEYS_MAX
        {
            added += 1;
            assert!(added < 1_000, "nothing ends it");
        }
        assert_eq!(holder.keyring().keys().len(), KEYS_MAX);
        assert_eq!(holder.change(&Change::Add(Key::generate().unwrap())), Err(Unchanged::NoPlace));
    }

    #[test]
    fn a_damaged_keyring_is_told_and_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate().unwrap();
        for text in ["", "origin x\n", "origin 0000000000000001\nrumormill-key 1\n"] {
            fs::write(directory.path().join(KEYRING), text).unwrap();
            let error = Holder::open(&keyring, Some(directory.path())).unwrap_err();
            assert!(matches!(error, StartError::DataDir { .. }), "{error}");
        }
    }
}
