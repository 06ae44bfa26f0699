//! Entries out: by offset, and one after the other.

use super::index::Slot;
use super::record::{ALIGN, RECORD};
use super::walk::{Record, Walk};
use super::{Error, Log};
use crate::codec::Take;
use crate::device::BlockDevice;
use crate::space::{SEAL, SegmentHeader};
use crate::volume::{Buffer, Fault, Volume};

/// An entry that was read into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry {
    /// Its number in the log.
    pub offset: u64,
    /// Bytes of the payload, at the start of the buffer.
    pub len: usize,
    /// The caller's word, if it was appended with one.
    pub user: Option<u64>,
}

/// A place in a log to read on from: cheap to make, keeps no borrow, survives appends, releases and truncations.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    offset: u64,
    /// Where that is, and the offset at which the segment ends.
    place: Option<(Walk, u64)>,
    turn: u32,
}

impl Cursor {
    /// Offset of the entry that comes next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over the next entry: to go on behind one that is damaged.
    pub fn skip(&mut self) {
        self.offset = self.offset.wrapping_add(1);
        self.place = None;
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Reads the entry at `offset` into the start of `out`. Entries that are not yet durable are read, too.
    ///
    /// Device reads: at most about 2 log2(segments) headers to find the segment, one slot, then the entries between
    /// the slot and this one, read ahead in the volume's buffer.
    pub fn read<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
        out: &mut [u8],
    ) -> Result<Entry, Error<D::Error>> {
        match self.next(volume, &mut self.cursor(offset), out)? {
            Some(entry) => Ok(entry),
            None => Err(Error::OutOfRange { start: self.start, end: self.end }),
        }
    }

    /// A cursor at `offset`. Whether there is such an entry, [`next`](Self::next) says.
    pub fn cursor(&self, offset: u64) -> Cursor {
        Cursor { offset, place: None, turn: self.turn }
    }

