//! RocksDB: an LSM tree in C++, the one that the system has installed.

mod ffi;
mod handle;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::{allocated_in, emptied};
use crate::Failure;
use crate::kv::Setting;
use crate::kv::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};
use handle::{Db, Options, ReadOptions, TableWriter, WriteBatch};

/// Between two looks whether it still works in the background.
const PAUSE: Duration = Duration::from_millis(5);

/// See the module.
pub struct RocksDb {
    folder: PathBuf,
    memory: usize,
}

impl RocksDb {
    /// In the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        Ok(Box::new(Self { folder: directory.join("rocksdb"), memory: setting.cache }))
    }

    fn opened(&self) -> Result<Open, Failure> {
        let options = Options::within(self.memory)?;
        let db = Db::open(&self.folder, &options)?;
        Ok(Open { db, options, reading: ReadOptions::new()?, table: self.folder.with_extension("table") })
    }
}

impl Engine for RocksDb {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        emptied(&self.folder)?;
        Ok(Box::new(self.opened()?))
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(self.opened()?))
    }

    /// Its write-ahead logs as well: what the memtable held is in them alone. `LOG` is what it tells people.
    fn size(&mut self) -> Result<u64, Failure> {
        allocated_in(&self.folder, &|name| !name.starts_with("LOG"))
    }

    fn compact(&mut self) -> Result<(), Failure> {
        let mut open = Box::new(self.opened()?);
        open.settle()?;
        open.db.compact();
        open.settle()?;
        open.close()
    }

    fn loads_sorted_at_once(&self) -> bool {
        true
    }
}

struct Open {
    db: Db,
    options: Options,
    reading: ReadOptions,
    /// Where a table is written before it is one of the store's.
    table: PathBuf,
}

impl KvStore for Open {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        if commit == Commit::Durable {
            let mut batch = WriteBatch::new()?;
            body(&mut batch)?;
            return self.db.write(&mut batch, true);
        }
        body(&mut One(&mut self.db))?;
        if commit == Commit::Bulk { self.db.sync() } else { Ok(()) }
    }

    fn load_sorted(&mut self, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let mut table = TableWriter::create(&self.table, &self.options)?;
        body(&mut table)?;
        table.finish()?;
        self.db.ingest(&self.table)
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        body(self)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.db.flush()?;
        let work = [
            c"rocksdb.num-running-flushes",
            c"rocksdb.num-running-compactions",
            c"rocksdb.compaction-pending",
        ];
        loop {
            let mut busy = 0;
            for property in work {
                busy += self.db.property(property)?;
            }
            if busy == 0 {
                return Ok(());
            }
            sleep(PAUSE);
        }
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        self.db.sync()
    }
}

/// Its own transaction each, in the log but not synced.
struct One<'a>(&'a mut Db);

impl Writer for One<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let mut batch = WriteBatch::new()?;
        batch.put(key, value);
        self.0.write(&mut batch, false)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        let mut batch = WriteBatch::new()?;
        batch.delete(key);
        self.0.write(&mut batch, false)
    }
}

impl Writer for WriteBatch {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Self::put(self, key, value);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.delete(key);
        Ok(())
    }
}

impl Writer for TableWriter {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Self::put(self, key, value)
    }

    fn remove(&mut self, _key: &[u8]) -> Result<(), Failure> {
        Err(Failure::new("nothing is removed while it is loaded"))
    }
}

impl Reader for Open {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let found = self.db.get(&self.reading, key)?;
        Ok(found.map(|value| show(value.bytes())).is_some())
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        let mut iterator = self.db.iterate(&self.reading, from)?;
        while let Some((key, value)) = iterator.pair()? {
            if !show(key, value) {
                break;
            }
            iterator.advance();
        }
        Ok(())
    }
}
