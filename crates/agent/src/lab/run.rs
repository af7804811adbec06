//! `rumor lab run`: real nodes on a virtual network.

mod words;

use std::time::{Duration, Instant};

use clap::Args;
use rumormill_lab::jobs::Watch;
use rumormill_lab::scenario::{Draft, Outcome, Run as Running, library};
use rumormill_lab::{Error, Scenario, memory};
use serde_json::json;

use super::spectator::Spectator;
use super::{Drawing, show, stopped};
use crate::cli;
use crate::commands::Output;
use crate::failure::Failure;
use crate::print::{self, short};

/// `rumor lab run`. What is not given here comes from the scenario, then from the defaults.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// Begin with a scenario: one of the library by name, or a TOML file whose keys are these flags, with _ for -, and
    /// the settings of nodes
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// List the scenarios of the library, and what each shows
    #[arg(long)]
    list: bool,
    /// How many nodes there are at the start, named n0, n1, ... [default: 100]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    nodes: Option<String>,
    /// How they start: cold, each told one contact, or joined, with complete views [default: cold]
    #[arg(long, value_name = "HOW")]
    start: Option<String>,
    /// They start at random moments within this span [default: 1s]
    #[arg(long, value_name = "D")]
    start_within: Option<String>,
    /// How many nodes, from the first, are contacts of a cold start: each other node is told one of them [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    contacts: Option<String>,
    /// For how long to run, in virtual time [default: 30s]
    #[arg(long, value_name = "D")]
    duration: Option<String>,
    /// What all that is random comes from [default: 1]
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    seed: Option<String>,
    /// How fresh news travels: push, pull or push-pull [default: push-pull]
    #[arg(long, value_name = "M")]
    mode: Option<String>,
    /// To how many random peers a rumor goes at each round [default: 3]
    #[arg(long, value_name = "F", allow_hyphen_values = true)]
    fanout: Option<String>,
    /// Whom a node knows: full or partial [default: full]
    #[arg(long, value_name = "V")]
    view: Option<String>,
    /// What the settings of the nodes start from: lan, wan or local [default: lan]
    #[arg(long, value_name = "P")]
    preset: Option<String>,
    /// Any other setting of the nodes, see `rumor config show`; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = cli::key_value)]
    set: Vec<(String, String)>,
    /// How long a datagram takes at least, one way [default: 500us]
    #[arg(long, value_name = "D")]
    latency: Option<String>,
    /// How much longer it may take [default: 100us]
    #[arg(long, value_name = "D")]
    jitter: Option<String>,
    /// Machines lie at random places in a square; a round trip along its side takes so much longer [default: 0s]
    #[arg(long, value_name = "D")]
    span: Option<String>,
    /// A round trip over the line that leads to a machine, in the mean; from zero to twice that, at both ends [default: 0s]
    #[arg(long, value_name = "D")]
    height: Option<String>,
    /// The share of datagrams that is lost, from 0 to below 1; streams under loss are late [default: 0]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    loss: Option<String>,
    /// The share that arrives twice [default: 0]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    duplication: Option<String>,
    /// The share that others overtake [default: 0]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    reordering: Option<String>,
    /// What a stream carries, in bytes per second and direction [default: 125000000]
    #[arg(long, value_name = "B", allow_hyphen_values = true)]
    stream_speed: Option<String>,
    /// By how much a node's time of day may be wrong, either way [default: 0s]
    #[arg(long, value_name = "D")]
    clock_skew: Option<String>,
    /// By how many millionths it may run too fast or too slow [default: 0]
    #[arg(long, value_name = "PPM", allow_hyphen_values = true)]
    clock_drift: Option<String>,
    /// How long a write to disk takes at most [default: 2ms]
    #[arg(long, value_name = "D")]
    disk_delay: Option<String>,
    /// Nodes have no data directory
    #[arg(long)]
    diskless: bool,
    /// What befalls nodes, and when; may be given often. WHO is n3, n3,n7 or a share as 0.5, drawn from the seed:
    /// crash:WHO, kill:WHO, restart:WHO, restart:WHO:lost, pause:WHO:D, slow:WHO:D (stand still for D, run for D, and so
    /// on), stall:WHO:D (what they send and are sent waits for D, passes for D, and so on), partition:WHO,
    /// partition:WHO/WHO, oneway:WHO:WHO, heal, churn:SHARE/s, churn:SHARE/s:DOWN, disk-fails:WHO, disk-works:WHO,
    /// clock:WHO:D (so far ahead), leave:WHO, set:WHO:KEY=VALUE (from the next start on), add:COUNT, add:COUNT:WITHIN,
    /// publish:WHO:BYTES, write:WHO (changes something in the database)
    #[arg(long, value_name = "WHAT@WHEN")]
    fault: Vec<String>,
    /// Have messages of so many bytes published by random nodes, or by named ones as n3,n7:64@5s; may be given often
    #[arg(long, value_name = "COUNT:BYTES@WHEN")]
    publish: Vec<String>,
    /// Then let everything heal and whoever is down restart: all must agree and have everything within D, and a message
    /// from each node must reach all within half of it [default: 0s, that is not at all]
    #[arg(long, value_name = "D")]
    settle: Option<String>,
    /// Check every step of every node against what must always hold
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

