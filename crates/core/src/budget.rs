//! The bandwidth contract: what a node sends in any second stays below `bandwidth_max`, headers included.
//!
//! Two token buckets. Acks, refutations and probes pay from the first, which is filled with 2,000 bytes a second
//! whatever else happens; everything else pays from the second. A bucket holds a quarter of its second and is
//! filled with three quarters, so that no window of one second ever sees more than the whole.
//!
//! From the second, datagrams are paid in small coin and pieces of streams in large: a piece would never find enough
//! left over. While one waits, half of what comes in is set aside for it.

use std::time::Duration;

use crate::config::BANDWIDTH_LEAST;
use crate::identity::Overhead;
use crate::time::Instant;

/// What IPv4 and UDP add to a datagram.
pub(crate) const DATAGRAM_HEADERS: usize = 28;
/// What IPv4 and TCP add to a piece of a stream, for each 1,400 bytes.
const STREAM_HEADERS: usize = 40;

/// What waits on streams takes no longer than this before more is promised to anybody.
const BACKLOG: Duration = Duration::from_secs(4);

/// Who pays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// Acks, refutations, probes.
    Urgent,
    /// Everything else.
    Other,
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Bucket {
    /// Bytes a second, all in all.
    rate: f64,
    tokens: f64,
    /// Of these, what only a stream may take: a piece waits for it.
    aside: f64,
    /// Whether a piece of a stream waits.
    saves: bool,
    filled_at: Instant,
}

/// Bytes that may still be sent; no bound if `bandwidth_max` is off.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Budget {
    buckets: Option<[Bucket; 2]>,
    overhead: Overhead,
}

impl Budget {
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    pub(crate) fn new(bandwidth_max: u64, overhead: Overhead, now: Instant) -> Self {
        let bucket = |rate: u64| Bucket {
            rate: rate as f64,
            tokens: rate as f64 / 4.0,
            aside: 0.0,
            saves: false,
            filled_at: now,
        };
        let buckets = || [bucket(BANDWIDTH_LEAST), bucket(bandwidth_max.saturating_sub(BANDWIDTH_LEAST))];
        Self { buckets: (bandwidth_max > 0).then(buckets), overhead }
    }

    /// From now on there is another bound. What was saved under the old one is kept as far as the new one allows, so that no
    /// second sees more than the larger of the two.
    pub(crate) fn change(&mut self, bandwidth_max: u64, now: Instant) {
        let old = std::mem::replace(self, Self::new(bandwidth_max, self.overhead, now));
        for (bucket, mut old) in self.buckets.iter_mut().flatten().zip(old.buckets.into_iter().flatten()) {
            old.fill(now);
            bucket.tokens = bucket.tokens.min(old.tokens);
            (bucket.aside, bucket.saves) = (old.aside.min(bucket.tokens), old.saves);
        }
    }

    /// Whether there is a contract.
    pub(crate) const fn is_limited(&self) -> bool {
        self.buckets.is_some()
    }

    /// Pays for a datagram, or says that it must not go out.
    pub(crate) fn pay_datagram(&mut self, class: Class, bytes: usize, now: Instant) -> bool {
        let Some([urgent, other]) = &mut self.buckets else { return true };
        let bytes = bytes + self.overhead.datagram + DATAGRAM_HEADERS;
        // An ack that carries a large claim is more than its bucket ever holds.
        class == Class::Urgent && urgent.pay_datagram(bytes, now) || other.pay_datagram(bytes, now)
    }

    /// Pays for a piece of a stream, or says that it has to wait.
    pub(crate) fn pay_stream(&mut self, bytes: usize, now: Instant) -> bool {
        let Some([_, other]) = &mut self.buckets else { return true };
        other.pay_stream(on_wire(bytes + self.overhead.piece), now)
    }

    /// Pays for the first bytes of a stream, which do not wait for those of others; `false` if they have to.
    pub(crate) fn pay_opening(&mut self, bytes: usize, now: Instant) -> bool {
        let Some([_, other]) = &mut self.buckets else { return true };
        other.pay_datagram(on_wire(bytes + self.overhead.opening + self.overhead.piece), now)
    }

    /// No stream waits any more: nothing is set aside.
    pub(crate) fn release(&mut self) {
        if let Some([_, other]) = &mut self.buckets {
            (other.aside, other.saves) = (0.0, false);
        }
    }

    /// The largest piece of a stream that can ever be paid for.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a quarter of a positive rate")]
    pub(crate) fn piece_max(&self, wanted: usize) -> usize {
        match &self.buckets {
            None => wanted,
            Some([_, other]) => {
                let headers = 2 * STREAM_HEADERS + self.overhead.piece;
                ((other.rate / 4.0 / 1.1) as usize).saturating_sub(headers).clamp(1, wanted)
            }
        }
    }

    /// Bytes that may wait on streams before no more is promised.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds of a positive rate")]
    pub(crate) fn backlog_max(&self) -> usize {
        match &self.buckets {
            None => usize::MAX,
            Some([_, other]) => (BACKLOG.as_secs_f64() * other.streams_rate()) as usize,
        }
    }

