//! Esker on Linux: files and disks as devices for the engine.
//!
//! The engine asks for a [`BlockDevice`](esker::device::BlockDevice). [`FileDevice`] makes one of a regular file,
//! [`RawDisk`] of a disk, [`Device`] of whichever a path names. `DEVICES.md` beside this crate says which is for what,
//! what each costs and what to do when one fails. The program `esker` (`hosts/esker`) is built on it.
//!
//! ```
//! use esker::{device::Geometry, volume::{self, FormatOptions, Volume}, wal::{self, Log}};
//! use esker_linux::{Access, FileDevice, DeviceError};
//!
//! # fn main() -> Result<(), wal::Error<DeviceError>> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("events.esker");
//! let device = FileDevice::create(&path, Geometry::blocks(1 << 20, FileDevice::BLOCK))
//!     .map_err(volume::Error::Device)?;
//! let mut volume = Volume::<_, _>::format(device, vec![0; 4096], &FormatOptions::default())?;
//! volume.create_log(0)?;
//! let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096])?;
//! log.append(&mut volume, b"first")?;
//! log.close(&mut volume)?;
//! drop(volume);
//!
//! let device = FileDevice::open(&path, Access::ReadOnly)?;
//! let mut volume = Volume::<_, _>::open(device, vec![0; 4096])?;
//! let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096])?;
//! assert_eq!(log.end(), 1);
//! # Ok(())
//! # }
//! ```
// Only the two modules that call the kernel where no crate has a safe form may do otherwise.
#![deny(unsafe_code)]

mod contents;
mod device;
mod device_error;
mod disk;
mod file;
mod holder;
mod io;
mod open;
mod shared_log;
mod sync_handle;
mod sysfs;

pub use contents::{Found, SignatureKind, contents};
pub use device::{Device, Place, Replace};
pub use device_error::DeviceError;
pub use disk::{DiskInfo, RawDisk};
pub use file::FileDevice;
pub use holder::Holder;
pub use io::{AlignedBuffer, FrameBuffer};
pub use open::Access;
pub use shared_log::{SharedLog, SharedLogError, SyncPolicy};
pub use sync_handle::{FileSync, SyncHandle};
