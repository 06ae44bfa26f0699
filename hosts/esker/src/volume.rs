//! From a path to an open volume.

use std::path::Path;

use esker::volume;
use esker_linux::{Access, AlignedBuffer, Device};

use crate::failure::Failure;

/// So many logs can be on a volume, a snapshot counts as one. Their roots must fit the superblock of the smallest
/// devices.
pub const LOGS: usize = 16;

/// Enough to read ahead with, and for any unit and any number of segments.
const VOLUME_MEMORY: usize = (1 << 20) + (128 << 10);

/// A volume on a file or a disk.
pub type Volume = volume::Volume<Device, AlignedBuffer, LOGS>;

/// Page-aligned, so that nothing is copied on the way to a disk.
pub fn volume_memory() -> AlignedBuffer {
    AlignedBuffer::new(VOLUME_MEMORY)
}

/// Opens the volume for reading only.
pub fn open_to_read(path: &Path) -> Result<Volume, Failure> {
    open(path, Access::ReadOnly)
}

/// Opens the volume for writing.
pub fn open_to_write(path: &Path) -> Result<Volume, Failure> {
    open(path, Access::ReadWrite)
}

fn open(path: &Path, access: Access) -> Result<Volume, Failure> {
    Device::open(path, access)
        .and_then(|device| Volume::open(device, volume_memory()))
        .map_err(|error| Failure::volume(path, &error))
}
