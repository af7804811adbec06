//! Many runs over parameters: every combination of some values, on all cores, and curves through the results.
//!
//! Any study can be swept: a sweep knows its parameters as names and words, and its outcomes as JSON documents.

mod curves;

use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};

pub use curves::{Field, Law, View};

use crate::Error;
use crate::jobs::{self, Watch, Within};
use crate::summary::count;

/// More points than this are more likely a slip than a wish.
const POINTS_MAX: usize = 10_000;

/// A parameter and the values that it takes in turn.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Over {
    /// As the study calls it.
    pub name: String,
    /// As they would be written for a single run.
    pub values: Vec<String>,
}

/// Reads `nodes=100,1000`, `loss=0..0.5:0.1` (both ends belong to it), `seed=1..5` (in steps of 1).
impl FromStr for Over {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write NAME=VALUE,VALUE or NAME=FIRST..LAST:STEP";
        let (name, list) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(form)?;
        if list.is_empty() {
            return Err(format!("{name} has no value: {form}"));
        }
        let mut values = Vec::new();
        for item in list.split(',') {
            match item.split_once("..") {
                Some((first, rest)) => values.extend(range(first, rest)?),
                None if item.is_empty() => return Err(format!("{name} has an empty value: {form}")),
                None => values.push(item.to_owned()),
            }
        }
        let repeated = values.iter().enumerate().find(|(nth, value)| values[..*nth].contains(value));
        match repeated {
            Some((_, value)) => Err(format!("{name} has {value} twice")),
            None => Ok(Self { name: name.trim_start_matches("--").replace('_', "-"), values }),
        }
    }
}

fn range(first: &str, rest: &str) -> Result<Vec<String>, String> {
    let (last, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let number = |text: &str| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("{text:?} is no number: write FIRST..LAST:STEP, as in 0..0.5:0.1"))
    };
    let (from, to, by) = (number(first)?, number(last)?, number(step)?);
    if by <= 0.0 || to < from {
        return Err(format!("{first}..{rest} has no value: LAST must not be below FIRST, and STEP above 0"));
    }
    let steps = ((to - from) / by + 1e-9).floor();
    if steps >= count(POINTS_MAX) {
        return Err(format!("{first}..{rest} has more than {POINTS_MAX} values"));
    }
    // As many decimals as were written.
    let decimals = |text: &str| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = decimals(first).max(decimals(step));
    let nth = std::iter::successors(Some(0.0), |nth| Some(nth + 1.0)).take_while(|nth| *nth <= steps);
    Ok(nth.map(|nth| format!("{:.decimals$}", from + nth * by)).collect())
}

/// The values of one point, in the order of the parameters.
pub type Combination = Vec<(String, String)>;

/// Every combination; the last parameter changes fastest.
///
/// # Errors
/// [`Error::Value`] if there is nothing to sweep over, a parameter comes twice, or there are too many.
pub fn combinations(over: &[Over]) -> Result<Vec<Combination>, Error> {
    Error::unless(!over.is_empty(), "over", "absent", "given at least once, as in --over nodes=100,1000")?;
    for (nth, Over { name, .. }) in over.iter().enumerate() {
        let is_first = over[..nth].iter().all(|other| other.name != *name);
        Error::unless(is_first, "over", name, "a parameter that no other --over has")?;
    }
    let points = over.iter().fold(1_usize, |points, Over { values, .. }| points.saturating_mul(values.len()));
    Error::unless((1..=POINTS_MAX).contains(&points), "over", format!("{points} points"), "at most 10000 points")?;
    let mut combinations = vec![Vec::new()];
    for Over { name, values } in over {
        let longer = |start: &Combination| -> Vec<Combination> {
            let with = |value: &String| {
                let mut combination = start.clone();
                combination.push((name.clone(), value.clone()));
                combination
            };
            values.iter().map(with).collect()
        };
        combinations = combinations.iter().flat_map(longer).collect();
    }
    Ok(combinations)
}

/// What a sweep showed: the document that its command prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The study.
    pub of: String,
    /// What was swept over.
    pub over: Vec<Over>,
    /// What is done, in the order of [`combinations`]; fewer than `planned` if some failed or somebody said stop.
    pub points: Vec<Point>,
    /// What did not come to an outcome.
    pub failed: Vec<Failed>,
    /// How many points were asked for.
    pub planned: usize,
    /// Real time in seconds. Filled in by who measures.
    pub elapsed: Option<f64>,
}

/// One combination and what came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Which of all combinations it is, from 0.
    #[serde(skip)]
    pub nth: usize,
    /// The swept parameters: numbers where they are some, otherwise words.
    pub parameters: Map<String, Value>,
    /// The study's document.
    pub outcome: Value,
}

/// One combination and what went wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// The swept parameters.
    pub parameters: Map<String, Value>,
    /// What the study says.
    pub error: String,
}

/// The memory that points take of which so many are on at the same time, given what each takes whose runs are done one
/// after the other.
pub fn bytes(points: impl Iterator<Item = u64>, at_once: usize) -> u64 {
    let mut points: Vec<u64> = points.collect();
    points.sort_unstable();
    points.iter().rev().take(at_once).sum()
}

