//! Sizes and units of a device.

use core::fmt;
use core::ops::Range;

/// Sizes and units of a device, in bytes. A runtime value: the same code serves every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Geometry {
    /// Size of the device.
    pub capacity: u64,
    /// The least that can be read: 1 on most flash, 512 or 4096 on disks. At most 65,536.
    pub read_unit: u32,
    /// The least that can be written: 1 to 32 on NOR flash, 256 or more on NAND, 512 or 4096 on disks. At most 65,536.
    pub write_unit: u32,
    /// The least that can be erased, and must be before it is written again. 0: the device may be overwritten.
    pub erase_unit: u32,
    /// Alignment that buffers need in memory; 1 if none.
    pub alignment: u32,
}

/// Why a [`Geometry`] can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum GeometryError {
    /// A unit is not a power of two, is 0, or is beyond its limit.
    Unit,
    /// The erase unit is smaller than the write unit.
    EraseBelowWrite,
    /// The capacity is 0 or not a multiple of the units.
    Capacity,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "read and write units must be powers of two from 1 to 65536, the erase unit 0 or a power of two",
            Self::EraseBelowWrite => "the erase unit must not be smaller than the read and write units",
            Self::Capacity => "the capacity must be more than 0 and a multiple of every unit",
        })
    }
}

impl core::error::Error for GeometryError {}

impl Geometry {
    /// A device that may be overwritten block by block: a disk, an SD card, eMMC.
    pub const fn blocks(capacity: u64, block: u32) -> Self {
        Self { capacity, read_unit: block, write_unit: block, erase_unit: 0, alignment: 1 }
    }

    /// A flash part that is read byte by byte, programmed in `write_unit` and erased in `erase_unit`.
    pub const fn flash(capacity: u64, write_unit: u32, erase_unit: u32) -> Self {
        Self { capacity, read_unit: 1, write_unit, erase_unit, alignment: 1 }
    }

    /// Whether the engine can use it, and if not, why.
    pub fn check(&self) -> Result<(), GeometryError> {
        let unit = |u: u32| u.is_power_of_two() && u <= 65_536;
        if !unit(self.read_unit) || !unit(self.write_unit) || !self.alignment.is_power_of_two() {
            return Err(GeometryError::Unit);
        }
        if self.erase_unit != 0 {
            if !self.erase_unit.is_power_of_two() {
                return Err(GeometryError::Unit);
            }
            if self.erase_unit < self.write_unit || self.erase_unit < self.read_unit {
                return Err(GeometryError::EraseBelowWrite);
            }
        }
        if self.capacity == 0 || !aligned(self.capacity, self.block()) {
            return Err(GeometryError::Capacity);
        }
        Ok(())
    }

    /// Whether written units must be erased before they are written again.
    pub const fn must_erase(&self) -> bool {
        self.erase_unit != 0
    }

    /// The unit in which space can be given to different owners: a write to one never harms another.
    #[inline(never)]
    pub const fn block(&self) -> u32 {
        let least = if self.read_unit > self.write_unit { self.read_unit } else { self.write_unit };
        if self.erase_unit > least { self.erase_unit } else { least }
    }

    /// Whether a read of `len` bytes at `address` keeps to the units and stays inside.
    pub fn allows_read(&self, address: u64, len: usize) -> bool {
        self.allows(address, len as u64, self.read_unit)
    }

    /// Whether a write of `len` bytes at `address` keeps to the units and stays inside.
    pub fn allows_write(&self, address: u64, len: usize) -> bool {
        self.allows(address, len as u64, self.write_unit)
    }

    /// Whether an erase of `range` keeps to the units and stays inside.
    pub fn allows_erase(&self, range: &Range<u64>) -> bool {
        let unit = if self.erase_unit == 0 { self.write_unit } else { self.erase_unit };
        range.start <= range.end && self.allows(range.start, range.end.saturating_sub(range.start), unit)
    }

