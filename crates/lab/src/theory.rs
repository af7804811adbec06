//! What theory predicts: formulas and mean fields, each with its source.
//!
//! Names: n nodes, fanout f, loss p, q = 1 − p the share that arrives, s the share that does not know, i = 1 − s.

use rumormill_core::config::Mode;

use crate::summary::count;

/// A prediction, as it is written and as it comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    /// `log3 n + log2 ln n`.
    pub text: String,
    /// What it gives for the parameters asked about.
    pub value: f64,
}

/// Rounds until all of `nodes` know, when everybody keeps going, without the constant that theory leaves open (about 1
/// for push and pull, below 0.3 for push-pull without loss).
///
/// Push: Pittel 1987, log2 n + ln n. Pull: log2 n + log2 ln n. Push-pull: Karp et al. 2000, log3 n + O(ln ln n). With a
/// fanout and with loss: the growth while few know and the tail while few do not, added up. Loss makes the doubly
/// exponential tail of pull and push-pull end in a geometric one: the longer of the two is taken, so that loss never
/// makes the prediction shorter.
pub fn rounds_to_all(mode: Mode, nodes: usize, fanout: f64, loss: f64) -> Formula {
    let (n, f, q) = (count(nodes), fanout, 1.0 - loss);
    let growth = match mode {
        Mode::Push | Mode::Pull => 1.0 + f * q,
        Mode::PushPull => 1.0 + 2.0 * f * q,
    };
    // The share that stays uninformed in a round of the geometric tail is e^-rate.
    let rate = match mode {
        Mode::Push => f * q,
        Mode::Pull => f * (1.0 / loss).ln(),
        Mode::PushPull => f * ((1.0 / loss).ln() + q),
    };
    let geometric = n.ln() / rate;
    // Callers who ask and lose nothing: the share that does not know is raised to the power 1 + f in each round.
    let asking = if mode == Mode::Push { 0.0 } else { n.ln().max(1.0).ln() / (1.0 + f).ln() };
    let head = format!("log{} n", short(growth));
    let tail = match rate {
        _ if asking >= geometric => format!("log{} ln n", short(1.0 + f)),
        _ if (rate - 1.0).abs() < 1e-9 => "ln n".to_owned(),
        _ => format!("ln n / {}", short(rate)),
    };
    Formula { text: format!("{head} + {tail}"), value: n.ln() / growth.ln() + geometric.max(asking) }
}

/// Mean periods until all of `nodes` know, when each calls `fanout` partners at the ticks of a Poisson clock and
/// everybody keeps going, but for a constant: the growth while few know and the tail while few do not, added up.
///
/// Both have the rate of the logistic curve (f for push or pull, 2f for push-pull, less what is lost) only where each tick is
/// one contact. Who asks several at once still has to wait for its own tick: however many answer, the tail of pull
/// has a rate of at most 1, and that of push-pull of at most 1 + f.
pub fn periods_to_all(mode: Mode, nodes: usize, fanout: f64, loss: f64) -> Formula {
    let (n, told) = (count(nodes), fanout * (1.0 - loss));
    let asked = 1.0 - loss.powf(fanout);
    let (growth, tail) = match mode {
        Mode::Push => (told, told),
        Mode::Pull => (told, asked),
        Mode::PushPull => (2.0 * told, told + asked),
    };
    let text = match growth {
        _ if (growth - tail).abs() > 1e-9 => format!("{} + {}", share_of_ln(1.0, growth), share_of_ln(1.0, tail)),
        _ => share_of_ln(2.0, growth),
    };
    Formula { text, value: n.ln() / growth + n.ln() / tail }
}

/// So many times ln n by a rate, as one writes it.
fn share_of_ln(times: f64, rate: f64) -> String {
    match (times, rate) {
        _ if (times - rate).abs() < 1e-9 => "ln n".to_owned(),
        _ if (rate - 1.0).abs() < 1e-9 => format!("{} ln n", short(times)),
        _ if (times - 1.0).abs() < 1e-9 => format!("ln n / {}", short(rate)),
        _ => format!("{} ln n / {}", short(times), short(rate)),
    }
}

