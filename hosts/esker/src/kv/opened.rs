//! From a path to an open store.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use esker::store::{Cursor, Damage, Error, Index, Info, Store};
use esker::volume::{self, FormatOptions};
use esker_linux::{Access, AlignedBuffer, Device, DeviceError};

use super::index::{BTreeIndex, Indexed};
use super::layered::Layered;
use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::volume::{LOGS, volume_memory};

/// Writes of this size are as fast as larger ones.
const LOG_MEMORY: usize = 1 << 20;

/// The volume that a store is on.
pub type Volume = volume::Volume<Layered, AlignedBuffer, LOGS>;

/// A store on a file or a disk, and the volume it is on.
pub struct Opened<I: Index> {
    pub path: PathBuf,
    pub volume: Volume,
    pub store: Store<I, AlignedBuffer>,
}

impl<I: Indexed> Opened<I> {
    /// The store on a volume that holds one of this kind.
    pub fn on(arguments: &StoreArguments, mut volume: Volume) -> Result<Self, Failure> {
        let index = I::with_memory(arguments.cache, &volume.info())?;
        let store = Store::open(&mut volume, index, AlignedBuffer::new(LOG_MEMORY));
        Self::new(arguments, volume, store)
    }

    /// Also if its log is damaged: then what was passed over is said.
    pub fn past_damage(
        arguments: &StoreArguments,
        mut volume: Volume,
    ) -> Result<(Self, Vec<Damage>), Failure> {
        let mut damages = Vec::new();
        let report = &mut |damage| damages.push(damage);
        let index = I::with_memory(arguments.cache, &volume.info())?;
        let store = Store::open_damaged(&mut volume, index, AlignedBuffer::new(LOG_MEMORY), report);
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
        let index = I::with_memory(arguments.cache, &volume.info())?;
        let store = Store::create(&mut volume, LOG, index, AlignedBuffer::new(LOG_MEMORY));
        Self::new(arguments, volume, store)
    }

    fn new(
        arguments: &StoreArguments,
        volume: Volume,
        store: Result<Store<I, AlignedBuffer>, Error<DeviceError>>,
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
    Store::<BTreeIndex, AlignedBuffer>::root(volume).map(|root| root.log)
}

/// For reading only: any number of readers may share it, and not a byte is changed.
pub fn to_read(arguments: &StoreArguments) -> Result<Volume, Failure> {
    open_volume(arguments, Access::ReadOnly)
}

/// For reading and writing, with nobody beside.
pub fn to_write(arguments: &StoreArguments) -> Result<Volume, Failure> {
    open_volume(arguments, Access::ReadWrite)
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
        volume::Error::Device(DeviceError::Io { error: ref io, .. }) if io.kind() == ErrorKind::NotFound => {
            Failure::volume(path, &error).and("`esker kv create` makes a store")
        }
        error => Failure::volume(path, &error),
    })
}

fn no_store(path: &Path) -> Failure {
    Failure::at(path, "no esker volume here; name another DEV, or make a store with `esker kv create`")
}
