//! `rumor lab spread`: how a rumor spreads in a textbook model.

use std::time::Instant;

use clap::Args;
use rumormill_core::StopRule;
use rumormill_core::config::Mode;
use rumormill_lab::Error;
use rumormill_lab::jobs::Watch;
use rumormill_lab::spread::{self, Distribution, Observer, Outcome, Parameters, Timing, Unobserved};
use rumormill_lab::theory::Formula;

use super::spectator::Spectator;
use super::{Drawing, all_done, show, whole, word};
use crate::commands::Output;
use crate::failure::Failure;
use crate::print;

/// `rumor lab spread`
#[derive(Args, Clone, Debug)]
pub(crate) struct Spread {
    /// How many nodes; one of them knows the rumor at the start
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = whole::<usize>)]
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
    /// The share of contacts that carry nothing, from 0 to 0.999
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
    #[arg(long, value_name = "C", value_parser = whole::<u16>)]
    connection_limit: Option<u16>,
    /// How many further partners a refused caller tries in the same round
    #[arg(long, value_name = "H", default_value_t = 0, value_parser = whole::<u32>)]
    hunt: u32,
    /// How many independent runs
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = whole::<usize>)]
    runs: usize,
    /// What all draws derive from: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    pub(super) drawing: Drawing,
}

impl Spread {
    /// What is to be run, checked.
    pub(super) fn parameters(&self) -> Result<Parameters, Error> {
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
        let parameters = Parameters {
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
        };
        parameters.check()?;
        Ok(parameters)
    }
}

pub(super) fn run(flags: Spread, output: Output) -> Result<(), Failure> {
    let parameters = flags.parameters()?;
    flags.drawing.check()?;
    let outcome = timed(&parameters, &Spectator::new()?, &Unobserved)?;
    show(&outcome, output, |outcome| Ok(lines(outcome).into_iter().try_for_each(print::line)?))?;
    flags.drawing.draw(|| outcome.chart(), "measured curve beside the theory's")?;
    all_done(outcome.parameters.runs, parameters.runs, "runs")
}

/// The document, with how long it took.
pub(super) fn timed(parameters: &Parameters, watch: &dyn Watch, observer: &dyn Observer) -> Result<Outcome, Error> {
    let begun = Instant::now();
    let mut outcome = spread::run_observed(parameters, watch, observer)?;
    outcome.elapsed = Some(begun.elapsed().as_secs_f64());
    Ok(outcome)
}

/// What people see.
fn lines(outcome: &Outcome) -> Vec<String> {
    let unit = match outcome.parameters.timing {
        Timing::Rounds => "round",
        Timing::Async => "period",
    };
    let row = |round: usize| {
        let share = outcome.curve[round];
        format!("{unit} {round:>4} {} {}", bar(share), percent(share))
    };
    let mut lines = vec![headline(outcome)];
    lines.extend(telling_rounds(&outcome.curve).into_iter().map(row));
    lines.push(upshot(outcome, unit));
    lines
}

/// What was run, and how long that took.
fn headline(outcome: &Outcome) -> String {
    let Parameters { nodes, mode, fanout, fanout_distribution, loss, stop, timing, connection_limit, hunt, runs, seed } =
        &outcome.parameters;
    let mut parts = vec![format!("{} nodes", print::thousands(*nodes as u64)), spread::mode_name(*mode).to_owned()];
    parts.push(match fanout_distribution {
        Distribution::Fixed => format!("fanout {fanout}"),
        Distribution::Distinct => format!("fanout {fanout}, all different"),
        Distribution::Poisson => format!("fanout {fanout} on average"),
    });
    parts.push(if *loss == 0.0 { "no loss".to_owned() } else { format!("{} lost", fine_percent(*loss)) });
    parts.push(if *stop == StopRule::Never { "never stops".to_owned() } else { format!("stops by {stop}") });
    if *timing == Timing::Async {
        parts.push("each at its own clock".to_owned());
    }
    if let Some(limit) = connection_limit {
        parts.push(format!("{} accepted at a time", print::count(u64::from(*limit), "call")));
    }
    if *hunt > 0 {
        parts.push(format!("{} if refused", print::count(u64::from(*hunt), "further try")));
    }
    parts.push(print::count(*runs as u64, "run"));
    format!("{}, seed {seed}: {:.2} s", parts.join(", "), outcome.elapsed.unwrap_or_default())
}

