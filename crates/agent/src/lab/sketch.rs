//! `rumor lab sketch`: what it costs to reconcile two sets.

use std::time::Instant;

use clap::Args;
use rumormill_lab::Error;
use rumormill_lab::sketches::{self, Outcome, Parameters};

use super::spectator::Spectator;
use super::{Drawing, all_done, show, whole};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab sketch`
#[derive(Args, Clone, Debug)]
pub(crate) struct Sketch {
    /// How many ids only one of the two sets has
    #[arg(long, value_name = "D", default_value_t = Parameters::default().difference, value_parser = whole::<usize>)]
    difference: usize,
    /// How many ids the larger set has
    #[arg(long, value_name = "N", default_value_t = Parameters::default().size, value_parser = whole::<usize>)]
    size: usize,
    /// How many differences are drawn
    #[arg(long, value_name = "T", default_value_t = Parameters::default().trials, value_parser = whole::<usize>)]
    trials: usize,
    /// What all draws derive from: the same seed gives the same result, times excepted
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Sketch {
    /// What is to be run, checked.
    pub(super) fn parameters(&self) -> Result<Parameters, Error> {
        let Self { difference, size, trials, seed, .. } = *self;
        let parameters = Parameters { difference, size, trials, seed };
        parameters.check()?;
        Ok(parameters)
    }
}

pub(super) fn run(flags: Sketch, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters()?;
    flags.drawing.check()?;
    let begun = Instant::now();
    let mut outcome = sketches::run(&parameters, &Spectator::new()?)?;
    if outcome.parameters.trials == parameters.trials {
        outcome = outcome.with_speed(sketches::speed(&parameters)?);
    }
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    show(&outcome, output, tell)?;
    flags.drawing.draw(|| outcome.chart(), "how long a sketch must be")?;
    all_done(outcome.parameters.trials, parameters.trials, "trials")
}

fn tell(outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { symbols_per_difference: symbols, theory, bytes, .. } = outcome;
    let Parameters { difference, size, trials, seed } = &outcome.parameters;
    print::line(format!("{difference} of {size} ids differ, {trials} trials, seed {seed}"))?;
    let (mean, sd) = (symbols.mean, symbols.sd);
    print::line(format!("symbols per difference  {mean:.3} (deviation {sd:.3}; published {theory:.3})"))?;
    print::line(format!("bytes                   {bytes:.0}"))?;
    if let (Some(encode), Some(decode)) = (outcome.encode_ns_per_item, outcome.decode_ns_per_difference) {
        print::line(format!("encode                  {encode:.1} ns per id of the set"))?;
        print::line(format!("decode                  {decode:.1} ns per id that differs"))?;
    }
    Ok(())
}
