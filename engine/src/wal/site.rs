//! Entries out by where they are: for an index that remembers places instead of entries.
//!
//! A record's checksum needs the segment's identity, the epoch, and the entry's offset. The first two are of the segment, so whoever
//! remembers places keeps them once for each segment; the offset follows from the checksum itself, and must be one that the segment
//! can have.

use super::Log;
use super::read::Cursor;
use super::record::{Head, MAX_HEAD, OFFSETS, RECORD, epoch_seed, segment_identity};
use crate::codec::{Checksum, word_at};
use crate::device::BlockDevice;
use crate::volume::{Buffer, Fault, Volume};

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

impl Site {
    /// Where byte `from` of the entry of this length is in the segment, if it has no user word.
    pub(crate) fn payload(&self, len: usize, from: usize) -> u32 {
        let head = Head::entry(false, len as u32, 0, false, 0);
        self.position.wrapping_add(head.head_len()).wrapping_add(from as u32)
    }

    /// Whether the record there is whole, by the checksum over its seed and body and the one that it says.
    fn is_whole(&self, head: Head, body: Checksum, crc: u32) -> bool {
        let offset = head.claimed_offset(body, crc);
        // It is one of the entries behind the first of its segment.
        let ahead = offset.wrapping_sub(self.home.first);
        ahead <= self.position / RECORD && offset & OFFSETS.wrapping_sub(1) == head.offset()
    }
}

