//! The partial view of a node that cannot know everybody (HyParView: Leitao, Pereira and Rodrigues, DSN 2007).
//!
//! A small symmetric *active view* is whom this node talks to; a larger *passive view* is whom it could talk to instead.
//! Here is who stands in which, and who comes in when somebody goes; `node/overlaying.rs` says it to others.
//!
//! What strangers may do to the views is bounded: only a third party's word fills the passive view, so a third of it is
//! kept for those whom this node has spoken to itself; joins that push somebody out of the active view are paid for from an
//! [`Allowance`], and push out the younger half of it only.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::few::Few;
use crate::identity::NodeId;
use crate::rng::Rng;
use crate::slots::reserve_one;
use crate::time::Instant;

/// How many nodes a join walks through before it ends (§5.1: ARWL 6). No walk may be longer.
pub(crate) const JOIN_WALK: u8 = 6;
/// Where on its way a join is also noted in a passive view (§5.1: PRWL 3).
pub(crate) const JOIN_WALK_PASSIVE: u8 = 3;
/// How many nodes a shuffle walks through.
pub(crate) const SHUFFLE_WALK: u8 = 6;
/// How many of the active view a shuffle carries (§5.1: `k_a` 3).
const SHUFFLE_ACTIVE: usize = 3;
/// How many of the passive view (§5.1: `k_p` 4).
const SHUFFLE_PASSIVE: usize = 4;
/// The most peers that one frame may name: those of a shuffle and its origin.
pub(crate) const PEERS_MAX: usize = 1 + SHUFFLE_ACTIVE + SHUFFLE_PASSIVE;
/// Who had to leave the passive view for others and is remembered for when nobody else is left. After nine of ten nodes crashed
/// none of 35 peers is alive at 25 nodes of a thousand, none of 75 at four of ten thousand; most of those are found by others.
const RESERVE_MAX: usize = 40;
/// This part of the passive view is for those whom this node has spoken to.
const MET_PART: usize = 3;
/// How many may be asked to be neighbours at once.
const ASKED_MAX: usize = 4;
/// How often one of them is asked: datagrams get lost.
const ASKS_MAX: u32 = 3;

/// Somebody who can be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// Whether this could be a node at all: nobody sends this one to addresses that are nobody's or everybody's.
    pub(crate) fn is_plausible(&self) -> bool {
        let ip = self.address.ip();
        self.id != NodeId::NONE && self.address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
    }
}

/// An address without what is only of use on one machine: 20 bytes instead of 32.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
enum Place {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u16),
}

/// One of the passive view, of which a node has many more than of all others.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
struct Known {
    id: NodeId,
    place: Place,
    /// This node has spoken to it.
    is_met: bool,
}

/// Addresses that take no more memory than they must: there is one of these at each node.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct Reserve {
    v4: Vec<SocketAddrV4>,
    v6: Vec<SocketAddrV6>,
}

impl Reserve {
    fn put(&mut self, address: SocketAddr) {
        match address {
            SocketAddr::V4(address) => put_last(&mut self.v4, address),
            SocketAddr::V6(address) => put_last(&mut self.v6, address),
        }
    }

    fn take(&mut self, rng: &mut Rng) -> Option<SocketAddr> {
        let count = self.v4.len() + self.v6.len();
        let place = (count > 0).then(|| rng.below(count))?;
        let v6 = place.checked_sub(self.v4.len());
        Some(v6.map_or_else(|| self.v4.remove(place).into(), |place| self.v6.remove(place).into()))
    }
}

/// The last ones stay, each once.
fn put_last<T: PartialEq>(addresses: &mut Vec<T>, address: T) {
    addresses.retain(|other| *other != address);
    if addresses.len() == RESERVE_MAX {
        addresses.remove(0);
    }
    reserve_one(addresses);
    addresses.push(address);
}

impl Known {
    const fn new(peer: Peer, is_met: bool) -> Self {
        let place = match peer.address {
            SocketAddr::V4(address) => Place::V4(*address.ip(), address.port()),
            SocketAddr::V6(address) => Place::V6(*address.ip(), address.port()),
        };
        Self { id: peer.id, place, is_met }
    }

