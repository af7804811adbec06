//! What handles ask of the driver.

use std::fmt;

use rumormill_core::data::Position;
use rumormill_core::limits::Limits;
use rumormill_core::{Command, Node, Refusal, Reply};
use tokio::sync::{mpsc, oneshot, watch};

use crate::data::Watch;
use crate::error::{Closed, RequestError};
use crate::gathering::{Answer, Line, TraceLine};
use crate::questions::Question;
use crate::registers::Held;
use crate::subscription::Feed;

/// How many requests wait for the driver; whoever has one more waits with it.
pub(crate) const REQUESTS_MAX: usize = 64;

/// How many lines of a query or trace wait for a slow reader; further ones are lost. More than there can be members.
pub(crate) const LINES_MAX: usize = 1 << 20;

pub(crate) type CommandResult = Result<Reply, Refusal>;

/// A read access to the node, run by the driver between two inputs.
pub(crate) type Inspection = Box<dyn FnOnce(&Node) + Send>;

/// What a handle asks for.
pub(crate) enum Request {
    /// Hand a command to the node.
    Command { command: Command, pending: Pending },
    /// Look at the node.
    Inspect(Inspection),
    /// Say what is bounded, and how much of it is taken.
    Limits(oneshot::Sender<Limits>),
    /// Say how many streams have ended on this side and are still being written.
    Ending(oneshot::Sender<usize>),
    /// Deliver a topic's messages from now on, and the last `history` of the past first.
    Subscribe { topic: String, history: usize, feed: Feed, done: oneshot::Sender<()> },
    /// Hand over the queries of a name.
    OnQuery { name: String, questions: mpsc::Sender<Question>, done: oneshot::Sender<()> },
    /// Deliver changes of data from now on, and first those since a position.
    Watch { prefix: String, since: Option<Position>, watch: oneshot::Sender<Watch> },
    /// Deliver what a register holds, now and whenever that changes.
    WatchRegister { register: String, watch: oneshot::Sender<watch::Receiver<Held>> },
    /// Stop without a word.
    Stop,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command { .. } => "Command",
            Self::Inspect(_) => "Inspect",
            Self::Limits(_) => "Limits",
            Self::Ending(_) => "Ending",
            Self::Subscribe { .. } => "Subscribe",
            Self::OnQuery { .. } => "OnQuery",
            Self::Watch { .. } => "Watch",
            Self::WatchRegister { .. } => "WatchRegister",
            Self::Stop => "Stop",
        })
    }
}

/// Who waits for a command: first for its result, then, of queries and traces, for what comes back.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) result: Option<oneshot::Sender<CommandResult>>,
    pub(crate) lines: Lines,
}

impl Pending {
    /// Whether the result is still to come and nobody waits for it.
    pub(crate) fn is_given_up(&self) -> bool {
        self.result.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Where the lines of a query or trace go.
#[derive(Debug)]
pub(crate) enum Lines {
    None,
    Answers(mpsc::Sender<Line<Answer>>),
    Traces(mpsc::Sender<Line<TraceLine>>),
}

impl Lines {
    /// How many were not read yet.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Answers(lines) => lines.max_capacity() - lines.capacity(),
            Self::Traces(lines) => lines.max_capacity() - lines.capacity(),
        }
    }
}

/// Sends a command; the receiver gets its result.
pub(crate) async fn open(
    requests: &mpsc::Sender<Request>,
    command: Command,
    lines: Lines,
) -> Result<oneshot::Receiver<CommandResult>, Closed> {
    let (result, answer) = oneshot::channel();
    let pending = Pending { result: Some(result), lines };
    requests.send(Request::Command { command, pending }).await.map_err(|_| Closed)?;
    Ok(answer)
}

/// Sends a command whose lines go to `lines`, and waits for its result.
pub(crate) async fn gather(
    requests: &mpsc::Sender<Request>,
    command: Command,
    lines: Lines,
) -> Result<Reply, RequestError> {
    let answer = open(requests, command, lines).await?;
    Ok(answer.await.map_err(|_| Closed)??)
}

/// Sends a command and waits for its result.
pub(crate) async fn command(requests: &mpsc::Sender<Request>, command: Command) -> Result<Reply, RequestError> {
    gather(requests, command, Lines::None).await
}
