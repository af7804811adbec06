//! A scenario as it is asked for, key by key: from a TOML file, with what the command line says laid over it.
//!
//! A scenario's own keys and the settings of its nodes stand side by side in one flat table. Each value is checked by
//! one path wherever it comes from, and what is refused says where it stood.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _};
use toml::{Spanned, Table, Value};

use super::fault::{Fault, Work};
use super::{STREAM_SPEED_RULE, Scenario, library};
use crate::Error;
use crate::settings::{self, Preset, read};

/// Values by key, the strongest of each.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    values: BTreeMap<String, (Value, Place)>,
}

/// Where a value stood.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    /// On the command line.
    Flag,
    /// In a file or a scenario of the library, on a line.
    Line(String, usize),
}

impl Draft {
    /// What the library has under a name, or else what a file says.
    ///
    /// # Errors
    /// That there is neither, or the first value that is none.
    pub fn named(name: &str) -> Result<Self, Error> {
        if let Some(scenario) = library::find(name) {
            return Self::of_text(scenario.text, name);
        }
        let text = std::fs::read_to_string(Path::new(name)).map_err(|error| {
            let names: Vec<_> = library::all().map(|scenario| scenario.name).collect();
            let rule = format!("one of {}, or a file that can be read ({error})", names.join(", "));
            Error::value("scenario", name, rule)
        })?;
        Self::of_text(&text, name)
    }

    /// What a TOML text says; `name` is what it is called where something is refused.
    ///
    /// # Errors
    /// The first key or value that is none.
    pub fn of_text(text: &str, name: &str) -> Result<Self, Error> {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        let table: BTreeMap<String, Spanned<Value>> = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or_else(String::new, |span| format!(" in line {}", line(span.start)));
            Error::value("scenario", name, format!("a TOML file: {}{place}", error.message()))
        })?;
        let mut values: Vec<_> = table.into_iter().map(|(key, value)| (value.span().start, key, value)).collect();
        values.sort_by_key(|(start, ..)| *start);
        let mut draft = Self::default();
        for (start, key, value) in values {
            draft.put(&key, value.into_inner(), Place::Line(name.to_owned(), line(start)))?;
        }
        Ok(draft)
    }

    /// Lays a value over what was there, as text.
    ///
    /// # Errors
    /// That there is no such key, or that this is no value for it.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), Error> {
        let value = default_of(key).map_or_else(|| text.into(), |default| settings::typed(text, &default));
        self.put(key, value, Place::Flag)
    }

    /// Lays a list over what was there.
    ///
    /// # Errors
    /// The first item that is none.
    pub fn set_list(&mut self, key: &str, items: &[String]) -> Result<(), Error> {
        self.put(key, Value::Array(items.iter().map(|item| item.as_str().into()).collect()), Place::Flag)
    }

    /// The scenario, not yet checked as a whole.
    ///
    /// # Errors
    /// A value that is none together with the others.
    pub fn scenario(&self) -> Result<Scenario, Error> {
        let mut own = Table::new();
        let mut node = Table::new();
        for (key, (value, _)) in &self.values {
            let table = if settings::is_one(key) { &mut node } else { &mut own };
            table.insert(key.clone(), value.clone());
        }
        let scenario: Scenario = read("scenario", own)?;
        let mut config = settings::table_of(&scenario.preset.settings());
        config.extend(node);
        Ok(Scenario { config: read("scenario", config)?, ..scenario })
    }

    fn put(&mut self, key: &str, value: Value, place: Place) -> Result<(), Error> {
        alone(key, &value).map_err(|error| place.tell(error))?;
        self.values.insert(key.to_owned(), (value, place));
        Ok(())
    }
}

impl Place {
    fn tell(&self, error: Error) -> Error {
        match (self, error) {
            (Self::Line(name, line), Error::Value { field, value, rule }) => {
                Error::Value { field, value, rule: format!("{rule} (line {line} of {name})") }
            }
            (Self::Flag | Self::Line(..), error) => error,
        }
    }
}

