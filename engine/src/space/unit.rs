//! A unit of the list of free blocks: some block numbers, and where the unit below it is.
//!
//! ```text
//!   0  4 crc         over volume id, block and number of the unit, bytes 4..16 + 4n
//!   4  2 magic       "FB"
//!   6  1 n           block numbers in it, at most 124; 0 is possible
//!   7  1 below       the unit below: its number in its block,
//!   8  4             its block,
//!  12  4             its crc
//!  16 4n numbers
//! ```
//! A pointer to a unit carries its checksum, so that what an earlier life of the place left there is no unit of today's.
//! Which unit is the lowest one, the counts in the store's root tell; what it says of one below means nothing.

use crate::codec::{Checksum, put_word, word_at};

/// Bytes of a unit; where the write unit is larger, one takes that.
pub(crate) const UNIT: u32 = 512;
/// The most block numbers in a unit.
pub(crate) const NUMBERS: usize = (UNIT as usize - HEAD) / 4;
/// The most units in a block; what is behind them in a larger one stays unused.
pub(crate) const MAX_UNITS: u32 = 65_536 / UNIT;
const HEAD: usize = 16;
const MAGIC: u16 = u16::from_le_bytes(*b"FB");

/// A pointer to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UnitLink {
    pub(crate) block: u32,
    /// Its number in the block: not where it begins.
    pub(crate) unit: u32,
    pub(crate) crc: u32,
}

impl UnitLink {
    fn sum(&self, volume_id: u32, body: &[u8]) -> u32 {
        Checksum::new().word(volume_id).word(self.block).word(self.unit).bytes(body).finish()
    }
}

/// Builds the unit at `at`, the crc of which is set, and returns its length.
pub(crate) fn encode(
    bytes: &mut [u8],
    volume_id: u32,
    at: &mut UnitLink,
    below: UnitLink,
    numbers: &[u32],
) -> u32 {
    bytes.fill(0xFF);
    let head = u32::from(MAGIC) | (numbers.len() as u32 & 0xFF) << 16 | (below.unit & 0xFF) << 24;
    if let [_, first, second, third, rest @ ..] = bytes.as_chunks_mut::<4>().0 {
        *first = head.to_le_bytes();
        *second = below.block.to_le_bytes();
        *third = below.crc.to_le_bytes();
        for (word, value) in rest.iter_mut().zip(numbers) {
            *word = value.to_le_bytes();
        }
    }
    let len = numbers.len().wrapping_mul(4).wrapping_add(HEAD);
    at.crc = at.sum(volume_id, bytes.get(4..len).unwrap_or_default());
    put_word(bytes, at.crc);
    len as u32
}

/// The numbers of the unit that `at` points to, as they stand in `bytes`, and the unit below it. `None`: it is damaged, or
/// another one.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    volume_id: u32,
    at: &UnitLink,
    below: &mut UnitLink,
) -> Option<&'a [[u8; 4]]> {
    let head = word_at(bytes, 4);
    let len = (head >> 16 & 0xFF) as usize;
    let end = len.wrapping_mul(4).wrapping_add(HEAD);
    let sum = at.sum(volume_id, bytes.get(4..end)?);
    if head as u16 != MAGIC || word_at(bytes, 0) != at.crc || sum != at.crc || len > NUMBERS {
        return None;
    }
    *below = UnitLink { unit: head >> 24, block: word_at(bytes, 8), crc: word_at(bytes, 12) };
    bytes.get(HEAD..end).map(|numbers| numbers.as_chunks().0)
}
