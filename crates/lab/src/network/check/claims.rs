//! Claims only rise: at every observer, for every member, and never above what the member itself has said.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::{Incarnation, Member, MemberChange, NodeId, State};

use super::{Verdict, breach};
use crate::micros;

/// What an observer shows of one member.
type Claim = (NodeId, Incarnation, State);

/// Checks, for every observer:
/// - (incarnation, state) of a member never falls while it is listed;
/// - a member that went from the list comes back, within `tombstone_ttl`, only with a higher incarnation;
/// - no member is listed with an incarnation above the highest that it ever had itself;
/// - a node's own incarnation never falls, not even across its lives.
#[derive(Debug, Default)]
pub struct Claims {
    /// The highest incarnation that each member had itself.
    highest: BTreeMap<NodeId, Incarnation>,
    /// The present identity and incarnation of each node.
    own: Vec<(NodeId, Incarnation)>,
    observers: Vec<Observer>,
}

#[derive(Debug, Default)]
struct Observer {
    /// For how long it remembers deletions.
    tombstone_ttl: u64,
    /// As last shown, in the order in which they were shown: a dense table seldom moves them.
    known: Vec<Claim>,
    next: Vec<Claim>,
    /// What went from the list: the claim that it had, and when.
    gone: BTreeMap<NodeId, ((Incarnation, State), u64)>,
    inputs_unseen: usize,
}

const RISE: &str = "the claim about a member only rises";
const RESURRECTION: &str = "who was struck from the list comes back only with a higher incarnation";
const INVENTION: &str = "nobody claims an incarnation that the member itself never had";
const OWN: &str = "a node's own incarnation never falls";

/// How many claims a step may cost on average: all of them at every step in small networks, fewer steps in big ones.
const CLAIMS_PER_STEP: usize = 64;

impl Claims {
    /// A node starts that remembers deletions for so long: its new life has seen nothing yet.
    pub fn started(&mut self, observer: usize, tombstone_ttl: Duration) {
        let needed = self.observers.len().max(observer + 1);
        self.observers.resize_with(needed, Observer::default);
        self.own.resize(needed, (NodeId::NONE, Incarnation::default()));
        self.observers[observer] = Observer { tombstone_ttl: micros(tombstone_ttl), ..Observer::default() };
    }

    /// What a node says about itself after an input.
    pub fn own(&mut self, node: usize, id: NodeId, incarnation: Incarnation) -> Verdict {
        let (before_id, before) = self.own[node];
        if before_id == id && incarnation == before {
            return Ok(());
        }
        // An incarnation of zero is that of a node whose boot is not durable yet: it says nothing.
        if before_id == id && incarnation < before && incarnation != Incarnation::default() {
            return breach(OWN, format!("{id} went from {before} to {incarnation}"));
        }
        if incarnation != Incarnation::default() {
            self.own[node] = (id, incarnation);
            let highest = self.highest.entry(id).or_default();
            *highest = (*highest).max(incarnation);
        }
        Ok(())
    }

    /// Whether it is time to look at all claims of an observer that lists so many members.
    pub fn is_due(&mut self, observer: usize, listed: usize) -> bool {
        let observer = &mut self.observers[observer];
        observer.inputs_unseen += 1;
        observer.inputs_unseen * CLAIMS_PER_STEP >= listed
    }

    /// An observer tells of a change.
    pub fn told(&mut self, now: u64, observer: usize, change: MemberChange, member: &Member) -> Verdict {
        if member.is_self {
            self.own(observer, member.id, member.incarnation)?;
        }
        let claim = (member.id, member.incarnation, member.state);
        if change != MemberChange::Removed {
            return self.rises_from_gone(now, observer, claim);
        }
        let gone = ((member.incarnation, member.state), now);
        self.observers[observer].gone.insert(member.id, gone);
        Ok(())
    }

    /// All claims that an observer shows.
    pub fn look(&mut self, now: u64, number: usize, claims: impl Iterator<Item = Claim>) -> Verdict {
        let mut next = std::mem::take(&mut self.observers[number].next);
        next.clear();
        next.extend(claims);
        let known = std::mem::take(&mut self.observers[number].known);
        let verdict = self.compare(now, number, &known, &next);
        let observer = &mut self.observers[number];
        (observer.known, observer.next, observer.inputs_unseen) = (next, known, 0);
        verdict
    }

    fn compare(&mut self, now: u64, number: usize, known: &[Claim], next: &[Claim]) -> Verdict {
        let same_place = known.iter().zip(next).take_while(|(before, after)| before.0 == after.0).count();
        for (&before, &after) in known.iter().zip(next).take(same_place) {
            self.rises(before, after)?;
        }
        if same_place == known.len() && same_place == next.len() {
            return Ok(());
        }
        let mut moved: BTreeMap<NodeId, Claim> = known[same_place..].iter().map(|&claim| (claim.0, claim)).collect();
        for &after in &next[same_place..] {
            match moved.remove(&after.0) {
                Some(before) => self.rises(before, after)?,
                None => self.rises_from_gone(now, number, after)?,
            }
        }
        let gone = &mut self.observers[number].gone;
        gone.extend(moved.into_values().map(|(id, incarnation, state)| (id, ((incarnation, state), now))));
        Ok(())
    }

