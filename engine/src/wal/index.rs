//! The offset index of one segment: a fixed number of slots, each the place of one entry.
//!
//! Slot i tells where entry `first + (i << stride)` begins. When the slots are full, every other one is dropped and the
//! stride doubles. A slot is one word: the position in words of 4 bytes in bits 0..22, and in bits 22..32 how many
//! epochs had begun in the segment before the entry (the checksum needs the epoch).

/// So many epochs at most begin in one segment; then the segment is left.
pub(crate) const MAX_EPOCHS: u32 = 1 << 10;

/// A place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) position: u32,
    /// Epochs begun in the segment before.
    pub(crate) epochs: u32,
}

impl Slot {
    pub(crate) fn decode(word: u32) -> Self {
        Self { position: (word & 0x3F_FFFF) << 2, epochs: word >> 22 }
    }

    fn encode(self) -> u32 {
        self.position >> 2 & 0x3F_FFFF | self.epochs << 22
    }
}

/// The index of the segment that is being written.
#[derive(Debug, Clone)]
pub(crate) struct Index<const SLOTS: usize> {
    words: [u32; SLOTS],
    used: u16,
    stride: u8,
}

impl<const SLOTS: usize> Index<SLOTS> {
    pub(crate) const fn new() -> Self {
        const {
            assert!(
                SLOTS >= 2 && SLOTS.is_multiple_of(2) && SLOTS <= 4096,
                "2 to 4096 slots, an even number"
            );
        };
        Self { words: [0; SLOTS], used: 0, stride: 0 }
    }

    /// Notes where the `nth` entry of the segment begins. Called once for each entry, in order.
    #[inline(never)]
    pub(crate) fn note(&mut self, nth: u32, slot: Slot) {
        if nth != u32::from(self.used) << (self.stride & 31) {
            return;
        }
        if usize::from(self.used) == SLOTS {
            for kept in 0..SLOTS / 2 {
                let word = self.words.get(kept.wrapping_mul(2)).copied().unwrap_or(0);
                if let Some(place) = self.words.get_mut(kept) {
                    *place = word;
                }
            }
            self.used /= 2;
            self.stride = self.stride.wrapping_add(1);
        }
        if let Some(place) = self.words.get_mut(usize::from(self.used)) {
            *place = slot.encode();
            self.used = self.used.wrapping_add(1);
        }
    }

    /// The last slot at or before the `nth` entry, in its encoding; `nth` becomes the entry that it is of.
    pub(crate) fn find(&self, nth: &mut u32) -> Option<u32> {
        let at = nth_slot(*nth, self.used, self.stride)?;
        *nth = at << (self.stride & 31);
        self.words.get(at as usize).copied()
    }

    pub(crate) fn words(&self) -> &[u32] {
        self.words.get(..usize::from(self.used)).unwrap_or_default()
    }

    pub(crate) fn stride(&self) -> u8 {
        self.stride
    }
}

/// Of so many slots the one at or before the `nth` entry.
pub(crate) fn nth_slot(nth: u32, used: u16, stride: u8) -> Option<u32> {
    Some((nth >> (stride & 31)).min(u32::from(used.checked_sub(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_slot_however_many_entries_there_are() {
        for entries in [1_u32, 15, 16, 17, 31, 32, 33, 100, 5000] {
            let mut index = Index::<16>::new();
            assert_eq!(index.find(&mut 0), None);
            for nth in 0..entries {
                index.note(nth, Slot { position: 56 + nth * 40, epochs: nth / 100 });
            }
            let apart = 1 << index.stride();
            assert!(apart * 8 <= entries.max(8) * 2, "{entries} entries, stride {apart}");
            for nth in 0..entries {
                let mut of = nth;
                let slot = index.find(&mut of).map(Slot::decode).unwrap();
                assert!(of <= nth && nth - of < apart, "{nth} of {entries}: {of}");
                assert_eq!(slot, Slot { position: 56 + of * 40, epochs: of / 100 });
            }
        }
    }
}
