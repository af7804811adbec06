//! What a quiet cluster costs, and whether it stays quiet.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::settle;
use crate::cluster::Cluster;
use crate::http;
use crate::options::Options;
use crate::report::{Figure, Report};
use crate::samples::Samples;
use crate::usage::{self, Machine, Memory};

/// Headers of IPv4 and UDP.
const HEADER_BYTES: f64 = 28.0;

/// What an agent has used since its start.
#[derive(Clone, Copy, Debug)]
struct Use {
    at: Instant,
    datagrams: f64,
    bytes: f64,
    cpu_seconds: f64,
}

impl Use {
    fn of(cluster: &Cluster, number: usize, pid: u32) -> anyhow::Result<Self> {
        let info = http::get(cluster.ready(number).http, "/v1/info")?;
        let count = |key: &str| info["sent"][key].as_f64().with_context(|| format!("info has no sent.{key}"));
        let (datagrams, bytes) = (count("datagrams")?, count("bytes")?);
        Ok(Self { at: Instant::now(), datagrams, bytes, cpu_seconds: usage::cpu_seconds(pid)? })
    }

    fn of_all(cluster: &Cluster) -> anyhow::Result<Vec<Self>> {
        cluster.living().map(|(number, agent)| Self::of(cluster, number, agent.pid())).collect()
    }
}

/// Leaves the cluster alone; reads traffic and CPU over the last part of that time.
pub(super) fn measure(options: &Options, cluster: &mut Cluster, report: &mut Report) -> anyhow::Result<()> {
    settle(cluster)?;
    let window = options.window.min(options.idle);
    cluster.follow(options.idle.saturating_sub(window))?;
    let (before, machine) = (Use::of_all(cluster)?, Machine::now()?);
    cluster.follow(window)?;
    let share = Machine::now()?.busy_share_since(machine);
    let after = Use::of_all(cluster)?;
    report.machine("idle window", share);
    costs(&before, &after, report);
    let memory: Vec<Memory> = cluster.living().map(|(_, agent)| Memory::of(agent.pid())).collect::<Result<_, _>>()?;
    report.figure(Figure::Resident, Samples::of(memory.iter().map(|memory| memory.resident)));
    report.figure(Figure::Anonymous, Samples::of(memory.iter().map(|memory| memory.anonymous)));
    report.alarms("idle", options.idle, cluster.take_alarms());
    report.note("dropped", dropped(cluster)?);
    Ok(())
}

fn costs(before: &[Use], after: &[Use], report: &mut Report) {
    let pairs = || before.iter().zip(after);
    let per_second = |of: fn(&Use) -> f64| {
        Samples::of(pairs().map(|(before, after)| (of(after) - of(before)) / (after.at - before.at).as_secs_f64()))
    };
    report.figure(Figure::Traffic, per_second(|used| used.bytes + used.datagrams * HEADER_BYTES));
    report.figure(Figure::Datagrams, per_second(|used| used.datagrams));
    report.figure(Figure::Cpu, per_second(|used| used.cpu_seconds * Duration::from_mins(1).as_secs_f64()));
}

/// What all agents together have dropped since their start, by cause, where it is not zero.
fn dropped(cluster: &Cluster) -> anyhow::Result<Value> {
    let mut sums = serde_json::Map::new();
    for (number, _) in cluster.living() {
        let info = http::get(cluster.ready(number).http, "/v1/info")?;
        for (cause, count) in info["dropped"].as_object().into_iter().flatten() {
            let count = count.as_u64().unwrap_or(0);
            if count > 0 {
                let sum = sums.get(cause).and_then(Value::as_u64).unwrap_or(0) + count;
                sums.insert(cause.clone(), sum.into());
            }
        }
    }
    Ok(sums.into())
}
