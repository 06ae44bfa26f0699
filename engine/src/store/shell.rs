//! SKELETON: signatures for those who build upon them.
#![allow(unused_variables, missing_docs, clippy::todo, clippy::panic, dead_code, clippy::too_many_arguments)]

use core::marker::PhantomData;
use core::ops::Bound;

use super::{Batch, Error};
use crate::btree::IndexInfo;
use crate::device::BlockDevice;
use crate::pool::PoolInfo;
use crate::volume::{Buffer, Volume};
use crate::wal::{self, SyncStrategy, Ticket};

/// What kind of index a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    BTree,
}

/// What a volume says of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub kind: Option<Kind>,
    pub log: u16,
    pub checkpoint: u64,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Effect {
    /// The key was there before.
    pub found: bool,
    /// Pages that were split; each promoted one key.
    pub splits: u8,
    /// Pages that took from a sibling.
    pub borrowed: u8,
    /// Pages that were merged with a sibling.
    pub merged: u8,
    /// There is a new root above the old one.
    pub grown: bool,
    /// The root was left with one child, which took its place.
    pub collapsed: bool,
    /// Pages from root to leaf, afterwards.
    pub depth: u8,
    /// Pages read from the device.
    pub reads: u32,
    /// Pages written to it.
    pub writes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Found {
    pub len: usize,
    pub depth: u8,
    pub reads: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    pub kind: Kind,
    pub index: IndexInfo,
    pub pool: PoolInfo,
    pub block_size: u32,
    pub blocks: u32,
    /// Free now; those that the next checkpoint frees not counted.
    pub free_blocks: u32,
    pub retired_blocks: u32,
    pub lost_blocks: u32,
    pub max_key: usize,
    pub max_value: usize,
    /// Entries of the log before this offset are in the index that is published.
    pub checkpoint: u64,
    pub log: wal::Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Damage {
    /// A page and all keys below it can't be read.
    Page { address: u64, level: u8 },
    /// The value of a key can't be read.
    Value { address: u64 },
    /// A part of the list of free blocks can't be read: so many blocks are lost to it.
    FreeList { address: u64, blocks: u32 },
    /// A page is whole, and not as it should be.
    Structure { address: u64, what: &'static str },
    /// Two things claim this block.
    Twice { address: u64 },
    /// Nothing claims this block.
    Leaked { address: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Verified {
    pub pages: u64,
    pub pairs: u64,
    pub damages: u64,
}

pub struct Cursor<K> {
    key: K,
    len: usize,
}
impl<K: Buffer> Cursor<K> {
    /// The key of the pair that was last read.
    pub fn key(&self) -> &[u8] {
        todo!()
    }
}

/// One load in bulk.
pub struct Load<'a, I, W, const SLOTS: usize> {
    store: &'a mut Store<I, W, SLOTS>,
}

pub struct Store<I, W, const SLOTS: usize = 16> {
    index: I,
    log: PhantomData<W>,
}

impl<I, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    pub fn root<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> Option<Root> {
        todo!()
    }
    pub fn create<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        log: u16,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        todo!()
    }
    pub fn open<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        todo!()
    }
    pub fn open_read_only<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        todo!()
    }
    pub fn put<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Effect, Error<D::Error>> {
        todo!()
    }
    pub fn delete<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
    ) -> Result<Effect, Error<D::Error>> {
        todo!()
    }
    pub fn get<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<Option<Found>, Error<D::Error>> {
        todo!()
    }
    pub fn write<D: BlockDevice, V: Buffer, const N: usize, B: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        batch: &Batch<B>,
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
    pub fn commit<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
    pub fn set_sync(&mut self, strategy: SyncStrategy) {
        todo!()
    }
    pub fn commit_if_due<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        now_ms: u64,
    ) -> Result<bool, Error<D::Error>> {
        todo!()
    }
    pub fn flush<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Ticket, Error<D::Error>> {
        todo!()
    }
    pub fn acknowledge(&mut self, ticket: Ticket) {
        todo!()
    }
    pub fn cursor<K: Buffer>(&self, key: K) -> Cursor<K> {
        todo!()
    }
    /// Where `next` (ascending) or `previous` (descending) goes on: `next` begins at the first key that is at or behind
    /// the bound, `previous` at the last one that is at or before it.
    pub fn seek<K: Buffer>(&self, cursor: &mut Cursor<K>, from: Bound<&[u8]>) -> Result<(), super::Error<()>> {
        todo!()
    }
    pub fn next<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        todo!()
    }
    pub fn previous<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        todo!()
    }
    /// After [`Error::Corrupt`] from `next` or `previous`: passes over the keys of the damaged page.
    pub fn skip<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
    pub fn checkpoint<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
    pub fn checkpoint_step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<bool, Error<D::Error>> {
        todo!()
    }
    pub fn close<D: BlockDevice, V: Buffer, const N: usize>(
        self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(I, W), Error<D::Error>> {
        todo!()
    }
    pub fn info<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Info, Error<D::Error>> {
        todo!()
    }
    pub fn bulk_load<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Load<'_, I, W, SLOTS>, Error<D::Error>> {
        todo!()
    }
    /// `bitmap`: a bit for each block finds blocks that are claimed twice or by nothing.
    pub fn verify<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bitmap: Option<&mut [u8]>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Error<D::Error>> {
        todo!()
    }
    /// Drops what is damaged, says what; with a bit for each block in `bitmap` also wins back the blocks that nothing claims.
    pub fn salvage<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bitmap: Option<&mut [u8]>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Error<D::Error>> {
        todo!()
    }
}

impl<I, W: Buffer, const SLOTS: usize> Load<'_, I, W, SLOTS> {
    pub fn push<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
    /// Publishes what was loaded. A load that is dropped instead leaves the store empty.
    pub fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        todo!()
    }
}
