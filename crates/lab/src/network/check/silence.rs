//! Silence: a node says nothing before its boot is durable (design rule 1), and nothing after it stopped.

use rumormill_core::Event;

use super::{Verdict, breach};

/// Checks that a node with a data directory sends nothing before it told that it started, and no node sends anything
/// after it told that it stopped.
#[derive(Debug, Default)]
pub struct Silence {
    nodes: Vec<Voice>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Voice {
    #[default]
    NotYet,
    Speaking,
    Stopped,
}

const BEFORE: &str = "a node sends nothing before its boot is durable";
const AFTER: &str = "a node that stopped sends nothing";

impl Silence {
    /// A node starts.
    pub fn started(&mut self, node: usize, durable: bool) {
        let needed = self.nodes.len().max(node + 1);
        self.nodes.resize(needed, Voice::default());
        self.nodes[node] = if durable { Voice::NotYet } else { Voice::Speaking };
    }

    /// A node tells of something, perhaps of its start or its end.
    pub fn told(&mut self, node: usize, event: &Event) {
        if let Event::Started { .. } = event {
            self.nodes[node] = Voice::Speaking;
        } else if let Event::Stopped { .. } = event {
            self.nodes[node] = Voice::Stopped;
        }
    }

    /// A node sends something.
    pub fn sent(&self, node: usize) -> Verdict {
        match self.nodes[node] {
            Voice::Speaking => Ok(()),
            Voice::NotYet => breach(BEFORE, "it was heard before it told that it started".to_owned()),
            Voice::Stopped => breach(AFTER, "it was heard after it told that it stopped".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::io::StopReason;

    use super::*;

    #[test]
    fn a_node_that_speaks_too_early_or_too_late_is_caught() {
        let mut silence = Silence::default();
        silence.started(0, true);
        assert_eq!(silence.sent(0).unwrap_err().rule, BEFORE);
        silence.told(0, &Event::Started { boot: 1 });
        silence.sent(0).unwrap();
        silence.told(0, &Event::Stopped { reason: StopReason::Left });
        assert_eq!(silence.sent(0).unwrap_err().rule, AFTER);
    }

    #[test]
    fn a_node_without_a_data_directory_may_speak_at_once() {
        let mut silence = Silence::default();
        silence.started(0, false);
        silence.sent(0).unwrap();
    }
}
