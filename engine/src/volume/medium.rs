//! The device as the engine uses it: reads of any place and length through one lent buffer, writes that never cross a
//! page, and the poison that a failed write or sync leaves behind.

use super::{Error, Fault};
use crate::codec::{Checksum, align_down, align_up};
use crate::device::{BlockDevice, Geometry};

/// Memory that the caller lends or gives: `&mut [u8]`, `[u8; N]`, `Vec<u8>`, `Box<[u8]>`.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> {}
impl<B: AsRef<[u8]> + AsMut<[u8]>> Buffer for B {}

/// No write call to a device with an erase unit crosses a multiple of this (or of its write unit, if that is more).
/// So a cut can have burnt at most the rest of one such page behind the last byte that it left visibly written.
pub(crate) const PAGE: u32 = 256;
/// As long as what stands before an entry.
const HEAD: u32 = 24;

/// See the module.
pub(crate) struct Medium<D: BlockDevice, B> {
    /// The first `io` bytes are for reads and publishes; what is behind belongs to the pool's bitmap.
    buffer: B,
    io: usize,
    /// The buffer holds `held` bytes of the device, from this address on.
    cached: u64,
    held: usize,
    /// The geometry; of the alignment the logarithm. Capacity 0: it can't be.
    capacity: u64,
    read_unit: u32,
    write_unit: u32,
    erase_unit: u32,
    alignment: u8,
    poisoned: bool,
    /// Erases that were begun.
    erases: u16,
    /// Nobody waits for an erase.
    pub(crate) quiet: bool,
    /// A read has failed since somebody asked.
    missed: bool,
    /// What the last fault was about: bytes that are needed, or a segment.
    pub(crate) detail: u32,
    /// The device's last error, until somebody asks for it.
    failed: Option<D::Error>,
    device: D,
}

impl<D: BlockDevice, B: Buffer> Medium<D, B> {
    /// To be [checked](Self::check_loan) before anything else.
    pub(crate) fn new(device: D, buffer: B) -> Self {
        let geometry = device.geometry();
        Self {
            buffer,
            io: 0,
            cached: 0,
            held: 0,
            // That of one that can't be is none.
            capacity: if geometry.check().is_ok() { geometry.capacity } else { 0 },
            read_unit: geometry.read_unit,
            write_unit: geometry.write_unit,
            erase_unit: geometry.erase_unit,
            alignment: geometry.alignment.trailing_zeros() as u8,
            poisoned: false,
            erases: 0,
            quiet: false,
            missed: false,
            detail: 0,
            failed: None,
            device,
        }
    }

    /// Whether device and buffer fit each other; from here on the buffer is used.
    pub(crate) fn check_loan(&mut self) -> Result<(), Fault> {
        if self.capacity == 0 {
            return Err(Fault::Impossible);
        }
        let needed = align_up(super::format::FORMAT_RECORD as u32, self.unit());
        if self.set_apart(0) < needed as usize {
            return Err(self.fault(Fault::Memory, needed));
        }
        let start = self.buffer.as_ref().as_ptr().addr();
        self.check_alignment(start)
    }

    /// Whether memory that begins at this address will do for the device.
    pub(crate) fn check_alignment(&mut self, start: usize) -> Result<(), Fault> {
        let alignment = 1_u32.wrapping_shl(self.alignment.into());
        if start & alignment.saturating_sub(1) as usize == 0 {
            Ok(())
        } else {
            Err(self.fault(Fault::Misaligned, alignment))
        }
    }

    /// The buffer is used in whole multiples of this.
    pub(crate) fn unit(&self) -> u32 {
        self.read_unit().max(self.write_unit())
    }

    /// Adopts the geometry that was recorded at format; reads keep to the unit of the device at hand.
    pub(crate) fn adopt(&mut self, recorded: &Geometry) {
        self.capacity = recorded.capacity;
        self.write_unit = recorded.write_unit;
        self.erase_unit = recorded.erase_unit;
    }

    #[inline(never)]
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            capacity: self.capacity,
            read_unit: self.read_unit(),
            write_unit: self.write_unit(),
            erase_unit: self.erase_unit(),
            alignment: 1_u32.wrapping_shl(self.alignment.into()),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn read_unit(&self) -> u32 {
        self.read_unit
    }

