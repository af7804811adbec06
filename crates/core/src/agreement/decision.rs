//! What follows from votes: pure functions of those that a node has seen, whichever way they came.

use std::collections::BTreeMap;

use super::configuration::is_majority;
use super::{Accepted, Ballot, Configuration, Vote};
use crate::identity::NodeId;

/// The votes seen about one register.
pub type Votes = BTreeMap<NodeId, Vote>;

/// Whether enough voters have promised a ballot, and if so what the highest of them has accepted.
///
/// A vote counts as a promise of `ballot` only if it promises this very one: what a voter accepted before it promised a
/// higher one may have been later than its promise of this.
pub fn promised<'a>(votes: &'a Votes, configuration: &Configuration, ballot: Ballot) -> Option<Option<&'a Accepted>> {
    let promises =
        |voter| votes.get(&voter).filter(|vote| vote.promised == ballot && vote.accepted_ballot() < Some(ballot));
    if !configuration.is_quorum(|voter| promises(voter).is_some()) {
        return None;
    }
    let accepted = configuration.members().filter_map(|voter| promises(voter)?.accepted.as_ref());
    Some(accepted.max_by_key(|accepted| accepted.ballot))
}

/// What has been chosen, as far as these votes show: the last content that enough voters have accepted at one ballot.
///
/// Voters that have gone on to a higher ballot hide that they accepted a lower one, so that something may have been chosen
/// which these votes do not show.
pub fn chosen<'a>(votes: &'a Votes, configuration: &Configuration) -> Option<&'a Accepted> {
    let mut accepted: Vec<&Accepted> =
        configuration.members().filter_map(|voter| votes.get(&voter)?.accepted.as_ref()).collect();
    accepted.sort_by_key(|accepted| std::cmp::Reverse(accepted.ballot));
    accepted.into_iter().find(|accepted| is_chosen(votes, configuration, accepted.ballot))
}

/// Whether enough voters have accepted at a ballot, by those whose acceptance counted under its configuration.
pub(super) fn is_chosen(votes: &Votes, configuration: &Configuration, ballot: Ballot) -> bool {
    let accepts = |voter: NodeId| votes.get(&voter).and_then(Vote::accepted_ballot) == Some(ballot);
    if ballot.configuration == configuration.number {
        return configuration.is_quorum(accepts);
    }
    let was_last = ballot.configuration == configuration.number - 1;
    was_last && configuration.previous.as_ref().is_some_and(|previous| is_majority(previous, accepts))
}

/// Whether a ballot can no longer be promised and accepted by enough voters, as far as these votes show.
pub fn is_blocked(votes: &Votes, configuration: &Configuration, ballot: Ballot) -> bool {
    let is_lost =
        |voter| votes.get(&voter).is_some_and(|vote| vote.promised > ballot && vote.accepted_ballot() != Some(ballot));
    !configuration.is_quorum(|voter| !is_lost(voter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::Content;

    fn ballot(counter: u64) -> Ballot {
        Ballot { configuration: 1, counter, boot: 1, proposer: NodeId(1) }
    }

    fn vote(promised: u64, accepted: Option<u64>) -> Vote {
        let accepted = accepted.map(|counter| Accepted {
            ballot: ballot(counter),
            content: Content { version: counter, ..Content::default() },
        });
        Vote { promised: ballot(promised), accepted }
    }

    fn votes(list: &[(u64, Vote)]) -> Votes {
        list.iter().map(|(voter, vote)| (NodeId(*voter), vote.clone())).collect()
    }

    fn three() -> Configuration {
        Configuration::first([1, 2, 3].map(NodeId))
    }

    #[test]
    fn only_a_promise_of_this_very_ballot_counts_as_one() {
        let seen = votes(&[(1, vote(5, Some(2))), (2, vote(6, Some(3)))]);
        assert_eq!(promised(&seen, &three(), ballot(5)), None);
        let seen = votes(&[(1, vote(5, Some(2))), (2, vote(5, Some(3))), (3, vote(9, Some(8)))]);
        let highest = promised(&seen, &three(), ballot(5)).unwrap().unwrap();
        assert_eq!(highest.ballot, ballot(3), "what was accepted behind a higher promise is of no account here");
    }

    #[test]
    fn an_acceptance_is_no_promise_of_its_own_ballot() {
        let seen = votes(&[(1, vote(5, Some(5))), (2, vote(5, None))]);
        assert_eq!(promised(&seen, &three(), ballot(5)), None);
    }

    #[test]
    fn nothing_accepted_is_promised_as_nothing() {
        let seen = votes(&[(1, vote(5, None)), (3, vote(5, None))]);
        assert_eq!(promised(&seen, &three(), ballot(5)), Some(None));
    }

    #[test]
    fn acceptances_count_where_their_ballots_are_equal() {
        let seen = votes(&[(1, vote(5, Some(4))), (2, vote(6, Some(5)))]);
        assert_eq!(chosen(&seen, &three()), None);
        let seen = votes(&[(1, vote(5, Some(4))), (2, vote(9, Some(4))), (3, vote(8, Some(7)))]);
        assert_eq!(chosen(&seen, &three()).unwrap().ballot, ballot(4), "the higher one has not been chosen yet");
    }

    #[test]
    fn who_is_no_voter_does_not_count() {
        let seen = votes(&[(1, vote(5, Some(4))), (7, vote(5, Some(4))), (8, vote(4, None)), (9, vote(4, None))]);
        assert_eq!(chosen(&seen, &three()), None);
        assert_eq!(promised(&seen, &three(), ballot(4)), None);
    }

    #[test]
    fn a_ballot_is_blocked_once_too_many_have_promised_more_without_accepting_it() {
        let one = votes(&[(1, vote(6, None))]);
        assert!(!is_blocked(&one, &three(), ballot(5)));
        let two = votes(&[(1, vote(6, None)), (2, vote(7, Some(7)))]);
        assert!(is_blocked(&two, &three(), ballot(5)));
        let accepted = votes(&[(1, vote(6, None)), (2, vote(6, Some(5)))]);
        assert!(!is_blocked(&accepted, &three(), ballot(5)));
    }

    #[test]
    fn while_a_change_is_under_way_ballots_of_before_are_judged_as_before() {
        let joint = three().next([4, 5, 6].map(NodeId)).unwrap();
        let seen = votes(&[(1, vote(5, Some(4))), (2, vote(5, Some(4)))]);
        assert_eq!(chosen(&seen, &joint).unwrap().ballot, ballot(4));
        assert_eq!(chosen(&seen, &joint.settled()), None);
    }
}