    fn peer(&self) -> Peer {
        let address = match self.place {
            Place::V4(ip, port) => (ip, port).into(),
            Place::V6(ip, port) => (ip, port).into(),
        };
        Peer { id: self.id, address }
    }
}

/// Why somebody is asked to be a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub(crate) enum Reason {
    /// A place of the active view is free.
    Search,
    /// A join ended its walk here: it gets a place even if somebody must go for it.
    Walk,
    /// The overlay may have come apart, and this one may be in another part: it gets a place likewise.
    Reunion,
}

/// Who gives up its place for somebody who comes into a full active view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Yields {
    /// Anybody (§4.2): this node itself looked for the one who comes.
    Any,
    /// One of the younger half. Deviation: links that have lasted are kept, however many strangers want in.
    Younger,
}

/// Somebody who was asked and has not answered.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Asked {
    pub(crate) peer: Peer,
    pub(crate) reason: Reason,
    tries: u32,
}

/// The two views, and whom this node asks to come into the first.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Overlay {
    /// In the order in which they came.
    active: Vec<Peer>,
    /// When each of them was last heard of.
    heard: Vec<Instant>,
    passive: Vec<Known>,
    /// Who had to leave the passive view, the last ones.
    reserve: Reserve,
    asked: Few<NodeId, Asked>,
    /// Who was asked in the present search for neighbours.
    tried: Vec<NodeId>,
    /// Who was named in the last shuffle: they give way first (§4.4).
    shuffled: Vec<NodeId>,
}

impl Overlay {
    pub(crate) fn active(&self) -> &[Peer] {
        &self.active
    }

