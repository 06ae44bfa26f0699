//! How much of the merges each change pays for, and the room that they need.

use super::memtable::Kind;
use super::policy::Shape;
use super::tree::{Inner, Lsm};
use crate::index::LOG_FULL;
use crate::pool::Frames;
use crate::volume::Buffer;

/// Blocks that a merge needs: for the table, for the manifest, and for what is left of a run's table.
pub(super) const LEAST_FREE: u32 = 3;
/// Blocks that puts leave free, so that something can still be deleted.
pub(super) const RESERVE: u32 = 3;
/// So many tables wait for one publish at most.
pub(super) const MOST_PENDING: u32 = 8;
/// A page, in what changes pay for.
pub(super) const PAGE: u32 = 16;
/// A sweep is due when the memtable is so full, in sixty-fourths,
pub(super) const DUE: u32 = 60;
/// or the log.
pub(super) const LOG_DUE: u32 = LOG_FULL / 8 * 3;

impl Inner {
    /// Blocks for all that the memtable holds and another change, as far as tables may grow by it.
    pub(super) fn blocks_for<M: Kind>(&self, memtable: &M) -> u32 {
        let bytes = memtable.growth().saturating_add(1).saturating_mul(memtable.part(self.pair));
        let used = bytes.div_ceil(self.layout.size.max(1) as u32);
        let pages = (self.block as usize).checked_div(self.layout.size).unwrap_or(1) as u32;
        // Of levels, two runs are merged at least.
        let least = LEAST_FREE.saturating_add(u32::from(self.options.shape != Shape::Sweep));
        used.div_ceil(pages.saturating_sub(4).max(1)).saturating_add(least)
    }
}

impl<P: Buffer, F: Frames, M: Kind> Lsm<P, F, M> {
    /// It is to fill a small device: then a put looks whether it has to be new, instead of leaving room for all that the memtable holds.
    pub(super) fn fills_up(&self) -> bool {
        M::IN_LOG && self.state.options.shape == Shape::Sweep
    }

    /// How full the memtable is, in sixty-fourths.
    pub(super) fn fullness(&self) -> u32 {
        let (used, total) = self.memtable.room();
        used.saturating_mul(64).checked_div(total).unwrap_or(64)
    }

    pub(super) fn blocks_for_memtable(&self) -> u32 {
        self.state.blocks_for(&self.memtable)
    }

    /// Sixteenths of a page for a change. An entry waits for half a sweep, so the memtable is filled twice while a sweep goes through all
    /// tables. That, as long as it is just so full that a sweep is due; and ever more, the fuller. Where the log is so full, one sweep has
    /// to end before there is no room left in it.
    pub(super) fn sweep_pace(&self, log: u32) -> u32 {
        let pages = (self.state.block as usize).checked_div(self.state.layout.size).unwrap_or(1) as u32;
        let tables = self.runs.first().map_or(0, |run| run.len).max(1);
        let pair = self.state.pair.max(16);
        let (used, _) = self.memtable.room();
        let held = used.saturating_mul(self.memtable.part(pair)) / self.state.layout.size.max(1) as u32;
        let work = tables.saturating_mul(pages).saturating_add(held).saturating_mul(2 * PAGE);
        let mut each = 0;
        let over = self.fullness().checked_sub(DUE);
        if let Some(over) = if self.state.tight { over.max(Some(6)) } else { over } {
            let (_, total) = self.memtable.room();
            let entries = total.saturating_mul(self.memtable.part(pair)) / pair;
            let least = work / entries.saturating_mul(2).max(1);
            each = least.saturating_mul(over.saturating_mul(4).saturating_add(8)) / 8 + 1;
        }
        if log >= LOG_DUE {
            let entries = self.state.log_bytes / u64::from(pair.saturating_add(8));
            let full = log.saturating_mul(125) / (LOG_FULL / 8);
            let least = if self.state.settled {
                // The log's beginning follows the sweep: as fast as its end moves on, and faster where it is nearly full.
                let over =
                    full.saturating_sub(900).saturating_add(full.saturating_sub(970).saturating_mul(4));
                let factor = (full / 50).saturating_add(over / 4);
                u64::from(work / 16).saturating_mul(factor.into()) / entries.max(1)
            } else {
                // Before the first sweep ends, nothing of the log can be given back.
                let left = tables.saturating_sub(self.state.sweep.min(tables)).saturating_add(1);
                let work = u64::from(work).saturating_mul(left.into()) / u64::from(tables);
                let changes = u64::from(960_u32.saturating_sub(full)).saturating_mul(entries) / 1000;
                work / changes.max(16)
            };
            each = each.max((least as u32).saturating_add(1));
        }
        each
    }

    /// Pages for a change, of merges of whole runs: what is to be done, divided among the changes that there is room for until then.
    pub(super) fn merge_pace(&self) -> u32 {
        let (used, total) = self.memtable.room();
        let part = self.memtable.part(self.state.pair);
        let room = total.saturating_sub(used).saturating_mul(part);
        let changes = (room / self.state.pair.max(16)).max(1);
        let left = self.state.job.as_ref().map_or(0, |job| job.left.saturating_mul(2));
        let held = used.saturating_mul(part) / self.state.layout.size.max(1) as u32;
        let work = left.saturating_add(u64::from(held).saturating_mul(2)) as u32;
        (work / changes).saturating_add(2)
    }
}
