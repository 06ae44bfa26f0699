//! From record to record through one segment.

use super::record::{ALIGN, Head, MAX_HEAD, OFFSETS, RECORD, segment_seed};
use crate::codec::{Checksum, Take};
use crate::device::BlockDevice;
use crate::space::{SEAL, SEGMENT_HEADER, SegmentHeader};
use crate::volume::{Buffer, Fault, Volume};

/// The part of the last segment that is still in the log's write buffer: it lies over what the device holds.
#[derive(Clone, Copy)]
pub(crate) struct Unwritten<'a> {
    pub(crate) segment: u32,
    pub(crate) from: u32,
    pub(crate) bytes: &'a [u8],
}

impl Unwritten<'_> {
    pub(crate) const NONE: Self = Unwritten { segment: u32::MAX, from: u32::MAX, bytes: &[] };
}

/// So far behind damage a single record is believed. In a large segment there are many places further on, with records of
/// an earlier life in them, and a checksum of 32 bits is not enough to try them all: there, a second one must follow.
const NEAR: u32 = 8 * 1024;

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) position: u32,
    /// Its offset; for control records that of the next entry.
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
}

/// A place in a segment, with what it takes to prove the record there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) segment: u32,
    life: u32,
    pub(crate) position: u32,
    /// Offset of the next entry.
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    seed: Checksum,
    /// Where records end at the latest.
    limit: u32,
}

impl Walk {
    /// At the first record of a segment.
    pub(crate) fn new<D: BlockDevice, B: Buffer, const N: usize>(
        volume: &Volume<D, B, N>,
        header: &SegmentHeader,
    ) -> Self {
        let mut walk = Self {
            segment: header.at.segment,
            life: header.at.life,
            position: SEGMENT_HEADER as u32,
            offset: header.first,
            epoch: header.epoch,
            seed: Checksum::new(),
            limit: volume.format.segment.saturating_sub(SEAL as u32),
        };
        walk.seed = walk.seed_of(volume, header.epoch);
        walk
    }

