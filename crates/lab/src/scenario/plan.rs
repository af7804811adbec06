//! From shares to nodes: what a seed draws is drawn here, once, before anything runs.
//!
//! The generator is not the run's, and what is spelt out draws nothing: a scenario and what it comes to take the same
//! course.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rumormill_core::duration;
use rumormill_core::rng::Rng;

use super::fault::{Fault, Publishers, What, Whom, Work};
use super::{Scenario, TIME_MAX};
use crate::{Act, DiskFate, Error, Planned, settings};

/// Sets the draws of a plan apart from those of the run of the same seed.
const APART: u64 = 0x706c_616e_2064_7261;
/// More nodes than this are not added in one run.
const ADDED_MAX: usize = 1 << 20;
/// More messages than this are not published at once.
const PUBLISHED_MAX: usize = 10_000;
/// More than this does not befall single nodes in one run: each act is kept, and scheduled, from the start.
const ACTS_MAX: f64 = 1e6;

/// The same scenario with every share drawn: nodes by name, a churn as the crashes and restarts that it comes to; by
/// time. Spelling out what is spelt out changes nothing.
pub fn spelt_out(scenario: &Scenario) -> Scenario {
    let mut faults = scenario.fault.clone();
    faults.sort_by_key(|fault| fault.at);
    let mut works = scenario.publish.clone();
    works.sort_by_key(|work| work.at);
    let mut walk = Walk::new(scenario);
    let mut works = works.into_iter().peekable();
    for Fault { at, what } in faults {
        while let Some(work) = works.next_if(|work| work.at < at) {
            walk.publish(work);
        }
        walk.advance(at);
        walk.fault(at, what);
    }
    works.for_each(|work| walk.publish(work));
    walk.advance(scenario.duration + Duration::from_micros(1));
    let Walk { faults, works, .. } = walk;
    Scenario { fault: faults, publish: works, ..scenario.clone() }
}

/// How many nodes there are with those that are added.
pub(super) fn nodes_in_all(scenario: &Scenario) -> usize {
    let added = scenario.fault.iter().map(|fault| if let What::Add(count, _) = fault.what { count } else { 0 });
    scenario.nodes + added.sum::<usize>()
}

/// How many messages are published, and how large each is.
pub(super) fn messages(scenario: &Scenario) -> Vec<(u64, usize)> {
    let nodes = nodes_in_all(scenario);
    let works = scenario.publish.iter().map(|work| match &work.by {
        Publishers::Count(count) => (*count as u64, work.bytes),
        Publishers::Nodes(named) => (named.len() as u64, work.bytes),
    });
    let faults = scenario.fault.iter().filter_map(|fault| {
        let What::Publish(whom, bytes) = &fault.what else { return None };
        let count = match whom {
            Whom::Nodes(named) => named.len(),
            Whom::Share(share) => share_of(*share, nodes),
        };
        Some((count as u64, *bytes))
    });
    works.chain(faults).collect()
}

/// What a scenario without shares does to single nodes, in order.
pub(super) fn acts(scenario: &Scenario) -> Vec<Planned> {
    let faults = scenario
        .fault
        .iter()
        .flat_map(|Fault { at, what }| single(what).into_iter().map(|act| Planned { at: *at, act }));
    let works = scenario.publish.iter().flat_map(|Work { at, by, bytes }| {
        let nodes = match by {
            Publishers::Nodes(nodes) => nodes.as_slice(),
            Publishers::Count(_) => unreachable!("publishers are drawn"),
        };
        nodes.iter().map(|&node| Planned { at: *at, act: Act::Publish(node, *bytes) })
    });
    faults.chain(works).collect()
}

fn named(whom: &Whom) -> &[usize] {
    match whom {
        Whom::Nodes(nodes) => nodes,
        Whom::Share(_) => unreachable!("shares are drawn"),
    }
}

