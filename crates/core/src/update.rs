//! Updates: immutable, versioned statements, kept and relayed as the bytes in which they came.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::agreement::statement::Statement;
use crate::config::is_name;
use crate::credentials::Credentials;
use crate::datum::{self, Datum, Subject, Sums};
use crate::frame::Space;
use crate::hash;
use crate::identity::{BOOT_MAX, Incarnation, NodeId, Own, Sequence};
use crate::io::State;
use crate::map::Map;
use crate::time::{Seconds, Wall};
use crate::wire::{Put, Reader, VERSION};

/// The id of an update: a keyed hash of its header and of the hash of its body (design §2 rule 2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub(crate) struct UpdateId(pub(crate) u64);

impl UpdateId {
    /// The part of it by which an update is asked for, 48 bits: of a million updates hardly two share it, and then both come.
    pub(crate) const fn short(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

/// The largest claim, so that every claim fits a datagram (design §3).
pub(crate) const CLAIM_BYTES_MAX: usize = 1_000;

const SPACE_BITS: u8 = 0x0f;
/// Four bytes follow: when the update leaves the replica.
const HAS_FORGET: u8 = 0x10;
/// Four more follow: when its value is no longer served.
const HAS_EXPIRES: u8 = 0x20;
/// The value is no longer there: the body is the hash of what it was, and the id is what it was.
const STRIPPED: u8 = 0x40;
/// Credentials stand behind the body, and behind them, in two bytes, how long they are.
const SIGNED: u8 = 0x80;
/// Bytes of the hash of a body.
const BODY_HASH_BYTES: usize = 16;

/// What an update is about and which version of it this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Head<'a> {
    Claim { member: NodeId, incarnation: Incarnation, state: State },
    Message { origin: NodeId, sequence: Sequence, topic: &'a str },
    Data(Datum<'a>),
    Agreement(Statement<'a>),
}

/// An update taken apart where it lies: nothing is copied or hashed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpdateRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: Head<'a>,
    /// When it leaves the replica.
    pub(crate) forget: Seconds,
    /// Until when it is served. The same moment, but for values that live for a while.
    pub(crate) expires: Seconds,
    body: &'a [u8],
    /// The credentials; empty where there are none.
    trailer: &'a [u8],
}

impl<'a> UpdateRef<'a> {
    /// Takes an update apart. `None` if it makes no sense, or is of a space that this version does not know.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let update = Self::read_head(bytes)?;
        let makes_sense = match update.head {
            Head::Claim { .. } => update.claim_body().is_some(),
            Head::Message { .. } => update.message_body().is_some(),
            Head::Data(datum) => {
                datum.is_lawful(update.expires, update.forget, update.body.len())
                    && (!update.is_stripped() || update.body.len() == update.stripped_bytes())
            }
            Head::Agreement(statement) => statement.is_lawful(update.forget, update.body),
        };
        (makes_sense && (!update.is_signed() || update.credentials().is_some())).then_some(update)
    }

    /// The same without a look at the body, for updates that were read before.
    fn read_head(bytes: &'a [u8]) -> Option<Self> {
        let kind = *bytes.first()?;
        let (plain, trailer) = if kind & SIGNED == 0 { (bytes, &bytes[..0]) } else { split_credentials(bytes)? };
        let mut reader = Reader::new(plain);
        let kind = reader.u8()?;
        let space = Space::from_byte(kind & SPACE_BITS)?;
        let known = match space {
            Space::Members => HAS_FORGET | SIGNED,
            Space::Data => HAS_FORGET | HAS_EXPIRES | STRIPPED | SIGNED,
            Space::Messages | Space::Agreement => HAS_FORGET,
        };
        let expires_alone = kind & HAS_EXPIRES != 0;
        if kind & !(SPACE_BITS | known) != 0
            || expires_alone && kind & HAS_FORGET == 0
            || kind & STRIPPED != 0 && !expires_alone
        {
            return None;
        }
        let forget = if kind & HAS_FORGET != 0 { Seconds(reader.u32()?) } else { Seconds::NEVER };
        let expires = if expires_alone { Seconds(reader.u32()?) } else { forget };
        // A time that says what its absence says would be a second way to write the same.
        if kind & HAS_FORGET != 0 && forget == Seconds::NEVER || expires_alone && expires >= forget {
            return None;
        }
        let head = match space {
            Space::Members => read_claim(&mut reader, forget).filter(|_| bytes.len() <= CLAIM_BYTES_MAX)?,
            Space::Data => Head::Data(Datum::read(&mut reader)?),
            Space::Messages => read_message(&mut reader, forget)?,
            Space::Agreement => Head::Agreement(Statement::read(&mut reader)?),
        };
        Some(Self { bytes, head, forget, expires, body: reader.rest(), trailer })
    }

    /// Whether it carries credentials.
    pub(crate) const fn is_signed(&self) -> bool {
        self.bytes[0] & SIGNED != 0
    }

    /// What it carries behind its body.
    pub(crate) fn credentials(&self) -> Option<Credentials<'a>> {
        Credentials::read(&self.head, self.expires != self.forget, self.trailer)
    }

    /// The bytes of its credentials.
    pub(crate) const fn trailer(&self) -> &'a [u8] {
        self.trailer
    }

