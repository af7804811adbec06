//! What one agent says about a member, read from a line of its event stream.

use std::time::Instant;

use anyhow::Context;
use serde_json::Value;

/// What an agent says.
#[derive(Debug)]
pub(crate) enum Line {
    /// It is ready: who it is.
    Ready { id: String, gossip: String, http: String },
    /// It could not write as fast as things changed: these members live, as far as it knows.
    Snapshot { living: Vec<String> },
    /// A member changed.
    Change { change: Change, member: String, name: String, incarnation: String, by: String },
}

/// How a member changed, as far as it matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It is known to live.
    Alive,
    Suspected,
    /// It was suspect and is known to live.
    Refuted,
    Failed,
    /// It left, or is no longer listed.
    Gone,
}

/// A line, when it came and from which agent.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) from: usize,
    pub(crate) at: Instant,
    pub(crate) line: Line,
}

impl Sighting {
    /// When `change` of `member` was seen, if that is what was seen.
    pub(crate) fn of(&self, change: Change, member: &str) -> Option<Instant> {
        match &self.line {
            Line::Change { change: seen, member: id, .. } if *seen == change && id == member => Some(self.at),
            Line::Change { .. } | Line::Ready { .. } | Line::Snapshot { .. } => None,
        }
    }
}

impl Line {
    /// Reads a line of `rumor agent --json`.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let change = match text_of(&value, "event")?.as_str() {
            "ready" => {
                let node = value["nodes"].get(0).context("nobody is ready")?;
                let http = text_of(node, "http")?;
                let http = http.strip_prefix("http://").unwrap_or(&http).to_owned();
                return Ok(Self::Ready { id: text_of(node, "id")?, gossip: text_of(node, "gossip")?, http });
            }
            "snapshot" => {
                let members = value["members"].as_array().context("it has no members")?;
                let living = members.iter().filter(|member| member["state"] == "alive" || member["state"] == "suspect");
                return Ok(Self::Snapshot { living: living.map(|m| text_of(m, "id")).collect::<anyhow::Result<_>>()? });
            }
            "suspected" => Change::Suspected,
            "refuted" => Change::Refuted,
            "failed" => Change::Failed,
            "left" | "removed" => Change::Gone,
            // `joined`, `updated`, `replaced`: the state tells.
            _ if value["member"]["state"] == "alive" || value["member"]["state"] == "suspect" => Change::Alive,
            _ => Change::Gone,
        };
        let member = &value["member"];
        let (id, name, incarnation) =
            (text_of(member, "id")?, text_of(member, "name")?, text_of(member, "incarnation")?);
        Ok(Self::Change { change, member: id, name, incarnation, by: text_of(&value, "by")? })
    }
}

fn text_of(value: &Value, key: &str) -> anyhow::Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("it has no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_says_ready_names_the_agent() {
        let text = r#"{"event":"ready","nodes":[{"name":"n1","id":"0a","pid":7,"gossip":"127.0.0.1:1","http":"http://127.0.0.1:2","data_dir":null}]}"#;
        let Ok(Line::Ready { id, gossip, http }) = Line::read(text) else { panic!("it says ready") };
        assert_eq!((&*id, &*gossip, &*http), ("0a", "127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    fn changes_are_told_apart_by_event_or_state() {
        let line = |event: &str, state: &str| {
            let member = format!(r#"{{"id":"0a","name":"n1","incarnation":"1","state":"{state}"}}"#);
            Line::read(&format!(r#"{{"event":"{event}","at":1.5,"by":"n2","member":{member}}}"#))
        };
        let expected = [
            ("joined", "alive", Change::Alive),
            ("joined", "dead", Change::Gone),
            ("updated", "suspect", Change::Alive),
            ("suspected", "suspect", Change::Suspected),
            ("refuted", "alive", Change::Refuted),
            ("failed", "dead", Change::Failed),
            ("removed", "dead", Change::Gone),
        ];
        for (event, state, expected) in expected {
            let Ok(Line::Change { change, .. }) = line(event, state) else { panic!("{event} is a change") };
            assert_eq!(change, expected, "{event} {state}");
        }
    }
}
