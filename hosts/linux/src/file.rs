//! A regular file as a device.
//!
//! All its bytes are written once when it is created, and never again does its size change: so a `sync` has only data
//! to bring to the medium (`fdatasync`), and a device that was created can't run out of disk space later.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::path::Path;

use esker::device::{BlockDevice, Geometry};
use esker::volume;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::io::Handle;
use crate::open::{self, Access, allow};
use crate::{DeviceError, FileSync};

/// What is done with a file in one call when much of it is filled with one byte.
const CHUNK: usize = 1 << 20;

/// A regular file as a [`BlockDevice`].
///
/// The file is locked (`flock`) as long as the value lives: a writer excludes everybody, readers exclude writers. The
/// lock is advisory: it keeps out other `FileDevice`s, not `dd`.
///
/// With an erase unit in its geometry it emulates flash: an erase fills with `0xFF`. Without one an erase does nothing.
///
/// # Cost
/// A write is one `pwrite` into the page cache, or past it once the device is [direct](Self::direct). A sync is one
/// `fdatasync`: one flush of the disk below, as the file's size and blocks never change.
#[derive(Debug)]
pub struct FileDevice {
    handle: Handle,
    geometry: Geometry,
}

impl FileDevice {
    /// The block to take when nothing speaks for another: what nearly every disk below a file can write by itself.
    pub const BLOCK: u32 = 512;

    /// Creates the file, `geometry.capacity` bytes long, and opens it for reading and writing. Durable on return, its
    /// name included. All bytes are `0`, or `0xFF` where there is an erase unit.
    ///
    /// # Errors
    /// There is such a file already, the geometry can't be, or the disk has no room. The file is removed again.
    pub fn create(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, DeviceError> {
        geometry.check()?;
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path);
        let file = file.map_err(DeviceError::io("create"))?;
        open::lock(&file, Access::ReadWrite)?;
        let mut device = Self { handle: Handle::new(file, Access::ReadWrite), geometry };
        if let Err(error) = device.blank().and_then(|()| sync_parent(path)) {
            // It is ours: nobody had it before, and nobody could lock it since. The first error is the one to tell.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(device)
    }

    /// Makes an existing regular file a blank device, as [`create`](Self::create) does with a new one. **All it held
    /// is lost.**
    ///
    /// # Errors
    /// The file is in use, not a regular one or may not be written, or the disk has no room: it is left as it was.
    /// (Where the file system can't reserve room, that is noticed too late, and what the file held is lost.)
    pub fn overwrite(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, DeviceError> {
        geometry.check()?;
        Self::claim(path.as_ref(), Access::ReadWrite)?.made_blank(geometry)
    }

    /// Opened and locked; any byte may be read.
    pub(crate) fn claim(path: &Path, access: Access) -> Result<Self, DeviceError> {
        let (file, len) = open_file(path, access)?;
        Ok(Self { handle: Handle::new(file, access), geometry: Geometry::blocks(len, 1) })
    }

    /// The same file, blank.
    pub(crate) fn made_blank(mut self, geometry: Geometry) -> Result<Self, DeviceError> {
        geometry.check()?;
        let file = self.handle.file();
        // While what it holds is still there, so that a full disk costs nothing.
        if let Err(error) = allocate(file, geometry.capacity) {
            // Part of the room may have been found, and the file be longer for it. The first error is the one to tell.
            let _ = file.set_len(self.geometry.capacity);
            return Err(error);
        }
        file.set_len(0).map_err(DeviceError::io("truncate"))?;
        self.geometry = geometry;
        self.blank()?;
        Ok(self)
    }

    /// Opens the file of a volume, with the geometry that the volume was formatted with.
    ///
    /// # Errors
    /// [`volume::Error::Device`] with the reason if the file can't be opened; what
    /// [`Volume::open`](volume::Volume::open) answers if it holds no volume, a damaged one or that of a newer engine;
    /// [`volume::Error::Geometry`] if it is shorter than the volume.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, volume::Error<DeviceError>> {
        let mut device = Self::claim(path.as_ref(), access).map_err(volume::Error::Device)?;
        if device.geometry.capacity == 0 {
            return Err(volume::Error::Device(DeviceError::Empty));
        }
        let recorded = open::recorded(&mut device)?;
        device.geometry = recorded;
        Ok(device)
    }

    /// Opens any file with a geometry that the caller knows; its capacity is replaced by the length of the file.
    ///
    /// # Errors
    /// The file can't be opened, or its length does not go with the geometry.
    pub fn open_with(
        path: impl AsRef<Path>,
        access: Access,
        geometry: Geometry,
    ) -> Result<Self, DeviceError> {
        let (file, capacity) = open_file(path.as_ref(), access)?;
        if capacity == 0 {
            return Err(DeviceError::Empty);
        }
        let geometry = Geometry { capacity, ..geometry };
        geometry.check()?;
        Ok(Self { handle: Handle::new(file, access), geometry })
    }

    /// The same device past the page cache (`O_DIRECT`): what is written isn't copied into the kernel's memory and does
    /// not push other things out of it, and a write reports the disk's error itself. A `sync` costs the same.
    ///
    /// Any memory may be lent, as before; what does not begin at a multiple of the disk's unit is copied once (see
    /// [`AlignedBuffer`](crate::AlignedBuffer)).
    ///
    /// # Errors
    /// [`DeviceError::NoDirect`] where the file system can't, or not in units as small as the device's write unit.
    /// The device is closed then: open it again, and leave it buffered.
    pub fn direct(mut self) -> Result<Self, DeviceError> {
        self.handle.make_direct(self.geometry.write_unit)?;
        Ok(self)
    }

    /// Whether reads and writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.handle.is_direct()
    }