    pub(crate) fn write_unit(&self) -> u32 {
        self.write_unit
    }

    /// 0: the device may be overwritten.
    pub(crate) fn erase_unit(&self) -> u32 {
        self.erase_unit
    }

    pub(crate) fn must_erase(&self) -> bool {
        self.erase_unit != 0
    }

    pub(crate) fn device(&self) -> &D {
        &self.device
    }

    pub(crate) fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    pub(crate) fn into_device(self) -> D {
        self.device
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Takes `behind` bytes off the end of the buffer for the bitmap, and says how many are left to read into.
    pub(crate) fn set_apart(&mut self, behind: usize) -> usize {
        let left = self.buffer.as_ref().len().saturating_sub(behind);
        self.io = align_down(left as u64, self.unit()) as usize;
        self.held = 0;
        self.io
    }

    /// Keeps the device's error for the one who explains the fault.
    fn note(&mut self, done: Result<(), D::Error>) -> Result<(), Fault> {
        done.map_err(|error| {
            self.failed = Some(error);
            Fault::Device
        })
    }

    /// Whether reads have failed since this was last asked; what can't be read counts as damaged then. But if what was
    /// read at open can't be read now, it is the device that no longer answers.
    pub(crate) fn missed(&mut self) -> Result<u32, Fault> {
        let missed = core::mem::take(&mut self.missed);
        if missed {
            let home = u64::from(super::format::home_size(&self.geometry()));
            self.forget();
            if self.piece(0, 128, 0).is_none() {
                self.piece(home, 128, 0).ok_or(Fault::Device)?;
            }
        }
        Ok(missed.into())
    }

    /// A fault that is about `detail`.
    pub(crate) fn fault(&mut self, fault: Fault, detail: u32) -> Fault {
        self.detail = detail;
        fault
    }

    /// The public error for what went wrong inside.
    pub(crate) fn explain(&mut self, fault: Fault) -> Error<D::Error> {
        match (fault, self.failed.take()) {
            (Fault::Device, Some(error)) => Error::Device(error),
            (Fault::Full, _) => Error::Full,
            (Fault::Memory, _) => Error::MemoryTooSmall { needed: self.detail as usize },
            (Fault::Damaged, _) => Error::Corrupt { address: u64::from(self.detail) },
            (Fault::NotFormatted, _) => Error::NotFormatted,
            (Fault::Version, _) => {
                Error::Version { found: self.detail as u16, supported: super::FORMAT_VERSION }
            }
            (Fault::TooManyLogs, _) => Error::TooManyLogs { max: self.detail as usize },
            (Fault::LogExists, _) => Error::LogExists,
            (Fault::NoSuchLog, _) => Error::NoSuchLog,
            (Fault::Impossible, _) => Error::Options("the device reports a geometry that can't be"),
            (Fault::Misaligned, _) => Error::Misaligned { alignment: self.detail },
            (Fault::TooManySlots, _) => Error::Options("too many slots for segments of this size"),
            _ => Error::Poisoned,
        }
    }

    /// Drops what was read ahead.
    pub(crate) fn forget(&mut self) {
        self.held = 0;
    }

    /// [`behind`](Self::behind), to look at.
    pub(crate) fn behind_all(&self) -> &[u8] {
        self.buffer.as_ref().get(self.io..).unwrap_or_default()
    }

    pub(crate) fn behind(&mut self) -> &mut [u8] {
        self.buffer.as_mut().get_mut(self.io..).unwrap_or_default()
    }

    /// The buffer, to build something in that is then written by [`write_scratch`](Self::write_scratch).
    #[inline(never)]
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        self.held = 0;
        self.buffer.as_mut().get_mut(..self.io).unwrap_or_default()
    }

    /// The scratch, and what is behind it.
    pub(crate) fn split(&mut self) -> (&mut [u8], &mut [u8]) {
        let io = self.io;
        self.buffer.as_mut().split_at_mut_checked(io).unwrap_or_default()
    }

    /// Fills `out`, whole read units and aligned like all lent memory, past the buffer. Once more before it counts as a
    /// failure.
    pub(crate) fn read_past(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        let done = match self.device.read(address, out) {
            Ok(()) => Ok(()),
            Err(_) => self.device.read(address, out),
        };
        self.note(done)
    }

