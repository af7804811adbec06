//! The partial view as nodes keep it together: joins and their walks, neighbours asked and parted with, shuffles
//! (HyParView, §4).
//!
//! Neighbours are the live members of [`Members`](crate::membership::Members): whoever enters the active view becomes one
//! with the claim that it introduced itself with, and is probed, told and asked like any member of a full view.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::claims::REMEMBER_AFTER;
use super::letters::Letter;
use crate::config::View;
use crate::detector::Purpose;
use crate::effects::Timer;
use crate::frame::{Neighbour, Peers};
use crate::identity::NodeId;
use crate::io::{MemberChange, State};
use crate::limits::Limits;
use crate::membership::Standing;
use crate::overlay::{Allowance, JOIN_WALK, JOIN_WALK_PASSIVE, Overlay, PEERS_MAX, Peer, Reason, SHUFFLE_WALK, Yields};
use crate::story::Happening;
use crate::time::Instant;
use crate::update::{Head, Update, UpdateRef};

/// Joins that get a place at once, whoever has to go for it; then one in each [`JOIN_PAUSE`].
const JOINS_AT_ONCE: u32 = 8;
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// Walks that pass through at once, and how many in each shuffle interval: a stable overlay has about twice
/// [`SHUFFLE_WALK`] in each, one that settles [`SETTLING_SHUFFLES`] times as many.
const WALKS_AT_ONCE: u32 = 64;
const WALKS_PART: u32 = 128;
/// So many of a node's first shuffles follow each other faster, by this factor, and after each it asks one of its passive
/// view to be a neighbour. Nodes that came together, or through one contact, know each other first, and would stay a long
/// band of nodes rather than a random graph: 10,000 of them with ways of 33 hops. Deviation: HyParView leaves the active view
/// as the join made it.
const SETTLING_SHUFFLES: u32 = 8;
/// How long a search that led nowhere rests.
const SEARCH_PAUSE: Duration = Duration::from_secs(2);

/// The partial view of a node, and what bounds it.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Neighbourhood {
    pub(super) overlay: Overlay,
    /// Who introduced itself with the datagram or packet that is being read.
    introduced: Option<Arc<Update>>,
    joins: Allowance,
    walks: Allowance,
    /// How many of its first shuffles are still to come.
    settling: u32,
}

impl Neighbourhood {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            overlay: Overlay::default(),
            introduced: None,
            joins: Allowance::new(JOINS_AT_ONCE, now),
            walks: Allowance::new(WALKS_AT_ONCE, now),
            settling: SETTLING_SHUFFLES,
        }
    }

    /// What is bounded here.
    pub(super) fn limits(&self, passive_view: usize, to: &mut Limits) {
        let Self { overlay, introduced: _, joins, walks, settling: _ } = self;
        overlay.limits(passive_view, to);
        joins.limits("urgent_neighbours", to);
        walks.limits("walks", to);
    }
}

impl Node {
    pub(super) fn is_partial(&self) -> bool {
        self.config.view == View::Partial
    }

    /// How many neighbours this node wants: as the setting says, or log10 n + 1, rounded up (§5.1).
    fn active_max(&self) -> usize {
        match self.config.active_view {
            0 => (self.size().ilog10() as usize + 2).clamp(3, 16),
            fixed => fixed,
        }
    }

    fn keep_passive(&mut self, peer: Peer, is_met: bool) {
        if peer.id != self.identity.id && !self.is_revoked(peer.id) {
            let most = self.config.passive_view;
            self.neighbourhood.overlay.keep(peer, is_met, most, &mut self.fx.rng);
        }
    }

    fn myself(&self) -> Peer {
        let address = self.identity.addresses.first().copied().expect("an identity has an address");
        Peer { id: self.identity.id, address }
    }

    fn shuffle_interval(&self) -> Duration {
        self.config.shuffle_interval / if self.neighbourhood.settling > 0 { SETTLING_SHUFFLES } else { 1 }
    }

    pub(super) fn start_overlay(&mut self) {
        if self.is_partial() {
            let interval = self.shuffle_interval();
            let wait = interval.mul_f64(self.fx.rng.fraction());
            self.fx.arm(wait, Timer::Shuffle);
        }
    }

