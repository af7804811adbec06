//! Claims about this node and about others: what is believed, contradicted, doubted, and told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Node, Phase, Worry};
use crate::contacts;
use crate::detector::{Heard, Purpose, confirmations};
use crate::effects::Timer;
use crate::frame::{Accusation, Space};
use crate::identity::{BOOT_MAX, Incarnation, NodeId, Record, Tags};
use crate::io::{Event, Member, MemberChange, State, StopReason, Token, Warning};
use crate::membership::{Merged, Standing};
use crate::precedence::{self, Rebuttal};
use crate::seldom::Vacant;
use crate::story::Happening;
use crate::time::Seconds;
use crate::update::{self, Head, Update, UpdateRef};

/// Two raised boots within this time mean that another process shares this identity.
const COPY_PAUSE: Duration = Duration::from_mins(1);
/// Known members are written down this long after a change.
pub(super) const REMEMBER_AFTER: Duration = Duration::from_secs(2);
/// Addresses of members that are written down.
const REMEMBERED_MAX: usize = 64;
/// Members that are probed at once because their death is doubted.
const DOUBTS_PROBED_MAX: usize = 32;

/// A claim that a live member is dead or removed, without a suspicion that had its time: the other side of a partition
/// believes such things, and whoever lies says them. It is looked into before it is believed, so that a merge of two halves
/// declares nobody dead, and nobody else can.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Doubt {
    claim: Arc<Update>,
    by: NodeId,
    /// Whether the member was probed for it, or is being probed.
    is_probed: bool,
}

impl Vacant for BTreeMap<NodeId, Doubt> {
    const VACANT: Self = Self::new();
    const SHARED: &'static Self = &Self::VACANT;
}

impl Node {
    pub(super) fn start(&mut self) {
        self.phase = Phase::Running;
        let boot = self.incarnation.boot();
        self.adopt_own_claim(self.incarnation);
        self.fx.event(Event::Started { boot });
        self.fx.arm(self.config.repair_interval, Timer::Repair);
        for address in self.contacts.waiting() {
            self.try_contact(address);
        }
        self.start_writing();
        self.start_agreement();
        self.start_overlay();
    }

    pub(super) fn boot_records(&self, boot: u64) -> Vec<Record> {
        let first_boot = self.first_boot.0.to_le_bytes().to_vec();
        vec![
            Record { key: b"boot".to_vec(), value: Some(boot.to_le_bytes().to_vec()) },
            Record { key: b"first_boot".to_vec(), value: Some(first_boot) },
        ]
    }

    /// Makes this node's claim of that incarnation, from its identity as it is now.
    fn adopt_own_claim(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        if !self.agreeing.is_unused() {
            self.agreeing.ballots.raise(incarnation.boot());
        }
        let body = update::claim_body(&self.identity, self.first_boot);
        let plain = update::claim_bytes(self.identity.id, incarnation, State::Alive, Seconds::NEVER, &body);
        let signed = self.verifier.as_ref().map(|verifier| verifier.signer.claim(plain.clone()));
        self.merge_own(&signed.unwrap_or(plain));
    }

    /// Replaces the tags and tells everybody.
    pub(super) fn change_tags(&mut self, tags: Tags) {
        self.identity.tags = tags;
        self.adopt_own_claim(self.incarnation.next());
    }

    /// Says goodbye.
    pub(super) fn claim_left(&mut self) {
        let forget = self.certificate_forget();
        let Some(claim) = self.members.claim(self.identity.id).cloned() else { return };
        let parts = claim.parts();
        let plain = parts.in_state(State::Left, forget);
        let signed = self.verifier.as_ref().map(|verifier| verifier.signer.goodbye(plain.clone(), parts.trailer()));
        self.merge_own(&signed.unwrap_or(plain));
    }

    fn merge_own(&mut self, bytes: &[u8]) {
        let claim = UpdateRef::read(bytes).expect("own claims make sense");
        let claim = self.interner.intern(&claim, &self.secret);
        self.merge_claim(claim, self.identity.id, true);
    }

    /// Certificates of one death made by different nodes are equal, byte for byte (design §2 rule 3).
    pub(super) fn certificate_forget(&self) -> Seconds {
        let step = u32::try_from(self.config.tombstone_ttl.as_secs() / 8).unwrap_or(u32::MAX).max(1);
        self.fx.now.wall.seconds().plus(self.config.dead_ttl).rounded_up(step)
    }

