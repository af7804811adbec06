//! Whose word counts: checks certificates and signatures, remembers what was checked and who was revoked, and bounds what
//! invalid ones cost.
//!
//! Whether an update counts is a function of its bytes, of the authority's key and of the revocations held, never of a
//! clock or of who sent it. What does not count is held by nobody, so it does not count as known in sketches either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use crate::credentials::{self, CertificateRef, Credential, Credentials, Distrust, PublicKey, Revocation, Signer};
use crate::datum::{Datum, Statement};
use crate::identity::NodeId;
use crate::limits::Limits;
use crate::time::{Instant, Seconds, Wall};
use crate::update::{Head, UpdateId, UpdateRef};

/// Ids of updates that do not count, so that they are neither asked for nor checked again; the oldest go first.
const REJECTED_MAX: usize = 1_024;
/// Invalid updates that are checked in one second of one address; after that nothing of it is, until the second is over.
const INVALID_MAX: u32 = 32;
/// Addresses of which this is counted, and as many that streams came from; after that only what comes from the proven addresses
/// of members is checked, of as many as there may be members.
const OFFENDERS_MAX: usize = 64;

/// Checks what others say they said.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Verifier {
    pub(crate) signer: Signer,
    authority: PublicKey,
    tombstone_ttl: Duration,
    members_max: usize,
    /// Certificates that need not be checked again, as many as there may be members.
    certified: BTreeSet<Box<[u8]>>,
    revoked: BTreeMap<NodeId, Revocation>,
    rejected: BTreeMap<UpdateId, Distrust>,
    rejected_in_order: VecDeque<UpdateId>,
    offenders: BTreeMap<SocketAddr, u32>,
    /// Since when they are counted.
    counted_since: Instant,
    /// Where what is being read came from, and whether that address is proven.
    pub(crate) source: Option<(SocketAddr, bool)>,
}

impl Verifier {
    pub(crate) const fn new(
        signer: Signer,
        authority: PublicKey,
        (tombstone_ttl, members_max): (Duration, usize),
    ) -> Self {
        Self {
            signer,
            authority,
            tombstone_ttl,
            members_max,
            certified: BTreeSet::new(),
            revoked: BTreeMap::new(),
            rejected: BTreeMap::new(),
            rejected_in_order: VecDeque::new(),
            offenders: BTreeMap::new(),
            counted_since: Instant::ZERO,
            source: None,
        }
    }

    pub(crate) fn is_revoked(&self, id: NodeId) -> bool {
        self.revoked.contains_key(&id)
    }

    pub(crate) fn revoked(&self) -> impl Iterator<Item = &Revocation> {
        self.revoked.values()
    }

    pub(crate) fn note_revoked(&mut self, revocation: Revocation) {
        let since = revocation.since;
        let is_changed = self.revoked.insert(revocation.id, revocation).is_some_and(|old| old.since != since);
        if is_changed {
            // What the earlier one voided may count now.
            self.rejected.retain(|_, distrust| *distrust != Distrust::Revoked);
            self.rejected_in_order.retain(|id| self.rejected.contains_key(id));
        }
    }

    /// Whether one more member may be revoked.
    pub(crate) fn has_room_for(&self, revocation: &Revocation) -> bool {
        self.is_revoked(revocation.id) || self.revoked.len() < self.members_max
    }

    /// Remembers that an update does not count, and why.
    pub(crate) fn reject(&mut self, id: UpdateId, distrust: Distrust) {
        if self.rejected.insert(id, distrust).is_none() {
            self.rejected_in_order.push_back(id);
        }
        if self.rejected_in_order.len() > REJECTED_MAX
            && let Some(oldest) = self.rejected_in_order.pop_front()
        {
            self.rejected.remove(&oldest);
        }
        assert_eq!(self.rejected.len(), self.rejected_in_order.len(), "each is remembered once");
    }

    /// Why an update does not count, if that is known.
    pub(crate) fn rejection(&self, id: UpdateId) -> Option<Distrust> {
        self.rejected.get(&id).copied()
    }

    /// Whether something that came from an address may be checked now. Streams that came in have an address without a port, and
    /// a bound of their own, as a sender of datagrams can say that they come from anywhere.
    pub(crate) fn affords(&mut self, from: SocketAddr, is_proven: bool, now: Instant) -> bool {
        if now.since(self.counted_since) >= Duration::from_secs(1) {
            self.offenders.clear();
            self.counted_since = now;
        }
        if let Some(invalid) = self.offenders.get(&from) {
            return *invalid < INVALID_MAX;
        }
        let is_alike = |known: &&SocketAddr| (known.port() == 0) == (from.port() == 0);
        if is_proven {
            return self.offenders.len() < 2 * OFFENDERS_MAX + self.members_max;
        }
        self.offenders.keys().filter(is_alike).count() < OFFENDERS_MAX
    }

