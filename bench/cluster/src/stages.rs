//! The parts of the measurement, one after the other on one cluster.

mod crash;
mod idle;
mod join;
mod load;
mod publish;
mod trouble;
mod write;

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::interrupt::Interrupt;
use crate::note;
use crate::options::{Options, Stage};
use crate::report::Report;
use crate::usage::Machine;

/// How long a cluster is left alone before it counts as quiet.
const SETTLING: Duration = Duration::from_secs(15);

/// How long false deaths are waited for after what may cause them: longer than any suspicion lasts here.
const AFTERMATH: Duration = Duration::from_secs(20);

/// Measures what is asked for.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let interrupt = Interrupt::catch()?;
    let mut report = Report::new(options.nodes);
    let runs = if options.wants(Stage::Join) { options.runs } else { 1 };
    note(format!("{} agents; load {}", options.nodes, load()));
    let mut cluster = timed(Stage::Join, &mut report, |report| join::measure(options, runs, &interrupt, report))?;
    for stage in Stage::ALL.into_iter().filter(|stage| options.wants(*stage)) {
        let cluster = &mut cluster;
        match stage {
            Stage::Join => Ok(()),
            Stage::Publish => timed(stage, &mut report, |report| publish::measure(options, cluster, report)),
            Stage::Write => timed(stage, &mut report, |report| write::measure(options, cluster, report)),
            Stage::Load => timed(stage, &mut report, |report| load::measure(options, cluster, report)),
            Stage::Idle => timed(stage, &mut report, |report| idle::measure(options, cluster, report)),
            Stage::Busy => timed(stage, &mut report, |report| trouble::keep_busy(options, cluster, report)),
            Stage::Pause => timed(stage, &mut report, |report| trouble::pause(options, cluster, report)),
            Stage::Crash => timed(stage, &mut report, |report| crash::measure(options, cluster, report)),
        }?;
    }
    Ok(report)
}

/// Runs a stage and notes how busy the machine was meanwhile.
fn timed<T>(
    stage: Stage,
    report: &mut Report,
    run: impl FnOnce(&mut Report) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (started, before) = (Instant::now(), Machine::now()?);
    let result = run(report)?;
    let share = Machine::now()?.busy_share_since(before);
    report.machine(stage.as_str(), share);
    let (length, percent) = (started.elapsed().as_secs_f64(), share * 100.0);
    note(format!("{}: {length:.0} s, cores busy {percent:.0} %, load {}", stage.as_str(), load()));
    Ok(result)
}

/// The machine's load averages, for people.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Leaves a cluster alone, and forgets what was said about deaths meanwhile.
fn settle(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.follow(SETTLING)?;
    let alarms = cluster.take_alarms();
    if alarms.failed > 0 {
        note(format!("before the stage: {}", alarms.json()));
    }
    Ok(())
}
