//! Whose word this node takes, where identity is signed: what comes in is checked at one place, and who was revoked is
//! gone at once (decision 0018).

use std::net::SocketAddr;
use std::sync::Arc;

use super::commands::invalid;
use super::letters::Letter;
use super::{Node, Phase, Worry};
use crate::config::IdentityKind;
use crate::credentials::{Distrust, Revocation, Signer, Signing};
use crate::data::{Taken, is_reserved};
use crate::effects::Timer;
use crate::frame::Space;
use crate::hash;
use crate::identity::{Incarnation, NodeId};
use crate::io::{
    ContactError, InView, Member, MemberChange, Refusal, Reply, State, StopReason, StreamId, Ticket, Warning,
};
use crate::membership::Standing;
use crate::story::Happening;
use crate::update::{Head, Update, UpdateRef};
use crate::verifier::{Outlives, Verifier};
use crate::wire::VERSION;

impl Node {
    /// From now on what this node says of itself and writes is signed, and what others do is checked.
    pub(super) fn begin_signing(&mut self, signing: Option<Signing>) {
        let authority = self.config.authority_key().filter(|_| self.config.identity == IdentityKind::Signed);
        let Some(authority) = authority else { return };
        let signing = signing.expect("who signs has something to sign with");
        let domain = hash::keyed(&self.secret, self.config.cluster.as_bytes());
        let signer = Signer::new(signing, domain);
        self.data.sign_with(signer.clone());
        let most = (self.config.tombstone_ttl, self.config.members_max);
        self.verifier = Some(Box::new(Verifier::new(signer, authority, most)));
    }

    /// What an earlier life knew of revocations, before anything is said or heard.
    pub(super) fn restore_revocations(&mut self) {
        let Some(verifier) = &mut self.verifier else { return };
        let revocations = self.data.revocations();
        if revocations.is_empty() {
            return;
        }
        for revocation in revocations {
            verifier.note_revoked(revocation);
        }
        if verifier.is_revoked(self.identity.id) {
            return self.stop(StopReason::Revoked);
        }
        // That life may have ended before its disk knew what was void.
        self.void_writes();
    }

    /// Whether what this node stored counts still: not what was written before the cluster began, or ceased, to sign, nor what
    /// was written under another authority.
    pub(super) fn is_of_this_identity(&mut self, stored: &UpdateRef<'_>) -> bool {
        match &mut self.verifier {
            Some(verifier) => verifier.is_of_authority(stored),
            None => !needs_authority(stored),
        }
    }

    /// What comes in next came from there.
    pub(super) fn note_source(&mut self, from: SocketAddr, is_proven: bool) {
        if let Some(verifier) = &mut self.verifier {
            verifier.source = Some((from, is_proven));
        }
    }

    /// Why an update must not be held, if nobody answers for what it says. What is known already is not checked again.
    pub(super) fn distrusts(&mut self, update: &UpdateRef<'_>, from: NodeId) -> Option<Distrust> {
        if self.verifier.is_none() {
            let is_senseless = needs_authority(update);
            self.fx.counters.dropped.malformed += u64::from(is_senseless);
            return is_senseless.then_some(Distrust::Forged);
        }
        let is_news = match update.head {
            Head::Claim { .. } => self.members.standing(update) == Standing::News,
            Head::Data(_) => self.data.is_news(update),
            Head::Message { .. } | Head::Agreement(_) => false,
        };
        if !is_news {
            return None;
        }
        let distrust = self.check(update).err()?;
        self.note_distrust(distrust, from);
        Some(distrust)
    }

    /// Whether a claim counts, be it news, known or older than what is held.
    pub(super) fn counts(&mut self, claim: &[u8]) -> bool {
        self.verifier.is_none()
            || self.members.held_as(claim).is_some()
            || UpdateRef::read(claim).is_some_and(|claim| self.check(&claim).is_ok())
    }

    fn check(&mut self, update: &UpdateRef<'_>) -> Result<(), Distrust> {
        let (now, id) = (self.fx.now.instant, update.id(&self.secret));
        let verifier = self.verifier.as_mut().expect("only who signs checks");
        if let Some(distrust) = verifier.rejection(id) {
            return Err(distrust);
        }
        let source = verifier.source;
        if source.is_some_and(|(from, is_proven)| !verifier.affords(from, is_proven, now)) {
            return Err(Distrust::Unchecked);
        }
        let checked = verifier.check(update);
        if let (Err(Distrust::Forged), Some((from, _))) = (checked, source) {
            verifier.charge(from);
        }
        // The id of a value that runs out says nothing of its bytes: a true one must not suffer for a false one.
        if let Some(distrust) = checked.err().filter(|_| update.expires == update.forget) {
            verifier.reject(id, distrust);
        }
        checked
    }