/// Whether a key exists and a value for it makes sense alone.
fn alone(key: &str, value: &Value) -> Result<(), Error> {
    if default_of(key).is_none() {
        let own = settings::table_of(&Scenario::default());
        let own: Vec<_> = own.keys().map(String::as_str).collect();
        return Err(Error::value(key, settings::shown(value), settings::unknown(key, &own)));
    }
    // Of a list the item is named that is wrong.
    for item in value.as_array().into_iter().flatten() {
        let text = settings::shown(item);
        let checked = match key {
            "fault" => text.parse::<Fault>().map(drop),
            "publish" => text.parse::<Work>().map(drop),
            _ => Ok(()),
        };
        checked.map_err(|rule| Error::value(key, text, rule))?;
    }
    let table = Table::from_iter([(key.to_owned(), value.clone())]);
    if settings::is_one(key) {
        read::<rumormill_core::ConfigBuilder>(key, table).map(drop)
    } else {
        read::<Scenario>(key, table).map(drop)
    }
}

/// What a key is without being set; `None` if there is no such key.
fn default_of(key: &str) -> Option<Value> {
    let own = settings::table_of(&Scenario::default());
    own.get(key).cloned().or_else(|| settings::table_of(&Preset::Lan.settings()).get(key).cloned())
}

/// A seed is any 64-bit number. TOML's numbers have 63 bits: what is larger is written as text.
pub(super) fn seed<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let refuse = || D::Error::custom("expected a whole number from 0 to 18446744073709551615");
    match Written::deserialize(from).map_err(|_| refuse())? {
        Written::Number(seed) => Ok(seed),
        Written::Text(text) => text.parse().map_err(|_| refuse()),
    }
}

/// Also of what is no number, or too large for one, the rule is told that holds for this key.
pub(super) fn stream_speed<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    u64::deserialize(from).map_err(|_| D::Error::custom(format!("expected {STREAM_SPEED_RULE}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rumormill_core::config::Mode;

    use super::*;

    fn message(text: &str) -> String {
        Draft::of_text(text, "a.toml").and_then(|draft| draft.scenario()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_holds_keys_of_the_scenario_and_settings_of_nodes_and_flags_win() {
        let text = "nodes = 7\nloss = 0.1\nmode = \"pull\"\npreset = \"wan\"\nfault = [\"heal@1s\"]\nseed = \"18446744073709551615\"";
        let mut draft = Draft::of_text(text, "a.toml").unwrap();
        draft.set("nodes", "9").unwrap();
        draft.set_list("fault", &["crash:n1@2s".to_owned()]).unwrap();
        let scenario = draft.scenario().unwrap();
        assert_eq!((scenario.nodes, scenario.seed, scenario.config.mode), (9, u64::MAX, Mode::Pull));
        assert_eq!(scenario.config.probe_interval, Duration::from_secs(5));
        assert_eq!(scenario.fault, ["crash:n1@2s".parse().unwrap()]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line() {
        assert_eq!(
            message("nodes = 7\n\nfanuot = 3"),
            "fanuot is 3, must be a key of a scenario or a setting of a node, perhaps fanout (line 3 of a.toml)"
        );
        assert!(
            message("nodes = 7\nfault = [\"heal@1s\", \"explode:n1@2s\"]").contains("explode:n1@2s, must be WHAT@WHEN")
        );
        assert!(message("nodes = 7\nnodes = 8").contains("in line 2"));
        assert_eq!(message("latency = \"soon\"").split(',').next(), Some("latency is soon"));
        assert_eq!(message("nodes = \"many\""), "nodes is many, must be a whole number (line 1 of a.toml)");
        assert_eq!(message("nodes = -1").split(',').next(), Some("nodes is -1"));
        assert_eq!(
            message("clock_drift = 4294967296"),
            "clock_drift is 4294967296, must be a whole number from 0 to 4294967295 (line 1 of a.toml)"
        );
        let mut draft = Draft::default();
        assert_eq!(
            draft.set("stream_speed", "99999999999999999999").unwrap_err().to_string(),
            "stream_speed is 99999999999999999999, must be from 1000 to 1000000000000 bytes per second"
        );
    }

    #[test]
    fn partial_views_begin_cold() {
        let mut draft = Draft::default();
        draft.set("view", "partial").unwrap();
        draft.scenario().unwrap().check().unwrap();
        draft.set("start", "joined").unwrap();
        let error = draft.scenario().unwrap().check().unwrap_err().to_string();
        assert_eq!(
            error,
            "start is joined, must be cold with view = partial: only complete views can be given to nodes"
        );
    }
}
