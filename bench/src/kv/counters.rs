//! What reached the device, by whoever can tell exactly.
//!
//! - On a simulated device the device tells. Exact.
//! - On a loop device made for this (`--loop`) the kernel tells the sectors and flushes of that disk, where nobody else
//!   writes. Exact for every store, its file system's journal included; what a store wrote and did not sync is counted at
//!   its close. This is the only way to learn of the flushes of peers: LMDB, for instance, writes each commit's meta page
//!   through a descriptor opened with `O_DSYNC`, where a flush is no call of its own.
//! - Else esker's device is wrapped and counts what the engine asks of it, and the bytes of the others are those they have
//!   given to write calls (`wchar` of `/proc/self/io`), before the page cache merges any. That is right for LMDB, too: it
//!   reads through its map, but without `MDB_WRITEMAP` it writes with `pwrite`. Their flushes are not known then.

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::Engine;
use super::usage::{disk_counts, written_bytes};
use crate::Failure;

/// Who has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The device that the engine writes to.
    Device,
    /// The kernel, for a loop device of our own.
    Loop,
    /// The kernel, for the write calls of this process.
    Calls,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// By whom.
    pub source: Source,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Flushes.
    pub flushes: Option<u64>,
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Erase units erased.
    pub erases: Option<u64>,
}

/// A loop device, as a session needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoopCounters {
    /// Its counts.
    pub stat: PathBuf,
    /// Its file system.
    pub folder: PathBuf,
}

/// Counts from one moment to another.
pub struct Counters {
    disk: Option<LoopCounters>,
    begun: Counted,
}

impl Counters {
    /// By the loop device, or whatever else there is.
    pub fn new(disk: Option<LoopCounters>) -> Self {
        let begun = Counted {
            source: Source::Calls,
            written_bytes: None,
            flushes: None,
            read_bytes: None,
            erases: None,
        };
        Self { disk, begun }
    }

    /// From here on.
    ///
    /// # Errors
    /// The counts can't be read.
    pub fn begin(&mut self, engine: &dyn Engine) -> Result<(), Failure> {
        if let Some(disk) = &self.disk {
            sync(disk)?;
        }
        self.begun = self.now(engine)?;
        Ok(())
    }

    /// Up to here.
    ///
    /// # Errors
    /// The counts can't be read.
    pub fn end(&self, engine: &dyn Engine) -> Result<Counted, Failure> {
        let mut now = self.now(engine)?;
        if let Some(disk) = &self.disk {
            // What was written and not synced reaches the device some time: now. Our own flush is not the store's.
            sync(disk)?;
            now.written_bytes = self.now(engine)?.written_bytes;
        }
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Ok(Counted {
            source: now.source,
            written_bytes: since(now.written_bytes, self.begun.written_bytes),
            flushes: since(now.flushes, self.begun.flushes),
            read_bytes: since(now.read_bytes, self.begun.read_bytes),
            erases: since(now.erases, self.begun.erases),
        })
    }

    fn now(&self, engine: &dyn Engine) -> Result<Counted, Failure> {
        let nothing = Counted { flushes: None, read_bytes: None, erases: None, ..self.begun };
        if let Some(disk) = &self.disk {
            let failed = || Failure::at(&disk.stat, &"no counts of writes and flushes in it");
            let (bytes, flushes) = disk_counts(&disk.stat).ok_or_else(failed)?;
            return Ok(Counted {
                source: Source::Loop,
                written_bytes: Some(bytes),
                flushes: Some(flushes),
                ..nothing
            });
        }
        Ok(match engine.counts() {
            Some(counts) => Counted {
                source: Source::Device,
                written_bytes: Some(counts.written_bytes),
                flushes: Some(counts.flushes),
                read_bytes: Some(counts.read_bytes),
                erases: Some(counts.erases),
            },
            None => Counted { source: Source::Calls, written_bytes: written_bytes(), ..nothing },
        })
    }
}

fn sync(disk: &LoopCounters) -> Result<(), Failure> {
    let synced = File::open(&disk.folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| Failure::at(&disk.folder, &error))
}
