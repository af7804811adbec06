//! A scenario while it runs.

use std::time::Duration;

use rumormill_core::MemberChange;
use rumormill_core::config::View;

use super::failures::Failures;
use super::report::{self, Outcome};
use super::suspicions::Suspicions;
use super::{Scenario, Start, plan, replay};
use crate::jobs::Watch;
use crate::network::check::Breach;
use crate::{Error, Failure, Network};

/// A run, step by step, for who wants to measure it from outside: start it, let it [go](Self::go), look at the
/// [outcome](Self::outcome).
#[derive(Debug)]
pub struct Run {
    /// With all shares drawn.
    pub(super) scenario: Scenario,
    /// As it was asked for.
    asked: Scenario,
    pub(super) net: Network,
    /// When times begin to count.
    pub(super) begun: Duration,
    /// How long it took until all had joined.
    pub(super) joined_after: Option<Duration>,
    pub(super) failures: Failures,
    pub(super) suspicions: Suspicions,
    /// Declarations of death of healthy nodes.
    pub(super) false_positives: usize,
    /// Of nodes that ran but stood still just then, or were slow.
    pub(super) deaths_of_unwell: usize,
    /// Set if it was stopped before its end.
    ended_early: bool,
}

/// How often one looks what happened, whether to go on, and how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often one looks whether all have joined, or agree.
const LOOK_CLOSELY: Duration = Duration::from_millis(1);
/// The same with partial views, where one has to look at the whole overlay.
const LOOK_AT_OVERLAY: Duration = Duration::from_millis(100);

impl Run {
    /// Checks a scenario, draws what is to be drawn, and starts the nodes.
    ///
    /// # Errors
    /// What is impossible, or a broken rule.
    pub fn start(scenario: &Scenario) -> Result<Self, Error> {
        scenario.check()?;
        let asked = scenario.clone();
        let scenario = plan::spelt_out(scenario);
        let line = replay::line(&asked, &scenario);
        let mut net = Network::new(scenario.seed).options(scenario.options()).replay(line);
        if !scenario.check {
            net = net.unchecked();
        }
        let net = match scenario.start {
            Start::Cold => net.start_cold(0, scenario.start_within),
            Start::Joined => net.start_joined_within(scenario.start_within)?,
        };
        Ok(Self {
            begun: net.now(),
            scenario,
            asked,
            net,
            joined_after: None,
            failures: Failures::default(),
            suspicions: Suspicions::default(),
            false_positives: 0,
            deaths_of_unwell: 0,
            ended_early: false,
        })
    }

    /// Goes on to the end, or until the watch says stop, but for a first step. Progress is told in virtual milliseconds.
    ///
    /// # Errors
    /// A broken rule where checkers look; what did not settle in time; [`Error::Stopped`] while it settled, as no line
    /// would repeat the run until then.
    pub fn go(&mut self, watch: &dyn Watch) -> Result<(), Error> {
        self.go_observed(watch, &|_| ())
    }

    /// The same, for who wants to see what is so whenever progress is told.
    ///
    /// # Errors
    /// As [`go`](Self::go).
    pub fn go_observed(&mut self, watch: &dyn Watch, look: &dyn Fn(&Self)) -> Result<(), Error> {
        let whole = self.scenario.duration + self.scenario.settle;
        let tell = |run: &Self| {
            watch.on_progress(millis(run.elapsed().min(whole)), millis(whole));
            look(run);
        };
        while self.elapsed() < self.scenario.duration {
            let end = (self.elapsed() + LOOK_EVERY).min(self.scenario.duration);
            self.advance(end)?;
            tell(self);
            if self.elapsed() < self.scenario.duration && !watch.goes_on() {
                self.end_early();
                return Ok(());
            }
        }
        if !self.scenario.settle.is_zero() {
            self.settle(watch, &tell)?;
        }
        watch.on_progress(millis(whole), millis(whole));
        Ok(())
    }

    /// What was measured, with what depends on the machine left out.
    pub fn outcome(&self) -> Outcome {
        report::of(self)
    }

