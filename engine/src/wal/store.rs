//! What a store asks of the log that it stands on: entries made of parts and entries read in parts, with no buffer that holds
//! a whole one, and the checkpoint.

use super::record::Head;
use super::{Cursor, Log};
use crate::codec::{SMALL, align_up, word_at};
use crate::device::BlockDevice;
use crate::space::{Link, SEGMENT_HEADER, SegmentHeader};
use crate::volume::{Buffer, Fault, Tail, Volume};

/// Entries to be appended as one batch.
#[derive(Clone)]
enum Entries<'a> {
    One(Option<[&'a [u8]; 3]>),
    /// What is left of `{ length u32, bytes }*`.
    Staged(&'a [u8]),
}

impl<'a> Iterator for Entries<'a> {
    type Item = [&'a [u8]; 3];

    fn next(&mut self) -> Option<[&'a [u8]; 3]> {
        match self {
            Self::One(parts) => parts.take(),
            Self::Staged(left) => {
                let (_, behind) = left.split_first_chunk::<4>()?;
                let (entry, rest) = behind.split_at_checked(word_at(left, 0) as usize)?;
                *left = rest;
                Some([entry, &[], &[]])
            }
        }
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Appends one entry that consists of the three parts, one behind the other; otherwise like [`append`](Self::append).
    pub(crate) fn append_parts<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        parts: [&[u8]; 3],
    ) -> Result<u64, Fault> {
        let first = self.end;
        self.append_all(volume, Entries::One(Some(parts)), &[]).map(|()| first)
    }

    /// Appends what was staged as `{ length u32, bytes }*` as one batch, like [`append_batch`](Self::append_batch), and returns
    /// the offset of the first entry.
    pub(crate) fn append_staged<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        staged: &[u8],
    ) -> Result<u64, Fault> {
        let first = self.end;
        self.append_all(volume, Entries::Staged(staged), &[]).map(|()| first)
    }

    /// Proves the entry at the cursor, copies as much of it to `out` as fits, and moves on; the rest of it can then be had by
    /// [`passed_part`](Self::passed_part). Returns the length of the whole entry; `None` at the end of the log.
    ///
    /// Of a fault, [`explain_at`](Self::explain_at) makes the public error.
    pub(crate) fn next_part<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        if cursor.offset() == self.end {
            return Ok(None);
        }
        self.try_next(volume, cursor, out, false)?;
        Ok(Some(cursor.walk.found.head.len() as usize))
    }

    /// Reads bytes, from the one numbered `from` on, of the entry that the cursor has passed last. They are read from the
    /// device once more, and not proved again. [`Fault::OutOfRange`]: it has not so many.
    pub(crate) fn passed_part<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &Cursor,
        from: u32,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let found = &cursor.walk.found;
        if out.len() > found.head.len().saturating_sub(from) as usize {
            return Err(Fault::OutOfRange);
        }
        let position = found.position.wrapping_add(found.head.head_len()).wrapping_add(from);
        cursor.walk.take(volume, &self.unwritten(), position, out.len() as u32, out, None)
    }

    /// How much of the last segment is not used yet, `whole` being all of it.
    pub(crate) fn unused<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
        whole: u32,
    ) -> u32 {
        let left = volume.format.segment.saturating_sub(self.position());
        (u64::from(left).wrapping_mul(whole.into()) >> volume.format.segment.trailing_zeros()) as u32
    }

    /// Whether an entry of so many bytes, or the commit of what it is the first of, will have something erased before it can be written.
    pub(crate) fn will_erase<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
        bytes: usize,
    ) -> bool {
        let size = Head::entry(false, bytes as u32, 0, false, 0).size();
        let from = self.position();
        let end = from.wrapping_add(size);
        // One that comes behind others in the buffer, and is not committed, adds nothing to what is to be erased for those.
        let erased = self.erased(volume);
        let waits = from > erased && self.filled.saturating_add(size as usize) <= self.buffer.as_ref().len();
        volume.medium.erase_unit() != 0
            && (!self.begun || self.full || end > erased && !waits || end > Self::limit(volume))
    }

    /// Bytes that an entry, its own aside, a commit and a [checkpoint](Self::checkpoint) read and write at most.
    pub(crate) fn most_moved<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> u64 {
        let geometry = &volume.medium.geometry();
        let unit = geometry.write_unit.max(geometry.read_unit);
        let header = u64::from(align_up(SEGMENT_HEADER as u32, unit));
        // The one that the log begins with is found in twice as many as the number of them has bits. What is released is read once more.
        let held = self.held(volume);
        let rest = self.rest().map_or(0, |rest| rest.segments);
        let freed = if !SMALL && volume.roots.logs().len() == 1 { rest } else { held };
        let bits = 32_u32.saturating_sub(held.leading_zeros());
        let headers = freed.saturating_add(bits.saturating_mul(2)).saturating_add(5);
        // What was in the buffer when the segment was full, its seal, and what is there for the commit.
        let buffers = (self.buffer.as_ref().len() as u64).saturating_mul(3).saturating_add(unit.into());
        // One of its own for lives of segments.
        let publishes = volume.most_published().saturating_mul(2);
        buffers.saturating_add(publishes).saturating_add(header.saturating_mul(headers.into()))
    }

    /// Commits, sets the store's root, and releases the segments that hold only entries before `offset`, if there are any:
    /// all of that by exactly one publish. What was written to blocks before is durable, too. They are
    /// [free](Self::free_rest) later, at once on 32 bits and where other logs may wait for room.
    ///
    /// If the log is damaged so that the segment of `offset` can't be found, nothing is released; a later checkpoint may. Returns how many segments were.
    pub(crate) fn checkpoint<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
        root: &[u8],
    ) -> Result<u32, Fault> {
        self.make_durable(volume)?;
        self.free_rest(volume, u32::MAX);
        let mut head = SegmentHeader::default();
        let frees = match self.plan_release(volume, offset, &mut head) {
            Err(Fault::Damaged) => false,
            planned => {
                planned?;
                self.is_behind_start(&head)
            }
        };
        volume.set_store_root(root);
        let release = frees.then(|| self.drop_before(volume, &head));
        volume.publish()?;
        let Some(dropped) = release else { return Ok(0) };
        match self.released.first_mut() {
            Some(rest) if volume.roots.logs().len() == 1 => *rest = dropped,
            _ => self.free_chain(volume, dropped.at, dropped.kept),
        }
        Ok(dropped.segments)
    }

    /// Before a publish that names blocks: all entries are durable, and all blocks that were written. The roots say so.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn make_durable<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let syncs = self.dirty || self.in_flight || self.unsure;
        self.try_commit(volume)?;
        if !syncs {
            volume.medium.sync()?;
        }
        self.note(volume)
    }

    /// Closes the log with nothing in it: sets the store's root, which says all that the entries have said, and gives every
    /// segment back, by one publish. What was written to blocks before is durable, too. The next open reads no segment.
    pub(crate) fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        root: &[u8],
    ) -> Result<(), Fault> {
        self.make_durable(volume)?;
        self.free_rest(volume, u32::MAX);
        // What was reserved is given up: so the superblock says that no segment can be this log's.
        volume.next_life = volume.next_life.max(volume.roots.lives);
        let (dead, end, none_yet) = (self.last.at, self.end, volume.next_life);
        let mut kept = 0;
        if let Some(root) = volume.root_mut(self.id) {
            kept = root.head_life.saturating_sub(1);
            (root.start, root.end, root.closed) = (end, end, true);
            // Also segments that a cut has taken from the log, behind its last one, are its own no more.
            (root.head_life, root.head_ordinal, root.head_trail) = (none_yet, 0, 0);
            root.tail = Tail { log: self.id, ..Tail::NONE };
            // As the scan of the pool would find it.
            (root.newest, root.next, root.sealed, root.odd) = (Link::NONE, Link::NONE, false, false);
            (root.sum, root.trail) = (0, 0);
        }
        volume.set_store_root(root);
        volume.publish()?;
        self.free_chain(volume, dead, kept);
        self.start = end;
        self.last = SegmentHeader::default();
        self.begun = false;
        self.turn = self.turn.wrapping_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
