//! The full view: every member that this node knows, by claims and their order.
//!
//! A claim is an update of the members space; of two claims about one member the greater one holds ([`precedence`]), in the order
//! (incarnation, alive < suspect < dead < left < removed, forget), the bytes last.
//!
//! Ids and rows lie beside the replica's slots, 21 bytes together, because ten thousand of them must cost little. What
//! is a function of the claims alone is shared by the copies of one view until it changes: a laboratory has ten thousand.
//!
//! **Invariant:** the view is a function of the claims merged. Nothing here looks at a clock to decide.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::hash;
use crate::identity::NodeId;
use crate::io::{InView, Member, State};
use crate::precedence::{self, Version};
use crate::replica::Replica;
use crate::rng::Rng;
use crate::slots::{Slot, SlotIndex, reserve_one};
use crate::stats::MemberCounts;
use crate::time::{Seconds, Wall};
use crate::update::{self, ClaimBody, Head, Update, UpdateRef};

const NOWHERE: u32 = u32::MAX;

/// What this node knows of a member beyond its claim, which lies in the replica at the same slot.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct Row {
    since: Seconds,
    /// Smoothed round-trip time in microseconds, zero before the first.
    rtt_micros: u32,
    /// Where the member stands in `live`.
    place: u32,
}

/// How a claim stands to what is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// The very same is held.
    Known,
    /// A greater one is held.
    Stale,
    /// It supersedes what is held, if anything.
    News,
}

/// What a merge changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Merged {
    pub(crate) id: NodeId,
    pub(crate) before: Option<Version>,
    pub(crate) after: Version,
    /// The member whose name is now another's.
    pub(crate) replaced: Option<NodeId>,
}

/// Who lies at which slot of the replica: the same for many copies of one view.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
struct Roster {
    ids: Vec<NodeId>,
    /// Whether the claimed address has returned a token or spoken over a stream. Asked for each datagram.
    proven: Vec<bool>,
    by_id: SlotIndex,
    by_name: SlotIndex,
}

/// All members, this node among them.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Members {
    me: NodeId,
    /// In which view its members are.
    listed_as: InView,
    replica: Replica,
    roster: Arc<Roster>,
    rows: Vec<Row>,
    /// The live members but this node, in the order in which they are probed.
    live: Vec<Slot>,
    /// Those before it were probed in this pass.
    cursor: usize,
    counts: [usize; 5],
}

impl Members {
    pub(crate) fn new(me: NodeId, listed_as: InView, now: Wall) -> Self {
        Self {
            me,
            listed_as,
            replica: if listed_as == InView::Full { Replica::new(now) } else { Replica::private(now) },
            roster: Arc::default(),
            rows: Vec::new(),
            live: Vec::new(),
            cursor: 0,
            counts: [0; 5],
        }
    }

    /// A copy of a view that nobody has yet, as the member `me` has it: in a probe order of its own.
    pub(crate) fn seen_by(&self, me: NodeId, rng: &mut Rng) -> Self {
        let mut seen = Self { me, cursor: 0, ..self.clone() };
        let own = seen.slot_of(me).expect("whoever is given a view is part of it");
        seen.exit(own);
        seen.reorder(rng);
        seen
    }

    pub(crate) const fn replica(&self) -> &Replica {
        &self.replica
    }

    pub(crate) const fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// How many members are talked to, this node not counted.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// How many members are alive, this node counted: the `n` of all formulas.
    pub(crate) const fn alive(&self) -> usize {
        self.counts[State::Alive as usize]
    }

