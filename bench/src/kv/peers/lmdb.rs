//! LMDB: a copy-on-write B-tree in C, read through a memory map. Its cache is the page cache, and has no limit to set.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{
    CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, PutFlags, RoTxn, RwTxn, WithTls,
};

use super::{allocated, emptied};
use crate::Failure;
use crate::kv::Setting;
use crate::kv::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};

type Pairs = Database<Bytes, Bytes>;

/// See the module.
pub struct Lmdb {
    folder: PathBuf,
    map: usize,
}

impl Lmdb {
    /// In the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        let live = setting.shape().pair_size() as usize * setting.pairs as usize;
        // Address space, not room: pages that a transaction of 100,000 pairs copies come on top of what is live.
        let map = (live * 16 + (4 << 30)).next_multiple_of(1 << 20);
        Ok(Box::new(Self { folder: directory.join("lmdb"), map }))
    }

    #[allow(unsafe_code)]
    fn environment(&self) -> Result<Env, Failure> {
        let mut options = EnvOpenOptions::new();
        options.map_size(self.map);
        // SAFETY: the folder is this measurement's own, so nobody changes the mapped file behind LMDB's back.
        unsafe { options.open(&self.folder) }.map_err(failed)
    }
}

impl Engine for Lmdb {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        emptied(&self.folder)?;
        let environment = self.environment()?;
        let mut transaction = environment.write_txn().map_err(failed)?;
        let pairs = environment.create_database(&mut transaction, None).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Box::new(Open { environment, pairs, synced: true }))
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        let environment = self.environment()?;
        let transaction = environment.read_txn().map_err(failed)?;
        let pairs = environment.open_database(&transaction, None).map_err(failed)?;
        let pairs = pairs.ok_or_else(|| Failure::new("its database is gone"))?;
        transaction.commit().map_err(failed)?;
        Ok(Box::new(Open { environment, pairs, synced: true }))
    }

    fn size(&mut self) -> Result<u64, Failure> {
        allocated(&self.folder.join("data.mdb"))
    }

    fn compact(&mut self) -> Result<(), Failure> {
        let copy = self.folder.with_extension("copy");
        let environment = self.environment()?;
        let mut file = File::create(&copy).map_err(|error| Failure::at(&copy, &error))?;
        environment.copy_to_file(&mut file, CompactionOption::Enabled).map_err(failed)?;
        environment.prepare_for_closing().wait();
        let replaced = file.sync_all().and_then(|()| fs::rename(&copy, self.folder.join("data.mdb")));
        replaced.map_err(|error| Failure::at(&copy, &error))
    }
}

struct Open {
    environment: Env,
    pairs: Pairs,
    synced: bool,
}

impl Open {
    fn write_with(&mut self, flags: PutFlags, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let transaction = self.environment.write_txn().map_err(failed)?;
        let mut writing = Writing { transaction, pairs: self.pairs, flags };
        body(&mut writing)?;
        writing.transaction.commit().map_err(failed)
    }

    #[allow(unsafe_code)]
    fn sync(&mut self, synced: bool) -> Result<(), Failure> {
        if self.synced != synced {
            let mode = if synced { FlagSetMode::Disable } else { FlagSetMode::Enable };
            // SAFETY: no transaction is under way, and a lost commit is nothing that the measurement relies on.
            unsafe { self.environment.set_flags(EnvFlags::NO_SYNC, mode) }.map_err(failed)?;
            self.synced = synced;
        }
        Ok(())
    }
}

impl KvStore for Open {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        self.sync(commit != Commit::NoSync)?;
        self.write_with(PutFlags::empty(), body)
    }

    fn load_sorted(&mut self, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        self.write_with(PutFlags::APPEND, body)
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        let transaction = self.environment.read_txn().map_err(failed)?;
        body(&mut Reading { transaction, pairs: self.pairs })
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.environment.force_sync().map_err(failed)?;
        self.environment.prepare_for_closing().wait();
        Ok(())
    }
}

struct Writing<'a> {
    transaction: RwTxn<'a>,
    pairs: Pairs,
    flags: PutFlags,
}

impl Writer for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.pairs.put_with_flags(&mut self.transaction, self.flags, key, value).map_err(failed)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.pairs.delete(&mut self.transaction, key).map_err(failed).map(drop)
    }
}

struct Reading<'a> {
    transaction: RoTxn<'a, WithTls>,
    pairs: Pairs,
}

impl Reader for Reading<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        Ok(self.pairs.get(&self.transaction, key).map_err(failed)?.map(show).is_some())
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        for pair in
            self.pairs.range(&self.transaction, &(Bound::Included(from), Bound::Unbounded)).map_err(failed)?
        {
            let (key, value) = pair.map_err(failed)?;
            if !show(key, value) {
                break;
            }
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value)] // It is what `map_err` hands over.
fn failed(error: heed::Error) -> Failure {
    Failure::new(error.to_string())
}
