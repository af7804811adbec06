//! Registers under everything at once: what befalls the network is drawn from a seed, nodes operate all the time, voters
//! change; then what each was told, and when, must be explained by one register that changes at one moment in each
//! operation's time. That is judged by a tester that we did not write (stateright's).
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod registers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use registers::{Op, Register, Ret};
use rumormill_core::Refusal;
use rumormill_core::agreement::{Change, Expected, Outcome, Value};
use rumormill_core::config::{ConfigBuilder, Mode};
use rumormill_core::io::Ticket;
use rumormill_core::rng::Rng;
use rumormill_lab::{Act, DiskFate, Failure, Link, Network, Options, Planned, seeds};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// How long drawn faults begin.
const CHAOS: Duration = secs(20);
/// How long the last of them may go on.
const LAST: Duration = secs(8);
/// Operations on one register, beyond which the tester takes long.
const OPERATIONS_MAX: usize = 100;
const REGISTERS: [&str; 3] = ["r", "s", "t"];

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())].clone()
}

/// A network and its troubles, drawn; each kind of trouble is left out of many runs, so that none hides another.
fn drawn(seed: u64) -> Options {
    let rng = &mut Rng::new(seed);
    let nodes = 4 + rng.below(4);
    let link = Link {
        latency: Duration::from_micros(pick(rng, &[50, 500, 5_000, 40_000])),
        jitter: Duration::from_micros(pick(rng, &[0, 100, 2_000, 20_000])),
        loss: pick(rng, &[0.0, 0.0, 0.01, 0.1, 0.25]),
        duplication: pick(rng, &[0.0, 0.01, 0.2]),
        reordering: pick(rng, &[0.0, 0.05, 0.3]),
        ..Link::default()
    };
    let mode = pick(rng, &[Mode::PushPull, Mode::PushPull, Mode::Push, Mode::Pull]);
    Options {
        nodes,
        link,
        clock_skew: pick(rng, &[ms(0), ms(10), secs(1), secs(10)]),
        clock_drift_ppm: pick(rng, &[0, 50, 500]),
        disk_delay: pick(rng, &[ms(1), ms(10), ms(200)]),
        config: ConfigBuilder { mode, ..ConfigBuilder::lan() },
        plan: troubles(nodes, rng),
        ..Options::default()
    }
}

fn troubles(nodes: usize, rng: &mut Rng) -> Vec<Planned> {
    const SHARES: [f64; 5] = [0.6, 0.4, 0.5, 0.3, 0.3];
    let kinds: Vec<usize> = (0..SHARES.len()).filter(|&kind| rng.chance(SHARES[kind])).collect();
    let mut plan = Vec::new();
    let mut at = secs(0);
    while at < CHAOS && !kinds.is_empty() {
        let node = rng.below(nodes);
        let length = pick(rng, &[ms(50), ms(800), secs(3), LAST]);
        let end = at + length;
        let both = |first: Act, last: Act| [Planned { at, act: first }, Planned { at: end, act: last }];
        plan.extend(match pick(rng, &kinds) {
            0 => both(pick(rng, &[Act::Crash(node), Act::Kill(node)]), Act::Restart(node, DiskFate::Kept)),
            1 => both(Act::Pause(node, length), Act::Heal),
            2 => both(Act::Partition(vec![(0..nodes).filter(|_| rng.chance(0.4)).collect()]), Act::Heal),
            3 => both(Act::OneWay(node, (node + 1 + rng.below(nodes - 1)) % nodes), Act::Heal),
            _ => both(Act::DiskFails(node), Act::DiskWorks(node)),
        });
        at += ms(rng.below(5_000) as u64);
    }
    plan
}

/// What happened to one register, in the order in which it did.
#[derive(Debug, Default)]
struct History {
    begun: usize,
    events: Vec<(Ticket, Event)>,
}

#[derive(Clone, Debug)]
enum Event {
    Begun(Op),
    Ended(Ret),
    /// It was not done, and never will be.
    Nothing,
}

