//! Data: what was acknowledged is there unless something later took it away, and nothing is there that nobody wrote.
//!
//! The history of all writes is kept, with what each writer was seen to know. From that follows what a node may hold and
//! what it must: a write that succeeded is **made**, one that was refused is not, one whose node died before it
//! answered may or may not have been. A write **beats** another of one place (a register, an element, one addition to a
//! counter) if its writer had seen the other, or wrote certainly later by every clock. Then
//!
//! - a register holds what a write gave it that is not beaten by a made one;
//! - an element or an addition is there if it was made and no deletion could have seen it, and is not there if a made
//!   deletion had seen it; between the two either is right.
//!
//! The same is asked of a node that has just started, with what it acknowledged itself: that was on its disk.
//!
//! Additions are told apart by their amounts: see [`amount`].

mod amount;
mod history;
mod judge;

use std::collections::{BTreeMap, BTreeSet};

use rumormill_core::data::{Change, Entry, Write};
use rumormill_core::io::Ticket;
use rumormill_core::{NodeId, Refusal, Reply, Wall};

use super::{Verdict, breach};
pub use amount::{AMOUNTS, amount};
use history::{Key, Op, Outcome};
use judge::Sight;

/// Whose acknowledged writes must be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writers {
    /// Of all nodes that are up.
    Everybody,
    /// Of one node.
    Node(usize),
}

/// The history of all writes of a run, and what every node shows of them.
#[derive(Debug, Default)]
pub struct Data {
    seats: Vec<Seat>,
    keys: BTreeMap<String, Key>,
    /// Writes that wait for their answer: which operations on which keys.
    asked: BTreeMap<Ticket, Asked>,
    /// The latest time of day that any machine has shown.
    latest: Wall,
    /// How much has happened.
    turn: u64,
}

/// One machine.
#[derive(Debug, Default)]
struct Seat {
    id: Option<NodeId>,
    is_up: bool,
    /// Another one after a disk was lost.
    disk: u32,
    /// By key, the operations of which it holds the effect, or something later.
    knows: BTreeMap<String, BTreeSet<usize>>,
    /// What a watcher since its start has in its hands.
    watched: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Asked {
    node: usize,
    ops: Vec<(String, usize)>,
}

const LOST: &str = "what was acknowledged is there until something later takes it away";
const RETURNED: &str = "what was deleted stays away";
const NOWHERE: &str = "what a node shows was written by somebody";
const WATCH: &str = "a watcher has what a reader finds";
const SAME: &str = "all nodes hold the same data";
const SAVED: &str = "what a node holds is on its disk once that works";

impl Data {
    /// A process starts and shows what its disk kept.
    pub fn started(&mut self, node: usize, id: NodeId, wall: Wall, entries: Vec<Entry>) -> Verdict {
        self.seats.resize_with(self.seats.len().max(node + 1), Seat::default);
        let seat = &mut self.seats[node];
        if seat.id.is_some_and(|before| before != id) {
            seat.disk += 1;
        }
        let disk = seat.disk;
        let own = |op: &Op| op.node == node && op.disk == disk && op.outcome == Outcome::Made;
        let knows = self.keys.iter().map(|(name, key)| (name.clone(), key.ops_where(own)));
        *seat = Seat { id: Some(id), is_up: true, disk, knows: knows.collect(), watched: BTreeMap::new() };
        for entry in &entries {
            self.see(node, &entry.key, Some(entry), None)?;
        }
        self.seats[node].watched = entries.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
        let entries = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        self.judge(&entries, Writers::Node(node), wall)
    }

    /// A process ends. What it was asked for and has not answered may have been done.
    pub fn ended(&mut self, node: usize) {
        let Some(seat) = self.seats.get_mut(node) else { return };
        seat.is_up = false;
        let open: Vec<Ticket> =
            self.asked.iter().filter(|(_, asked)| asked.node == node).map(|(ticket, _)| *ticket).collect();
        for ticket in open {
            self.end(ticket, Outcome::Unknown);
        }
    }

