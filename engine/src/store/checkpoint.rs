//! Checkpoints: the index onto the device in small steps, and then one publish.
//!
//! Pages are written while changes go on; a page that changes after it was written is written again. At some moment no page is
//! dirty: then the index on the device is the index in memory, and a publish names it together with the end of the log. Since
//! every change pays for more pages than it makes dirty, that moment comes.

use super::{Error, Index, Store};
use crate::codec::SMALL;
use crate::device::BlockDevice;
use crate::index::LOG_FULL;
use crate::volume::{Buffer, Fault, Volume};

/// So many released segments of the log a change gives back: the publish may have released hundreds, and each is a read.
const FREED: u32 = 2;

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Makes the index as it is now durable by itself, and releases the log before it. Writes every dirty page, then one commit
    /// and one publish. Nothing, if nothing has changed.
    pub fn checkpoint<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        let done = self.check_writable(volume).and_then(|()| self.try_checkpoint(volume));
        done.map_err(|fault| self.explain(volume, fault))
    }

    /// A part of a checkpoint: some pages, and when no page is dirty any more, the publish. Returns whether it is done. For a
    /// quiet moment, so that later changes need not pay. Segments of the log that it releases are given back by further calls and changes,
    /// some by each; by [`checkpoint`](Self::checkpoint) all at once.
    pub fn checkpoint_step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<bool, Error<D::Error>> {
        self.check_writable(volume).map_err(|fault| self.explain(volume, fault))?;
        self.log.free_rest(volume, FREED);
        if !self.is_ahead() {
            return Ok(true);
        }
        self.writing = true;
        let pages = self.index.pace(1, LOG_FULL);
        volume.medium.quiet = true;
        let done = self.write_some(volume, pages.max(1));
        volume.medium.quiet = false;
        done.map_err(|fault| self.explain(volume, fault))?;
        Ok(!self.writing)
    }

    /// Makes the index as small and as fast to read as it can be, durably, and with it does what
    /// [`checkpoint`](Self::checkpoint) does. An LSM tree merges its memtable and all runs into one, with a publish for each table: that
    /// reads and writes all of it, and needs free blocks for what one publish frees. Of a B-tree there is nothing to compact.
    pub fn compact<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        let done = self.check_writable(volume).and_then(|()| self.try_compact(volume));
        done.map_err(|fault| self.explain(volume, fault))
    }

    fn try_compact<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if self.log.is_in_flight() {
            return Err(Fault::SyncPending);
        }
        if self.with_index(volume, None, |index, base| index.compact(base))? {
            while self.index.is_compacting() {
                self.complete_step(volume)?;
                self.publish(volume)?;
            }
        }
        self.try_checkpoint(volume)
    }

    /// A part of [`compact`](Self::compact): some pages, and the publish when a table is complete. Returns whether it is done; what is
    /// stored in between is not waited for. Changes pay for it, too, as for any merge that is under way.
    pub fn compact_step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<bool, Error<D::Error>> {
        let done = self.check_writable(volume).and_then(|()| self.try_compact_step(volume));
        done.map_err(|fault| self.explain(volume, fault))
    }

    fn try_compact_step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<bool, Fault> {
        if self.log.is_in_flight() {
            return Err(Fault::SyncPending);
        }
        if !self.with_index(volume, None, |index, base| index.compact(base))? {
            return Ok(true);
        }
        self.writing = true;
        let pages = self.index.pace(1, LOG_FULL);
        self.write_some(volume, pages.max(1))?;
        Ok(!self.index.is_compacting() && !self.writing)
    }

    pub(super) fn try_checkpoint<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.log.free_rest(volume, u32::MAX);
        if !self.is_ahead() {
            return Ok(());
        }
        loop {
            self.publish_some(volume)?;
            if self.index.dirty() == 0 {
                return Ok(());
            }
        }
    }

    /// As much of a checkpoint as can be published, and its publish.
    pub(super) fn publish_some<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if self.log.is_in_flight() {
            return Err(Fault::SyncPending);
        }
        self.complete_step(volume)?;
        self.publish(volume)?;
        self.log.free_rest(volume, u32::MAX);
        Ok(())
    }

    /// As much of a checkpoint as can be published.
    pub(super) fn complete_step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        while !self.index.is_ready()
            && !self.with_index(volume, None, |index, base| index.checkpoint_step(base, u32::MAX))?
        {}
        Ok(())
    }

    /// What so many changes, with `bytes` for the log, pay for a checkpoint that is under way, or due now; and so many pages more. A step of
    /// an LSM tree ends with a table: so a batch as large as several pays bit by bit.
    pub(super) fn pace<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        changes: u32,
        bytes: usize,
        more: u32,
    ) -> Result<(), Fault> {
        self.log.free_rest(volume, FREED);
        let block = volume.block_size() as usize;
        // On flash it does one erase, whatever it brings.
        let is_large = !SMALL && I::GOES_BY_LOG && bytes > block / 2 && !volume.medium.must_erase();
        let parts = if is_large { bytes / (block / 16).max(1) } else { 1 };
        let parts = (parts as u32).clamp(1, changes.max(1));
        for part in 0..parts {
            self.pace_some(volume, changes.saturating_add(part) / parts, bytes / parts as usize, more)?;
        }
        Ok(())
    }

    /// What some of them pay, by one step.
    #[inline]
    fn pace_some<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        changes: u32,
        bytes: usize,
        more: u32,
    ) -> Result<(), Fault> {
        let held = self.log.held(volume);
        let free = volume.segments.free().saturating_sub(u32::from(volume.format.reserve));
        let full = held.saturating_mul(LOG_FULL).checked_div(held.wrapping_add(free)).unwrap_or(0);
        // The last segment is not full yet.
        let mut log = if held > 2 { full } else { 0 };
        if I::GOES_BY_LOG {
            let unused = self.log.unused(volume, LOG_FULL).checked_div(held.wrapping_add(free)).unwrap_or(0);
            log = log.saturating_sub(unused);
        }
        if !self.writing {
            let blocks_are_due = self.blocks.available() < self.room / 2;
            // Other logs are left their half: to the store, none is left then.
            let left = || {
                let alone = volume.roots.logs().len() == 1;
                let room = u64::from(free).wrapping_mul(volume.format.segment.into());
                // Each may be committed by itself, and then fills a unit.
                let unit = u64::from(volume.medium.write_unit());
                let each = (bytes as u64).saturating_add(unit).checked_div(changes.into()).unwrap_or(0);
                if alone { room.checked_div(each).unwrap_or(0).min(u32::MAX.into()) as u32 } else { 0 }
            };
            self.writing = self.index.is_due(log, left, blocks_are_due) && self.is_ahead();
        }
        let pages = self.index.pace(changes, log).saturating_add(more);
        // No change pays for two erases.
        if self.writing && pages != 0 && !(I::GOES_BY_LOG && self.log.will_erase(volume, bytes)) {
            return self.write_some(volume, pages);
        }
        Ok(())
    }

    fn write_some<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        pages: u32,
    ) -> Result<(), Fault> {
        let erases = volume.medium.erases();
        let mut clean = self.index.is_ready();
        if !clean {
            let done = self.with_index(volume, None, |index, base| index.checkpoint_step(base, pages));
            if done == Err(Fault::Damaged) {
                self.stuck = self.stuck.or(Some(volume.medium.detail));
            }
            clean = done?;
        }
        // While a sync is under way, nothing can be committed: the next step will.
        if !clean || self.log.is_in_flight() {
            return Ok(());
        }
        if self.index.is_ready() {
            // The list of free blocks may have to erase something, and then a home of the superblock.
            if volume.medium.erases() == erases {
                self.blocks.before_publish(volume)?;
            }
            if volume.medium.erases() != erases {
                return Ok(());
            }
        }
        self.publish(volume)
    }

    /// The last checkpoint: nothing is left of the log.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.complete_step(volume)?;
        while self.index.dirty() != 0 {
            self.publish(volume)?;
            // With all of it published, a further step would begin with what can wait.
            if self.index.dirty() != 0 {
                self.complete_step(volume)?;
            }
        }
        self.publish_root(volume, self.log.end(), true)
    }

    /// Publishes the index, of which no page is dirty, as the state behind all entries of the log.
    pub(super) fn publish<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.publish_at(volume, self.log.end())
    }

    /// Publishes the index as the state before the entry at `offset`.
    pub(super) fn publish_at<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<(), Fault> {
        let offset = self.index.position(offset);
        self.publish_root(volume, offset, false)
    }

    /// Publishes what is on the device as all that the log says before `offset`. `closes`: nothing is kept of the log.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn publish_root<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
        closes: bool,
    ) -> Result<(), Fault> {
        self.blocks.before_publish(volume)?;
        let mut root = [0; crate::volume::STORE_ROOT];
        let len = self.encode_root(offset, &mut root);
        let root = root.get(..len).unwrap_or_default();
        if closes {
            self.log.finish(volume, root)?;
        } else {
            self.log.checkpoint(volume, offset, root)?;
        }
        self.blocks.published();
        self.index.published();
        self.generation = self.generation.wrapping_add(1);
        (self.position, self.room) = (offset, self.blocks.available());
        (self.writing, self.unlogged, self.forgiving) = (false, false, false);
        Ok(())
    }
}
