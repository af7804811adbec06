//! Every setting, described: for `rumor config show` and as a config file to begin with.

use std::fmt::Write as _;

use rumormill_core::config::{SETTINGS, Setting};
use rumormill_lab::settings::table_of;
use serde::Serialize;
use toml::Value;

use super::layers::{Layers, of_preset};
use super::reload::is_reloaded;
use super::rules::{is_shared, rules};
use super::{Preset, Settings};
use crate::failure::Failure;

/// The settings of the agent itself, in the order of a config file.
pub(super) const AGENT_SETTINGS: &[Setting] = &[
    Setting {
        key: "preset",
        unit: "lan, wan or local",
        source: "convention",
        meaning: "What the settings start from.",
    },
    Setting {
        key: "name",
        unit: "1 to 128 bytes",
        source: "the host name where empty",
        meaning: "The name of this node.",
    },
    Setting {
        key: "bind",
        unit: "address",
        source: "0.0.0.0:4747 with a key file, else 127.0.0.1:4747, where empty",
        meaning: "Where to gossip, UDP and TCP.",
    },
    Setting {
        key: "advertise",
        unit: "address",
        source: "what it binds where empty",
        meaning: "Where others reach this node.",
    },
    Setting {
        key: "join",
        unit: "addresses, host names, srv:NAME, file:PATH",
        source: "none",
        meaning: "Nodes to join through: addresses, every address of a host, what the DNS says of a service, or what a file has, a line each.",
    },
    Setting {
        key: "discovery_interval",
        unit: "duration",
        source: "guess: contacts are for joining and for the hour when all is lost",
        meaning: "How often names and services of join are looked up again, give or take a tenth.",
    },
    Setting {
        key: "dns_server",
        unit: "address",
        source: "as the system does where empty",
        meaning: "Whom to ask for names and services of join.",
    },
    Setting {
        key: "agreement_voters",
        unit: "names or ids",
        source: "none",
        meaning: "Who votes on registers, named once all of them are members; from then on voters are changed by command.",
    },
    Setting {
        key: "http",
        unit: "address",
        source: "this machine only",
        meaning: "Where to serve HTTP; what is not loopback takes a token.",
    },
    Setting {
        key: "http_token_file",
        unit: "path",
        source: "no token where empty",
        meaning: "The token that HTTP asks for: a line of 32 to 512 letters, digits and signs, which only its owner can read.",
    },
    Setting {
        key: "http_cert_file",
        unit: "path",
        source: "no TLS where empty",
        meaning: "Certificates of HTTPS as PEM, the agent's own first.",
    },
    Setting {
        key: "http_key_file",
        unit: "path",
        source: "no TLS where empty",
        meaning: "The private key of HTTPS as PEM, which only its owner can read.",
    },
    Setting {
        key: "metrics",
        unit: "address",
        source: "with HTTP where empty",
        meaning: "Where to serve /metrics, /health and /ready a second time, without a token and TLS.",
    },
    Setting {
        key: "data_dir",
        unit: "directory",
        source: "nothing is kept where empty",
        meaning: "Where identity and known members are kept.",
    },
    Setting {
        key: "key_file",
        unit: "path",
        source: "nothing is sealed where empty",
        meaning: "The cluster's key, as `rumor keygen` writes it.",
    },
    Setting {
        key: "certificate",
        unit: "path",
        source: "needed where identity is signed",
        meaning: "The authority's word that this node may be a member, as `rumor authority admit` makes it.",
    },
    Setting {
        key: "record",
        unit: "path",
        source: "nothing is recorded where empty",
        meaning: "Where the flight recorder writes what happens to this node, for `rumor lab replay`.",
    },
    Setting {
        key: "record_bytes_max",
        unit: "bytes",
        source: "guess",
        meaning: "How large a recording may become, at least 8 MiB and four times what the node holds; the oldest is overwritten.",
    },
    Setting { key: "log", unit: "text or json", source: "convention", meaning: "How the log is written to stderr." },
    Setting {
        key: "log_level",
        unit: "error, warn, info, debug or trace",
        source: "convention",
        meaning: "What is logged to stderr.",
    },
    Setting {
        key: "allow_faults",
        unit: "yes or no",
        source: "for experiments only",
        meaning: "Whether `rumor fault` may drop, delay and cut.",
    },
    Setting {
        key: "lab",
        unit: "yes or no",
        source: "its work would be the agent's",
        meaning: "Whether the console offers the laboratory, which runs in the agent's process.",
    },
    Setting {
        key: "insecure",
        unit: "yes or no",
        source: "nothing is sealed yet",
        meaning: "Whether an address that is not loopback is accepted.",
    },
    Setting {
        key: "on",
        unit: "list of tables",
        source: "none",
        meaning: "Commands to run when something happens; in a file as [[on]] with events or topic, tags, command and timeout.",
    },
    Setting { key: "tags", unit: "table", source: "none", meaning: "What this node says about itself." },
];

