//! Files that hold a secret: what others can read is none.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No such file is longer.
const BYTES_MAX: usize = 16 << 10;
/// What a file must not let others do; its group may read it where its owner is root.
const BITS_OF_OTHERS: u32 = 0o077;
const GROUP_READ: u32 = 0o040;

/// Why a file with a secret was not read. Nothing of it is in here.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner can read or change it.
    #[error("{} can be read or changed by others (mode {mode:04o}); `chmod {} {}` mends it", path.display(), mend(*owner), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The user whose file it is.
        owner: u32,
    },
}

impl PrivateFileError {
    /// What the file must be, and what mends it.
    pub fn rule(&self) -> String {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "a new file: a secret is never overwritten".to_owned()
            }
            Self::Io { source, .. } => format!("a file that can be read and written ({source})"),
            Self::Open { path, mode, owner } => {
                let path = path.display();
                format!("closed to others, its mode is {mode:04o}: `chmod {} {path}` mends it", mend(*owner))
            }
        }
    }
}

/// The mode that an owner should give such a file.
const fn mend(owner: u32) -> &'static str {
    if owner == 0 { "0640" } else { "0600" }
}

/// Writes a new file that only its owner can read, and never over another.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let failed = |source| PrivateFileError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half a file serves nobody.
        fs::remove_file(path).ok();
        failed(source)
    })
}

/// Reads a file that only its owner can read, or the group of one that is root's. What is no text is read as empty.
pub fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    let failed = |source| PrivateFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open, whatever its name means by now.
    let metadata = file.metadata().map_err(failed)?;
    if !is_private(&metadata) {
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        return Err(PrivateFileError::Open { path: path.to_owned(), mode, owner });
    }
    // Long enough from the start: a text that grows leaves its beginnings behind in memory.
    let mut text = Zeroizing::new(String::with_capacity(BYTES_MAX));
    match file.take(BYTES_MAX as u64).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
        Err(error) => return Err(failed(error)),
    }
    Ok(text)
}

fn is_private(metadata: &Metadata) -> bool {
    let others = metadata.mode() & BITS_OF_OTHERS;
    others == 0 || others == GROUP_READ && metadata.uid() == 0
}
