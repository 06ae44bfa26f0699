//! Entries out: by offset, and one after the other.

use super::index::{Slot, nth_slot};
use super::walk::Walk;
use super::{Error, Log};
use crate::device::BlockDevice;
use crate::space::{Link, SEAL, Seal, SegmentHeader};
use crate::volume::{Buffer, Copy, Fault, Volume};

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
    /// Where that is, if `known`.
    pub(super) walk: Walk,
    known: bool,
    turn: u32,
    way: Way,
}

/// How a segment was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// The offset at which it ends.
    pub(super) bound: u64,
    /// The last segment from which a jump went back: from there the way to the next segment is shorter than from the end of the
    /// log. For each of 27 segments 2.8 headers are read so, not 5.8; for each of 1000, 4.6 and not 17.3.
    passed: SegmentHeader,
}

impl Way {
    pub(super) const NONE: Self = Self { bound: 0, passed: SegmentHeader::NONE };
}

impl Cursor {
    /// Offset of the entry that comes next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The entry that was just passed over.
    pub(super) fn entry(&self) -> Entry {
        let found = &self.walk.found;
        Entry { offset: found.offset, len: found.head.len() as usize, user: found.user() }
    }

    /// Goes to another place.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.offset = offset;
        self.known = false;
    }

    /// Passes over the next entry: to go on behind one that is damaged.
    pub fn skip(&mut self) {
        self.go_to(self.offset.wrapping_add(1));
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
        let mut cursor = self.cursor(offset);
        match self.try_next(volume, &mut cursor, out, true) {
            Ok(()) => Ok(cursor.entry()),
            Err(fault) => Err(self.explain_at(volume, &mut cursor, fault)),
        }
    }

    /// A cursor at `offset`. Whether there is such an entry, [`next`](Self::next) says.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub fn cursor(&self, offset: u64) -> Cursor {
        Cursor { offset, walk: Walk::NONE, known: false, turn: self.turn, way: Way::NONE }
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
        if cursor.offset == self.end {
            return Ok(None);
        }
        match self.try_next(volume, cursor, out, true) {
            Ok(()) => Ok(Some(cursor.entry())),
            Err(fault) => Err(self.explain_at(volume, cursor, fault)),
        }
    }

    /// The public error for what went wrong at a cursor.
    #[cold]
    pub(crate) fn explain_at<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        fault: Fault,
    ) -> Error<D::Error> {
        if fault != Fault::Damaged {
            return self.explain(volume, fault);
        }
        let segment = volume.medium.detail;
        let known = cursor.known && cursor.walk.segment == segment;
        let position = if known { cursor.walk.position } else { 0 };
        cursor.known = false;
        Error::Corrupt { address: volume.address(segment, position), offset: Some(cursor.offset) }
    }

    /// Passes over the entry at the cursor, which can then tell it. What does not fit into `out` is left out, or, if it
    /// `must_fit`, not passed over.
    #[inline(never)]
    pub(super) fn try_next<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        out: &mut [u8],
        must_fit: bool,
    ) -> Result<(), Fault> {
        let offset = cursor.offset;
        if offset < self.start || offset >= self.end {
            return Err(Fault::OutOfRange);
        }
        if !cursor.known || cursor.turn != self.turn || offset >= cursor.way.bound {
            self.seek(volume, cursor)?;
        }
        let walk = &mut cursor.walk;
        // A segment that is still written grows, and a cursor may know it from before.
        if walk.segment == self.last.at.segment {
            cursor.way.bound = self.end;
        }
        let mut prove = None;
        let mut done;
        loop {
            done = self.reach(volume, walk, offset, prove);
            if done.is_ok() {
                done = self.copy_out(volume, walk, out, must_fit);
            }
            if prove.is_some() || matches!(done, Ok(()) | Err(Fault::Short)) {
                break;
            }
            // Again, from the start of the segment, and past all damage.
            let mut header = SegmentHeader::default();
            self.locate(volume, offset, &mut header, &mut cursor.way)?;
            walk.begin(volume, &header);
            prove = Some(header.window);
        }
        if done == Err(Fault::Damaged) {
            // Say what the device says, if it says it again.
            volume.medium.forget();
            if walk.look(volume, &self.unwritten(), walk.position) == Err(Fault::Device) {
                done = Err(Fault::Device);
            }
            volume.medium.detail = walk.segment;
        }
        done?;
        walk.pass();
        cursor.offset = walk.offset;
        Ok(())
    }

    /// Finds the segment that holds `offset`, and the offset at which the next one begins. Follows the chain of headers back
    /// from the last segment, or from one that was passed on the way to another, over jumps; where a segment is lost, to the
    /// one before it.
    #[inline(never)]
    pub(super) fn locate<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        offset: u64,
        header: &mut SegmentHeader,
        way: &mut Way,
    ) -> Result<(), Fault> {
        let mut behind = SegmentHeader::default();
        way.bound = self.end;
        header.copy_from(if way.passed.first > offset { &way.passed } else { &self.last });
        while header.first > offset {
            let mut link = header.jump;
            if link.is_none() || header.jump_first <= offset {
                (link, way.bound) = (header.previous, header.first);
            } else if link != header.previous {
                way.passed.copy_from(header);
            }
            behind.copy_from(header);
            if volume.read_header(link, header) != Copy::None {
                continue;
            }
            // Not over the jump, then; and if it was no jump, past what is lost.
            header.copy_from(&behind);
            if link == header.jump && link != header.previous {
                header.jump = Link::NONE;
                continue;
            }
            let leapt = volume.leap(link, header, &mut way.bound);
            if link.is_none() || !leapt || header.first <= offset && offset >= way.bound {
                return Err(volume.medium.fault(Fault::Damaged, link.segment));
            }
        }
        Ok(())
    }

    /// Takes the cursor to a place at or before its offset in the segment that holds it, by the index.
    #[inline(never)]
    fn seek<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
    ) -> Result<(), Fault> {
        let mut header = SegmentHeader::default();
        cursor.known = false;
        if cursor.turn != self.turn {
            cursor.way = Way::NONE;
        }
        self.locate(volume, cursor.offset, &mut header, &mut cursor.way)?;
        (cursor.known, cursor.turn) = (true, self.turn);
        let walk = &mut cursor.walk;
        walk.begin(volume, &header);
        let mut nth = header.nth(cursor.offset);
        let slot = if nth == 0 {
            None
        } else if header.at == self.last.at && !self.full {
            self.index.find(&mut nth)
        } else {
            self.stored_slot(volume, &mut header, &mut nth)
        };
        if let Some(slot) = slot.map(Slot::decode)
            && slot.position >= walk.position
            && slot.position < volume.format.segment
        {
            walk.position = slot.position;
            walk.offset = header.first.wrapping_add(u64::from(nth));
            walk.set_epoch(header.epoch.wrapping_add(slot.epochs));
        }
        Ok(())
    }

    /// The slot for the `nth` entry of a sealed segment, in its encoding; `nth` becomes the entry that it is of. It is not proved here: what it
    /// leads to is. The header is read again, from the seal.
    #[inline(never)]
    fn stored_slot<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        header: &mut SegmentHeader,
        nth: &mut u32,
    ) -> Option<u32> {
        let (at, mut seal) = (header.at, Seal::NONE);
        if !volume.read_seal(at, false, header, &mut seal) {
            return None;
        }
        let slot = nth_slot(*nth, seal.slots, seal.stride)?;
        let back = u32::from(seal.slots).wrapping_sub(slot).wrapping_mul(4).wrapping_add(SEAL as u32);
        let position = volume.format.segment.checked_sub(back)?;
        let mut word = [0; 4];
        volume.medium.read(volume.address(at.segment, position), &mut word, 0).ok()?;
        *nth = slot << (seal.stride & 31);
        Some(u32::from_le_bytes(word))
    }

    /// Moves `walk` to the record of `offset`. [`Fault::Damaged`]: it can't be found.
    ///
    /// Without `prove` entries on the way are passed by what their heads say: most often right, and the record's own
    /// checksum tells. Then of all gaps only one is passed where nothing is missing: what a cut left, before the record
    /// that begins the next epoch. With it, `walk` is at the start of a segment whose header was written in that window,
    /// and what can be proved is found past all damage.
    #[inline(never)]
    fn reach<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &mut Walk,
        offset: u64,
        prove: Option<u8>,
    ) -> Result<(), Fault> {
        let over = self.unwritten();
        // The window that the next record must be of, unless it begins the next one.
        let mut window = prove.unwrap_or_default();
        loop {
            let mut whole = walk.look(volume, &over, walk.position);
            if whole.is_ok() && (prove.is_some() || !walk.found.head.is_entry()) {
                whole = walk.prove(volume, &over, &mut []);
            }
            if whole.is_ok() {
                let head = walk.found.head;
                if head.is_entry() && walk.offset == offset {
                    return Ok(());
                }
                window = head.window().wrapping_add(u8::from(head.commit())) & 15;
                walk.pass();
                continue;
            }
            let goes_on = walk.past_damage(volume, &over, window)
                && if prove.is_some() {
                    walk.found.offset <= offset
                } else {
                    walk.found.offset == walk.offset && walk.found.epoch > walk.epoch
                };
            if !goes_on {
                return Err(Fault::Damaged);
            }
            walk.go_on();
        }
    }

    /// Proves the record of an entry that `walk` has reached, and copies its payload out.
    fn copy_out<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        walk: &mut Walk,
        out: &mut [u8],
        must_fit: bool,
    ) -> Result<(), Fault> {
        let len = walk.found.head.len();
        let fits = out.len() >= len as usize;
        let copied = if fits || !must_fit { out.len().min(len as usize) } else { 0 };
        // A damaged length must not be taken for a long entry.
        walk.prove(volume, &self.unwritten(), out.get_mut(..copied).unwrap_or_default())?;
        if fits || !must_fit { Ok(()) } else { Err(volume.medium.fault(Fault::Short, len)) }
    }
}
