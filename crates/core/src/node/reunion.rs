//! Two nodes that were apart for longer than deletions are remembered reconcile their data (design §2, traps).
//!
//! An update older than the separation, by a margin, that only one side holds was deleted on the other: its holder writes
//! a tombstone of exactly that version. A younger one is merged as usual, so nobody's write of the time apart is lost.
//! The two tell each other since when they were apart, and the earlier moment counts: a backup that was restored has
//! parted earlier than its peers know. Then each tells what it holds, eight bytes an update.
//!
//! Limit: sums that were added to after the separation count in full, also where the other side deleted what was
//! added before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::data::is_reserved;
use crate::datum::{Part, Statement};
use crate::effects::Timer;
use crate::frame::{List, Space};
use crate::hash;
use crate::identity::{NodeId, Record};
use crate::io::StreamId;
use crate::streams::Purpose;
use crate::time::Seconds;
use crate::update::{Head, Update, UpdateRef};

/// What was written this long before the separation may not have reached the other side in time.
const MARGIN: Duration = Duration::from_mins(10);
/// How often another peer is asked.
const RETRY: Duration = Duration::from_secs(1);
/// Rolls that are taken in at once.
const ROLLS_MAX: usize = 4;
/// Updates on one roll: more than any database of this kind holds.
const ROLL_MAX: u32 = 1 << 23;
/// Updates in one part of a roll.
const ROLL_PART: usize = 4_096;
/// How often it is written down that this node holds all that its peers do.
const HEARD_PAUSE: Duration = Duration::from_mins(1);

/// What a peer says it holds, as far as it has come in.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Roll {
    /// Since when the two were apart; nothing is deleted by the roll of a peer that this node did not miss.
    since: Option<Seconds>,
    /// Whether this node has told the peer what it holds itself.
    is_answered: bool,
    held: Vec<u64>,
}

/// Reconciliations under way.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Reunions {
    /// By the stream on which they come in.
    rolls: BTreeMap<StreamId, Roll>,
    heard_at: Option<Seconds>,
}

impl Node {
    /// Whether data must not be exchanged with a peer yet.
    pub(super) fn withholds_data(&self, peer: NodeId) -> bool {
        if self.apart.is_calm() {
            return false;
        }
        let live_since = self.members.since(peer).unwrap_or(Seconds::NEVER);
        self.apart.withholds(peer, live_since, self.fx.now.wall.seconds(), self.config.tombstone_ttl)
    }

    pub(super) fn withholds(&self, space: Space, peer: NodeId) -> bool {
        match space {
            Space::Members => self.is_partial(),
            Space::Data => self.withholds_data(peer),
            Space::Messages | Space::Agreement => false,
        }
    }

    /// Whether an update comes from a peer with whom data are to be reconciled first.
    pub(super) fn comes_too_early(&self, update: &UpdateRef<'_>, from: NodeId) -> bool {
        // A revocation is never too early: nobody deletes one.
        matches!(update.head, Head::Data(datum) if !is_reserved(datum.subject.key)) && self.withholds_data(from)
    }

