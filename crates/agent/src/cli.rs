//! The command line: what can be typed, and what each word means.

mod agreement;
mod authority;
mod data;
mod keys;
mod top;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) use agreement::{Agree, Elect, Lock, Name, Register};
pub(crate) use authority::{Admit, Authority, Identity, Revoke};
use clap::{Args, Parser, Subcommand};
pub(crate) use data::{Add, Delete, Export, Get, Import, List, Manner, Put, SetChange, Watch};
pub(crate) use keys::{Keygen, Keys};
use rumormill_core::duration;
pub(crate) use top::Top;

use crate::documents::Function;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::logs::Level;

/// Gossip for a fleet of machines: members, failures, messages and data, with no server in the middle.
#[derive(Debug, Parser)]
#[command(name = "rumor", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print JSON: one document, or one a line for streams; a failure is one line on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `rumor` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine, to try things with; it ends with Ctrl-C
    Dev(Dev),
    /// Run the agent of this machine
    Agent(Box<Agent>),
    /// Make the key of a new cluster, or the next one of a cluster that has one
    Keygen(Keygen),
    /// Decide who may be a member, where identity is signed
    #[command(subcommand)]
    Authority(Authority),
    /// Look at the identity of a node
    #[command(subcommand)]
    Identity(Identity),
    /// Look at the settings: which there are, what they mean, and where a value comes from
    #[command(subcommand)]
    Config(Config),
    /// List the members as the agent knows them
    Members(Members),
    /// Join a cluster through any of its nodes
    Join(Join),
    /// Have the agent read its settings again, as SIGHUP does, and tell what it took over
    Reload(Reload),
    /// Leave the cluster and stop the agent
    Leave(Leave),
    /// Strike a dead or left member from the list, everywhere
    Remove(Remove),
    /// Send a message to every node
    Publish(Publish),
    /// Show how a message travelled, hop by hop
    Trace(Trace),
    /// Print the messages of a topic as they come
    Subscribe(Subscribe),
    /// Ask every member and print the answers as they come
    Query(Query),
    /// Answer a query by running a command: question on its stdin, answer on its stdout
    Answer(Answer),
    /// Print what a key of the database holds
    Get(Get),
    /// Give a key a value
    Put(Put),
    /// Delete a key, of whatever kind
    Delete(Delete),
    /// List keys with what they hold
    List(List),
    /// Print what happens to keys, as it happens
    Watch(Watch),
    /// Add to a counter and print what it holds then
    Add(Add),
    /// Put an element into a set
    Insert(SetChange),
    /// Take an element out of a set
    RemoveElement(SetChange),
    /// Print keys with what they hold, a JSON document a line
    Export(Export),
    /// Make keys hold what an export says: all of them, or none if a line is bad
    Import(Import),
    /// Say who votes on registers, or look at it
    #[command(subcommand)]
    Agree(Agree),
    /// Read registers on which the cluster agrees, and change them by compare-and-set
    #[command(subcommand)]
    Register(Register),
    /// Run a command while nobody else in the cluster holds a lock
    Lock(Lock),
    /// Take part in an election, and print who leads
    Elect(Elect),
    /// Give a gauge of this agent a value, for aggregates over all agents
    Gauge(Gauge),
    /// Find out what the values of a gauge on all agents are together: the agents work it out among themselves
    Aggregate(Aggregate),
    /// Print how long a packet and its answer take between two members
    Rtt(Rtt),
    /// Change what this agent says about itself
    #[command(subcommand)]
    Tags(Tags),
    /// Change the cluster's key while it runs
    #[command(subcommand)]
    Keys(Keys),
    /// Show what the agent is and how it fares
    Info(Info),
    /// Tell why the agent holds a member for what it is: who missed it, who accused it, what would change that
    Why(Why),
    /// Follow the agent's log
    Logs(Logs),
    /// Watch the cluster in the terminal: members, traffic, topics and events as they come
    Top(Top),
    /// Make the network worse on purpose, where agents run with --allow-faults
    #[command(subcommand)]
    Fault(Fault),
    /// Show, measure and predict how gossip spreads, with no cluster at all
    #[command(subcommand)]
    Lab(Lab),
    /// Print the completions of a shell
    Completions(Completions),
    /// Print the manual page of `rumor`, or write those of all its commands
    Man(Man),
}

