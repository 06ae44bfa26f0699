//! A window of a device.

use core::fmt;
use core::ops::Range;

use super::{BlockDevice, Geometry};

/// The window `start..start + len` of a device, itself a device whose addresses begin at 0.
///
/// Its units are those of the device below. Windows that don't overlap never harm each other, because a window is
/// whole blocks ([`Geometry::block`]). To have several over one device, put them over
/// [`&Shared`](super::Shared).
///
/// ```
/// use esker::device::{BlockDevice, Geometry, Ram, Region, Shared};
///
/// let shared = Shared::new(Ram::new([0; 4096], Geometry::blocks(0, 512)));
/// let mut settings = Region::new(&shared, 0, 1024)?;
/// let mut log = Region::new(&shared, 1024, 3072)?;
/// settings.write(0, &[1; 512])?;
/// log.write(0, &[2; 512])?;
/// assert_eq!(shared.into_inner().bytes()[1024..1536], [2; 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Region<D> {
    device: D,
    start: u64,
    geometry: Geometry,
}

/// Why a [`Region`] can't be made, or why a call to it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionError<E> {
    /// The device below failed; what that means for what was being done is for its error to say.
    Device(E),
    /// The access is outside the window or not a multiple of the unit of the call, or the window is not inside the
    /// device. Nothing was passed to the device below.
    OutOfBounds,
    /// The window asked of [`Region::new`] is empty, or its start or length is not a multiple of the device's
    /// [`Geometry::block`]: round both to it.
    Unaligned,
}

impl<E> fmt::Display for RegionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device(_) => "the device below the region failed",
            Self::OutOfBounds => "outside the region or the device, or not a multiple of the unit",
            Self::Unaligned => "a region must be one or more whole blocks of the device",
        })
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RegionError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            Self::OutOfBounds | Self::Unaligned => None,
        }
    }
}

impl<D: BlockDevice> Region<D> {
    /// The window of `len` bytes from address `start` of `device`. Does not access the device.
    ///
    /// # Errors
    /// [`RegionError::Unaligned`] if the window is not whole blocks, [`RegionError::OutOfBounds`] if it reaches past
    /// the device's capacity.
    pub fn new(device: D, start: u64, len: u64) -> Result<Self, RegionError<D::Error>> {
        let below = device.geometry();
        let block = u64::from(below.block());
        if len == 0 || !start.is_multiple_of(block) || !len.is_multiple_of(block) {
            return Err(RegionError::Unaligned);
        }
        if start.checked_add(len).is_none_or(|end| end > below.capacity) {
            return Err(RegionError::OutOfBounds);
        }
        Ok(Self { device, start, geometry: Geometry { capacity: len, ..below } })
    }

    /// The address below of the window's address `address`, if a call that `allowed` says keeps to the rules.
    fn below(&self, address: u64, allowed: bool) -> Result<u64, RegionError<D::Error>> {
        if !allowed {
            return Err(RegionError::OutOfBounds);
        }
        self.start.checked_add(address).ok_or(RegionError::OutOfBounds)
    }
}

impl<D> Region<D> {
    /// The window's first address on the device below.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The device below.
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// The device below, to be used past the window.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.device
    }
}

