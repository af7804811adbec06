//! Who was out of touch for how long (design §2, traps: away longer than `tombstone_ttl`).
//!
//! A deletion is remembered for `tombstone_ttl`. Two nodes that were apart longer cannot tell by their updates alone what the
//! other deleted from what it never saw, so they reconcile by the moment at which they parted before they exchange any
//! data. Until a node has done so with one of those it was apart from, it exchanges none with members that it met since
//! either: they may be of the other side.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::NodeId;
use crate::time::Seconds;
use crate::wire::{Put, Reader};

/// Members that came back, and this node, have this long to find somebody who knows them; then what they hold is merged.
const STRANGERS_WAIT: Duration = Duration::from_mins(1);
/// Who came to life this long before somebody came back may belong to the same side.
const MET_BEFORE: Duration = Duration::from_mins(1);
/// Reunions that are remembered, for peers that did not hear of their end.
const REUNITED_MAX: usize = 1_024;

/// A reunion that did not come about by then never will.
const REUNION_MAX: Duration = Duration::from_mins(10);

/// How this node stands to members that were, or are, out of touch.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct Apart {
    /// Members that died or left, since when.
    gone: BTreeMap<NodeId, Seconds>,
    /// Members that are live again after too long a time, since when they were gone.
    returned: BTreeMap<NodeId, Seconds>,
    /// Since when this node itself was out of touch with everybody, until it has found somebody who knows it.
    away: Option<Seconds>,
    /// When this node last held all that a peer did. Before that it cannot tell what was deleted from what it never got.
    complete_at: Option<Seconds>,
    /// Until when somebody who knows this node is waited for.
    waits_until: Option<Seconds>,
    /// When the first of those returned that are not reconciled yet, or this node did.
    returned_at: Seconds,
    reunited: BTreeMap<NodeId, Seconds>,
}

impl Apart {
    /// What an earlier life left: who was gone, and when this node last held all that a peer did.
    pub(crate) fn new(
        gone: impl IntoIterator<Item = (NodeId, Seconds)>,
        heard: Option<Seconds>,
        now: Seconds,
        tombstone_ttl: Duration,
    ) -> Self {
        let mut apart = Self { gone: gone.into_iter().collect(), complete_at: heard, ..Self::default() };
        if let Some(heard) = heard.filter(|heard| heard.plus(tombstone_ttl) < now) {
            apart.note_away(heard, now);
        }
        apart
    }

    /// This node was out of touch with everybody: not running, or not awake.
    pub(crate) fn note_away(&mut self, since: Seconds, now: Seconds) {
        if self.is_settled() {
            self.returned_at = now;
        }
        self.away.get_or_insert(since);
    }

    /// This node holds all that some peer does.
    pub(crate) fn note_complete(&mut self, now: Seconds) {
        if self.is_settled() {
            self.complete_at = Some(now);
        }
    }

    /// When this node last held all that a peer did.
    pub(crate) const fn complete_at(&self) -> Option<Seconds> {
        self.complete_at
    }

    /// A member that was live is not any more. One that had not reconciled since an earlier absence was gone all the time.
    pub(crate) fn note_gone(&mut self, member: NodeId, now: Seconds, most: usize) {
        let since = self.returned.remove(&member).unwrap_or(now);
        self.gone.entry(member).or_insert(since);
        if self.gone.len() > most
            && let Some(oldest) = self.gone.iter().min_by_key(|(_, since)| **since).map(|(member, _)| *member)
        {
            self.gone.remove(&oldest);
        }
    }

    /// A member is live again. Whether it was gone for too long.
    pub(crate) fn note_live(&mut self, member: NodeId, now: Seconds, tombstone_ttl: Duration) -> bool {
        let Some(since) = self.gone.remove(&member) else { return false };
        self.reunited.remove(&member);
        if since.plus(tombstone_ttl) >= now {
            return false;
        }
        if self.is_settled() {
            self.returned_at = now;
        }
        self.returned.insert(member, since);
        true
    }

    /// Whether data must not be exchanged at `now` with a member that is live since `live_since`.
    pub(crate) fn withholds(&self, peer: NodeId, live_since: Seconds, now: Seconds, tombstone_ttl: Duration) -> bool {
        if self.gone.get(&peer).is_some_and(|since| since.plus(tombstone_ttl) < now) {
            // It speaks, and its claim has not come yet.
            return true;
        }
        if self.is_settled() {
            return false;
        }
        self.away.is_some() || self.returned.contains_key(&peer) || live_since.plus(MET_BEFORE) >= self.returned_at
    }

    /// Whether nothing of all this matters now.
    pub(crate) fn is_calm(&self) -> bool {
        self.gone.is_empty() && self.is_settled()
    }

    /// Whether there is nobody to reconcile with.
    pub(crate) fn is_settled(&self) -> bool {
        self.returned.is_empty() && self.away.is_none()
    }

    /// Since when a peer and this node were apart, as far as this node can tell: not if it never held everything.
    pub(crate) fn since(&self, peer: NodeId) -> Option<Seconds> {
        let known = [&self.returned, &self.gone, &self.reunited].into_iter().find_map(|map| map.get(&peer)).copied();
        let since = known.into_iter().chain(self.away).min()?;
        self.complete_at.map(|complete_at| complete_at.min(since))
    }

    /// Peers to reconcile with, of those that are live.
    pub(crate) fn returned(&self) -> impl Iterator<Item = NodeId> {
        self.returned.keys().copied()
    }

    /// Whether anybody may know this node, having been away.
    pub(crate) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// This node and a peer have reconciled.
    pub(crate) fn note_reunited(&mut self, peer: NodeId, since: Seconds) {
        self.returned.remove(&peer);
        self.away = None;
        self.waits_until = None;
        if self.reunited.len() == REUNITED_MAX {
            self.reunited.pop_first();
        }
        self.reunited.insert(peer, since);
    }

