//! Updates of the agreement space: what each is about, what it says, and which of two on one subject holds.
//!
//! All statements belong to a **founding**: a first set of voters, known by the hash of their ids. Whatever was founded
//! elsewhere is another world of registers, so that two never mix (decision 0014).

use std::fmt;
use std::str::FromStr;

use super::content::VERSION_MAX;
use super::{
    APPLIED_MAX, Ballot, Change, Configuration, Content, Expected, OperationId, Proposal, VALUE_BYTES_MAX, VOTERS_MAX,
    Value,
};
use crate::hash;
use crate::identity::{BOOT_MAX, NodeId};
use crate::time::Seconds;
use crate::update::UpdateRef;
use crate::wire::{Put, Reader};

/// The longest name of a register.
pub const REGISTER_BYTES_MAX: usize = 255;
/// The register of configurations, which no user can name.
pub(crate) const CONFIGURATIONS: &str = "";

/// What the keys of all records of this space begin with.
pub(crate) const AGREEMENT_PREFIX: &[u8] = b"agree/";

const TAG_FOUNDING: u8 = 0;
const TAG_DROPPED: u8 = 1;
const TAG_JOINED: u8 = 2;
const TAG_CONFIGURED: u8 = 3;
const TAG_SEALED: u8 = 4;
const TAG_VOTE: u8 = 5;
const TAG_PROPOSAL: u8 = 6;

/// A founding: a function of the voters that it names, so that whoever founds with the same ones founds the same.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct FoundingId(pub u64);

impl FoundingId {
    /// The founding with these voters, in ascending order.
    pub(crate) fn of(voters: &[NodeId]) -> Self {
        let bytes: Vec<u8> = voters.iter().flat_map(|voter| voter.0.to_le_bytes()).collect();
        Self(hash::keyed(b"rumormill-voters", &bytes))
    }
}