    /// A claim, where only neighbours are members. A stranger's own is kept for what its datagram goes on to say.
    /// Returns whether it was known.
    pub(super) fn take_claim_of_peer(&mut self, claim: &UpdateRef<'_>, by: NodeId) -> bool {
        let Head::Claim { member, state, .. } = claim.head else { unreachable!("sorted by space before") };
        if member != by {
            return true;
        }
        let is_news = self.members.standing(claim) == Standing::News;
        if state == State::Alive {
            let claim = self.interner.intern(claim, &self.secret);
            let peer = claim.claim_address().map(|address| Peer { id: member, address }).filter(Peer::is_plausible);
            if let Some(peer) = peer.filter(|_| is_news && self.neighbourhood.overlay.is_active(member)) {
                // Tags, or an address, or a new life.
                self.neighbourhood.overlay.moved(peer);
                self.merge_claim(Arc::clone(&claim), by, false);
            }
            if is_news || self.verifier.is_none() {
                self.neighbourhood.introduced = Some(claim);
            }
        } else if is_news && self.neighbourhood.overlay.is_active(member) && state == State::Left {
            self.part_from(member, MemberChange::Left);
        }
        true
    }

    /// The claim with which the sender of the present datagram introduced itself.
    fn introduction(&mut self, of: NodeId) -> Option<(Peer, Arc<Update>)> {
        let claim = self.neighbourhood.introduced.take().or_else(|| self.members.claim(of).cloned())?;
        let address = claim.claim_address()?;
        let peer = Peer { id: of, address };
        peer.is_plausible().then_some((peer, claim))
    }

    pub(super) fn forget_introduction(&mut self) {
        self.neighbourhood.introduced = None;
    }

    /// Somebody who is no neighbour takes this node for one.
    pub(super) fn on_ping_of_stranger(&self, letter: &mut Letter) {
        if self.neighbourhood.overlay.reason(letter.peer).is_none() {
            letter.packet.neighbour(Neighbour::Part);
        }
    }

    /// Makes a peer a neighbour. Whoever has to go for it is told.
    fn befriend(&mut self, peer: Peer, claim: Arc<Update>, yields: Yields) {
        let most = self.active_max();
        let pushed_out = self.neighbourhood.overlay.enter(peer, yields, most, self.fx.now.instant, &mut self.fx.rng);
        if let Some(other) = pushed_out {
            self.dismiss(other);
        }
        self.fx.cancel(Timer::Neighbour(peer.id));
        if self.members.standing(&claim.parts()) == Standing::News {
            self.merge_claim(claim, peer.id, false);
        }
        self.hurry();
    }

    /// Takes a neighbour out of the members and tells the application why.
    fn drop_member(&mut self, id: NodeId, why: MemberChange) {
        let Some(mut member) = self.members.member(id) else { return };
        member.state = match why {
            MemberChange::Failed => State::Dead,
            MemberChange::Left => State::Left,
            MemberChange::Joined
            | MemberChange::Updated
            | MemberChange::Suspected
            | MemberChange::Refuted
            | MemberChange::Removed
            | MemberChange::Replaced => State::Removed,
            MemberChange::Revoked => State::Revoked,
        };
        self.release_member(id);
        self.tell(why, self.identity.id, member);
        self.fx.arm_once(REMEMBER_AFTER, Timer::Remember);
    }

    /// A neighbour that had to go for another is told so, and may come back later.
    fn dismiss(&mut self, peer: Peer) {
        self.say_to(peer, Neighbour::Part);
        self.drop_member(peer.id, MemberChange::Removed);
        self.keep_passive(peer, true);
    }

    fn say_to(&mut self, peer: Peer, word: Neighbour) {
        let mut letter = self.letter(peer.id, peer.address);
        letter.packet.neighbour(word);
        self.post(letter);
    }

    /// A neighbour is none any more, for the reason that the application is told.
    pub(super) fn part_from(&mut self, id: NodeId, why: MemberChange) {
        let Some(peer) = self.neighbourhood.overlay.exit(id) else { return };
        if why != MemberChange::Removed
            && let Some((incarnation, ..)) = self.members.version(id)
        {
            self.note_own(id, Happening::Changed { change: why, incarnation });
        }
        if why == MemberChange::Failed {
            self.contacts.note_former(peer.address);
            self.arm_rejoin();
        }
        self.drop_member(id, why);
        if why == MemberChange::Failed {
            // What ended this one may have ended others.
            self.probe_silent(self.config.probe_interval);
        }
        if why == MemberChange::Removed {
            self.keep_passive(peer, true);
        }
        self.search_soon();
    }

    /// A free place is filled after a moment, not by all who lost a neighbour at once.
    fn search_soon(&mut self) {
        let wait = self.config.gossip_interval.mul_f64(self.fx.rng.fraction());
        self.neighbourhood.overlay.begin_search();
        self.fx.arm_once(wait, Timer::Search);
    }

