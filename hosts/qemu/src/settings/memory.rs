//! What a board lends to the store of its settings: here it is decided which tree that is, and everything else is the same for both.

use esker::btree::{BTree, Frame};
use esker::lsm::{Lsm, Options, Places, Shape};

use super::{Plan, StoredSettings};
use crate::logger;

/// Bytes of a page of either tree.
pub const PAGE: usize = 512;

/// Memory for settings on a B-tree, whose pages are the blocks of the volume: for a card, or flash with small erase units.
#[derive(Debug)]
pub struct OnBTree {
    /// One is for rearranging others.
    pages: [u8; (Self::FRAMES + 1) * PAGE],
    frames: [Frame; Self::FRAMES],
    log: [u8; PAGE],
}

/// What a board with a B-tree lends in all, volume and logs included.
const _: () = assert!(size_of::<OnBTree>() + size_of::<logger::Memory>() <= 16 * 1024);

impl OnBTree {
    /// Pages in memory.
    const FRAMES: usize = 23;
    const PLAN: Plan = Plan { quiet: 30, parts: 1 };

    /// Blank.
    pub const fn new() -> Self {
        Self { pages: [0; (Self::FRAMES + 1) * PAGE], frames: [Frame::BLANK; Self::FRAMES], log: [0; PAGE] }
    }

    /// Settings in this memory.
    pub fn lend(&mut self) -> StoredSettings<'_, BTree<&mut [u8], &mut [Frame]>> {
        let tree = BTree::new(&mut self.pages[..], &mut self.frames[..]);
        StoredSettings::new(tree, &mut self.log[..], Self::PLAN)
    }
}

impl Default for OnBTree {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory for settings on an LSM tree, whose tables are the blocks of the volume: an erase unit each, or on a card some sixteen KiB.
#[derive(Debug)]
pub struct OnLsm {
    /// Nine pages, and four bytes for each setting that was changed lately: see `Lsm::memory_needed_with_page_size`.
    bytes: [u8; Self::LENT - PAGE - Self::FRAMES * size_of::<Frame>()],
    frames: [Frame; Self::FRAMES],
    log: [u8; PAGE],
}

const _: () = assert!(size_of::<OnLsm>() <= OnLsm::LENT);

impl OnLsm {
    /// All that is lent to the store.
    pub const LENT: usize = 8 * 1024;
    /// As many as a sweep needs.
    const FRAMES: usize = 4;
    const PLAN: Plan = Plan { quiet: 4, parts: 8 };

    /// Blank.
    pub const fn new() -> Self {
        Self {
            bytes: [0; Self::LENT - PAGE - Self::FRAMES * size_of::<Frame>()],
            frames: [Frame::BLANK; Self::FRAMES],
            log: [0; PAGE],
        }
    }

    /// Settings in this memory.
    pub fn lend(&mut self) -> StoredSettings<'_, Lsm<&mut [u8], &mut [Frame], Places>> {
        let tree = Lsm::with_places(&mut self.bytes[..], &mut self.frames[..], Self::OPTIONS);
        StoredSettings::new(tree.with_page_size(PAGE as u32), &mut self.log[..], Self::PLAN)
    }

    /// The fewest reads, and the least memory.
    pub const OPTIONS: Options = Options { shape: Shape::Sweep, bits_per_key: 10 };
}

impl Default for OnLsm {
    fn default() -> Self {
        Self::new()
    }
}
