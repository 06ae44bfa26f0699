//! Writes a table: pairs in, pages out, as soon as there is no memory for more of them.
//!
//! ```text
//!   ├ index ┤ filter ┤ pairs ┤ ... ┤      pages; of pairs one, or where there is plenty of memory some more, written in one go
//! ```
//! A [long value](super::value) is copied behind its pair, piece by piece; until all of it is there, nothing else can be added.

use heapless::Vec;

use super::filter::{self, Hash, LINE, Owner};
use super::list::{Table, prefix};
use super::page::{self, Key};
use super::value::{Long, Value};
use crate::codec::{Checksum, align_down, align_up};
use crate::index::Ground;
use crate::node::{self, Cell, Pointer};
use crate::volume::Fault;

/// Pages that a builder needs.
pub(super) const PAGES: usize = 3;
/// Which of them are what; the rest are pages of pairs.
const INDEX: usize = 0;
const FILTER: usize = 1;
const PAIRS: usize = 2;

/// The table that is being written.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// There is one.
    pub(super) active: bool,
    pub(super) table: Table,
    /// Pairs in it so far.
    pub(super) pairs: u32,
    /// Where the block was erased up to, and from where on.
    erased: u32,
    erased_from: u32,
    /// Where long values begin, and the one that is being copied.
    pub(super) top: u32,
    copied: Option<Copied>,
    /// Its block can't be erased or written: pages of it are missing, and it can only be given up.
    pub(super) bad: bool,
    /// Pages of pairs that are full and not written yet.
    held: usize,
    /// Where the next pair goes in its page.
    end: usize,
    /// Bytes of the key that was passed last, and of the one that is staged.
    last: usize,
    pub(super) staged: usize,
    /// Pages that were completed in all.
    pub(super) written: u64,
}

/// A long value on its way into the table.
#[derive(Clone, Copy, Debug)]
struct Copied {
    from: Long,
    to: u32,
    /// Bytes that are there, and their checksum.
    done: u32,
    sum: Checksum,
}

/// The builder at work, with its memory.
pub(super) struct Builder<'a> {
    /// [`PAGES`] of them, or more.
    pub(super) pages: &'a mut [u8],
    /// For the longest key, twice: the one that was passed last, and the one that is staged.
    pub(super) key: &'a mut [u8],
    pub(super) size: usize,
    pub(super) progress: &'a mut Progress,
}

/// So many blocks are tried for a table.
const TRIES: usize = 4;

