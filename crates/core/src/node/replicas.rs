//! Writes that are done only once others hold them durably too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::data::{Data, Written};
use crate::effects::Timer;
use crate::frame;
use crate::identity::NodeId;
use crate::io::{Reply, Ticket};
use crate::time::Instant;
use crate::update::Update;
use crate::wire::PACKET_BYTES_MAX;

/// The longest time until others are asked.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What a frame of updates to be held takes beside them.
const HOLD_HEAD_BYTES: usize = 1 + 4 + 8;

/// A write that waits for confirmations.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Awaited {
    ticket: Ticket,
    written: Written,
    /// What was written, as keys of records, cut into packets; each has a number of its own.
    packets: Vec<Vec<Vec<u8>>>,
    /// Which packets each peer holds.
    held: BTreeMap<NodeId, BTreeSet<u64>>,
    /// Peers that have no disk.
    in_memory: BTreeSet<NodeId>,
    deadline: Instant,
    /// The time until others are asked; it doubles.
    wait: Duration,
}

impl Awaited {
    /// Whether a peer holds all of it.
    fn is_held_by(&self, peer: NodeId) -> bool {
        self.held.get(&peer).is_some_and(|packets| packets.len() == self.packets.len())
    }

    fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.held.keys().copied().filter(|peer| self.is_held_by(*peer))
    }

    /// How many peers hold all of it as durably as this node: where nothing is durable here, memory counts.
    fn replicas(&self) -> usize {
        self.holders().filter(|peer| !self.written.durable || !self.in_memory.contains(peer)).count()
    }

    /// What the application is told.
    fn written(self) -> Written {
        let in_memory = self.holders().filter(|peer| self.in_memory.contains(peer)).count();
        Written { replicas: self.replicas(), in_memory, ..self.written }
    }
}

/// The writes of this node that wait for others, by the number of their first packet.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Replicas {
    awaited: BTreeMap<u64, Awaited>,
    numbers: u64,
}

impl Replicas {
    /// Numbers begin at a random one: what peers confirm of an earlier life is not taken for this one's.
    pub(super) fn new(random: u64) -> Self {
        Self { awaited: BTreeMap::new(), numbers: random >> 1 }
    }

    /// How many writes wait.
    pub(super) fn len(&self) -> usize {
        self.awaited.len()
    }
}

impl Node {
    /// The write is done once enough others have it, or its time is over.
    pub(super) fn await_replicas(
        &mut self,
        ticket: Ticket,
        written: Written,
        subjects: Vec<Vec<u8>>,
        deadline: Instant,
    ) {
        let packets = self.cut(subjects);
        let number = self.replicas.numbers + 1;
        self.replicas.numbers += packets.len() as u64;
        let (held, in_memory) = (BTreeMap::new(), BTreeSet::new());
        let wait = self.config.gossip_interval;
        let awaited = Awaited { ticket, written, packets, held, in_memory, deadline, wait };
        self.replicas.awaited.insert(number, awaited);
        self.ask_to_hold(number);
    }

    /// As many updates in a packet as fit.
    fn cut(&self, subjects: Vec<Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
        let mut packets = vec![Vec::new()];
        let mut room = PACKET_BYTES_MAX - HOLD_HEAD_BYTES;
        for subject in subjects {
            let size = self.held(&subject).map_or(0, |update| frame::item_bytes(update.bytes().len()));
            if size > room {
                packets.push(Vec::new());
                room = PACKET_BYTES_MAX - HOLD_HEAD_BYTES;
            }
            room -= size;
            packets.last_mut().expect("there is one").push(subject);
        }
        packets
    }

    /// What is held now about the subject of a record.
    fn held(&self, key: &[u8]) -> Option<Arc<Update>> {
        self.data.shelf().read().get(&Data::subject_of(key)?).cloned()
    }

    /// Sends a write to as many peers as are still needed, others each time.
    fn ask_to_hold(&mut self, number: u64) {
        let Some(awaited) = self.replicas.awaited.get(&number) else { return };
        let (wanted, deadline) = (awaited.written.wanted, awaited.deadline);
        let missing = wanted - awaited.replicas().min(wanted);
        let done: Vec<NodeId> = awaited.holders().collect();
        let picked = self.members.pick(&mut self.fx.rng, missing + done.len(), None);
        for peer in picked.into_iter().filter(|peer| !done.contains(peer)).take(missing) {
            self.send_to_hold(number, peer);
        }
        let awaited = self.replicas.awaited.get_mut(&number).expect("it was just looked at");
        let wait = awaited.wait.min(deadline.since(self.fx.now.instant));
        awaited.wait = (awaited.wait * 2).min(WAIT_MAX);
        self.fx.arm(wait, Timer::Hold(number));
    }

    fn send_to_hold(&mut self, number: u64, peer: NodeId) {
        let (Some(awaited), Some(address)) = (self.replicas.awaited.get(&number), self.members.address(peer)) else {
            return;
        };
        let held = awaited.held.get(&peer);
        let numbered = (number..).zip(awaited.packets.clone());
        let open: Vec<_> = numbered.filter(|(packet, _)| held.is_none_or(|held| !held.contains(packet))).collect();
        for (packet, keys) in open {
            let updates: Vec<Arc<Update>> = keys.iter().filter_map(|key| self.held(key)).collect();
            let mut items = Vec::new();
            for update in &updates {
                frame::item(&mut items, 0, update.bytes());
            }
            let mut letter = self.letter(peer, address);
            if letter.packet.room() >= HOLD_HEAD_BYTES + items.len() {
                letter.packet.hold(packet, &items);
                self.post(letter);
            } else if let Some(stream) = self.exchange_stream(&letter) {
                let mut letter = Letter::on_stream(stream, peer, address);
                letter.packet.hold(packet, &items);
                self.post(letter);
                self.streams.close_after(stream, &mut self.fx);
            }
        }
    }

    /// A peer holds a packet of a write.
    pub(super) fn on_held(&mut self, number: u64, durable: bool, peer: NodeId) {
        let first = self.replicas.awaited.range_mut(..=number).next_back();
        let Some((first, awaited)) = first.filter(|(first, awaited)| number - **first < awaited.packets.len() as u64)
        else {
            // It came too late.
            return;
        };
        let first = *first;
        awaited.held.entry(peer).or_default().insert(number);
        if !durable {
            awaited.in_memory.insert(peer);
        }
        if awaited.replicas() >= awaited.written.wanted {
            self.end_awaited(first);
        }
    }

    pub(super) fn on_hold_due(&mut self, number: u64) {
        let now = self.fx.now.instant;
        match self.replicas.awaited.get(&number) {
            Some(awaited) if awaited.deadline <= now => self.end_awaited(number),
            Some(_) => self.ask_to_hold(number),
            None => {}
        }
    }

    fn end_awaited(&mut self, number: u64) {
        self.fx.cancel(Timer::Hold(number));
        if let Some(awaited) = self.replicas.awaited.remove(&number) {
            let ticket = awaited.ticket;
            self.done(ticket, Ok(Reply::Written(Box::new(awaited.written()))));
        }
    }
}
