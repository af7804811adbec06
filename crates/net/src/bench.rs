//! A door for this crate's benchmarks, and for nobody else: what is behind it may change at any time.

use std::io;
use std::path::Path;

use rumormill_core::io::Token;
use rumormill_core::{Record, Stored};

use crate::directory::{self, DataDir, Opened};
use crate::error::StartError;
use crate::keeper::Keeper;

/// A data directory to whose store whoever calls commits.
#[derive(Debug)]
pub struct Storing(DataDir);

impl Storing {
    /// Opens a data directory as a node does.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        directory::open(path).map(|opened| Self(opened.directory))
    }

    /// Makes records durable, all or none.
    pub fn commit(&mut self, records: &[Record]) -> io::Result<()> {
        self.0.store.commit(records.iter()).map_err(io::Error::other)
    }
}

/// A data directory, and the thread that commits to it.
#[derive(Debug)]
pub struct Keeping {
    keeper: Keeper,
    token: u64,
}

impl Keeping {
    /// Opens a data directory as a node does, and returns what is in it. One that had to be set aside is an error.
    pub fn open(path: &Path) -> Result<(Self, Stored), StartError> {
        let failed = |source| StartError::DataDir { path: path.to_owned(), source };
        let Opened { directory, stored, warning, .. } = directory::open(path)?;
        if let Some(warning) = warning {
            return Err(failed(io::Error::other(warning)));
        }
        let keeper = Keeper::disk(directory).map_err(failed)?;
        Ok((Self { keeper, token: 0 }, stored))
    }

    /// Asks for records to be made durable.
    pub fn persist(&mut self, records: Vec<Record>) {
        self.token += 1;
        self.keeper.persist(Token(self.token), records);
    }

    /// Waits for the next request that was not waited for: whether its records are durable.
    pub async fn stored(&mut self) -> bool {
        self.keeper.answer().await.result.is_ok()
    }

    /// Waits until the directory is free.
    pub async fn close(self) {
        self.keeper.close().await;
    }
}
