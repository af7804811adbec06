//! Leases: registers that somebody holds for a time.
//!
//! **Invariant:** whoever holds a lease counts its time from before it asked. Everybody else counts from a moment at which that
//! very version was there to be seen, which was later, and longer by as much as two clocks may differ; then it takes the lease
//! over by a swap that expects that version. So nobody has it as long as another believes to, if clocks keep to their bound.

use std::time::Duration;

use super::Value;
use crate::time::Instant;
use crate::wire::{Put, Reader};

/// What the names of registers of leases begin with.
pub const LEASE_PREFIX: &str = ">lease/";
/// The longest name of a lease, in bytes.
pub const LEASE_BYTES_MAX: usize = 200;
/// The longest label of a holder, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// The shortest and the longest time of a lease.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// See [`TTL_MIN`].
pub const TTL_MAX: Duration = Duration::from_hours(1);

/// The layout of the value.
const FORMAT: u8 = 1;

/// What the register of a lease holds.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Lease {
    /// Who has it: a random number of the contender's own, not of its node; 0 for nobody.
    pub holder: u64,
    /// The version that the register had when the present or last holder acquired it. It rises with each acquisition: versions
    /// do, also when a lease is released, which leaves the register there without a holder.
    pub token: u64,
    /// For how long it was asked, in milliseconds.
    pub ttl: Duration,
    /// What people are shown of the holder.
    pub label: String,
}

impl Lease {
    /// Whether anybody has it, or had it last without a release.
    pub const fn is_held(&self) -> bool {
        self.holder != 0
    }

    pub(crate) fn to_bytes(&self) -> Value {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.holder.to_le_bytes());
        bytes.put_varint(self.token);
        bytes.extend_from_slice(&u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.put_short_block(self.label.as_bytes());
        bytes.into()
    }

    /// What a register holds at a version. What makes no sense here may to others: it counts as held for the longest time.
    pub(crate) fn read(version: u64, value: Option<&[u8]>) -> Self {
        let strange = || Self { holder: u64::MAX, token: version, ttl: TTL_MAX, label: "unknown".to_owned() };
        value.map_or_else(Self::default, |bytes| Self::read_bytes(bytes).unwrap_or_else(strange))
    }

    fn read_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let is_known = reader.u8()? == FORMAT;
        let (holder, token) = (reader.u64()?, reader.varint()?);
        let ttl = Duration::from_millis(reader.u32()?.into());
        let label = reader.short_text()?.to_owned();
        (is_known && reader.is_empty() && ttl <= TTL_MAX).then_some(Self { holder, token, ttl, label })
    }
}

/// What is wanted of a lease.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum Wish {
    /// To have it, as soon as nobody else does.
    Acquire {
        /// Shown to people.
        label: String,
        /// For how long.
        ttl: Duration,
    },
    /// To have it for longer.
    Renew {
        /// As it was acquired.
        token: u64,
        /// For how long from now on.
        ttl: Duration,
    },
    /// To have it no more.
    Release {
        /// As it was acquired.
        token: u64,
    },
    /// The same for one who has gone, unless it was renewed or acquired again since.
    Forgo {
        /// As it was acquired.
        token: u64,
    },
}

/// What a contender does next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Move {
    /// It puts this in the place of the version that it was told.
    Swap(Lease),
    /// Another has it; it may be taken over then, unless another version comes first.
    Wait(Instant),
    /// Another has it, or nobody.
    Lost,
}

/// One that wants something of a lease.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Contender {
    holder: u64,
    wish: Wish,
    /// The version that it saw another have, and when it did first.
    sight: Option<(u64, Instant)>,
}

impl Contender {
    /// One that has seen nothing yet.
    pub const fn new(holder: u64, wish: Wish) -> Self {
        Self { holder, wish, sight: None }
    }

    /// The same, where another version was seen before: whoever waits need not begin anew.
    #[must_use]
    pub fn having_seen(self, sight: Option<(u64, Instant)>) -> Self {
        Self { sight, ..self }
    }

    /// The version that it saw another have, and since when.
    pub const fn sight(&self) -> Option<(u64, Instant)> {
        self.sight
    }

    /// What it wants.
    pub const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Whether it has the lease.
    pub const fn has(&self, lease: &Lease) -> bool {
        lease.holder == self.holder
    }

    /// What it does, told what the register holds at a version. `drift_ppm` is by how many millionths one clock may run
    /// faster than another.
    pub fn judge(&mut self, version: u64, lease: &Lease, now: Instant, drift_ppm: u32) -> Move {
        let is_own = self.has(lease);
        match &self.wish {
            Wish::Acquire { label, ttl } if is_own => Move::Swap(self.prolonged(lease, label, *ttl)),
            Wish::Acquire { label, ttl } => {
                if lease.is_held() {
                    let seen = self.sight.filter(|(seen, _)| *seen == version).map_or(now, |(_, at)| at);
                    self.sight = Some((version, seen));
                    let over = seen + patience(lease.ttl, drift_ppm);
                    if now < over {
                        return Move::Wait(over);
                    }
                }
                let (label, ttl) = (label.clone(), *ttl);
                Move::Swap(Lease { holder: self.holder, token: version.saturating_add(1), ttl, label })
            }
            Wish::Renew { token, ttl } if is_own && *token == lease.token => {
                Move::Swap(self.prolonged(lease, &lease.label, *ttl))
            }
            Wish::Release { token } if is_own && *token == lease.token => {
                Move::Swap(Lease { token: *token, ..Lease::default() })
            }
            // The token is the version at which it was acquired: at a later one somebody has been told that he has it.
            Wish::Forgo { token } if is_own && (*token, version) == (lease.token, lease.token) => {
                Move::Swap(Lease { token: *token, ..Lease::default() })
            }
            Wish::Renew { .. } | Wish::Release { .. } | Wish::Forgo { .. } => Move::Lost,
        }
    }

