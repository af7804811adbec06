//! `rumor lab plan`: settings for a goal, predicted and verified.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use clap::Args;
use rumormill_core::duration;
use rumormill_lab::planner::{self, Alternative, Conditions, Outcome, Parameters};
use rumormill_lab::{Summary, percent};

use super::spectator::Spectator;
use super::{Drawing, show, whole};
use crate::commands::Output;
use crate::failure::{Failure, Kind};
use crate::print;

/// `rumor lab plan`
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// How many nodes
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    nodes: usize,
    /// The share of datagrams that gets lost, from 0 to below 1
    #[arg(long, value_name = "P")]
    loss: f64,
    /// By when 99 of 100 messages shall have reached all nodes
    #[arg(long, value_name = "D", value_parser = duration::parse)]
    deadline: Duration,
    /// What a node may send in any second, in bytes with headers: becomes its `bandwidth_max` [default: no bound]
    #[arg(long, value_name = "B", value_parser = whole::<u64>)]
    bandwidth: Option<u64>,
    /// How many messages all nodes together publish in a second
    #[arg(long, value_name = "R", default_value_t = Conditions::default().rate)]
    rate: f64,
    /// How large the payload of a message is, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Conditions::default().payload, value_parser = whole::<usize>)]
    payload: usize,
    /// How long a datagram takes at least, one way
    #[arg(long, value_name = "D", default_value_t = Time(Conditions::default().latency), value_parser = Time::parse)]
    latency: Time,
    /// How much longer it may take
    #[arg(long, value_name = "D", default_value_t = Time(Conditions::default().jitter), value_parser = Time::parse)]
    jitter: Time,
    /// What all draws of the simulation derive from
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    /// Write the settings as a config file for `rumor agent --config`; `-`, or no name, is stdout
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    emit: Option<PathBuf>,
    #[command(flatten)]
    drawing: Drawing,
}

/// A duration as it is written, for help to show a default.
#[derive(Clone, Copy, Debug)]
struct Time(Duration);

impl Time {
    fn parse(text: &str) -> Result<Self, String> {
        duration::parse(text).map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::format(self.0))
    }
}

pub(super) fn run(flags: Plan, output: Output) -> Result<(), Failure> {
    let Plan { nodes, loss, deadline, bandwidth, rate, payload, latency, jitter, seed, emit, drawing } = flags;
    let conditions = Conditions { loss, latency: latency.0, jitter: jitter.0, rate, payload };
    let parameters = Parameters { nodes, deadline, bandwidth, conditions, seed };
    parameters.check()?;
    drawing.check()?;
    let to_stdout = emit.as_deref() == Some(Path::new("-"));
    if to_stdout && output.json {
        return Err(Failure::usage("--emit to stdout and --json both want to write there; name a file"));
    }
    let begun = Instant::now();
    let mut outcome = planner::run(&parameters, &Spectator::new()?)?;
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    let say = if to_stdout { on_stderr } else { on_stdout };
    show(&outcome, output, |outcome| tell(outcome, say))?;
    if let Some(file) = emit {
        write(&outcome, &file, to_stdout)?;
    }
    drawing.draw(|| outcome.chart(), "how a message spreads, predicted and measured")?;
    if outcome.feasible { Ok(()) } else { Err(Failure::new(Kind::No, "infeasible", cannot(&outcome))) }
}

fn write(outcome: &Outcome, file: &Path, to_stdout: bool) -> Result<(), Failure> {
    let toml = outcome.to_toml();
    if to_stdout {
        return Ok(print::line(toml.trim_end())?);
    }
    fs::write(file, toml)
        .map_err(|error| Failure::new(Kind::Refused, "file", format!("failed to write {}: {error}", file.display())))?;
    print::note(format!("wrote {}: start nodes with rumor agent --config {}", file.display(), file.display()));
    Ok(())
}

