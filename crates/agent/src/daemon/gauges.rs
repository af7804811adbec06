//! The gauges that every agent has.

use std::fs;
use std::time::Duration;

use rumormill::RequestError;
use rumormill_lab::memory;

use super::Agent;

/// Their names; nobody may give them other values. The core keeps `members`: how many members the node knows.
pub(crate) const BUILT_IN: [&str; 4] = ["load", "memory", "members", "uptime"];

/// How often they are measured.
const MEASURED_EVERY: Duration = Duration::from_secs(5);

/// Keeps them up to date: the load of the machine over the last minute, the resident memory of the agent in bytes, and for
/// how many seconds it has been up. What the system does not tell as Linux does has no value.
pub(crate) async fn measure(agent: Agent) -> Result<(), RequestError> {
    let mut ticks = tokio::time::interval(MEASURED_EVERY);
    loop {
        ticks.tick().await;
        let cluster = &agent.cluster;
        cluster.set_gauge("load", load()).await?;
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^53")]
        cluster.set_gauge("memory", memory::resident().map(|bytes| bytes as f64)).await?;
        cluster.set_gauge("uptime", Some(agent.started.elapsed().as_secs_f64())).await?;
    }
}

/// How many processes want to run, in the mean over a minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
