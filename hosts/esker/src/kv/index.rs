//! Which index a store has: the one place that tells one from the other, and divides the memory that is lent to them.

use esker::btree::BTree;
use esker::device::Geometry;
use esker::lsm::{self, Lsm};
use esker::store::{Index, Kind, Store};
use esker::volume::VolumeInfo;
use esker_linux::{AlignedBuffer, FrameBuffer};

use super::opened::Volume;
use crate::failure::Failure;

/// Pages in a tree.
pub type BTreeIndex = BTree<AlignedBuffer, FrameBuffer>;

/// Sorted tables.
pub type LsmIndex = Lsm<AlignedBuffer, FrameBuffer>;

/// An index that this program can lend memory to.
pub trait Indexed: Index + Sized {
    /// With so many bytes of memory, or as much of it as the volume can fill.
    fn with_memory(cache: u64, volume: &VolumeInfo) -> Result<Self, Failure>;

    /// Bytes of a page, of which a frame has one.
    fn page_size(volume: &VolumeInfo) -> u64;

    /// Bytes of a block that suit a device.
    fn block_size(geometry: &Geometry) -> u32;

    /// Its levels, and what merges have done since it was opened; if it has such.
    fn figures(&self) -> Option<(Vec<lsm::Level>, lsm::Merges)> {
        None
    }
}

/// Does the same with either index: `$index` is its type in `$body`.
macro_rules! with_index {
    ($kind:expr, $index:ident => $body:expr) => {
        match $kind {
            esker::store::Kind::BTree => {
                type $index = $crate::kv::index::BTreeIndex;
                $body
            }
            esker::store::Kind::Lsm => {
                type $index = $crate::kv::index::LsmIndex;
                $body
            }
        }
    };
}
pub(super) use with_index;

/// The kind of the store on a volume. Where there is none, or one that is not known, any will do: opening it says so.
pub fn kind_of(volume: &Volume) -> Kind {
    let root = Store::<BTreeIndex, AlignedBuffer>::root(volume);
    root.and_then(|root| root.kind).unwrap_or(Kind::BTree)
}

/// As `--engine` and JSON have it.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::BTree => "btree",
        Kind::Lsm => "lsm",
    }
}

/// The same in words.
pub fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::BTree => "B-tree",
        Kind::Lsm => "LSM tree",
    }
}

impl Indexed for BTreeIndex {
    fn with_memory(cache: u64, volume: &VolumeInfo) -> Result<Self, Failure> {
        let needed = Self::memory_needed(volume);
        let cache = cache.min(volume.geometry.capacity.max(needed.pages as u64));
        let frames = cache / u64::from(volume.block_size.max(1));
        let pages = memory(frames * u64::from(volume.block_size))?;
        Ok(Self::new(pages, FrameBuffer::new(frames as usize)))
    }

    /// A block.
    fn page_size(volume: &VolumeInfo) -> u64 {
        volume.block_size.into()
    }

    /// What suits most disks and most file systems below a file.
    fn block_size(geometry: &Geometry) -> u32 {
        geometry.block().max(4096)
    }
}

impl Indexed for LsmIndex {
    /// A third of what is above the least that it needs is for frames, the rest for the memtable: the larger that is, the less
    /// is written, and what is read, the system has at hand. As long as the memtable has no use for its pages, they are frames as well.
    fn with_memory(cache: u64, volume: &VolumeInfo) -> Result<Self, Failure> {
        let (needed, frames) = Self::memory_needed(&volume.geometry, volume.block_size);
        let cache = cache.min(volume.geometry.capacity.max(needed as u64));
        let more = cache.saturating_sub(needed as u64) / Self::page_size(volume);
        let records = frames.saturating_add(more as usize);
        let least = frames.saturating_add(more as usize / 3) as u32;
        let index = Self::new(memory(cache)?, FrameBuffer::new(records), lsm::Options::default());
        Ok(index.with_least_frames(least))
    }

    fn figures(&self) -> Option<(Vec<lsm::Level>, lsm::Merges)> {
        Some((self.levels().to_vec(), self.merges()))
    }

    /// A part of a table, which is a block.
    fn page_size(volume: &VolumeInfo) -> u64 {
        let unit = volume.geometry.write_unit.max(volume.geometry.read_unit);
        (volume.block_size / 32).clamp(512, 4096).max(unit).into()
    }

    /// A block is a table: large ones are merged fastest, and there must be many.
    fn block_size(geometry: &Geometry) -> u32 {
        let unit = geometry.write_unit.max(geometry.read_unit).max(512);
        let least = unit.saturating_mul(8).max(geometry.block()).max(8 << 10);
        let share = u32::try_from(geometry.capacity / 128).unwrap_or(u32::MAX).clamp(1, 512 << 10);
        // Down to a power of two.
        (1 << share.ilog2()).max(least)
    }
}

/// So many bytes, aligned for any device.
fn memory(bytes: u64) -> Result<AlignedBuffer, Failure> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // Memory that there is not ends the process; to be asked is only possible like this.
    if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        return Err(Failure::new(format!("--cache: there is no memory for {bytes} bytes")));
    }
    Ok(AlignedBuffer::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_suit_the_device() {
        let size = |geometry: Geometry| LsmIndex::block_size(&geometry);
        assert_eq!(size(Geometry::blocks(1 << 40, 512)), 512 << 10);
        assert_eq!(size(Geometry::blocks(64 << 20, 512)), 512 << 10);
        assert_eq!(size(Geometry::blocks((64 << 20) - 4096, 512)), 256 << 10);
        assert_eq!(size(Geometry::blocks(4 << 20, 512)), 32 << 10);
        assert_eq!(size(Geometry::blocks(1 << 20, 4096)), 32 << 10);
        assert_eq!(size(Geometry::flash(256 << 10, 256, 4096)), 8 << 10);
        assert_eq!(size(Geometry::flash(8 << 20, 256, 128 << 10)), 128 << 10);
    }
}