    pub(crate) const fn counts(&self) -> MemberCounts {
        MemberCounts {
            alive: self.counts[State::Alive as usize],
            suspect: self.counts[State::Suspect as usize],
            dead: self.counts[State::Dead as usize],
            left: self.counts[State::Left as usize],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whose row is at a slot.
    pub(crate) fn id_at(&self, slot: Slot) -> NodeId {
        self.roster.ids[slot as usize]
    }

    fn slot_of(&self, id: NodeId) -> Option<Slot> {
        self.roster.by_id.candidates(id.0).find(|slot| self.id_at(*slot) == id)
    }

    /// The claim held about a member.
    pub(crate) fn claim(&self, id: NodeId) -> Option<&Arc<Update>> {
        self.slot_of(id).map(|slot| self.replica.at(slot))
    }

    /// The claim that is held as these very bytes. Most claims that come in are, and need not be taken apart then.
    pub(crate) fn held_as(&self, bytes: &[u8]) -> Option<&Arc<Update>> {
        self.claim(update::member_of(bytes)?).filter(|held| held.bytes() == bytes)
    }

    pub(crate) fn version(&self, id: NodeId) -> Option<Version> {
        self.claim(id).map(|claim| version(&claim.parts()))
    }

    /// Where a member is reached.
    pub(crate) fn address(&self, id: NodeId) -> Option<SocketAddr> {
        self.claim(id).and_then(|claim| claim.claim_address())
    }

    /// What this node holds a member for, removed ones included.
    pub(crate) fn state(&self, id: NodeId) -> Option<State> {
        self.claim(id).map(|claim| claim.claim_state())
    }

    pub(crate) fn is_live(&self, id: NodeId) -> bool {
        self.state(id).is_some_and(State::is_live)
    }

    /// Since when a member that was not removed is in its state.
    pub(crate) fn since(&self, id: NodeId) -> Option<Seconds> {
        let slot = self.slot_of(id).filter(|slot| self.state_at(*slot) != State::Removed)?;
        Some(self.rows[slot as usize].since)
    }

    pub(crate) fn rtt(&self, id: NodeId) -> Option<Duration> {
        let rtt = self.rows[self.slot_of(id)? as usize].rtt_micros;
        (rtt > 0).then(|| Duration::from_micros(rtt.into()))
    }

    /// Takes in a measured round trip: an eighth of the way towards it (RFC 6298 §2).
    pub(crate) fn note_rtt(&mut self, id: NodeId, measured: Duration) {
        let Some(slot) = self.slot_of(id) else { return };
        let measured = u32::try_from(measured.as_micros()).unwrap_or(u32::MAX).max(1);
        let rtt = &mut self.rows[slot as usize].rtt_micros;
        *rtt = if *rtt == 0 { measured } else { *rtt - *rtt / 8 + measured / 8 };
    }

    /// Whether `address` is this member's and has proven that what is sent there arrives.
    pub(crate) fn is_proven(&self, id: NodeId, address: SocketAddr) -> bool {
        self.slot_of(id).is_some_and(|slot| {
            self.roster.proven[slot as usize] && self.replica.at(slot).claim_address() == Some(address)
        })
    }

    pub(crate) fn prove(&mut self, id: NodeId, address: SocketAddr) {
        if let Some(slot) = self.slot_of(id)
            && !self.roster.proven[slot as usize]
            && self.replica.at(slot).claim_address() == Some(address)
        {
            Arc::make_mut(&mut self.roster).proven[slot as usize] = true;
        }
    }

    /// How a claim stands to what is held.
    pub(crate) fn standing(&self, claim: &UpdateRef<'_>) -> Standing {
        let Head::Claim { member, .. } = claim.head else {
            unreachable!("only claims come here");
        };
        let Some(held) = self.claim(member) else { return Standing::News };
        if held.bytes() == claim.bytes {
            return Standing::Known;
        }
        match precedence::order((version(claim), claim.bytes), (version(&held.parts()), held.bytes())) {
            std::cmp::Ordering::Greater => Standing::News,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => Standing::Stale,
        }
    }

    /// Takes in a claim that is news.
    pub(crate) fn merge(&mut self, claim: Arc<Update>, rng: &mut Rng, now: Seconds) -> Merged {
        assert_eq!(self.standing(&claim.parts()), Standing::News, "only news is merged");
        let parts = claim.parts();
        let Head::Claim { member: id, .. } = parts.head else { unreachable!("standing asked for a claim") };
        let name = body(&parts).name.to_owned();
        let held_by = self.holder(&name);
        let after = version(&parts);
        let before = self.version(id);
        match self.slot_of(id) {
            Some(slot) => self.supersede(slot, claim, now),
            None => self.add(id, claim, now),
        }
        let slot = self.slot_of(id).expect("it was just put there");
        self.settle(slot, before.map(|before| before.1), after.1, rng);
        let holds = self.holder(&name);
        let replaced = held_by.filter(|old| holds.is_some_and(|new| new != *old)).map(|slot| self.id_at(slot));
        Merged { id, before, after, replaced }
    }

    fn add(&mut self, id: NodeId, claim: Arc<Update>, now: Seconds) {
        let name = name_hash(body(&claim.parts()).name);
        let slot = self.replica.insert(claim);
        assert_eq!(slot as usize, self.rows.len(), "rows and updates share their slots");
        reserve_one(&mut self.rows);
        self.rows.push(Row { since: now, rtt_micros: 0, place: NOWHERE });
        let Roster { ids, proven, by_id, by_name } = Arc::make_mut(&mut self.roster);
        reserve_one(proven);
        proven.push(false);
        reserve_one(ids);
        ids.push(id);
        by_id.insert(id.0, slot, |slot| ids[slot as usize].0);
        by_name.insert(name, slot, |slot| name_at(&self.replica, slot));
    }

    fn supersede(&mut self, slot: Slot, claim: Arc<Update>, now: Seconds) {
        let (old, new) = (name_at(&self.replica, slot), name_hash(body(&claim.parts()).name));
        let moved = self.replica.at(slot).claim_address() != claim.claim_address();
        if old != new {
            Arc::make_mut(&mut self.roster).by_name.remove(old, slot, |slot| name_at(&self.replica, slot));
        }
        self.replica.replace(slot, claim);
        if old != new {
            Arc::make_mut(&mut self.roster).by_name.insert(new, slot, |slot| name_at(&self.replica, slot));
        }
        self.rows[slot as usize].since = now;
        if moved {
            Arc::make_mut(&mut self.roster).proven[slot as usize] = false;
        }
    }

    /// Counts a member under its new state and keeps the list of the live ones.
    fn settle(&mut self, slot: Slot, before: Option<State>, after: State, rng: &mut Rng) {
        if let Some(before) = before {
            self.counts[before as usize] -= 1;
        }
        self.counts[after as usize] += 1;
        let listed = self.rows[slot as usize].place != NOWHERE;
        let is_peer = after.is_live() && self.id_at(slot) != self.me;
        if is_peer && !listed {
            self.enter(slot, rng);
        } else if !is_peer && listed {
            self.exit(slot);
        }
    }

    /// At a random place of the order, as SWIM §4.3 has it.
    fn enter(&mut self, slot: Slot, rng: &mut Rng) {
        reserve_one(&mut self.live);
        self.live.push(slot);
        let (last, place) = (self.live.len() - 1, rng.below(self.live.len()));
        self.live.swap(last, place);
        self.mark_place(last);
        self.mark_place(place);
    }

    /// Keeps those that were probed in this pass before the cursor and the others behind it, so that nobody is
    /// passed over for longer than two passes (SWIM §4.3).
    fn exit(&mut self, slot: Slot) {
        let mut hole = self.rows[slot as usize].place as usize;
        if hole < self.cursor {
            self.cursor -= 1;
            self.live.swap(hole, self.cursor);
            self.mark_place(hole);
            hole = self.cursor;
        }
        self.live.swap_remove(hole);
        if hole < self.live.len() {
            self.mark_place(hole);
        }
        self.rows[slot as usize].place = NOWHERE;
    }

    fn mark_place(&mut self, place: usize) {
        let slot = self.live[place];
        self.rows[slot as usize].place = u32::try_from(place).expect("fewer than 2^32 members");
    }

    /// Takes members out whose death certificates ran out.
    pub(crate) fn forget(&mut self, ids: &[NodeId]) {
        for id in ids {
            if let Some(slot) = self.slot_of(*id) {
                self.drop_row(slot);
            }
        }
    }

    /// Takes a member out, whatever its state: a neighbour of a partial view that is none any more.
    pub(crate) fn release(&mut self, id: NodeId) {
        if let Some(slot) = self.slot_of(id) {
            if self.rows[slot as usize].place != NOWHERE {
                self.exit(slot);
            }
            self.drop_row(slot);
        }
    }

    fn drop_row(&mut self, slot: Slot) {
        let state = self.state_at(slot);
        assert!(self.rows[slot as usize].place == NOWHERE, "who is still talked to does not run out");
        self.counts[state as usize] -= 1;
        let (id, name) = (self.id_at(slot), name_at(&self.replica, slot));
        let Roster { ids, proven, by_id, by_name } = Arc::make_mut(&mut self.roster);
        by_id.remove(id.0, slot, |slot| ids[slot as usize].0);
        by_name.remove(name, slot, |slot| name_at(&self.replica, slot));
        let last = Slot::try_from(self.rows.len() - 1).expect("fewer than 2^32 members");
        if slot != last {
            by_id.moved(ids[last as usize].0, last, slot);
            by_name.moved(name_at(&self.replica, last), last, slot);
        }
        ids.swap_remove(slot as usize);
        assert_eq!(self.replica.remove(slot), (slot != last).then_some(last));
        self.rows.swap_remove(slot as usize);
        proven.swap_remove(slot as usize);
        if slot != last && self.rows[slot as usize].place != NOWHERE {
            let place = self.rows[slot as usize].place as usize;
            self.live[place] = slot;
        }
    }

    /// Up to `count` different live members at random, without `except`.
    pub(crate) fn pick(&self, rng: &mut Rng, count: usize, except: Option<NodeId>) -> Vec<NodeId> {
        let excluded = except.is_some_and(|id| self.is_live(id) && id != self.me);
        let count = count.min(self.live.len() - usize::from(excluded));
        let mut picked = Vec::with_capacity(count);
        while picked.len() < count {
            let id = self.id_at(self.live[rng.below(self.live.len())]);
            if Some(id) != except && !picked.contains(&id) {
                picked.push(id);
            }
        }
        picked
    }

    /// The live members but this node.
    pub(crate) fn live_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.live.iter().map(|slot| self.id_at(*slot))
    }

    /// Some live members whose neighbour this node is likewise, as far as both hold the same view: those next to it on
    /// `rings` rings, on each of which all members stand in an order of its own. Such a graph is connected, and as good as a
    /// random one.
    pub(crate) fn ring_neighbours(&self, rings: u64) -> Vec<NodeId> {
        let mut neighbours = Vec::new();
        for ring in 0..rings {
            let at = |id: NodeId| hash::keyed(&[0; 16], &[ring.to_le_bytes(), id.0.to_le_bytes()].concat());
            let own = at(self.me);
            let after = self.live_ids().min_by_key(|id| at(*id).wrapping_sub(own));
            let before = self.live_ids().min_by_key(|id| own.wrapping_sub(at(*id)));
            for id in after.into_iter().chain(before) {
                if !neighbours.contains(&id) {
                    neighbours.push(id);
                }
            }
        }
        neighbours
    }

    /// Where the live members but this node are reached.
    pub(crate) fn live_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.live.iter().filter_map(|slot| self.replica.at(*slot).claim_address())
    }