impl History {
    /// What is plainly wrong: two operations that made one version, two values of one version, a version lower than one that
    /// was told before the operation began.
    fn plain_breach(&self) -> Option<String> {
        let mut held: BTreeMap<u64, &Option<Vec<u8>>> = BTreeMap::new();
        let mut makers: BTreeMap<u64, Ticket> = BTreeMap::new();
        let (mut highest, mut floors) = (0, BTreeMap::new());
        let mut ops = BTreeMap::new();
        for (ticket, event) in &self.events {
            match event {
                Event::Begun(op) => {
                    floors.insert(*ticket, highest);
                    ops.insert(*ticket, op);
                }
                Event::Ended(ret) => {
                    let makes = ret.done && *ops[ticket] != Op::Read;
                    if makes && let Some(other) = makers.insert(ret.version, *ticket) {
                        return Some(format!("{ticket:?} and {other:?} made version {}", ret.version));
                    }
                    let other = held.insert(ret.version, &ret.value);
                    if other.is_some_and(|other| *other != ret.value) {
                        return Some(format!("{ticket:?} saw another value in version {}", ret.version));
                    }
                    if ret.version < floors[ticket] + u64::from(makes) {
                        return Some(format!("{ticket:?} at version {}, after {}", ret.version, floors[ticket]));
                    }
                    highest = highest.max(ret.version);
                }
                Event::Nothing => {}
            }
        }
        None
    }

    fn told(&self) -> impl Iterator<Item = (Ticket, &Ret)> {
        self.events.iter().filter_map(|(ticket, event)| match event {
            Event::Ended(ret) => Some((*ticket, ret)),
            Event::Begun(_) | Event::Nothing => None,
        })
    }

    fn begun(&self) -> impl Iterator<Item = (Ticket, &Op)> {
        self.events.iter().filter_map(|(ticket, event)| match event {
            Event::Begun(op) => Some((*ticket, op)),
            Event::Ended(_) | Event::Nothing => None,
        })
    }

    /// Whether one register explains all that was told. Of operations in doubt those are taken for done that may have made a
    /// version which others saw, and nobody was told to have made: one for each such version, in all ways until one explains
    /// it. The tester itself would try them in all orders and at all places.
    fn is_explained(&self) -> bool {
        let ops: BTreeMap<Ticket, &Op> = self.begun().collect();
        let ended: BTreeSet<Ticket> = self
            .events
            .iter()
            .filter(|(_, event)| !matches!(event, Event::Begun(_)))
            .map(|(ticket, _)| *ticket)
            .collect();
        let made: BTreeSet<u64> = self
            .told()
            .filter(|(ticket, ret)| ret.done && *ops[ticket] != Op::Read)
            .map(|(_, ret)| ret.version)
            .collect();
        let highest = self.told().map(|(_, ret)| ret.version).max().unwrap_or(0);
        let lacking: Vec<u64> = (1..=highest).filter(|version| !made.contains(version)).collect();
        let doubtful: Vec<(Ticket, &Op)> = self.begun().filter(|(ticket, _)| !ended.contains(ticket)).collect();
        let mut values: BTreeMap<u64, Option<Vec<u8>>> =
            self.told().map(|(_, ret)| (ret.version, ret.value.clone())).collect();
        values.insert(0, None);
        // Whoever changed it on condition tells what was there before.
        for (ticket, ret) in self.told() {
            if let (true, Op::Cas(expected, _)) = (ret.done, ops[&ticket]) {
                values.insert(ret.version - 1, expected.clone());
            }
        }
        self.is_explained_with(&lacking, &doubtful, &mut values, &mut BTreeMap::new())
    }

    fn is_explained_with(
        &self,
        lacking: &[u64],
        doubtful: &[(Ticket, &Op)],
        values: &mut BTreeMap<u64, Option<Vec<u8>>>,
        taken: &mut BTreeMap<Ticket, Ret>,
    ) -> bool {
        let Some((version, rest)) = lacking.split_first() else {
            return self.tester(taken).serialized_history().is_some();
        };
        for (ticket, op) in doubtful {
            let (expected, value) = match op {
                Op::Read => continue,
                Op::Set(value) => (None, value),
                Op::Cas(expected, value) => (Some(expected), value),
            };
            let told = values.get(version).cloned();
            let is_met = expected.is_none_or(|expected| values.get(&(version - 1)) == Some(expected));
            if taken.contains_key(ticket)
                || !is_met
                || !self.is_early_enough(*ticket, *version)
                || told.as_ref().is_some_and(|told| told != value)
            {
                continue;
            }
            values.insert(*version, value.clone());
            taken.insert(*ticket, Ret { done: true, version: *version, value: value.clone() });
            if self.is_explained_with(rest, doubtful, values, taken) {
                return true;
            }
            taken.remove(ticket);
            match told {
                Some(told) => values.insert(*version, Some(told).flatten()),
                None => values.remove(version),
            };
        }
        false
    }

