//! The commands about who may be a member.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rumormill_core::duration;

use super::Target;

/// `rumor authority`
#[derive(Debug, Subcommand)]
pub(crate) enum Authority {
    /// Make the authority of a new cluster: a file that decides who may join, to be kept off the agents' machines
    New {
        /// The file, which only its owner can read
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the public key of an authority, which all agents have as their setting `authority`
    Show {
        /// The authority's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make the certificate of a node, for its --certificate, and print it
    Admit(Admit),
    /// Revoke the certificate of a member, everywhere and at once
    Revoke(Revoke),
}

/// `rumor authority admit`
#[derive(Args, Debug)]
pub(crate) struct Admit {
    /// The authority's file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The public key of the node, as `rumor identity show` prints it
    #[arg(value_name = "NODE-KEY", required_unless_present = "data_dir", conflicts_with = "data_dir")]
    pub(crate) key: Option<String>,
    /// Take the public key from this data directory, and make one there if there is none
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The only name that the node may have [default: any]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// For how long it counts [default: for ever]
    #[arg(long = "for", value_name = "D", value_parser = duration::parse)]
    pub(crate) span: Option<Duration>,
    /// Write it to this file [default: print it]
    #[arg(long, value_name = "F")]
    pub(crate) out: Option<PathBuf>,
}

/// `rumor authority revoke`
#[derive(Args, Debug)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The authority's file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name or id of the member
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// What it wrote since so long ago is void too [default: what it writes from now on]
    #[arg(long, value_name = "D", value_parser = duration::parse, conflicts_with = "all_writes")]
    pub(crate) since: Option<Duration>,
    /// All that it ever wrote is void
    #[arg(long)]
    pub(crate) all_writes: bool,
}

/// `rumor identity`
#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Print the public key of the node whose data directory this is, and make one if there is none
    Show {
        /// The data directory
        #[arg(long, value_name = "D")]
        data_dir: PathBuf,
    },
}