    /// Whom to probe next: everybody once, then again in a new order (SWIM §4.3).
    pub(crate) fn next_probe(&mut self, rng: &mut Rng) -> Option<NodeId> {
        if self.cursor >= self.live.len() {
            self.reorder(rng);
        }
        let slot = *self.live.get(self.cursor)?;
        self.cursor += 1;
        Some(self.id_at(slot))
    }

    fn reorder(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.live);
        (0..self.live.len()).for_each(|place| self.mark_place(place));
        self.cursor = 0;
    }

    /// Who holds a name, decided from the claims alone: live before others, then the earlier first boot, then the
    /// lower id.
    fn holder(&self, name: &str) -> Option<Slot> {
        let named =
            |slot: &Slot| body(&self.replica.at(*slot).parts()).name == name && self.state_at(*slot) != State::Removed;
        let claim_to_it = |slot: &Slot| {
            let first_boot = body(&self.replica.at(*slot).parts()).first_boot;
            (!self.state_at(*slot).is_live(), first_boot, self.id_at(*slot))
        };
        self.roster.by_name.candidates(name_hash(name)).filter(named).min_by_key(claim_to_it)
    }

    /// The member that is shown under a name.
    pub(crate) fn holder_of(&self, name: &str) -> Option<NodeId> {
        self.holder(name).map(|slot| self.id_at(slot))
    }

    fn state_at(&self, slot: Slot) -> State {
        self.replica.at(slot).claim_state()
    }

    /// A member as an application sees it; `None` also for one that was removed.
    pub(crate) fn member(&self, id: NodeId) -> Option<Member> {
        self.slot_of(id).filter(|slot| self.state_at(*slot) != State::Removed).map(|slot| self.view(slot))
    }

    /// Every listed member.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Member> + '_ {
        (0..Slot::try_from(self.rows.len()).expect("fewer than 2^32 members"))
            .filter(|slot| self.state_at(*slot) != State::Removed)
            .map(|slot| self.view(slot))
    }

    /// The bare versions of all claims held.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (NodeId, Version)> + '_ {
        self.roster.ids.iter().zip(self.replica.iter()).map(|(id, claim)| (*id, version(&claim.parts())))
    }

    /// A member in any state, removed ones included.
    pub(crate) fn any_member(&self, id: NodeId) -> Option<Member> {
        self.slot_of(id).map(|slot| self.view(slot))
    }

    fn view(&self, slot: Slot) -> Member {
        let (id, row) = (self.id_at(slot), &self.rows[slot as usize]);
        let parts = self.replica.at(slot).parts();
        let body = body(&parts);
        let (incarnation, state, _) = version(&parts);
        let name = if self.holder(body.name).is_none_or(|holder| holder == slot) {
            body.name.to_owned()
        } else {
            format!("{}~{:04x}", body.name, id.0 >> 48)
        };
        Member {
            id,
            name,
            addresses: body.addresses().collect(),
            state,
            incarnation,
            tags: body.tags().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            since: Wall::from_micros(u64::from(row.since.0) * 1_000_000),
            rtt: (row.rtt_micros > 0).then(|| Duration::from_micros(row.rtt_micros.into())),
            is_self: id == self.me,
            protocol: body.protocol,
            view: self.listed_as,
        }
    }
}

fn version(claim: &UpdateRef<'_>) -> Version {
    let Head::Claim { incarnation, state, .. } = claim.head else {
        unreachable!("the members space holds claims");
    };
    (incarnation, state, claim.forget)
}

fn body<'a>(claim: &UpdateRef<'a>) -> ClaimBody<'a> {
    claim.claim_body().expect("it was read before it was kept")
}

fn name_hash(name: &str) -> u64 {
    hash::keyed(&[0; 16], name.as_bytes())
}

fn name_at(replica: &Replica, slot: Slot) -> u64 {
    name_hash(body(&replica.at(slot).parts()).name)
}
