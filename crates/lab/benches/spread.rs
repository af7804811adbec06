//! One push-pull spread over a million nodes to full coverage, beside a bare loop over bit sets that makes the same draws.
//! After the table the ratio is printed; the aim is below 2.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use divan::Bencher;
use rumormill_core::config::Mode;
use rumormill_core::rng::Rng;
use rumormill_lab::jobs::Unwatched;
use rumormill_lab::spread::{self, Parameters};

const NODES: usize = 1_000_000;
/// Turns of which the ratio takes the median.
const TURNS: usize = 15;

fn main() {
    divan::main();
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // In turns, so that what else the machine does falls on both.
    let (mut bare, mut lab) = (Vec::new(), Vec::new());
    for turn in 0..TURNS as u64 {
        bare.push(time(|| bare_loop(NODES, turn)));
        lab.push(time(|| lab_spread(NODES, turn)));
    }
    let [bare, lab] = [bare, lab].map(median);
    println!("bare loop {bare:.1?}, lab spread {lab:.1?}: ratio {:.2}", lab.as_secs_f64() / bare.as_secs_f64());
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What anybody would write: every node calls another one, and the update crosses the contact either way.
fn bare_loop(nodes: usize, seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let mut knows = vec![0_u64; nodes.div_ceil(64)];
    knows[0] = 1;
    let mut next = knows.clone();
    let (mut known, mut rounds) = (1, 0);
    while known < nodes {
        rounds += 1;
        for caller in 0..nodes {
            let drawn = rng.below(nodes - 1);
            let partner = drawn + usize::from(drawn >= caller);
            if has(&knows, caller) {
                next[partner / 64] |= 1 << (partner % 64);
            } else if has(&knows, partner) {
                next[caller / 64] |= 1 << (caller % 64);
            }
        }
        knows.copy_from_slice(&next);
        known = knows.iter().map(|word| word.count_ones() as usize).sum();
    }
    rounds
}

fn has(bits: &[u64], node: usize) -> bool {
    bits[node / 64] >> (node % 64) & 1 != 0
}

fn lab_spread(nodes: usize, seed: u64) -> f64 {
    let parameters = Parameters { nodes, mode: Mode::PushPull, seed, ..Parameters::default() };
    spread::run(&parameters, &Unwatched).expect("the parameters are valid").time_last.mean
}

#[divan::bench(sample_count = 20)]
fn bare(bencher: Bencher<'_, '_>) {
    bencher.bench(|| bare_loop(NODES, black_box(1)));
}

#[divan::bench(sample_count = 20)]
fn lab(bencher: Bencher<'_, '_>) {
    bencher.bench(|| lab_spread(NODES, black_box(1)));
}
