//! Esker's store on its B-tree or its LSM tree, on any device.

mod memory;
mod place;

use std::cell::RefCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use esker::device::BlockDevice;
use esker::store::{self, Batch, Cursor, Index, Kind, Load, Store};
use esker::volume::{FormatOptions, Volume};
use esker_linux::AlignedBuffer;

pub use memory::{BTreeIndex, InMemory, LsmIndex};
pub use place::{FilePlace, Place, SimulatedPlace};

use super::Setting;
use super::store::{Commit, DeviceCounts, Engine, KvStore, Promised, ReadBody, Reader, WriteBody, Writer};
use crate::Failure;
use memory::Memory;
use place::Metered;

/// The volume's log of the store.
const LOG: u16 = 0;

/// Memory of which the half may be less than a tree needs.
const LITTLE: usize = 1 << 20;

/// See the module.
pub struct Esker<P, I> {
    place: P,
    setting: Setting,
    layout: FormatOptions,
    index: PhantomData<I>,
}

/// Bytes of a block that suit an LSM tree, of which they are the tables: large ones, and some 128 of them at least.
pub fn table_size(capacity: u64) -> u32 {
    1 << (capacity / 128).clamp(8 << 10, 512 << 10).ilog2()
}

impl<I: InMemory> Esker<FilePlace, I> {
    /// On a file in the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn on_file(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        // Room for all pages twice, for a log, and for what a checkpoint frees only at its end.
        let live = setting.shape().pair_size() * u64::from(setting.pairs);
        let capacity = setting.capacity.unwrap_or(4 * live + (256 << 20)).next_multiple_of(1 << 20);
        let place = FilePlace::new(&directory.join("esker"), capacity, setting.direct);
        let block_size = setting.block_size.unwrap_or(match I::KIND {
            Kind::BTree => 4096,
            Kind::Lsm => table_size(capacity),
        });
        let layout = FormatOptions { block_size, ..FormatOptions::default() };
        Ok(Box::new(Self::new(place, setting, layout)))
    }
}

impl<P: Place, I: InMemory> Esker<P, I> {
    /// At a place, laid out like this.
    pub fn new(place: P, setting: &Setting, layout: FormatOptions) -> Self {
        let layout = FormatOptions { volume_id: 1, ..layout };
        Self { place, setting: setting.clone(), layout, index: PhantomData }
    }

    /// An empty store with a part of the memory.
    fn created(&mut self, device: Metered<P::Device>, memory: usize) -> Result<Open<P::Device, I>, Failure> {
        let memory = Memory::of(&self.setting, memory, &device.geometry(), &self.layout)?;
        let make = || -> Result<_, store::Error<_>> {
            let mut volume = Volume::format(device, AlignedBuffer::new(memory.volume), &self.layout)?;
            let store = Store::create(&mut volume, LOG, memory.index, AlignedBuffer::new(memory.log))?;
            Ok((volume, store))
        };
        let (volume, store) = make().map_err(|error| failed(&error))?;
        Ok(Open::new(volume, store, &self.setting, memory.batch))
    }

    /// The store with a part of the memory.
    fn opened(&mut self, memory: usize) -> Result<Open<P::Device, I>, Failure> {
        let device = self.place.open()?;
        let memory = Memory::of(&self.setting, memory, &device.geometry(), &self.layout)?;
        let make = || -> Result<_, store::Error<_>> {
            let mut volume = Volume::open(device, AlignedBuffer::new(memory.volume))?;
            let store = Store::open(&mut volume, memory.index, AlignedBuffer::new(memory.log))?;
            Ok((volume, store))
        };
        let (volume, store) = make().map_err(|error| failed(&error))?;
        Ok(Open::new(volume, store, &self.setting, memory.batch))
    }
}

impl<P: Place + 'static, I: InMemory> Engine for Esker<P, I> {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        let device = self.place.blank()?;
        Ok(Box::new(self.created(device, self.setting.cache)?))
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(self.opened(self.setting.cache)?))
    }

    /// The blocks that the publish names, those of its list of free blocks among them, and the segments that the log holds.
    fn size(&mut self) -> Result<u64, Failure> {
        let mut open = self.opened(self.setting.cache)?;
        let info = open.store.info(&mut open.volume).map_err(|error| failed(&error))?;
        let blocks = u64::from(info.blocks.saturating_sub(info.free_blocks)) * u64::from(info.block_size);
        Ok(blocks + u64::from(info.log.segments) * u64::from(info.log.segment_size))
    }

    fn prepare_compact(&mut self) -> Result<(), Failure> {
        self.place.spare().map(drop)
    }

    /// Copies the pairs in order to a new volume, which then takes the place of the old one. Each has half of the memory,
    /// or as much as before where half would be too little.
    fn compact(&mut self) -> Result<(), Failure> {
        let memory = if self.setting.cache < LITTLE { self.setting.cache } else { self.setting.cache / 2 };
        let mut from = Box::new(self.opened(memory)?);
        let device = self.place.spare()?;
        let mut to = Box::new(self.created(device, memory)?);
        to.load_sorted(&mut |writer| {
            from.read(&mut |reader| {
                let mut put = Ok(());
                reader.scan(&[], &mut |key, value| {
                    put = writer.put(key, value);
                    put.is_ok()
                })?;
                std::mem::replace(&mut put, Ok(()))
            })
        })?;
        to.close()?;
        drop(from);
        self.place.take_spare()
    }

    fn counts(&self) -> Option<DeviceCounts> {
        Some(self.place.counts())
    }

    fn busy(&self) -> Option<Duration> {
        self.place.busy()
    }

    fn loads_sorted_at_once(&self) -> bool {
        true
    }
}