fn single(what: &What) -> Vec<Act> {
    let each = |whom, act: &dyn Fn(usize) -> Act| named(whom).iter().map(|&node| act(node)).collect();
    match what {
        What::Crash(whom) => each(whom, &Act::Crash),
        What::Kill(whom) => each(whom, &Act::Kill),
        What::Restart(whom, disk) => each(whom, &|node| Act::Restart(node, *disk)),
        What::Pause(whom, length) => each(whom, &|node| Act::Pause(node, *length)),
        What::Slow(whom, length) => each(whom, &|node| Act::Slow(node, *length)),
        What::Stall(whom, length) => each(whom, &|node| Act::Stall(node, *length)),
        What::Partition(groups) => vec![Act::Partition(groups.iter().map(|group| named(group).to_vec()).collect())],
        What::OneWay(from, to) => {
            let pairs = named(from).iter().flat_map(|&a| named(to).iter().map(move |&b| (a, b)));
            pairs.filter(|(a, b)| a != b).map(|(a, b)| Act::OneWay(a, b)).collect()
        }
        What::Heal => vec![Act::Heal],
        What::Churn { .. } => unreachable!("a churn is drawn"),
        What::DiskFails(whom) => each(whom, &Act::DiskFails),
        What::DiskWorks(whom) => each(whom, &Act::DiskWorks),
        What::Clock(whom, ahead) => each(whom, &|node| Act::Clock(node, *ahead)),
        What::Leave(whom) => each(whom, &Act::Leave),
        What::Set(whom, key, value) => each(whom, &|node| Act::Set(node, key.clone(), value.clone())),
        What::Add(count, within) => vec![Act::Add(*count, *within)],
        What::Publish(whom, bytes) => each(whom, &|node| Act::Publish(node, *bytes)),
        What::Write(whom) => each(whom, &Act::Write),
    }
}

/// How a node stands by the plan alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Up,
    Down,
    Left,
    /// Added, and perhaps not yet started.
    Coming,
}

/// Goes through the plan by time and draws what is not drawn yet from those that stand so then.
struct Walk {
    rng: Rng,
    nodes: Vec<Standing>,
    /// Those that are up, in order.
    up: Vec<usize>,
    /// The share of the nodes that fails in each second, how long each is down, and when the next one fails.
    churn: Option<(f64, Duration, Duration)>,
    /// Who was felled by the churn, by the time at which it starts again.
    felled: BTreeSet<(Duration, usize)>,
    /// Who was added, by the time at which it has started.
    coming: BTreeSet<(Duration, usize)>,
    faults: Vec<Fault>,
    works: Vec<Work>,
}

impl Walk {
    fn new(scenario: &Scenario) -> Self {
        Self {
            rng: Rng::new(scenario.seed ^ APART),
            nodes: vec![Standing::Up; scenario.nodes],
            up: (0..scenario.nodes).collect(),
            churn: None,
            felled: BTreeSet::new(),
            coming: BTreeSet::new(),
            faults: Vec::new(),
            works: Vec::new(),
        }
    }

    fn publish(&mut self, Work { at, by, bytes }: Work) {
        self.advance(at);
        let nodes = match by {
            Publishers::Nodes(nodes) => nodes,
            Publishers::Count(count) => {
                if self.up.is_empty() {
                    return;
                }
                (0..count).map(|_| self.up[self.rng.below(self.up.len())]).collect()
            }
        };
        self.works.push(Work { at, by: Publishers::Nodes(nodes), bytes });
    }

    fn fault(&mut self, at: Duration, what: What) {
        let up = Standing::Up;
        let what = match what {
            What::Crash(whom) => What::Crash(self.fall(whom, Standing::Down)),
            What::Kill(whom) => What::Kill(self.fall(whom, Standing::Down)),
            What::Leave(whom) => What::Leave(self.fall(whom, Standing::Left)),
            What::Restart(whom, disk) => What::Restart(self.rise(whom), disk),
            What::Pause(whom, length) => What::Pause(self.drawn(whom, up), length),
            What::Slow(whom, length) => What::Slow(self.drawn(whom, up), length),
            What::Stall(whom, length) => What::Stall(self.drawn(whom, up), length),
            What::Partition(groups) => What::Partition(self.groups(groups)),
            What::OneWay(from, to) => What::OneWay(self.drawn(from, up), self.drawn(to, up)),
            What::Heal => What::Heal,
            What::Churn { share, down } => {
                self.churn = None;
                if share > 0.0 {
                    self.churn = Some((share, down, at + self.gap(share)));
                }
                return;
            }
            What::DiskFails(whom) => What::DiskFails(self.drawn(whom, up)),
            What::DiskWorks(whom) => What::DiskWorks(self.drawn(whom, up)),
            What::Clock(whom, ahead) => What::Clock(self.drawn(whom, up), ahead),
            What::Set(whom, key, value) => What::Set(self.drawn(whom, up), key, value),
            What::Add(count, within) => {
                let first = self.nodes.len();
                self.nodes.extend(std::iter::repeat_n(Standing::Coming, count));
                self.coming.extend((first..first + count).map(|node| (at + within, node)));
                What::Add(count, within)
            }
            What::Publish(whom, bytes) => What::Publish(self.drawn(whom, up), bytes),
            What::Write(whom) => What::Write(self.drawn(whom, up)),
        };
        self.keep(at, what);
    }

