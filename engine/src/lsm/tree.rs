//! The tree as a whole: its memory, and its operations.

use super::builder::{self, Builder};
use super::figures::Merges;
use super::filter::Hash;
use super::find::{Tables, value_of};
use super::list::{List, Runs};
use super::manifest::Manifest;
use super::memory::{Layout, MIN_FRAMES};
use super::memtable::{self, Memtable};
use super::merge::{Job, Merge, Progress};
use super::policy::{Outlook, Shape};
use super::scan::Scan;
use crate::device::Geometry;
use crate::index::{Damage, Found, Ground};
use crate::node;
use crate::pool::{Frames, Pool, State};
use crate::volume::{Buffer, Fault};

/// How a tree is to be kept. None of it is on the device: it may be different at each open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// Which runs there are.
    pub shape: Shape,
    /// Bits of the filter for each key; 0: no filters. With 10, one in a hundred keys that are not there is looked for.
    pub bits_per_key: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self { shape: Shape::Levels { levels: 2, runs: 4, last: 1, ratio: 8 }, bits_per_key: 10 }
    }
}

/// An LSM tree in lent memory: the index of a [`Store`](crate::store::Store).
///
/// `P` is memory for pages, lent or given, which begins where the device's alignment wants it; `F` are the records of the
/// frames, a page of the memory each. What is left of the memory is the memtable's. A block of the volume is a table: 8 KiB or
/// the erase unit on flash, 512 KiB on a disk.
pub struct Lsm<P, F> {
    pub(super) pages: P,
    pub(super) frames: F,
    pub(super) pool: State,
    pub(super) memtable: memtable::State,
    pub(super) runs: Runs,
    pub(super) progress: builder::Progress,
    pub(super) state: Inner,
}

/// What the tree remembers beside its memory.
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) manifest: Manifest,
    /// As the last publish names it.
    pub(super) published: Manifest,
    pub(super) job: Option<Job>,
    pub(super) scan: Scan,
    /// There is a merge to begin with.
    pub(super) owes: bool,
    /// All is being merged into one run.
    pub(super) compacting: bool,
    /// Only the memtable is still to be written.
    pub(super) closing: bool,
    /// Pairs go past the log, into tables.
    pub(super) bulk: bool,
    /// Tables have changed since the manifest was written.
    pub(super) unwritten: bool,
    /// And since the last publish.
    pub(super) unpublished: bool,
    /// Pairs in all tables.
    pub(super) pairs: u64,
    pub(super) merged: Merges,
    /// Where a sweep goes on.
    pub(super) sweep: u32,
    /// Offset behind the newest operation.
    pub(super) seen: u64,
    /// Bytes of a pair, on average.
    pub(super) pair: u32,
    /// Bytes of a block.
    pub(super) block: u32,
}

/// The tree at work: without the types of its memory, so that its code is there once.
pub(super) struct Tree<'a> {
    pub(super) tables: Tables<'a>,
    pub(super) memtable: Memtable<'a>,
    pub(super) builder: Builder<'a>,
    pub(super) state: &'a mut Inner,
}

/// What of a table is little enough to be left in the log by a close.
const LITTLE: u64 = 16;

impl<P: Buffer, F: Frames> Lsm<P, F> {
    /// A tree for the memory.
    pub fn new(pages: P, frames: F, options: Options) -> Self {
        Self {
            pages,
            frames,
            pool: State::new(),
            memtable: memtable::State::new(),
            runs: Runs::new(),
            progress: builder::Progress::default(),
            state: Inner {
                options,
                layout: Layout::default(),
                manifest: Manifest::default(),
                published: Manifest::default(),
                job: None,
                scan: Scan::new(),
                owes: false,
                compacting: false,
                closing: false,
                bulk: false,
                unwritten: false,
                unpublished: false,
                pairs: 0,
                merged: Merges::default(),
                sweep: 0,
                seen: 0,
                pair: 64,
                block: 0,
            },
        }
    }