    /// A claim came in from `by`. `hot` if it is to be passed on. Returns whether it was known.
    pub(super) fn take_claim(&mut self, claim: &UpdateRef<'_>, by: NodeId, hot: bool) -> bool {
        let Head::Claim { member, state, .. } = claim.head else { unreachable!("sorted by space before") };
        if member == self.identity.id {
            return self.hear_of_self(claim, by);
        }
        if self.is_partial() {
            return self.take_claim_of_peer(claim, by);
        }
        match self.members.standing(claim) {
            Standing::Known | Standing::Stale => return true,
            Standing::News => {}
        }
        let too_many = self.members.len() >= self.config.members_max && self.members.claim(member).is_none();
        if too_many || !state.is_live() && !self.is_plausible_certificate(claim) {
            self.fx.counters.dropped.refused += 1;
            let until = self.fx.now.wall.seconds().plus(self.config.tombstone_ttl).min(claim.forget);
            let id = claim.id(&self.secret);
            self.members.replica_mut().refuse(id, until);
            return false;
        }
        if matches!(state, State::Dead | State::Removed) && self.is_surprising(claim) {
            self.doubt(claim, by);
            return false;
        }
        let claim = self.interner.intern(claim, &self.secret);
        self.merge_claim(claim, by, hot);
        false
    }

    /// Whether an honest node may have given a certificate: none lasts longer than those of today, nor ends before the one of
    /// the same life that it supersedes, which was given earlier.
    fn is_plausible_certificate(&self, claim: &UpdateRef<'_>) -> bool {
        let Head::Claim { member, incarnation, .. } = claim.head else { unreachable!("sorted by space before") };
        let margin = self.config.clock_skew_max + self.config.tombstone_ttl / 8;
        let is_late = claim.forget > self.certificate_forget().plus(margin);
        let ends_early = self.members.version(member).is_some_and(|(held, state, forget)| {
            held == incarnation && !state.is_live() && forget > claim.forget.plus(margin)
        });
        !is_late && !ends_early
    }

    /// Takes in a claim that is news, and everything that follows from it.
    pub(super) fn merge_claim(&mut self, claim: Arc<Update>, by: NodeId, hot: bool) {
        let Head::Claim { member, .. } = claim.parts().head else { unreachable!("a claim is merged") };
        if let Some(old) = self.members.claim(member) {
            self.rumors.cool(old.id);
        }
        let now = self.fx.now.wall.seconds();
        let merged = self.members.merge(Arc::clone(&claim), &mut self.fx.rng, now);
        if self.doubts.get(&member).is_some_and(|doubt| self.members.standing(&doubt.claim.parts()) != Standing::News) {
            self.settle_doubt(member);
        }
        if hot {
            self.heat(claim, 0, Some(by));
        }
        self.note_change(Space::Members);
        let was_live = merged.before.is_some_and(|before| before.1.is_live());
        self.note_presence(member, was_live, merged.after.1.is_live());
        self.follow_state(&merged, by);
        self.tell_change(&merged, by);
        self.fx.arm_once(REMEMBER_AFTER, Timer::Remember);
    }

    /// Detector and contacts follow a member's state.
    fn follow_state(&mut self, merged: &Merged, by: NodeId) {
        let (id, (incarnation, state, _)) = (merged.id, merged.after);
        if id == self.identity.id {
            return;
        }
        let address = self.members.address(id).expect("it was just merged");
        match state {
            State::Alive => {
                self.detector.acquit(id, &mut self.fx);
                self.detector.abandon(id, &mut self.fx);
                self.contacts.note_member(address);
                self.arm_probing();
            }
            State::Suspect => {
                let peers = self.members.live();
                let accuser = (by == self.identity.id).then_some(by);
                self.detector.accuse(id, incarnation, accuser, peers, &self.config, &mut self.fx);
                self.contacts.note_member(address);
                self.arm_probing();
                if by != self.identity.id {
                    self.maybe_confirm(id);
                }
            }
            State::Dead | State::Left | State::Removed | State::Revoked => {
                self.detector.acquit(id, &mut self.fx);
                self.forget_place_of(id);
                if state != State::Removed {
                    self.contacts.note_former(address);
                }
                self.arm_rejoin();
            }
        }
    }

    /// A member is none any more: its claim goes, and what was known and done because of it.
    pub(super) fn release_member(&mut self, id: NodeId) {
        self.detector.acquit(id, &mut self.fx);
        self.detector.abandon(id, &mut self.fx);
        self.settle_doubt(id);
        self.forget_place_of(id);
        self.data.clock_mut().forget_peer(id);
        self.planting.trees.forget(id);
        self.members.release(id);
    }

