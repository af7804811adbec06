//! `rumor lab overlay`: what a crash of many at once leaves of an overlay of partial views.

use std::time::Instant;

use clap::Args;
use rumormill_lab::overlay::{self, Outcome, Parameters};
use rumormill_lab::{Error, percent};
use serde::Serialize;

use super::spectator::Spectator;
use super::{Drawing, all_done, show, whole};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab overlay`
#[derive(Args, Clone, Debug)]
pub(crate) struct Overlay {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = Parameters::default().nodes, value_parser = whole::<usize>)]
    nodes: usize,
    /// How many neighbours a node has at most; 0 for log10 of the nodes, and one
    #[arg(long, value_name = "A", default_value_t = Parameters::default().active, value_parser = whole::<usize>)]
    active: usize,
    /// How many others a node keeps in mind, to have as neighbours instead
    #[arg(long, value_name = "P", default_value_t = Parameters::default().passive, value_parser = whole::<usize>)]
    passive: usize,
    /// The share of the nodes that loses power at once, from 0 to below 1; of several, with commas between them, each has
    /// a run of its own
    #[arg(long, value_name = "FRACTION", default_value = "0.5", value_delimiter = ',')]
    crash: Vec<f64>,
    /// What all draws derive from: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Overlay {
    /// What is to be run, checked: something for each share.
    pub(super) fn parameters(&self) -> Result<Vec<Parameters>, Error> {
        let Self { nodes, active, passive, seed, .. } = *self;
        let each = self.crash.iter().map(|&crash| Parameters { nodes, active, passive, crash, seed });
        each.map(|parameters| parameters.check().map(|()| parameters)).collect()
    }
}

/// Several shares make a document of documents.
#[derive(Serialize)]
struct Runs<'a> {
    runs: &'a [Outcome],
}

pub(super) fn run(flags: Overlay, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters()?;
    flags.drawing.check()?;
    let begun = Instant::now();
    let mut outcomes = overlay::run_each(&parameters, &Spectator::new()?)?;
    let done = outcomes.len();
    if let ([outcome], 1) = (outcomes.as_mut_slice(), parameters.len()) {
        outcome.elapsed = Some(begun.elapsed().as_secs_f64());
        show(outcome, output, tell)?;
    } else {
        show(&Runs { runs: &outcomes }, output, |runs| table(runs.runs))?;
    }
    flags.drawing.draw(|| overlay::chart(&outcomes), "messages that survivors got, without repair and with it")?;
    all_done(done, parameters.len(), "runs")
}

fn tell(outcome: &Outcome) -> Result<(), Failure> {
    let Parameters { nodes, active, passive, crash, seed } = outcome.parameters;
    let Outcome { degree, largest_component, clustering, .. } = outcome;
    print::line(format!(
        "{} nodes, active view {active}, passive view {passive}, {} % crash at once, seed {seed}",
        print::thousands(nodes as u64),
        percent(crash)
    ))?;
    let (before, after) = (percent(outcome.reliability_before), percent(outcome.reliability_after));
    print::line(format!("messages at the crash   reach {before} % of the survivors"))?;
    print::line(format!("messages after repair   reach {after} % of the survivors"))?;
    print::line(match outcome.healing_shuffles {
        Some(shuffles) => format!("survivors connected     after {shuffles:.2} shuffle intervals"),
        None => format!("survivors connected     not within {} shuffle intervals", overlay::PATIENCE),
    })?;
    print::line(format!("largest component       {}", print::thousands(*largest_component as u64)))?;
    let (mean, sd, min, max) = (degree.mean, degree.sd, degree.min, degree.max);
    print::line(format!("neighbours              {mean:.2} (deviation {sd:.2}, {min:.0} to {max:.0})"))?;
    print::line(format!("clustering              {clustering:.5}"))?;
    if let (Some(average), Some(max)) = (outcome.path_average, outcome.path_max) {
        print::line(format!("shortest paths          {average:.2} hops, {max} at most"))?;
    }
    Ok(())
}

fn table(outcomes: &[Outcome]) -> Result<(), Failure> {
    let row = |outcome: &Outcome| {
        vec![
            format!("{} %", percent(outcome.parameters.crash)),
            format!("{} %", percent(outcome.reliability_before)),
            format!("{} %", percent(outcome.reliability_after)),
            outcome.healing_shuffles.map_or_else(|| "-".to_owned(), |shuffles| format!("{shuffles:.2}")),
            outcome.largest_component.to_string(),
            format!("{:.2}", outcome.degree.mean),
            format!("{:.5}", outcome.clustering),
            outcome.path_average.map_or_else(|| "-".to_owned(), |average| format!("{average:.2}")),
            outcome.path_max.map_or_else(|| "-".to_owned(), |max| max.to_string()),
        ]
    };
    let header =
        ["CRASH", "AT ONCE", "REPAIRED", "HEALED AFTER", "LARGEST", "NEIGHBOURS", "CLUSTERING", "PATH", "LONGEST"];
    for line in print::table(&header, &outcomes.iter().map(row).collect::<Vec<_>>()) {
        print::line(line)?;
    }
    Ok(())
}