    /// Something invalid came from an address.
    pub(crate) fn charge(&mut self, from: SocketAddr) {
        *self.offenders.entry(from).or_default() += 1;
    }

    /// Whether an update counts.
    pub(crate) fn check(&mut self, update: &UpdateRef<'_>) -> Result<(), Distrust> {
        let credentials = update.credentials().ok_or(Distrust::Unsigned)?;
        match (&update.head, credentials) {
            (Head::Claim { member, .. }, Credentials::Claim { own, goodbye }) => {
                self.check_claim(update, *member, &own)?;
                let Some(goodbye) = goodbye else { return Ok(()) };
                let statement = credentials::goodbye_statement(self.domain(), &plain(update));
                self.check_signature(own.certificate.key, &statement, goodbye)
            }
            (Head::Data(datum), Credentials::Datum { digest, by }) => {
                if digest.is_some_and(|digest| !update.is_stripped() && self.digest(update.value()) != *digest) {
                    return Err(Distrust::Forged);
                }
                let said: &[u8] = if let Some(digest) = digest { digest } else { update.value() };
                let statement = credentials::datum_statement(self.domain(), &update.plain_header(), said);
                let author = (!datum.is_tombstone()).then(|| datum.author());
                self.check_write(&by, author, self.written_at(datum, update.forget), &statement)
            }
            (Head::Data(datum), Credentials::Sums { added, cleared }) => {
                self.check_sums(datum, &added, cleared.as_ref())
            }
            (Head::Data(datum), Credentials::Authority(signature)) => {
                let author = self.signer.signatures.id_of(&self.authority);
                if Revocation::of(update).is_none() || datum.author() != author {
                    return Err(Distrust::Forged);
                }
                let authority = self.authority;
                self.check_signature(&authority, &credentials::revocation_statement(&plain(update)), signature)
            }
            _ => Err(Distrust::Forged),
        }
    }

    /// Whether what this node once stored was said under the authority that it has now. Who said it was checked when it came.
    pub(crate) fn is_of_authority(&mut self, update: &UpdateRef<'_>) -> bool {
        let mut certifies = |by: &Credential<'_>| self.certified(&by.certificate).is_ok();
        match update.credentials() {
            Some(Credentials::Datum { by, .. }) => certifies(&by),
            Some(Credentials::Sums { added, cleared }) => certifies(&added) && cleared.as_ref().is_none_or(certifies),
            Some(Credentials::Authority(_)) => self.check(update).is_ok(),
            Some(Credentials::Claim { .. }) | None => false,
        }
    }

    fn check_claim(&mut self, update: &UpdateRef<'_>, member: NodeId, own: &Credential<'_>) -> Result<(), Distrust> {
        if self.is_revoked(member) {
            return Err(Distrust::Revoked);
        }
        let body = update.claim_body().ok_or(Distrust::Forged)?;
        let is_other_name = own.certificate.name.is_some_and(|name| name != body.name);
        if self.certified(&own.certificate)? != member || is_other_name {
            return Err(Distrust::Forged);
        }
        let statement = credentials::claim_statement(self.domain(), &update.alive_plain());
        self.check_signature(own.certificate.key, &statement, own.signature)
    }

    fn check_sums(
        &mut self,
        datum: &Datum<'_>,
        added: &Credential<'_>,
        cleared: Option<&Credential<'_>>,
    ) -> Result<(), Distrust> {
        let Statement::Sums(sums) = datum.statement else { return Err(Distrust::Forged) };
        let statement = credentials::added_statement(self.domain(), &datum.subject, &sums);
        self.check_write(added, Some(datum.author()), sums.stamp.wall(), &statement)?;
        let Some(cleared) = cleared else { return Ok(()) };
        let statement = credentials::cleared_statement(self.domain(), &datum.subject, &sums);
        self.check_write(cleared, None, self.deleted_at(sums.cleared_until), &statement)
    }

    /// Whether a statement of the data space is somebody's word: of `author`, or of any member where there is none.
    fn check_write(
        &mut self,
        by: &Credential<'_>,
        author: Option<NodeId>,
        at: Wall,
        statement: &[u8],
    ) -> Result<(), Distrust> {
        let id = self.signer.signatures.id_of(by.certificate.key);
        if self.is_void(id, at) {
            return Err(Distrust::Revoked);
        }
        if at.seconds() > by.certificate.until {
            return Err(Distrust::Expired);
        }
        if author.is_some_and(|author| author != id) {
            return Err(Distrust::Forged);
        }
        self.certified(&by.certificate)?;
        self.check_signature(by.certificate.key, statement, by.signature)
    }