    /// After a random part of the interval, so that nodes that start together do not probe together.
    pub(super) fn arm_probing(&mut self) {
        let wait = self.config.probe_interval.mul_f64(self.fx.rng.fraction());
        self.fx.arm_once(wait, Timer::ProbeInterval);
    }

    /// Whoever hears of a suspicion probes the suspect at once with probability (K + 1) / n (design §4).
    #[expect(clippy::cast_precision_loss, reason = "members are far fewer than 2^53")]
    fn maybe_confirm(&mut self, suspect: NodeId) {
        let others = self.members.live().saturating_sub(1).max(1);
        let wanted = confirmations(self.members.live(), &self.config) + 1;
        if self.fx.rng.chance(wanted as f64 / others as f64) && !self.detector.is_probing(suspect) {
            self.probe(suspect, Purpose::Hearsay);
        }
    }

    fn tell_change(&mut self, merged: &Merged, by: NodeId) {
        let after = merged.after.1;
        let change = match (merged.before.map(|before| before.1), after) {
            (None, State::Alive | State::Suspect) if merged.id == self.identity.id => None,
            (
                None | Some(State::Dead | State::Left | State::Removed | State::Revoked),
                State::Alive | State::Suspect,
            ) => Some(MemberChange::Joined),
            (Some(State::Alive), State::Alive) => Some(MemberChange::Updated),
            (Some(State::Alive), State::Suspect) => Some(MemberChange::Suspected),
            (Some(State::Suspect), State::Alive) => Some(MemberChange::Refuted),
            (Some(State::Alive | State::Suspect), State::Dead) => Some(MemberChange::Failed),
            (Some(State::Alive | State::Suspect | State::Dead), State::Left) => Some(MemberChange::Left),
            (Some(before), State::Removed) if before != State::Removed => Some(MemberChange::Removed),
            (None | Some(_), State::Suspect | State::Dead | State::Left | State::Removed | State::Revoked) => None,
        };
        let accuser = self.detector.first_accuser(merged.id).filter(|_| after == State::Suspect);
        if let (Some(change), Some(member)) = (change, self.members.any_member(merged.id)) {
            self.note_merged(merged, change, accuser.unwrap_or(by));
            self.tell(change, accuser.unwrap_or(by), member);
        }
        if let Some(replaced) = merged.replaced {
            self.tell_replaced(replaced, merged.id);
        }
        self.check_own_name();
    }

    pub(super) fn tell(&mut self, change: MemberChange, by: NodeId, member: Member) {
        self.fx.event(Event::Member { change, by, member: Box::new(member) });
    }

    fn tell_replaced(&mut self, replaced: NodeId, by: NodeId) {
        if let Some(member) = self.members.member(replaced) {
            self.tell(MemberChange::Replaced, by, member);
        }
    }

    /// The loser of a name is told (design §2, names).
    fn check_own_name(&mut self) {
        let holder = self.members.holder_of(&self.identity.name);
        if let Some(holder) = holder.filter(|holder| *holder != self.identity.id)
            && let Some(myself) = self.members.member(self.identity.id)
        {
            let name = self.identity.name.clone();
            self.warn(Worry::Name, Warning::NameTaken { name, holder, shown: myself.name });
        }
    }

    /// Somebody's claim about this very node. Returns whether it was known.
    fn hear_of_self(&mut self, claim: &UpdateRef<'_>, by: NodeId) -> bool {
        let Head::Claim { incarnation, state, .. } = claim.head else { unreachable!("sorted by space before") };
        let newer = self.members.standing(claim) == Standing::News;
        if !newer || matches!(self.phase, Phase::Leaving(_)) {
            return !newer;
        }
        let is_own = claim.claim_body().map_or(0, |body| body.session) == self.identity.session;
        match precedence::rebut(self.incarnation, incarnation, is_own) {
            Rebuttal::Refuse => self.fx.counters.dropped.refused += 1,
            Rebuttal::RiseAbove(boot) => self.rise_above(boot, state == State::Alive && !is_own),
            Rebuttal::Contradict(above) => {
                self.note(self.identity.id, by, Happening::Contradicted(state));
                self.fx.counters.refutations += 1;
                self.detector.worsen(1, &self.config);
                self.adopt_own_claim(above);
            }
        }
        false
    }

