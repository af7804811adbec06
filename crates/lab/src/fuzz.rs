//! A door for fuzzers and for the tests that replay what they found, and for nobody else: what is behind it may change at
//! any time.

use std::net::SocketAddr;

use rumormill_core::{Config, ConfigBuilder, Identity, Input, Instant, Node, NodeId, Now, Wall};

use crate::scenario::Draft;

/// How many timers a node lives through.
const TIMERS: usize = 100;

/// A configuration or a scenario as a file. What is accepted as a configuration makes a node that runs.
pub fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(scenario) = Draft::of_text(text, "fuzz").and_then(|draft| draft.scenario()) {
        run(scenario.config.build());
    }
    if let Ok(builder) = toml::from_str::<ConfigBuilder>(text) {
        run(builder.build());
    }
}

fn run(config: Result<Config, rumormill_core::ConfigError>) {
    let Ok(config) = config else { return };
    let identity = Identity::new(NodeId(1), "a", SocketAddr::from(([127, 0, 0, 1], 1)), 1);
    let mut now = Now { instant: Instant::ZERO, wall: Wall::from_micros(1_800_000_000_000_000) };
    let mut node = Node::new(identity, config, 1, now);
    for _ in 0..TIMERS {
        while node.poll_output().is_some() {}
        let Some(due) = node.poll_timeout() else { return };
        let by = due.since(now.instant);
        now = Now { instant: now.instant + by, wall: now.wall + by };
        node.handle_input(now, Input::Timeout);
    }
}
