//! Prints the figures that the virtual network can show: `cargo run --release -p rumormill-lab --example figures --
//! [rounds|cold|loss|crash|growth|speed|all] [--nodes N] [--seeds N] [--seed S]`.
//!
//! Theory stands beside measurement: expected rounds are those of simulations of the bare models at 1,000 nodes (Demers
//! et al. 1987; Karp et al. 2000), with the tolerance of one round.
#![expect(clippy::print_stdout, reason = "printing is what this program does")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rumormill_core::StopRule;
use rumormill_core::config::{ConfigBuilder, Forward, Mode};
use rumormill_core::rng::Rng;
use rumormill_lab::{Failure, Link, Network};

const USAGE: &str = "usage: figures [rounds|cold|loss|crash|growth|speed|all] [--nodes N] [--seeds N] [--seed S]";

/// What to run, and how large.
#[derive(Clone, Debug)]
struct Arguments {
    what: String,
    nodes: usize,
    seeds: u64,
    first_seed: u64,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { what: "all".to_owned(), nodes: 1_000, seeds: 3, first_seed: 1 };
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().ok_or_else(|| format!("{word} needs a number; {USAGE}"))?;
                value.parse::<u64>().map_err(|_| format!("{word} is {value:?}, must be a number; {USAGE}"))
            };
            match word.as_str() {
                "--nodes" => arguments.nodes = usize::try_from(number()?).map_err(|error| error.to_string())?,
                "--seeds" => arguments.seeds = number()?,
                "--seed" => arguments.first_seed = number()?,
                "rounds" | "cold" | "loss" | "crash" | "growth" | "speed" | "all" => arguments.what = word,
                _ => return Err(format!("unknown argument {word:?}; {USAGE}")),
            }
        }
        if arguments.nodes < 10 || arguments.seeds == 0 {
            return Err(format!("at least 10 nodes and 1 seed; {USAGE}"));
        }
        Ok(arguments)
    }

    fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        self.first_seed..self.first_seed + self.seeds
    }

    fn wants(&self, what: &str) -> bool {
        self.what == what || self.what == "all"
    }
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        println!("{} nodes, {} seeds from {}", arguments.nodes, arguments.seeds, arguments.first_seed);
        run(&arguments).map_err(|failure| failure.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    type Figure = fn(&Arguments) -> Result<(), Failure>;
    let figures: [(&str, Figure); 6] = [
        ("cold", cold_start),
        ("rounds", rounds),
        ("loss", loss),
        ("crash", crash),
        ("growth", growth),
        ("speed", speed),
    ];
    for (name, figure) in figures.into_iter().filter(|(name, _)| arguments.wants(name)) {
        println!("\n{name}");
        figure(arguments)?;
    }
    Ok(())
}

