//! What can go wrong with a file or a disk that serves as a device.

use std::{error, fmt, io};

use esker::device::GeometryError;

use crate::{Found, Holder};

/// Why a device could not do what it was asked. Whatever is not [`Io`](Self::Io) was found before anything was done.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceError {
    /// The operating system refused or failed. After a failed write or sync, what was not yet durable is unknown: close
    /// the device, look after the disk (`dmesg`, free space), open it again. What was durable stays.
    Io {
        /// What was being done, as a verb: "open", "write".
        action: &'static str,
        /// Its answer.
        error: io::Error,
    },
    /// An earlier sync failed, so this handle can't promise anything any more. Close it and open it again.
    SyncFailed,
    /// Somebody else has it. Inside is who, and that says what to do.
    InUse(Holder),
    /// Only what is blank may be made a device, and this holds something. Take another one, or overwrite it knowingly.
    Occupied(Found),
    /// A directory, a pipe, a socket or a character device. Name a regular file or a disk.
    NotADevice,
    /// Not a regular file, where only one will do.
    NotAFile,
    /// Not a disk (a block device), where only one will do.
    NotADisk,
    /// The file has no bytes. Remove it and create a device in its place.
    Empty,
    /// The disk is smaller than that. Take less, or the whole of it.
    TooSmall {
        /// Bytes that were asked for.
        asked: u64,
        /// Bytes that there are.
        capacity: u64,
    },
    /// The volume writes smaller units than this disk can, or than it can without putting their neighbours at risk in a
    /// power cut. Format with larger units; open an existing volume for reading, and copy it.
    UnitTooSmall {
        /// Bytes of the volume's write unit.
        unit: u32,
        /// Bytes of the disk's physical sector.
        least: u32,
    },
    /// The volume has an erase unit, as flash has. A disk can't be flash, a file can: keep it in one.
    FlashOnDisk,
    /// Direct I/O is not possible here. Use the device buffered.
    NoDirect {
        /// The answer of the operating system, if it refused.
        error: Option<io::Error>,
        /// The least unit in which it would be possible, if it is known and not the device's.
        least: Option<u32>,
    },
    /// The device can't have this geometry. Choose another size or other units.
    Geometry(GeometryError),
    /// Address or length is outside the device or not a multiple of its unit: a fault of the caller.
    OutOfBounds,
    /// The device was opened for reading only. Open it with [`Access::ReadWrite`](crate::Access::ReadWrite).
    ReadOnly,
    /// The disk is write-protected, by a switch or by its driver. It can be opened for reading.
    WriteProtected,
}

impl DeviceError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, error }
    }
}

impl From<GeometryError> for DeviceError {
    fn from(error: GeometryError) -> Self {
        Self::Geometry(error)
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, error } => write!(f, "cannot {action} it: {error}"),
            Self::SyncFailed => f.write_str("an earlier sync failed; close it and open it again"),
            Self::InUse(holder) => holder.fmt(f),
            Self::Occupied(found) => write!(f, "it holds {found}"),
            Self::NotADevice => f.write_str("neither a regular file nor a disk"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::NotADisk => f.write_str("not a disk"),
            Self::Empty => f.write_str("the file is empty, so it holds no esker volume"),
            Self::TooSmall { asked, capacity } => {
                write!(f, "the disk has {capacity} bytes, {asked} were asked for")
            }
            Self::UnitTooSmall { unit, least } => write!(
                f,
                "the write unit of {unit} bytes is less than the disk's physical sector of {least}, where a power cut \
                 could damage what lies beside it; it can be read, not written"
            ),
            Self::FlashOnDisk => f.write_str("a volume with an erase unit can be in a file, not on a disk"),
            Self::NoDirect { least: Some(least), .. } => {
                write!(f, "direct I/O needs a write unit that is a multiple of {least} bytes here")
            }
            Self::NoDirect { error: Some(error), .. } => write!(f, "no direct I/O here: {error}"),
            Self::NoDirect { .. } => f.write_str("no direct I/O here"),
            Self::Geometry(error) => error.fmt(f),
            Self::OutOfBounds => {
                f.write_str("address or length is outside the device or not a multiple of its unit")
            }
            Self::ReadOnly => f.write_str("the device was opened for reading only"),
            Self::WriteProtected => f.write_str("the disk is write-protected"),
        }
    }
}

impl error::Error for DeviceError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { error, .. } | Self::NoDirect { error: Some(error), .. } => Some(error),
            Self::Geometry(error) => Some(error),
            _ => None,
        }
    }
}
