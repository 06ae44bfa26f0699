//! Emcraft's SmartFusion2 module: a Cortex-M3 with 16 MiB of NOR flash (S25SL12801) on its first SPI controller.

mod quirks;

use esker::device::{GeometryError, NorFlashDevice};
use esker::volume::FormatOptions;

use crate::drivers::mss_spi::MssSpi;
use crate::drivers::s25fl::S25fl;
use crate::settings::OnLsm;
use quirks::Quirks;

const SPI0: usize = 0x4000_1000;
const CAPACITY: u32 = 16 * 1024 * 1024;

/// What the logger keeps its volume on.
pub type Device = NorFlashDevice<S25fl<Quirks<MssSpi>, CAPACITY>>;

const SECTOR: u32 = 64 * 1024;

/// Settings are on an LSM tree: a B-tree writes single pages, and here an erase takes a whole sector.
pub type Settings = OnLsm;

/// A segment for each sector, so that one erase makes room for the next. Of the 256 sectors two are the volume's homes, eight
/// are for logs, and the other 246 for settings, a table each; sixteen would do.
pub const LAYOUT: FormatOptions = FormatOptions { block_size: SECTOR, ..LOGS_LAYOUT };

/// The same for logs alone.
pub const LOGS_LAYOUT: FormatOptions = FormatOptions {
    volume_id: 0x0E5C_0002,
    segment_size: SECTOR,
    pool_size: 8 * SECTOR as u64,
    reserve: 1,
    block_size: 0,
};

/// Sets up what the device needs. `wait` is for QEMU: it returns when one more program or erase has reached the medium.
///
/// # Safety
/// This runs on that board, and once.
pub unsafe fn device(wait: fn()) -> Result<Device, GeometryError> {
    // SAFETY: the controller is there on this board, and only used here.
    let spi = unsafe { MssSpi::new(SPI0) };
    NorFlashDevice::new(S25fl::new(Quirks::new(spi, wait)))
}