/// Which agent a command talks to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The agent to talk to
    #[arg(long, value_name = "URL", env = "RUMOR_AGENT", hide_env_values = true, default_value = DEFAULT_AGENT)]
    pub(crate) agent: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// The file with the token that the agent asks for
    #[arg(long, value_name = "F", env = "RUMOR_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Who vouches for the agent at an https:// address: certificates as PEM
    #[arg(long, value_name = "F", env = "RUMOR_CA_FILE", hide_env_values = true)]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Where an agent serves HTTP unless told otherwise.
pub(crate) const DEFAULT_AGENT: &str = "http://127.0.0.1:4748";

/// `rumor dev`
#[derive(Args, Clone, Debug)]
pub(crate) struct Dev {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) nodes: u16,
    /// The HTTP port of the first agent, which gossips on the port before; 0 lets the system choose all ports
    #[arg(long, value_name = "PORT", default_value_t = 4748)]
    pub(crate) http_port: u16,
    /// How fresh news travels: push, pull or push-pull
    #[arg(long, value_name = "M")]
    pub(crate) mode: Option<String>,
    /// To how many random peers a rumor goes at each round
    #[arg(long, value_name = "F")]
    pub(crate) fanout: Option<String>,
    /// Whom a node knows: full or partial
    #[arg(long, value_name = "V")]
    pub(crate) view: Option<String>,
    /// The share of datagrams that gets lost on the way to each agent, 0 to 1
    #[arg(long, value_name = "P", value_parser = share)]
    pub(crate) loss: Option<f64>,
    /// What the settings start from: lan, wan or local
    #[arg(long, value_name = "P")]
    pub(crate) preset: Option<String>,
    /// Keep the agents' state under this directory, each in its own
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `rumor agent`. What is not given here comes from `RUMOR_*`, the config file, the preset, in this order.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "switches are given each by its name")]
pub(crate) struct Agent {
    /// Read settings from this TOML file
    #[arg(long, value_name = "F", env = "RUMOR_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The name of the cluster [default: rumor]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The name of this node [default: the host name]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Where to gossip, UDP and TCP [default: 0.0.0.0:4747 with a key file, else 127.0.0.1:4747]
    #[arg(long, value_name = "A")]
    pub(crate) bind: Option<String>,
    /// Where others reach this node [default: the address that it binds]
    #[arg(long, value_name = "A")]
    pub(crate) advertise: Option<String>,
    /// Nodes to join through: `host`, `host:port`, `[v6]:port`, `srv:NAME` or `file:PATH`
    #[arg(long, value_name = "A", value_delimiter = ',')]
    pub(crate) join: Vec<String>,
    /// Where to serve HTTP [default: 127.0.0.1:4748]
    #[arg(long, value_name = "A")]
    pub(crate) http: Option<String>,
    /// Keep data, identity and known members here; without it they end with the process
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<String>,
    /// Seal everything with the cluster's key in this file, as `rumor keygen` writes it
    #[arg(long, value_name = "F")]
    pub(crate) key_file: Option<String>,
    /// Be a member by this certificate, as `rumor authority admit` makes it, where identity is signed
    #[arg(long, value_name = "F")]
    pub(crate) certificate: Option<String>,
    /// Write what happens to this node to this file, for `rumor lab replay`
    #[arg(long, value_name = "F")]
    pub(crate) record: Option<String>,
    /// What this node says about itself; may be given often
    #[arg(long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<String>,
    /// What the settings start from: lan, wan or local [default: lan]
    #[arg(long, value_name = "P")]
    pub(crate) preset: Option<String>,
    /// How fresh news travels: push, pull or push-pull
    #[arg(long, value_name = "M")]
    pub(crate) mode: Option<String>,
    /// To how many random peers a rumor goes at each round
    #[arg(long, value_name = "F")]
    pub(crate) fanout: Option<String>,
    /// Whom a node knows: full or partial
    #[arg(long, value_name = "V")]
    pub(crate) view: Option<String>,
    /// Any other setting, see `rumor config show`; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// How to write the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log: Option<String>,
    /// What to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "L")]
    pub(crate) log_level: Option<String>,
    /// Let `rumor fault` drop, delay and cut; loopback only
    #[arg(long)]
    pub(crate) allow_faults: bool,
    /// Offer the laboratory on the console; it works in this process
    #[arg(long)]
    pub(crate) lab: bool,
    /// Accept an address that is not loopback although there is no key, so that nothing is sealed
    #[arg(long)]
    pub(crate) insecure: bool,
    /// End when standard input closes: whoever started this agent is gone
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
    /// Where the `rumor dev` that started this agent takes orders
    #[arg(long, hide = true, value_name = "SOCKET")]
    pub(crate) dev_control: Option<PathBuf>,
}

