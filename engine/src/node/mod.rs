//! Slotted pages, of which both indexes are made: functions over their bytes, without a device.
//!
//! ```text
//!   0         16               16 + 2 count         heap                        page size
//!   ├─ header ─┼─ slots, in order ─┼─ ...gap... ─┼─ cells, in any order, holes ─┤
//!                 grow up ->                       <- grow down
//!
//!   0  4 crc         over volume id, number of the block, bytes 4..page size; the pointer to the page repeats it
//!   4  4 generation  what the tree writes here
//!   8  1 level       0 is a leaf; a page's children are one level below it
//!   9  1 flags       0
//!  10  2 count       of cells
//!  12  2 heap        where the cells begin; 0 means 65536
//!  14  2 garbage     bytes in holes between the cells
//!  16  . slots       of 2 bytes: where each cell begins, in ascending order of their keys
//! ```
//! A cell in a leaf is a pair, in an inner page a child:
//!
//! ```text
//!   leaf    .  1-2 length of the key
//!           .    . key
//!           .  1-2 length of what follows, times two; odd: it is not the value, but says where that is
//!           .    . value; or 12 bytes: its length, first block, crc of that block
//!   inner   .  1-2 length of the key
//!           .    . key
//!           .    8 block, crc
//! ```
//! A length below 128 is one byte. Else the first byte has its low seven bits and the top bit, the second byte the next
//! eight; so it is below 32768.
//!
//! The key stands first in both, so that one search serves both. Child i has the keys from `key(i)` on and below
//! `key(i + 1)`; the first child also those below `key(0)`, which says nothing and is there for the day when the cell stands
//! elsewhere. On the left edge of the tree it is empty.
//!
//! Nothing here trusts a page. Whatever its bytes are, all these functions end soon, touch nothing outside it, and give some
//! answer; what is not there has no bytes. Whether it is the page that was meant is for [`is_sound`] to say, before.
//!
//! # Why pages can always be split and evened out
//!
//! U bytes of a page are [usable](usable), a cell takes at most U/4 of them ([`max_cell`]), a page but the root and those at
//! the right edge at least U/3 ([`min_used`]). Whenever cells of T > U bytes in all are laid out on two pages, a cut exists
//! that leaves each half at least U/3 and at most U: go through the cells until T/2 is reached, and cut before or behind the
//! cell that does it, whichever is closer. The middle is then off by no more than half a cell, so each half has between
//! T/2 - U/8 and T/2 + U/8 bytes. From T > U follows at least 3U/8, which is more than U/3. And T is at most U + U/4 when a
//! page is split for a new cell, and less than U + U/3 when a page that has fallen below the minimum takes cells from its
//! neighbour (they had fitted on one page otherwise): so at most 2U/3 + U/8 < U. No key is cut off when it becomes the
//! first of an inner page, so the same sum holds there. With keys of at most [`max_key`] bytes an inner cell takes at most
//! U/8, so that an inner page at the minimum has at least three children.

mod cell;
mod change;
mod check;
mod search;
mod side_by_side;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use cell::{Cell, Pointer, Value, child_size, pair_size, read_length, write_bytes, write_length};
pub(crate) use change::{insert, move_cells, overwrite, remove, replace_inline, set_child, value_mut};
pub(crate) use check::{is_ordered, is_sound, seal};
pub(crate) use search::{child, child_index, key, pair, search, value};
pub(crate) use side_by_side::{page, page_and_scratch, page_mut, pages_and_scratch};
pub(crate) use split::{even_point, separator, split_point};

#[cfg(test)]
use change::{compact, fits, move_bytes};

use crate::codec::{put_word, word_at};

/// Bytes before the slots.
const HEADER: usize = 16;
/// Bytes of a slot.
const SLOT: usize = 2;

const GENERATION: usize = 4;
const LEVEL: usize = 8;
const FLAGS: usize = 9;
const COUNT: usize = 10;
const HEAP: usize = 12;
const GARBAGE: usize = 14;

/// Bytes of a page that its slots and cells have to themselves.
pub(crate) const fn usable(page_size: usize) -> usize {
    page_size.saturating_sub(HEADER)
}

/// The most that a cell takes, its slot included: see "Why pages can always be split".
pub(crate) const fn max_cell(page_size: usize) -> usize {
    usable(page_size) / 4
}

/// The longest key.
pub(crate) const fn max_key(page_size: usize) -> usize {
    (page_size / 8).saturating_sub(16)
}

/// A page with less than this in it takes from a neighbour or is merged with it.
pub(crate) const fn min_used(page_size: usize) -> usize {
    usable(page_size) / 3
}

/// Makes an empty page of these bytes.
pub(crate) fn init(page: &mut [u8], level: u8, generation: u32) {
    page.fill(0);
    if let Some(byte) = page.get_mut(LEVEL) {
        *byte = level;
    }
    set_half(page, HEAP, page.len());
    set_generation(page, generation);
}

/// 0 is a leaf.
pub(crate) fn level(page: &[u8]) -> u8 {
    page.get(LEVEL).copied().unwrap_or(0)
}

/// Number of cells.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn count(page: &[u8]) -> usize {
    half_at(page, COUNT).min(usable(page.len()) / SLOT)
}

pub(crate) fn generation(page: &[u8]) -> u32 {
    word_at(page, GENERATION)
}

pub(crate) fn set_generation(page: &mut [u8], generation: u32) {
    put_word(page.get_mut(GENERATION..).unwrap_or_default(), generation);
}

/// Bytes for further cells and their slots, holes included.
pub(crate) fn room(page: &[u8]) -> usize {
    gap(page).wrapping_add(half_at(page, GARBAGE)).min(usable(page.len()))
}

/// Bytes that cells and slots take.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn used(page: &[u8]) -> usize {
    usable(page.len()).saturating_sub(room(page))
}

/// Bytes between the slots and the cells.
fn gap(page: &[u8]) -> usize {
    heap(page).saturating_sub(slot(count(page)))
}

/// Where the cells begin.
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn heap(page: &[u8]) -> usize {
    match half_at(page, HEAP) {
        0 => page.len(),
        heap => heap.min(page.len()),
    }
}

/// Where slot `i` is.
pub(crate) const fn slot(i: usize) -> usize {
    i.wrapping_mul(SLOT).wrapping_add(HEADER)
}

/// The two bytes at `at`; 0 if they are not there.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn half_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |half| u16::from_le_bytes(*half).into())
}

/// Writes the low two bytes of `value`: so 65536, the end of the largest page, becomes 0.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn set_half(bytes: &mut [u8], at: usize, value: usize) {
    if let Some(half) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *half = (value as u16).to_le_bytes();
    }
}
