//! Answers and traces on their way to the one who asked.

use std::time::Duration;

use rumormill_core::NodeId;
use rumormill_core::io::TraceStep;
use tokio::sync::mpsc;

/// An answer to a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Who answers.
    pub from: NodeId,
    /// Its name.
    pub name: String,
    /// What.
    pub payload: Vec<u8>,
    /// How long after the question.
    pub after: Duration,
}

/// What a member said about a traced message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceLine {
    /// When, how and from whom it got the message.
    pub step: TraceStep,
    /// The member's name.
    pub name: String,
    /// The name of who sent it, or its id where this node does not know it; `None` at the origin.
    pub from_name: Option<String>,
}

/// How a query or a trace ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// How many members were asked, this node included. `None` if nobody knows: with a partial view and a filter, or before the
    /// first estimate of the size.
    pub asked: Option<usize>,
    /// `asked` is an estimate: the view is partial.
    pub estimated: bool,
    /// How many answered.
    pub answered: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// Answers to a query as they come.
pub type Answers = Gathering<Answer>;

/// The steps of a message as members tell them.
pub type Traces = Gathering<TraceLine>;

/// What comes back from many members.
#[derive(Debug)]
pub struct Gathering<T> {
    lines: mpsc::Receiver<Line<T>>,
    summary: Option<Summary>,
}

impl<T> Gathering<T> {
    pub(crate) fn new(lines: mpsc::Receiver<Line<T>>) -> Self {
        Self { lines, summary: None }
    }

    /// The next one, or `None` when all have answered, the time is over, or the node has stopped. With a partial view all may
    /// have answered once nothing comes any more after as many answers as there are nodes by the estimate.
    pub async fn next(&mut self) -> Option<T> {
        match self.lines.recv().await? {
            Line::Item(item) => Some(item),
            Line::End(summary) => {
                self.summary = Some(summary);
                self.lines.close();
                None
            }
        }
    }

    /// How it ended, once [`next`](Self::next) has said `None`; `None` where the node stopped before.
    pub fn summary(&self) -> Option<Summary> {
        self.summary
    }
}

/// What the driver sends to a gathering.
#[derive(Debug)]
pub(crate) enum Line<T> {
    Item(T),
    End(Summary),
}
