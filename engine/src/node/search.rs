//! Reading a page: where a key is, and what a cell says.

use core::ops::Range;

use super::cell::read_length;
use super::{HEADER, Pointer, Value, count, half_at, level, slot};
use crate::codec::SMALL;

/// The slots.
fn slots(page: &[u8]) -> &[[u8; 2]] {
    page.get(HEADER..slot(count(page))).unwrap_or_default().as_chunks().0
}

/// The key of the cell that begins there, and the bytes behind it to the end of the page.
#[inline]
fn key_and_rest(page: &[u8], position: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = read_length(page.get(position..)?)?;
    rest.split_at_checked(length)
}

/// The same for cell `i`.
#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn cell(page: &[u8], i: usize) -> Option<(&[u8], &[u8])> {
    if i < count(page) { key_and_rest(page, half_at(page, slot(i))) } else { None }
}

/// The bytes of cell `i`; none if they are not all there.
#[inline(never)]
pub(super) fn extent(page: &[u8], i: usize) -> Range<usize> {
    let end = cell(page, i).and_then(|(_, rest)| {
        let rest = if level(page) == 0 {
            let (length, rest) = read_length(rest)?;
            rest.get(length >> 1..)?
        } else {
            rest.get(Pointer::SIZE..)?
        };
        page.len().checked_sub(rest.len())
    });
    match end {
        Some(end) => half_at(page, slot(i))..end,
        None => 0..0,
    }
}

/// The key of cell `i`; empty if there is none.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn key(page: &[u8], i: usize) -> &[u8] {
    cell(page, i).unwrap_or_default().0
}

/// The value of cell `i` of a leaf.
pub(crate) fn value(page: &[u8], i: usize) -> Option<Value<'_>> {
    pair(page, i).map(|(_, value)| value)
}

/// The key and the value of cell `i` of a leaf.
#[cfg_attr(not(target_pointer_width = "32"), inline)]
pub(crate) fn pair(page: &[u8], i: usize) -> Option<(&[u8], Value<'_>)> {
    if level(page) != 0 {
        return None;
    }
    let (key, rest) = cell(page, i)?;
    Some((key, Value::read(rest)?))
}

/// Child `i` of an inner page.
pub(crate) fn child(page: &[u8], i: usize) -> Option<Pointer> {
    if level(page) == 0 {
        return None;
    }
    let bytes = cell(page, i)?.1.get(..Pointer::SIZE)?;
    Some(Pointer::read(bytes, 0))
}

/// The first eight bytes of a key, and zeros behind a shorter one, as a number: where two of them differ, the keys are in the same
/// order. Mostly they do, and that takes a third of the time. `bytes` begin with the key.
#[inline]
fn head(bytes: &[u8], len: usize) -> Option<u64> {
    let head = u64::from_be_bytes(*bytes.first_chunk()?);
    match len {
        8.. => Some(head),
        len => Some(head & !(u64::MAX >> (len as u32).wrapping_mul(8))),
    }
}

/// How many cells have keys up to and including this one.
#[inline(never)]
fn up_to(page: &[u8], key: &[u8]) -> usize {
    let slots = slots(page);
    let mut padded = [0; 8];
    if !SMALL {
        padded.iter_mut().zip(key).for_each(|(to, byte)| *to = *byte);
    }
    let wanted = u64::from_be_bytes(padded);
    let (mut first, mut behind) = (0_usize, slots.len());
    while first < behind {
        let middle = first.wrapping_add(behind) / 2;
        let position = slots.get(middle).map_or(0, |slot| u16::from_le_bytes(*slot).into());
        let is_behind = if SMALL {
            key_and_rest(page, position).unwrap_or_default().0 > key
        } else {
            let (len, rest) = page.get(position..).and_then(read_length).unwrap_or_default();
            match head(rest, len) {
                Some(found) if found != wanted => found > wanted,
                _ => rest.get(..len).unwrap_or_default() > key,
            }
        };
        if is_behind {
            behind = middle;
        } else {
            first = middle.wrapping_add(1);
        }
    }
    first
}

/// Where this key is in a leaf, or where it would have to be inserted.
pub(crate) fn search(page: &[u8], key: &[u8]) -> Result<usize, usize> {
    let behind = up_to(page, key);
    match behind.checked_sub(1) {
        Some(last) if self::key(page, last) == key => Ok(last),
        _ => Err(behind),
    }
}

/// Which child of an inner page this key belongs to.
pub(crate) fn child_index(page: &[u8], key: &[u8]) -> usize {
    up_to(page, key).saturating_sub(1)
}