    fn note_distrust(&mut self, distrust: Distrust, from: NodeId) {
        let dropped = &mut self.fx.counters.dropped;
        let count = match distrust {
            Distrust::Unsigned => &mut dropped.unsigned,
            Distrust::Forged | Distrust::Expired => &mut dropped.forged,
            Distrust::Revoked => &mut dropped.revoked,
            Distrust::Unchecked => &mut dropped.unchecked,
        };
        *count += 1;
        let source = self.verifier.as_ref().and_then(|verifier| verifier.source);
        // Who has not heard of a revocation yet does nothing wrong.
        if let Some((address, _)) = source.filter(|_| distrust != Distrust::Revoked) {
            self.warn(Worry::Distrust(distrust), Warning::NotTrusted { from, address, reason: distrust });
        }
    }

    /// Whether a node's certificate was revoked.
    pub(super) fn is_revoked(&self, id: NodeId) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.is_revoked(id))
    }

    /// Whether a comparison is not to ask for an update, as it was looked at before and does not count.
    pub(super) fn has_rejected(&self, id: crate::update::UpdateId) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.rejection(id).is_some())
    }

    /// Those whose certificates were revoked, as members of whom nothing else is known.
    pub fn revoked_members(&self) -> impl Iterator<Item = Member> {
        self.verifier.iter().flat_map(|verifier| verifier.revoked()).map(|revocation| Member {
            id: revocation.id,
            name: if revocation.name.is_empty() { revocation.id.to_string() } else { revocation.name.clone() },
            addresses: Vec::new(),
            state: State::Revoked,
            incarnation: Incarnation::default(),
            tags: std::collections::BTreeMap::new(),
            since: revocation.at,
            rtt: None,
            is_self: revocation.id == self.identity.id,
            protocol: (VERSION.major, VERSION.major),
            view: InView::Full,
        })
    }

    /// Takes a revocation that its operator hands to this node, and passes it on.
    pub(super) fn revoke(&mut self, ticket: Ticket, bytes: &[u8]) {
        match self.take_revocation(bytes) {
            // Nobody hears of the disk any more.
            Ok(id) if self.has_stopped() => self.done(ticket, Ok(Reply::Revoked { id })),
            Ok(id) => self.await_stored(ticket, id),
            Err(refusal) => self.done(ticket, Err(refusal)),
        }
    }

    /// It counts from now on, at this node; whom it is about.
    fn take_revocation(&mut self, bytes: &[u8]) -> Result<NodeId, Refusal> {
        let refuse = |value: &str, rule: &str| Err(invalid("revocation", value.to_owned(), rule));
        let Some(verifier) = &mut self.verifier else {
            return refuse("given", "given where identity is signed: this cluster has no authority");
        };
        let update = UpdateRef::read(bytes);
        let read = update.and_then(|update| Revocation::of(&update).map(|revocation| (update, revocation)));
        let Some((update, revocation)) = read else {
            return refuse("no revocation", "as rumor authority revoke makes it");
        };
        if verifier.check(&update).is_err() {
            return refuse("of another authority", "signed by the authority of this cluster");
        }
        if !verifier.has_room_for(&revocation) {
            let rule = format!(
                "at most members_max ({}) revoked members: raise it, or begin anew with another authority",
                self.config.members_max
            );
            return refuse("one more", &rule);
        }
        self.check_revoking()?;
        match self.data.take(&update, &self.config, self.fx.now.wall) {
            Taken::Refused => refuse("ahead of this node's clock", "signed by a clock that is right"),
            Taken::Known(_) => Ok(revocation.id),
            Taken::Kept(update, old) => {
                self.saving.note(Arc::clone(&update));
                self.spread_datum(Arc::clone(&update), old, None);
                self.note_kept(&update);
                Ok(revocation.id)
            }
        }
    }

    /// An update of data is held from now on; if it is a revocation, it takes effect.
    pub(super) fn note_kept(&mut self, update: &Update) {
        if self.verifier.is_none() || !is_reserved(update.subject().key) {
            return;
        }
        let Some(revocation) = Revocation::of(&update.parts()) else { return };
        let id = revocation.id;
        if let Some(verifier) = &mut self.verifier {
            verifier.note_revoked(revocation);
        }
        self.void_writes();
        if id == self.identity.id {
            self.stop(StopReason::Revoked);
        } else {
            self.expel(id, MemberChange::Revoked);
        }
    }

    /// Lets go of what revoked members wrote after they were.
    fn void_writes(&mut self) {
        for update in self.data.updates() {
            self.void_if_revoked(&update);
        }
    }

    /// Lets go of an update that is held, as far as it was written by a member that was revoked before.
    pub(super) fn void_if_revoked(&mut self, update: &Update) {
        let Some(verifier) = &mut self.verifier else { return };
        let left = verifier.outlives(&update.parts());
        if left == Outlives::All {
            return;
        }
        verifier.reject(update.id, Distrust::Revoked);
        let restored = self.data.restored(update).filter(|_| left == Outlives::Added);
        self.data.expunge(update);
        self.saving.note_gone(update);
        self.rumors.cool(update.id);
        if let Some(restored) = restored {
            self.take_datum(&restored.parts(), self.identity.id, true);
        }
    }

    /// A member is none any more, whatever it says: its certificate was revoked or ran out.
    pub(super) fn expel(&mut self, id: NodeId, change: MemberChange) {
        self.neighbourhood.overlay.forget(id);
        for stream in self.streams.with(id) {
            self.streams.close(stream, &mut self.fx);
        }
        let Some(mut member) = self.members.any_member(id) else { return };
        if let Some(address) = self.members.address(id) {
            self.contacts.strike(address);
        }
        if self.is_partial() {
            return self.part_from(id, change);
        }
        self.note_own(id, Happening::Changed { change, incarnation: member.incarnation });
        if let Some(claim) = self.members.claim(id) {
            self.rumors.cool(claim.id);
        }
        self.release_member(id);
        self.note_change(Space::Members);
        member.state = if change == MemberChange::Revoked { State::Revoked } else { State::Removed };
        self.tell(change, self.identity.id, member);
        self.fx.arm_once(super::claims::REMEMBER_AFTER, Timer::Remember);
    }

    /// Certificates of members ran out. Of those that go for another reason `ids` is left.
    pub(super) fn expel_expired(&mut self, ids: &mut Vec<NodeId>) {
        let expired: Vec<NodeId> = ids.extract_if(.., |id| self.members.is_live(*id)).collect();
        for id in expired {
            if id == self.identity.id {
                return self.stop(StopReason::CertificateExpired);
            }
            self.expel(id, MemberChange::Removed);
        }
    }

    /// Whether a node that wants to join has shown a claim that counts, with what it asks.
    pub(super) fn admits_joiner(&self, letter: &Letter) -> bool {
        self.verifier.is_none() || letter.is_introduced
    }

    /// Tells a revoked node why nobody listens to it: the authority's word itself.
    pub(super) fn show_revocation(&mut self, stream: StreamId, peer: NodeId, to: SocketAddr) {
        self.fx.counters.dropped.revoked += 1;
        self.warn(
            Worry::Distrust(Distrust::Revoked),
            Warning::NotAdmitted { from: to, peer, reason: ContactError::Revoked },
        );
        if let Some(revocation) = self.data.revocation_of(peer) {
            let mut letter = Letter::on_stream(stream, peer, to);
            letter.put_claim(revocation.bytes());
            self.post(letter);
        }
    }

    /// Tells a node that wants to join why it cannot.
    pub(super) fn turn_away(&mut self, letter: &mut Letter) {
        let reason = ContactError::NotAdmitted;
        self.warn(Worry::NotAdmitted, Warning::NotAdmitted { from: letter.to, peer: letter.peer, reason });
        letter.packet.refused();
        if let Some(stream) = letter.stream() {
            self.close_after_reply(stream, letter);
        }
    }

    /// A contact does not let this node in.
    pub(super) fn on_refused(&mut self, letter: &Letter) {
        let Some(stream) = letter.stream() else { return };
        if self.streams.get(stream).is_some_and(|open| open.purpose == crate::streams::Purpose::Join) {
            self.streams.close(stream, &mut self.fx);
            self.on_contact_failed(letter.to, ContactError::NotAdmitted);
        }
    }

    /// Whether this node has come to its end.
    pub(super) fn has_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }
}

/// Whether an update makes sense only where an authority stands behind it. Without one nobody could tell a revocation from
/// anything else that somebody puts under a reserved key, where no cap holds and no application looks.
pub(super) fn needs_authority(update: &UpdateRef<'_>) -> bool {
    update.is_signed() || matches!(update.head, Head::Data(datum) if is_reserved(datum.subject.key))
}
