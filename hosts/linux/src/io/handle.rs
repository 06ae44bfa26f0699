//! An open file or block device.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};

use super::direct::Direct;
use super::flush::Flush;
use super::whole;
use crate::{Access, DeviceError};

/// See the module. Addresses and lengths were checked by the device above.
#[derive(Debug)]
pub(crate) struct Handle {
    flush: Flush,
    access: Access,
    /// `None`: through the page cache.
    direct: Option<Direct>,
}

impl Handle {
    pub(crate) fn new(file: File, access: Access) -> Self {
        Self { flush: Flush::new(file), access, direct: None }
    }

    pub(crate) fn file(&self) -> &File {
        self.flush.file()
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// From now on everything goes past the page cache.
    ///
    /// # Errors
    /// The file system has no direct I/O, or not in units of `unit` bytes.
    pub(crate) fn make_direct(&mut self, unit: u32) -> Result<(), DeviceError> {
        self.direct = Some(Direct::new(self.file(), unit)?);
        Ok(())
    }

    /// Tells the kernel that reads will be here and there. It is free not to listen.
    pub(crate) fn advise_random(&self) {
        let _ = rustix::fs::fadvise(self.file(), 0, None, rustix::fs::Advice::Random);
    }

    /// Lets the kernel drop what it has of this in memory. It is free not to.
    pub(crate) fn forget(&self) {
        let _ = rustix::fs::fadvise(self.file(), 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Whether everything goes past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Of a direct handle: what is read or written in slices goes as several requests at once, if the kernel allows it.
    pub(crate) fn add_ring(&mut self) {
        if let Some(direct) = &mut self.direct {
            direct.add_ring();
        }
    }

    /// Whether the kernel takes several reads or writes at once; else they are done one after the other.
    pub(crate) fn has_ring(&self) -> bool {
        self.direct.as_ref().is_some_and(Direct::has_ring)
    }

    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        match &mut self.direct {
            None => whole::read(self.flush.file(), address, buffer, buffer.len(), 1),
            Some(direct) => direct.read(self.flush.file(), address, buffer),
        }
        .map_err(DeviceError::io("read"))
    }

    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> Result<(), DeviceError> {
        match &mut self.direct {
            None => whole::write(self.flush.file(), address, data, 1),
            Some(direct) => direct.write(self.flush.file(), address, data),
        }
        .map_err(DeviceError::io("write"))
    }

    pub(crate) fn read_vectored(
        &mut self,
        address: u64,
        buffers: &mut [&mut [u8]],
    ) -> Result<(), DeviceError> {
        match &mut self.direct {
            None => {
                let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                whole::read_slices(self.flush.file(), address, &mut slices, 1)
            }
            Some(direct) => direct.read_vectored(self.flush.file(), address, buffers),
        }
        .map_err(DeviceError::io("read"))
    }

    pub(crate) fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), DeviceError> {
        match &mut self.direct {
            None => {
                let mut slices: Vec<_> = data.iter().map(|part| IoSlice::new(part)).collect();
                whole::write_slices(self.flush.file(), address, &mut slices, 1)
            }
            Some(direct) => direct.write_vectored(self.flush.file(), address, data),
        }
        .map_err(DeviceError::io("write"))
    }

    /// See [`Flush::sync`].
    pub(crate) fn sync(&self) -> Result<(), DeviceError> {
        self.flush.sync()
    }

    /// The sync alone, through a descriptor of its own.
    pub(crate) fn flush(&self) -> Result<Flush, DeviceError> {
        self.flush.duplicate().map_err(DeviceError::io("duplicate the descriptor of"))
    }

    pub(crate) fn sync_all(&self) -> Result<(), DeviceError> {
        self.flush.sync_all().map_err(DeviceError::io("sync"))
    }
}

impl Drop for Handle {
    /// A child process that was just forked holds the file as well, until it runs its own program. It must not hold the
    /// lock.
    fn drop(&mut self) {
        let _ = self.file().unlock();
    }
}