    /// Everything before the body, as it was before it was signed or lost its value.
    pub(crate) fn plain_header(&self) -> Vec<u8> {
        let mut header = self.header().to_vec();
        header[0] &= !(SIGNED | STRIPPED);
        header
    }

    fn header(&self) -> &'a [u8] {
        let behind = if self.is_signed() { self.trailer.len() + 2 } else { 0 };
        &self.bytes[..self.bytes.len() - self.body.len() - behind]
    }

    /// The claim as its member made it, alive and without credentials.
    pub(crate) fn alive_plain(&self) -> Vec<u8> {
        self.in_state(State::Alive, Seconds::NEVER)
    }

    /// The claim in another state, without credentials.
    pub(crate) fn in_state(&self, state: State, forget: Seconds) -> Vec<u8> {
        let Head::Claim { member, incarnation, .. } = self.head else { unreachable!("only claims have states") };
        claim_bytes(member, incarnation, state, forget, self.body)
    }

    /// What it says of sums, if it is about some.
    pub(crate) const fn sums(&self) -> Option<Sums> {
        match self.head {
            Head::Data(Datum { statement: datum::Statement::Sums(sums), .. }) => Some(sums),
            Head::Data(_) | Head::Claim { .. } | Head::Message { .. } | Head::Agreement(_) => None,
        }
    }

    /// How an update of the data space stands to what is held about the same.
    pub(crate) fn stands_to(&self, held: &Update) -> datum::Standing {
        let (Head::Data(new), Head::Data(old)) = (self.head, held.parts().head) else {
            unreachable!("only data are compared as such")
        };
        let compare = if self.is_signed() { datum::compare_signed } else { datum::compare };
        compare(&new.statement, &old.statement)
    }

    /// When it leaves replicas: a live claim does when its member's certificate runs out.
    pub(crate) fn leaves(&self) -> Seconds {
        match self.credentials() {
            Some(Credentials::Claim { own, .. }) if self.forget == Seconds::NEVER => own.certificate.until,
            Some(_) | None => self.forget,
        }
    }

    /// The same made again from what was read: fuzzers and tests compare it with what came.
    pub(crate) fn rewritten(&self) -> Vec<u8> {
        let mut bytes = match self.head {
            Head::Claim { member, incarnation, state } => {
                claim_bytes(member, incarnation, state, self.forget, self.body)
            }
            Head::Message { origin, sequence, topic } => {
                let body = self.message_body().expect("it was read before");
                message_bytes(origin, sequence, topic, self.forget, &body)
            }
            Head::Data(datum) => data_bytes(&datum, self.expires, self.forget, self.body),
            Head::Agreement(statement) => agreement_bytes(&statement, self.forget, self.body),
        };
        bytes[0] |= self.bytes[0] & STRIPPED;
        if self.is_signed() { with_credentials(bytes, self.trailer) } else { bytes }
    }

    /// What is left of a value that ran out: the hash of it, unless the credentials have a digest.
    const fn stripped_bytes(&self) -> usize {
        if self.is_signed() { 0 } else { BODY_HASH_BYTES }
    }

    /// Whether the value ran out and only its place is left.
    pub(crate) const fn is_stripped(&self) -> bool {
        self.bytes[0] & STRIPPED != 0
    }

    /// The value of a register of the database, or what a statement of the agreement space carries.
    pub(crate) const fn value(&self) -> &'a [u8] {
        self.body
    }

    pub(crate) fn id(&self, secret: &[u8; 16]) -> UpdateId {
        let header = self.header();
        let mut keyed = Vec::with_capacity(header.len() + BODY_HASH_BYTES + self.trailer.len());
        keyed.extend_from_slice(header);
        keyed[0] &= !STRIPPED;
        if self.is_signed() && self.expires != self.forget {
            // The credentials have a digest of the body, whether that is there or not.
        } else if self.is_stripped() {
            keyed.extend_from_slice(self.body);
        } else {
            keyed.extend_from_slice(&hash::keyed_wide(secret, self.body));
        }
        keyed.extend_from_slice(self.trailer);
        UpdateId(hash::keyed(secret, &keyed))
    }

    /// The bytes of the same update without its value, if that makes it shorter.
    pub(crate) fn stripped(&self, secret: &[u8; 16]) -> Option<Vec<u8>> {
        if self.is_stripped() || self.expires == self.forget || self.body.len() <= self.stripped_bytes() {
            return None;
        }
        let mut bytes = self.header().to_vec();
        bytes[0] |= STRIPPED;
        if self.is_signed() {
            bytes.extend_from_slice(&self.bytes[bytes.len() + self.body.len()..]);
        } else {
            bytes.extend_from_slice(&hash::keyed_wide(secret, self.body));
        }
        Some(bytes)
    }

    /// What the member said of itself; the same in all claims of one incarnation.
    pub(crate) fn claim_body(&self) -> Option<ClaimBody<'a>> {
        ClaimBody::read(self.body)
    }

    /// What a message says.
    pub(crate) fn message_body(&self) -> Option<MessageBody<'a>> {
        let mut reader = Reader::new(self.body);
        let published_at = Wall::from_micros(reader.u64()?);
        let kept = u32::try_from(reader.varint()?).ok()?;
        Some(MessageBody { published_at, kept, payload: reader.rest() })
    }

    /// The bytes of a claim about the same member and incarnation, with the same body and the member's own word for it, in
    /// another state.
    pub(crate) fn with_state(&self, state: State, forget: Seconds) -> Vec<u8> {
        let plain = self.in_state(state, forget);
        let Some(Credentials::Claim { goodbye, .. }) = self.credentials() else { return plain };
        let alive = self.trailer.len() - goodbye.map_or(0, |signature| signature.len());
        with_credentials(plain, &self.trailer[..alive])
    }
}