    /// The least memory for a volume in bytes, and frames. A table takes 32 bytes of it; with more of them than a third of the memory
    /// that is left beside the frames has room for, [`MemoryTooSmall`](crate::store::Error::MemoryTooSmall) says so.
    pub fn memory_needed(geometry: &Geometry, block_size: u32) -> (usize, usize) {
        (Layout::least(geometry, block_size, MIN_FRAMES), MIN_FRAMES)
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> (P, F) {
        (self.pages, self.frames)
    }

    pub(super) fn outlook(&self) -> Outlook {
        self.state.outlook(false, self.pool.info.frames)
    }

    pub(super) fn view(&mut self) -> Tree<'_> {
        let Layout { size, pool, memtable, list, key } = self.state.layout;
        let bytes = self.pages.as_mut();
        let (builder, rest) =
            bytes.split_at_mut_checked(builder::PAGES.wrapping_mul(size)).unwrap_or_default();
        let (pages, rest) = rest.split_at_mut_checked(pool).unwrap_or_default();
        let (chunks, rest) = rest.split_at_mut_checked(memtable).unwrap_or_default();
        let (tables, rest) = rest.split_at_mut_checked(list).unwrap_or_default();
        let key = rest.get_mut(..key).unwrap_or_default();
        Tree {
            tables: Tables {
                pool: Pool { pages, frames: self.frames.as_mut(), state: &mut self.pool },
                list: List { bytes: tables, runs: &mut self.runs },
            },
            memtable: Memtable { bytes: chunks, state: &mut self.memtable },
            builder: Builder { pages: builder, key, size, progress: &mut self.progress },
            state: &mut self.state,
        }
    }
}

impl Inner {
    pub(super) fn outlook(&self, full: bool, frames: u32) -> Outlook {
        Outlook {
            shape: self.options.shape,
            memtable: self.layout.memtable as u64,
            table: u64::from(self.block),
            page: self.layout.size as u64,
            full,
            sweep: self.sweep,
            sources: frames.saturating_sub(3) as usize,
        }
    }
}

