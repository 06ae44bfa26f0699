//! Making a device for what is to be stored on it.

use std::fs;
use std::path::{Path, PathBuf};

use esker::device::Geometry;
use esker::volume::FormatOptions;
use esker_linux::{Device, DeviceError, FileDevice, Found, Place, Replace};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::failure::Failure;
use crate::progress;
use crate::volume::{Volume, volume_memory};

/// A file that is removed again unless it is [kept](Self::keep): so a command that fails leaves no half-made device.
#[derive(Debug)]
pub struct Fresh(Option<PathBuf>);

impl Fresh {
    /// A file that was just made.
    pub fn file(path: &Path) -> Self {
        Self(Some(path.to_owned()))
    }

    /// The file was there before: it stays.
    pub fn nothing() -> Self {
        Self(None)
    }

    pub fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// How a device is made.
#[derive(Clone, Copy, Debug)]
pub struct Make {
    /// Whatever it holds. Without, it must hold nothing.
    pub force: bool,
    /// Past the page cache.
    pub direct: bool,
}

/// Makes the device and formats it. A random volume id takes the place of the one in `options`.
pub fn make(
    path: &Path,
    place: &Place,
    geometry: Geometry,
    options: &FormatOptions,
    how: Make,
) -> Result<(Volume, Fresh), Failure> {
    let (device, fresh) = make_device(path, place, geometry, how)?;
    let options = FormatOptions { volume_id: random_id()?, ..*options };
    let volume = Volume::format(device, volume_memory(), &options);
    Ok((volume.map_err(|error| Failure::volume(path, &error))?, fresh))
}

/// Makes the device, blank.
pub fn make_device(
    path: &Path,
    place: &Place,
    geometry: Geometry,
    how: Make,
) -> Result<(Device, Fresh), Failure> {
    let replace = if how.force { Replace::Anything } else { Replace::Blank };
    let busy = progress::busy("making the device");
    let device = Device::create(path, geometry, replace);
    busy.finish_and_clear();
    let device = device.map_err(|error| match error {
        DeviceError::Occupied(found) => occupied(path, &found),
        error => Failure::at(path, error),
    })?;
    let fresh = Fresh(matches!(place, Place::Nothing).then(|| path.to_owned()));
    let device = if how.direct { device.direct().map_err(|error| Failure::at(path, error))? } else { device };
    Ok((device, fresh))
}

/// What is there is not to be lost by mistake.
pub fn occupied(path: &Path, found: &Found) -> Failure {
    Failure::at(path, format_args!("it holds {found}; `--force` formats it, and all of that is lost"))
}

/// A number that no other volume is likely to have.
pub fn random_id() -> Result<u32, Failure> {
    let mut id = [0; 4];
    getrandom(&mut id, GetRandomFlags::empty())
        .map_err(|error| Failure::new(format!("can't get a random number for the volume: {error}")))?;
    Ok(u32::from_le_bytes(id))
}

/// The units that a device here can have, without its capacity, and the bytes that are there already.
pub fn units(
    path: &Path,
    place: &Place,
    write_unit: Option<u32>,
    erase_unit: Option<u32>,
) -> Result<(Geometry, Option<u64>), Failure> {
    let (geometry, held) = match place {
        Place::Disk(disk) => (disk.geometry(), Some(disk.capacity)),
        Place::File { len } if *len > 0 => (Geometry::blocks(0, FileDevice::BLOCK), Some(*len)),
        Place::File { .. } | Place::Nothing => (Geometry::blocks(0, FileDevice::BLOCK), None),
    };
    let geometry = match (write_unit, erase_unit) {
        (unit, Some(erase)) if erase > 0 => Geometry::flash(0, unit.unwrap_or(geometry.write_unit), erase),
        (Some(unit), _) => Geometry { read_unit: unit, write_unit: unit, ..geometry },
        _ => geometry,
    };
    // The capacity is still to be found.
    let block = u64::from(geometry.block());
    Geometry { capacity: block, ..geometry }.check().map_err(|error| Failure::at(path, error))?;
    Ok((geometry, held))
}