    /// Asks one of the passive view for a free place of the active one.
    pub(super) fn search(&mut self) {
        let most = self.active_max();
        if self.neighbourhood.overlay.active().len() >= most {
            return;
        }
        while let Some(peer) = self.neighbourhood.overlay.candidate(most, &mut self.fx.rng) {
            self.ask_neighbour(peer, Reason::Search);
        }
        if self.neighbourhood.overlay.is_alone() {
            self.ask_contacts();
        }
    }

    /// Nobody is left: whoever this node could once join through, and one of those who had to leave its passive view.
    fn ask_contacts(&mut self) {
        let own = self.identity.addresses.clone();
        if let Some(address) = self.contacts.pick_lost(&mut self.fx.rng, |address| own.contains(&address)) {
            self.try_contact(address);
        }
        if let Some(address) = self.neighbourhood.overlay.take_spare(&mut self.fx.rng) {
            self.try_contact(address);
        }
        self.neighbourhood.overlay.begin_search();
        let wait = SEARCH_PAUSE.mul_f64(0.5 + self.fx.rng.fraction());
        self.fx.arm_once(wait, Timer::Search);
    }

    fn ask_neighbour(&mut self, peer: Peer, reason: Reason) {
        let is_barred = peer.id == self.identity.id || self.is_revoked(peer.id);
        if !is_barred && self.neighbourhood.overlay.ask(peer, reason) {
            self.send_ask(peer, 1);
        }
    }

    fn send_ask(&mut self, peer: Peer, tries: u32) {
        let mut letter = self.letter(peer.id, peer.address);
        self.put_ask(&mut letter);
        self.post(letter);
        let timeout = self.detector.timeout(&self.config, None) * tries;
        self.fx.arm(timeout, Timer::Neighbour(peer.id));
    }

    fn put_ask(&self, letter: &mut Letter) {
        let overlay = &self.neighbourhood.overlay;
        let is_urgent = overlay.active().is_empty() || overlay.reason(letter.peer) == Some(Reason::Reunion);
        self.put_own_claim(letter);
        letter.packet.neighbour(if is_urgent { Neighbour::AskUrgently } else { Neighbour::Ask });
    }

    /// Somebody who was asked wants to know first that this node lives at its address. Whether that is so.
    pub(super) fn repeat_ask(&mut self, token: u64, id: NodeId) -> bool {
        let Some(peer) = self.neighbourhood.overlay.asked_peer(id) else { return false };
        let mut letter = self.letter(peer.id, peer.address);
        letter.packet.echo(token);
        self.put_ask(&mut letter);
        self.post(letter);
        true
    }

    pub(super) fn on_neighbour_due(&mut self, id: NodeId) {
        match self.neighbourhood.overlay.unanswered(id) {
            Some((peer, tries)) => self.send_ask(peer, tries),
            None => self.search(),
        }
    }

    pub(super) fn on_neighbour(&mut self, word: Neighbour, letter: &mut Letter) {
        if !self.is_partial() {
            self.fx.counters.dropped.unexpected += 1;
            return;
        }
        let id = letter.peer;
        match word {
            Neighbour::Ask | Neighbour::AskUrgently => self.on_asked(word == Neighbour::AskUrgently, letter),
            Neighbour::Accept => self.on_accepted(letter),
            Neighbour::Refuse => {
                let Some(asked) = self.neighbourhood.overlay.answered(id) else { return };
                self.fx.cancel(Timer::Neighbour(id));
                self.keep_passive(asked.peer, true);
                self.search();
            }
            Neighbour::Part => self.part_from(id, MemberChange::Removed),
        }
    }

    /// Somebody wants to be a neighbour: if there is room, or if it has nobody.
    fn on_asked(&mut self, is_urgent: bool, letter: &mut Letter) {
        let has_room = self.neighbourhood.overlay.active().len() < self.active_max();
        let is_active = self.neighbourhood.overlay.is_active(letter.peer);
        let Some((peer, claim)) = self.introduction(letter.peer) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let mut gets_place = || is_urgent && self.neighbourhood.joins.take(JOIN_PAUSE, self.fx.now.instant);
        if !is_active && !has_room && !gets_place() {
            letter.packet.neighbour(Neighbour::Refuse);
            return;
        }
        self.put_own_claim(letter);
        let introduces = !letter.packet.is_empty();
        if !introduces {
            // The claim is longer than what came: the asker returns a token first.
            letter.hold_back();
            return;
        }
        letter.packet.neighbour(Neighbour::Accept);
        if !is_active {
            self.befriend(peer, claim, Yields::Younger);
        }
    }