    /// Whether an operation began before anybody was told of that version or a later one.
    fn is_early_enough(&self, ticket: Ticket, version: u64) -> bool {
        let tells = |event: &Event| matches!(event, Event::Ended(ret) if ret.version >= version);
        let told_first = self.events.iter().position(|(_, event)| tells(event));
        let begun = self.events.iter().position(|(begun, _)| *begun == ticket);
        told_first.is_none_or(|told| begun.is_some_and(|begun| begun < told))
    }

    /// As the tester takes it. Those in doubt that are taken for done end with the run. Each operation has a client of its own,
    /// numbered by the version that it was told: the tester tries clients in this order, so that it finds the order that there
    /// is without trying all others, of which there are too many.
    fn tester(&self, taken: &BTreeMap<Ticket, Ret>) -> LinearizabilityTester<usize, Register> {
        let changes: BTreeSet<Ticket> =
            self.begun().filter(|(_, op)| **op != Op::Read).map(|(ticket, _)| ticket).collect();
        let told = self.told().chain(taken.iter().map(|(ticket, ret)| (*ticket, ret)));
        let mut order: Vec<(u64, bool, Ticket)> =
            told.map(|(ticket, ret)| (ret.version, !(ret.done && changes.contains(&ticket)), ticket)).collect();
        order.sort_unstable();
        let clients: BTreeMap<Ticket, usize> =
            order.into_iter().enumerate().map(|(client, (.., ticket))| (ticket, client)).collect();
        let mut tester = LinearizabilityTester::new(Register::default());
        for (ticket, event) in &self.events {
            let Some(client) = clients.get(ticket).copied() else { continue };
            match event {
                Event::Begun(op) => {
                    tester.on_invoke(client, op.clone()).unwrap();
                }
                Event::Ended(ret) => {
                    tester.on_return(client, ret.clone()).unwrap();
                }
                Event::Nothing => {}
            }
        }
        for (ticket, ret) in taken {
            tester.on_return(clients[ticket], ret.clone()).unwrap();
        }
        tester
    }
}

/// Everything that is done to the registers of a run.
#[derive(Debug, Default)]
struct Work {
    histories: BTreeMap<&'static str, History>,
    open: BTreeMap<Ticket, &'static str>,
    /// What each node does: one thing at a time, in one of its lives.
    busy: BTreeMap<usize, (Ticket, u64)>,
    serial: u64,
    /// Whether those who vote stay the same: votes of those who vote no longer are not forgotten.
    keeps_voters: bool,
    changes: Vec<Ticket>,
}

impl Work {
    /// Something is done to a register: what, where and for how long is drawn.
    fn operate(&mut self, net: &mut Network, rng: &mut Rng, node: usize) {
        let is_busy = |(ticket, life): &(Ticket, u64)| self.open.contains_key(ticket) && net.life(node) == *life;
        if self.busy.get(&node).is_some_and(is_busy) {
            return;
        }
        let register = pick(rng, &REGISTERS);
        let history = self.histories.entry(register).or_default();
        if history.begun >= OPERATIONS_MAX {
            return;
        }
        history.begun += 1;
        self.serial += 1;
        let value = Some(format!("v{}", self.serial).into_bytes());
        let seen = net.stale_register(node, register).and_then(|(_, value)| value).map(|value| value.to_vec());
        let op = match rng.below(10) {
            0..4 => Op::Cas(seen, value),
            4..6 => Op::Set(value),
            6 if self.serial.is_multiple_of(5) => Op::Set(None),
            _ => Op::Read,
        };
        let timeout = pick(rng, &[ms(300), secs(2), secs(10)]);
        let ticket = net.operate_within(node, register, change(&op), timeout);
        history.events.push((ticket, Event::Begun(op)));
        self.open.insert(ticket, register);
        self.busy.insert(node, (ticket, net.life(node)));
        self.look(net);
    }