    pub(crate) fn passive(&self) -> impl Iterator<Item = Peer> + '_ {
        self.passive.iter().map(Known::peer)
    }

    /// How many are in both views.
    pub(crate) fn len(&self) -> usize {
        self.active.len() + self.passive.len()
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.active.iter().position(|peer| peer.id == id)
    }

    /// A peer has just been heard of. Returns whether it is active.
    pub(crate) fn note_heard(&mut self, id: NodeId, now: Instant) -> bool {
        let place = self.place(id);
        if let Some(place) = place {
            self.heard[place] = now;
        }
        place.is_some()
    }

    /// Who of the active view was not heard of for so long, the longest silent first. Both ends of a link hear of each
    /// other by one ping, so that only one of them has to send it.
    pub(crate) fn silent(&self, span: Duration, now: Instant) -> impl Iterator<Item = NodeId> + use<> {
        let silent = (0..self.active.len()).filter(|place| now.since(self.heard[*place]) >= span);
        let mut silent: Vec<(Instant, NodeId)> =
            silent.map(|place| (self.heard[place], self.active[place].id)).collect();
        silent.sort_unstable();
        silent.into_iter().map(|(_, id)| id)
    }

    /// An active peer is reached elsewhere now.
    pub(crate) fn moved(&mut self, peer: Peer) {
        if let Some(place) = self.place(peer.id) {
            self.active[place] = peer;
        }
    }

    pub(crate) fn is_active(&self, id: NodeId) -> bool {
        self.place(id).is_some()
    }

    /// Brings a peer into the active view of at most `most`. Returns who had to go for it: a random one of those that may.
    pub(crate) fn enter(
        &mut self,
        peer: Peer,
        yields: Yields,
        most: usize,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Peer> {
        self.asked.remove(&peer.id);
        self.passive.retain(|known| known.id != peer.id);
        if self.is_active(peer.id) {
            self.moved(peer);
            return None;
        }
        let kept = match yields {
            Yields::Any => 0,
            Yields::Younger => self.active.len() / 2,
        };
        let pushed_out = (self.active.len() >= most).then(|| self.active[kept + rng.below(self.active.len() - kept)]);
        if let Some(other) = pushed_out {
            self.exit(other.id);
        }
        reserve_one(&mut self.active);
        reserve_one(&mut self.heard);
        self.active.push(peer);
        self.heard.push(now);
        if self.active.len() >= most {
            // The search is over.
            self.tried = Vec::new();
        }
        pushed_out
    }

    /// Takes out the peer that became active last, if more than `most` are.
    pub(crate) fn surplus(&mut self, most: usize) -> Option<Peer> {
        let last = self.active.last().filter(|_| self.active.len() > most)?;
        self.exit(last.id)
    }

    /// A peer is no longer active.
    pub(crate) fn exit(&mut self, id: NodeId) -> Option<Peer> {
        let place = self.place(id)?;
        self.heard.remove(place);
        Some(self.active.remove(place))
    }

    /// Keeps a peer in the passive view of at most `most`. Whoever was only heard of never takes the place of one that
    /// was met, nor whoever is met now that of those whom this node has known longest: however many come, half of them stay.
    pub(crate) fn keep(&mut self, peer: Peer, is_met: bool, most: usize, rng: &mut Rng) {
        if !peer.is_plausible() || self.is_active(peer.id) {
            return;
        }
        if let Some(known) = self.passive.iter_mut().find(|known| known.id == peer.id) {
            if is_met {
                *known = Known::new(peer, true);
            }
            return;
        }
        if is_met && self.passive.iter().filter(|known| known.is_met).count() >= most / MET_PART {
            self.drop_younger_met(rng);
        }
        if self.passive.len() >= most {
            let shuffled = std::mem::take(&mut self.shuffled);
            let given = |known: &Known| !known.is_met && shuffled.contains(&known.id);
            if !self.drop_one(given, 0, rng) && !self.drop_one(|known| !known.is_met, 0, rng) {
                self.shuffled = shuffled;
                return;
            }
            self.shuffled = shuffled;
        }
        reserve_one(&mut self.passive);
        self.passive.push(Known::new(peer, is_met));
    }

    fn drop_younger_met(&mut self, rng: &mut Rng) {
        let met = self.passive.iter().filter(|known| known.is_met).count();
        self.drop_one(|known| known.is_met, met / 2, rng);
    }

    /// Drops a random one of such, but for the `oldest` of them.
    fn drop_one(&mut self, is_it: impl Fn(&Known) -> bool, oldest: usize, rng: &mut Rng) -> bool {
        let places = (0..self.passive.len()).filter(|place| is_it(&self.passive[*place]));
        let places: Vec<usize> = places.skip(oldest).collect();
        let Some(place) = (!places.is_empty()).then(|| places[rng.below(places.len())]) else { return false };
        // In the order in which they came.
        let dropped = self.passive.remove(place).peer();
        self.reserve.put(dropped.address);
        true
    }

    /// The address of one that had to leave the passive view, for when nobody else is left to ask. It is tried once.
    pub(crate) fn take_spare(&mut self, rng: &mut Rng) -> Option<SocketAddr> {
        self.reserve.take(rng)
    }

    /// A peer is gone for good.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.passive.retain(|known| known.id != id);
    }

    /// Somebody of the passive view, at random.
    pub(crate) fn stranger(&self, rng: &mut Rng) -> Option<Peer> {
        (!self.passive.is_empty()).then(|| self.passive[rng.below(self.passive.len())].peer())
    }

    /// A new search: those who refused may be asked again.
    pub(crate) fn begin_search(&mut self) {
        self.tried.clear();
    }

    /// Whom to ask next for a free place of the active view of at most `most`: a random one of the passive view, each once
    /// in a search (§4.3).
    pub(crate) fn candidate(&mut self, most: usize, rng: &mut Rng) -> Option<Peer> {
        let searching = self.asked.values().filter(|asked| asked.reason == Reason::Search).count();
        if searching + self.active.len() >= most || self.asked.len() >= ASKED_MAX {
            return None;
        }
        let untried: Vec<Peer> = self.passive().filter(|peer| !self.tried.contains(&peer.id)).collect();
        let peer = *untried.get(if untried.is_empty() { 0 } else { rng.below(untried.len()) })?;
        self.tried.push(peer.id);
        Some(peer)
    }

    /// Notes that a peer is asked to be a neighbour; whether it may be.
    pub(crate) fn ask(&mut self, peer: Peer, reason: Reason) -> bool {
        let known = self.is_active(peer.id) || self.asked.contains_key(&peer.id);
        if known || self.asked.len() >= ASKED_MAX || !peer.is_plausible() {
            return false;
        }
        self.asked.insert(peer.id, Asked { peer, reason, tries: 1 });
        true
    }

    /// Why somebody was asked who has not answered.
    pub(crate) fn reason(&self, id: NodeId) -> Option<Reason> {
        self.asked.get(&id).map(|asked| asked.reason)
    }

    /// Where that one was asked.
    pub(crate) fn asked_peer(&self, id: NodeId) -> Option<Peer> {
        self.asked.get(&id).map(|asked| asked.peer)
    }

    /// Whether nobody is a neighbour, and nobody was asked.
    pub(crate) fn is_alone(&self) -> bool {
        self.active.is_empty() && self.asked.is_empty()
    }

    /// Somebody who was asked answered, one way or the other.
    pub(crate) fn answered(&mut self, id: NodeId) -> Option<Asked> {
        self.asked.remove(&id)
    }

    /// Somebody who was asked has not answered: `Some` if it is to be asked again, and how often it was. Who does not
    /// answer for good is forgotten.
    pub(crate) fn unanswered(&mut self, id: NodeId) -> Option<(Peer, u32)> {
        let asked = self.asked.get_mut(&id)?;
        if asked.tries < ASKS_MAX {
            asked.tries += 1;
            return Some((asked.peer, asked.tries));
        }
        self.answered(id);
        self.forget(id);
        None
    }

    /// What a shuffle names beside its origin: some of both views, but not its receiver (§4.4).
    pub(crate) fn shuffle(&mut self, to: NodeId, rng: &mut Rng) -> Vec<Peer> {
        let active = self.active.iter().copied().filter(|peer| peer.id != to).collect();
        let mut named = sample(active, SHUFFLE_ACTIVE, rng);
        named.extend(sample(self.passive().filter(|peer| peer.id != to).collect(), SHUFFLE_PASSIVE, rng));
        self.shuffled = named.iter().map(|peer| peer.id).collect();
        named
    }

    /// What answers a shuffle: as many of the passive view as it named, or of the active one while there are none.
    pub(crate) fn answer_shuffle(&mut self, to: NodeId, count: usize, rng: &mut Rng) -> Vec<Peer> {
        let passive: Vec<Peer> = self.passive().filter(|peer| peer.id != to).collect();
        let active = || self.active.iter().copied().filter(|peer| peer.id != to).collect();
        let named = sample(if passive.is_empty() { active() } else { passive }, count.min(PEERS_MAX), rng);
        self.shuffled = named.iter().map(|peer| peer.id).collect();
        named
    }

    /// Somebody of the active view but not `except`, at random: the next step of a walk.
    pub(crate) fn step(&self, except: &[NodeId], rng: &mut Rng) -> Option<Peer> {
        let others = self.active.iter().copied().filter(|peer| !except.contains(&peer.id)).collect();
        sample(others, 1, rng).first().copied()
    }
}

