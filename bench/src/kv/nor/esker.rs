//! Esker's store in little memory: all that is lent is counted, frame records included.

use std::fmt::Debug;

use esker::btree::{self, BTree};
use esker::lsm::{self, Lsm, Places, Shape};
use esker::store::{self, Index, Store};
use esker::volume::{FormatOptions, Volume, VolumeInfo};
use esker::wal::Log;
use esker_linux::{AlignedBuffer, FrameBuffer};
use esker_sim::Sim;

use super::store::{Begin, NorStore, no_scan};
use super::{Options, Setting};
use crate::Failure;
use crate::kv::esker::BTreeIndex;
use crate::kv::store::{Promised, Reader, Writer};

/// The volume's log of the store.
const LOG: u16 = 0;

/// An LSM tree whose memtable holds places in the log.
type SmallLsm = Lsm<AlignedBuffer, FrameBuffer, Places>;

/// Bytes of a table.
const TABLE: u32 = 16 << 10;

/// Bytes of a page of a B-tree.
const PAGE: u32 = 4 << 10;

/// On its LSM tree.
///
/// # Errors
/// What failed; there may be too little memory.
pub fn lsm(
    device: Sim,
    begin: Begin,
    options: &Options,
    setting: &Setting,
) -> Result<Box<dyn NorStore>, Failure> {
    // All that is left is for the memtable: it decides how much is written.
    let index = |bytes: usize, volume: &VolumeInfo| {
        let (needed, frames) = SmallLsm::memory_needed_with_places(volume);
        let records = frames * size_of::<lsm::Frame>();
        let shape = lsm::Options { shape: Shape::Sweep, ..lsm::Options::default() };
        let pages = bytes.checked_sub(records).filter(|bytes| *bytes >= needed);
        let pages = pages.ok_or(needed + records)?;
        Ok(Lsm::with_places(AlignedBuffer::new(pages), FrameBuffer::new(frames), shape))
    };
    begun::<SmallLsm>(device, begin, options, setting, TABLE, index)
}

/// On its B-tree.
///
/// # Errors
/// What failed; there may be too little memory.
pub fn btree(
    device: Sim,
    begin: Begin,
    options: &Options,
    setting: &Setting,
) -> Result<Box<dyn NorStore>, Failure> {
    // One of the pages is for the tree's own work.
    let index = |bytes: usize, volume: &VolumeInfo| {
        let page = volume.block_size as usize;
        let frames = bytes.saturating_sub(page) / (page + size_of::<btree::Frame>());
        let pages = (frames > 0).then(|| (frames + 1) * page).ok_or(2 * page + size_of::<btree::Frame>())?;
        Ok(BTree::new(AlignedBuffer::new(pages), FrameBuffer::new(frames)))
    };
    begun::<BTreeIndex>(device, begin, options, setting, PAGE, index)
}

/// `index` makes the index in what is left of the lent memory, or says how much it needs.
fn begun<I: Index + 'static>(
    device: Sim,
    begin: Begin,
    options: &Options,
    setting: &Setting,
    block: u32,
    index: impl FnOnce(usize, &VolumeInfo) -> Result<I, usize>,
) -> Result<Box<dyn NorStore>, Failure> {
    let geometry = esker::device::BlockDevice::geometry(&device);
    let layout = FormatOptions {
        volume_id: 1,
        segment_size: segment_size(setting.capacity),
        block_size: options.block_size.unwrap_or(block),
        pool_size: setting.capacity * u64::from(options.log_percent) / 100,
        ..FormatOptions::default()
    };
    let volume_bytes = Volume::<Sim, AlignedBuffer, 1>::memory_needed(&geometry, &layout);
    let log_bytes = Log::<AlignedBuffer, 16>::memory_needed(&geometry);
    let beside = volume_bytes + log_bytes;
    let buffer = AlignedBuffer::new(volume_bytes);
    let mut volume: Volume<_, _, 1> = match begin {
        Begin::Create => Volume::format(device, buffer, &layout),
        Begin::Open => Volume::open(device, buffer),
    }
    .map_err(|error| Failure::new(error.to_string()))?;
    let index = index(options.lent.saturating_sub(beside), &volume.info()).map_err(|needed| {
        Failure::new(format!(
            "{} bytes of memory are too little: {volume_bytes} for the volume, {log_bytes} for the log and {needed} for the \
             index; take a larger --lent",
            options.lent
        ))
    })?;
    let log = AlignedBuffer::new(log_bytes);
    let store = match begin {
        Begin::Create => Store::create(&mut volume, LOG, index, log),
        Begin::Open => Store::open(&mut volume, index, log),
    }
    .map_err(|error| failed(&error))?;
    Ok(Box::new(Open { volume, store, value: vec![0; setting.value_size], lent: options.lent }))
}

struct Open<I: Index> {
    volume: Volume<Sim, AlignedBuffer, 1>,
    store: Store<I, AlignedBuffer>,
    value: Vec<u8>,
    lent: usize,
}

impl<I: Index> NorStore for Open<I> {
    fn memory(&self) -> usize {
        self.lent + size_of_val(&self.volume) + size_of_val(&self.store)
    }

    fn promised(&self) -> Option<Promised> {
        Some(Promised { bytes: self.store.most_moved(&self.volume), waits: self.store.waits().into() })
    }
}

impl<I: Index> Writer for Open<I> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let put = self.store.put(&mut self.volume, key, value);
        let committed = put.and_then(|_| self.store.commit(&mut self.volume));
        committed.map_err(|error| failed(&error))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        let removed = self.store.delete(&mut self.volume, key);
        let committed = removed.and_then(|_| self.store.commit(&mut self.volume));
        committed.map_err(|error| failed(&error))
    }
}

impl<I: Index> Reader for Open<I> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let found = self.store.get(&mut self.volume, key, &mut self.value).map_err(|error| failed(&error))?;
        let value = found.and_then(|found| self.value.get(..found.len));
        Ok(value.map(show).is_some())
    }

    fn scan(&mut self, _from: &[u8], _show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        Err(no_scan())
    }
}

fn failed<E: Debug>(error: &store::Error<E>) -> Failure {
    Failure::new(error.to_string())
}

/// Bytes of a segment of the log: some 26 to 52 of them are a fifth of the device, so that little memory goes into knowing them.
fn segment_size(capacity: u64) -> u32 {
    let size = (capacity / 128) as u32;
    size.next_power_of_two().max(super::session::SECTOR)
}
