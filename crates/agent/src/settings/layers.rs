//! Where values come from, and which of them wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rumormill_core::config::SETTINGS;
use rumormill_core::{ConfigBuilder, Tags};
use rumormill_lab::settings::{self, read, shown, table_of};
use toml::{Table, Value};

use super::catalogue::AGENT_SETTINGS;
use super::{AgentSettings, Preset};
use crate::cli;
use crate::failure::Failure;

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Preset,
    /// A config file.
    File(String),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset => f.write_str("preset"),
            Self::File(name) | Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// All values that somebody set, the strongest of each kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    /// What this machine says: the file, over it the environment.
    pub(crate) fn of_machine(file: Option<&Path>) -> Result<Self, Failure> {
        let layers = file.map_or_else(|| Ok(Self::default()), Self::of_file)?;
        layers.with_environment(std::env::vars_os().filter_map(|(key, value)| {
            let key = key.into_string().ok()?.strip_prefix("RUMOR_")?.to_ascii_lowercase();
            Some((key, value.into_string().ok()?))
        }))
    }

    /// What an agent with these flags goes by.
    pub(crate) fn of_agent(flags: &cli::Agent) -> Result<Self, Failure> {
        Self::of_machine(flags.config.as_deref())?.with_flags(flags)
    }

    /// What a config file says.
    pub(crate) fn of_file(file: &Path) -> Result<Self, Failure> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::value("config", &shown, format!("a file that can be read ({error})")))?;
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| Failure::value("config", &shown, format!("TOML: {}", error.message())))?;
        let mut layers = Self::default();
        for (key, value) in table {
            layers.put(&key, value, Origin::File(shown.clone()))?;
        }
        Ok(layers)
    }

    /// Variables without their prefix. Those that are no settings may be meant for other programs or commands.
    fn with_environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Failure> {
        for (key, text) in variables {
            if default_of(&key).is_some() {
                let origin = Origin::Environment(format!("RUMOR_{}", key.to_ascii_uppercase()));
                self.put_text(&key, &text, origin)?;
            }
        }
        Ok(self)
    }

    /// Lays the flags of `rumor agent` over everything.
    pub(crate) fn with_flags(mut self, flags: &cli::Agent) -> Result<Self, Failure> {
        for (key, text) in [
            ("cluster", &flags.cluster),
            ("name", &flags.name),
            ("bind", &flags.bind),
            ("advertise", &flags.advertise),
            ("http", &flags.http),
            ("data_dir", &flags.data_dir),
            ("key_file", &flags.key_file),
            ("certificate", &flags.certificate),
            ("record", &flags.record),
            ("preset", &flags.preset),
            ("mode", &flags.mode),
            ("fanout", &flags.fanout),
            ("view", &flags.view),
            ("log", &flags.log),
            ("log_level", &flags.log_level),
        ] {
            if let Some(text) = text {
                self.put_text(key, text, Origin::Flag)?;
            }
        }
        for (key, is_given) in [("allow_faults", flags.allow_faults), ("lab", flags.lab), ("insecure", flags.insecure)]
        {
            if is_given {
                self.put(key, Value::Boolean(true), Origin::Flag)?;
            }
        }
        for (key, list) in [("join", &flags.join), ("tags", &flags.tags)] {
            if !list.is_empty() {
                self.put_text(key, &list.join(","), Origin::Flag)?;
            }
        }
        self.with_set(&flags.set)
    }

    /// Lays `--set KEY=VALUE` and `--preset` over everything.
    pub(crate) fn with_set(mut self, assignments: &[String]) -> Result<Self, Failure> {
        for assignment in assignments {
            let Ok((key, text)) = cli::key_value(assignment) else {
                return Err(Failure::value("set", assignment, "KEY=VALUE"));
            };
            self.put_text(&key, &text, Origin::Flag)?;
        }
        Ok(self)
    }

    /// Where a setting's value comes from.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Preset, |(_, origin)| origin.clone())
    }

    /// The agent's settings and the node's, types checked, not yet how they relate.
    pub(crate) fn resolve(&self) -> Result<(AgentSettings, ConfigBuilder), Failure> {
        let mut agent = Table::new();
        let mut node = Table::new();
        for (key, (value, _)) in &self.values {
            let table = if is_of_agent(key) { &mut agent } else { &mut node };
            table.insert(key.clone(), value.clone());
        }
        let agent: AgentSettings = read("settings", agent)?;
        let mut builder = table_of(&agent.preset.settings());
        builder.extend(node);
        Ok((agent, read("settings", builder)?))
    }

    /// Text from outside of files takes the type that the setting has.
    fn put_text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Failure> {
        let value = match default_of(key) {
            Some(Value::Array(_)) => {
                text.split(',').filter(|item| !item.is_empty()).map(Value::from).collect::<Vec<_>>().into()
            }
            Some(Value::Table(_)) => Value::Table(tags_table(text)?),
            Some(like) => settings::typed(text, &like),
            None => text.into(),
        };
        self.put(key, value, origin)
    }

    /// Checks that the setting exists and that the value alone makes sense, then keeps it. Tags add to each other.
    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), Failure> {
        if default_of(key).is_none() {
            return Err(Failure::value(key, shown(&value), unknown_rule(key)));
        }
        let alone = Table::from_iter([(key.to_owned(), value.clone())]);
        if is_of_agent(key) {
            read::<AgentSettings>(key, alone)?;
        } else {
            read::<ConfigBuilder>(key, alone)?;
        }
        match (self.values.get_mut(key), value) {
            (Some((Value::Table(tags), from)), Value::Table(more)) => {
                tags.extend(more);
                *from = origin;
            }
            (_, value) => {
                self.values.insert(key.to_owned(), (value, origin));
            }
        }
        Ok(())
    }
}

