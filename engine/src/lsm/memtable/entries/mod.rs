//! A memtable that holds its entries: sorted, in chunks.
//!
//! ```text
//!   ├ scratch ┤ chunk 0 ┤ chunk 1 ┤ ... ┤ chunk n-1 ┤ fence 0 ┤ fence 1 ┤ ... ┤ fence n-1 ┤
//!
//!   fence    8 prefix   the first bytes of the chunk's first key, as many zeros behind it as are missing
//!            4 chunk    number of the chunk; top bit: some of its entries are merged
//!            4 lowest   offset << 2 | stale << 1 | none    of the oldest entry that is not merged
//! ```
//! Chunks are taken into use from the last one on. Those before them may be [lent](Kind::lend), as pages; what is not lent begins
//! with the scratch page then, in the place of the last one that is.
//!
//! A chunk is a leaf of [`node`]: entries in the order of their keys. It has no checksum; its generation counts the merged
//! entries. A chunk that is not in use begins with the number of the next such one. The directory has a fence for each
//! chunk in use, in the order of keys, so that looking for a key stays in one array until the chunk is known: only where
//! prefixes are equal, the chunk's first key is asked. No chunk in use is empty.
//!
//! The value of a leaf's cell is a word and the value of the entry:
//!
//! ```text
//!   word     4 offset << 2 | merged << 1 | apart
//!            . value; where it is apart, nothing for a tombstone, or where the log has a long value
//! ```
//! Offsets are those in the log. Thirty bits of them are kept: together with the newest offset they are whole, as long as
//! less than 2^30 bytes of log lie between the oldest and the newest entry.
//!
//! An entry is merged when it is in a table that is not published yet. Then all merged entries are dropped at once; or, if
//! the merge is given up, they are as if nothing had been.
//!
//! # Why one free chunk is enough for any insert
//!
//! U bytes of a chunk are usable, a pair takes at most U/2 of them ([`max_pair`]). A pair that has no room in its chunk,
//! with the one that it replaces taken out, makes it T bytes, and U < T <= U + U/2. [`node::split_point`] cuts beside the
//! pair that lies in the middle of them, where that is closer to the middle: at most U/4 off. So each half has at most
//! T/2 + U/4 <= U. At the edges the new pair gets a chunk of its own, and the others had fitted before. So an insert takes
//! one chunk or none, and the directory has a fence for each.

mod face;

use core::ops::Bound;

use super::{At, Memtable, Record};
use crate::codec::{SMALL, put_word, word_at};
use crate::lsm::value::{IN_LOG, Long, Value, max_pair};
use crate::node::{self, Cell};

/// Chunks that there is room for at least.
const MIN_CHUNKS: usize = 6;
/// Bytes of a fence.
const FENCE: usize = 16;
/// Bytes before the value of an entry.
const WORD: usize = 4;

/// In a word: the value is not here. The key was deleted, if nothing is.
const APART: u32 = 1;
/// In a word: the entry is in a table already.
const MERGED: u32 = 2;
/// In a fence's lowest offset: all entries are merged.
const NONE: u32 = 1;
/// In a fence's lowest offset: the entry that it is of was replaced or merged, and none is older.
const STALE: u32 = 2;
/// In words and fences: what is not offset.
const FLAGS: u32 = 3;
/// In a fence's chunk: some entries are merged.
const MARKED: u32 = 1 << 31;
/// No chunk.
const NO_CHUNK: u32 = u32::MAX;

/// A memtable that holds its entries: what it remembers beside its memory.
#[derive(Debug)]
pub struct Entries {
    /// Bytes of a chunk.
    size: usize,
    /// Chunks, and how many of them are in use.
    total: u32,
    used: u32,
    /// The first of the free chunks that were in use before.
    free: u32,
    /// So many chunks were in use, the last ones.
    fresh: u32,
    /// So many are lent, the first ones.
    lent: u32,
    entries: u32,
    newest: u64,
    /// Bytes of long values.
    long: usize,
}

impl Entries {
    const NEW: Self = Self {
        size: 0,
        total: 0,
        used: 0,
        free: NO_CHUNK,
        fresh: 0,
        lent: 0,
        entries: 0,
        newest: 0,
        long: 0,
    };

    /// Whether the next insert finds room, whatever it is: see the module.
    fn has_chunk(&self) -> bool {
        self.used < self.total
    }