    /// Bytes from `address` on, at least one and at most `want`, out of the buffer. What is not in it yet is read with up
    /// to `ahead` bytes, as many as fit, that serve the next calls. `None`: the device failed, or ends before.
    #[inline(never)]
    pub(crate) fn piece(&mut self, address: u64, want: u32, ahead: u32) -> Option<&[u8]> {
        let skip = self.behind_start(address);
        // Less than a head is not taken in two: who looks for one goes on a few bytes behind, and would have them read again.
        let is_cut = want <= HEAD && skip.saturating_add(want as usize) > self.held;
        if skip >= self.held || is_cut && ahead > want && self.read_unit() < HEAD {
            self.fill(address, want, ahead).ok()?;
        }
        let from = self.place_of(address);
        let end = from.saturating_add(want as usize).min(self.held);
        self.buffer.as_ref().get(from..end)
    }

    /// Fills `out` from any address.
    #[inline(never)]
    pub(crate) fn read(&mut self, mut address: u64, mut out: &mut [u8], ahead: u32) -> Result<(), Fault> {
        while !out.is_empty() {
            let piece = self.piece(address, out.len() as u32, ahead).ok_or(Fault::Device)?;
            // Never more than was asked for. In this form the compiler sees that the lengths are equal: no panic.
            let Some((now, rest)) = out.split_at_mut_checked(piece.len()) else { return Ok(()) };
            now.copy_from_slice(piece);
            address = address.wrapping_add(now.len() as u64);
            out = rest;
        }
        Ok(())
    }

    /// Continues `sum` over `len` bytes from `address` on.
    pub(crate) fn checksum(&mut self, mut sum: Checksum, address: u64, len: u32) -> Result<Checksum, Fault> {
        let mut done = 0;
        while done < len {
            let left = len.saturating_sub(done);
            let piece = self.piece(address.wrapping_add(u64::from(done)), left, left).ok_or(Fault::Device)?;
            sum = sum.bytes(piece);
            done = done.wrapping_add(piece.len() as u32);
        }
        Ok(sum)
    }

    /// Sees to it that `len` bytes are in the buffer as one piece, if they fit and can be read; with up to `ahead` bytes, if they
    /// must be read for that.
    #[inline(never)]
    pub(crate) fn gather(&mut self, address: u64, len: u32, ahead: u32) -> Result<(), Fault> {
        if self.behind_start(address).saturating_add(len as usize) > self.held {
            self.fill(address, len, ahead)
        } else {
            Ok(())
        }
    }

