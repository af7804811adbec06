//! Orders that agents pass on from whoever looks at their console. They come over a socket in a directory that only this user can
//! enter, so that nothing but the agents' own HTTP interface, and what guards it, is open to others.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::child::{Report, ReportKind};
use crate::documents::{DevDocument, DevOrder, Problem};
use crate::failure::{Failure, Kind};

/// What an order may be as long as: names of a few hundred agents.
const ORDER_BYTES_MAX: u64 = 64 * 1024;

/// What became of an order.
pub(super) type Answer = Result<DevDocument, Box<Problem>>;

/// Where orders come in, while it lives.
#[derive(Debug)]
pub(super) struct Control {
    directory: TempDir,
}

impl Control {
    /// Listens; each order is reported, and answered by whoever hears the reports.
    pub(super) fn listen(reports: mpsc::Sender<Report>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(Kind::Refused, "system", format!("no socket: {error}"));
        let directory = tempfile::Builder::new().prefix("rumor-dev-").tempdir().map_err(failed)?;
        let listener = UnixListener::bind(socket_in(directory.path())).map_err(failed)?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, reports.clone()));
            }
        });
        Ok(Self { directory })
    }

    /// Where it listens.
    pub(super) fn path(&self) -> PathBuf {
        socket_in(self.directory.path())
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("control")
}

/// One order and its answer, a line each; whoever says something else gets none.
async fn serve(stream: UnixStream, reports: mpsc::Sender<Report>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(ORDER_BYTES_MAX)).read_line(&mut line).await.ok()?;
    let order: DevOrder = serde_json::from_str(&line).ok()?;
    let (answer, answered) = oneshot::channel();
    let kind = ReportKind::Ordered(order, answer);
    reports.send(Report { from: 0, at: Instant::now(), kind }).await.ok()?;
    let mut line = serde_json::to_vec(&answered.await.ok()?).ok()?;
    line.push(b'\n');
    write.write_all(&line).await.ok()
}