    fn allows(&self, address: u64, len: u64, unit: u32) -> bool {
        aligned(address, unit)
            && aligned(len, unit)
            && address.checked_add(len).is_some_and(|end| end <= self.capacity)
    }
}

/// Whether `value` is a multiple of `unit`, a power of two.
fn aligned(value: u64, unit: u32) -> bool {
    value & u64::from(unit.wrapping_sub(1)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_devices_are_good() {
        for geometry in [
            Geometry::blocks(4096, 512),
            Geometry::blocks(1, 1),
            Geometry::blocks(1 << 50, 65_536),
            Geometry::flash(1 << 20, 1, 4096),
            Geometry::flash(1 << 24, 256, 65_536),
            Geometry::flash(1 << 30, 2048, 1 << 20),
            Geometry { read_unit: 512, alignment: 4096, ..Geometry::flash(8192, 256, 4096) },
        ] {
            assert_eq!(geometry.check(), Ok(()), "{geometry:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let flash = Geometry::flash(8192, 16, 256);
        for (geometry, error) in [
            (Geometry { read_unit: 0, ..flash }, GeometryError::Unit),
            (Geometry { read_unit: 3, ..flash }, GeometryError::Unit),
            (Geometry { write_unit: 0, ..flash }, GeometryError::Unit),
            (Geometry { write_unit: 24, ..flash }, GeometryError::Unit),
            (Geometry { erase_unit: 100, ..flash }, GeometryError::Unit),
            (Geometry { alignment: 0, ..flash }, GeometryError::Unit),
            (Geometry { alignment: 3, ..flash }, GeometryError::Unit),
            (Geometry::blocks(1 << 20, 131_072), GeometryError::Unit),
            (Geometry { erase_unit: 8, ..flash }, GeometryError::EraseBelowWrite),
            (Geometry { read_unit: 512, ..flash }, GeometryError::EraseBelowWrite),
            (Geometry { capacity: 0, ..flash }, GeometryError::Capacity),
            (Geometry { capacity: 8192 + 16, ..flash }, GeometryError::Capacity),
            (Geometry::blocks(1000, 512), GeometryError::Capacity),
        ] {
            assert_eq!(geometry.check(), Err(error), "{geometry:?}");
        }
    }

    #[test]
    fn the_block_is_the_largest_unit() {
        assert_eq!(Geometry::blocks(4096, 512).block(), 512);
        assert_eq!(Geometry::flash(4096, 16, 256).block(), 256);
        assert_eq!(Geometry { read_unit: 1024, ..Geometry::blocks(4096, 512) }.block(), 1024);
        assert!(Geometry::flash(4096, 16, 256).must_erase());
        assert!(!Geometry::blocks(4096, 512).must_erase());
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn accesses_keep_to_units_and_bounds() {
        let flash = Geometry { read_unit: 4, ..Geometry::flash(1024, 16, 256) };
        assert!(flash.allows_read(0, 1024) && flash.allows_read(1020, 4) && flash.allows_read(1024, 0));
        assert!(!flash.allows_read(2, 4) && !flash.allows_read(0, 2) && !flash.allows_read(1020, 8));
        assert!(flash.allows_write(16, 1008));
        assert!(!flash.allows_write(4, 16) && !flash.allows_write(0, 4) && !flash.allows_write(1024, 16));
        assert!(!flash.allows_write(u64::MAX - 15, 16), "the end is past 64 bits");
        assert!(flash.allows_erase(&(256..1024)) && flash.allows_erase(&(256..256)));
        assert!(!flash.allows_erase(&(0..16)) && !flash.allows_erase(&(16..256)));
        assert!(!flash.allows_erase(&(768..1280)) && !flash.allows_erase(&(512..256)));
        assert!(Geometry::blocks(1024, 512).allows_erase(&(512..1024)), "a discard keeps to the write unit");
        assert!(!Geometry::blocks(1024, 512).allows_erase(&(256..1024)));
    }
}
