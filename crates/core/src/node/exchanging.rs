//! Comparisons with peers, step by step (design §2 Pull).

use std::borrow::Cow;
use std::sync::Arc;

use super::Node;
use super::letters::Letter;
use crate::effects::Timer;
use crate::exchange::{Asked, FIRST_SYMBOLS, Next, next_batch, wanted_symbols};
use crate::frame::{List, SketchHead, Space};
use crate::identity::NodeId;
use crate::io::StreamId;
use crate::replica::{Comparison, Replica};
use crate::sketch::SYMBOL_BYTES;
use crate::streams::Purpose;
use crate::update::{Update, UpdateId};

/// Bytes of a frame of a sketch beside its symbols: kind, length, head.
const SKETCH_HEAD_BYTES: usize = 1 + 3 + 19;
/// Where counts differ by more than this and by more than half, a comparison is not worth its symbols.
const BULK_DIFFERENCE: u32 = 256;

impl Node {
    pub(super) fn replica(&self, space: Space) -> Cow<'_, Replica> {
        match space {
            Space::Members => Cow::Borrowed(self.members.replica()),
            Space::Data => Cow::Borrowed(self.data.replica()),
            Space::Messages => Cow::Borrowed(self.messages.replica()),
            Space::Agreement if self.agreeing.is_unused() => Cow::Owned(Replica::counting_refused(self.fx.now.wall)),
            Space::Agreement => Cow::Borrowed(self.agreeing.space.replica()),
        }
    }

    /// The first symbols of every space. `one_way` asks without being asked back.
    pub(super) fn put_sketches(&mut self, letter: &mut Letter, one_way: bool) {
        for space in Space::ALL {
            // Who has nothing to agree on does not speak of it; who has something asks, or is asked in vain no more.
            let is_idle = space == Space::Agreement && !one_way && self.agreeing.space.is_empty();
            if is_idle || self.withholds(space, letter.peer) || self.is_transferring(space, letter.peer) {
                continue;
            }
            let exchange = self.fx.rng.bits();
            let replica = self.replica(space);
            let (as_of, count) = replica.counted();
            let as_of = (replica.changes(), as_of, count);
            // One symbol settles equality, and finds a single difference.
            let symbols = if self.is_lively(space) { FIRST_SYMBOLS } else { 1 };
            self.exchanges.ask(letter.peer, space, exchange, as_of, one_way, self.fx.now.instant);
            self.put_symbols(space, 0, symbols, letter);
        }
    }

    /// The peer wants to know that this node lives at its address before it answers at length: ask it again.
    pub(super) fn repeat_sketches(&mut self, letter: &mut Letter) {
        for space in Space::ALL {
            if let Some(asked) = self.exchanges.asked(letter.peer, space).copied() {
                self.put_symbols(space, 0, asked.sent.clamp(1, FIRST_SYMBOLS), letter);
            }
        }
    }

    /// Symbols `from..to` of the sketch that `letter`'s peer was promised.
    fn put_symbols(&mut self, space: Space, from: usize, to: usize, letter: &mut Letter) {
        let Some(asked) = self.exchanges.asked(letter.peer, space).copied() else { return };
        if !self.replica(space).remembers(asked.change) {
            // Too much has changed since it began; the next round begins anew.
            self.exchanges.end_asked(letter.peer, space);
            return;
        }
        if !self.makes_room(letter, SKETCH_HEAD_BYTES + (to - from) * SYMBOL_BYTES) {
            return;
        }
        let replica = self.replica(space);
        let symbols = replica.symbols(from, to, asked.change).expect("it is remembered");
        let offset = u16::try_from(from).expect("at most 4,096 symbols");
        let Asked { exchange, as_of, count, one_way, .. } = asked;
        letter.packet.sketch(&SketchHead { space, exchange, as_of, count, offset, one_way }, &symbols);
        self.exchanges.note_sent(letter.peer, space, to);
    }

    pub(super) fn on_sketch(&mut self, head: &SketchHead, symbols: List<'_>, letter: &mut Letter) {
        let SketchHead { space, exchange, .. } = *head;
        let now = self.fx.now.instant;
        if self.withholds(space, letter.peer) || self.is_transferring(space, letter.peer) {
            return;
        }
        let Some(answering) = self.exchanges.take_in(letter.peer, head, symbols.symbols(), now) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        let (have, theirs) = (answering.symbols.len(), answering.count);
        let replica = self.replica(space);
        let mut comparison = replica.compare(&answering.symbols, answering.as_of);
        let (_, ours) = replica.counted();
        if let Comparison::Found { theirs, .. } = &mut comparison {
            theirs.retain(|id| !self.has_rejected(*id));
        }
        match comparison {
            // Few symbols may cancel by chance; the counts tell.
            Comparison::Found { ours: mine, theirs: lacking } if mine.len() + lacking.len() > 0 || ours == theirs => {
                self.settle(head, &mine, &lacking, letter);
            }
            Comparison::Found { .. } if have > 1 => {
                // Differences that this node must not hold.
                self.settle(head, &[], &[], letter);
            }
            Comparison::Found { .. } | Comparison::Incomplete { .. } => {
                let found = if let Comparison::Incomplete { found } = comparison { found } else { have };
                let apart = ours.abs_diff(theirs);
                if apart > BULK_DIFFERENCE && apart > ours.max(theirs) / 2 {
                    self.offer_everything(space, exchange, letter);
                } else {
                    self.exchanges.keep(letter.peer, space, answering);
                    if self.makes_room(letter, 14) {
                        let place = |symbols| u16::try_from(symbols).expect("at most 4,096 symbols");
                        letter.packet.more(exchange, place(have), place(wanted_symbols(have, found)));
                    }
                }
            }
            Comparison::Hostile => {
                self.fx.counters.dropped.malformed += 1;
            }
        }
    }

    /// The comparison came to its end on this side.
    fn settle(&mut self, head: &SketchHead, mine: &[Arc<Update>], lacking: &[UpdateId], letter: &mut Letter) {
        let SketchHead { space, exchange, .. } = *head;
        let differences = u32::try_from(mine.len() + lacking.len()).unwrap_or(u32::MAX);
        self.note_outcome(space, differences, letter.peer);
        if space == Space::Data {
            self.note_lacking(lacking);
        }
        self.offer_updates(mine, letter);
        if !head.one_way {
            let wanted = self.not_asked_yet(lacking, letter.peer);
            self.put_requests(&wanted, letter);
        }
        // Who has to prove its address first will ask again, so it must not take this for the end.
        if !letter.is_held_back() && self.makes_room(letter, 14) {
            letter.packet.settled(exchange, differences);
        }
    }

    pub(super) fn on_more(&mut self, exchange: u64, from: u16, until: u16, letter: &mut Letter) {
        let Some((space, _)) = self.exchanges.asked_by_number(letter.peer, exchange) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        self.prove(letter);
        let from = usize::from(from);
        match (next_batch(from, until.into()), letter.stream()) {
            (Next::Datagram(to), None) => self.put_symbols(space, from, to, letter),
            (Next::Datagram(to) | Next::Stream(to), stream) => {
                self.write_on_stream(letter, stream, |node, packet| node.put_symbols(space, from, to, packet));
            }
            (Next::Bulk, _) => self.offer_everything(space, exchange, letter),
        }
    }

    pub(super) fn on_settled(&mut self, exchange: u64, differences: u32, letter: &mut Letter) {
        if self.is_filled(letter) {
            return;
        }
        let Some((space, _)) = self.exchanges.asked_by_number(letter.peer, exchange) else {
            self.fx.counters.dropped.unexpected += 1;
            return;
        };
        self.prove(letter);
        self.exchanges.end_asked(letter.peer, space);
        if !self.exchanges.is_unanswered(letter.peer) {
            self.fx.cancel(Timer::Ask(letter.peer));
        }
        self.note_outcome(space, differences, letter.peer);
        if let Some(stream) = letter.stream()
            && self.streams.get(stream).is_some_and(|stream| stream.purpose == Purpose::Exchange)
        {
            self.close_after_reply(stream, letter);
        }
    }

    fn note_outcome(&mut self, space: Space, differences: u32, peer: NodeId) {
        if space == Space::Data {
            self.note_data_compared(differences);
        }
        if differences > 0 {
            self.hurry_unless_futile();
        } else if space == Space::Messages {
            self.note_agreement(peer);
        }
    }

    /// Too much differs to compare: this side sends everything over a stream, and the other side answers alike.
    fn offer_everything(&mut self, space: Space, exchange: u64, letter: &mut Letter) {
        self.exchanges.end_asked(letter.peer, space);
        if self.is_transferring(space, letter.peer) {
            return;
        }
        let stream = letter.stream();
        self.write_on_stream(letter, stream, |node, packet| {
            packet.packet.bulk(space, exchange);
            if space == Space::Data {
                return node.serve_all(exchange, packet);
            }
            let everything: Vec<Arc<Update>> = node.replica(space).iter().cloned().collect();
            node.offer_updates(&everything, packet);
        });
    }

    pub(super) fn on_bulk(&mut self, space: Space, exchange: u64, letter: &mut Letter) {
        // Only who compares with this node gets everything, and once.
        if letter.is_stream() && self.exchanges.is_open(letter.peer, space, exchange) {
            self.exchanges.end_answering(letter.peer, space);
            self.exchanges.end_asked(letter.peer, space);
            self.hurry();
            if space == Space::Data {
                return self.on_filling(letter);
            }
            let everything: Vec<Arc<Update>> = self.replica(space).iter().cloned().collect();
            self.offer_updates(&everything, letter);
        } else {
            self.fx.counters.dropped.unexpected += 1;
        }
    }

    /// The stream to a peer over which comparisons and their results go, one for each peer. `None` while so much waits
    /// under a bandwidth contract that this would come too late: what is begun must end in the receiver's patience,
    /// who asks another peer.
    pub(super) fn exchange_stream(&mut self, letter: &Letter) -> Option<StreamId> {
        if self.streams.waiting() >= self.budget.backlog_max() {
            return None;
        }
        let open = self.streams.find(letter.to, Purpose::Exchange);
        open.or_else(|| self.open_stream(letter.peer, letter.to, Purpose::Exchange))
    }

    /// Writes a packet on the stream at hand, or on a new one to a proven peer.
    fn write_on_stream(
        &mut self,
        letter: &mut Letter,
        stream: Option<StreamId>,
        write: impl FnOnce(&mut Self, &mut Letter),
    ) {
        if stream.is_some() {
            return write(self, letter);
        }
        if !letter.is_proven() {
            letter.hold_back();
            return;
        }
        if let Some(stream) = self.exchange_stream(letter) {
            self.streams.keep_open(stream);
            let mut packet = Letter::on_stream(stream, letter.peer, letter.to);
            write(self, &mut packet);
            self.post(packet);
        }
    }
}
