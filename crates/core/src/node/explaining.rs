//! Why this node holds members for what it does: what happened is noted where it happens, and told when somebody asks.

use super::Node;
use crate::detector::{Missed, confirmations};
use crate::effects::Timer;
use crate::identity::NodeId;
use crate::io::{MemberChange, State};
use crate::membership::Merged;
use crate::story::{Happening, Outlook, Step, Story};
use crate::time::{Instant, Wall};

impl Node {
    /// Why this node holds a member for what it does. Also of one that is not listed any more, as long as its story is kept.
    pub fn story(&self, id: NodeId) -> Option<Story> {
        let member = self.members.member(id);
        let member = member.or_else(|| self.revoked_members().find(|member| member.id == id));
        let told = self.stories.name(id).map(str::to_owned);
        let name = member.as_ref().map(|member| member.name.clone()).or(told)?;
        Some(Story {
            id,
            name,
            state: member.as_ref().map(|member| member.state),
            since: member.as_ref().map(|member| member.since),
            steps: self.stories.of(id).to_vec(),
            outlook: self.outlook(id),
        })
    }

    /// Of whom of that name a story is kept that is not listed any more.
    pub fn story_named(&self, name: &str) -> Option<NodeId> {
        self.stories.named(name)
    }

    fn outlook(&self, id: NodeId) -> Outlook {
        if id == self.identity.id {
            return Outlook::Myself;
        }
        if self.is_revoked(id) {
            return Outlook::Revoked;
        }
        let Some((_, state, forget)) = self.members.version(id) else { return Outlook::Gone };
        let deadline = [Timer::Verdict(id), Timer::Suspicion(id), Timer::Doubt(id)];
        let deadline = deadline.into_iter().find_map(|timer| self.fx.timers.due(timer));
        match (state, deadline) {
            (State::Alive | State::Suspect, Some(due)) => Outlook::Dead { at: self.wall_at(due) },
            (State::Alive | State::Suspect, None) => Outlook::Probed,
            (State::Dead | State::Left | State::Removed | State::Revoked, _) => {
                Outlook::Forgotten { at: Wall::from_micros(u64::from(forget.0) * 1_000_000) }
            }
        }
    }

    fn wall_at(&self, due: Instant) -> Wall {
        self.fx.now.wall + due.since(self.fx.now.instant.min(due))
    }

    /// Something happened to a member.
    pub(super) fn note(&mut self, id: NodeId, by: NodeId, what: Happening) {
        let Some(claim) = self.members.claim(id) else { return };
        let Some(body) = claim.parts().claim_body() else { return };
        let step = Step { at: self.fx.now.wall, by, what };
        self.stories.note(id, body.name, step);
    }

    pub(super) fn note_own(&mut self, id: NodeId, what: Happening) {
        self.note(id, self.identity.id, what);
    }

    /// A probe failed. Of one who was declared dead meanwhile it explains nothing.
    pub(super) fn note_missed(&mut self, id: NodeId, missed: Missed) {
        if !self.members.is_live(id) {
            return;
        }
        let Missed { pings, helpers, nacks } = missed;
        self.note_own(id, Happening::ProbeFailed { pings, helpers, nacks });
    }

    /// Somebody accuses a suspect.
    pub(super) fn note_accused(&mut self, id: NodeId, by: NodeId) {
        let confirmed = self.detector.accusers(id).saturating_sub(1);
        let wanted = confirmations(self.members.live(), &self.config);
        self.note(id, by, Happening::Accused { confirmed, wanted });
    }

    /// A claim changed what a member is held for. That it is there, or changed its tags, is no story.
    pub(super) fn note_merged(&mut self, merged: &Merged, change: MemberChange, by: NodeId) {
        let (id, (incarnation, ..)) = (merged.id, merged.after);
        let is_story = match change {
            MemberChange::Joined => merged.before.is_some(),
            MemberChange::Updated => merged.before.is_some_and(|before| before.0.boot() < incarnation.boot()),
            MemberChange::Suspected => return self.note(id, by, Happening::Suspected),
            MemberChange::Refuted
            | MemberChange::Failed
            | MemberChange::Left
            | MemberChange::Removed
            | MemberChange::Revoked => true,
            MemberChange::Replaced => false,
        };
        if is_story && id != self.identity.id {
            self.note(id, by, Happening::Changed { change, incarnation });
        }
    }

    pub(super) fn forget_story(&mut self, id: NodeId) {
        if self.stories.has(id) {
            self.stories.forget(id);
        }
    }
}
