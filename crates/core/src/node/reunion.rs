//! Two nodes that were apart for longer than deletions are remembered reconcile their data (design §2, traps).
//!
//! An update older than the separation, by a margin, that only one side holds was deleted on the other: its holder writes
//! a tombstone of exactly that version. A younger one is merged as usual, so nobody's write of the time apart is lost.
//! The two tell each other since when they were apart, and the earlier moment counts: a backup that was restored has
//! parted earlier than its peers know. Then each tells what it holds, eight bytes an update.
//!
//! Limit: sums that were added to after the separation count in full, also where the other side deleted what was
//! added before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::data::Taken;
use crate::datum::Part;
use crate::effects::Timer;
use crate::frame::{List, Space};
use crate::hash;
use crate::identity::{NodeId, Record};
use crate::time::Seconds;
use crate::update::{Head, Update, UpdateRef};

/// What was written this long before the separation may not have reached the other side in time.
const MARGIN: Duration = Duration::from_mins(10);
/// How often another peer is asked.
const RETRY: Duration = Duration::from_secs(1);
/// Rolls that are received at once.
const ROLLS_MAX: usize = 8;
/// Updates on one roll: more than any database of this kind holds.
const ROLL_MAX: usize = 1 << 24;
/// Updates in one packet of a roll.
const ROLL_PACKET: usize = 4_096;
/// How often it is written down that this node is in touch.
const HEARD_PAUSE: Duration = Duration::from_mins(1);

/// What a peer says it holds, as far as it has come in.
#[derive(Debug)]
struct Roll {
    since: Seconds,
    /// Whether this node has told the peer what it holds itself.
    is_answered: bool,
    held: BTreeSet<u64>,
}

/// Reconciliations under way.
#[derive(Debug, Default)]
pub(super) struct Reunions {
    rolls: BTreeMap<NodeId, Roll>,
    heard_at: Option<Seconds>,
}

impl Node {
    /// Whether data must not be exchanged with a peer yet.
    pub(super) fn withholds_data(&self, peer: NodeId) -> bool {
        if self.apart.is_settled() {
            return false;
        }
        let live_since = self.members.member(peer).map_or(Seconds::NEVER, |member| member.since.seconds());
        self.apart.withholds(peer, live_since)
    }

    pub(super) fn withholds(&self, space: Space, peer: NodeId) -> bool {
        space == Space::Data && self.withholds_data(peer)
    }

