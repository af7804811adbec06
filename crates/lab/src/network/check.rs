//! Checkers: what must hold at every step of every run, whatever befalls the network.
//!
//! Each is a small machine of its own that is told what a node did or shows, and says what it broke. Each is shown
//! to catch a fault planted on purpose by the tests beside it.

pub mod agreement;
pub mod bandwidth;
pub mod caps;
pub mod claims;
pub mod data;
pub mod delivery;
pub mod messages;
pub mod silence;

use std::time::Duration;

use rumormill_core::config::View;
use rumormill_core::{Config, Event, Node};

/// A rule that was broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Breach {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// What happened instead.
    pub detail: String,
}

/// Whether all is well.
pub type Verdict = Result<(), Breach>;

fn breach(rule: &'static str, detail: String) -> Verdict {
    Err(Breach { rule, detail })
}

/// All checkers that run at every step.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    claims: claims::Claims,
    messages: messages::Messages,
    bandwidth: bandwidth::Bandwidth,
    caps: caps::Caps,
    silence: silence::Silence,
    pub(crate) data: data::Data,
}

impl Checkers {
    /// A node starts, with settings of its own.
    pub(crate) fn started(&mut self, node: usize, durable: bool, config: &Config) {
        // Neighbours of a partial view come and go, with the same incarnation.
        let remembers = if config.view == View::Partial { Duration::ZERO } else { config.tombstone_ttl };
        self.claims.started(node, remembers);
        self.messages.started(node);
        self.bandwidth.started(node, config.bandwidth_max);
        self.caps.started(node, config);
        self.silence.started(node, durable);
    }

    pub(crate) fn sent_datagram(&mut self, now: u64, node: usize, bytes: usize) -> Verdict {
        self.silence.sent(node)?;
        self.caps.datagram(node, bytes)?;
        self.bandwidth.datagram(now, node, bytes)
    }

    pub(crate) fn sent_piece(&mut self, now: u64, node: usize, bytes: usize) -> Verdict {
        self.silence.sent(node)?;
        self.bandwidth.piece(now, node, bytes)
    }

    pub(crate) fn told(&mut self, now: u64, node: usize, event: &Event) -> Verdict {
        self.silence.told(node, event);
        self.messages.told(node, event)?;
        match event {
            Event::Data(change) => self.data.changed(node, change),
            Event::Member { change, member, .. } => self.claims.told(now, node, *change, member),
            Event::Started { .. }
            | Event::Message(_)
            | Event::Register { .. }
            | Event::Lease { .. }
            | Event::Missed { .. }
            | Event::Query { .. }
            | Event::Answer { .. }
            | Event::Trace { .. }
            | Event::Answered { .. }
            | Event::Done { .. }
            | Event::ContactFailed { .. }
            | Event::Warning(_)
            | Event::Stopped { .. } => Ok(()),
        }
    }

    pub(crate) fn after_input(&mut self, now: u64, number: usize, node: &Node, streams: usize) -> Verdict {
        self.claims.own(number, node.id(), node.incarnation())?;
        let counts = node.member_counts();
        let listed = counts.alive + counts.suspect + counts.dead + counts.left;
        self.caps.state(number, listed, streams)?;
        self.caps.passive(number, node.passive_count())?;
        if self.caps.is_due(number) {
            caps::Caps::look(&node.limits())?;
        }
        if self.claims.is_due(number, listed) { self.claims.look(now, number, node.claims()) } else { Ok(()) }
    }
}
