//! What the durability shell and an index know of each other.
//!
//! The shell ([`store`](crate::store)) logs every operation, hands it to its [`Index`], and takes care that what the last
//! publish names is never written over. The index keeps the pairs in order; of the device it knows blocks, through the
//! [`Ground`] that the shell hands it with each call.

use core::ops::{Bound, Range};

use crate::codec::Varints;
use crate::device::Geometry;
use crate::pool::PoolInfo;
use crate::volume::{Division, Fault};
use crate::wal::Site;

/// The kinds of index there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// [`BTree`](crate::btree::BTree).
    BTree,
    /// [`Lsm`](crate::lsm::Lsm).
    Lsm,
}

impl Kind {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::BTree => 1,
            Self::Lsm => 5,
        }
    }

    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::BTree),
            // Of 3, tables have pages of another kind, which are read as well; of 4, none has long values.
            3..=5 => Some(Self::Lsm),
            _ => None,
        }
    }
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Effect {
    /// The key was there before.
    pub found: bool,
    /// Pages that were split in two; each split promoted one key.
    pub splits: u8,
    /// Pages that took pairs or children from a sibling.
    pub borrowed: u8,
    /// Pages that were merged with a sibling.
    pub merged: u8,
    /// There is a new root above the old one.
    pub grown: bool,
    /// The root had one child left, which took its place.
    pub collapsed: bool,
    /// Pages from the root to a leaf, afterwards.
    pub depth: u8,
    /// Pages read from the device for it.
    pub reads: u32,
    /// Pages written to the device for it, also to make room in the pool.
    pub writes: u32,
}

/// A value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Found {
    /// Bytes of the value, at the start of the buffer.
    pub len: usize,
    /// Pages that were searched.
    pub depth: u8,
    /// Pages read from the device for it.
    pub reads: u32,
}

/// An index in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IndexInfo {
    /// Keys that have a value.
    pub pairs: u64,
    /// Pages from the root to a leaf.
    pub depth: u8,
    /// Leaf pages.
    pub leaves: u32,
    /// Pages above the leaves.
    pub inner: u32,
    /// Pages of values too long for a leaf.
    pub overflow: u32,
}

impl IndexInfo {
    /// Children of an inner page, on average.
    pub fn branching(&self) -> f32 {
        let children = self.leaves.saturating_add(self.inner).saturating_sub(1);
        children as f32 / self.inner.max(1) as f32
    }
}

/// A value on its way in.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Here.
    Bytes(&'a [u8]),
    /// In the entry of the log that is being replayed, from byte `from` on: [`Ground::logged`] reads it.
    Logged {
        /// Where the value begins in the entry.
        from: u32,
        /// Its length.
        len: u32,
    },
}

impl Input<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Logged { len, .. } => *len as usize,
        }
    }
}

/// Is told each key that a split promotes, and the level that it comes from.
pub type Promoted<'a> = &'a mut dyn FnMut(u8, &[u8]);

/// Nobody is told.
pub(crate) fn untold(_: u8, _: &[u8]) {}

/// A change: a value for a key, or none.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its new value; `None` removes it.
    pub value: Option<Input<'a>>,
}

/// What is wrong with what is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Damage {
    /// A page is not what its parent says, or can't be read: the keys below it are out of reach.
    Page {
        /// Where on the device.
        address: u64,
        /// 0: a leaf.
        level: u8,
    },
    /// A page of a long value is not what was written: one value is out of reach.
    Value {
        /// Where on the device.
        address: u64,
    },
    /// A block of the list of free blocks is damaged: those that it names can't be found.
    FreeList {
        /// Where on the device.
        address: u64,
    },
    /// An entry of the log is damaged: a change is lost.
    Entry {
        /// Its offset in the log.
        offset: u64,
    },
    /// A page is as it was written, but not in order.
    Structure {
        /// Where on the device.
        address: u64,
    },
    /// Two things claim this block.
    Twice {
        /// Where on the device.
        address: u64,
    },
    /// Nothing claims this block, and it is not free.
    Leaked {
        /// Where on the device.
        address: u64,
    },
}

/// What a walk over everything has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Verified {
    /// Pages that are good.
    pub pages: u64,
    /// Pairs in them.
    pub pairs: u64,
    /// Pages of the tree, without those of long values.
    pub tree_pages: u64,
    /// Bytes in use in the pages of the tree, headers counted.
    pub used: u64,
    /// Pages below the minimum occupancy that don't lie at the right edge of the tree. None, unless it was salvaged.
    pub sparse: u64,
    /// What is wrong.
    pub damages: u64,
}