    /// `len` bytes in the buffer as one piece, read into it if they are not there. They are fewer if they don't fit into it,
    /// or some of them can't be read. `None`: the device failed.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn view(&mut self, address: u64, len: u32) -> Option<&mut [u8]> {
        self.gather(address, len, 0).ok()?;
        let from = self.place_of(address);
        let end = from.saturating_add(len as usize).min(self.held);
        self.buffer.as_mut().get_mut(from..end)
    }

    /// How far behind the buffer's first byte a place is; more than the buffer holds, if it is before that.
    fn behind_start(&self, address: u64) -> usize {
        u32::try_from(address.wrapping_sub(self.cached)).unwrap_or(u32::MAX) as usize
    }

    /// Where in the scratch a place is that [`view`](Self::view) has shown.
    pub(crate) fn place_of(&self, address: u64) -> usize {
        address.wrapping_sub(self.cached) as usize
    }

    /// Reads the unit of `address` into the buffer, with as much behind it as is wanted and fits. What is there of that already is
    /// moved to the front, and not read again.
    #[inline(never)]
    fn fill(&mut self, address: u64, want: u32, ahead: u32) -> Result<(), Fault> {
        let unit = self.read_unit();
        let skip = address as u32 & unit.wrapping_sub(1);
        let start = address.wrapping_sub(skip.into());
        let room = self.capacity.saturating_sub(start).min(self.io as u64) as u32;
        let from = self.behind_start(address).wrapping_sub(skip as usize);
        let mut kept = self.held.saturating_sub(from);
        if kept != 0 {
            let is_aligned = kept.trailing_zeros() >= u32::from(self.alignment);
            // Not onto itself: a function for that is .7 KiB.
            match self.buffer.as_mut().split_at_mut_checked(from) {
                Some((front, back)) if is_aligned && kept <= from => {
                    if let (Some(to), Some(from)) = (front.get_mut(..kept), back.get(..kept)) {
                        to.copy_from_slice(from);
                    }
                }
                _ => kept = 0,
            }
        }
        self.cached = start;
        self.held = kept;
        // Again, and with no more than what serves, before it counts as a failure: one bad unit must not take its
        // neighbours along, and some failures pass.
        let mut done = Err(Fault::Damaged);
        for wanted in [want.max(ahead), want, want.min(8)] {
            let len = align_up(skip.saturating_add(wanted), unit).min(room);
            if len <= skip {
                break;
            }
            if len as usize <= kept {
                return Ok(());
            }
            let part = self.buffer.as_mut().get_mut(kept..len as usize).unwrap_or_default();
            let read = self.device.read(start.wrapping_add(kept as u64), part);
            done = self.note(read);
            if done.is_ok() {
                self.held = len as usize;
                return done;
            }
        }
        self.missed = true;
        done
    }

    /// Whether all of `[address, address + len)` reads as `0xFF` (or, if `zero` will do, as `0`). What can't be read is
    /// not blank.
    #[inline(never)]
    pub(crate) fn is_blank(&mut self, mut address: u64, mut len: u32, zero: bool) -> bool {
        let mut like = None;
        while len > 0 {
            let Some(piece) = self.piece(address, len, len) else { return false };
            let first = piece.first().copied().unwrap_or(0xFF);
            let like = *like.get_or_insert(if zero && first == 0 { 0 } else { 0xFF });
            if piece.iter().any(|byte| *byte != like) {
                return false;
            }
            address = address.wrapping_add(piece.len() as u64);
            len = len.wrapping_sub(piece.len() as u32);
        }
        true
    }

    /// Writes whole units. With an erase unit the call is split so that none crosses a page.
    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        self.write_from(address, Some(data), data.len())
    }

    /// Writes the first `len` bytes of [`scratch`](Self::scratch), and as many behind them as make a whole unit.
    pub(crate) fn write_scratch(&mut self, address: u64, len: u32) -> Result<(), Fault> {
        self.write_from(address, None, align_up(len, self.write_unit()) as usize)
    }

    #[inline(never)]
    fn write_from(&mut self, mut address: u64, lent: Option<&[u8]>, len: usize) -> Result<(), Fault> {
        self.check()?;
        self.held = 0;
        let mut data = lent.or(self.buffer.as_ref().get(..len)).unwrap_or_default();
        let page = PAGE.max(self.write_unit());
        let mut done = Ok(());
        while done.is_ok() && !data.is_empty() {
            let mut room = data.len();
            if self.must_erase() {
                room = room.min(page.saturating_sub(address as u32 & page.wrapping_sub(1)) as usize);
            }
            let (now, rest) = data.split_at(room);
            done = self.device.write(address, now);
            address = address.wrapping_add(room as u64);
            data = rest;
        }
        self.poisoned |= done.is_err();
        self.note(done)
    }

    /// Writes slices of whole units one behind the other, in one call. Not on what must be erased first.
    pub(crate) fn write_all(&mut self, address: u64, data: &[&[u8]]) -> Result<(), Fault> {
        self.check()?;
        self.held = 0;
        let done = self.device.write_vectored(address, data);
        self.poisoned |= done.is_err();
        self.note(done)
    }

    /// Erases. A failure does not poison: nothing of worth was there, and the caller decides.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn erase(&mut self, address: u64, len: u32) -> Result<(), Fault> {
        self.check()?;
        self.held = 0;
        self.erases = self.erases.wrapping_add(1);
        let done = self.device.erase(address..address.wrapping_add(u64::from(len)));
        self.note(done)
    }

    /// Erases that were begun, to be compared with what it was before: always the same in a quiet moment.
    pub(crate) fn erases(&self) -> u32 {
        if self.quiet { 0 } else { self.erases.into() }
    }

    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        self.check()?;
        let done = self.device.sync();
        self.poisoned |= done.is_err();
        self.note(done)
    }

    /// Forgives the write that just failed: for the first writes after an open, which find out what still works.
    pub(crate) fn forgive(&mut self) {
        self.poisoned = false;
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.poisoned { Err(Fault::Poisoned) } else { Ok(()) }
    }
}
