//! What others wrote, on its way to this node's disk; and the confirmations that it has arrived.
//!
//! Others' updates are passed on at once: durable they are elsewhere. What the disk does not take is kept in mind and
//! tried again until it does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::letters::Letter;
use super::writing::record_of;
use crate::credentials::revocation_key;
use crate::data::Data;
use crate::datum::{Standing, Subject};
use crate::effects::Timer;
use crate::frame::Items;
use crate::identity::{NodeId, Record};
use crate::io::{Refusal, Reply, Ticket, Token};
use crate::limits::Limits;
use crate::seldom::Vacant;
use crate::update::{Head, Update, UpdateRef};

/// How long a disk that takes no writes is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Records of one try.
const RETRIES_AT_ONCE: usize = 4_096;
/// Confirmations that are owed at once; whoever asked asks again.
const HOLDS_MAX: usize = 4_096;
/// Bytes of the keys that all of them are about: more than one packet has.
const HOLDS_BYTES_MAX: usize = 4 << 20;
/// Revocations that their operators wait for at once.
const REVOKING_MAX: usize = 64;
/// What requests to the disk may keep in memory together; beyond it only keys are remembered, each once.
const SAVING_BYTES_MAX: usize = 64 << 20;
/// What remembering a key takes beside it.
const KEY_OVERHEAD: usize = 32;

/// A peer wants to know when this node holds something durably.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Hold {
    number: u64,
    peer: NodeId,
    /// What, as keys of records.
    keys: Vec<Vec<u8>>,
    /// Once this is stored; nothing yet for what came in just now.
    after: Option<Token>,
}

impl Hold {
    fn size(&self) -> usize {
        self.keys.iter().map(|key| key.len() + KEY_OVERHEAD).sum()
    }
}

/// An operator waits until a revocation is durable here.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Revoking {
    ticket: Ticket,
    id: NodeId,
    /// As of [`Hold::after`].
    after: Option<Token>,
}

/// What one request to the disk is about.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Load {
    updates: Vec<Arc<Update>>,
    keys: Vec<Vec<u8>>,
}

impl Load {
    fn of(records: &[Record]) -> Self {
        Self { updates: Vec::new(), keys: records.iter().map(|record| record.key.clone()).collect() }
    }

    /// What it keeps in memory.
    fn size(&self) -> usize {
        let updates: usize = self.updates.iter().map(|update| update.bytes().len() + KEY_OVERHEAD).sum();
        updates + self.keys.iter().map(|key| key.len() + KEY_OVERHEAD).sum::<usize>()
    }

    fn into_keys(self) -> impl Iterator<Item = Vec<u8>> {
        self.updates.into_iter().map(|update| Data::record_key(&update.subject())).chain(self.keys)
    }
}

/// What is on its way to the disk.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Saving {
    /// Came in just now.
    fresh: Vec<Arc<Update>>,
    /// Left just now.
    gone: Vec<Vec<u8>>,
    under_way: VecDeque<(Token, Load)>,
    /// What they keep in memory, superseded updates included.
    under_way_bytes: usize,
    /// Keys of records that the disk did not take.
    unsaved: BTreeSet<Vec<u8>>,
    holds: VecDeque<Hold>,
    /// Bytes of all their keys.
    holds_bytes: usize,
    revoking: VecDeque<Revoking>,
}

impl Vacant for Saving {
    const VACANT: Self = Self {
        fresh: Vec::new(),
        gone: Vec::new(),
        under_way: VecDeque::new(),
        under_way_bytes: 0,
        unsaved: BTreeSet::new(),
        holds: VecDeque::new(),
        holds_bytes: 0,
        revoking: VecDeque::new(),
    };
    const SHARED: &'static Self = &Self::VACANT;
}

impl Saving {
    /// An update of another is held from now on.
    pub(super) fn note(&mut self, update: Arc<Update>) {
        self.fresh.push(update);
    }

    /// An update is held no longer.
    pub(super) fn note_gone(&mut self, update: &Update) {
        self.gone.push(Data::record_key(&update.subject()));
    }

    /// A write of this node's own is durable. What ran out just now in its place must not be stored behind it.
    pub(super) fn note_stored(&mut self, own: &Update) {
        if self.fresh.is_empty() && self.gone.is_empty() {
            return;
        }
        let (subject, key) = (own.subject(), Data::record_key(&own.subject()));
        self.fresh.retain(|update| update.subject() != subject);
        self.gone.retain(|gone| *gone != key);
    }

    /// A peer waits for a confirmation; where too many do, the first of them is forgotten.
    fn note_hold(&mut self, hold: Hold) {
        self.holds_bytes += hold.size();
        self.holds.push_back(hold);
        while self.holds.len() > HOLDS_MAX || self.holds_bytes > HOLDS_BYTES_MAX {
            let Some(oldest) = self.holds.pop_front() else { break };
            self.holds_bytes -= oldest.size();
        }
    }

