//! What opening a file and opening a disk have in common.

use std::fs::{File, TryLockError};

use esker::device::{BlockDevice, Geometry};
use esker::volume::{self, Volume};

use crate::{DeviceError, holder};

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading: needs no permission to write, and any number of readers may share the device. Not a byte is changed.
    ReadOnly,
    /// Reading and writing, with nobody beside.
    ReadWrite,
}

impl Access {
    pub(crate) fn to_write(self) -> Result<(), DeviceError> {
        if self == Self::ReadOnly { Err(DeviceError::ReadOnly) } else { Ok(()) }
    }
}

pub(crate) fn allow(allowed: bool) -> Result<(), DeviceError> {
    if allowed { Ok(()) } else { Err(DeviceError::OutOfBounds) }
}

/// Asks about every part of a vectored call, before anything is done.
pub(crate) fn allows_each(
    mut address: u64,
    parts: impl Iterator<Item = usize>,
    allows: impl Fn(u64, usize) -> bool,
) -> Result<(), DeviceError> {
    for len in parts {
        allow(allows(address, len))?;
        address = address.saturating_add(len as u64);
    }
    Ok(())
}

/// Locks without waiting.
pub(crate) fn lock(file: &File, access: Access) -> Result<(), DeviceError> {
    let locked = match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    };
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => match file.metadata() {
            Ok(metadata) => DeviceError::InUse(holder::of_lock(&metadata)),
            Err(error) => DeviceError::Io { action: "lock", error },
        },
        TryLockError::Error(error) => DeviceError::Io { action: "lock", error },
    })
}

/// The geometry that the volume on a device was formatted with. The device must let any byte of it be read.
pub(crate) fn recorded<D>(device: &mut D) -> Result<Geometry, volume::Error<DeviceError>>
where
    D: BlockDevice<Error = DeviceError>,
{
    let len = device.geometry().capacity;
    let mut memory = [0; 4096];
    let Some(recorded) = Volume::<_, _>::probe(&mut *device, &mut memory[..])? else {
        // The engine tells a damaged volume from something else. Two homes of 2 KiB are the least.
        if len < 4096 {
            return Err(volume::Error::NotFormatted);
        }
        let error = Volume::<_, _>::mount(device, &mut memory[..]).err();
        return Err(error.unwrap_or(volume::Error::NotFormatted));
    };
    if len < recorded.capacity {
        let device = Geometry { capacity: len, ..recorded };
        return Err(volume::Error::Geometry { recorded, device });
    }
    Ok(recorded)
}
