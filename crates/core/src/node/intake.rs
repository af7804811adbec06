//! Updates as they come in, large ones that were announced, and what others ask for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::credentials::Distrust;
use crate::effects::Timer;
use crate::frame::{self, Items, List, Space};
use crate::identity::NodeId;
use crate::io::{Event, TraceStep};
use crate::messages::{Delivery, Standing};
use crate::queries;
use crate::replica::{FULL_PAUSE, Replica};
use crate::seldom::Vacant;
use crate::update::{self, Head, Update, UpdateId, UpdateRef};

/// More updates than this at once are no news: they come from a comparison, and others compare as well.
const NEWS_MAX: usize = 16;
/// Repair intervals that a gap stays open while updates are announced or asked for.
const WANTING_REPAIRS: u32 = 6;
/// Ids that one request may name.
const REQUEST_MAX: usize = 4_096;
/// Large updates that are waited for.
pub(super) const WANTS_MAX: usize = 1_024;
/// Announcers that are remembered for each of them.
const ANNOUNCERS_MAX: usize = 8;
/// The size that an update is taken to have while only its id is known.
const SIZE_UNKNOWN: u32 = 32 << 10;
/// How often announcers of one update are asked before it is left to anti-entropy.
const TRIES_MAX: u32 = 8;
/// How much longer an announcer has while it sends.
const MORE_PATIENCE: Duration = Duration::from_secs(1);
/// Datagrams in reply to one; more goes over a stream.
const REPLY_DATAGRAMS: usize = 8;
/// Bytes of one packet of a stream that carries many updates.
const PACKET_BYTES: usize = 32 << 10;

/// An update that somebody has and this node lacks.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Want {
    size: u32,
    /// Who was asked last, and is waited for.
    asked: Option<NodeId>,
    /// How often somebody was asked.
    tries: u32,
    /// Who has it and was not asked yet.
    announcers: VecDeque<NodeId>,
}

impl Vacant for BTreeMap<UpdateId, Want> {
    const VACANT: Self = Self::new();
    const SHARED: &'static Self = &Self::VACANT;
}

impl Node {
    pub(super) fn on_updates(&mut self, packet: u16, asks: bool, items: Items<'_>, letter: &mut Letter) {
        let bulk = letter.is_stream() && items.clone().nth(NEWS_MAX).is_some() || self.is_filled_by(letter);
        let (mut known, mut count) = (0_u64, 0_u32);
        for (hop, bytes) in items {
            if self.take_update(hop, bytes, letter.peer, !bulk) && count < 64 {
                known |= 1 << count;
            }
            if letter.is_stream() && update::member_of(bytes) == Some(letter.peer) {
                letter.is_introduced |= self.counts(bytes);
            }
            count += 1;
        }
        self.note_feedback(letter, packet, asks, known, count.min(64));
    }

    /// Takes in one update. Returns whether it was known.
    pub(super) fn take_update(&mut self, hop: u8, bytes: &[u8], from: NodeId, hot: bool) -> bool {
        if let Some(held) = self.members.held_as(bytes) {
            self.rumors.note_knower(held.id, from);
            self.fx.counters.updates_known += 1;
            return true;
        }
        let Some(update) = UpdateRef::read(bytes) else {
            self.fx.counters.dropped.malformed += 1;
            return true;
        };
        if update.leaves() <= self.fx.now.wall.seconds() || self.comes_too_early(&update, from) {
            self.fx.counters.dropped.refused += 1;
            return true;
        }
        if let Some(distrust) = self.distrusts(&update, from) {
            // What was not looked at may count, so it is not known.
            return distrust != Distrust::Unchecked;
        }
        let known = match update.head {
            Head::Claim { .. } => self.take_claim(&update, from, hot),
            Head::Message { .. } => self.take_message(&update, hop, from, hot),
            Head::Data(_) => self.take_datum(&update, from, hot),
            Head::Agreement(_) => self.take_statement(&update, from, hot),
        };
        if known {
            self.fx.counters.updates_known += 1;
        } else {
            self.fx.counters.updates_new += 1;
        }
        known
    }

