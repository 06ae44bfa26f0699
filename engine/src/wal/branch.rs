//! Where a log goes on in a new epoch: behind its end, or, after a truncation, before it.

use super::Log;
use super::index::Index;
use super::record::{RECORD, epoch_seed, segment_identity};
use crate::codec::SMALL;
use crate::device::BlockDevice;
use crate::space::{Link, SEGMENT_HEADER, Seal, SegmentHeader};
use crate::volume::{Buffer, Copy, Fault, Volume};

/// Segments that a log has let go of: from this one back to those with a life of `kept` or less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) at: Link,
    pub(super) kept: u32,
    /// How many they are.
    pub(super) segments: u32,
}

impl Chain {
    pub(super) const NONE: Self = Self { at: Link::NONE, kept: 0, segments: 0 };

    fn is_empty(&self) -> bool {
        self.at.is_none() || self.at.life <= self.kept
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Begins the epoch of this session, durable on return: by a record behind the end of the last segment where that
    /// may be written, else by a publish that names a new segment.
    #[inline(never)]
    pub(super) fn begin<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.secure(volume)?;
        let room = Self::limit(volume).saturating_sub(RECORD.wrapping_mul(4));
        let here = !self.full && !self.last.at.is_none() && !self.out_of_epochs() && self.written <= room;
        if here {
            let epoch = self.epoch;
            self.set_epoch(volume, epoch.wrapping_add(1));
            match self.put_epoch(volume) {
                Ok(()) => {
                    volume.medium.sync()?;
                    self.begun = true;
                    if let Some(root) = volume.root_mut(self.id) {
                        root.closed = false;
                    }
                    return Ok(());
                }
                // The first write since the open has failed: this place is bad, and there may be better ones. What
                // was durable is in other units. Should the device be to blame, the next write says so.
                Err(Fault::Device) if volume.retire(self.last.at.segment) => {
                    volume.medium.forgive();
                    (self.filled, self.dirty, self.open) = (0, false, false);
                    (self.bad, self.full) = (true, true);
                }
                Err(error) => return Err(error),
            }
        }
        // An empty last segment is given up, so that opening again and again takes no space: the new one takes its place.
        let empty = self.last.first == self.end || self.last.at.is_none();
        let mut place = SegmentHeader::default();
        place.copy_from(&self.last);
        if !empty {
            self.place_after(volume, &mut place);
        }
        self.branch(volume, self.end, &mut place, self.kept(volume))
    }

