//! `rumor lab average`: how fast nodes agree on an average that nobody collects.

use std::time::Instant;

use clap::Args;
use rumormill_lab::Error;
use rumormill_lab::averaging::{self, Method, Outcome, Pairing, Parameters};

use super::spectator::Spectator;
use super::{Drawing, all_done, show, whole, word};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab average`
#[derive(Args, Clone, Debug)]
pub(crate) struct Average {
    /// How many nodes, each with a random number
    #[arg(long, value_name = "N", default_value_t = Parameters::default().nodes, value_parser = whole::<usize>)]
    nodes: usize,
    /// Who meets whom in a cycle: permuted, random-edges, perfect-matching or fixed-order
    #[arg(long, value_name = "PAIRING", default_value = "permuted", value_parser = word::<Pairing>)]
    pairing: Pairing,
    /// Give half away, unanswered, rather than both take the mean
    #[arg(long, conflicts_with = "pairing")]
    push_sum: bool,
    /// How many cycles
    #[arg(long, value_name = "C", default_value_t = Parameters::default().cycles, value_parser = whole::<usize>)]
    cycles: usize,
    /// How many independent runs
    #[arg(long, value_name = "R", default_value_t = Parameters::default().runs, value_parser = whole::<usize>)]
    runs: usize,
    /// What all draws derive from: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Average {
    /// What is to be run, checked.
    pub(super) fn parameters(&self) -> Result<Parameters, Error> {
        let Self { nodes, pairing, push_sum, cycles, runs, seed, .. } = *self;
        let method = if push_sum { Method::PushSum } else { Method::PushPull(pairing) };
        let parameters = Parameters { nodes, method, cycles, runs, seed };
        parameters.check()?;
        Ok(parameters)
    }
}

pub(super) fn run(flags: Average, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters()?;
    flags.drawing.check()?;
    let begun = Instant::now();
    let mut outcome = averaging::run(&parameters, &Spectator::new()?)?;
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    show(&outcome, output, tell)?;
    flags.drawing.draw(|| outcome.chart(), "variance by cycle, beside the theory's")?;
    all_done(outcome.runs, parameters.runs, "runs")
}

fn tell(outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { nodes, method, cycles, runs, seed, variance_factor: factor, theory, .. } = outcome;
    let pairing = outcome.pairing.map(|pairing| format!(", {pairing}")).unwrap_or_default();
    print::line(format!("{nodes} nodes, {method}{pairing}, {cycles} cycles, {runs} runs, seed {seed}"))?;
    let (mean, sd) = (factor.mean, factor.sd);
    print::line(format!("variance per cycle      × {mean:.4} (deviation between runs {sd:.4}; theory {theory:.4})"))?;
    for within in &outcome.within {
        let cycles = within.cycles.map_or_else(
            || format!("not in {cycles} cycles"),
            |cycles| format!("{:.1} cycles ({:.0} to {:.0})", cycles.mean, cycles.min, cycles.max),
        );
        print::line(format!("every node within {:<6e} {cycles}", within.error))?;
    }
    Ok(())
}
