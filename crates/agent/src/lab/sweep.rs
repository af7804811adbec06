//! `rumor lab sweep`: any study of the laboratory over any of its parameters.

mod studies;

use std::fmt;
use std::time::Instant;

use clap::{ArgAction, Args, Command, Subcommand, value_parser};
use rumormill_lab::jobs::{Watch, at_once};
use rumormill_lab::sweep::{self, Combination, Field, Law, Outcome, Over, View};
use rumormill_lab::{Error, memory};
use serde_json::Value;

use super::spectator::Spectator;
use super::{Drawing, all_done, average, detection, run as running, show, signed, sketch, spread};
use crate::commands::Output;
use crate::failure::{Failure, Kind};
use crate::print;

/// `rumor lab sweep`
#[derive(Debug, Subcommand)]
pub(crate) enum Sweep {
    /// Sweep over the parameters of `lab spread`
    #[command(mut_args(signed))]
    Spread(Box<Swept<spread::Spread>>),
    /// Sweep over the parameters of `lab run`
    Run(Box<Swept<running::Run>>),
    /// Sweep over the parameters of `lab sketch`
    #[command(mut_args(signed))]
    Sketch(Box<Swept<sketch::Sketch>>),
    /// Sweep over the parameters of `lab average`
    #[command(mut_args(signed))]
    Average(Box<Swept<average::Average>>),
    /// Sweep over the parameters of `lab detection`
    #[command(mut_args(signed))]
    Detection(Box<Swept<detection::Detection>>),
}

/// A study's own flags, and what a sweep adds.
#[derive(Args, Debug)]
pub(crate) struct Swept<S: Args> {
    /// A parameter and the values it takes: NAME=VALUE,VALUE or NAME=FIRST..LAST:STEP; given often, all combinations run
    #[arg(long, value_name = "NAME=VALUES", required = true, help_heading = "Sweep")]
    over: Vec<Over>,
    /// What to draw along x: a swept parameter, or a field of the outcome as traffic.mean [default: the first parameter]
    #[arg(long, value_name = "X", help_heading = "Sweep")]
    x: Option<String>,
    /// What to draw along y: a field of the outcome; curve draws whole curves [default: what the study is about]
    #[arg(long, value_name = "FIELD", help_heading = "Sweep")]
    y: Option<String>,
    /// Take the mean over this parameter, as seed, instead of a line for each value; may be given often
    #[arg(long, value_name = "NAME", help_heading = "Sweep")]
    average: Vec<String>,
    /// What to write above the picture
    #[arg(long, value_name = "TEXT", help_heading = "Sweep")]
    title: Option<String>,
    #[command(flatten)]
    study: S,
}

/// A command of the laboratory as a sweep needs it.
pub(crate) trait Study: Args + Clone + fmt::Debug {
    /// As the command is called.
    const NAME: &'static str;
    /// What can be drawn; the first is drawn unless told otherwise.
    const FIELDS: &'static [Field];
    /// Parameters that were checked.
    type Job: Sync;

    /// Reads and checks the flags.
    fn job(&self) -> Result<Self::Job, Failure>;

    /// The memory that a job takes whose runs are done one after the other.
    fn bytes(job: &Self::Job) -> u64;

    /// Where the curves go.
    fn drawing(&self) -> &Drawing;

    /// Runs once; gives the command's document, real times left out.
    fn work(job: &Self::Job, watch: &dyn Watch) -> Result<Value, Error>;

    /// The formula for `y`, where there is one.
    fn law(job: &Self::Job, x: &str, y: &str, outcome: &Value) -> Option<Law>;
}

/// Runs a sweep.
pub(super) fn run(sweep: Sweep, output: Output) -> Result<(), Failure> {
    match sweep {
        Sweep::Spread(swept) => swept.run(output),
        Sweep::Run(swept) => swept.run(output),
        Sweep::Sketch(swept) => swept.run(output),
        Sweep::Average(swept) => swept.run(output),
        Sweep::Detection(swept) => swept.run(output),
    }
}

