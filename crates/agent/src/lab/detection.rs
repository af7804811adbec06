//! `rumor lab detection`: how soon anybody notices a crash.

use std::time::Instant;

use clap::Args;
use rumormill_lab::Error;
use rumormill_lab::detection::{self, Order, Outcome, Parameters};

use super::spectator::Spectator;
use super::{Drawing, all_done, show, whole, word};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab detection`
#[derive(Args, Clone, Debug)]
pub(crate) struct Detection {
    /// How many members, of which one crashes
    #[arg(long, value_name = "N", default_value_t = Parameters::default().nodes, value_parser = whole::<usize>)]
    nodes: usize,
    /// How long a period is: each member probes one other in it
    #[arg(long, value_name = "SECONDS", default_value_t = Parameters::default().period)]
    period: f64,
    /// In which order a member probes the others: random, or round-robin through a list that it shuffles
    #[arg(long, value_name = "ORDER", default_value = "random", value_parser = word::<Order>)]
    order: Order,
    /// The share of messages that gets lost, from 0 to below 1: then probes of live members fail as well
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    loss: f64,
    /// How many others are asked to try when a ping is not answered
    #[arg(long, value_name = "K", default_value_t = Parameters::default().indirect_probes, value_parser = whole::<u32>)]
    indirect_probes: u32,
    /// How many independent crashes
    #[arg(long, value_name = "R", default_value_t = Parameters::default().runs, value_parser = whole::<usize>)]
    runs: usize,
    /// What all draws derive from: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Detection {
    /// What is to be run, checked.
    pub(super) fn parameters(&self) -> Result<Parameters, Error> {
        let Self { nodes, period, order, loss, indirect_probes, runs, seed, .. } = *self;
        let parameters = Parameters { nodes, period, order, loss, indirect_probes, runs, seed };
        parameters.check()?;
        Ok(parameters)
    }
}

pub(super) fn run(flags: Detection, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters()?;
    flags.drawing.check()?;
    let begun = Instant::now();
    let mut outcome = detection::run(&parameters, &Spectator::new()?)?;
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    show(&outcome, output, tell)?;
    flags.drawing.draw(|| outcome.chart(), "who has noticed by when, beside the theory's")?;
    all_done(outcome.parameters.runs, parameters.runs, "runs")
}

fn tell(outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { first_detection: first, theory, false_positives, .. } = outcome;
    let Parameters { nodes, period, runs, seed, order, loss, .. } = &outcome.parameters;
    print::line(format!("{nodes} members, {order} order, periods of {period} s, {runs} crashes, seed {seed}"))?;
    let (mean, sd, max) = (first.mean, first.sd, first.max);
    print::line(format!(
        "first detection         {mean:.3} periods (deviation {sd:.3}, at most {max:.0}; theory {theory:.4}): {}",
        print::short(mean * period)
    ))?;
    if let Some(bound) = outcome.bound {
        print::line(format!("any one observer        within {bound} periods, always"))?;
    }
    if *loss > 0.0 {
        let (per_probe, theory) = (false_positives.per_probe, false_positives.theory);
        print::line(format!("a live member's probe   fails with {per_probe:.2e} (theory {theory:.2e})"))?;
    }
    Ok(())
}
