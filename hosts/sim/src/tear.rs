//! What an interrupted operation leaves in one unit. Pure functions of old content, new content and a seed.

use std::fmt;

use crate::condition::Reading;
use crate::rng::Rng;

/// Where a unit of `len` bytes is cut: the places where formats keep flags, lengths and checksums.
fn cuts(len: usize) -> Vec<usize> {
    let mut cuts = vec![1, 4, 8, len / 2, len - 1];
    cuts.retain(|cut| *cut > 0 && *cut < len);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// A torn block: bytes of old and new, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockTear {
    /// The first bytes are new.
    Prefix(usize),
    /// The last bytes are new.
    Suffix(usize),
    /// Every second byte is new, from this one on.
    Alternate(usize),
    Garbage,
    Unstable,
    Unreadable,
}

impl BlockTear {
    pub(crate) fn all(len: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for cut in cuts(len) {
            all.extend([Self::Prefix(cut), Self::Suffix(cut)]);
        }
        all.extend([Self::Alternate(0), Self::Alternate(1), Self::Garbage, Self::Unstable, Self::Unreadable]);
        all
    }

    /// Turns the old content in `unit` into the torn one. An unstable unit holds what it was meant to: that is what
    /// its reads must never return.
    pub(crate) fn apply(self, unit: &mut [u8], new: &[u8], seed: u64) -> Reading {
        let len = unit.len();
        match self {
            Self::Prefix(cut) => unit[..cut].copy_from_slice(&new[..cut]),
            Self::Suffix(cut) => unit[len - cut..].copy_from_slice(&new[len - cut..]),
            Self::Alternate(first) => {
                for at in (first..len).step_by(2) {
                    unit[at] = new[at];
                }
            }
            Self::Garbage => Rng::new(seed).fill(unit),
            Self::Unstable => {
                unit.copy_from_slice(new);
                return Reading::Unstable;
            }
            Self::Unreadable => return Reading::Unreadable,
        }
        Reading::Good
    }
}

impl fmt::Display for BlockTear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(cut) => write!(f, "its first {cut} bytes new"),
            Self::Suffix(cut) => write!(f, "its last {cut} bytes new"),
            Self::Alternate(0) => f.write_str("its even bytes new"),
            Self::Alternate(_) => f.write_str("its odd bytes new"),
            Self::Garbage => f.write_str("garbage"),
            Self::Unstable => f.write_str("garbage that differs at each read"),
            Self::Unreadable => f.write_str("unreadable until rewritten"),
        }
    }
}

/// A flash unit whose program was cut: bits are cleared or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramTear {
    Untouched,
    /// The first bytes are programmed.
    Prefix(usize),
    /// A seeded subset of the bits that were to be cleared is.
    Bits(u64),
    /// A seeded set of bits is cleared, whether they were to be or not.
    Garbage,
    Unstable,
    Unreadable,
}

impl ProgramTear {
    pub(crate) fn all(len: usize) -> Vec<Self> {
        let mut all = vec![Self::Untouched];
        all.extend(cuts(len).into_iter().map(Self::Prefix));
        all.extend([Self::Bits(0), Self::Bits(1), Self::Garbage, Self::Unstable, Self::Unreadable]);
        all
    }

    /// Turns the old content in `unit` into the torn one.
    pub(crate) fn apply(self, unit: &mut [u8], new: &[u8], seed: u64) -> Reading {
        match self {
            Self::Untouched => {}
            Self::Prefix(cut) => and(&mut unit[..cut], &new[..cut]),
            Self::Bits(salt) => {
                let mut bits = vec![0; unit.len()];
                Rng::new(seed ^ salt.rotate_left(32)).fill(&mut bits);
                for ((old, new), keep) in unit.iter_mut().zip(new).zip(bits) {
                    *old &= new | keep;
                }
            }
            Self::Garbage => {
                let mut bits = vec![0; unit.len()];
                Rng::new(!seed).fill(&mut bits);
                and(unit, &bits);
            }
            Self::Unstable => {
                and(unit, new);
                return Reading::Unstable;
            }
            Self::Unreadable => return Reading::Unreadable,
        }
        Reading::Good
    }
}

fn and(old: &mut [u8], new: &[u8]) {
    for (old, new) in old.iter_mut().zip(new) {
        *old &= new;
    }
}

