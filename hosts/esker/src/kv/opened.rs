//! From a path to an open store.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use esker::btree::BTree;
use esker::store::{self, Cursor, Damage, Error, Info};
use esker::volume::{self, FormatOptions, VolumeInfo};
use esker_linux::{Access, AlignedBuffer, Device, DeviceError, FrameBuffer};

use super::layered::Layered;
use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::volume::{LOGS, volume_memory};

/// Writes of this size are as fast as larger ones.
const LOG_MEMORY: usize = 1 << 20;

/// The volume that a store is on.
pub type Volume = volume::Volume<Layered, AlignedBuffer, LOGS>;

/// The index in memory.
pub type Tree = BTree<AlignedBuffer, FrameBuffer>;

/// A store on a file or a disk.
pub type Store = store::Store<Tree, AlignedBuffer>;

/// A store and the volume it is on.
pub struct Opened {
    pub path: PathBuf,
    pub volume: Volume,
    pub store: Store,
}

impl Opened {
    /// For reading only: any number of readers may share it, and not a byte is changed.
    pub fn to_read(arguments: &StoreArguments) -> Result<Self, Failure> {
        let volume = open_volume(arguments, Access::ReadOnly)?;
        Self::open(arguments, volume)
    }

    /// For reading and writing, with nobody beside.
    pub fn to_write(arguments: &StoreArguments) -> Result<Self, Failure> {
        let volume = open_volume(arguments, Access::ReadWrite)?;
        Self::open(arguments, volume)
    }

    fn open(arguments: &StoreArguments, mut volume: Volume) -> Result<Self, Failure> {
        let tree = tree(arguments, &volume.info())?;
        let store = Store::open(&mut volume, tree, AlignedBuffer::new(LOG_MEMORY));
        Self::new(arguments, volume, store)
    }

    /// Also if its log is damaged: then what was passed over is said.
    pub fn past_damage(arguments: &StoreArguments, access: Access) -> Result<(Self, Vec<Damage>), Failure> {
        let mut volume = open_volume(arguments, access)?;
        let mut damages = Vec::new();
        let report = &mut |damage| damages.push(damage);
        let tree = tree(arguments, &volume.info())?;
        let store = Store::open_damaged(&mut volume, tree, AlignedBuffer::new(LOG_MEMORY), report);
        Self::new(arguments, volume, store).map(|opened| (opened, damages))
    }

    /// An empty one, on a device that is formatted for it.
    pub fn create(
        arguments: &StoreArguments,
        device: Layered,
        options: &FormatOptions,
    ) -> Result<Self, Failure> {
        let volume = Volume::format(device, volume_memory(), options);
        let mut volume = volume.map_err(|error| Failure::volume(&arguments.device, &error))?;
        let tree = tree(arguments, &volume.info())?;
        let store = Store::create(&mut volume, LOG, tree, AlignedBuffer::new(LOG_MEMORY));
        Self::new(arguments, volume, store)
    }

    fn new(
        arguments: &StoreArguments,
        volume: Volume,
        store: Result<Store, Error<DeviceError>>,
    ) -> Result<Self, Failure> {
        let path = arguments.device.clone();
        match store {
            Ok(store) => Ok(Self { path, volume, store }),
            Err(error) => Err(Failure::store(&path, &error)),
        }
    }

    /// What went wrong with it.
    pub fn fail(&self, error: &Error<DeviceError>) -> Failure {
        Failure::store(&self.path, error)
    }

    /// The store in figures.
    pub fn info(&mut self) -> Result<Info, Failure> {
        self.store.info(&mut self.volume).map_err(|error| Failure::store(&self.path, &error))
    }

    /// Makes durable what was stored and removed.
    pub fn commit(&mut self) -> Result<(), Failure> {
        self.store.commit(&mut self.volume).map_err(|error| Failure::store(&self.path, &error))
    }

    /// Puts a cursor somewhere.
    pub fn seek(&mut self, cursor: &mut Cursor<Vec<u8>>, from: Bound<&[u8]>) -> Result<(), Failure> {
        let done = self.store.seek(cursor, from);
        done.map_err(|_| Failure::new("the key to begin at is longer than any in the store"))
    }

    /// Everything is brought to the device, and the log is closed.
    pub fn close(mut self) -> Result<(), Failure> {
        let closed = self.store.close(&mut self.volume);
        closed.map(|_| ()).map_err(|error| Failure::store(&self.path, &error))
    }
}

/// The store's own log.
const LOG: u16 = 0;

/// The log that belongs to the volume's store, if it has one.
pub fn log_of_store(volume: &crate::volume::Volume) -> Option<u16> {
    Store::root(volume).map(|root| root.log)
}

fn open_volume(arguments: &StoreArguments, access: Access) -> Result<Volume, Failure> {
    let path = &arguments.device;
    let layered = |device| match access {
        Access::ReadOnly => Layered::over(device),
        Access::ReadWrite => Layered::plain(device),
    };
    let device = Device::open(path, access).and_then(|device| {
        // What only reads may well read all of it.
        let device = if access == Access::ReadWrite { device.at_random() } else { device };
        if arguments.direct { device.direct().map_err(volume::Error::Device) } else { Ok(device) }
    });
    device.and_then(|device| Volume::open(layered(device), volume_memory())).map_err(|error| match error {
        volume::Error::NotFormatted => no_store(path),
        volume::Error::Device(DeviceError::Empty) => {
            Failure::at(path, "the file is empty, so it holds no store; `esker kv create` makes one")
        }
        error => Failure::volume(path, &error),
    })
}

fn no_store(path: &Path) -> Failure {
    Failure::at(path, "no esker volume here; name another DEV, or make a store with `esker kv create`")
}

/// As many frames as the cache has room for, and no more than the device can fill.
fn tree(arguments: &StoreArguments, info: &VolumeInfo) -> Result<Tree, Failure> {
    let block = u64::from(info.block_size.max(1));
    let needed = Tree::memory_needed(info);
    let cache = arguments.cache.min(info.geometry.capacity.max(needed.pages as u64));
    let frames = cache / block;
    let bytes = usize::try_from(frames * block).unwrap_or(usize::MAX);
    // Memory that there is not ends the process; to be asked is only possible like this.
    if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        return Err(Failure::new(format!("--cache: there is no memory for {bytes} bytes")));
    }
    let frames = usize::try_from(frames).unwrap_or(usize::MAX);
    Ok(BTree::new(AlignedBuffer::new(bytes), FrameBuffer::new(frames)))
}