/// A cell of a page in the pool.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    pub(crate) frame: u32,
    pub(crate) block: u32,
    pub(crate) cell: u32,
}

impl Hint {
    pub(crate) const NONE: Self = Self { frame: u32::MAX, block: u32::MAX, cell: 0 };
}

/// Where a cursor stands. The key that it stands at is in memory of the cursor's own.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// At the key, behind (forwards) or before it (backwards), or nowhere yet.
    pub(crate) bound: Bound<()>,
    /// Bytes of the key.
    pub(crate) len: usize,
    /// There is nothing more in this direction.
    pub(crate) ended: bool,
    /// Frame, block, and cell of the pair that was last read, for as long as nothing has changed; and those of the page above.
    pub(crate) hint: Hint,
    pub(crate) above: Hint,
    pub(crate) changes: u32,
}

impl Place {
    /// Before the first pair, and behind the last.
    pub(crate) const START: Self = Self {
        bound: Bound::Unbounded,
        len: 0,
        ended: false,
        hint: Hint::NONE,
        above: Hint::NONE,
        changes: 0,
    };

    /// Goes to a key, of which as much as `memory` holds is kept.
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    pub(crate) fn go_to(&mut self, bound: Bound<()>, key: &[u8], memory: &mut [u8]) {
        let len = key.len().min(memory.len());
        if let (Some(place), Some(key)) = (memory.get_mut(..len), key.get(..len)) {
            place.copy_from_slice(key);
        }
        *self = Self { bound, len, ..Self::START };
    }
}

/// An operation of the log in memory.
#[derive(Clone, Debug)]
pub struct Logged {
    pub(crate) key: Range<usize>,
    /// `None`: the key was deleted. It may end behind what is there.
    pub(crate) value: Option<Range<usize>>,
    /// Where the value begins in its segment, and its checksum if not all of it is there.
    pub(crate) at: u32,
    pub(crate) crc: Option<u32>,
}

/// A log that has all segments it can have.
pub const LOG_FULL: u32 = 1 << 16;

/// What an index stands on: the blocks of a volume.
pub trait Ground {
    /// Id of the volume, which seeds all checksums.
    fn volume_id(&self) -> u32;
    /// Number of the publish that the index works for.
    fn generation(&self) -> u32;
    /// Nothing may be written.
    fn is_read_only(&self) -> bool;
    /// A write has failed for good.
    fn is_poisoned(&self) -> bool;
    /// Where a block is on the device, for reports.
    fn address(&self, block: u32) -> u64;
    /// Offset in the log of the operation that is being applied.
    fn offset(&self) -> u64;
    /// Where in the log it is, for an index that [asks for it](Index::reads_later).
    fn site(&self) -> Site;
    /// Where in the log the value of that operation is: segment, and position there.
    fn value_site(&self, key: usize, value: usize) -> (u32, u32);
    /// Reads an operation of the log into `out`: all of it, or its key, where `out` has less room; then twice that for the key. Its record
    /// has `likely` so many bytes.
    fn read_entry(&mut self, site: &Site, likely: u32, out: &mut [u8]) -> Result<Logged, Fault>;
    /// Reads from any place in a segment of the log, unproved.
    fn read_log(&mut self, segment: u32, at: u32, out: &mut [u8]) -> Result<(), Fault>;
    /// Reads a whole block.
    fn read_block(&mut self, block: u32, out: &mut [u8]) -> Result<(), Fault>;
    /// Writes a whole block that nothing durable names.
    fn write_block(&mut self, block: u32, data: &[u8]) -> Result<(), Fault>;
    /// Writes whole blocks that follow each other and that nothing durable names, in one call to the device, which has no erase
    /// unit.
    fn write_blocks(&mut self, block: u32, data: &[&[u8]]) -> Result<(), Fault>;
    /// Reads from any place in a block.
    fn read_part(&mut self, block: u32, at: u32, out: &mut [u8]) -> Result<(), Fault>;
    /// Writes whole write units to a place in a block that nothing durable names, and that was erased.
    fn write_part(&mut self, block: u32, at: u32, data: &[u8]) -> Result<(), Fault>;
    /// Erases so many erase units of a block, if the device has such. A failure does not poison.
    fn erase_part(&mut self, block: u32, at: u32, len: u32) -> Result<(), Fault>;
    /// Bytes of a block.
    fn block_size(&self) -> u32;
    /// The device's erase unit; 0: what stands there may be written over.
    fn erase_unit(&self) -> u32;
    /// Erases that were begun, to be compared with what it was before.
    fn erases(&self) -> u32;
    /// Writes begin and end at multiples of this.
    fn write_unit(&self) -> u32;
    /// Blocks that can be had before the next publish.
    fn available(&self) -> u32;
    /// A block to write to.
    fn allocate(&mut self) -> Result<u32, Fault>;
    /// A block that could not be written is left out from now on: where another one could, so that it is not the device.
    fn retire(&mut self, block: u32);
    /// Gives a block back. `fresh`: it was allocated since the last publish.
    fn free(&mut self, block: u32, fresh: bool) -> Result<(), Fault>;
    /// Bytes of the entry of the log that is being replayed.
    fn logged(&mut self, from: u32, out: &mut [u8]) -> Result<(), Fault>;
    /// The fault for damage in this block.
    fn damaged(&mut self, block: u32) -> Fault;
    /// The fault for a value of this length that the caller's buffer does not hold.
    fn short(&mut self, len: usize) -> Fault;
    /// What the last fault was about: after [`Fault::Short`], the length that was needed.
    fn detail(&self) -> u32;
    /// The fault for too little lent memory: so many frames would do.
    fn too_few_frames(&mut self, frames: u32) -> Fault;
}

