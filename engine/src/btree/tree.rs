//! The tree as a whole: its memory, its root, and what the shell asks of it.

use core::ops::Range;

use heapless::Vec;

use crate::codec::{SMALL, Varints};
use crate::device::Geometry;
use crate::index::{
    Damage, Effect, Found, Ground, Index, IndexInfo, Input, Kind, LOG_FULL, Op, Place, Promoted, Unfit,
    Verified, untold,
};
use crate::node::{self, Pointer};
use crate::pool::{Frames, NO_BLOCK, NONE, Pool, PoolInfo, State};
use crate::volume::{Buffer, Division, Fault, VolumeInfo};

/// No tree is higher. With three children to a page at least, 2^32 blocks are used up long before.
pub(super) const MAX_HEIGHT: usize = 24;
/// On flash, a page is erased as a whole before it is written: larger erase units are for the LSM tree.
const MAX_ERASE: u32 = 4096;
/// So many pages more than its way a change writes while a checkpoint is under way.
const PAID: u32 = 8;
/// Places on a page are numbers of two bytes.
pub(super) const MAX_PAGE: u32 = 65_536;
/// Blocks that puts leave free beside what a delete may need.
const RESERVE: u32 = 4;
/// Frames that a change needs beside the way from the root to the leaf.
pub(super) const SPARE_FRAMES: u32 = 3;

/// A B-tree in lent memory: the index of a [`Store`](crate::store::Store).
///
/// `P` is memory for pages, lent or given, which begins where the device's alignment wants it; `F` are the records of the
/// frames. One page of the memory is for rearranging others; each further one needs a frame.
pub struct BTree<P, F> {
    pages: P,
    frames: F,
    state: State,
    root: Root,
}

/// Memory for a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Needed {
    /// Bytes of pages.
    pub pages: usize,
    /// Frame records.
    pub frames: usize,
}

/// Where the tree begins, and what is counted of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    /// The root page; [`NO_BLOCK`]: there is none.
    pub(super) page: Pointer,
    /// Pages from it to a leaf.
    pub(super) height: u8,
    pub(super) counts: IndexInfo,
    /// Goes up with each change: what a cursor knew may be elsewhere now.
    pub(super) changes: u32,
}

impl Root {
    pub(super) const NONE: Self = Self {
        page: Pointer { block: NO_BLOCK, crc: 0 },
        height: 0,
        counts: IndexInfo { pairs: 0, depth: 0, leaves: 0, inner: 0, overflow: 0 },
        changes: 0,
    };
}

/// The tree at work: without the types of its memory, so that its code is there once.
pub(super) struct Tree<'a> {
    pub(super) pool: Pool<'a>,
    pub(super) root: &'a mut Root,
}

/// A page on the way from the root, and which of its children (or pairs) the way goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) frame: u32,
    pub(super) index: u32,
}

/// The way from the root to a leaf. Its pages are pinned.
pub(super) type Path = Vec<Turn, MAX_HEIGHT>;

impl<P: Buffer, F: Frames> BTree<P, F> {
    /// A tree for the memory; as many frames as both give room for. Which store it is of, [`Store`](crate::store::Store) says.
    pub fn new(pages: P, frames: F) -> Self {
        Self { pages, frames, state: State::new(), root: Root::NONE }
    }

    /// The least memory with which a tree can use every block of the volume, whatever its keys are. A store opens with as
    /// much as its height needs: usually far less, see [`Needed::for_height`].
    pub fn memory_needed(volume: &VolumeInfo) -> Needed {
        // A page has three children at least, the root two.
        let (mut height, mut leaves) = (2_u32, 2_u64);
        while leaves.saturating_mul(3) <= u64::from(volume.blocks) {
            leaves = leaves.saturating_mul(3);
            height = height.saturating_add(1);
        }
        Needed::for_height(volume.block_size, height)
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> (P, F) {
        (self.pages, self.frames)
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn view(&mut self) -> Tree<'_> {
        let pool = Pool { pages: self.pages.as_mut(), frames: self.frames.as_mut(), state: &mut self.state };
        Tree { pool, root: &mut self.root }
    }
}

impl Needed {
    /// For a tree of so many pages from root to leaf.
    pub const fn for_height(block_size: u32, height: u32) -> Self {
        let frames = height.saturating_add(SPARE_FRAMES) as usize;
        Self { pages: frames.saturating_add(1).saturating_mul(block_size as usize), frames }
    }
}

impl<P: Buffer, F: Frames> Index for BTree<P, F> {
    const KIND: Kind = Kind::BTree;

