//! Caps: nothing that a node holds or sends exceeds its limit.

use rumormill_core::Config;

use super::{Verdict, breach};

/// Checks that datagrams fit `mtu_bytes`, the list of members `members_max`, and open streams `streams_max`.
#[derive(Debug, Default)]
pub struct Caps {
    mtu_bytes: usize,
    members_max: usize,
    streams_max: usize,
}

const DATAGRAM: &str = "no datagram is larger than mtu_bytes";
const MEMBERS: &str = "no more than members_max members are listed";
const STREAMS: &str = "no more than streams_max streams are open";

impl Caps {
    /// A checker for the caps of these settings.
    pub fn new(config: &Config) -> Self {
        Self { mtu_bytes: config.mtu_bytes, members_max: config.members_max, streams_max: config.streams_max }
    }

    /// Allows what these settings allow, too.
    pub fn widen(&mut self, config: &Config) {
        self.mtu_bytes = self.mtu_bytes.max(config.mtu_bytes);
        self.members_max = self.members_max.max(config.members_max);
        self.streams_max = self.streams_max.max(config.streams_max);
    }

    /// A node sends a datagram of so many bytes.
    pub fn datagram(&self, bytes: usize) -> Verdict {
        holds(DATAGRAM, bytes, self.mtu_bytes)
    }

    /// A node lists so many members and has so many streams open.
    pub fn state(&self, members: usize, streams: usize) -> Verdict {
        holds(MEMBERS, members, self.members_max)?;
        holds(STREAMS, streams, self.streams_max)
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
        let caps = Caps::new(&config);
        caps.datagram(config.mtu_bytes).unwrap();
        caps.state(config.members_max, config.streams_max).unwrap();
        assert_eq!(caps.datagram(config.mtu_bytes + 1).unwrap_err().rule, DATAGRAM);
        assert_eq!(caps.state(config.members_max + 1, 0).unwrap_err().rule, MEMBERS);
        assert_eq!(caps.state(0, config.streams_max + 1).unwrap_err().rule, STREAMS);
    }
}
