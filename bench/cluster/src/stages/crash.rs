//! How long it takes until a killed agent is known to be dead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::options::Options;
use crate::report::{Figure, Report};
use crate::samples::Samples;
use crate::sighting::Change;
use crate::{chance, note};

/// What the others made of one crash: seconds after the kill.
#[derive(Clone, Copy, Debug)]
struct Crash {
    /// The first suspicion anywhere, if anybody said so before the death was known.
    suspected: Option<f64>,
    first: f64,
    all: f64,
}

/// Kills one random agent after the other, at random times, and replaces each.
pub(super) fn measure(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    cluster.take_alarms();
    let started = Instant::now();
    let mut crashes = Vec::new();
    for _ in 0..options.kills {
        cluster.follow(chance::duration(Duration::from_secs(2)..Duration::from_secs(5)))?;
        let crash = crash(cluster)?;
        note(format!("killed: {crash:.2?}"));
        crashes.push(crash);
        cluster.add()?;
    }
    report.figure(Figure::Suspected, Samples::of(crashes.iter().filter_map(|crash| crash.suspected)));
    report.figure(Figure::Detected, Samples::of(crashes.iter().map(|crash| crash.first)));
    report.figure(Figure::Crashed, Samples::of(crashes.iter().map(|crash| crash.all)));
    report.alarms("crash", started.elapsed(), cluster.take_alarms());
    Ok(())
}

fn crash(cluster: &mut Cluster) -> anyhow::Result<Crash> {
    let number = cluster.pick();
    let id = cluster.ready(number).id.clone();
    let killed = cluster.agent(number).kill()?;
    let mut missing: BTreeSet<usize> = cluster.living().map(|(number, _)| number).collect();
    let (mut suspected, mut first) = (None, None);
    let all = cluster.wait("all know of a crash", |_, sighting| {
        suspected = suspected.or_else(|| sighting.of(Change::Suspected, &id));
        if let Some(at) = sighting.of(Change::Failed, &id) {
            first = first.or(Some(at));
            missing.remove(&sighting.from);
        }
        missing.is_empty()
    })?;
    let seconds = |at: Instant| at.saturating_duration_since(killed).as_secs_f64();
    Ok(Crash { suspected: suspected.map(seconds), first: first.map_or(f64::NAN, seconds), all: seconds(all) })
}