/// `rumor config`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting as `rumor agent` would use it, and where it comes from
    Show(ConfigShow),
    /// Check a config file without starting anything
    Check {
        /// The TOML file
        #[arg(value_name = "F")]
        file: PathBuf,
    },
    /// Print a config file with every setting at its default, explained
    Default {
        /// What the settings start from: lan, wan or local
        #[arg(long, value_name = "P")]
        preset: Option<String>,
    },
}

/// `rumor config show`
#[derive(Args, Debug)]
pub(crate) struct ConfigShow {
    /// Read settings from this TOML file
    #[arg(long, value_name = "F", env = "RUMOR_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// What the settings start from: lan, wan or local
    #[arg(long, value_name = "P")]
    pub(crate) preset: Option<String>,
    /// Any setting; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `rumor members`
#[derive(Args, Debug)]
pub(crate) struct Members {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Only those in this state
    #[arg(long, value_name = "S", value_parser = ["alive", "suspect", "dead", "left", "revoked"])]
    pub(crate) state: Option<String>,
    /// Only those with this tag; may be given often
    #[arg(long = "tag", value_name = "K=V", value_parser = key_value)]
    pub(crate) tags: Vec<(String, String)>,
    /// Print what changes, as it happens
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `rumor join`
#[derive(Args, Debug)]
pub(crate) struct Join {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Any nodes of the cluster: `host`, `host:port` or `[v6]:port`
    #[arg(value_name = "ADDR", required = true)]
    pub(crate) contacts: Vec<String>,
}

/// `rumor reload`
#[derive(Args, Debug)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `rumor leave`
#[derive(Args, Debug)]
pub(crate) struct Leave {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `rumor remove`
#[derive(Args, Debug)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Name or id of the member
    pub(crate) name: String,
    /// Also a member that is alive; if it still runs it comes back
    #[arg(long)]
    pub(crate) force: bool,
}

/// `rumor gauge`
#[derive(Args, Debug)]
pub(crate) struct Gauge {
    #[command(flatten)]
    pub(crate) target: Target,
    /// 1 to 64 bytes
    pub(crate) name: String,
    /// A number
    #[arg(required_unless_present = "delete", conflicts_with = "delete", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Take the gauge away instead
    #[arg(long)]
    pub(crate) delete: bool,
}

/// `rumor aggregate`
#[derive(Args, Debug)]
pub(crate) struct Aggregate {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What to make of the values
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: Function,
    /// Which gauge; every agent has load, memory, members and uptime. Without one, count counts agents
    pub(crate) name: Option<String>,
    /// The part of a quantile, from 0 to 1
    #[arg(value_name = "Q")]
    pub(crate) part: Option<f64>,
}

/// `rumor publish`
#[derive(Args, Debug)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) target: Target,
    /// 1 to 255 bytes, without * and >
    pub(crate) topic: String,
    /// The message; - or nothing reads it from standard input
    pub(crate) message: Option<OsString>,
    /// Then show how it travelled, hop by hop
    #[arg(long)]
    pub(crate) trace: bool,
}

/// `rumor trace`
#[derive(Args, Debug)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The message's topic
    pub(crate) topic: String,
    /// Which message, as `publish` and `subscribe` print it
    #[arg(value_name = "ORIGIN:SEQUENCE", value_parser = message_place)]
    pub(crate) message: (String, String),
}

/// `rumor subscribe`
#[derive(Args, Debug)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The topic
    pub(crate) topic: String,
    /// Begin with up to this many messages that the agent still has
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) history: usize,
    /// End after this many messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// `rumor query`
