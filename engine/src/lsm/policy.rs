//! Which merge comes next.
//!
//! A *sweep* keeps one run. It goes through the keys round and round; each merge takes one table's worth of them from the run
//! and from the memtable, and puts one table in their place.
//!
//! *Levels* keep runs by age: the memtable becomes a run of level 0; when a level has more runs than it may, or more bytes,
//! all of them are merged into the next level: into a new run there, or into its only one if it may have but one. So with one
//! run a level this is leveled compaction, with many of them tiered, and with one on the last level only, lazy-leveled. Where what is above
//! the oldest run has more long values than that, all are merged into it.

use super::list::{List, MAX_RUNS, Runs, Table};
use super::merge::{Job, MAX_SOURCES, Source};
use crate::codec::SMALL;

/// The most levels there are.
pub(super) const MAX_LEVELS: usize = 8;
/// The most that a tree takes by itself.
const MOST_OWN: u8 = 7;
/// Runs of all levels but the last one that it then has at most, so that there is room for those of a merge.
const MOST_OWN_RUNS: u8 = MAX_RUNS as u8 - 3;

/// The shape of the tree. It may be another one at every open: what is there is merged into the new shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Shape {
    /// One run, into which the memtable is merged in passing: the fewest reads and the least space; writes grow with the data
    /// divided by the memtable.
    Sweep,
    /// So many levels, each with so many runs before they are merged into the next.
    Levels {
        /// Levels, from 1 to 8; 0: two, and ever more of them, up to seven, as the data outgrows the memtable.
        levels: u8,
        /// Runs of a level but the last, from 1 to 8. 1: leveled. Where the tree takes the number of its levels itself, five or more
        /// of them have fewer runs each.
        runs: u8,
        /// Runs of the last level, from 1 to 8. 1: a scan and a get of what is old find it in one place.
        last: u8,
        /// How many times as large as the level before it a level may become, if it has one run.
        ratio: u8,
    },
}

/// What the choice depends on.
pub(super) struct Outlook {
    pub(super) shape: Shape,
    /// Bytes of a full memtable.
    pub(super) memtable: u64,
    /// Bytes of a table, and of a page.
    pub(super) table: u64,
    pub(super) page: u64,
    /// The memtable should be merged now.
    pub(super) full: bool,
    /// Where the sweep stands in its run.
    pub(super) sweep: u32,
    /// Runs that can be merged at a time: each takes a frame.
    pub(super) sources: usize,
    /// Blocks for it.
    pub(super) available: u32,
    /// Pages of pairs that a table has at most.
    pub(super) most: u32,
    /// Changes can pay for a merge of everything as fast as for others: not on flash, where one does one erase.
    pub(super) shrinks: bool,
    /// Bytes of the long values in the memtable.
    pub(super) long: u64,
    /// Pages that changes can merge before there is no room for them.
    pub(super) affordable: u64,
}

impl Shape {
    /// With a number of levels, if it has none: the one by which least is written, for so many bytes in tables, down to the `deepest`
    /// level, and a memtable that holds so many.
    ///
    /// When runs of a level are merged with the last one, all of that is written again: as many bytes for each that comes as it is
    /// times larger than they are. Another level in between costs a byte for each byte, and makes them larger, by as many
    /// times as there are runs in a merge. So what is written grows with the logarithm of the data, as long as there may be more
    /// levels. As there may not be more runs in all, many levels have fewer each.
    pub(super) fn settled(self, bytes: u64, deepest: u8, memtable: u64) -> Self {
        let Self::Levels { levels: 0, runs, last, ratio } = self else { return self };
        let most = |levels: u8| runs.min(MOST_OWN_RUNS / levels.saturating_sub(1).max(1)).max(1);
        let cost = |levels: &u8| {
            let between = u64::from(levels.saturating_sub(2));
            let (growth, each) = match most(*levels) {
                1 => (u64::from(ratio.max(2)), u64::from(ratio / 2).saturating_add(1)),
                runs => (u64::from(runs).saturating_add(1), 1),
            };
            let size = memtable.saturating_mul(growth.saturating_pow(u32::from(*levels).saturating_sub(1)));
            let again = bytes.saturating_mul(16).checked_div(size).unwrap_or(0);
            between.saturating_mul(each.saturating_mul(16)).saturating_add(again)
        };
        let levels = (2..=MOST_OWN).min_by_key(cost).unwrap_or(2);
        // They don't become fewer again: there would be one merge of everything for it.
        let levels = levels.max(deepest.saturating_add(1).min(MOST_OWN));
        Self::Levels { levels, runs: most(levels), last, ratio }
    }
}

impl Outlook {
    /// The merge to begin with now, if there is one.
    pub(super) fn choose(&self, list: &mut List<'_>) -> Option<Job> {
        match self.shape {
            Shape::Sweep => self.sweep(list),
            Shape::Levels { levels, .. } => self.levels(list, levels.clamp(1, MAX_LEVELS as u8)),
        }
    }