fn network(seed: u64, arguments: &Arguments) -> Network {
    let line = format!("figures {} --nodes {} --seeds 1 --seed {seed}", arguments.what, arguments.nodes);
    let command = "cargo run --release -p rumormill-lab --example figures --";
    Network::new(seed).nodes(arguments.nodes).without_disks().unchecked().replay(format!("{command} {line}"))
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// All start within one second through one contact.
fn cold_start(arguments: &Arguments) -> Result<(), Failure> {
    println!("goal: every view complete within 5 s, mean sent per node 100 kB at most, by the contact 2 MB at most");
    for seed in arguments.seeds() {
        let begun = Instant::now();
        let mut net = network(seed, arguments).start_cold(0, secs(1));
        net.run_for(secs(1))?;
        net.run_until(Network::everyone_knows_everyone, secs(60))?;
        let took = net.now();
        let (mean, contact) = (mean_kilobytes(&net), kilobytes(net.measured().traffic[0].wire_bytes()));
        let inputs = net.measured().inputs;
        net.run_for(secs(30))?;
        println!(
            "seed {seed}: complete after {took:.2?}; sent {mean:.0} kB per node, {contact:.0} kB by the contact; \
             after 30 s more {:.0} kB; {} suspicions, {} false deaths; {inputs} inputs, {:.1?} real",
            mean_kilobytes(&net),
            net.measured().suspicions(),
            net.measured().false_deaths(),
            begun.elapsed(),
        );
    }
    Ok(())
}

/// Mean rounds to all at 1,000 nodes, by mode, at 0, 10 and 30 % loss, from simulations of the bare models.
const EXPECTED: [(Mode, [Option<f64>; 3]); 3] = [
    (Mode::Push, [Some(18.03), Some(19.70), None]),
    (Mode::Pull, [Some(13.76), Some(15.80), Some(20.79)]),
    (Mode::PushPull, [Some(9.15), Some(10.19), None]),
];

/// Messages whose rounds are counted in each network and at each loss.
const MESSAGES: usize = 34;

/// Fanout 1, everybody keeps going, forwarding at rounds only; then the default settings.
fn rounds(arguments: &Arguments) -> Result<(), Failure> {
    println!("goal: mean rounds within 1.0 of the models; by default all within 2 s in 99 of 100");
    for (mode, expected) in EXPECTED {
        let mut taken = [const { Vec::new() }; LOSSES.len()];
        for seed in arguments.seeds() {
            let mut net = in_step(network(seed, arguments), mode)?;
            for (loss, taken) in LOSSES.into_iter().zip(&mut taken) {
                net.set_link(Link { loss, ..net.link() });
                for _ in 0..MESSAGES {
                    taken.push(rounds_to_all(&mut net)?);
                }
            }
        }
        for ((loss, taken), expected) in LOSSES.into_iter().zip(&taken).zip(expected) {
            let expected = expected.map_or_else(|| "-".to_owned(), |rounds| format!("{rounds:.2}"));
            println!("{mode:?}, loss {loss}: {} rounds; models at 1,000 nodes: {expected}", Summary::of(taken));
        }
    }
    for loss in [0.0, 0.1] {
        let mut took = Vec::new();
        for seed in arguments.seeds() {
            let mut net = network(seed, arguments).start_joined()?;
            net.run_for(secs(15))?;
            net.set_link(Link { loss, ..net.link() });
            let published = net.now();
            took.push(publish_to_all(&mut net, 1)?.saturating_sub(published).as_secs_f64());
        }
        let late = took.iter().filter(|&&secs| secs > 2.0).count();
        println!("default settings, loss {loss}: {} s; {late} of {} later than 2 s", Summary::of(&took), took.len());
    }
    Ok(())
}

/// Loss for which the models' rounds are known.
const LOSSES: [f64; 3] = [0.0, 0.1, 0.3];
/// Long against a round trip, short against repair.
const ROUND: Duration = Duration::from_millis(20);

/// A joined cluster under the models' rules: one peer a round, no stopping, no shortcuts, next to nothing else on the
/// wire. All start in one instant, so that rounds are in step.
fn in_step(net: Network, mode: Mode) -> Result<Network, Failure> {
    let config = ConfigBuilder {
        mode,
        fanout: 1,
        stop: StopRule::Never,
        forward: Forward::AtRounds,
        gossip_interval: ROUND,
        gossip_interval_max: ROUND,
        repair_interval: secs(20),
        probe_interval: secs(600),
        ..ConfigBuilder::lan()
    };
    net.config(config).latency(Duration::from_micros(50)).jitter(Duration::ZERO).start_joined_within(Duration::ZERO)
}

fn rounds_to_all(net: &mut Network) -> Result<f64, Failure> {
    let round = |at: Duration| (at.as_secs_f64() / ROUND.as_secs_f64()).floor();
    let published = net.now();
    Ok(round(publish_to_all(net, net.len() / 2)?) - round(published))
}

/// Publishes a message; returns when the last node got it.
fn publish_to_all(net: &mut Network, origin: usize) -> Result<Duration, Failure> {
    let news = net.publish(origin, "news", b"rumor has it".to_vec());
    net.run_until(|net| net.reached_all(news), secs(60))?;
    let key = net.published(news).expect("it reached all");
    Ok(net.measured().messages[key].arrivals.last().expect("it reached all").at)
}

/// A minute of 10 % loss beside a quiet minute.
fn loss(arguments: &Arguments) -> Result<(), Failure> {
    println!("goal: nobody declared dead, traffic at most 5 times the quiet figure");
    for seed in arguments.seeds() {
        let mut net = network(seed, arguments).start_joined()?;
        net.run_for(secs(60))?;
        net.reset_measurements();
        net.run_for(secs(60))?;
        let quiet = net.measured().total().wire_bytes();
        let quiet_suspicions = net.measured().suspicions();
        net.reset_measurements();
        net.set_link(Link { loss: 0.1, ..net.link() });
        net.run_for(secs(60))?;
        let lossy = net.measured().total().wire_bytes();
        println!(
            "seed {seed}: {} false deaths, {} suspicions seen (quiet: {quiet_suspicions}); {:.0} B/s per node quiet, \
             {:.0} B/s with loss, {:.1} times",
            net.measured().false_deaths(),
            net.measured().suspicions(),
            per_second(quiet, &net),
            per_second(lossy, &net),
            ratio(lossy, quiet),
        );
    }
    Ok(())
}

/// Half, then nine tenths, of all machines lose power at once.
fn crash(arguments: &Arguments) -> Result<(), Failure> {
    println!("goal: no survivor declared dead, views agree within 30 s (60 s at 90 %), a message then reaches all");
    for seed in arguments.seeds() {
        for tenths in [5, 9] {
            let mut net = network(seed, arguments).start_joined()?;
            net.run_for(secs(30))?;
            net.reset_measurements();
            let mut nodes: Vec<_> = (0..net.len()).collect();
            Rng::new(seed).shuffle(&mut nodes);
            for &node in &nodes[..net.len() * tenths / 10] {
                net.crash(node);
            }
            let agreed = net.run_until(Network::everyone_agrees, secs(300))?;
            let survivor = nodes[net.len() - 1];
            let published = net.now();
            let reached = publish_to_all(&mut net, survivor)?.saturating_sub(published);
            println!(
                "seed {seed}, {tenths}0 %: views agree after {agreed:.2?}; {} false deaths; a message then took {reached:.2?}; \
                 {:.0} kB sent per node",
                net.measured().false_deaths(),
                mean_kilobytes(&net),
            );
        }
    }
    Ok(())
}

/// From 10 nodes to all and back to 10, with no setting changed.
fn growth(arguments: &Arguments) -> Result<(), Failure> {
    println!("goal: works with no setting changed");
    for seed in arguments.seeds() {
        let mut net = network(seed, arguments).nodes(10).start_joined()?;
        net.add(arguments.nodes - 10, 3, secs(10));
        net.run_for(secs(10))?;
        let grown = net.run_until(Network::everyone_knows_everyone, secs(60))?;
        net.run_for(secs(10))?;
        for node in 10..net.len() {
            net.leave(node);
            net.run_for(Duration::from_millis(10))?;
        }
        let shrunk = net.run_until(Network::everyone_agrees, secs(120))?;
        println!(
            "seed {seed}: complete {grown:.2?} after the last start; {} left agree {shrunk:.2?} after the last departure; \
             {} false deaths",
            net.up().count(),
            net.measured().false_deaths(),
        );
    }
    Ok(())
}

/// How fast the laboratory itself is.
fn speed(arguments: &Arguments) -> Result<(), Failure> {
    let mut net = network(arguments.first_seed, arguments).start_joined()?;
    net.run_for(secs(10))?;
    net.reset_measurements();
    let begun = Instant::now();
    for origin in 0..20 {
        net.publish(origin, "news", vec![1; 100]);
        net.run_for(secs(3))?;
    }
    let (inputs, elapsed) = (net.measured().inputs, begun.elapsed());
    println!(
        "{inputs} inputs in 60 virtual seconds with 20 messages: {elapsed:.2?} real, {:.0} inputs per second",
        count(inputs) / elapsed.as_secs_f64()
    );
    Ok(())
}

/// A few numbers that stand for many.
#[derive(Clone, Copy, Debug)]
struct Summary {
    mean: f64,
    deviation: f64,
    least: f64,
    most: f64,
}

impl Summary {
    fn of(values: &[f64]) -> Self {
        let count = count(values.len() as u64);
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { mean, deviation: (squares / (count - 1.0).max(1.0)).sqrt(), least, most }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mean, deviation, least, most } = self;
        write!(f, "mean {mean:.2}, deviation {deviation:.2}, {least:.2} to {most:.2}")
    }
}

fn mean_kilobytes(net: &Network) -> f64 {
    kilobytes(net.measured().total().wire_bytes()) / count(net.len() as u64)
}

/// Bytes in the minute measured, per node and second.
fn per_second(bytes: u64, net: &Network) -> f64 {
    count(bytes) / 60.0 / count(net.len() as u64)
}

fn ratio(a: u64, b: u64) -> f64 {
    count(a) / count(b.max(1))
}

fn kilobytes(bytes: u64) -> f64 {
    count(bytes) / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}
