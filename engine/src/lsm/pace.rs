//! How much of the merges each change pays for, and the room that they need.

use super::chain::{blocks_beyond, parts};
use super::list::tables;
use super::manifest::AT_ONCE;
use super::memtable::Kind;
use super::merge::{FROM_LOG, Job, MAX_SOURCES};
use super::policy::Shape;
use super::tree::{Inner, Lsm};
use super::value::max_pair;
use crate::codec::{SMALL, align_up};
use crate::device::Geometry;
use crate::index::LOG_FULL;
use crate::pool::Frames;
use crate::volume::Buffer;

/// Blocks that a merge needs: for the table, for the manifest (of which that may be only the first), and for what is left of a run's table.
pub(super) const LEAST_FREE: u32 = 3;
/// Blocks that puts leave free, so that something can still be deleted.
pub(super) const RESERVE: u32 = 3;
/// So many tables wait for one publish at most.
pub(super) const MOST_PENDING: u32 = 8;
/// Where units are larger, an entry of the log may stand in one more of them than it is long.
const LEAST_UNIT: u32 = 64;
/// Pages that a step may take, however small tables are.
const LEAST_EACH: usize = 8;
/// A page, in what changes pay for.
pub(super) const PAGE: u32 = 128;
/// A sweep is due when the memtable is so full, in two-hundred-and-fifty-sixths.
const DUE: u32 = 247;
/// Levels: with more of it in use, the memtable is written.
pub(super) const LOG_DUE: u32 = LOG_FULL / 2;
/// And merges of runs are to be done, or wait.
pub(super) const LOG_LATE: u32 = LOG_FULL / 4 * 3;
/// And the memtable is in tables.
const LOG_LAST: u32 = LOG_FULL / 16 * 15;
/// With less of it in use, the log begins anew: it may be that a sweep has nothing of it in order.
const LOG_SHORT: u32 = LOG_FULL / 8;

/// Blocks for long values of so many bytes in all: one of more than half a table leaves the rest of it to short ones.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn blocks_for_long(bytes: usize, block: u32, page: usize) -> u32 {
    let room = (block as usize).saturating_sub(page.saturating_mul(4)) / 2;
    u32::try_from(bytes.div_ceil(room.max(1))).unwrap_or(u32::MAX)
}

/// Of so many parts, those that are left when a memtable becomes a run. What is written at once is one, and the later, the fewer there
/// are. Small memory keeps a quarter to pay from.
pub(super) fn room_for_flush(total: u32) -> u32 {
    (total / 16).max((total / 4).min(64))
}

impl Inner {
    /// Pages that a step of a checkpoint reads and writes at most, as long as there is room for changes: half a table.
    pub(super) fn most_pages_each(&self) -> u32 {
        (self.block as usize / 2).checked_div(self.layout.size).unwrap_or(0).max(LEAST_EACH) as u32
    }

    /// Whether it is a merge of the memtable with all runs, which changes pay for.
    pub(super) fn is_large(&self, job: &Job) -> bool {
        let is_all = self.compacting || self.closing || self.options.shape == Shape::Sweep;
        !SMALL && job.memtable && !job.sources.is_empty() && !is_all
    }

    /// Pages that changes can merge until there is no room for them, in the memtable or in the log: not with all that a step may take.
    pub(super) fn affordable<M: Kind>(&self, memtable: &M) -> u64 {
        let (used, total) = memtable.room();
        let room = total.saturating_sub(used).saturating_mul(memtable.part(self.pair));
        let left = u64::from(LOG_LAST.saturating_sub(self.log)).saturating_mul(self.log_bytes);
        let left = left / u64::from(LOG_FULL) / u64::from(self.entry.max(16));
        let changes = left.min(u64::from(room / self.pair.max(16)));
        // Each page is read and written.
        changes.saturating_mul(self.most_pages_each().into()) / 8 * 3
    }

    /// Blocks that the manifest of so many tables takes beside its first.
    pub(super) fn blocks_beyond(&self, tables: u32) -> u32 {
        blocks_beyond(tables, self.layout.size, self.block)
    }

    /// Blocks for all that the memtable holds, as far as tables, of which there are so many, may grow by it. Of levels, another change makes a run, and two runs
    /// are merged at least.
    pub(super) fn blocks_for<M: Kind>(&self, memtable: &M, tables: u32) -> u32 {
        let more = u32::from(self.options.shape != Shape::Sweep);
        let bytes = memtable.growth().saturating_add(more).saturating_mul(memtable.part(self.pair));
        let used = bytes / self.layout.size.max(1) as u32;
        let pages = (self.block as usize).checked_div(self.layout.size).unwrap_or(1) as u32;
        let new = used.saturating_add(more).div_ceil(pages.saturating_sub(4).max(1));
        let new = new.saturating_add(blocks_for_long(memtable.long(), self.block, self.layout.size));
        let beyond = self.blocks_beyond(tables.saturating_add(new));
        new.saturating_add(LEAST_FREE).saturating_add(more).saturating_add(beyond)
    }
}