    /// The next operator who waited for that token or one before it.
    fn take_revoking(&mut self, token: Token) -> Option<Revoking> {
        self.revoking.pop_front_if(|revoking| revoking.after.is_some_and(|after| after <= token))
    }

    /// Whether somebody waits for what came in just now.
    fn is_awaited(&self) -> bool {
        self.holds.back().is_some_and(|hold| hold.after.is_none())
            || self.revoking.back().is_some_and(|revoking| revoking.after.is_none())
    }

    /// Whether one more request to the disk may keep in memory what it is about.
    fn has_room(&self, load: &Load) -> bool {
        self.under_way_bytes + load.size() <= SAVING_BYTES_MAX
    }

    /// A request to the disk has ended.
    fn take_under_way(&mut self, token: Token) -> Option<Load> {
        let (_, load) = self.under_way.pop_front_if(|(first, _)| *first == token)?;
        self.under_way_bytes -= load.size();
        Some(load)
    }

    /// The next confirmation that waited for that token or one before it.
    fn take_hold(&mut self, token: Token) -> Option<Hold> {
        let hold = self.holds.pop_front_if(|hold| hold.after.is_some_and(|after| after <= token))?;
        self.holds_bytes -= hold.size();
        Some(hold)
    }

    /// Whether the disk has all that is held of others' updates.
    pub(super) fn is_settled(&self) -> bool {
        self.under_way.is_empty() && self.unsaved.is_empty()
    }

    /// How many records the disk has not taken.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// What is bounded here.
    pub(super) fn limits(&self, to: &mut Limits) {
        // What is fresh or gone goes with the input that it came in; what is not saved is data held.
        let Self { fresh: _, gone: _, under_way: _, under_way_bytes, unsaved: _, holds, holds_bytes, revoking } = self;
        to.bytes("saving", *under_way_bytes, SAVING_BYTES_MAX);
        to.entries("confirmations_owed", holds.len(), HOLDS_MAX);
        to.bytes("confirmations_owed", *holds_bytes, HOLDS_BYTES_MAX);
        to.entries("revocations_awaited", revoking.len(), REVOKING_MAX);
    }
}

impl Node {
    /// Sends what came in with this input to the disk.
    pub(super) fn save_fresh(&mut self) {
        if self.saving.fresh.is_empty() && self.saving.gone.is_empty() && !self.saving.is_awaited() {
            return;
        }
        let saving = &mut *self.saving;
        let (fresh, gone) = (std::mem::take(&mut saving.fresh), std::mem::take(&mut saving.gone));
        if !self.identity.durable {
            return;
        }
        // What is gone comes first: the same input may have brought something new in its place.
        let gone_records = gone.iter().map(|key| Record { key: key.clone(), value: None });
        let records: Vec<Record> = gone_records.chain(fresh.iter().map(|update| record_of(update))).collect();
        let count = records.len();
        let records = self.without_overtaken(records);
        let load = if records.len() == count { Load { updates: fresh, keys: gone } } else { Load::of(&records) };
        if !self.saving.has_room(&load) {
            // The disk hangs. What is held by then is stored once it goes on.
            self.saving.unsaved.extend(load.into_keys());
            if self.saving.under_way.is_empty() {
                // Nothing that ends will have it tried again: it is more at once than there is room for.
                self.fx.arm_once(RETRY_PAUSE, Timer::Save);
            }
        } else if !records.is_empty() {
            self.save(records, load);
        }
        let last = self.saving.under_way.back().map(|(token, _)| *token);
        for hold in self.saving.holds.iter_mut().rev().take_while(|hold| hold.after.is_none()) {
            hold.after = Some(last.unwrap_or_default());
        }
        for revoking in self.saving.revoking.iter_mut().rev().take_while(|revoking| revoking.after.is_none()) {
            revoking.after = Some(last.unwrap_or_default());
        }
        if last.is_none() {
            self.confirm_up_to(Token::default());
        }
    }

    /// Leaves out what a write of this node's own, which is on its way to the disk, is about to supersede there: stored
    /// behind that, it would undo it. It is seen to once that write has ended.
    fn without_overtaken(&mut self, records: Vec<Record>) -> Vec<Record> {
        if !self.is_writing() {
            return records;
        }
        let (late, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| self.is_overtaken(record));
        if !late.is_empty() {
            self.saving.unsaved.extend(late.into_iter().map(|record| record.key));
            self.fx.arm_once(RETRY_PAUSE, Timer::Save);
        }
        records
    }

    fn save(&mut self, records: Vec<Record>, load: Load) {
        let token = self.fx.persist(records);
        self.saving.under_way_bytes += load.size();
        self.saving.under_way.push_back((token, load));
    }

