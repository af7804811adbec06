//! `rumor lab`: the laboratory on the command line. A command reads flags into parameters and prints outcomes; what is
//! computed and drawn is the laboratory's. An agent takes orders for two of them, with the same flags.

mod average;
mod detection;
mod form;
mod order;
mod overlay;
mod plan;
mod replay;
mod run;
mod sketch;
mod spectator;
mod spread;
mod sweep;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Arg, Args, Subcommand};
use rumormill_lab::Error;
use rumormill_lab::chart::{self, Chart, Format};
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize};

use crate::commands::Output;
use crate::failure::{Failure, Kind};
use crate::print;

pub(crate) use form::Form;
pub(crate) use order::{Ending, Onlooker, Order};

/// `rumor lab`
#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Let a rumor spread in a textbook model, beside the theory
    #[command(mut_args(signed))]
    Spread(spread::Spread),
    /// Run real nodes on a virtual network, under faults
    Run(Box<run::Run>),
    /// Reconcile two sets with sketches: symbols, bytes and time for each difference
    #[command(mut_args(signed))]
    Sketch(sketch::Sketch),
    /// Crash many of an overlay of partial views at once, and see what is left and how it heals
    #[command(mut_args(signed))]
    Overlay(overlay::Overlay),
    /// Average a number over all nodes, in pairs or by push-sum, beside the theory
    #[command(mut_args(signed))]
    Average(average::Average),
    /// Crash a member and see how soon another notices, beside the theory
    #[command(mut_args(signed))]
    Detection(detection::Detection),
    /// Run the recorded life of a real node again, and check that it does the same
    Replay(replay::Replay),
    /// Run one of these over many values of its parameters, and draw the curves
    #[command(subcommand)]
    Sweep(sweep::Sweep),
    /// Propose settings for a goal, predict what they do, and verify it on the virtual network
    #[command(mut_args(signed))]
    Plan(plan::Plan),
}

/// A number with a sign is a value, to be refused with its rule, and no flag.
fn signed(arg: Arg) -> Arg {
    if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg }
}

/// Runs a command of the laboratory.
pub(crate) fn run(command: Lab, output: Output) -> Result<(), Failure> {
    match command {
        Lab::Spread(flags) => spread::run(flags, output),
        Lab::Run(flags) => run::run(*flags, output),
        Lab::Sketch(flags) => sketch::run(flags, output),
        Lab::Overlay(flags) => overlay::run(flags, output),
        Lab::Average(flags) => average::run(flags, output),
        Lab::Detection(flags) => detection::run(flags, output),
        Lab::Replay(flags) => replay::run(&flags, output),
        Lab::Sweep(sweep) => sweep::run(sweep, output),
        Lab::Plan(flags) => plan::run(flags, output),
    }
}

/// Reads one of the words that a type consists of.
fn word<T: Deserialize<'static>>(text: &str) -> Result<T, String> {
    T::deserialize(text.to_owned().into_deserializer()).map_err(|error: WordError| error.to_string())
}

/// Reads a whole number; of what is none, or too large, it tells the range.
fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    let most = u64::MAX >> (u64::BITS - 8 * u32::try_from(size_of::<T>()).expect("at most eight bytes"));
    text.parse().map_err(|_| format!("must be a whole number from 0 to {most}"))
}

/// Where the curves of a command go.
#[derive(Args, Clone, Debug)]
pub(crate) struct Drawing {
    /// Draw the curves into this file, as its ending says: .svg or .png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the points of the curves to this file, as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Drawing {
    /// Refuses what cannot be drawn or written, before anything runs.
    fn check(&self) -> Result<(), Failure> {
        if let Some(path) = &self.plot {
            Format::of(path)?;
        }
        if let (Some(plot), Some(csv)) = (&self.plot, &self.csv)
            && plot == csv
        {
            return Err(Failure::value("csv", csv.display(), "another file than plot"));
        }
        for path in [&self.plot, &self.csv].into_iter().flatten() {
            chart::check_writable(path)?;
        }
        Ok(())
    }

    /// Draws and writes what was asked for, and says so: `shows` is what is to be seen.
    fn draw(&self, chart: impl FnOnce() -> Chart, shows: &str) -> Result<(), Failure> {
        if self.plot.is_none() && self.csv.is_none() {
            return Ok(());
        }
        let chart = chart();
        let wrote = |path: &Path| print::note(format!("wrote {}: {shows}", path.display()));
        if let Some(path) = &self.plot {
            chart.write(path)?;
            wrote(path);
        }
        if let Some(path) = &self.csv {
            chart.write_csv(path)?;
            wrote(path);
        }
        Ok(())
    }
}

/// Prints a document as JSON, or tells people what is in it.
fn show<T: Serialize>(
    document: &T,
    output: Output,
    tell: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if output.json { Ok(print::json(document)?) } else { tell(document) }
}

/// Whether Ctrl-C ended the work early. What is done is printed, drawn and written as ever, and then the command ends
/// with this and exit code 1.
fn all_done(done: usize, of: usize, what: &str) -> Result<(), Failure> {
    if done == of { Ok(()) } else { Err(stopped(format!("{done} of {of} {what}"))) }
}

/// Somebody pressed Ctrl-C after that part of the work.
fn stopped(part: impl Display) -> Failure {
    Failure::new(Kind::No, "stopped", format!("stopped after {part}: what was printed and written is of these"))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Value { field, value, rule } => Self::value(field, value, rule),
            Error::Memory { .. } => Self::new(Kind::Refused, "memory", text),
            Error::File { .. } => Self::new(Kind::Refused, "file", text),
            Error::Stopped => Self::new(Kind::No, "stopped", text),
            Error::Broken(_) => Self::new(Kind::No, "broken", text),
        }
    }
}
