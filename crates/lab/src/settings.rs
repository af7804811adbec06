//! Settings by key, as text: how values are read, shown and refused, in scenarios and wherever else settings are written.

use std::fmt::Display;

use rumormill_core::ConfigBuilder;
use rumormill_core::config::SETTINGS;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Error;

/// What the settings of a node start from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Machines of one network.
    #[default]
    Lan,
    /// Machines in several regions.
    Wan,
    /// Processes of one machine.
    Local,
}

impl Preset {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Local => "local",
        }
    }

    /// The settings.
    pub fn settings(self) -> ConfigBuilder {
        match self {
            Self::Lan => ConfigBuilder::lan(),
            Self::Wan => ConfigBuilder::wan(),
            Self::Local => ConfigBuilder::local(),
        }
    }
}

/// Whether a node has a setting of that name.
pub(crate) fn is_one(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key == key)
}

/// These settings with another value for one of them, not yet checked against the others.
///
/// # Errors
/// That there is no such setting, or that this is no value for it.
pub(crate) fn with(settings: &ConfigBuilder, key: &str, value: &str) -> Result<ConfigBuilder, Error> {
    let mut table = table_of(settings);
    let Some(present) = table.get(key) else {
        return Err(Error::value(key, value, unknown(key, &[])));
    };
    table.insert(key.to_owned(), typed(value, present));
    read(key, table)
}

/// All settings as a table.
pub fn table_of(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("settings are plain values under text keys")
}

/// Text from outside of files takes the type that the setting has.
pub fn typed(text: &str, like: &Value) -> Value {
    let read = match like {
        Value::Integer(_) => text.parse().map(Value::Integer).ok(),
        Value::Boolean(_) => text.parse().map(Value::Boolean).ok(),
        Value::Float(_) => text.parse().map(Value::Float).ok(),
        Value::String(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    };
    read.unwrap_or_else(|| text.into())
}

/// A value as it would be written on the command line.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Reads a table into a type; `field` is what is named where that cannot be done.
///
/// # Errors
/// The value of `field` in the table, and the rule that it breaks.
pub fn read<T: DeserializeOwned>(field: &str, table: Table) -> Result<T, Error> {
    let value = table.get(field).map_or_else(String::new, shown);
    table.try_into().map_err(|error: toml::de::Error| {
        let rule = rule_of(error.message(), &value);
        Error::value(field, value, rule)
    })
}

/// The rule in serde's words, what it expected, with Rust's names of types put into people's.
fn rule_of(message: &str, value: &str) -> String {
    let whole = |most: &dyn Display| match value.parse::<f64>() {
        Ok(_) => format!("a whole number from 0 to {most}"),
        Err(_) => "a whole number".to_owned(),
    };
    let rule = ["expected ", "write "].iter().find_map(|word| Some(message.split_once(word)?.1));
    match rule.unwrap_or(message).replace('`', "").trim() {
        "u32" => whole(&u32::MAX),
        // TOML's numbers have no more bits.
        "usize" | "u64" => whole(&i64::MAX),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        rule => rule.to_owned(),
    }
}

/// What to say of a name that is neither one of `own` nor a node's setting: which of them it may have been.
pub(crate) fn unknown(key: &str, own: &[&str]) -> String {
    let kind = if own.is_empty() { "a setting of a node" } else { "a key of a scenario or a setting of a node" };
    let known = own.iter().copied().chain(SETTINGS.iter().map(|setting| setting.key));
    nearest(key, known).map_or_else(|| kind.to_owned(), |near| format!("{kind}, perhaps {near}"))
}

/// Which of the known names somebody may have meant: the nearest, unless more than three letters differ.
pub fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = known.map(|known| (distance(known, key), known)).min()?;
    (distance <= 3).then_some(near)
}

/// Levenshtein's distance: how many letters have to be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_setting_takes_text_as_its_own_type_has_it() {
        let lan = ConfigBuilder::lan();
        assert_eq!(with(&lan, "fanout", "7").unwrap().fanout, 7);
        assert!(!with(&lan, "stream_probe", "false").unwrap().stream_probe);
        assert_eq!(with(&lan, "probe_interval", "3s").unwrap().probe_interval, Duration::from_secs(3));
    }

    #[test]
    fn what_is_no_setting_or_no_value_is_refused_with_the_rule() {
        let message = |key, value| with(&ConfigBuilder::lan(), key, value).unwrap_err().to_string();
        assert_eq!(message("fanuot", "3"), "fanuot is 3, must be a setting of a node, perhaps fanout");
        assert_eq!(message("fanout", "many"), "fanout is many, must be a whole number");
        assert_eq!(message("fanout", "-1"), "fanout is -1, must be a whole number from 0 to 9223372036854775807");
        assert_eq!(message("mode", "sideways"), "mode is sideways, must be one of push, pull, push-pull");
    }
}
