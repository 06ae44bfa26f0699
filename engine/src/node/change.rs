//! Changing a page.

use core::ops::Range;

use super::search::{extent, value};
use super::{
    COUNT, Cell, GARBAGE, HEAP, Pointer, SLOT, Value, count, gap, half_at, heap, level, room, set_half, slot,
};
use crate::codec::SMALL;

/// Whether there is room for this cell, if need be after the holes have been closed. No cell of the wrong kind fits. How
/// large a cell may be is the index's to say.
pub(crate) fn fits(page: &[u8], cell: &Cell<'_>) -> bool {
    cell.fits_level(level(page)) && cell.size() <= room(page)
}

/// Puts a cell before cell `i`. If there is no room, nothing changes and the answer is false. `scratch` is memory for a
/// whole page.
pub(crate) fn insert(page: &mut [u8], scratch: &mut [u8], i: usize, cell: &Cell<'_>) -> bool {
    let size = cell.size();
    if !fits(page, cell) || !prepare(page, scratch, size) || !open(page, i, 1) {
        return false;
    }
    let position = heap(page).wrapping_sub(size.wrapping_sub(SLOT));
    cell.write(page.get_mut(position..).unwrap_or_default());
    set_half(page, slot(i), position);
    set_half(page, HEAP, position);
    true
}

/// Takes cell `i` out.
pub(crate) fn remove(page: &mut [u8], i: usize) {
    remove_range(page, i, i.wrapping_add(1));
}

/// Overwrites the value of cell `i` of a leaf in its place, if both are in the page and of the same length.
pub(crate) fn replace_inline(page: &mut [u8], i: usize, new: &[u8]) -> bool {
    match value_mut(page, i) {
        Some(place) if place.len() == new.len() => {
            place.copy_from_slice(new);
            true
        }
        _ => false,
    }
}

/// Writes a cell over cell `i`, in its place, if it is of the same size and kind; its key must be the same.
pub(crate) fn overwrite(page: &mut [u8], i: usize, cell: &Cell<'_>) -> bool {
    let Range { start, end } = extent(page, i);
    let is_same =
        end.saturating_sub(start).saturating_add(SLOT) == cell.size() && cell.fits_level(level(page));
    match page.get_mut(start..end) {
        Some(place) if is_same => {
            cell.write(place);
            true
        }
        _ => false,
    }
}

/// The value of cell `i` of a leaf, to be overwritten in its place; if it is in the page.
pub(crate) fn value_mut(page: &mut [u8], i: usize) -> Option<&mut [u8]> {
    let Some(Value::Inline(value)) = value(page, i) else { return None };
    let len = value.len();
    let end = extent(page, i).end;
    page.get_mut(end.wrapping_sub(len)..end)
}

/// Makes child `i` of an inner page another.
pub(crate) fn set_child(page: &mut [u8], i: usize, child: Pointer) {
    if level(page) != 0 {
        let end = extent(page, i).end;
        if let Some(place) = page.get_mut(end.wrapping_sub(Pointer::SIZE)..end) {
            child.write(place);
        }
    }
}

/// Closes the holes: the cells end up in order, the first at the end of the page.
#[inline(never)]
pub(crate) fn compact(page: &mut [u8], scratch: &mut [u8]) {
    let Some(scratch) = scratch.get_mut(..page.len()) else { return };
    let slots_end = slot(count(page));
    let mut position = page.len();
    for i in 0..count(page) {
        let Some(at) = copy_cell(page, i, scratch, position) else { return };
        // On a damaged page cells may overlap, and have no room side by side.
        if at < slots_end {
            return;
        }
        set_half(scratch, slot(i), at);
        position = at;
    }
    copy(scratch, slot(0)..slots_end, page);
    copy(scratch, position..scratch.len(), page);
    set_half(page, HEAP, position);
    set_half(page, GARBAGE, 0);
}

