//! A regular file as a device.
//!
//! All its bytes are written once when it is created, and never again does its size change: so a `sync` has only data
//! to bring to the medium (`fdatasync`), and a device that was created can't run out of disk space later.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use esker::device::{BlockDevice, Geometry};
use esker::volume::{self, Volume};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::{FileError, FileSync};

/// What is done with a file in one call when much of it is filled with one byte.
const CHUNK: usize = 1 << 20;

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading: needs no permission to write, and any number of readers may share the file. Not a byte is changed.
    ReadOnly,
    /// Reading and writing, with nobody beside.
    ReadWrite,
}

/// A regular file as a [`BlockDevice`].
///
/// The file is locked (`flock`) as long as the value lives: a writer excludes everybody, readers exclude writers. The
/// lock is advisory: it keeps out other `FileDevice`s, not `dd`.
///
/// With an erase unit in its geometry it emulates flash: an erase fills with `0xFF`. Without one an erase does nothing.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    geometry: Geometry,
    access: Access,
}

impl FileDevice {
    /// The block to take when nothing speaks for another: what nearly every disk below a file can write by itself.
    pub const BLOCK: u32 = 512;

    /// Creates the file, `geometry.capacity` bytes long, and opens it for reading and writing. Durable on return, its
    /// name included. All bytes are `0`, or `0xFF` where there is an erase unit.
    ///
    /// # Errors
    /// There is such a file already, the geometry can't be, or the disk has no room. The file is removed again.
    pub fn create(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, FileError> {
        geometry.check()?;
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path);
        let file = file.map_err(FileError::io("create"))?;
        lock(&file, Access::ReadWrite)?;
        let device = Self { file, geometry, access: Access::ReadWrite };
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
    /// The file is in use, not a regular one or may not be written (it is left as it was), or the disk has no room.
    pub fn overwrite(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, FileError> {
        geometry.check()?;
        let (file, _) = open_file(path.as_ref(), Access::ReadWrite)?;
        file.set_len(0).map_err(FileError::io("truncate"))?;
        let device = Self { file, geometry, access: Access::ReadWrite };
        device.blank()?;
        Ok(device)
    }

    /// Opens the file of a volume, with the geometry that the volume was formatted with.
    ///
    /// # Errors
    /// [`volume::Error::Device`] with the reason if the file can't be opened; what
    /// [`Volume::open`] answers if it holds no volume, a damaged one or that of a newer engine;
    /// [`volume::Error::Geometry`] if it is shorter than the volume.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, volume::Error<FileError>> {
        let (file, len) = open_file(path.as_ref(), access).map_err(volume::Error::Device)?;
        if len == 0 {
            return Err(volume::Error::Device(FileError::Empty));
        }
        // Good for reading whatever geometry it has.
        let mut device = Self { file, geometry: Geometry::blocks(len, 1), access };
        let mut memory = [0; 4096];
        let Some(recorded) = Volume::<_, _>::probe(&mut device, &mut memory[..])? else {
            // The engine tells a damaged volume from something else. Two homes of 2 KiB are the least.
            if len < 4096 {
                return Err(volume::Error::NotFormatted);
            }
            let error = Volume::<_, _>::mount(&mut device, &mut memory[..]).err();
            return Err(error.unwrap_or(volume::Error::NotFormatted));
        };
        if len < recorded.capacity {
            let device = Geometry { capacity: len, ..recorded };
            return Err(volume::Error::Geometry { recorded, device });
        }
        device.geometry = recorded;
        Ok(device)
    }

    /// Opens any file with a geometry that the caller knows; its capacity is replaced by the length of the file.
    ///
    /// # Errors
    /// The file can't be opened, or its length does not go with the geometry.
    pub fn open_with(path: impl AsRef<Path>, access: Access, geometry: Geometry) -> Result<Self, FileError> {
        let (file, capacity) = open_file(path.as_ref(), access)?;
        if capacity == 0 {
            return Err(FileError::Empty);
        }
        let geometry = Geometry { capacity, ..geometry };
        geometry.check()?;
        Ok(Self { file, geometry, access })
    }

    /// What the device was opened for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The device's sync, to be called while somebody else has the device.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn sync_handle(&self) -> Result<FileSync, FileError> {
        FileSync::new(&self.file)
    }

    /// Writes all of it once, durably.
    fn blank(&self) -> Result<(), FileError> {
        let capacity = self.geometry.capacity;
        // Asks for the space in one piece, and learns at once if there is not enough.
        match fallocate(&self.file, FallocateFlags::empty(), 0, capacity) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(FileError::io("allocate space for")(error.into())),
        }
        self.fill(0..capacity, if self.geometry.must_erase() { 0xFF } else { 0 })?;
        self.file.sync_all().map_err(FileError::io("sync"))
    }

    fn fill(&self, range: Range<u64>, byte: u8) -> Result<(), FileError> {
        let len = range.end - range.start;
        let bytes = vec![byte; len.min(CHUNK as u64) as usize];
        let mut address = range.start;
        while address < range.end {
            let part = (range.end - address).min(CHUNK as u64) as usize;
            self.file.write_all_at(&bytes[..part], address).map_err(FileError::io("write"))?;
            address += part as u64;
        }
        Ok(())
    }

    fn check(&self, allowed: bool) -> Result<(), FileError> {
        if !allowed {
            return Err(FileError::OutOfBounds);
        }
        if self.access == Access::ReadOnly { Err(FileError::ReadOnly) } else { Ok(()) }
    }
}

impl Drop for FileDevice {
    /// A child process that was just forked holds the file as well, until it runs its own program. It must not hold the
    /// lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl BlockDevice for FileDevice {
    type Error = FileError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), FileError> {
        if !self.geometry.allows_read(address, buffer.len()) {
            return Err(FileError::OutOfBounds);
        }
        self.file.read_exact_at(buffer, address).map_err(FileError::io("read"))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), FileError> {
        self.check(self.geometry.allows_write(address, data.len()))?;
        self.file.write_all_at(data, address).map_err(FileError::io("write"))
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), FileError> {
        self.check(self.geometry.allows_erase(&range))?;
        // No hole is punched: the space must stay allocated.
        if self.geometry.must_erase() { self.fill(range, 0xFF) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::io("sync"))
    }
}

/// Opens and locks a regular file; returns its length as well.
fn open_file(path: &Path, access: Access) -> Result<(File, u64), FileError> {
    // Before the open, because opening a pipe waits for its other end; after it, because the name may have changed
    // hands.
    let regular = |found: &fs::Metadata| if found.is_file() { Ok(()) } else { Err(FileError::NotAFile) };
    regular(&fs::metadata(path).map_err(FileError::io("open"))?)?;
    let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path);
    let file = file.map_err(FileError::io("open"))?;
    regular(&file.metadata().map_err(FileError::io("open"))?)?;
    lock(&file, access)?;
    // Only under the lock does the length stay.
    let len = file.metadata().map_err(FileError::io("open"))?.len();
    Ok((file, len))
}

fn lock(file: &File, access: Access) -> Result<(), FileError> {
    let locked = match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    };
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => FileError::Locked,
        TryLockError::Error(error) => FileError::Io { action: "lock", error },
    })
}

/// Makes the name of a new file durable.
fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(FileError::io("sync the directory of"))
}

#[cfg(test)]
mod tests;
