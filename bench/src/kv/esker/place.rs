//! Where a store is: a file, or a simulated device. Each session has a device of its own; counts go on.

use std::fmt::Debug;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use esker::device::{BlockDevice, Geometry};
use esker_linux::{Access, FileDevice};
use esker_sim::{CostModel, Counts, Sim};

use super::{DeviceCounts, Total};
use crate::Failure;

/// See the module.
pub trait Place {
    /// What the engine is given.
    type Device: BlockDevice<Error: Debug> + 'static;

    /// A device with nothing on it that counts.
    ///
    /// # Errors
    /// It can't be made.
    fn blank(&mut self) -> Result<Metered<Self::Device>, Failure>;

    /// The device that was made last.
    ///
    /// # Errors
    /// It can't be opened.
    fn open(&mut self) -> Result<Metered<Self::Device>, Failure>;

    /// A second device, blank.
    ///
    /// # Errors
    /// It can't be made.
    fn spare(&mut self) -> Result<Metered<Self::Device>, Failure>;

    /// Puts the second device into the place of the first one.
    ///
    /// # Errors
    /// It can't be done.
    fn take_spare(&mut self) -> Result<(), Failure>;

    /// What has reached all devices so far.
    fn counts(&self) -> DeviceCounts;

    /// How long a simulated device has been busy so far.
    fn busy(&self) -> Option<Duration> {
        None
    }
}

/// A file.
pub struct FilePlace {
    path: PathBuf,
    geometry: Geometry,
    direct: bool,
    total: Total,
}

impl FilePlace {
    /// Of so many bytes.
    pub fn new(path: &Path, capacity: u64, direct: bool) -> Self {
        let geometry = Geometry::blocks(capacity, FileDevice::BLOCK);
        Self { path: path.into(), geometry, direct, total: Total::default() }
    }

    fn made(&self, path: &Path) -> Result<Metered<FileDevice>, Failure> {
        // What a volume was on once is as good as a blank file, and was written as often.
        let device = if path.exists() {
            FileDevice::open_with(path, Access::ReadWrite, self.geometry)
        } else {
            FileDevice::create(path, self.geometry)
        };
        let device = if self.direct { device.and_then(FileDevice::direct) } else { device };
        let device = device.map_err(|error| Failure::at(path, &error))?.at_random();
        Ok(Metered { device, total: Total::clone(&self.total) })
    }

    fn spare_path(&self) -> PathBuf {
        self.path.with_extension("spare")
    }
}

impl Place for FilePlace {
    type Device = FileDevice;

    fn blank(&mut self) -> Result<Metered<FileDevice>, Failure> {
        self.made(&self.path)
    }

    fn open(&mut self) -> Result<Metered<FileDevice>, Failure> {
        self.made(&self.path)
    }

    fn spare(&mut self) -> Result<Metered<FileDevice>, Failure> {
        self.made(&self.spare_path())
    }

    fn take_spare(&mut self) -> Result<(), Failure> {
        fs::rename(self.spare_path(), &self.path).map_err(|error| Failure::at(&self.path, &error))
    }

    fn counts(&self) -> DeviceCounts {
        *self.total.borrow()
    }
}

/// A simulated device, which counts by itself.
pub struct SimulatedPlace {
    make: Box<dyn Fn() -> Sim>,
    model: CostModel,
    device: Sim,
    spare: Option<Sim>,
    /// What reached the devices that are no more.
    before: Vec<Counts>,
}

impl SimulatedPlace {
    /// Of this kind.
    pub fn new(model: CostModel, make: impl Fn() -> Sim + 'static) -> Self {
        let device = make();
        Self { make: Box::new(make), model, device, spare: None, before: Vec::new() }
    }

    fn replace(&mut self, device: Sim) {
        let old = std::mem::replace(&mut self.device, device);
        self.before.push(old.counts());
    }

    fn all(&self) -> impl Iterator<Item = Counts> + '_ {
        let now = std::iter::once(&self.device).chain(&self.spare).map(Sim::counts);
        now.chain(self.before.iter().copied())
    }
}

impl Place for SimulatedPlace {
    type Device = Sim;

    fn blank(&mut self) -> Result<Metered<Sim>, Failure> {
        self.replace((self.make)());
        self.open()
    }

    fn open(&mut self) -> Result<Metered<Sim>, Failure> {
        Ok(Metered { device: self.device.clone(), total: Total::default() })
    }

    fn spare(&mut self) -> Result<Metered<Sim>, Failure> {
        let spare = (self.make)();
        self.spare = Some(spare.clone());
        Ok(Metered { device: spare, total: Total::default() })
    }

    fn take_spare(&mut self) -> Result<(), Failure> {
        if let Some(spare) = self.spare.take() {
            self.replace(spare);
        }
        Ok(())
    }

    fn counts(&self) -> DeviceCounts {
        self.all().fold(DeviceCounts::default(), |sum, counts| DeviceCounts {
            reads: sum.reads + counts.reads,
            read_bytes: sum.read_bytes + counts.read_bytes,
            writes: sum.writes + counts.writes,
            written_bytes: sum.written_bytes + counts.write_bytes,
            erases: sum.erases + counts.erase_units,
            flushes: sum.flushes + counts.syncs,
        })
    }

    fn busy(&self) -> Option<Duration> {
        Some(self.all().map(|counts| self.model.time(&counts)).sum())
    }
}

/// A device whose calls are added to the counts of its place.
pub struct Metered<D> {
    device: D,
    total: Total,
}

impl<D: BlockDevice> BlockDevice for Metered<D> {
    type Error = D::Error;

    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), D::Error> {
        self.add_read(buffer.len());
        self.device.read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), D::Error> {
        self.add_write(data.len());
        self.device.write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), D::Error> {
        self.add(|total| total.erases += 1);
        self.device.erase(range)
    }

    fn sync(&mut self) -> Result<(), D::Error> {
        self.add(|total| total.flushes += 1);
        self.device.sync()
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), D::Error> {
        self.add_read(buffers.iter().map(|buffer| buffer.len()).sum());
        self.device.read_vectored(address, buffers)
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), D::Error> {
        self.add_write(data.iter().map(|part| part.len()).sum());
        self.device.write_vectored(address, data)
    }
}

impl<D> Metered<D> {
    fn add(&self, add: impl FnOnce(&mut DeviceCounts)) {
        add(&mut self.total.borrow_mut());
    }

    fn add_read(&self, len: usize) {
        self.add(|total| {
            total.reads += 1;
            total.read_bytes += len as u64;
        });
    }

    fn add_write(&self, len: usize) {
        self.add(|total| {
            total.writes += 1;
            total.written_bytes += len as u64;
        });
    }
}
