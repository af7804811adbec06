//! The commands of the database.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rumormill_core::duration;

use super::Target;

/// How a write is made.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Wait until so many other nodes have confirmed that they hold it, durably if this agent keeps data itself
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) replicas: u16,
}

/// `rumor get`
#[derive(Args, Debug)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The key
    #[arg(value_name = "K")]
    pub(crate) key: String,
    /// Print the bytes of a register and nothing after them
    #[arg(long)]
    pub(crate) raw: bool,
}

/// `rumor put`
#[derive(Args, Debug)]
pub(crate) struct Put {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The key, 1 to 512 bytes
    #[arg(value_name = "K")]
    pub(crate) key: String,
    /// The value, up to 1 MiB; - reads it from standard input
    #[arg(value_name = "V|-", allow_negative_numbers = true)]
    pub(crate) value: OsString,
    /// The key is gone after this time, to the second
    #[arg(long, value_name = "D", value_parser = duration::parse)]
    pub(crate) ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `rumor delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The key
    #[arg(value_name = "K")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `rumor add`
#[derive(Args, Debug)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The key, 1 to 512 bytes
    #[arg(value_name = "K")]
    pub(crate) key: String,
    /// How much; may be negative
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub(crate) amount: i64,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `rumor insert` and `rumor remove-element`
#[derive(Args, Debug)]
pub(crate) struct SetChange {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The key, 1 to 512 bytes
    #[arg(value_name = "K")]
    pub(crate) key: String,
    /// The element, 1 to 512 bytes
    #[arg(value_name = "E", allow_negative_numbers = true)]
    pub(crate) element: OsString,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `rumor list`
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Print the keys alone
    #[arg(long)]
    pub(crate) keys_only: bool,
}

/// `rumor watch`
#[derive(Args, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Begin with what happened after this position, as an earlier watch of this agent printed it
    #[arg(long, value_name = "P")]
    pub(crate) since: Option<String>,
}

/// `rumor export`
#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
}

/// `rumor import`
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) target: Target,
    /// A file as `export` prints it, a document a line; - reads standard input
    #[arg(value_name = "F")]
    pub(crate) file: PathBuf,
}
