//! A run of the laboratory that somebody asks an agent for: checked, within bounds, and followed from afar.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rumormill_lab::jobs::{self, Watch};
use rumormill_lab::scenario::Run as Running;
use rumormill_lab::spread::{Observer, Parameters};
use rumormill_lab::{Error, Scenario};
use serde::Serialize;
use tokio::sync::watch;

use super::form::{self, Form};
use super::run::{self, Run};
use super::spread::{self, Spread};
use crate::documents::{LabProgress, LabStarted, Problem};
use crate::failure::Failure;

/// How many nodes the model may have.
const SPREAD_NODES_MAX: usize = 1_000_000;
/// How often it may be run.
const SPREAD_RUNS_MAX: usize = 100;
/// How many calls a round may have: one looks whether somebody still wants it after each.
const CALLS_MAX: f64 = 20e6;
/// How many rounds a run may take.
const ROUNDS_MAX: usize = 10_000;
/// How many nodes the virtual network may have.
const RUN_NODES_MAX: usize = 2_000;
/// How much memory they may take.
const RUN_BYTES_MAX: u64 = 512 << 20;
/// How long it may run in virtual time, settling included.
const RUN_VIRTUAL_MAX: Duration = Duration::from_mins(10);
/// How long anything may take.
const WALL_MAX: Duration = Duration::from_mins(1);
/// How often the curves of the virtual network are made.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Rounds of theory that are drawn before it is known how many there are.
const THEORY_ROUNDS: f64 = 40.0;

/// What is to be run, and the command line that does the same.
#[derive(Debug)]
pub(crate) struct Order {
    work: Work,
    command: String,
}

#[derive(Debug)]
enum Work {
    Spread(Parameters),
    Run(Box<Scenario>),
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The document of what was done, as JSON.
    pub(crate) document: Option<String>,
    /// Why that is not all.
    pub(crate) problem: Option<Problem>,
}

/// Who follows a run: told how far it is, and gone sooner or later.
#[derive(Debug)]
pub(crate) struct Onlooker {
    progress: watch::Sender<Option<LabProgress>>,
    deadline: Instant,
}

impl Order {
    /// `rumor lab spread` with these flags.
    pub(crate) fn spread(form: &Form) -> Result<Self, Failure> {
        let (flags, command) = form::read::<Spread>("spread", form)?;
        let parameters = flags.parameters()?;
        check_spread(&parameters)?;
        Ok(Self { work: Work::Spread(parameters), command })
    }

    /// `rumor lab run` with these flags.
    pub(crate) fn run(form: &Form) -> Result<Self, Failure> {
        let (flags, command) = form::read::<Run>("run", form)?;
        let scenario = run::read(&flags)?;
        check_run(&scenario)?;
        scenario.check()?;
        Ok(Self { work: Work::Run(Box::new(scenario)), command })
    }

    /// What is known before anything runs.
    pub(crate) fn started(&self) -> LabStarted {
        let theory = match &self.work {
            Work::Spread(parameters) => {
                let last = parameters.time_last_predicted().map_or(THEORY_ROUNDS, |formula| formula.value + 2.0);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to what is shown")]
                let rounds = (last.ceil() as usize).min(ROUNDS_MAX);
                parameters.curve_predicted(rounds)
            }
            Work::Run(scenario) => scenario.hops_predicted(),
        };
        LabStarted { command: self.command.clone(), theory }
    }

    /// Runs it on this thread, to its end or until nobody follows it.
    pub(crate) fn perform(self, onlooker: &Onlooker) -> Ending {
        jobs::on_this_thread(|| match self.work {
            Work::Spread(parameters) => perform_spread(&parameters, onlooker),
            Work::Run(scenario) => perform_run(&scenario, onlooker),
        })
    }
}

fn check_spread(parameters: &Parameters) -> Result<(), Error> {
    let Parameters { nodes, fanout, hunt, runs, .. } = *parameters;
    let rule = format!("at most {SPREAD_NODES_MAX} here; rumor lab spread takes more");
    Error::unless(nodes <= SPREAD_NODES_MAX, "nodes", nodes, &rule)?;
    let rule = format!("at most {SPREAD_RUNS_MAX} here; rumor lab spread takes more");
    Error::unless(runs <= SPREAD_RUNS_MAX, "runs", runs, &rule)?;
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let calls = nodes as f64 * fanout * (1.0 + f64::from(hunt));
    let rule = format!("less: nodes x fanout x (1 + hunt) may be {CALLS_MAX} here; rumor lab spread takes more");
    Error::unless(calls <= CALLS_MAX, "fanout", fanout, &rule)
}

