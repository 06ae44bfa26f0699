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

/// See the module.
pub(crate) struct Medium<D: BlockDevice, B> {
    device: D,
    /// The first `io` bytes are for reads and publishes; what is behind belongs to the pool's bitmap.
    buffer: B,
    io: usize,
    geometry: Geometry,
    cached: u64,
    cached_len: usize,
    poisoned: bool,
    /// A read has failed since somebody asked.
    missed: bool,
    /// The device's last error, until somebody asks for it.
    failed: Option<D::Error>,
    /// What the last fault was about: bytes that are needed, or a segment.
    pub(crate) detail: u32,
}

impl<D: BlockDevice, B: Buffer> Medium<D, B> {
    pub(crate) fn new(device: D, mut buffer: B) -> Result<Self, Error<D::Error>> {
        let geometry = device.geometry();
        geometry.check().map_err(|_| Error::Options("the device reports a geometry that can't be"))?;
        let len = buffer.as_mut().len();
        let unit = geometry.read_unit.max(geometry.write_unit);
        let needed = align_up(64, unit) as usize;
        if len < needed {
            return Err(Error::MemoryTooSmall { needed });
        }
        if !aligned(buffer.as_ref(), geometry.alignment) {
            return Err(Error::Misaligned { alignment: geometry.alignment });
        }
        let io = align_down(len as u64, unit) as usize;
        Ok(Self {
            device,
            buffer,
            io,
            geometry,
            cached: 0,
            cached_len: 0,
            poisoned: false,
            missed: false,
            failed: None,
            detail: 0,
        })
    }

    /// Adopts the geometry that was recorded at format; reads keep to the unit of the device at hand.
    pub(crate) fn adopt(&mut self, recorded: Geometry) {
        let device = self.geometry;
        self.geometry = Geometry { read_unit: device.read_unit, alignment: device.alignment, ..recorded };
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
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
        let unit = self.geometry.read_unit.max(self.geometry.write_unit);
        let left = self.buffer.as_ref().len().saturating_sub(behind);
        self.io = align_down(left as u64, unit) as usize;
        self.cached_len = 0;
        self.io
    }

    /// Keeps the device's error for the one who explains the fault.
    fn note(&mut self, done: Result<(), D::Error>) -> Result<(), Fault> {
        done.map_err(|error| {
            self.failed = Some(error);
            Fault::Device
        })
    }