    /// Goes on at offset `first` in a new segment at `place` in the chain, in a new epoch; by one publish. The segments
    /// that were behind the one before it are free afterwards. `kept`: so many segments are to be left free.
    #[inline(never)]
    pub(super) fn branch<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        first: u64,
        place: &mut SegmentHeader,
        kept: u32,
    ) -> Result<(), Fault> {
        self.note(volume)?;
        volume.take_segment(kept, true, &mut place.at)?;
        if place.previous == self.last.at && !self.last.at.is_none() {
            self.seal_early(volume)?;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.stamp(place, first);
        let dead = self.last.at;
        let mut kept = place.previous.life;
        if let Some(root) = volume.root_mut(self.id) {
            root.epoch = self.epoch;
            root.end = first;
            root.closed = false;
            root.tail.copy_from(place);
            if kept < root.head_life || root.head_life == 0 {
                kept = root.head_life.saturating_sub(1);
                root.begin_with(place);
                self.start = first;
            }
        }
        volume.publish()?;
        (self.end, self.durable) = (first, first);
        self.free_chain(volume, dead, kept);
        self.start_segment(volume, place);
        self.begun = true;
        Ok(())
    }

    /// Seals the last segment before the log goes on elsewhere, so that a second copy of its header is on the device:
    /// the superblock is about to name another last segment, and may hold the only one.
    fn seal_early<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let area = Self::seal_area(volume);
        let at = volume.format.segment.wrapping_sub(area);
        let address = volume.address(self.last.at.segment, at);
        let written = volume.medium.must_erase()
            && at < self.erased(volume)
            && !volume.medium.is_blank(address, area, false);
        let (mut header, mut seal) = (SegmentHeader::NONE, Seal::NONE);
        if self.bad || written || volume.read_seal(self.last.at, false, &mut header, &mut seal) {
            return Ok(());
        }
        self.write_seal(volume, Link::NONE)?;
        volume.medium.sync()
    }

    /// Frees the segments of this log from `at` back to those with a life of `kept` or less.
    pub(super) fn free_chain<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        at: Link,
        kept: u32,
    ) {
        self.free_some(volume, Chain { at, kept, ..Chain::NONE }, u32::MAX);
    }

    /// Frees so many of the segments that a checkpoint has released; whether there were any. One read for each.
    pub(crate) fn free_rest<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        most: u32,
    ) -> bool {
        let Some(chain) = self.rest() else { return false };
        let at = self.free_some(volume, chain, most);
        self.released.fill(Chain { at, segments: chain.segments.saturating_sub(most), ..chain });
        true
    }

    /// The segments that a checkpoint has released and that are not free yet, if there are any.
    pub(super) fn rest(&self) -> Option<Chain> {
        self.released.first().copied().filter(|chain| !chain.is_empty())
    }

    /// Frees so many segments of a chain, on 32 bits all of them. One read for each. Returns where the rest begins.
    pub(super) fn free_some<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        mut chain: Chain,
        most: u32,
    ) -> Link {
        let mut header = SegmentHeader::default();
        let mut left = most;
        while !chain.is_empty() && (SMALL || left != 0) {
            let at = chain.at;
            volume.free_segment(at);
            if at == self.last.at {
                // It may never have been written, and is known.
                header.copy_from(&self.last);
            } else if volume.read_header(at, &mut header) == Copy::None {
                // Damaged: what is behind it stays out of use until the next open.
                return Link::NONE;
            }
            chain.at = header.previous;
            left = left.wrapping_sub(1);
        }
        chain.at
    }

    /// Makes of the header of one segment that of the next in the chain, as far as its place goes: links, ordinal, trail.
    /// The jump: see Myers, "An applicative random-access stack".
    #[inline(never)]
    pub(super) fn place_after<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        place: &mut SegmentHeader,
    ) {
        let (mut near, mut far) = (SegmentHeader::default(), SegmentHeader::default());
        let skips = !place.jump.is_none()
            && volume.read_header(place.jump, &mut near) != Copy::None
            && !near.jump.is_none()
            && volume.read_header(near.jump, &mut far) != Copy::None
            && place.ordinal.wrapping_sub(near.ordinal) == near.ordinal.wrapping_sub(far.ordinal);
        let to = if skips { &far } else { &*place };
        (place.jump, place.jump_first) = (to.at, to.first);
        place.previous = place.at;
        place.trail = place.trail_after();
        place.ordinal = place.ordinal.wrapping_add(1);
    }

    /// Makes the place of a segment in the chain its header, as of now.
    pub(super) fn stamp(&self, place: &mut SegmentHeader, first: u64) {
        (place.log, place.first) = (self.id, first);
        (place.epoch, place.window) = (self.epoch, self.window);
    }

    /// Makes `header` the last segment. It goes to the device with the first records in it.
    #[inline(never)]
    pub(super) fn start_segment<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        header: &mut SegmentHeader,
    ) {
        self.last.copy_from(header);
        if let Some(root) = volume.root_mut(self.id) {
            // What the scan of the pool would find, for the next one to open this log on the same volume.
            (root.newest, root.sealed, root.next, root.odd) = (header.at, false, Link::NONE, false);
        }
        self.full = false;
        self.bad = false;
        self.index = Index::new();
        self.written = 0;
        self.open = false;
        self.turn = self.turn.wrapping_add(1);
        self.set_epoch(volume, self.epoch);
        if let Some(place) = self.buffer.as_mut().first_chunk_mut() {
            header.encode(volume.format.volume_id, place);
        }
        self.filled = SEGMENT_HEADER;
    }

    pub(super) fn set_epoch<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &Volume<D, V, N>,
        epoch: u32,
    ) {
        self.epoch = epoch;
        self.seed = epoch_seed(segment_identity(volume.format.volume_id, self.last.at), epoch);
    }

    /// Segments from the first that is kept to the last.
    pub(crate) fn held<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u32 {
        if self.last.at.is_none() {
            return 0;
        }
        let first = volume.root(self.id).map_or(0, |root| root.head_ordinal);
        self.last.ordinal.wrapping_sub(first).wrapping_add(1)
    }

    /// Whether going back from the last segment comes to this one. Lives fall on the way.
    fn is_on_chain<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        at: Link,
    ) -> bool {
        let mut header = SegmentHeader::default();
        header.copy_from(&self.last);
        while header.at.life > at.life {
            let next = if header.jump.life >= at.life { header.jump } else { header.previous };
            if volume.read_header(next, &mut header) == Copy::None {
                return next == at;
            }
        }
        header.at == at
    }

    /// Frees what a cut or an earlier truncation left behind, at open: the scan of the pool takes it for the log's.
    pub(super) fn sweep<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &mut Volume<D, V, N>) {
        let head_life = volume.root(self.id).map_or(0, |root| root.head_life);
        let mut header = SegmentHeader::default();
        for segment in 0..volume.segments.count() {
            if volume.first_header(segment, &mut header)
                && header.log == self.id
                && header.at.life >= head_life
                && segment != self.last.at.segment
                && !self.is_on_chain(volume, header.at)
            {
                volume.free_segment(header.at);
            }
        }
    }
}
