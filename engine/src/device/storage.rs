//! Devices behind [`embedded_storage::Storage`].

use core::fmt::Debug;
use core::ops::Range;

use embedded_storage::Storage;

use super::adapter::{address_32, capacity_32};
use super::{AdapterError, BlockDevice, Geometry, GeometryError};

/// A driver that may be written anywhere, as a device without an erase unit.
///
/// Such a driver hides a read-erase-rewrite of some larger unit, and a power cut in the middle of that harms all of
/// the unit, not only the bytes that were being written. The trait doesn't say how large the unit is, so the caller
/// does, and it becomes the write unit: the engine then never writes to a unit that holds durable data. For a flash
/// sector this is the sector (4096 as a rule), for an EEPROM its page, for battery-backed RAM 1.
///
/// `sync` does nothing and succeeds: the trait's `write` returns when it is done. `erase` does nothing.
#[derive(Debug)]
pub struct StorageDevice<S> {
    storage: S,
    geometry: Geometry,
}

impl<S: Storage> StorageDevice<S> {
    /// A device over `storage`, which rewrites units of `rewrite_unit` bytes and reads any number of bytes anywhere.
    ///
    /// # Errors
    /// The unit is not a power of two from 1 to 65,536, or the capacity is not a multiple of it.
    pub fn new(storage: S, rewrite_unit: u32) -> Result<Self, GeometryError> {
        Self::with_read_unit(storage, rewrite_unit, 1)
    }

    /// The same for a driver that passes reads on to a part with a read unit of its own, such as an
    /// [`RmwNorFlashStorage`](embedded_storage::nor_flash::RmwNorFlashStorage) over a part whose `READ_SIZE` is not 1.
    ///
    /// # Errors
    /// A unit is not a power of two from 1 to 65,536, or the capacity is not a multiple of both.
    pub fn with_read_unit(storage: S, rewrite_unit: u32, read_unit: u32) -> Result<Self, GeometryError> {
        let mut geometry = Geometry { read_unit, ..Geometry::blocks(0, rewrite_unit) };
        geometry.capacity = capacity_32(storage.capacity(), geometry.block());
        geometry.check()?;
        Ok(Self { storage, geometry })
    }
}

impl<S> StorageDevice<S> {
    /// The driver.
    pub fn get_ref(&self) -> &S {
        &self.storage
    }

    /// The driver, to be used behind the engine's back.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Gives the driver back.
    pub fn into_inner(self) -> S {
        self.storage
    }
}

