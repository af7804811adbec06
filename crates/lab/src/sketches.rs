//! What it costs to reconcile two sets with core's own sketch, a rateless invertible Bloom lookup table (Yang, Gilad and
//! Alizadeh, SIGCOMM 2024).
//!
//! How many symbols a difference takes depends on the ids that differ and on nothing else, as what both sides have
//! cancels out. Each trial draws such ids and finds the least number of symbols that gives all of them back.
//! A node exchanges at most 4,096 symbols and uses a stream beyond; the sketch itself has no such limit, and here it is as
//! long as the difference needs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rumormill_core::rng::Rng;
use rumormill_core::sketch::{Decoded, SYMBOL_BYTES, Sketch, Symbol, decode};
use serde::Serialize;

use crate::chart::{Axis, Chart, Series};
use crate::jobs::{self, Watch};
use crate::summary::count;
use crate::{Error, Summary, memory};

/// Mean symbols per difference by the size of the difference, from simulations of the authors' gap rule to three digits
/// after the point. The paper itself gives the [limit](LIMIT), and the peak, about 1.72.
pub const PUBLISHED: [(usize, f64); 12] = [
    (1, 1.000),
    (2, 1.585),
    (3, 1.713),
    (4, 1.751),
    (5, 1.762),
    (8, 1.749),
    (16, 1.661),
    (32, 1.569),
    (64, 1.492),
    (256, 1.407),
    (10_000, 1.358),
    (100_000, 1.355),
];
/// To what the mean goes for large differences.
pub const LIMIT: f64 = 1.35;

/// What is timed is repeated until it took this long.
const TIMED: Duration = Duration::from_millis(100);
/// What is timed is timed so often; the least time is what the work itself takes.
const ROUNDS: usize = 5;

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// How many ids only one of the two sets has.
    pub difference: usize,
    /// How many ids the larger set has.
    pub size: usize,
    /// How many differences are drawn.
    pub trials: usize,
    /// The seed of the first trial; others follow from it.
    pub seed: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { difference: 100, size: 10_000, trials: 100, seed: 1 }
    }
}

impl Parameters {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`Error::Value`], naming the parameter.
    pub fn check(&self) -> Result<(), Error> {
        let size = (1..=100_000_000).contains(&self.size);
        Error::unless(size, "size", self.size, "from 1 to 100000000")?;
        let rule = format!("from 1 to size ({})", self.size);
        Error::unless((1..=self.size).contains(&self.difference), "difference", self.difference, &rule)?;
        Error::unless((1..=10_000_000).contains(&self.trials), "trials", self.trials, "from 1 to 10000000")?;
        memory::check(self.bytes(jobs::at_once()))
    }

    /// The memory that it takes if so many trials are on at the same time. A trial has the ids that differ, twice as
    /// many symbols, a copy of these to decode, and what decoding finds; what is timed has the larger set.
    pub fn bytes(&self, at_once: usize) -> u64 {
        let (id, symbol) = (size_of::<u64>() as u64, size_of::<Symbol>() as u64);
        let (difference, size, trials) = (self.difference as u64, self.size as u64, self.trials as u64);
        let trial = difference * (4 * symbol + 5 * id);
        let timed = trial + size * id;
        (self.trials.min(at_once) as u64 * trial).max(timed) + trials * 4 * id
    }
}

/// The document of `rumor lab sketch`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was run, and how many trials were done.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// Symbols that were needed for each difference.
    pub symbols_per_difference: Summary,
    /// The mean published for this or the nearest smaller and larger difference, between which it lies on a logarithmic
    /// scale; beyond the largest the limit.
    pub theory: f64,
    /// The mean size of what is needed on the wire, without headers.
    pub bytes: f64,
    /// The time that it takes to put one id into a sketch of that length; set by whoever measures.
    pub encode_ns_per_item: Option<f64>,
    /// The time that it takes to find one of the ids that differ; set by whoever measures.
    pub decode_ns_per_difference: Option<f64>,
    /// The share of trials that needed at most so many symbols for each difference, by that number.
    pub decoded: Vec<(f64, f64)>,
    /// How long all took, in seconds; set by whoever measures.
    pub elapsed: Option<f64>,
}

