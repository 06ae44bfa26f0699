//! How large pages are, and how the lent memory is divided.
//!
//! ```text
//!   ├ builder: 3 pages or more ┤ scratch page ┤ frames: a page each ┤ memtable ┤ list of tables ┤ its edits ┤ two keys ┤
//! ```
//! As many frames as there are records for, or as are asked for; the memtable has what is left. If there are records for more, then the
//! pages at the memtable's beginning are frames as long as it has no use for them: all of them while it is empty. It
//! fills from its end, and takes them back some at a time. Where memory is small there is no such thing.

use super::builder;
use super::list::{EDITS, TABLE};
use super::memtable::{Kind, Places};
use super::tree::Lsm;
use crate::codec::SMALL;
use crate::device::Geometry;
use crate::node;
use crate::pool::Frames;
use crate::volume::{Buffer, Division, VolumeInfo};

/// See the module. All in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// What the store says of its pages.
    pub(super) pages: Pages,
    /// Frames that always have a page, if there are records for more; 0: all.
    pub(super) least: u32,
    /// A page.
    pub(super) size: usize,
    pub(super) builder: usize,
    /// Pages may be written many at once: nothing is to be erased.
    pub(super) many: bool,
    pub(super) pool: usize,
    pub(super) memtable: usize,
    pub(super) list: usize,
    pub(super) edits: usize,
    pub(super) key: usize,
}

/// How large the pages of a table are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pages {
    /// The bytes of one are 2 to the power of this; 0: as many as the block and the device's units say.
    pub(super) shift: u32,
}

/// The least bytes of a page, and the most if units are not larger.
const LEAST: u32 = 512;
const MOST: u32 = 4096;
/// A page more for the builder for so many that there is room for beside the frames, and no more than so many.
const MUCH: usize = 64;
const MORE: usize = 15;
/// A table has no more pages than it can count; and some, or it would be hardly more than its index and its filter.
const COUNT: core::ops::RangeInclusive<u32> = 8..=256;

impl Pages {
    /// Bytes of a page of a table in blocks of this size; why there is none.
    pub(super) fn size(self, geometry: &Geometry, block: u32) -> Result<usize, &'static str> {
        let unit = geometry.write_unit.max(geometry.read_unit);
        // Some 16 to 256 of them, so that the index of a table fits into one.
        let usual = (block / 32).clamp(LEAST, MOST).max(unit);
        let size = if self.shift == 0 { usual } else { 1_u32.checked_shl(self.shift).unwrap_or(0) };
        if size < unit.max(LEAST) || size > MOST.max(unit) {
            return Err(
                "pages of an LSM tree have 512 to 4096 bytes, or as many as the device's units: choose another size for them",
            );
        }
        if !COUNT.contains(&(block / size)) {
            return Err(
                "a table of an LSM tree is a block of 8 to 256 pages, none smaller than the device's units: use larger blocks for more",
            );
        }
        Ok(size as usize)
    }
}

impl Layout {
    /// With pages of this size, and all but the memtable.
    pub(super) fn fixed(
        geometry: &Geometry,
        size: usize,
        block: u32,
        division: &Division,
        frames: usize,
    ) -> Self {
        // Before the volume is known, as if it had nothing but blocks.
        let tables = match division.blocks {
            0 => geometry.capacity.checked_div(u64::from(block)).unwrap_or(0),
            blocks => blocks.into(),
        };
        let list = usize::try_from(tables).unwrap_or(usize::MAX).saturating_mul(TABLE);
        Self {
            pages: Pages::default(),
            least: 0,
            size,
            builder: builder::PAGES.saturating_mul(size),
            many: !SMALL && geometry.erase_unit == 0,
            pool: frames.saturating_add(1).saturating_mul(size),
            memtable: 0,
            list,
            edits: EDITS,
            key: node::max_key(size).saturating_mul(2),
        }
    }

    /// Frames that always have a page.
    pub(super) fn frames(&self) -> u32 {
        (self.pool.checked_div(self.size).unwrap_or(0) as u32).saturating_sub(1)
    }

    fn total(&self) -> usize {
        let pages = self.builder.saturating_add(self.pool);
        let rest = self.edits.saturating_add(self.key);
        pages.saturating_add(self.memtable).saturating_add(self.list).saturating_add(rest)
    }

    /// The least memory, with a memtable of this kind. The list then has a third of what is left, so on a large device there is not
    /// room for all of the tables that it could hold.
    pub(super) fn needed<M: Kind>(mut self, division: &Division) -> usize {
        self.memtable = M::least(self.size, division);
        self.list = self.list.min((self.memtable / 2).saturating_add(TABLE));
        self.total()
    }

    /// The least memory for a device, with so many frames, a memtable of this kind, and pages as large as they usually are.
    pub(super) fn least<M: Kind>(
        geometry: &Geometry,
        block: u32,
        division: &Division,
        frames: usize,
    ) -> usize {
        let size = Pages::default().size(geometry, block).unwrap_or(MOST as usize);
        Self::fixed(geometry, size, block, division, frames.max(M::FRAMES)).needed::<M>(division)
    }

