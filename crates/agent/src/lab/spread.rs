//! `rumor lab spread`: how a rumor spreads in a textbook model.

use std::time::Instant;

use clap::Args;
use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::spread::{self, Distribution, Parameters, Timing};

use super::spectator::{self, Spectator};
use super::{Drawing, word};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab spread`
#[derive(Args, Clone, Debug)]
pub(crate) struct Spread {
    /// How many nodes; one of them knows the rumor at the start
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    nodes: usize,
    /// Who sends in a contact: push, pull or push-pull
    #[arg(long, value_name = "M", default_value = "push-pull", value_parser = word::<Mode>)]
    mode: Mode,
    /// How many partners a node calls in a round
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    fanout: f64,
    /// How the fanout is meant: fixed (partners may repeat), distinct, or poisson (a mean, may be fractional)
    #[arg(long, value_name = "DISTRIBUTION", default_value = "fixed", value_parser = word::<Distribution>)]
    fanout_distribution: Distribution,
    /// The share of contacts that carry nothing, from 0 to below 1
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    loss: f64,
    /// When a node loses interest: never, blind-counter:K, blind-coin:K, feedback-counter:K, feedback-coin:K,
    /// forward-once, median-counter:K or transmit-limit:LAMBDA
    #[arg(long, value_name = "RULE", default_value = "never")]
    stop: StopRule,
    /// When nodes call: in rounds, or async, each at the ticks of its own Poisson clock
    #[arg(long, value_name = "TIMING", default_value = "rounds", value_parser = word::<Timing>)]
    timing: Timing,
    /// How many calls a node accepts in a round [default: all]
    #[arg(long, value_name = "C")]
    connection_limit: Option<u16>,
    /// How many further partners a refused caller tries in the same round
    #[arg(long, value_name = "H", default_value_t = 0)]
    hunt: u32,
    /// How many independent runs
    #[arg(long, value_name = "R", default_value_t = 1)]
    runs: usize,
    /// What all draws derive from: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Spread {
    pub(super) const fn parameters(&self) -> Parameters {
        let Self {
            nodes,
            mode,
            fanout,
            fanout_distribution,
            loss,
            stop,
            timing,
            connection_limit,
            hunt,
            runs,
            seed,
            ..
        } = *self;
        Parameters { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, hunt, runs, seed }
    }
}

pub(super) fn run(flags: Spread, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters();
    let runs = parameters.runs;
    parameters.check()?;
    flags.drawing.check()?;
    let spectator = Spectator::new()?;
    let begun = Instant::now();
    let mut outcome = spread::run(&parameters, &spectator)?;
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    if spectator::was_stopped() {
        print::note(format!("stopped after {} of {runs} runs", outcome.parameters.runs));
    }
    if output.json {
        print::json(&outcome)?;
    } else {
        for (round, share) in outcome.curve.iter().enumerate() {
            print::line(format!("round {round:>4} {:.1} %", share * 100.0))?;
        }
    }
    flags.drawing.draw(|| outcome.chart(), "measured curve beside the theory's")
}