    /// Somebody accepts. Whoever was not asked, or has no place any more, is told.
    fn on_accepted(&mut self, letter: &mut Letter) {
        let id = letter.peer;
        let Some(asked) = self.neighbourhood.overlay.answered(id) else {
            if !self.neighbourhood.overlay.is_active(id) {
                letter.packet.neighbour(Neighbour::Part);
            }
            return;
        };
        self.fx.cancel(Timer::Neighbour(id));
        let has_room = self.neighbourhood.overlay.active().len() < self.active_max();
        match self.introduction(id) {
            Some((peer, claim)) if has_room || asked.reason != Reason::Search => {
                let yields = if asked.reason == Reason::Walk { Yields::Younger } else { Yields::Any };
                self.befriend(peer, claim, yields);
            }
            Some(_) | None => letter.packet.neighbour(Neighbour::Part),
        }
        self.search();
    }

    /// A stranger came in over a stream: it gets a place, if not too many did lately, and its walks begin here (§4.2); one of them
    /// if it gets none, so that those who come fast do not find each other only.
    pub(super) fn welcome_joiner(&mut self, letter: &mut Letter) {
        let Some((peer, claim)) = self.introduction(letter.peer) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let gets_place = self.neighbourhood.joins.take(JOIN_PAUSE, self.fx.now.instant);
        let mut walks = self.neighbourhood.overlay.active().to_vec();
        walks.retain(|other| other.id != peer.id);
        if !gets_place {
            let walks_on = self.neighbourhood.walks.take(self.walk_interval(), self.fx.now.instant);
            self.fx.rng.shuffle(&mut walks);
            walks.truncate(usize::from(walks_on));
        }
        for other in walks {
            self.send_walk(other, JOIN_WALK, peer);
        }
        let known: Vec<Peer> = self.neighbourhood.overlay.active().to_vec();
        let mut known: Vec<Peer> = known.into_iter().chain(self.neighbourhood.overlay.passive()).collect();
        known.retain(|known| known.id != peer.id);
        self.fx.rng.shuffle(&mut known);
        known.truncate(PEERS_MAX);
        if gets_place {
            self.befriend(peer, claim, Yields::Younger);
        } else {
            self.keep_passive(peer, true);
        }
        self.put_own_claim(letter);
        letter.packet.peers(&known);
        letter.packet.welcome(gets_place);
    }

    /// A contact has answered: as a neighbour, or with others to ask.
    pub(super) fn on_welcomed(&mut self, gets_place: bool, letter: &Letter) {
        if gets_place && let Some((peer, claim)) = self.introduction(letter.peer) {
            self.befriend(peer, claim, Yields::Any);
            self.compare_with(letter.peer);
        }
        self.search();
    }

    fn send_walk(&mut self, to: Peer, ttl: u8, joiner: Peer) {
        let mut letter = self.letter(to.id, to.address);
        letter.packet.walk(ttl, joiner);
        self.post(letter);
    }

    /// In which time one more walk may pass.
    fn walk_interval(&self) -> Duration {
        self.config.shuffle_interval / WALKS_PART
    }

    /// Whether a walk may pass: from a neighbour, not longer than any honest one, and not too many.
    fn lets_pass(&mut self, ttl: u8, ttl_max: u8, origin: &Peer, from: NodeId) -> bool {
        let interval = self.walk_interval();
        let passes = self.is_partial()
            && ttl <= ttl_max
            && origin.id != self.identity.id
            && origin.is_plausible()
            && self.neighbourhood.overlay.is_active(from)
            && self.neighbourhood.walks.take(interval, self.fx.now.instant);
        if !passes && origin.id != self.identity.id {
            self.fx.counters.dropped.walks += 1;
        }
        passes
    }

    pub(super) fn on_walk(&mut self, ttl: u8, joiner: Peer, letter: &Letter) {
        if !self.lets_pass(ttl, JOIN_WALK, &joiner, letter.peer) {
            return;
        }
        let next = self.neighbourhood.overlay.step(&[letter.peer, joiner.id], &mut self.fx.rng);
        match next {
            Some(next) if ttl > 0 => {
                if ttl == JOIN_WALK_PASSIVE {
                    self.keep_passive(joiner, false);
                }
                self.send_walk(next, ttl - 1, joiner);
            }
            Some(_) | None => self.ask_neighbour(joiner, Reason::Walk),
        }
    }

