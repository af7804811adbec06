//! Figures of registers on the virtual network: what an operation costs, and how many a busy register takes.
//!
//! `cargo run --release -p rumormill-lab --example registers`
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::expect_used, reason = "whoever runs it sees what failed")]

use std::time::Duration;

use rumormill_core::agreement::{Change, Outcome};
use rumormill_lab::{Network, Options};

const NODES: usize = 15;

/// Fifteen nodes of which the first five vote: 0.25 ms each way, disks of 0.1 to 1 ms.
fn network() -> Network {
    let options = Options { nodes: NODES, disk_delay: Duration::from_millis(1), ..Options::default() };
    let network = Network::new(1).options(options).latency(Duration::from_micros(250)).unchecked();
    let mut network = network.start_joined().expect("nothing fails");
    network.agree_on(&[0, 1, 2, 3, 4]).expect("nothing fails");
    network.run_for(Duration::from_secs(30)).expect("nothing fails");
    network
}

/// Datagrams that all nodes have sent.
fn datagrams(network: &Network) -> u64 {
    network.up().filter_map(|node| network.node(node)).map(|node| node.counters().datagrams_sent).sum()
}

/// What one operation of a node takes.
fn operation(network: &mut Network, node: usize) -> (Duration, u64) {
    let (start, sent) = (network.now(), datagrams(network));
    let ticket = network.set_register(node, "r", b"value");
    while network.result(ticket).is_none() {
        network.run_for(Duration::from_micros(10)).expect("nothing fails");
    }
    (network.now().saturating_sub(start), datagrams(network) - sent)
}

/// The same many times, with nothing else going on.
fn operations(network: &mut Network, what: &str, node: impl Fn(usize) -> usize) {
    let mut costs: Vec<(Duration, u64)> = (0..101)
        .map(|turn| {
            let cost = operation(network, node(turn));
            network.run_for(Duration::from_secs(2)).expect("nothing fails");
            cost
        })
        .collect();
    costs.sort_unstable();
    let (time, _) = costs[costs.len() / 2];
    costs.sort_unstable_by_key(|(_, sent)| *sent);
    println!("{what}: median {time:?}, {} datagrams", costs[costs.len() / 2].1);
}

/// Ten nodes that operate on one register as fast as they can.
fn contention(network: &mut Network) {
    let span = Duration::from_secs(10);
    let end = network.now() + span;
    let mut open = Vec::new();
    let (mut done, mut unknown, mut longest) = ([0_u32; 10], 0, [Duration::ZERO; 10]);
    let mut last = [network.now(); 10];
    for proposer in 0..10 {
        let ticket = network.set_register(5 + proposer, "busy", b"value");
        open.push((proposer, ticket));
    }
    while network.now() < end {
        network.run_for(Duration::from_micros(100)).expect("nothing fails");
        for (proposer, ticket) in &mut open {
            let Some(outcome) = network.outcome(*ticket) else { continue };
            match outcome {
                Ok(Outcome::Done { .. }) => done[*proposer] += 1,
                Ok(Outcome::Mismatch { .. } | Outcome::Unknown) | Err(_) => unknown += 1,
            }
            longest[*proposer] = longest[*proposer].max(network.now().saturating_sub(last[*proposer]));
            last[*proposer] = network.now();
            *ticket = network.operate(5 + *proposer, "busy", Change::set(b"value".as_slice().into()));
        }
    }
    let (total, least) = (done.iter().sum::<u32>(), done.iter().min().copied().unwrap_or(0));
    let starved = longest.iter().max().copied().unwrap_or_default();
    println!(
        "ten contending: {} a second in all, the least {} in {span:?}, longest wait {starved:?}, {unknown} not told as done",
        total / 10,
        least
    );
}

fn main() {
    let mut network = network();
    operations(&mut network, "one proposer, no voter", |_| 9);
    operations(&mut network, "one after the other (forwarded)", |turn| 5 + turn % 10);
    contention(&mut network);
}