    pub(super) fn on_saved(&mut self, token: Token) {
        if let Some(load) = self.saving.take_under_way(token)
            && !self.saving.unsaved.is_empty()
        {
            for key in load.into_keys() {
                self.saving.unsaved.remove(&key);
            }
            // The disk takes writes again.
            self.fx.arm(Duration::ZERO, Timer::Save);
        }
        self.confirm_up_to(token);
    }

    pub(super) fn on_save_failed(&mut self, token: Token) {
        if let Some(load) = self.saving.take_under_way(token) {
            self.saving.unsaved.extend(load.into_keys());
            self.fx.arm_once(RETRY_PAUSE, Timer::Save);
        }
        self.confirm_up_to(token);
    }

    /// The disk is tried again, with what is held by now.
    pub(super) fn on_save_due(&mut self) {
        let keys: Vec<Vec<u8>> = self.saving.unsaved.iter().take(RETRIES_AT_ONCE).cloned().collect();
        let index = self.data.shelf().read();
        let held = |key: &[u8]| index.get(&Data::subject_of(key)?).map(|update| update.bytes().to_vec());
        let records: Vec<Record> = keys.into_iter().map(|key| Record { value: held(&key), key }).collect();
        drop(index);
        let records = self.without_overtaken(records);
        let load = Load::of(&records);
        if !records.is_empty() && self.saving.has_room(&load) {
            self.save(records, load);
        }
        if !self.saving.unsaved.is_empty() {
            self.fx.arm(RETRY_PAUSE, Timer::Save);
        }
    }

    /// A peer sends updates and wants to know when they are durable here.
    pub(super) fn on_hold(&mut self, number: u64, items: Items<'_>, letter: &mut Letter) {
        let mut keys = Vec::new();
        for (hop, bytes) in items {
            self.take_update(hop, bytes, letter.peer, true);
            match self.held_since(bytes) {
                Some(key) => keys.push(key),
                None => return,
            }
        }
        if !self.identity.durable {
            if self.makes_room(letter, 12) {
                letter.packet.held(number, false);
            }
            return;
        }
        self.saving.note_hold(Hold { number, peer: letter.peer, keys, after: None });
    }

    /// Whether one more operator may wait for a revocation.
    pub(super) fn check_revoking(&self) -> Result<(), Refusal> {
        let waiting = self.saving.revoking.len();
        if waiting < REVOKING_MAX { Ok(()) } else { Err(Refusal::WritesWaiting { waiting }) }
    }

    /// Answers an operator once the revocation of that member is durable, as far as anything is here.
    pub(super) fn await_stored(&mut self, ticket: Ticket, id: NodeId) {
        if self.identity.durable {
            self.saving.revoking.push_back(Revoking { ticket, id, after: None });
        } else {
            self.done(ticket, Ok(Reply::Revoked { id }));
        }
    }

    /// The key of the record of an update, if it or what supersedes it is held.
    fn held_since(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let update = UpdateRef::read(bytes)?;
        let Head::Data(datum) = update.head else { return None };
        let index = self.data.shelf().read();
        let held = index.get(&datum.subject)?;
        let says_it = match update.stands_to(held) {
            Standing::Older | Standing::Same => true,
            Standing::Newer | Standing::Joined(_) => false,
        };
        says_it.then(|| Data::record_key(&datum.subject))
    }

    /// Confirms what waited for that token and those before it.
    fn confirm_up_to(&mut self, token: Token) {
        while let Some(hold) = self.saving.take_hold(token) {
            let is_durable = hold.keys.iter().all(|key| !self.saving.unsaved.contains(key));
            if is_durable && let Some(address) = self.members.address(hold.peer) {
                let mut letter = self.letter(hold.peer, address).urgent();
                letter.packet.held(hold.number, true);
                self.post(letter);
            }
        }
        while let Some(Revoking { ticket, id, .. }) = self.saving.take_revoking(token) {
            let key = Data::record_key(&Subject::head(&revocation_key(id)));
            let is_durable = !self.saving.unsaved.contains(&key);
            self.done(ticket, if is_durable { Ok(Reply::Revoked { id }) } else { Err(Refusal::RevocationNotStored) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_cannot_make_this_node_remember_more_than_so_much() {
        let mut saving = Saving::VACANT;
        let hold = |number| Hold { number, peer: NodeId(1), keys: vec![vec![7; 600]; 1_700], after: Some(Token(0)) };
        for number in 0..100 {
            saving.note_hold(hold(number));
            let held: usize = saving.holds.iter().map(Hold::size).sum();
            assert_eq!(saving.holds_bytes, held);
            assert!(held <= HOLDS_BYTES_MAX, "{held} bytes");
        }
        assert_eq!(saving.holds.back().map(|hold| hold.number), Some(99), "the last one fits");
        for number in 100..10_000 {
            saving.note_hold(Hold { keys: Vec::new(), ..hold(number) });
        }
        assert_eq!(saving.holds.len(), HOLDS_MAX);
        while saving.take_hold(Token(0)).is_some() {}
        assert_eq!(saving.holds_bytes, 0);
    }
}