struct Open<D: BlockDevice, I: Index> {
    volume: Volume<Metered<D>, AlignedBuffer>,
    store: Store<I, AlignedBuffer>,
    cursor: Cursor<Vec<u8>>,
    batch: Batch<AlignedBuffer>,
    value: Vec<u8>,
}

impl<D: BlockDevice<Error: Debug>, I: Index> Open<D, I> {
    fn new(
        volume: Volume<Metered<D>, AlignedBuffer>,
        store: Store<I, AlignedBuffer>,
        setting: &Setting,
        batch: usize,
    ) -> Self {
        let cursor = store.cursor(vec![0; store.max_key()]);
        let batch = Batch::new(AlignedBuffer::new(batch));
        Self { volume, store, cursor, batch, value: vec![0; setting.value_size] }
    }

    /// Writes what is in the batch, and empties it.
    fn write_batch(&mut self) -> Result<(), Failure> {
        self.store.write(&mut self.volume, &self.batch).map_err(|error| failed(&error))?;
        self.batch.clear();
        Ok(())
    }
}

impl<D: BlockDevice<Error: Debug>, I: Index> KvStore for Open<D, I> {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        self.batch.clear();
        match commit {
            Commit::Durable => {
                body(&mut Staged(&mut self.batch))?;
                self.write_batch()?;
            }
            Commit::Bulk => {
                body(&mut InBatches(self))?;
                self.write_batch()?;
            }
            Commit::NoSync => body(self)?,
        }
        match commit {
            Commit::Bulk | Commit::Durable => {
                self.store.commit(&mut self.volume).map_err(|error| failed(&error))
            }
            Commit::NoSync => Ok(()),
        }
    }

    fn load_sorted(&mut self, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let load = self.store.bulk_load(&mut self.volume).map_err(|error| failed(&error))?;
        let mut loading = Loading { load, volume: &mut self.volume };
        body(&mut loading)?;
        loading.load.finish(loading.volume).map_err(|error| failed(&error))
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        body(self)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.store.checkpoint(&mut self.volume).map_err(|error| failed(&error))
    }

    fn promised(&self) -> Option<Promised> {
        Some(Promised { bytes: self.store.most_moved(&self.volume), waits: self.store.waits().into() })
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        let Self { mut volume, store, .. } = *self;
        store.close(&mut volume).map_err(|error| failed(&error)).map(drop)
    }
}

/// One by one; what is put is logged, and durable with the commit.
impl<D: BlockDevice<Error: Debug>, I: Index> Writer for Open<D, I> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.store.put(&mut self.volume, key, value).map_err(|error| failed(&error)).map(drop)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.store.delete(&mut self.volume, key).map_err(|error| failed(&error)).map(drop)
    }
}

/// As many at a time as the memory for a batch holds.
struct InBatches<'a, D: BlockDevice, I: Index>(&'a mut Open<D, I>);

impl<D: BlockDevice<Error: Debug>, I: Index> Writer for InBatches<'_, D, I> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        if self.0.batch.put(key, value).is_ok() {
            return Ok(());
        }
        self.0.write_batch()?;
        Staged(&mut self.0.batch).put(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        if self.0.batch.delete(key).is_ok() {
            return Ok(());
        }
        self.0.write_batch()?;
        Staged(&mut self.0.batch).remove(key)
    }
}

struct Staged<'a>(&'a mut Batch<AlignedBuffer>);

impl Writer for Staged<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.0.put(key, value).map_err(|full| Failure::new(format!("the batch needs {} bytes", full.needed)))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.0.delete(key).map_err(|full| Failure::new(format!("the batch needs {} bytes", full.needed)))
    }
}

struct Loading<'a, D: BlockDevice, I: Index> {
    load: Load<'a, I, AlignedBuffer, 16>,
    volume: &'a mut Volume<Metered<D>, AlignedBuffer>,
}

impl<D: BlockDevice<Error: Debug>, I: Index> Writer for Loading<'_, D, I> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.load.push(self.volume, key, value).map_err(|error| failed(&error))
    }

    fn remove(&mut self, _key: &[u8]) -> Result<(), Failure> {
        Err(Failure::new("nothing is removed while it is loaded"))
    }
}

impl<D: BlockDevice<Error: Debug>, I: Index> Reader for Open<D, I> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let found = self.store.get(&mut self.volume, key, &mut self.value).map_err(|error| failed(&error))?;
        let value = found.and_then(|found| self.value.get(..found.len));
        Ok(value.map(show).is_some())
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        self.store.seek(&mut self.cursor, from).map_err(|error| failed(&error))?;
        loop {
            let next = self.store.next(&mut self.volume, &mut self.cursor, &mut self.value);
            let Some(len) = next.map_err(|error| failed(&error))? else { return Ok(()) };
            if !show(self.cursor.key(), self.value.get(..len).unwrap_or_default()) {
                return Ok(());
            }
        }
    }
}

fn failed<E: Debug>(error: &store::Error<E>) -> Failure {
    Failure::new(error.to_string())
}

/// What all sessions of an engine have counted.
type Total = Rc<RefCell<DeviceCounts>>;