/// At most two digits behind the point.
pub(crate) fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How a caller's number of partners is distributed, as far as mean fields care.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calls {
    /// So many in each round.
    Fixed(f64),
    /// A Poisson number with this mean.
    Poisson(f64),
}

impl Calls {
    /// How many on average.
    const fn mean(self) -> f64 {
        match self {
            Self::Fixed(fanout) => fanout,
            Self::Poisson(mean) => mean,
        }
    }

    /// The chance that none of a caller's calls has an effect that each has with probability `p`.
    fn all_miss(self, p: f64) -> f64 {
        match self {
            Self::Fixed(fanout) => (1.0 - p).powf(fanout),
            Self::Poisson(mean) => (-mean * p).exp(),
        }
    }
}

/// The share that knows by round, from 0 to `rounds`, when everybody keeps going: the expected share of those that do
/// not know who are missed in a round, taken for the actual one. Exact for large numbers; while few know, chance
/// delays pull and push-pull by a fraction of a round.
pub fn mean_field(mode: Mode, nodes: usize, calls: Calls, loss: f64, rounds: usize) -> Vec<f64> {
    let (n, q) = (count(nodes), 1.0 - loss);
    let mut knows = 1.0 / n;
    let mut curve = vec![knows];
    while curve.len() <= rounds {
        let others = (n * knows / (n - 1.0)).min(1.0);
        let not_asked = calls.all_miss(others * q);
        let not_told = calls.all_miss(q / (n - 1.0)).powf(n * knows);
        let missed = match mode {
            Mode::Push => not_told,
            Mode::Pull => not_asked,
            Mode::PushPull => not_told * not_asked,
        };
        knows = 1.0 - (1.0 - knows) * missed;
        curve.push(knows);
    }
    curve
}

/// The share that knows by round when who learns it pushes it once, in the next round (infect and die).
pub fn mean_field_once(nodes: usize, calls: Calls, loss: f64, rounds: usize) -> Vec<f64> {
    let (n, q) = (count(nodes), 1.0 - loss);
    let (mut knows, mut new) = (1.0 / n, 1.0 / n);
    let mut curve = vec![knows];
    while curve.len() <= rounds {
        let missed = calls.all_miss(q / (n - 1.0)).powf(n * new);
        new = (1.0 - knows) * (1.0 - missed);
        knows += new;
        curve.push(knows);
    }
    curve
}

/// The share that knows by mean period, from 0 to `periods`, when each calls at the ticks of its own Poisson clock of
/// rate 1 and everybody keeps going: i' = (1 − i)(told + asked) with told = fqi, asked = 1 − (1 − qi)^f. With one
/// contact a tick this is the logistic curve i(t) = 1 / (1 + (n − 1) e^(−βt)), β = q for push or pull, 2q for push-pull; for a
/// larger fanout β = fq and 2fq would mean single contacts at that rate instead.
pub fn mean_field_by_clocks(mode: Mode, nodes: usize, calls: Calls, loss: f64, periods: usize) -> Vec<f64> {
    let q = 1.0 - loss;
    let slope = |knows: f64| {
        let told = if mode == Mode::Pull { 0.0 } else { calls.mean() * q * knows };
        let asked = if mode == Mode::Push { 0.0 } else { 1.0 - calls.all_miss(q * knows) };
        (1.0 - knows) * (told + asked)
    };
    // Runge and Kutta's fourth order, in steps short against the fastest rate.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1 and below the nodes")]
    let steps = (STEPS_PER_TIME * (1.0 + calls.mean())).ceil() as usize;
    let h = 1.0 / count(steps);
    let mut knows = 1.0 / count(nodes);
    let mut curve = vec![knows];
    while curve.len() <= periods {
        for _ in 0..steps {
            let a = slope(knows);
            let b = slope(knows + h / 2.0 * a);
            let c = slope(knows + h / 2.0 * b);
            let d = slope(knows + h * c);
            knows = (knows + h / 6.0 * (a + 2.0 * b + 2.0 * c + d)).min(1.0);
        }
        curve.push(knows);
    }
    curve
}