    fn sweep(&self, list: &mut List<'_>) -> Option<Job> {
        // Runs of an earlier shape.
        if list.runs.len() > 1 {
            return self.merge(list, 0, list.runs.len(), 0);
        }
        if !self.full {
            return None;
        }
        if list.runs.is_empty() && !list.insert_run(0, 0) {
            return None;
        }
        let from = if self.sweep <= list.run(0).len { self.sweep } else { 0 };
        let mut job = Job::new(0, from, true);
        (job.memtable, job.one) = (true, true);
        let _ = job.sources.push(Source::new(0, from));
        Some(job)
    }

    fn levels(&self, list: &mut List<'_>, levels: u8) -> Option<Job> {
        let last = levels.wrapping_sub(1);
        if let Some(job) = self.shrink(list, last) {
            return Some(job);
        }
        for level in 0..levels {
            // Runs of levels that this shape has no more count as of its last one.
            let is_here = |found: u8| found.min(last) == level;
            let first = list.runs.iter().position(|run| is_here(run.level));
            let count = list.runs.iter().filter(|run| is_here(run.level)).count();
            let tables: u32 = list.runs.iter().filter(|run| is_here(run.level)).map(|run| run.len).sum();
            let bytes = u64::from(tables).saturating_mul(self.table);
            let (most, limit) = self.limits(level);
            let too_many = count as u32 > most;
            let too_large = limit.is_some_and(|limit| bytes > limit);
            if let (Some(first), true) = (first, too_many || too_large) {
                let below = level.wrapping_add(1).min(last);
                let mut end = first.wrapping_add(count);
                if level < last && self.limits(below).0 == 1 {
                    let more = list.runs.iter().filter(|run| run.level.min(last) == below).count();
                    end = end.wrapping_add(more);
                }
                if let Some(job) = self.merge(list, first, end, below) {
                    return Some(job);
                }
            }
        }
        if list.runs.len() >= MAX_RUNS.wrapping_sub(2) {
            return self.merge(list, 0, list.runs.len(), last);
        }
        if !self.full || !list.insert_run(0, 0) {
            return None;
        }
        let mut job = Job::new(0, 0, list.runs.len() == 1);
        job.memtable = true;
        Some(job)
    }

    /// The merge of everything into the oldest run, where tables of long values above that take more room than it does. The memtable has only
    /// places of such values, so that a run of them is as large as half the log, whatever the memory: a few may be many times the data. If the
    /// memtable is what makes it too much, it goes along, as far as changes can pay for all of that in time.
    fn shrink(&self, list: &mut List<'_>, last: u8) -> Option<Job> {
        let oldest = list.runs.last().copied().unwrap_or_default();
        let level = oldest.level.min(last);
        if SMALL || !self.shrinks || level == 0 || oldest.len == 0 {
            return None;
        }
        let has_long = |at: &u32| list.get(*at).has_long;
        let above = (0..oldest.start).filter(has_long).count() as u64;
        let below = u64::from(oldest.len);
        let left: u64 = (0..list.runs.len()).map(|run| pages(list, run, self.most)).sum();
        let blocks = self.long.div_ceil(self.table.max(1));
        let room = u64::from(self.available).saturating_sub(blocks.saturating_mul(2));
        let with_memtable = self.full
            && blocks != 0
            && above.saturating_add(blocks) > below
            && left.saturating_add(blocks.saturating_mul(self.most.into())) <= self.affordable
            && room > 2 * MAX_RUNS as u64
            && list.runs.len() <= self.sources.min(MAX_SOURCES);
        // As a rule that is foreseen, before the memtable is a run.
        let is_too_much = above.saturating_mul(8) > below.saturating_mul(9);
        if !with_memtable && !is_too_much {
            return None;
        }
        let mut job = self.merge(list, 0, list.runs.len(), level)?;
        job.memtable = with_memtable && job.sources.len() == list.runs.len();
        Some(job)
    }

    /// The memtable, with so many bytes in it, into a run, and no other merge. Where level 0 has as many runs as it may have, the
    /// newest of them go with it, if they are small: so sessions that change little leave few runs. `None`: it can't be
    /// done so.
    pub(super) fn flush(&self, list: &mut List<'_>, bytes: u64) -> Option<Job> {
        let runs = if self.shape == Shape::Sweep { 0 } else { self.limits(0).0 as usize };
        let (mut end, mut sum) = (0, bytes);
        let found = list.runs.iter().filter(|run| run.level == 0).count();
        while found >= runs && end < found.min(self.sources).min(MAX_SOURCES) {
            let size = pages(list, end, self.most).saturating_mul(self.page);
            if sum.saturating_add(size) > bytes.saturating_mul(5) {
                break;
            }
            (end, sum) = (end.wrapping_add(1), sum.saturating_add(size));
        }
        if end == 0 && list.runs.len() >= MAX_RUNS.wrapping_sub(2) {
            return None;
        }
        let mut job = self.merge(list, 0, end, 0)?;
        job.memtable = true;
        Some(job)
    }

