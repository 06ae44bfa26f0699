//! The memtable: what is in the log and in no table yet, in the order of keys, in lent memory.
//!
//! There are two kinds of it. [`Entries`] holds the pairs themselves: a search costs no device operation, and each pair takes what it
//! has bytes. [`Places`] holds four bytes for each pair, which say where the log has it: for a microcontroller, where the log can
//! hold far more pairs than memory. The rest of the tree knows only the face that they share, [`Kind`].

mod entries;
mod places;

use core::ops::Bound;

pub use entries::Entries;
pub use places::Places;

use super::value::{Long, Value};
use crate::index::Ground;
use crate::volume::{Division, Fault};

/// An entry of the memtable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub(crate) key: &'a [u8],
    /// `None`: a tombstone, the key was deleted.
    pub(crate) value: Option<Value<'a>>,
}

/// Where an entry is, until the next insert, drop or [`unmark`](Kind::unmark).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Of its chunk, where there are chunks.
    fence: u32,
    cell: u32,
}

impl At {
    /// Tells it from all others.
    pub(crate) fn number(self) -> u32 {
        self.fence << 16 | self.cell
    }
}

/// A kind of memtable, and what it remembers beside its memory. Sealed in effect: what its functions speak of can't be named outside
/// of this crate.
pub trait Kind: Sized {
    /// Entries are read from the log. Then each operation must say where it is there.
    const IN_LOG: bool;
    /// Frames that a tree with it has at least: for what a merge holds on to of each run, and the way to a page.
    const FRAMES: usize;

    /// Without memory.
    fn new() -> Self;
    /// Bytes that it takes at least in a tree with pages of this size.
    fn least(page: usize, division: &Division) -> usize;
    /// Divides the memory, for a tree with pages of this size, and empties it; why it won't do.
    fn divide(table: &mut Memtable<'_, Self>, page: usize, division: &Division) -> Result<(), &'static str>;
    /// Forgets all entries.
    fn clear(table: &mut Memtable<'_, Self>);
    /// Entries, tombstones and merged ones among them.
    fn len(&self) -> u32;
    /// Room that is in use, and in all, in parts of about the same size.
    fn room(&self) -> (u32, u32);
    /// Entries that tables may grow by, as far as that was [told](Self::insert); in parts.
    fn growth(&self) -> u32;
    /// Bytes of pairs that a part of the room stands for at most; `pair`: of one pair, on average.
    fn part(&self, pair: u32) -> u32;
    /// Bytes of long values beside that, which tables may grow by.
    fn long(&self) -> usize;
    /// Pages at the beginning of its memory that it has no use for yet.
    fn unused(&self) -> u32 {
        0
    }
    /// Pages at the beginning of its memory that are lent to the pool, so that what it works in begins behind them.
    fn lent(&self) -> u32 {
        0
    }
    /// So many of the [unused](Self::unused) ones are lent from now on. One must be left for an insert.
    fn lend(&mut self, _: u32) {}
    /// Whether the next insert finds room, whatever it is.
    fn has_room(&self) -> bool;
    /// Puts an entry in, in place of the one of the same key; then it is not merged. False: there is no room, and nothing has
    /// changed. `known`: a table has a value for the key that is no shorter, or an entry that is here. `offset`: in the log, less than 2^30 from that of any other entry, and from what [`lowest`](Self::lowest) said last.
    fn insert<G: Ground>(
        table: &mut Memtable<'_, Self>,
        ground: &mut G,
        key: &[u8],
        value: Option<Value<'_>>,
        known: bool,
        offset: u64,
    ) -> Result<bool, Fault>;
    /// Where the entry of this key is.
    fn find<G: Ground>(
        table: &mut Memtable<'_, Self>,
        ground: &mut G,
        key: &[u8],
    ) -> Result<Option<At>, Fault>;
    /// The first entry that is not below the bound, or the last one that is not above it.
    fn seek<G: Ground>(
        table: &mut Memtable<'_, Self>,
        ground: &mut G,
        bound: Bound<&[u8]>,
        forward: bool,
    ) -> Result<Option<At>, Fault>;
    /// The entry behind this one, or before it.
    fn step(table: &Memtable<'_, Self>, at: At, forward: bool) -> Option<At>;
    /// Makes [`record`](Self::record) know the entry, until the next one is loaded.
    fn load<G: Ground>(table: &mut Memtable<'_, Self>, ground: &mut G, at: At) -> Result<(), Fault>;
    /// What is there, if it was loaded.
    fn record<'a>(table: &'a Memtable<'_, Self>, at: At) -> Option<Record<'a>>;
    /// The entry is in a table that is not published yet. All places stay what they are.
    fn mark(table: &mut Memtable<'_, Self>, at: At);
    /// Removes all merged entries.
    fn drop_merged(table: &mut Memtable<'_, Self>);
    /// No entry is merged any more.
    fn unmark(table: &mut Memtable<'_, Self>);
    /// The lowest offset of the entries that are not merged, or one below it.
    fn lowest(table: &mut Memtable<'_, Self>) -> Option<u64>;
}

/// A memtable at work: put together for each operation, so that its code is there once, whoever owns the memory.
pub struct Memtable<'a, K> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) state: &'a mut K,
}

impl<K: Kind> Memtable<'_, K> {
    /// The entry at a place, loaded.
    pub(crate) fn load<G: Ground>(&mut self, ground: &mut G, at: Option<At>) -> Result<(), Fault> {
        at.map_or(Ok(()), |at| K::load(self, ground, at))
    }

    pub(crate) fn record(&self, at: At) -> Option<Record<'_>> {
        K::record(self, at)
    }

    /// Bytes of a long value there.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn long_at(&self, at: At) -> usize {
        match self.record(at).and_then(|record| record.value) {
            Some(Value::Long(Long { len, .. })) => len as usize,
            _ => 0,
        }
    }
}
