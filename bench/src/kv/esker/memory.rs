//! How the memory that a store is allowed is lent: all of it, and nothing beside it that counts.

use esker::btree::Frame;
use esker::device::Geometry;
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;
use esker_linux::{AlignedBuffer, FileDevice, FrameBuffer};

use super::Tree;
use crate::Failure;
use crate::kv::Setting;

/// Bytes for each.
pub struct Memory {
    /// The volume.
    pub volume: usize,
    /// The write buffer of the log.
    pub log: usize,
    /// A batch.
    pub batch: usize,
    /// Pages in the pool, one of them for the tree's own work.
    pages: usize,
    block: usize,
}

/// The most for the log's write buffer: a commit of a batch in one write.
const LOG: usize = 1 << 20;

/// The most for the volume.
const VOLUME: usize = 64 << 10;

/// What lent memory is a multiple of, at least: all units that a device may have.
const PAGE: usize = 4096;

/// What an operation takes in a batch beside its key and value, at most.
const OPERATION: usize = 14;

impl Memory {
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
        let pages = left.map_or(0, |left| left / (block + size_of::<Frame>()));
        if pages < 2 {
            return Err(Failure::new(format!(
                "{total} bytes of memory are too little: {volume} for the volume, {log} for the log and {batch} for a \
                 batch leave no pages; take a larger --cache or a smaller --batch"
            )));
        }
        Ok(Self { volume, log, batch, pages, block })
    }

    /// The tree with its part.
    pub fn tree(&self) -> Tree {
        Tree::new(AlignedBuffer::new(self.pages * self.block), FrameBuffer::new(self.pages - 1))
    }
}