impl<D: BlockDevice> BlockDevice for Region<D> {
    type Error = RegionError<D::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let below = self.below(address, self.geometry.allows_read(address, buffer.len()))?;
        self.device.read(below, buffer).map_err(RegionError::Device)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        let below = self.below(address, self.geometry.allows_write(address, data.len()))?;
        self.device.write(below, data).map_err(RegionError::Device)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        let allowed = self.geometry.allows_erase(&range);
        let below = self.below(range.start, allowed)?..self.below(range.end, allowed)?;
        self.device.erase(below).map_err(RegionError::Device)
    }

    /// Syncs the whole device below, what lies outside the window included.
    fn sync(&mut self) -> Result<(), Self::Error> {
        self.device.sync().map_err(RegionError::Device)
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), Self::Error> {
        let len = buffers.iter().map(|buffer| buffer.len()).fold(0, usize::saturating_add);
        let below = self.below(address, self.geometry.allows_read(address, len))?;
        self.device.read_vectored(below, buffers).map_err(RegionError::Device)
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), Self::Error> {
        let len = data.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let below = self.below(address, self.geometry.allows_write(address, len))?;
        self.device.write_vectored(below, data).map_err(RegionError::Device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Ram, RamError};

    const FLASH: Geometry = Geometry::flash(0, 16, 256);

    fn ram() -> Ram<[u8; 1024]> {
        Ram::new([0; 1024], FLASH)
    }

    fn window() -> Region<Ram<[u8; 1024]>> {
        Region::new(ram(), 256, 512).unwrap()
    }

    #[test]
    fn keeps_the_units_and_has_its_own_capacity() {
        assert_eq!(window().geometry(), Geometry { capacity: 512, ..FLASH });
        assert_eq!(window().start(), 256);
    }

    #[test]
    fn new_refuses_what_is_not_whole_blocks_of_the_device() {
        for (start, len) in [(16, 256), (0, 272), (128, 128), (0, 0)] {
            assert_eq!(Region::new(ram(), start, len).unwrap_err(), RegionError::Unaligned, "{start} {len}");
        }
        for (start, len) in [(0, 1280), (1024, 256), (768, 512), (1 << 40, 256), (u64::MAX - 255, 256)] {
            assert_eq!(
                Region::new(ram(), start, len).unwrap_err(),
                RegionError::OutOfBounds,
                "{start} {len}"
            );
        }
        assert!(Region::new(ram(), 0, 1024).is_ok());
        assert!(Region::new(ram(), 768, 256).is_ok());
    }

    #[test]
    fn addresses_are_moved_by_the_start() {
        let mut region = window();
        region.write(0, &[1; 16]).unwrap();
        region.write_vectored(480, &[&[2; 16], &[3; 16]]).unwrap();
        let mut back = [0; 16];
        region.read(0, &mut back).unwrap();
        assert_eq!(back, [1; 16]);
        let (mut a, mut b) = ([0; 8], [0; 24]);
        region.read_vectored(480, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, &b[..8], &b[8..]), ([2; 8], &[2; 8][..], &[3; 16][..]));
        region.sync().unwrap();

        let bytes = region.into_inner().into_inner();
        assert_eq!(bytes[256..272], [1; 16]);
        assert_eq!(bytes[736..752], [2; 16]);
        assert_eq!(bytes[752..768], [3; 16]);
    }

    #[test]
    fn erase_touches_the_window_alone() {
        let mut region = window();
        region.erase(0..512).unwrap();
        let bytes = region.into_inner().into_inner();
        assert_eq!(bytes[..256], [0; 256]);
        assert_eq!(bytes[256..768], [0xFF; 512]);
        assert_eq!(bytes[768..], [0; 256]);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn what_is_outside_the_window_is_refused_and_nothing_is_touched() {
        let mut region = window();
        let outside = Err(RegionError::OutOfBounds);
        let mut buffer = [9; 32];
        assert_eq!(region.read(496, &mut buffer), outside);
        assert_eq!(region.read(u64::MAX, &mut buffer), outside);
        assert_eq!(region.write(496, &[1; 32]), outside);
        assert_eq!(region.write(512, &[1; 16]), outside);
        assert_eq!(region.write(u64::MAX - 15, &[1; 16]), outside);
        assert_eq!(region.write(8, &[1; 16]), outside);
        assert_eq!(region.write(0, &[1; 8]), outside);
        assert_eq!(region.read_vectored(496, &mut [&mut [0; 16], &mut [0; 16]]), outside);
        assert_eq!(region.write_vectored(496, &[&[1; 16], &[1; 16]]), outside);
        assert_eq!(region.erase(256..768), outside);
        assert_eq!(region.erase(16..256), outside);
        assert_eq!(region.erase(256..0), outside);
        assert_eq!(region.into_inner().into_inner(), [0; 1024]);
        assert_eq!(buffer, [9; 32]);
    }

    #[test]
    fn a_region_of_a_region_and_the_device_error_inside() {
        let mut inner = Region::new(window(), 256, 256).unwrap();
        inner.write(0, &[7; 16]).unwrap();
        assert_eq!(inner.get_ref().get_ref().bytes()[512..528], [7; 16]);

        // Each part of a vectored write must be whole units for a device that loops over them.
        let error = inner.write_vectored(0, &[&[1; 8], &[1; 8]]).unwrap_err();
        assert_eq!(error, RegionError::Device(RegionError::Device(RamError::OutOfBounds)));
        let mut source = core::error::Error::source(&error);
        let mut depth = 0;
        while let Some(error) = source {
            depth += 1;
            source = error.source();
        }
        assert_eq!(depth, 2);
    }
}
