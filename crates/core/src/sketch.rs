//! Sketches of sets of ids: two sets are reconciled at a cost that follows their difference, not their size.
//!
//! A sketch is a prefix of a rateless invertible Bloom lookup table (Yang, Gilad and Alizadeh, "Practical Rateless
//! Set Reconciliation", SIGCOMM 2024): an endless sequence of symbols, each the xor of the ids that belong to it.
//! An id belongs to symbol 0 and to symbol `i` with probability `1 / (1 + i/2)`; which symbols these are is a function
//! of the id alone. The xor of two sketches is therefore the sketch of what only one side has, and a symbol that holds
//! one id gives it away; taken out of the other symbols it uncovers the next ([`decode`]). `d` differences need
//! about 1.35 d to 1.76 d symbols; whoever has too few asks for the ones that follow.
//!
//! What is hashed here is hashed without a key, because the ids are keyed hashes already: nobody outside the cluster
//! can choose them. Whatever a member sends is decoded within bounds ([`Decoded::Hostile`]).
//!
//! The same ids give the same symbols on every machine: whole numbers, and double-precision conversion, division
//! and square root, which IEEE 754 defines to the last bit.

use std::ops::{BitXor, BitXorAssign};

/// The longest sketch that one exchange uses, in symbols; a larger difference is cheaper as a stream.
pub const SYMBOLS_MAX: usize = 4_096;

/// The size of a symbol on the wire.
pub const SYMBOL_BYTES: usize = 12;

/// One coded symbol: the ids that belong to it and their checksums, each folded into one by xor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Symbol {
    /// The xor of the ids.
    pub ids: u64,
    /// The xor of the ids' checksums, which tells one id from the xor of several.
    pub checks: u32,
}

impl Symbol {
    /// A symbol that holds no id, or a set whose ids and checksums cancel: of honest ones, one in 2^96.
    pub const EMPTY: Self = Self { ids: 0, checks: 0 };

    /// As on the wire: ids, checksums, little-endian.
    pub fn to_bytes(self) -> [u8; SYMBOL_BYTES] {
        let mut bytes = [0; SYMBOL_BYTES];
        let (ids, checks) = bytes.split_at_mut(size_of::<u64>());
        ids.copy_from_slice(&self.ids.to_le_bytes());
        checks.copy_from_slice(&self.checks.to_le_bytes());
        bytes
    }

    /// The inverse of [`to_bytes`](Self::to_bytes); every sequence of bytes is a symbol.
    pub fn from_bytes(bytes: [u8; SYMBOL_BYTES]) -> Self {
        let [ids @ .., c0, c1, c2, c3] = bytes;
        Self { ids: u64::from_le_bytes(ids), checks: u32::from_le_bytes([c0, c1, c2, c3]) }
    }

    /// The symbol that holds `id` alone. The checksum is not linear in xor, as it must not be.
    #[inline]
    fn of(id: u64) -> Self {
        Self { ids: id, checks: (mix(id) >> 32) as u32 }
    }

    /// The one id in this symbol, if it is one: of the symbols that hold several, one in 2^32 is mistaken for it.
    #[inline]
    fn sole_id(self) -> Option<u64> {
        (self == Self::of(self.ids)).then_some(self.ids)
    }
}

impl BitXor for Symbol {
    type Output = Self;

    #[inline]
    fn bitxor(self, other: Self) -> Self {
        Self { ids: self.ids ^ other.ids, checks: self.checks ^ other.checks }
    }
}

impl BitXorAssign for Symbol {
    #[inline]
    fn bitxor_assign(&mut self, other: Self) {
        *self = *self ^ other;
    }
}

/// The first symbols of a set of ids, kept up to date as the set changes.
///
/// It does not hold the set: its owner sees to it that an id is inserted once, and removed only when it is in.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Sketch {
    symbols: Box<[Symbol]>,
    count: u64,
}

