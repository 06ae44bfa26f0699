//! The lowest floor: what the engine asks of a device, and nothing about any particular one.
//!
//! ```text
//!   your driver ── adapter (nor_flash, storage, sdmmc) ──┐
//!   a file, a raw disk, a simulator (hosts/*) ───────────┴── BlockDevice ── Region / Counted / Shared ── the engine
//! ```
//!
//! [`BlockDevice`] is the seam. [`Region`] is a window of a device that is itself a device, [`Shared`] lets two users
//! have one device, [`Counted`] counts what passes, and [`Ram`] is a device in memory.

#[cfg(any(feature = "embedded-storage", feature = "embedded-sdmmc"))]
mod adapter;
mod counted;
mod geometry;
#[cfg(feature = "embedded-storage")]
mod nor_flash;
mod ram;
mod region;
#[cfg(feature = "embedded-sdmmc")]
mod sdmmc;
mod shared;
#[cfg(feature = "embedded-storage")]
mod storage;

use core::ops::Range;

#[cfg(any(feature = "embedded-storage", feature = "embedded-sdmmc"))]
pub use adapter::AdapterError;
pub use counted::{Counted, Counts};
pub use geometry::{Geometry, GeometryError};
#[cfg(feature = "embedded-storage")]
pub use nor_flash::NorFlashDevice;
pub use ram::{Ram, RamError};
pub use region::{Region, RegionError};
#[cfg(feature = "embedded-sdmmc")]
pub use sdmmc::SdmmcDevice;
pub use shared::{Shared, SharedError};
#[cfg(feature = "embedded-storage")]
pub use storage::StorageDevice;

/// A device the engine can live on: a part, a disk, a file or a simulator.
///
/// Addresses are bytes from the start of the device. Every call is blocking and in bounded steps, on purpose: one
/// core, no executor; an adapter may serve it from an async driver.
///
/// # What an implementation promises
/// - **Alignment.** The caller keeps addresses and lengths to multiples of the unit of the call (see [`Geometry`]);
///   an implementation answers anything else with an error and does nothing.
/// - **`write`** may be torn by a power cut in any way, until a `sync` has returned. A device with an erase unit
///   ([`Geometry::erase_unit`] is not 0) finishes one `write` or `erase` before it begins the next one, as flash
///   parts do; a device without may reorder whatever lies between two syncs.
/// - **`sync`** returns `Ok` only when everything written and erased before is on the medium.
/// - **Errors** change nothing about what was durable before. What a failed `write` leaves behind is unknown.
pub trait BlockDevice {
    /// What this device reports when it fails. The engine keeps it and hands it back to you inside its own error.
    type Error: core::fmt::Debug;

    /// Sizes and units. Constant for the life of the value.
    fn geometry(&self) -> Geometry;

    /// Fills `buffer` from `address`. Both are multiples of the read unit.
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes `data` at `address`. Both are multiples of the write unit; with an erase unit, what is written was
    /// erased before and is written once.
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error>;

    /// Erases whole erase units, or, on a device that may be overwritten, tells it that the range holds nothing of
    /// worth (discard). What a discard leaves behind is never trusted, so doing nothing is a right implementation.
    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error>;

    /// Makes all that was written and erased before durable.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// Fills the buffers one after the other from `address` on. A host may turn it into one submission.
    fn read_vectored(&mut self, mut address: u64, buffers: &mut [&mut [u8]]) -> Result<(), Self::Error> {
        for buffer in buffers {
            self.read(address, buffer)?;
            address = address.saturating_add(buffer.len() as u64);
        }
        Ok(())
    }

    /// Writes the slices one after the other from `address` on. A host may turn it into one submission.
    fn write_vectored(&mut self, mut address: u64, data: &[&[u8]]) -> Result<(), Self::Error> {
        for part in data {
            self.write(address, part)?;
            address = address.saturating_add(part.len() as u64);
        }
        Ok(())
    }
}

impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    type Error = D::Error;
    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        (**self).read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        (**self).write(address, data)
    }
    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        (**self).erase(range)
    }
    fn sync(&mut self) -> Result<(), Self::Error> {
        (**self).sync()
    }
    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), Self::Error> {
        (**self).read_vectored(address, buffers)
    }
    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), Self::Error> {
        (**self).write_vectored(address, data)
    }
}