/// Moves the cells `start..end` of `from` over to a neighbour: if they are its first ones, behind the last of `to`, else
/// before the first of `to`. If they have no room there, nothing changes and the answer is false.
pub(crate) fn move_cells(
    from: &mut [u8],
    start: usize,
    end: usize,
    to: &mut [u8],
    scratch: &mut [u8],
) -> bool {
    let moved = end.saturating_sub(start);
    let size = (start..end.min(count(from)))
        .fold(moved.wrapping_mul(SLOT), |sum, i| sum.wrapping_add(extent(from, i).len()));
    let at = if start == 0 { count(to) } else { 0 };
    let related = end <= count(from) && level(from) == level(to);
    if !related || size > room(to) || !prepare(to, scratch, size) || !open(to, at, moved) {
        return false;
    }
    for i in 0..moved {
        if let Some(position) = copy_cell(from, start.wrapping_add(i), to, heap(to)) {
            set_half(to, slot(at.wrapping_add(i)), position);
            set_half(to, HEAP, position);
        }
    }
    remove_range(from, start, end);
    true
}

/// Closes the holes if there is too little room between slots and cells. False: that didn't help.
fn prepare(page: &mut [u8], scratch: &mut [u8], size: usize) -> bool {
    if gap(page) < size {
        compact(page, scratch);
    }
    gap(page) >= size
}

/// Makes `n` slots before slot `i`, if there is one or it is the next. The gap is large enough.
fn open(page: &mut [u8], i: usize, n: usize) -> bool {
    let count = count(page);
    if i > count {
        return false;
    }
    let end = slot(count.wrapping_add(n));
    let Some(slots) = page.get_mut(slot(i)..end) else { return false };
    let Some(stay) = slots.len().checked_sub(n.wrapping_mul(SLOT)) else { return false };
    move_slots(slots, stay, true);
    set_half(page, COUNT, count.wrapping_add(n));
    true
}

/// Takes the cells `start..end` out. From the last on: cells that were added in order lie at the beginning of the heap,
/// and leave no hole then.
#[inline(never)]
fn remove_range(page: &mut [u8], start: usize, end: usize) {
    let count = count(page);
    if start >= end || end > count {
        return;
    }
    let (mut heap, mut garbage) = (heap(page), half_at(page, GARBAGE));
    for i in (start..end).rev() {
        let cell = extent(page, i);
        if cell.start == heap {
            heap = cell.end;
        } else {
            garbage = garbage.wrapping_add(cell.len());
        }
    }
    if let Some(slots) = page.get_mut(slot(start)..slot(count)) {
        let stay = slots.len().wrapping_sub(slot(end).wrapping_sub(slot(start)));
        move_slots(slots, stay, false);
    }
    let left = count.wrapping_sub(end.wrapping_sub(start));
    if left == 0 {
        (heap, garbage) = (page.len(), 0);
    }
    set_half(page, COUNT, left);
    set_half(page, HEAP, heap);
    set_half(page, GARBAGE, garbage.min(page.len().wrapping_sub(heap)));
}

/// Moves the first `len` bytes of `slots` to its end, or the last to its start. A small image is spared the compiler's
/// `memmove`, which is ten times as much code.
fn move_slots(slots: &mut [u8], len: usize, up: bool) {
    let by = slots.len().saturating_sub(len);
    if SMALL {
        move_bytes(slots, by, up);
    } else if up {
        slots.copy_within(..len, by);
    } else {
        slots.copy_within(by.., 0);
    }
}

/// The same, `by` bytes up or down, one by one.
pub(super) fn move_bytes(bytes: &mut [u8], by: usize, up: bool) {
    let bytes = core::cell::Cell::from_mut(bytes).as_slice_of_cells();
    let behind = bytes.get(by..).unwrap_or_default();
    if up {
        behind.iter().zip(bytes).rev().for_each(|(to, from)| to.set(from.get()));
    } else {
        bytes.iter().zip(behind).for_each(|(to, from)| to.set(from.get()));
    }
}

/// Copies cell `i` of one page to another, so that it ends at `end`, and says where it begins. `None`: it can't be.
fn copy_cell(from: &[u8], i: usize, to: &mut [u8], end: usize) -> Option<usize> {
    let cell = from.get(extent(from, i))?;
    let position = end.checked_sub(cell.len())?;
    let place = to.get_mut(position..end)?;
    if place.len() == cell.len() {
        place.copy_from_slice(cell);
    }
    Some(position)
}

/// Copies a range of one page to the same place of another.
fn copy(from: &[u8], range: Range<usize>, to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.get(range.clone()), to.get_mut(range))
        && from.len() == to.len()
    {
        to.copy_from_slice(from);
    }
}
