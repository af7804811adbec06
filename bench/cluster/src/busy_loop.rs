//! Other processes that keep the cores busy.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;

use crate::options::BUSY_LOOP;

/// How many processes fight for each core.
const PER_CORE: usize = 2;

/// A process of this very program that turns in a loop. It ends when this is dropped, or when this process ends.
#[derive(Debug)]
struct BusyLoop {
    process: Child,
    _lifeline: ChildStdin,
}

/// Busy loops on all cores.
#[derive(Debug)]
pub(crate) struct BusyLoops(Vec<BusyLoop>);

impl BusyLoops {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let count = PER_CORE * thread::available_parallelism()?.get();
        let loops = (0..count).map(|_| BusyLoop::start());
        Ok(Self(loops.collect::<anyhow::Result<_>>().context("failed to start busy loops")?))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl BusyLoop {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BUSY_LOOP).process_group(0).stdin(Stdio::piped());
        let mut process = command.spawn()?;
        let lifeline = process.stdin.take().context("its standard input is piped")?;
        Ok(Self { process, _lifeline: lifeline })
    }
}

impl Drop for BusyLoop {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What such a process does: turn until standard input closes.
pub(crate) fn turn() -> anyhow::Result<()> {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    thread::Builder::new().spawn(|| {
        // An error is an end as well.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        IS_OVER.store(true, Ordering::Relaxed);
    })?;
    while !IS_OVER.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    Ok(())
}
