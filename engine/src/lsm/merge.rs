//! Merges: from some runs, and the memtable, the newest version of each key into new tables, a few pages at a time.
//!
//! ```text
//!   memtable     . . b' . . . . | f'  i'            of each source, what is right of the line is still to come
//!   source    ├ a b c ┤├ d e | f g ┤├ h i ┤
//!   target    ├ a b' c ┤├ d e ...                   the table that is being written
//! ```
//! A table that is full is *committed*: it goes into the target, and what it was made of goes out of the sources, whole
//! tables with their blocks, and of the table at the line its beginning. Until then nothing has changed for a reader. What
//! is published after a commit is whole, wherever a cut comes: each key is in the target or still in the sources.

use core::cmp::Ordering;

use heapless::Vec;

use super::builder::{Builder, page_id};
use super::figures::Merges;
use super::find::{Spot, Tables};
use super::list::{MAX_RUNS, prefix};
use super::memtable::{Kind, Memtable};
use super::page::{self, Key, Position};
use super::value::Value;
use crate::codec::align_up;
use crate::index::{Damage, Ground};
use crate::pool::NONE;
use crate::volume::Fault;

/// Of the log, which is read in whole units, a step may read so many pages for entries that are less than that.
pub(super) const FROM_LOG: u32 = 8;
/// What stands before the key in an entry of the log at most, and the padding behind the value.
const HEAD: u32 = 32;
/// No more runs than this are merged at a time. Where memory is small it has no frames for more, and a merge is moved about on the stack.
pub(super) const MAX_SOURCES: usize = if cfg!(target_pointer_width = "32") { 6 } else { MAX_RUNS };

/// A run that is being merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// Its number.
    pub(super) run: usize,
    /// The first of its tables that the merge has begun with and not yet committed.
    pub(super) from: u32,
    /// Where it stands.
    pub(super) table: u32,
    pub(super) page: u32,
    pub(super) cell: u32,
    /// The page there, while a step is under way, and the pair in it.
    frame: u32,
    position: Position,
    head: u64,
}

impl Source {
    /// A run from one of its tables on.
    pub(super) fn new(run: usize, table: u32) -> Self {
        let position = Position::default();
        Self { run, from: table, table, page: 0, cell: 0, frame: NONE, position, head: 0 }
    }
}

impl Source {
    fn spot(&self) -> Spot {
        Spot { frame: self.frame, position: self.position }
    }
}

/// A merge that is under way.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The memtable is one of the sources.
    pub(super) memtable: bool,
    /// The others, newest first.
    pub(super) sources: Vec<Source, MAX_SOURCES>,
    /// The run that takes the tables, and where in it the next one goes. It may be the oldest of the sources.
    pub(super) target: usize,
    pub(super) place: u32,
    /// Nothing is older: tombstones have done their work.
    pub(super) bottom: bool,
    /// It ends with one table.
    pub(super) one: bool,
    /// A change waits for the room that it makes.
    pub(super) for_room: bool,
    /// A sweep, and where it goes on was looked up.
    pub(super) begun: bool,
    /// Bytes of the key that was passed last; `None`: all keys are to come.
    pub(super) passed: Option<usize>,
    /// Of the log, what the memtable had seen when the table was begun.
    seen: u64,
    /// Pages of the runs that were not gone through yet, and of those that are to be merged when this is done.
    pub(super) left: u64,
    /// Pairs that were passed since the last commit, of the runs.
    pub(super) taken: u64,
    /// What is damaged is passed over and reported.
    pub(super) lenient: bool,
}

impl Job {
    pub(super) fn new(target: usize, place: u32, bottom: bool) -> Self {
        Self {
            memtable: false,
            sources: Vec::new(),
            target,
            place,
            bottom,
            one: false,
            for_room: false,
            begun: false,
            passed: None,
            seen: 0,
            left: 0,
            taken: 0,
            lenient: false,
        }
    }
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// To the end of what it was to do.
    Paused,
    /// A table was committed.
    Table,
    /// All of the merge was committed.
    Done,
}