    /// Divides so many bytes, `frames` pages of them for frames; `None`: they are too few.
    pub(super) fn divide<M: Kind>(
        mut self,
        division: &Division,
        bytes: usize,
        frames: usize,
    ) -> Option<Self> {
        let rest = bytes.checked_sub(self.total().saturating_sub(self.list))?;
        // What is not remembered makes a whole manifest.
        self.edits = (rest / 64).clamp(EDITS, 16 * EDITS);
        let mut rest = rest.saturating_sub(self.edits.saturating_sub(EDITS));
        if self.many {
            let more = (rest / self.size.max(1) / MUCH).min(MORE).saturating_mul(self.size);
            self.builder = self.builder.saturating_add(more);
            rest = rest.saturating_sub(more);
        }
        self.list = self.list.min(rest / 3) / TABLE * TABLE;
        self.memtable = rest.saturating_sub(self.list);
        let enough = self.memtable >= M::least(self.size, division) && frames >= M::FRAMES;
        enough.then_some(self)
    }
}

impl<P: Buffer, F: Frames, M: Kind> Lsm<P, F, M> {
    /// A tree whose tables have pages of so many bytes, a power of two, when a store is [created](crate::store::Store::create) with it.
    /// An existing store has the pages that it was created with, whatever is said here.
    ///
    /// As a rule a page is a thirty-second of a block, from 512 to 4,096 bytes, but no smaller than the device's units. Where erase
    /// units make blocks larger than tables need be, smaller pages save memory: a tree has nine of them and more. The index of a table is
    /// one page, so tables with small pages may leave most of their block unused. A value longer than half a page is kept apart from its
    /// pair, which costs a `get` a read more. From 512 to 4,096 bytes, or up to the device's units, and no more than 256 pages in a block; else
    /// [`BlockSize`](crate::store::Error::BlockSize).
    #[must_use]
    pub fn with_page_size(mut self, bytes: u32) -> Self {
        // Of what is no power of two nothing comes but an error.
        self.state.layout.pages.shift =
            if bytes.is_power_of_two() { bytes.trailing_zeros() } else { u32::MAX };
        self
    }
}

#[cfg(not(target_pointer_width = "32"))]
impl<P: Buffer, F: Frames> Lsm<P, F> {
    /// A tree that always has pages for so many frames, 6 at least; the memtable has the rest of the memory, as if there were no records for more.
    /// But as long as it has no use for a part of that, pages of tables are kept there, for which the other records are: lend one for each page that there is memory
    /// for. So a store that is read after an open or a checkpoint has nearly all of its memory as a cache. Puts take from it, until the next
    /// checkpoint; deletes, too.
    ///
    /// Without this all records have pages of their own.
    #[must_use]
    pub fn with_least_frames(mut self, frames: u32) -> Self {
        self.state.layout.least = frames;
        self
    }
}

/// Pages that the memtable takes back at a time.
const BACK: u32 = 16;

impl<P: Buffer, F: Frames, M: Kind> Lsm<P, F, M> {
    /// The frames that have a page of their own, of so many.
    pub(super) fn least_frames(&self) -> usize {
        let (frames, least) = (self.frames.as_ref().len(), self.state.layout.least as usize);
        if SMALL || least == 0 { frames } else { frames.min(least.max(M::FRAMES)) }
    }

    /// The pool gets what the memtable has no use for.
    pub(super) fn lend(&mut self) {
        self.lend_pages(self.memtable.unused());
    }

    /// Before an insert: a page that it may take into use.
    pub(super) fn take_back(&mut self) {
        let unused = self.memtable.unused();
        if !SMALL && self.memtable.lent() >= unused.max(1) {
            self.lend_pages(unused.saturating_sub(BACK));
        }
    }

    /// Lends so many pages of the memtable, if there are records for them.
    pub(super) fn lend_pages(&mut self, pages: u32) {
        if SMALL {
            return;
        }
        let frames = self.state.layout.frames();
        let records = self.frames.as_ref().len() as u32;
        let lent = pages.min(records.saturating_sub(frames));
        self.view().tables.pool.resize(frames.saturating_add(lent));
        self.memtable.lend(lent);
    }
}

impl<P: Buffer, F: Frames> Lsm<P, F, Places> {
    /// Like [`memory_needed_with_places`](Self::memory_needed_with_places), with [pages of so many bytes](Self::with_page_size).
    pub fn memory_needed_with_page_size(bytes: u32, volume: &VolumeInfo) -> (usize, usize) {
        let division = Division {
            segments: volume.segments,
            segment: volume.segment_size,
            reserve: volume.reserve.into(),
            blocks: volume.blocks,
        };
        let frames = <Places as Kind>::FRAMES;
        let fixed = Layout::fixed(&volume.geometry, bytes as usize, volume.block_size, &division, frames);
        (fixed.needed::<Places>(&division), frames)
    }
}