impl fmt::Display for FoundingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for FoundingId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What an update of the agreement space says, apart from its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Statement<'a> {
    pub(crate) founding: FoundingId,
    pub(crate) says: Says<'a>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Says<'a> {
    /// There is this founding. The body names its voters.
    Founding,
    /// An operator has dropped it: nothing of it counts any more.
    Dropped,
    /// This node votes in it, and never in another.
    Joined { voter: NodeId },
    /// This configuration has been decided. The body is what it consists of.
    Configured { number: u32, is_settled: bool },
    /// This voter votes for no ballot of that configuration or an earlier one any more.
    Sealed(Sealed),
    /// What this voter has promised and accepted. The body is what it accepted.
    Vote { register: &'a str, voter: NodeId, born: u64, promised: Ballot, accepted: Option<Ballot> },
    /// What a proposer asks of the voters: to promise, or, with the next ballot, to accept the body.
    Proposal { register: &'a str, ballot: Ballot, next: Option<Ballot> },
}

/// What a voter voted on before it ended its part in a configuration: all its votes that were born before a number, told by
/// their count and the xor of the hashes of their registers, so that whoever takes them over knows that it has them all. When
/// one of them is forgotten meanwhile it says so anew, with a higher number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Sealed {
    pub(crate) voter: NodeId,
    pub(crate) configuration: u32,
    pub(crate) born: u64,
    pub(crate) count: u64,
    pub(crate) digest: u64,
}

/// The part of a register in a digest.
pub(crate) fn digest_of(register: &str) -> u64 {
    hash::keyed(b"rumormill-sealed", register.as_bytes())
}

impl<'a> Statement<'a> {
    /// Reads what an update begins with behind its times.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let founding = FoundingId(reader.u64()?);
        let says = match reader.u8()? {
            TAG_FOUNDING => Says::Founding,
            TAG_DROPPED => Says::Dropped,
            TAG_JOINED => Says::Joined { voter: NodeId(reader.u64()?) },
            TAG_CONFIGURED => Says::Configured { number: read_u32(reader)?, is_settled: read_flag(reader)? },
            TAG_SEALED => Says::Sealed(Sealed {
                voter: NodeId(reader.u64()?),
                configuration: read_u32(reader)?,
                born: reader.varint()?,
                count: reader.varint()?,
                digest: reader.u64()?,
            }),
            TAG_VOTE => {
                let (register, voter, born) = (read_register(reader)?, NodeId(reader.u64()?), reader.varint()?);
                let promised = read_ballot(reader)?;
                let accepted = if read_flag(reader)? { Some(read_ballot(reader)?) } else { None };
                Says::Vote { register, voter, born, promised, accepted }
            }
            TAG_PROPOSAL => {
                let (register, ballot) = (read_register(reader)?, read_ballot(reader)?);
                let next = if read_flag(reader)? { Some(read_ballot(reader)?) } else { None };
                Says::Proposal { register, ballot, next }
            }
            _ => return None,
        };
        Some(Self { founding, says })
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.founding.0.to_le_bytes());
        match self.says {
            Says::Founding => to.push(TAG_FOUNDING),
            Says::Dropped => to.push(TAG_DROPPED),
            Says::Joined { voter } => {
                to.push(TAG_JOINED);
                to.extend_from_slice(&voter.0.to_le_bytes());
            }
            Says::Configured { number, is_settled } => {
                to.push(TAG_CONFIGURED);
                to.put_varint(number.into());
                to.push(is_settled.into());
            }
            Says::Sealed(Sealed { voter, configuration, born, count, digest }) => {
                to.push(TAG_SEALED);
                to.extend_from_slice(&voter.0.to_le_bytes());
                to.put_varint(configuration.into());
                to.put_varint(born);
                to.put_varint(count);
                to.extend_from_slice(&digest.to_le_bytes());
            }
            Says::Vote { register, voter, born, promised, accepted } => {
                to.push(TAG_VOTE);
                to.put_short_block(register.as_bytes());
                to.extend_from_slice(&voter.0.to_le_bytes());
                to.put_varint(born);
                put_ballot(to, promised);
                put_optional(to, accepted);
            }
            Says::Proposal { register, ballot, next } => {
                to.push(TAG_PROPOSAL);
                to.put_short_block(register.as_bytes());
                put_ballot(to, ballot);
                put_optional(to, next);
            }
        }
    }

    /// Whether it makes sense, with that body and until then.
    pub(crate) fn is_lawful(&self, forget: Seconds, body: &[u8]) -> bool {
        let is_for_ever = forget == Seconds::NEVER;
        match self.says {
            Says::Founding => {
                is_for_ever && read_founding(body).is_some_and(|voters| FoundingId::of(&voters) == self.founding)
            }
            Says::Dropped => is_for_ever,
            Says::Joined { voter } | Says::Sealed(Sealed { voter, .. }) => is_for_ever && voter != NodeId::NONE,
            Says::Configured { number, is_settled } => {
                is_for_ever && Configuration::read(body).is_some_and(|read| read.place() == (number, is_settled))
            }
            Says::Vote { voter, promised, accepted, .. } => {
                let is_whole = accepted.is_none_or(|ballot| ballot <= promised && read_content(body).is_some());
                voter != NodeId::NONE && is_whole
            }
            Says::Proposal { ballot, next, .. } => {
                let follows = |next: Ballot| {
                    let key = |ballot: Ballot| (ballot.configuration, ballot.proposer);
                    next > ballot && key(next) == key(ballot) && read_content(body).is_some()
                };
                !is_for_ever && ballot.proposer != NodeId::NONE && ballot.configuration > 0 && next.is_none_or(follows)
            }
        }
    }

    /// Which of two statements on one subject says more; they are compared by their bytes where this is equal.
    pub(crate) fn version(&self, forget: Seconds) -> Version {
        match self.says {
            Says::Founding | Says::Dropped | Says::Joined { .. } => Version::default(),
            Says::Configured { number, is_settled } => Version { number, flag: is_settled, ..Version::default() },
            Says::Sealed(Sealed { configuration, born, .. }) => {
                Version { number: configuration, born, ..Version::default() }
            }
            Says::Vote { promised, accepted, .. } => {
                // A vote that is made again to be forgotten comes after the same that was not.
                let ballots = (promised, accepted);
                let forgets = (forget != Seconds::NEVER).then_some(forget.0);
                Version { ballots, flag: forgets.is_some(), number: forgets.unwrap_or(0), born: 0 }
            }
            Says::Proposal { ballot, next, .. } => {
                Version { ballots: (ballot, None), flag: next.is_some(), ..Version::default() }
            }
        }
    }
}

/// The order of statements on one subject.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) struct Version {
    ballots: (Ballot, Option<Ballot>),
    number: u32,
    flag: bool,
    born: u64,
}