impl<S: Storage> BlockDevice for StorageDevice<S>
where
    S::Error: Debug,
{
    type Error = AdapterError<S::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let offset = address_32(address, self.geometry.allows_read(address, buffer.len()))?;
        self.storage.read(offset, buffer).map_err(AdapterError::Driver)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        let offset = address_32(address, self.geometry.allows_write(address, data.len()))?;
        self.storage.write(offset, data).map_err(AdapterError::Driver)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        if self.geometry.allows_erase(&range) { Ok(()) } else { Err(AdapterError::OutOfBounds) }
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_storage::ReadStorage;
    use embedded_storage::nor_flash::{NorFlashErrorKind, RmwNorFlashStorage};
    use std::vec;
    use std::vec::Vec;

    use super::super::nor_flash::tests::Part;
    use super::*;

    /// Bytes that may be overwritten; panics on an access that is outside or not whole rewrite units.
    #[derive(Debug)]
    struct Eeprom {
        bytes: Vec<u8>,
        unit: usize,
        broken: bool,
    }

    impl Eeprom {
        fn new(capacity: usize, unit: usize) -> Self {
            Self { bytes: vec![0; capacity], unit, broken: false }
        }
    }

    impl ReadStorage for Eeprom {
        type Error = &'static str;
        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), &'static str> {
            if self.broken {
                return Err("broken");
            }
            bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
            Ok(())
        }
        fn capacity(&self) -> usize {
            self.bytes.len()
        }
    }

    impl Storage for Eeprom {
        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), &'static str> {
            if self.broken {
                return Err("broken");
            }
            assert!((offset as usize).is_multiple_of(self.unit) && bytes.len().is_multiple_of(self.unit));
            self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn device() -> StorageDevice<Eeprom> {
        StorageDevice::new(Eeprom::new(256, 32), 32).unwrap()
    }

    #[test]
    fn the_stated_unit_is_the_write_unit_and_nothing_need_be_erased() {
        let expected = Geometry { capacity: 256, read_unit: 1, write_unit: 32, erase_unit: 0, alignment: 1 };
        assert_eq!(device().geometry(), expected);
        assert!(!device().geometry().must_erase());
    }

    #[test]
    fn units_that_cannot_be_used_are_refused() {
        let refused = |capacity, unit| StorageDevice::new(Eeprom::new(capacity, 1), unit).err();
        assert_eq!(refused(256, 0), Some(GeometryError::Unit));
        assert_eq!(refused(256, 24), Some(GeometryError::Unit));
        assert_eq!(refused(1 << 20, 1 << 17), Some(GeometryError::Unit));
        assert_eq!(refused(250, 32), Some(GeometryError::Capacity));
        assert_eq!(refused(0, 32), Some(GeometryError::Capacity));
        assert_eq!(refused(256, 1), None);
    }

    #[test]
    fn overwrites_and_reads_back() {
        let mut device = device();
        device.write(32, &[1; 64]).unwrap();
        device.write(32, &[2; 32]).unwrap();
        device.sync().unwrap();
        let mut back = [0; 3];
        device.read(63, &mut back).unwrap();
        assert_eq!(back, [2, 1, 1]);
        let (mut a, mut b) = ([0; 1], [0; 32]);
        device.write_vectored(192, &[&[3; 32], &[4; 32]]).unwrap();
        device.read_vectored(223, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, b), ([3], [4; 32]));
    }

    #[test]
    fn erase_changes_nothing() {
        let mut device = device();
        device.write(0, &[1; 32]).unwrap();
        assert_eq!(device.erase(0..32), Ok(()));
        assert_eq!(device.get_ref().bytes[..32], [1; 32]);
        assert_eq!(device.erase(0..16), Err(AdapterError::OutOfBounds));
        assert_eq!(device.erase(224..288), Err(AdapterError::OutOfBounds));
    }

    #[test]
    fn what_breaks_the_rules_never_reaches_the_driver() {
        let mut device = device();
        let outside = Err(AdapterError::OutOfBounds);
        assert_eq!(device.write(16, &[0; 32]), outside);
        assert_eq!(device.write(0, &[0; 16]), outside);
        assert_eq!(device.write(256, &[0; 32]), outside);
        assert_eq!(device.write(1 << 32, &[0; 32]), outside);
        assert_eq!(device.read(255, &mut [0; 2]), outside);
        assert_eq!(device.read(1 << 32, &mut [0; 2]), outside);
    }

    #[test]
    fn the_drivers_own_error_is_kept() {
        let mut device = device();
        device.get_mut().broken = true;
        assert_eq!(device.write(0, &[0; 32]), Err(AdapterError::Driver("broken")));
        assert_eq!(device.read(0, &mut [0; 32]), Err(AdapterError::Driver("broken")));
    }

    #[test]
    fn a_rewriting_flash_storage_under_it_keeps_the_parts_contract() {
        let mut buffer = [0; 256];
        let rewriting = RmwNorFlashStorage::new(Part::<4, 8, 256>::new(1024), &mut buffer);
        let mut device = StorageDevice::with_read_unit(rewriting, 256, 4).unwrap();
        assert_eq!(device.geometry(), Geometry { read_unit: 4, ..Geometry::blocks(1024, 256) });
        device.write(256, &[1; 512]).unwrap();
        device.write(256, &[2; 256]).unwrap();
        let mut back = [0; 8];
        device.read(508, &mut back).unwrap();
        assert_eq!(back, [2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(device.read(1022, &mut back), Err(AdapterError::<NorFlashErrorKind>::OutOfBounds));
    }
}