fn check_run(scenario: &Scenario) -> Result<(), Error> {
    let nodes = scenario.nodes_in_all();
    let rule = format!("at most {RUN_NODES_MAX} here, those that are added included; rumor lab run takes more");
    Error::unless(nodes <= RUN_NODES_MAX, "nodes", nodes, &rule)?;
    let virtual_time = scenario.duration.saturating_add(scenario.settle);
    let shown = rumormill_core::duration::format;
    let rule = format!("at most {} here with settle; rumor lab run takes more", shown(RUN_VIRTUAL_MAX));
    Error::unless(virtual_time <= RUN_VIRTUAL_MAX, "duration", shown(virtual_time), &rule)?;
    let rule = format!(
        "less: with so many nodes they take about {} MiB and may take {} here; rumor lab run takes more",
        scenario.bytes() >> 20,
        RUN_BYTES_MAX >> 20
    );
    let messages: Vec<String> = scenario.publish.iter().map(ToString::to_string).collect();
    Error::unless(scenario.bytes() <= RUN_BYTES_MAX, "publish", messages.join(" "), &rule)
}

fn perform_spread(parameters: &Parameters, onlooker: &Onlooker) -> Ending {
    let rounds = Rounds { onlooker, nodes: parameters.nodes, runs: parameters.runs };
    match spread::timed(parameters, onlooker, &rounds) {
        Ok(outcome) => {
            let done = outcome.parameters.runs;
            let is_whole = done == parameters.runs;
            Ending::of(&outcome, (!is_whole).then(|| cut_short(&format!("after {done} of {} runs", parameters.runs))))
        }
        Err(Error::Stopped) => Ending::failed(cut_short("before there was anything to show")),
        Err(error) => Ending::failed(Failure::from(error).into_problem()),
    }
}

fn perform_run(scenario: &Scenario, onlooker: &Onlooker) -> Ending {
    let drawn = Cell::new(Instant::now());
    let whole = scenario.duration + scenario.settle;
    let look = |run: &Running| {
        if drawn.get().elapsed() >= DRAW_EVERY {
            onlooker.tell(progress(run, whole));
            drawn.set(Instant::now());
        }
    };
    match run::timed(scenario, onlooker, &look) {
        Ok((running, outcome)) => {
            onlooker.tell(progress(&running, whole));
            let part = running.ended_early().map(|end| run::part(scenario, end));
            Ending::of(&outcome, part.map(|part| cut_short(&format!("after {part}"))))
        }
        Err(Error::Stopped) => Ending::failed(cut_short("while it settled")),
        Err(error) => Ending::failed(Failure::from(error).into_problem()),
    }
}

fn progress(run: &Running, until: Duration) -> LabProgress {
    let outcome = run.outcome();
    let (joined_after, curves) = (outcome.joined_after, outcome.curves);
    LabProgress::Run {
        at: run.elapsed().as_secs_f64(),
        until: until.as_secs_f64(),
        joined_after,
        heard: curves.heard,
        known: curves.known,
        hops: curves.hops,
    }
}

fn cut_short(when: &str) -> Problem {
    let detail = format!(
        "stopped {when}: here a run may take {} s and {ROUNDS_MAX} rounds; the command line has no such bounds",
        WALL_MAX.as_secs()
    );
    Problem::new("stopped", detail)
}

impl Ending {
    fn of(outcome: &impl Serialize, problem: Option<Problem>) -> Self {
        Self { document: Some(serde_json::to_string(outcome).expect("numbers and words")), problem }
    }

    /// Nothing is to be shown.
    pub(crate) fn failed(problem: Problem) -> Self {
        Self { document: None, problem: Some(problem) }
    }
}

impl Onlooker {
    /// One who has a minute, and where it is told.
    pub(crate) fn new() -> (Self, watch::Receiver<Option<LabProgress>>) {
        let (progress, told) = watch::channel(None);
        (Self { progress, deadline: Instant::now() + WALL_MAX }, told)
    }

