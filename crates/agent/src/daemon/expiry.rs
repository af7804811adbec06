//! The end of the agent's certificate is told ahead: when it comes the agent stops, and another start ends the same.

use std::time::{Duration, SystemTime};

use rumormill::Wall;

use crate::print;

/// How long ahead: an alarm of Prometheus looks as far.
const TOLD_AHEAD: Duration = Duration::from_hours(7 * 24);

/// How often the clock is looked at, from the start on.
const LOOKED_EVERY: Duration = Duration::from_hours(24);

/// Warns in the log at the start and once a day, in the last days of the certificate.
pub(super) async fn warn(end: Wall) {
    let mut looks = tokio::time::interval(LOOKED_EVERY);
    loop {
        looks.tick().await;
        if let Some(warning) = warning(end, SystemTime::now()) {
            tracing::warn!("{warning}");
        }
    }
}

fn warning(end: Wall, now: SystemTime) -> Option<String> {
    let end = SystemTime::UNIX_EPOCH + Duration::from_micros(end.as_micros());
    // What has run out already has stopped the node.
    let left = end.duration_since(now).ok().filter(|left| *left <= TOLD_AHEAD)?;
    let second = jiff::Timestamp::try_from(end).ok()?;
    Some(format!(
        "the certificate runs out in {}, at {second}, and the agent stops then: have the same key admitted again (`rumor authority admit`), and start it anew with the new certificate",
        print::age(left.as_secs_f64()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_days_of_a_certificate_are_told() {
        let end = Wall::from_micros(2_000_000_000_000_000);
        let before = |left: Duration| SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000) - left;
        assert_eq!(warning(end, before(TOLD_AHEAD + Duration::from_secs(1))), None);
        let first = warning(end, before(TOLD_AHEAD)).unwrap();
        assert!(first.contains("in 7 d, at 2033-05-18T03:33:20Z"), "{first}");
        let last = warning(end, before(Duration::from_mins(1))).unwrap();
        assert!(last.contains("in 60 s, at 2033-05-18T03:33:20Z"), "{last}");
        assert_eq!(warning(end, before(Duration::ZERO) + Duration::from_secs(1)), None);
    }
}
