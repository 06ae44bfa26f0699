//! The devices and volumes that scenarios run on: small, so that everything happens often.

use std::fmt;

use esker::device::Geometry;
use esker::volume::FormatOptions;
use esker_sim::Sim;

use super::opened::{Memory, TestLog, Vol};

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Blocks of 512 bytes.
    Blocks512,
    /// Blocks of 4096 bytes.
    Blocks4096,
    /// NOR flash: erased in 4096, written in 4.
    Nor4,
    /// NOR flash: erased in 4096, written in 16.
    Nor16,
    /// Flash that is erased in 512, written in 4.
    Small,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks512 => "b512",
            Self::Blocks4096 => "b4096",
            Self::Nor4 => "nor4",
            Self::Nor16 => "nor16",
            Self::Small => "small",
        })
    }
}

/// A device, a volume on it, and the memory lent.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The kind of device.
    pub kind: Kind,
    /// Bytes of a segment.
    pub segment: u32,
    /// Segments in the pool.
    pub segments: u32,
    /// Times the least write buffer that a log needs.
    pub buffers: usize,
    /// Bytes of a block; 0: the volume holds logs alone.
    pub block: u32,
    /// Blocks.
    pub blocks: u32,
}

impl Shape {
    /// The usual volume on a kind of device.
    pub const fn of(kind: Kind) -> Self {
        let (segment, segments) = match kind {
            Kind::Blocks512 | Kind::Small => (2048, 10),
            Kind::Blocks4096 => (16_384, 6),
            Kind::Nor4 | Kind::Nor16 => (4096, 6),
        };
        Self { kind, segment, segments, buffers: 1, block: 0, blocks: 0 }
    }

    /// The device's sizes and units.
    pub fn geometry(&self) -> Geometry {
        let room = self.pool() + u64::from(self.block) * u64::from(self.blocks);
        match self.kind {
            Kind::Blocks512 => Geometry::blocks(2 * 4096 + room, 512),
            Kind::Blocks4096 => Geometry::blocks(2 * 32_768 + room, 4096),
            Kind::Nor4 => Geometry::flash(2 * 4096 + room, 4, 4096),
            Kind::Nor16 => Geometry::flash(2 * 4096 + room, 16, 4096),
            Kind::Small => Geometry::flash(2 * 4096 + room, 4, 512),
        }
    }

    fn pool(&self) -> u64 {
        u64::from(self.segment) * u64::from(self.segments)
    }

    /// A device.
    pub fn sim(&self) -> Sim {
        Sim::new(self.geometry()).expect("a possible geometry")
    }

    /// The volume's layout.
    pub fn options(&self) -> FormatOptions {
        FormatOptions {
            volume_id: 0xE5CE,
            segment_size: self.segment,
            // Beside blocks the pool must be told; without any it takes all there is.
            pool_size: if self.block == 0 { 0 } else { self.pool() },
            block_size: self.block,
            ..FormatOptions::default()
        }
    }

    /// Memory to be lent.
    pub fn memory(&self) -> Memory {
        let geometry = self.geometry();
        let volume = Vol::memory_needed(&geometry, &self.options());
        Memory { volume, log: self.buffers * TestLog::memory_needed(&geometry) }
    }

    /// Address of the pool's segment `number`.
    pub fn segment_address(&self, number: u32) -> u64 {
        let homes = self.geometry().capacity - self.pool() - u64::from(self.block) * u64::from(self.blocks);
        homes + u64::from(self.segment) * u64::from(number)
    }
}