    /// When it was stopped before its end; the outcome is of the time until then.
    pub fn ended_early(&self) -> Option<Duration> {
        self.ended_early.then(|| self.elapsed())
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.net
    }

    /// The scenario with all shares drawn.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The line that repeats the run.
    pub fn replay(&self) -> String {
        replay::line(&self.asked, &self.scenario)
    }

    /// Virtual time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.net.now().saturating_sub(self.begun)
    }

    /// The same run ends here when it is repeated.
    fn end_early(&mut self) {
        self.ended_early = true;
        let end = self.elapsed();
        for scenario in [&mut self.scenario, &mut self.asked] {
            scenario.duration = end;
            scenario.settle = Duration::ZERO;
            scenario.fault.retain(|fault| fault.at <= end);
            scenario.publish.retain(|work| work.at <= end);
        }
    }

    fn advance(&mut self, to: Duration) -> Result<(), Failure> {
        while self.is_joining() && self.elapsed() < to {
            self.net.run_for(self.look_closely().min(to.saturating_sub(self.elapsed())))?;
            self.look_for_joined();
        }
        self.net.run_for(to.saturating_sub(self.elapsed()))?;
        self.observe();
        Ok(())
    }

    fn look_closely(&self) -> Duration {
        match self.scenario.config.view {
            View::Full => LOOK_CLOSELY,
            View::Partial => LOOK_AT_OVERLAY,
        }
    }

    fn is_joining(&self) -> bool {
        self.scenario.start == Start::Cold && self.joined_after.is_none()
    }

    fn look_for_joined(&mut self) {
        let have_started = self.elapsed() >= self.scenario.start_within
            && (0..self.scenario.nodes).all(|node| self.net.life(node) > 0);
        if have_started && self.net.everyone_has_joined() {
            self.joined_after = Some(self.elapsed());
        }
    }

    fn observe(&mut self) {
        let changes = self.net.take_changes();
        self.failures.observe(&self.net, &changes);
        self.suspicions.observe(&changes);
        for death in changes.iter().filter(|change| change.change == MemberChange::Failed && change.mistaken) {
            let deaths = if death.unwell { &mut self.deaths_of_unwell } else { &mut self.false_positives };
            *deaths += 1;
        }
    }

    /// All comes to peace: then nodes must agree and messages be everywhere, and new ones come everywhere.
    fn settle(&mut self, watch: &dyn Watch, tell: &dyn Fn(&Self)) -> Result<(), Error> {
        self.net.make_peace();
        let budget = self.scenario.settle;
        let agreed = |net: &Network| net.everyone_agrees() && net.everything_delivered() && net.data_has_settled();
        self.until(agreed, budget, watch, tell)?;
        self.net.check_data()?;
        let speakers: Vec<_> = self.net.up().filter(|&node| self.net.takes_commands(node)).collect();
        let news: Vec<_> = speakers.into_iter().map(|node| self.net.publish(node, "peace", vec![1; 64])).collect();
        let heard = |net: &Network| news.iter().all(|&ticket| net.reached_all(ticket));
        self.until(heard, budget / 2, watch, tell)
    }

    fn until(
        &mut self,
        holds: impl Fn(&Network) -> bool,
        budget: Duration,
        watch: &dyn Watch,
        tell: &dyn Fn(&Self),
    ) -> Result<(), Error> {
        let end = self.elapsed() + budget;
        while !holds(&self.net) {
            if !watch.goes_on() {
                return Err(Error::Stopped);
            }
            if self.elapsed() >= end {
                let detail = format!("not within {budget:?} of peace; {}", self.net.summary());
                return Err(self.net.failure(None, Breach { rule: "comes true in time", detail }).into());
            }
            self.net.run_for(self.look_closely())?;
            self.observe();
            tell(self);
        }
        Ok(())
    }
}

fn millis(time: Duration) -> usize {
    usize::try_from(time.as_millis()).expect("at most two months")
}