#[derive(Args, Debug)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is asked; every agent answers `ping` and `info`
    pub(crate) name: String,
    /// For whoever answers, up to 1 KiB
    pub(crate) payload: Option<OsString>,
    /// Ask only members with this tag; may be given often
    #[arg(long = "tag", value_name = "K=V", value_parser = key_value)]
    pub(crate) tags: Vec<(String, String)>,
    /// Ask only the N members nearest to the agent by round trip, itself not counted: 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) nearest: Option<u8>,
}

/// `rumor why`
#[derive(Args, Debug)]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) target: Target,
    /// A member, by name or id; also one that is not listed any more, for as long as it is remembered
    pub(crate) name: String,
}

/// `rumor rtt`
#[derive(Args, Debug)]
pub(crate) struct Rtt {
    #[command(flatten)]
    pub(crate) target: Target,
    /// A member, by name or id
    #[arg(value_name = "A")]
    pub(crate) first: String,
    /// Another one; without it, the agent itself
    #[arg(value_name = "B")]
    pub(crate) second: Option<String>,
}

/// `rumor answer`
#[derive(Args, Debug)]
pub(crate) struct Answer {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Which query to answer
    pub(crate) name: String,
    /// The command; its environment says what is asked (`RUMOR_QUERY`) and by whom (`RUMOR_FROM`)
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// `rumor tags`
#[derive(Debug, Subcommand)]
pub(crate) enum Tags {
    /// Add tags, or change them
    Set {
        #[command(flatten)]
        target: Target,
        /// What to say
        #[arg(value_name = "K=V", required = true, value_parser = key_value)]
        tags: Vec<(String, String)>,
    },
    /// Take tags away
    Delete {
        #[command(flatten)]
        target: Target,
        /// What to say no longer
        #[arg(value_name = "K", required = true)]
        keys: Vec<String>,
    },
}

/// `rumor info`
#[derive(Args, Debug)]
pub(crate) struct Info {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `rumor logs`
#[derive(Args, Debug)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The least important lines to show
    #[arg(long, value_name = "L", value_enum, default_value_t = Level::Info)]
    pub(crate) level: Level,
}

/// `rumor fault`
#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// Lose a share of the datagrams that each agent sends
    Loss {
        #[command(flatten)]
        target: Target,
        /// The share, 0 to 1
        #[arg(value_name = "P", value_parser = share)]
        share: f64,
    },
    /// Hold back whatever each agent sends
    Delay {
        #[command(flatten)]
        target: Target,
        /// For how long
        #[arg(value_name = "D", value_parser = duration::parse)]
        delay: Duration,
    },
    /// Let nothing pass between two members, either way
    Cut {
        #[command(flatten)]
        target: Target,
        /// Name or id of one
        a: String,
        /// Name or id of the other
        b: String,
    },
    /// Undo all faults
    Heal {
        #[command(flatten)]
        target: Target,
    },
}

/// `rumor man`
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `rumor completions`
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// A command line that is not to be run: wrong, or a question for help.
#[derive(Debug)]
pub(crate) struct Refused(clap::Error);

/// Reads the command line of this process.
pub(crate) fn parse() -> Result<Cli, Refused> {
    Cli::try_parse().map_err(Refused)
}

impl Refused {
    /// Prints help where it was asked for, otherwise what is wrong.
    pub(crate) fn report(self) -> ExitCode {
        // Help and version leave with 0; a failure to print them is the reader's doing.
        let asked_for_help = !self.0.use_stderr();
        let json = std::env::args_os().any(|argument| argument == "--json");
        if asked_for_help || !json {
            return if self.0.print().is_ok() && asked_for_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
        let text = self.0.render().to_string();
        let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::usage(sentence).report(true)
    }
}

/// Reads `K=V`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("write a share from 0 to 1, as in 0.1".to_owned()),
    }
}

/// Reads `ORIGIN:SEQUENCE`; names may hold colons, sequences do not.
fn message_place(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once(':') {
        Some((origin, sequence)) if !origin.is_empty() && !sequence.is_empty() => {
            Ok((origin.to_owned(), sequence.to_owned()))
        }
        Some(_) | None => Err("write ORIGIN:SEQUENCE, as in n1:7".to_owned()),
    }
}
