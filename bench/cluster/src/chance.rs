//! Random picks and waits. They need no seed: what is measured is not repeatable to the microsecond anyway.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// A number below `end`.
pub(crate) fn below(end: usize) -> usize {
    assert!(end > 0, "there is nothing to pick from");
    let bits = RandomState::new().hash_one(0_u8);
    usize::try_from(bits % end as u64).expect("it is below a usize")
}

/// A length of time within `range`, to the millisecond.
pub(crate) fn duration(range: Range<Duration>) -> Duration {
    let span = usize::try_from((range.end.saturating_sub(range.start)).as_millis()).expect("waits are seconds");
    range.start + Duration::from_millis(below(span.max(1)) as u64)
}