impl Sketch {
    /// The first `symbols` symbols of the empty set.
    ///
    /// # Panics
    /// If `symbols` is zero.
    pub fn new(symbols: usize) -> Self {
        assert!(symbols > 0, "a sketch has at least the symbol that settles equality");
        Self { symbols: vec![Symbol::EMPTY; symbols].into_boxed_slice(), count: 0 }
    }

    /// The first `symbols` symbols of the set `ids`: how a sketch is made longer, at the cost of one scan.
    pub fn grown(symbols: usize, ids: impl Iterator<Item = u64>) -> Self {
        let mut sketch = Self::new(symbols);
        ids.for_each(|id| sketch.insert(id));
        sketch
    }

    /// Adds an id that is not in the set, in O(log symbols).
    pub fn insert(&mut self, id: u64) {
        self.count += 1;
        toggle(&mut self.symbols, 0, id);
    }

    /// Takes out an id that is in the set, in O(log symbols).
    ///
    /// # Panics
    /// If the set is empty.
    pub fn remove(&mut self, id: u64) {
        assert!(self.count > 0, "an id can be removed only where it was inserted");
        self.count -= 1;
        toggle(&mut self.symbols, 0, id);
    }

    /// How many ids are in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The symbols, from symbol 0.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }
}

/// Puts `id` into `symbols`, which begin at symbol `offset` of the endless sequence, or takes it out again.
#[inline]
pub fn toggle(symbols: &mut [Symbol], offset: usize, id: u64) {
    let alone = Symbol::of(id);
    let end = offset + symbols.len();
    for place in Places::of(id).skip_while(|&place| place < offset).take_while(|&place| place < end) {
        symbols[place - offset] ^= alone;
    }
}

/// What a difference of two sketches turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decoded {
    /// All ids that one of the two sets has and the other has not, each once, in rising order. From a single symbol
    /// this is only as sure as its checksum: of larger differences, one in 2^32 looks like one id.
    Complete(Vec<u64>),
    /// The symbols are too few for this difference: decode again with those that follow.
    Incomplete {
        /// How many ids came out nevertheless. None of few symbols means that many differ.
        found: usize,
    },
    /// No two sets have these symbols: they yield more ids than symbols, or one id twice. An honest difference ends
    /// here when several ids pass for one, about once in 2^28 ids.
    Hostile,
}

/// Finds the ids in `difference`, the xor of two sketches of one length, by peeling.
///
/// Takes a time that follows the number of symbols, whatever they are: each honest id empties one symbol for good,
/// so that peeling stops after as many ids as there are symbols.
pub fn decode(mut difference: Vec<Symbol>) -> Decoded {
    let mut ids = Vec::new();
    let mut ripe: Vec<usize> = (0..difference.len()).filter(|&at| difference[at].sole_id().is_some()).collect();
    while let Some(at) = ripe.pop() {
        // The symbol may have been emptied through another one that held the same id.
        let Some(id) = difference[at].sole_id() else { continue };
        if ids.len() == difference.len() {
            return Decoded::Hostile;
        }
        ids.push(id);
        peel(&mut difference, id, &mut ripe);
    }
    // All ids belong to symbol 0: without it nothing is known to be complete.
    if difference.is_empty() || difference.iter().any(|symbol| *symbol != Symbol::EMPTY) {
        return Decoded::Incomplete { found: ids.len() };
    }
    ids.sort_unstable();
    if ids.is_sorted_by(|before, after| before < after) { Decoded::Complete(ids) } else { Decoded::Hostile }
}

/// Takes `id` out of the symbols that it belongs to, and adds those that now hold one id to `ripe`.
fn peel(symbols: &mut [Symbol], id: u64, ripe: &mut Vec<usize>) {
    let alone = Symbol::of(id);
    let end = symbols.len();
    for place in Places::of(id).take_while(|&place| place < end) {
        symbols[place] ^= alone;
        if symbols[place].sole_id().is_some() {
            ripe.push(place);
        }
    }
}

/// The places of the symbols that an id belongs to, in rising order from 0, without end.
struct Places {
    next: usize,
    state: u64,
}

impl Places {
    #[inline]
    fn of(id: u64) -> Self {
        Self { next: 0, state: mix(id) }
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let place = self.next;
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        self.next = beyond(place, self.state);
        Some(place)
    }
}

