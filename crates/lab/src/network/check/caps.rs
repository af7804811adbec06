//! Caps: nothing that a node holds or sends exceeds its limit.

use rumormill_core::Config;
use rumormill_core::limits::Limits;

use super::{Verdict, breach};

/// After so many inputs a node's own list of what is bounded is looked at: it is long.
const INPUTS_PER_LOOK: u32 = 64;

/// Checks that datagrams fit `mtu_bytes`, the list of members `members_max`, open streams `streams_max`, who is kept in
/// mind `passive_view`, and now and then all that a node says is bounded.
#[derive(Debug, Default)]
pub struct Caps {
    nodes: Vec<Watched>,
}

/// One node.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    mtu_bytes: usize,
    members_max: usize,
    streams_max: usize,
    passive_view: usize,
    inputs_unseen: u32,
}

const DATAGRAM: &str = "no datagram is larger than mtu_bytes";
const MEMBERS: &str = "no more than members_max members are listed";
const PASSIVE: &str = "no more than passive_view are kept in mind";
const STREAMS: &str = "no more than streams_max streams are open";
const BOUNDED: &str = "nothing holds more than it may";

impl Caps {
    /// A node starts with these settings.
    pub fn started(&mut self, node: usize, config: &Config) {
        let needed = self.nodes.len().max(node + 1);
        self.nodes.resize_with(needed, Watched::default);
        self.nodes[node] = Watched {
            mtu_bytes: config.mtu_bytes,
            members_max: config.members_max,
            streams_max: config.streams_max,
            passive_view: config.passive_view,
            inputs_unseen: 0,
        };
    }

    /// A node sends a datagram of so many bytes.
    pub fn datagram(&self, node: usize, bytes: usize) -> Verdict {
        holds(DATAGRAM, bytes, self.nodes[node].mtu_bytes)
    }

    /// A node lists so many members and has so many streams open.
    pub fn state(&self, node: usize, members: usize, streams: usize) -> Verdict {
        holds(MEMBERS, members, self.nodes[node].members_max)?;
        holds(STREAMS, streams, self.nodes[node].streams_max)
    }
}

impl Caps {
    /// A node with a partial view keeps so many others in mind.
    pub fn passive(&self, node: usize, kept: usize) -> Verdict {
        holds(PASSIVE, kept, self.nodes[node].passive_view)
    }

    /// A node has handled an input: whether what it says is bounded should be looked at.
    pub fn is_due(&mut self, node: usize) -> bool {
        let unseen = &mut self.nodes[node].inputs_unseen;
        *unseen = (*unseen + 1) % INPUTS_PER_LOOK;
        *unseen == 0
    }

    /// What a node says is bounded.
    pub fn look(limits: &Limits) -> Verdict {
        match limits.iter().find(|limit| limit.held > limit.most) {
            Some(limit) => breach(BOUNDED, format!("{limit:?}")),
            None => Ok(()),
        }
    }
}

fn holds(rule: &'static str, value: usize, most: usize) -> Verdict {
    if value <= most { Ok(()) } else { breach(rule, format!("{value}, {most} allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_passes_and_one_more_is_caught() {
        let config = Config::default();
        let mut caps = Caps::default();
        caps.started(0, &config);
        caps.datagram(0, config.mtu_bytes).unwrap();
        caps.state(0, config.members_max, config.streams_max).unwrap();
        assert_eq!(caps.datagram(0, config.mtu_bytes + 1).unwrap_err().rule, DATAGRAM);
        assert_eq!(caps.state(0, config.members_max + 1, 0).unwrap_err().rule, MEMBERS);
        caps.passive(0, config.passive_view).unwrap();
        assert_eq!(caps.passive(0, config.passive_view + 1).unwrap_err().rule, PASSIVE);
        assert_eq!(caps.state(0, 0, config.streams_max + 1).unwrap_err().rule, STREAMS);
        let full = |held| {
            let mut limits = Limits::new();
            limits.entries("probes", 1, 64);
            limits.bytes("messages", held, 10);
            limits
        };
        Caps::look(&full(10)).unwrap();
        assert_eq!(Caps::look(&full(11)).unwrap_err().rule, BOUNDED);
        let looks = (0..3 * INPUTS_PER_LOOK).filter(|_| caps.is_due(0)).count();
        assert_eq!(looks, 3);
    }
}
