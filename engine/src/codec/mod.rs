//! Checksums, the few encodings that all rooms share, and what tells a small processor. Everything on a device is little-endian and explicit.

mod checksum;
mod fields;
mod varint;

pub(crate) use checksum::Checksum;
pub(crate) use fields::{Fields, put_word, word_at};
pub(crate) use varint::Varints;

/// Whether this is for a small processor, which has little room for code: what only saves time is left out there.
pub(crate) const SMALL: bool = usize::BITS < 64;

/// `value` rounded up to a multiple of `unit`, a power of two. Nothing here is close to 2^32: units are at most 2^31,
/// what is rounded up to one of more than 2^16 is at most that unit, and all else is below 2^25.
pub(crate) const fn align_up(value: u32, unit: u32) -> u32 {
    let mask = unit.wrapping_sub(1);
    value.wrapping_add(mask) & !mask
}

/// `value` rounded down to a multiple of `unit`, a power of two.
pub(crate) const fn align_down(value: u64, unit: u32) -> u64 {
    value & !(unit.wrapping_sub(1) as u64)
}
