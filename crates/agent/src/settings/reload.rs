//! Which settings a running agent takes over when it reads them again, and which take a restart.

use rumormill_core::ConfigBuilder;
use rumormill_core::config::RELOADED as OF_NODE;
use rumormill_lab::settings::{read, shown, table_of};
use toml::{Table, Value};

use super::{AgentSettings, Settings};
use crate::failure::Failure;

/// The agent's own settings that it takes over; those of the node are its own affair.
const OF_AGENT: [&str; 10] = [
    "join",
    "discovery_interval",
    "dns_server",
    "http_token_file",
    "http_cert_file",
    "http_key_file",
    "log",
    "log_level",
    "on",
    "tags",
];

/// Of these it takes over another value, but not whether there is one.
const NOT_FROM_NONE: [&str; 2] = ["http_cert_file", "http_key_file"];

/// Whether a running agent takes over another value of this setting.
pub(super) fn is_reloaded(key: &str) -> bool {
    OF_AGENT.contains(&key) || OF_NODE.contains(&key)
}

/// What becomes of settings that are read again.
#[derive(Debug)]
pub(crate) struct Reload {
    /// As they are in force then, as written and checked.
    pub(crate) running: (AgentSettings, ConfigBuilder),
    pub(crate) settings: Settings,
    /// Those that are taken over.
    pub(crate) changed: Vec<String>,
    /// Those that take a restart, as they are and as they were read.
    pub(crate) kept: Vec<(String, String, String)>,
}

impl Reload {
    /// Compares what is in force with what was read, which has to make sense alone; then what can be taken over has to make sense
    /// with what stays.
    pub(crate) fn new(
        running: &(AgentSettings, ConfigBuilder),
        (agent, node): (AgentSettings, ConfigBuilder),
    ) -> Result<Self, Failure> {
        let mut reload = Compared { changed: Vec::new(), kept: Vec::new() };
        let of_agent = reload.overlay(table_of(&running.0), table_of(&agent));
        let of_node = reload.overlay(table_of(&running.1), table_of(&node));
        Settings::of(agent, node)?;
        let running: (AgentSettings, ConfigBuilder) = (read("settings", of_agent)?, read("settings", of_node)?);
        let settings = Settings::of(running.0.clone(), running.1.clone())?;
        let Compared { changed, kept } = reload;
        Ok(Self { running, settings, changed, kept })
    }
}

struct Compared {
    changed: Vec<String>,
    kept: Vec<(String, String, String)>,
}

impl Compared {
    /// The settings in force, with what is taken over of those that were read.
    fn overlay(&mut self, mut running: Table, read: Table) -> Table {
        for (key, value) in read {
            let before = running.get(&key).cloned().unwrap_or_else(|| Value::String(String::new()));
            if before == value {
                continue;
            }
            let begins = NOT_FROM_NONE.contains(&&*key) && before.as_str() == Some("");
            let ends = NOT_FROM_NONE.contains(&&*key) && value.as_str() == Some("");
            if is_reloaded(&key) && !begins && !ends {
                self.changed.push(key.clone());
                running.insert(key, value);
            } else {
                self.kept.push((key, shown(&before), shown(&value)));
            }
        }
        running
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rumormill_core::config::SETTINGS;

    use super::super::catalogue::AGENT_SETTINGS;
    use super::*;
    use crate::settings::Layers;

    fn of(text: &str) -> (AgentSettings, ConfigBuilder) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rumor.toml");
        std::fs::write(&path, text).unwrap();
        Layers::of_file(&path).unwrap().resolve().unwrap()
    }

    #[test]
    fn what_can_be_taken_over_is_and_the_rest_stays_and_is_named() {
        let running = of("fanout = 3\nprobe_interval = \"1s\"\nlog = \"text\"");
        let reload = Reload::new(&running, of("fanout = 5\nprobe_interval = \"2s\"\nlog = \"json\"")).unwrap();
        assert_eq!(reload.changed, ["log", "fanout"]);
        assert_eq!(reload.kept, [("probe_interval".to_owned(), "1s".to_owned(), "2s".to_owned())]);
        assert_eq!((reload.running.1.fanout, reload.settings.node.probe_interval.as_secs()), (5, 1));
        let again = Reload::new(&reload.running, of("fanout = 5\nlog = \"json\"")).unwrap();
        assert!(again.changed.is_empty() && again.kept.is_empty());
    }

    #[test]
    fn what_makes_no_sense_alone_or_with_what_stays_is_refused() {
        let refused = |before: &str, after: &str| Reload::new(&of(before), of(after)).unwrap_err().message().to_owned();
        assert!(refused("", "fanout = 65").starts_with("fanout is 65, must be from 1 to 64"));
        // The address would stay without a token, as taking it away takes a restart.
        let open = "http = \"0.0.0.0:80\"\nhttp_token_file = \"/etc/rumor/token\"";
        assert!(refused(open, "").starts_with("http is 0.0.0.0:80, must be a loopback address"));
    }

    #[test]
    fn tls_is_renewed_and_neither_begun_nor_ended() {
        let tls = |name: &str| format!("http_cert_file = \"{name}\"\nhttp_key_file = \"{name}\"");
        let kept = |before: &str, after: &str| Reload::new(&of(before), of(after)).unwrap().kept.len();
        assert_eq!((kept(&tls("a"), &tls("b")), kept("", &tls("b")), kept(&tls("a"), "")), (0, 2, 2));
    }

    #[test]
    fn the_table_in_the_documentation_says_of_each_setting_what_a_change_takes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/running.md");
        let text = std::fs::read_to_string(path).unwrap();
        let section = text.split("## Settings that change").nth(1).unwrap().split("\n## ").next().unwrap();
        let (of_reload, of_restart) = section.split_once("A restart").expect("first what is reloaded, then the rest");
        for setting in AGENT_SETTINGS.iter().chain(SETTINGS) {
            let word = format!("`{}`", setting.key);
            assert_eq!(of_reload.contains(&word), is_reloaded(setting.key), "{word}");
            assert_ne!(of_restart.contains(&word), is_reloaded(setting.key), "{word}");
        }
    }
}