    /// The disk of a node that is down is not what it was.
    pub fn replaced(&mut self, node: usize) {
        self.seats[node].disk += 1;
    }

    /// Some machine shows this time of day.
    pub fn clock(&mut self, wall: Wall) {
        self.latest = self.latest.max(wall);
    }

    /// A node is asked to write. `shown` is what it shows of each key, in the order of `writes`.
    pub fn asked(
        &mut self,
        node: usize,
        ticket: Ticket,
        wall: Wall,
        writes: &[Write],
        shown: &[Option<Entry>],
    ) -> Verdict {
        self.clock(wall);
        self.turn += 1;
        self.asked.insert(ticket, Asked { node, ops: Vec::new() });
        for (write, entry) in writes.iter().zip(shown) {
            self.see(node, &write.key, entry.as_ref(), None)?;
            let waiting = self.waiting_at(node, &write.key);
            let key = self.keys.entry(write.key.clone()).or_default();
            let saw = key.cells(entry.as_ref())?;
            let mut may_have_seen = saw.clone();
            may_have_seen.extend(waiting.iter().filter_map(|op| key.ops[*op].cell()));
            let knew = self.seats[node].knows.get(&write.key).cloned().unwrap_or_default();
            let disk = self.seats[node].disk;
            let op = key.add(Op {
                node,
                disk,
                edit: write.edit.clone(),
                outcome: Outcome::Unknown,
                knew,
                saw,
                may_have_seen,
                asked: wall,
                ended: None,
                asked_at: self.turn,
                ended_at: None,
            });
            self.asked.get_mut(&ticket).expect("put there above").ops.push((write.key.clone(), op));
        }
        Ok(())
    }

    /// A machine's time of day was set: what it has not written yet gets a stamp of the new time, or of the old.
    pub fn clock_set(&mut self, node: usize, wall: Wall) {
        self.clock(wall);
        for (name, op) in self.asked.values().filter(|asked| asked.node == node).flat_map(|asked| &asked.ops) {
            let op = &mut self.keys.get_mut(name).expect("asked for").ops[*op];
            op.asked = op.asked.min(wall);
        }
    }

    /// Operations of a node on a key that it has not answered.
    fn waiting_at(&self, node: usize, key: &str) -> Vec<usize> {
        let of_node = self.asked.values().filter(|asked| asked.node == node).flat_map(|asked| &asked.ops);
        of_node.filter(|(name, _)| name == key).map(|(_, op)| *op).collect()
    }

    /// A command ended, perhaps a write.
    pub fn answered(&mut self, ticket: Ticket, result: &Result<Reply, Refusal>, latest: Wall) {
        self.clock(latest);
        let outcome = match result {
            Ok(_) => Outcome::Made,
            Err(Refusal::NotConfirmed) => Outcome::Unknown,
            Err(_) => Outcome::Refused,
        };
        self.end(ticket, outcome);
    }

    fn end(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(Asked { node, ops }) = self.asked.remove(&ticket) else { return };
        self.turn += 1;
        for (name, op) in ops {
            let key = self.keys.get_mut(&name).expect("asked for");
            let ended = Op { outcome, ended: Some(self.latest), ended_at: Some(self.turn), ..key.ops[op].clone() };
            key.ops[op] = ended;
            if outcome == Outcome::Made {
                let known = key.with_past(op);
                self.seats[node].knows.entry(name).or_default().extend(known);
            }
        }
    }

    /// A node tells its watchers of a change.
    pub fn changed(&mut self, node: usize, change: &Change) -> Verdict {
        let Change { key, author, .. } = change;
        let entry = change.entry();
        self.see(node, key, entry.as_deref(), *author)?;
        let watched = &mut self.seats[node].watched;
        match entry {
            Some(entry) => watched.insert(key.clone(), entry.into_owned()),
            None => watched.remove(key),
        };
        Ok(())
    }

