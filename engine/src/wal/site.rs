//! Entries out by where they are: for an index that remembers places instead of entries.
//!
//! A record's checksum needs the segment's identity, the epoch, and the entry's offset. The first two are of the segment, so whoever
//! remembers places keeps them once for each segment; the offset follows from the checksum itself, and must be one that the segment
//! can have.

use super::Log;
use super::read::Cursor;
use super::record::{OFFSETS, RECORD, epoch_seed, segment_identity};
use super::walk::Walk;
use crate::codec::Checksum;
use crate::device::BlockDevice;
use crate::volume::{Buffer, Fault, Volume};

/// So much of an entry is read with its head.
const AHEAD: u32 = 64;

/// What the entries of a segment, from one of them on, have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Home {
    /// Checksum over the segment in its life.
    pub(crate) identity: Checksum,
    /// In force at that entry. Later ones may be of later epochs.
    pub(crate) epoch: u32,
    /// Its offset, the low half.
    pub(crate) first: u32,
    /// How many epochs later the last of these entries is.
    pub(crate) epochs: u32,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Site {
    pub(crate) segment: u32,
    pub(crate) position: u32,
    pub(crate) home: Home,
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Where the entry is that was appended last.
    pub(crate) fn newest_site<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> Site {
        let identity = segment_identity(volume.format.volume_id, self.last.at);
        let first = self.end.wrapping_sub(1) as u32;
        let home = Home { identity, epoch: self.epoch, first, epochs: 0 };
        Site { segment: self.last.at.segment, position: self.newest, home }
    }

    /// Where the entry is that the cursor has passed last.
    pub(crate) fn passed_site(&self, cursor: &Cursor) -> Site {
        let walk = &cursor.walk;
        let found = &walk.found;
        let home =
            Home { identity: walk.identity(), epoch: found.epoch, first: found.offset as u32, epochs: 0 };
        Site { segment: walk.segment, position: found.position, home }
    }

    /// Reads the entry at a site, as much of it as fits into `out`; returns its length. [`Fault::Damaged`]: it is not there any
    /// more. One device read, another where it does not fit into the first 64 bytes.
    #[inline(never)]
    pub(crate) fn read_site<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        site: &Site,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let over = self.unwritten();
        let Home { identity, epoch, first, epochs } = site.home;
        let mut walk = Walk::default();
        walk.begin_at(&volume.format, site.segment, identity, AHEAD);
        let most = site.position / RECORD;
        for epoch in epoch..=epoch.saturating_add(epochs) {
            walk.look(volume, &over, site.position)?;
            let head = walk.found.head;
            if !head.is_entry() {
                break;
            }
            let body = match walk.sum(volume, &over, epoch_seed(identity, epoch), out) {
                Ok(()) => walk.found.body,
                // The head does not fit the epoch.
                Err(Fault::Damaged) => continue,
                Err(fault) => return Err(fault),
            };
            let offset = head.claimed_offset(body, walk.found.crc);
            if offset.wrapping_sub(first) <= most && offset & OFFSETS.wrapping_sub(1) == head.offset() {
                return Ok(head.len() as usize);
            }
        }
        Err(volume.medium.fault(Fault::Damaged, u32::MAX))
    }
}
