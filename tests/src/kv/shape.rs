//! The devices, volumes and pools that scenarios run on: small, so that everything happens often.

use esker_sim::Sim;

pub use crate::wal::shape::Kind;
use crate::wal::shape::Shape as Below;

/// A device, a volume on it, and the memory lent.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The device and the volume's layout.
    pub below: Below,
    /// Pages in the pool beyond the least number.
    pub extra: usize,
}

impl Shape {
    /// The usual volume on a kind of device.
    pub const fn of(kind: Kind) -> Self {
        let (segment, segments, block, blocks) = match kind {
            Kind::Blocks512 | Kind::Small => (2048, 10, 512, 96),
            Kind::Blocks4096 => (16_384, 6, 4096, 64),
            Kind::Nor4 | Kind::Nor16 => (16_384, 5, 4096, 56),
        };
        Self { below: Below { kind, segment, segments, buffers: 1, block, blocks }, extra: 0 }
    }

    /// A device.
    pub fn sim(&self) -> Sim {
        self.below.sim()
    }

    /// Whether the pages are large, so that scripts had better be short.
    pub fn large(&self) -> bool {
        self.below.block > 512
    }
}
