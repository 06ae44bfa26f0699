//! A page of pairs of a table: written once, from its first pair to its last, and never changed.
//!
//! ```text
//!   ├ head: 12 ┤ pair ┤ pair ┤ ... ┤ free ┤ place of group n: 2 ┤ ... ┤ place of group 0 ┤
//!
//!   a pair:    bytes shared * 2 (+ 1: and bytes of its own), bytes of the value + 1 (0: a tombstone); its own, the value
//!                                                            (32767: where a long value is)
//! ```
//! Eight pairs are a group. Its first key is whole; of the others only what follows on the bytes that they *share* with that one. So a search halves
//! the groups and then goes through one, a key can be had without those between, and what neighbours have in common takes a byte.
//!
//! Tables of older versions have leaves of a [B-tree](node) in their place. They are told from these by a byte of the head, and read as well.

use core::cmp::Ordering;

use super::list::prefix;
use super::value::{IN_TABLE, Long, Value};
use crate::codec::SMALL;
use crate::node::{self, half_at, read_length, set_half, write_bytes, write_length};

/// Bytes before the first pair.
const HEAD: usize = 12;
const FORMAT: usize = 9;
const COUNT: usize = 10;
/// What [`FORMAT`] says here; a node says 0.
const GROUPED: u8 = 1;
/// Pairs of a group.
const GROUP: usize = 8;
/// Lines of a group that are read before they are needed, at most: with long values, most of them would not be.
const MOST: usize = 24;
/// Bytes of a group's place.
const PLACE: usize = 2;
/// In place of a value's bytes and 1: it is a [long](super::value) one. No other is so long.
const LONG: usize = 0x7FFF;

/// A key in two pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key<'a> {
    shared: &'a [u8],
    own: &'a [u8],
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(key: &'a [u8]) -> Self {
        Self { shared: &[], own: key }
    }
}

impl<'a> Key<'a> {
    pub(super) fn len(&self) -> usize {
        self.shared.len().wrapping_add(self.own.len())
    }

    /// See [`prefix`].
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn prefix(&self) -> u64 {
        if SMALL {
            let mut head = [0; 8];
            self.copy(&mut head);
            return u64::from_be_bytes(head);
        }
        match self.shared.len() {
            0 => prefix(self.own),
            8.. => prefix(self.shared),
            shared => prefix(self.shared) | prefix(self.own) >> (shared as u32).wrapping_mul(8),
        }
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn cmp(mut self, mut other: Key<'a>) -> Ordering {
        loop {
            for key in [&mut self, &mut other] {
                if key.shared.is_empty() {
                    key.shared = core::mem::take(&mut key.own);
                }
            }
            let len = self.shared.len().min(other.shared.len());
            let (mine, rest) = self.shared.split_at_checked(len).unwrap_or_default();
            let (others, others_rest) = other.shared.split_at_checked(len).unwrap_or_default();
            match mine.cmp(others) {
                // One of them has ended.
                Ordering::Equal if len == 0 => return rest.len().cmp(&others_rest.len()),
                Ordering::Equal => (self.shared, other.shared) = (rest, others_rest),
                order => return order,
            }
        }
    }

    pub(super) fn is(&self, key: &[u8]) -> bool {
        if SMALL {
            return self.cmp(key.into()) == Ordering::Equal;
        }
        key.split_at_checked(self.shared.len()) == Some((self.shared, self.own))
    }

    /// Copies as much of it as there is room for; how much.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn copy(&self, to: &mut [u8]) -> usize {
        let rest = copy_front(self.shared, to);
        let left = copy_front(self.own, rest).len();
        to.len().wrapping_sub(left)
    }
}

/// Copies as much as there is room for, and hands out what is behind it.
fn copy_front<'a>(from: &[u8], to: &'a mut [u8]) -> &'a mut [u8] {
    let len = from.len().min(to.len());
    write_bytes(to, from.get(..len).unwrap_or_default())
}

/// Where a pair is in its page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    at: u16,
    /// The first pair of its group, which has what its key shares; in a node the same as `at`.
    group: u16,
    #[cfg(not(target_pointer_width = "32"))]
    pieces: Pieces,
}

/// Where the pieces of a pair's key are: a scan asks for it again and again, and so its lengths are read once. Small processors, which
/// hold on to many places, read them each time.
#[cfg(not(target_pointer_width = "32"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pieces {
    /// The key of the first pair of its group, and how many bytes of that are the beginning of this one.
    first: u16,
    first_len: u16,
    shared: u16,
    own: u16,
    len: u16,
    /// Where the pair ends.
    behind: u16,
}

