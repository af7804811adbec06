//! What a node's setting may be, and whether all nodes must have the same: found out by trying, so that it is what the
//! settings themselves say.

use rumormill_core::config::IdentityKind;
use rumormill_core::{ConfigBuilder, duration};
use rumormill_lab::Error;
use rumormill_lab::settings::{read, table_of};
use toml::Value;

use super::Preset;

/// Values of which each is out of bounds for some setting, by the type of what it stands in for.
fn attempts(like: &Value) -> Vec<Value> {
    match like {
        Value::Integer(_) => [0, 1, i64::MAX].map(Value::from).into(),
        Value::String(text) if duration::parse(text).is_ok() => ["0s", "20000h"].map(Value::from).into(),
        Value::String(_) => vec!["".into()],
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Vec::new(),
    }
}

/// Values of which each is another than the default of some setting.
fn others(like: &Value) -> Vec<Value> {
    match like {
        Value::Integer(number) => vec![(number + 1).into()],
        Value::Boolean(is_so) => vec![(!is_so).into()],
        Value::String(_) => {
            let keys = "2".repeat(64);
            ["77s", "partial", "push", "plain", "never", "at-rounds", &keys, "another"].map(Value::from).into()
        }
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Vec::new(),
    }
}

fn with(settings: &ConfigBuilder, key: &str, value: Value) -> Result<ConfigBuilder, Error> {
    let mut table = table_of(settings);
    table.insert(key.to_owned(), value);
    read(key, table)
}

/// The rules of one setting, each once; with the defaults of preset lan where they name other settings.
pub(super) fn rules(key: &str, like: &Value) -> Vec<String> {
    let mut rules = Vec::new();
    for value in attempts(like) {
        rules.extend(broken_by(key, value).filter(|rule| !rules.contains(rule)));
    }
    rules
}

/// The rule of that setting that a value of it breaks.
fn broken_by(key: &str, value: Value) -> Option<String> {
    match with(&Preset::Lan.settings(), key, value) {
        Ok(settings) => settings.build().err().filter(|error| error.field == key).map(|error| error.rule),
        Err(Error::Value { rule, .. }) => Some(rule),
        Err(Error::Memory { .. } | Error::File { .. } | Error::Stopped | Error::Broken(_)) => None,
    }
}

/// Whether nodes that differ in it stay strangers.
pub(super) fn is_shared(key: &str, like: &Value) -> bool {
    // Who vouches for nodes matters where somebody does.
    let signed = ConfigBuilder { identity: IdentityKind::Signed, authority: "1".repeat(64), ..Preset::Lan.settings() };
    let usual = signed.shared_fingerprint();
    let differs = |other: ConfigBuilder| other.shared_fingerprint() != usual;
    key == "cluster" || others(like).into_iter().filter_map(|value| with(&signed, key, value).ok()).any(differs)
}
