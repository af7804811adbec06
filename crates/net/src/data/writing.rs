//! A write on its way: described, then awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rumormill_core::data::{Condition, Edit, Revision, Write, Written};
use rumormill_core::{Command, Refusal, Reply, duration};
use tokio::time::{Instant, timeout_at};

use crate::cluster::Shared;
use crate::error::{Closed, WriteError};
use crate::request;

/// How long a write waits for its turn and for other nodes, where nothing else is said.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A write that is made when it is awaited. It gives back what the key holds then, as this node sees it.
///
/// # Errors
/// [`WriteError`]: refused, not confirmed by enough others in time, or the node has stopped. Once it is awaited, dropping
/// it does not undo it.
#[derive(Debug)]
#[must_use = "a write is made when it is awaited"]
pub struct Writing {
    shared: Arc<Shared>,
    writes: Result<Vec<Write>, Refusal>,
    replicas: usize,
    timeout: Duration,
    in_pieces: bool,
}

impl Writing {
    pub(super) fn new(shared: &Arc<Shared>, writes: Vec<Write>) -> Self {
        Self { shared: Arc::clone(shared), writes: Ok(writes), replicas: 0, timeout: TIMEOUT_DEFAULT, in_pieces: false }
    }

    /// What turned out to be wrong before there was a write.
    pub(super) fn refused(shared: &Arc<Shared>, refusal: Refusal) -> Self {
        Self { writes: Err(refusal), ..Self::new(shared, Vec::new()) }
    }

    /// Done only once so many other nodes have confirmed that they hold it as durably as this one.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// How long to wait for the turn of the write and for other nodes: 5 s unless told otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For more writes than the node should make in one go, as it does nothing else meanwhile: all of them are checked
    /// before the first is made, so that one that breaks a rule changes nothing; then they are made a thousand at a time.
    /// What happens between the pieces may still stop them: then [`WriteError::Partly`] says how many were made.
    pub fn in_pieces(mut self) -> Self {
        self.in_pieces = true;
        self
    }

    /// The values are served for so long, to the second, rounded up; then their keys are gone. For puts only.
    pub fn ttl(mut self, time_to_live: Duration) -> Self {
        for write in self.writes.iter_mut().flatten() {
            let Edit::Put { ttl, .. } = &mut write.edit else {
                let (value, rule) = (duration::format(time_to_live), "left out where nothing is put".to_owned());
                self.writes = Err(Refusal::Invalid { field: "ttl", value, rule });
                return self;
            };
            *ttl = Some(time_to_live);
        }
        self
    }

    /// Only if the key holds nothing on this node. Other nodes are not asked: two of them may both succeed.
    pub fn if_absent(self) -> Self {
        self.only_if(Condition::Absent)
    }

    /// Only if the key is at this revision on this node. Other nodes are not asked: two of them may both succeed.
    pub fn if_revision(self, revision: Revision) -> Self {
        self.only_if(Condition::Revision(revision))
    }

    fn only_if(mut self, condition: Condition) -> Self {
        self.writes.iter_mut().flatten().for_each(|write| write.condition = condition);
        self
    }

    async fn make(self) -> Result<Written, WriteError> {
        let Self { shared, writes, replicas, timeout, in_pieces } = self;
        let writes = writes?;
        let maker = Maker { shared, replicas, timeout };
        if in_pieces { maker.make_in_pieces(writes).await } else { maker.make(writes).await }
    }
}

/// How writes are made.
#[derive(Debug)]
struct Maker {
    shared: Arc<Shared>,
    replicas: usize,
    timeout: Duration,
}

impl Maker {
    async fn make(&self, writes: Vec<Write>) -> Result<Written, WriteError> {
        let deadline = Instant::now() + self.timeout;
        // The node refuses more writes than it may keep waiting: here they wait before they get there.
        let turn = timeout_at(deadline, self.shared.writers.acquire()).await.map_err(|_| Refusal::Late)?;
        let _turn = turn.map_err(|_| Closed)?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        let command = Command::Write { writes, replicas: self.replicas, timeout };
        let Reply::Written(written) = request::command(&self.shared.requests, command).await? else {
            unreachable!("a write ends as written")
        };
        if written.replicas < written.wanted { Err(WriteError::Unconfirmed(written)) } else { Ok(*written) }
    }

    async fn make_in_pieces(&self, writes: Vec<Write>) -> Result<Written, WriteError> {
        self.check(&writes).await?;
        let mut made = 0;
        let mut rest = writes.into_iter();
        loop {
            let length = piece_length(rest.len());
            let piece = rest.by_ref().take(length).collect();
            match self.make(piece).await.map_err(|error| at(made, error)) {
                Ok(_) if rest.len() > 0 => made += length,
                Err(error) if made > 0 => return Err(WriteError::Partly { made, error: Box::new(error) }),
                last => return last,
            }
        }
    }

    /// Whether the node would refuse any of these.
    async fn check(&self, writes: &[Write]) -> Result<(), WriteError> {
        let (mut growth, mut checked) = (0, 0);
        while checked < writes.len() {
            let piece = &writes[checked..][..piece_length(writes.len() - checked)];
            let command = Command::Check { writes: piece.to_vec(), growth };
            let reply = request::command(&self.shared.requests, command).await;
            let reply = reply.map_err(|error| at(checked, error.into()))?;
            let Reply::Checked { growth: grown } = reply else { unreachable!("a check ends as checked") };
            growth = grown;
            checked += piece.len();
        }
        Ok(())
    }
}

/// How many writes the node makes in one go: about ten milliseconds of its time.
const PIECE: usize = 1_000;

/// How many of so many writes are made next. Never a single one of them, whose refusal would not name it.
const fn piece_length(writes: usize) -> usize {
    if writes <= PIECE + 1 { writes } else { PIECE }
}

/// An error about a piece that others came before.
fn at(before: usize, error: WriteError) -> WriteError {
    match error {
        WriteError::Refused(Refusal::At { place, refusal }) => Refusal::At { place: before + place, refusal }.into(),
        error @ (WriteError::Refused(_)
        | WriteError::Unconfirmed(_)
        | WriteError::Partly { .. }
        | WriteError::Closed(_)) => error,
    }
}

impl IntoFuture for Writing {
    type Output = Result<Written, WriteError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}