/// An update as replicas hold it: its id and its bytes, and nothing beside them, for a million of them count.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Update {
    pub(crate) id: UpdateId,
    #[serde(with = "crate::recording::bytes")]
    bytes: Box<[u8]>,
}

impl Update {
    pub(crate) fn new(update: &UpdateRef<'_>, secret: &[u8; 16]) -> Self {
        Self { id: update.id(secret), bytes: update.bytes.into() }
    }

    /// When it leaves the replica.
    pub(crate) fn forget(&self) -> Seconds {
        match *self.bytes {
            [kind, a, b, c, d, ..] if kind & HAS_FORGET != 0 => Seconds(u32::from_le_bytes([a, b, c, d])),
            [kind, ..] if kind & SIGNED != 0 && kind & SPACE_BITS == Space::Members as u8 => self.parts().leaves(),
            _ => Seconds::NEVER,
        }
    }

    /// The head of a claim behind its times and its member: boot, refutations, state, and then the body.
    fn claim(&self) -> Reader<'_> {
        let times = if self.bytes[0] & HAS_FORGET == 0 { 0 } else { 4 };
        Reader::new(&self.bytes[1 + times + 8..])
    }

    /// The state that a claim gives its member.
    pub(crate) fn claim_state(&self) -> State {
        let mut claim = self.claim();
        let refutations = claim.varint().and_then(|_| claim.varint());
        let state = refutations.and_then(|_| state_from_byte(claim.u8()?));
        state.expect("it was taken apart before it was kept")
    }

    /// Where the member of a claim prefers to be reached.
    pub(crate) fn claim_address(&self) -> Option<SocketAddr> {
        let mut claim = self.claim();
        // Behind boot, refutations and state come session, first boot, two protocol versions and the count of addresses.
        claim.varint()?;
        claim.varint()?;
        claim.take(1 + 15)?;
        claim.address()
    }

    /// What an update of the data space is about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let kind = self.bytes[0];
        let times = if kind & HAS_FORGET != 0 { 4 } else { 0 } + if kind & HAS_EXPIRES != 0 { 4 } else { 0 };
        Subject::read(&mut Reader::new(&self.bytes[1 + times..])).expect("it was taken apart before it was kept")
    }

    /// What an update of the data space says.
    pub(crate) fn datum(&self) -> Datum<'_> {
        let Head::Data(datum) = self.parts().head else { unreachable!("only data are looked at as such") };
        datum
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What an update of the agreement space says.
    pub(crate) fn statement(&self) -> Statement<'_> {
        let Head::Agreement(statement) = self.parts().head else {
            unreachable!("only statements are looked at as such")
        };
        statement
    }

    /// Takes the update apart again.
    pub(crate) fn parts(&self) -> UpdateRef<'_> {
        UpdateRef::read_head(&self.bytes).expect("it was taken apart before it was kept")
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Update({:016x}, {} bytes)", self.id.0, self.bytes.len())
    }
}

