//! Changes: into the log, then into the index.

use super::batch::LENGTH;
use super::op::{MAX_HEAD, head, read_head};
use super::{Batch, Effect, Error, Index, Store};
use crate::codec::word_at;
use crate::device::BlockDevice;
use crate::index::{Input, Op, Promoted, untold};
use crate::space::UNIT;
use crate::volume::{Buffer, Fault, Volume};

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Stores `value` under `key`, instead of the one that was there. Durable after the next [`commit`](Self::commit).
    ///
    /// Device operations: the log's (none, until its buffer is full); a read for each page of the way to the leaf that is not
    /// in the pool, and (not on 32 bits) for the two neighbours of a leaf that is full; a write for each dirty page that makes
    /// room for one; while a checkpoint is under way, writes of up to `depth + 8` pages, those that stand together with one
    /// call, and once its publish; and after it two reads, until all is free that it has released of the log (at once on 32
    /// bits and where the volume has other logs: a read for each segment). A value too long for a leaf is written once more,
    /// to blocks of its own; an LSM tree reads it from the log when its pair is merged into a table, and copies it there.
    ///
    /// For a value within a page of a B-tree, in place of such a one, that is at most `2 depth + 8` reads, `3 depth + 12` pages written,
    /// and six syncs: three of the publish, two where the log goes on in another segment, and one for the first entry after an open. In
    /// bytes, for either tree: [`most_moved`](Self::most_moved).
    pub fn put<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Effect, Error<D::Error>> {
        self.put_and_tell(volume, key, value, &mut untold)
    }

    /// [`put`](Self::put), and `promoted` is told each key that a split promotes: with the level of the pages that were split, 0
    /// for leaves, from there up.
    pub fn put_and_tell<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: &[u8],
        promoted: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<Effect, Error<D::Error>> {
        let done = self.change(volume, &Op { key, value: Some(Input::Bytes(value)) }, value, promoted);
        done.map_err(|fault| self.explain(volume, fault))
    }

    /// Bytes that a [`put`](Self::put) or a [`delete`](Self::delete) with a [`commit`](Self::commit) behind it reads and writes on the device
    /// at most, its own key and value aside, if the value is within a page: whatever of a checkpoint or a merge it pays for. While the
    /// store is open, it changes only with the number of runs, tables and segments of the log.
    ///
    /// Of an LSM tree it is, with pages of `P` bytes, of which half a block has `n` (but no less than 8), units of `U` bytes and
    /// `r` runs:
    ///
    /// - `(n + 4 r + 2) P` for a step of a merge, which reads and writes `n` pages, and before that finds again where it stands in each run;
    /// - `P` for each page that the tree may keep to write many at once: 3 on flash, up to 18;
    /// - for the manifest what it takes, but no more than `n` pages or 16, and `n` more if it is a chain of blocks;
    /// - `3 (r + 1) P` to look a key up;
    /// - with [places](crate::lsm::Places): `2 n P` for entries that are merged and what stands beside them, or `3 n P` where units are larger than 64
    ///   bytes, and `4 log2(places) + 8` of the longest entries, each of them with `U` beside it, for searches;
    /// - once a value was put that is longer than half a page: `n P` more, and with places each of those entries is as long as that, with `2 U`
    ///   for each half page of it;
    /// - three buffers of the log, two publishes, four units of the list of free blocks, and `2 log2(s) + 5` headers of the `s` segments
    ///   that the log has; and those of segments that it gives back, of which all are read at once only where the volume has other logs or the
    ///   processor 32 bits.
    ///
    /// That holds as long as there is room: in the memtable, in the log, and of free blocks. A change that finds none waits for tables to be
    /// written, one by one, and [`Info::waits`](super::Info::waits) counts them. Merges are paced by the memtable and by the log so that this does
    /// not come; it can, where batches bring much at once, where the device is nearly full, or where the memtable is so small
    /// for the data that `n` pages for each change do not suffice.
    ///
    /// Of a B-tree it is `5 (depth + 1) + 20` pages, and the log's part. Its changes wait for a checkpoint where the log is full, or blocks
    /// are few.
    pub fn most_moved<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u64 {
        let geometry = &volume.medium.geometry();
        let unit = UNIT.max(geometry.write_unit).max(geometry.read_unit);
        // Of the list of free blocks: units written and read.
        let list = u64::from(unit).saturating_mul(4);
        self.index.most_moved(geometry).saturating_add(self.log.most_moved(volume)).saturating_add(list)
    }

    /// Removes a key and its value. If there is none, nothing is written. Otherwise costs what [`put`](Self::put) does, and a
    /// read for each neighbour of a page that is left with little.
    pub fn delete<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
    ) -> Result<Effect, Error<D::Error>> {
        let done = self.change(volume, &Op { key, value: None }, &[], &mut untold);
        done.map_err(|fault| self.explain(volume, fault))
    }

    /// Applies a batch, all of it. After a cut, all of it is there or none; durable after the next [`commit`](Self::commit).
    pub fn write<D: BlockDevice, V: Buffer, const N: usize, B: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        batch: &Batch<B>,
    ) -> Result<(), Error<D::Error>> {
        let done = self.write_staged(volume, batch.staged(), batch.len() as u32);
        done.map_err(|fault| self.explain(volume, fault))
    }

    /// Whether anything may be changed.
    pub(super) fn check_writable<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if self.read_only {
            return Err(Fault::ReadOnly);
        }
        volume.medium.check()?;
        if self.stuck.is_some() { Err(Fault::Stuck) } else { Ok(()) }
    }

    pub(super) fn check_op<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: Option<usize>,
    ) -> Result<(), Fault> {
        if key.is_empty() {
            return Err(Fault::EmptyKey);
        }
        if key.len() > self.max_key() {
            return Err(Fault::KeyTooLong);
        }
        match value {
            Some(len) if len > self.max_value(volume, key.len()) => {
                Err(volume.medium.fault(Fault::ValueTooLong, key.len() as u32))
            }
            _ => Ok(()),
        }
    }

    fn change<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        op: &Op<'_>,
        value: &[u8],
        promoted: Promoted<'_>,
    ) -> Result<Effect, Fault> {
        self.check_writable(volume)?;
        self.check_op(volume, op.key, op.value.map(|value| value.len()))?;
        let blocks = self.index.blocks_for_value(op.key.len(), value.len(), true);
        let bytes = op.key.len().saturating_add(value.len()).saturating_add(MAX_HEAD);
        self.pace(volume, 1, bytes, blocks)?;
        self.make_index_room(volume, self.log.end())?;
        let found = self.with_index(volume, None, |index, base| index.prepare(base, op))?;
        if op.value.is_none() && !found {
            return Ok(Effect { depth: self.index.info().depth, ..Effect::default() });
        }
        let reserve = if op.value.is_some() { self.index.reserve() } else { 0 };
        self.make_room(volume, blocks.wrapping_add(reserve), None)?;
        let mut bytes = [0; MAX_HEAD];
        let parts = [head(op.key.len(), op.value.is_none(), &mut bytes), op.key, value];
        self.offset = loop {
            match self.log.append_parts(volume, parts) {
                Err(Fault::Full) if self.log.free_rest(volume, u32::MAX) => {}
                Err(Fault::Full) if self.is_ahead() => self.wait(volume)?,
                done => break done?,
            }
        };
        if self.index.reads_later(op.key.len(), value.len()) {
            self.site = self.log.newest_site(volume);
        }
        self.apply(volume, op, promoted)
    }

    fn write_staged<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        staged: &[u8],
        ops: u32,
    ) -> Result<(), Fault> {
        self.check_writable(volume)?;
        let mut values = 0_u32;
        let mut left = staged;
        while let Some((op, rest)) = next_op(left) {
            let len = op.value.map(|value| value.len());
            self.check_op(volume, op.key, len)?;
            let blocks = self.index.blocks_for_value(op.key.len(), len.unwrap_or(0), false);
            values = values.saturating_add(blocks);
            left = rest;
        }
        if ops == 0 {
            return Ok(());
        }
        self.pace(volume, ops, staged.len(), values)?;
        let more = values.saturating_add(self.index.reserve());
        self.make_room(volume, more, Some((ops, staged.len())))?;
        self.offset = loop {
            match self.log.append_staged(volume, staged) {
                Err(Fault::Full) if self.log.free_rest(volume, u32::MAX) => {}
                Err(Fault::Full) if self.is_ahead() => self.wait(volume)?,
                done => break done?,
            }
        };
        let mut left = staged;
        let mut cursor = self.log.cursor(self.offset);
        while let Some((op, rest)) = next_op(left) {
            let value = op.value.map_or(0, |value| value.len());
            if self.index.reads_later(op.key.len(), value) {
                if cursor.offset() != self.offset {
                    cursor.go_to(self.offset);
                }
                self.log.next_part(volume, &mut cursor, &mut []).inspect_err(|_| volume.poison())?;
                self.site = self.log.passed_site(&cursor);
            }
            self.make_index_room(volume, self.offset).inspect_err(|_| volume.poison())?;
            match self.apply(volume, &op, &mut untold) {
                Ok(_) | Err(Fault::Damaged) => {}
                Err(fault) => return Err(fault),
            }
            self.offset = self.offset.wrapping_add(1);
            left = rest;
        }
        match self.stuck {
            Some(block) => Err(volume.medium.fault(Fault::Damaged, block)),
            None => Ok(()),
        }
    }

    /// Applies what is in the log. What can't be applied because of damage waits there for a salvage.
    fn apply<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        op: &Op<'_>,
        promoted: Promoted<'_>,
    ) -> Result<Effect, Fault> {
        let done = self.with_index(volume, None, |index, base| index.apply(base, op, promoted));
        match done {
            Ok(_) => {}
            Err(Fault::Damaged) => self.stuck = self.stuck.or(Some(volume.medium.detail)),
            // The index is not what the log says any more: only a new open makes it so.
            Err(_) => volume.poison(),
        }
        done
    }

    /// There will be room for a change in the index; steps of a checkpoint, if that is what it takes. `at`: the first operation
    /// of the log that was not applied yet.
    pub(super) fn make_index_room<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        at: u64,
    ) -> Result<(), Fault> {
        while !self.index.has_room() {
            if self.log.is_in_flight() {
                return Err(Fault::SyncPending);
            }
            self.count_wait();
            self.complete_step(volume)?;
            self.publish_at(volume, at)?;
        }
        Ok(())
    }

    /// There will be blocks for one change, or for a batch of so many operations of so many bytes, and so many more, and memory for them;
    /// a checkpoint, if that is what it takes.
    pub(super) fn make_room<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        more: u32,
        batch: Option<(u32, usize)>,
    ) -> Result<(), Fault> {
        loop {
            let changes = match batch {
                Some((ops, bytes)) => self.index.blocks_for_batch(ops, bytes),
                None => self.index.blocks_for_change(),
            };
            let (blocks, spare) = (self.blocks.available(), self.index.spare());
            let needed = changes.saturating_add(more);
            if blocks.min(spare) >= needed {
                return Ok(());
            }
            // With less to be merged, less is needed.
            if !self.is_ahead() && !self.index.reclaim(blocks.min(spare)) {
                let is_full = blocks < needed;
                let frames = self.index.pool().frames.saturating_add(1);
                return Err(if is_full { Fault::Full } else { volume.medium.fault(Fault::Memory, frames) });
            }
            self.wait(volume)?;
        }
    }

    /// As much of a checkpoint as can be published, for the room that it makes.
    fn wait<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.count_wait();
        self.publish_some(volume)
    }

    fn count_wait(&mut self) {
        if let Some(waits) = self.waits.first_mut() {
            *waits = waits.wrapping_add(1);
        }
    }
}

/// Takes the first operation off what was staged.
fn next_op(staged: &[u8]) -> Option<(Op<'_>, &[u8])> {
    let entry = staged.get(LENGTH..)?;
    let (entry, rest) = entry.split_at_checked(word_at(staged, 0) as usize)?;
    let (len, key, delete) = read_head(entry);
    let (key, value) = entry.get(len..)?.split_at_checked(key)?;
    Some((Op { key, value: (!delete).then_some(Input::Bytes(value)) }, rest))
}