    fn begin(&mut self, geometry: &Geometry, block: u32, _: &Division) -> Result<(), Unfit> {
        if geometry.erase_unit > MAX_ERASE || block > MAX_PAGE {
            return Err(Unfit::Block(
                "a B-tree has pages of 64 KiB at most, on erase units of 4 KiB at most: for larger ones use the LSM tree",
            ));
        }
        let start = self.pages.as_ref().as_ptr().addr();
        if start & geometry.alignment.saturating_sub(1) as usize != 0 {
            return Err(Unfit::Misaligned(geometry.alignment));
        }
        let mut tree = self.view();
        let frames = tree.pool.divide(block as usize);
        let needed = Needed::for_height(block, 1);
        if (frames as usize) < needed.frames {
            return Err(Unfit::Memory(needed.pages, needed.frames));
        }
        Ok(())
    }

    fn begin_empty(&mut self) {
        self.root = Root::NONE;
    }

    fn read_root(&mut self, fields: &mut Varints<'_>) {
        self.root = Root::NONE;
        let mut height = 0;
        self.root.page.block = 0;
        root_fields(&mut self.root, &mut height, fields);
        // A root that is higher than any can be is none of ours.
        self.root.height = height.min(MAX_HEIGHT as u32) as u8;
        if height == 0 {
            self.root.page.block = NO_BLOCK;
        }
    }

    fn write_root(&mut self, fields: &mut Varints<'_>) {
        let mut root = self.root;
        let mut height = u32::from(root.height);
        if height == 0 {
            root.page = Pointer::default();
        }
        root_fields(&mut root, &mut height, fields);
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn max_key(&self) -> usize {
        node::max_key(self.state.page_size())
    }

    fn open<G: Ground>(&mut self, _: &mut G) -> Result<(), Fault> {
        Ok(())
    }

    fn max_value(&self, _: usize) -> usize {
        usize::MAX
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_due(&self, log: u32, left: impl FnOnce() -> u32, blocks: bool) -> bool {
        // The later, the fewer pages are written in all. But the changes that are left must be able to pay for what is dirty.
        // Small images do without.
        let must =
            || SMALL || log > LOG_FULL / 8 * 7 || left().saturating_mul(PAID / 2) < self.state.info.dirty;
        log > LOG_FULL / 2 && must() || blocks
    }

    fn position(&mut self, end: u64) -> u64 {
        end
    }

    fn reclaim(&mut self, _: u32) -> bool {
        false
    }

    fn compact<G: Ground>(&mut self, _: &mut G) -> Result<bool, Fault> {
        Ok(false)
    }

    fn is_compacting(&self) -> bool {
        false
    }

    fn published(&mut self) {}

    fn begin_close<G: Ground>(&mut self, _: &mut G, _: u64) -> Result<bool, Fault> {
        Ok(true)
    }

    fn replay_buffer(&mut self) -> &mut [u8] {
        let tree = self.view();
        let size = tree.pool.state.page_size();
        let from = (tree.pool.state.info.frames as usize).wrapping_mul(size);
        tree.pool.pages.get_mut(from..from.wrapping_add(size)).unwrap_or_default()
    }

    fn replay<G: Ground>(
        &mut self,
        ground: &mut G,
        key: Range<usize>,
        value: Option<Range<usize>>,
    ) -> Result<(), Fault> {
        let mut tree = self.view();
        let size = tree.pool.state.page_size();
        let from = (tree.pool.state.info.frames as usize).wrapping_mul(size);
        let (pages, buffer) = tree.pool.pages.split_at_mut_checked(from).unwrap_or_default();
        tree.pool.pages = pages;
        let value = value.map(|place| match buffer.get(place.clone()) {
            Some(bytes) if place.end <= size => Input::Bytes(bytes),
            _ => Input::Logged { from: place.start as u32, len: place.len() as u32 },
        });
        let key = buffer.get(key).unwrap_or_default();
        tree.apply(ground, &Op { key, value }, &mut untold).map(|_| ())
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn replayed(&mut self) {
        self.view().pool.complete();
    }

    fn blocks_for_change(&self) -> u32 {
        // The way, the siblings of its pages, the pages that are split off, and a new root.
        u32::from(self.root.height).wrapping_mul(3).wrapping_add(2)
    }

    fn reserve(&self) -> u32 {
        self.blocks_for_change().saturating_add(RESERVE)
    }

    fn blocks_for_batch(&self, ops: u32, _: usize) -> u32 {
        // So many pages change at most; and of those there are, each once.
        let counts = &self.root.counts;
        let there = counts.leaves.saturating_add(counts.inner).saturating_add(ops.saturating_mul(2));
        let change = self.blocks_for_change();
        change.saturating_mul(ops).min(there.saturating_add(change))
    }

    fn blocks_for_value(&self, key: usize, value: usize, _: bool) -> u32 {
        super::overflow::blocks(self.state.page_size(), key, value)
    }

    fn prepare<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>) -> Result<bool, Fault> {
        let mut tree = self.view();
        tree.check_frames(ground)?;
        Ok(tree.find(ground, op.key)?.is_some())
    }

    fn append<G: Ground>(&mut self, ground: &mut G, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        self.view().append(ground, key, value)
    }

    fn clear(&mut self) {
        let mut tree = self.view();
        let (size, changes) = (tree.pool.state.page_size(), tree.root.changes.wrapping_add(1));
        *tree.root = Root { changes, ..Root::NONE };
        tree.pool.divide(size);
        tree.pool.complete();
    }

    fn begin_replay<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let mut tree = self.view();
        while !tree.write_dirty(ground, u32::MAX)? {}
        let size = tree.pool.state.page_size();
        tree.root.changes = tree.root.changes.wrapping_add(1);
        tree.pool.divide(size);
        Ok(())
    }

    fn apply<G: Ground>(
        &mut self,
        ground: &mut G,
        op: &Op<'_>,
        promoted: Promoted<'_>,
    ) -> Result<Effect, Fault> {
        self.view().apply(ground, op, promoted)
    }

    fn get<G: Ground>(&mut self, ground: &mut G, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, Fault> {
        self.view().get(ground, key, out)
    }

    fn step<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        self.view().step(ground, place, key, forward, out)
    }

    fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault> {
        self.view().skip(ground, place, key, forward)
    }

    fn checkpoint_step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        self.view().write_dirty(ground, pages)
    }

