//! Merges as the shell sees them: which one comes next, a step of it, and what a step must not do at once.

use core::cmp::Ordering;
use core::ops::Bound;

use super::builder::Builder;
use super::find::Tables;
use super::list::{Edits, List, MAX_RUNS, Run};
use super::memtable::{Kind, Memtable};
use super::merge::{Job, Merge, Progress, Source};
use super::pace::{LEAST_FREE, LOG_LATE, MOST_PENDING, PAGE, RESERVE, room_for_flush};
use super::policy::{Outlook, Shape};
use super::tree::{Inner, Tree, memtable_bytes};
use crate::codec::SMALL;
use crate::index::{Damage, Ground, LOG_FULL};
use crate::pool::Pool;
use crate::volume::Fault;

/// What of a table is little enough to be left in the log by a close.
const LITTLE: u64 = 16;

impl<M: Kind> Tree<'_, M> {
    /// The merge to begin with now, if there is one. `paid`: by changes, step by step.
    pub(super) fn choose(&mut self, full: bool, paid: bool, available: u32) -> Option<Job> {
        let mut outlook = self.outlook(full, available);
        if !SMALL && paid {
            outlook.long = self.memtable.state.long() as u64;
            outlook.affordable = self.state.affordable(&*self.memtable.state);
        }
        let mut job = self.choose_by(&outlook, full);
        if !SMALL && let Some(job) = &mut job {
            job.left = job.left.saturating_add(outlook.debt(self.tables.list.runs, job));
        }
        job
    }

    /// Lets a merge of runs wait, between two of its tables, where the memtable or the log would be full before it is done: the memtable becomes a
    /// run first. Changes pay for merges in time, but there may be more of them at once than a step may do, as after many batches; and where
    /// tables are small, a put does little of one, because it has one erase.
    fn park<G: Ground>(&mut self, ground: &G, job: &mut Job) {
        let memtable = &*self.memtable.state;
        let (used, total) = memtable.room();
        let is_late = total.saturating_sub(used) <= room_for_flush(total) / 2 || self.state.log >= LOG_LATE;
        let is_merge = !job.memtable && !job.for_room && !self.builder.progress.active;
        let is_all = self.state.compacting || self.state.closing || self.state.options.shape == Shape::Sweep;
        if SMALL || used == 0 || !is_late || !is_merge || is_all || self.state.parked.is_full() {
            return;
        }
        let blocks = self.state.blocks_for(memtable, self.tables.list.len());
        // The last place is for the run of a merge of all.
        let has_room = ground.available() > blocks && self.tables.list.runs.len() < MAX_RUNS.wrapping_sub(1);
        if has_room && self.tables.list.insert_run(0, 0) {
            for source in &mut job.sources {
                source.run = source.run.wrapping_add(1);
            }
            job.target = job.target.wrapping_add(1);
            let parked = core::mem::replace(job, Job::new(0, 0, false));
            job.memtable = true;
            let _ = self.state.parked.push(parked);
        }
    }

    /// Goes on with the merge that has waited; whether there was one.
    fn resume(&mut self) -> bool {
        if SMALL {
            return false;
        }
        self.state.job = self.state.parked.pop().filter(|_| !self.state.closing);
        self.state.job.is_some()
    }

    fn choose_by(&mut self, outlook: &Outlook, full: bool) -> Option<Job> {
        if self.state.compacting {
            return outlook.all(&mut self.tables.list);
        }
        if self.state.closing {
            let flush = if full { outlook.flush(&mut self.tables.list, 0) } else { return None };
            return flush.or_else(|| outlook.choose(&mut self.tables.list));
        }
        outlook.choose(&mut self.tables.list)
    }

    pub(super) fn outlook(&self, full: bool, available: u32) -> Outlook {
        // The manifest may take those.
        let available = available.saturating_sub(self.blocks_beyond());
        let memtable = memtable_bytes(&*self.memtable.state, self.state.pair);
        Outlook { full, ..self.state.outlook(self.tables.list.runs, memtable, available) }
    }

    /// Blocks that the manifest takes beside its first.
    pub(super) fn blocks_beyond(&self) -> u32 {
        self.state.blocks_beyond(self.tables.list.len())
    }

    /// See [`Index::checkpoint_step`](crate::index::Index::checkpoint_step).
    pub(super) fn step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        self.finish_bulk(ground)?;
        let erases = ground.erases();
        if self.is_cramped(ground) {
            self.tables.list.edits.forget();
            (self.state.unwritten, self.state.unpublished) = (true, true);
            self.state.pending = MOST_PENDING;
        }
        if !self.state.unwritten {
            self.state.owes = false;
            let full = self.memtable.state.len() != 0;
            let paid = pages != u32::MAX;
            // Who waits, waits for the memtable alone.
            if !paid && self.state.job.as_ref().is_some_and(|job| self.state.is_large(job)) {
                self.give_up(ground)?;
            }
            let Some(mut job) = self.state.job.take().or_else(|| self.choose(full, paid, ground.available()))
            else {
                let must = core::mem::take(&mut self.state.compacting) || full && pages == u32::MAX;
                return if must { Err(Fault::Full) } else { Ok(true) };
            };
            self.park(ground, &mut job);
            if self.begin_sweep(ground, &mut job)? && pages != u32::MAX {
                self.state.job = Some(job);
                return Ok(false);
            }
            let done = self.merge(ground, &mut job, pages, &mut |_| {});
            match done {
                Ok(Progress::Paused) => {
                    self.state.job = Some(job);
                    return Ok(false);
                }
                Ok(Progress::Table) if !job.one => self.state.job = Some(job),
                Ok(done) => {
                    // Long values make tables full of few pages.
                    if done == Progress::Table && !self.builder.progress.table.has_long {
                        self.state.full = self.builder.progress.table.pages;
                    }
                    self.state.packed = if job.memtable { 0 } else { job.place };
                    // At the end of the keys a sweep begins anew.
                    let before = self.state.sweep;
                    self.state.sweep = if job.one && done == Progress::Table { job.place } else { 0 };
                    if self.state.sweep < before {
                        self.state.put = 0;
                    }
                    if !self.resume() {
                        self.drop_empty();
                        // More runs than could be merged at a time are merged once more.
                        self.state.compacting &= self.tables.list.runs.len() > 1;
                        self.state.job = self.choose(false, true, ground.available());
                    }
                }
                Err(fault) => {
                    // Begun anew when it is tried again. What was committed stays.
                    let bad = core::mem::take(&mut self.builder.progress.bad) && !ground.is_poisoned();
                    // The last blocks are not given up: it may be the device.
                    if bad
                        && ground.available() > LEAST_FREE.saturating_add(self.blocks_beyond())
                        && core::mem::take(&mut self.builder.progress.active)
                    {
                        ground.retire(self.builder.progress.table.block);
                        let compacting = self.state.compacting;
                        self.give_up(ground)?;
                        self.state.compacting = compacting;
                        return Ok(false);
                    }
                    let is_merge = !job.memtable || self.state.is_large(&job);
                    let can_wait =
                        fault == Fault::Full && is_merge && !job.for_room && !self.state.compacting;
                    self.give_up(ground)?;
                    return if can_wait { Ok(true) } else { Err(fault) };
                }
            }
        }
        // The manifest may have to erase something, too.
        if self.state.unwritten && pages != u32::MAX && ground.erases() != erases {
            return Ok(false);
        }
        if self.state.unwritten && !self.write_manifest(ground, pages)? {
            return Ok(false);
        }
        // A publish frees what the tables were made of: with some of them at once, the homes of the superblock wear less.
        let most = (self.tables.list.len() / 12).clamp(1, MOST_PENDING);
        self.state.ready = self.state.pending >= most
            || self.state.job.is_none() && self.state.options.shape != Shape::Sweep
            || self.state.log >= LOG_FULL / 16 * 15
            || ground.available() <= LEAST_FREE.wrapping_add(2).saturating_add(self.blocks_beyond());
        Ok(self.state.ready || pages == u32::MAX)
    }

    /// There is one block, which the next table would take, and then the manifest finds none if it must go to another: as the first one of
    /// a session must. So that is written now, and its publish gives back the one before.
    fn is_cramped<G: Ground>(&self, ground: &G) -> bool {
        let is_ahead = self.state.job.is_some() || self.memtable.state.len() != 0;
        let is_idle = !self.state.unwritten && !self.builder.progress.active;
        let is_last = ground.available() == self.blocks_beyond().wrapping_add(1);
        is_ahead && is_idle && is_last && !self.state.manifest.has_room(self.state.block)
    }

    fn write_manifest<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        let Inner { manifest, draft, .. } = &mut *self.state;
        let is_whole = self.tables.write_manifest(ground, manifest, draft, pages)?;
        self.state.unwritten &= !is_whole;
        Ok(is_whole)
    }

    /// A sweep goes on behind the last key of the table before, and passes tables that the memtable has nothing new for. Whether anything
    /// had to be looked up.
    pub(super) fn begin_sweep<G: Ground>(&mut self, ground: &mut G, job: &mut Job) -> Result<bool, Fault> {
        if !job.one || !job.memtable || job.begun {
            return Ok(false);
        }
        job.begun = true;
        let run = self.tables.list.run(job.target);
        let mut place = job.place.min(run.len);
        let passed = self.pass_table(ground, run, place)?;
        let key = self.builder.key.get(..passed.unwrap_or(0)).unwrap_or_default();
        let from = if passed.is_some() { Bound::Excluded(key) } else { Bound::Unbounded };
        // The rest of a table takes a block. Where there are few, what comes next is not passed: that may become part of it.
        let enough = self.state.blocks_for(self.memtable.state, self.tables.list.len());
        let enough = enough.saturating_add(RESERVE).saturating_add(1);
        let rests = place < run.len && self.tables.list.get(run.start.wrapping_add(place)).page != 0;
        let passes = !rests || ground.available() > enough;
        let mut fresh = M::seek(&mut self.memtable, ground, from, true)?;
        if fresh.is_none() && passes {
            // At the end of the keys it begins anew.
            place = 0;
            fresh = M::seek(&mut self.memtable, ground, Bound::Unbounded, true)?;
        }
        self.memtable.load(ground, fresh)?;
        if passes
            && let Some(key) = fresh.and_then(|at| self.memtable.record(at)).map(|record| record.key)
            && let Some(next) = self.tables.begun(ground, run, key, false)?.checked_sub(1)
            && next > place
        {
            let table = self.tables.list.get(run.start.wrapping_add(next));
            let last = self.tables.last_key(ground, &table)?;
            let is_behind = self.tables.key(last).cmp(key.into()) == Ordering::Less;
            place = next.wrapping_add(u32::from(is_behind));
        }
        // A small rest of a table goes with what is behind it, and what is behind all tables into the last one, if that is not full.
        if let Some(before) = place.checked_sub(1) {
            let table = self.tables.list.get(run.start.wrapping_add(before));
            let most = self.state.most_pages();
            let is_full = table.left(most) >= most;
            if table.page > table.pages / 2 || place == run.len && !is_full {
                place = before;
            }
        }
        job.place = place;
        for source in &mut job.sources {
            (source.from, source.table) = (place, place);
        }
        job.passed = self.pass_table(ground, run, place)?;
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
        // Not that of the memtable alone: it goes on at the next open, with the table after the last one that it has completed.
        if self.state.job.as_ref().is_some_and(|job| !job.memtable || self.state.is_large(job)) {
            self.give_up(ground)?;
        }
        if self.state.job.is_none() && self.memtable.state.len() != 0 {
            self.state.job = self.outlook(true, ground.available()).flush(&mut self.tables.list, bytes);
        }
        self.state.closing = self.state.job.is_some() || self.memtable.state.len() == 0;
        Ok(self.state.closing || entries == u64::MAX)
    }

    /// The merge of a table that is not full with the next one, if there is a block to be won so: after many changes at the edges of
    /// tables. What is left of the next one then goes with that behind it, and so on to the last.
    pub(super) fn pack_tables(&mut self) -> Option<Job> {
        let most = self.state.most_pages();
        let run = self.tables.list.run(0);
        let left = |table: u32| self.tables.list.get(run.start.wrapping_add(table)).left(most);
        let pages: u32 = (0..run.len).map(left).sum();
        let last = run.len.saturating_sub(1);
        if pages > last.saturating_mul(most) {
            return None;
        }
        let place = (self.state.packed..last).find(|&table| left(table) < most)?;
        let mut job = Job::new(0, place, true);
        job.one = true;
        let _ = job.sources.push(Source::new(0, place));
        Some(job)
    }

    /// Notes that everything is done with up to the table before this place; how long its last key is.
    pub(super) fn pass_table<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        place: u32,
    ) -> Result<Option<usize>, Fault> {
        let Some(before) = place.checked_sub(1) else { return Ok(None) };
        let table = self.tables.list.get(run.start.wrapping_add(before));
        let last = self.tables.last_key(ground, &table)?;
        let key = self.tables.key(last);
        self.builder.stage(key);
        self.builder.pass();
        Ok(Some(key.len()))
    }

    pub(super) fn merge<G: Ground>(
        &mut self,
        ground: &mut G,
        job: &mut Job,
        pages: u32,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Progress, Fault> {
        self.state.scan.forget();
        let least = self.blocks_beyond();
        let mut merge = Merge {
            tables: Tables {
                pool: Pool {
                    pages: self.tables.pool.pages,
                    frames: self.tables.pool.frames,
                    state: self.tables.pool.state,
                },
                list: List {
                    bytes: self.tables.list.bytes,
                    runs: self.tables.list.runs,
                    edits: Edits { bytes: self.tables.list.edits.bytes, len: self.tables.list.edits.len },
                },
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
            work: 0,
            least,
            merged: &mut self.state.merged,
            report,
        };
        let done = merge.step(ground, pages);
        self.state.credit = self.state.credit.saturating_sub(merge.work.saturating_mul(PAGE));
        if done != Ok(Progress::Paused) {
            (self.state.unwritten, self.state.unpublished) = (true, true);
            self.state.pending = self.state.pending.wrapping_add(1);
            if done.is_ok() {
                // From here on the tables say it; a cut takes the log.
                M::drop_merged(&mut self.memtable);
            }
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
        // A manifest that is half written says of the tables what they are now.
        if self.state.draft.is_some() {
            self.write_manifest(ground, u32::MAX)?;
        }
        (self.state.job, self.state.compacting) = (None, false);
        if !SMALL {
            self.state.parked.clear();
        }
        self.state.scan.forget();
        M::unmark(&mut self.memtable);
        self.drop_empty();
        self.builder.give_up(ground)
    }
}