    /// Whether what was written then was written by a member that was revoked before.
    fn is_void(&self, by: NodeId, at: Wall) -> bool {
        self.revoked.get(&by).is_some_and(|revocation| at > revocation.since)
    }

    /// Whether an update that counted counts no more, as somebody was revoked; and whether it does without what was cleared.
    pub(crate) fn outlives(&self, update: &UpdateRef<'_>) -> Outlives {
        let id = |credential: &Credential<'_>| self.signer.signatures.id_of(credential.certificate.key);
        // The author is known without a hash: there may be a million updates.
        match (&update.head, update.credentials()) {
            (Head::Data(datum), Some(Credentials::Datum { by, .. })) => {
                let by = if datum.is_tombstone() { id(&by) } else { datum.author() };
                let is_void = self.is_void(by, self.written_at(datum, update.forget));
                if is_void { Outlives::Nothing } else { Outlives::All }
            }
            (Head::Data(datum), Some(Credentials::Sums { cleared, .. })) => {
                let Statement::Sums(sums) = datum.statement else { return Outlives::All };
                if self.is_void(datum.author(), sums.stamp.wall()) {
                    return Outlives::Nothing;
                }
                let is_void = |cleared: &Credential<'_>| self.is_void(id(cleared), self.deleted_at(sums.cleared_until));
                if cleared.as_ref().is_some_and(is_void) { Outlives::Added } else { Outlives::All }
            }
            _ => Outlives::All,
        }
    }

    /// When a head or an element was written, or deleted: a deletion may name an older version.
    fn written_at(&self, datum: &Datum<'_>, forget: Seconds) -> Wall {
        let written = datum.stamp().wall();
        if datum.is_tombstone() { written.max(self.deleted_at(forget)) } else { written }
    }

    /// When something was deleted that is forgotten then.
    fn deleted_at(&self, forget: Seconds) -> Wall {
        let ttl = u32::try_from(self.tombstone_ttl.as_secs()).unwrap_or(u32::MAX);
        Wall::from_micros(u64::from(forget.0.saturating_sub(ttl)) * 1_000_000)
    }

    /// Whose a certificate is, if it is one of the authority.
    fn certified(&mut self, certificate: &CertificateRef<'_>) -> Result<NodeId, Distrust> {
        let id = self.signer.signatures.id_of(certificate.key);
        if self.certified.contains(certificate.bytes) {
            return Ok(id);
        }
        let authority = self.authority;
        self.check_signature(&authority, &certificate.statement(), certificate.signature)?;
        if self.certified.len() >= self.members_max {
            // Keys are drawn at random, so the neighbour of one is any of them.
            let neighbour = self.certified.range::<[u8], _>((Excluded(certificate.bytes), Unbounded)).next();
            let spared = neighbour.or_else(|| self.certified.first()).cloned();
            spared.map(|spared| self.certified.remove(&spared));
        }
        self.certified.insert(certificate.bytes.into());
        Ok(id)
    }

    fn check_signature(
        &self,
        key: &PublicKey,
        statement: &[u8],
        signature: &credentials::Signature,
    ) -> Result<(), Distrust> {
        if self.signer.signatures.verify(key, statement, signature) { Ok(()) } else { Err(Distrust::Forged) }
    }

    fn digest(&self, bytes: &[u8]) -> [u8; credentials::DIGEST_BYTES] {
        self.signer.signatures.digest(bytes)
    }

    const fn domain(&self) -> u64 {
        self.signer.domain()
    }
}

/// What is left of an update once somebody was revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outlives {
    /// All of it.
    All,
    /// Sums, without what was cleared of them.
    Added,
    /// Nothing.
    Nothing,
}

/// An update without its credentials.
fn plain(update: &UpdateRef<'_>) -> Vec<u8> {
    [&update.plain_header(), update.value()].concat()
}

/// What is bounded here; nothing is held where identity is not signed.
pub(crate) fn limits(verifier: Option<&Verifier>, members_max: usize, to: &mut Limits) {
    let (mut certificates, mut revocations, mut unanswered, mut senders) = (0, 0, 0, 0);
    if let Some(verifier) = verifier {
        // What is rejected is in both.
        let Verifier {
            signer: _,
            authority: _,
            tombstone_ttl: _,
            members_max: _,
            certified,
            revoked,
            rejected,
            rejected_in_order: _,
            offenders,
            counted_since: _,
            source: _,
        } = verifier;
        (certificates, revocations) = (certified.len(), revoked.len());
        (unanswered, senders) = (rejected.len(), offenders.len());
    }
    to.entries("certificates", certificates, members_max);
    to.entries("revocations", revocations, members_max);
    to.entries("updates_unanswered", unanswered, REJECTED_MAX);
    to.entries("senders_of_invalid_updates", senders, 2 * OFFENDERS_MAX + members_max);
}