    /// Exchanges some of the passive view with somebody a walk away (§4.4), and searches again for free places.
    pub(super) fn on_shuffle_due(&mut self) {
        let interval = self.shuffle_interval();
        let wait = interval.mul_f64(0.75 + self.fx.rng.fraction() / 2.0);
        self.fx.arm(wait, Timer::Shuffle);
        if self.neighbourhood.settling > 0 && !self.neighbourhood.overlay.active().is_empty() {
            self.neighbourhood.settling -= 1;
            self.ask_stranger();
        }
        while let Some(peer) = self.neighbourhood.overlay.surplus(self.active_max()) {
            // What the cluster's size was taken for has shrunk.
            self.dismiss(peer);
        }
        self.neighbourhood.overlay.begin_search();
        self.search();
        let Some(to) = self.neighbourhood.overlay.step(&[], &mut self.fx.rng) else { return };
        let named = self.neighbourhood.overlay.shuffle(to.id, &mut self.fx.rng);
        let mut letter = self.letter(to.id, to.address);
        letter.packet.shuffle(SHUFFLE_WALK, self.myself(), &named);
        self.post(letter);
        self.greet_stranger();
    }

    /// Tells one of the passive view of a few others: one that has lost everybody hears of somebody so, who has it in mind
    /// while it has nobody.
    fn greet_stranger(&mut self) {
        let Some(peer) = self.neighbourhood.overlay.stranger(&mut self.fx.rng) else { return };
        let mut letter = self.letter(peer.id, peer.address);
        letter.packet.peers(&[self.myself()]);
        self.post(letter);
    }

    pub(super) fn on_shuffle(&mut self, ttl: u8, origin: Peer, peers: Peers<'_>, letter: &Letter) {
        if !self.lets_pass(ttl, SHUFFLE_WALK, &origin, letter.peer) {
            return;
        }
        let peers: Vec<Peer> = peers.take(PEERS_MAX).collect();
        let next = self.neighbourhood.overlay.step(&[letter.peer, origin.id], &mut self.fx.rng);
        if let Some(next) = next.filter(|_| ttl > 0) {
            let mut letter = self.letter(next.id, next.address);
            letter.packet.shuffle(ttl - 1, origin, &peers);
            self.post(letter);
            return;
        }
        // No more than came, and to where it came from: whoever forges an origin gains nothing by it.
        let named = self.neighbourhood.overlay.answer_shuffle(origin.id, peers.len(), &mut self.fx.rng);
        if !named.is_empty() {
            let mut answer = self.letter(origin.id, origin.address);
            answer.packet.peers(&named);
            self.post(answer);
        }
        self.take_peers(&peers);
        self.keep_passive(origin, false);
    }

    pub(super) fn on_peers(&mut self, peers: Peers<'_>) {
        if !self.is_partial() || !self.neighbourhood.walks.take(self.walk_interval(), self.fx.now.instant) {
            self.fx.counters.dropped.walks += 1;
            return;
        }
        let peers: Vec<Peer> = peers.take(PEERS_MAX).collect();
        self.take_peers(&peers);
    }

    fn take_peers(&mut self, peers: &[Peer]) {
        for peer in peers {
            self.keep_passive(*peer, false);
        }
        if self.neighbourhood.overlay.active().len() < self.active_max() {
            self.search();
        }
    }

    /// Probes the neighbour that was silent for longest, if that was for a whole pass, or if there is something to ask.
    pub(super) fn probe_neighbour(&mut self) {
        let neighbours = u32::try_from(self.members.live()).unwrap_or(u32::MAX);
        let asks = self.on_averaging_cycle();
        let span = if asks { Duration::ZERO } else { self.config.probe_interval * neighbours };
        let mut silent = self.neighbourhood.overlay.silent(span, self.fx.now.instant);
        if let Some(target) = silent.find(|id| !self.detector.is_probing(*id)) {
            self.probe_at_turn(target);
        }
    }

    /// Probes all neighbours that were silent for so long.
    fn probe_silent(&mut self, span: Duration) {
        let silent: Vec<NodeId> = self.neighbourhood.overlay.silent(span, self.fx.now.instant).collect();
        for target in silent {
            self.probe_at_turn(target);
        }
    }

    fn probe_at_turn(&mut self, target: NodeId) {
        if !self.detector.is_probing(target) {
            self.probe(target, Purpose::Turn);
        }
    }

    /// Makes one of the passive view a neighbour, whatever there is room for: while this node settles, and later when the overlay
    /// may have come apart because neighbours failed. If it is in another part, the two parts are one again.
    pub(super) fn ask_stranger(&mut self) {
        if let Some(peer) = self.neighbourhood.overlay.stranger(&mut self.fx.rng) {
            self.ask_neighbour(peer, Reason::Reunion);
        }
    }
}