pub(super) fn run(flags: Run, output: Output) -> Result<(), Failure> {
    if flags.list {
        return list(output);
    }
    let scenario = read(&flags)?;
    scenario.check()?;
    flags.drawing.check()?;
    let spectator = Spectator::new()?;
    let resident = memory::resident();
    let (running, mut outcome) = timed(&scenario, &spectator, &|_| ())?;
    let grown = memory::resident().zip(resident).map(|(now, before)| now.saturating_sub(before));
    let machines = u32::try_from(running.network().len()).expect("a network fits into memory");
    outcome.memory_per_node = grown.map(|bytes| rate(bytes, f64::from(machines)));
    let lines = |outcome: &_| words::lines(running.scenario(), outcome);
    show(&outcome, output, |outcome| Ok(lines(outcome).into_iter().try_for_each(print::line)?))?;
    flags.drawing.draw(|| outcome.chart(), "how messages and failures became known")?;
    running.ended_early().map_or(Ok(()), |end| Err(stopped(part(&scenario, end))))
}

/// A run to its end, or until the watch says stop, and its document with how long that took.
pub(super) fn timed(
    scenario: &Scenario,
    watch: &dyn Watch,
    look: &dyn Fn(&Running),
) -> Result<(Running, Outcome), Error> {
    let begun = Instant::now();
    let mut running = Running::start(scenario)?;
    let started = Instant::now();
    running.go_observed(watch, look)?;
    let (elapsed, running_for) = (begun.elapsed(), started.elapsed());
    let mut outcome = running.outcome();
    outcome.elapsed = Some(elapsed.as_secs_f64());
    outcome.events_per_second = Some(rate(outcome.events, running_for.as_secs_f64()));
    Ok((running, outcome))
}

/// How much of it was done.
pub(super) fn part(scenario: &Scenario, end: Duration) -> String {
    let whole = scenario.duration + scenario.settle;
    format!("{} of {} of virtual time", short(end.as_secs_f64()), short(whole.as_secs_f64()))
}

/// The scenario that the flags ask for.
pub(super) fn read(flags: &Run) -> Result<Scenario, Failure> {
    let mut draft = flags.scenario.as_deref().map_or_else(|| Ok(Draft::default()), Draft::named)?;
    for (key, value) in [
        ("nodes", &flags.nodes),
        ("start", &flags.start),
        ("start_within", &flags.start_within),
        ("contacts", &flags.contacts),
        ("duration", &flags.duration),
        ("seed", &flags.seed),
        ("mode", &flags.mode),
        ("fanout", &flags.fanout),
        ("view", &flags.view),
        ("preset", &flags.preset),
        ("latency", &flags.latency),
        ("jitter", &flags.jitter),
        ("span", &flags.span),
        ("height", &flags.height),
        ("loss", &flags.loss),
        ("duplication", &flags.duplication),
        ("reordering", &flags.reordering),
        ("stream_speed", &flags.stream_speed),
        ("clock_skew", &flags.clock_skew),
        ("clock_drift", &flags.clock_drift),
        ("disk_delay", &flags.disk_delay),
        ("settle", &flags.settle),
    ] {
        if let Some(value) = value {
            draft.set(key, value)?;
        }
    }
    for (key, value) in &flags.set {
        draft.set(key, value)?;
    }
    for (key, is_on) in [("diskless", flags.diskless), ("check", flags.check)] {
        if is_on {
            draft.set(key, "true")?;
        }
    }
    for (key, items) in [("fault", &flags.fault), ("publish", &flags.publish)] {
        if !items.is_empty() {
            draft.set_list(key, items)?;
        }
    }
    Ok(draft.scenario()?)
}

fn list(output: Output) -> Result<(), Failure> {
    if output.json {
        let all: Vec<_> =
            library::all().map(|scenario| json!({ "name": scenario.name, "shows": scenario.shows() })).collect();
        return Ok(print::json(&all)?);
    }
    let rows: Vec<_> =
        library::all().map(|scenario| vec![scenario.name.to_owned(), scenario.shows().to_owned()]).collect();
    for line in print::table(&["SCENARIO", "SHOWS"], &rows) {
        print::line(line)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "events and bytes are far below 2^53")]
fn rate(amount: u64, of: f64) -> f64 {
    amount as f64 / of.max(f64::MIN_POSITIVE)
}
