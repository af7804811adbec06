//! False positives and first detection with and without Lifeguard, as a table.
//! `cargo run --release -p rumormill-lab --example lifeguard [slow|stall] [LOSS] [NODES,..] [SECONDS,..]`
#![expect(clippy::print_stdout, reason = "a table is printed")]

#[path = "../tests/stalls/mod.rs"]
mod stalls;

use std::io::Write as _;

use stalls::{SLOW, STALL, Trial, WITHOUT, trial};

const SEEDS: u64 = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default: &'static str| words.get(place).map_or(default, String::as_str).to_owned();
    let ailment = if word(0, SLOW) == STALL { STALL } else { SLOW };
    let loss = number(&word(1, "0"));
    println!(
        "| nodes that {} | for | false deaths of healthy nodes: without | with | of the others: without | with | first detection: without | with |",
        if ailment == STALL { "are stalled" } else { "stand still" }
    );
    println!("|---|---|---|---|---|---|---|---|");
    for ill in word(2, "4,8,16,32").split(',').map(|ill| ill.parse().expect("a number of nodes")) {
        for pause in word(3, "0.5,2,5,10").split(',').map(number) {
            let sum = |settings: &str| {
                (1..=SEEDS).map(|seed| trial((ailment, ill), pause, loss, settings, seed)).fold(Trial::default(), add)
            };
            let (without, with) = (sum(WITHOUT), sum(""));
            let mean = |trial: Trial| trial.first / f64::from(u32::try_from(SEEDS).expect("a few"));
            println!(
                "| {ill} | {pause} s | {} | {} | {} | {} | {:.2} s | {:.2} s |",
                without.healthy,
                with.healthy,
                without.unwell,
                with.unwell,
                mean(without),
                mean(with)
            );
            std::io::stdout().flush().expect("somebody reads");
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

fn add(a: Trial, b: Trial) -> Trial {
    Trial { healthy: a.healthy + b.healthy, unwell: a.unwell + b.unwell, first: a.first + b.first }
}
