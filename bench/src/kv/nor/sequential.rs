//! sequential-storage: a map that is a log of items, looked through from its end. Without a cache: the ones it has take
//! memory for each page, and the one of keys for each key.

use std::fmt::{self, Debug};

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use esker::device::BlockDevice;
use esker_sim::{Sim, SimError};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

use super::session::SECTOR;
use super::store::{Begin, NorStore, no_scan};
use super::{KEY_SIZE, Options, Setting};
use crate::Failure;
use crate::kv::store::{Reader, Writer};

/// What an item and a word take beside a key and a value, rounded up.
const MORE: usize = 32;

type Key = [u8; KEY_SIZE];
type NoCache = Cache<Uncached, Uncached, Uncached, Key>;

/// Makes it. There is nothing to do on blank flash, and nothing to open.
///
/// # Errors
/// What failed.
pub fn make(device: Sim, _: Begin, _: &Options, setting: &Setting) -> Result<Box<dyn NorStore>, Failure> {
    let config = u32::try_from(setting.capacity).ok().map(|capacity| MapConfig::try_new(0..capacity));
    let config = config.and_then(Result::ok).ok_or_else(|| Failure::new("it can't take such a device"))?;
    let map = MapStorage::new(Part(device), config, NoCache::new_uncached());
    let buffer = vec![0; (KEY_SIZE + setting.value_size + MORE).next_multiple_of(MORE)];
    Ok(Box::new(Open { map, buffer }))
}

struct Open {
    map: MapStorage<Key, Part, NoCache>,
    buffer: Vec<u8>,
}

impl NorStore for Open {
    fn memory(&self) -> usize {
        size_of_val(&self.map) + self.buffer.len()
    }
}

impl Writer for Open {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let stored = block_on(self.map.store_item(&mut self.buffer, &fixed(key)?, &value));
        stored.map_err(|error| failed(&error))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        let removed = block_on(self.map.remove_item(&mut self.buffer, &fixed(key)?));
        removed.map_err(|error| failed(&error))
    }
}

impl Reader for Open {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let found = block_on(self.map.fetch_item::<&[u8]>(&mut self.buffer, &fixed(key)?));
        Ok(found.map_err(|error| failed(&error))?.map(show).is_some())
    }

    fn scan(&mut self, _from: &[u8], _show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        Err(no_scan())
    }
}

fn fixed(key: &[u8]) -> Result<Key, Failure> {
    key.try_into().map_err(|_| Failure::new("a key of another size"))
}

/// The flash behind the ecosystem's trait.
struct Part(Sim);

struct PartError(SimError);

impl Debug for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl NorFlashError for PartError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for Part {
    type Error = PartError;
}

impl ReadNorFlash for Part {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), PartError> {
        self.0.read(offset.into(), bytes).map_err(PartError)
    }

    fn capacity(&self) -> usize {
        self.0.geometry().capacity as usize
    }
}

impl NorFlash for Part {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR as usize;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), PartError> {
        self.0.erase(from.into()..to.into()).map_err(PartError)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PartError> {
        self.0.write(offset.into(), bytes).map_err(PartError)
    }
}

/// It marks what is removed by programming its header once more.
impl MultiwriteNorFlash for Part {}

fn failed(error: &impl Debug) -> Failure {
    Failure::new(format!("{error:?}"))
}