    pub(crate) fn set_epoch<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &Volume<D, B, N>,
        epoch: u32,
    ) {
        self.epoch = epoch;
        self.seed = self.seed_of(volume, epoch);
    }

    fn seed_of<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, B, N>,
        epoch: u32,
    ) -> Checksum {
        segment_seed(volume.format.volume_id, self.segment, self.life, epoch)
    }

    /// Fills `out` from the segment; what lies behind its end reads as `0xFF`.
    pub(crate) fn read<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        position: u32,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let base = volume.segment_address(self.segment);
        let size = volume.format.segment;
        let end = if self.segment == over.segment { over.from.min(size) } else { size };
        let stored = (end.saturating_sub(position) as usize).min(out.len());
        let (out, rest) = out.split_at_mut_checked(stored).unwrap_or_default();
        if !out.is_empty() {
            let address = base.wrapping_add(u64::from(position));
            volume.medium.read(address, out, base.wrapping_add(u64::from(end)))?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        rest.fill(0xFF);
        if self.segment == over.segment {
            let skip = position.saturating_sub(over.from) as usize;
            let part = over.bytes.get(skip..).unwrap_or_default();
            let len = part.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..len), part.get(..len)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// The beginning of what could be a record at `position`, and its checksum field.
    pub(crate) fn head<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        position: u32,
    ) -> Result<Option<(Head, u32, [u8; MAX_HEAD])>, Fault> {
        let room = self.limit.saturating_sub(position);
        if room < RECORD {
            return Ok(None);
        }
        let mut bytes = [0xFF; MAX_HEAD];
        let first = bytes.get_mut(..RECORD as usize).unwrap_or_default();
        self.read(volume, over, position, first)?;
        let crc = Take(first).u32();
        let Some(len) = Head::more_to_read(&bytes).filter(|len| RECORD.wrapping_add(*len) <= room) else {
            return Ok(None);
        };
        let more = bytes.get_mut(RECORD as usize..RECORD.wrapping_add(len) as usize).unwrap_or_default();
        if !more.is_empty() {
            self.read(volume, over, position.wrapping_add(RECORD), more)?;
        }
        let head = Head::decode(&bytes).filter(|head| head.size() <= room);
        Ok(head.map(|head| (head, crc, bytes)))
    }

    /// The checksum over seed, user word, payload and padding of the record at `position`, read from the device. `None` when
    /// its head belies it already.
    fn body<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        position: u32,
        (head, bytes): (Head, &[u8; MAX_HEAD]),
        seed: Checksum,
    ) -> Result<Option<Checksum>, Fault> {
        let seed = seed.word(position);
        if !head.passes(seed, bytes) {
            return Ok(None);
        }
        let mut sum = seed.bytes(head.user_word(bytes));
        let from = position.wrapping_add(head.head_len());
        let to = position.wrapping_add(head.size());
        let end = if self.segment == over.segment { over.from } else { u32::MAX };
        let stored = end.min(to).saturating_sub(from);
        let base = volume.segment_address(self.segment);
        let ahead = base.wrapping_add(u64::from(end.min(volume.format.segment)));
        sum = volume.medium.checksum(sum, base.wrapping_add(u64::from(from)), stored, ahead)?;
        let left = to.wrapping_sub(from).saturating_sub(stored) as usize;
        if left > 0 {
            let skip = from.max(over.from).saturating_sub(over.from) as usize;
            let part = skip..skip.wrapping_add(left);
            sum = sum.bytes(over.bytes.get(part).unwrap_or_default());
        }
        Ok(Some(sum))
    }

    /// The epoch that a control record begins, if it is one that does.
    fn epoch_of(head: Head, bytes: &[u8; MAX_HEAD]) -> Option<u32> {
        head.is_epoch().then(|| Take(bytes.get(8..).unwrap_or_default()).u32())
    }

    /// The record at this place, proved; or `None` if there is none, or none that is whole.
    pub(crate) fn record<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
    ) -> Result<Option<Record>, Fault> {
        let position = self.position;
        let Some((head, crc, bytes)) = self.head(volume, over, position)? else { return Ok(None) };
        let (seed, epoch) = match Self::epoch_of(head, &bytes) {
            Some(epoch) if epoch <= self.epoch => return Ok(None),
            Some(epoch) => (self.seed_of(volume, epoch), epoch),
            None => (self.seed, self.epoch),
        };
        let Some(body) = self.body(volume, over, position, (head, &bytes), seed)? else { return Ok(None) };
        let record = Record { head, position, offset: self.offset, epoch };
        Ok((head.seal(body, self.offset) == crc).then_some(record))
    }

    /// Goes on behind `record`, which was found here.
    pub(crate) fn pass<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &Volume<D, B, N>,
        record: &Record,
    ) {
        if record.epoch != self.epoch {
            self.set_epoch(volume, record.epoch);
        }
        self.position = record.head.end(record.position, volume.format.geometry.write_unit);
        self.offset = record.offset.wrapping_add(u64::from(record.head.is_entry()));
    }

    /// Whether some whole record of this life, of this epoch or of one begun since, begins at `position`, however many
    /// entries are missing before it. The checksum tells which offset it is.
    #[inline(never)]
    pub(crate) fn stray<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        position: u32,
    ) -> Result<Option<Record>, Fault> {
        let Some((head, crc, bytes)) = self.head(volume, over, position)? else { return Ok(None) };
        // A record that begins an epoch tells it; when that one is damaged itself, those under it are of the next.
        let told = Self::epoch_of(head, &bytes);
        if told.is_some_and(|epoch| epoch <= self.epoch) {
            return Ok(None);
        }
        // What is missing had a place here, unless it was lost and new records were put there since: the record that
        // begins their epoch tells.
        let distance = position.saturating_sub(self.position);
        let room = distance / RECORD;
        let most = if told.is_some() { room.max(1 << 16) } else { room };
        let least = head.offset().wrapping_sub(self.offset as u32) & OFFSETS.wrapping_sub(1);
        if least > most {
            return Ok(None);
        }
        for epoch in [told.unwrap_or(self.epoch), told.unwrap_or(self.epoch.wrapping_add(1))] {
            let seed = self.seed_of(volume, epoch);
            let Some(body) = self.body(volume, over, position, (head, &bytes), seed)? else { continue };
            let missing = head.claimed_offset(body, crc).wrapping_sub(self.offset as u32);
            if missing <= most && missing & OFFSETS.wrapping_sub(1) == least {
                let offset = self.offset.wrapping_add(u64::from(missing));
                let record = Record { head, position, offset, epoch };
                let near = distance <= NEAR.max(volume.format.geometry.erase_unit.wrapping_mul(2));
                return Ok((near || self.has_follower(volume, over, &record)).then_some(record));
            }
        }
        Ok(None)
    }

    /// Whether a whole record follows on `record`.
    fn has_follower<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        record: &Record,
    ) -> bool {
        let mut behind = *self;
        behind.pass(volume, record);
        matches!(behind.record(volume, over), Ok(Some(_)))
    }

    /// The first stray record at `from` or behind, looking at `steps` places at most; `Err(place)`: go on there.
    /// What can't be read is passed over.
    pub(crate) fn search<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: Unwritten<'_>,
        from: u32,
        steps: u32,
    ) -> Result<Option<Record>, u32> {
        let mut position = from;
        for _ in 0..steps {
            if position.wrapping_add(RECORD) > self.limit {
                return Ok(None);
            }
            let step = match self.stray(volume, over, position) {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => ALIGN,
                Err(_) => {
                    let unit = volume.format.geometry.write_unit.max(ALIGN);
                    unit.saturating_sub(position & unit.wrapping_sub(1))
                }
            };
            position = position.wrapping_add(step);
        }
        Err(position)
    }

    /// What the checksum of a record at `position` begins with.
    pub(crate) fn seed_at(&self, position: u32) -> Checksum {
        self.seed.word(position)
    }

    /// Where this place is on the device.
    pub(crate) fn address<D: BlockDevice, B: Buffer, const N: usize>(&self, volume: &Volume<D, B, N>) -> u64 {
        volume.segment_address(self.segment).wrapping_add(u64::from(self.position))
    }
}
