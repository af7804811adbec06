//! Time as the core sees it: moments on a clock that the driver owns.
//!
//! Two clocks enter with every input. [`Instant`] never runs back and measures how long something took;
//! [`Wall`] is the time of day, which people may set, and is only used where nodes must agree on a moment
//! (`expires` and `forget` of an update). Both are plain numbers, so that a virtual second costs nothing.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on the driver's monotonic clock: microseconds since an origin that the driver picks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was, or zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

/// Seconds of 13 years: a value's longest time to live and certificates fit into them.
const LAST_YEARS: u32 = 13 * 366 * 86_400;

/// A time of day: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Wall(u64);

impl Wall {
    /// The time `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Unix seconds with fraction, as documents show moments.
    #[expect(clippy::cast_precision_loss, reason = "a double holds microseconds until the year 2255")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The whole second that this moment lies in. A clock that is set to the last years before 2106 counts as standing at their
    /// beginning, so that what it dates has an end.
    pub fn seconds(self) -> Seconds {
        Seconds::real(self.0 / 1_000_000).min(Seconds(u32::MAX - LAST_YEARS))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// A whole Unix second, as it stands inside updates and sketches. Good until the year 2106.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
pub struct Seconds(pub u32);

impl Seconds {
    /// Later than every real second: what never happens.
    pub const NEVER: Self = Self(u32::MAX);

    /// A second, or the last real one where a clock is set beyond it.
    fn real(second: u64) -> Self {
        Self(u32::try_from(second).map_or(u32::MAX - 1, |second| second.min(u32::MAX - 1)))
    }

    /// The second after this one.
    pub(crate) const fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The next multiple of `step`, itself included.
    #[must_use]
    pub const fn rounded_up(self, step: u32) -> Self {
        assert!(step > 0);
        match self.0.checked_next_multiple_of(step) {
            Some(u32::MAX) | None if self.0 != u32::MAX => Self(u32::MAX - 1),
            Some(seconds) => Self(seconds),
            None => Self::NEVER,
        }
    }

    /// This second plus a duration, whose fraction counts as a whole second. A real second stays one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
        if self == Self::NEVER { Self::NEVER } else { Self::real(u64::from(self.0).saturating_add(whole)) }
    }
}

/// The two clocks at the moment of an input.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The time of day.
    pub wall: Wall,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_second_never_becomes_never_however_far_ahead_a_clock_is() {
        let last = Wall::from_micros(u64::MAX).seconds();
        assert!(last.plus(Duration::from_hours(12 * 366 * 24)) < last.plus(Duration::MAX));
        for second in
            [last.plus(Duration::MAX), Seconds(u32::MAX - 1).rounded_up(3_600), Seconds(7).plus(Duration::MAX)]
        {
            assert_eq!(second, Seconds(u32::MAX - 1));
        }
        assert_eq!(Seconds(7_201).rounded_up(3_600), Seconds(10_800));
        assert_eq!(Seconds::NEVER.plus(Duration::from_secs(1)), Seconds::NEVER);
        assert_eq!(Seconds::NEVER.rounded_up(3_600), Seconds::NEVER);
    }
}