/// Where some bytes of a page are.
#[cfg(not(target_pointer_width = "32"))]
fn offset(page: &[u8], bytes: &[u8]) -> u16 {
    bytes.as_ptr().addr().wrapping_sub(page.as_ptr().addr()) as u16
}

impl Position {
    fn new(at: u16, group: u16) -> Self {
        Self {
            at,
            group,
            #[cfg(not(target_pointer_width = "32"))]
            pieces: Pieces::default(),
        }
    }

    /// The same, looked at.
    #[cfg(not(target_pointer_width = "32"))]
    #[inline]
    fn in_page(mut self, page: &[u8]) -> Self {
        if is_grouped(page)
            && let Some(bytes) = page.get(usize::from(self.group)..)
            && let Some((_, bytes)) = read_length(bytes)
            && let Some((len, bytes)) = read_length(bytes)
            && let Some((_, bytes)) = read_length(bytes)
        {
            (self.pieces.first, self.pieces.first_len) = (offset(page, bytes), len as u16);
        }
        self.in_group(page)
    }

    /// The same, in a group of which the first key is known.
    #[cfg(not(target_pointer_width = "32"))]
    #[inline]
    fn in_group(self, page: &[u8]) -> Self {
        let Pieces { first, first_len, .. } = self.pieces;
        let mut pieces = Pieces { first, first_len, ..Pieces::default() };
        let bytes = page.get(usize::from(self.at)..).unwrap_or_default();
        let pair = if is_grouped(page) { take(bytes, first_len.into()) } else { take_cell(bytes) };
        if let Some(Pair { shared, own, behind, .. }) = pair {
            (pieces.own, pieces.len) = (offset(page, own), own.len() as u16);
            pieces.behind = offset(page, behind);
            pieces.shared = if shared <= first_len.into() { shared as u16 } else { 0 };
        }
        Self { pieces, ..self }
    }

    /// Of the next pair in its group.
    #[cfg(not(target_pointer_width = "32"))]
    #[inline]
    fn after(self, page: &[u8]) -> Self {
        Self { at: self.pieces.behind, ..self }.in_group(page)
    }

    #[cfg(target_pointer_width = "32")]
    fn in_page(self, _: &[u8]) -> Self {
        self
    }

    #[cfg(target_pointer_width = "32")]
    fn after(self, page: &[u8]) -> Self {
        Self { at: behind(page, self), ..self }
    }
}

fn is_grouped(page: &[u8]) -> bool {
    page.get(FORMAT) == Some(&GROUPED)
}

/// Where the place of group `group` is.
fn place(page: &[u8], group: usize) -> usize {
    page.len().saturating_sub(group.wrapping_add(1).wrapping_mul(PLACE))
}

/// The first pair of a group.
#[inline]
fn first(page: &[u8], group: usize) -> Position {
    let at = half_at(page, place(page, group)) as u16;
    Position::new(at, at)
}

/// What stands at the start of some bytes.
struct Pair<'a> {
    /// How many bytes its key has in common with the first one of its group.
    shared: usize,
    own: &'a [u8],
    /// What it says of its value, and that, or where it is.
    tag: usize,
    value: &'a [u8],
    behind: &'a [u8],
}

#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn take(bytes: &[u8], first: usize) -> Option<Pair<'_>> {
    let (shared, mut rest) = read_length(bytes)?;
    // A key as long as the first one need not say so.
    let mut own = first.wrapping_sub(shared >> 1);
    if shared & 1 != 0 {
        (own, rest) = read_length(rest)?;
    }
    let (tag, rest) = read_length(rest)?;
    let (own, rest) = rest.split_at_checked(own)?;
    let len = if tag == LONG { IN_TABLE } else { tag.saturating_sub(1) };
    let (value, behind) = rest.split_at_checked(len)?;
    Some(Pair { shared: shared >> 1, own, tag, value, behind })
}

/// The same of version 3.
fn take_cell(bytes: &[u8]) -> Option<Pair<'_>> {
    let (len, rest) = read_length(bytes)?;
    let (own, rest) = rest.split_at_checked(len)?;
    // The index has no values; of odd length are tombstones only.
    let (length, rest) = read_length(rest)?;
    let (value, behind) = rest.split_at_checked(length >> 1).unwrap_or_default();
    let tag = if length & 1 == 0 { value.len().wrapping_add(1) } else { 0 };
    Some(Pair { shared: 0, own, tag, value, behind })
}

