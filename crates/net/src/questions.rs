//! Queries of other members on their way to a handler, and its answers.

use rumormill_core::io::QueryId;
use rumormill_core::{Command, NodeId};
use tokio::sync::mpsc;

use crate::error::{Closed, RequestError};
use crate::request::{Request, command};

/// How many questions wait for a slow handler; further ones stay unanswered.
pub(crate) const QUESTIONS_MAX: usize = 256;

/// The questions of one name, for a handler to answer. Dropping it gives the name back.
#[derive(Debug)]
pub struct Questions(pub(crate) mpsc::Receiver<Question>);

impl Questions {
    /// The next question, or `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<Question> {
        self.0.recv().await
    }
}

/// A question. Dropping it leaves it unanswered.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub name: String,
    /// With what.
    pub payload: Vec<u8>,
    /// Who asks.
    pub from: NodeId,
    /// The name of who asks.
    pub from_name: String,
    pub(crate) query: QueryId,
    /// Weak: questions that wait somewhere do not keep a node up that nobody holds any more.
    pub(crate) requests: mpsc::WeakSender<Request>,
}

impl Question {
    /// Answers, with up to 64 KiB.
    ///
    /// # Errors
    /// Where the payload is too large, the asker no longer waits, or the node has stopped.
    pub async fn answer(self, payload: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        let requests = self.requests.upgrade().ok_or(Closed)?;
        command(&requests, Command::Answer { query: self.query, payload: payload.into() }).await?;
        Ok(())
    }
}
