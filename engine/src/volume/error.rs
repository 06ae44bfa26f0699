//! What can go wrong with a volume, and what to do about it.

use core::fmt;

use crate::device::Geometry;

/// Why a volume could not do what it was asked. Except for [`Device`](Self::Device) and [`Corrupt`](Self::Corrupt),
/// nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<E> {
    /// The device failed; inside is its own error. After a failed write or sync the volume is poisoned.
    Device(E),
    /// A write or sync failed before. What is durable is known only after a new open: drop everything and open again.
    Poisoned,
    /// Neither home holds a superblock. Format the device, or check that it is the right one.
    NotFormatted,
    /// Written by an engine with another format. Use that one; this one can't know what it would destroy.
    Version {
        /// Version on the device.
        found: u16,
        /// The newest version that this engine reads; the oldest is 2.
        supported: u16,
    },
    /// The volume was formatted on a device of another geometry, or the device has shrunk.
    Geometry {
        /// As written at format.
        recorded: Geometry,
        /// As the device says now.
        device: Geometry,
    },
    /// The lent buffer is too small.
    MemoryTooSmall {
        /// Bytes that would be enough.
        needed: usize,
    },
    /// The lent buffer does not begin at a multiple of this, which the device wants.
    Misaligned {
        /// Bytes.
        alignment: u32,
    },
    /// The superblock is there and damaged in both homes.
    Corrupt {
        /// Where.
        address: u64,
    },
    /// These options don't fit the device or each other.
    Options(&'static str),
    /// The volume holds as many logs as this `Volume` type has room for.
    TooManyLogs {
        /// The constant of the type.
        max: usize,
    },
    /// There is no such log. Create it first.
    NoSuchLog,
    /// There is such a log already.
    LogExists,
    /// The pool has no free segment. Release entries, or use a larger device.
    Full,
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "the device failed: {error:?}"),
            Self::Poisoned => f.write_str("an earlier write or sync failed; open the volume again"),
            Self::NotFormatted => f.write_str("no esker volume here"),
            Self::Version { found, supported } => {
                write!(
                    f,
                    "the volume has format version {found}, this engine reads versions 2 to {supported}"
                )
            }
            Self::Geometry { recorded, device } => write!(
                f,
                "the volume was made for capacity {}, write unit {}, erase unit {}; the device has {}, {}, {}",
                recorded.capacity,
                recorded.write_unit,
                recorded.erase_unit,
                device.capacity,
                device.write_unit,
                device.erase_unit
            ),
            Self::MemoryTooSmall { needed } => {
                write!(f, "the lent buffer is too small: {needed} bytes are needed")
            }
            Self::Misaligned { alignment } => {
                write!(f, "the lent buffer must be aligned to {alignment} bytes")
            }
            Self::Corrupt { address } => {
                write!(f, "the superblock is damaged in both homes, see address {address}")
            }
            Self::Options(why) => f.write_str(why),
            Self::TooManyLogs { max } => write!(f, "no room for another log: this volume type holds {max}"),
            Self::NoSuchLog => f.write_str("there is no such log on this volume"),
            Self::LogExists => f.write_str("there is such a log on this volume already"),
            Self::Full => f.write_str("no free segment is left"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}
