//! Cells: what they say, and their bytes.

use super::SLOT;
use crate::codec::{put_word, word_at};

/// A block, and the checksum of what must stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Pointer {
    pub(crate) block: u32,
    pub(crate) crc: u32,
}

impl Pointer {
    /// Bytes of one.
    pub(super) const SIZE: usize = 8;

    /// The one at `at`; 0 where nothing is.
    pub(super) fn read(bytes: &[u8], at: usize) -> Self {
        Self { block: word_at(bytes, at), crc: word_at(bytes, at.wrapping_add(4)) }
    }

    /// Writes it at the start of `bytes`.
    pub(super) fn write(self, bytes: &mut [u8]) {
        let (block, crc) = bytes.split_at_mut_checked(4).unwrap_or_default();
        put_word(block, self.block);
        put_word(crc, self.crc);
    }
}

/// The value of a pair, or where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// In the page.
    Inline(&'a [u8]),
    /// In a chain of blocks of its own.
    Overflow {
        /// Bytes of the value.
        len: u32,
        /// The first block of the chain.
        first: Pointer,
    },
}

/// Bytes of the cell that say where an overflowing value is.
const OVERFLOW: usize = 12;
/// Bytes of the word of a stamped pair.
const WORD: usize = 4;

impl<'a> Value<'a> {
    /// Reads what stands behind a leaf's key.
    pub(super) fn read(behind_key: &'a [u8]) -> Option<Self> {
        let (length, rest) = read_length(behind_key)?;
        let stored = rest.get(..length >> 1)?;
        if length & 1 == 0 {
            Some(Self::Inline(stored))
        } else {
            let first = Pointer::read(stored, 4);
            (stored.len() == OVERFLOW).then_some(Self::Overflow { len: word_at(stored, 0), first })
        }
    }

    /// Bytes of it in the page.
    fn stored(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Overflow { .. } => OVERFLOW,
        }
    }
}

/// What can be put into a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    /// A pair, for leaves.
    Leaf { key: &'a [u8], value: Value<'a> },
    /// A pair, for leaves, with a word before its value: what [`value`](super::value) reads is both.
    Stamped { key: &'a [u8], word: u32, value: &'a [u8] },
    /// A child and the least key that it may have, for inner pages.
    Child { key: &'a [u8], child: Pointer },
}

impl<'a> Cell<'a> {
    pub(crate) fn key(&self) -> &'a [u8] {
        match self {
            Self::Leaf { key, .. } | Self::Stamped { key, .. } | Self::Child { key, .. } => key,
        }
    }

    /// Whether it is of the kind that pages of this level have.
    pub(super) fn fits_level(&self, level: u8) -> bool {
        matches!(self, Self::Child { .. }) == (level != 0)
    }

    /// Bytes that it takes in a page, its slot included.
    #[inline(never)]
    pub(crate) fn size(&self) -> usize {
        let key = self.key().len();
        let behind = match self {
            Self::Leaf { value, .. } => value.stored(),
            Self::Stamped { value, .. } => value.len().wrapping_add(WORD),
            Self::Child { .. } => return child_size(key),
        };
        pair_size(key, behind)
    }

    /// Writes it at the start of `bytes`, which it fits into.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        let rest = write_bytes(write_length(bytes, self.key().len()), self.key());
        match self {
            Self::Leaf { value: Value::Inline(value), .. } => {
                write_bytes(write_length(rest, value.len().wrapping_mul(2)), value);
            }
            Self::Leaf { value: Value::Overflow { len, first }, .. } => {
                let rest = write_length(rest, OVERFLOW * 2 + 1);
                put_word(rest, *len);
                first.write(rest.get_mut(4..).unwrap_or_default());
            }
            Self::Stamped { word, value, .. } => {
                let rest = write_length(rest, value.len().wrapping_add(WORD).wrapping_mul(2));
                put_word(rest, *word);
                write_bytes(rest.get_mut(WORD..).unwrap_or_default(), value);
            }
            Self::Child { child, .. } => child.write(rest),
        }
    }
}

/// Bytes that a pair takes in a page, its slot included.
pub(crate) const fn pair_size(key: usize, value: usize) -> usize {
    let lengths = length_size(key).saturating_add(length_size(value.saturating_mul(2)));
    SLOT.saturating_add(lengths).saturating_add(key).saturating_add(value)
}

/// Bytes that a child under a key of so many bytes takes in a page, its slot included.
pub(crate) const fn child_size(key: usize) -> usize {
    SLOT.wrapping_add(length_size(key)).wrapping_add(key).wrapping_add(Pointer::SIZE)
}

/// Bytes of a length.
const fn length_size(length: usize) -> usize {
    if length < 128 { 1 } else { 2 }
}

/// The length at the start of `bytes`, and what is behind it.
#[inline]
pub(crate) fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [low, rest @ ..] if *low < 128 => Some((usize::from(*low), rest)),
        [low, high, rest @ ..] => Some((usize::from(*high) << 7 | usize::from(*low & 127), rest)),
        _ => None,
    }
}

/// Writes `length`, and hands out what is behind it.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn write_length(bytes: &mut [u8], length: usize) -> &mut [u8] {
    if length < 128 {
        write_bytes(bytes, &[length as u8])
    } else {
        write_bytes(bytes, &[length as u8 | 128, (length >> 7) as u8])
    }
}

/// Writes `value`, and hands out what is behind it.
pub(crate) fn write_bytes<'a>(bytes: &'a mut [u8], value: &[u8]) -> &'a mut [u8] {
    match bytes.split_at_mut_checked(value.len()) {
        Some((place, rest)) => {
            place.copy_from_slice(value);
            rest
        }
        None => &mut [],
    }
}
