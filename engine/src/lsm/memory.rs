//! How the lent memory is divided.
//!
//! ```text
//!   ├ builder: 3 pages ┤ scratch page ┤ frames: a page each ┤ memtable ┤ list of tables ┤ its edits ┤ a key ┤
//! ```
//! As many frames as there are records for; the memtable has what is left.

use super::builder;
use super::list::{EDITS, TABLE};
use super::memtable::Kind;
use crate::device::Geometry;
use crate::node;
use crate::volume::Division;

/// See the module. All in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// A page.
    pub(super) size: usize,
    pub(super) pool: usize,
    pub(super) memtable: usize,
    pub(super) list: usize,
    pub(super) edits: usize,
    pub(super) key: usize,
}

/// Bytes of a page of a table in blocks of this size: a table has some 16 to 256 of them, so that its index fits into one.
pub(super) fn page_size(geometry: &Geometry, block: u32) -> usize {
    let unit = geometry.write_unit.max(geometry.read_unit);
    (block / 32).clamp(512, 4096).max(unit) as usize
}

impl Layout {
    /// Bytes that are needed beside the memtable's.
    fn fixed(geometry: &Geometry, block: u32, division: &Division, frames: usize) -> Self {
        let size = page_size(geometry, block);
        // Before the volume is known, as if it had nothing but blocks.
        let tables = match division.blocks {
            0 => geometry.capacity.checked_div(u64::from(block)).unwrap_or(0),
            blocks => blocks.into(),
        };
        let list = usize::try_from(tables).unwrap_or(usize::MAX).saturating_mul(TABLE);
        Self {
            size,
            pool: frames.saturating_add(1).saturating_mul(size),
            memtable: 0,
            list,
            edits: EDITS,
            key: node::max_key(size),
        }
    }

    fn total(&self) -> usize {
        let pages = builder::PAGES.saturating_mul(self.size).saturating_add(self.pool);
        let rest = self.edits.saturating_add(self.key);
        pages.saturating_add(self.memtable).saturating_add(self.list).saturating_add(rest)
    }

    /// The least memory for a device, with so many frames, and a memtable of this kind. The list then has a third of what is left, so on a
    /// large device there is not room for all of the tables that it could hold.
    pub(super) fn least<M: Kind>(
        geometry: &Geometry,
        block: u32,
        division: &Division,
        frames: usize,
    ) -> usize {
        let mut layout = Self::fixed(geometry, block, division, frames.max(M::FRAMES));
        layout.memtable = M::least(layout.size, division);
        layout.list = layout.list.min((layout.memtable / 2).saturating_add(TABLE));
        layout.total()
    }

    /// Divides so many bytes; `None`: they are too few.
    pub(super) fn divide<M: Kind>(
        geometry: &Geometry,
        block: u32,
        division: &Division,
        bytes: usize,
        frames: usize,
    ) -> Option<Self> {
        let mut layout = Self::fixed(geometry, block, division, frames);
        let rest = bytes.checked_sub(layout.total().saturating_sub(layout.list))?;
        // What is not remembered makes a whole manifest.
        layout.edits = (rest / 64).clamp(EDITS, 16 * EDITS);
        let rest = rest.saturating_sub(layout.edits.saturating_sub(EDITS));
        layout.list = layout.list.min(rest / 3) / TABLE * TABLE;
        layout.memtable = rest.saturating_sub(layout.list);
        let enough = layout.memtable >= M::least(layout.size, division) && frames >= M::FRAMES;
        enough.then_some(layout)
    }
}
