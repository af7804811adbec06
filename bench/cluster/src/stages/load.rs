//! What messages cost those that they come to.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::options::Options;
use crate::report::{Figure, Report};
use crate::samples::Samples;
use crate::subscriber::publish;
use crate::usage;

const TOPIC: &str = "load";
/// How long the last messages may take to settle.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Publishes at one agent as fast as it takes it; the others' CPU counts, as no HTTP is in it.
pub(super) fn measure(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    let agents: Vec<(usize, u32)> = cluster.living().map(|(number, agent)| (number, agent.pid())).collect();
    let [(publisher, _), others @ ..] = &agents[..] else { anyhow::bail!("a cluster has agents") };
    let http = cluster.ready(*publisher).http;
    let used = || others.iter().map(|(_, pid)| usage::cpu_seconds(*pid)).collect::<anyhow::Result<Vec<f64>>>();
    let before = used()?;
    for number in 0..options.load {
        publish(http, TOPIC, &format!("{number:0128}"))?;
    }
    cluster.follow(AFTERMATH)?;
    let after = used()?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let messages = options.load as f64;
    let spent = before.iter().zip(&after).map(|(before, after)| (after - before) / messages);
    report.figure(Figure::MessageCpu, Samples::of(spent));
    Ok(())
}
