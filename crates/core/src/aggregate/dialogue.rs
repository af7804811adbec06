//! Numbered questions and their answers, between nodes that average: an exchange whose question or answer is repeated or
//! lost happens once.
//!
//! A node has one question open at a time, and repeats it under its number until it is answered. Who is asked remembers the last
//! question of each peer with its answer: the same question gets the same answer, an older one none.

use super::Refused;
use crate::identity::NodeId;

/// Peers whose last question is remembered, as many as the largest active view; beyond it the oldest is forgotten.
pub(super) const ANSWERS_MAX: usize = 16;

/// What was said to a peer, under which number.
#[derive(Clone, Debug)]
struct Said<T> {
    peer: NodeId,
    number: u16,
    what: T,
}

/// One node's questions and answers.
#[derive(Clone, Debug)]
pub(super) struct Dialogue<T> {
    asked: Option<Said<T>>,
    /// Of the last question.
    number: u16,
    /// The oldest first.
    answered: Vec<Said<T>>,
}

impl<T> Default for Dialogue<T> {
    fn default() -> Self {
        Self { asked: None, number: 0, answered: Vec::new() }
    }
}

impl<T> Dialogue<T> {
    /// Who was asked and has not answered.
    pub(super) fn waits_for(&self) -> Option<NodeId> {
        self.asked.as_ref().map(|asked| asked.peer)
    }

    /// What the open question offers.
    pub(super) fn offered(&self) -> Option<&T> {
        self.asked.as_ref().map(|asked| &asked.what)
    }

    /// What to ask a peer with, and the number of the question: the same again while it is open. Whoever else was asked is
    /// no longer waited for.
    pub(super) fn ask(&mut self, peer: NodeId, offer: impl FnOnce() -> T) -> (u16, &T) {
        let open = self.asked.take().filter(|asked| asked.peer == peer);
        let asked = open.unwrap_or_else(|| {
            self.number = self.number.wrapping_add(1);
            Said { peer, number: self.number, what: offer() }
        });
        let Said { number, what, .. } = self.asked.insert(asked);
        (*number, what)
    }

    /// Whether that question is open.
    pub(super) fn waits_for_answer(&self, peer: NodeId, number: u16) -> bool {
        self.asked.as_ref().is_some_and(|asked| (asked.peer, asked.number) == (peer, number))
    }

    /// The open question is answered; returns what it offered.
    pub(super) fn close(&mut self) -> Option<T> {
        self.asked.take().map(|asked| asked.what)
    }

    fn place(&self, peer: NodeId) -> Option<usize> {
        self.answered.iter().position(|answered| answered.peer == peer)
    }

    /// Whether a peer asks that for another time, and gets what it [was told](Self::told).
    ///
    /// # Errors
    /// [`Refused::Unexpected`] if it has asked something else since.
    pub(super) fn was_asked(&self, peer: NodeId, number: u16) -> Result<bool, Refused> {
        let Some(last) = self.place(peer).map(|place| self.answered[place].number) else { return Ok(false) };
        if last != number && number.wrapping_sub(last) > u16::MAX / 2 {
            return Err(Refused::Unexpected);
        }
        Ok(last == number)
    }

    /// What a peer was told last, if that is remembered.
    pub(super) fn told(&self, peer: NodeId) -> Option<&T> {
        self.place(peer).map(|place| &self.answered[place].what)
    }

    /// Remembers what a peer is told.
    pub(super) fn tell(&mut self, peer: NodeId, number: u16, what: T) -> &T {
        if let Some(place) = self.place(peer) {
            self.answered.remove(place);
        } else if self.answered.len() >= ANSWERS_MAX {
            self.answered.remove(0);
        }
        let place = self.answered.len();
        self.answered.push(Said { peer, number, what });
        &self.answered[place].what
    }

    /// Nobody asks any more.
    pub(super) fn end(&mut self) {
        (self.asked, self.answered) = (None, Vec::new());
    }

    /// Gives the open question another number, as if it had been asked after many others.
    #[cfg(test)]
    pub(super) fn renumber(&mut self, number: u16) {
        self.asked.iter_mut().for_each(|asked| asked.number = number);
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.answered.len()
    }
}