/// An entry that was read by its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// Its bytes, and how many of them are in the buffer: all, or less.
    pub(crate) len: usize,
    pub(crate) kept: usize,
    /// Where it begins in the segment, and if not all of it was kept the value's checksum.
    pub(crate) at: u32,
    pub(crate) sum: u32,
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

    /// Reads the entry at a site to the start of `out`. Of one whose record is longer than that only as much as half of it has room for,
    /// and the rest is read to prove it; `value` says from what begins so where in the entry the value begins, of which there is the
    /// checksum. [`Fault::Damaged`]: it is not there any more. One device read, past the volume's buffer, of as many bytes as its record `likely`
    /// has; another one where it has more; of one longer than `out` a read for each half of that.
    #[inline(never)]
    pub(crate) fn read_site<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        site: &Site,
        likely: u32,
        out: &mut [u8],
        value: fn(&[u8]) -> usize,
    ) -> Result<Read, Fault> {
        let damaged = volume.medium.fault(Fault::Damaged, u32::MAX);
        let room = volume.format.segment.saturating_sub(site.position);
        // What is behind a short entry may be unreadable, after a cut; then not more of it is read than there is.
        let mut first = likely.max(MAX_HEAD as u32).min(room).min(out.len() as u32) as usize;
        if self.fetch(volume, site, 0, out.get_mut(..first).unwrap_or_default()).is_err() {
            first = first.min(RECORD as usize);
            self.fetch(volume, site, 0, out.get_mut(..first).unwrap_or_default())?;
            let more = Head::more_to_read(word_at(out, 4)).unwrap_or(0) as usize;
            let behind = first.wrapping_add(more);
            self.fetch(volume, site, first, out.get_mut(first..behind).unwrap_or_default())?;
            first = behind;
        }
        let word = word_at(out, 4);
        let head = Head::more_to_read(word).and_then(|_| Head::decode(word, word_at(out, 8)));
        let head = head.filter(|head| head.is_entry() && head.size() <= room).ok_or(damaged)?;
        let size = head.size() as usize;
        if size > out.len() {
            return self.read_long(volume, site, head, out, value);
        }
        if size > first {
            self.fetch(volume, site, first, out.get_mut(first..size).unwrap_or_default())?;
        }
        let Home { identity, epoch, epochs, .. } = site.home;
        let body = out.get(head.user_at()..size).unwrap_or_default();
        let is_whole = (epoch..=epoch.saturating_add(epochs)).any(|epoch| {
            let seed = epoch_seed(identity, epoch).word(site.position);
            site.is_whole(head, seed.bytes(body), word_at(out, 0))
        });
        if !is_whole {
            return Err(volume.medium.fault(Fault::Damaged, u32::MAX));
        }
        let (from, len) = (head.head_len() as usize, head.len() as usize);
        if let Some(entry) = out.get_mut(..from.wrapping_add(len))
            && from <= entry.len()
        {
            entry.copy_within(from.., 0);
        }
        Ok(Read { len, at: site.position.wrapping_add(from as u32), kept: len, sum: 0 })
    }

    /// The same of a record that is longer than `out`.
    #[inline(never)]
    fn read_long<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        site: &Site,
        head: Head,
        out: &mut [u8],
        value: fn(&[u8]) -> usize,
    ) -> Result<Read, Fault> {
        let damaged = volume.medium.fault(Fault::Damaged, u32::MAX);
        let (size, from, len) = (head.size() as usize, head.head_len() as usize, head.len() as usize);
        let (record, rest) = out.split_at_mut_checked(out.len() / 2).unwrap_or_default();
        self.fetch(volume, site, 0, record)?;
        let entry = record.get(from..).unwrap_or_default();
        let begins = from.saturating_add(value(entry));
        let check = word_at(record.get(head.check_at()..).unwrap_or_default(), 0);
        let Home { identity, epoch, epochs, .. } = site.home;
        for epoch in epoch..=epoch.saturating_add(epochs) {
            let seed = epoch_seed(identity, epoch).word(site.position);
            // Where the head says it, no other epoch is tried.
            if head.is_checked() && head.check(seed) != check {
                continue;
            }
            let mut body = seed.bytes(record.get(head.user_at()..).unwrap_or_default());
            let mut sum = Checksum::new().bytes(record.get(begins..).unwrap_or_default());
            let mut at = record.len();
            while at < size {
                let piece = rest.len().min(size.wrapping_sub(at));
                let piece = rest.get_mut(..piece).filter(|piece| !piece.is_empty()).ok_or(damaged)?;
                self.fetch(volume, site, at, piece)?;
                body = body.bytes(piece);
                // The padding is none of the value.
                let left = from.wrapping_add(len).saturating_sub(at).min(piece.len());
                sum = sum.bytes(piece.get(..left).unwrap_or_default());
                at = at.wrapping_add(piece.len());
            }
            if site.is_whole(head, body, word_at(record, 0)) {
                record.copy_within(from.min(record.len()).., 0);
                let kept = record.len().saturating_sub(from);
                let at = site.position.wrapping_add(from as u32);
                return Ok(Read { len, kept, at, sum: sum.finish() });
            }
        }
        Err(volume.medium.fault(Fault::Damaged, u32::MAX))
    }

    /// Bytes of a segment, as they are there or in the write buffer.
    pub(crate) fn read_raw<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        segment: u32,
        position: u32,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        if position as usize > (volume.format.segment as usize).saturating_sub(out.len()) {
            return Err(Fault::OutOfRange);
        }
        self.fetch(volume, &Site { segment, position, home: Home::default() }, 0, out)
    }

    /// Bytes of a segment from `skip` behind a site on, from the write buffer where they are still there.
    fn fetch<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        site: &Site,
        skip: usize,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let over = self.unwritten();
        let from = site.position.wrapping_add(skip as u32);
        let is_over = site.segment == over.segment;
        let written = if is_over { over.from.saturating_sub(from) as usize } else { out.len() };
        let (old, new) = out.split_at_mut_checked(written.min(out.len())).unwrap_or_default();
        let behind = from.wrapping_add(old.len() as u32).wrapping_sub(over.from) as usize;
        for (to, from) in new.iter_mut().zip(over.bytes.get(behind..).unwrap_or_default()) {
            *to = *from;
        }
        if old.is_empty() { Ok(()) } else { volume.read_segment(site.segment, from, old) }
    }
}
