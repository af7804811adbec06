//! What processes and the machine use, as Linux tells in `/proc`.

use std::fs;

use anyhow::Context;

/// CPU time in `/proc` is counted in hundredths of a second on every architecture that this is likely to run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// The part that no file backs and nothing shares: heap and stacks.
    pub(crate) anonymous: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.strip_prefix(':'));
            let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<f64>().ok());
            number.map(|number| number * 1024.0).with_context(|| format!("{path} has no {name}"))
        };
        Ok(Self { resident: kibibytes("VmRSS")?, anonymous: kibibytes("RssAnon")? })
    }
}

/// Seconds of CPU that a process has used, in user and system mode, all its threads together.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The program's name stands in parentheses and may hold anything; the times are fields 14 and 15 of all.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    let [user, system] = times[..] else { anyhow::bail!("{path} does not have its 15 fields") };
    Ok((user + system) / TICKS_PER_SECOND)
}

/// CPU time of the whole machine since it started, in ticks of all cores together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    busy: f64,
    total: f64,
}

impl Machine {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
        let first = stat.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user already.
        let times: Vec<f64> = first.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
        let [_, _, _, idle, waiting, ..] = times[..] else { anyhow::bail!("/proc/stat has no times") };
        let total = times.iter().sum();
        Ok(Self { busy: total - idle - waiting, total })
    }

    /// Which share of all cores has been busy since `earlier`.
    pub(crate) fn busy_share_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy) / (self.total - earlier.total).max(1.0)
    }
}
