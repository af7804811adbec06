//! The file under the database: a header of our own, which says how to read the rest, then the database.
//!
//! The header can be read without the engine, so that a store of a newer format is refused before a byte of it changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::{Arc, atomic::AtomicU64};

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::store::{StoreError, sync_directory};

/// The format that is written. Format 1 had no header, and one table of records by key.
pub(crate) const FORMAT: u32 = 2;

/// One page of the database, so that its own pages stay aligned.
pub(crate) const HEADER_BYTES: u64 = 4_096;
const MAGIC: [u8; 16] = *b"rumormill store\n";
/// How the file of a database without our header begins.
const DATABASE_MAGIC: [u8; 4] = *b"redb";

/// Where a store lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// Beyond this length the disk is full; [`tests::UNSYNCED`] if it takes writes and does not make them durable.
    #[cfg(test)]
    pub(crate) room: Arc<AtomicU64>,
}

impl Place {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            #[cfg(test)]
            room: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// The next commit reaches the file, and fails.
    #[cfg(test)]
    pub(crate) fn fail_next_sync(&self) {
        self.room.store(tests::UNSYNCED_ONCE, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests have disks that are full"))]
    fn behind(&self, origin: u64, file: File) -> Result<StoreFile, StoreError> {
        let file = FileBackend::new(file).map_err(redb::Error::from)?;
        Ok(StoreFile {
            file,
            origin,
            #[cfg(test)]
            room: Arc::clone(&self.room),
        })
    }
}

/// A file whose database begins behind its header.
#[derive(Debug)]
pub(crate) struct StoreFile {
    file: FileBackend,
    /// Where the database begins.
    origin: u64,
    #[cfg(test)]
    room: Arc<AtomicU64>,
}

impl StoreFile {
    /// Opens a file again that was a store a moment ago, and must still be one: none is made.
    pub(crate) fn reopen(place: &Place) -> Result<Self, StoreError> {
        if fs::metadata(&place.path)?.len() <= HEADER_BYTES {
            return Err(StoreError::Damaged("it was emptied while it was in use".to_owned()));
        }
        Self::open(place).map(|(file, _)| file)
    }

    /// Opens a file for reading and writing, made anew where there is none; also says whether it is of format 1.
    /// Nothing in it has changed when this fails.
    pub(crate) fn open(place: &Place) -> Result<(Self, bool), StoreError> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&place.path)?;
        let mut header = Vec::new();
        (&mut file).take(HEADER_BYTES).read_to_end(&mut header)?;
        if header.is_empty() {
            write_header(&mut file)?;
            sync_directory(&place.path)?;
            return Ok((place.behind(HEADER_BYTES, file)?, false));
        }
        if header.starts_with(&DATABASE_MAGIC) {
            return Ok((place.behind(0, file)?, true));
        }
        match read_header(&header) {
            Some(FORMAT) => Ok((place.behind(HEADER_BYTES, file)?, false)),
            Some(found) if found > FORMAT => Err(StoreError::Newer { found }),
            Some(_) | None => Err(StoreError::Damaged("it does not begin as a store does".to_owned())),
        }
    }
}

/// Durable at once: a database behind a header that was lost is no store.
fn write_header(file: &mut File) -> io::Result<()> {
    let mut header = vec![0; usize::try_from(HEADER_BYTES).expect("a page fits in memory")];
    header[..16].copy_from_slice(&MAGIC);
    header[16..20].copy_from_slice(&FORMAT.to_le_bytes());
    // Twice, so that a damaged number is not taken for another format.
    header[20..24].copy_from_slice(&(!FORMAT).to_le_bytes());
    io::Write::write_all(file, &header)?;
    file.sync_all()
}

/// The format that a header names.
fn read_header(header: &[u8]) -> Option<u32> {
    if u64::try_from(header.len()) != Ok(HEADER_BYTES) {
        return None;
    }
    let number = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let format = number(16)?;
    (header.starts_with(&MAGIC) && number(20)? == !format).then_some(format)
}

impl StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.saturating_sub(self.origin))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(self.origin + offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(self.origin + length)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        {
            use std::sync::atomic::Ordering::Relaxed;
            if self.room.load(Relaxed) == tests::UNSYNCED {
                return Err(io::ErrorKind::Other.into());
            }
            if self.room.load(Relaxed) == tests::UNSYNCED_ONCE {
                self.file.sync_data()?;
                self.room.store(u64::MAX, Relaxed);
                return Err(io::ErrorKind::Other.into());
            }
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.origin + offset + data.len() as u64 > self.room.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(self.origin + offset, data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// A disk that fails only at the end.
    pub(crate) const UNSYNCED: u64 = u64::MAX - 1;
    /// A disk that fails once at the end, although it has it all.
    pub(crate) const UNSYNCED_ONCE: u64 = u64::MAX - 2;
}
