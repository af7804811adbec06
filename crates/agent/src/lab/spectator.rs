//! Who looks on while the laboratory works: a progress bar for a person at a terminal, and Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rumormill_lab::jobs::Watch;

use crate::failure::Failure;

/// Cells of the bar.
const WIDTH: usize = 40;

/// Set by the first Ctrl-C of this process.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Shows progress on stderr where that is a terminal, and lets Ctrl-C end the work after what was begun.
#[derive(Debug)]
pub(super) struct Spectator {
    /// How many cells are filled; `None` where nobody would see the bar.
    shown: Option<Mutex<usize>>,
}

impl Spectator {
    /// Begins to listen for Ctrl-C. Asked once by a command.
    pub(super) fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || runtime.block_on(listen()));
        Ok(Self { shown: io::stderr().is_terminal().then(|| Mutex::new(0)) })
    }
}

/// The first Ctrl-C lets what was begun end; the second ends the process, as it would without us.
async fn listen() {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    STOPPED.store(true, Ordering::Relaxed);
    if tokio::signal::ctrl_c().await.is_ok() {
        end_at_once();
    }
}

#[expect(clippy::exit, reason = "whoever presses Ctrl-C twice wants just that; no destructor has anything to save")]
fn end_at_once() {
    std::process::exit(130);
}

impl Watch for Spectator {
    fn on_progress(&self, done: usize, of: usize) {
        let Some(shown) = &self.shown else { return };
        let cells = done * WIDTH / of.max(1);
        let mut shown = shown.lock().expect("nobody panics while drawing");
        // Threads report out of order; a bar only grows. A single piece of work has nothing to show on its way.
        if of > 1 && (cells > *shown || done == of) {
            *shown = cells;
            show(done, of, cells);
        }
    }

    fn goes_on(&self) -> bool {
        !STOPPED.load(Ordering::Relaxed)
    }
}

/// Draws the bar over itself, and takes it away at the end.
fn show(done: usize, of: usize, cells: usize) {
    let line = if done == of {
        "\r\x1b[K".to_owned()
    } else {
        format!("\r{}{} {done} of {of}\x1b[K", "█".repeat(cells), "·".repeat(WIDTH - cells))
    };
    // In one piece, and nobody there to see it is no reason to stop.
    io::stderr().lock().write_all(line.as_bytes()).ok();
}
