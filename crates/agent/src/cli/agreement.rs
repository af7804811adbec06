//! The commands of agreement.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use rumormill_core::duration;

use super::Target;

/// `rumor agree`
#[derive(Debug, Subcommand)]
pub(crate) enum Agree {
    /// Name the first voters, once in the life of a cluster; they should be few: 3, 5 or 7
    Init {
        #[command(flatten)]
        target: Target,
        /// Names or ids of members
        #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
        voters: Vec<String>,
    },
    /// Let another member vote
    Add {
        #[command(flatten)]
        target: Target,
        /// Its name or id
        name: String,
    },
    /// Let a voter vote no longer
    Remove {
        #[command(flatten)]
        target: Target,
        /// Its name or id
        name: String,
    },
    /// Show who votes and how that stands
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Drop a founding with all that was agreed on in it, where two clusters that each had voters have met
    Drop {
        #[command(flatten)]
        target: Target,
        /// Its id, as `status` shows it
        founding: String,
    },
}

/// `rumor register`
#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Print what a register holds
    Get {
        #[command(flatten)]
        name: Name,
        /// Only what this agent has heard, without asking voters
        #[arg(long)]
        stale: bool,
    },
    /// Give a register a value, whatever it holds
    Set {
        #[command(flatten)]
        name: Name,
        /// The value, up to 64 KiB; - reads it from standard input
        #[arg(value_name = "V|-", allow_negative_numbers = true)]
        value: OsString,
    },
    /// Give a register a value if it holds another
    Cas {
        #[command(flatten)]
        name: Name,
        /// What it must hold, and what it is to hold; only the latter with --absent
        #[arg(value_name = "OLD NEW", num_args = 1..=2, required = true, allow_negative_numbers = true)]
        values: Vec<OsString>,
        /// It must hold nothing
        #[arg(long)]
        absent: bool,
    },
    /// Take the value of a register away
    Delete {
        #[command(flatten)]
        name: Name,
    },
    /// List the registers that this agent has heard of
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Print what a register holds, and again whenever that changes, as this agent hears of it
    Watch {
        #[command(flatten)]
        name: Name,
    },
}

/// A register of an agent's cluster.
#[derive(Args, Debug)]
pub(crate) struct Name {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The register, 1 to 255 bytes
    #[arg(value_name = "K")]
    pub(crate) register: String,
}

/// `rumor lock`
#[derive(Args, Debug)]
pub(crate) struct Lock {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The lock, 1 to 190 bytes
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How long to wait for the lock while another holds it
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration::parse)]
    pub(crate) wait: Duration,
    /// How long others wait if this process or its machine goes down; it is renewed in time. From 1s to 1h
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::parse)]
    pub(crate) ttl: Duration,
    /// What to run; it is ended when the lock is lost. `RUMOR_LOCK` and `RUMOR_FENCING_TOKEN` tell it what it holds
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<OsString>,
}

/// `rumor elect`
#[derive(Args, Debug)]
pub(crate) struct Elect {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The election, 1 to 190 bytes
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How long others wait if the leader goes down. From 1s to 1h
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::parse)]
    pub(crate) ttl: Duration,
    /// What to run when this process begins to lead, by `sh -c`; `RUMOR_ELECTION` and `RUMOR_FENCING_TOKEN` tell it more
    #[arg(long, value_name = "C")]
    pub(crate) on_gain: Option<String>,
    /// What to run when it leads no longer
    #[arg(long, value_name = "C")]
    pub(crate) on_loss: Option<String>,
}