fn on_stdout(line: String) -> Result<(), Failure> {
    Ok(print::line(line)?)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for the one that can fail")]
fn on_stderr(line: String) -> Result<(), Failure> {
    print::note(line);
    Ok(())
}

/// What cannot be had, and what can.
fn cannot(outcome: &Outcome) -> String {
    let Alternative { deadline, bandwidth } =
        outcome.alternative.unwrap_or(Alternative { deadline: None, bandwidth: None });
    let bound = outcome.bandwidth.map(|bytes| format!(" with {bytes} bytes/s")).unwrap_or_default();
    let least = deadline.map(|seconds| format!("; {} can be met{bound}", print::short(seconds)));
    let needed = bandwidth.map(|bytes| format!("; that deadline needs about {bytes} bytes/s, as formulas say"));
    let cannot = format!("{} nodes cannot be told within {}{bound}", outcome.nodes, print::short(outcome.deadline));
    format!("{cannot}{}{}", least.unwrap_or_default(), needed.unwrap_or_default())
}

fn tell(outcome: &Outcome, say: fn(String) -> Result<(), Failure>) -> Result<(), Failure> {
    let Outcome { nodes, loss, deadline, seed, .. } = outcome;
    let bound = outcome.bandwidth.map(|bytes| format!(", at most {bytes} bytes/s")).unwrap_or_default();
    let goal = format!("{nodes} nodes, loss {} %, all told within {}{bound}", percent(*loss), print::short(*deadline));
    let verdict = if outcome.feasible { "can be done" } else { "cannot be done" };
    let simulated = print::thousands(outcome.verified_nodes as u64);
    let how = if outcome.verified_nodes < *nodes { format!(" (simulated with {simulated})") } else { String::new() };
    say(format!("{goal}, seed {seed}: {verdict}{how}"))?;
    if let Some(alternative) = outcome.alternative {
        say(format!("these settings come nearest: {}", nearest(&alternative)))?;
    }
    for (key, value) in outcome.settings.shown() {
        say(format!("  {key} = {value}"))?;
    }
    for line in table(outcome) {
        say(line)?;
    }
    if let Some(rounds) = &outcome.rounds {
        say(format!(
            "bare model, {} nodes: the push reaches {:.3} %, the last after {:.1} rounds (theory, if nobody stops: {:.1})",
            rounds.nodes,
            rounds.coverage * 100.0,
            rounds.mean,
            rounds.theory
        ))?;
    }
    Ok(())
}

fn nearest(alternative: &Alternative) -> String {
    let deadline = alternative.deadline.map(|seconds| format!("{} can be met, as simulated", print::short(seconds)));
    let bandwidth =
        alternative.bandwidth.map(|bytes| format!("that deadline needs about {bytes} bytes/s, as formulas say"));
    let all: Vec<String> = deadline.into_iter().chain(bandwidth).collect();
    if all.is_empty() { "nothing that was tried is enough".to_owned() } else { all.join("; ") }
}

/// Prediction beside measurement.
fn table(outcome: &Outcome) -> Vec<String> {
    let Outcome { predicted, predicted_there: there, measured, verified_nodes, nodes, .. } = outcome;
    let mean = |summary: Option<Summary>| summary.map_or_else(|| "-".to_owned(), |s| print::short(s.mean));
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), print::short);
    let seconds = |name: &str, at_all: f64, there: f64, measured: String| {
        vec![name.to_owned(), print::short(at_all), print::short(there), measured]
    };
    let rates = |name: &str, at_all: f64, there: f64, measured: f64| {
        let measured = match measured {
            0.0 => format!("0 in {:.1} node-hours", outcome.measured.node_hours),
            rate => format!("{rate:.2e}"),
        };
        let predicted = |rate: f64| if rate > 0.0 { format!("{rate:.2e}") } else { "0".to_owned() };
        vec![name.to_owned(), predicted(at_all), predicted(there), measured]
    };
    let bytes = measured.bytes_per_second;
    let rows = [
        seconds("half of the messages at all", predicted.time_to_all, there.time_to_all, time(measured.time_to_all)),
        seconds(
            &format!("  99 of 100 (measured: the last of {})", measured.messages),
            predicted.time_to_all_p99,
            there.time_to_all_p99,
            time(measured.time_to_all_max),
        ),
        seconds(
            "a crash declared, by the first",
            predicted.detection_first,
            there.detection_first,
            mean(measured.detection_first),
        ),
        seconds("  by all", predicted.detection_all, there.detection_all, mean(measured.detection_all)),
        rates(
            "suspicions of the living per node and hour",
            predicted.suspicions_per_node_hour,
            there.suspicions_per_node_hour,
            measured.suspicions_per_node_hour,
        ),
        rates(
            "  deaths (predicted: at most)",
            predicted.false_deaths_per_node_hour,
            there.false_deaths_per_node_hour,
            measured.false_deaths_per_node_hour,
        ),
        vec![
            "bytes per second and node".to_owned(),
            format!("{:.0}", predicted.bytes_per_second),
            format!("{:.0}", there.bytes_per_second),
            format!("{:.0} (the most: {:.0})", bytes.mean, bytes.max),
        ],
    ];
    let (at_all, at_there) = (format!("PREDICTED, {nodes}"), format!("PREDICTED, {verified_nodes}"));
    print::table(&["", &at_all, &at_there, &format!("MEASURED, {verified_nodes}")], &rows)
}