impl<S: Study> Swept<S> {
    fn run(self, output: Output) -> Result<(), Failure> {
        let Self { over, x, y, average, title, study } = self;
        let y = y.unwrap_or_else(|| S::FIELDS[0].path.to_owned());
        let view = View { x, y, average, title };
        let combinations = sweep::combinations(&over)?;
        let jobs: Vec<S::Job> =
            combinations.iter().map(|point| with(&study, point)?.job()).collect::<Result<_, Failure>>()?;
        view.check(&over, S::FIELDS)?;
        let drawing = study.drawing();
        let is_drawn = drawing.plot.is_some() || drawing.csv.is_some();
        if is_drawn {
            view.check_numbers(&over)?;
        }
        drawing.check()?;
        memory::check(sweep::bytes(jobs.iter().map(S::bytes), at_once()))?;
        let spectator = Spectator::new()?;
        let begun = Instant::now();
        let mut outcome = sweep::run(S::NAME, &over, &jobs, &spectator, S::work)?;
        outcome.elapsed = Some(begun.elapsed().as_secs_f64());
        let x = view.x.clone().unwrap_or_else(|| over[0].name.clone());
        let law = |point: &sweep::Point| S::law(&jobs[point.nth], &x, &view.y, &point.outcome);
        show(&outcome, output, |outcome| tell(outcome, &x, &view.y, &law))?;
        if is_drawn {
            let chart = outcome.chart(&view, S::FIELDS, law)?;
            drawing.draw(|| chart, &format!("{} by {x}", view.y))?;
        }
        let (done, failed) = (outcome.points.len(), outcome.failed.len());
        all_done(done + failed, outcome.planned, "points")?;
        match outcome.failed.first() {
            None => Ok(()),
            Some(first) => {
                let text = format!("{failed} of {} points failed; the first: {}", outcome.planned, first.error);
                Err(Failure::new(Kind::No, "broken", text))
            }
        }
    }
}

/// The study with other values, read as its own flags are.
fn with<S: Study>(study: &S, point: &Combination) -> Result<S, Failure> {
    // What is not swept stays as it is: no defaults, and a switch that is absent says nothing.
    let command = S::augment_args_for_update(Command::new(S::NAME).no_binary_name(true)).mut_args(|arg| {
        let arg = arg.default_value(None);
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            arg.action(ArgAction::Set).num_args(1).value_parser(value_parser!(bool))
        } else {
            arg
        }
    });
    let names = || {
        let all = command.get_arguments().filter_map(clap::Arg::get_long);
        all.filter(|name| !["plot", "csv", "list"].contains(name))
    };
    for (name, _) in point {
        if !names().any(|known| known == name) {
            let rule =
                format!("a parameter of rumor lab {}: one of {}", S::NAME, names().collect::<Vec<_>>().join(", "));
            return Err(Failure::value("over", name, rule));
        }
    }
    let arguments = point.iter().map(|(name, value)| format!("--{name}={value}"));
    let refused = |error: clap::Error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::new(Kind::Refused, "value", line)
    };
    let matches = command.clone().try_get_matches_from(arguments).map_err(refused)?;
    let mut study = study.clone();
    study.update_from_arg_matches(&matches).map_err(refused)?;
    Ok(study)
}

/// A table: what was swept, and what is drawn.
fn tell(outcome: &Outcome, x: &str, y: &str, law: &dyn Fn(&sweep::Point) -> Option<Law>) -> Result<(), Failure> {
    let names: Vec<&str> = outcome.over.iter().map(|over| over.name.as_str()).collect();
    let x_is_field = !names.contains(&x);
    let is_curve = y == "curve";
    let laws: Vec<Option<Law>> = outcome.points.iter().map(law).collect();
    let has_law = laws.iter().any(Option::is_some);
    let mut header: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    header.extend(x_is_field.then(|| x.to_owned()));
    header.push(if is_curve { "time_last.mean" } else { y }.to_owned());
    header.extend(has_law.then(|| "THEORY".to_owned()));
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), significant);
    let rows: Vec<Vec<String>> = outcome
        .points
        .iter()
        .zip(&laws)
        .map(|(point, law)| {
            let word = |name: &&str| {
                let value = &point.parameters[*name];
                value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
            };
            let mut row: Vec<String> = names.iter().map(word).collect();
            row.extend(x_is_field.then(|| number(outcome.value(point, x))));
            row.push(number(outcome.value(point, if is_curve { "time_last.mean" } else { y })));
            row.extend(has_law.then(|| {
                law.as_ref().map_or_else(|| "-".to_owned(), |law| format!("{}  ({})", significant(law.value), law.text))
            }));
            row
        })
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    for line in print::table(&header, &rows) {
        print::line(line)?;
    }
    Ok(())
}

/// Four digits that matter.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.4}"),
        size if size > 0.0 => format!("{value:.2e}"),
        _ => "0".to_owned(),
    }
}
