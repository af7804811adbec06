//! Writes of this node's own: drafted together, stored, then merged and said (design §2 rule 5).
//!
//! Several batches are on their way to the disk at a time, no two about one key: a write waits while one of its keys is
//! in a batch, or while there are as many batches as may be, and what waits is drafted together when a batch is done. So
//! a batch builds only on what is durable, and one that fails takes nothing else with it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::commands::invalid;
use super::{Node, Phase};
use crate::data::{Data, Draft, Edit, Index, Shelf, Taken, Write, Written};
use crate::datum::{Part, Standing};
use crate::effects::Timer;
use crate::frame::Space;
use crate::identity::{NodeId, Record};
use crate::io::{Refusal, Reply, Ticket, Token};
use crate::limits::Limits;
use crate::seldom::{Seldom, Vacant};
use crate::time::Instant;
use crate::update::{Head, Update, UpdateId, UpdateRef};

/// So many batches are on their way to the disk at most: it takes them together, so more would only cost more.
const BATCHES_MAX: usize = 64;
/// A batch takes no more writes once it is this large.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How long a node that has just started waits for peers before it believes its own disk alone.
const LONELY_WAIT: Duration = Duration::from_secs(2);

/// A write that waits for its turn.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Asked {
    ticket: Ticket,
    writes: Vec<Write>,
    replicas: usize,
    deadline: Instant,
}

impl Asked {
    /// Whether it builds on what this node added to counters in earlier lives.
    fn counts(&self) -> bool {
        let counts = |edit: &Edit| match edit {
            Edit::Add { .. } | Edit::Restore { .. } => true,
            Edit::Put { .. } | Edit::Delete | Edit::Insert { .. } | Edit::RemoveElement { .. } => false,
        };
        self.writes.iter().any(|write| counts(&write.edit))
    }
}

/// Writes on their way to the disk.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Batch {
    token: Token,
    draft: Draft,
    asked: Vec<Asked>,
}

/// All batches on their way to the disk, in the order of their tokens.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct UnderWay {
    batches: VecDeque<Batch>,
    /// What they hold, each subject once.
    updates: Index,
    /// By how many bytes the store grows with them.
    growth: usize,
}

impl Vacant for UnderWay {
    const VACANT: Self = Self { batches: VecDeque::new(), updates: Index::new(), growth: 0 };
    const SHARED: &'static Self = &Self::VACANT;
}

impl UnderWay {
    fn begin(&mut self, batch: Batch) {
        for update in batch.draft.updates().iter() {
            let other = self.updates.put(Arc::clone(update));
            assert!(other.is_none(), "no two batches are about one key");
        }
        self.growth += batch.draft.growth();
        self.batches.push_back(batch);
    }

    /// The batch of that token is durable, or has failed.
    fn end(&mut self, token: Token) -> Option<Batch> {
        let batch = self.batches.pop_front_if(|batch| batch.token == token)?;
        for update in batch.draft.updates().iter() {
            self.updates.remove(&update.subject());
        }
        self.growth -= batch.draft.growth();
        Some(batch)
    }

    fn is_full(&self) -> bool {
        self.batches.len() == BATCHES_MAX
    }

    /// After this was read from a snapshot.
    fn relink(&mut self, shelf: &Shelf) {
        for batch in &mut self.batches {
            batch.draft.relink(shelf);
        }
    }

    /// Whether a write is about a key that one of them is about.
    fn touches(&self, asked: &Asked) -> bool {
        asked.writes.iter().any(|write| self.updates.of_key(write.key.as_bytes()).next().is_some())
    }
}

/// The writes of this node.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(super) struct Writing {
    queue: VecDeque<Asked>,
    under_way: Seldom<UnderWay>,
    /// Whether peers may know more of what this node added to counters than it does itself: its disk may be a backup that
    /// was restored.
    unsure_of_sums: bool,
    /// What this node lacked of a peer's data when it last saw all of them, while it is unsure.
    lacking: Option<BTreeSet<UpdateId>>,
    /// Whether peers have had their time to tell what time it is.
    trusts_own_clock: bool,
}

impl Writing {
    /// After this was read from a snapshot.
    pub(super) fn relink(&mut self, shelf: &Shelf) {
        if !self.under_way.batches.is_empty() {
            self.under_way.relink(shelf);
        }
    }