    /// The cluster knows a boot of this identity that this process did not make: a restored backup, or a copy of
    /// the data directory that runs too. Once it is outbid; the second time within a minute one has to give way.
    fn rise_above(&mut self, boot: u64, alive: bool) {
        if matches!(self.phase, Phase::Raising(..)) {
            return;
        }
        let now = self.fx.now.instant;
        if alive && self.raised_at.is_some_and(|raised| now.since(raised) < COPY_PAUSE) {
            return self.stop(StopReason::SharedIdentity);
        }
        let stored = self.incarnation.boot();
        let warning = if alive && boot <= stored + 1 {
            Warning::IdentityInUse
        } else {
            Warning::BootBehind { seen: boot, stored }
        };
        self.warn(Worry::Boot, warning);
        self.raised_at = Some(now);
        self.doubt_own_sums();
        self.stop_voting();
        let above = boot.max(stored) + 1;
        if above > BOOT_MAX {
            return self.stop(StopReason::BootNotStored);
        }
        if self.identity.durable {
            let records = self.boot_records(above);
            self.phase = Phase::Raising(self.fx.persist(records), above);
        } else {
            self.adopt_own_claim(Incarnation::of_boot(above));
            self.restart_proposals();
        }
    }

    pub(super) fn on_persisted(&mut self, token: Token) {
        if let Phase::Raising(waits_for, boot) = self.phase
            && waits_for == token
        {
            self.phase = Phase::Running;
            self.adopt_own_claim(Incarnation::of_boot(boot));
            self.restart_proposals();
            self.start_writing();
        }
        self.on_batch_persisted(token);
        self.on_vote_persisted(token);
        self.on_saved(token);
    }

    pub(super) fn on_persist_failed(&mut self, token: Token, reason: String) {
        self.on_batch_failed(token, &reason);
        self.on_vote_failed(token);
        self.on_save_failed(token);
        self.warn(Worry::Disk, Warning::PersistFailed { reason });
        if let Phase::Raising(waits_for, _) = self.phase
            && waits_for == token
        {
            self.stop(StopReason::BootNotStored);
        }
    }

    /// This node's own probe of a member failed.
    pub(super) fn suspect(&mut self, member: NodeId) {
        let Some((incarnation, state, _)) = self.members.version(member) else { return };
        if !state.is_live() {
            return;
        }
        let me = self.identity.id;
        if state == State::Alive {
            self.fx.counters.suspicions += 1;
            self.spread_suspicion(member, me);
            self.pass_on(Accusation { member, incarnation: incarnation.0, accuser: me });
            return;
        }
        let peers = self.members.live();
        match self.detector.accuse(member, incarnation, Some(me), peers, &self.config, &mut self.fx) {
            Heard::Began | Heard::Confirmed => {
                self.note_accused(member, me);
                self.pass_on(Accusation { member, incarnation: incarnation.0, accuser: me });
            }
            Heard::Nothing => {}
        }
    }

    /// Turns a member that is alive into a suspect, on `by`'s word.
    fn spread_suspicion(&mut self, member: NodeId, by: NodeId) {
        let Some(claim) = self.members.claim(member).cloned() else { return };
        let bytes = claim.parts().with_state(State::Suspect, Seconds::NEVER);
        let suspect = UpdateRef::read(&bytes).expect("made from a claim that made sense");
        let suspect = self.interner.intern(&suspect, &self.secret);
        self.merge_claim(suspect, by, true);
    }

    fn pass_on(&mut self, accusation: Accusation) {
        self.gossip.accuse(accusation, &self.config, self.members.live() + 1);
        self.note_change(Space::Members);
        self.gossip.fresh = true;
    }

    /// Somebody could not reach a member either.
    pub(super) fn on_accusation(&mut self, accusation: Accusation) {
        let Accusation { member, accuser, .. } = accusation;
        let incarnation = Incarnation(accusation.incarnation);
        let Some((held, state, _)) = self.members.version(member) else { return };
        let strange = !self.members.is_live(accuser);
        if incarnation != held || strange || member == self.identity.id || accuser == self.identity.id {
            return;
        }
        match state {
            State::Alive => self.spread_suspicion(member, accuser),
            State::Suspect => {}
            State::Dead | State::Left | State::Removed | State::Revoked => return,
        }
        let peers = self.members.live();
        match self.detector.accuse(member, incarnation, Some(accuser), peers, &self.config, &mut self.fx) {
            Heard::Began | Heard::Confirmed => {
                self.note_accused(member, accuser);
                self.pass_on(accusation);
            }
            Heard::Nothing => {}
        }
    }

    /// Nobody contradicted in time.
    pub(super) fn declare_dead(&mut self, member: NodeId) {
        let Some((_, State::Suspect, _)) = self.members.version(member) else { return };
        let Some(claim) = self.members.claim(member).cloned() else { return };
        self.note_own(member, Happening::Condemned);
        let by = self.detector.first_accuser(member).unwrap_or(self.identity.id);
        let bytes = claim.parts().with_state(State::Dead, self.certificate_forget());
        let dead = UpdateRef::read(&bytes).expect("made from a claim that made sense");
        let dead = self.interner.intern(&dead, &self.secret);
        self.merge_claim(dead, by, true);
    }