/// An ordered map from keys to values in blocks: what a store is generic over.
///
/// Sealed in effect: what its functions speak of can't be named outside of this crate.
pub trait Index {
    /// Its number on the device.
    const KIND: Kind;
    /// It paces its work by how full the log is, to the entry; and no change is to pay for two erases.
    const GOES_BY_LOG: bool = false;

    /// Makes the memory ready for blocks of this size, after [`read_root`](Self::read_root) or [`begin_empty`](Self::begin_empty).
    /// Returns bytes of pages and frames that would be enough if the memory is too little, or why blocks of this size won't do.
    fn begin(&mut self, geometry: &Geometry, block: u32, division: &Division) -> Result<(), Unfit>;
    /// Takes an empty root.
    fn begin_empty(&mut self);
    /// Takes its root from what was published; nothing read: an empty one.
    fn read_root(&mut self, fields: &mut Varints<'_>);
    /// Says its root, for the next publish: at most 41 bytes.
    fn write_root(&mut self, fields: &mut Varints<'_>);
    /// Reads what the root names and must be in memory.
    fn open<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault>;
    /// Whether it reads the operation with a key and a value of these lengths from the log after it was applied.
    fn reads_later(&self, _key: usize, _value: usize) -> bool {
        false
    }
    /// The longest key.
    fn max_key(&self) -> usize;
    /// The longest value of a key of this length, as far as that is for the index to say.
    fn max_value(&self, key: usize) -> usize;
    /// Memory for the operation that is being replayed: holds the longest key and a value that is not long.
    fn replay_buffer(&mut self) -> &mut [u8];
    /// Applies the operation in the replay buffer: the key is there, the value only if that part of the entry is.
    fn replay<G: Ground>(
        &mut self,
        ground: &mut G,
        key: Range<usize>,
        value: Option<Range<usize>>,
    ) -> Result<(), Fault>;
    /// Replay is over, or there is none.
    fn replayed(&mut self);
    /// Blocks that an operation may take at most, its value aside.
    fn blocks_for_change(&self) -> u32;
    /// Blocks that replaying an operation with a key and a value of these lengths may take at most.
    fn blocks_for_replay(&self, key: usize, value: usize) -> u32 {
        self.blocks_for_change().wrapping_add(self.blocks_for_value(key, value, true))
    }
    /// Blocks that puts leave free, so that something can still be deleted.
    fn reserve(&self) -> u32;
    /// Blocks that so many operations of so many bytes may take at most, their values aside.
    fn blocks_for_batch(&self, ops: u32, bytes: usize) -> u32;
    /// Blocks that a value of this length takes beside, as a change of its own or (not `alone`) in a batch.
    fn blocks_for_value(&self, key: usize, value: usize, alone: bool) -> u32;
    /// Blocks that there is memory for beside those in use, where each takes some.
    fn spare(&self) -> u32 {
        u32::MAX
    }
    /// Whether the next change needs no step of a checkpoint before it.
    fn has_room(&self) -> bool;
    /// Looks whether the way to this key is whole, so that a change will find it. Whether the key is there, or may be.
    fn prepare<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>) -> Result<bool, Fault>;
    /// Makes a change.
    fn apply<G: Ground>(
        &mut self,
        ground: &mut G,
        op: &Op<'_>,
        promoted: Promoted<'_>,
    ) -> Result<Effect, Fault>;
    /// Adds a pair behind the last one; `false`: its key is not greater than that one's.
    fn append<G: Ground>(&mut self, ground: &mut G, key: &[u8], value: &[u8]) -> Result<bool, Fault>;
    /// Forgets all pairs, and all pages.
    fn clear(&mut self);
    /// Writes every dirty page, and makes the replay buffer again.
    fn begin_replay<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault>;
    /// Finds the value of a key and copies it to the start of `out`.
    fn get<G: Ground>(&mut self, ground: &mut G, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, Fault>;
    /// Reads the next pair (or, backwards, the one before): its key into `key`, its value into `out`. Returns the length of the
    /// value. After damage, the place is where the damage begins, for [`skip`](Self::skip).
    fn step<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault>;
    /// Moves behind the damage that a step in this direction has met.
    fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault>;
    /// Whether changes should pay for a checkpoint now. `log`: how full it is, `LOG_FULL` being wholly; `left`: so many more
    /// changes like this one go into it, for sure; `blocks`: there are few.
    fn is_due(&self, log: u32, left: impl FnOnce() -> u32, blocks: bool) -> bool;
    /// Writes at most so many pages. Returns whether what is on the device now may be published.
    fn checkpoint_step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault>;
    /// What is not on the device: pages, or pairs. A publish may leave some.
    fn dirty(&self) -> u32;
    /// Of a log that ends at `end`, where the part begins that a publish now must keep.
    fn position(&mut self, end: u64) -> u64;
    /// Whether further steps of a checkpoint may win blocks back, of what was replaced or deleted, with so many to be had.
    fn reclaim(&mut self, available: u32) -> bool;
    /// Goes on with making the index as small and as fast to read as it can be, or begins it. Whether steps of a checkpoint
    /// are to follow.
    fn compact<G: Ground>(&mut self, ground: &mut G) -> Result<bool, Fault>;
    /// Whether what [`compact`](Self::compact) has begun is under way.
    fn is_compacting(&self) -> bool;
    /// What was written is published.
    fn published(&mut self);
    /// Begins a [`close`](crate::store::Store::close): of the log, so many entries are in no published state. Whether steps of
    /// a checkpoint should put them into one, so that no log is left; else the next open replays it.
    fn begin_close<G: Ground>(&mut self, ground: &mut G, entries: u64) -> Result<bool, Fault>;
    /// Pages that so many changes should pay for; `log`: how full it is.
    fn pace(&mut self, changes: u32, log: u32) -> u32;
    /// Bytes that a put or a delete, of a value within a page, and what it pays for of a checkpoint, read and write in blocks and in
    /// operations of the log at most, as long as there is [room](Self::has_room), in the log and in blocks, too.
    fn most_moved(&self, geometry: &Geometry) -> u64;
    /// What the last step has completed waits to be published: no further step before, and it may wait for the next change.
    fn is_ready(&self) -> bool {
        false
    }
    /// In figures.
    fn info(&self) -> IndexInfo;
    /// Its buffer pool in figures.
    fn pool(&self) -> PoolInfo;
    /// Reads everything; reports damage and every block in use.
    fn verify<G: Ground>(
        &mut self,
        ground: &mut G,
        claim: &mut dyn FnMut(u32) -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault>;
    /// Drops what is damaged, and says what.
    fn prune<G: Ground>(&mut self, ground: &mut G, report: &mut dyn FnMut(Damage)) -> Result<(), Fault>;
}

/// Why an index can't live in what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Bytes of pages and frames that would be enough.
    Memory(usize, usize),
    /// Address of the pages, which must be a multiple of the device's alignment.
    Misaligned(u32),
    /// The block size is none for this index.
    Block(&'static str),
}
