//! How the memory that a store is allowed is lent: all of it, and nothing beside it that counts.

use esker::btree::{self, BTree};
use esker::device::Geometry;
use esker::lsm::{self, Lsm};
use esker::store::Index;
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;
use esker_linux::{AlignedBuffer, FileDevice, FrameBuffer};

use crate::Failure;
use crate::kv::Setting;

/// An index in memory of its own.
pub trait InMemory: Index + Sized + 'static {
    /// In so many bytes, those of its frames counted. `None`: they are too few.
    fn within(bytes: usize, geometry: &Geometry, block: usize) -> Option<Self>;
}

/// Pages in a tree.
pub type BTreeIndex = BTree<AlignedBuffer, FrameBuffer>;

/// Sorted tables.
pub type LsmIndex = Lsm<AlignedBuffer, FrameBuffer>;

impl InMemory for BTreeIndex {
    fn within(bytes: usize, _: &Geometry, block: usize) -> Option<Self> {
        // One of the pages is for the tree's own work.
        let pages = bytes / (block + size_of::<btree::Frame>());
        let frames = pages.checked_sub(1).filter(|frames| *frames > 0)?;
        Some(Self::new(AlignedBuffer::new(pages * block), FrameBuffer::new(frames)))
    }
}

impl InMemory for LsmIndex {
    /// A third of what is above the least that it needs is for frames, the rest for the memtable, whose pages are frames as long as it
    /// has no use for them.
    fn within(bytes: usize, geometry: &Geometry, block: usize) -> Option<Self> {
        let (needed, frames) = Self::memory_needed(geometry, block as u32);
        let more = bytes.checked_sub(needed + frames * size_of::<lsm::Frame>())?;
        let page = (block / 32).clamp(512, 4096).max(geometry.write_unit.max(geometry.read_unit) as usize);
        let records = frames + more / (page + size_of::<lsm::Frame>());
        let frames = frames + more / 3 / page;
        let pages = AlignedBuffer::new(bytes - records * size_of::<lsm::Frame>());
        let index = Self::new(pages, FrameBuffer::new(records), lsm::Options::default());
        Some(index.with_least_frames(frames as u32))
    }
}

/// Bytes for each, and the index with its part.
pub struct Memory<I> {
    /// The volume.
    pub volume: usize,
    /// The write buffer of the log.
    pub log: usize,
    /// A batch.
    pub batch: usize,
    /// The index.
    pub index: I,
}

/// The most for the log's write buffer: a commit of a batch in one write.
const LOG: usize = 1 << 20;

/// The most for the volume.
const VOLUME: usize = 64 << 10;

/// What lent memory is a multiple of, at least: all units that a device may have.
const PAGE: usize = 4096;

/// What an operation takes in a batch beside its key and value, at most.
const OPERATION: usize = 14;

impl<I: InMemory> Memory<I> {
    /// Divides `total` bytes.
    ///
    /// # Errors
    /// There is too little for a batch, the log and a few pages.
    pub fn of(
        setting: &Setting,
        total: usize,
        geometry: &Geometry,
        layout: &FormatOptions,
    ) -> Result<Self, Failure> {
        let volume = Volume::<FileDevice, AlignedBuffer>::memory_needed(geometry, layout);
        // More of it makes fewer reads of recovery.
        let volume = volume.max(VOLUME.min(total / 16 / PAGE * PAGE));
        let unit = geometry.write_unit.max(1) as usize;
        let log = Log::<AlignedBuffer, 16>::memory_needed(geometry).max(LOG.min(total / 8 / unit * unit));
        let batch = setting.amounts.batch as usize * (setting.key_size + setting.value_size + OPERATION);
        let block = layout.block_size as usize;
        let left =
            total.checked_sub(volume + log + batch + layout.block_size as usize / 8 + setting.value_size);
        let index = left.and_then(|left| I::within(left, geometry, block));
        let index = index.ok_or_else(|| {
            Failure::new(format!(
                "{total} bytes of memory are too little: {volume} for the volume, {log} for the log and {batch} for a \
                 batch leave too few for pages; take a larger --cache or a smaller --batch"
            ))
        })?;
        Ok(Self { volume, log, batch, index })
    }
}
