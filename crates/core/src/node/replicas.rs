//! Writes that are done only once others hold them durably too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Node;
use super::letters::Letter;
use crate::data::{RECORD_PREFIX, Written};
use crate::datum::Subject;
use crate::effects::Timer;
use crate::frame;
use crate::identity::NodeId;
use crate::io::{Reply, Ticket};
use crate::time::Instant;
use crate::update::Update;
use crate::wire::{PACKET_BYTES_MAX, Reader};

/// What a frame of updates to be held takes beside them.
const HOLD_HEAD_BYTES: usize = 1 + 4 + 8;

/// A write that waits for confirmations.
#[derive(Debug)]
pub(super) struct Awaited {
    ticket: Ticket,
    written: Written,
    /// What was written, as keys of records, cut into packets; each has a number of its own.
    packets: Vec<Vec<Vec<u8>>>,
    /// Which packets each peer has confirmed.
    confirmed: BTreeMap<NodeId, BTreeSet<u64>>,
    in_memory: BTreeSet<NodeId>,
    deadline: Instant,
}

impl Awaited {
    fn replicas(&self) -> usize {
        self.confirmed.values().filter(|packets| packets.len() == self.packets.len()).count()
    }
}

/// The writes of this node that wait for others, by the number of their first packet.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    awaited: BTreeMap<u64, Awaited>,
    numbers: u64,
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
        let (confirmed, in_memory) = (BTreeMap::new(), BTreeSet::new());
        let awaited = Awaited { ticket, written, packets, confirmed, in_memory, deadline };
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
        let subject = Subject::read(&mut Reader::new(key.strip_prefix(RECORD_PREFIX)?))?;
        self.data.shelf().read().get(&subject).cloned()
    }

    /// Sends a write to as many peers as are still needed, others each time.
    fn ask_to_hold(&mut self, number: u64) {
        let Some(awaited) = self.replicas.awaited.get(&number) else { return };
        let (wanted, deadline) = (awaited.written.wanted, awaited.deadline);
        let missing = wanted - awaited.replicas().min(wanted);
        let begun: Vec<NodeId> = awaited.confirmed.keys().chain(&awaited.in_memory).copied().collect();
        let done: Vec<NodeId> = begun.iter().copied().filter(|peer| self.has_all(number, *peer)).collect();
        let picked = self.members.pick(&mut self.fx.rng, missing + done.len(), None);
        for peer in picked.into_iter().filter(|peer| !done.contains(peer)).take(missing) {
            self.send_to_hold(number, peer);
        }
        let wait = self.config.gossip_interval.min(deadline.since(self.fx.now.instant));
        self.fx.arm(wait, Timer::Hold(number));
    }

    /// Whether a peer has told all that it can about a write.
    fn has_all(&self, number: u64, peer: NodeId) -> bool {
        let awaited = &self.replicas.awaited[&number];
        let packets = awaited.confirmed.get(&peer).map_or(0, BTreeSet::len);
        packets == awaited.packets.len() || awaited.in_memory.contains(&peer)
    }

    fn send_to_hold(&mut self, number: u64, peer: NodeId) {
        let (Some(awaited), Some(address)) = (self.replicas.awaited.get(&number), self.members.address(peer)) else {
            return;
        };
        let confirmed = awaited.confirmed.get(&peer);
        let numbered = (number..).zip(awaited.packets.clone());
        let open: Vec<_> = numbered.filter(|(packet, _)| confirmed.is_none_or(|done| !done.contains(packet))).collect();
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
        if durable {
            awaited.confirmed.entry(peer).or_default().insert(number);
        } else {
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
            let (replicas, in_memory) = (awaited.replicas(), awaited.in_memory.len());
            let written = Written { replicas, in_memory, ..awaited.written };
            self.done(awaited.ticket, Ok(Reply::Written(Box::new(written))));
        }
    }
}