    /// A peer cannot tell that it was ever apart from this node. If this node was away and nobody else can either, what all
    /// hold is merged.
    pub(crate) fn note_stranger(&mut self, peer: NodeId, now: Seconds, is_busy: bool) {
        self.returned.remove(&peer);
        let until = *self.waits_until.get_or_insert_with(|| now.plus(STRANGERS_WAIT));
        if until <= now && !is_busy {
            self.away = None;
            self.waits_until = None;
        }
    }

    /// Gives up on those who do not answer at all.
    pub(crate) fn give_up_late(&mut self, now: Seconds, is_busy: bool) {
        if self.returned_at.plus(REUNION_MAX) <= now && !is_busy {
            self.returned.clear();
            self.away = None;
            self.waits_until = None;
        }
    }

    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (member, since) in self.gone.iter().chain(&self.returned) {
            bytes.extend_from_slice(&member.0.to_le_bytes());
            bytes.put_varint(since.0.into());
        }
        bytes
    }

    pub(crate) fn read(mut reader: Reader<'_>) -> Vec<(NodeId, Seconds)> {
        let mut entry = || Some((NodeId(reader.u64()?), Seconds(u32::try_from(reader.varint()?).ok()?)));
        std::iter::from_fn(&mut entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(100);
    const PEER: NodeId = NodeId(7);

    fn withholds(apart: &Apart, peer: NodeId, live_since: u32) -> bool {
        apart.withholds(peer, Seconds(live_since), Seconds(1_107), TTL)
    }

    fn gone(since: u32) -> Apart {
        Apart::new([(PEER, Seconds(since))], Some(Seconds(since)), Seconds(since), TTL)
    }

    #[test]
    fn who_was_gone_for_a_short_time_needs_no_reconciliation() {
        let mut apart = gone(1_000);
        assert!(!apart.note_live(PEER, Seconds(1_100), TTL));
        assert!(apart.is_settled());
    }

    #[test]
    fn data_are_withheld_from_who_was_gone_too_long_and_from_whoever_came_with_it() {
        let mut apart = gone(1_000);
        assert!(apart.note_live(PEER, Seconds(1_101), TTL));
        assert!(withholds(&apart, PEER, 1_101));
        assert!(withholds(&apart, NodeId(8), 1_105), "it came with the other, or after it");
        assert!(!withholds(&apart, NodeId(9), 900), "it was here all the time");
        assert_eq!(apart.since(PEER), Some(Seconds(1_000)));
        apart.note_reunited(PEER, Seconds(1_000));
        assert!(!withholds(&apart, NodeId(8), 1_105));
        assert_eq!(apart.since(PEER), Some(Seconds(1_000)), "for a peer that did not hear of it");
    }

    #[test]
    fn a_node_that_was_away_withholds_data_from_all_until_one_knows_it_or_none_does() {
        let apart = || Apart::new([], Some(Seconds(1_000)), Seconds(1_101), TTL);
        let mut known = apart();
        assert!(withholds(&known, PEER, 0));
        known.note_reunited(PEER, Seconds(1_000));
        assert!(known.is_settled());
        let mut unknown = apart();
        unknown.note_stranger(PEER, Seconds(1_101), false);
        assert!(!unknown.is_settled());
        unknown.note_stranger(PEER, Seconds(1_161), true);
        assert!(!unknown.is_settled(), "somebody who knows it tells what it holds");
        unknown.note_stranger(PEER, Seconds(1_161), false);
        assert!(unknown.is_settled());
    }

    #[test]
    fn whoever_goes_again_before_it_has_reconciled_was_gone_all_the_time() {
        let mut apart = gone(1_000);
        assert!(apart.note_live(PEER, Seconds(1_101), TTL));
        apart.note_gone(PEER, Seconds(1_106), 10);
        assert!(withholds(&apart, PEER, 1_107), "its claim may come after its data");
        assert!(apart.note_live(PEER, Seconds(1_110), TTL));
        assert_eq!(apart.since(PEER), Some(Seconds(1_000)));
    }

    #[test]
    fn who_never_held_everything_cannot_tell_what_was_deleted() {
        let mut apart = Apart::new([(PEER, Seconds(1_000))], None, Seconds(1_000), TTL);
        assert!(apart.note_live(PEER, Seconds(1_101), TTL));
        assert_eq!(apart.since(PEER), None);
        let mut early = Apart::new([(PEER, Seconds(1_000))], Some(Seconds(950)), Seconds(1_000), TTL);
        assert!(early.note_live(PEER, Seconds(1_101), TTL));
        assert_eq!(early.since(PEER), Some(Seconds(950)));
    }

    #[test]
    fn nobody_waits_for_ever_for_one_who_does_not_answer() {
        let mut apart = gone(1_000);
        apart.note_live(PEER, Seconds(1_101), TTL);
        apart.give_up_late(Seconds(1_700), false);
        assert!(!apart.is_settled());
        apart.give_up_late(Seconds(1_701), false);
        assert!(apart.is_settled());
    }

    #[test]
    fn what_is_stored_reads_back_and_nonsense_is_left_out() {
        let mut apart = gone(1_000);
        apart.note_gone(NodeId(8), Seconds(5), 10);
        let bytes = apart.to_bytes();
        let expected = vec![(PEER, Seconds(1_000)), (NodeId(8), Seconds(5))];
        assert_eq!(Apart::read(Reader::new(&bytes)), expected);
        assert_eq!(Apart::read(Reader::new(&bytes[..bytes.len() - 1])), expected[..1]);
    }
}