    /// Reads the entry at the cursor into the start of `out` and moves on; `None` at the end of the log, where later
    /// calls find what was appended meanwhile. After an error the cursor stays: [`skip`](Cursor::skip) passes over an
    /// entry that is damaged.
    ///
    /// Reads the entry, ahead in the volume's buffer; at the start of each segment also some headers.
    pub fn next<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        out: &mut [u8],
    ) -> Result<Option<Entry>, Error<D::Error>> {
        self.try_next(volume, cursor, out).map_err(|fault| match fault {
            Fault::Damaged => {
                let segment = volume.medium.detail;
                let place = cursor.place.filter(|(walk, _)| walk.segment == segment);
                let address = match place {
                    Some((walk, _)) => walk.address(volume),
                    None => volume.segment_address(segment),
                };
                cursor.place = None;
                Error::Corrupt { address, offset: Some(cursor.offset) }
            }
            fault => self.explain(volume, fault),
        })
    }

    #[inline(never)]
    fn try_next<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        out: &mut [u8],
    ) -> Result<Option<Entry>, Fault> {
        let offset = cursor.offset;
        if offset == self.end {
            return Ok(None);
        }
        if offset < self.start || offset > self.end {
            return Err(Fault::OutOfRange);
        }
        let (walk, bound) = match &mut cursor.place {
            Some(place) if cursor.turn == self.turn && offset < place.1 => place,
            place => place.insert(self.seek(volume, offset)?),
        };
        cursor.turn = self.turn;
        // A segment that is still written grows, and a cursor may know it from before.
        if walk.segment == self.last.at.segment {
            *bound = self.end;
        }
        let mut found = None;
        if let Ok(Some(record)) = self.fast(volume, walk, offset) {
            match self.copy_out(volume, walk, &record, out) {
                Ok(entry) => found = entry.map(|entry| (record, entry)),
                Err(Fault::Short) => return Err(Fault::Short),
                Err(_) => {}
            }
        }
        let (record, entry) = match found {
            Some(found) => found,
            None => {
                let record = self.slow(volume, walk, offset)?;
                let entry = self.copy_out(volume, walk, &record, out)?;
                (record, entry.ok_or(volume.medium.fault(Fault::Damaged, walk.segment))?)
            }
        };
        walk.pass(volume, &record);
        cursor.offset = walk.offset;
        Ok(Some(entry))
    }

    /// The segment that holds `offset`, and the offset at which the next one begins. Follows the chain of headers
    /// back from the last segment, over jumps.
    pub(super) fn locate<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<(SegmentHeader, u64), Fault> {
        let mut at = self.last;
        let mut bound = self.end;
        while at.first > offset {
            let link = if !at.jump.is_none() && at.jump_first > offset {
                at.jump
            } else {
                bound = at.first;
                at.previous
            };
            volume.medium.detail = link.segment;
            if link.is_none() {
                return Err(Fault::Damaged);
            }
            at = match volume.read_header(link) {
                Some(header) => header,
                None => self.stand_in(volume, link).ok_or(Fault::Damaged)?,
            };
        }
        Ok((at, bound))
    }

    /// The copy of a header in the superblock.
    fn stand_in<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
        link: crate::space::Link,
    ) -> Option<SegmentHeader> {
        let root = volume.root(self.id)?;
        (root.tail.at == link).then(|| root.tail.header(self.id))
    }

    /// A place at or before `offset` in its segment, by the index, and where the segment ends.
    #[inline(never)]
    fn seek<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
    ) -> Result<(Walk, u64), Fault> {
        let (header, bound) = self.locate(volume, offset)?;
        let mut walk = Walk::new(volume, &header);
        let nth = offset.saturating_sub(header.first);
        let slot = if header.at == self.last.at && !self.full {
            self.index.find(nth)
        } else {
            self.stored_slot(volume, &header, nth)
        };
        if let Some((of, slot)) = slot
            && slot.position >= walk.position
            && slot.position < volume.format.segment
        {
            walk.position = slot.position;
            walk.offset = header.first.wrapping_add(of);
            if slot.epochs != 0 {
                walk.set_epoch(volume, header.epoch.wrapping_add(slot.epochs));
            }
        }
        Ok((walk, bound))
    }

    /// The slot for the `nth` entry of a sealed segment. It is not proved here: what it leads to is.
    #[inline(never)]
    fn stored_slot<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        header: &SegmentHeader,
        nth: u64,
    ) -> Option<(u64, Slot)> {
        let seal = volume.read_seal_of(header.at)?;
        let last = u32::from(seal.slots).checked_sub(1)?;
        let at = (nth >> seal.stride).min(u64::from(last)) as u32;
        let back = u32::from(seal.slots).saturating_sub(at).wrapping_mul(4).wrapping_add(SEAL as u32);
        let position = volume.format.segment.checked_sub(back)?;
        let mut word = [0; 4];
        let address = volume.segment_address(header.at.segment).wrapping_add(u64::from(position));
        volume.medium.read(address, &mut word, 0).ok()?;
        Some((u64::from(at) << seal.stride, Slot::decode(Take(&word).u32())))
    }

    /// Moves `walk` to the record of `offset` without proving what lies before it: most often right, and the record's
    /// own checksum tells.
    fn fast<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &mut Walk,
        offset: u64,
    ) -> Result<Option<Record>, Fault> {
        let over = self.unwritten();
        loop {
            let record = match walk.head(volume, over, walk.position)? {
                Some((head, _, _)) if head.is_entry() => {
                    Record { head, position: walk.position, offset: walk.offset, epoch: walk.epoch }
                }
                Some(_) => match walk.record(volume, over)? {
                    Some(record) => record,
                    None => return self.over_gap(volume, walk, offset),
                },
                None => return self.over_gap(volume, walk, offset),
            };
            if record.head.is_entry() && record.offset == offset {
                return Ok(Some(record));
            }
            walk.pass(volume, &record);
        }
    }

    /// Behind what a cut left: the record that begins the next epoch counts on where the last one stopped.
    fn over_gap<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &mut Walk,
        offset: u64,
    ) -> Result<Option<Record>, Fault> {
        let mut from = walk.position;
        while let Ok(Some(record)) = walk.search(volume, self.unwritten(), from, u32::MAX) {
            if record.epoch > walk.epoch {
                if record.offset != walk.offset {
                    break;
                }
                walk.position = record.position;
                if !record.head.is_epoch() {
                    walk.set_epoch(volume, record.epoch);
                }
                return self.fast(volume, walk, offset);
            }
            from = record.position.wrapping_add(ALIGN);
        }
        Ok(None)
    }

    /// Finds the record of `offset` by proving every record of the segment from its start, past all damage.
    #[inline(never)]
    fn slow<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &mut Walk,
        offset: u64,
    ) -> Result<Record, Fault> {
        let (header, _) = self.locate(volume, offset)?;
        *walk = Walk::new(volume, &header);
        let over = self.unwritten();
        let mut own_window = header.window;
        loop {
            let record = match walk.record(volume, over) {
                Ok(Some(record)) => record,
                _ => match self.past_damage(volume, walk, own_window) {
                    Some(record) if record.offset <= offset => {
                        walk.position = record.position;
                        walk.offset = record.offset;
                        if !record.head.is_epoch() {
                            walk.set_epoch(volume, record.epoch);
                        }
                        record
                    }
                    _ => {
                        // Say what the device says, if it says it again.
                        let mut bytes = [0; RECORD as usize];
                        volume.medium.forget();
                        walk.read(volume, over, walk.position, &mut bytes)?;
                        return Err(volume.medium.fault(Fault::Damaged, walk.segment));
                    }
                },
            };
            if record.head.is_entry() && record.offset == offset {
                return Ok(record);
            }
            own_window = record.head.window().wrapping_add(u8::from(record.head.commit())) & 15;
            walk.pass(volume, &record);
        }
    }

    /// The record at which reading goes on behind a place that holds none: the first whole one that counts. Those of
    /// the window that a cut left unfinished don't, and the epoch that begins behind them tells.
    fn past_damage<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &Walk,
        own_window: u8,
    ) -> Option<Record> {
        let mut first: Option<Record> = None;
        let mut from = walk.position;
        while let Ok(Some(record)) = walk.search(volume, self.unwritten(), from, u32::MAX) {
            if record.epoch > walk.epoch {
                return Some(first.filter(|first| first.offset < record.offset).unwrap_or(record));
            }
            if record.head.window() != own_window {
                return Some(first.unwrap_or(record));
            }
            first = first.or(Some(record));
            from = record.position.wrapping_add(ALIGN);
        }
        first
    }

    /// Copies the payload out and proves the record; `None` if it is not whole.
    fn copy_out<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &Walk,
        record: &Record,
        out: &mut [u8],
    ) -> Result<Option<Entry>, Fault> {
        let over = self.unwritten();
        let len = record.head.len() as usize;
        let Some(out) = out.get_mut(..len) else {
            // A damaged length must not be taken for a long entry.
            let whole = walk.record(volume, over)?.is_some();
            return if whole { Err(volume.medium.fault(Fault::Short, len as u32)) } else { Ok(None) };
        };
        let Some((head, crc, bytes)) = walk.head(volume, over, record.position)? else { return Ok(None) };
        let seed = walk.seed_at(record.position);
        if !head.passes(seed, &bytes) {
            return Ok(None);
        }
        walk.read(volume, over, record.position.wrapping_add(head.head_len()), out)?;
        let mut padding = [0; ALIGN as usize];
        let padding = padding.get_mut(..head.padding().len()).unwrap_or_default();
        let behind = record.position.wrapping_add(head.head_len()).wrapping_add(head.len());
        walk.read(volume, over, behind, padding)?;
        let body = seed.bytes(head.user_word(&bytes)).bytes(out).bytes(padding);
        if head.seal(body, record.offset) != crc {
            return Ok(None);
        }
        let word = head.user_word(&bytes);
        let user = (!word.is_empty()).then(|| Take(word).u64());
        Ok(Some(Entry { offset: record.offset, len, user }))
    }
}