/// The place that follows `place`: beyond `j` with probability `((place + 1.5) / (j + 1.5))^2`.
///
/// The authors' rule is `place + ceil((place + 1.5) (1/sqrt(r) - 1))` with `r` uniform in (0, 1], drawn from `random`.
/// The same is `(place + 1.5)/sqrt(r) - 0.5` rounded down, which takes one multiplication of whole numbers from place
/// to place; the slow square root and division do not wait for it. (Rounding makes symbol 1 4 % rarer than
/// `1 / (1 + i/2)`, and later ones less and less.)
///
/// Deviation: `1/sqrt(r)` is cut to 36 binary digits, and where theirs is a whole number ours is one more, so
/// that places rise strictly.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "up to 52 bits fit a double exactly")]
#[expect(clippy::cast_possible_truncation, reason = "cutting the fraction is the definition; at most 2^62")]
fn beyond(place: usize, random: u64) -> usize {
    const DIGITS: u32 = 36;
    // Signed, because that conversion is one instruction on every processor.
    let r = ((random >> 12) + 1).cast_signed();
    let stretch = ((1_i64 << (26 + DIGITS)) as f64 / (r as f64).sqrt()) as i64;
    let twice = u128::from(2 * place as u64 + 3) * u128::from(stretch.cast_unsigned());
    usize::try_from((twice - (1 << DIGITS)) >> (DIGITS + 1)).unwrap_or(usize::MAX)
}

