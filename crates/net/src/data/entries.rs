//! A list that is read while it is used.

use std::{iter, vec};

use rumormill_core::data::{Entry, Shelf};

use crate::clock;

/// Keys with what they hold, in the order of the keys' bytes.
#[derive(Debug)]
pub struct Entries {
    shelf: Shelf,
    prefix: String,
    page: vec::IntoIter<Entry>,
    rest: Rest,
}

/// What is still to be read.
#[derive(Debug)]
enum Rest {
    All,
    After(String),
    Nothing,
}

impl Entries {
    pub(super) fn new(shelf: Shelf, prefix: String) -> Self {
        Self { shelf, prefix, page: Vec::new().into_iter(), rest: Rest::All }
    }

    /// Reads the next piece; whether there was one.
    fn turn_page(&mut self) -> bool {
        let after = match &self.rest {
            Rest::All => None,
            Rest::After(key) => Some(key.as_str()),
            Rest::Nothing => return false,
        };
        let page = self.shelf.page(&self.prefix, after, clock::wall());
        self.page = page.entries.into_iter();
        self.rest = page.next.map_or(Rest::Nothing, Rest::After);
        true
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            match self.page.next() {
                None if self.turn_page() => {}
                entry => return entry,
            }
        }
    }
}

impl iter::FusedIterator for Entries {}