impl UpdateRef<'_> {
    /// The voters of a founding, in ascending order.
    pub(crate) fn founding_voters(&self) -> Option<Vec<NodeId>> {
        read_founding(self.value())
    }

    /// What a statement says that a register holds.
    pub(crate) fn content(&self) -> Option<Content> {
        read_content(self.value())
    }

    /// The configuration of a statement about one.
    pub(crate) fn configuration(&self) -> Option<Configuration> {
        Configuration::read(self.value())
    }

    /// What a proposal asks.
    pub(crate) fn proposal(&self, ballot: Ballot, next: Option<Ballot>) -> Option<Proposal> {
        Some(match next {
            None => Proposal::Prepare { ballot },
            Some(next) => Proposal::Accept { ballot, content: self.content()?, next },
        })
    }
}

impl Change {
    /// As it is told to another node.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let Self::Swap { expected, value } = self else { return to.push(0) };
        match expected {
            Expected::Anything => to.push(1),
            Expected::Absent => to.push(2),
            Expected::Value(value) => {
                to.push(3);
                put_block(to, value);
            }
            Expected::Version(version) => {
                to.push(4);
                to.put_varint(*version);
            }
        }
        put_value(to, value.as_ref());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let expected = match reader.u8()? {
            0 => return Some(Self::Read),
            1 => Expected::Anything,
            2 => Expected::Absent,
            3 => Expected::Value(reader.block()?.into()),
            4 => Expected::Version(reader.varint()?),
            _ => return None,
        };
        Some(Self::Swap { expected, value: read_value(reader)? })
    }
}

fn put_block(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_size(bytes.len());
    to.extend_from_slice(bytes);
}

/// A value, or that there is none.
pub(crate) fn put_value(to: &mut Vec<u8>, value: Option<&Value>) {
    to.push(value.is_some().into());
    if let Some(value) = value {
        put_block(to, value);
    }
}

#[expect(clippy::option_option, reason = "outside whether it makes sense, inside whether there is a value")]
pub(crate) fn read_value(reader: &mut Reader<'_>) -> Option<Option<Value>> {
    match reader.u8()? {
        0 => Some(None),
        1 => reader.block().filter(|value| value.len() <= VALUE_BYTES_MAX).map(|value| Some(value.into())),
        _ => None,
    }
}

fn read_flag(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn read_u32(reader: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(reader.varint()?).ok()
}

fn read_register<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    reader.short_text()
}

pub(crate) fn read_ballot(reader: &mut Reader<'_>) -> Option<Ballot> {
    let (configuration, counter, boot) = (read_u32(reader)?, reader.varint()?, reader.varint()?);
    let ballot = Ballot { configuration, counter, boot, proposer: NodeId(reader.u64()?) };
    (ballot.is_lawful() && boot <= BOOT_MAX).then_some(ballot)
}

pub(crate) fn put_ballot(to: &mut Vec<u8>, ballot: Ballot) {
    to.put_varint(ballot.configuration.into());
    to.put_varint(ballot.counter);
    to.put_varint(ballot.boot);
    to.extend_from_slice(&ballot.proposer.0.to_le_bytes());
}

fn put_optional(to: &mut Vec<u8>, ballot: Option<Ballot>) {
    to.push(ballot.is_some().into());
    if let Some(ballot) = ballot {
        put_ballot(to, ballot);
    }
}

fn read_founding(body: &[u8]) -> Option<Vec<NodeId>> {
    let (ids, rest) = body.as_chunks::<8>();
    let voters: Vec<NodeId> = ids.iter().map(|id| NodeId(u64::from_le_bytes(*id))).collect();
    let is_plain = rest.is_empty() && voters.is_sorted_by(|a, b| a < b) && voters.first() > Some(&NodeId::NONE);
    (is_plain && voters.len() <= VOTERS_MAX).then_some(voters)
}

/// The body of a founding with these voters.
pub(crate) fn founding_body(voters: &[NodeId]) -> Vec<u8> {
    voters.iter().flat_map(|voter| voter.0.to_le_bytes()).collect()
}

fn read_content(body: &[u8]) -> Option<Content> {
    let mut reader = Reader::new(body);
    let version = reader.varint()?;
    let count = usize::from(reader.u8()?);
    if count > APPLIED_MAX || !(count as u64..=VERSION_MAX).contains(&version) {
        return None;
    }
    let applied = (0..count).map(|_| reader.u64().map(OperationId)).collect::<Option<_>>()?;
    let value = read_value(&mut reader)?;
    Some(Content { version, value, applied })
}