/// The error of a step is of the fifth power of its length: with these it is far below anything drawn.
const STEPS_PER_TIME: f64 = 16.0;

/// The root below 1 of s = e^(−r(1−s)), or 1 where there is none (Kermack and `McKendrick` 1927): the share that an
/// epidemic misses in which each one infected meets r others.
pub fn final_size(r: f64) -> f64 {
    if r <= 1.0 {
        return 1.0;
    }
    // The map is a contraction at the lower root, and from 0 it climbs to it.
    let mut s = 0.0;
    for _ in 0..100_000 {
        let next = (-r * (1.0 - s)).exp();
        if next - s < 1e-15 {
            break;
        }
        s = next;
    }
    s
}

/// The residue of push with feedback and coin: s = e^(−(k+1)(1−s)) (Demers et al. 1987 §1.4).
pub fn residue_feedback_coin(k: u32) -> f64 {
    final_size(f64::from(k) + 1.0)
}

/// The residue of push with blind and coin: s = e^(−k(1−s)).
pub fn residue_blind_coin(k: u32) -> f64 {
    final_size(f64::from(k))
}

/// The residue of every rule of push, from its traffic: s = e^−m (Demers et al. 1987 §1.4).
pub fn residue_of_traffic(messages_per_node: f64) -> f64 {
    (-messages_per_node).exp()
}

/// What infect and die reaches, if it does not die at once: 1 − s with s = e^(−fq(1−s)).
pub fn coverage_once(fanout: f64, loss: f64) -> f64 {
    1.0 - final_size(fanout * (1.0 - loss))
}

/// The chance that infect and die reaches every node: e^(−e^−c) where the mean fanout is ln n + c (Kermarrec, Massoulie,
/// Ganesh 2003). Holds for a Poisson fanout.
pub fn atomicity(nodes: usize, fanout: f64, loss: f64) -> f64 {
    let c = fanout * (1.0 - loss) - count(nodes).ln();
    (-(-c).exp()).exp()
}

/// Periods until somebody first probes a member that crashed: 1 / (1 − (1 − 1/(n−1))^(n−1)), near e/(e−1) (SWIM §5.1).
/// A crash falls at the start of a period.
pub fn first_detection(nodes: usize) -> f64 {
    let others = count(nodes) - 1.0;
    1.0 / (1.0 - (1.0 - 1.0 / others).powf(others))
}

