//! One number for many bytes: what a node did, and what a part of a recording holds.
//!
//! It shows what differs by accident, and keeps nobody from forging anything. So it may be far cheaper than the keyed hashes of
//! updates: whatever a node says while it is recorded goes through it. The step is the folded product of wyhash (Wang Yi) and of
//! MUM-hash (Makarov) before it; this is neither of them.

/// Odd, and without a pattern: the fractions of the golden ratio and of the roots of 3 and 5.
const FACTORS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b];

/// One number for all outputs of a node, and for what it asked of its signatures, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub(super) const fn keyed(key: u64) -> Self {
        Self(key)
    }

    /// Takes in what comes next, encoded.
    pub fn note(&mut self, bytes: &[u8]) {
        self.mix((bytes.len() as u64, 0));
        let (pairs, rest) = bytes.as_chunks::<16>();
        for bytes in pairs {
            self.mix(pair(bytes));
        }
        if !rest.is_empty() {
            let mut padded = [0; 16];
            padded[..rest.len()].copy_from_slice(rest);
            self.mix(pair(&padded));
        }
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        folded(self.0 ^ FACTORS[0], FACTORS[2])
    }

    /// Each word, and what came before, is in every bit of the product.
    fn mix(&mut self, (one, other): (u64, u64)) {
        self.0 = folded(one ^ FACTORS[0], other ^ FACTORS[1] ^ self.0).wrapping_add(self.0.rotate_left(23));
    }
}

/// Both halves of a product.
fn folded(one: u64, other: u64) -> u64 {
    let product = (u128::from(one) * u128::from(other)).to_le_bytes();
    let (low, high) = pair(&product);
    low ^ high
}

fn pair(bytes: &[u8; 16]) -> (u64, u64) {
    let (words, _) = bytes.as_chunks::<8>();
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut fingerprint = Fingerprint::default();
        for part in parts {
            fingerprint.note(part);
        }
        fingerprint.get()
    }

    #[test]
    fn every_bit_every_length_and_where_one_ends_matters() {
        let bytes: Vec<u8> = (1..=100).collect();
        let mut seen = BTreeSet::from([of(&[&bytes]), of(&[&bytes, &[]]), of(&[])]);
        let mut expected = 3;
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                seen.insert(of(&[&changed]));
            }
            seen.insert(of(&[&bytes[..place]]));
            seen.insert(of(&[&bytes[..place], &bytes[place..]]));
            expected += 10;
        }
        for zeros in 1..200 {
            seen.insert(of(&[&vec![0; zeros]]));
            seen.insert(of(&vec![&[0][..]; zeros + 1]));
            expected += 2;
        }
        assert_eq!(seen.len(), expected);
        assert_ne!(of(&[&[1], &[2]]), of(&[&[2], &[1]]));
    }
}
