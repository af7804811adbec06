//! Who waits for a lease, and what becomes of it when nobody does any more.

use std::sync::Arc;

use rumormill_core::{Command, Reply};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::TRY_MAX;
use crate::cluster::Shared;
use crate::error::{Closed, RequestError};
use crate::request::{self, CommandResult, Lines, Pending, Request};

/// An [`Command::Acquire`] on its way. Dropped, it makes the desk abandon the command; an answer that has come by then and was not
/// read is undone.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    shared: &'a Arc<Shared>,
    lease: &'a str,
    holder: u64,
    answer: oneshot::Receiver<CommandResult>,
}

impl<'a> Asking<'a> {
    pub(super) async fn open(
        shared: &'a Arc<Shared>,
        command: Command,
        (lease, holder): (&'a str, u64),
    ) -> Result<Self, Closed> {
        let answer = request::open(&shared.requests, command, Lines::None).await?;
        Ok(Self { shared, lease, holder, answer })
    }

    pub(super) async fn answer(mut self) -> Result<Reply, RequestError> {
        Ok((&mut self.answer).await.map_err(|_| Closed)??)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // Nothing comes after this; what has come is there.
        self.answer.close();
        if let Ok(Ok(Reply::Leased { token, .. })) = self.answer.try_recv() {
            let (lease, holder) = (self.lease.to_owned(), self.holder);
            in_background(self.shared, Command::Forgo { lease, holder, token, timeout: TRY_MAX });
        }
    }
}

/// Asks for something of which nobody will hear how it ended.
pub(super) fn in_background(shared: &Arc<Shared>, command: Command) {
    let pending = Pending { result: None, lines: Lines::None };
    let sent = shared.requests.try_send(Request::Command { command, pending });
    if let Err(TrySendError::Full(request)) = sent
        && let Ok(runtime) = Handle::try_current()
    {
        let requests = shared.requests.clone();
        // The node may have stopped by then.
        runtime.spawn(async move { requests.send(request).await.ok() });
    }
}