/// The body of a statement that carries what a register holds.
pub(crate) fn content_body(content: &Content) -> Vec<u8> {
    let size = content.value.as_ref().map_or(0, |value| value.len());
    let mut body = Vec::with_capacity(16 + 8 * content.applied.len() + size);
    body.put_varint(content.version);
    body.push(u8::try_from(content.applied.len()).expect("at most APPLIED_MAX"));
    for id in &content.applied {
        body.extend_from_slice(&id.0.to_le_bytes());
    }
    put_value(&mut body, content.value.as_ref());
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::update::{Head, agreement_bytes};

    fn ballot() -> impl Strategy<Value = Ballot> {
        (1_u32..9, 0_u64..1_000, 1_u64..9, 1_u64..).prop_map(|(configuration, counter, boot, proposer)| Ballot {
            configuration,
            counter,
            boot,
            proposer: NodeId(proposer),
        })
    }

    fn content() -> impl Strategy<Value = Content> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
        (proptest::collection::vec_deque(any::<u64>().prop_map(OperationId), 0..=16), value).prop_map(
            |(applied, value)| Content { version: applied.len() as u64, value: value.map(Into::into), applied },
        )
    }

    #[test]
    fn a_founding_is_the_same_whoever_founds_it_and_is_not_believed_under_another_id() {
        let voters = [NodeId(3), NodeId(5), NodeId(9)];
        let founding = FoundingId::of(&voters);
        let read = |founding, voters: &[NodeId]| {
            let statement = Statement { founding, says: Says::Founding };
            let bytes = agreement_bytes(&statement, Seconds::NEVER, &founding_body(voters));
            UpdateRef::read(&bytes).is_some()
        };
        assert!(read(founding, &voters));
        assert!(!read(founding, &voters[..2]));
        assert!(!read(FoundingId::of(&[NodeId(5), NodeId(3)]), &[NodeId(5), NodeId(3)]), "in ascending order only");
        assert!(!read(FoundingId::of(&[]), &[]));
    }

    #[test]
    fn a_change_under_way_comes_after_the_last_one_that_is_over() {
        let configured = |number, is_settled| {
            let says = Says::Configured { number, is_settled };
            Statement { founding: FoundingId(1), says }.version(Seconds::NEVER)
        };
        let rising = [configured(2, false), configured(2, true), configured(3, false)];
        assert!(rising.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_vote_that_is_to_be_forgotten_supersedes_the_same_without_and_not_the_next() {
        let at = |counter| Ballot { configuration: 1, counter, boot: 1, proposer: NodeId(1) };
        let vote = |counter| Statement {
            founding: FoundingId(1),
            says: Says::Vote { register: "a", voter: NodeId(2), born: 0, promised: at(counter), accepted: None },
        };
        assert!(vote(1).version(Seconds(100)) > vote(1).version(Seconds::NEVER));
        assert!(vote(2).version(Seconds::NEVER) > vote(1).version(Seconds(100)));
    }

    proptest! {
        #[test]
        fn votes_and_proposals_read_back(
            register in "[a-z/]{1,20}", voter in 1_u64.., born: u64, promised in ballot(), accepted in proptest::option::of(ballot()), content in content()
        ) {
            let accepted = accepted.filter(|accepted| *accepted <= promised);
            let says = Says::Vote { register: &register, voter: NodeId(voter), born, promised, accepted };
            let vote = Statement { founding: FoundingId(7), says };
            let bytes = agreement_bytes(&vote, Seconds::NEVER, &content_body(&content));
            let read = UpdateRef::read(&bytes).unwrap();
            prop_assert_eq!(read.head, Head::Agreement(vote));
            prop_assert_eq!(read.content(), Some(content.clone()));
            let next = Ballot { counter: promised.counter + 1, ..promised };
            let says = Says::Proposal { register: &register, ballot: promised, next: Some(next) };
            let proposal = Statement { founding: FoundingId(7), says };
            let bytes = agreement_bytes(&proposal, Seconds(9), &content_body(&content));
            prop_assert_eq!(UpdateRef::read(&bytes).unwrap().head, Head::Agreement(proposal));
            let forever = agreement_bytes(&proposal, Seconds::NEVER, &content_body(&content));
            prop_assert!(UpdateRef::read(&forever).is_none(), "proposals do not stay");
        }

        #[test]
        fn arbitrary_statements_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), tag in 0_u8..8) {
            let mut bytes = [&[3][..], &[0; 8], &[tag], &bytes].concat();
            let _forever = UpdateRef::read(&bytes);
            bytes[0] |= 0x10;
            let _forgets = UpdateRef::read(&bytes);
        }
    }
}
