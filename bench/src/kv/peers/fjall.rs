//! fjall: an LSM tree in Rust. Of its memory a quarter is for the memtable, another for the one that is being written to a
//! table, and half for blocks. Nothing is compressed, by none of the stores: the values are random.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot};

use super::{allocated_in, emptied};
use crate::Failure;
use crate::kv::Setting;
use crate::kv::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};

/// Between two looks whether it still works in the background.
const PAUSE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Fjall {
    folder: PathBuf,
    cache: u64,
}

impl Fjall {
    /// In the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        Ok(Box::new(Self { folder: directory.join("fjall"), cache: setting.cache as u64 }))
    }

    fn opened(&self) -> Result<Open, Failure> {
        let database = Database::builder(&self.folder).cache_size(self.cache / 2).open().map_err(failed)?;
        let memtable = self.cache / 4;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
        let pairs = database.keyspace("pairs", options).map_err(failed)?;
        Ok(Open { database, pairs })
    }
}

impl Engine for Fjall {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        emptied(&self.folder)?;
        Ok(Box::new(self.opened()?))
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(self.opened()?))
    }

    /// Its journals as well: what the memtable held is in them alone.
    fn size(&mut self) -> Result<u64, Failure> {
        allocated_in(&self.folder, &|_| true)
    }

    fn compact(&mut self) -> Result<(), Failure> {
        let mut open = Box::new(self.opened()?);
        open.settle()?;
        open.pairs.major_compact().map_err(failed)?;
        open.settle()?;
        open.close()
    }

    fn loads_sorted_at_once(&self) -> bool {
        true
    }
}

struct Open {
    database: Database,
    pairs: Keyspace,
}

impl KvStore for Open {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        match commit {
            Commit::Durable => {
                let batch = self.database.batch().durability(Some(PersistMode::SyncData));
                let mut writing = Batch { batch, pairs: &self.pairs };
                body(&mut writing)?;
                writing.batch.commit().map_err(failed)
            }
            Commit::Bulk => {
                body(&mut One(&self.pairs))?;
                self.database.persist(PersistMode::SyncData).map_err(failed)
            }
            Commit::NoSync => body(&mut One(&self.pairs)),
        }
    }

    fn load_sorted(&mut self, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let mut ingestion = self.pairs.start_ingestion().map_err(failed)?;
        body(&mut Loading(|key: &[u8], value: &[u8]| ingestion.write(key, value).map_err(failed)))?;
        ingestion.finish().map_err(failed)
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        body(&mut Reading { snapshot: self.database.snapshot(), pairs: &self.pairs })
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.pairs.rotate_memtable_and_wait().map_err(failed)?;
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            sleep(PAUSE);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.database.persist(PersistMode::SyncAll).map_err(failed)
    }
}

/// Its own transaction each, in the journal but not synced.
struct One<'a>(&'a Keyspace);

impl Writer for One<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.0.insert(key, value).map_err(failed)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.0.remove(key).map_err(failed)
    }
}

struct Batch<'a> {
    batch: OwnedWriteBatch,
    pairs: &'a Keyspace,
}

impl Writer for Batch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.batch.insert(self.pairs, key, value);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.batch.remove(self.pairs, key);
        Ok(())
    }
}

/// Its ingestion has a type without a name.
struct Loading<F>(F);

impl<F: FnMut(&[u8], &[u8]) -> Result<(), Failure>> Writer for Loading<F> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        (self.0)(key, value)
    }

    fn remove(&mut self, _key: &[u8]) -> Result<(), Failure> {
        Err(Failure::new("nothing is removed while it is loaded"))
    }
}

struct Reading<'a> {
    snapshot: Snapshot,
    pairs: &'a Keyspace,
}

impl Reader for Reading<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        Ok(self.snapshot.get(self.pairs, key).map_err(failed)?.map(|value| show(&value)).is_some())
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        for pair in self.snapshot.range(self.pairs, from..) {
            let (key, value) = pair.into_inner().map_err(failed)?;
            if !show(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value)] // It is what `map_err` hands over.
fn failed(error: fjall::Error) -> Failure {
    Failure::new(error.to_string())
}
