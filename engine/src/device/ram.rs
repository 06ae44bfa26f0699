//! A device in memory.

use core::fmt;
use core::ops::Range;

use super::{BlockDevice, Geometry};

/// A device over bytes that the caller lends or owns (`&mut [u8]`, `[u8; N]`, `Vec<u8>`): for tests, for
/// battery-backed RAM, and for images loaded whole. An erase fills with `0xFF` where the geometry has an erase unit.
#[derive(Debug, Clone)]
pub struct Ram<B> {
    bytes: B,
    geometry: Geometry,
}

/// A call that broke the contract of [`BlockDevice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RamError {
    /// Not a multiple of the unit, or outside the device.
    OutOfBounds,
}

impl fmt::Display for RamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("address or length is outside the device or not a multiple of its unit")
    }
}

impl core::error::Error for RamError {}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Ram<B> {
    /// A device over `bytes`; the capacity in `geometry` is replaced by their number.
    pub fn new(bytes: B, geometry: Geometry) -> Self {
        let capacity = bytes.as_ref().len() as u64;
        Self { bytes, geometry: Geometry { capacity, ..geometry } }
    }

    /// The bytes as they are.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The bytes, to be changed behind the engine's back.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut()
    }

    /// Gives the bytes back.
    pub fn into_inner(self) -> B {
        self.bytes
    }

    fn range(&mut self, address: u64, len: usize) -> Result<&mut [u8], RamError> {
        let start = usize::try_from(address).map_err(|_| RamError::OutOfBounds)?;
        let end = start.checked_add(len).ok_or(RamError::OutOfBounds)?;
        self.bytes.as_mut().get_mut(start..end).ok_or(RamError::OutOfBounds)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> BlockDevice for Ram<B> {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), RamError> {
        if !self.geometry.allows_read(address, buffer.len()) {
            return Err(RamError::OutOfBounds);
        }
        buffer.copy_from_slice(self.range(address, buffer.len())?);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        if !self.geometry.allows_write(address, data.len()) {
            return Err(RamError::OutOfBounds);
        }
        self.range(address, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), RamError> {
        if !self.geometry.allows_erase(&range) {
            return Err(RamError::OutOfBounds);
        }
        if self.geometry.must_erase() {
            let len =
                usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| RamError::OutOfBounds)?;
            self.range(range.start, len)?.fill(0xFF);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), RamError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_the_number_of_bytes() {
        let mut lent = [0; 96];
        let ram = Ram::new(&mut lent[..], Geometry::blocks(1, 32));
        assert_eq!(ram.geometry(), Geometry::blocks(96, 32));
    }

    #[test]
    fn writes_reads_and_gives_the_bytes_back() {
        let mut ram = Ram::new([0; 96], Geometry::blocks(0, 32));
        ram.write(32, &[1; 32]).unwrap();
        ram.write_vectored(32, &[&[2; 32], &[3; 32]]).unwrap();
        ram.sync().unwrap();
        let (mut a, mut b) = ([9; 32], [9; 64]);
        ram.read_vectored(0, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, &b[..32], &b[32..]), ([0; 32], &[2; 32][..], &[3; 32][..]));
        ram.bytes_mut()[0] = 7;
        assert_eq!(ram.bytes()[0], 7);
        assert_eq!(ram.into_inner()[32..64], [2; 32]);
    }

    #[test]
    fn erase_fills_with_ones_only_where_there_is_an_erase_unit() {
        let mut flash = Ram::new([0; 96], Geometry::flash(0, 8, 32));
        flash.erase(32..64).unwrap();
        assert_eq!((flash.bytes()[31], flash.bytes()[64]), (0, 0));
        assert_eq!(flash.bytes()[32..64], [0xFF; 32]);
        let mut disk = Ram::new([0; 96], Geometry::blocks(0, 32));
        disk.erase(32..64).unwrap();
        assert_eq!(disk.into_inner(), [0; 96]);
    }

    #[test]
    fn a_broken_contract_is_an_error_and_changes_nothing() {
        let mut ram = Ram::new([0; 96], Geometry::flash(0, 8, 32));
        let outside = Err(RamError::OutOfBounds);
        assert_eq!(ram.read(90, &mut [0; 8]), outside);
        assert_eq!(ram.read(u64::MAX, &mut [0; 1]), outside);
        assert_eq!(ram.write(4, &[1; 8]), outside);
        assert_eq!(ram.write(0, &[1; 4]), outside);
        assert_eq!(ram.write(96, &[1; 8]), outside);
        assert_eq!(ram.erase(0..16), outside);
        assert_eq!(ram.erase(64..128), outside);
        assert_eq!(ram.into_inner(), [0; 96]);
    }
}