fn is_of_agent(key: &str) -> bool {
    AGENT_SETTINGS.iter().any(|setting| setting.key == key)
}

/// The default of a setting, or `None` if there is no such setting.
fn default_of(key: &str) -> Option<Value> {
    let table = if is_of_agent(key) { table_of(&AgentSettings::default()) } else { table_of(&ConfigBuilder::lan()) };
    table.get(key).cloned()
}

fn unknown_rule(key: &str) -> String {
    let known = SETTINGS.iter().chain(AGENT_SETTINGS).map(|setting| setting.key);
    match settings::nearest(key, known) {
        Some(near) => format!("a setting that exists, perhaps {near}; `rumor config show` lists them"),
        None => "a setting that exists; `rumor config show` lists them".to_owned(),
    }
}

fn tags_table(text: &str) -> Result<Table, Failure> {
    let mut tags = Tags::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = cli::key_value(pair).map_err(|_| Failure::value("tags", pair, "KEY=VALUE"))?;
        tags.insert(key, value);
    }
    Ok(table_of(&tags))
}

/// For the preset alone: what the settings are before anybody changes them.
pub(super) fn of_preset(preset: Preset) -> (Table, Table) {
    (table_of(&AgentSettings { preset, ..AgentSettings::default() }), table_of(&preset.settings()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn file(text: &str) -> Result<Settings, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rumor.toml");
        std::fs::write(&path, text).unwrap();
        Settings::of_file(&path)
    }

    fn message(result: Result<Settings, Failure>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest_that_exists() {
        assert_eq!(
            message(file("fanuot = 3")),
            "fanuot is 3, must be a setting that exists, perhaps fanout; `rumor config show` lists them"
        );
    }

    #[test]
    fn values_that_contradict_each_other_are_refused_with_the_rule() {
        assert_eq!(
            message(file("probe_timeout = \"3s\"")),
            "probe_timeout is 3s, must be below probe_interval (1s) so that a probe can finish"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_what_was_expected() {
        assert_eq!(message(file("mode = \"sideways\"")), "mode is sideways, must be one of push, pull, push-pull");
        assert_eq!(message(file("fanout = \"many\"")), "fanout is many, must be a whole number");
        assert!(message(file("gossip_interval = \"5 parsecs\"")).contains("a number and a unit"));
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let variables = [("fanout", "5"), ("mode", "pull"), ("agent", "http://elsewhere")];
        let flags = cli::Agent { mode: Some("push".to_owned()), tags: vec!["b=2".to_owned()], ..Default::default() };
        let mut layers = Layers::default();
        for (key, text) in [("fanout", "4"), ("mode", "push-pull"), ("view", "full"), ("tags", "a=1,b=1")] {
            layers.put_text(key, text, Origin::File("rumor.toml".to_owned())).unwrap();
        }
        let variables = variables.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let layers = layers.with_environment(variables).unwrap().with_flags(&flags).unwrap();
        let (agent, node) = layers.resolve().unwrap();
        assert_eq!((node.fanout, node.mode), (5, rumormill_core::config::Mode::Push));
        assert_eq!(agent.tags, Tags::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]));
        let origins = ["fanout", "mode", "view"].map(|key| layers.origin(key).to_string());
        assert_eq!(origins, ["RUMOR_FANOUT", "flag", "rumor.toml"]);
    }

    #[test]
    fn an_address_beyond_this_machine_needs_a_word_of_consent() {
        let refused = message(file("bind = \"0.0.0.0:4747\""));
        assert!(
            refused.starts_with("bind is 0.0.0.0:4747, must be a loopback address, or with --key-file"),
            "{refused}"
        );
        let sealed = |more: &str| file(&format!("key_file = \"/etc/rumor/key\"\n{more}")).unwrap().bind.to_string();
        assert_eq!(sealed(""), "0.0.0.0:4747");
        assert_eq!(sealed("bind = \"10.1.2.3\""), "10.1.2.3:4747");
        assert_eq!(file("").unwrap().bind.to_string(), "127.0.0.1:4747");
        assert!(file("bind = \"0.0.0.0:4747\"\ninsecure = true").is_ok());
        assert!(message(file("http = \"0.0.0.0:80\"\ninsecure = true")).starts_with("http is 0.0.0.0:80"));
    }

    #[test]
    fn the_default_file_reads_back_as_the_defaults() {
        for preset in [Preset::Lan, Preset::Wan, Preset::Local] {
            let settings = file(&crate::settings::default_file(preset)).unwrap();
            assert_eq!((settings.preset, &*settings.node), (preset, &preset.settings()));
        }
    }
}
