//! Whom a caller calls, and whether the call arrives.

use rumormill_core::rng::Rng;

use super::{Distribution, Parameters};

/// Numbers drawn at a time.
const BULK: usize = 512;
/// Up to so many different partners are found by drawing again; more are dealt from a pool.
const REDRAWN_MAX: f64 = 16.0;
/// A Poisson number with a larger mean is the sum of some with this one: e^-500 would still be a normal double.
const POISSON_PART: f64 = 500.0;

/// Draws the partners of one caller after the other: uniform among all others.
#[derive(Debug)]
pub(super) struct Partners {
    draws: Draws,
    rng: Rng,
    how_many: HowMany,
    /// Calls are lost whose draw from 2^32 lies below this.
    loss: u64,
    distinct: Option<Distinct>,
}

#[derive(Clone, Copy, Debug)]
enum HowMany {
    Fixed(u32),
    Poisson(f64),
}

/// What keeps the partners of one caller different.
#[derive(Debug)]
enum Distinct {
    /// The numbers drawn for this caller.
    Drawn(Vec<u32>),
    /// All numbers, in an order of which the first `dealt` are this caller's. Dealing goes on in the order that the last
    /// caller left behind: any order is as good as any other.
    Pool { order: Vec<u32>, dealt: usize },
}

impl Partners {
    pub(super) fn new(parameters: &Parameters, mut rng: Rng) -> Self {
        let others = others(parameters);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked: below the number of nodes"
        )]
        let fixed = parameters.fanout as u32;
        let how_many = match parameters.fanout_distribution {
            Distribution::Fixed | Distribution::Distinct => HowMany::Fixed(fixed),
            Distribution::Poisson => HowMany::Poisson(parameters.fanout),
        };
        let distinct = (parameters.fanout_distribution == Distribution::Distinct).then(|| {
            if deals_from_pool(parameters) {
                Distinct::Pool { order: (0..others).collect(), dealt: 0 }
            } else {
                Distinct::Drawn(Vec::new())
            }
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: from 0 to below 1")]
        let loss = (parameters.loss * f64::from(u32::MAX)).round() as u64;
        Self { draws: Draws::new(Rng::new(rng.bits()), others), rng, how_many, loss, distinct }
    }

    /// Whether each caller makes one call, which always arrives.
    pub(super) fn are_simple(&self) -> bool {
        matches!(self.how_many, HowMany::Fixed(1)) && self.loss == 0
    }

    /// How many bytes a node takes here: 4 where many different partners are dealt from a pool.
    pub(super) fn bytes_per_node(parameters: &Parameters) -> u64 {
        if deals_from_pool(parameters) { 4 } else { 0 }
    }

    /// The next caller: how many calls it makes.
    #[inline]
    pub(super) fn begin(&mut self) -> u32 {
        match &mut self.distinct {
            None => {}
            Some(Distinct::Drawn(drawn)) => drawn.clear(),
            Some(Distinct::Pool { dealt, .. }) => *dealt = 0,
        }
        match self.how_many {
            HowMany::Fixed(calls) => calls,
            HowMany::Poisson(mean) => poisson(mean, &mut self.rng),
        }
    }

    /// The one partner of a `caller` that makes one call.
    #[inline]
    pub(super) fn only(&mut self, caller: u32) -> u32 {
        beside(caller, self.draws.take())
    }

    /// The next partner of `caller`; `None` when it has called everybody and may call nobody twice.
    #[inline]
    pub(super) fn next(&mut self, caller: u32) -> Option<u32> {
        let number = match &mut self.distinct {
            None => self.draws.take(),
            Some(Distinct::Drawn(drawn)) => {
                let mut number = self.draws.take();
                while drawn.contains(&number) {
                    number = self.draws.take();
                }
                drawn.push(number);
                number
            }
            Some(Distinct::Pool { order, dealt }) => {
                if *dealt == order.len() {
                    return None;
                }
                let at = *dealt + self.rng.below(order.len() - *dealt);
                order.swap(*dealt, at);
                *dealt += 1;
                order[*dealt - 1]
            }
        };
        Some(beside(caller, number))
    }

    /// Whether a call arrives.
    #[inline]
    pub(super) fn arrives(&mut self) -> bool {
        self.loss == 0 || self.rng.bits() >> 32 >= self.loss
    }
}

/// Whether a caller needs more different partners than are found by drawing again.
fn deals_from_pool(parameters: &Parameters) -> bool {
    let most = parameters.fanout * f64::from(1 + parameters.hunt);
    parameters.fanout_distribution == Distribution::Distinct
        && (most > REDRAWN_MAX || most > f64::from(others(parameters)))
}

/// How many others each node has.
fn others(parameters: &Parameters) -> u32 {
    u32::try_from(parameters.nodes - 1).expect("checked: nodes fit 32 bits")
}

/// The nth of all nodes but `caller`.
#[inline]
fn beside(caller: u32, number: u32) -> u32 {
    number + u32::from(number >= caller)
}