    /// What befalls nobody is left out.
    fn keep(&mut self, at: Duration, what: What) {
        let nobody = |whom: &Whom| matches!(whom, Whom::Nodes(nodes) if nodes.is_empty());
        if !what.befalls().into_iter().any(nobody) {
            self.faults.push(Fault { at, what });
        }
    }

    /// From now on a node stands so.
    fn stand(&mut self, node: usize, standing: Standing) {
        self.nodes[node] = standing;
        match (self.up.binary_search(&node), standing) {
            (Err(place), Standing::Up) => self.up.insert(place, node),
            (Ok(_), Standing::Up) | (Err(_), _) => {}
            (Ok(place), _) => {
                self.up.remove(place);
            }
        }
    }

    fn standing(&self, standing: Standing) -> Vec<usize> {
        if standing == Standing::Up {
            return self.up.clone();
        }
        (0..self.nodes.len()).filter(|&node| self.nodes[node] == standing).collect()
    }

    fn drawn(&mut self, whom: Whom, from: Standing) -> Whom {
        match whom {
            Whom::Nodes(nodes) => Whom::Nodes(nodes),
            Whom::Share(share) => {
                let candidates = self.standing(from);
                Whom::Nodes(self.draw(share, candidates))
            }
        }
    }

    /// The nearest number of `candidates` to a share, at least one; in order.
    fn draw(&mut self, share: f64, mut candidates: Vec<usize>) -> Vec<usize> {
        let count = share_of(share, candidates.len());
        self.rng.shuffle(&mut candidates);
        candidates.truncate(count);
        candidates.sort_unstable();
        candidates
    }

    fn fall(&mut self, whom: Whom, to: Standing) -> Whom {
        let whom = self.drawn(whom, Standing::Up);
        for &node in named(&whom) {
            if self.nodes[node] == Standing::Up {
                self.stand(node, to);
            }
        }
        whom
    }

    fn rise(&mut self, whom: Whom) -> Whom {
        let whom = self.drawn(whom, Standing::Down);
        for &node in named(&whom) {
            self.stand(node, Standing::Up);
        }
        whom
    }

    /// Shares of all nodes that are up, from those that no group has.
    fn groups(&mut self, groups: Vec<Whom>) -> Vec<Whom> {
        let all = self.standing(Standing::Up);
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        for group in &groups {
            if let Whom::Nodes(nodes) = group {
                taken.extend(nodes);
            }
        }
        let mut drawn = Vec::new();
        for group in groups {
            let group = match group {
                Whom::Nodes(nodes) => nodes,
                Whom::Share(share) => {
                    let mut free: Vec<_> = all.iter().copied().filter(|node| !taken.contains(node)).collect();
                    self.rng.shuffle(&mut free);
                    free.truncate(share_of(share, all.len()));
                    free.sort_unstable();
                    taken.extend(&free);
                    free
                }
            };
            if !group.is_empty() {
                drawn.push(Whom::Nodes(group));
            }
        }
        drawn
    }

    /// What happens by itself before a moment: newcomers start, and the churn goes on.
    fn advance(&mut self, to: Duration) {
        loop {
            let fails = self.churn.map(|(.., at)| at);
            let starts = self.felled.first().map(|&(at, _)| at);
            let comes = self.coming.first().map(|&(at, _)| at);
            let next = [fails, starts, comes].into_iter().flatten().min();
            let Some(at) = next.filter(|&at| at < to) else { break };
            if comes == Some(at) {
                self.welcome();
            } else if starts == Some(at) {
                self.restart_felled(at);
            } else {
                self.fell(at);
            }
        }
    }