    fn dirty(&self) -> u32 {
        self.state.info.dirty
    }

    fn pace(&mut self, changes: u32, _: u32) -> u32 {
        // What a change makes dirty is one way, and more is written than that: so a checkpoint ends.
        u32::from(self.root.height).wrapping_add(PAID).saturating_mul(changes)
    }

    fn most_moved(&self, _: &Geometry) -> u64 {
        // Of a tree that becomes higher by it: 2 depth + 8 pages read, 3 depth + 12 written.
        let depth = u64::from(self.info().depth).saturating_add(1);
        depth.saturating_mul(5).saturating_add(20).saturating_mul(self.state.page_size() as u64)
    }

    fn info(&self) -> IndexInfo {
        IndexInfo { depth: self.root.height, ..self.root.counts }
    }

    fn pool(&self) -> PoolInfo {
        self.state.info
    }

    fn verify<G: Ground>(
        &mut self,
        ground: &mut G,
        claim: &mut dyn FnMut(u32) -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault> {
        self.view().verify(ground, claim, report)
    }

    fn prune<G: Ground>(&mut self, ground: &mut G, report: &mut dyn FnMut(Damage)) -> Result<(), Fault> {
        self.view().prune(ground, report)
    }
}

/// The root as it is published.
fn root_fields(root: &mut Root, height: &mut u32, fields: &mut Varints<'_>) {
    fields.u32(height);
    fields.u32(&mut root.page.block);
    fields.u32(&mut root.page.crc);
    fields.u64(&mut root.counts.pairs);
    fields.u32(&mut root.counts.leaves);
    fields.u32(&mut root.counts.inner);
    fields.u32(&mut root.counts.overflow);
}

impl Tree<'_> {
    /// Adds to one of the counts.
    pub(super) fn count_page(&mut self, level: u8, more: bool) {
        let counts = &mut self.root.counts;
        let count = if level == 0 { &mut counts.leaves } else { &mut counts.inner };
        *count = if more { count.wrapping_add(1) } else { count.wrapping_sub(1) };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.page.block == NO_BLOCK
    }

    /// The frame above a page on the way.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn above(path: &Path, depth: usize) -> Turn {
        let above = depth.checked_sub(1).and_then(|above| path.get(above));
        above.copied().unwrap_or(Turn { frame: NONE, index: 0 })
    }
}
