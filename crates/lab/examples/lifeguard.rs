//! False positives and first detection with and without Lifeguard, as a table.
//! `cargo run --release -p rumormill-lab --example lifeguard [LOSS]`
#![expect(clippy::print_stdout, reason = "a table is printed")]

#[path = "../tests/stalls/mod.rs"]
mod stalls;

use stalls::{Trial, WITHOUT, trial};

const SEEDS: u64 = 5;

fn main() {
    let loss = std::env::args().nth(1).map_or(0.0, |text| text.parse().expect("a share"));
    println!(
        "| slow nodes | pauses | false deaths of healthy nodes: without | with | of slow nodes: without | with | first detection: without | with |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for slow in [4, 8, 16, 32] {
        for pause in [0.5, 2.0, 5.0, 10.0] {
            let sum = |settings: &str| {
                (1..=SEEDS).map(|seed| trial(slow, pause, loss, settings, seed)).fold(Trial::default(), add)
            };
            let (without, with) = (sum(WITHOUT), sum(""));
            let mean = |trial: Trial| trial.first / f64::from(u32::try_from(SEEDS).expect("a few"));
            println!(
                "| {slow} | {pause} s | {} | {} | {} | {} | {:.2} s | {:.2} s |",
                without.healthy,
                with.healthy,
                without.unwell,
                with.unwell,
                mean(without),
                mean(with)
            );
        }
    }
}

fn add(a: Trial, b: Trial) -> Trial {
    Trial { healthy: a.healthy + b.healthy, unwell: a.unwell + b.unwell, first: a.first + b.first }
}
