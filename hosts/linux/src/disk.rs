//! A whole disk, or a partition, as a device.

mod discard;

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use esker::device::{BlockDevice, Geometry};
use esker::volume;
use rustix::fs::{OFlags, ioctl_blkpbszget, ioctl_blksszget};
use rustix::io::Errno;

use crate::io::Handle;
use crate::open::{self, Access, allow};
use crate::sysfs::Sysfs;
use crate::{DeviceError, FileSync, Holder, holder};

/// At both ends of a disk: file systems, partition tables and RAIDs keep their signatures there.
const SIGNATURES: u64 = 1 << 20;

/// What is discarded at once.
const DISCARD: u64 = 1 << 30;

/// How often, every 20 ms, a disk is asked for again that somebody has for a moment.
const PATIENCE: u32 = 50;

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskInfo {
    /// Bytes.
    pub capacity: u64,
    /// Bytes of a logical sector: the least that can be read or written.
    pub logical: u32,
    /// Bytes of a physical sector: the least that the disk writes without touching what lies beside it.
    pub physical: u32,
    /// Whether it takes discards.
    pub discard: bool,
    /// Whether it may not be written.
    pub write_protected: bool,
}

impl DiskInfo {
    /// The geometry for a volume on the whole disk: writes of a physical sector, so that none ever harms another.
    pub fn geometry(&self) -> Geometry {
        let unit = self.write_unit();
        let capacity = self.capacity - self.capacity % u64::from(unit);
        Geometry { read_unit: self.logical, ..Geometry::blocks(capacity, unit) }
    }

    /// The engine's units end at 64 KiB. Some disks call a larger optimal size their physical sector.
    fn write_unit(&self) -> u32 {
        self.physical.max(self.logical).min(1 << 16)
    }

    /// Whether a volume of this geometry can be written on such a disk.
    fn check(&self, geometry: &Geometry) -> Result<(), DeviceError> {
        geometry.check()?;
        if geometry.must_erase() {
            return Err(DeviceError::FlashOnDisk);
        }
        let least = self.write_unit();
        if geometry.write_unit < least {
            return Err(DeviceError::UnitTooSmall { unit: geometry.write_unit, least });
        }
        if geometry.capacity > self.capacity {
            return Err(DeviceError::TooSmall { asked: geometry.capacity, capacity: self.capacity });
        }
        Ok(())
    }
}

/// A disk, or a partition of one, as a [`BlockDevice`], past the page cache (`O_DIRECT`).
///
/// As long as a value that may write lives, the disk is claimed: it can't be mounted, nor claimed by anything else that
/// asks (`O_EXCL`), and it is locked (`flock`), which keeps other `RawDisk`s and the device manager (udev) away. Readers
/// only lock; they share the disk.
///
/// # Cost
/// A write is one `pwrite`, straight to the disk. Of several slices, one submission through io_uring where the kernel
/// allows it. A sync is one `fdatasync`, and that is exactly one flush of the disk's write cache. An erase is a discard
/// where the disk takes any, else nothing.
#[derive(Debug)]
pub struct RawDisk {
    handle: Handle,
    info: DiskInfo,
    geometry: Geometry,
}

impl RawDisk {
    /// What the disk says of itself. Needs permission to read it; does not claim it.
    ///
    /// # Errors
    /// [`DeviceError::NotADisk`], or it can't be opened.
    pub fn info(path: impl AsRef<Path>) -> Result<DiskInfo, DeviceError> {
        let path = path.as_ref();
        check_kind(&fs::metadata(path).map_err(DeviceError::io("open"))?)?;
        let mut file = File::open(path).map_err(DeviceError::io("open"))?;
        info(&mut file)
    }

