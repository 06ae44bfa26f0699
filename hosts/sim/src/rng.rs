//! Seeded numbers and content hashes. Both are written out here because a replayed state must be the same for ever:
//! a dependency's generator may change its sequence between versions.

const K0: u64 = 0x9E37_79B9_7F4A_7C15;
const K1: u64 = 0xE703_7ED1_A0B4_28DB;

/// SplitMix64 (Steele, Lea, Flood 2014): any seed is a good seed, and the state is one word.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(K0);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is more than 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "an empty range holds no number");
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Folded multiply of two words, as in wyhash.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ K0).wrapping_mul(u128::from(b ^ K1));
    let folded = product ^ (product >> 64);
    u64::try_from(folded & u128::from(u64::MAX)).unwrap_or(0)
}

/// A 64-bit hash of `bytes`; not for adversaries.
pub(crate) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed, bytes.len() as u64);
    let (pairs, rest) = bytes.as_chunks::<16>();
    for pair in pairs {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *pair;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let high = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
        // The second factor has to depend on the hash: a constant would let some word make it 0 and lose the rest.
        hash = mix(hash ^ low, hash.rotate_left(32) ^ high);
    }
    for chunk in rest.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word), hash.rotate_left(32));
    }
    mix(hash, K0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_byte_and_the_length_reach_the_hash() {
        let zeros = [0u8; 40];
        let mut seen = std::collections::HashSet::new();
        for len in 0..40 {
            assert!(seen.insert(hash_bytes(7, &zeros[..len])));
        }
        for at in 0..40 {
            let mut bytes = zeros;
            bytes[at] = 1;
            assert!(seen.insert(hash_bytes(7, &bytes)), "byte {at}");
        }
    }
}
