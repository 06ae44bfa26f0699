//! ekv: sorted files on raw flash, merged as in an LSM tree. Checksums are on, which is a feature of its own.

use std::fmt::Debug;

use ekv::config::{ALIGN, MAX_PAGE_COUNT, PAGE_SIZE};
use ekv::flash::{Flash, PageID};
use ekv::{Config, Database, ReadError};
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use esker::device::BlockDevice;
use esker_sim::{Sim, SimError};

use super::session::SECTOR;
use super::store::{Begin, NorStore, no_scan};
use super::{Options, Setting};
use crate::Failure;
use crate::kv::store::{Reader, Writer};

/// It is configured when it is built; these are what the devices ask for.
const _: () = assert!(PAGE_SIZE == SECTOR as usize && ALIGN == 4);

/// Sectors that it was built for.
pub const MOST_SECTORS: usize = MAX_PAGE_COUNT;

/// The same in bytes.
pub const MOST_BYTES: u64 = (MAX_PAGE_COUNT * PAGE_SIZE) as u64;

/// Makes it.
///
/// # Errors
/// What failed.
pub fn make(device: Sim, begin: Begin, _: &Options, setting: &Setting) -> Result<Box<dyn NorStore>, Failure> {
    if setting.capacity > MOST_BYTES {
        return Err(Failure::new(format!("it was built for {MOST_SECTORS} sectors at most")));
    }
    // Its wear leveling draws from the seed: the same in every run.
    let mut config = Config::default();
    config.random_seed = 1;
    let database = Database::new(Part(device), config);
    match begin {
        Begin::Create => block_on(database.format()).map_err(|error| failed(&error))?,
        Begin::Open => block_on(database.mount()).map_err(|error| failed(&error))?,
    }
    Ok(Box::new(Open { database, value: vec![0; setting.value_size] }))
}

struct Open {
    database: Database<Part, NoopRawMutex>,
    value: Vec<u8>,
}

impl NorStore for Open {
    fn memory(&self) -> usize {
        size_of_val(&self.database)
    }
}

impl Writer for Open {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        block_on(async {
            let mut transaction = self.database.write_transaction().await;
            transaction.write(key, value).await.map_err(|error| failed(&error))?;
            transaction.commit().await.map_err(|error| failed(&error))
        })
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        block_on(async {
            let mut transaction = self.database.write_transaction().await;
            transaction.delete(key).await.map_err(|error| failed(&error))?;
            transaction.commit().await.map_err(|error| failed(&error))
        })
    }
}

impl Reader for Open {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let read = block_on(async {
            let transaction = self.database.read_transaction().await;
            transaction.read(key, &mut self.value).await
        });
        match read {
            Ok(len) => {
                show(self.value.get(..len).unwrap_or_default());
                Ok(true)
            }
            Err(ReadError::KeyNotFound) => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    fn scan(&mut self, _from: &[u8], _show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        Err(no_scan())
    }
}

/// The flash as it wants it: by pages.
struct Part(Sim);

impl Part {
    fn address(page: PageID, offset: usize) -> u64 {
        (page.index() * PAGE_SIZE + offset) as u64
    }
}

impl Flash for Part {
    type Error = SimError;

    fn page_count(&self) -> usize {
        self.0.geometry().capacity as usize / PAGE_SIZE
    }

    async fn erase(&mut self, page: PageID) -> Result<(), SimError> {
        let start = Self::address(page, 0);
        self.0.erase(start..start + PAGE_SIZE as u64)
    }

    async fn read(&mut self, page: PageID, offset: usize, data: &mut [u8]) -> Result<(), SimError> {
        self.0.read(Self::address(page, offset), data)
    }

    async fn write(&mut self, page: PageID, offset: usize, data: &[u8]) -> Result<(), SimError> {
        self.0.write(Self::address(page, offset), data)
    }
}

fn failed(error: &impl Debug) -> Failure {
    Failure::new(format!("{error:?}"))
}
