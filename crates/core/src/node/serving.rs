//! All data on their way to a peer that lacks most of them, a little at a time: what waits on a stream stays small,
//! however large the database, and both ends go on with everything else meanwhile.
//!
//! Data go in the order of their keys, read as the stream takes them. While a node is being filled it compares data with
//! nobody: it would be offered the same again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use crate::data::Data;
use crate::frame::Space;
use crate::identity::NodeId;
use crate::io::StreamId;
use crate::time::Instant;
use crate::update::Update;

/// Bytes that wait on a stream before no more are read.
const AHEAD_BYTES: usize = 256 << 10;
/// Bytes of one packet, unless a single update has more.
const PACKET_BYTES: usize = 32 << 10;
/// A transfer that made no headway for this long is not waited for.
const FILLING_PAUSE: Duration = Duration::from_secs(5);

/// What a peer still has to get.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
enum Rest {
    /// Everything after the subject of this record, in a comparison of that number.
    After(Vec<u8>, u64),
    /// These: what this node had itself before it was filled.
    These(Vec<Arc<Update>>),
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Serving {
    peer: NodeId,
    to: SocketAddr,
    rest: Rest,
}

/// Transfers of all data, out and in.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(super) struct Servings {
    out: BTreeMap<StreamId, Serving>,
    /// On which stream everything comes in, and when it made headway last.
    filling: Option<(StreamId, Instant)>,
}

impl Servings {
    fn is_out_to(&self, peer: NodeId) -> bool {
        self.out.values().any(|serving| serving.peer == peer)
    }

    /// The stream that fills this node.
    fn filling(&self, now: Instant) -> Option<StreamId> {
        self.filling.filter(|(_, at)| now.since(*at) < FILLING_PAUSE).map(|(stream, _)| stream)
    }

    /// Much came in on a stream.
    pub(super) fn note_headway(&mut self, stream: StreamId, now: Instant) {
        if let Some((filling, at)) = &mut self.filling
            && *filling == stream
        {
            *at = now;
        }
    }

    /// A stream is no more.
    pub(super) fn note_end(&mut self, stream: StreamId) {
        self.out.remove(&stream);
        self.filling.take_if(|(filling, _)| *filling == stream);
    }
}

impl Node {
    /// Whether a space is being transferred as a whole, so that a comparison with that peer would only repeat it.
    pub(super) fn is_transferring(&self, space: Space, peer: NodeId) -> bool {
        let filling = || self.servings.filling(self.fx.now.instant).is_some();
        space == Space::Data && (self.servings.is_out_to(peer) || filling())
    }

    pub(super) fn is_filled_by(&self, letter: &Letter) -> bool {
        letter.stream().is_some_and(|stream| self.servings.filling(self.fx.now.instant) == Some(stream))
    }

    /// Sends all data over the stream of a letter, after it.
    pub(super) fn serve_all(&mut self, exchange: u64, letter: &Letter) {
        self.serve(letter, Rest::After(Vec::new(), exchange));
    }

    /// A peer sends all its data: it gets what this node has now.
    pub(super) fn on_filling(&mut self, letter: &Letter) {
        let Some(stream) = letter.stream() else { return };
        let now = self.fx.now.instant;
        if self.servings.filling(now).is_some_and(|filling| filling != stream) {
            // One at a time.
            self.streams.close(stream, &mut self.fx);
            return;
        }
        self.servings.filling = Some((stream, now));
        if !self.servings.is_out_to(letter.peer) {
            let own = self.data.replica().iter().rev().cloned().collect();
            self.serve(letter, Rest::These(own));
        }
    }

    /// Whether what the letter answers said that all data have come: then it compares them again.
    pub(super) fn is_filled(&mut self, letter: &Letter) -> bool {
        let ended = self.servings.filling.take_if(|(filling, _)| Some(*filling) == letter.stream());
        if ended.is_some() {
            self.hurry();
        }
        ended.is_some()
    }

    fn serve(&mut self, letter: &Letter, rest: Rest) {
        if let Some(stream) = letter.stream() {
            self.streams.hold(stream);
            self.servings.out.insert(stream, Serving { peer: letter.peer, to: letter.to, rest });
        }
    }

    /// Hands on as much as the streams have room for.
    pub(super) fn serve_peers(&mut self) {
        if self.servings.out.is_empty() {
            return;
        }
        let streams: Vec<StreamId> = self.servings.out.keys().copied().collect();
        for stream in streams {
            while self.streams.get(stream).is_some_and(|open| open.waiting() < AHEAD_BYTES) && self.serve_some(stream) {
            }
            if self.streams.get(stream).is_none() {
                self.servings.note_end(stream);
            }
        }
    }

    /// Sends the next packet; whether there was one.
    fn serve_some(&mut self, stream: StreamId) -> bool {
        let Some(Serving { peer, to, rest }) = self.servings.out.get_mut(&stream) else { return false };
        let (mut letter, now) = (Letter::on_stream(stream, *peer, *to), self.fx.now.wall.seconds());
        let updates = match rest {
            Rest::After(subject, _) => self.data.after(subject, PACKET_BYTES),
            Rest::These(updates) => next_of(updates),
        };
        let Some(last) = updates.last() else {
            if let Rest::After(_, exchange) = rest {
                letter.packet.settled(*exchange, 0);
            }
            self.servings.out.remove(&stream);
            self.post(letter);
            self.streams.release(stream, &mut self.fx);
            return false;
        };
        if let Rest::After(subject, _) = rest {
            *subject = Data::record_key(&last.subject());
        }
        let updates: Vec<&Arc<Update>> = updates.iter().filter(|update| update.forget() > now).collect();
        self.put_updates(&updates, &mut letter);
        self.post(letter);
        true
    }
}

/// The last updates of a list, as many as a packet holds.
fn next_of(updates: &mut Vec<Arc<Update>>) -> Vec<Arc<Update>> {
    let mut bytes = 0;
    let fits = |update: &&Arc<Update>| {
        let had_room = bytes < PACKET_BYTES;
        bytes += update.bytes().len();
        had_room
    };
    let count = updates.iter().rev().take_while(fits).count();
    updates.split_off(updates.len() - count)
}
