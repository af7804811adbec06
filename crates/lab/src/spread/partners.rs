//! Whom to call: uniform draws, many at a time.

use rumormill_core::rng::Rng;

/// Numbers drawn at a time.
const BULK: usize = 512;

/// Uniform numbers below a bound, exactly (Lemire 2019), two from each 64 random bits and many at a time: so the
/// generator's chain of dependencies does not wait for the memory that the numbers point into.
#[derive(Debug)]
pub(super) struct Draws {
    rng: Rng,
    bound: u32,
    /// Products whose lower half lies below this are drawn anew.
    reject: u32,
    bulk: Box<[u32; BULK]>,
    next: usize,
}

impl Draws {
    pub(super) fn new(rng: Rng, bound: u32) -> Self {
        assert!(bound > 0, "a number below zero does not exist");
        Self { rng, bound, reject: bound.wrapping_neg() % bound, bulk: Box::new([0; BULK]), next: BULK }
    }

    #[inline]
    pub(super) fn take(&mut self) -> u32 {
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