    /// `has_lived` before: then its own sums are looked for at peers first.
    pub(super) fn new(has_lived: bool) -> Self {
        Self {
            queue: VecDeque::new(),
            under_way: Seldom::new(),
            unsure_of_sums: has_lived,
            lacking: None,
            trusts_own_clock: false,
        }
    }

    /// What is bounded here.
    pub(super) fn limits(&self, writes_max: usize, to: &mut Limits) {
        // What lacks was asked for in one comparison.
        let Self { queue, under_way, unsure_of_sums: _, lacking: _, trusts_own_clock: _ } = self;
        let UnderWay { batches, updates: _, growth: _ } = &**under_way;
        to.entries("writes", queue.len(), writes_max);
        to.entries("batches_of_writes", batches.len(), BATCHES_MAX);
    }
}

impl Node {
    pub(super) fn start_writing(&mut self) {
        self.fx.arm(LONELY_WAIT, Timer::OwnSums);
        self.start_batch();
    }

    /// A peer's clock showed these seconds a moment ago.
    pub(super) fn hear_clock(&mut self, peer: NodeId, seconds: u16) {
        let is_first = !self.data.clock().has_peers();
        self.data.clock_mut().note_peer(peer, seconds, self.fx.now.wall);
        if is_first {
            self.start_batch();
            self.arm_write();
        }
    }

    /// This node has been among others for a while.
    pub(super) fn trust_own_clock(&mut self) {
        self.writing.trusts_own_clock = true;
    }

    /// Whether it would be known by now if this node's clock were wrong: there are peers that told, or none that could.
    fn knows_the_time(&self) -> bool {
        let is_alone = || self.members.live() == 0 && self.contacts.waiting().is_empty();
        self.data.clock().has_peers() || self.writing.trusts_own_clock || is_alone()
    }

    /// The disk was behind what peers know: it may be so with what this node added, too.
    pub(super) fn doubt_own_sums(&mut self) {
        self.writing.unsure_of_sums = true;
        self.fx.arm(self.config.gossip_interval, Timer::OwnSums);
    }

    pub(super) fn write(&mut self, ticket: Ticket, writes: Vec<Write>, replicas: usize, timeout: Duration) {
        if replicas > self.config.members_max {
            let rule = format!("at most members_max ({})", self.config.members_max);
            return self.done(ticket, Err(invalid("replicas", replicas.to_string(), &rule)));
        }
        let waiting = self.writing.queue.len() + self.replicas.len();
        if waiting >= self.config.writes_max {
            return self.done(ticket, Err(Refusal::WritesWaiting { waiting }));
        }
        let deadline = self.fx.now.instant + timeout;
        self.writing.queue.push_back(Asked { ticket, writes, replicas, deadline });
        // Behind others it waits with them until a batch is done.
        if self.writing.queue.len() == 1 || self.writing.under_way.batches.is_empty() {
            self.start_batch();
        }
        self.arm_write();
    }

    /// Drafts writes that are not to be made, on top of others that let the store grow. By how much, with these.
    pub(super) fn check_writes(&mut self, writes: &[Write], growth: usize) -> Result<usize, Refusal> {
        self.check_clock()?;
        let shelf = self.data.shelf().clone();
        let draft = Draft::new(shelf, self.identity.id, &self.config, self.fx.now.wall).on_top_of(growth);
        let mut draft = draft.beside(self.writing.under_way.growth);
        draft.write(&mut self.data, writes)?;
        Ok(draft.growth())
    }

    fn arm_write(&mut self) {
        let under_way = self.writing.under_way.batches.iter().flat_map(|batch| &batch.asked);
        match self.writing.queue.iter().chain(under_way).map(|asked| asked.deadline).min() {
            Some(first) => self.fx.timers.set(Timer::Write, first),
            None => self.fx.cancel(Timer::Write),
        }
    }

    /// Writes that waited too long are not made any more. Of those that are on their way to the disk nobody can tell: they go
    /// on, and who asked is told so.
    pub(super) fn on_write_due(&mut self) {
        let now = self.fx.now.instant;
        let queue = std::mem::take(&mut self.writing.queue);
        let (late, waiting): (VecDeque<_>, _) = queue.into_iter().partition(|asked| asked.deadline <= now);
        self.writing.queue = waiting;
        for Asked { ticket, .. } in late {
            self.done(ticket, Err(Refusal::Late));
        }
        let under_way = self
            .writing
            .under_way
            .batches
            .iter_mut()
            .flat_map(|batch| batch.asked.extract_if(.., |asked| asked.deadline <= now));
        for Asked { ticket, .. } in under_way.collect::<Vec<_>>() {
            self.done(ticket, Err(Refusal::NotConfirmed));
        }
        self.arm_write();
    }