    /// Notes what ended since it looked last.
    fn look(&mut self, net: &Network) {
        let ended: Vec<(Ticket, Option<Event>)> =
            self.open.keys().filter_map(|ticket| Some((*ticket, event(net.outcome(*ticket)?)))).collect();
        for (ticket, event) in ended {
            if let Some((register, event)) = self.open.remove(&ticket).zip(event) {
                self.histories.entry(register).or_default().events.push((ticket, event));
            }
        }
    }

    /// Other voters, now and then.
    fn change_voters(&mut self, net: &mut Network, rng: &mut Rng, node: usize) {
        let mut nodes: Vec<usize> = (0..net.len()).collect();
        rng.shuffle(&mut nodes);
        nodes.truncate(pick(rng, &[1, 3, 3, 4, 5]).min(net.len()));
        self.changes.push(net.change_voters(node, &nodes, secs(10)));
    }
}

fn event(outcome: Result<&Outcome, &Refusal>) -> Option<Event> {
    match outcome {
        Ok(outcome) => Ret::of(outcome).map(Event::Ended),
        Err(Refusal::NoQuorum { unknown: true, .. }) => None,
        Err(_) => Some(Event::Nothing),
    }
}

fn change(op: &Op) -> Change {
    let bytes = |value: &Option<Vec<u8>>| value.as_ref().map(|value| Value::from(value.as_slice()));
    match op {
        Op::Read => Change::Read,
        Op::Set(value) => Change::Swap { expected: Expected::Anything, value: bytes(value) },
        Op::Cas(expected, value) => {
            let expected = bytes(expected).map_or(Expected::Absent, Expected::Value);
            Change::Swap { expected, value: bytes(value) }
        }
    }
}

/// Lets all this befall a network whose nodes operate all the time.
fn live(net: &mut Network, work: &mut Work, rng: &mut Rng) -> Result<(), Failure> {
    let pause = pick(rng, &[20, 80, 300]);
    let changes = rng.chance(0.5) && !work.keeps_voters;
    let until = net.now() + CHAOS + LAST;
    while net.now() < until {
        net.run_for(ms(rng.below(2 * pause) as u64))?;
        work.look(net);
        let ready: Vec<usize> = net.up().filter(|&node| net.takes_commands(node)).collect();
        if ready.is_empty() {
            continue;
        }
        let node = pick(rng, &ready);
        work.operate(net, rng, node);
        if changes && rng.chance(0.01) {
            work.change_voters(net, rng, node);
        }
    }
    Ok(())
}

fn survive(seed: u64, options: Options) -> Result<(u64, usize), Failure> {
    let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
    let mut net = Network::new(seed).options(options).replay(replay).start_joined()?;
    let told = first_life(&mut net, Work::default(), seed)?;
    Ok((net.trace_hash(), told))
}

/// What befalls the registers of a network that has just begun; how much was told of them.
fn first_life(net: &mut Network, mut work: Work, seed: u64) -> Result<usize, Failure> {
    let rng = &mut Rng::new(!seed);
    let voters: Vec<usize> = (0..pick(rng, &[3, 3, 4, 5]).min(net.len())).collect();
    net.found(0, &voters);
    live(net, &mut work, rng)?;
    net.make_peace();
    for node in 0..net.len() {
        // Also those that stopped because their disks failed as they started.
        net.restart(node, DiskFate::Kept);
    }
    net.run_for(secs(1))?;
    // The one that was told of the voters may have crashed before it told anybody.
    net.found(0, &voters);
    net.run_until(Network::everyone_knows_the_voters, secs(120))?;
    work.look(net);
    work.end(net, rng)
}

impl Work {
    /// Each register can be read, and what was told of it since the beginning is explained; how much that was.
    fn end(&mut self, net: &mut Network, rng: &mut Rng) -> Result<usize, Failure> {
        // Nothing is in doubt that is asked now.
        for register in REGISTERS {
            let node = rng.below(net.len());
            let ticket = net.read_register(node, register);
            self.histories.entry(register).or_default().events.push((ticket, Event::Begun(Op::Read)));
            self.open.insert(ticket, register);
            net.run_until(|net| net.result(ticket).is_some(), secs(20))?;
            assert!(matches!(net.outcome(ticket), Some(Ok(_))), "{:?}, {}", net.outcome(ticket), net.replay_line());
            self.look(net);
        }
        let mut told = 0;
        for (register, history) in &self.histories {
            told += history.events.iter().filter(|(_, event)| matches!(event, Event::Ended(_))).count();
            let breach = history.plain_breach();
            assert_eq!(breach, None, "{register}: {:#?}\nreplay: {}", history.events, net.replay_line());
            assert!(history.is_explained(), "{register}: {:#?}\nreplay: {}", history.events, net.replay_line());
        }
        Ok(told)
    }
}

