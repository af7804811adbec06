//! When a crash is first noticed, and how often the living are taken for dead.

use super::Order;
use crate::summary::count;
use crate::theory;

/// Periods of theory that are summed up at most; what is left beyond is below 1e-9 for every number of members.
const PERIODS_MAX: usize = 64;

/// The mean time until the first of `nodes − 1` observers probes the crashed member, in periods.
///
/// *random*: each period is missed by all with probability `(1 − 1/(n − 1))^(n − 1)`, so that the mean is
/// `1 / (1 − (1 − 1/(n − 1))^(n − 1))`, which goes to `e/(e − 1)` = 1.582 (SWIM §3). *round-robin*: the sum of [`late`]; the same
/// for large `n`, because within a few periods an observer hardly notices that it repeats nobody, and slightly
/// less for few.
pub fn first_detection(order: Order, nodes: usize) -> f64 {
    match order {
        Order::Random => theory::first_detection(nodes),
        Order::RoundRobin => (0..PERIODS_MAX.min(2 * nodes)).map(|after| late(order, nodes, after)).sum(),
    }
}

/// How likely nobody has probed the crashed member after so many periods.
pub fn late(order: Order, nodes: usize, periods: usize) -> f64 {
    let others = count(nodes - 1);
    match order {
        Order::Random => (1.0 - 1.0 / others).powf(others * count(periods)),
        Order::RoundRobin => turn_is_later(nodes - 1, periods).powf(others),
    }
}

/// How likely an observer with a list of `places` has not come to a given one after so many periods, met at a random
/// place `p` of a pass: it comes in this pass if its place is among the next `places − p`; if it lies behind (`p / places`),
/// in the next pass.
fn turn_is_later(places: usize, periods: usize) -> f64 {
    let m = count(places);
    // Sums over p in closed form where they are long: Σ min(x, m − p) and Σ p · max(0, x − m + p), for x up to m.
    if periods <= places {
        let x = count(periods);
        let this = x * m - x * (x - 1.0) / 2.0;
        // p = m − j for j below x: Σ (m − j)(x − j), with j from 1.
        let next: f64 = m * x * (x - 1.0) / 2.0 - (x - 1.0) * x * (3.0 * x - (2.0 * x - 1.0)) / 6.0;
        return 1.0 - this / (m * m) - next / (m * m * m);
    }
    let beyond = periods - places;
    let next: f64 = (0..places).map(|p| count(p) * count((beyond + p).min(places))).sum();
    1.0 - (m + 1.0) / (2.0 * m) - next / (m * m * m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_sum_over_all_places() {
        for places in 1..8 {
            for periods in 0..=2 * places {
                let (m, x) = (count(places), periods);
                let comes: f64 = (0..places)
                    .map(|p| {
                        let this = count(x.min(places - p)) / m;
                        let next = count((x + p).saturating_sub(places).min(places)) / m;
                        (this + count(p) / m * next) / m
                    })
                    .sum();
                let later = turn_is_later(places, periods);
                assert!((later - (1.0 - comes)).abs() < 1e-12, "{places} places, {periods} periods: {later}");
            }
            assert!(turn_is_later(places, 2 * places - 1).abs() < 1e-12, "the bound of {places} places");
        }
    }

    #[test]
    fn both_orders_come_to_e_over_e_minus_one() {
        let limit = std::f64::consts::E / (std::f64::consts::E - 1.0);
        for order in [Order::Random, Order::RoundRobin] {
            assert!((first_detection(order, 1_000_000) - limit).abs() < 1e-5, "{order}");
        }
        assert!(first_detection(Order::RoundRobin, 10) < first_detection(Order::Random, 10));
    }
}