    /// Drafts what waits and need not wait any longer.
    fn start_batch(&mut self) {
        while !self.writing.under_way.is_full() && !self.writing.queue.is_empty() && self.phase == Phase::Running {
            let waiting = self.writing.queue.len();
            if !self.knows_the_time() {
                return;
            }
            self.draft_batch();
            if self.writing.queue.len() == waiting {
                return;
            }
        }
    }

    /// Drafts together as much of what waits as one batch takes.
    fn draft_batch(&mut self) {
        let (me, now) = (self.identity.id, self.fx.now.wall);
        let mut draft =
            Draft::new(self.data.shelf().clone(), me, &self.config, now).beside(self.writing.under_way.growth);
        let mut taken = Vec::new();
        let mut waiting = VecDeque::new();
        let mut is_full = false;
        for asked in std::mem::take(&mut self.writing.queue) {
            // Nothing overtakes what waits for a key: it may be about the same one.
            is_full |= draft.volume() > BATCH_BYTES_MAX || self.writing.under_way.touches(&asked);
            if is_full || self.writing.unsure_of_sums && asked.counts() {
                waiting.push_back(asked);
                continue;
            }
            match self.check_clock().and_then(|()| draft.write(&mut self.data, &asked.writes)) {
                Ok(()) => taken.push(asked),
                Err(refusal) => self.done(asked.ticket, Err(refusal)),
            }
        }
        self.writing.queue = waiting;
        if !self.identity.durable || draft.updates().len() == 0 {
            self.finish_batch(&draft, taken);
        } else {
            let records = draft.updates().iter().map(|update| record_of(update)).collect();
            let token = self.fx.persist(records);
            self.writing.under_way.begin(Batch { token, draft, asked: taken });
        }
    }

    /// Who writes with a clock that is ahead would be refused by others.
    fn check_clock(&self) -> Result<(), Refusal> {
        let (ahead, stamps_ahead) = (self.data.clock().ahead(), self.data.clock().stamps_ahead(self.fx.now.wall));
        let limit = self.config.clock_skew_max;
        if ahead > limit / 2 {
            return Err(Refusal::ClockAhead { ahead });
        }
        if stamps_ahead > limit { Err(Refusal::ClockAhead { ahead: stamps_ahead }) } else { Ok(()) }
    }

    /// A batch is durable, or it is not known to whom this token belongs.
    pub(super) fn on_batch_persisted(&mut self, token: Token) {
        if let Some(Batch { draft, asked, .. }) = self.writing.under_way.end(token) {
            self.finish_batch(&draft, asked);
            self.start_batch();
            self.arm_write();
        }
    }

    pub(super) fn on_batch_failed(&mut self, token: Token, reason: &str) {
        if let Some(Batch { asked, .. }) = self.writing.under_way.end(token) {
            for Asked { ticket, .. } in asked {
                self.done(ticket, Err(Refusal::NotStored { reason: reason.to_owned() }));
            }
            self.start_batch();
            self.arm_write();
        }
    }

    /// What was drafted is merged and said.
    fn finish_batch(&mut self, draft: &Draft, asked: Vec<Asked>) {
        for update in draft.updates().iter() {
            if let Taken::Kept(update, old) = self.data.take_own(Arc::clone(update)) {
                self.saving.note_stored(&update);
                self.spread_datum(Arc::clone(&update), old, None);
                // Of sums somebody may have been revoked meanwhile who cleared them.
                self.void_if_revoked(&update);
            }
        }
        let now = self.fx.now;
        for Asked { ticket, writes, replicas, deadline } in asked {
            let last = writes.last().map(|write| write.key.as_bytes());
            let holds = last.and_then(|key| self.data.shelf().read().summary(key, now.wall.seconds()));
            let durable = self.identity.durable;
            let written = Written { holds, durable, replicas: 0, in_memory: 0, wanted: replicas };
            if replicas == 0 {
                self.done(ticket, Ok(Reply::Written(Box::new(written))));
            } else {
                let keys: BTreeSet<&[u8]> = writes.iter().map(|write| write.key.as_bytes()).collect();
                let subjects = keys
                    .into_iter()
                    .flat_map(|key| draft.updates().of_key(key))
                    .map(|update| Data::record_key(&update.subject()));
                let subjects = subjects.collect();
                self.await_replicas(ticket, written, subjects, deadline);
            }
        }
    }