#[test]
fn a_run_of_registers_repeats_exactly() {
    for seed in seeds::chosen(&[3]) {
        assert_eq!(survive(seed, drawn(seed)).unwrap(), survive(seed, drawn(seed)).unwrap());
    }
}

#[test]
fn what_registers_tell_is_linearizable_whatever_these_seeds_draw() {
    for seed in seeds::chosen(&(1..=30).collect::<Vec<_>>()) {
        survive(seed, drawn(seed)).unwrap();
    }
}

#[test]
fn so_it_is_where_the_way_is_long_and_whoever_goes_is_soon_back() {
    for seed in seeds::chosen(&(1..=12).collect::<Vec<_>>()) {
        let (mut options, rng) = (drawn(seed), &mut Rng::new(seed));
        options.link.latency = pick(rng, &[ms(100), ms(200)]);
        options.link.jitter = pick(rng, &[ms(0), ms(20), ms(100)]);
        options.plan.clear();
        let mut at = secs(0);
        while at < CHAOS {
            // Others still take them for alive, and may have forwarded something to them.
            let (node, length) = (rng.below(options.nodes), pick(rng, &[ms(50), ms(800), secs(3)]));
            let first = pick(rng, &[Act::Crash(node), Act::Kill(node)]);
            options.plan.push(Planned { at, act: first });
            options.plan.push(Planned { at: at + length, act: Act::Restart(node, DiskFate::Kept) });
            at += length + ms(rng.below(3_000) as u64);
        }
        survive(seed, options).unwrap();
    }
}

/// Deletes all registers until nobody knows of them: one that a voter did not hear of stays until it is used again.
fn forget(net: &mut Network, ttl: Duration) -> Result<(), Failure> {
    let is_gone = |net: &Network, node| net.node(node).is_some_and(|node| node.agreement().registers == 0);
    // Proposals that went by gossip are there for five minutes.
    let wait = ttl * 2 + Duration::from_mins(5);
    for _ in 0..20 {
        for register in REGISTERS {
            if net.stale_register(0, register).is_none() {
                continue;
            }
            let ticket = net.delete_register(0, register);
            net.run_until(|net| net.result(ticket).is_some(), secs(20))?;
            assert!(matches!(net.outcome(ticket), Some(Ok(Outcome::Done { .. }))), "{}", net.replay_line());
        }
        net.run_for(wait)?;
        if net.up().all(|node| is_gone(net, node)) {
            return Ok(());
        }
    }
    panic!("not forgotten, {}", net.replay_line());
}

#[test]
fn so_it_is_of_registers_that_were_forgotten_and_are_used_again() {
    for seed in seeds::chosen(&(1..=12).collect::<Vec<_>>()) {
        let mut options = drawn(seed);
        let ttl = secs(100);
        options.config.tombstone_ttl = ttl;
        let replay = seeds::replay_line(env!("CARGO_CRATE_NAME"), seed);
        let mut net = Network::new(seed).options(options).replay(replay).start_joined().unwrap();
        first_life(&mut net, Work { keeps_voters: true, ..Work::default() }, seed).unwrap();
        for life in 1..3 {
            forget(&mut net, ttl).unwrap();
            let (mut work, rng) = (Work { keeps_voters: true, ..Work::default() }, &mut Rng::new(seed + life));
            live(&mut net, &mut work, rng).unwrap();
            net.run_until(Network::everyone_knows_the_voters, secs(120)).unwrap();
            work.end(&mut net, rng).unwrap();
            let made = work.histories.values().flat_map(History::told).filter(|(_, ret)| ret.version == 1).count();
            assert!(made > 0, "they count from the beginning, {}", net.replay_line());
        }
    }
}
