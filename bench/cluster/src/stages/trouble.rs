//! Whether agents keep calm while the machine is busy, and while one of them stands still.

use std::time::{Duration, Instant};

use super::{AFTERMATH, settle};
use crate::agent::until_continued;
use crate::busy_loop::BusyLoops;
use crate::chance;
use crate::cluster::Cluster;
use crate::options::Options;
use crate::report::Report;

/// How long an agent is stopped.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps all cores busy with other processes.
pub(super) fn keep_busy(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    settle(cluster)?;
    let loops = BusyLoops::start()?;
    report.note("busy_loops", loops.count().into());
    cluster.follow(options.busy)?;
    drop(loops);
    cluster.follow(AFTERMATH)?;
    report.alarms("busy", options.busy, cluster.take_alarms());
    Ok(())
}

/// Stops one random agent after the other for a while.
pub(super) fn pause(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    settle(cluster)?;
    let started = Instant::now();
    for _ in 0..options.pauses {
        cluster.follow(chance::duration(Duration::from_secs(1)..Duration::from_secs(4)))?;
        let number = cluster.pick();
        let pause = cluster.agent(number).pause(PAUSE)?;
        cluster.follow(PAUSE)?;
        until_continued(pause)?;
    }
    cluster.follow(AFTERMATH)?;
    report.alarms("pause", started.elapsed(), cluster.take_alarms());
    Ok(())
}
