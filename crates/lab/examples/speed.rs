//! Prints how fast and how large the virtual network is: `cargo run --release -p rumormill-lab --example speed --
//! [--nodes N,N,…] [--seed S] [--cold]`.
//!
//! Each cluster has full views, the `lan` preset and no checkers, and runs for 60 virtual seconds on one core: once
//! quiet, once with a message of 100 bytes from another node every three seconds. An event is an input handed to a
//! node; events per second are those of time on the CPU, where the system tells it; memory is the process's peak. `--cold` starts them through one contact as well, and says how long that takes.
#![expect(clippy::print_stdout, reason = "printing is what this program does")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rumormill_lab::{Failure, Network};

const USAGE: &str = "usage: speed [--nodes N,N,…] [--seed S] [--cold]";
/// Virtual time of each run.
const SPAN: Duration = Duration::from_mins(1);
/// Messages in it.
const MESSAGES: u32 = 20;

#[derive(Debug)]
struct Arguments {
    nodes: Vec<usize>,
    seed: u64,
    cold: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { nodes: vec![100, 1_000, 10_000], seed: 1, cold: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"));
            let refused = |_| format!("{word} takes whole numbers; {USAGE}");
            match word.as_str() {
                "--nodes" => {
                    let parsed: Result<_, _> = value()?.split(',').map(str::parse).collect();
                    arguments.nodes = parsed.map_err(refused)?;
                }
                "--seed" => arguments.seed = value()?.parse().map_err(refused)?,
                "--cold" => arguments.cold = true,
                _ => return Err(format!("unknown argument {word:?}; {USAGE}")),
            }
        }
        if arguments.nodes.iter().any(|&nodes| nodes < 2) {
            return Err(format!("at least 2 nodes; {USAGE}"));
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1))
        .and_then(|arguments| run(&arguments).map_err(|failure| failure.to_string()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    println!(
        "| nodes | start | work | start, s / on CPU | events | run, s / on CPU | events/s | ns/event | MiB | kB/node |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for &nodes in &arguments.nodes {
        for messages in [0, MESSAGES] {
            let begun = Clocks::now();
            let net = network(arguments.seed, nodes).start_joined()?;
            report("joined", net, messages, begun.elapsed())?;
        }
        if arguments.cold {
            let begun = Clocks::now();
            let mut net = network(arguments.seed, nodes).start_cold(0, Duration::from_secs(1));
            net.run_for(Duration::from_secs(1))?;
            net.run_until(Network::everyone_knows_everyone, Duration::from_mins(10))?;
            report("cold", net, 0, begun.elapsed())?;
        }
    }
    Ok(())
}

fn network(seed: u64, nodes: usize) -> Network {
    let replay = format!("cargo run --release -p rumormill-lab --example speed -- --nodes {nodes} --seed {seed}");
    Network::new(seed).nodes(nodes).without_disks().unchecked().replay(replay)
}

/// Seconds, by the clock on the wall and on the CPU.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: Instant,
    on_cpu: Option<f64>,
}

impl Clocks {
    fn now() -> Self {
        Self { wall: Instant::now(), on_cpu: on_cpu() }
    }

    /// What has passed since, on the wall and on the CPU; the same where the system does not tell.
    fn elapsed(self) -> (f64, f64) {
        let wall = self.wall.elapsed().as_secs_f64();
        (wall, on_cpu().zip(self.on_cpu).map_or(wall, |(now, before)| now - before))
    }
}

/// How long this thread has been on a CPU, in seconds.
fn on_cpu() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = times.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos).as_secs_f64())
}

/// Runs a cluster whose start took so long, and prints its row.
fn report(start: &str, mut net: Network, messages: u32, started: (f64, f64)) -> Result<(), Failure> {
    net.reset_measurements();
    let begun = Clocks::now();
    for place in 0..messages as usize {
        net.publish(place * net.len() / messages as usize, "news", vec![1; 100]);
        net.run_for(SPAN / messages)?;
    }
    if messages == 0 {
        net.run_for(SPAN)?;
    }
    let (ran, on_cpu) = begun.elapsed();
    let (events, peak, nodes) = (count(net.measured().inputs), count(peak_bytes()), net.len());
    let work = if messages == 0 { "quiet".to_owned() } else { format!("{messages} messages") };
    println!(
        "| {nodes} | {start} | {work} | {:.2} / {:.2} | {events:.0} | {ran:.2} / {on_cpu:.2} | {:.0} | {:.0} | {:.0} | \
         {:.1} |",
        started.0,
        started.1,
        events / on_cpu,
        on_cpu * 1e9 / events,
        peak / 1_048_576.0,
        peak / 1_000.0 / count(nodes as u64),
    );
    Ok(())
}

/// The most memory that this process has had, all in all; 0 where the system does not tell.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1_024
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}