/// How long encoding and decoding take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// For each id of a set, in nanoseconds.
    pub encode_ns_per_item: f64,
    /// For each id that differs, in nanoseconds.
    pub decode_ns_per_difference: f64,
}

/// Runs it; the times are measured by [`speed`].
///
/// # Errors
/// A parameter that breaks its rule.
pub fn run(parameters: &Parameters, watch: &dyn Watch) -> Result<Outcome, Error> {
    parameters.check()?;
    let numbers: Vec<u64> = (0..parameters.trials as u64).collect();
    let one = |number: &u64| symbols_needed(&difference_of(parameters, *number));
    let needed: Vec<usize> = jobs::first_done(jobs::run_each(&numbers, watch, one));
    Outcome::of(parameters, &needed).ok_or(Error::Stopped)
}

/// The ids that differ in a trial.
fn difference_of(parameters: &Parameters, trial: u64) -> Vec<u64> {
    random_ids(parameters.difference, jobs::seed_of_run(parameters.seed, trial))
}

fn random_ids(many: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    (0..many).map(|_| rng.bits()).collect()
}

/// The least number of symbols from which all `ids` are found: more never decode less, so that halving finds it.
fn symbols_needed(ids: &[u64]) -> usize {
    let (mut too_few, mut enough) = (0, ids.len());
    let mut symbols = symbols_of(ids, 2 * ids.len());
    while !decodes(&symbols, enough) {
        (too_few, enough) = (enough, 2 * enough);
        if enough > symbols.len() {
            symbols = symbols_of(ids, 2 * enough);
        }
    }
    while enough - too_few > 1 {
        let middle = usize::midpoint(too_few, enough);
        if decodes(&symbols, middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    enough
}

fn symbols_of(ids: &[u64], symbols: usize) -> Vec<Symbol> {
    Sketch::grown(symbols, ids.iter().copied()).symbols().to_vec()
}

fn decodes(symbols: &[Symbol], first: usize) -> bool {
    matches!(decode(symbols[..first].to_vec()), Decoded::Complete(_))
}

/// Measures how long it takes to encode a whole set and to decode the first trial's difference, on this machine and on one
/// core, with sketches that are just long enough for it.
///
/// # Errors
/// A parameter that breaks its rule.
pub fn speed(parameters: &Parameters) -> Result<Speed, Error> {
    parameters.check()?;
    let ids = difference_of(parameters, 0);
    let symbols = symbols_needed(&ids);
    let difference = symbols_of(&ids, symbols);
    let set = random_ids(parameters.size, parameters.seed);
    let encode = fastest(|| {
        black_box(Sketch::grown(symbols, set.iter().copied()));
    });
    let decode = fastest(|| {
        black_box(decode(difference.clone()));
    });
    Ok(Speed {
        encode_ns_per_item: encode / count(parameters.size),
        decode_ns_per_difference: decode / count(parameters.difference),
    })
}

/// The nanoseconds that `work` takes when nothing else disturbs it.
fn fastest(work: impl Fn()) -> f64 {
    let round = || {
        let (begun, mut times) = (Instant::now(), 0_u32);
        while times == 0 || begun.elapsed() < TIMED / 5 {
            work();
            times += 1;
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(times)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Published symbols per difference; between two entries as if the curve were straight over the logarithm, and beyond
/// the last the limit.
pub fn published(difference: usize) -> f64 {
    let Some(above) = PUBLISHED.iter().position(|(entry, _)| *entry >= difference) else { return LIMIT };
    let (upper, at_upper) = PUBLISHED[above];
    let (lower, at_lower) = PUBLISHED[above.saturating_sub(1)];
    if upper <= difference || upper == lower {
        return at_upper;
    }
    let share = (count(difference) / count(lower)).ln() / (count(upper) / count(lower)).ln();
    at_lower + share * (at_upper - at_lower)
}

impl Outcome {
    fn of(parameters: &Parameters, needed: &[usize]) -> Option<Self> {
        let mut per_difference: Vec<f64> =
            needed.iter().map(|symbols| count(*symbols) / count(parameters.difference)).collect();
        per_difference.sort_by(f64::total_cmp);
        let symbols_per_difference = Summary::of(&per_difference)?;
        Some(Self {
            parameters: Parameters { trials: needed.len(), ..parameters.clone() },
            symbols_per_difference,
            theory: published(parameters.difference),
            bytes: symbols_per_difference.mean * count(parameters.difference * SYMBOL_BYTES),
            encode_ns_per_item: None,
            decode_ns_per_difference: None,
            decoded: shares(&per_difference),
            elapsed: None,
        })
    }

    /// Takes in what was measured.
    #[must_use]
    pub fn with_speed(self, speed: Speed) -> Self {
        Self {
            encode_ns_per_item: Some(speed.encode_ns_per_item),
            decode_ns_per_difference: Some(speed.decode_ns_per_difference),
            ..self
        }
    }

    /// How many differences were decoded, against the length of the sketch.
    pub fn chart(&self) -> Chart {
        let mean = vec![(self.theory, 0.0), (self.theory, 1.0)];
        Chart {
            title: format!("Sketches of {} differences", self.parameters.difference),
            x: Axis::linear("symbols per difference"),
            y: Axis::linear("differences decoded (share)"),
            series: vec![
                Series::measured("core's sketch", self.decoded.clone()),
                Series::theory("published mean", mean),
            ],
        }
    }
}

/// For each value that occurs, the share of values up to it. `values` rise.
fn shares(values: &[f64]) -> Vec<(f64, f64)> {
    let mut shares: Vec<(f64, f64)> = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let share = count(place + 1) / count(values.len());
        match shares.last_mut() {
            Some(last) if last.0.total_cmp(value).is_eq() => last.1 = share,
            Some(_) | None => shares.push((*value, share)),
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unwatched;

    #[test]
    fn what_cannot_be_run_is_refused_by_field_value_and_rule() {
        let sound = Parameters::default();
        let wrong = [
            (Parameters { difference: 0, ..sound.clone() }, "difference is 0, must be from 1 to size (10000)"),
            (Parameters { difference: 10_001, ..sound.clone() }, "difference is 10001, must be from 1 to size (10000)"),
            (Parameters { size: 0, ..sound.clone() }, "size is 0, must be from 1"),
            (Parameters { trials: 0, ..sound }, "trials is 0, must be from 1"),
        ];
        for (parameters, rule) in wrong {
            let error = run(&parameters, &Unwatched).unwrap_err().to_string();
            assert!(error.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn one_difference_takes_one_symbol_of_twelve_bytes() {
        let outcome = run(&Parameters { difference: 1, ..Parameters::default() }, &Unwatched).unwrap();
        let symbols = outcome.symbols_per_difference;
        assert_eq!((symbols.min, symbols.max, outcome.bytes, outcome.theory), (1.0, 1.0, 12.0, 1.0));
        assert_eq!(outcome.decoded, [(1.0, 1.0)]);
    }

    #[test]
    fn one_symbol_less_than_needed_does_not_decode() {
        for trial in 0..20 {
            let ids = difference_of(&Parameters::default(), trial);
            let needed = symbols_needed(&ids);
            let symbols = symbols_of(&ids, needed);
            assert!(decodes(&symbols, needed) && !decodes(&symbols, needed - 1), "{needed}");
        }
    }

    #[test]
    fn between_two_published_values_lies_what_is_between_them() {
        assert!((published(5) - 1.762).abs() < 1e-12);
        assert!((1.661..1.749).contains(&published(10)));
        assert!((published(100_000) - 1.355).abs() < 1e-12);
        assert!((published(100_001) - LIMIT).abs() < 1e-12);
    }
    #[test]
    fn what_does_not_fit_in_memory_is_refused_with_the_estimate() {
        let large = Parameters { difference: 100_000_000, size: 100_000_000, ..Parameters::default() };
        assert_eq!(large.bytes(2), 2 * 100_000_000 * 104 + 100 * 32);
        // With 64 trials at a time it is more than nearly every machine has; on one that has it, it is not refused.
        let needs = large.bytes(64);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(64).build().unwrap();
        let refused = matches!(pool.install(|| large.check()), Err(Error::Memory { needed, .. }) if needed == needs);
        assert_eq!(refused, memory::available().is_some_and(|available| available < needs));
    }
}