fn sample(mut peers: Vec<Peer>, count: usize, rng: &mut Rng) -> Vec<Peer> {
    rng.shuffle(&mut peers);
    peers.truncate(count);
    peers
}

/// How much others may make this node do: so many at once, then one in each interval.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Allowance {
    most: u32,
    left: u32,
    /// Since when what is left counts.
    at: Instant,
}

impl Allowance {
    pub(crate) const fn new(most: u32, now: Instant) -> Self {
        Self { most, left: most, at: now }
    }

    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, interval: Duration, now: Instant) -> bool {
        let regained = now.since(self.at).as_micros() / interval.as_micros().max(1);
        if regained > 0 {
            self.left = self.left.saturating_add(u32::try_from(regained).unwrap_or(u32::MAX)).min(self.most);
            self.at = now;
        }
        let has_one = self.left > 0;
        self.left -= u32::from(has_one);
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: usize = 5;
    const PASSIVE: usize = 30;
    const NOW: Instant = Instant::from_micros(1);

    fn peer(number: u16) -> Peer {
        let [high, low] = number.to_be_bytes();
        Peer { id: NodeId(u64::from(number) + 1), address: SocketAddr::from(([10, 0, high, low], 4747)) }
    }

    fn rng() -> Rng {
        Rng::new(1)
    }

    #[test]
    fn a_flood_of_made_up_peers_leaves_those_that_were_met() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..10 {
            overlay.keep(peer(number), true, PASSIVE, rng);
        }
        for number in 100..10_100 {
            overlay.keep(peer(number), false, PASSIVE, rng);
            assert!(overlay.passive().count() <= PASSIVE);
        }
        let met = overlay.passive().filter(|known| known.id.0 <= 10).count();
        assert_eq!((met, overlay.passive().count()), (10, PASSIVE));
    }

    #[test]
    fn whom_a_node_has_known_longest_stays_whoever_comes() {
        let (mut overlay, mut rng) = (Overlay::default(), Rng::new(5));
        for number in 0..10 {
            overlay.keep(peer(number), true, PASSIVE, &mut rng);
        }
        for number in 1_000..3_000 {
            overlay.keep(peer(number), number % 2 == 0, PASSIVE, &mut rng);
        }
        let oldest: Vec<u64> = overlay.passive().map(|known| known.id.0).filter(|id| *id <= 10).collect();
        assert_eq!(oldest, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_view_that_was_made_smaller_gives_up_whom_it_took_last() {
        let (mut overlay, mut rng) = (Overlay::default(), Rng::new(5));
        for number in 0..4 {
            overlay.enter(peer(number), Yields::Any, 8, NOW, &mut rng);
        }
        let surplus: Vec<u64> = std::iter::from_fn(|| overlay.surplus(2)).map(|peer| peer.id.0).collect();
        assert_eq!(surplus, [4, 3]);
        assert_eq!(overlay.active().len(), 2);
    }

    #[test]
    fn a_flood_of_joins_that_were_met_takes_no_more_than_a_third() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..30 {
            overlay.keep(peer(number), false, PASSIVE, rng);
        }
        for number in 100..10_100 {
            overlay.keep(peer(number), true, PASSIVE, rng);
        }
        let heard_of = overlay.passive().filter(|known| known.id.0 <= 30).count();
        assert_eq!((heard_of, overlay.passive().count()), (PASSIVE - PASSIVE / MET_PART, PASSIVE));
    }

    #[test]
    fn nobody_stands_twice_in_the_views() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for _ in 0..3 {
            overlay.keep(peer(1), false, PASSIVE, rng);
            overlay.keep(peer(1), true, PASSIVE, rng);
        }
        assert_eq!(overlay.len(), 1);
        assert_eq!(overlay.enter(peer(1), Yields::Any, ACTIVE, NOW, rng), None);
        assert_eq!(overlay.enter(peer(1), Yields::Any, ACTIVE, NOW, rng), None);
        overlay.keep(peer(1), true, PASSIVE, rng);
        assert_eq!((overlay.active().len(), overlay.len()), (1, 1), "a neighbour is not kept in mind as well");
        assert!(!overlay.ask(peer(1), Reason::Walk), "a neighbour is not asked to be one");
    }

    #[test]
    fn what_cannot_be_a_node_is_neither_kept_nor_asked() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        let good = peer(1);
        for bad in [
            Peer { id: NodeId::NONE, ..good },
            Peer { address: SocketAddr::from(([10, 0, 0, 1], 0)), ..good },
            Peer { address: SocketAddr::from(([0, 0, 0, 0], 4747)), ..good },
            Peer { address: SocketAddr::from(([224, 0, 0, 1], 4747)), ..good },
        ] {
            overlay.keep(bad, false, PASSIVE, rng);
            assert!(!overlay.ask(bad, Reason::Walk), "{bad:?}");
        }
        assert_eq!(overlay.len(), 0);
    }

    #[test]
    fn who_enters_a_full_active_view_pushes_one_out() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..5 {
            assert_eq!(overlay.enter(peer(number), Yields::Any, ACTIVE, NOW, rng), None);
        }
        let pushed_out = overlay.enter(peer(9), Yields::Any, ACTIVE, NOW, rng).expect("it was full");
        assert!(!overlay.is_active(pushed_out.id) && overlay.is_active(peer(9).id));
        assert_eq!(overlay.active().len(), ACTIVE);
    }

    #[test]
    fn a_flood_of_strangers_who_want_in_leaves_the_links_that_have_lasted() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..ACTIVE {
            overlay.enter(peer(u16::try_from(number).unwrap()), Yields::Any, ACTIVE, NOW, rng);
        }
        for number in 100..10_100 {
            let pushed_out = overlay.enter(peer(number), Yields::Younger, ACTIVE, NOW, rng);
            assert!(pushed_out.is_some(), "whoever is let in gets a place");
        }
        let lasting = overlay.active().iter().filter(|peer| peer.id.0 <= ACTIVE as u64).count();
        assert_eq!((lasting, overlay.active().len()), (ACTIVE / 2, ACTIVE));
    }

    #[test]
    fn who_never_answers_is_asked_three_times_and_forgotten_while_few_are_asked_at_once() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..20 {
            overlay.keep(peer(number), false, PASSIVE, rng);
        }
        let mut asked = Vec::new();
        while let Some(candidate) = overlay.candidate(ACTIVE, rng) {
            assert!(overlay.ask(candidate, Reason::Search));
            asked.push(candidate);
        }
        assert_eq!(asked.len(), ASKED_MAX);
        let first = asked[0];
        assert_eq!(overlay.unanswered(first.id), Some((first, 2)));
        assert_eq!(overlay.unanswered(first.id), Some((first, 3)));
        assert_eq!(overlay.unanswered(first.id), None);
        assert!(overlay.passive().all(|known| known.id != first.id), "it is forgotten");
        let next = overlay.candidate(ACTIVE, rng).expect("others are left");
        assert!(!asked.contains(&next), "each is asked once in a search");
    }

    #[test]
    fn the_last_that_had_to_leave_are_remembered_each_once() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in (0..1_000).chain(0..1_000) {
            overlay.keep(peer(number), false, PASSIVE, rng);
        }
        let mut spares = Vec::new();
        while let Some(address) = overlay.take_spare(rng) {
            assert!(!spares.contains(&address));
            spares.push(address);
        }
        assert_eq!(spares.len(), RESERVE_MAX);
        let v6 = Peer { address: SocketAddr::from(([1; 8], 4747)), ..peer(1) };
        overlay.reserve.put(v6.address);
        assert_eq!((overlay.take_spare(rng), overlay.take_spare(rng)), (Some(v6.address), None));
    }

    #[test]
    fn a_shuffle_names_at_most_seven_and_never_its_receiver() {
        let (mut overlay, rng) = (Overlay::default(), &mut rng());
        for number in 0..5 {
            overlay.enter(peer(number), Yields::Any, ACTIVE, NOW, rng);
        }
        for number in 100..130 {
            overlay.keep(peer(number), false, PASSIVE, rng);
        }
        for _ in 0..100 {
            let named = overlay.shuffle(peer(2).id, rng);
            assert_eq!(named.len(), SHUFFLE_ACTIVE + SHUFFLE_PASSIVE);
            assert!(!named.contains(&peer(2)));
            assert!(overlay.answer_shuffle(peer(2).id, usize::MAX, rng).len() <= PEERS_MAX);
        }
    }

    #[test]
    fn an_allowance_gives_so_many_at_once_and_then_one_in_each_interval() {
        let second = Duration::from_secs(1);
        let mut allowance = Allowance::new(3, NOW);
        let taken = |allowance: &mut Allowance, now| (0..10).filter(|_| allowance.take(second, now)).count();
        assert_eq!(taken(&mut allowance, NOW), 3);
        assert_eq!(taken(&mut allowance, NOW + second), 1);
        assert_eq!(taken(&mut allowance, NOW + second * 100), 3, "what was not used is not saved up beyond that");
    }
}
