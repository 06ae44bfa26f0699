//! Bloom filters in lines of 64 bytes: all bits of a key are in one line, so that a question costs one small read.
//!
//! ```text
//!   a line:  0  4 crc     over volume id, block, generation of the table, number of the line, bytes 4..64
//!            4 60 bits    480, six of them for a key
//! ```
//! A line that is damaged answers "perhaps": the pages behind it have checksums of their own. Without the checksum a flipped
//! bit would say that a key is not there.
//!
//! Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007).

use crate::codec::{Checksum, put_word, word_at};

/// Bytes of a line.
pub(super) const LINE: usize = 64;
const HEAD: usize = 4;
const BITS: u32 = ((LINE - HEAD) * 8) as u32;
/// Bits of a key.
const PROBES: u32 = 6;

/// What the filter knows of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl Hash {
    /// Part of the format on the device: eight bytes a step, multiplied and folded.
    pub(super) fn of(key: &[u8]) -> Self {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut state = MULTIPLIER ^ key.len() as u64;
        let mut mix = |word: u64| {
            state = (state ^ word).wrapping_mul(MULTIPLIER);
            state ^= state >> 32;
        };
        let (words, rest) = key.as_chunks::<8>();
        for word in words {
            mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        mix(u64::from_le_bytes(last));
        mix(0);
        Self(state)
    }

    /// Which of so many lines the key's bits are in.
    pub(super) fn line(self, lines: u32) -> u32 {
        ((self.0 >> 32).wrapping_mul(u64::from(lines)) >> 32) as u32
    }

    /// Calls with each byte of the line and the bit in it, while the answer is true.
    fn bits(self, mut call: impl FnMut(usize, u8) -> bool) -> bool {
        let (mut at, step) = (self.0 as u32, (self.0 as u32).rotate_left(13) | 1);
        for _ in 0..PROBES {
            at = at.wrapping_mul(0x85EB_CA6B).wrapping_add(step);
            let bit = (u64::from(at).wrapping_mul(u64::from(BITS)) >> 32) as u32;
            if !call((bit / 8) as usize, 1 << (bit % 8)) {
                return false;
            }
        }
        true
    }
}

/// Lines for so many keys with so many bits each, if there is room for `most`.
pub(super) fn lines(keys: u32, bits: u32, most: u32) -> u32 {
    if bits == 0 {
        return 0;
    }
    keys.saturating_mul(bits).div_ceil(BITS).clamp(1, most.max(1))
}

/// Adds a key to a filter of so many lines.
pub(super) fn add(filter: &mut [u8], lines: u32, hash: Hash) {
    let start = (hash.line(lines) as usize).wrapping_mul(LINE).wrapping_add(HEAD);
    if let Some(line) = filter.get_mut(start..) {
        hash.bits(|byte, bit| {
            if let Some(place) = line.get_mut(byte) {
                *place |= bit;
            }
            true
        });
    }
}

/// Whose lines they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) volume_id: u32,
    pub(super) block: u32,
    pub(super) generation: u32,
}

impl Owner {
    fn sum(self, number: u32, bits: &[u8]) -> u32 {
        let sum = Checksum::new().word(self.volume_id).word(self.block).word(self.generation);
        sum.word(number).bytes(bits).finish()
    }
}

/// Completes a filter.
pub(super) fn seal(filter: &mut [u8], owner: Owner) {
    for (number, line) in filter.chunks_exact_mut(LINE).enumerate() {
        let sum = owner.sum(number as u32, line.get(HEAD..).unwrap_or_default());
        put_word(line, sum);
    }
}

/// Whether the key may be there, by its line as it was read.
pub(super) fn may_have(line: &[u8], number: u32, owner: Owner, hash: Hash) -> bool {
    // What is there needs no proof here. What is not must not be taken from a damaged line.
    may_have_proved(line, hash) || !is_sound(line, number, owner)
}

/// The same for a line that is [proved](prove).
pub(super) fn may_have_proved(line: &[u8], hash: Hash) -> bool {
    let bits = line.get(HEAD..LINE).unwrap_or_default();
    hash.bits(|byte, bit| bits.get(byte).is_none_or(|place| *place & bit != 0))
}

fn is_sound(line: &[u8], number: u32, owner: Owner) -> bool {
    word_at(line, 0) == owner.sum(number, line.get(HEAD..LINE).unwrap_or_default())
}

/// Looks once whether the lines of a filter are sound: those that are not let every key pass from then on.
pub(super) fn prove(filter: &mut [u8], owner: Owner) {
    for (number, line) in filter.chunks_exact_mut(LINE).enumerate() {
        if !is_sound(line, number as u32, owner) {
            line.fill(0xFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    const OWNER: Owner = Owner { volume_id: 1, block: 2, generation: 3 };

    fn asked(filter: &[u8], lines: u32, key: &[u8]) -> bool {
        let hash = Hash::of(key);
        let line = hash.line(lines);
        may_have(&filter[line as usize * LINE..][..LINE], line, OWNER, hash)
    }

    #[test]
    fn what_is_there_is_found_and_little_else() {
        for keys in [1_u32, 50, 300, 3000] {
            let count = lines(keys, 10, 1000);
            let mut filter = vec![0; count as usize * LINE];
            for key in 0..keys {
                add(&mut filter, count, Hash::of(&key.to_be_bytes()));
            }
            seal(&mut filter, OWNER);
            assert!((0..keys).all(|key| asked(&filter, count, &key.to_be_bytes())));
            let wrong = (keys..keys + 10_000).filter(|key| asked(&filter, count, &key.to_be_bytes())).count();
            assert!(wrong < 250, "{keys} keys: {wrong} of 10,000 others");
        }
    }

    #[test]
    fn a_damaged_line_denies_nothing() {
        let mut filter = vec![0; LINE];
        add(&mut filter, 1, Hash::of(b"here"));
        seal(&mut filter, OWNER);
        for bit in 0..LINE * 8 {
            filter[bit / 8] ^= 1 << (bit % 8);
            assert!(asked(&filter, 1, b"here"), "bit {bit}");
            let mut proved = filter.clone();
            prove(&mut proved, OWNER);
            assert!(may_have_proved(&proved, Hash::of(b"not here")), "bit {bit}");
            filter[bit / 8] ^= 1 << (bit % 8);
            prove(&mut filter, OWNER);
            assert!(!may_have_proved(&filter, Hash::of(b"not here")), "bit {bit}");
        }
        let other = Owner { generation: 4, ..OWNER };
        assert!(may_have(&filter, 0, other, Hash::of(b"not here")), "the line of another table");
        assert!(!asked(&filter, 1, b"not here"));
    }
}
