//! The table of `docs/laboratory.md`: what papers print, and what is measured here now.
//!
//! `cargo run --release -p rumormill-lab --example tables` prints it. The columns: what the paper prints; what an
//! independent simulation of the same rules gave, where there is one; ours with its standard error; how many runs; and
//! whether the difference can be chance and rounding.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::averaging::{self, Method, Pairing};
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::published::{self, Cell, Value};
use rumormill_lab::spread::{self, Distribution, Outcome, Parameters, mode_name};
use rumormill_lab::{Error, Summary, detection, sketches, theory};

/// Runs of a row of 1,000 nodes.
const RUNS: usize = 2_000;

fn main() -> Result<(), Error> {
    println!("| source | row | quantity | published | simulated | ours ± standard error | runs | |");
    println!("|---|---|---|---|---|---|---|---|");
    rumors()?;
    rounds()?;
    infect_and_die()?;
    median_counter()?;
    detections()?;
    averages()?;
    symbols()
}

/// What is compared: paper and row, quantity.
type What<'a> = (&'a str, &'a str, &'a str);

fn line(
    (source, row, quantity): What<'_>,
    published: &str,
    simulated: &str,
    ours: Summary,
    runs: usize,
    verdict: &str,
) {
    let (mean, error) = (ours.mean, ours.error_of_mean(runs));
    let ours =
        if mean.abs() < 1e-3 { format!("{mean:.2e} ± {error:.0e}") } else { format!("{mean:.4} ± {error:.4}") };
    println!("| {source} | {row} | {quantity} | {published} | {simulated} | {ours} | {runs} | {verdict} |");
}

fn holds(ours: Summary, runs: usize, value: &Value) -> bool {
    (ours.mean - value.value).abs() <= value.tolerance(ours.sd, runs)
}

fn verdict(is_within: bool) -> &'static str {
    if is_within { "agrees" } else { "**differs**" }
}

fn cell(what: What<'_>, cell: &Cell, ours: Summary, runs: usize) {
    let verdict = match (holds(ours, runs, &cell.paper), holds(ours, runs, &cell.reproduced)) {
        (true, true) => "agrees",
        (false, true) => "**differs** from the paper, agrees with the simulation",
        (true, false) => "agrees with the paper, **differs** from the simulation",
        (false, false) => "**differs**",
    };
    line(what, &number(cell.paper.value), &number(cell.reproduced.value), ours, runs, verdict);
}

fn number(value: f64) -> String {
    if value.abs() < 1e-3 { format!("{value:e}") } else { value.to_string() }
}

fn spread(parameters: &Parameters) -> Result<Outcome, Error> {
    spread::run(parameters, &Unwatched)
}

fn rumors() -> Result<(), Error> {
    for row in published::demers() {
        let outcome = spread(&Parameters { mode: row.mode, stop: row.stop, runs: RUNS, ..Parameters::default() })?;
        let name = row.stop.to_string();
        for (quantity, expected, ours) in [
            ("residue s", &row.residue, outcome.residue),
            ("traffic m", &row.traffic, outcome.traffic),
            ("t_ave, cycles", &row.time_average, outcome.time_average),
            ("t_last, cycles", &row.time_last, outcome.time_last),
        ] {
            cell((row.table, &name, quantity), expected, ours, RUNS);
        }
    }
    Ok(())
}

/// Fewer runs of larger networks.
const fn runs_of(nodes: usize) -> usize {
    match nodes {
        0..=1_000 => RUNS,
        1_001..=10_000 => 400,
        10_001..=100_000 => 100,
        _ => 20,
    }
}

fn rounds() -> Result<(), Error> {
    for row in published::rounds() {
        let published::RoundsRow { mode, fanout, loss, nodes, rounds } = row;
        let runs = runs_of(nodes);
        let outcome =
            spread(&Parameters { nodes, mode, fanout: f64::from(fanout), loss, runs, ..Parameters::default() })?;
        let name = format!("{}, fanout {fanout}, loss {loss}, n = {nodes}", mode_name(mode));
        let source = match mode {
            Mode::Push => "Pittel 1987",
            Mode::Pull => "pull, derived",
            Mode::PushPull => "Karp et al. 2000",
        };
        let formula = theory::rounds_to_all(mode, nodes, f64::from(fanout), loss);
        let formula = format!("{:.2} + c ({})", formula.value, formula.text);
        // Few runs tell little of their own deviation; the published one of fanout 1 bounds that of every fanout.
        let published = published::ROUNDS_DEVIATION.iter().find(|(of, _)| *of == mode).expect("each mode has one").1;
        let mut ours = outcome.time_last;
        ours.sd = if runs <= 30 { ours.sd.max(published.value) } else { ours.sd };
        let is_within = holds(ours, runs, &rounds);
        line((source, &name, "rounds to all"), &formula, &number(rounds.value), ours, runs, verdict(is_within));
    }
    Ok(())
}