    /// Whether a claim that a live member is gone comes before a suspicion of it had its time, as far as this node heard.
    fn is_surprising(&self, claim: &UpdateRef<'_>) -> bool {
        let Head::Claim { member, incarnation, .. } = claim.head else { unreachable!("sorted by space before") };
        let (peers, now) = (self.members.live(), self.fx.now.instant);
        self.members.is_live(member) && !self.detector.expects_verdict((member, incarnation), peers, &self.config, now)
    }

    fn doubt(&mut self, claim: &UpdateRef<'_>, by: NodeId) {
        let Head::Claim { member, .. } = claim.head else { unreachable!("sorted by space before") };
        if self.doubts.contains_key(&member) || self.doubts.len() >= self.config.members_max {
            return;
        }
        let claim = self.interner.intern(claim, &self.secret);
        self.note(member, by, Happening::Doubted);
        self.doubts.insert(member, Doubt { claim, by, is_probed: false });
        self.on_doubt_due(member);
    }

    /// Probes a member whose death is doubted, unless it is being probed, or as many others are as may be at once; looks
    /// again later.
    pub(super) fn on_doubt_due(&mut self, member: NodeId) {
        let Some(doubt) = self.doubts.get(&member) else { return };
        // Until it is settled, comparisons take the claim for known.
        let until = self.fx.now.wall.seconds().plus(self.config.suspicion_timeout_min * 2);
        self.members.replica_mut().refuse(doubt.claim.id, until);
        self.fx.arm(self.config.suspicion_timeout_min, Timer::Doubt(member));
        if !self.detector.is_doubting(member) && self.detector.doubting().count() < DOUBTS_PROBED_MAX {
            self.probe(member, Purpose::Doubt);
            let is_probed = self.detector.is_doubting(member);
            self.doubts.entry(member).and_modify(|doubt| doubt.is_probed = is_probed);
        }
    }

    /// The claim that a member is doubted to be dead by, which it may contradict.
    pub(super) fn doubted_claim(&self, member: NodeId) -> Option<&Arc<Update>> {
        self.doubts.get(&member).map(|doubt| &doubt.claim)
    }

    /// The member did not answer: its death is believed.
    pub(super) fn believe_doubted(&mut self, member: NodeId) {
        let Some(doubt) = self.settle_doubt(member) else { return };
        if self.members.standing(&doubt.claim.parts()) == Standing::News {
            self.merge_claim(doubt.claim, doubt.by, true);
        }
    }

    /// The member answered: whoever claims its death will hear from it.
    pub(super) fn dismiss_doubt(&mut self, member: NodeId) {
        if self.settle_doubt(member).is_some() {
            self.note_own(member, Happening::DoubtDismissed);
        }
    }

    /// Ends a doubt; the next one that waits is looked into.
    pub(super) fn settle_doubt(&mut self, member: NodeId) -> Option<Doubt> {
        if self.doubts.is_empty() {
            return None;
        }
        let doubt = self.doubts.remove(&member)?;
        self.fx.cancel(Timer::Doubt(member));
        let waiting = self.doubts.iter().find(|(_, doubt)| !doubt.is_probed).map(|(member, _)| *member);
        if let Some(waiting) = waiting {
            self.on_doubt_due(waiting);
        }
        Some(doubt)
    }

    pub(super) fn arm_rejoin(&mut self) {
        let wait = contacts::rejoin_wait(self.config.rejoin_interval, self.size(), &mut self.fx.rng);
        self.fx.arm(wait, Timer::Rejoin);
    }

    /// Writes down whom this node knows, to find the cluster again.
    pub(super) fn remember(&mut self) {
        if !self.identity.durable {
            return;
        }
        let picked = self.members.pick(&mut self.fx.rng, REMEMBERED_MAX, None);
        let members: Vec<_> = picked.into_iter().filter_map(|id| self.members.address(id)).collect();
        let former = crate::identity::write_addresses(self.contacts.former());
        let mut records = vec![
            Record { key: b"former".to_vec(), value: Some(former) },
            Record { key: b"gone".to_vec(), value: Some(self.apart.to_bytes()) },
        ];
        if !members.is_empty() {
            // A node that lost everybody keeps what it knew before.
            let value = Some(crate::identity::write_addresses(&members));
            records.push(Record { key: b"members".to_vec(), value });
        }
        self.fx.persist(records);
    }
}