impl<P: Buffer, F: Frames, M: Kind> Lsm<P, F, M> {
    /// It is to fill a small device: then a put looks whether it has to be new, instead of leaving room for all that the memtable holds.
    pub(super) fn fills_up(&self) -> bool {
        M::IN_LOG && self.state.options.shape == Shape::Sweep
    }

    /// How full the memtable is, in two-hundred-and-fifty-sixths.
    pub(super) fn fullness(&self) -> u32 {
        let (used, total) = self.memtable.room();
        used.saturating_mul(256).checked_div(total).unwrap_or(256)
    }

    pub(super) fn blocks_for_memtable(&self) -> u32 {
        self.state.blocks_for(&self.memtable, tables(&self.runs))
    }

    /// Blocks that a merge needs.
    pub(super) fn least_free(&self) -> u32 {
        LEAST_FREE.saturating_add(self.state.blocks_beyond(tables(&self.runs)))
    }

    /// Whether a sweep is due: by the memtable, by the log, or for want of blocks.
    pub(super) fn sweep_is_due(&self, log: u32) -> bool {
        self.fullness() >= DUE || log >= LOG_SHORT || self.state.tight
    }

    /// Changes in which a sweep goes round once: as many as there is room for in most of the log.
    fn round(&self) -> u64 {
        (self.state.log_bytes / u64::from(self.state.entry.max(16).saturating_add(8)) / 16 * 15).max(1)
    }

    /// A sweep that is ahead of its schedule does not rest: what is put meanwhile would have no order that it could follow.
    pub(super) fn keep_schedule(&mut self, log: u32, changes: u32) {
        let tables = u64::from(self.runs.first().map_or(0, |run| run.len)).max(1);
        let round = self.round();
        let ahead = u64::from(self.state.sweep).saturating_mul(round) / tables;
        if log >= LOG_SHORT {
            self.state.put = self.state.put.saturating_add(changes.into());
        }
        if self.state.put.saturating_add(round / tables) < ahead {
            self.state.put = ahead;
        }
    }

    /// What a change pays for. An entry waits for half a sweep, so the memtable is filled twice while a sweep goes through all tables.
    /// That, as long as it is just so full that a sweep is due; and ever more, the fuller.
    ///
    /// The log holds what is put while a sweep goes round once: where the sweep stands, what was put the last time when it stood there is
    /// the oldest that is left. So a round takes as many changes as there is room for in most of the log, and is kept to its schedule.
    pub(super) fn sweep_pace(&self, log: u32) -> u32 {
        let tables = self.runs.first().map_or(0, |run| run.len).max(1);
        let pair = self.state.pair.max(16);
        let part = self.memtable.part(pair);
        let (used, total) = self.memtable.room();
        // Of a table its pairs are read and written, its filter and its index written, and those read.
        let most = (self.state.block as usize).checked_div(self.state.layout.size).unwrap_or(1) as u32;
        let table = self.state.full.min(most).saturating_add(2).saturating_mul(2 * PAGE);
        let held = self.held(used.saturating_mul(part));
        let work = tables.saturating_mul(table).saturating_add(held.saturating_mul(PAGE));
        let mut each = 0;
        let over = self.fullness().checked_sub(DUE);
        if let Some(over) = if self.state.tight { over.max(Some(12)) } else { over } {
            let entries = total.saturating_mul(part) / pair;
            let least = work / entries.saturating_mul(2).max(1);
            // And the next table before there is no room left: where a part holds many entries, the last one may be taken by any of them.
            let last = u32::from(!M::IN_LOG);
            let room = total.saturating_sub(used).saturating_sub(last).saturating_mul(part) / pair;
            each = (least.saturating_mul(over.saturating_add(4)) / 4 + 1).max(table / (room / 4 * 3).max(1));
        }
        if log >= LOG_SHORT {
            let round = self.round();
            // Tables that the sweep is behind its schedule, in sixty-fourths; the one that it is writing does not count.
            let put = self.state.put;
            // Behind the last one there may be more to come.
            let more = if self.state.sweep < tables { 0 } else { held / most.max(1) };
            let should =
                u64::from(tables.saturating_add(more)).saturating_mul(put).saturating_mul(64) / round;
            let behind =
                should.saturating_add(32).saturating_sub(u64::from(self.state.sweep).saturating_mul(64));
            let full = u64::from(log).saturating_mul(64) / u64::from(LOG_FULL);
            let over = full.saturating_sub(60);
            let often = behind.min(256).saturating_add(over.saturating_mul(over).saturating_mul(16));
            let least = u64::from(work).saturating_mul(often) / 64 / round;
            each = each.max(least as u32);
        }
        each
    }