/// A Poisson number: how many arrivals of rate 1 fall into a time of `mean` (Knuth 1969, §3.4.1).
fn poisson(mean: f64, rng: &mut Rng) -> u32 {
    let (mut left, mut number) = (mean, 0);
    while left > 0.0 {
        let part = left.min(POISSON_PART);
        left -= part;
        let floor = (-part).exp();
        let mut product = rng.fraction();
        while product > floor {
            product *= rng.fraction();
            number += 1;
        }
    }
    number
}

/// Uniform numbers below a bound, exactly (Lemire 2019), two from each 64 random bits and many at a time: so the
/// generator's chain of dependencies does not wait for the memory that the numbers point into.
#[derive(Debug)]
struct Draws {
    rng: Rng,
    bound: u32,
    /// Products whose lower half lies below this are drawn anew.
    reject: u32,
    bulk: Box<[u32; BULK]>,
    next: usize,
}

impl Draws {
    fn new(rng: Rng, bound: u32) -> Self {
        assert!(bound > 0, "a number below zero does not exist");
        Self { rng, bound, reject: bound.wrapping_neg() % bound, bulk: Box::new([0; BULK]), next: BULK }
    }

    #[inline]
    fn take(&mut self) -> u32 {
        if self.next == BULK {
            self.fill();
        }
        let number = self.bulk[self.next];
        self.next += 1;
        number
    }

    #[inline(never)]
    fn fill(&mut self) {
        let Self { rng, bound, reject, bulk, next } = self;
        for pair in bulk.chunks_exact_mut(2) {
            let bits = rng.bits();
            let halves = [bits & u64::from(u32::MAX), bits >> 32];
            for (place, half) in pair.iter_mut().zip(halves) {
                let mut product = half * u64::from(*bound);
                while low(product) < *reject {
                    product = (rng.bits() >> 32) * u64::from(*bound);
                }
                *place = high(product);
            }
        }
        *next = 0;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(product: u64) -> u32 {
    product as u32
}

const fn high(product: u64) -> u32 {
    (product >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partners(fanout: f64, fanout_distribution: Distribution, nodes: usize) -> Partners {
        Partners::new(&Parameters { nodes, fanout, fanout_distribution, ..Parameters::default() }, Rng::new(7))
    }

    /// How often each of `nodes` was called by node 3, in `times` turns, and the calls of all turns together.
    fn called(partners: &mut Partners, nodes: usize, times: usize) -> (Vec<u32>, u32) {
        let (mut seen, mut all) = (vec![0; nodes], 0);
        for _ in 0..times {
            let calls = partners.begin();
            all += calls;
            (0..calls).filter_map(|_| partners.next(3)).for_each(|partner| seen[partner as usize] += 1);
        }
        (seen, all)
    }

    #[test]
    fn every_other_node_is_called_equally_often_and_nobody_calls_itself() {
        for distribution in [Distribution::Fixed, Distribution::Distinct, Distribution::Poisson] {
            let (seen, all) = called(&mut partners(3.0, distribution, 31), 31, 100_000);
            // 300,000 calls, 10,000 for each of 30 others; five standard deviations are 500, of the sum of Poissons 2,740.
            assert!(all.abs_diff(300_000) < 2_740, "{distribution:?}: {all}");
            let even = |(node, seen): (usize, &u32)| if node == 3 { *seen == 0 } else { seen.abs_diff(10_000) < 500 };
            assert!(seen.iter().enumerate().all(even), "{distribution:?}: {seen:?}");
        }
    }

    #[test]
    fn distinct_partners_are_different_however_many_there_are() {
        for fanout in [2.0, 16.0, 17.0, 30.0] {
            let mut partners = partners(fanout, Distribution::Distinct, 31);
            for _ in 0..100 {
                let (seen, all) = called(&mut partners, 31, 1);
                assert!(seen.iter().all(|times| *times <= 1), "{seen:?}");
                assert_eq!(seen.iter().sum::<u32>(), all);
            }
        }
    }

    #[test]
    fn poisson_numbers_have_their_mean_as_variance() {
        let mut rng = Rng::new(1);
        for mean in [0.5, 4.0, 1_200.0] {
            let numbers: Vec<f64> = (0..20_000).map(|_| f64::from(poisson(mean, &mut rng))).collect();
            let summary = crate::Summary::of(&numbers).unwrap();
            assert!((summary.mean - mean).abs() < 4.0 * summary.error_of_mean(20_000), "{summary:?}");
            // The variance of a sample of N deviates by about √(2/N) of itself, 1 % here, more for a small mean.
            assert!((summary.sd.powi(2) / mean - 1.0).abs() < 0.06, "{summary:?}");
        }
    }

    #[test]
    fn as_many_calls_are_lost_as_the_loss_says() {
        let parameters = Parameters { loss: 0.3, ..Parameters::default() };
        let mut partners = Partners::new(&parameters, Rng::new(1));
        let lost = (0..100_000).filter(|_| !partners.arrives()).count();
        // Four standard deviations are 580.
        assert!(lost.abs_diff(30_000) < 580, "{lost}");
    }
}
