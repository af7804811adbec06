//! The settings of an agent: preset, config file, `RUMOR_*` and flags, laid one over the other.
//!
//! The agent's own settings and the node's stand side by side in one flat table, so that a config file has one level
//! (and `[tags]`), and so that each value is checked by one path wherever it comes from.

mod catalogue;
mod layers;
mod reload;
mod rules;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumormill_core::identity::check_tags;
use rumormill_core::{Config, ConfigBuilder, Tags, duration};
use serde::{Deserialize, Serialize};

use crate::address::{self, DNS_PORT, GOSSIP_PORT, HTTP_PORT, METRICS_PORT};
use crate::cli;
use crate::contact::Contact;
use crate::daemon::Handler;
use crate::failure::Failure;
use crate::logs::{Format, Level};

pub(crate) use catalogue::{catalogue, default_file, rows};
pub(crate) use layers::Layers;
pub(crate) use reload::Reload;
pub(crate) use rumormill_lab::settings::Preset;

/// How often names and services may be looked up.
const DISCOVERY_INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// The settings that the node does not know of, as they are written. Empty text is "not given".
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentSettings {
    pub(crate) preset: Preset,
    pub(crate) name: String,
    pub(crate) bind: String,
    pub(crate) advertise: String,
    pub(crate) join: Vec<String>,
    #[serde(with = "duration::text")]
    pub(crate) discovery_interval: Duration,
    pub(crate) dns_server: String,
    pub(crate) agreement_voters: Vec<String>,
    pub(crate) http: String,
    pub(crate) http_token_file: String,
    pub(crate) http_cert_file: String,
    pub(crate) http_key_file: String,
    pub(crate) metrics: String,
    pub(crate) data_dir: String,
    pub(crate) key_file: String,
    pub(crate) certificate: String,
    pub(crate) record: String,
    pub(crate) record_bytes_max: u64,
    pub(crate) log: Format,
    pub(crate) log_level: Level,
    pub(crate) allow_faults: bool,
    pub(crate) lab: bool,
    pub(crate) insecure: bool,
    pub(crate) on: Vec<Handler>,
    pub(crate) tags: Tags,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            name: String::new(),
            bind: String::new(),
            advertise: String::new(),
            join: Vec::new(),
            discovery_interval: Duration::from_mins(1),
            dns_server: String::new(),
            agreement_voters: Vec::new(),
            http: SocketAddr::from(([127, 0, 0, 1], HTTP_PORT)).to_string(),
            http_token_file: String::new(),
            http_cert_file: String::new(),
            http_key_file: String::new(),
            metrics: String::new(),
            data_dir: String::new(),
            key_file: String::new(),
            certificate: String::new(),
            record: String::new(),
            record_bytes_max: rumormill::RECORD_BYTES_MAX,
            log: Format::default(),
            log_level: Level::default(),
            allow_faults: false,
            lab: false,
            insecure: false,
            on: Vec::new(),
            tags: Tags::new(),
        }
    }
}

/// Everything that an agent starts with, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) node: Config,
    pub(crate) preset: Preset,
    pub(crate) name: String,
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) join: Vec<Contact>,
    pub(crate) discovery_interval: Duration,
    pub(crate) dns_server: Option<SocketAddr>,
    pub(crate) agreement_voters: Vec<String>,
    pub(crate) http: SocketAddr,
    pub(crate) http_token_file: Option<PathBuf>,
    /// Certificates and private key of HTTPS.
    pub(crate) http_tls: Option<(PathBuf, PathBuf)>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) record_bytes_max: u64,
    pub(crate) log: Format,
    pub(crate) log_level: Level,
    pub(crate) allow_faults: bool,
    pub(crate) lab: bool,
    pub(crate) on: Vec<Handler>,
    pub(crate) tags: Tags,
}

impl Settings {
    /// The settings of `rumor agent` with these flags.
    pub(crate) fn of_agent(flags: &cli::Agent) -> Result<Self, Failure> {
        Self::from_layers(&Layers::of_agent(flags)?)
    }

    /// The settings that a config file alone gives.
    pub(crate) fn of_file(file: &Path) -> Result<Self, Failure> {
        Self::from_layers(&Layers::of_file(file)?)
    }