    fn tell(&self, progress: LabProgress) {
        self.progress.send_replace(Some(progress));
    }
}

impl Watch for Onlooker {
    fn on_progress(&self, _: usize, _: usize) {}

    fn goes_on(&self) -> bool {
        !self.progress.is_closed() && Instant::now() < self.deadline
    }
}

/// Tells the rounds of a model, one run after the other.
struct Rounds<'a> {
    onlooker: &'a Onlooker,
    nodes: usize,
    runs: usize,
}

impl Observer for Rounds<'_> {
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    fn on_round(&self, run: usize, round: usize, knowing: usize) -> bool {
        let share = |count: usize| count as f64 / self.nodes as f64;
        self.onlooker.progress.send_modify(|progress| match progress {
            Some(LabProgress::Spread { run: present, known, .. }) if *present == run + 1 => known.push(share(knowing)),
            _ => {
                let known = vec![share(1), share(knowing)];
                *progress = Some(LabProgress::Spread { run: run + 1, runs: self.runs, known });
            }
        });
        round < ROUNDS_MAX && self.onlooker.goes_on()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn form(value: Value) -> Form {
        serde_json::from_value(value).unwrap()
    }

    fn field(order: Result<Order, Failure>) -> String {
        order.unwrap_err().into_problem().field.unwrap()
    }

    #[test]
    fn what_lies_at_a_bound_is_taken_and_what_lies_beyond_is_refused_by_name() {
        for (key, within, beyond) in [
            ("nodes", json!({ "nodes": 1_000_000 }), json!({ "nodes": 1_000_001 })),
            ("runs", json!({ "runs": 100 }), json!({ "runs": 101 })),
            ("fanout", json!({ "nodes": 1_000_000, "fanout": 20 }), json!({ "nodes": 1_000_000, "fanout": 21 })),
        ] {
            Order::spread(&form(within)).unwrap();
            assert_eq!(field(Order::spread(&form(beyond))), key);
        }
        for (key, within, beyond) in [
            ("nodes", json!({ "nodes": 2_000 }), json!({ "nodes": 2_001 })),
            ("nodes", json!({ "fault": ["add:1900@1s"] }), json!({ "fault": ["add:1901@1s"] })),
            ("duration", json!({ "duration": "10m" }), json!({ "duration": "10m", "settle": "1s" })),
            ("publish", json!({ "publish": ["8000:10@1s"] }), json!({ "publish": ["9000:10@1s"] })),
        ] {
            Order::run(&form(within)).unwrap();
            assert_eq!(field(Order::run(&form(beyond))), key);
        }
    }

    #[test]
    fn a_run_ends_when_nobody_follows_it_or_it_takes_too_many_rounds() {
        let order = |asked| Order::spread(&form(asked)).unwrap();
        let (onlooker, told) = Onlooker::new();
        drop(told);
        let ending = order(json!({ "nodes": 100_000 })).perform(&onlooker);
        assert!(ending.document.is_none() && ending.problem.is_some(), "{ending:?}");
        let (onlooker, _told) = Onlooker::new();
        let slow = json!({ "nodes": 2, "mode": "push", "loss": 0.999, "runs": 100, "fanout-distribution": "poisson", "fanout": 0.01 });
        let ending = order(slow).perform(&onlooker);
        assert!(ending.problem.unwrap().detail.contains("10000 rounds"));
        let known = match &*onlooker.progress.borrow() {
            Some(LabProgress::Spread { known, .. }) => known.len(),
            other => panic!("{other:?}"),
        };
        assert!(known <= ROUNDS_MAX + 1, "{known}");
    }

    #[test]
    fn theory_is_told_before_the_run() {
        let started = Order::spread(&form(json!({ "nodes": 1_000 }))).unwrap().started();
        let theory = started.theory.unwrap();
        assert!(theory.len() > 8 && theory.last().unwrap() > &0.99, "{theory:?}");
        assert_eq!(started.command, "rumor lab spread --nodes 1000");
        let started = Order::run(&form(json!({ "mode": "pull" }))).unwrap().started();
        assert_eq!(started.theory, None);
    }
}
