//! How long a message takes to all subscribers.

use std::net::SocketAddr;
use std::time::Duration;

use crate::chance;
use crate::cluster::Cluster;
use crate::options::Options;
use crate::report::{Figure, Report};
use crate::samples::Samples;
use crate::subscriber::{Subscribers, publish};

const TOPIC: &str = "bench";

/// Publishes one message after the other, each at a random agent.
pub(super) fn measure(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    let agents: Vec<SocketAddr> = cluster.living().map(|(number, _)| cluster.ready(number).http).collect();
    let subscribers = Subscribers::at(&agents, TOPIC, cluster.interrupt())?;
    let (mut all, mut half) = (Vec::new(), Vec::new());
    for number in 0..options.messages {
        // Waits of random length, so that no message meets the same moment of a round.
        cluster.follow(chance::duration(Duration::from_millis(300)..Duration::from_millis(1_300)))?;
        let payload = format!("{number:064}");
        let at = publish(agents[chance::below(agents.len())], TOPIC, &payload)?;
        let times = subscribers.until_all_have(&payload)?;
        half.push((times[times.len() / 2] - at).as_secs_f64());
        all.push((times[times.len() - 1] - at).as_secs_f64());
    }
    report.figure(Figure::Published, Samples::of(all));
    report.figure(Figure::PublishedHalf, Samples::of(half));
    Ok(())
}
