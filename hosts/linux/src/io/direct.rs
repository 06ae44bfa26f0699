//! I/O past the page cache: units of the device, aligned memory.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};

use super::aligned::AlignedBuffer;
use super::ring::Ring;
use super::whole;
use crate::DeviceError;

/// Bytes that are copied at once where the caller's memory does not suit.
const BOUNCE: usize = 1 << 20;

/// How to talk to a file that was opened with `O_DIRECT`.
#[derive(Debug)]
pub(super) struct Direct {
    /// Addresses and lengths of the system calls are multiples of this.
    unit: usize,
    /// Memory that begins at a multiple of this is used as it is.
    alignment: usize,
    bounce: AlignedBuffer,
    /// For disks only: of a file, the file system does one thing at a time, and a ring would be a detour.
    ring: Option<Ring>,
}

impl Direct {
    /// Switches the file over. `unit`: what its user writes.
    pub(super) fn new(file: &File, unit: u32) -> Result<Self, DeviceError> {
        let unit = unit.max(1) as usize;
        // Of what was written before, nothing may be left for the kernel to write later, over newer data.
        whole::retry(|| file.sync_data()).map_err(DeviceError::io("sync"))?;
        let set = fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::DIRECT));
        set.map_err(|error| DeviceError::NoDirect { error: Some(error.into()), least: None })?;
        let Some((alignment, least)) = limits(file) else {
            return Err(DeviceError::NoDirect { error: None, least: None });
        };
        if let Some(least) = least
            && !unit.is_multiple_of(least)
        {
            return Err(DeviceError::NoDirect { error: None, least: Some(least as u32) });
        }
        // With the least unit that is possible, less is read on the way to a few bytes.
        let unit = least.unwrap_or(unit);
        let mut direct = Self { unit, alignment, bounce: AlignedBuffer::new(BOUNCE.max(unit)), ring: None };
        // Not every kernel tells its limits, but every one keeps to them.
        direct
            .read(file, 0, &mut [0])
            .map_err(|error| DeviceError::NoDirect { error: Some(error), least: None })?;
        Ok(direct)
    }

    /// Several requests at once from now on, if the kernel lets us.
    pub(super) fn add_ring(&mut self) {
        self.ring = Some(Ring::new());
    }

    pub(super) fn has_ring(&self) -> bool {
        self.ring.as_ref().is_some_and(Ring::is_there)
    }

    fn suits(&self, memory: &[u8]) -> bool {
        memory.as_ptr().addr().is_multiple_of(self.alignment) && memory.len().is_multiple_of(self.unit)
    }

    pub(super) fn write(&mut self, file: &File, address: u64, data: &[u8]) -> io::Result<()> {
        if self.suits(data) {
            return whole::write(file, address, data, self.unit);
        }
        self.gather(file, address, &[data])
    }

    /// Any bytes: where they begin or end inside a unit, the whole unit is read.
    pub(super) fn read(&mut self, file: &File, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let unit = self.unit;
        if address.is_multiple_of(unit as u64) && self.suits(buffer) {
            let needed = buffer.len();
            return whole::read(file, address, buffer, needed, unit);
        }
        let mut address = address;
        let mut left = buffer;
        while !left.is_empty() {
            let before = (address % unit as u64) as usize;
            let room = self.bounce.as_ref().len() / unit * unit - before;
            let (part, rest) = left.split_at_mut(left.len().min(room));
            let needed = before + part.len();
            let bounce = &mut self.bounce.as_mut()[..needed.next_multiple_of(unit)];
            whole::read(file, address - before as u64, bounce, needed, unit)?;
            part.copy_from_slice(&bounce[before..needed]);
            address += part.len() as u64;
            left = rest;
        }
        Ok(())
    }

    pub(super) fn write_vectored(&mut self, file: &File, address: u64, data: &[&[u8]]) -> io::Result<()> {
        if !data.iter().all(|part| self.suits(part)) {
            return self.gather(file, address, data);
        }
        let mut slices: Vec<_> = data.iter().map(|part| IoSlice::new(part)).collect();
        match &mut self.ring {
            Some(ring) => ring.write(file, address, &mut slices, self.unit),
            None => whole::write_slices(file, address, &mut slices, self.unit),
        }
    }

    pub(super) fn read_vectored(
        &mut self,
        file: &File,
        mut address: u64,
        buffers: &mut [&mut [u8]],
    ) -> io::Result<()> {
        if !address.is_multiple_of(self.unit as u64) || !buffers.iter().all(|buffer| self.suits(buffer)) {
            for buffer in buffers {
                self.read(file, address, buffer)?;
                address += buffer.len() as u64;
            }
            return Ok(());
        }
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        match &mut self.ring {
            Some(ring) => ring.read(file, address, &mut slices, self.unit),
            None => whole::read_slices(file, address, &mut slices, self.unit),
        }
    }

    /// Writes what lies in several places, or in the wrong ones, as one. Together a multiple of the unit.
    fn gather(&mut self, file: &File, mut address: u64, data: &[&[u8]]) -> io::Result<()> {
        let room = self.bounce.as_ref().len() / self.unit * self.unit;
        let mut filled = 0;
        for part in data {
            let mut part = *part;
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(room - filled));
                self.bounce.as_mut()[filled..filled + now.len()].copy_from_slice(now);
                filled += now.len();
                part = later;
                if filled == room {
                    whole::write(file, address, &self.bounce.as_ref()[..filled], self.unit)?;
                    address += filled as u64;
                    filled = 0;
                }
            }
        }
        whole::write(file, address, &self.bounce.as_ref()[..filled], self.unit)
    }
}

/// What memory must be aligned to, and the least unit of I/O if the kernel (6.1 or newer) tells. `None`: it tells that there
/// is no direct I/O.
fn limits(file: &File) -> Option<(usize, Option<usize>)> {
    match statx(file, Path::new(""), AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(stat) if stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            let (memory, offset) = (stat.stx_dio_mem_align as usize, stat.stx_dio_offset_align as usize);
            (memory != 0 && offset != 0).then_some((memory, Some(offset)))
        }
        _ => Some((AlignedBuffer::ALIGNMENT, None)),
    }
}