/// Runs `work` for each job, one for each of the combinations of `over`, on all cores; the result does not depend on how
/// many there are. A point that fails takes no other with it; one that the watch interrupted is left out.
///
/// # Errors
/// [`Error::Stopped`] if nothing was done; what `work` says if nothing else came out.
pub fn run<J: Sync>(
    of: &str,
    over: &[Over],
    jobs: &[J],
    watch: &dyn Watch,
    work: impl Fn(&J, &dyn Watch) -> Result<Value, Error> + Sync,
) -> Result<Outcome, Error> {
    let combinations = combinations(over)?;
    assert_eq!(combinations.len(), jobs.len(), "a job for each combination");
    let one = |job: &J| {
        let within = Within::new(watch);
        let result = work(job, &within);
        if within.was_stopped() { Err(Error::Stopped) } else { result }
    };
    let results = jobs::run_each(jobs, watch, one);
    let (mut points, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for (nth, (combination, result)) in combinations.into_iter().zip(results).enumerate() {
        let parameters = combination.into_iter().map(|(name, text)| (name, word_or_number(text))).collect();
        match result {
            None | Some(Err(Error::Stopped)) => {}
            Some(Err(error)) => {
                failed.push(Failed { parameters, error: error.to_string() });
                first.get_or_insert(error);
            }
            Some(Ok(outcome)) => points.push(Point { nth, parameters, outcome }),
        }
    }
    if points.is_empty() {
        return Err(first.unwrap_or(Error::Stopped));
    }
    Ok(Outcome { of: of.to_owned(), over: over.to_vec(), points, failed, planned: jobs.len(), elapsed: None })
}

fn word_or_number(text: String) -> Value {
    let whole = text.parse::<u64>().ok().map(Value::from);
    whole
        .or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
        .unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::jobs::Unwatched;
    use crate::spread;

    fn over(text: &str) -> Over {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_lists_and_ranges() {
        assert_eq!(over("nodes=100,1000").values, ["100", "1000"]);
        assert_eq!(over("loss=0..0.3:0.1").values, ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(over("seed=1..3,9").values, ["1", "2", "3", "9"]);
        assert_eq!(over("stop=feedback-counter:1").values, ["feedback-counter:1"]);
        assert_eq!(over("connection_limit=1").name, "connection-limit");
        for wrong in ["nodes", "=1", "nodes=", "nodes=1,,2", "nodes=1,1", "n=3..1", "n=1..2:0", "n=1..x", "n=0..1:1e-9"]
        {
            assert!(wrong.parse::<Over>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_combination_comes_once_the_last_parameter_fastest() {
        let all = combinations(&[over("a=1,2"), over("b=x,y,z")]).unwrap();
        let words: Vec<String> = all.iter().map(|point| format!("{}{}", point[0].1, point[1].1)).collect();
        assert_eq!(words, ["1x", "1y", "1z", "2x", "2y", "2z"]);
        let message = |over: &[Over]| combinations(over).unwrap_err().to_string();
        assert!(message(&[]).starts_with("over is absent"));
        assert_eq!(message(&[over("a=1"), over("a=2")]), "over is a, must be a parameter that no other --over has");
        let wide = over("a=1..200");
        assert!(message(&[wide.clone(), Over { name: "b".to_owned(), ..wide }]).contains("40000 points"));
    }

    fn sweep(watch: &dyn Watch) -> Result<Outcome, Error> {
        let over = [over("nodes=50,100,200"), over("seed=1..4")];
        let jobs: Vec<spread::Parameters> = combinations(&over)?
            .iter()
            .map(|point| spread::Parameters {
                nodes: point[0].1.parse().unwrap(),
                seed: point[1].1.parse().unwrap(),
                runs: 5,
                ..spread::Parameters::default()
            })
            .collect();
        run("spread", &over, &jobs, watch, |job, watch| Ok(json!(spread::run(job, watch)?.time_last)))
    }

    #[test]
    fn one_core_finds_what_all_find() {
        let alone =
            rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| sweep(&Unwatched)).unwrap();
        let many =
            rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap().install(|| sweep(&Unwatched)).unwrap();
        assert_eq!(alone, many);
        assert_eq!(many.points.len(), 12);
        assert_eq!(many.points[4].parameters["nodes"], json!(100));
    }

    /// Says stop after so many questions.
    struct Patience(AtomicUsize);

    impl Watch for Patience {
        fn on_progress(&self, _: usize, _: usize) {}

        fn goes_on(&self) -> bool {
            let left = &self.0;
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        }
    }

    #[test]
    fn who_says_stop_keeps_whole_points_and_no_halves() {
        let full = sweep(&Unwatched).unwrap();
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        // Each point asks once, and once for each of its 5 runs.
        let part = alone.install(|| sweep(&Patience(AtomicUsize::new(20)))).unwrap();
        assert!((1..=3).contains(&part.points.len()), "{} points", part.points.len());
        assert_eq!(part.planned, 12);
        for point in &part.points {
            assert_eq!(point, &full.points[point.nth]);
        }
        assert!(matches!(sweep(&Patience(AtomicUsize::new(0))), Err(Error::Stopped)));
    }
    #[test]
    fn a_point_that_fails_takes_no_other_with_it() {
        let (over, jobs) = ([over("seed=1..4")], [1, 2, 3, 4]);
        let work = |job: &u64, _: &dyn Watch| match job {
            3 => Err(Error::value("seed", job, "another")),
            _ => Ok(json!(job)),
        };
        let outcome = run("spread", &over, &jobs, &Unwatched, work).unwrap();
        let done: Vec<usize> = outcome.points.iter().map(|point| point.nth).collect();
        assert_eq!((done, outcome.planned), (vec![0, 1, 3], 4));
        assert_eq!(outcome.failed[0].parameters["seed"], json!(3));
        assert_eq!(outcome.failed[0].error, "seed is 3, must be another");
        let none = run("spread", &over, &jobs, &Unwatched, |_, _| Err(Error::value("seed", 0, "another")));
        assert!(matches!(none, Err(Error::Value { .. })), "nothing came out: {none:?}");
    }

    #[test]
    fn the_largest_points_may_meet() {
        assert_eq!(bytes([5, 1, 7, 2].into_iter(), 2), 12);
        assert_eq!(bytes([5].into_iter(), 8), 5);
    }
}