    /// Whether one can be taken into use, which is not lent.
    fn can_open(&self) -> bool {
        self.has_chunk()
            && (SMALL || self.free != NO_CHUNK || self.total.wrapping_sub(self.fresh) > self.lent)
    }

    /// The page of a chunk in what is not lent.
    fn page(&self, number: u32) -> u32 {
        if SMALL { number } else { number.wrapping_sub(self.lent) }
    }
}

/// What the directory says about a chunk.
#[derive(Clone, Copy)]
struct Fence {
    prefix: u64,
    chunk: u32,
    lowest: u32,
}

impl Fence {
    fn read(bytes: &[u8; FENCE]) -> Self {
        let prefix = bytes.first_chunk().map_or(0, |prefix| u64::from_be_bytes(*prefix));
        Self { prefix, chunk: word_at(bytes, 8), lowest: word_at(bytes, 12) }
    }

    fn number(self) -> u32 {
        self.chunk & !MARKED
    }
}

/// The first eight bytes of a key, as a number. No greater key has a lesser one.
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            for (to, from) in head.iter_mut().zip(key) {
                *to = *from;
            }
            u64::from_be_bytes(head)
        }
    }
}

/// The word and the value of a chunk's entry.
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn entry(chunk: &[u8], cell: usize) -> (u32, &[u8]) {
    match node::value(chunk, cell) {
        Some(node::Value::Inline(bytes)) => (word_at(bytes, 0), bytes.get(WORD..).unwrap_or_default()),
        _ => (0, &[]),
    }
}

/// What they say.
fn said(word: u32, value: &[u8]) -> Option<Value<'_>> {
    match (word & APART, value) {
        (0, _) => Some(Value::Short(value)),
        (_, []) => None,
        _ => Some(Value::Long(Long::read(value, true))),
    }
}

/// Bytes of a long value.
fn long_bytes(word: u32, value: &[u8]) -> usize {
    match said(word, value) {
        Some(Value::Long(long)) => long.len as usize,
        _ => 0,
    }
}

