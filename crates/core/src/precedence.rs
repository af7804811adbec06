//! Which of two claims about a member holds, and what the member says to one about itself: as functions of claims, which the running
//! node uses, and the model checker.
//!
//! Near SWIM §4.2 and memberlist. Deviation: in SWIM a confirmed death overrides any incarnation; here a member that was wrongly
//! declared dead comes back by a higher incarnation (decision 0001).

use std::cmp::Ordering;

use crate::identity::Incarnation;
use crate::io::State;
use crate::time::Seconds;

/// What makes one claim about a member supersede another: how often it was started and had to contradict, its state, and when
/// the claim is forgotten.
pub type Version = (Incarnation, State, Seconds);

/// A claim about a node from further ahead than so many boots is no restored backup.
const BOOTS_AHEAD_MAX: u64 = 1 << 20;

/// How a claim, with its bytes, stands to another about the same member. No two different claims are equal.
pub fn order(claim: (Version, &[u8]), other: (Version, &[u8])) -> Ordering {
    claim.cmp(&other)
}

/// What a node does about a claim about itself that supersedes its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rebuttal {
    /// Nothing: nobody restarts that often, so whoever says so wants this node to run out of boots.
    Refuse,
    /// It contradicts with this incarnation.
    Contradict(Incarnation),
    /// Another life or process spoke with its identity, or it is out of refutations: it goes above this boot, which has to be
    /// durable first.
    RiseAbove(u64),
}

/// What a node of that incarnation does about a claim about itself that supersedes its own; `is_own` says whether the claim is about
/// this life of it, by its session.
pub fn rebut(own: Incarnation, claimed: Incarnation, is_own: bool) -> Rebuttal {
    if claimed.boot().saturating_sub(own.boot()) > BOOTS_AHEAD_MAX {
        return Rebuttal::Refuse;
    }
    if claimed.boot() > own.boot() || !is_own {
        return Rebuttal::RiseAbove(claimed.boot());
    }
    let above = claimed.max(own).next();
    if above.boot() == own.boot() { Rebuttal::Contradict(above) } else { Rebuttal::RiseAbove(own.boot()) }
}
