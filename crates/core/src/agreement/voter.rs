//! What a voter does with a proposal: the acceptor of Paxos (Lamport 2001, "Paxos made simple", §2.2; Rystsov 2018, §2.2).

use std::cmp::Ordering;

use super::{Ballot, Content};

/// What was accepted last.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Accepted {
    /// At which ballot.
    pub ballot: Ballot,
    /// What the register holds if that was chosen.
    pub content: Content,
}

/// What one voter has said about one register. Each one says more than the one before: it is ordered by what was promised,
/// then by what was accepted.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Vote {
    /// Nothing below this ballot is accepted any more.
    pub promised: Ballot,
    /// What was accepted last, if anything was.
    pub accepted: Option<Accepted>,
}

/// What a proposer asks of voters about a register.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Proposal {
    /// Promise to accept nothing below.
    Prepare {
        /// Below this.
        ballot: Ballot,
    },
    /// Accept this.
    Accept {
        /// At this ballot.
        ballot: Ballot,
        /// What the register is to hold.
        content: Content,
        /// And promise this one of the same proposer, so that its next proposal needs no prepare (Rystsov 2018, §2.2.1).
        next: Ballot,
    },
}

impl Proposal {
    /// At which ballot it is.
    pub const fn ballot(&self) -> Ballot {
        match self {
            Self::Prepare { ballot } | Self::Accept { ballot, .. } => *ballot,
        }
    }
}

/// How a voter answers a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// With this vote, in place of the one before, once it is durable.
    Changed(Vote),
    /// With the vote that it has: it said so already.
    Same,
    /// With the vote that it has: it promised more to another.
    Refused,
}

impl Vote {
    /// At which ballot something was accepted last.
    pub fn accepted_ballot(&self) -> Option<Ballot> {
        self.accepted.as_ref().map(|accepted| accepted.ballot)
    }

    /// The order of all that one voter says about one register.
    pub fn cmp_said(&self, other: &Self) -> Ordering {
        (self.promised, self.accepted_ballot()).cmp(&(other.promised, other.accepted_ballot()))
    }

    /// Whether it tells that its voter has answered a proposal: it promises that ballot, or, where that was to be accepted,
    /// more.
    pub fn has_answered(&self, proposal: &Proposal) -> bool {
        match proposal {
            Proposal::Prepare { ballot } => self.promised >= *ballot,
            Proposal::Accept { ballot, .. } => self.promised > *ballot,
        }
    }

    /// What a voter that has said this so far answers to a proposal.
    pub fn answer(&self, proposal: &Proposal) -> Answer {
        match proposal {
            Proposal::Prepare { ballot } => match ballot.cmp(&self.promised) {
                Ordering::Greater => Answer::Changed(Self { promised: *ballot, accepted: self.accepted.clone() }),
                Ordering::Equal => Answer::Same,
                Ordering::Less => Answer::Refused,
            },
            Proposal::Accept { ballot, .. } if self.accepted_ballot() == Some(*ballot) => Answer::Same,
            Proposal::Accept { ballot, .. } if *ballot < self.promised => Answer::Refused,
            Proposal::Accept { ballot, content, next } => {
                let accepted = Some(Accepted { ballot: *ballot, content: content.clone() });
                Answer::Changed(Self { promised: *next.max(ballot), accepted })
            }
        }
    }

    /// The same vote as one counts it who votes since that configuration only: what was accepted in an earlier time as a
    /// voter is of no account, for others have gone on without it.
    #[must_use]
    pub fn since(&self, configuration: u32) -> Self {
        let counts = |accepted: &&Accepted| accepted.ballot.configuration >= configuration;
        Self { promised: self.promised, accepted: self.accepted.as_ref().filter(counts).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{Change, OperationId};
    use crate::identity::NodeId;

    fn ballot(counter: u64) -> Ballot {
        Ballot { configuration: 1, counter, boot: 1, proposer: NodeId(1) }
    }

    fn content(id: u64) -> Content {
        let mut content = Content::default();
        content.apply(OperationId(id), &Change::set([0].as_slice().into()));
        content
    }

    fn accept(counter: u64) -> Proposal {
        Proposal::Accept { ballot: ballot(counter), content: content(counter), next: ballot(counter + 1) }
    }

    fn changed(answer: Answer) -> Vote {
        let Answer::Changed(vote) = answer else { panic!("{answer:?}") };
        vote
    }

    #[test]
    fn a_promise_is_kept_and_what_was_accepted_is_told_with_it() {
        let vote = changed(Vote::default().answer(&accept(3)));
        let vote = changed(vote.answer(&Proposal::Prepare { ballot: ballot(7) }));
        assert_eq!((vote.promised, vote.accepted_ballot()), (ballot(7), Some(ballot(3))));
        for late in [4, 5, 6] {
            assert_eq!(vote.answer(&Proposal::Prepare { ballot: ballot(late) }), Answer::Refused);
            assert_eq!(vote.answer(&accept(late)), Answer::Refused);
        }
        assert_eq!(vote.answer(&Proposal::Prepare { ballot: ballot(7) }), Answer::Same);
    }

    #[test]
    fn an_acceptance_promises_the_proposers_next_ballot_and_that_needs_no_prepare() {
        let vote = changed(Vote::default().answer(&accept(3)));
        assert_eq!((vote.promised, vote.accepted_ballot()), (ballot(4), Some(ballot(3))));
        assert_eq!(vote.answer(&accept(3)), Answer::Same, "it came twice");
        let vote = changed(vote.answer(&accept(4)));
        assert_eq!(vote.accepted.map(|accepted| accepted.content), Some(content(4)));
    }

    #[test]
    fn what_is_accepted_without_a_prepare_counts_as_promised() {
        let vote = changed(Vote::default().answer(&accept(3)));
        assert_eq!(vote.answer(&Proposal::Prepare { ballot: ballot(2) }), Answer::Refused);
    }

    #[test]
    fn every_change_says_more_than_what_was_said_before() {
        let proposals: Vec<Proposal> =
            (1..6).flat_map(|counter| [Proposal::Prepare { ballot: ballot(counter) }, accept(counter)]).collect();
        let mut votes = vec![Vote::default()];
        while let Some(vote) = votes.pop() {
            for proposal in &proposals {
                if let Answer::Changed(next) = vote.answer(proposal) {
                    assert_eq!(next.cmp_said(&vote), Ordering::Greater, "{vote:?} {proposal:?}");
                    votes.push(next);
                }
            }
        }
    }

    #[test]
    fn an_earlier_time_as_a_voter_is_of_no_account() {
        let vote = changed(Vote::default().answer(&accept(3)));
        assert_eq!(vote.since(1), vote);
        assert_eq!(vote.since(2), Vote { promised: ballot(4), accepted: None });
    }
}
