//! The tree as a whole: its memory, and its operations.

use core::cmp::Ordering;

use heapless::Vec;

use super::builder::{self, Builder};
use super::figures::Merges;
use super::filter::Hash;
use super::find::Tables;
use super::list::{Edits, List, Runs, prefix, tables};
use super::manifest::Manifest;
use super::memory::Layout;
use super::memtable::{self, Entries, Memtable, Places};
use super::merge::Job;
use super::policy::{Outlook, Shape};
use super::scan::Scan;
use super::value::{IN_TABLE, Long, Value, is_long, sum};
use crate::codec::SMALL;
use crate::device::Geometry;
use crate::index::{Found, Ground};
use crate::node;
use crate::pool::{Frames, Pool, State};
use crate::volume::{Buffer, Division, Fault, VolumeInfo};

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
        Self { shape: Shape::Levels { levels: 0, runs: 4, last: 1, ratio: 8 }, bits_per_key: 10 }
    }
}

/// An LSM tree in lent memory: the index of a [`Store`](crate::store::Store).
///
/// `P` is memory for pages, lent or given, which begins where the device's alignment wants it; `F` are the records of the
/// frames, a page of the memory each. What is left of the memory is the memtable's. A block of the volume is a table: 8 KiB or
/// the erase unit on flash, 512 KiB on a disk.
///
/// What a put pays for of merges is bounded: [`Store::most_moved`](crate::store::Store::most_moved) says in bytes how much one reads and writes
/// at most, and of what that consists.
///
/// `M` is the kind of its memtable: [`Entries`], or [`Places`] for a small memory.
pub struct Lsm<P, F, M = Entries> {
    pub(super) pages: P,
    pub(super) frames: F,
    pub(super) pool: State,
    pub(super) memtable: M,
    pub(super) runs: Runs,
    /// Bytes of the edits, see [`Edits`].
    edits: usize,
    pub(super) progress: builder::Progress,
    pub(super) state: Inner,
}

/// A small memory has no room for a merge that waits.
const PARKED: usize = if SMALL { 0 } else { 1 };

/// What the tree remembers beside its memory.
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) manifest: Manifest,
    /// As the last publish names it.
    pub(super) published: Manifest,
    /// The one that is being written, if it takes several steps.
    pub(super) draft: Option<Manifest>,
    pub(super) job: Option<Job>,
    /// A merge of runs that waits until the memtable is written.
    pub(super) parked: Vec<Job, PARKED, u8>,
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
    /// Pages of pairs in the table that was full last: as many as its filter and index had room for.
    pub(super) full: u32,
    /// So many tables are as full as they can be, since something else was merged.
    pub(super) packed: u32,
    /// Offset behind the newest operation.
    pub(super) seen: u64,
    /// Bytes of a pair in a page, on average, and of sixteen pairs.
    pub(super) pair: u32,
    sum: u32,
    /// The same of an entry of the log, which has long values, too.
    pub(super) entry: u32,
    entries: u32,
    /// Bytes of the longest long value that was put since the tree was opened.
    pub(super) longest: u32,
    /// Bytes of a block.
    pub(super) block: u32,
    /// Bytes of entries that the log has room for.
    pub(super) log_bytes: u64,
    /// Tables don't grow by the next change, that much was looked up.
    pub(super) known: bool,
    /// Changes since the sweep began to go round, of those that there are on its schedule.
    pub(super) put: u64,
    /// There are hardly enough blocks for what the memtable holds.
    pub(super) tight: bool,
    /// Tables that were committed since the last publish.
    pub(super) pending: u32,
    /// They are to be published now.
    pub(super) ready: bool,
    /// How full the log was at the last change.
    pub(super) log: u32,
    /// What changes have paid for and no step has done yet, in parts of a page.
    pub(super) credit: u32,
}

/// The tree at work: without the types of its memory, so that its code is there once.
pub(super) struct Tree<'a, M> {
    pub(super) tables: Tables<'a>,
    pub(super) memtable: Memtable<'a, M>,
    pub(super) builder: Builder<'a>,
    pub(super) state: &'a mut Inner,
}

impl<P: Buffer, F: Frames> Lsm<P, F> {
    /// A tree for the memory.
    pub fn new(pages: P, frames: F, options: Options) -> Self {
        Self::of(pages, frames, options)
    }

    /// The least memory for a volume in bytes, and frames. A table takes 32 bytes of it, of a third of the memory that is left beside the
    /// frames. Where so many can't be kept as the device has blocks, puts are refused with
    /// [`MemoryTooSmall`](crate::store::Error::MemoryTooSmall) before the last of it is gone, and deletes and checkpoints are not.
    pub fn memory_needed(geometry: &Geometry, block_size: u32) -> (usize, usize) {
        let bytes = Layout::least::<Entries>(
            geometry,
            block_size,
            &Division::default(),
            <Entries as memtable::Kind>::FRAMES,
        );
        (bytes, <Entries as memtable::Kind>::FRAMES)
    }
}

