//! How long it takes until data that one agent wrote can be read at all.

use std::net::SocketAddr;
use std::time::Duration;

use crate::chance;
use crate::cluster::Cluster;
use crate::options::Options;
use crate::report::{Figure, Report};
use crate::samples::Samples;
use crate::subscriber::{Subscribers, put};

const PREFIX: &str = "bench-";

/// Writes one register after the other, each at a random agent.
pub(super) fn measure(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    let agents: Vec<SocketAddr> = cluster.living().map(|(number, _)| cluster.ready(number).http).collect();
    let watching = Subscribers::watching(&agents, PREFIX, cluster.interrupt())?;
    let (mut all, mut half) = (Vec::new(), Vec::new());
    for number in 0..options.writes {
        // Waits of random length, so that no write meets the same moment of a round.
        cluster.follow(chance::duration(Duration::from_millis(300)..Duration::from_millis(1_300)))?;
        let key = format!("{PREFIX}{number}");
        let at = put(agents[chance::below(agents.len())], &key, &"7".repeat(100))?;
        let times = watching.until_all_see(&key)?;
        half.push((times[times.len() / 2] - at).as_secs_f64());
        all.push((times[times.len() - 1] - at).as_secs_f64());
    }
    report.figure(Figure::Written, Samples::of(all));
    report.figure(Figure::WrittenHalf, Samples::of(half));
    Ok(())
}