impl Tree<'_> {
    /// Makes the pool and the memtable empty.
    pub(super) fn reset(&mut self) {
        let size = self.state.layout.size;
        self.tables.pool.divide(size);
        self.memtable.clear();
        self.builder.progress.active = false;
        (self.state.job, self.state.compacting) = (None, false);
        // The tree may be one that a close has given back.
        (self.state.closing, self.state.owes) = (false, false);
        self.state.scan.forget();
        self.state.bulk = false;
    }

    pub(super) fn insert<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let offset = ground.offset();
        self.state.scan.forget();
        if !self.memtable.insert(key, value, offset) {
            return Err(ground.too_few_frames(self.tables.pool.state.info.frames.saturating_add(1)));
        }
        self.note(key, value);
        self.state.seen = offset.wrapping_add(1);
        Ok(())
    }

    /// Keeps the average size of a pair.
    fn note(&mut self, key: &[u8], value: Option<&[u8]>) {
        let size = node::pair_size(key.len(), value.unwrap_or_default().len()) as u32;
        self.state.pair = self.state.pair.wrapping_mul(15).wrapping_add(size).wrapping_add(15) / 16;
    }

    /// Whether a table has what the log says at this offset about a key.
    pub(super) fn is_merged<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        offset: u64,
    ) -> Result<bool, Fault> {
        for run in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(run);
            let Some(number) = self.tables.begun(ground, run, key, false)?.checked_sub(1) else { continue };
            let table = self.tables.list.get(run.start.wrapping_add(number));
            let ahead = table.merged.wrapping_sub(offset as u32);
            if table.merged == 0 || ahead == 0 || ahead > u32::MAX / 2 {
                continue;
            }
            let frame = self.tables.leaf(ground, &table, table.pages.wrapping_sub(1))?;
            let page = self.tables.pool.page(frame);
            if key <= node::key(page, node::count(page).wrapping_sub(1)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn choose(&mut self, full: bool) -> Option<Job> {
        let outlook = self.outlook(full);
        if self.state.compacting {
            return Some(outlook.all(&mut self.tables.list));
        }
        if self.state.closing {
            let flush = if full { outlook.flush(&mut self.tables.list, 0) } else { return None };
            return flush.or_else(|| outlook.choose(&mut self.tables.list));
        }
        outlook.choose(&mut self.tables.list)
    }

    pub(super) fn outlook(&self, full: bool) -> Outlook {
        self.state.outlook(full, self.tables.pool.state.info.frames)
    }

    /// See [`Index::checkpoint_step`](crate::index::Index::checkpoint_step).
    pub(super) fn step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        self.finish_bulk(ground)?;
        if !self.state.unwritten {
            self.state.owes = false;
            let full = self.memtable.state.len() != 0;
            let Some(mut job) = self.state.job.take().or_else(|| self.choose(full)) else {
                return Ok(true);
            };
            self.begin_sweep(ground, &mut job)?;
            let done = self.merge(ground, &mut job, pages, &mut |_| {});
            match done {
                Ok(Progress::Paused) => {
                    self.state.job = Some(job);
                    return Ok(false);
                }
                Ok(Progress::Table) if !job.one => self.state.job = Some(job),
                Ok(done) => {
                    // At the end of the keys a sweep begins anew.
                    self.state.sweep = if job.one && done == Progress::Table { job.place } else { 0 };
                    self.drop_empty();
                    // More runs than could be merged at a time are merged once more.
                    self.state.compacting &= self.tables.list.runs.len() > 1;
                    self.state.job = self.choose(false);
                }
                Err(fault) => {
                    // Begun anew when it is tried again. What was committed stays.
                    let bad = core::mem::take(&mut self.builder.progress.bad) && !ground.is_poisoned();
                    if bad && core::mem::take(&mut self.builder.progress.active) {
                        let other = ground.replace(self.builder.progress.table.block)?;
                        ground.free(other, true)?;
                        let compacting = self.state.compacting;
                        self.give_up(ground)?;
                        self.state.compacting = compacting;
                        return Ok(false);
                    }
                    self.give_up(ground)?;
                    return Err(fault);
                }
            }
        }
        self.tables.write_manifest(ground, &mut self.state.manifest)?;
        self.state.unwritten = false;
        Ok(true)
    }

    /// See [`Index::compact`](crate::index::Index::compact): the memtable and all runs into one.
    pub(super) fn compact<G: Ground>(&mut self, ground: &mut G) -> Result<bool, Fault> {
        if !self.state.compacting {
            self.finish_bulk(ground)?;
            self.give_up(ground)?;
            self.state.compacting = self.memtable.state.len() != 0 || self.tables.list.runs.len() > 1;
        }
        Ok(self.state.compacting)
    }

    /// See [`Index::begin_close`](crate::index::Index::begin_close). A sweep would write all of its run for what the log has.
    pub(super) fn begin_close<G: Ground>(&mut self, ground: &mut G, entries: u64) -> Result<bool, Fault> {
        let little = u64::from(self.state.block) / LITTLE;
        let bytes = entries.saturating_mul(self.state.pair.into());
        if entries != u64::MAX && (bytes <= little || self.state.options.shape == Shape::Sweep) {
            return Ok(false);
        }
        // Not the memtable's: it goes on at the next open, with the table after the last one that it has completed.
        if self.state.job.as_ref().is_some_and(|job| !job.memtable) {
            self.give_up(ground)?;
        }
        if self.state.job.is_none() && self.memtable.state.len() != 0 {
            self.state.job = self.outlook(true).flush(&mut self.tables.list, bytes);
        }
        self.state.closing = self.state.job.is_some() || self.memtable.state.len() == 0;
        Ok(self.state.closing || entries == u64::MAX)
    }

    /// A sweep goes on behind the last key of the table before.
    fn begin_sweep<G: Ground>(&mut self, ground: &mut G, job: &mut Job) -> Result<(), Fault> {
        if !job.one || job.passed.is_some() {
            return Ok(());
        }
        let run = self.tables.list.run(job.target);
        if let Some(before) = job.place.checked_sub(1) {
            let table = self.tables.list.get(run.start.wrapping_add(before));
            let frame = self.tables.leaf(ground, &table, table.pages.wrapping_sub(1))?;
            let page = self.tables.pool.page(frame);
            let key = node::key(page, node::count(page).wrapping_sub(1));
            self.builder.pass(key);
            job.passed = Some(key.len());
        }
        Ok(())
    }

    pub(super) fn merge<G: Ground>(
        &mut self,
        ground: &mut G,
        job: &mut Job,
        pages: u32,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Progress, Fault> {
        self.state.scan.forget();
        let mut merge = Merge {
            tables: Tables {
                pool: Pool {
                    pages: self.tables.pool.pages,
                    frames: self.tables.pool.frames,
                    state: self.tables.pool.state,
                },
                list: List { bytes: self.tables.list.bytes, runs: self.tables.list.runs },
            },
            memtable: Memtable { bytes: self.memtable.bytes, state: self.memtable.state },
            builder: Builder {
                pages: self.builder.pages,
                key: self.builder.key,
                size: self.builder.size,
                progress: self.builder.progress,
            },
            job,
            bits: self.state.options.bits_per_key.into(),
            seen: self.state.seen,
            pair: self.state.pair,
            pairs: &mut self.state.pairs,
            merged: &mut self.state.merged,
            report,
        };
        let done = merge.step(ground, pages);
        if done != Ok(Progress::Paused) {
            (self.state.unwritten, self.state.unpublished) = (true, true);
        }
        done
    }

    pub(super) fn drop_empty(&mut self) {
        self.state.scan.forget();
        for run in (0..self.tables.list.runs.len()).rev() {
            if self.tables.list.run(run).len == 0 {
                self.tables.list.remove_run(run);
            }
        }
    }

    /// Gives up the merge that is under way.
    pub(super) fn give_up<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        (self.state.job, self.state.compacting) = (None, false);
        self.state.scan.forget();
        self.memtable.unmark();
        self.drop_empty();
        self.builder.give_up(ground)
    }

    /// Completes the last table of a load in bulk.
    fn finish_bulk<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        self.state.scan.forget();
        if self.state.bulk && self.builder.progress.active {
            // Before the table is complete: after an error nothing of it is lost, and none of it is published.
            if self.tables.list.len() >= self.tables.list.capacity() {
                return Err(ground.too_few_frames(self.tables.pool.state.info.frames.saturating_add(1)));
            }
            let table = self.builder.finish(ground)?;
            let pairs = u64::from(self.builder.progress.pairs);
            self.state.pairs = self.state.pairs.saturating_add(pairs);
            let end = self.tables.list.run(0).len;
            self.tables.list.insert(0, end, table);
            (self.state.unwritten, self.state.unpublished) = (true, true);
        }
        Ok(())
    }

    pub(super) fn append<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, Fault> {
        if !core::mem::replace(&mut self.state.bulk, true) {
            let level = self.outlook(false).last();
            self.tables.list.runs.clear();
            self.tables.list.insert_run(0, level);
            self.builder.pass(&[]);
        }
        if !self.builder.is_behind(key) {
            return Ok(false);
        }
        self.note(key, Some(value));
        for _ in 0..2 {
            if !self.builder.progress.active {
                let keys = (self.state.block / self.state.pair.max(1)).max(1);
                self.builder.begin(ground, keys, self.state.options.bits_per_key.into())?;
            }
            if self.builder.add(ground, &mut [], key, Some(value))? {
                self.builder.pass(key);
                return Ok(true);
            }
            self.finish_bulk(ground)?;
        }
        Err(Fault::OutOfRange)
    }

    pub(super) fn get<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<Option<Found>, Fault> {
        if let Some(record) = self.memtable.find(key).and_then(|at| self.memtable.record(at)) {
            let found = record.value.map(|value| copy(ground, value, out, 0, 0));
            return found.transpose();
        }
        let hash = Hash::of(key);
        let before = self.tables.pool.state.info.misses;
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            let Some(spot) = self.tables.find(ground, run, key, hash)? else { continue };
            let reads = self.tables.pool.state.info.misses.wrapping_sub(before) as u32;
            let Some(value) = value_of(self.tables.pool.page(spot.frame), spot.cell) else {
                let id = self.tables.pool.frame(spot.frame).block;
                let pages = (self.state.block as usize).checked_div(self.state.layout.size).unwrap_or(1);
                return Err(ground.damaged(id / (pages as u32).max(1)));
            };
            let depth = number.wrapping_add(1) as u8;
            return value.map(|value| copy(ground, value, out, depth, reads)).transpose();
        }
        Ok(None)
    }
}

/// Copies a value out.
pub(super) fn copy<G: Ground>(
    ground: &mut G,
    value: &[u8],
    out: &mut [u8],
    depth: u8,
    reads: u32,
) -> Result<Found, Fault> {
    match out.get_mut(..value.len()) {
        Some(place) => {
            place.copy_from_slice(value);
            Ok(Found { len: value.len(), depth, reads })
        }
        None => Err(ground.short(value.len())),
    }
}