impl<P: Buffer, F: Frames> Lsm<P, F, Places> {
    /// A tree for the memory, with a memtable that says only where the log has its entries: four bytes for each.
    pub fn with_places(pages: P, frames: F, options: Options) -> Self {
        Self::of(pages, frames, options)
    }

    /// Like [`memory_needed`](Lsm::memory_needed), for a tree made [with places](Self::with_places): 14 bytes more for each segment of the
    /// volume's logs.
    pub fn memory_needed_with_places(volume: &VolumeInfo) -> (usize, usize) {
        let (geometry, block) = (&volume.geometry, volume.block_size);
        let division = Division {
            segments: volume.segments,
            segment: volume.segment_size,
            reserve: volume.reserve.into(),
            blocks: volume.blocks,
        };
        (
            Layout::least::<Places>(geometry, block, &division, <Places as memtable::Kind>::FRAMES),
            <Places as memtable::Kind>::FRAMES,
        )
    }
}

impl<P: Buffer, F: Frames, M: memtable::Kind> Lsm<P, F, M> {
    pub(super) fn of(pages: P, frames: F, options: Options) -> Self {
        Self {
            pages,
            frames,
            pool: State::new(),
            memtable: M::new(),
            runs: Runs::new(),
            edits: usize::MAX,
            progress: builder::Progress::default(),
            state: Inner {
                options,
                layout: Layout::default(),
                manifest: Manifest::default(),
                published: Manifest::default(),
                draft: None,
                job: None,
                parked: Vec::new(),
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
                full: u32::MAX,
                packed: 0,
                seen: 0,
                pair: 64,
                sum: 64 * 16,
                entry: 64,
                entries: 64 * 16,
                longest: 0,
                block: 0,
                log_bytes: 0,
                known: false,
                put: 0,
                tight: false,
                pending: 0,
                ready: false,
                log: 0,
                credit: 0,
            },
        }
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> (P, F) {
        (self.pages, self.frames)
    }

    pub(super) fn outlook(&self) -> Outlook {
        let memtable = memtable_bytes(&self.memtable, self.state.pair);
        self.state.outlook(&self.runs, memtable, u32::MAX)
    }

    pub(super) fn view(&mut self) -> Tree<'_, M> {
        let Layout { size, builder, mut pool, mut memtable, list, edits, key, .. } = self.state.layout;
        if !SMALL {
            let lent = (self.memtable.lent() as usize).wrapping_mul(size);
            (pool, memtable) = (pool.wrapping_add(lent), memtable.wrapping_sub(lent));
        }
        let bytes = self.pages.as_mut();
        let (builder, rest) = bytes.split_at_mut_checked(builder).unwrap_or_default();
        let (pages, rest) = rest.split_at_mut_checked(pool).unwrap_or_default();
        let (chunks, rest) = rest.split_at_mut_checked(memtable).unwrap_or_default();
        let (tables, rest) = rest.split_at_mut_checked(list).unwrap_or_default();
        let (edits, rest) = rest.split_at_mut_checked(edits).unwrap_or_default();
        let edits = Edits { bytes: edits, len: &mut self.edits };
        let key = rest.get_mut(..key).unwrap_or_default();
        Tree {
            tables: Tables {
                pool: Pool { pages, frames: self.frames.as_mut(), state: &mut self.pool },
                list: List { bytes: tables, runs: &mut self.runs, edits },
            },
            memtable: Memtable { bytes: chunks, state: &mut self.memtable },
            builder: Builder { pages: builder, key, size, progress: &mut self.progress },
            state: &mut self.state,
        }
    }
}

impl Inner {
    /// Pages of pairs that a table has at most, beside those of its filter and its index.
    pub(super) fn most_pages(&self) -> u32 {
        let pages = (self.block as usize).checked_div(self.layout.size).unwrap_or(0) as u32;
        pages.saturating_sub(2).min(self.full)
    }

    /// What the choice of a merge depends on; the memtable is not full.
    pub(super) fn outlook(&self, runs: &Runs, memtable: u64, available: u32) -> Outlook {
        let table = u64::from(self.block);
        let bytes = u64::from(tables(runs)).saturating_mul(table);
        let deepest = runs.iter().map(|run| run.level).max().unwrap_or(0);
        Outlook {
            shape: self.options.shape.settled(bytes, deepest, memtable),
            memtable,
            table,
            page: self.layout.size as u64,
            full: false,
            sweep: self.sweep,
            sources: self.layout.frames().saturating_sub(3) as usize,
            available,
            most: self.most_pages(),
            shrinks: self.layout.many,
            long: 0,
            affordable: 0,
        }
    }
}

/// Bytes of pairs that a memtable has room for, one of so many bytes on average.
pub(super) fn memtable_bytes<M: memtable::Kind>(memtable: &M, pair: u32) -> u64 {
    u64::from(memtable.room().1).saturating_mul(memtable.part(pair).into())
}

