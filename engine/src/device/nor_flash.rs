//! Devices behind [`embedded_storage::nor_flash::NorFlash`].

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use super::adapter::{address_32, capacity_32};
use super::{AdapterError, BlockDevice, Geometry, GeometryError};

/// A NOR flash part as a device.
///
/// The geometry comes from the driver's `READ_SIZE`, `WRITE_SIZE`, `ERASE_SIZE` and capacity. `sync` does nothing and
/// succeeds: the trait's `write` and `erase` return when the part has done them. Of a part larger than 4 GiB, which the
/// trait can't address, the whole erase units below 4 GiB are used.
///
/// The engine writes each unit once between two erases, so the driver need not be a `MultiwriteNorFlash`.
#[derive(Debug)]
pub struct NorFlashDevice<F> {
    flash: F,
    geometry: Geometry,
}

impl<F: NorFlash> NorFlashDevice<F> {
    /// A device over `flash`, or over `&mut flash`.
    ///
    /// # Errors
    /// The driver's sizes are not ones that the engine can use ([`Geometry::check`]).
    pub fn new(flash: F) -> Result<Self, GeometryError> {
        let unit = |size: usize| u32::try_from(size).map_err(|_| GeometryError::Unit);
        let mut geometry = Geometry {
            capacity: 0,
            read_unit: unit(F::READ_SIZE)?,
            write_unit: unit(F::WRITE_SIZE)?,
            erase_unit: unit(F::ERASE_SIZE)?,
            alignment: 1,
        };
        if geometry.erase_unit == 0 {
            return Err(GeometryError::Unit);
        }
        geometry.capacity = capacity_32(flash.capacity(), geometry.block());
        geometry.check()?;
        Ok(Self { flash, geometry })
    }
}

impl<F> NorFlashDevice<F> {
    /// The driver.
    pub fn get_ref(&self) -> &F {
        &self.flash
    }

    /// The driver, to be used behind the engine's back.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the driver back.
    pub fn into_inner(self) -> F {
        self.flash
    }
}

impl<F: NorFlash> BlockDevice for NorFlashDevice<F> {
    type Error = AdapterError<F::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let offset = address_32(address, self.geometry.allows_read(address, buffer.len()))?;
        self.flash.read(offset, buffer).map_err(AdapterError::Driver)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        let offset = address_32(address, self.geometry.allows_write(address, data.len()))?;
        self.flash.write(offset, data).map_err(AdapterError::Driver)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        let allowed = self.geometry.allows_erase(&range);
        let (from, to) = (address_32(range.start, allowed)?, address_32(range.end, allowed)?);
        self.flash.erase(from, to).map_err(AdapterError::Driver)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use embedded_storage::nor_flash::{
        ErrorType, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
    };
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// A part that panics when the contract of the trait is broken by the adapter (alignment, bounds), and fails when
    /// it is broken by the adapter's user (a word written twice without an erase).
    #[derive(Debug)]
    pub struct Part<const READ: usize, const WRITE: usize, const ERASE: usize> {
        bytes: Vec<u8>,
        written: Vec<bool>,
        capacity: usize,
        broken: bool,
    }

    impl<const READ: usize, const WRITE: usize, const ERASE: usize> Part<READ, WRITE, ERASE> {
        /// A part never erased: every word counts as written.
        pub fn new(capacity: usize) -> Self {
            Self { bytes: vec![0x5A; capacity], written: vec![true; capacity], capacity, broken: false }
        }

        /// A part that claims a capacity without having it.
        fn claiming(capacity: usize) -> Self {
            Self { capacity, ..Self::new(0) }
        }

        fn health(&self) -> Result<(), NorFlashErrorKind> {
            if self.broken { Err(NorFlashErrorKind::Other) } else { Ok(()) }
        }
    }

    impl<const READ: usize, const WRITE: usize, const ERASE: usize> ErrorType for Part<READ, WRITE, ERASE> {
        type Error = NorFlashErrorKind;
    }

