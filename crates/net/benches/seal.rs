//! What sealing costs: a probe-sized datagram sealed, opened, and opened and handled by a node.
//!
//! `cargo bench -p rumormill --bench seal`. One thread; of several runs the fastest, as a rate and as a ratio to the same without
//! a seal.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rumormill::bench::Sealing;
use rumormill_core::{Config, Identity, Input, Node, NodeId, Now, Wall};

/// Datagrams of one measurement.
const COUNT: usize = 50_000;
/// Measurements, of which the fastest counts: what else the machine does only adds.
const RUNS: usize = 9;
/// Ping frame: kind, number 2, root 8.
const PING: [u8; 11] = [1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn main() {
    let mut sealing = Sealing::pair();
    let ping = sealing.datagram(&PING);
    let full = sealing.datagram(&[0x7f; 1_100]);

    report("probe-sized: sealed", per_second(|| black_box(sealing.seal(&ping)).len()));
    report("1,131 bytes: sealed", per_second(|| black_box(sealing.seal(&full)).len()));
    for (name, datagram) in [("probe-sized", &ping), ("1,131 bytes", &full)] {
        let rate = best(|| {
            let sealed: Vec<Vec<u8>> = (0..COUNT).map(|_| sealing.seal_in_touch(datagram)).collect();
            timed(|| sealed.iter().map(|sealed| sealing.open(sealed).map_or(0, <[u8]>::len)).sum())
        });
        report(&format!("{name}: opened"), rate);
    }
    report("garbage: refused", {
        let garbage = sealing.garbage();
        best(|| timed(|| (0..COUNT).map(|_| usize::from(sealing.open(&garbage).is_none())).sum()))
    });

    let mut node = node(&sealing);
    let plain = best(|| timed(|| (0..COUNT).map(|_| handle(&mut node, &ping)).sum()));
    let sealed = best(|| {
        let sealed: Vec<Vec<u8>> = (0..COUNT).map(|_| sealing.seal_in_touch(&ping)).collect();
        timed(|| {
            sealed
                .iter()
                .map(|sealed| {
                    let opened = sealing.open(sealed).expect("it is authentic");
                    handle(&mut node, opened)
                })
                .sum()
        })
    });
    let answered = best(|| {
        let sealed: Vec<Vec<u8>> = (0..COUNT).map(|_| sealing.seal_in_touch(&ping)).collect();
        timed(|| {
            let mut bytes = 0;
            for sealed in &sealed {
                let opened = sealing.open(sealed).expect("it is authentic");
                let ack = answer(&mut node, opened);
                bytes += sealing.seal_back(&ack).len();
            }
            bytes
        })
    });
    report("ping handled, unsealed", plain);
    report("ping opened and handled", sealed);
    report("ping opened, handled, and its ack sealed", answered);
    println!("handled: sealed takes {:.2} times as long as unsealed", plain / sealed);
}

/// A node that is alone, and answers whoever pings it.
fn node(sealing: &Sealing) -> Node {
    let identity = Identity {
        secret: Some(sealing.secret()),
        ..Identity::new(sealing.receiver(), "node", ([127, 0, 0, 1], 4747), 1)
    };
    let mut node = Node::new(identity, Config::default(), 1, now());
    while node.poll_output().is_some() {}
    assert_eq!(node.cluster_hash(), sealing.cluster(), "datagrams are of this cluster");
    assert_ne!(node.id(), NodeId::NONE);
    node
}

fn now() -> Now {
    Now { wall: Wall::from_micros(1_800_000_000_000_000), ..Now::default() }
}

fn handle(node: &mut Node, datagram: &[u8]) -> usize {
    answer(node, datagram).len()
}

/// What a node answers.
fn answer(node: &mut Node, datagram: &[u8]) -> Vec<u8> {
    node.handle_input(now(), Input::Datagram { from: ([127, 0, 0, 1], 4748).into(), bytes: datagram });
    let mut ack = Vec::new();
    while let Some(output) = node.poll_output() {
        if let rumormill_core::Output::Transmit { bytes, .. } = output {
            ack = bytes;
        }
    }
    assert!(!ack.is_empty(), "a ping is answered");
    ack
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn best(mut run: impl FnMut() -> Duration) -> f64 {
    let fastest = (0..RUNS).map(|_| run()).min().expect("there are runs");
    COUNT as f64 / fastest.as_secs_f64()
}

fn per_second(mut one: impl FnMut() -> usize) -> f64 {
    best(|| timed(|| (0..COUNT).map(|_| one()).sum()))
}

fn report(what: &str, rate: f64) {
    println!("{what:<45} {rate:>12.0} /s {:>8.0} ns", 1e9 / rate);
}