#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn pair_at(page: &[u8], Position { at, group, .. }: Position) -> Option<Pair<'_>> {
    let bytes = page.get(usize::from(at)..)?;
    if !is_grouped(page) {
        return take_cell(bytes);
    }
    let (_, first) = read_length(page.get(usize::from(group)..)?)?;
    take(bytes, read_length(first)?.0)
}

/// Pairs of a page.
pub(super) fn count(page: &[u8]) -> usize {
    node::count(page)
}

/// Where a pair is; for one behind the last, anywhere.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn position(page: &[u8], cell: usize) -> Position {
    if !is_grouped(page) {
        let at = half_at(page, node::slot(cell)) as u16;
        return Position::new(at, at).in_page(page);
    }
    let mut position = first(page, cell / GROUP);
    for _ in 0..cell % GROUP {
        position.at = behind(page, position);
    }
    position.in_page(page)
}

/// Where pair `cell` is, the one behind the pair at `position`.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn next(page: &[u8], before: Position, cell: usize) -> Position {
    if !is_grouped(page) || cell.is_multiple_of(GROUP) {
        return position(page, cell);
    }
    before.after(page)
}

/// Where the pair ends.
#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn behind(page: &[u8], position: Position) -> u16 {
    pair_at(page, position).map_or(0, |pair| page.len().wrapping_sub(pair.behind.len()) as u16)
}

/// The key at a position; also that of a child, in the index. Empty if there is none.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn key(page: &[u8], position: Position) -> Key<'_> {
    #[cfg(not(target_pointer_width = "32"))]
    {
        let Pieces { first, shared, own, len, .. } = position.pieces;
        let piece = |at: u16, len: u16| page.get(at.into()..).and_then(|bytes| bytes.get(..len.into()));
        Key { shared: piece(first, shared).unwrap_or_default(), own: piece(own, len).unwrap_or_default() }
    }
    #[cfg(target_pointer_width = "32")]
    key_at(page, position)
}

/// The same, where it was not looked at.
#[cfg(target_pointer_width = "32")]
#[inline(always)]
fn key_at(page: &[u8], position: Position) -> Key<'_> {
    let Some(Pair { shared, own, .. }) = pair_at(page, position) else { return Key::default() };
    let first = Position { at: position.group, ..position };
    let first = if shared == 0 { None } else { pair_at(page, first) };
    let shared = first.and_then(|first| first.own.get(..shared)).unwrap_or_default();
    Key { shared, own }
}

/// The value there, `Some(None)` for a tombstone. `None`: there is no pair. The block of a long one is the table's.
pub(super) fn value(page: &[u8], position: Position) -> Option<Option<Value<'_>>> {
    let pair = pair_at(page, position)?;
    Some(match pair.tag {
        0 => None,
        LONG => Some(Value::Long(Long::read(pair.value, false))),
        _ => Some(Value::Short(pair.value)),
    })
}

/// Reads from pages what a search in them is going to need first, from all at once: one after the other they would each be waited for.
pub(super) fn touch_all<'a>(pages: impl Iterator<Item = &'a [u8]> + Clone) {
    touch(pages.clone().flat_map(|page| [page.get(COUNT), page.last()]));
    let groups = |page: &'a [u8]| 0..if is_grouped(page) { count(page).div_ceil(GROUP) } else { 0 };
    touch(pages.flat_map(|page| groups(page).map(|group| page.get(usize::from(first(page, group).at)))));
}

/// Reads some bytes, and does nothing with them.
#[inline]
fn touch<'a>(bytes: impl Iterator<Item = Option<&'a u8>>) {
    core::hint::black_box(bytes.fold(0, |sum, byte| sum ^ byte.copied().unwrap_or(0)));
}