/// The chance that a probe of a live member fails: (1 − q²)(1 − q⁴)^k with k indirect ones (SWIM §5.1).
pub fn probe_failure(loss: f64, indirect_probes: u32) -> f64 {
    let q = 1.0 - loss;
    (1.0 - q.powi(2)) * (1.0 - q.powi(4)).powf(f64::from(indirect_probes))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::E;

    use super::*;

    fn near(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value}, expected {expected}");
    }

    #[test]
    fn formulas_read_as_they_are_written_in_the_papers() {
        let text = |mode, fanout, loss| rounds_to_all(mode, 1_000_000, fanout, loss).text;
        assert_eq!(text(Mode::PushPull, 1.0, 0.0), "log3 n + log2 ln n");
        assert_eq!(text(Mode::Push, 1.0, 0.0), "log2 n + ln n");
        assert_eq!(text(Mode::Push, 2.0, 0.1), "log2.8 n + ln n / 1.8");
        assert_eq!(text(Mode::Pull, 1.0, 0.0), "log2 n + log2 ln n");
        assert_eq!(text(Mode::Pull, 1.0, 0.1), "log1.9 n + ln n / 2.3");
        assert_eq!(periods_to_all(Mode::Push, 1_000, 1.0, 0.0).text, "2 ln n");
        assert_eq!(periods_to_all(Mode::PushPull, 1_000, 1.0, 0.0).text, "ln n");
    }

    #[test]
    fn final_sizes_are_the_roots_computed_by_hand() {
        for (k, root) in [(1, 0.203_19), (2, 0.059_52), (3, 0.019_83), (4, 0.006_98), (5, 0.002_52)] {
            near(residue_feedback_coin(k), root, 5e-6);
            near(residue_blind_coin(k + 1), root, 5e-6);
        }
        for (fanout, coverage) in [(2.0, 0.796_8), (4.0, 0.980_2), (7.0, 0.999_08), (10.0, 0.999_955)] {
            near(coverage_once(fanout, 0.0), coverage, 5e-5);
        }
        near(coverage_once(5.0, 0.1), 0.988_3, 5e-5);
        near(final_size(1.0), 1.0, 0.0);
    }

    #[test]
    fn detection_takes_e_over_e_minus_1_periods() {
        near(first_detection(100), 1.577_3, 5e-5);
        near(first_detection(1_000_000), E / (E - 1.0), 1e-6);
        near(probe_failure(0.05, 3), 6.2e-4, 5e-6);
        near(probe_failure(0.1, 3), 7.7e-3, 5e-5);
    }

    #[test]
    fn a_mean_field_reaches_all_about_when_the_formula_says() {
        for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
            let curve = mean_field(mode, 1_000_000, Calls::Fixed(1.0), 0.0, 60);
            assert!(curve.is_sorted());
            let all = count(curve.iter().position(|knows| 1.0 - knows < 1e-6).unwrap());
            near(all, rounds_to_all(mode, 1_000_000, 1.0, 0.0).value, 2.0);
        }
        near(*mean_field_once(100_000, Calls::Fixed(4.0), 0.0, 40).last().unwrap(), coverage_once(4.0, 0.0), 1e-3);
    }

    #[test]
    fn more_loss_never_predicts_less_time() {
        for mode in [Mode::Push, Mode::Pull, Mode::PushPull] {
            for (nodes, fanout) in [(2, 1.0), (100, 1.0), (100_000, 1.0), (100_000, 3.0)] {
                for predicted in [rounds_to_all, periods_to_all] {
                    let times = [0.0, 1e-9, 1e-4, 0.01, 0.1, 0.3, 0.9].map(|p| predicted(mode, nodes, fanout, p).value);
                    assert!(times.is_sorted(), "{mode:?}, n = {nodes}, fanout {fanout}: {times:?}");
                }
            }
        }
    }

    #[test]
    fn by_clocks_one_contact_a_tick_gives_the_logistic_curve() {
        for (mode, beta) in [(Mode::Push, 0.7), (Mode::Pull, 0.7), (Mode::PushPull, 1.4)] {
            let curve = mean_field_by_clocks(mode, 1_000, Calls::Fixed(1.0), 0.3, 30);
            for (time, knows) in curve.into_iter().enumerate() {
                near(knows, 1.0 / (1.0 + 999.0 * (-beta * count(time)).exp()), 1e-6);
            }
        }
    }

    /// However many it asks, a caller waits for its own tick: the tail of pull falls by e a period, that of push-pull by
    /// e^(1 + f).
    #[test]
    fn by_clocks_a_caller_must_tick_once_whatever_the_fanout() {
        for (mode, rate) in [(Mode::Push, 3.0), (Mode::Pull, 1.0), (Mode::PushPull, 4.0)] {
            let curve = mean_field_by_clocks(mode, 1_000_000, Calls::Fixed(3.0), 0.0, 12);
            let late = curve.windows(2).rfind(|two| 1.0 - two[1] > 1e-9).unwrap();
            near(((1.0 - late[0]) / (1.0 - late[1])).ln(), rate, 1e-2);
        }
        assert_eq!(periods_to_all(Mode::Pull, 1_000, 3.0, 0.0).text, "ln n / 3 + ln n");
        assert_eq!(periods_to_all(Mode::PushPull, 1_000, 3.0, 0.0).text, "ln n / 6 + ln n / 4");
    }
}