    /// The merge of the memtable and all runs into one of the last level; of the oldest runs, if they are more than can be merged at
    /// a time.
    pub(super) fn all(&self, list: &mut List<'_>) -> Option<Job> {
        let runs = list.runs.len();
        let mut job = self.merge(list, 0, runs, self.last())?;
        job.memtable = job.sources.len() == runs;
        Some(job)
    }

    /// How many runs a level may have, and how many bytes.
    pub(super) fn limits(&self, level: u8) -> (u32, Option<u64>) {
        let Shape::Levels { levels, runs, last, ratio } = self.shape else { return (1, None) };
        let is_last = level.wrapping_add(1) >= levels.clamp(1, MAX_LEVELS as u8);
        let most = u32::from(if is_last { last } else { runs }.clamp(1, 8));
        let growth = u64::from(ratio.max(2)).saturating_pow(u32::from(level).saturating_add(1));
        (most, (!is_last && most == 1).then_some(self.memtable.saturating_mul(growth)))
    }

    /// The merge of the runs from `first` on, up to `end`, into a run of this level behind them; of the oldest ones, if there are not frames
    /// for all of them, or not blocks. `None`: it can't even be two.
    pub(super) fn merge(&self, list: &mut List<'_>, first: usize, end: usize, level: u8) -> Option<Job> {
        let end = end.min(list.runs.len());
        let (mut from, mut begun) = (end, 0_u32);
        while from > first && end.saturating_sub(from) < self.sources.min(MAX_SOURCES) {
            // A table of each run will be there still when what it has was written already. And the manifest may take a block.
            begun = begun.saturating_add(largest(list, from.saturating_sub(1), self.most));
            if begun.div_ceil(self.most.max(1)) >= self.available {
                break;
            }
            from = from.saturating_sub(1);
        }
        if end.saturating_sub(from) < end.saturating_sub(first).min(2) {
            return None;
        }
        let older = list.runs.len() != end;
        // The oldest of them takes the tables itself, where it stands on that level: then a merge that is given up leaves no run more. So
        // it does where there are as many runs as there can be.
        let last = end.saturating_sub(1);
        let takes = end > from && list.run(last).level == level;
        let target = if !takes && list.insert_run(end, level) { end } else { last };
        let mut job = Job::new(target, 0, !older);
        for run in from..end {
            let _ = job.sources.push(Source::new(run, 0));
            job.left = job.left.saturating_add(pages(list, run, self.most));
        }
        Some(job)
    }

    /// Pages of pairs that the merges will read which follow on this one, until no level has too much: each may be the one too many for the
    /// level below.
    pub(super) fn debt(&self, runs: &Runs, job: &Job) -> u64 {
        let mut found = [(0_u32, 0_u32); MAX_LEVELS];
        let last = self.last();
        for (number, run) in runs.iter().enumerate() {
            let is_source = number != job.target && job.sources.iter().any(|source| source.run == number);
            let level = runs.get(if is_source { job.target } else { number }).map_or(0, |run| run.level);
            if let Some((count, tables)) = found.get_mut(usize::from(level.min(last))) {
                *count = count.saturating_add(u32::from(!is_source));
                *tables = tables.saturating_add(run.len);
            }
        }
        let mut debt = 0_u32;
        let mut come = (0_u32, 0_u32);
        for level in 0..=last {
            let (count, tables) = found.get(usize::from(level)).copied().unwrap_or_default();
            let (most, limit) = self.limits(level);
            let is_merged = come.0 != 0 && most == 1 && level != 0;
            let (count, tables) = (count.saturating_add(come.0), tables.saturating_add(come.1));
            // What comes is merged with the only run that there may be.
            let count = if is_merged { 1 } else { count };
            if is_merged {
                debt = debt.saturating_add(tables.saturating_sub(come.1));
            }
            let too_large = limit.is_some_and(|limit| u64::from(tables).saturating_mul(self.table) > limit);
            come = (0, 0);
            if count > most || too_large {
                debt = debt.saturating_add(tables);
                come = (1, tables);
            }
        }
        u64::from(debt).saturating_mul(self.most.into())
    }

    /// The last level.
    pub(super) fn last(&self) -> u8 {
        match self.shape {
            Shape::Sweep => 0,
            Shape::Levels { levels, .. } => levels.clamp(1, 8).wrapping_sub(1),
        }
    }
}

/// Pages of pairs in the largest table of a run; with long values behind them it may be as large as any, of `most` pages.
fn largest(list: &List<'_>, run: usize, most: u32) -> u32 {
    let run = list.run(run);
    let left = |at| list.get(at).left(most);
    (run.start..run.end()).map(left).max().unwrap_or(0)
}

/// Pages of pairs in a run; where long values are behind them, as many as there can be.
fn pages(list: &List<'_>, run: usize, most: u32) -> u64 {
    let run = list.run(run);
    let of = |table: Table| if table.has_long { most } else { table.pages };
    (run.start..run.end()).map(|at| u64::from(of(list.get(at)))).sum()
}