/// A setting with its value, as `rumor config show` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Described {
    pub(crate) key: &'static str,
    /// What `rumor agent` would use.
    pub(crate) value: serde_json::Value,
    pub(crate) default: serde_json::Value,
    /// The type of its value.
    pub(crate) r#type: &'static str,
    pub(crate) unit: &'static str,
    /// What it may be, where that is more than its unit says.
    pub(crate) rules: Vec<String>,
    /// Whether nodes that differ in it stay strangers to each other.
    pub(crate) shared: bool,
    /// Who set the value: `preset`, a file's name, a variable's name or `flag`.
    pub(crate) set_by: String,
    /// Where the default comes from.
    pub(crate) source: &'static str,
    pub(crate) meaning: &'static str,
    /// Whether a running agent takes over a change when it is told to read its settings again; else it takes a restart.
    pub(crate) reloaded: bool,
}

impl Described {
    /// The value as text.
    pub(crate) fn text(value: &serde_json::Value) -> String {
        value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
    }
}

/// Every setting as these layers give it, checked.
pub(crate) fn catalogue(layers: &Layers) -> Result<Vec<Described>, Failure> {
    Settings::from_layers(layers)?;
    let (agent, node) = layers.resolve()?;
    let (agent_defaults, node_defaults) = of_preset(agent.preset);
    let (agent, node) = (table_of(&agent), table_of(&node));
    let halves = [(AGENT_SETTINGS, agent, agent_defaults, false), (SETTINGS, node, node_defaults, true)];
    Ok(halves
        .iter()
        .flat_map(|(settings, values, defaults, is_of_node)| {
            settings.iter().map(|&Setting { key, unit, source, meaning }| Described {
                key,
                value: json(&values[key]),
                default: json(&defaults[key]),
                r#type: type_of(&defaults[key], unit),
                unit,
                rules: if *is_of_node { rules(key, &defaults[key]) } else { Vec::new() },
                shared: *is_of_node && is_shared(key, &defaults[key]),
                set_by: layers.origin(key).to_string(),
                source,
                meaning: meaning.trim(),
                reloaded: is_reloaded(key),
            })
        })
        .collect())
}

fn type_of(value: &Value, unit: &str) -> &'static str {
    match value {
        Value::String(_) if unit == "duration" => "duration",
        Value::String(_) | Value::Datetime(_) => "text",
        Value::Integer(_) => "whole number",
        Value::Float(_) => "number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "list",
        Value::Table(_) => "table",
    }
}

fn json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A config file with every setting at its default, explained. `[tags]` is a table and therefore comes last.
pub(crate) fn default_file(preset: Preset) -> String {
    let (agent, node) = of_preset(preset);
    let (tags, agent_settings) = AGENT_SETTINGS.split_last().expect("there are settings");
    let mut text = format!("# Every setting of `rumor agent`, as preset {} has it.\n", preset.as_str());
    for (settings, values) in [(agent_settings, &agent), (SETTINGS, &node)] {
        for setting in settings {
            let _ = write!(text, "\n{}{} = {}\n", comment(setting), setting.key, values[setting.key]);
        }
    }
    let _ = write!(text, "\n{}[{}]\n", comment(tags), tags.key);
    text
}

fn comment(setting: &Setting) -> String {
    let Setting { key, meaning, unit, source } = setting;
    let takes = takes(is_reloaded(key));
    format!("# {}\n# Unit: {unit}. Default from: {source}. A change takes a {takes}.\n", meaning.trim())
}

const fn takes(reloaded: bool) -> &'static str {
    if reloaded { "reload" } else { "restart" }
}

/// The catalogue's lines for people.
pub(crate) fn rows(settings: &[Described]) -> Vec<Vec<String>> {
    settings
        .iter()
        .map(|setting| {
            let Described { key, value, default, unit, set_by, source, reloaded, .. } = setting;
            let (value, default) = (Described::text(value), Described::text(default));
            let words = [*key, &value, &default, unit, set_by, takes(*reloaded), source];
            words.map(ToOwned::to_owned).into()
        })
        .collect()
}
