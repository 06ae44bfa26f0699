//! What a pair says, and values too long for a page of pairs.
//!
//! ```text
//!   ├ pairs ┤ ... ┤ pairs ┤ filter ┤ index ┤ free ┤ value 2 ┤ value 1 ┤ value 0 ┤      a table
//! ```
//! A long value stands in the table of its pair, from the end of the block towards its pages. Its pair says where, and its checksum. Until a
//! table has it, only the log does, and the memtable says where there.

use crate::codec::{Checksum, put_word, word_at};
use crate::index::Ground;
use crate::node;
use crate::volume::Fault;

/// Bytes by which a table's pair says where its long value is.
pub(crate) const IN_TABLE: usize = 12;
/// The same for the memtable's.
pub(crate) const IN_LOG: usize = 16;

/// What a pair says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// This.
    Short(&'a [u8]),
    /// What stands elsewhere.
    Long(Long),
}

/// A value that stands elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    pub(crate) len: u32,
    /// Checksum over all of it.
    pub(crate) crc: u32,
    /// A segment of the log has it, not a block.
    pub(crate) in_log: bool,
    /// That, and where in it.
    pub(crate) unit: u32,
    pub(crate) at: u32,
}

/// The most that [`node::pair_size`] may be of a key and a word more than the value has: half of a page, and what lengths can say.
pub(crate) const fn max_pair(page_size: usize) -> usize {
    let half = node::usable(page_size) / 2;
    if half < 1 << 14 { half } else { 1 << 14 }
}

/// Bytes of a value that stand in a page of pairs of this size at most, for a key of this length.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn longest_short(page_size: usize, key: usize) -> usize {
    // The word before the value in the memtable, and lengths of two bytes.
    max_pair(page_size).saturating_sub(node::pair_size(key, 0)).saturating_sub(5)
}

/// Whether a value has no room in a page of pairs.
#[inline]
pub(crate) fn is_long(page_size: usize, key: usize, value: usize) -> bool {
    // Mostly it is far from that.
    value > page_size / 8 && value > longest_short(page_size, key)
}

/// The checksum of a value. What is the same at another place is the same value.
pub(crate) fn sum(value: &[u8]) -> u32 {
    Checksum::new().bytes(value).finish()
}

impl Long {
    /// As a table's pair says it.
    pub(crate) fn write(&self, to: &mut [u8]) {
        for (place, word) in
            to.as_chunks_mut::<4>().0.iter_mut().zip([self.len, self.crc, self.at, self.unit])
        {
            put_word(place, word);
        }
    }

    /// What [`write`](Self::write) wrote; of a table's pair, `unit` is not known.
    pub(crate) fn read(bytes: &[u8], in_log: bool) -> Self {
        let unit = if in_log { word_at(bytes, 12) } else { 0 };
        Self { len: word_at(bytes, 0), crc: word_at(bytes, 4), at: word_at(bytes, 8), in_log, unit }
    }

    /// Some of it, from a byte on; not proved.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn part<G: Ground>(&self, ground: &mut G, from: u32, out: &mut [u8]) -> Result<(), Fault> {
        let at = self.at.saturating_add(from);
        if self.in_log { ground.read_log(self.unit, at, out) } else { ground.read_part(self.unit, at, out) }
    }

    /// The fault for one that is not what was written.
    pub(super) fn damaged<G: Ground>(&self, ground: &mut G) -> Fault {
        ground.damaged(if self.in_log { u32::MAX } else { self.unit })
    }

    /// All of it. One device read.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn copy<G: Ground>(&self, ground: &mut G, out: &mut [u8]) -> Result<(), Fault> {
        self.part(ground, 0, out)?;
        if sum(out) == self.crc { Ok(()) } else { Err(self.damaged(ground)) }
    }

    /// Whether it is what was written. Reads it piece by piece into `buffer`.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn is_sound<G: Ground>(&self, ground: &mut G, buffer: &mut [u8]) -> Result<bool, Fault> {
        let (mut from, mut sum) = (0, Checksum::new());
        while from < self.len {
            let len = buffer.len().min(self.len.wrapping_sub(from) as usize);
            let piece = buffer.get_mut(..len).filter(|piece| !piece.is_empty()).ok_or(Fault::OutOfRange)?;
            match self.part(ground, from, piece) {
                Ok(()) => {}
                Err(Fault::Device | Fault::Damaged | Fault::OutOfRange) => return Ok(false),
                Err(fault) => return Err(fault),
            }
            sum = sum.bytes(piece);
            from = from.wrapping_add(len as u32);
        }
        Ok(sum.finish() == self.crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_long_is_not() {
        for page_size in (9..=16).map(|bits| 1 << bits) {
            for key in 0..=node::max_key(page_size) {
                let longest = longest_short(page_size, key);
                assert!(!is_long(page_size, key, longest), "{key} of {page_size}");
                assert!(is_long(page_size, key, longest + 1), "{key} of {page_size}");
            }
        }
    }
}