    /// How long until a piece of that size can be paid for.
    #[expect(clippy::cast_precision_loss, reason = "pieces are small")]
    pub(crate) fn wait_for(&self, bytes: usize) -> Duration {
        match &self.buckets {
            None => Duration::ZERO,
            Some([_, other]) => {
                let lacking = on_wire(bytes + self.overhead.piece) as f64 - other.tokens;
                Duration::from_secs_f64((lacking / (other.rate * 0.75).max(1.0)).clamp(0.001, 1.0))
            }
        }
    }
}

/// A piece of a stream with the headers that it gets.
const fn on_wire(bytes: usize) -> usize {
    bytes + bytes.div_ceil(1_400) * STREAM_HEADERS
}

#[expect(clippy::cast_precision_loss, reason = "datagrams and pieces are small")]
impl Bucket {
    /// What streams get at least, in bytes a second.
    fn streams_rate(&self) -> f64 {
        (self.rate * 0.75 / 2.0).max(1.0)
    }

    fn fill(&mut self, now: Instant) {
        let most = self.rate / 4.0;
        let income = now.since(self.filled_at).as_secs_f64() * self.rate * 0.75;
        self.filled_at = now;
        self.tokens = (self.tokens + income).min(most);
        if self.saves {
            self.aside = (self.aside + income / 2.0).min(self.tokens);
        }
    }

    fn pay_datagram(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let pays = self.tokens - self.aside >= bytes as f64;
        if pays {
            self.tokens -= bytes as f64;
        }
        pays
    }

    fn pay_stream(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let pays = self.tokens >= bytes as f64;
        if pays {
            self.tokens -= bytes as f64;
            self.aside = 0.0;
        }
        self.saves = !pays;
        pays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sealing_adds_is_paid_for() {
        let overhead = Overhead { datagram: 28, piece: 18, opening: 61 };
        let sent = |overhead| {
            let mut budget = Budget::new(10_000, overhead, Instant::ZERO);
            let mut count = 0;
            while budget.pay_datagram(Class::Other, 72, Instant::ZERO) {
                count += 1;
            }
            count
        };
        // A quarter of 8,000 bytes at once: 100 a datagram with the headers of IPv4 and UDP, 128 under seal.
        assert_eq!((sent(Overhead::default()), sent(overhead)), (20, 15));
    }

    #[test]
    fn no_second_sees_more_than_the_whole() {
        let mut budget = Budget::new(10_000, Overhead::default(), Instant::ZERO);
        let mut sent: Vec<(u64, usize)> = Vec::new();
        for millis in 0..5_000_u64 {
            let now = Instant::from_micros(millis * 1_000);
            for class in [Class::Urgent, Class::Other] {
                if budget.pay_datagram(class, 72, now) {
                    sent.push((millis, 100));
                }
            }
        }
        let worst = (0..4_000)
            .map(|start| {
                sent.iter().filter(|(at, _)| (start..start + 1_000).contains(at)).map(|(_, b)| b).sum::<usize>()
            })
            .max();
        assert!(worst.is_some_and(|worst| (7_000..=10_000).contains(&worst)), "{worst:?}");
    }

    #[test]
    fn a_bound_that_is_changed_again_and_again_lets_no_second_see_more_than_the_larger() {
        let mut budget = Budget::new(20_000, Overhead::default(), Instant::ZERO);
        let mut sent = vec![0; 5_000];
        for millis in 0..5_000_u64 {
            let now = Instant::from_micros(millis * 1_000);
            if millis % 100 == 0 {
                budget.change(if millis % 200 == 0 { 10_000 } else { 20_000 }, now);
            }
            while budget.pay_datagram(Class::Other, 72, now) {
                sent[usize::try_from(millis).unwrap()] += 100;
            }
        }
        let worst = sent.windows(1_000).map(|second| second.iter().sum::<usize>()).max().unwrap();
        assert!((8_000..=18_000).contains(&worst), "{worst}: what all but probes may take");
    }

    #[test]
    fn probes_are_paid_for_while_everything_else_is_spent() {
        let mut budget = Budget::new(2_000, Overhead::default(), Instant::ZERO);
        assert!(!budget.pay_datagram(Class::Other, 100, Instant::ZERO));
        assert!(budget.pay_datagram(Class::Urgent, 100, Instant::ZERO));
    }
    #[test]
    fn a_stream_gets_half_of_what_a_flood_of_datagrams_would_take() {
        let mut budget = Budget::new(20_000, Overhead::default(), Instant::ZERO);
        let piece = budget.piece_max(16 << 10);
        let (mut datagrams, mut streams) = (0, 0);
        for millis in 0..20_000_u64 {
            let now = Instant::from_micros(millis * 1_000);
            while budget.pay_datagram(Class::Other, 150, now) {
                datagrams += 150;
            }
            if budget.pay_stream(piece, now) {
                streams += piece;
            }
        }
        assert!(streams * 10 > datagrams * 9, "{streams} on streams, {datagrams} in datagrams");
        assert!(datagrams * 10 > streams * 7, "{streams} on streams, {datagrams} in datagrams");
    }
}