    /// Whether a read has failed since this was last asked; what can't be read counts as damaged then. But if what was
    /// read at open can't be read now, it is the device that no longer answers.
    pub(crate) fn has_missed(&mut self) -> Result<bool, Fault> {
        let missed = core::mem::take(&mut self.missed);
        if missed {
            let mut bytes = [0; 128];
            let home = u64::from(super::format::home_size(&self.geometry));
            self.forget();
            self.read(0, &mut bytes, 0).or_else(|_| self.read(home, &mut bytes, 0))?;
        }
        Ok(missed)
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
            (Fault::Short, _) => Error::MemoryTooSmall { needed: self.detail as usize },
            (Fault::Damaged, _) => Error::Corrupt { address: u64::from(self.detail) },
            (Fault::NotFormatted, _) => Error::NotFormatted,
            (Fault::Version, _) => {
                Error::Version { found: self.detail as u16, supported: super::FORMAT_VERSION }
            }
            (Fault::TooManyLogs, _) => Error::TooManyLogs { max: self.detail as usize },
            (Fault::LogExists, _) => Error::LogExists,
            (Fault::TooManySlots, _) => {
                Error::Options("the index has too many slots for segments of this size")
            }
            _ => Error::Poisoned,
        }
    }

    /// Drops what was read ahead.
    pub(crate) fn forget(&mut self) {
        self.cached_len = 0;
    }

    pub(crate) fn behind(&mut self) -> &mut [u8] {
        self.buffer.as_mut().get_mut(self.io..).unwrap_or_default()
    }

    /// The buffer, to build something in that is then written by [`write_scratch`](Self::write_scratch).
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        self.cached_len = 0;
        self.buffer.as_mut().get_mut(..self.io).unwrap_or_default()
    }

    /// Fills `out` from any address. What is read ahead of need, up to the address `ahead_to`, serves the next calls.
    pub(crate) fn read(&mut self, address: u64, out: &mut [u8], ahead_to: u64) -> Result<(), Fault> {
        let unit = self.geometry.read_unit;
        let (mut address, mut out) = (address, out);
        // What straddles the end of the buffer is read anew as a whole: the next call most often begins in it, too.
        let held = self.cached_at(address).map_or(0, <[u8]>::len);
        if ahead_to > address && held < out.len() && (held == 0 || align_down(address, unit) != self.cached) {
            self.fill(address, out.len(), ahead_to)?;
        }
        while !out.is_empty() {
            if let Some(cached) = self.cached_at(address) {
                let len = cached.len().min(out.len());
                let (now, rest) = out.split_at_mut_checked(len).unwrap_or_default();
                now.copy_from_slice(cached.get(..len).unwrap_or_default());
                address = address.wrapping_add(len as u64);
                out = rest;
                continue;
            }
            let direct = align_down(out.len() as u64, unit) as usize;
            if ahead_to <= address
                && direct != 0
                && self.geometry.alignment == 1
                && align_down(address, unit) == address
            {
                let (now, rest) = out.split_at_mut_checked(direct).unwrap_or_default();
                self.read_device(address, now)?;
                address = address.wrapping_add(direct as u64);
                out = rest;
                continue;
            }
            self.fill(address, out.len(), ahead_to)?;
        }
        Ok(())
    }

    /// Continues `sum` over `len` bytes from `address` on, read through the buffer.
    pub(crate) fn checksum(
        &mut self,
        mut sum: Checksum,
        address: u64,
        len: u32,
        ahead_to: u64,
    ) -> Result<Checksum, Fault> {
        let end = address.wrapping_add(u64::from(len));
        let mut address = address;
        while address < end {
            let left = end.saturating_sub(address) as usize;
            let Some(cached) = self.cached_at(address) else {
                self.fill(address, left, ahead_to)?;
                continue;
            };
            let part = cached.get(..left.min(cached.len())).unwrap_or_default();
            sum = sum.bytes(part);
            address = address.wrapping_add(part.len() as u64);
        }
        Ok(sum)
    }

    /// The bytes at `address`, contiguous in the buffer. `None` if they don't fit into it.
    pub(crate) fn view(&mut self, address: u64, len: usize) -> Result<Option<&[u8]>, Fault> {
        if self.cached_at(address).is_none_or(|cached| cached.len() < len) {
            self.fill(address, len, 0)?;
        }
        Ok(self.cached_at(address).and_then(|cached| cached.get(..len)))
    }

    fn cached_at(&self, address: u64) -> Option<&[u8]> {
        let from = usize::try_from(address.checked_sub(self.cached)?).ok()?;
        let cached = self.buffer.as_ref().get(from..self.cached_len)?;
        (!cached.is_empty()).then_some(cached)
    }

    /// Reads the unit of `address` into the buffer, with as much behind it as is wanted and fits.
    fn fill(&mut self, address: u64, len: usize, ahead_to: u64) -> Result<(), Fault> {
        let unit = self.geometry.read_unit;
        let start = align_down(address, unit);
        let up_to = |end: u64| {
            let end = end.wrapping_add(u64::from(unit.saturating_sub(1))).min(self.geometry.capacity);
            (self.io as u64).min(align_down(end, unit).saturating_sub(start)) as usize
        };
        let wanted = address.wrapping_add(len as u64);
        let least = address.wrapping_add(len.min(8) as u64);
        // Again, and with no more than what serves, before it counts as a failure: one bad unit must not take its
        // neighbours along, and some failures pass.
        let tries = [up_to(wanted.max(ahead_to)), up_to(wanted), up_to(least)];
        self.cached = start;
        self.cached_len = 0;
        let mut done = Err(Fault::Damaged);
        for len in tries {
            if len == 0 {
                break;
            }
            done = self.fill_once(start, len);
            if done.is_ok() {
                self.cached_len = len;
                return done;
            }
        }
        self.missed = true;
        done
    }

    fn fill_once(&mut self, start: u64, len: usize) -> Result<(), Fault> {
        let part = self.buffer.as_mut().get_mut(..len).unwrap_or_default();
        let done = self.device.read(start, part);
        self.note(done)
    }

    fn read_device(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        let done = self.device.read(address, out).or_else(|_| self.device.read(address, out));
        self.missed |= done.is_err();
        self.note(done)
    }

    /// Writes whole units. With an erase unit the call is split so that none crosses a page.
    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        self.check()?;
        self.cached_len = 0;
        let done = write_pages(&mut self.device, &self.geometry, address, data);
        self.poisoned |= done.is_err();
        self.note(done)
    }

    /// Writes the first `len` bytes of [`scratch`](Self::scratch).
    pub(crate) fn write_scratch(&mut self, address: u64, len: usize) -> Result<(), Fault> {
        self.check()?;
        self.cached_len = 0;
        let data = self.buffer.as_ref().get(..len).unwrap_or_default();
        let done = write_pages(&mut self.device, &self.geometry, address, data);
        self.poisoned |= done.is_err();
        self.note(done)
    }

    /// Erases. A failure does not poison: nothing of worth was there, and the caller decides.
    pub(crate) fn erase(&mut self, address: u64, len: u32) -> Result<(), Fault> {
        self.check()?;
        self.cached_len = 0;
        let done = self.device.erase(address..address.wrapping_add(u64::from(len)));
        self.note(done)
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

fn write_pages<D: BlockDevice>(
    device: &mut D,
    geometry: &Geometry,
    mut address: u64,
    mut data: &[u8],
) -> Result<(), D::Error> {
    let page = u64::from(PAGE.max(geometry.write_unit));
    while !data.is_empty() {
        let room = if geometry.must_erase() {
            page.saturating_sub(address & page.saturating_sub(1)) as usize
        } else {
            data.len()
        };
        let (now, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
        device.write(address, now)?;
        address = address.wrapping_add(now.len() as u64);
        data = rest;
    }
    Ok(())
}

/// Whether `buffer` begins at a multiple of `alignment`.
pub(crate) fn aligned(buffer: &[u8], alignment: u32) -> bool {
    buffer.as_ptr().addr() & alignment.saturating_sub(1) as usize == 0
}