impl fmt::Display for ProgramTear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => f.write_str("not programmed"),
            Self::Prefix(cut) => write!(f, "its first {cut} bytes programmed"),
            Self::Bits(salt) => write!(f, "some of its bits programmed (pattern {salt})"),
            Self::Garbage => f.write_str("random bits cleared"),
            Self::Unstable => f.write_str("reads differently each time"),
            Self::Unreadable => f.write_str("unreadable until erased"),
        }
    }
}

/// An erase unit whose erase was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EraseTear {
    /// All old, but weakened.
    Unchanged,
    /// The first bytes are `0xFF`, the rest is old.
    Front(usize),
    /// The last bytes are `0xFF`, the rest is old.
    Back(usize),
    /// Every second byte is `0xFF`.
    Alternate,
    /// A seeded set of bits is set.
    Bits,
    /// All `0xFF`, and yet not reliably erased.
    Blank,
    Unstable,
    Unreadable,
}

impl EraseTear {
    pub(crate) fn all(len: usize) -> Vec<Self> {
        let mut places = vec![16, 64, len / 2, len.saturating_sub(64)];
        places.retain(|place| *place > 0 && *place < len);
        places.sort_unstable();
        places.dedup();
        let mut all = vec![Self::Unchanged];
        for place in places {
            all.extend([Self::Front(place), Self::Back(place)]);
        }
        all.extend([Self::Alternate, Self::Bits, Self::Blank, Self::Unstable, Self::Unreadable]);
        all
    }

    /// Turns the old content in `unit` into the torn one.
    pub(crate) fn apply(self, unit: &mut [u8], seed: u64) -> Reading {
        let len = unit.len();
        match self {
            Self::Unchanged => {}
            Self::Front(end) => unit[..end].fill(0xFF),
            Self::Back(count) => unit[len - count..].fill(0xFF),
            Self::Alternate => unit.iter_mut().step_by(2).for_each(|byte| *byte = 0xFF),
            Self::Bits => {
                let mut bits = vec![0; len];
                Rng::new(seed).fill(&mut bits);
                unit.iter_mut().zip(bits).for_each(|(byte, set)| *byte |= set);
            }
            Self::Blank => unit.fill(0xFF),
            Self::Unstable => return Reading::Unstable,
            Self::Unreadable => return Reading::Unreadable,
        }
        Reading::Good
    }
}

impl fmt::Display for EraseTear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("still old, unreliable"),
            Self::Front(end) => write!(f, "its first {end} bytes 0xFF, the rest old"),
            Self::Back(count) => write!(f, "its last {count} bytes 0xFF, the rest old"),
            Self::Alternate => f.write_str("every second byte 0xFF, the rest old"),
            Self::Bits => f.write_str("random bits set"),
            Self::Blank => f.write_str("blank, unreliable"),
            Self::Unstable => f.write_str("reads differently each time"),
            Self::Unreadable => f.write_str("unreadable until erased"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_tears_mix_old_and_new() {
        let new = [2u8; 512];
        for tear in BlockTear::all(512) {
            let mut unit = [1u8; 512];
            let reading = tear.apply(&mut unit, &new, 7);
            match tear {
                BlockTear::Unstable | BlockTear::Unreadable => assert_ne!(reading, Reading::Good),
                _ => assert!(unit != [1; 512] && unit != new, "{tear}"),
            }
        }
        let mut unit = [1u8; 8];
        BlockTear::Suffix(3).apply(&mut unit, &new[..8], 0);
        assert_eq!(unit, [1, 1, 1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn program_tears_never_set_a_bit_and_bit_tears_only_clear_what_was_meant() {
        let old = [0xF7u8; 16];
        let new = [0xA5u8; 16];
        for tear in ProgramTear::all(16) {
            let mut unit = old;
            tear.apply(&mut unit, &new, 3);
            for (at, byte) in unit.iter().enumerate() {
                assert_eq!(byte & !old[at], 0, "{tear}");
                if matches!(tear, ProgramTear::Bits(_)) {
                    assert_eq!(byte & old[at] & new[at], old[at] & new[at], "{tear}");
                }
            }
        }
    }

    #[test]
    fn erase_tears_never_clear_a_bit() {
        for tear in EraseTear::all(4096) {
            let mut unit = vec![0x5A; 4096];
            tear.apply(&mut unit, 3);
            assert!(unit.iter().all(|byte| byte & 0x5A == 0x5A), "{tear}");
        }
    }

    #[test]
    fn units_of_one_byte_can_be_torn() {
        assert!(cuts(1).is_empty());
        assert_eq!(cuts(2), [1]);
        assert!(!BlockTear::all(1).is_empty() && !ProgramTear::all(1).is_empty());
    }
}