    /// Pages of pairs of so many bytes, and of the long values of the memtable.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn held(&self, bytes: u32) -> u32 {
        let bytes = self.memtable.long().saturating_add(bytes as usize);
        (bytes / self.state.layout.size.max(1)) as u32
    }

    /// Pages for a change, of merges of whole runs: what is to be done, divided among the changes that there is room for until then. Runs
    /// are merged, with all that follows from it, until the memtable is due, and that is written while there is still room in it.
    pub(super) fn merge_pace(&self, log: u32) -> u32 {
        let (used, total) = self.memtable.room();
        let spare = room_for_flush(total);
        let part = self.memtable.part(self.state.pair);
        let (pair, entry) = (self.state.pair.max(16), self.state.entry.max(16));
        let mut room = total.saturating_sub(used).saturating_mul(part);
        let mut work = self.held(used.saturating_mul(part));
        let mut log_room = LOG_LAST;
        if let Some(job) = self.state.job.as_ref().filter(|job| self.state.is_large(job)) {
            work = work.saturating_add(job.left.min(LOG_FULL.into()) as u32);
        }
        if let Some(job) = self.state.job.as_ref().filter(|job| !job.memtable) {
            work = job.left.min(LOG_FULL.into()) as u32;
            // Later than that, what is left is divided once more, among ever fewer.
            room = room.saturating_sub(spare.saturating_mul(part)).max(spare.saturating_mul(part) / 4);
            log_room = if log < LOG_DUE { LOG_DUE } else { LOG_LATE };
        }
        let mut changes = room / pair;
        if !SMALL {
            let left = u64::from(log_room.saturating_sub(log)).saturating_mul(self.state.log_bytes);
            changes =
                changes.min((left / u64::from(LOG_FULL) / u64::from(entry)).min(LOG_FULL.into()) as u32);
        }
        (work.saturating_mul(2) / changes.max(1)).saturating_add(2)
    }

    /// See [`Index::most_moved`](crate::index::Index::most_moved).
    pub(super) fn most_moved(&self, geometry: &Geometry) -> u64 {
        let page = self.state.layout.size.max(1);
        let each = self.state.most_pages_each();
        let runs = self.runs.len() as u32;
        let sources = self.pool.info.frames.saturating_sub(3).min(MAX_SOURCES as u32).min(runs);
        // Where each source stands is read once more by each step, with index pages; and the last pair may be at the end of a page of each.
        let step = each.saturating_add(sources.saturating_mul(4)).saturating_add(2);
        // A table's last pages, and those that have waited to be written with them.
        let last = (self.state.layout.builder / page) as u32;
        // A part of the manifest: edits, or some records, or the blocks of a chain that are given back.
        let tables = tables(&self.runs).saturating_add(MOST_PENDING);
        let edits = (self.state.layout.edits / page) as u32;
        let state = parts(tables, page).min(each.max(AT_ONCE)).saturating_add(1);
        let chain = if self.state.blocks_beyond(tables) == 0 { 0 } else { each };
        let manifest = state.max(edits).saturating_add(chain);
        // To look a key up: of each run a page, that of its filter and that of its index.
        let found = runs.saturating_add(1).saturating_mul(3);
        let mut pages = step.saturating_add(last).saturating_add(manifest).saturating_add(found);
        let mut entries = 0;
        let unit = geometry.write_unit.max(geometry.read_unit);
        if M::IN_LOG {
            // A search in the memtable halves what it has: one before a change, one for it, two for where a step goes on.
            let search = 32_u32.saturating_sub(self.memtable.room().1.leading_zeros());
            entries = search.saturating_mul(4).saturating_add(8);
            // Entries that a step merges, and what is read beside them.
            let beside =
                if unit > LEAST_UNIT { each.max(FROM_LOG).saturating_mul(2) } else { each.max(FROM_LOG) };
            pages = pages.saturating_add(each).saturating_add(beside);
        }
        let mut entry = align_up(max_pair(page) as u32, unit).saturating_add(unit);
        if self.state.longest != 0 {
            // Half a page at a time, with the units in which that begins and ends; and a piece that is copied has such, too.
            let pieces = (self.state.longest / (page as u32 / 2).max(1)).saturating_add(3);
            let long = pieces.saturating_mul(unit).saturating_mul(2).saturating_add(self.state.longest);
            entry = entry.max(long.saturating_add(page as u32));
            pages = pages.saturating_add(each);
        }
        let entries = u64::from(entries).saturating_mul(entry.into());
        u64::from(pages).saturating_mul(page as u64).saturating_add(entries)
    }
}