/// Lets the nodes of one process share the bytes of updates: the laboratory holds a million claims of a thousand
/// members once each. A node of its own needs none.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Interner(#[serde(skip)] Option<Arc<Mutex<Shared>>>);

type Shared = Map<UpdateId, Weak<Update>>;

impl Interner {
    /// One that shares among all nodes that are given a clone of it.
    pub fn shared() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn intern(&self, update: &UpdateRef<'_>, secret: &[u8; 16]) -> Arc<Update> {
        let Some(known) = &self.0 else {
            return Arc::new(Update::new(update, secret));
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let id = update.id(secret);
        // A value that has run out has the id that it had before, and other bytes.
        if let Some(shared) = known.get(&id).and_then(Weak::upgrade).filter(|shared| *shared.bytes == *update.bytes) {
            return shared;
        }
        if known.len() >= 4_096 && known.len() == known.capacity() {
            known.retain(|_, update| update.strong_count() > 0);
        }
        let shared = Arc::new(Update { id, bytes: update.bytes.into() });
        known.insert(id, Arc::downgrade(&shared));
        shared
    }
}

/// What a message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MessageBody<'a> {
    pub(crate) published_at: Wall,
    /// How many of the messages right before it, of the same boot, its origin still kept when it was published: all
    /// before those are gone for good.
    pub(crate) kept: u32,
    pub(crate) payload: &'a [u8],
}

#[cfg(test)]
impl<'a> MessageBody<'a> {
    /// Published at the epoch, with everything before it still kept.
    pub(crate) const fn test(payload: &'a [u8]) -> Self {
        Self { published_at: Wall::from_micros(0), kept: u32::MAX, payload }
    }
}

/// What a member says of itself in a claim. Layout: session, first boot, protocol, addresses, name, tags, and
/// whatever a newer version puts behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimBody<'a> {
    pub(crate) session: u64,
    /// When this identity first started: the earlier holds a contested name.
    pub(crate) first_boot: Seconds,
    pub(crate) protocol: (u8, u8),
    pub(crate) name: &'a str,
    address_count: u8,
    addresses: Reader<'a>,
    tags: Reader<'a>,
}

impl<'a> ClaimBody<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let session = reader.u64()?;
        let first_boot = Seconds(reader.u32()?);
        let protocol = (reader.u8()?, reader.u8()?);
        let address_count = reader.u8()?;
        let addresses = reader;
        for _ in 0..address_count {
            reader.address()?;
        }
        let name = reader.short_text()?;
        if !(1..=4).contains(&address_count) || !is_name(name) {
            return None;
        }
        let tags = reader;
        for _ in 0..reader.u8()? {
            reader.short_text()?;
            reader.short_text()?;
        }
        Some(Self { session, first_boot, protocol, name, address_count, addresses, tags })
    }

    /// Where the member is reached, the preferred address first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let mut reader = self.addresses;
        (0..self.address_count).map_while(move |_| reader.address())
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut reader = self.tags;
        let count = reader.u8().unwrap_or(0);
        (0..count).map_while(move |_| Some((reader.short_text()?, reader.short_text()?)))
    }
}