/// What a merge works on.
pub(super) struct Merge<'a, M> {
    pub(super) tables: Tables<'a>,
    pub(super) memtable: Memtable<'a, M>,
    pub(super) builder: Builder<'a>,
    pub(super) job: &'a mut Job,
    pub(super) bits: u32,
    /// Offset behind the newest operation in the memtable.
    pub(super) seen: u64,
    /// Bytes of a pair, on average.
    pub(super) pair: u32,
    /// Pairs in all tables.
    pub(super) pairs: &'a mut u64,
    /// Pages that the step has read and written.
    pub(super) work: u32,
    /// Blocks that a new table leaves for the manifest, beside the one that it always needs.
    pub(super) least: u32,
    /// All that was done.
    pub(super) merged: &'a mut Merges,
    /// Is told what is damaged and left out.
    pub(super) report: &'a mut dyn FnMut(Damage),
}

impl<M: Kind> Merge<'_, M> {
    /// Reads and writes about so many pages.
    pub(super) fn step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<Progress, Fault> {
        let done = self.run(ground, pages);
        for source in &mut self.job.sources {
            if source.frame != NONE {
                self.tables.pool.unpin(core::mem::replace(&mut source.frame, NONE));
            }
        }
        done
    }

    fn run<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<Progress, Fault> {
        let (erases, unit, mut from_log) = (ground.erases(), ground.write_unit(), 0_u32);
        let most_from_log = pages.max(FROM_LOG).saturating_mul(self.tables.pool.state.page_size() as u32);
        for source in 0..self.job.sources.len() {
            self.load(ground, source)?;
        }
        // That is done once more in each step, and would be all of a small one.
        self.work = 0;
        let passed = self.job.passed.map(|len| self.builder.key.get(..len).unwrap_or_default());
        let from = passed.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        let mut fresh =
            if self.job.memtable { M::seek(&mut self.memtable, ground, from, true)? } else { None };
        loop {
            // An erase takes longer than all else, and ends the step.
            let has_read = from_log >= most_from_log;
            if self.work >= pages || pages != u32::MAX && (has_read || ground.erases() != erases) {
                return Ok(Progress::Paused);
            }
            if self.builder.is_copying() {
                self.builder.copy_long(ground, self.tables.pool.scratch(), None)?;
                self.work = self.work.saturating_add(2);
                continue;
            }
            // The least key, and the newest source that has it.
            let mut least: Option<(usize, u64, Spot)> = None;
            for (at, source) in self.job.sources.iter().enumerate() {
                if source.frame == NONE {
                    continue;
                }
                let is_less = least.is_none_or(|(_, head, other)| match source.head.cmp(&head) {
                    Ordering::Equal => {
                        self.tables.key(source.spot()).cmp(self.tables.key(other)) == Ordering::Less
                    }
                    order => order == Ordering::Less,
                });
                if is_less {
                    least = Some((at, source.head, source.spot()));
                }
            }
            self.memtable.load(ground, fresh)?;
            let record = fresh.and_then(|at| self.memtable.record(at));
            let (key, value, is_fresh) = match (&record, least) {
                (None, None) => {
                    self.commit(ground)?;
                    return Ok(Progress::Done);
                }
                (Some(record), least) if least.is_none_or(|least| self.is_up_to(record.key, least)) => {
                    (Key::from(record.key), record.value, true)
                }
                (_, Some((at, _, spot))) => {
                    let source = self.job.sources.get(at).copied().unwrap_or(Source::new(0, 0));
                    let Some(value) = self.tables.value(ground, spot) else {
                        let run = self.tables.list.run(source.run);
                        let table = self.tables.list.get(run.start.wrapping_add(source.table));
                        return Err(ground.damaged(table.block));
                    };
                    (self.tables.key(spot), value, false)
                }
                (Some(_), None) => return Ok(Progress::Paused),
            };
            self.builder.stage(key);
            let mut is_kept = value.is_some() || !self.job.bottom;
            if let Some(Value::Long(long)) = value
                && self.job.lenient
                && !long.is_sound(ground, &mut [0; 64])?
            {
                let at = u64::from(long.at);
                (self.report)(Damage::Value { address: ground.address(long.unit).saturating_add(at) });
                is_kept = false;
            }
            if is_kept {
                if !self.builder.progress.active {
                    if self.tables.list.len() >= self.tables.list.capacity() {
                        let frames = self.tables.pool.state.info.frames;
                        return Err(ground.too_few_frames(frames.saturating_add(1)));
                    }
                    if ground.available() <= self.least {
                        return Err(Fault::Full);
                    }
                    let keys = (ground.block_size() / self.pair.max(1)).max(1);
                    self.builder.begin(ground, keys, self.bits)?;
                    self.job.seen = self.seen;
                }
                let written = self.builder.progress.written;
                if !self.builder.add(ground, value)? {
                    self.commit(ground)?;
                    return Ok(Progress::Table);
                }
                let written = self.builder.progress.written.wrapping_sub(written) as u32;
                self.work = self.work.saturating_add(written);
            }
            let key = self.builder.staged();
            self.job.passed = Some(key.len());
            // All versions of the key are passed together.
            let mut passed: Vec<usize, MAX_RUNS> = Vec::new();
            let head = prefix(key);
            for (at, source) in self.job.sources.iter().enumerate() {
                let is_same =
                    source.frame != NONE && source.head == head && self.tables.key(source.spot()).is(key);
                if is_same {
                    let _ = passed.push(at);
                }
            }
            let is_same = is_fresh || record.as_ref().is_some_and(|record| record.key == key);
            self.builder.pass();
            let versions =
                passed.len().saturating_add(usize::from(is_same)).saturating_sub(usize::from(is_kept));
            self.merged.pairs_dropped = self.merged.pairs_dropped.saturating_add(versions as u64);
            for at in passed {
                if let Some(source) = self.job.sources.get_mut(at) {
                    source.cell = source.cell.wrapping_add(1);
                    self.job.taken = self.job.taken.wrapping_add(1);
                }
                self.load(ground, at)?;
            }
            if is_same && let Some(at) = fresh {
                if M::IN_LOG {
                    let len = self.builder.progress.staged as u32;
                    from_log =
                        from_log.saturating_add(align_up(len.saturating_add(HEAD), unit).wrapping_sub(len));
                    // A long one was read to be proved, and is to be copied.
                    from_log = from_log.saturating_add(self.memtable.long_at(at) as u32);
                }
                M::mark(&mut self.memtable, at);
                fresh = M::step(&self.memtable, at, true);
            }
        }
    }

    /// Whether a key of the memtable comes before that of a source, or is the same.
    fn is_up_to(&self, key: &[u8], (_, head, spot): (usize, u64, Spot)) -> bool {
        match prefix(key).cmp(&head) {
            Ordering::Equal => self.tables.key(spot).cmp(key.into()) != Ordering::Less,
            order => order == Ordering::Less,
        }
    }

    /// The page where a source stands, pinned; behind the last pair of a page that of the next.
    fn load<G: Ground>(&mut self, ground: &mut G, at: usize) -> Result<(), Fault> {
        let Some(mut source) = self.job.sources.get(at).copied() else { return Ok(()) };
        let run = self.tables.list.run(source.run);
        while source.table < run.len {
            let table = self.tables.list.get(run.start.wrapping_add(source.table));
            if (source.page, source.cell) < (table.page, table.cell) {
                (source.page, source.cell) = (table.page, table.cell);
            }
            if source.page >= table.pages {
                (source.table, source.page, source.cell) = (source.table.wrapping_add(1), 0, 0);
                continue;
            }
            let is_read = source.frame == NONE;
            if is_read {
                let misses = self.tables.pool.state.info.misses;
                match self.tables.leaf(ground, &table, source.page) {
                    Ok(frame) => source.frame = frame,
                    Err(Fault::Damaged | Fault::Device) if self.job.lenient => {
                        let level = u8::from(self.tables.index(ground, &table).is_err());
                        (self.report)(Damage::Page { address: ground.address(table.block), level });
                        source.page = if level == 0 { source.page.wrapping_add(1) } else { table.pages };
                        source.cell = 0;
                        continue;
                    }
                    Err(fault) => return Err(fault),
                }
                self.tables.pool.pin(source.frame);
                if let Some(place) = self.job.sources.get_mut(at) {
                    *place = source;
                }
                // It may have taken the page of the index as well.
                let misses = self.tables.pool.state.info.misses.wrapping_sub(misses) as u32;
                self.work = self.work.saturating_add(misses.max(1));
                let read = &mut self.merged.bytes_read;
                *read = read.saturating_add(self.tables.pool.state.page_size() as u64);
            }
            let page = self.tables.pool.page(source.frame);
            if (source.cell as usize) < page::count(page) {
                let cell = source.cell as usize;
                source.position = if is_read {
                    page::position(page, cell)
                } else {
                    page::next(page, source.position, cell)
                };
                source.head = page::key(page, source.position).prefix();
                break;
            }
            self.tables.pool.unpin(core::mem::replace(&mut source.frame, NONE));
            (source.page, source.cell) = (source.page.wrapping_add(1), 0);
            // Not when it is read: each step reads the page where a source stands once more.
            self.job.left = self.job.left.saturating_sub(1);
        }
        if let Some(place) = self.job.sources.get_mut(at) {
            *place = source;
        }
        Ok(())
    }

    /// Completes the table and puts it where it was made for, and takes out what it was made of. When the list of tables is
    /// touched, nothing can fail any more but giving blocks back.
    fn commit<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let table = if self.builder.progress.active { Some(self.builder.finish(ground)?) } else { None };
        let mut done = Ok(());
        let added = table.map_or(0, |_| u64::from(self.builder.progress.pairs));
        let taken = core::mem::take(&mut self.job.taken);
        *self.pairs = self.pairs.saturating_add(added).saturating_sub(taken);
        for source in &mut self.job.sources {
            while source.from < source.table {
                let run = self.tables.list.run(source.run);
                let gone = self.tables.list.get(run.start.wrapping_add(source.from));
                self.tables.list.remove(source.run, source.from);
                self.merged.tables_in = self.merged.tables_in.saturating_add(1);
                self.tables.forget(ground, gone.block, gone.index());
                let freed = ground.free(gone.block, gone.generation == ground.generation());
                done = done.and(freed);
                source.table = source.table.wrapping_sub(1);
            }
            let run = self.tables.list.run(source.run);
            let at = run.start.wrapping_add(source.table);
            let mut rest = self.tables.list.get(at);
            if source.table < run.len && (source.page, source.cell) > (rest.page, rest.cell) {
                (rest.page, rest.cell, rest.prefix) = (source.page, source.cell, source.head);
                self.tables.list.replace(at, rest);
            }
            if source.run == self.job.target {
                self.job.place = source.from;
                let added = u32::from(table.is_some());
                source.from = source.from.wrapping_add(added);
                source.table = source.table.wrapping_add(added);
            }
        }
        if let Some(mut table) = table {
            let pages = u64::from(table.index()).saturating_add(1);
            let long = ground.block_size().saturating_sub(self.builder.progress.top);
            let written = pages.saturating_mul(self.tables.pool.state.page_size() as u64);
            let written = written.saturating_add(long.into());
            self.merged.bytes_written = self.merged.bytes_written.saturating_add(written);
            self.merged.tables_out = self.merged.tables_out.saturating_add(1);
            table.merged = if self.job.memtable { self.job.seen as u32 } else { 0 };
            // There was room when it was begun.
            self.tables.list.insert(self.job.target, self.job.place, table);
            self.job.place = self.job.place.wrapping_add(1);
        }
        done
    }
}

impl Tables<'_> {
    /// Lets go of the pages of a table that is gone.
    pub(super) fn forget<G: Ground>(&mut self, ground: &G, block: u32, last: u32) {
        for page in 0..=last {
            let at = self.pool.peek(page_id(ground, self.pool.state.page_size(), block, page));
            if at != NONE && !self.pool.is_pinned(at) {
                self.pool.leave(at);
            }
        }
    }
}