/// Spreads the bits of an id over all others: splitmix64 (Steele, Lea and Flood 2014), a bijection.
///
/// Its constant is added first, so that the id 0 has a checksum and a walk like any other.
#[inline]
fn mix(id: u64) -> u64 {
    let mut z = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "places and counts are small")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    fn random_ids(rng: &mut Rng, count: usize) -> Vec<u64> {
        (0..count).map(|_| rng.bits()).collect()
    }

    fn sketch_of(symbols: usize, ids: &[u64]) -> Sketch {
        Sketch::grown(symbols, ids.iter().copied())
    }

    fn difference(ours: &Sketch, theirs: &Sketch) -> Vec<Symbol> {
        ours.symbols().iter().zip(theirs.symbols()).map(|(a, b)| *a ^ *b).collect()
    }

    /// How many symbols it takes to find `ids`: more symbols never decode less, so that halving finds it.
    fn symbols_needed(ids: &[u64]) -> usize {
        let sketch = sketch_of(SYMBOLS_MAX, ids);
        let decodes = |symbols: usize| matches!(decode(sketch.symbols()[..symbols].to_vec()), Decoded::Complete(_));
        let (mut too_few, mut enough) = (0, ids.len());
        while !decodes(enough) {
            (too_few, enough) = (enough, 2 * enough);
        }
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            if decodes(middle) { enough = middle } else { too_few = middle }
        }
        enough
    }

    /// Symbols per difference over `trials` random differences: the mean and its standard error.
    fn overhead(differences: usize, trials: u32) -> (f64, f64) {
        let mut rng = Rng::new(differences as u64);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..trials {
            let ratio = symbols_needed(&random_ids(&mut rng, differences)) as f64 / differences as f64;
            sum += ratio;
            squares += ratio * ratio;
        }
        let (mean, n) = (sum / f64::from(trials), f64::from(trials));
        (mean, ((squares / n - mean * mean) / (n - 1.0)).sqrt())
    }

    #[test]
    fn one_difference_takes_one_symbol() {
        assert_eq!(overhead(1, 1_000), (1.0, 0.0));
    }

    #[test]
    fn symbols_per_difference_are_those_of_the_published_mapping() {
        // From a simulation of the authors' mapping, to three digits after the point. A correct mean is within four
        // standard errors of it, as the trials give them, but once in 16,000.
        for (differences, trials, published) in [
            (2, 20_000, 1.585),
            (3, 20_000, 1.713),
            (4, 20_000, 1.751),
            (5, 20_000, 1.762),
            (8, 10_000, 1.749),
            (16, 5_000, 1.661),
            (32, 2_000, 1.569),
            (64, 1_000, 1.492),
            (256, 500, 1.407),
        ] {
            let (mean, error) = overhead(differences, trials);
            let off = (mean - published).abs();
            assert!(off <= 4.0 * error + 0.0005, "{differences}: {mean:.4} ± {error:.4}, published {published}");
        }
    }

    #[test]
    fn an_id_belongs_to_symbol_i_as_often_as_the_gap_rule_says() {
        let (trials, places) = (100_000_u32, 64_usize);
        let beyond = |from: usize, to: usize| ((from as f64 + 1.5) / (to as f64 + 1.5)).powi(2);
        let mut expected = vec![1.0];
        for place in 1..places {
            let chance = |from: usize| expected[from] * (beyond(from, place - 1) - beyond(from, place));
            expected.push((0..place).map(chance).sum());
        }
        let mut held = vec![0_u32; places];
        for id in random_ids(&mut Rng::new(11), trials as usize) {
            Places::of(id).take_while(|&place| place < places).for_each(|place| held[place] += 1);
        }
        for (place, (&held, p)) in held.iter().zip(expected).enumerate() {
            let share = f64::from(held) / f64::from(trials);
            let deviation = (p * (1.0 - p) / f64::from(trials)).sqrt();
            assert!((share - p).abs() <= 5.0 * deviation, "symbol {place}: {share:.4}, not {p:.4}");
            // The rule is an approximation of the one in the module's words, 4 % off at symbol 1 and closer behind it.
            assert!((p * (1.0 + place as f64 / 2.0) - 1.0).abs() <= 0.04 + 1e-9, "symbol {place}: {p:.4}");
        }
    }

    #[test]
    fn places_are_those_of_the_authors_rule() {
        // Where the places differ, 52 and 36 digits fell on two sides of a whole number: less than once in 2^20 steps
        // inside the longest sketch.
        let mut rng = Rng::new(12);
        for _ in 0..100_000 {
            let (place, random) = (rng.below(SYMBOLS_MAX), rng.bits());
            let stretch = 4_294_967_296.0 / (random as f64 + 1.0).sqrt();
            let theirs = place as f64 + ((place as f64 + 1.5) * (stretch - 1.0)).ceil();
            let ours = beyond(place, random) as f64;
            let outside = ours.min(theirs) >= SYMBOLS_MAX as f64;
            assert!((ours - theirs).abs() < 0.5 || outside, "after {place}: {ours}, not {theirs}");
        }
    }

    #[test]
    fn places_rise_at_the_ends_of_the_random_numbers() {
        for place in [0, 1, SYMBOLS_MAX, usize::MAX >> 2] {
            assert_eq!(beyond(place, u64::MAX), place + 1, "the shortest step");
            assert!(beyond(place, 0) > place << 1, "the longest step");
        }
    }

    #[test]
    fn symbols_are_the_same_in_every_release() {
        let places: Vec<usize> = Places::of(0x0123_4567_89ab_cdef).take_while(|&place| place < SYMBOLS_MAX).collect();
        assert_eq!(places, [0, 4, 5, 6, 20, 37, 64, 104, 472, 1_070, 3_198]);
        let bytes = Symbol::of(0x0123_4567_89ab_cdef).to_bytes();
        assert_eq!(bytes, [239, 205, 171, 137, 103, 69, 35, 1, 7, 56, 122, 21]);
    }

    #[test]
    fn every_id_can_be_found_zero_included() {
        for id in [0, 1, 1 << 63, u64::MAX, 0_u64.wrapping_sub(0x9e37_79b9_7f4a_7c15)] {
            assert_eq!(decode(sketch_of(1, &[id]).symbols().to_vec()), Decoded::Complete(vec![id]));
        }
    }

    #[test]
    fn equal_sets_differ_in_nothing_and_no_symbols_say_nothing() {
        assert_eq!(decode(vec![Symbol::EMPTY]), Decoded::Complete(vec![]));
        assert_eq!(decode(vec![]), Decoded::Incomplete { found: 0 });
    }

    #[test]
    fn ids_without_end_are_hostile() {
        // A symbol holds an id that symbol 0 lacks: taken out of the one it appears in the other, and back.
        let id = 7;
        let at = Places::of(id).nth(1).expect("places have no end");
        let mut symbols = vec![Symbol::EMPTY; at + 1];
        symbols[at] = Symbol::of(id);
        assert_eq!(decode(symbols), Decoded::Hostile);
    }

    #[test]
    fn two_ids_that_pass_for_a_third_never_make_a_wrong_answer() {
        // Found by trying 2^33 pairs: the xor of any two of these is the third, checksum included.
        let [a, b, c] = [23_859, 40_510, 49_933];
        assert_eq!(Symbol::of(a) ^ Symbol::of(b), Symbol::of(c));
        for set in [[a, b], [a, c], [b, c]] {
            for symbols in 2..100 {
                let decoded = decode(sketch_of(symbols, &set).symbols().to_vec());
                assert!(decoded == Decoded::Complete(set.to_vec()) || decoded == Decoded::Hostile, "{decoded:?}");
            }
        }
        let peeled_twice = sketch_of(6, &[a, c]);
        assert_eq!(decode(peeled_twice.symbols().to_vec()), Decoded::Hostile, "{b} was found and taken back");
    }

    proptest! {
        #[test]
        fn two_sets_find_their_difference(
            common in vec(any::<u64>(), 0..200),
            ours in btree_set(any::<u64>(), 0..100),
            theirs in btree_set(any::<u64>(), 0..100),
        ) {
            let mut mine: BTreeSet<u64> = common.iter().copied().collect();
            let mut yours = mine.clone();
            mine.extend(&ours);
            yours.extend(&theirs);
            let [a, b] = [&mine, &yours].map(|set| Sketch::grown(2_048, set.iter().copied()));
            let expected: Vec<u64> = mine.symmetric_difference(&yours).copied().collect();
            prop_assert_eq!(decode(difference(&a, &b)), Decoded::Complete(expected));
            prop_assert_eq!(a.count(), mine.len() as u64);
        }

        #[test]
        fn what_is_removed_leaves_no_trace(kept in vec(any::<u64>(), 0..50), gone in vec(any::<u64>(), 0..50)) {
            let mut sketch = sketch_of(100, &kept);
            for &id in &gone {
                sketch.insert(id);
            }
            for &id in &gone {
                sketch.remove(id);
            }
            prop_assert_eq!(sketch, sketch_of(100, &kept));
        }

        #[test]
        fn later_symbols_can_be_made_without_the_earlier(ids in vec(any::<u64>(), 0..50), offset in 0..300_usize) {
            let whole = sketch_of(300, &ids);
            let mut tail = vec![Symbol::EMPTY; 300 - offset];
            for &id in &ids {
                toggle(&mut tail, offset, id);
            }
            prop_assert_eq!(&tail[..], &whole.symbols()[offset..]);
        }

        #[test]
        fn no_symbols_whatever_break_the_decoder(bytes in vec(any::<[u8; SYMBOL_BYTES]>(), 0..300)) {
            let symbols: Vec<Symbol> = bytes.iter().copied().map(Symbol::from_bytes).collect();
            prop_assert!(symbols.iter().zip(&bytes).all(|(symbol, bytes)| symbol.to_bytes() == *bytes));
            prop_assert!(!matches!(decode(symbols), Decoded::Complete(ids) if ids.len() > bytes.len()));
        }

        #[test]
        fn symbols_with_valid_checksums_do_not_break_it_either(ids in vec(0..20_u64, 0..300)) {
            // Unlike random bytes these peel. What is called complete must have the very symbols it was found in.
            let symbols: Vec<Symbol> = ids.iter().copied().map(Symbol::of).collect();
            if let Decoded::Complete(found) = decode(symbols.clone()) {
                let again = sketch_of(symbols.len(), &found);
                prop_assert_eq!(again.symbols(), &symbols[..]);
            }
        }
    }
}