/// The body of a claim that this node makes about itself.
pub(crate) fn claim_body(own: &Own, first_boot: Seconds) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    body.extend_from_slice(&own.session.to_le_bytes());
    body.extend_from_slice(&first_boot.0.to_le_bytes());
    body.extend_from_slice(&[VERSION.to_byte(), VERSION.to_byte()]);
    body.push(u8::try_from(own.addresses.len()).expect("checked: at most four"));
    for address in &own.addresses {
        body.put_address(*address);
    }
    body.put_short_block(own.name.as_bytes());
    body.push(u8::try_from(own.tags.len()).expect("checked: tags of two bytes and more in 750"));
    for (key, value) in &own.tags {
        body.put_short_block(key.as_bytes());
        body.put_short_block(value.as_bytes());
    }
    body
}

/// Whom bytes are about if they are a claim, without a look at the rest.
pub(crate) fn member_of(bytes: &[u8]) -> Option<NodeId> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    if kind & HAS_FORGET != 0 {
        reader.u32()?;
    }
    (kind & SPACE_BITS == Space::Members as u8).then(|| reader.u64().map(NodeId))?
}

fn read_claim<'a>(reader: &mut Reader<'a>, forget: Seconds) -> Option<Head<'a>> {
    let member = NodeId(reader.u64()?);
    let (boot, refutations) = (reader.varint()?, reader.varint()?);
    let state = state_from_byte(reader.u8()?)?;
    if member == NodeId::NONE || boot == 0 || state.is_live() != (forget == Seconds::NEVER) {
        return None;
    }
    Some(Head::Claim { member, incarnation: Incarnation::from_parts(boot, refutations)?, state })
}

fn read_message<'a>(reader: &mut Reader<'a>, forget: Seconds) -> Option<Head<'a>> {
    let origin = NodeId(reader.u64()?);
    let (boot, count) = (reader.varint()?, u32::try_from(reader.varint()?).ok()?);
    let topic = reader.short_text()?;
    let is_numbered = (1..=BOOT_MAX).contains(&boot) && (1..u32::MAX).contains(&count);
    if origin == NodeId::NONE || !is_numbered || forget == Seconds::NEVER || topic.is_empty() {
        return None;
    }
    Some(Head::Message { origin, sequence: Sequence::new(boot, count), topic })
}

/// A claim. `forget` is [`Seconds::NEVER`] for live members.
pub(crate) fn claim_bytes(
    member: NodeId,
    incarnation: Incarnation,
    state: State,
    forget: Seconds,
    body: &[u8],
) -> Vec<u8> {
    assert_eq!(state.is_live(), forget == Seconds::NEVER, "only certificates run out");
    let mut bytes = Vec::with_capacity(20 + body.len());
    put_kind(&mut bytes, Space::Members, forget);
    bytes.extend_from_slice(&member.0.to_le_bytes());
    bytes.put_varint(incarnation.boot());
    bytes.put_varint(incarnation.refutations());
    bytes.push(state as u8);
    bytes.extend_from_slice(body);
    bytes
}

/// The same update with credentials behind it.
pub(crate) fn with_credentials(mut plain: Vec<u8>, trailer: &[u8]) -> Vec<u8> {
    plain[0] |= SIGNED;
    plain.extend_from_slice(trailer);
    plain.extend_from_slice(&u16::try_from(trailer.len()).expect("a few certificates and signatures").to_le_bytes());
    plain
}

/// What stands before the credentials of a signed update, and these.
fn split_credentials(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, length) = bytes.split_last_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    rest.split_at_checked(rest.len().checked_sub(length)?)
}