impl Memtable<'_, Entries> {
    /// Divides the memory into chunks of this size, a power of two from 512 to 65536, and empties it. Returns how many
    /// there are; none is lawful, and then nothing fits.
    pub(crate) fn divide(&mut self, chunk_size: usize) -> u32 {
        let rest = self.bytes.len().saturating_sub(chunk_size);
        let total = rest.checked_div(chunk_size.saturating_add(FENCE)).unwrap_or(0);
        let total = total.min(MARKED as usize - 1) as u32;
        *self.state = Entries { size: chunk_size, total, ..Entries::NEW };
        total
    }

    /// Puts an entry in, in place of the one of the same key; then it is not merged. False: there is no room, or it is larger
    /// than [`max_pair`], and nothing has changed. `offset` is less than 2^30 from that of any entry, and from what
    /// [`lowest`](Self::lowest) said last.
    pub(crate) fn insert(&mut self, key: &[u8], value: Option<Value<'_>>, offset: u64) -> bool {
        let mut place = [0; IN_LOG];
        let (apart, value) = match &value {
            Some(Value::Short(value)) => (0, *value),
            Some(Value::Long(long)) => {
                long.write(&mut place);
                (APART, &place[..])
            }
            None => (APART, &[][..]),
        };
        let word = (offset as u32) << 2 | apart;
        let cell = Cell::Stamped { key, word, value };
        let size = cell.size();
        if size > max_pair(self.state.size) || self.state.used == 0 && !self.open(0) {
            return false;
        }
        let index = self.fence_of(key);
        let mut fence = self.fence(index);
        let has_room = self.state.can_open();
        let page = self.state.page(fence.number());
        let (chunk, scratch) = node::page_and_scratch(self.bytes, self.state.size, page);
        let found = node::search(chunk, key);
        let (Ok(at) | Err(at)) = found;
        let old = found.map(|at| entry(chunk, at)).ok();
        let freed = old.map_or(0, |(_, old)| node::pair_size(key.len(), old.len().saturating_add(WORD)));
        if !has_room && node::room(chunk).saturating_add(freed) < size {
            return false;
        }
        let freed = old.map_or(0, |(word, old)| long_bytes(word, old));
        self.state.long = self.state.long.saturating_sub(freed).saturating_add(long_bytes(word, value));
        match old {
            None => self.state.entries = self.state.entries.wrapping_add(1),
            Some((old, _)) if old & MERGED != 0 => {
                node::set_generation(chunk, node::generation(chunk).wrapping_sub(1));
            }
            Some((old, _)) if (old ^ fence.lowest) & !FLAGS == 0 => fence.lowest |= STALE,
            Some(_) => {}
        }
        let mut is_done = found.is_ok() && node::overwrite(chunk, at, &cell);
        if !is_done {
            if found.is_ok() {
                node::remove(chunk, at);
            }
            is_done = node::insert(chunk, scratch, at, &cell);
        }
        self.state.newest = self.state.newest.max(offset);
        if !is_done {
            self.split(index, at, &cell);
            return true;
        }
        if at == 0 {
            fence.prefix = prefix(key);
        }
        if fence.lowest & NONE != 0 || self.age(word) > self.age(fence.lowest) {
            fence.lowest = word & !FLAGS;
        }
        self.set_fence(index, fence);
        true
    }

    /// Where the entry of this key is.
    pub(crate) fn find(&self, key: &[u8]) -> Option<At> {
        let fence = self.fence_of(key);
        let cell = node::search(self.chunk(fence), key).ok()?;
        Some(At { fence, cell: cell as u32 })
    }

    /// The first entry that is not below the bound, or the last one that is not above it.
    pub(crate) fn seek(&self, bound: Bound<&[u8]>, forward: bool) -> Option<At> {
        let (Bound::Included(key) | Bound::Excluded(key)) = bound else {
            return if forward { self.place(0, 0, true) } else { self.place(self.state.used, 0, false) };
        };
        let fence = self.fence_of(key);
        // An entry of this key itself is passed by, or it is not.
        let passes = matches!(bound, Bound::Included(_)) != forward;
        let cell = match node::search(self.chunk(fence), key) {
            Ok(cell) => cell.wrapping_add(usize::from(passes)),
            Err(cell) => cell,
        };
        self.place(fence, cell, forward)
    }

    /// The entry behind this one, or before it.
    pub(crate) fn step(&self, at: At, forward: bool) -> Option<At> {
        self.place(at.fence, (at.cell as usize).wrapping_add(usize::from(forward)), forward)
    }

    /// What is there.
    fn entry(&self, at: At) -> Option<Record<'_>> {
        let (chunk, cell) = (self.chunk(at.fence), at.cell as usize);
        if cell >= node::count(chunk) {
            return None;
        }
        let (word, value) = entry(chunk, cell);
        Some(Record { key: node::key(chunk, cell), value: said(word, value) })
    }

    /// Where in the log it is, and whether it is merged.
    #[cfg(test)]
    fn stamp(&self, at: At) -> (u64, bool) {
        let (word, _) = entry(self.chunk(at.fence), at.cell as usize);
        (self.state.newest.wrapping_sub(self.age(word).into()), word & MERGED != 0)
    }

    /// The entry is in a table that is not published yet. All places stay what they are.
    pub(crate) fn mark(&mut self, at: At) {
        let mut fence = self.fence(at.fence);
        let chunk = node::page_mut(self.bytes, self.state.size, self.state.page(fence.number()));
        let Some(place) = node::value_mut(chunk, at.cell as usize) else { return };
        let word = word_at(place, 0);
        if word & MERGED != 0 {
            return;
        }
        put_word(place, word | MERGED);
        let marked = node::generation(chunk).wrapping_add(1);
        node::set_generation(chunk, marked);
        fence.chunk |= MARKED;
        if marked as usize >= node::count(chunk) {
            fence.lowest |= NONE;
        } else if (word ^ fence.lowest) & !FLAGS == 0 {
            fence.lowest |= STALE;
        }
        self.set_fence(at.fence, fence);
    }

    /// The lowest offset of the entries that are not merged. Costs one pass over the directory, and one over the entries of
    /// a chunk whose oldest one has been replaced or merged since.
    pub(crate) fn lowest(&mut self) -> Option<u64> {
        let mut oldest = None;
        for index in 0..self.state.used {
            let mut lowest = self.fence(index).lowest;
            if lowest & FLAGS == STALE && Some(self.age(lowest)) > oldest {
                lowest = self.refresh(index);
            }
            if lowest & NONE == 0 {
                oldest = oldest.max(Some(self.age(lowest)));
            }
        }
        Some(self.state.newest.wrapping_sub(oldest?.into()))
    }

    /// How far the offset in a word is behind the newest one.
    fn age(&self, word: u32) -> u32 {
        ((self.state.newest as u32) << 2).wrapping_sub(word & !FLAGS) >> 2
    }

    /// The fences in use, and those that are not.
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    fn directory(&self) -> &[[u8; FENCE]] {
        let from = (self.state.page(self.state.total) as usize).wrapping_add(1).wrapping_mul(self.state.size);
        self.bytes.get(from..).unwrap_or_default().as_chunks().0
    }

    fn directory_mut(&mut self) -> &mut [[u8; FENCE]] {
        let from = (self.state.page(self.state.total) as usize).wrapping_add(1).wrapping_mul(self.state.size);
        self.bytes.get_mut(from..).unwrap_or_default().as_chunks_mut().0
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn fence(&self, index: u32) -> Fence {
        Fence::read(self.directory().get(index as usize).unwrap_or(&[0; FENCE]))
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn set_fence(&mut self, index: u32, fence: Fence) {
        let Some(bytes) = self.directory_mut().get_mut(index as usize) else { return };
        let (prefix, words) = bytes.split_at_mut(8);
        if let Some(place) = prefix.first_chunk_mut() {
            *place = fence.prefix.to_be_bytes();
        }
        let (chunk, lowest) = words.split_at_mut(4);
        put_word(chunk, fence.chunk);
        put_word(lowest, fence.lowest);
    }

    /// The chunk behind a fence; none if there is no such fence.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn chunk(&self, index: u32) -> &[u8] {
        if index >= self.state.used {
            return &[];
        }
        node::page(self.bytes, self.state.size, self.state.page(self.fence(index).number()))
    }

    /// The last fence that is not above this key, or the first.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn fence_of(&self, key: &[u8]) -> u32 {
        let fences = self.directory();
        let wanted = prefix(key);
        let (mut first, mut behind) = (0, self.state.used);
        while first < behind {
            let middle = first.wrapping_add(behind) / 2;
            let found = fences.get(middle as usize).map_or(0, |fence| Fence::read(fence).prefix);
            let is_behind =
                if found == wanted { node::key(self.chunk(middle), 0) > key } else { found > wanted };
            if is_behind {
                behind = middle;
            } else {
                first = middle.wrapping_add(1);
            }
        }
        first.saturating_sub(1)
    }

    /// The entry before which, or behind which, there are so many entries in the chunk of this fence.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn place(&self, mut fence: u32, mut cell: usize, forward: bool) -> Option<At> {
        if forward {
            if cell >= node::count(self.chunk(fence)) {
                (fence, cell) = (fence.wrapping_add(1), 0);
            }
        } else {
            if cell == 0 {
                fence = fence.checked_sub(1)?;
                cell = node::count(self.chunk(fence));
            }
            cell = cell.saturating_sub(1);
        }
        (fence < self.state.used).then_some(At { fence, cell: cell as u32 })
    }

    /// Takes a chunk into use, empty, and puts its fence before fence `index`. Whether there was one.
    #[inline(never)]
    fn open(&mut self, index: u32) -> bool {
        if !self.state.can_open() {
            return false;
        }
        let number = match self.state.free {
            NO_CHUNK => {
                self.state.fresh = self.state.fresh.wrapping_add(1);
                self.state.total.wrapping_sub(self.state.fresh)
            }
            number => number,
        };
        let chunk = node::page_mut(self.bytes, self.state.size, self.state.page(number));
        if number == self.state.free {
            self.state.free = word_at(chunk, 0);
        }
        node::init(chunk, 0, 0);
        let (from, end) = (index as usize, self.state.used as usize);
        self.state.used = self.state.used.wrapping_add(1);
        if let Some(fences) = self.directory_mut().get_mut(from..=end)
            && let Some(moved) = fences.len().checked_sub(1)
        {
            fences.copy_within(..moved, 1);
        }
        self.set_fence(index, Fence { prefix: 0, chunk: number, lowest: NONE });
        true
    }

    /// The chunk is free.
    fn close(&mut self, number: u32) {
        put_word(node::page_mut(self.bytes, self.state.size, self.state.page(number)), self.state.free);
        self.state.free = number;
    }

    /// Splits a chunk that has no room for a cell before its cell `at`, and puts it into one of the halves.
    #[inline(never)]
    fn split(&mut self, index: u32, at: usize, cell: &Cell<'_>) {
        let right = index.wrapping_add(1);
        let is_last = right == self.state.used;
        if !self.open(right) {
            return;
        }
        let (one, other) = (self.fence(index).number(), self.fence(right).number());
        let (chunk, other, scratch) = node::pages_and_scratch(
            self.bytes,
            self.state.size,
            self.state.page(one),
            self.state.page(other),
        );
        // Keys that ascend or descend fill chunks whole.
        let cut = if index == 0 && at == 0 { 1 } else { node::split_point(chunk, at, cell.size(), is_last) };
        let stay = if cut > at { cut.saturating_sub(1) } else { cut };
        node::move_cells(chunk, stay, node::count(chunk), other, scratch);
        if cut > at {
            node::insert(chunk, scratch, at, cell);
        } else {
            node::insert(other, scratch, at.saturating_sub(cut), cell);
        }
        self.refresh(index);
        self.refresh(right);
    }

    /// Works out anew what the fence and the chunk behind it say about its entries. Returns their lowest offset.
    #[inline(never)]
    fn refresh(&mut self, index: u32) -> u32 {
        let number = self.fence(index).number();
        let chunk = node::page(self.bytes, self.state.size, self.state.page(number));
        let (mut marked, mut lowest) = (0_u32, NONE);
        for cell in 0..node::count(chunk) {
            let (word, _) = entry(chunk, cell);
            if word & MERGED != 0 {
                marked = marked.wrapping_add(1);
            } else if lowest == NONE || self.age(word) > self.age(lowest) {
                lowest = word & !FLAGS;
            }
        }
        let prefix = prefix(node::key(chunk, 0));
        node::set_generation(node::page_mut(self.bytes, self.state.size, self.state.page(number)), marked);
        let chunk = number | if marked > 0 { MARKED } else { 0 };
        self.set_fence(index, Fence { prefix, chunk, lowest });
        lowest
    }

    /// Removes all merged entries, or makes them such as are not. Costs one pass over the directory, and work in the chunks that have
    /// merged ones: where little is left, it moves in with a neighbour, and one that is left empty is closed.
    #[inline(never)]
    fn settle(&mut self, drop: bool) {
        let used = self.state.used;
        let (mut kept, mut changed) = (0_u32, false);
        for index in 0..used {
            let fence = self.fence(index);
            let is_marked = fence.chunk & MARKED != 0;
            if is_marked && !self.sweep(fence.number(), drop) {
                self.close(fence.number());
                changed = true;
                continue;
            }
            self.set_fence(kept, fence);
            if is_marked {
                self.refresh(kept);
            }
            let may_join = drop && (changed || is_marked);
            changed = is_marked;
            if may_join && self.join(kept) {
                changed = true;
            } else {
                kept = kept.wrapping_add(1);
            }
        }
        self.state.used = kept;
        if kept == 0 {
            (self.state.free, self.state.fresh) = (NO_CHUNK, 0);
        }
    }

    /// Removes the merged entries of a chunk, or makes them such as are not. Whether any entry is left.
    fn sweep(&mut self, number: u32, drop: bool) -> bool {
        let chunk = node::page_mut(self.bytes, self.state.size, self.state.page(number));
        let (count, marked) = (node::count(chunk), node::generation(chunk));
        let goes = drop && marked as usize >= count;
        if drop {
            self.state.entries = self.state.entries.wrapping_sub(marked);
            if goes && self.state.long == 0 {
                return false;
            }
        }
        for cell in (0..count).rev() {
            if let Some(place) = node::value_mut(chunk, cell)
                && let word = word_at(place, 0)
                && word & MERGED != 0
            {
                if drop {
                    let long = long_bytes(word, place.get(WORD..).unwrap_or_default());
                    self.state.long = self.state.long.saturating_sub(long);
                }
                put_word(place, word & !MERGED);
                if drop && !goes {
                    node::remove(chunk, cell);
                }
            }
        }
        !goes
    }

    /// Moves the entries of a chunk into the one before it, if both leave an eighth of that free. Then the fence is none.
    fn join(&mut self, index: u32) -> bool {
        let Some(before) = index.checked_sub(1) else { return false };
        let (to, from) = (self.fence(before).number(), self.fence(index).number());
        let usable = node::usable(self.state.size);
        let (chunk, other, scratch) =
            node::pages_and_scratch(self.bytes, self.state.size, self.state.page(to), self.state.page(from));
        if node::used(chunk).saturating_add(node::used(other)) > usable.saturating_sub(usable / 8)
            || !node::move_cells(other, 0, node::count(other), chunk, scratch)
        {
            return false;
        }
        self.close(from);
        self.refresh(before);
        true
    }
}

#[cfg(test)]
mod tests;
