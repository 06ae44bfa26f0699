//! redb: a copy-on-write B-tree in Rust.

use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, Table, TableDefinition};

use super::{allocated, emptied};
use crate::Failure;
use crate::kv::Setting;
use crate::kv::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");

/// See the module.
pub struct Redb {
    folder: PathBuf,
    cache: usize,
}

impl Redb {
    /// In the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        Ok(Box::new(Self { folder: directory.join("redb"), cache: setting.cache }))
    }

    fn database(&self) -> Result<Database, Failure> {
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache);
        builder.create(self.folder.join("pairs")).map_err(failed)
    }
}

impl Engine for Redb {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        emptied(&self.folder)?;
        let mut store = Box::new(Open(self.database()?));
        store.write(Commit::Durable, &mut |_| Ok(()))?;
        Ok(store)
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(Open(self.database()?)))
    }

    fn size(&mut self) -> Result<u64, Failure> {
        allocated(&self.folder.join("pairs"))
    }

    fn compact(&mut self) -> Result<(), Failure> {
        let mut database = self.database()?;
        database.compact().map_err(failed).map(drop)
    }
}

struct Open(Database);

impl KvStore for Open {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let mut transaction = self.0.begin_write().map_err(failed)?;
        if commit == Commit::NoSync {
            transaction.set_durability(Durability::None).map_err(failed)?;
        }
        body(&mut Writing(transaction.open_table(TABLE).map_err(failed)?))?;
        transaction.commit().map_err(failed)
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        let transaction = self.0.begin_read().map_err(failed)?;
        body(&mut Reading(transaction.open_table(TABLE).map_err(failed)?))
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        // Only a durable transaction takes those before it with it.
        self.write(Commit::Durable, &mut |_| Ok(()))
    }
}

struct Writing<'a>(Table<'a, &'static [u8], &'static [u8]>);

impl Writer for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.0.insert(key, value).map_err(failed).map(drop)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.0.remove(key).map_err(failed).map(drop)
    }
}

struct Reading(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for Reading {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let found = self.0.get(key).map_err(failed)?;
        Ok(found.map(|value| show(value.value())).is_some())
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        for pair in self.0.range(from..).map_err(failed)? {
            let (key, value) = pair.map_err(failed)?;
            if !show(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }
}

fn failed(error: impl Into<redb::Error>) -> Failure {
    Failure::new(error.into().to_string())
}