impl Builder<'_> {
    fn page(&mut self, page: usize) -> &mut [u8] {
        let start = page.wrapping_mul(self.size);
        self.pages.get_mut(start..start.wrapping_add(self.size)).unwrap_or_default()
    }

    /// The page that pairs go into.
    fn leaf(&mut self) -> &mut [u8] {
        self.page(self.progress.held.wrapping_add(PAIRS))
    }

    /// Whether a key is greater than the one that was passed last. No key is empty.
    pub(super) fn is_behind(&self, key: &[u8]) -> bool {
        key > self.key.get(..self.progress.last).unwrap_or_default()
    }

    /// Copies a key that is in two pieces: so it is what is staged.
    pub(super) fn copy(&mut self, key: Key<'_>) -> &[u8] {
        self.stage(key);
        self.staged()
    }

    /// Keeps a key, of which there will be a pair.
    pub(super) fn stage(&mut self, key: Key<'_>) {
        let half = self.key.len() / 2;
        self.progress.staged = key.copy(self.key.get_mut(half..).unwrap_or_default());
    }

    pub(super) fn staged(&self) -> &[u8] {
        let staged = self.key.get(self.key.len() / 2..).unwrap_or_default();
        staged.get(..self.progress.staged).unwrap_or_default()
    }

    /// Notes that everything up to the staged key is done with.
    pub(super) fn pass(&mut self) {
        let (last, staged) = self.key.split_at_mut_checked(self.key.len() / 2).unwrap_or_default();
        let len = self.progress.staged;
        if let (Some(last), Some(staged)) = (last.get_mut(..len), staged.get(..len)) {
            last.copy_from_slice(staged);
            self.progress.last = len;
        }
    }

    /// Begins a table, with a filter for about `keys` keys. Takes a block, and erases the beginning of it.
    pub(super) fn begin<G: Ground>(&mut self, ground: &mut G, keys: u32, bits: u32) -> Result<(), Fault> {
        let mut block = ground.allocate()?;
        let unit = ground.erase_unit();
        let mut bad = Vec::<u32, TRIES>::new();
        while unit != 0
            && let Err(fault) = ground.erase_part(block, 0, unit)
        {
            let _ = bad.push(block);
            let other = if fault == Fault::Device && !bad.is_full() { ground.allocate() } else { Err(fault) };
            match other {
                Ok(other) => block = other,
                Err(_) => {
                    // It is not the blocks.
                    for block in bad {
                        ground.free(block, true)?;
                    }
                    return Err(fault);
                }
            }
        }
        for block in bad {
            ground.retire(block);
        }
        let lines = filter::lines(keys, bits, ((self.size / LINE) as u32).min(255));
        let table = Table { block, generation: ground.generation(), lines, ..Table::default() };
        *self.progress = Progress {
            active: true,
            table,
            bad: false,
            pairs: 0,
            erased: unit,
            erased_from: ground.block_size(),
            top: ground.block_size(),
            copied: None,
            held: 0,
            end: 0,
            last: self.progress.last,
            staged: self.progress.staged,
            written: self.progress.written,
        };
        let generation = table.generation;
        // The page of pairs is begun with the first of them.
        node::init(self.page(INDEX), 1, generation);
        self.page(FILTER).fill(0);
        Ok(())
    }

    /// Adds a pair of the [staged](Self::stage) key, or a tombstone; the key is greater than the one that was [passed](Self::pass) last. `false`: the table is full, and has not taken it.
    ///
    /// A long value is then to be [copied](Self::copy_long).
    pub(super) fn add<G: Ground>(&mut self, ground: &mut G, value: Option<Value<'_>>) -> Result<bool, Fault> {
        self.check()?;
        let is_first = self.progress.pairs == 0;
        let (mut top, mut value) = (self.progress.top, value);
        // Another page of pairs, those of the filter and the index, and this one.
        let pages = (self.progress.table.pages.saturating_add(4) as usize).saturating_mul(self.size) as u32;
        let long = match &mut value {
            Some(Value::Long(long)) => {
                let from = *long;
                top = align_down(top.saturating_sub(long.len).into(), ground.write_unit()) as u32;
                if top < pages {
                    return if is_first { Err(Fault::OutOfRange) } else { Ok(false) };
                }
                long.at = top;
                Some(from)
            }
            _ => None,
        };
        if is_first || !self.push(value) {
            if !is_first {
                if pages > top || !self.open_page() {
                    return Ok(false);
                }
                self.flush(ground)?;
            } else {
                self.progress.table.prefix = prefix(self.staged());
                self.open_page();
            }
            let generation = self.progress.table.generation;
            self.progress.end = page::init(self.leaf(), generation);
            if !self.push(value) {
                return Err(Fault::OutOfRange);
            }
        }
        let lines = self.progress.table.lines;
        if lines != 0 {
            let hash = Hash::of(self.staged());
            filter::add(self.page(FILTER), lines, hash);
        }
        self.progress.table.last = (prefix(self.staged()) >> 48) as u32;
        self.progress.pairs = self.progress.pairs.wrapping_add(1);
        if let Some(from) = long {
            self.progress.top = top;
            self.progress.copied = Some(Copied { from, to: top, done: 0, sum: Checksum::new() });
            self.progress.table.has_long = true;
        }
        Ok(true)
    }

    /// Whether a long value is still to be copied.
    pub(super) fn is_copying(&self) -> bool {
        self.progress.copied.is_some()
    }

    /// Copies a part of the long value that was added last, by the `buffer`, a page, or erases what it needs. It comes from where it is, or
    /// from `memory`, all of it.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn copy_long<G: Ground>(
        &mut self,
        ground: &mut G,
        buffer: &mut [u8],
        memory: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Some(mut copied) = self.progress.copied else { return Ok(()) };
        let Copied { from, to, done, .. } = copied;
        let table = self.progress.table.block;
        let erase = ground.erase_unit();
        if erase != 0 && to < self.progress.erased_from {
            let first = (align_down(to.into(), erase) as u32).max(self.progress.erased);
            let behind = core::mem::replace(&mut self.progress.erased_from, first);
            if first < behind {
                let erased = ground.erase_part(table, first, behind.wrapping_sub(first));
                self.progress.bad = erased.is_err();
                return erased;
            }
        }
        let len = from.len.wrapping_sub(done).min(buffer.len() as u32);
        let whole = align_up(len, ground.write_unit());
        let buffer =
            buffer.get_mut(..whole as usize).filter(|buffer| !buffer.is_empty()).ok_or(Fault::OutOfRange)?;
        let (piece, rest) = buffer.split_at_mut_checked(len as usize).unwrap_or_default();
        rest.fill(0);
        match memory {
            Some(memory) => {
                let memory = memory.get(done as usize..).unwrap_or_default().get(..piece.len());
                piece.copy_from_slice(memory.ok_or(Fault::OutOfRange)?);
            }
            None => from.part(ground, done, piece)?,
        }
        copied.sum = copied.sum.bytes(piece);
        copied.done = done.wrapping_add(len);
        let is_whole = copied.done >= from.len;
        if is_whole && copied.sum.finish() != from.crc {
            return Err(from.damaged(ground));
        }
        let written = ground.write_part(table, to.wrapping_add(done), buffer);
        self.progress.bad = written.is_err();
        self.progress.copied = if is_whole { None } else { Some(copied) };
        written
    }

    /// The pair of the staged key into the page of pairs; whether there was room.
    fn push(&mut self, value: Option<Value<'_>>) -> bool {
        let key = self.key.get(self.key.len() / 2..).unwrap_or_default();
        let key = key.get(..self.progress.staged).unwrap_or_default();
        let from = self.progress.held.wrapping_add(PAIRS).wrapping_mul(self.size);
        let page = self.pages.get_mut(from..from.wrapping_add(self.size)).unwrap_or_default();
        page::push(page, &mut self.progress.end, key, value)
    }

    /// A line of the index for the page that begins with the staged key; whether there was room.
    fn open_page(&mut self) -> bool {
        let (last, staged) = self.key.split_at_checked(self.key.len() / 2).unwrap_or_default();
        let last = last.get(..self.progress.last).unwrap_or_default();
        let key = staged.get(..self.progress.staged).unwrap_or_default();
        let Some(index) = self.pages.get_mut(..self.size) else { return false };
        let count = node::count(index);
        // The first one is whole, so that the table knows its first key.
        let from = if count == 0 { key } else { node::separator(last, key) };
        let child = Pointer { block: count as u32, crc: 0 };
        // Nothing is inserted in front of cells here, so the page is never rearranged.
        node::insert(index, &mut [], count, &Cell::Child { key: from, child })
    }

    /// Completes the page of pairs, and writes it with those before it if there is no memory for another.
    fn flush<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let page = self.progress.table.pages;
        let next = self.progress.held.wrapping_add(PAIRS);
        let crc = self.seal(ground, next, page);
        node::set_child(self.page(INDEX), page as usize, Pointer { block: page, crc });
        self.progress.table.pages = page.wrapping_add(1);
        self.progress.held = self.progress.held.wrapping_add(1);
        if next.wrapping_add(2).wrapping_mul(self.size) > self.pages.len() {
            self.write_pairs(ground)?;
        }
        Ok(())
    }

    fn write_pairs<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let held = core::mem::take(&mut self.progress.held);
        let first = self.progress.table.pages.wrapping_sub(held as u32);
        self.write(ground, PAIRS, first, held.wrapping_mul(self.size))
    }

    /// The checksum of one of the builder's pages, as page number `to` of the table.
    fn seal<G: Ground>(&mut self, ground: &mut G, page: usize, to: u32) -> u32 {
        let id = page_id(ground, self.size, self.progress.table.block, to);
        let volume_id = ground.volume_id();
        self.progress.written = self.progress.written.wrapping_add(1);
        node::seal(self.page(page), volume_id, id)
    }

    /// Writes `len` bytes, from one of the builder's pages on, to page number `to` of the table.
    fn write<G: Ground>(&mut self, ground: &mut G, from: usize, to: u32, len: usize) -> Result<(), Fault> {
        let at = to.wrapping_mul(self.size as u32);
        let block = self.progress.table.block;
        let erase = ground.erase_unit();
        let end = at.wrapping_add(len as u32);
        if erase != 0 && end > self.progress.erased {
            // Long values may have had the rest of it erased.
            let (from, to) = (self.progress.erased, align_up(end, erase).min(self.progress.erased_from));
            let erased = ground.erase_part(block, from, to.wrapping_sub(from));
            self.progress.bad = erased.is_err();
            erased?;
            self.progress.erased = to;
        }
        let from = from.wrapping_mul(self.size);
        let data = self.pages.get(from..from.wrapping_add(len)).unwrap_or_default();
        let written = ground.write_part(block, at, data);
        self.progress.bad = written.is_err();
        written
    }

    /// A page that was not written is written by nobody, and so is the rest of a long value. (A merge gives such a table up; who loads in bulk may go on.)
    fn check(&self) -> Result<(), Fault> {
        if self.progress.bad || self.progress.copied.is_some() { Err(Fault::Device) } else { Ok(()) }
    }

    /// Completes the table. At least one pair was added.
    pub(super) fn finish<G: Ground>(&mut self, ground: &mut G) -> Result<Table, Fault> {
        self.check()?;
        self.flush(ground)?;
        if self.progress.held != 0 {
            self.write_pairs(ground)?;
        }
        let Table { block, generation, lines, pages, .. } = self.progress.table;
        if lines != 0 {
            let owner = Owner { volume_id: ground.volume_id(), block, generation };
            let len = (lines as usize).wrapping_mul(LINE);
            filter::seal(self.page(FILTER).get_mut(..len).unwrap_or_default(), owner);
            self.progress.written = self.progress.written.wrapping_add(1);
            self.write(ground, FILTER, pages, align_up(len as u32, ground.write_unit()) as usize)?;
        }
        let index = self.progress.table.index();
        self.progress.table.crc = self.seal(ground, INDEX, index);
        self.write(ground, INDEX, index, self.size)?;
        self.progress.active = false;
        Ok(self.progress.table)
    }

    /// Gives the table up.
    pub(super) fn give_up<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        self.progress.copied = None;
        if core::mem::take(&mut self.progress.active) {
            let fresh = self.progress.table.generation == ground.generation();
            ground.free(self.progress.table.block, fresh)?;
        }
        Ok(())
    }
}

/// The number of a page among all pages there can be.
pub(super) fn page_id<G: Ground>(ground: &G, size: usize, block: u32, page: u32) -> u32 {
    let pages = (ground.block_size() as usize).checked_div(size).unwrap_or(1) as u32;
    block.wrapping_mul(pages).wrapping_add(page)
}
