//! Esker on Linux: files as devices for the engine.
//!
//! The engine asks for a [`BlockDevice`](esker::device::BlockDevice); [`FileDevice`] makes one of a regular file. The
//! program `esker` of this crate is built on it.
//!
//! ```
//! use esker::{device::Geometry, volume::{self, FormatOptions, Volume}, wal::{self, Log}};
//! use esker_linux::{Access, FileDevice, FileError};
//!
//! # fn main() -> Result<(), wal::Error<FileError>> {
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
#![forbid(unsafe_code)]

mod file;
mod file_error;
mod shared_log;
mod sync_handle;

pub use file::{Access, FileDevice};
pub use file_error::FileError;
pub use shared_log::{SharedLog, SharedLogError, SyncPolicy};
pub use sync_handle::{FileSync, SyncHandle};