    /// A node shows this of a key; `author` is who changed it last, where that is told.
    fn see(&mut self, node: usize, name: &str, entry: Option<&Entry>, author: Option<NodeId>) -> Verdict {
        let waiting = self.waiting_at(node, name);
        let Some(key) = self.keys.get_mut(name) else {
            return if entry.is_none() {
                Ok(())
            } else {
                breach(NOWHERE, format!("{name} at n{node}, which nobody wrote"))
            };
        };
        let sight = Sight::of(key, entry).map_err(|mut said| {
            said.detail = format!("{name} at n{node}: {}", said.detail);
            said
        })?;
        for op in waiting {
            key.ops[op].may_have_seen.extend(sight.cells.iter().cloned());
        }
        let mut known = sight.ops;
        if entry.is_none() {
            let ids: Vec<_> = self.seats.iter().map(|seat| seat.id).collect();
            known.extend(author.and_then(|author| key.only_deletion(|op| ids[op.node] == Some(author))));
        }
        let known: Vec<usize> = known.into_iter().flat_map(|op| key.with_past(op)).collect();
        self.seats[node].knows.entry(name.to_owned()).or_default().extend(known);
        Ok(())
    }

    /// Whether this is what nodes may hold, as late as `now` at the most: `entries` by key.
    pub fn judge(&self, entries: &BTreeMap<String, Entry>, writers: Writers, now: Wall) -> Verdict {
        let latest = self.latest.max(now);
        let counts = |op: &Op| {
            let seat = &self.seats[op.node];
            let is_there = op.outcome == Outcome::Made && seat.is_up && seat.disk == op.disk;
            is_there && (writers == Writers::Everybody || writers == Writers::Node(op.node))
        };
        let who = match writers {
            Writers::Everybody => "everywhere".to_owned(),
            Writers::Node(node) => format!("at n{node}, as it starts"),
        };
        for (name, key) in &self.keys {
            let verdict = judge::judge(key, entries.get(name), latest, &counts);
            if let Err(mut said) = verdict {
                said.detail = format!("{name} {who}: {}\n{}", said.detail, key.story());
                return Err(said);
            }
        }
        Ok(())
    }

    /// Whether what a watcher of a node would have put together is what a reader finds there.
    pub fn watched(&self, node: usize, entries: &[Entry], wall: Wall) -> Verdict {
        let runs = |entry: &&Entry| entry.expires.is_none_or(|expires| expires > wall.seconds());
        let watched: Vec<&Entry> = self.seats[node].watched.values().filter(runs).collect();
        let found: Vec<&Entry> = entries.iter().collect();
        if watched == found {
            return Ok(());
        }
        let differs = |entry: &&&Entry| !(watched.contains(*entry) && found.contains(*entry));
        let first = watched.iter().chain(&found).find(differs).map(|entry| entry.key.clone()).unwrap_or_default();
        let of = |entries: &[&Entry]| format!("{:?}", entries.iter().find(|entry| entry.key == first));
        breach(WATCH, format!("{first} at n{node} is {} by its changes and {} by reading", of(&watched), of(&found)))
    }
}

/// Whether all nodes hold the same: the number of each, and its updates as bytes.
pub fn same(contents: &[(usize, Vec<Vec<u8>>)]) -> Verdict {
    let Some((first, expected)) = contents.first() else { return Ok(()) };
    for (node, contents) in &contents[1..] {
        if contents != expected {
            let only = |a: &[Vec<u8>], b: &[Vec<u8>]| a.iter().filter(|update| !b.contains(update)).count();
            let (here, there) = (only(expected, contents), only(contents, expected));
            return breach(SAME, format!("{here} updates only at n{first}, {there} only at n{node}"));
        }
    }
    Ok(())
}

/// Whether a disk has taken all that its node holds.
pub fn saved(node: usize, unsaved: usize) -> Verdict {
    if unsaved == 0 { Ok(()) } else { breach(SAVED, format!("{unsaved} updates of n{node} are not")) }
}

#[cfg(test)]
mod tests;
