//! A device that is plain memory: next to nothing of what is measured is a driver's.

use core::convert::Infallible;
use core::hint::black_box;
use core::ops::Range;

use esker::device::{BlockDevice, Geometry};

/// It is what its geometry says.
pub struct Memory {
    bytes: &'static mut [u8],
    pub geometry: Geometry,
}

pub const SIZE: usize = 1 << 20;
/// The board's PSRAM.
const BASE: usize = 0x2100_0000;

impl Memory {
    /// # Safety
    /// Only one may ever be there.
    pub unsafe fn new() -> Self {
        // SAFETY: memory of the board that no section is in, taken once.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(BASE), SIZE) };
        Self { bytes, geometry: Geometry::blocks(SIZE as u64, 512) }
    }

    fn place(&mut self, address: u64, len: usize) -> &mut [u8] {
        self.bytes.get_mut(address as usize..).and_then(|rest| rest.get_mut(..len)).unwrap_or_default()
    }
}

impl BlockDevice for Memory {
    type Error = Infallible;

    fn geometry(&self) -> Geometry {
        black_box(self.geometry)
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Infallible> {
        buffer.copy_from_slice(self.place(address, buffer.len()));
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Infallible> {
        self.place(address, data.len()).copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Infallible> {
        self.place(range.start, (range.end - range.start) as usize).fill(0xFF);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