    /// The same lease for longer, with its token. It never becomes shorter: should its holder not hear that it did, it would
    /// count on more than others grant.
    fn prolonged(&self, lease: &Lease, label: &str, ttl: Duration) -> Lease {
        Lease { holder: self.holder, token: lease.token, ttl: ttl.max(lease.ttl), label: label.to_owned() }
    }
}

/// How long others wait: the time of the lease on the fastest clock, and the microsecond that a reading lacks.
fn patience(ttl: Duration, drift_ppm: u32) -> Duration {
    let micros = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
    let margin = micros.saturating_mul(drift_ppm.into()).div_ceil(1_000_000);
    Duration::from_micros(micros.saturating_add(margin).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const DRIFT: u32 = 10_000;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn acquire(holder: u64) -> Contender {
        Contender::new(holder, Wish::Acquire { label: "n".to_owned(), ttl: TTL })
    }

    fn held(holder: u64, token: u64) -> Lease {
        Lease { holder, token, ttl: TTL, label: "n".to_owned() }
    }

    #[test]
    fn what_nobody_has_is_taken_and_the_version_that_this_makes_is_the_token() {
        assert_eq!(acquire(7).judge(0, &Lease::default(), at(0), DRIFT), Move::Swap(held(7, 1)));
        let released = Lease { token: 3, ..Lease::default() };
        assert_eq!(acquire(7).judge(5, &released, at(0), DRIFT), Move::Swap(held(7, 6)));
    }

    #[test]
    fn what_another_has_is_taken_over_once_its_time_and_the_drift_have_passed_since_it_was_seen() {
        let mut contender = acquire(7);
        let lease = held(8, 3);
        let Move::Wait(over) = contender.judge(4, &lease, at(1_000), DRIFT) else { panic!("another has it") };
        assert_eq!(over, Instant::from_micros(1_000_000 + 10_100_000 + 1));
        assert_eq!(contender.judge(4, &lease, at(11_100), DRIFT), Move::Wait(over));
        assert_eq!(contender.judge(4, &lease, over, DRIFT), Move::Swap(held(7, 5)));
    }

    #[test]
    fn a_renewal_that_is_seen_starts_the_time_anew() {
        let mut contender = acquire(7);
        contender.judge(4, &held(8, 3), at(0), DRIFT);
        let later = contender.judge(5, &held(8, 3), at(9_000), DRIFT);
        assert_eq!(later, Move::Wait(at(9_000) + patience(TTL, DRIFT)));
    }

    #[test]
    fn whoever_has_it_gets_it_again_with_the_same_token_and_never_for_less() {
        let mut short = Contender::new(7, Wish::Acquire { label: "n".to_owned(), ttl: TTL / 2 });
        assert_eq!(short.judge(9, &held(7, 3), at(0), DRIFT), Move::Swap(held(7, 3)));
        let mut renewal = Contender::new(7, Wish::Renew { token: 3, ttl: TTL });
        assert_eq!(renewal.judge(9, &held(7, 3), at(0), DRIFT), Move::Swap(held(7, 3)));
    }

    #[test]
    fn what_was_lost_is_neither_renewed_nor_released() {
        for wish in [Wish::Renew { token: 3, ttl: TTL }, Wish::Release { token: 3 }] {
            for lease in [held(8, 4), held(7, 4), Lease { token: 3, ..Lease::default() }] {
                assert_eq!(Contender::new(7, wish.clone()).judge(9, &lease, at(0), DRIFT), Move::Lost);
            }
        }
        let released = Contender::new(7, Wish::Release { token: 3 }).judge(9, &held(7, 3), at(0), DRIFT);
        assert_eq!(released, Move::Swap(Lease { token: 3, ..Lease::default() }));
    }

    #[test]
    fn what_was_won_for_one_who_has_gone_is_given_back_unless_it_was_renewed_since() {
        let forgo = || Contender::new(7, Wish::Forgo { token: 3 });
        let released = Move::Swap(Lease { token: 3, ..Lease::default() });
        assert_eq!(forgo().judge(3, &held(7, 3), at(0), DRIFT), released);
        for (version, lease) in [(4, held(7, 3)), (4, held(7, 4)), (3, held(8, 3))] {
            assert_eq!(forgo().judge(version, &lease, at(0), DRIFT), Move::Lost, "{version}");
        }
    }

    #[test]
    fn what_makes_no_sense_counts_as_held_for_long() {
        let strange = Lease::read(4, Some(b"?"));
        assert!(strange.is_held() && strange.ttl == TTL_MAX);
        assert!(!Lease::read(4, None).is_held());
    }

    proptest! {
        #[test]
        fn a_lease_reads_back(holder: u64, token in 0_u64..1 << 56, millis in 0_u64..3_600_000, label in "[a-z]{0,64}") {
            let lease = Lease { holder, token, ttl: Duration::from_millis(millis), label };
            prop_assert_eq!(Lease::read(1, Some(&lease.to_bytes())), lease);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _lease = Lease::read(1, Some(&bytes));
        }
    }
}
