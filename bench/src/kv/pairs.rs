//! The pairs that are stored: computed from their number whenever they are needed, so that whoever measures takes no memory
//! for them, and any answer of a store can be checked in full.

/// So many pairs of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// How many.
    pub count: u32,
    /// Bytes of a key, at least [`LEAST_KEY`](Self::LEAST_KEY).
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Numbers between two keys; each key lies at random in the lower half of its own.
    step: u64,
}

impl Pairs {
    /// A key begins with a number of 8 bytes.
    pub const LEAST_KEY: usize = 8;

    /// `count` is at least 1.
    pub fn new(count: u32, key_size: usize, value_size: usize) -> Self {
        Self { count, key_size, value_size, step: u64::MAX / u64::from(count.max(1)) }
    }

    /// Bytes of a key and its value.
    pub fn pair_size(&self) -> u64 {
        (self.key_size + self.value_size) as u64
    }

    /// The key of this number. Keys ascend with their numbers and are spread over all there can be.
    pub fn key(&self, number: u32, out: &mut Vec<u8>) {
        self.place(number, 0, out);
    }

    /// A key that is never stored; it lies just behind that of the same number.
    pub fn absent_key(&self, number: u32, out: &mut Vec<u8>) {
        self.place(number, self.step / 2, out);
    }

    fn place(&self, number: u32, offset: u64, out: &mut Vec<u8>) {
        let random = mix(u64::from(number) ^ 0x6B65_7973);
        let at = u64::from(number) * self.step + offset + random % (self.step / 2).max(1);
        out.clear();
        out.extend_from_slice(&at.to_be_bytes());
        fill(random, self.key_size, out);
    }

    /// The value of this number after so many changes.
    pub fn value(&self, number: u32, version: u8, out: &mut Vec<u8>) {
        out.clear();
        fill(u64::from(number) << 8 | u64::from(version), self.value_size, out);
    }

    /// Where `nth` comes to lie when the numbers of all pairs are shuffled; each `shuffle` is another order.
    pub fn shuffled(&self, nth: u32, shuffle: u32) -> u32 {
        // A Feistel network is a permutation of 2^(2 * half) numbers; what is out of range is sent through again until
        // it is not, which leaves a permutation of the rest.
        let half = (u32::BITS - self.count.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
        let mask = (1_u32 << half) - 1;
        let mut at = nth;
        loop {
            let (mut left, mut right) = (at >> half, at & mask);
            for round in 0..4 {
                let salt = u64::from(shuffle) << 34 | round << 32;
                (left, right) = (right, left ^ (mix(salt | u64::from(right)) as u32 & mask));
            }
            at = left << half | right;
            if at < self.count {
                return at;
            }
        }
    }
}

/// Appends pseudo-random bytes until there are `len`.
fn fill(seed: u64, len: usize, out: &mut Vec<u8>) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(state).to_le_bytes()
    };
    let from = out.len();
    out.resize(len.max(from), 0);
    let (whole, rest) = out[from..].as_chunks_mut();
    whole.fill_with(&mut next);
    rest.copy_from_slice(&next()[..rest.len()]);
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes half of the output.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_absent_ones_lie_between() {
        for (count, size) in [(1, 8), (2, 9), (1000, 24)] {
            let pairs = Pairs::new(count, size, 10);
            let (mut key, mut absent, mut last) = (Vec::new(), Vec::new(), Vec::new());
            for number in 0..count {
                pairs.key(number, &mut key);
                pairs.absent_key(number, &mut absent);
                assert_eq!((key.len(), absent.len()), (size, size));
                assert!(last < key && key < absent, "{number} of {count}");
                last.clone_from(&absent);
            }
        }
    }

    #[test]
    fn values_differ_by_number_and_version() {
        let pairs = Pairs::new(300, 24, 150);
        let value = |number, version| {
            let mut out = Vec::new();
            pairs.value(number, version, &mut out);
            assert_eq!(out.len(), 150);
            out
        };
        assert_eq!(value(7, 1), value(7, 1));
        assert!(value(7, 1) != value(7, 2) && value(7, 1) != value(8, 1));
    }

    #[test]
    fn shuffles_are_permutations_and_differ() {
        for count in [1, 2, 3, 255, 256, 257, 1000] {
            let pairs = Pairs::new(count, 8, 1);
            let order = |shuffle| (0..count).map(|nth| pairs.shuffled(nth, shuffle)).collect::<Vec<_>>();
            let mut sorted = order(1);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            assert!(count < 255 || order(1) != order(2));
        }
    }
}