    impl<const READ: usize, const WRITE: usize, const ERASE: usize> ReadNorFlash for Part<READ, WRITE, ERASE> {
        const READ_SIZE: usize = READ;
        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            self.health()?;
            check_read(self, offset, bytes.len()).expect("contract of read");
            bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
            Ok(())
        }
        fn capacity(&self) -> usize {
            self.capacity
        }
    }

    impl<const READ: usize, const WRITE: usize, const ERASE: usize> NorFlash for Part<READ, WRITE, ERASE> {
        const WRITE_SIZE: usize = WRITE;
        const ERASE_SIZE: usize = ERASE;
        fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
            self.health()?;
            check_erase(self, from, to).expect("contract of erase");
            self.bytes[from as usize..to as usize].fill(0xFF);
            self.written[from as usize..to as usize].fill(false);
            Ok(())
        }
        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            self.health()?;
            check_write(self, offset, bytes.len()).expect("contract of write");
            let range = offset as usize..offset as usize + bytes.len();
            if self.written[range.clone()].contains(&true) {
                return Err(NorFlashErrorKind::Other);
            }
            self.written[range.clone()].fill(true);
            for (old, new) in self.bytes[range].iter_mut().zip(bytes) {
                *old &= new;
            }
            Ok(())
        }
    }

    fn device() -> NorFlashDevice<Part<4, 8, 256>> {
        NorFlashDevice::new(Part::new(1024)).unwrap()
    }

    #[test]
    fn the_geometry_is_the_parts() {
        let expected =
            Geometry { capacity: 1024, read_unit: 4, write_unit: 8, erase_unit: 256, alignment: 1 };
        assert_eq!(device().geometry(), expected);
    }

    #[test]
    fn sizes_that_cannot_be_used_are_refused() {
        assert_eq!(NorFlashDevice::new(Part::<3, 8, 256>::new(1024)).unwrap_err(), GeometryError::Unit);
        assert_eq!(NorFlashDevice::new(Part::<1, 8, 0>::new(1024)).unwrap_err(), GeometryError::Unit);
        assert_eq!(
            NorFlashDevice::new(Part::<1, 512, 256>::new(1024)).unwrap_err(),
            GeometryError::EraseBelowWrite
        );
        assert_eq!(NorFlashDevice::new(Part::<1, 8, 256>::new(1000)).unwrap_err(), GeometryError::Capacity);
        assert_eq!(NorFlashDevice::new(Part::<1, 8, 256>::new(0)).unwrap_err(), GeometryError::Capacity);
    }

    #[test]
    fn a_part_beyond_4_gib_is_used_up_to_there_and_addresses_never_wrap() {
        let Ok(huge) = usize::try_from((1u64 << 32) + 1024) else { return };
        let mut device = NorFlashDevice::new(Part::<1, 8, 256>::claiming(huge)).unwrap();
        assert_eq!(device.geometry().capacity, (1 << 32) - 256);
        let outside = Err(AdapterError::OutOfBounds);
        assert_eq!(device.read(1 << 32, &mut [0; 8]), outside);
        assert_eq!(device.write(1 << 32, &[0; 8]), outside);
        assert_eq!(device.erase(1 << 32..(1 << 32) + 256), outside);
        assert_eq!(device.erase((1 << 32) - 256..1 << 32), outside);
    }

    #[test]
    fn erases_writes_and_reads_back() {
        let mut device = device();
        device.erase(256..768).unwrap();
        device.write(256, &[0xA5; 16]).unwrap();
        device.write_vectored(752, &[&[1; 8], &[2; 8]]).unwrap();
        device.sync().unwrap();
        let mut back = [0; 20];
        device.read(256, &mut back).unwrap();
        assert_eq!((&back[..16], &back[16..]), (&[0xA5; 16][..], &[0xFF; 4][..]));
        let (mut a, mut b) = ([0; 12], [0; 4]);
        device.read_vectored(752, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, b), ([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2], [2; 4]));
        assert_eq!(device.get_ref().bytes[..256], [0x5A; 256]);
        assert_eq!(device.get_ref().bytes[768..], [0x5A; 256]);
    }

    #[test]
    fn what_breaks_the_rules_never_reaches_the_driver() {
        let mut device = device();
        let outside = Err(AdapterError::OutOfBounds);
        assert_eq!(device.read(2, &mut [0; 4]), outside);
        assert_eq!(device.read(0, &mut [0; 6]), outside);
        assert_eq!(device.read(1020, &mut [0; 8]), outside);
        assert_eq!(device.write(4, &[0; 8]), outside);
        assert_eq!(device.write(0, &[0; 12]), outside);
        assert_eq!(device.write(1024, &[0; 8]), outside);
        assert_eq!(device.erase(0..128), outside);
        assert_eq!(device.erase(768..1280), outside);
        assert_eq!(device.read(u64::MAX - 3, &mut [0; 4]), outside);
    }

    #[test]
    fn the_drivers_own_error_is_kept() {
        let mut device = device();
        let failed = Err(AdapterError::Driver(NorFlashErrorKind::Other));
        assert_eq!(device.write(0, &[0; 8]), failed, "never erased");
        device.erase(0..256).unwrap();
        assert_eq!(device.write(0, &[0xFF; 8]), Ok(()));
        assert_eq!(device.write(0, &[0; 8]), failed, "written twice");
        device.get_mut().broken = true;
        assert_eq!(device.read(0, &mut [0; 4]), failed);
        assert_eq!(device.erase(0..256), failed);
    }
}
