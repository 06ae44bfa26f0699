//! The bitmap of the pool and the place where the next search begins.

/// So many segments are kept in the structure itself; more need lent memory.
const INLINE: u32 = 128;
const INLINE_BYTES: usize = (INLINE / 8) as usize;

/// One bit per segment of the pool: set when it must not be given out.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    inline: [u8; INLINE_BYTES],
    count: u32,
    used: u32,
    /// Where the next search for a free segment begins.
    pub(crate) rotor: u32,
}

impl Segments {
    /// All of `count` segments free.
    pub(crate) fn new(count: u32) -> Self {
        Self { inline: [0; INLINE_BYTES], count, used: 0, rotor: 0 }
    }

    /// Bytes of lent memory that a pool of `count` segments needs.
    pub(crate) const fn memory(count: u32) -> usize {
        if count <= INLINE { 0 } else { count.div_ceil(8) as usize }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn free(&self) -> u32 {
        self.count.saturating_sub(self.used)
    }

    fn byte<'a>(&'a mut self, lent: &'a mut [u8], segment: u32) -> Option<&'a mut u8> {
        let bits: &mut [u8] = if self.count <= INLINE { &mut self.inline } else { lent };
        bits.get_mut((segment / 8) as usize)
    }

    #[cfg(test)]
    fn is_used(&mut self, lent: &mut [u8], segment: u32) -> bool {
        segment >= self.count || self.byte(lent, segment).is_none_or(|byte| *byte & (1 << (segment % 8)) != 0)
    }

    pub(crate) fn set(&mut self, lent: &mut [u8], segment: u32, used: bool) {
        let bit = 1 << (segment % 8);
        if segment < self.count
            && let Some(byte) = self.byte(lent, segment)
            && (*byte & bit != 0) != used
        {
            *byte ^= bit;
            self.used = if used { self.used.saturating_add(1) } else { self.used.saturating_sub(1) };
        }
    }

    /// The next free segment after the last one taken, marked as used.
    pub(crate) fn take(&mut self, lent: &mut [u8]) -> Option<u32> {
        for _ in 0..self.count {
            let segment = if self.rotor < self.count { self.rotor } else { 0 };
            self.rotor = segment.saturating_add(1);
            let before = self.used;
            self.set(lent, segment, true);
            if self.used != before {
                return Some(segment);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_in_a_ring_and_skips_what_is_used() {
        for count in [5, 128, 129, 1000] {
            let mut lent = std::vec![0; Segments::memory(count)];
            let mut segments = Segments::new(count);
            segments.set(&mut lent, 1, true);
            segments.set(&mut lent, 1, true);
            assert_eq!(segments.free(), count - 1);
            assert_eq!(segments.take(&mut lent), Some(0));
            assert_eq!(segments.take(&mut lent), Some(2));
            segments.set(&mut lent, 0, false);
            for next in 3..count {
                assert_eq!(segments.take(&mut lent), Some(next));
            }
            assert_eq!(segments.take(&mut lent), Some(0), "wraps");
            assert_eq!(segments.take(&mut lent), None, "full");
            assert_eq!(segments.free(), 0);
            assert!(segments.is_used(&mut lent, count), "outside is never free");
        }
    }
}
