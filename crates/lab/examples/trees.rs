//! What payload trees cost beside a flood of the same overlay (Plumtree, SRDS 2007, §4): `cargo run --release -p rumormill-lab
//! --example trees -- [NODES] [SEED]`. Messages of 100 bytes, one after the other; redundancy is payloads received for each node but the
//! origin, less one, and last hop the most nodes that a message went through.
#![expect(clippy::print_stdout, reason = "printing is what this program does")]

use std::process::ExitCode;
use std::time::Duration;

use rumormill_core::config::{ConfigBuilder, TreeUse, View};
use rumormill_lab::{Failure, Network, Summary};

/// How many senders take turns, and how many messages each sends.
const SENDERS: usize = 100;
const ROUNDS: usize = 4;
/// Messages of the one sender.
const MESSAGES: usize = 10;

#[derive(Clone, Copy, Debug)]
struct Cost {
    redundancy: f64,
    last_hop: f64,
    reached_all: bool,
}

/// Nodes that have found each other at `lan` settings, as `rumor lab overlay` lets them.
fn overlay(nodes: usize, seed: u64, tree: TreeUse) -> Result<Network, Box<Failure>> {
    let config = ConfigBuilder { view: View::Partial, tree, ..ConfigBuilder::lan() };
    let net = Network::new(seed).nodes(nodes).config(config).without_disks().unchecked();
    let mut net = net.start_cold(0, Duration::from_secs(20));
    let shuffle = net.settings().shuffle_interval;
    net.run_for(Duration::from_secs(20) + shuffle * 20)?;
    Ok(net)
}

#[expect(clippy::cast_precision_loss, reason = "payloads are counted")]
fn publish(net: &mut Network, from: usize) -> Result<Cost, Box<Failure>> {
    let received = |net: &Network| -> u64 {
        net.up().filter_map(|node| net.node(node)).map(|node| node.counters().payloads_received).sum()
    };
    let before = received(net);
    let news = net.publish(from, "news", vec![1; 100]);
    net.run_for(Duration::from_secs(2))?;
    let key = net.published(news).expect("what is published is acknowledged");
    let last_hop = net.measured().messages[key].arrivals.iter().map(|arrival| arrival.hops).max().unwrap_or(0);
    let redundancy = (received(net) - before) as f64 / (net.len() - 1) as f64 - 1.0;
    Ok(Cost { redundancy, last_hop: f64::from(last_hop), reached_all: net.reached_all(news) })
}

fn show(what: &str, costs: &[Cost]) {
    let summary =
        |of: fn(&Cost) -> f64| Summary::of(&costs.iter().map(of).collect::<Vec<_>>()).expect("some were sent");
    let (redundancy, last_hop) = (summary(|cost| cost.redundancy), summary(|cost| cost.last_hop));
    let all = costs.iter().filter(|cost| cost.reached_all).count();
    println!(
        "| {what} | {:.4} | {:.4} | {:.1} | {:.0} | {all} of {} |",
        redundancy.mean,
        redundancy.max,
        last_hop.mean,
        last_hop.max,
        costs.len()
    );
}

fn run(nodes: usize, seed: u64) -> Result<(), Box<Failure>> {
    let sender = |nth: usize| (nth * 617 + 11) % nodes;
    println!("{nodes} nodes, seed {seed}\n");
    println!("| messages | redundancy, mean | most | last hop, mean | most | reached all |\n|---|---|---|---|---|---|");
    let mut flooded = overlay(nodes, seed, TreeUse::Never)?;
    let one: Result<Vec<Cost>, _> = (0..MESSAGES).map(|_| publish(&mut flooded, sender(0))).collect();
    show("flood, one sender", &one?);
    let many: Result<Vec<Cost>, _> = (0..SENDERS).map(|nth| publish(&mut flooded, sender(nth))).collect();
    show("flood, a hundred senders", &many?);
    drop(flooded);

    let mut grown = overlay(nodes, seed, TreeUse::Always)?;
    let one = (0..MESSAGES).map(|_| publish(&mut grown, sender(0))).collect::<Result<Vec<Cost>, _>>()?;
    for (nth, cost) in (1..).zip(&one) {
        show(&format!("tree, one sender, message {nth}"), std::slice::from_ref(cost));
    }
    show("tree, one sender, from the fifth on", &one[4..]);
    drop(grown);

    let mut grown = overlay(nodes, seed, TreeUse::Always)?;
    for round in 1..=ROUNDS {
        let costs = (0..SENDERS).map(|nth| publish(&mut grown, sender(nth))).collect::<Result<Vec<Cost>, _>>()?;
        show(&format!("tree, a hundred senders, message {round} of each"), &costs);
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Ok(nodes), Ok(seed)) = (numbers.next().unwrap_or(Ok(10_000)), numbers.next().unwrap_or(Ok(1))) else {
        println!("usage: trees [NODES] [SEED]");
        return ExitCode::FAILURE;
    };
    match run(usize::try_from(nodes).unwrap_or(usize::MAX), seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
