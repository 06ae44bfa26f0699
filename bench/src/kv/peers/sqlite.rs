//! SQLite: pages in place, with a write-ahead log, synced at each commit (`synchronous = FULL`).

use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, params};

use super::{allocated, emptied};
use crate::Failure;
use crate::kv::Setting;
use crate::kv::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};

/// See the module.
pub struct Sqlite {
    folder: PathBuf,
    cache: usize,
}

impl Sqlite {
    /// In the directory.
    ///
    /// # Errors
    /// None: nothing is made yet.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        Ok(Box::new(Self { folder: directory.join("sqlite"), cache: setting.cache }))
    }

    fn connection(&self) -> Result<Connection, Failure> {
        let connection = Connection::open(self.folder.join("pairs")).map_err(failed)?;
        connection
            .execute_batch(&format!(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA cache_size = -{}; PRAGMA mmap_size = 0;",
                self.cache >> 10
            ))
            .map_err(failed)?;
        Ok(connection)
    }
}

impl Engine for Sqlite {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        emptied(&self.folder)?;
        let connection = self.connection()?;
        let table = "CREATE TABLE pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
        connection.execute_batch(table).map_err(failed)?;
        Ok(Box::new(Open { connection, synced: true }))
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(Open { connection: self.connection()?, synced: true }))
    }

    fn size(&mut self) -> Result<u64, Failure> {
        allocated(&self.folder.join("pairs"))
    }

    fn compact(&mut self) -> Result<(), Failure> {
        let connection = self.connection()?;
        connection.execute_batch("VACUUM").map_err(failed)?;
        Box::new(Open { connection, synced: true }).close()
    }
}

struct Open {
    connection: Connection,
    synced: bool,
}

impl Open {
    fn sync(&mut self, synced: bool) -> Result<(), Failure> {
        if self.synced != synced {
            let level = if synced { "FULL" } else { "OFF" };
            self.connection.execute_batch(&format!("PRAGMA synchronous = {level}")).map_err(failed)?;
            self.synced = synced;
        }
        Ok(())
    }

    fn do_all(&self, statement: &str) -> Result<(), Failure> {
        let mut statement = self.connection.prepare_cached(statement).map_err(failed)?;
        statement.raw_execute().map_err(failed).map(drop)
    }
}

impl KvStore for Open {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        self.sync(commit != Commit::NoSync)?;
        self.do_all("BEGIN IMMEDIATE")?;
        let prepare = |statement| self.connection.prepare_cached(statement).map_err(failed);
        body(&mut Writing {
            put: prepare("INSERT INTO pairs VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?,
            remove: prepare("DELETE FROM pairs WHERE key = ?1")?,
        })?;
        self.do_all("COMMIT")
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        self.do_all("BEGIN")?;
        let prepare = |statement| self.connection.prepare_cached(statement).map_err(failed);
        body(&mut Reading {
            get: prepare("SELECT value FROM pairs WHERE key = ?1")?,
            scan: prepare("SELECT key, value FROM pairs WHERE key >= ?1 ORDER BY key")?,
        })?;
        self.do_all("COMMIT")
    }

    fn settle(&mut self) -> Result<(), Failure> {
        // The next commit begins the log again at its start, in a file that is long already.
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).map_err(failed)
    }

    fn close(mut self: Box<Self>) -> Result<(), Failure> {
        self.sync(true)?;
        // The last one to leave brings the log into the database, and removes it.
        self.connection.close().map_err(|(_, error)| failed(error))
    }
}

struct Writing<'a> {
    put: CachedStatement<'a>,
    remove: CachedStatement<'a>,
}

impl Writer for Writing<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.put.execute(params![key, value]).map_err(failed).map(drop)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.remove.execute(params![key]).map_err(failed).map(drop)
    }
}

struct Reading<'a> {
    get: CachedStatement<'a>,
    scan: CachedStatement<'a>,
}

impl Reader for Reading<'_> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let mut rows = self.get.query(params![key]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(false) };
        show(blob(row, 0)?);
        Ok(true)
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        let mut rows = self.scan.query(params![from]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if !show(blob(row, 0)?, blob(row, 1)?) {
                break;
            }
        }
        Ok(())
    }
}

/// A column as it lies in SQLite's own memory.
fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a [u8], Failure> {
    row.get_ref(column).map_err(failed)?.as_blob().map_err(|error| Failure::new(error.to_string()))
}

#[allow(clippy::needless_pass_by_value)] // It is what `map_err` hands over.
fn failed(error: rusqlite::Error) -> Failure {
    Failure::new(error.to_string())
}