/// A message.
pub(crate) fn message_bytes(
    origin: NodeId,
    sequence: Sequence,
    topic: &str,
    forget: Seconds,
    body: &MessageBody<'_>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40 + topic.len() + body.payload.len());
    put_kind(&mut bytes, Space::Messages, forget);
    bytes.extend_from_slice(&origin.0.to_le_bytes());
    bytes.put_varint(sequence.boot());
    bytes.put_varint(sequence.count().into());
    bytes.put_short_block(topic.as_bytes());
    bytes.extend_from_slice(&body.published_at.as_micros().to_le_bytes());
    bytes.put_varint(body.kept.into());
    bytes.extend_from_slice(body.payload);
    bytes
}

/// An update of the data space; `value` is what a register holds. It is served until `expires`, and forgotten at `forget`.
pub(crate) fn data_bytes(datum: &Datum<'_>, expires: Seconds, forget: Seconds, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48 + datum.subject.key.len() + value.len());
    put_kind(&mut bytes, Space::Data, forget);
    if expires != forget {
        bytes[0] |= HAS_EXPIRES;
        bytes.extend_from_slice(&expires.0.to_le_bytes());
    }
    datum.write(&mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

/// An update of the agreement space.
pub(crate) fn agreement_bytes(statement: &Statement<'_>, forget: Seconds, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96 + body.len());
    put_kind(&mut bytes, Space::Agreement, forget);
    statement.write(&mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn put_kind(bytes: &mut Vec<u8>, space: Space, forget: Seconds) {
    if forget == Seconds::NEVER {
        bytes.push(space as u8);
    } else {
        bytes.push(space as u8 | HAS_FORGET);
        bytes.extend_from_slice(&forget.0.to_le_bytes());
    }
}

const fn state_from_byte(byte: u8) -> Option<State> {
    match byte {
        0 => Some(State::Alive),
        1 => Some(State::Suspect),
        2 => Some(State::Dead),
        3 => Some(State::Left),
        4 => Some(State::Removed),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Stamp;
    use crate::datum::{Kind, Version};
    use crate::identity::Tags;

    /// A claim of that member, alive.
    pub(crate) fn claim_of(member: NodeId, address: SocketAddr) -> Arc<Update> {
        let own = Own { id: member, addresses: vec![address], ..own() };
        let body = claim_body(&own, Seconds(1));
        let bytes = claim_bytes(member, Incarnation::of_boot(1), State::Alive, Seconds::NEVER, &body);
        Arc::new(Update::new(&UpdateRef::read(&bytes).unwrap(), &[0; 16]))
    }

    fn own() -> Own {
        Own {
            id: NodeId(0x1122_3344_5566_7788),
            name: "node-1".to_owned(),
            addresses: vec!["10.0.0.1:4747".parse().unwrap()],
            tags: Tags::new(),
            session: 7,
            durable: false,
            overhead: crate::identity::Overhead::default(),
            tags_bytes_max: crate::identity::TAGS_BYTES_MAX,
        }
    }

    fn alive() -> Vec<u8> {
        let own = own();
        let body = claim_body(&own, Seconds(1_700_000_000));
        claim_bytes(own.id, Incarnation::of_boot(1), State::Alive, Seconds::NEVER, &body)
    }

    #[test]
    fn a_claim_with_a_short_name_fits_in_48_bytes() {
        let bytes = alive();
        assert!(crate::frame::item_bytes(bytes.len()) <= 48, "{} bytes", bytes.len());
        let claim = UpdateRef::read(&bytes).unwrap();
        assert_eq!(claim.claim_body().unwrap().name, "node-1");
    }

    #[test]
    fn what_is_read_without_parsing_is_what_parsing_finds() {
        for state in [State::Alive, State::Suspect, State::Dead, State::Left, State::Removed] {
            let forget = if state.is_live() { Seconds::NEVER } else { Seconds(300) };
            let bytes = UpdateRef::read(&alive()).unwrap().with_state(state, forget);
            let read = UpdateRef::read(&bytes).unwrap();
            let update = Update::new(&read, &[0; 16]);
            assert_eq!(update.claim_state(), state);
            assert_eq!(update.claim_address(), Some("10.0.0.1:4747".parse().unwrap()));
        }
    }

    #[test]
    fn golden_updates_and_their_ids() {
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let claim = alive();
        assert_eq!(
            hex(&claim),
            "0088776655443322110100000700000000000000 00f15365 1010 01 040a0000018b12 066e6f64652d31 00"
                .replace(' ', "")
        );
        let body = MessageBody { published_at: Wall::from_micros(3), kept: 2, payload: b"hi" };
        let message = message_bytes(NodeId(9), Sequence::new(1, 7), "news", Seconds(5), &body);
        assert_eq!(
            hex(&message),
            "12 05000000 0900000000000000 01 07 046e657773 0300000000000000 02 6869".replace(' ', "")
        );
        let secret = hash::secret_of_name("rumor");
        let ids = [&claim, &message].map(|bytes| format!("{:016x}", UpdateRef::read(bytes).unwrap().id(&secret).0));
        assert_eq!(ids, ["41122dbe83424a46", "2870b57c65888bb5"]);
    }

    #[test]
    fn a_time_that_never_comes_and_a_padded_number_are_no_second_way_to_write_a_claim() {
        let claim = alive();
        let boot = 1 + 8;
        let mut never = claim.clone();
        never[0] |= HAS_FORGET;
        never.splice(1..1, Seconds::NEVER.0.to_le_bytes());
        assert!(UpdateRef::read(&never).is_none());
        let mut padded = claim.clone();
        padded[boot] |= 0x80;
        padded.insert(boot + 1, 0);
        assert!(UpdateRef::read(&padded).is_none());
        assert!(UpdateRef::read(&claim).is_some());
    }

    #[test]
    fn fields_of_a_newer_version_behind_a_claim_are_kept_and_change_its_id() {
        let old = alive();
        let new = [old.as_slice(), b"from the future"].concat();
        let (old, new) = (UpdateRef::read(&old).unwrap(), UpdateRef::read(&new).unwrap());
        assert_eq!(new.claim_body().unwrap().name, "node-1");
        assert_ne!(old.id(&[0; 16]), new.id(&[0; 16]));
        assert_eq!(Update::new(&new, &[0; 16]).bytes(), new.bytes);
    }

    #[test]
    fn all_who_declare_one_death_make_the_same_bytes() {
        let bytes = alive();
        let claim = UpdateRef::read(&bytes).unwrap();
        let mine = claim.with_state(State::Dead, Seconds(100));
        let suspect = claim.with_state(State::Suspect, Seconds::NEVER);
        let theirs = UpdateRef::read(&suspect).unwrap().with_state(State::Dead, Seconds(100));
        assert_eq!(mine, theirs);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_what_reads_is_kept_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(update) = UpdateRef::read(&bytes) {
                prop_assert_eq!(update.bytes, bytes.as_slice());
                prop_assert_eq!(update.rewritten(), bytes);
            }
        }

        #[test]
        fn a_message_reads_back(boot in 1_u64..=BOOT_MAX, count in 1_u32..u32::MAX, topic in "[a-z]{1,255}", payload: Vec<u8>) {
            let sequence = Sequence::new(boot, count);
            let body = MessageBody { published_at: Wall::from_micros(3), kept: 2, payload: &payload };
            let bytes = message_bytes(NodeId(9), sequence, &topic, Seconds(5), &body);
            let read = UpdateRef::read(&bytes).unwrap();
            prop_assert_eq!(read.head, Head::Message { origin: NodeId(9), sequence, topic: &topic });
            prop_assert_eq!(read.message_body(), Some(body));
        }
    }

    #[test]
    fn nodes_of_one_process_share_bytes_that_are_the_same_and_nothing_else_of_that_id() {
        let version = Version { stamp: Stamp(1), author: NodeId(1) };
        let statement = datum::Statement::Head { version, kind: Kind::Register, is_deleted: false };
        let datum = Datum { subject: Subject::head(b"key"), statement };
        let (secret, interner) = ([0; 16], Interner::shared());
        let whole = data_bytes(&datum, Seconds(1), Seconds(9), &[7; 100]);
        let whole = UpdateRef::read(&whole).unwrap();
        let held = interner.intern(&whole, &secret);
        assert!(Arc::ptr_eq(&held, &interner.intern(&whole, &secret)));
        let place = whole.stripped(&secret).unwrap();
        let stripped = interner.intern(&UpdateRef::read(&place).unwrap(), &secret);
        assert_eq!((stripped.id, stripped.bytes()), (held.id, &place[..]));
    }
}