    fn take_message(&mut self, message: &UpdateRef<'_>, hop: u8, from: NodeId, hot: bool) -> bool {
        self.fx.counters.payloads_received += 1;
        let limit = self.fx.now.wall.seconds().plus(self.config.history_age + self.config.clock_skew_max);
        let standing =
            if message.forget > limit { Standing::Refused } else { self.messages.standing(message, &self.config) };
        match standing {
            Standing::Known => {
                if let Some(id) = self.messages.count_payload(message) {
                    self.rumors.note_knower(id, from);
                }
                return true;
            }
            Standing::Refused | Standing::Full => {
                self.fx.counters.dropped.refused += 1;
                let until = if standing == Standing::Full { (self.fx.now.wall + FULL_PAUSE).seconds() } else { limit };
                self.messages.replica_mut().refuse(message.id(&self.secret), message.forget.min(until));
                return true;
            }
            Standing::News => {}
        }
        let update = self.interner.intern(message, &self.secret);
        let at = self.fx.now.wall;
        let step = TraceStep { node: self.identity.id, hop, from: Some(from), at, payloads: 1 };
        self.keep_message(update, step, hot);
        false
    }

    /// Keeps a message, this node's or another's, passes it on and delivers what can be.
    pub(super) fn keep_message(&mut self, update: Arc<Update>, step: TraceStep, hot: bool) {
        self.note_arrival(update.id);
        let parts = update.parts();
        let Head::Message { origin, sequence, topic } = parts.head else { unreachable!("a message is kept") };
        let pushed_out = self.messages.insert(Arc::clone(&update), step, &self.config);
        for id in &pushed_out {
            self.rumors.cool(*id);
        }
        if pushed_out.contains(&update.id) {
            // The limits leave no room for it: comparisons must not fetch it again.
            self.messages.replica_mut().refuse(update.id, update.forget());
            return;
        }
        self.note_change(Space::Messages);
        if hot && self.uses_trees(origin) {
            self.plant(&update, origin, &step);
        } else if hot {
            self.heat(Arc::clone(&update), step.hop.saturating_add(1), step.from);
        }
        if topic == queries::TOPIC {
            let body = parts.message_body().expect("it was read before it was kept");
            self.on_question(origin, sequence, body.payload, step.from);
        }
        let deliveries = self.messages.deliver(topic, origin, self.fx.now.wall);
        self.deliver(deliveries);
    }

    /// An update that was waited for is here.
    pub(super) fn note_arrival(&mut self, id: UpdateId) {
        if self.planting.trees.note_arrival(id) {
            self.fx.cancel(Timer::Graft(id));
        }
        if self.wants.is_empty() {
            return;
        }
        self.fx.cancel(Timer::Want(id));
        if self.wants.remove(&id).is_some() && self.wants.values().any(|want| want.asked.is_none()) {
            self.ask_announcers(None);
        }
    }