    fn welcome(&mut self) {
        let Some((_, node)) = self.coming.pop_first() else { return };
        if self.nodes[node] == Standing::Coming {
            self.stand(node, Standing::Up);
        }
    }

    fn restart_felled(&mut self, at: Duration) {
        let Some((_, node)) = self.felled.pop_first() else { return };
        if self.nodes[node] == Standing::Down {
            self.stand(node, Standing::Up);
            self.keep(at, What::Restart(Whom::Nodes(vec![node]), DiskFate::Kept));
        }
    }

    fn fell(&mut self, at: Duration) {
        let Some((share, down, _)) = self.churn else { return };
        if !self.up.is_empty() {
            let node = self.up[self.rng.below(self.up.len())];
            self.stand(node, Standing::Down);
            self.felled.insert((at + down, node));
            self.keep(at, What::Crash(Whom::Nodes(vec![node])));
        }
        self.churn = Some((share, down, at + self.gap(share)));
    }

    /// The time between two failures of a churn: exponential, so that failures are independent of each other.
    fn gap(&mut self, share: f64) -> Duration {
        let rate = share * crate::summary::count(self.nodes.len());
        let secs = -(1.0 - self.rng.fraction()).ln() / rate;
        let micros = Duration::try_from_secs_f64(secs).unwrap_or(TIME_MAX).min(TIME_MAX).as_micros();
        Duration::from_micros(u64::try_from(micros).expect("at most a month").max(1))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, at most that count")]
fn share_of(share: f64, of: usize) -> usize {
    ((share * crate::summary::count(of)).round() as usize).max(1).min(of)
}

/// Refuses plans that name what does not exist.
pub(super) fn check(scenario: &Scenario) -> Result<(), Error> {
    let mut faults: Vec<_> = scenario.fault.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let mut nodes = scenario.nodes;
    let mut counts = Vec::new();
    for fault in faults {
        let refuse = |rule: String| Error::value("fault", fault, rule);
        if fault.at > scenario.duration {
            return Err(refuse(after_the_end(scenario)));
        }
        check_what(&fault.what, nodes, scenario).map_err(refuse)?;
        if let What::Add(count, _) = fault.what {
            nodes += count;
            counts.push((fault.at, nodes));
        }
    }
    if nodes > scenario.config.members_max && !scenario.is_partial() {
        let rule = format!("few enough that the nodes are at most members_max ({})", scenario.config.members_max);
        return Err(Error::value("fault", format!("add of {} nodes", nodes - scenario.nodes), rule));
    }
    scenario.publish.iter().try_for_each(|work| {
        let then = counts.iter().rfind(|(at, _)| *at <= work.at).map_or(scenario.nodes, |(_, nodes)| *nodes);
        check_work(work, then, scenario).map_err(|rule| Error::value("publish", work, rule))
    })?;
    check_acts(scenario)?;
    check_settings(scenario)
}

/// Refuses what comes to more acts than are kept.
fn check_acts(scenario: &Scenario) -> Result<(), Error> {
    let rule = format!("less: with what is before it, it comes to more than {ACTS_MAX} acts on single nodes");
    let nodes = crate::summary::count(nodes_in_all(scenario));
    let mut acts = 0.0;
    for (i, fault) in scenario.fault.iter().enumerate() {
        acts += acts_of(&fault.what, nodes);
        if let What::Churn { share, .. } = fault.what {
            let next = scenario.fault[i + 1..].iter().filter(|next| matches!(next.what, What::Churn { .. }));
            let until = next.map(|next| next.at).filter(|at| *at >= fault.at).min().unwrap_or(scenario.duration);
            // Each that fails starts again.
            acts += 2.0 * share * nodes * until.saturating_sub(fault.at).as_secs_f64();
        }
        Error::unless(acts <= ACTS_MAX, "fault", fault, &rule)?;
    }
    for work in &scenario.publish {
        acts += match &work.by {
            Publishers::Count(count) => crate::summary::count(*count),
            Publishers::Nodes(named) => crate::summary::count(named.len()),
        };
        Error::unless(acts <= ACTS_MAX, "publish", work, &rule)?;
    }
    Ok(())
}

/// On how many single nodes something acts, a churn left out.
fn acts_of(what: &What, nodes: f64) -> f64 {
    let of = |whom: &Whom| match whom {
        Whom::Nodes(named) => crate::summary::count(named.len()),
        Whom::Share(share) => share * nodes,
    };
    let each = what.befalls().into_iter().map(of);
    if matches!(what, What::OneWay(..)) {
        each.product()
    } else if matches!(what, What::Heal | What::Add(..)) {
        1.0
    } else {
        each.sum()
    }
}

/// Refuses settings that a node cannot have beside those that it was given before: of the nodes that are drawn.
fn check_settings(scenario: &Scenario) -> Result<(), Error> {
    if !scenario.fault.iter().any(|fault| matches!(fault.what, What::Set(..))) {
        return Ok(());
    }
    // Few differ: each combination is tried once.
    let mut known = vec![scenario.config.clone()];
    let mut given: BTreeMap<usize, usize> = BTreeMap::new();
    for Fault { at, what } in spelt_out(scenario).fault {
        let What::Set(whom, key, value) = what else { continue };
        let mut tried: BTreeMap<usize, usize> = BTreeMap::new();
        for &node in named(&whom) {
            let before = given.get(&node).copied().unwrap_or(0);
            if let Some(&after) = tried.get(&before) {
                given.insert(node, after);
                continue;
            }
            let changed = settings::with(&known[before], &key, &value);
            let changed = changed.and_then(|builder| builder.clone().build().map(|_| builder).map_err(Error::from));
            known.push(changed.map_err(|error| {
                let one = Fault { at, what: What::Set(Whom::Nodes(vec![node]), key.clone(), value.clone()) };
                Error::value("fault", one, format!("a setting that it takes beside its others ({error})"))
            })?);
            tried.insert(before, known.len() - 1);
            given.insert(node, known.len() - 1);
        }
    }
    Ok(())
}

fn after_the_end(scenario: &Scenario) -> String {
    format!("at a time up to the end of the run (duration {})", duration::format(scenario.duration))
}

fn check_work(work: &Work, nodes: usize, scenario: &Scenario) -> Result<(), String> {
    if work.at > scenario.duration {
        return Err(after_the_end(scenario));
    }
    check_bytes(work.bytes, scenario)?;
    match &work.by {
        Publishers::Count(count) if (1..=PUBLISHED_MAX).contains(count) => Ok(()),
        Publishers::Count(_) => Err(format!("of 1 to {PUBLISHED_MAX} messages")),
        Publishers::Nodes(named) => check_nodes(named, nodes),
    }
}

fn check_bytes(bytes: usize, scenario: &Scenario) -> Result<(), String> {
    let most = scenario.config.payload_bytes_max;
    if bytes <= most { Ok(()) } else { Err(format!("of at most {most} bytes (payload_bytes_max)")) }
}

fn check_nodes(named: &[usize], nodes: usize) -> Result<(), String> {
    if named.iter().all(|&node| node < nodes) {
        return Ok(());
    }
    Err(format!("about nodes that exist then, n0 to n{}", nodes - 1))
}

fn check_what(what: &What, nodes: usize, scenario: &Scenario) -> Result<(), String> {
    for whom in what.befalls() {
        match whom {
            Whom::Nodes(named) => check_nodes(named, nodes)?,
            Whom::Share(_) => {}
        }
    }
    match what {
        What::Crash(_)
        | What::Kill(_)
        | What::Restart(..)
        | What::DiskFails(_)
        | What::DiskWorks(_)
        | What::Leave(_)
        | What::Write(_)
        | What::Heal => Ok(()),
        What::Pause(_, length)
        | What::Slow(_, length)
        | What::Stall(_, length)
        | What::Clock(_, length)
        | What::Churn { down: length, .. } => check_length(*length),
        What::Partition(groups) => check_groups(groups),
        What::OneWay(from, to) => {
            let is_one = matches!((from, to), (Whom::Nodes(a), Whom::Nodes(b)) if a == b && a.len() == 1);
            if is_one { Err("between nodes that differ".to_owned()) } else { Ok(()) }
        }
        What::Set(_, key, value) => {
            // Whether it fits the others of a node is seen once it is known which nodes it is.
            let changed = settings::with(&scenario.config, key, value);
            changed.map(drop).map_err(|error| format!("a setting that nodes take ({error})"))
        }
        What::Add(count, within) => {
            check_length(*within)?;
            if (1..=ADDED_MAX).contains(count) { Ok(()) } else { Err(format!("of 1 to {ADDED_MAX} nodes")) }
        }
        What::Publish(_, bytes) => check_bytes(*bytes, scenario),
    }
}

fn check_length(length: Duration) -> Result<(), String> {
    if length <= TIME_MAX { Ok(()) } else { Err(format!("of at most {}", duration::format(TIME_MAX))) }
}

fn check_groups(groups: &[Whom]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut shares = 0.0;
    for group in groups {
        match group {
            Whom::Share(share) => shares += share,
            Whom::Nodes(named) => {
                if !named.iter().all(|node| seen.insert(node)) {
                    return Err("groups that share no node".to_owned());
                }
            }
        }
    }
    if shares <= 1.0 { Ok(()) } else { Err("shares of at most 1 together".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(faults: &[&str], works: &[&str]) -> Scenario {
        Scenario {
            nodes: 50,
            duration: Duration::from_mins(1),
            fault: faults.iter().map(|text| text.parse().unwrap()).collect(),
            publish: works.iter().map(|text| text.parse().unwrap()).collect(),
            ..Scenario::default()
        }
    }

    fn count(scenario: &Scenario, is_it: impl Fn(&Act) -> bool) -> usize {
        acts(scenario).iter().filter(|planned| is_it(&planned.act)).count()
    }

    #[test]
    fn what_is_spelt_out_draws_nothing_and_stays_as_it_is() {
        let faults =
            ["churn:0.01/s@0s", "heal@50s", "partition:0.3/0.2@40s", "crash:0.5@10s", "restart:1@20s", "add:5@21s"];
        let drawn =
            scenario(&[&faults[..], &["slow:0.1:2s@30s", "oneway:0.1:n3@30s"]].concat(), &["20:10@10s", "3:1@0s"]);
        let once = spelt_out(&drawn);
        assert_eq!(once, spelt_out(&drawn));
        assert_eq!(once, spelt_out(&once));
        let other_seed = spelt_out(&Scenario { seed: 2, ..drawn.clone() });
        assert_ne!(once.fault, other_seed.fault);
        once.check().unwrap();
    }

    #[test]
    fn shares_are_of_those_that_a_fault_can_befall() {
        let drawn = spelt_out(&scenario(&["crash:0.5@10s", "crash:0.2@15s", "restart:0.5@20s"], &["100:1@17s"]));
        assert_eq!(count(&drawn, |act| matches!(act, Act::Crash(_))), 25 + 5);
        assert_eq!(count(&drawn, |act| matches!(act, Act::Restart(..))), 15);
        let Fault { what: What::Crash(first), .. } = &drawn.fault[0] else { panic!("{:?}", drawn.fault) };
        let Fault { what: What::Crash(second), .. } = &drawn.fault[1] else { panic!("{:?}", drawn.fault) };
        assert!(named(first).iter().all(|node| !named(second).contains(node)));
        let fallen = [named(first), named(second)].concat();
        assert!(
            !acts(&drawn).iter().any(|planned| matches!(planned.act, Act::Publish(node, _) if fallen.contains(&node)))
        );
    }

    #[test]
    fn a_share_befalls_at_least_one_and_groups_of_a_partition_share_nobody() {
        let drawn = spelt_out(&scenario(&["crash:0.001@10s", "partition:0.5/n1,n2/0.3@20s"], &[]));
        assert_eq!(count(&drawn, |act| matches!(act, Act::Crash(_))), 1);
        let Some(Act::Partition(groups)) = acts(&drawn).pop().map(|planned| planned.act) else {
            panic!("no partition")
        };
        let all: BTreeSet<_> = groups.iter().flatten().collect();
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), all.len());
    }

    #[test]
    fn a_churn_fells_its_share_in_each_second_and_all_come_back() {
        let drawn = spelt_out(&scenario(&["churn:0.02/s:5s@0s", "churn:0/s@50s"], &[]));
        let crashes = count(&drawn, |act| matches!(act, Act::Crash(_)));
        // A Poisson process of rate 1 per second for 50 s: four standard deviations are 28.
        assert!(crashes.abs_diff(50) < 28, "{crashes}");
        assert_eq!(crashes, count(&drawn, |act| matches!(act, Act::Restart(..))));
        assert!(drawn.fault.iter().all(|fault| fault.at < Duration::from_secs(55)));
    }

    #[test]
    fn settings_of_one_node_add_up() {
        let message = |faults: &[&str]| scenario(faults, &[]).check().map_err(|error| error.to_string());
        let (later, sooner) = ("set:n1:probe_timeout=900ms@1s", "set:n1:probe_interval=800ms@2s");
        message(&[later]).unwrap();
        message(&[sooner]).unwrap();
        assert!(message(&[later, sooner]).unwrap_err().starts_with("fault is set:n1:probe_interval=800ms@2s, must be"));
        message(&[later, "set:n2:probe_interval=800ms@2s"]).unwrap();
        message(&["set:1:probe_interval=3s@1s", "set:0.5:probe_timeout=2s@2s"]).unwrap();
        let of_some = message(&["set:0.5:probe_interval=3s@1s", "set:1:probe_timeout=2s@2s"]).unwrap_err();
        assert!(of_some.contains("probe_timeout"), "{of_some}");
    }

    #[test]
    fn a_plan_of_more_than_a_million_acts_is_refused_with_what_is_too_much() {
        let crowd = |faults: &[&str], works: &[&str]| Scenario { nodes: 10_000, ..scenario(faults, works) };
        for fault in ["oneway:0.5:0.5@5s", "churn:1/s@0s"] {
            let scenario = Scenario { duration: Duration::from_hours(720), ..crowd(&[fault], &[]) };
            let said = check(&scenario).unwrap_err().to_string();
            assert!(said.starts_with(&format!("fault is {fault}, must be less")), "{said}");
        }
        check(&crowd(&["oneway:0.05:0.05@5s", "churn:1/s@10s", "churn:0/s@20s"], &["10000:1@5s"])).unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_fault_and_the_rule() {
        let message = |fault: &str| scenario(&[fault], &[]).check().unwrap_err().to_string();
        assert_eq!(message("crash:n99@5s"), "fault is crash:n99@5s, must be about nodes that exist then, n0 to n49");
        assert_eq!(
            message("crash:n1@61s"),
            "fault is crash:n1@1m1s, must be at a time up to the end of the run (duration 1m)".replace("1m1s", "61s")
        );
        assert!(message("oneway:n1:n1@5s").contains("between nodes that differ"));
        assert!(message("set:n1:fanout=0@5s").contains("fanout is 0, must be from 1 to 64"));
        assert!(message("set:n1:fanuot=1@5s").contains("perhaps fanout"));
        assert!(message("partition:0.7/0.7@5s").contains("at most 1 together"));
        assert!(message("partition:n1,n2/n2@5s").contains("share no node"));
        assert!(message("partition:n1/n50@5s").contains("nodes that exist then"));
        for length in [
            "pause:n1:721h@5s",
            "slow:n1:721h@5s",
            "stall:n1:721h@5s",
            "clock:n1:721h@5s",
            "churn:0/s:721h@5s",
            "add:1:721h@5s",
        ] {
            assert!(message(length).contains("of at most 720h"), "{}", message(length));
        }
        assert!(message("add:1048577@5s").contains("of 1 to 1048576 nodes"));
        assert!(message("add:0@5s").contains("of 1 to 1048576 nodes"));
        assert!(message("add:1048576@5s").contains("members_max"));
        assert!(message("publish:n1:1048577@5s").contains("payload_bytes_max"));
        for count in ["0:1@5s", "10001:1@5s"] {
            let said = scenario(&[], &[count]).check().unwrap_err().to_string();
            assert!(said.contains("of 1 to 10000 messages"), "{said}");
        }
        scenario(&[], &["10000:1@5s"]).check().unwrap();
        let late = scenario(&[], &["n50:1@5s"]).check().unwrap_err().to_string();
        assert_eq!(late, "publish is n50:1@5s, must be about nodes that exist then, n0 to n49");
        scenario(&["add:1@4s"], &["n50:1@5s"]).check().unwrap();
    }
}
