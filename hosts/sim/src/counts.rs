//! What the device was asked to do, counted; and what that would have cost in time on a real one.

use std::ops::Sub;
use std::time::Duration;

/// Calls and bytes by kind. Failed calls are counted: a device takes its time over them too.
///
/// Take one before and one after, and subtract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `read`.
    pub reads: u64,
    /// Bytes asked for by `read`.
    pub read_bytes: u64,
    /// Calls of `write`.
    pub writes: u64,
    /// Bytes given to `write`.
    pub write_bytes: u64,
    /// Program commands: calls of `write`, split where they cross a page. The same as `writes` without pages.
    pub programs: u64,
    /// Calls of `erase`.
    pub erases: u64,
    /// Bytes in the ranges given to `erase`.
    pub erase_bytes: u64,
    /// Erase units erased; on block devices the calls of `erase`.
    pub erase_units: u64,
    /// Calls of `sync`.
    pub syncs: u64,
}

impl Counts {
    /// Calls of all kinds.
    pub fn calls(&self) -> u64 {
        self.reads + self.writes + self.erases + self.syncs
    }
}

impl Sub for Counts {
    type Output = Self;

    /// What happened between `earlier` and this.
    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            read_bytes: self.read_bytes - earlier.read_bytes,
            writes: self.writes - earlier.writes,
            write_bytes: self.write_bytes - earlier.write_bytes,
            programs: self.programs - earlier.programs,
            erases: self.erases - earlier.erases,
            erase_bytes: self.erase_bytes - earlier.erase_bytes,
            erase_units: self.erase_units - earlier.erase_units,
            syncs: self.syncs - earlier.syncs,
        }
    }
}

/// What operations cost: a fixed time per command and a time per byte. Rough, but the same for every candidate, so
/// that ratios can be trusted where absolute times can't.
///
/// The fields are public: put in the figures of your own part's data sheet.
///
/// ```
/// use std::time::Duration;
/// use esker_sim::{CostModel, Counts};
///
/// let one_page = Counts { writes: 1, programs: 1, write_bytes: 256, ..Counts::default() };
/// assert_eq!(CostModel::spi_nor().time(&one_page), Duration::from_micros(670));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// Nanoseconds for each `read`, whatever its length.
    pub read_ns: u64,
    /// Picoseconds for each byte read.
    pub read_byte_ps: u64,
    /// Nanoseconds for each program command (see [`Counts::programs`]).
    pub program_ns: u64,
    /// Picoseconds for each byte written.
    pub program_byte_ps: u64,
    /// Nanoseconds for each erase unit (see [`Counts::erase_units`]).
    pub erase_ns: u64,
    /// Nanoseconds for each `sync`.
    pub sync_ns: u64,
}

impl CostModel {
    /// A serial NOR part with 4 KiB sectors and 256 B pages: reads at 10 MB/s (a plain SPI bus at 80 MHz), 30 us and
    /// 2.5 us a byte for each page program (0.67 ms for a full page), 45 ms for a sector erase. These are the typical
    /// (not the maximal) figures that data sheets of the 25Q family give.
    pub const fn spi_nor() -> Self {
        Self {
            read_ns: 0,
            read_byte_ps: 100_000,
            program_ns: 30_000,
            program_byte_ps: 2_500_000,
            erase_ns: 45_000_000,
            sync_ns: 0,
        }
    }

    /// An SD card of application performance class A1: the class asks for 1500 random reads and 500 random writes of
    /// 4 KiB a second, and class 10 for 10 MB/s of sequential writes. So 460 us and 50 ns a byte (20 MB/s) for a read,
    /// 1.59 ms and 100 ns a byte for a write. Such a card has no cache to flush: a write ends when its busy signal
    /// does, so a sync is free. A discard only marks; 1 ms.
    pub const fn sd_card() -> Self {
        Self {
            read_ns: 460_000,
            read_byte_ps: 50_000,
            program_ns: 1_590_000,
            program_byte_ps: 100_000,
            erase_ns: 1_000_000,
            sync_ns: 0,
        }
    }

    /// A consumer NVMe drive with TLC flash and without power-loss protection, one request at a time: 70 us for a
    /// read (the flash array's read time and the path), 20 us for a write into the drive's cache, 3 GB/s either way,
    /// and 1 ms for a flush, which has to program flash. Data sheets give the first three; the flush is what such
    /// drives commonly measure.
    pub const fn nvme() -> Self {
        Self {
            read_ns: 70_000,
            read_byte_ps: 333,
            program_ns: 20_000,
            program_byte_ps: 333,
            erase_ns: 20_000,
            sync_ns: 1_000_000,
        }
    }

    /// How long a device of this kind would have been busy.
    pub fn time(&self, counts: &Counts) -> Duration {
        let ns = counts.reads * self.read_ns
            + counts.programs * self.program_ns
            + counts.erase_units * self.erase_ns
            + counts.syncs * self.sync_ns;
        let ps = u128::from(counts.read_bytes) * u128::from(self.read_byte_ps)
            + u128::from(counts.write_bytes) * u128::from(self.program_byte_ps);
        Duration::from_nanos(ns) + Duration::from_nanos(u64::try_from(ps / 1000).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_give_the_figures_they_are_documented_with() {
        let mb = Counts { reads: 1, read_bytes: 10_000_000, ..Counts::default() };
        assert_eq!(CostModel::spi_nor().time(&mb), Duration::from_secs(1));
        let erase = Counts { erases: 1, erase_units: 2, ..Counts::default() };
        assert_eq!(CostModel::spi_nor().time(&erase), Duration::from_millis(90));
        let read = Counts { reads: 1500, read_bytes: 1500 * 4096, ..Counts::default() };
        let write = Counts { writes: 500, programs: 500, write_bytes: 500 * 4096, ..Counts::default() };
        for counts in [read, write] {
            let took = CostModel::sd_card().time(&counts);
            assert!((990..=1010).contains(&took.as_millis()), "{took:?}");
        }
        let flush = Counts { syncs: 1, ..Counts::default() };
        assert_eq!(CostModel::nvme().time(&flush), Duration::from_millis(1));
    }
}
