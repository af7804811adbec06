//! The commands about keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Target;

/// `rumor keygen`
#[derive(Args, Debug)]
pub(crate) struct Keygen {
    /// Write it to this new file, which only its owner can read [default: print it]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Make the next key of the cluster whose key is in this file
    #[arg(long, value_name = "F")]
    pub(crate) from: Option<PathBuf>,
}

/// `rumor keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Ask all members which keys they accept, and with which they seal
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Have all members accept the key in a file, which `rumor keygen --from` made
    Add {
        #[command(flatten)]
        target: Target,
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Have all members seal with a key that they accept
    Use {
        #[command(flatten)]
        target: Target,
        /// Its id, or how that begins
        id: String,
        /// Also where members do not have it or do not answer: they are cut off
        #[arg(long)]
        force: bool,
    },
    /// Have all members accept a key no more
    Remove {
        #[command(flatten)]
        target: Target,
        /// Its id, or how that begins
        id: String,
        /// Also where members do not answer: those that still seal with it are cut off
        #[arg(long)]
        force: bool,
    },
}
