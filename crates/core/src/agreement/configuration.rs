//! Who votes, and which voters are enough.

use std::collections::BTreeMap;

use crate::identity::NodeId;
use crate::wire::{Put, Reader};

/// The most voters of a configuration.
pub const VOTERS_MAX: usize = 15;

/// Voters, each with the configuration since which it is one without a break.
pub type Voters = BTreeMap<NodeId, u32>;

/// A configuration of voters.
///
/// While there are `previous` ones the change is under way: whatever is promised or accepted needs a quorum of both, as in
/// joint consensus (Ongaro and Ousterhout 2014, §6). The order is that in which they come to be.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Configuration {
    /// From 1. It is part of each ballot.
    pub number: u32,
    /// Who votes.
    pub voters: Voters,
    /// Who voted before, until all that they decided has been taken over.
    pub previous: Option<Voters>,
}

impl Configuration {
    /// The first one.
    pub fn first(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { number: 1, voters: voters.into_iter().map(|voter| (voter, 1)).collect(), previous: None }
    }

    /// The next one, with these voters; the change is under way. `None` while another one is, or where nothing would change.
    pub fn next(&self, voters: impl IntoIterator<Item = NodeId>) -> Option<Self> {
        let number = self.number.checked_add(1)?;
        let since = |voter: NodeId| (voter, self.voters.get(&voter).copied().unwrap_or(number));
        let voters: Voters = voters.into_iter().map(since).collect();
        let changes = voters != self.voters && (1..=VOTERS_MAX).contains(&voters.len());
        (changes && self.previous.is_none()).then(|| Self { number, voters, previous: Some(self.voters.clone()) })
    }

    /// The same once the change is over.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self { previous: None, ..self.clone() }
    }

    /// Which of two came later: a number is settled after its change.
    pub const fn place(&self) -> (u32, bool) {
        (self.number, self.previous.is_none())
    }

    /// Everybody whose vote counts.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        let previous = self.previous.iter().flat_map(|previous| previous.keys());
        let leaving = previous.filter(|voter| !self.voters.contains_key(voter));
        self.voters.keys().chain(leaving).copied()
    }

    /// Since which configuration somebody votes, if it does.
    pub fn since(&self, voter: NodeId) -> Option<u32> {
        let previous = || self.previous.as_ref().and_then(|previous| previous.get(&voter));
        self.voters.get(&voter).or_else(previous).copied()
    }

    /// Whether those of whom `says` is true are enough: more than half of the voters, and of the previous ones while there
    /// are any.
    pub fn is_quorum(&self, says: impl Fn(NodeId) -> bool) -> bool {
        is_majority(&self.voters, &says) && self.previous.as_ref().is_none_or(|previous| is_majority(previous, &says))
    }

    /// How many of the voters are enough.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_varint(self.number.into());
        put_voters(&mut bytes, &self.voters);
        if let Some(previous) = &self.previous {
            put_voters(&mut bytes, previous);
        }
        bytes
    }

    /// `None` where it makes no sense.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let number = u32::try_from(reader.varint()?).ok()?;
        let voters = read_voters(&mut reader, number)?;
        let previous = if reader.is_empty() { None } else { Some(read_voters(&mut reader, number.checked_sub(1)?)?) };
        (number > 0).then_some(Self { number, voters, previous })
    }
}

/// More than half of them.
pub(crate) fn is_majority(voters: &Voters, says: impl Fn(NodeId) -> bool) -> bool {
    voters.keys().filter(|voter| says(**voter)).count() > voters.len() / 2
}

fn put_voters(bytes: &mut Vec<u8>, voters: &Voters) {
    bytes.push(u8::try_from(voters.len()).expect("at most VOTERS_MAX"));
    for (voter, since) in voters {
        bytes.extend_from_slice(&voter.0.to_le_bytes());
        bytes.put_varint((*since).into());
    }
}

fn read_voters(reader: &mut Reader<'_>, number: u32) -> Option<Voters> {
    let count = usize::from(reader.u8()?);
    let mut voters = Voters::new();
    for _ in 0..count {
        let (voter, since) = (NodeId(reader.u64()?), u32::try_from(reader.varint()?).ok()?);
        if voter == NodeId::NONE || !(1..=number).contains(&since) {
            return None;
        }
        voters.insert(voter, since);
    }
    // Each once.
    ((1..=VOTERS_MAX).contains(&count) && voters.len() == count).then_some(voters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &[u64]) -> impl Iterator<Item = NodeId> {
        ids.iter().copied().map(NodeId)
    }

    fn enough(configuration: &Configuration, say: &[u64]) -> bool {
        configuration.is_quorum(|voter| say.contains(&voter.0))
    }

    #[test]
    fn more_than_half_are_enough_and_others_do_not_count() {
        let odd = Configuration::first(ids(&[1, 2, 3]));
        assert!(enough(&odd, &[1, 3]) && !enough(&odd, &[1]) && !enough(&odd, &[1, 8, 9]));
        let even = Configuration::first(ids(&[1, 2, 3, 4]));
        assert!(enough(&even, &[1, 2, 4]) && !enough(&even, &[1, 2]));
        assert_eq!([odd.quorum(), even.quorum()], [2, 3]);
    }

    #[test]
    fn while_a_change_is_under_way_both_have_to_be_enough() {
        let old = Configuration::first(ids(&[1, 2, 3]));
        let joint = old.next(ids(&[3, 4, 5])).unwrap();
        assert!(!enough(&joint, &[1, 2, 3]) && !enough(&joint, &[3, 4, 5, 9]));
        assert!(enough(&joint, &[2, 3, 4]));
        assert_eq!(joint.next(ids(&[1])), None, "one change at a time");
        assert!(enough(&joint.settled(), &[3, 4]));
        assert!(old.place() < joint.place() && joint.place() < joint.settled().place());
    }

    #[test]
    fn any_two_quorums_of_neighbouring_configurations_share_a_voter() {
        let old = Configuration::first(ids(&[1, 2, 3]));
        let joint = old.next(ids(&[2, 3, 4, 5])).unwrap();
        let all = [old, joint.clone(), joint.settled()];
        let sets: Vec<Vec<u64>> =
            (0_u64..32).map(|bits| (1..=5).filter(|id| bits >> (id - 1) & 1 == 1).collect()).collect();
        for (a, b) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)] {
            for (first, second) in sets.iter().flat_map(|first| sets.iter().map(move |second| (first, second))) {
                let both = enough(&all[a], first) && enough(&all[b], second);
                assert!(!both || first.iter().any(|id| second.contains(id)), "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn who_comes_back_is_a_voter_since_then_only() {
        let first = Configuration::first(ids(&[1, 2, 3]));
        let without = first.next(ids(&[1, 2])).unwrap();
        assert_eq!(without.since(NodeId(3)), Some(1), "until the change is over");
        assert_eq!(without.settled().since(NodeId(3)), None);
        let again = without.settled().next(ids(&[1, 2, 3])).unwrap();
        assert_eq!((again.since(NodeId(1)), again.since(NodeId(3))), (Some(1), Some(3)));
    }

    proptest! {
        #[test]
        fn a_configuration_reads_back(number in 2_u32..9, voters in proptest::collection::btree_set(1_u64.., 1..16), more: bool) {
            let mut configuration = Configuration::first(voters.iter().copied().map(NodeId));
            configuration.number = number;
            if more {
                configuration.previous = Some(configuration.voters.clone());
            }
            prop_assert_eq!(Configuration::read(&configuration.to_bytes()), Some(configuration));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _read = Configuration::read(&bytes);
        }
    }
}
