//! The clocks of one machine: the time of day, which may be wrong, and the monotonic clock, which may run too fast or too slow.

use std::time::Duration;

use rumormill_core::rng::Rng;
use rumormill_core::{Instant, Now, Wall};

use crate::micros;

/// The true time of day when virtual time is zero: the first of January 2026.
const EPOCH_MICROS: i64 = 1_767_225_600_000_000;

/// The clocks of one machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    skew_micros: i64,
    drift_ppm: i64,
    /// The same of the monotonic clock.
    rate_ppm: i64,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    /// A clock wrong by up to `skew` either way, and running up to `drift_ppm` millionths too fast or too slow; the monotonic one
    /// up to `rate_ppm`.
    pub(crate) fn drawn(skew: Duration, drift_ppm: u32, rate_ppm: u32, rng: &mut Rng) -> Self {
        let within = |bound: u64, rng: &mut Rng| {
            let width = usize::try_from(2 * bound + 1).expect("64-bit machines");
            let drawn = i64::try_from(rng.below(width)).expect("below the bound");
            drawn - i64::try_from(bound).expect("a bound far below the width of the clock")
        };
        let (skew_micros, drift_ppm) = (within(micros(skew), rng), within(u64::from(drift_ppm), rng));
        // Runs without it draw what they always drew.
        let rate_ppm = if rate_ppm == 0 { 0 } else { within(u64::from(rate_ppm), rng) };
        Self { skew_micros, drift_ppm, rate_ppm }
    }

    /// Moves the time of day, as an operator or a time server would.
    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.skew_micros = i64::try_from(micros(ahead)).expect("a skew far below the width of the clock");
    }

    /// What this machine's clocks show at a moment of virtual time.
    pub(crate) fn read(self, at: u64) -> Now {
        let elapsed = i64::try_from(at).expect("virtual time fits");
        let wall = EPOCH_MICROS + elapsed + self.skew_micros + elapsed / 1_000_000 * self.drift_ppm;
        let wall = u64::try_from(wall).expect("after 1970");
        Now { instant: self.instant(at), wall: Wall::from_micros(wall) }
    }

    /// What the monotonic clock shows then.
    pub(crate) fn instant(self, at: u64) -> Instant {
        let shown = i128::from(at) * (MILLION + i128::from(self.rate_ppm)) / MILLION;
        Instant::from_micros(u64::try_from(shown).expect("virtual time fits"))
    }

    /// The first moment of virtual time at which the monotonic clock shows that.
    pub(crate) fn moment(self, shown: Instant) -> u64 {
        let rate = MILLION + i128::from(self.rate_ppm);
        let exact = i128::from(shown.as_micros()) * MILLION;
        u64::try_from(exact.div_euclid(rate) + i128::from(exact.rem_euclid(rate) != 0)).unwrap_or(u64::MAX)
    }

    /// By how many millionths the monotonic clock runs too fast.
    pub(crate) const fn rate_ppm(self) -> i64 {
        self.rate_ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_and_drift_move_the_time_of_day_and_never_the_monotonic_clock() {
        let clock = Clock { skew_micros: -2_000_000, drift_ppm: 100, rate_ppm: 0 };
        let hour = 3_600_000_000;
        assert_eq!(clock.read(hour).instant, Instant::from_micros(hour));
        let right = Clock::default().read(hour).wall.as_micros();
        assert_eq!(clock.read(hour).wall.as_micros(), right - 2_000_000 + 360_000);
    }

    #[test]
    fn a_drawn_clock_stays_within_its_bounds() {
        let mut rng = Rng::new(3);
        for _ in 0..1_000 {
            let clock = Clock::drawn(Duration::from_millis(5), 50, 70, &mut rng);
            let drifts = [clock.drift_ppm.abs(), clock.rate_ppm.abs()];
            assert!(clock.skew_micros.abs() <= 5_000 && drifts[0] <= 50 && drifts[1] <= 70, "{clock:?}");
        }
    }

    #[test]
    fn a_moment_is_the_first_at_which_the_monotonic_clock_shows_that() {
        for rate_ppm in [-5_000, -1, 0, 3, 4_999] {
            let clock = Clock { rate_ppm, ..Clock::default() };
            for shown in [1, 199, 200, 201, 1_000_000, 3_600_000_001].map(Instant::from_micros) {
                let at = clock.moment(shown);
                assert!(clock.instant(at) >= shown && clock.instant(at - 1) < shown, "{rate_ppm} {shown:?}");
            }
        }
    }
}
