//! Entries away: from the front, from the back, or all of them.

use super::branch::Chain;
use super::read::Way;
use super::{Error, Log};
use crate::device::BlockDevice;
use crate::space::SegmentHeader;
use crate::volume::{Buffer, Fault, Volume};

/// What a release has freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Released {
    /// Entries that are gone.
    pub entries: u64,
    /// Segments that are free again.
    pub segments: u32,
    /// Bytes of these.
    pub bytes: u64,
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Gives back the segments that hold only entries before `offset`; the others of these entries stay readable. One
    /// publish, after which the segments are free; nothing if there are none. Reads one header for each of them.
    pub fn release_before<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<Released, Error<D::Error>> {
        self.try_release(volume, offset).map_err(|fault| self.explain(volume, fault))
    }

    #[inline(never)]
    fn try_release<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<Released, Fault> {
        volume.medium.check()?;
        let mut head = SegmentHeader::default();
        self.plan_release(volume, offset, &mut head)?;
        if !self.is_behind_start(&head) {
            return Ok(Released::default());
        }
        self.note(volume)?;
        let entries = head.first.saturating_sub(self.start);
        let dropped = self.drop_before(volume, &head);
        volume.publish()?;
        let released = self.free_released(volume, dropped, entries);
        trace!("log {=u16}: {}", self.id, released);
        Ok(released)
    }

    /// Finds the segment that will be the first; where that frees none, it is not [behind](Self::is_behind_start) the start.
    #[inline(never)]
    pub(super) fn plan_release<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
        head: &mut SegmentHeader,
    ) -> Result<(), Fault> {
        if offset > self.end {
            return Err(Fault::OutOfRange);
        }
        if offset > self.durable {
            self.try_commit(volume)?;
        }
        if offset <= self.start || self.last.at.is_none() {
            return Ok(());
        }
        self.locate(volume, offset, head, &mut { Way::NONE })?;
        Ok(())
    }

    /// Whether the log would begin later with this segment.
    pub(super) fn is_behind_start(&self, head: &SegmentHeader) -> bool {
        head.first > self.start
    }

    /// Notes in the roots that the log begins with `head`; returns what can be freed after the publish.
    #[inline(never)]
    pub(super) fn drop_before<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        head: &SegmentHeader,
    ) -> Chain {
        let Some(root) = volume.root_mut(self.id) else { return Chain::NONE };
        let kept = root.head_life.saturating_sub(1);
        let segments = head.ordinal.saturating_sub(root.head_ordinal);
        root.begin_with(head);
        self.start = head.first;
        self.turn = self.turn.wrapping_add(1);
        Chain { at: head.previous, kept, segments }
    }

    /// Frees after the publish what was dropped before it, with so many entries.
    pub(super) fn free_released<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        dropped: Chain,
        entries: u64,
    ) -> Released {
        self.free_chain(volume, dropped.at, dropped.kept);
        let bytes = u64::from(dropped.segments).wrapping_mul(u64::from(volume.format.segment));
        Released { entries, segments: dropped.segments, bytes }
    }

    /// Drops the entries after `offset`, durably: nothing of them ever comes back. The log goes on at `offset + 1` in a
    /// new segment, so the rest of the old one is lost until it is released. One publish; a commit before it if entries
    /// are waiting. Reads one header for each segment that is freed.
    ///
    /// To drop all entries, use [`reset`](Self::reset).
    pub fn truncate_after<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<(), Error<D::Error>> {
        self.try_truncate(volume, offset).map_err(|fault| self.explain(volume, fault))
    }

    fn try_truncate<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<(), Fault> {
        self.check(volume)?;
        if offset < self.start || offset >= self.end {
            return Err(Fault::OutOfRange);
        }
        let end = offset.wrapping_add(1);
        if end == self.end {
            return Ok(());
        }
        self.try_commit(volume)?;
        let mut place = SegmentHeader::default();
        self.locate(volume, end, &mut place, &mut { Way::NONE })?;
        if place.first < end {
            self.place_after(volume, &mut place);
        }
        self.branch(volume, end, &mut place, 0)
    }

    /// Drops all entries, durably, and goes on at offset `next`: for a log whose beginning came as a snapshot from
    /// elsewhere. One publish. Reads one header for each segment that is freed.
    pub fn reset<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        next: u64,
    ) -> Result<(), Error<D::Error>> {
        let done = self
            .try_commit(volume)
            .and_then(|()| self.branch(volume, next, &mut SegmentHeader::default(), 0));
        done.map_err(|fault| self.explain(volume, fault))
    }
}
