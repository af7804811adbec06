//! Which seeds a test runs with, and the line that runs one of them again.
//!
//! `RUMOR_SEED=S` replaces them all by one; otherwise a test runs its fixed seeds, then `RUMOR_FRESH_SEEDS` more
//! (3 if unset), drawn from the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use rumormill_core::rng::Rng;

/// How many fresh seeds a test tries where nothing else is said.
const FRESH_SEEDS: usize = 3;

/// The fixed seeds and some fresh ones, or the one that the environment names.
///
/// # Panics
/// If an environment variable does not hold a number.
pub fn chosen(fixed: &[u64]) -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text:?}, must be a number")))
    };
    if let Some(seed) = number("RUMOR_SEED") {
        return vec![seed];
    }
    let fresh = number("RUMOR_FRESH_SEEDS").map_or(FRESH_SEEDS, |n| usize::try_from(n).expect("64-bit machines"));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros();
    let mut rng = Rng::new(u64::try_from(clock).expect("half a million years"));
    // Six digits are easy to copy, and far more than anybody will run.
    let fresh = (0..fresh).map(|_| rng.below(1_000_000) as u64);
    fixed.iter().copied().chain(fresh).collect()
}

/// The command that runs the present test again with one seed. `file` is the test's file, `env!("CARGO_CRATE_NAME")`.
pub fn replay_line(file: &str, seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    format!("RUMOR_SEED={seed} cargo test -p rumormill-lab --test {file} -- --exact {test}")
}
