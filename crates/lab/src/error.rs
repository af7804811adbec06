//! Why the laboratory did not do what was asked.

use std::path::PathBuf;

use thiserror::Error;

use crate::Failure;

/// What can go wrong. Of [`Error::Value`] and [`Error::Memory`] nothing has run.
#[derive(Debug, Error)]
pub enum Error {
    /// A parameter breaks its rule: the asker's mistake.
    #[error("{field} is {value}, must be {rule}")]
    Value {
        /// The parameter, as it is written on the command line without its dashes, or in a scenario.
        field: String,
        /// What it was set to.
        value: String,
        /// What it must be, and why where that is not plain.
        rule: String,
    },
    /// The run would not fit into this machine.
    #[error("about {needed} bytes of memory are needed and {available} are free: ask for less")]
    Memory {
        /// The estimate, in bytes.
        needed: u64,
        /// What the machine has left, in bytes.
        available: u64,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Somebody said stop before there was anything to show.
    #[error("stopped before there was anything to show")]
    Stopped,
    /// A run of the virtual network broke a rule that must always hold, a fault of this project; or what it was to settle
    /// did not come true in time.
    #[error("{0}")]
    Broken(#[from] Failure),
}

impl Error {
    /// A parameter that breaks its rule.
    pub fn value(field: impl Into<String>, value: impl ToString, rule: impl Into<String>) -> Self {
        Self::Value { field: field.into(), value: value.to_string(), rule: rule.into() }
    }

    /// Refuses `value` unless `holds`.
    ///
    /// # Errors
    /// [`Error::Value`] if it does not hold.
    pub fn unless(holds: bool, field: &str, value: impl ToString, rule: &str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::value(field, value, rule)) }
    }
}

impl From<rumormill_core::ConfigError> for Error {
    fn from(error: rumormill_core::ConfigError) -> Self {
        Self::value(error.field, error.value, error.rule)
    }
}
