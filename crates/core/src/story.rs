//! What happened to members, as this node saw it: why it holds each of them for what it does.
//!
//! Only what was out of the ordinary is kept, and nothing is allocated for members that just were there.
//!
//! **Invariant:** nothing here decides anything; a node that forgets all of it does the same.

use std::collections::BTreeMap;

use crate::identity::{Incarnation, NodeId};
use crate::io::{MemberChange, State};
use crate::seldom::Vacant;
use crate::slots::reserve_one;
use crate::time::Wall;

/// Members whose stories are kept: beyond that, the one to whom nothing happened for longest is left out.
const STORIES_MAX: usize = 256;
/// Steps of each: the oldest go first.
const STEPS_MAX: usize = 16;

/// One thing that happened to a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Step {
    /// When, by this node's clock.
    pub at: Wall,
    /// Who did it or said so: this node, an accuser, or the sender of a claim.
    pub by: NodeId,
    /// What.
    pub what: Happening,
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Happening {
    /// This node's probe of it failed: so many pings brought no ack; of so many others that were asked to ping it, so many
    /// had none either, and the rest did not say.
    ProbeFailed {
        /// Pings sent to it.
        pings: u32,
        /// Members that were asked.
        helpers: usize,
        /// Those of them that could not reach it.
        nacks: usize,
    },
    /// It became suspect.
    Suspected,
    /// Somebody whose own probe failed accuses it; so many confirm the first accusation, and no more than so many are wanted.
    Accused {
        /// How many beside the first.
        confirmed: usize,
        /// After how many its time is shortest.
        wanted: usize,
    },
    /// It had its time to contradict, and is probed once more.
    LastProbe,
    /// It answered a probe while it was suspect.
    Answered,
    /// This node declares it dead: nobody contradicted, and the last probe was not answered.
    Condemned,
    /// Somebody says that it is dead, which this node does not believe before it has probed it.
    Doubted,
    /// It answered, so that claim is not believed.
    DoubtDismissed,
    /// About this node itself: it contradicted somebody who held it for this.
    Contradicted(State),
    /// It is held for something else from now on.
    Changed {
        /// What changed.
        change: MemberChange,
        /// The incarnation that its claim is of.
        incarnation: Incarnation,
    },
}

impl Happening {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProbeFailed { .. } => "probe_failed",
            Self::Suspected => "suspected",
            Self::Accused { .. } => "accused",
            Self::LastProbe => "last_probe",
            Self::Answered => "answered",
            Self::Condemned => "condemned",
            Self::Doubted => "doubted",
            Self::DoubtDismissed => "doubt_dismissed",
            Self::Contradicted(_) => "contradicted",
            Self::Changed { change, .. } => change.as_str(),
        }
    }
}

/// Why a member is held for what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Story {
    /// Who.
    pub id: NodeId,
    /// Under which name it is shown, or was.
    pub name: String,
    /// What it is held for; `None` if it is not listed any more.
    pub state: Option<State>,
    /// Since when.
    pub since: Option<Wall>,
    /// What happened to it lately, in order; empty if nothing did but its joining.
    pub steps: Vec<Step>,
    /// What would change its state.
    pub outlook: Outlook,
}

/// What would change the state of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outlook {
    /// It is probed in its turn; a probe that it does not answer makes it suspect.
    Probed,
    /// It is dead from this moment on unless it contradicts before; sooner if others confirm.
    Dead {
        /// When its time ends.
        at: Wall,
    },
    /// A claim of its own, of a higher incarnation, brings it back, until it is forgotten.
    Forgotten {
        /// When that is.
        at: Wall,
    },
    /// It is this node itself.
    Myself,
    /// It has to join again.
    Gone,
    /// Nothing: its certificate was revoked.
    Revoked,
}

/// The stories of all members that have one.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Stories {
    told: BTreeMap<NodeId, Told>,
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Told {
    name: Box<str>,
    steps: Vec<Step>,
}

impl Vacant for Stories {
    const VACANT: Self = Self { told: BTreeMap::new() };
    const SHARED: &'static Self = &Self::VACANT;
}

impl Stories {
    pub(crate) fn has(&self, id: NodeId) -> bool {
        self.told.contains_key(&id)
    }

    /// What happened to a member, in order.
    pub(crate) fn of(&self, id: NodeId) -> &[Step] {
        self.told.get(&id).map_or(&[], |told| &told.steps)
    }

    /// Whose story it is that was told of one of that name.
    pub(crate) fn named(&self, name: &str) -> Option<NodeId> {
        self.told.iter().find(|(_, told)| &*told.name == name).map(|(id, _)| *id)
    }

    pub(crate) fn name(&self, id: NodeId) -> Option<&str> {
        self.told.get(&id).map(|told| &*told.name)
    }

    pub(crate) fn note(&mut self, id: NodeId, name: &str, step: Step) {
        if !self.has(id) {
            self.make_room();
            self.told.insert(id, Told { name: name.into(), steps: Vec::new() });
        }
        let Some(told) = self.told.get_mut(&id) else { return };
        if told.steps.len() >= STEPS_MAX {
            told.steps.remove(0);
        }
        reserve_one(&mut told.steps);
        told.steps.push(step);
    }

    fn make_room(&mut self) {
        if self.told.len() < STORIES_MAX {
            return;
        }
        let last = |told: &Told| told.steps.last().map(|step| step.at);
        let oldest = self.told.iter().min_by_key(|(id, told)| (last(told), **id)).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.told.remove(&oldest);
        }
    }

    pub(crate) fn forget(&mut self, id: NodeId) {
        self.told.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(seconds: u64) -> Step {
        Step { at: Wall::from_micros(seconds * 1_000_000), by: NodeId(1), what: Happening::Suspected }
    }

    #[test]
    fn of_each_member_the_last_steps_are_kept() {
        let mut stories = Stories::VACANT;
        (0..40).for_each(|second| stories.note(NodeId(7), "n7", step(second)));
        let kept: Vec<Step> = (24..40).map(step).collect();
        assert_eq!(stories.of(NodeId(7)), kept);
        assert_eq!(stories.of(NodeId(8)), []);
        assert_eq!((stories.named("n7"), stories.named("n8")), (Some(NodeId(7)), None));
    }

    #[test]
    fn beyond_the_cap_the_member_that_was_left_alone_for_longest_is_left_out() {
        let mut stories = Stories::VACANT;
        for id in 0..STORIES_MAX as u64 {
            stories.note(NodeId(id), "any", step(100 + id));
        }
        stories.note(NodeId(0), "any", step(900));
        stories.note(NodeId(5_000), "any", step(901));
        assert_eq!(stories.told.len(), STORIES_MAX);
        assert!(stories.has(NodeId(0)) && stories.has(NodeId(5_000)) && !stories.has(NodeId(1)));
    }
}