    /// Makes the disk a blank device. **All it held is lost**: it is discarded where that is possible, and a MiB at
    /// either end is filled with zeros, so that nothing takes it for what it was. The rest may read as anything.
    ///
    /// The capacity may be less than the disk's. `geometry` is [`DiskInfo::geometry`], unless there are reasons.
    ///
    /// # Errors
    /// The disk is in use or write-protected, or can't have this geometry; then nothing was written.
    pub fn overwrite(path: impl AsRef<Path>, geometry: Geometry) -> Result<Self, DeviceError> {
        Self::claim(path.as_ref(), Access::ReadWrite)?.made_blank(geometry)
    }

    /// The same disk, blank.
    pub(crate) fn made_blank(mut self, geometry: Geometry) -> Result<Self, DeviceError> {
        self.info.check(&geometry)?;
        self.wipe()?;
        self.geometry = geometry;
        Ok(self)
    }

    /// Opens the disk of a volume, with the geometry that the volume was formatted with.
    ///
    /// # Errors
    /// [`volume::Error::Device`] with the reason if the disk can't be opened, or (for writing) is not fit for this
    /// volume; what [`Volume::open`](volume::Volume::open) answers if it holds no volume, a damaged one or that of a
    /// newer engine; [`volume::Error::Geometry`] if it is smaller than the volume.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, volume::Error<DeviceError>> {
        let mut disk = Self::claim(path.as_ref(), access).map_err(volume::Error::Device)?;
        let recorded = open::recorded(&mut disk)?;
        if access == Access::ReadWrite {
            disk.info.check(&recorded).map_err(volume::Error::Device)?;
        }
        disk.geometry = recorded;
        Ok(disk)
    }

    /// Opened and claimed; any byte may be read.
    pub(crate) fn claim(path: &Path, access: Access) -> Result<Self, DeviceError> {
        let mut file = open_disk(path, access)?;
        let info = info(&mut file)?;
        if info.capacity == 0 {
            return Err(DeviceError::TooSmall { asked: 1, capacity: 0 });
        }
        let mut handle = Handle::new(file, access);
        handle.make_direct(info.logical)?;
        handle.add_ring();
        Ok(Self { handle, info, geometry: Geometry::blocks(info.capacity, 1) })
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

    /// What the disk says of itself.
    pub fn disk_info(&self) -> DiskInfo {
        self.info
    }

    /// Whether several slices go to the kernel in one submission. `false`: it has no io_uring, or it is forbidden; then
    /// they go one after the other.
    pub fn has_ring(&self) -> bool {
        self.handle.has_ring()
    }

    /// The device's sync, to be called while somebody else has the device.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn sync_handle(&self) -> Result<FileSync, DeviceError> {
        self.handle.flush().map(FileSync)
    }

    fn wipe(&mut self) -> Result<(), DeviceError> {
        let capacity = self.info.capacity;
        let mut address = 0;
        while address < capacity {
            let end = capacity.min(address + DISCARD);
            self.discard(address..end)?;
            address = end;
        }
        let zeros = crate::AlignedBuffer::new(SIGNATURES as usize);
        let len = SIGNATURES.min(capacity);
        self.handle.write(0, &zeros.as_ref()[..len as usize])?;
        self.handle.write(capacity - len, &zeros.as_ref()[..len as usize])?;
        self.handle.sync()
    }

    /// Tells the disk that nothing there is of worth, unless it can't be told.
    fn discard(&mut self, range: Range<u64>) -> Result<(), DeviceError> {
        if !self.info.discard || range.is_empty() {
            return Ok(());
        }
        match discard::discard(self.handle.file(), range) {
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY) => {
                self.info.discard = false;
                Ok(())
            }
            result => result.map_err(|error| DeviceError::io("discard")(error.into())),
        }
    }
}