    /// Tells the application.
    pub(super) fn deliver(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.fx.event(match delivery {
                Delivery::Message(message) => Event::Message(message),
                Delivery::Missed { topic, origin, count } => Event::Missed { topic, origin, count },
            });
        }
    }

    /// A comparison with that peer found no difference in messages.
    pub(super) fn note_agreement(&mut self, peer: NodeId) {
        if self.messages.has_gaps() {
            // What was announced or asked for may be on its way, though not for ever.
            let rounds = if self.wants.is_empty() { 1 } else { WANTING_REPAIRS };
            let (live, now) = (self.members.live(), self.fx.now.wall);
            let patience = self.config.repair_interval * rounds;
            let deliveries = self.messages.note_agreement(peer, live, now, patience);
            self.deliver(deliveries);
        }
    }

    pub(super) fn on_announce(&mut self, list: List<'_>, letter: &mut Letter) {
        for (id, size) in list.announced() {
            let knows = |space| {
                let replica = self.replica(space);
                replica.get(id).is_some() || replica.is_refused(id)
            };
            let held = [Space::Messages, Space::Data, Space::Agreement].into_iter().any(knows) || self.has_rejected(id);
            if held || self.wants.len() >= WANTS_MAX && !self.wants.contains_key(&id) {
                continue;
            }
            if !self.wants.contains_key(&id) {
                self.fx.arm(self.config.repair_interval, Timer::Want(id));
            }
            let want = self.wants.entry(id).or_insert_with(|| Want {
                size,
                asked: None,
                tries: 0,
                announcers: VecDeque::new(),
            });
            want.size = size;
            let known = want.asked == Some(letter.peer) || want.announcers.contains(&letter.peer);
            if !known && want.announcers.len() < ANNOUNCERS_MAX {
                want.announcers.push_back(letter.peer);
            }
        }
        self.ask_announcers(Some(letter));
    }

    /// Asks for what is wanted and was not asked for: each update of one announcer, and of each announcer no more than
    /// it can send in time under a bandwidth contract like this node's own. `letter` is a reply that is being written.
    fn ask_announcers(&mut self, mut letter: Option<&mut Letter>) {
        let window = self.budget.backlog_max();
        let mut promised: BTreeMap<NodeId, usize> = BTreeMap::new();
        for want in self.wants.values() {
            if let Some(asked) = want.asked {
                *promised.entry(asked).or_default() += want.size as usize;
            }
        }
        // Each node in an order of its own: those who ask one announcer ask for different things, and then each other.
        let mut open: Vec<UpdateId> =
            self.wants.iter().filter(|(_, want)| want.asked.is_none()).map(|(id, _)| *id).collect();
        open.sort_by_key(|id| id.0 ^ self.identity.id.0);
        let mut asks: BTreeMap<NodeId, Vec<UpdateId>> = BTreeMap::new();
        for id in open {
            let Some(want) = self.wants.get_mut(&id) else { continue };
            let size = want.size as usize;
            let has_room =
                |peer: &NodeId| promised.get(peer).is_none_or(|promised| promised.saturating_add(size) <= window);
            // Any of them: all nodes hear of it from the same one first, which could not serve them all in time.
            let mut places: Vec<usize> =
                (0..want.announcers.len()).filter(|place| has_room(&want.announcers[*place])).collect();
            self.fx.rng.shuffle(&mut places);
            let Some(place) = places.first().copied() else { continue };
            let peer = want.announcers.remove(place).expect("it was just found");
            want.asked = Some(peer);
            want.tries += 1;
            *promised.entry(peer).or_default() += size;
            asks.entry(peer).or_default().push(id);
            self.fx.arm(self.patience(self.wants[&id].size), Timer::Want(id));
        }
        for (peer, ids) in asks {
            // Whoever opened a stream ends it when a comparison does; what is asked for comes on one of its own.
            if let Some(letter) = letter.as_deref_mut().filter(|letter| letter.peer == peer && !letter.is_stream()) {
                self.put_requests(&ids, letter);
            } else if let Some(address) = self.members.address(peer) {
                let mut own = self.letter(peer, address);
                self.put_requests(&ids, &mut own);
                self.post(own);
            }
        }
    }

    /// The peer wants to know that this node lives at its address before it sends what was asked for: ask again.
    pub(super) fn repeat_requests(&mut self, letter: &mut Letter) {
        let asked: Vec<UpdateId> =
            self.wants.iter().filter(|(_, want)| want.asked == Some(letter.peer)).map(|(id, _)| *id).collect();
        self.put_requests(&asked, letter);
    }

    pub(super) fn put_requests(&mut self, wanted: &[UpdateId], letter: &mut Letter) {
        let most = if letter.is_stream() { 4_096 } else { (self.frames_max() - 4) / frame::SHORT_ID_BYTES };
        for ids in wanted.chunks(most) {
            if self.makes_room(letter, 4 + ids.len() * frame::SHORT_ID_BYTES) {
                letter.packet.request(ids);
            }
        }
    }

    /// Of messages that a comparison with `peer` found lacking, those that nobody was asked for a moment ago.
    pub(super) fn not_asked_yet(&mut self, lacking: &[UpdateId], peer: NodeId) -> Vec<UpdateId> {
        let limited = self.budget.is_limited();
        let wait = if limited { self.patience(SIZE_UNKNOWN) } else { self.config.gossip_interval };
        let mut wanted = Vec::with_capacity(lacking.len());
        for id in lacking {
            if self.wants.contains_key(id) {
                continue;
            }
            wanted.push(*id);
            if self.wants.len() < WANTS_MAX {
                self.wants.insert(
                    *id,
                    Want { size: SIZE_UNKNOWN, asked: Some(peer), tries: TRIES_MAX, announcers: VecDeque::new() },
                );
                self.fx.arm(wait, Timer::Want(*id));
            }
        }
        wanted
    }

    /// Whoever was asked did not send it: the next announcer is asked.
    pub(super) fn on_want_due(&mut self, id: UpdateId) {
        let Some(want) = self.wants.get_mut(&id) else { return };
        match want.asked.take() {
            // It sends, or has promised to.
            Some(asked) if self.streams.is_expecting(asked) => {
                want.asked = Some(asked);
                self.fx.arm(MORE_PATIENCE, Timer::Want(id));
                return;
            }
            Some(asked) if want.tries < TRIES_MAX => {
                // It is busy, or one of the two datagrams was lost: it may be asked again.
                want.announcers.push_back(asked);
                self.fx.arm(self.config.repair_interval, Timer::Want(id));
            }
            // Nobody is left, or all are busy; anti-entropy will find it.
            Some(_) | None => {
                self.wants.remove(&id);
            }
        }
        self.ask_announcers(None);
    }

    /// How long the asked announcer of an update of that size has: a second, and one more for each 256 KiB, and another
    /// where it may be under a bandwidth contract. A stream that it has opened by then is waited for as long as it lasts.
    fn patience(&self, size: u32) -> Duration {
        let opening = if self.budget.is_limited() { Duration::from_secs(2) } else { Duration::from_secs(1) };
        opening + Duration::from_millis(u64::from(size >> 8))
    }

    pub(super) fn on_request(&mut self, list: List<'_>, letter: &mut Letter) {
        let served = Space::ALL.into_iter().filter(|space| !self.withholds(*space, letter.peer));
        let replicas: Vec<Cow<'_, Replica>> = served.map(|space| self.replica(space)).collect();
        // Each once, however often it is named.
        let ids: BTreeSet<u64> = list.short_ids().take(REQUEST_MAX).collect();
        let held = |id| replicas.iter().flat_map(move |replica| replica.named(id)).cloned();
        let updates: Vec<Arc<Update>> = ids.into_iter().flat_map(held).collect();
        self.send_updates(&updates, letter);
    }

    /// Offers what a peer lacks: small updates go at once, large ones are announced, as in a push. Several peers may find
    /// out at the same time what one lacks, and it asks one of them.
    pub(super) fn offer_updates(&mut self, updates: &[Arc<Update>], letter: &mut Letter) {
        let large = |update: &Arc<Update>| update.bytes().len() > self.config.announce_bytes;
        let (large, small): (Vec<_>, Vec<_>) = updates.iter().cloned().partition(large);
        self.send_updates(&small, letter);
        let size = |update: &Arc<Update>| u32::try_from(update.bytes().len()).unwrap_or(u32::MAX);
        let list: Vec<_> = large.iter().map(|update| (update.id, size(update))).collect();
        for part in list.chunks((self.frames_max() - 4) / 12) {
            if self.makes_room(letter, 4 + part.len() * 12) {
                letter.packet.announce(part);
            }
        }
    }

    /// Sends updates in reply: in a few datagrams, or over a stream if they are many or large.
    pub(super) fn send_updates(&mut self, updates: &[Arc<Update>], letter: &mut Letter) {
        let now = self.fx.now.wall.seconds();
        let mut updates: Vec<&Arc<Update>> = updates.iter().filter(|update| update.forget() > now).collect();
        let sizes = || updates.iter().map(|update| frame::item_bytes(update.bytes().len()));
        let fits = sizes().all(|size| size + frame::UPDATES_HEAD_BYTES <= self.frames_max())
            && sizes().sum::<usize>() <= REPLY_DATAGRAMS * self.frames_max() / 2;
        if letter.is_stream() || fits {
            return self.put_updates(&updates, letter);
        }
        if !letter.is_proven() {
            letter.hold_back();
            return;
        }
        if let Some(stream) = self.exchange_stream(letter) {
            let mut room = self.budget.backlog_max().saturating_sub(self.streams.waiting());
            updates.retain(|update| {
                let fits = room > 0 && self.streams.begin(stream, update.id);
                room = room.saturating_sub(if fits { update.bytes().len() } else { 0 });
                fits
            });
            let mut packet = Letter::on_stream(stream, letter.peer, letter.to);
            self.put_updates(&updates, &mut packet);
            self.post(packet);
            self.streams.close_after(stream, &mut self.fx);
        }
    }

    pub(super) fn put_updates(&mut self, updates: &[&Arc<Update>], letter: &mut Letter) {
        let most = if letter.is_stream() { PACKET_BYTES } else { self.frames_max() };
        let mut items = Vec::new();
        for update in updates {
            let size = frame::item_bytes(update.bytes().len());
            let head = frame::UPDATES_HEAD_BYTES;
            let room = if letter.is_proven() { most } else { letter.packet.room().min(most) };
            if !items.is_empty() && head + items.len() + size > room.min(most) {
                self.put_items(&items, letter);
                items.clear();
            }
            frame::item(&mut items, self.hop_of(update), update.bytes());
            self.rumors.note_taken(update.id);
        }
        if !items.is_empty() {
            self.put_items(&items, letter);
        }
    }

    fn put_items(&mut self, items: &[u8], letter: &mut Letter) {
        if self.makes_room(letter, frame::UPDATES_HEAD_BYTES + items.len()) {
            letter.packet.updates(0, false, items);
        }
    }

    /// The hop count that an update has when it arrives at the next node.
    pub(super) fn hop_of(&self, update: &Update) -> u8 {
        let parts = update.parts();
        match parts.head {
            Head::Claim { .. } | Head::Data(_) | Head::Agreement(_) => 0,
            Head::Message { .. } => self.messages.hop(&parts).saturating_add(1),
        }
    }
}
