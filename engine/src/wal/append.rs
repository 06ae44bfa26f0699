//! Entries into the buffer, the buffer onto the device, and the three parts of a commit.

use super::index::{MAX_EPOCHS, Slot};
use super::record::Head;
use super::{Error, Log};
use crate::codec::{Fields, align_down, align_up, word_at};
use crate::device::BlockDevice;
use crate::space::{Link, SEAL, SEGMENT_HEADER, Seal, SegmentHeader};
use crate::volume::{Buffer, Fault, Volume};

/// Proof of a [`Log::flush`], to be handed to [`Log::acknowledge`] after a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was flushed is durable only after a sync and `acknowledge`"]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ticket {
    end: u64,
}

impl Ticket {
    /// Entries before this offset will be durable.
    pub fn end(&self) -> u64 {
        self.end
    }
}

fn len_of(parts: &[&[u8]]) -> usize {
    parts.iter().fold(0, |len, part| len.saturating_add(part.len()))
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Appends one entry and returns its offset. It is durable after the next [`commit`](Self::commit).
    ///
    /// Costs no device operation until the write buffer is full; then one write for each buffer of data. Where the
    /// segment is full: the write of its seal, at most three header reads, for every 256th segment (and the first
    /// of a session) a publish, and on flash the erase of one unit; and on flash one more erase for each erase unit that the data reaches. The first append after an open also begins an
    /// epoch.
    pub fn append<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        payload: &[u8],
    ) -> Result<u64, Error<D::Error>> {
        let first = self.end;
        self.append_payloads(volume, &[payload], &[])
            .map(|()| first)
            .map_err(|fault| self.explain(volume, fault))
    }

    /// Appends one entry with a word of the caller's beside it: a term, a time. It takes 8 bytes more.
    pub fn append_with<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        user: u64,
        payload: &[u8],
    ) -> Result<u64, Error<D::Error>> {
        let user = user.to_le_bytes();
        let first = self.end;
        self.append_payloads(volume, &[payload], &user)
            .map(|()| first)
            .map_err(|fault| self.explain(volume, fault))
    }

    /// Appends entries of which after a cut either all are there or none, and returns the offset of the first. They may
    /// lie in several segments. Where there is no room for all of them, none is appended.
    pub fn append_batch<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        payloads: &[&[u8]],
    ) -> Result<u64, Error<D::Error>> {
        let first = self.end;
        self.append_payloads(volume, payloads, &[])
            .map(|()| first)
            .map_err(|fault| self.explain(volume, fault))
    }

    #[inline(never)]
    fn append_payloads<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        payloads: &[&[u8]],
        user: &[u8],
    ) -> Result<(), Fault> {
        self.append_all(volume, payloads.iter().map(core::slice::from_ref), user)
    }

    /// Appends entries, each of some parts, one behind the other. Each gets the bytes of the `user` word, if there are any.
    pub(super) fn append_all<'a, D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        entries: impl Iterator<Item: AsRef<[&'a [u8]]>> + Clone,
        user: &[u8],
    ) -> Result<(), Fault> {
        self.check(volume)?;
        self.make_room(volume, entries.clone(), user)?;
        let mut entries = entries;
        let mut next = entries.next();
        while let Some(parts) = next {
            next = entries.next();
            // A failure from here on leaves a part of the entries behind, of which none may count.
            if let Err(error) = self.append_one(volume, user, parts.as_ref(), next.is_some()) {
                volume.poison();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether anything may be written.
    pub(super) fn check<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if Self::limit(volume) < SEGMENT_HEADER as u32 + 256 {
            return Err(Fault::TooManySlots);
        }
        volume.medium.check()
    }

    fn append_one<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        user: &[u8],
        parts: &[&[u8]],
        more: bool,
    ) -> Result<(), Fault> {
        let len = len_of(parts);
        let head = Head::entry(!user.is_empty(), len as u32, self.window, more, self.end);
        if self.position().wrapping_add(head.size()) > Self::limit(volume) {
            self.next_segment(volume)?;
        }
        let nth = self.last.nth(self.end);
        let epochs = self.epoch.saturating_sub(self.last.epoch);
        self.index.note(nth, Slot { position: self.position(), epochs });
        self.put(volume, head, user, parts)?;
        self.end = self.end.wrapping_add(1);
        self.pace.add(len);
        Ok(())
    }

    /// Refuses what can't be appended as a whole, begins the epoch if that is still to be done.
    fn make_room<'a, D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        entries: impl Iterator<Item: AsRef<[&'a [u8]]>> + Clone,
        user: &[u8],
    ) -> Result<(), Fault> {
        let max = self.max_entry(volume).saturating_sub(user.len() as u32);
        if entries.clone().any(|parts| len_of(parts.as_ref()) as u64 > u64::from(max)) {
            return Err(Fault::TooLarge);
        }
        if !self.begun {
            self.begin(volume)?;
        }
        let limit = Self::limit(volume);
        let mut position = self.position();
        let mut segments = 0_u32;
        let mut bytes = 0_usize;
        for parts in entries {
            let size = Head::entry(!user.is_empty(), len_of(parts.as_ref()) as u32, 0, false, 0).size();
            bytes = bytes.wrapping_add(size as usize);
            position = position.wrapping_add(size);
            if position > limit {
                segments = segments.wrapping_add(1);
                position = (SEGMENT_HEADER as u32).wrapping_add(size);
            }
        }
        if segments > volume.segments.free().saturating_sub(self.kept(volume)) {
            return Err(Fault::Full);
        }
        if self.in_flight && (segments > 0 || self.filled.wrapping_add(bytes) > self.buffer.as_ref().len()) {
            return Err(Fault::SyncPending);
        }
        Ok(())
    }

    /// Segments that appending leaves free. Snapshots are what makes room again, so they may use the reserve, but for one
    /// segment if it has several: an abandoned snapshot is dropped by a truncation, which takes one.
    pub(super) fn kept<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u32 {
        let reserve = u32::from(volume.format.reserve);
        if self.id >= 0x8000 { u32::from(reserve > 1) } else { reserve }
    }

    /// One record into the buffer.
    fn put<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        head: Head,
        user: &[u8],
        parts: &[&[u8]],
    ) -> Result<(), Fault> {
        let position = self.position();
        let seed = self.seed.word(position);
        let mut body = seed.bytes(user);
        for part in parts {
            body = body.bytes(part);
        }
        body = body.bytes(head.padding());
        let bytes = head.encode(head.seal(body, self.end), seed);
        (self.newest, self.body) = (position, body);
        (self.open, self.dirty) = (true, true);
        self.push(volume, bytes.get(..head.user_at()).unwrap_or_default())?;
        self.push(volume, user)?;
        for part in parts {
            self.push(volume, part)?;
        }
        self.push(volume, head.padding())
    }

    /// Bytes into the buffer, which is written whenever it is full and more comes.
    fn push<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        mut bytes: &[u8],
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let unit = volume.medium.write_unit();
            let size = align_down(self.buffer.as_ref().len() as u64, unit) as usize;
            if self.filled >= size {
                self.write_out(volume)?;
            }
            let room = self.buffer.as_mut().get_mut(self.filled..size).unwrap_or_default();
            let (now, rest) = bytes.split_at_checked(room.len()).unwrap_or((bytes, &[]));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            self.filled = self.filled.wrapping_add(now.len());
            bytes = rest;
        }
        Ok(())
    }

    /// Writes the buffer, which holds whole write units.
    pub(super) fn write_out<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.open = false;
        let len = self.filled;
        self.erase_before(volume, self.written, len as u32)?;
        let address = volume.address(self.last.at.segment, self.written);
        volume.medium.write(address, self.buffer.as_ref().get(..len).unwrap_or_default())?;
        self.written = self.written.wrapping_add(len as u32);
        self.filled = 0;
        Ok(())
    }

    /// Erases the units that a write to the last segment is the first to reach.
    fn erase_before<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        from: u32,
        len: u32,
    ) -> Result<(), Fault> {
        let unit = volume.medium.erase_unit();
        if unit == 0 {
            return Ok(());
        }
        let mut erased = self.erased(volume).max(align_down(u64::from(from), unit) as u32);
        while erased < from.wrapping_add(len) {
            let address = volume.address(self.last.at.segment, erased);
            if let Err(error) = volume.medium.erase(address, unit) {
                // Of the record that was to go here, a part is written already.
                volume.medium.poison();
                return Err(error);
            }
            erased = erased.wrapping_add(unit);
        }
        Ok(())
    }

    /// Fills the buffer up to a whole write unit.
    #[inline(never)]
    fn pad(&mut self, unit: u32) {
        let filled = align_up(self.filled as u32, unit) as usize;
        if let Some(padding) = self.buffer.as_mut().get_mut(self.filled..filled) {
            padding.fill(0xFF);
        }
        self.filled = filled;
    }

    /// Seals the last segment and goes on in a new one.
    #[inline(never)]
    fn next_segment<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let mut place = SegmentHeader::default();
        place.copy_from(&self.last);
        self.place_after(volume, &mut place);
        volume.take_segment(self.kept(volume), false, &mut place.at)?;
        self.stamp(&mut place, self.end);
        let unit = volume.medium.write_unit();
        self.pad(unit);
        if self.filled != 0 {
            self.write_out(volume)?;
        }
        self.write_seal(volume, place.at)?;
        self.start_segment(volume, &mut place);
        Ok(())
    }

    /// The seal at the end of the last segment.
    #[inline(never)]
    pub(super) fn write_seal<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        next: Link,
    ) -> Result<(), Fault> {
        trace!("log {=u16}: segment {=u32} is sealed", self.id, self.last.at.segment);
        let volume_id = volume.format.volume_id;
        let area = Self::seal_area(volume) as usize;
        let at = volume.format.segment.saturating_sub(area as u32);
        self.erase_before(volume, at, area as u32)?;
        let words = self.index.words();
        let slots_at = area.saturating_sub(SEAL).saturating_sub(words.len().wrapping_mul(4));
        let bytes = self.buffer.as_mut().get_mut(..area).unwrap_or_default();
        bytes.fill(0xFF);
        let mut fields = Fields::write(bytes.get_mut(slots_at..).unwrap_or_default());
        let mut sum = Seal::sum(volume_id, self.last.at.segment);
        for word in words {
            let mut word = *word;
            fields.u32(&mut word);
            sum = sum.word(word);
        }
        let mut seal = Seal {
            end: self.end,
            next,
            epoch: self.epoch,
            slots: words.len() as u16,
            stride: self.index.stride(),
            window: self.window,
        };
        fields.bytes(&mut seal.encode(&mut self.last, volume_id, sum));
        let address = volume.address(self.last.at.segment, at);
        volume.medium.write(address, self.buffer.as_ref().get(..area).unwrap_or_default())?;
        Ok(())
    }

    /// The first part of a commit: marks the end of the window and writes what is in the buffer. Sync the device, then
    /// [`acknowledge`](Self::acknowledge) the ticket. Until then, appending goes on in the buffer and is answered
    /// [`Error::SyncPending`] when that is full. If the sync fails, [`Volume::poison`] the volume.
    ///
    /// One write; none if nothing was appended.
    pub fn flush<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Ticket, Error<D::Error>> {
        match self.try_flush(volume) {
            Ok(()) => Ok(Ticket { end: self.end }),
            Err(fault) => Err(self.explain(volume, fault)),
        }
    }

    #[inline(never)]
    fn try_flush<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        volume.medium.check()?;
        if self.in_flight {
            return Err(Fault::SyncPending);
        }
        if self.dirty {
            self.flush_window(volume)?;
            self.in_flight = true;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn flush_window<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let at = self.newest.wrapping_sub(self.written) as usize;
        let bytes = self.buffer.as_mut().get_mut(at..).unwrap_or_default();
        if self.open {
            // The last record is still at hand: it takes the mark itself.
            let head = Head::of_word(word_at(bytes, 4)).with_commit();
            let is_entry = u64::from(head.is_entry());
            let crc = head.seal(self.body, self.end.saturating_sub(is_entry));
            head.mark(crc, bytes);
        } else {
            let head = Head::control(0, self.window, self.end).with_commit();
            self.put(volume, head, &[], &[])?;
        }
        self.pad(volume.medium.write_unit());
        self.write_out(volume)?;
        self.window = self.window.wrapping_add(1) & 15;
        self.dirty = false;
        Ok(())
    }

    /// The last part of a commit: the device has synced since `ticket` was made.
    pub fn acknowledge(&mut self, ticket: Ticket) {
        if ticket.end > self.durable && ticket.end <= self.end {
            self.durable = ticket.end;
        }
        if self.in_flight && !self.dirty {
            self.pace.committed();
        }
        self.in_flight = false;
    }

    /// Makes all entries durable: [`flush`](Self::flush), sync, [`acknowledge`](Self::acknowledge). One write and one
    /// sync; nothing at all if nothing was appended since the last one. The first one after an unclean open syncs what
    /// was recovered, too.
    pub fn commit<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        self.try_commit(volume).map_err(|fault| self.explain(volume, fault))
    }

    pub(super) fn try_commit<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        volume.medium.check()?;
        if !self.dirty && !self.in_flight {
            return self.secure(volume);
        }
        self.try_flush(volume)?;
        volume.medium.sync()?;
        self.acknowledge(Ticket { end: self.end });
        Ok(())
    }

    /// Whether the segment has seen as many epochs as its index can count.
    pub(super) fn out_of_epochs(&self) -> bool {
        self.epoch.wrapping_add(1).saturating_sub(self.last.epoch) >= MAX_EPOCHS
    }

    /// An epoch record at the place where the log goes on; not yet synced.
    pub(super) fn put_epoch<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let head = Head::control(4, self.window, self.end);
        let epoch = self.epoch.to_le_bytes();
        self.put(volume, head, &[], &[&epoch])?;
        self.flush_window(volume)
    }
}
