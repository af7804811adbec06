//! Amounts that name the addition that they belong to.

/// How many additions one counter can tell apart.
pub const AMOUNTS: usize = 31;

/// The amount of the nth addition to a counter: a power of four, every third one taken off. Of a sum of some of them,
/// each once, `parts` tells which they are.
pub fn amount(n: usize) -> i64 {
    assert!(n < AMOUNTS, "the sums of one node stay below 2^64");
    let size = 1 << (2 * n);
    if n % 3 == 2 { -size } else { size }
}

/// Which addition an amount names.
pub(super) fn number(of: i64) -> Option<usize> {
    (0..AMOUNTS).find(|&n| amount(n) == of)
}

/// Of which additions a value is the sum, or `None` if one was counted twice or never made.
pub(super) fn parts(value: i128) -> Option<Vec<usize>> {
    let mut parts = Vec::new();
    let mut rest = value;
    for n in 0..AMOUNTS {
        let own = i128::from(amount(n)) >> (2 * n);
        match rest.rem_euclid(4) {
            0 => {}
            digit if digit == own.rem_euclid(4) => {
                parts.push(n);
                rest -= own;
            }
            _ => return None,
        }
        rest >>= 2;
    }
    (rest == 0).then_some(parts)
}

#[cfg(test)]
mod tests {
    use rumormill_core::rng::Rng;

    use super::*;

    #[test]
    fn a_sum_tells_its_parts_and_one_counted_twice_is_noticed() {
        let mut rng = Rng::new(1);
        for _ in 0..1_000 {
            let chosen: Vec<usize> = (0..AMOUNTS).filter(|_| rng.chance(0.5)).collect();
            let sum: i128 = chosen.iter().map(|&n| i128::from(amount(n))).sum();
            assert_eq!(parts(sum), Some(chosen.clone()));
            if let Some(&twice) = chosen.first() {
                assert_eq!(parts(sum + i128::from(amount(twice))), None);
            }
        }
        assert_eq!((0..AMOUNTS).map(amount).map(number).collect::<Option<Vec<_>>>(), Some((0..AMOUNTS).collect()));
        assert_eq!(number(7), None);
    }
}