/// How it ended, beside what theory says.
fn upshot(outcome: &Outcome, unit: &str) -> String {
    let runs = outcome.parameters.runs;
    let last = &outcome.time_last;
    let when = match outcome.parameters.timing {
        _ if runs > 1 => format!("{:.1} {unit}s on average, {:.1} to {:.1}", last.mean, last.min, last.max),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of rounds of one run")]
        Timing::Rounds => print::count(last.mean as u64, unit),
        Timing::Async => format!("{:.1} {unit}s", last.mean),
    };
    if outcome.residue.max == 0.0 {
        let theory = |formula: Formula| format!(" (theory: {} = {:.1})", formula.text, formula.value);
        let theory = outcome.parameters.time_last_predicted().map(theory).unwrap_or_default();
        return format!("everybody knew after {when}{theory}");
    }
    let theory = |formula: Formula| format!(" (theory: {} = {})", formula.text, fine_percent(formula.value));
    let predicted = outcome.parameters.residue_predicted(outcome.traffic.mean);
    let theory = predicted.map(theory).unwrap_or_default();
    let residue = fine_percent(outcome.residue.mean);
    let all =
        if runs > 1 { format!("; everybody knew in {} of the runs", percent(outcome.atomic)) } else { String::new() };
    format!(
        "{residue} never knew{theory}, at {:.2} messages for each node; the last to know knew after {when}{all}",
        outcome.traffic.mean
    )
}

/// Rounds that tell the story: the first and the last, and between them, from where a reader can see something,
/// such as lie a few rounds or a quarter of the nodes apart.
fn telling_rounds(curve: &[f64]) -> Vec<usize> {
    let last = curve.len() - 1;
    let visible = curve.iter().position(|share| *share >= SEEN).unwrap_or(last);
    let step = if last <= SHORT { 1 } else { (last - visible).div_ceil(ROWS).max(2) };
    let mut rounds = vec![last];
    let mut at = last;
    while at > 0 {
        let far = |round: &usize| curve[at] - curve[*round] >= QUARTER;
        let before = (at.saturating_sub(step)..at).rev().find(far).unwrap_or_else(|| at.saturating_sub(step));
        at = if curve[before] < SEEN { 0 } else { before };
        rounds.push(at);
    }
    rounds.reverse();
    rounds
}

/// The least share that shows.
const SEEN: f64 = 0.005;
/// A jump that is not skipped.
const QUARTER: f64 = 0.25;
/// A curve of so many rounds is shown whole.
const SHORT: usize = 10;
/// About so many rows between the first and the last.
const ROWS: usize = 6;
/// Cells of a full bar.
const CELLS: f64 = 30.0;

/// A bar in eighths of a cell; nothing is shown as the thinnest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 240 eighths")]
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = ((share * CELLS * 8.0 + 1e-6) as usize).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// `0 %`, `5.0 %`, `100 %`: the last only where nothing is missing.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round();
    match tenths {
        _ if share >= 1.0 => "100 %".to_owned(),
        0.0 => "0 %".to_owned(),
        _ => format!("{:.1} %", tenths.min(999.0) / 10.0),
    }
}

/// Three digits that matter, also of a small share.
fn fine_percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent >= 1.0 {
        1
    } else if percent >= 0.01 {
        3
    } else {
        5
    };
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use rumormill_lab::jobs::Unwatched;

    use super::*;

    #[test]
    fn bars_have_eighths_and_full_ones_are_full() {
        assert_eq!([0.0, 0.05, 0.36, 1.0].map(bar), ["▏", "█▌", "██████████▊", "██████████████████████████████"]);
        assert_eq!([0.0, 0.000_4, 0.05, 0.9999, 1.0].map(percent), ["0 %", "0 %", "5.0 %", "99.9 %", "100 %"]);
        assert_eq!([0.000_1, 0.07, 0.1, 0.999].map(fine_percent), ["0.010 %", "7.0 %", "10.0 %", "99.9 %"]);
    }

    #[test]
    fn the_rounds_shown_are_those_of_the_steep_part_and_the_ends() {
        let mut curve = vec![0.0; 8];
        curve.extend([0.006, 0.017, 0.05, 0.15, 0.36, 0.714, 0.965, 0.999, 1.0]);
        assert_eq!(telling_rounds(&curve), [0, 8, 10, 12, 13, 14, 16]);
        assert_eq!(telling_rounds(&[1.0]), [0]);
        assert_eq!(telling_rounds(&[0.1, 0.3, 0.8, 1.0]), [0, 1, 2, 3]);
    }

    #[test]
    fn what_people_read_names_parameters_story_and_theory() {
        let parameters = Parameters {
            nodes: 100,
            runs: 2,
            stop: StopRule::FeedbackCounter { k: 1 },
            mode: Mode::Push,
            ..Parameters::default()
        };
        let mut outcome = spread::run(&parameters, &Unwatched).unwrap();
        let lines = lines(&outcome);
        assert_eq!(lines[0], "100 nodes, push, fanout 1, no loss, stops by feedback-counter:1, 2 runs, seed 1: 0.00 s");
        assert!(lines[1].starts_with("round    0 ▎ 1.0 %"), "{}", lines[1]);
        assert!(lines.last().unwrap().contains("never knew (theory: e^-m = "), "{lines:?}");
        outcome.residue.max = 0.0;
        assert!(upshot(&outcome, "round").starts_with("everybody knew after "));
        let two = spread::run(&Parameters { nodes: 2, ..Parameters::default() }, &Unwatched).unwrap();
        assert!(
            upshot(&two, "round").starts_with("everybody knew after 1 round (theory: "),
            "{}",
            upshot(&two, "round")
        );
    }
}