impl BlockDevice for RawDisk {
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
        self.discard(range)
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

fn check_kind(metadata: &fs::Metadata) -> Result<(), DeviceError> {
    if metadata.file_type().is_block_device() { Ok(()) } else { Err(DeviceError::NotADisk) }
}

fn open_disk(path: &Path, access: Access) -> Result<File, DeviceError> {
    let metadata = fs::metadata(path).map_err(DeviceError::io("open"))?;
    check_kind(&metadata)?;
    let mut options = OpenOptions::new();
    options.read(true);
    if access == Access::ReadWrite {
        if Sysfs::of(metadata.rdev()).is_read_only() {
            return Err(DeviceError::WriteProtected);
        }
        // Without `O_CREAT`, and of a disk, this means: unless somebody has claimed it.
        options.write(true).custom_flags(OFlags::EXCL.bits() as i32);
    }
    patiently(path, || {
        let file = options.open(path).map_err(|error| {
            if holder::is_busy(&error) {
                DeviceError::InUse(holder::of_disk(&metadata))
            } else {
                DeviceError::Io { action: "open", error }
            }
        })?;
        check_kind(&file.metadata().map_err(DeviceError::io("open"))?)?;
        open::lock(&file, access)?;
        Ok(file)
    })
}

/// The device manager (udev) looks at every disk that was closed after writing. And when a process with several threads
/// closes a disk, a child that another thread has just forked still has it, until it runs its own program; then nobody
/// is named. Neither takes long.
fn patiently(path: &Path, mut claim: impl FnMut() -> Result<File, DeviceError>) -> Result<File, DeviceError> {
    for _ in 0..PATIENCE {
        match claim() {
            Err(DeviceError::InUse(Holder::Unknown)) => {}
            Err(DeviceError::InUse(Holder::Process { name: Some(name), .. })) if name.contains("udev") => {}
            result => return result,
        }
        thread::sleep(Duration::from_millis(20));
    }
    claim().map_err(|error| match error {
        DeviceError::InUse(Holder::Unknown) => DeviceError::InUse(holder::of_open(path)),
        error => error,
    })
}

fn info(file: &mut File) -> Result<DiskInfo, DeviceError> {
    let told = |error: Errno| DeviceError::io("ask about")(error.into());
    let capacity = file.seek(SeekFrom::End(0)).map_err(DeviceError::io("ask about"))?;
    let sysfs = Sysfs::of(file.metadata().map_err(DeviceError::io("ask about"))?.rdev());
    Ok(DiskInfo {
        capacity,
        logical: ioctl_blksszget(&*file).map_err(told)?,
        physical: ioctl_blkpbszget(&*file).map_err(told)?,
        discard: sysfs.queue("discard_max_bytes").is_some_and(|bytes| bytes > 0),
        write_protected: sysfs.is_read_only(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(logical: u32, physical: u32) -> DiskInfo {
        DiskInfo { capacity: (1 << 30) + 512, logical, physical, discard: false, write_protected: false }
    }

    #[test]
    fn the_write_unit_is_the_physical_sector() {
        let of = |logical, physical| disk(logical, physical).geometry();
        assert_eq!(of(512, 512), Geometry::blocks((1 << 30) + 512, 512));
        assert_eq!(of(4096, 4096), Geometry::blocks(1 << 30, 4096));
        // Most disks of today: they take 512 bytes, and read and write 4096 to store them.
        assert_eq!(of(512, 4096), Geometry { read_unit: 512, ..Geometry::blocks(1 << 30, 4096) });
        assert_eq!(of(512, 1 << 20).write_unit, 1 << 16, "the engine knows no larger one");
        assert_eq!(of(4096, 512).write_unit, 4096, "nonsense is survived");
        for (logical, physical) in [(512, 512), (512, 4096), (4096, 4096), (512, 1 << 20)] {
            assert_eq!(of(logical, physical).check(), Ok(()));
            assert!(disk(logical, physical).check(&of(logical, physical)).is_ok());
        }
    }

    #[test]
    fn a_write_that_would_take_its_neighbours_along_is_refused() {
        let check = |unit| disk(512, 4096).check(&Geometry::blocks(1 << 20, unit));
        assert!(matches!(check(512), Err(DeviceError::UnitTooSmall { unit: 512, least: 4096 })));
        assert!(check(4096).is_ok() && check(65_536).is_ok());
    }
}