    fn rises(&self, before: Claim, after: Claim) -> Verdict {
        if before == after {
            return Ok(());
        }
        let (id, incarnation, state) = after;
        if (incarnation, state) < (before.1, before.2) {
            let (_, old, old_state) = before;
            return breach(
                RISE,
                format!("{id} went from {} {old} to {} {incarnation}", old_state.as_str(), state.as_str()),
            );
        }
        self.is_not_invented(after)
    }

    /// A member that was not listed: new, or back.
    fn rises_from_gone(&mut self, now: u64, number: usize, after: Claim) -> Verdict {
        let (id, incarnation, state) = after;
        self.is_not_invented(after)?;
        let Some(&((old, _), at)) = self.observers[number].gone.get(&id) else { return Ok(()) };
        // A death known late may still be news about somebody forgotten; being live again is the fault.
        if now - at < self.observers[number].tombstone_ttl && incarnation <= old && state.is_live() {
            return breach(
                RESURRECTION,
                format!("{id} was struck with {old} and is {} with {incarnation}", state.as_str()),
            );
        }
        self.observers[number].gone.remove(&id);
        Ok(())
    }

    fn is_not_invented(&self, (id, incarnation, _): Claim) -> Verdict {
        match self.highest.get(&id) {
            Some(&highest) if incarnation <= highest => Ok(()),
            Some(highest) => {
                breach(INVENTION, format!("{id} is listed with {incarnation}, and never had more than {highest}"))
            }
            None => breach(INVENTION, format!("{id} is listed, and never spoke")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn at(boot: u64) -> Incarnation {
        Incarnation::of_boot(boot)
    }

    /// Observer 0, and members A and B that have had boot 3.
    fn checker() -> Claims {
        let mut claims = Claims::default();
        claims.started(0, Duration::from_secs(100));
        claims.started(1, Duration::from_secs(100));
        claims.own(0, A, at(3)).unwrap();
        claims.own(1, B, at(3)).unwrap();
        claims
    }

    fn rule(verdict: Verdict) -> &'static str {
        verdict.unwrap_err().rule
    }

    #[test]
    fn rising_claims_pass_in_whatever_order_they_are_shown() {
        let mut claims = checker();
        claims.look(0, 0, [(A, at(1), State::Alive), (B, at(1), State::Alive)].into_iter()).unwrap();
        claims.look(1, 0, [(B, at(1), State::Suspect), (A, at(1), State::Alive)].into_iter()).unwrap();
        claims.look(2, 0, [(B, at(2), State::Alive), (A, at(1), State::Dead)].into_iter()).unwrap();
    }

    #[test]
    fn a_claim_that_falls_is_caught() {
        let mut claims = checker();
        claims.look(0, 0, [(A, at(2), State::Suspect)].into_iter()).unwrap();
        assert_eq!(rule(claims.look(1, 0, [(A, at(2), State::Alive)].into_iter())), RISE);
        let mut claims = checker();
        claims.look(0, 0, [(A, at(2), State::Alive), (B, at(1), State::Dead)].into_iter()).unwrap();
        assert_eq!(rule(claims.look(1, 0, [(B, at(1), State::Dead), (A, at(1), State::Alive)].into_iter())), RISE);
    }

    #[test]
    fn a_resurrection_with_an_old_incarnation_is_caught_and_one_with_a_higher_passes() {
        let mut claims = checker();
        claims.look(0, 0, [(A, at(1), State::Dead)].into_iter()).unwrap();
        claims.look(1, 0, std::iter::empty()).unwrap();
        assert_eq!(rule(claims.look(2, 0, [(A, at(1), State::Alive)].into_iter())), RESURRECTION);
        let mut claims = checker();
        claims.look(0, 0, [(A, at(1), State::Dead)].into_iter()).unwrap();
        claims.look(1, 0, std::iter::empty()).unwrap();
        claims.look(2, 0, [(A, at(2), State::Alive)].into_iter()).unwrap();
    }

    #[test]
    fn after_its_certificate_ran_out_a_member_may_come_back_as_it_was() {
        let mut claims = checker();
        claims.look(0, 0, [(A, at(1), State::Dead)].into_iter()).unwrap();
        claims.look(1, 0, std::iter::empty()).unwrap();
        claims.look(200_000_000, 0, [(A, at(1), State::Alive)].into_iter()).unwrap();
    }

    #[test]
    fn an_invented_incarnation_and_an_invented_member_are_caught() {
        assert_eq!(rule(checker().look(0, 0, [(A, at(4), State::Alive)].into_iter())), INVENTION);
        assert_eq!(rule(checker().look(0, 0, [(NodeId(9), at(1), State::Alive)].into_iter())), INVENTION);
    }

    #[test]
    fn an_own_incarnation_that_falls_is_caught_across_lives_too() {
        let mut claims = checker();
        claims.started(0, Duration::from_secs(100));
        claims.own(0, A, Incarnation::default()).unwrap();
        assert_eq!(rule(claims.own(0, A, at(2))), OWN);
    }
}