    /// A member came or went.
    pub(super) fn note_presence(&mut self, member: NodeId, was_live: bool, is_live: bool) {
        let now = self.fx.now.wall.seconds();
        match (was_live, is_live) {
            (true, false) => self.apart.note_gone(member, now, self.config.members_max),
            (false, true) => {
                if self.apart.note_live(member, now, self.config.tombstone_ttl) || self.apart.is_away() {
                    self.fx.arm_once(self.config.gossip_interval, Timer::Reunion);
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Somebody to reconcile with is asked.
    pub(super) fn on_reunion_due(&mut self) {
        if self.apart.is_settled() {
            return;
        }
        self.fx.arm(RETRY, Timer::Reunion);
        let mut peers: Vec<NodeId> = self.apart.returned().filter(|peer| self.members.is_live(*peer)).collect();
        if self.apart.is_away() {
            peers.extend(self.members.pick(&mut self.fx.rng, 1, None));
        }
        self.fx.rng.shuffle(&mut peers);
        let Some(peer) = peers.first().copied() else { return };
        let (Some(since), Some(address)) = (self.apart.since(peer), self.members.address(peer)) else { return };
        let letter = self.letter(peer, address);
        if let Some(stream) = self.exchange_stream(&letter) {
            self.streams.keep_open(stream);
            let mut letter = Letter::on_stream(stream, peer, address);
            letter.packet.reunion(since, self.data.replica().root(), false);
            self.post(letter);
        }
    }

    /// A peer says since when the two of us were apart; `NEVER` if it does not know.
    pub(super) fn on_reunion(&mut self, since: Seconds, root: u64, answers: bool, letter: &mut Letter) {
        let Some(stream) = letter.stream() else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let (peer, own_root) = (letter.peer, self.data.replica().root());
        let Some(own) = self.apart.since(peer) else {
            if !answers && self.makes_room(letter, 20) {
                letter.packet.reunion(Seconds::NEVER, own_root, true);
            }
            return;
        };
        if answers && since == Seconds::NEVER {
            self.apart.note_stranger(self.fx.now.instant);
            return self.close_after_reply(stream, letter);
        }
        let since = own.min(since);
        if !answers && self.makes_room(letter, 20) {
            letter.packet.reunion(since, own_root, true);
        }
        if root == own_root {
            self.reunite(peer, since);
            if answers {
                self.close_after_reply(stream, letter);
            }
            return;
        }
        if self.reunions.rolls.len() < ROLLS_MAX || self.reunions.rolls.contains_key(&peer) {
            let roll = Roll { since, is_answered: !answers, held: BTreeSet::new() };
            self.reunions.rolls.insert(peer, roll);
            if !answers {
                self.put_roll(letter);
            }
        }
    }

    /// Tells all that this node holds.
    fn put_roll(&mut self, letter: &mut Letter) {
        let keys: Vec<u64> = self.data.shelf().read().iter().map(|update| roll_key(update, &self.secret)).collect();
        let mut packets = keys.chunks(ROLL_PACKET).peekable();
        loop {
            let packet = packets.next().unwrap_or_default();
            let is_last = packets.peek().is_none();
            if !self.makes_room(letter, 16 + packet.len() * 8) {
                return;
            }
            letter.packet.roll(is_last, packet);
            if is_last {
                return;
            }
        }
    }

    /// A peer tells part of what it holds.
    pub(super) fn on_roll(&mut self, is_last: bool, list: List<'_>, letter: &mut Letter) {
        let peer = letter.peer;
        let Some(roll) = self.reunions.rolls.get_mut(&peer).filter(|_| letter.is_stream()) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        roll.held.extend(list.ids().map(|id| id.0));
        if roll.held.len() > ROLL_MAX {
            self.reunions.rolls.remove(&peer);
            return;
        }
        if !is_last {
            return;
        }
        let roll = self.reunions.rolls.remove(&peer).expect("it was just looked at");
        if !roll.is_answered {
            self.put_roll(letter);
        }
        self.bury_what_lacks(&roll);
        self.reunite(peer, roll.since);
    }

    /// What is older than the separation and not on the roll was deleted by those who wrote the roll.
    fn bury_what_lacks(&mut self, roll: &Roll) {
        let (now, secret) = (self.fx.now.wall, self.secret);
        let parted = Seconds(roll.since.0.saturating_sub(u32::try_from(MARGIN.as_secs()).expect("minutes")));
        let lacks = |update: &&Arc<Update>| {
            let datum = update.datum();
            let is_old = datum.stamp().wall().seconds() < parted;
            is_old && !datum.is_tombstone() && !roll.held.contains(&roll_key(update, &secret))
        };
        let lacking: Vec<Arc<Update>> = self.data.shelf().read().iter().filter(lacks).cloned().collect();
        let forget = now.seconds().plus(self.config.tombstone_ttl);
        for update in lacking {
            let tombstone = self.data.tombstone_of(&update, forget);
            if let Taken::Kept(kept, old) = self.data.take(&tombstone.parts(), &self.config, now) {
                self.saving.note(Arc::clone(&kept));
                self.spread_datum(kept, old, None);
            }
        }
    }

    fn reunite(&mut self, peer: NodeId, since: Seconds) {
        self.apart.note_reunited(peer, since);
        if self.apart.is_settled() {
            self.fx.cancel(Timer::Reunion);
        }
        self.fx.arm_once(super::claims::REMEMBER_AFTER, Timer::Remember);
        self.compare_with(peer);
    }

    /// Writes down now and then that this node is in touch with others.
    pub(super) fn note_heard(&mut self) {
        let now = self.fx.now.wall.seconds();
        let is_due = self.reunions.heard_at.is_none_or(|at| at.plus(HEARD_PAUSE) <= now);
        if !self.identity.durable || !is_due || self.members.live() == 0 || !self.apart.is_settled() {
            return;
        }
        self.reunions.heard_at = Some(now);
        let value = Some(now.0.to_le_bytes().to_vec());
        self.fx.persist(vec![Record { key: b"heard".to_vec(), value }]);
    }
}

/// What stands for an update on a roll: its id, or for sums, which have no versions, what they are about.
fn roll_key(update: &Update, secret: &[u8; 16]) -> u64 {
    match update.subject().part {
        Part::Head | Part::Element(_) => update.id.0,
        Part::Sums(_) => {
            let mut subject = Vec::new();
            update.subject().write(&mut subject);
            hash::keyed(secret, &subject)
        }
    }
}

impl Node {
    /// Whether an update comes from a peer with whom data are to be reconciled first.
    pub(super) fn comes_too_early(&self, update: &UpdateRef<'_>, from: NodeId) -> bool {
        matches!(update.head, Head::Data(_)) && self.withholds_data(from)
    }
}