impl<M: memtable::Kind> Tree<'_, M> {
    /// Makes the pool and the memtable empty.
    pub(super) fn reset(&mut self) {
        let size = self.state.layout.size;
        self.tables.pool.divide(size);
        M::clear(&mut self.memtable);
        self.builder.progress.active = false;
        if !SMALL {
            self.state.parked.clear();
        }
        (self.state.job, self.state.draft, self.state.compacting) = (None, None, false);
        // The tree may be one that a close has given back.
        (self.state.closing, self.state.owes) = (false, false);
        self.state.scan.forget();
        self.state.bulk = false;
        (self.state.pending, self.state.ready) = (0, false);
        (self.state.full, self.state.packed, self.state.put) = (u32::MAX, 0, 0);
    }

    pub(super) fn insert<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        value: Option<Value<'_>>,
    ) -> Result<(), Fault> {
        let offset = ground.offset();
        self.state.scan.forget();
        let known = core::mem::take(&mut self.state.known);
        if !M::insert(&mut self.memtable, ground, key, value, known, offset)? {
            return Err(ground.too_few_frames(self.tables.pool.state.info.frames.saturating_add(1)));
        }
        self.note(key, value.as_ref());
        self.state.seen = offset.wrapping_add(1);
        Ok(())
    }

    /// Keeps the average size of a pair.
    pub(super) fn note(&mut self, key: &[u8], value: Option<&Value<'_>>) {
        let (len, long) = match value {
            None => (0, 0),
            Some(Value::Short(value)) => (value.len(), 0),
            Some(Value::Long(long)) => (IN_TABLE, long.len),
        };
        let size = node::pair_size(key.len(), len) as u32;
        self.state.longest = self.state.longest.max(long);
        for (sum, average, size) in [
            (&mut self.state.sum, &mut self.state.pair, size),
            (&mut self.state.entries, &mut self.state.entry, size.saturating_add(long)),
        ] {
            *sum = sum.saturating_sub(*sum / 16).saturating_add(size.min(u32::MAX / 32));
            *average = sum.div_ceil(16);
        }
    }

    /// A value that was logged, as it is kept.
    pub(super) fn logged<'v, G: Ground>(&self, ground: &G, key: &[u8], value: &'v [u8]) -> Value<'v> {
        if !is_long(self.state.layout.size, key.len(), value.len()) {
            return Value::Short(value);
        }
        let (unit, at) = ground.value_site(key.len(), value.len());
        let crc = if M::IN_LOG { 0 } else { sum(value) };
        Value::Long(Long { len: value.len() as u32, crc, in_log: true, unit, at })
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
            // Most often the first bytes tell.
            if prefix(key) >> 48 < u64::from(table.last) {
                return Ok(true);
            }
            let last = self.tables.last_key(ground, &table)?;
            if self.tables.key(last).cmp(key.into()) != Ordering::Less {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Completes the last table of a load in bulk.
    pub(super) fn finish_bulk<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
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
            let level = self.outlook(false, u32::MAX).last();
            self.tables.list.clear();
            self.tables.list.insert_run(0, level);
            self.builder.stage((&[][..]).into());
            self.builder.pass();
        }
        if !self.builder.is_behind(key) {
            return Ok(false);
        }
        let memory = value;
        let value = if !is_long(self.state.layout.size, key.len(), value.len()) {
            Value::Short(value)
        } else {
            Value::Long(Long { len: value.len() as u32, crc: sum(value), in_log: false, unit: 0, at: 0 })
        };
        self.note(key, Some(&value));
        self.builder.stage(key.into());
        for _ in 0..2 {
            if !self.builder.progress.active {
                let keys = (self.state.block / self.state.pair.max(1)).max(1);
                self.builder.begin(ground, keys, self.state.options.bits_per_key.into())?;
            }
            if self.builder.add(ground, Some(value))? {
                while self.builder.is_copying() {
                    self.builder.copy_long(ground, self.tables.pool.scratch(), Some(memory))?;
                }
                self.builder.pass();
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
        let at = M::find(&mut self.memtable, ground, key)?;
        self.memtable.load(ground, at)?;
        if let Some(record) = at.and_then(|at| self.memtable.record(at)) {
            let found = record.value.map(|value| copy(ground, value, out, 0, 0));
            return found.transpose();
        }
        let hash = Hash::of(key);
        let before = self.tables.pool.state.info.misses;
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            let Some(spot) = self.tables.find(ground, run, key, hash)? else { continue };
            let reads = self.tables.pool.state.info.misses.wrapping_sub(before) as u32;
            let Some(value) = self.tables.value(ground, spot) else {
                let block = self.tables.block_of(ground, spot);
                return Err(ground.damaged(block));
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
    value: Value<'_>,
    out: &mut [u8],
    depth: u8,
    reads: u32,
) -> Result<Found, Fault> {
    let len = match &value {
        Value::Short(value) => value.len(),
        Value::Long(long) => long.len as usize,
    };
    let Some(place) = out.get_mut(..len) else { return Err(ground.short(len)) };
    let reads = match value {
        Value::Short(value) => {
            place.copy_from_slice(value);
            reads
        }
        Value::Long(long) => {
            long.copy(ground, place)?;
            reads.wrapping_add(1)
        }
    };
    Ok(Found { len, depth, reads })
}
