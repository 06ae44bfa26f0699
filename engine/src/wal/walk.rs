//! From record to record through one segment.

use super::record::{ALIGN, Head, MAX_HEAD, OFFSETS, RECORD, epoch_seed, segment_identity};
use crate::codec::{Checksum, align_down, align_up, word_at};
use crate::device::BlockDevice;
use crate::space::{SEAL, SEGMENT_HEADER, SegmentHeader};
use crate::volume::{Buffer, Fault, PAGE, Volume};

/// The part of the last segment that is still in the log's write buffer: it lies over what the device holds.
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

/// What stands, or could stand, at a place in a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Record {
    pub(crate) head: Head,
    crc: u32,
    /// The word behind the head: its check, or the epoch that it begins.
    word: u32,
    user: [u8; 8],
    /// Checksum over all but head and offset.
    body: Checksum,
    pub(crate) position: u32,
    /// Its offset; for control records that of the next entry.
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
}

impl Record {
    const NONE: Self = Self {
        head: Head::NONE,
        crc: 0,
        word: 0,
        user: [0; 8],
        body: Checksum::of_state(0),
        position: 0,
        offset: 0,
        epoch: 0,
    };

    pub(crate) fn user(&self) -> Option<u64> {
        (self.head.user_len() != 0).then_some(u64::from_le_bytes(self.user))
    }
}

/// A place in a segment, with what it takes to prove the record there, and the record that was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Walk {
    pub(crate) segment: u32,
    pub(crate) position: u32,
    /// Offset of the next entry.
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    identity: Checksum,
    /// The identity and the epoch.
    seed: Checksum,
    /// Where records end at the latest.
    limit: u32,
    write_unit: u32,
    pub(crate) found: Record,
}

impl Walk {
    /// Before [`begin`](Self::begin). A constant of zeros, like all that recovery begins with: so it takes one call to make.
    pub(crate) const NONE: Self = Self {
        segment: 0,
        position: 0,
        offset: 0,
        epoch: 0,
        identity: Checksum::of_state(0),
        seed: Checksum::of_state(0),
        limit: 0,
        write_unit: 0,
        found: Record::NONE,
    };