    /// Tells the kernel that this will be read here and there, as a store does it. Else it reads ahead, up to megabytes, and
    /// keeps that in pieces so large that each small write into one costs tens of microseconds.
    #[must_use]
    pub fn at_random(self) -> Self {
        self.handle.advise_random();
        self
    }

    /// What the device was opened for.
    pub fn access(&self) -> Access {
        self.handle.access()
    }

    /// The device's sync, to be called while somebody else has the device.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn sync_handle(&self) -> Result<FileSync, DeviceError> {
        self.handle.flush().map(FileSync)
    }

    /// Writes all of it once, durably.
    fn blank(&mut self) -> Result<(), DeviceError> {
        let capacity = self.geometry.capacity;
        // Asks for the space in one piece, and learns at once if there is not enough.
        allocate(self.handle.file(), capacity)?;
        self.fill(0..capacity, if self.geometry.must_erase() { 0xFF } else { 0 })?;
        self.handle.sync_all()?;
        // The kernel keeps what was just written in pieces as large as these writes, and each small write into one of those
        // would cost it a look at all of its parts: 15 us instead of 3 on ext4.
        self.handle.forget();
        Ok(())
    }

    fn fill(&mut self, range: Range<u64>, byte: u8) -> Result<(), DeviceError> {
        let len = range.end - range.start;
        let bytes = vec![byte; len.min(CHUNK as u64) as usize];
        let mut address = range.start;
        while address < range.end {
            let part = (range.end - address).min(CHUNK as u64) as usize;
            self.handle.write(address, &bytes[..part])?;
            address += part as u64;
        }
        Ok(())
    }
}

impl BlockDevice for FileDevice {
    type Error = DeviceError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        allow(self.geometry.allows_read(address, buffer.len()))?;
        self.handle.read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), DeviceError> {
        allow(self.geometry.allows_write(address, data.len()))?;
        self.handle.access().to_write()?;
        self.handle.write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), DeviceError> {
        allow(self.geometry.allows_erase(&range))?;
        self.handle.access().to_write()?;
        // No hole is punched: the space must stay allocated.
        if self.geometry.must_erase() { self.fill(range, 0xFF) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), DeviceError> {
        self.handle.sync()
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), DeviceError> {
        open::allows_each(address, buffers.iter().map(|buffer| buffer.len()), |address, len| {
            self.geometry.allows_read(address, len)
        })?;
        self.handle.read_vectored(address, buffers)
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), DeviceError> {
        open::allows_each(address, data.iter().map(|part| part.len()), |address, len| {
            self.geometry.allows_write(address, len)
        })?;
        self.handle.access().to_write()?;
        self.handle.write_vectored(address, data)
    }
}

/// Reserves the room of a file where the file system can, and changes nothing that it holds.
fn allocate(file: &File, len: u64) -> Result<(), DeviceError> {
    // The system knows no such length, and would not say that it is too large.
    if i64::try_from(len).is_err() {
        return Err(DeviceError::io("allocate space for")(Errno::FBIG.into()));
    }
    match rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, len)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(DeviceError::io("allocate space for")(error.into())),
    }
}

/// Opens and locks a regular file; returns its length as well.
fn open_file(path: &Path, access: Access) -> Result<(File, u64), DeviceError> {
    // Before the open, because opening a pipe waits for its other end; after it, because the name may have changed
    // hands.
    let regular = |found: &fs::Metadata| if found.is_file() { Ok(()) } else { Err(DeviceError::NotAFile) };
    regular(&fs::metadata(path).map_err(DeviceError::io("open"))?)?;
    let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path);
    let file = file.map_err(DeviceError::io("open"))?;
    regular(&file.metadata().map_err(DeviceError::io("open"))?)?;
    open::lock(&file, access)?;
    // Only under the lock does the length stay.
    let len = file.metadata().map_err(DeviceError::io("open"))?.len();
    Ok((file, len))
}

/// Makes the name of a new file durable.
fn sync_parent(path: &Path) -> Result<(), DeviceError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(DeviceError::io("sync the directory of"))
}

#[cfg(test)]
mod tests;
