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
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct Said<T> {
    peer: NodeId,
    number: u16,
    what: T,
}

/// One node's questions and answers.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
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

/// Exchanges that overlap, repeat and come late, as tests of what averages have them.
#[cfg(test)]
pub(super) mod script {
    use proptest::prelude::*;

    use super::{NodeId, Refused};

    pub(in super::super) const NODES: usize = 12;

    /// One node's part in an epoch, whatever it averages.
    pub(in super::super) trait Averages {
        type Said: Clone;

        fn waits_for(&self) -> Option<NodeId>;
        fn ask(&mut self, peer: NodeId) -> (u16, Self::Said);
        fn answer(&mut self, peer: NodeId, number: u16, offered: &Self::Said) -> Result<Self::Said, Refused>;
        fn settle(&mut self, peer: NodeId, number: u16, flows: &Self::Said) -> Result<(), Refused>;
    }

    /// Somebody asks somebody; a question or an answer on its way arrives, or is repeated.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) enum Step {
        Ask(usize, usize),
        Question(usize),
        Answer(usize),
    }

    pub(in super::super) fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Ask(a, b)),
            (0_usize..64).prop_map(Step::Question),
            (0_usize..64).prop_map(Step::Answer),
        ];
        proptest::collection::vec(step, 0..300)
    }

    const fn name(node: usize) -> NodeId {
        NodeId(node as u64 + 1)
    }

    /// Carries steps out, each node waiting for its answer before it asks again, and then all that is on its way.
    pub(in super::super) fn carry_out<N: Averages>(nodes: &mut [N], steps: &[Step]) {
        let (mut questions, mut answers) = (Vec::new(), Vec::new());
        for step in steps {
            match *step {
                Step::Ask(a, b) if a != b && nodes[a].waits_for().is_none() => {
                    let (number, offered) = nodes[a].ask(name(b));
                    questions.push((a, b, number, offered));
                }
                Step::Question(place) if !questions.is_empty() => {
                    let (a, b, number, ref offered) = questions[place % questions.len()];
                    if let Ok(flows) = nodes[b].answer(name(a), number, offered) {
                        answers.push((a, b, number, flows));
                    }
                }
                Step::Answer(place) if !answers.is_empty() => {
                    let (a, b, number, ref flows) = answers[place % answers.len()];
                    let _refused = nodes[a].settle(name(b), number, flows);
                }
                Step::Ask(..) | Step::Question(_) | Step::Answer(_) => {}
            }
        }
        for (a, b, number, offered) in questions {
            if nodes[a].waits_for() == Some(name(b)) && nodes[a].ask(name(b)).0 == number {
                let flows = nodes[b].answer(name(a), number, &offered).unwrap();
                nodes[a].settle(name(b), number, &flows).unwrap();
            }
        }
    }
}
