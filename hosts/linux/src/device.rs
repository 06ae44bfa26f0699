//! Whatever a path names, as a device.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use esker::device::{BlockDevice, Geometry};
use esker::volume;

use crate::{Access, DeviceError, DiskInfo, FileDevice, FileSync, RawDisk, contents};

/// What is at a path, for the choice of a geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing: a file can be created.
    Nothing,
    /// A regular file.
    File {
        /// Its length in bytes.
        len: u64,
    },
    /// A disk or a partition.
    Disk(DiskInfo),
}

/// What may be lost when a device is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Nothing: only what is blank is taken, as [`contents`] sees it.
    Blank,
    /// Whatever is there. It is still refused while somebody uses it.
    Anything,
}

/// A file or a disk, whichever a path names: the device of programs that leave the choice to their users.
#[derive(Debug)]
pub enum Device {
    /// A regular file.
    File(FileDevice),
    /// A disk or a partition.
    Disk(RawDisk),
}

/// The same call of whichever it is.
macro_rules! either {
    ($self:expr, $device:ident => $call:expr) => {
        match $self {
            Self::File($device) => $call,
            Self::Disk($device) => $call,
        }
    };
}

impl Device {
    /// What is at `path`. Opens a disk for a moment, nothing else.
    ///
    /// # Errors
    /// [`DeviceError::NotADevice`] for a directory, a pipe, a socket, a character device; or it can't be looked at.
    pub fn survey(path: impl AsRef<Path>) -> Result<Place, DeviceError> {
        let path = path.as_ref();
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::Nothing),
            Err(error) => Err(DeviceError::Io { action: "open", error }),
            Ok(metadata) if metadata.is_file() => Ok(Place::File { len: metadata.len() }),
            Ok(metadata) if metadata.file_type().is_block_device() => RawDisk::info(path).map(Place::Disk),
            Ok(_) => Err(DeviceError::NotADevice),
        }
    }

    /// Makes a device to be formatted: a new file, an existing one, or a disk. See [`FileDevice::create`],
    /// [`FileDevice::overwrite`] and [`RawDisk::overwrite`] for what is done.
    ///
    /// # Errors
    /// [`DeviceError::Occupied`] with what was found, if that is not to be replaced; [`DeviceError::InUse`] with who has
    /// it; and theirs. Nothing that was there is harmed by a refusal.
    pub fn create(path: impl AsRef<Path>, geometry: Geometry, replace: Replace) -> Result<Self, DeviceError> {
        let path = path.as_ref();
        let Some(mut device) = Self::claim(path, Access::ReadWrite)? else {
            return FileDevice::create(path, geometry).map(Self::File);
        };
        // Only now does what is found stay.
        if replace == Replace::Blank
            && let Some(found) = contents::of(&mut device, path)?
        {
            return Err(DeviceError::Occupied(found));
        }
        match device {
            Self::File(file) => file.made_blank(geometry).map(Self::File),
            Self::Disk(disk) => disk.made_blank(geometry).map(Self::Disk),
        }
    }

    /// Opened and locked; any byte may be read. `None`: nothing is there.
    pub(crate) fn claim(path: &Path, access: Access) -> Result<Option<Self>, DeviceError> {
        match Self::survey(path)? {
            Place::Nothing => Ok(None),
            Place::File { .. } => FileDevice::claim(path, access).map(Self::File).map(Some),
            Place::Disk(_) => RawDisk::claim(path, access).map(Self::Disk).map(Some),
        }
    }

    /// Opens the file or disk of a volume. See [`FileDevice::open`] and [`RawDisk::open`].
    ///
    /// # Errors
    /// Theirs, and [`DeviceError::NotADevice`].
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, volume::Error<DeviceError>> {
        let path = path.as_ref();
        match Self::survey(path).map_err(volume::Error::Device)? {
            Place::Disk(_) => RawDisk::open(path, access).map(Self::Disk),
            Place::File { .. } | Place::Nothing => FileDevice::open(path, access).map(Self::File),
        }
    }

    /// The same device past the page cache. A disk already is. See [`FileDevice::direct`].
    ///
    /// # Errors
    /// [`DeviceError::NoDirect`].
    pub fn direct(self) -> Result<Self, DeviceError> {
        match self {
            Self::File(file) => file.direct().map(Self::File),
            disk @ Self::Disk(_) => Ok(disk),
        }
    }

    /// Tells the kernel that this will be read here and there, as a store does it. Else it reads ahead, up to megabytes, and
    /// keeps that in pieces so large that each small write into one costs tens of microseconds.
    #[must_use]
    pub fn at_random(self) -> Self {
        match self {
            Self::File(file) => Self::File(file.at_random()),
            Self::Disk(disk) => Self::Disk(disk.at_random()),
        }
    }

    /// What the device was opened for.
    pub fn access(&self) -> Access {
        either!(self, device => device.access())
    }

    /// The device's sync, to be called while somebody else has the device.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn sync_handle(&self) -> Result<FileSync, DeviceError> {
        either!(self, device => device.sync_handle())
    }
}

impl BlockDevice for Device {
    type Error = DeviceError;

    fn geometry(&self) -> Geometry {
        either!(self, device => device.geometry())
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        either!(self, device => device.read(address, buffer))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), DeviceError> {
        either!(self, device => device.write(address, data))
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), DeviceError> {
        either!(self, device => device.erase(range))
    }

    fn sync(&mut self) -> Result<(), DeviceError> {
        either!(self, device => device.sync())
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), DeviceError> {
        either!(self, device => device.read_vectored(address, buffers))
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), DeviceError> {
        either!(self, device => device.write_vectored(address, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_go_to_another_thread() {
        fn goes<T: Send>() {}
        goes::<Device>();
        goes::<FileSync>();
        goes::<crate::AlignedBuffer>();
    }
}