    /// An update that is held from now on is passed on, in place of what it supersedes.
    pub(super) fn spread_datum(&mut self, update: Arc<Update>, old: Option<UpdateId>, from: Option<NodeId>) {
        self.note_superseded(old);
        self.heat(update, 0, from);
    }

    fn note_superseded(&mut self, old: Option<UpdateId>) {
        if let Some(old) = old {
            self.rumors.cool(old);
        }
        self.note_change(Space::Data);
    }

    /// Merges an update that came in. Returns whether it was known.
    pub(super) fn take_datum(&mut self, update: &UpdateRef<'_>, from: NodeId, hot: bool) -> bool {
        if self.conflicts_with_batch(update) {
            // What is on its way to the disk must not be overwritten there; a comparison brings this again.
            return false;
        }
        match self.data.take(update, &self.config, self.fx.now.wall) {
            Taken::Known(id) => {
                if let Some(id) = id {
                    self.rumors.note_knower(id, from);
                }
                true
            }
            Taken::Refused => {
                self.fx.counters.dropped.refused += 1;
                true
            }
            Taken::Kept(update, old) => {
                self.note_arrival(update.id);
                self.saving.note(Arc::clone(&update));
                if hot {
                    self.spread_datum(Arc::clone(&update), old, Some(from));
                } else {
                    self.note_superseded(old);
                }
                self.note_kept(&update);
                false
            }
        }
    }

    /// Whether a write of this node's own about the same subject is on its way to the disk, which the update does not
    /// supersede.
    fn conflicts_with_batch(&self, update: &UpdateRef<'_>) -> bool {
        let Head::Data(datum) = update.head else { return false };
        let Some(drafted) = self.writing.under_way.updates.get(&datum.subject) else { return false };
        match datum.subject.part {
            Part::Sums(_) => true,
            Part::Head | Part::Element(_) => update.stands_to(drafted) != Standing::Newer,
        }
    }

    /// Whether writes of this node's own are on their way to the disk.
    pub(super) fn is_writing(&self) -> bool {
        !self.writing.under_way.batches.is_empty()
    }

    /// Whether a write of this node's own that is on its way to the disk supersedes what this record says.
    pub(super) fn is_overtaken(&self, record: &Record) -> bool {
        let subject = Data::subject_of(&record.key);
        let Some(drafted) = subject.and_then(|subject| self.writing.under_way.updates.get(&subject)) else {
            return false;
        };
        let update = record.value.as_deref().and_then(UpdateRef::read);
        let Some(update) = update.filter(|update| matches!(update.head, Head::Data(_))) else { return true };
        update.stands_to(drafted) != Standing::Newer
    }

    /// A comparison of data with a peer ended: with how many differences.
    pub(super) fn note_data_compared(&mut self, differences: u32) {
        if differences == 0 {
            self.note_complete();
            self.trust_own_sums();
        }
    }

    /// A peer showed all its data, and this is what this node lacks of them. Where writes never pause there is always
    /// something; but once nothing of what was lacking before still is, sums of its own are not among it.
    pub(super) fn note_lacking(&mut self, lacking: &[UpdateId]) {
        if !self.writing.unsure_of_sums {
            return;
        }
        let lacking: BTreeSet<UpdateId> = lacking.iter().copied().collect();
        let before = self.writing.lacking.replace(lacking.clone());
        if before.is_some_and(|before| before.is_disjoint(&lacking)) {
            self.trust_own_sums();
        }
    }

    /// What this node holds of its own is all that there is.
    fn trust_own_sums(&mut self) {
        self.writing.lacking = None;
        if std::mem::take(&mut self.writing.unsure_of_sums) {
            self.fx.cancel(Timer::OwnSums);
            self.start_batch();
            self.arm_write();
        }
    }

    pub(super) fn on_own_sums_due(&mut self) {
        self.trust_own_clock();
        self.start_batch();
        self.arm_write();
        if !self.writing.unsure_of_sums {
            return;
        }
        let Some(peer) = self.members.pick(&mut self.fx.rng, 1, None).first().copied() else {
            // Nobody is there to ask.
            return self.trust_own_sums();
        };
        self.compare_with(peer);
        self.fx.arm(self.config.gossip_interval, Timer::OwnSums);
    }
}

/// The record of an update on the disk.
pub(super) fn record_of(update: &Update) -> Record {
    Record { key: Data::record_key(&update.subject()), value: Some(update.bytes().to_vec()) }
}
