//! The time of day at one node, which may be wrong; the monotonic clock never is.

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
}

impl Clock {
    /// A clock wrong by up to `skew` either way, and running up to `drift_ppm` millionths too fast or too slow.
    pub(crate) fn drawn(skew: Duration, drift_ppm: u32, rng: &mut Rng) -> Self {
        let within = |bound: u64, rng: &mut Rng| {
            let width = usize::try_from(2 * bound + 1).expect("64-bit machines");
            let drawn = i64::try_from(rng.below(width)).expect("below the bound");
            drawn - i64::try_from(bound).expect("a bound far below the width of the clock")
        };
        Self { skew_micros: within(micros(skew), rng), drift_ppm: within(u64::from(drift_ppm), rng) }
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
        Now { instant: Instant::from_micros(at), wall: Wall::from_micros(wall) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_and_drift_move_the_time_of_day_and_never_the_monotonic_clock() {
        let clock = Clock { skew_micros: -2_000_000, drift_ppm: 100 };
        let hour = 3_600_000_000;
        assert_eq!(clock.read(hour).instant, Instant::from_micros(hour));
        let right = Clock::default().read(hour).wall.as_micros();
        assert_eq!(clock.read(hour).wall.as_micros(), right - 2_000_000 + 360_000);
    }

    #[test]
    fn a_drawn_clock_stays_within_its_bounds() {
        let mut rng = Rng::new(3);
        for _ in 0..1_000 {
            let clock = Clock::drawn(Duration::from_millis(5), 50, &mut rng);
            assert!(clock.skew_micros.abs() <= 5_000 && clock.drift_ppm.abs() <= 50, "{clock:?}");
        }
    }
}
