//! A device of which nothing is known at compile time, and whose driver takes next to no code.

use core::hint::black_box;
use core::ops::Range;

use esker::device::{BlockDevice, Geometry};

/// A part behind a peripheral that takes an address and a length.
pub struct Nor;

/// It failed.
#[derive(Debug, Clone, Copy)]
pub struct NorError;

impl BlockDevice for Nor {
    type Error = NorError;

    fn geometry(&self) -> Geometry {
        black_box(Geometry::flash(1024 * 1024, 4, 4096))
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), NorError> {
        transfer(address as u32, buffer.as_ptr(), buffer.len())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), NorError> {
        transfer(address as u32, data.as_ptr(), data.len())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), NorError> {
        transfer(range.start as u32, core::ptr::null(), (range.end - range.start) as usize)
    }

    fn sync(&mut self) -> Result<(), NorError> {
        Ok(())
    }
}

#[inline(never)]
fn transfer(address: u32, data: *const u8, len: usize) -> Result<(), NorError> {
    if black_box((address, data, len)).2 == 0 { Err(NorError) } else { Ok(()) }
}