fn infect_and_die() -> Result<(), Error> {
    let once = |fanout: u32, loss| {
        let (fanout, fanout_distribution) = (f64::from(fanout), Distribution::Distinct);
        let stop = StopRule::ForwardOnce;
        spread(&Parameters {
            mode: Mode::Push,
            fanout,
            fanout_distribution,
            loss,
            stop,
            runs: RUNS,
            ..Parameters::default()
        })
    };
    let lossless = published::ONCE.iter().map(|row| (row.fanout, 0.0, row.coverage));
    let lossy = published::ONCE_LOSSY.into_iter().map(|(loss, coverage)| (5, loss, coverage));
    for (fanout, loss, coverage) in lossless.chain(lossy) {
        let ours = once(fanout, loss)?.coverage;
        let formula = format!("{:.5}", theory::coverage_once(f64::from(fanout), loss));
        let name = format!("fanout {fanout}, loss {loss}");
        let what = ("Kermarrec, Massoulié, Ganesh 2003", &*name, "share reached");
        line(what, &formula, &number(coverage.value), ours, RUNS, verdict(holds(ours, RUNS, &coverage)));
    }
    Ok(())
}

fn median_counter() -> Result<(), Error> {
    for (k, transmissions) in published::MEDIAN {
        let ours =
            spread(&Parameters { stop: StopRule::MedianCounter { k }, runs: RUNS, ..Parameters::default() })?.traffic;
        let what = ("Karp et al. 2000", &*format!("median-counter:{k}"), "transmissions per node");
        line(what, "O(ln ln n)", &number(transmissions.value), ours, RUNS, verdict(holds(ours, RUNS, &transmissions)));
    }
    Ok(())
}

fn detections() -> Result<(), Error> {
    for nodes in [10, 100, 1_000] {
        let runs = 20_000;
        let outcome =
            detection::run(&detection::Parameters { nodes, runs, ..detection::Parameters::default() }, &Unwatched)?;
        let expected =
            Value { value: theory::first_detection(nodes), rounding: 0.0, runs: u32::MAX, is_discrepant: false };
        let what = ("SWIM, DSN 2002, §3", &*format!("n = {nodes}"), "first detection, periods");
        let ours = outcome.first_detection;
        line(what, &format!("{:.4}", expected.value), "", ours, runs, verdict(holds(ours, runs, &expected)));
    }
    Ok(())
}

fn averages() -> Result<(), Error> {
    for (name, pairing, expected) in [
        ("GETPAIR_SEQ", Pairing::Permuted, (-0.5_f64).exp() / 2.0),
        ("GETPAIR_RAND", Pairing::RandomEdges, (-1.0_f64).exp()),
        ("GETPAIR_PM", Pairing::PerfectMatching, 0.25),
    ] {
        let (nodes, runs) = (10_000, 100);
        let method = Method::PushPull(pairing);
        let outcome = averaging::run(&averaging::Parameters { nodes, method, cycles: 10, runs, seed: 1 }, &Unwatched)?;
        let factor = outcome.variance_factor;
        let ours = Summary { mean: factor.mean, sd: factor.sd, min: factor.mean, max: factor.mean };
        // The formulas are those of endless networks: 1/n off.
        let expected = Value { value: expected, rounding: 1e-4, runs: u32::MAX, is_discrepant: false };
        let what = ("Jelasity et al. 2005", name, "variance factor of a cycle");
        line(what, &format!("{:.4}", expected.value), "", ours, runs, verdict(holds(ours, runs, &expected)));
    }
    Ok(())
}

fn symbols() -> Result<(), Error> {
    for (difference, trials) in [(1, 20_000), (2, 20_000), (5, 20_000), (64, 3_000), (256, 800), (10_000, 20)] {
        let parameters = sketches::Parameters { difference, size: difference, trials, seed: 1 };
        let ours = sketches::run(&parameters, &Unwatched)?.symbols_per_difference;
        let expected =
            Value { value: sketches::published(difference), rounding: 5e-4, runs: u32::MAX, is_discrepant: false };
        let what = ("Yang et al. 2024, the authors' gap rule", &*format!("d = {difference}"), "symbols per difference");
        line(what, "", &number(expected.value), ours, trials, verdict(holds(ours, trials, &expected)));
    }
    Ok(())
}