    /// A member came or went.
    pub(super) fn note_presence(&mut self, member: NodeId, was_live: bool, is_live: bool) {
        if member == self.identity.id {
            return;
        }
        let now = self.fx.now.wall.seconds();
        if self.is_partial() {
            // Who is no neighbour any more is not out of touch.
            if is_live && self.apart.is_away() {
                self.fx.arm_once(self.config.gossip_interval, Timer::Reunion);
            }
            return;
        }
        match (was_live, is_live) {
            (true, false) => {
                self.apart.note_gone(member, now, self.config.members_max);
                self.data.clock_mut().forget_peer(member);
            }
            (false, true) => {
                if self.apart.note_live(member, now, self.config.tombstone_ttl) || self.apart.is_away() {
                    self.fx.arm_once(self.config.gossip_interval, Timer::Reunion);
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    /// The clock went on by more than tombstones live since it was last looked at: this process was asleep.
    pub(super) fn note_sleep(&mut self, awake_at: Seconds) {
        let now = self.fx.now.wall.seconds();
        if awake_at.plus(self.config.tombstone_ttl) < now {
            self.apart.note_away(awake_at, now);
            self.fx.arm_once(self.config.gossip_interval, Timer::Reunion);
        }
    }

    /// Whether a roll is on its way, or a peer was just asked. What came on streams that ended counts no more.
    fn is_calling_the_roll(&mut self) -> bool {
        let streams = &self.streams;
        self.reunions.rolls.retain(|stream, _| streams.get(*stream).is_some());
        !self.reunions.rolls.is_empty() || streams.serves(Purpose::Reunion)
    }

    /// Somebody to reconcile with is asked, one at a time.
    pub(super) fn on_reunion_due(&mut self) {
        let is_busy = self.is_calling_the_roll();
        self.apart.give_up_late(self.fx.now.wall.seconds(), is_busy);
        if self.apart.is_settled() {
            return;
        }
        self.fx.arm(RETRY, Timer::Reunion);
        if is_busy {
            return;
        }
        let mut peers: Vec<NodeId> = self.apart.returned().filter(|peer| self.members.is_live(*peer)).collect();
        if self.apart.is_away() {
            peers.extend(self.members.pick(&mut self.fx.rng, 1, None));
        }
        self.fx.rng.shuffle(&mut peers);
        let Some(peer) = peers.first().copied() else { return };
        let Some(since) = self.apart.since(peer) else {
            // This node never held everything, so it cannot tell what was deleted.
            return self.apart.note_stranger(peer, self.fx.now.wall.seconds(), false);
        };
        if let Some(address) = self.members.address(peer)
            && let Some(stream) = self.open_stream(peer, address, Purpose::Reunion)
        {
            let mut letter = Letter::on_stream(stream, peer, address);
            letter.packet.reunion(since, self.data.replica().root(), false);
            self.post(letter);
        }
    }

    /// A peer says since when the two of us were apart; `NEVER` if it cannot tell.
    pub(super) fn on_reunion(&mut self, since: Seconds, root: u64, answers: bool, letter: &mut Letter) {
        let Some(stream) = letter.stream() else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let is_busy = self.is_calling_the_roll();
        let (peer, own_root, own) = (letter.peer, self.data.replica().root(), self.apart.since(letter.peer));
        if answers {
            let is_asker = self.streams.get(stream).is_some_and(|open| open.purpose == Purpose::Reunion);
            let Some(own) = own.filter(|_| is_asker && since != Seconds::NEVER) else {
                self.apart.note_stranger(peer, self.fx.now.wall.seconds(), false);
                return self.close_after_reply(stream, letter);
            };
            let since = own.min(since);
            if root == own_root {
                self.reunite(peer, since);
                return self.close_after_reply(stream, letter);
            }
            self.reunions.rolls.insert(stream, Roll { since: Some(since), is_answered: false, held: Vec::new() });
            return;
        }
        let since = match own {
            Some(own) => own.min(since),
            None if self.has_stayed_since(since) => since,
            None => Seconds::NEVER,
        };
        let calls = since != Seconds::NEVER && root != own_root;
        if calls && (is_busy && self.reunions.rolls.len() >= ROLLS_MAX || self.reunions.rolls.contains_key(&stream)) {
            // Whoever asked asks again.
            return self.streams.close(stream, &mut self.fx);
        }
        if self.makes_room(letter, 20) {
            letter.packet.reunion(since, own_root, true);
        }
        if calls {
            let since = own.map(|own| own.min(since));
            self.reunions.rolls.insert(stream, Roll { since, is_answered: true, held: Vec::new() });
            self.put_roll(letter);
        } else if own.is_some() {
            self.reunite(peer, since);
        }
    }

    /// Whether this node was there all the time, so that it knows what was deleted since, although it did not miss the peer:
    /// that one has a backup in place of its disk.
    fn has_stayed_since(&self, since: Seconds) -> bool {
        let holds_all = self.apart.is_settled() && self.apart.complete_at().is_some_and(|at| at >= since);
        holds_all && self.first_boot < since
    }

    /// Tells all that this node holds.
    fn put_roll(&mut self, letter: &mut Letter) {
        let keys: Vec<u64> = self.data.shelf().read().iter().map(|update| roll_key(update, &self.secret)).collect();
        let total = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let mut parts = keys.chunks(ROLL_PART);
        loop {
            let part = parts.next().unwrap_or_default();
            // What does not go out does not complete the roll.
            if !self.makes_room(letter, 16 + part.len() * 8) {
                return;
            }
            letter.packet.roll(total, part);
            if parts.len() == 0 {
                return;
            }
        }
    }

    /// A peer tells part of what it holds.
    pub(super) fn on_roll(&mut self, total: u32, list: List<'_>, letter: &mut Letter) {
        let Some(mut roll) = letter.stream().and_then(|stream| self.reunions.rolls.remove(&stream)) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let stream = letter.stream().expect("the roll came on one");
        roll.held.extend(list.ids().map(|id| id.0));
        if total > ROLL_MAX || roll.held.len() > total as usize {
            self.fx.counters.dropped.malformed += 1;
            return self.streams.close(stream, &mut self.fx);
        }
        if roll.held.len() < total as usize {
            self.reunions.rolls.insert(stream, roll);
            return;
        }
        if !roll.is_answered {
            self.put_roll(letter);
        }
        roll.held.sort_unstable();
        if let Some(since) = roll.since {
            self.bury_what_lacks(&roll.held, since);
            self.reunite(letter.peer, since);
        } else {
            self.compare_with(letter.peer);
        }
        if self.streams.get(stream).is_some_and(|open| open.purpose == Purpose::Reunion) {
            self.close_after_reply(stream, letter);
        }
    }

    /// What is older than the separation and not on the roll was deleted by those who wrote the roll.
    fn bury_what_lacks(&mut self, roll: &[u64], since: Seconds) {
        let (now, secret) = (self.fx.now.wall, self.secret);
        let parted = Seconds(since.0.saturating_sub(u32::try_from(MARGIN.as_secs()).expect("minutes")));
        let lacks = |update: &&Arc<Update>| {
            let datum = update.datum();
            let is_old = datum.stamp().wall().seconds() < parted;
            is_old
                && !datum.is_tombstone()
                && !is_reserved(datum.subject.key)
                && roll.binary_search(&roll_key(update, &secret)).is_err()
        };
        let lacking: Vec<Arc<Update>> = self.data.shelf().read().iter().filter(lacks).cloned().collect();
        let forget = now.seconds().plus(self.config.tombstone_ttl);
        for update in lacking {
            let tombstone = self.data.tombstone_of(&update, forget);
            let me = self.identity.id;
            self.take_datum(&tombstone.parts(), me, true);
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

    /// This node and a peer hold the same data.
    pub(super) fn note_complete(&mut self) {
        if !self.data.replica().is_degraded() {
            self.apart.note_complete(self.fx.now.wall.seconds());
        }
    }

    /// Writes down now and then when this node last held all that its peers did, and its disk too.
    pub(super) fn note_heard(&mut self) {
        let Some(complete_at) = self.apart.complete_at() else { return };
        let is_due = self.reunions.heard_at.is_none_or(|at| at.plus(HEARD_PAUSE) <= complete_at);
        if !self.identity.durable || !is_due || !self.saving.is_settled() {
            return;
        }
        self.reunions.heard_at = Some(complete_at);
        let value = Some(complete_at.0.to_le_bytes().to_vec());
        self.fx.persist(vec![Record { key: b"heard".to_vec(), value }]);
    }
}

/// What stands for an update on a roll: its id, or for sums, which are joined, what they are about and their epoch.
fn roll_key(update: &Update, secret: &[u8; 16]) -> u64 {
    match update.subject().part {
        Part::Head | Part::Element(_) => update.id.0,
        Part::Sums(_) => {
            let datum = update.datum();
            let mut subject = Vec::new();
            datum.subject.write(&mut subject);
            if let Statement::Sums(sums) = datum.statement {
                subject.extend_from_slice(&sums.epoch.0.to_le_bytes());
            }
            hash::keyed(secret, &subject)
        }
    }
}