/// The pair with a key, or the one that would be behind it: its number, where it is, and whether it has the key.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn search(page: &[u8], key: &[u8]) -> (usize, Position, bool) {
    if !SMALL {
        touch([page.get(COUNT), page.last()].into_iter());
    }
    let count = count(page);
    // Pair by pair, with what there is for other ends anyway: from each place looked at, some steps from its group's beginning. That takes
    // longer than to halve the groups, and so little code that it is all that a small processor has.
    if SMALL || !is_grouped(page) {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.wrapping_add(high) / 2;
            let at = position(page, middle);
            match self::key(page, at).cmp(key.into()) {
                Ordering::Less => low = middle.wrapping_add(1),
                Ordering::Equal => return (middle, at, true),
                Ordering::Greater => high = middle,
            }
        }
        return (low, position(page, low), false);
    }
    let (mut low, mut high) = (0, count.div_ceil(GROUP));
    // Lines of the page that are needed for sure, all at once: one after the other they would each be waited for.
    let at = |group: usize| usize::from(first(page, group).at);
    touch((0..high).map(|group| page.get(at(group))));
    let whole = |group: usize| pair_at(page, first(page, group)).map_or(&[][..], |pair| pair.own);
    let wanted = prefix(key);
    while low < high {
        let middle = low.wrapping_add(high) / 2;
        let found = whole(middle);
        let order = prefix(found).cmp(&wanted).then_with(|| found.cmp(key));
        if order == Ordering::Greater {
            high = middle;
        } else {
            low = middle.wrapping_add(1);
        }
    }
    let Some(group) = low.checked_sub(1) else { return (0, first(page, 0).in_page(page), false) };
    let (position, cell) = (first(page, group), group.wrapping_mul(GROUP));
    let end = if low < count.div_ceil(GROUP) { at(low) } else { page.len() };
    touch((at(group)..end).step_by(64).take(MOST).map(|at| page.get(at)));
    let first = whole(group);
    let common = first.iter().zip(key).take_while(|(one, other)| one == other).count();
    if common == key.len() && common == first.len() {
        return (cell, position.in_page(page), true);
    }
    let mut bytes = page.get(usize::from(position.at)..).unwrap_or_default();
    for cell in cell..count.min(cell.wrapping_add(GROUP)) {
        let Some(pair) = take(bytes, first.len()) else { break };
        // With more of the first key than the wanted one has, it is less, as that is.
        if pair.shared <= common {
            let rest = key.get(pair.shared..).unwrap_or_default();
            // Mostly one byte tells.
            let order = pair.own.first().cmp(&rest.first()).then_with(|| pair.own.cmp(rest));
            if order != Ordering::Less {
                let at = page.len().wrapping_sub(bytes.len()) as u16;
                return (cell, Position { at, ..position }.in_page(page), order == Ordering::Equal);
            }
        }
        bytes = pair.behind;
    }
    let cell = count.min(cell.wrapping_add(GROUP));
    (cell, self::position(page, cell), false)
}

/// Makes an empty page; where its first pair goes.
pub(super) fn init(page: &mut [u8], generation: u32) -> usize {
    page.fill(0);
    node::set_generation(page, generation);
    if let Some(format) = page.get_mut(FORMAT) {
        *format = GROUPED;
    }
    HEAD
}

/// Adds a pair, or a tombstone, at `end`, behind all that are there; its key is greater than theirs. Whether there was room.
pub(super) fn push(page: &mut [u8], end: &mut usize, key: &[u8], value: Option<Value<'_>>) -> bool {
    let count = count(page);
    let group = count / GROUP;
    let is_first = count.is_multiple_of(GROUP);
    let first = if is_first { &[] } else { self::key(page, first(page, group).in_page(page)).own };
    let shared = first.iter().zip(key).take_while(|(one, other)| one == other).count();
    let own = key.get(shared..).unwrap_or_default();
    let says_own = key.len() != first.len();
    let mut place = [0; IN_TABLE];
    let (tag, value) = match &value {
        None => (0, &[][..]),
        Some(Value::Short(value)) => (value.len().wrapping_add(1), *value),
        Some(Value::Long(long)) => {
            long.write(&mut place);
            (LONG, &place[..])
        }
    };
    let mut lengths = [0; 6];
    let mut rest = write_length(&mut lengths, shared.wrapping_mul(2).wrapping_add(usize::from(says_own)));
    if says_own {
        rest = write_length(rest, own.len());
    }
    let unused = write_length(rest, tag).len();
    let lengths = lengths.get(..lengths.len().wrapping_sub(unused)).unwrap_or_default();
    let size = lengths.len().wrapping_add(own.len()).wrapping_add(value.len());
    let at = *end;
    let (place, behind) = (self::place(page, group), at.wrapping_add(size));
    let Some(free) = page.get_mut(at..behind.min(place)).filter(|free| free.len() == size) else {
        return false;
    };
    write_bytes(write_bytes(write_bytes(free, lengths), own), value);
    if is_first {
        set_half(page, place, at);
    }
    set_half(page, COUNT, count.wrapping_add(1));
    *end = behind;
    true
}

/// Bytes of a page that say something.
pub(super) fn used(page: &[u8]) -> usize {
    let count = count(page);
    let Some(last) = count.checked_sub(1).filter(|_| is_grouped(page)) else { return node::used(page) };
    let end = usize::from(behind(page, position(page, last)));
    end.wrapping_add(count.div_ceil(GROUP).wrapping_mul(PLACE)).saturating_sub(HEAD)
}

#[cfg(test)]
mod tests;
