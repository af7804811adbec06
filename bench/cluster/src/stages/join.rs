//! How long it takes until all know all.

use crate::cluster::{Cluster, Formation};
use crate::interrupt::Interrupt;
use crate::note;
use crate::options::{Options, Stage};
use crate::report::{Figure, Report};
use crate::samples::Samples;

/// Forms clusters one after the other and keeps the last one.
pub(super) fn measure(
    options: &Options,
    runs: usize,
    interrupt: &Interrupt,
    report: &mut Report,
) -> anyhow::Result<Cluster> {
    let mut formations: Vec<Formation> = Vec::new();
    let cluster = loop {
        let (mut cluster, formation) = Cluster::form(options, interrupt)?;
        let Formation { since_spawn, since_ready } = formation;
        note(format!(
            "all know all {since_spawn:.3?} after the last start, {since_ready:.3?} after the last was ready"
        ));
        formations.push(formation);
        let alarms = cluster.take_alarms();
        if alarms.failed > 0 {
            note(format!("while joining: {}", alarms.json()));
        }
        if formations.len() == runs {
            break cluster;
        }
    };
    if options.wants(Stage::Join) {
        let seconds = |of: fn(&Formation) -> f64| Samples::of(formations.iter().map(of));
        report.figure(Figure::Joined, seconds(|formation| formation.since_spawn.as_secs_f64()));
        report.figure(Figure::JoinedSinceReady, seconds(|formation| formation.since_ready.as_secs_f64()));
    }
    Ok(cluster)
}
