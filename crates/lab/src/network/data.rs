//! The database of a virtual network: what can be done to it, and what can be seen of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rumormill_core::Command;
use rumormill_core::data::{Edit, Entry, Write, Written};
use rumormill_core::io::Ticket;
use rumormill_core::{Reply, Wall};

use super::Network;
use super::check::data::{self, Writers};
use super::check::{Breach, Checkers, Verdict};
use super::clock::Clock;
use super::disk::Disk;
use crate::Failure;

/// How long a write waits for its turn, and for confirmations, where nothing else is said.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A disk as it was at some moment, as a backup keeps it.
#[derive(Clone, Debug)]
pub struct Backup(Disk);

/// What can be done to the database.
impl Network {
    /// Tells a node to make one change.
    pub fn write(&mut self, node: usize, key: &str, edit: Edit) -> Ticket {
        self.write_all(node, vec![Write::new(key, edit)], 0, WRITE_TIMEOUT)
    }

    /// Tells a node to make several, and to wait until so many others hold them.
    pub fn write_all(&mut self, node: usize, writes: Vec<Write>, replicas: usize, timeout: Duration) -> Ticket {
        self.command(node, Command::Write { writes, replicas, timeout })
    }

    /// Gives a register a value.
    pub fn put(&mut self, node: usize, key: &str, value: &[u8]) -> Ticket {
        self.write(node, key, Edit::Put { value: value.to_vec(), ttl: None })
    }

    /// Gives a register a value for a time.
    pub fn put_for(&mut self, node: usize, key: &str, value: &[u8], ttl: Duration) -> Ticket {
        self.write(node, key, Edit::Put { value: value.to_vec(), ttl: Some(ttl) })
    }

    /// Deletes a key as a node sees it.
    pub fn delete(&mut self, node: usize, key: &str) -> Ticket {
        self.write(node, key, Edit::Delete)
    }

    /// Adds to a counter.
    pub fn add_to(&mut self, node: usize, key: &str, amount: i64) -> Ticket {
        self.write(node, key, Edit::Add { amount })
    }

    /// Adds an element to a set.
    pub fn insert(&mut self, node: usize, key: &str, element: &[u8]) -> Ticket {
        self.write(node, key, Edit::Insert { element: element.to_vec() })
    }

    /// Takes an element out of a set.
    pub fn remove_element(&mut self, node: usize, key: &str, element: &[u8]) -> Ticket {
        self.write(node, key, Edit::RemoveElement { element: element.to_vec() })
    }

    /// The disk of a node as it is now.
    pub fn backup(&self, node: usize) -> Backup {
        Backup(self.hosts[node].disk.image())
    }

    /// Puts an earlier disk into a machine whose node does not run.
    ///
    /// # Panics
    /// If the node runs.
    pub fn put_back(&mut self, node: usize, backup: Backup) {
        assert!(!self.is_up(node), "a running node keeps its disk");
        self.hosts[node].disk = backup.0;
        if let Some(checkers) = &mut self.checkers {
            checkers.data.replaced(node);
        }
    }
}

/// What can be seen of it.
impl Network {
    /// How many records of data are on the disk of a node.
    pub fn data_on_disk(&self, node: usize) -> usize {
        self.hosts[node].disk.data_records()
    }

    /// What a node that is up shows of a key.
    pub fn get(&self, node: usize, key: &str) -> Option<Entry> {
        self.node(node)?.shelf().get(key, self.wall(node))
    }

    /// All that a node that is up shows.
    pub fn list(&self, node: usize) -> Vec<Entry> {
        let Some(shelf) = self.node(node).map(rumormill_core::Node::shelf) else { return Vec::new() };
        let mut page = shelf.page("", None, self.wall(node));
        let mut entries = std::mem::take(&mut page.entries);
        while let Some(after) = page.next {
            page = shelf.page("", Some(&after), self.wall(node));
            entries.append(&mut page.entries);
        }
        entries
    }

    /// The time of day at a node.
    pub fn wall(&self, node: usize) -> Wall {
        self.hosts[node].clock.read(self.now).wall
    }

    /// The time of day as it is.
    pub fn true_wall(&self) -> Wall {
        Clock::default().read(self.now).wall
    }

    /// What a write that succeeded gave back.
    pub fn written(&self, ticket: Ticket) -> Option<&Written> {
        match self.result(ticket)? {
            Ok(Reply::Written(written)) => Some(written),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether all nodes that are up hold the same data, and all of it on their disks.
    pub fn data_has_settled(&self) -> bool {
        self.everyone_holds_the_same() && self.up().filter_map(|node| self.node(node)).all(|node| node.unsaved() == 0)
    }

    /// Whether all nodes that are up hold the same data, byte for byte.
    pub fn everyone_holds_the_same(&self) -> bool {
        self.same_data().is_ok()
    }

    pub(crate) fn same_data(&self) -> Verdict {
        let contents: Vec<_> = self.up().filter_map(|node| Some((node, self.node(node)?.shelf().contents()))).collect();
        data::same(&contents)
    }

    /// Checks, in a network at peace, that all nodes hold the same data on their disks, and nothing else than what follows
    /// from what was acknowledged.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn check_data(&self) -> Result<(), Failure> {
        self.same_data().map_err(|breach| self.failure(None, breach))?;
        let Some(checkers) = &self.checkers else { return Ok(()) };
        for node in self.up() {
            let (listed, wall) = (self.list(node), self.wall(node));
            let unsaved = self.node(node).map_or(0, rumormill_core::Node::unsaved);
            let entries: BTreeMap<_, _> = listed.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
            let verdict = data::saved(node, unsaved)
                .and_then(|()| checkers.data.watched(node, &listed, wall))
                .and_then(|()| checkers.data.judge(&entries, Writers::Everybody, self.latest_wall()));
            verdict.map_err(|breach| self.failure(Some(node), breach))?;
        }
        Ok(())
    }

    /// The latest time of day that any machine shows: all are looked at.
    fn latest_wall(&self) -> Wall {
        (0..self.hosts.len()).map(|node| self.wall(node)).max().unwrap_or_default()
    }

    /// The checkers, if there are any, and the latest time of day that any machine shows.
    pub(crate) fn checkers_now(&mut self) -> Option<(&mut Checkers, Wall)> {
        let latest = self.checkers.as_ref().map(|_| self.latest_wall())?;
        Some((self.checkers.as_mut()?, latest))
    }

    /// Shows the checkers what a node that has just started found on its disk.
    pub(crate) fn note_start(&mut self, node: usize) {
        let (id, entries) = (self.id(node), self.list(node));
        if let Some((checkers, latest)) = self.checkers_now() {
            let verdict = checkers.data.started(node, id, latest, entries);
            self.judge(node, verdict);
        }
    }

    /// Notes what a node is asked to write, for the checkers.
    pub(crate) fn note_writes(&mut self, node: usize, ticket: Ticket, writes: &[Write]) {
        let shown: Vec<_> = writes.iter().map(|write| self.get(node, &write.key)).collect();
        let wall = self.wall(node);
        if let Some(checkers) = &mut self.checkers {
            let verdict: Result<(), Breach> = checkers.data.asked(node, ticket, wall, writes, &shown);
            self.judge(node, verdict);
        }
    }
}