    /// Checks each value, then how they relate.
    pub(crate) fn from_layers(layers: &Layers) -> Result<Self, Failure> {
        let (agent, node) = layers.resolve()?;
        Self::of(agent, node)
    }

    /// The same, of settings as they are written.
    pub(crate) fn of(agent: AgentSettings, node: ConfigBuilder) -> Result<Self, Failure> {
        let AgentSettings { preset, name, advertise, join, http, data_dir, log, log_level, .. } = agent;
        let key_file = given(&agent.key_file).map(PathBuf::from);
        let settings = Self {
            node: node.build()?,
            preset,
            name: if name.is_empty() { host_name() } else { name },
            bind: match given(&agent.bind) {
                Some(text) => address::local("bind", text, GOSSIP_PORT)?,
                // What is sealed may be reached from everywhere.
                None if key_file.is_some() => SocketAddr::from(([0, 0, 0, 0], GOSSIP_PORT)),
                None => SocketAddr::from(([127, 0, 0, 1], GOSSIP_PORT)),
            },
            advertise: given(&advertise).map(|text| address::local("advertise", text, GOSSIP_PORT)).transpose()?,
            join: join.iter().map(|text| Contact::parse(text)).collect::<Result<_, _>>()?,
            discovery_interval: agent.discovery_interval,
            dns_server: given(&agent.dns_server)
                .map(|text| address::local("dns_server", text, DNS_PORT))
                .transpose()?,
            agreement_voters: agent.agreement_voters,
            http: address::local("http", &http, HTTP_PORT)?,
            http_token_file: given(&agent.http_token_file).map(PathBuf::from),
            http_tls: both("http_cert_file", &agent.http_cert_file, "http_key_file", &agent.http_key_file)?,
            metrics: given(&agent.metrics).map(|text| address::local("metrics", text, METRICS_PORT)).transpose()?,
            data_dir: given(&data_dir).map(PathBuf::from),
            key_file,
            certificate: given(&agent.certificate).map(PathBuf::from),
            record: given(&agent.record).map(PathBuf::from),
            record_bytes_max: agent.record_bytes_max,
            log,
            log_level,
            allow_faults: agent.allow_faults,
            lab: agent.lab,
            on: agent.on,
            tags: agent.tags,
        };
        settings.check(agent.insecure)?;
        Ok(settings)
    }

    /// What is not sealed stays on this machine, unless somebody takes the risk knowingly.
    fn check(&self, insecure: bool) -> Result<(), Failure> {
        if !DISCOVERY_INTERVAL.contains(&self.discovery_interval) {
            let value = duration::format(self.discovery_interval);
            return Err(Failure::value("discovery_interval", value, "from 1s to 1h"));
        }
        check_tags(&self.tags)?;
        self.on.iter().enumerate().try_for_each(|(place, handler)| handler.check(place))?;
        if !self.bind.ip().is_loopback() && self.key_file.is_none() && !insecure {
            let rule = "a loopback address, or with --key-file (`rumor keygen` makes one): without a key nothing is sealed, and \
                        anybody in reach could join, read and forge; --insecure takes that risk";
            return Err(Failure::value("bind", self.bind, rule));
        }
        if !self.bind.ip().is_loopback() && self.allow_faults {
            return Err(Failure::value("allow_faults", "true", "false unless bind is a loopback address"));
        }
        if !self.http.ip().is_loopback() && self.http_token_file.is_none() {
            let rule = "a loopback address, or with http_token_file: without a token anybody in reach could command this agent";
            return Err(Failure::value("http", self.http, rule));
        }
        if self.bind == self.http && self.bind.port() != 0 {
            return Err(Failure::value("http", self.http, "another address than bind"));
        }
        if let Some(metrics) = self.metrics.filter(|metrics| *metrics == self.http && metrics.port() != 0) {
            return Err(Failure::value("metrics", metrics, "another address than http, which serves them as well"));
        }
        Ok(())
    }
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Two settings that come together or not at all.
fn both(one: &str, first: &str, other: &str, second: &str) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (given(first), given(second)) {
        (Some(first), Some(second)) => Ok(Some((first.into(), second.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Failure::value(other, "none", format!("given where {one} is"))),
        (None, Some(_)) => Err(Failure::value(one, "none", format!("given where {other} is"))),
    }
}

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