    /// To the first record of a segment.
    #[inline(never)]
    pub(crate) fn begin<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &Volume<D, B, N>,
        header: &SegmentHeader,
    ) {
        self.identity = segment_identity(volume.format.volume_id, header.at);
        self.segment = header.at.segment;
        self.position = SEGMENT_HEADER as u32;
        self.offset = header.first;
        // No record stands where a seal begins at the latest, and what is not read is not paid for.
        self.write_unit = volume.medium.write_unit();
        let seal = align_up(SEAL as u32, self.write_unit);
        self.limit = volume.format.segment.saturating_sub(seal);
        self.set_epoch(header.epoch);
    }

    pub(super) fn identity(&self) -> Checksum {
        self.identity
    }

    #[inline(never)]
    pub(crate) fn set_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.seed = epoch_seed(self.identity, epoch);
    }

    /// Bytes from `position` on, at least one and as many of `want` as are at hand; none behind what is unwritten.
    fn piece<'a, D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &'a mut Volume<D, B, N>,
        over: &Unwritten<'a>,
        position: u32,
        want: u32,
        ahead: bool,
    ) -> Result<&'a [u8], Fault> {
        let mut end = volume.format.segment;
        if self.segment == over.segment {
            if position >= over.from {
                let skip = position.wrapping_sub(over.from) as usize;
                let piece = over.bytes.get(skip..).unwrap_or_default();
                return Ok(piece.get(..want as usize).unwrap_or(piece));
            }
            end = over.from;
        }
        let left = end.saturating_sub(position);
        let address = volume.address(self.segment, position);
        let behind = if ahead { left } else { 0 };
        volume.medium.piece(address, want.min(left), behind).ok_or(Fault::Device)
    }

    /// Takes `len` bytes from `position` on: all of them into `sum`, if there is one, and the first of them into `out`.
    /// What lies behind the unwritten is left out.
    #[inline(never)]
    pub(super) fn take<D: BlockDevice, B: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        mut position: u32,
        len: u32,
        mut out: &mut [u8],
        mut sum: Option<&mut Checksum>,
    ) -> Result<(), Fault> {
        let end = position.wrapping_add(len);
        while position < end {
            let left = end.wrapping_sub(position);
            // Of what is only summed, the next place to be looked at may be a part.
            let ahead = sum.is_none() || !out.is_empty();
            let piece = self.piece(volume, over, position, left, ahead)?;
            if piece.is_empty() {
                break;
            }
            if let Some(sum) = &mut sum {
                **sum = sum.bytes(piece);
            }
            let copied = piece.len().min(out.len());
            let (now, rest) = core::mem::take(&mut out).split_at_mut(copied);
            now.copy_from_slice(piece.get(..copied).unwrap_or_default());
            out = rest;
            position = position.wrapping_add(piece.len() as u32);
        }
        Ok(())
    }

    /// Looks at what could be a record at `position`. [`Fault::Damaged`]: nothing there could.
    #[inline(never)]
    pub(crate) fn look<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        position: u32,
    ) -> Result<(), Fault> {
        let room = self.limit.saturating_sub(position);
        if room < RECORD {
            return Err(Fault::Damaged);
        }
        let mut bytes = [0xFF; MAX_HEAD];
        let (first, more) = bytes.split_at_mut(RECORD as usize);
        self.take(volume, over, position, RECORD, first, None)?;
        self.found.crc = word_at(first, 0);
        let word = word_at(first, 4);
        let len = Head::more_to_read(word).ok_or(Fault::Damaged)?;
        if len > room.saturating_sub(RECORD) {
            return Err(Fault::Damaged);
        }
        self.take(volume, over, position.wrapping_add(RECORD), len, more, None)?;
        let head = Head::decode(word, word_at(more, 0)).ok_or(Fault::Damaged)?;
        if head.size() > room {
            return Err(Fault::Damaged);
        }
        let user = bytes.get(head.user_at()..).and_then(<[u8]>::first_chunk);
        let found = &mut self.found;
        (found.position, found.offset, found.epoch) = (position, self.offset, self.epoch);
        (found.head, found.word) = (head, word_at(&bytes, head.check_at()));
        found.user = user.copied().unwrap_or_default();
        Ok(())
    }

    /// Sums seed, user word, payload and padding of the record that was looked at; the payload is copied to `out`, as
    /// far as there is room. [`Fault::Damaged`]: its head belies it already.
    #[inline(never)]
    fn sum<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        seed: Checksum,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let Record { head, position, word, user, .. } = self.found;
        let mut sum = seed.word(position);
        if head.is_checked() && head.check(sum) != word {
            return Err(Fault::Damaged);
        }
        sum = sum.bytes(user.get(..head.user_len() as usize).unwrap_or_default());
        let from = position.wrapping_add(head.head_len());
        let len = head.size().wrapping_sub(head.head_len());
        self.take(volume, over, from, len, out, Some(&mut sum))?;
        self.found.body = sum;
        Ok(())
    }

    /// Proves the record that was looked at here. Its payload is copied to `out`, as far as there is room.
    /// [`Fault::Damaged`]: it is not whole, or not in its place.
    #[inline(never)]
    pub(crate) fn prove<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let mut seed = self.seed;
        if self.found.head.is_epoch() {
            self.found.epoch = self.found.word;
            if self.found.epoch <= self.epoch {
                return Err(Fault::Damaged);
            }
            seed = epoch_seed(self.identity, self.found.epoch);
        }
        self.sum(volume, over, seed, out)?;
        let whole = self.found.head.seal(self.found.body, self.offset) == self.found.crc;
        if whole { Ok(()) } else { Err(Fault::Damaged) }
    }

    /// Finds the record at this place, proved. [`Fault::Damaged`]: there is no whole one.
    pub(crate) fn record<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
    ) -> Result<(), Fault> {
        self.look(volume, over, self.position)?;
        self.prove(volume, over, &mut [])
    }

    /// Goes on behind the record that was found here.
    #[inline(never)]
    pub(crate) fn pass(&mut self) {
        let Record { head, position, offset, epoch, .. } = self.found;
        if epoch != self.epoch {
            self.set_epoch(epoch);
        }
        self.position = head.end(position, self.write_unit);
        self.offset = offset.wrapping_add(u64::from(head.is_entry()));
    }

    /// Goes on at the record that was found behind this place, whatever is missing before it.
    #[inline(never)]
    pub(crate) fn go_on(&mut self) {
        self.position = self.found.position;
        self.offset = self.found.offset;
        // A record that begins an epoch is proved by what it says itself.
        if !self.found.head.is_epoch() {
            self.set_epoch(self.found.epoch);
        }
    }

    /// Finds out whether some whole record of this life, of this epoch or of one begun since, begins at `position`,
    /// however many entries are missing before it: the checksum tells which offset it is. [`Fault::Damaged`]: none does.
    #[inline(never)]
    fn stray<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        position: u32,
    ) -> Result<(), Fault> {
        self.look(volume, over, position)?;
        // What is missing had a place here, unless it was lost and new records were put there since: the record that
        // begins their epoch tells.
        let distance = position.saturating_sub(self.position);
        let mut most = distance / RECORD;
        let (mut epoch, mut last) = (self.epoch, self.epoch.saturating_add(1));
        // A record that begins an epoch tells it; when that one is damaged itself, those under it are of the next.
        if self.found.head.is_epoch() {
            (epoch, last) = (self.found.word, self.found.word);
            most = most.max(1 << 16);
            if epoch <= self.epoch {
                return Err(Fault::Damaged);
            }
        }
        let low = OFFSETS.wrapping_sub(1);
        let least = self.found.head.offset().wrapping_sub(self.offset as u32) & low;
        if least > most {
            return Err(Fault::Damaged);
        }
        // Summed twice perhaps, and the next place to look at is inside of it: so it should not be in the buffer in part.
        let size = self.found.head.size();
        if size <= PAGE {
            let address = volume.address(self.segment, position);
            volume.medium.gather(address, size, volume.format.segment.saturating_sub(position))?;
        }
        loop {
            let summed = self.sum(volume, over, epoch_seed(self.identity, epoch), &mut []);
            let claimed = self.found.head.claimed_offset(self.found.body, self.found.crc);
            let missing = claimed.wrapping_sub(self.offset as u32);
            if summed.is_ok() && missing <= most && missing & low == least {
                self.found.offset = self.offset.wrapping_add(u64::from(missing));
                self.found.epoch = epoch;
                if distance <= NEAR.max(volume.medium.erase_unit().wrapping_mul(2)) {
                    return Ok(());
                }
                let mut behind = *self;
                behind.pass();
                return behind.record(volume, over).map_err(|_| Fault::Damaged);
            }
            if summed == Err(Fault::Device) {
                return summed;
            }
            if epoch == last {
                return Err(Fault::Damaged);
            }
            epoch = last;
        }
    }

    /// Finds the first stray record at `from` or behind, looking at `steps` places at most; moves `from` behind what it
    /// looked at. What can't be read is passed over. `seen` is moved behind what is not blank, as far as the erase unit
    /// goes in which the place before `from` is that nothing was found at: so that it need not be read once more.
    #[inline(never)]
    pub(crate) fn search<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        from: &mut u32,
        seen: &mut u32,
        steps: u32,
    ) -> bool {
        let near = align_up(self.position, volume.medium.erase_unit());
        for _ in 0..steps {
            if self.is_behind(*from) {
                break;
            }
            let stray = self.stray(volume, over, *from);
            let is_read = matches!(stray, Ok(()) | Err(Fault::Damaged));
            // Whatever it was taken for: its first word was read.
            if *from < near && !(is_read && self.found.crc == u32::MAX) {
                *seen = from.wrapping_add(ALIGN);
            }
            let step = if is_read { ALIGN } else { self.write_unit.max(ALIGN) };
            *from = align_down(u64::from(from.wrapping_add(step)), step) as u32;
            if stray.is_ok() {
                return true;
            }
        }
        false
    }

    /// Whether no record can begin at `position` or behind.
    pub(crate) fn is_behind(&self, position: u32) -> bool {
        position.saturating_add(RECORD) > self.limit
    }

    /// Finds the record at which reading goes on behind a place that holds none: the first whole one that counts. Those
    /// of the window that a cut left unfinished don't, and the epoch that begins behind them tells.
    #[inline(never)]
    pub(crate) fn past_damage<D: BlockDevice, B: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        over: &Unwritten<'_>,
        own_window: u8,
    ) -> bool {
        // Position and offset of the first one of the epoch in force.
        let mut first = None;
        let mut from = self.position;
        while self.search(volume, over, &mut from, &mut 0, u32::MAX) {
            let Record { head, position, offset, epoch, .. } = self.found;
            if epoch > self.epoch {
                if first.is_none_or(|(_, first)| first >= offset) {
                    return true;
                }
                break;
            }
            first = first.or(Some((position, offset)));
            if head.window() != own_window {
                break;
            }
        }
        let Some((position, offset)) = first else { return false };
        (self.found.position, self.found.offset, self.found.epoch) = (position, offset, self.epoch);
        true
    }

    /// Where this place is on the device.
    pub(crate) fn address<D: BlockDevice, B: Buffer, const N: usize>(&self, volume: &Volume<D, B, N>) -> u64 {
        volume.address(self.segment, self.position)
    }
}
