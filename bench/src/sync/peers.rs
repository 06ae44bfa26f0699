//! Other write-ahead logs.

use std::io;
use std::path::Path;

use raft_engine::env::DefaultFileSystem;
use raft_engine::{Config, Engine, LogBatch, ReadableSize};

use super::Failure;
use super::contestant::{Contestant, DeviceCounts, Setting};

/// okaywal: group commit by one of the waiters, files preallocated and recycled.
pub struct OkayWal(okaywal::WriteAheadLog);

impl OkayWal {
    /// Opens a log in the directory.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn open(directory: &Path, setting: &Setting) -> Result<Box<dyn Contestant>, Failure> {
        let path = directory.join("okaywal");
        let size = u32::try_from(setting.capacity / 4).unwrap_or(u32::MAX);
        let log = okaywal::Configuration::default_for(&path)
            .preallocate_bytes(size)
            .checkpoint_after_bytes(size.into())
            .open(okaywal::LogVoid);
        log.map(|log| -> Box<dyn Contestant> { Box::new(Self(log)) })
            .map_err(|error| Failure::at(&path, &error))
    }
}

impl Contestant for OkayWal {
    fn append(&self, _thread: usize, entry: &[u8]) -> Result<(), Failure> {
        let append = || -> io::Result<()> {
            let mut writer = self.0.begin_entry()?;
            writer.write_chunk(entry)?;
            writer.commit()?;
            Ok(())
        };
        append().map_err(|error| Failure::new(format!("okaywal: {error}")))
    }

    fn prepare(&self, _bytes: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn counts(&self) -> Option<DeviceCounts> {
        None
    }
}

/// raft-engine: group commit by a queue of writers; files prefilled and recycled; compression off.
pub struct RaftEngine(Engine<DefaultFileSystem>);

impl RaftEngine {
    /// Opens a log in the directory.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn open(directory: &Path, setting: &Setting) -> Result<Box<dyn Contestant>, Failure> {
        let path = directory.join("raft-engine");
        let config = Config {
            dir: path.display().to_string(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(setting.capacity / 8),
            purge_threshold: ReadableSize(setting.capacity / 2),
            enable_log_recycle: true,
            prefill_for_recycle: true,
            ..Config::default()
        };
        let open = || -> raft_engine::Result<Self> {
            let engine = Self(Engine::open(config)?);
            // Its files are as fast as they can be when they have been used before: fill them twice.
            let chunk = vec![0xA5; 64 << 10];
            for _ in 0..4 {
                for _ in 0..setting.capacity / 2 / chunk.len() as u64 {
                    engine.write(0, &chunk, false)?;
                }
                engine.0.sync()?;
                engine.0.purge_expired_files()?;
            }
            Ok(engine)
        };
        match open() {
            Ok(engine) => Ok(Box::new(engine)),
            Err(error) => Err(Failure::at(&path, &error)),
        }
    }

    /// Each thread writes to a region of its own, always the same key: so nothing has to be moved when files are purged.
    fn write(&self, thread: usize, entry: &[u8], sync: bool) -> raft_engine::Result<()> {
        let mut batch = LogBatch::default();
        batch.put(thread as u64 + 1, b"k".to_vec(), entry.to_vec())?;
        self.0.write(&mut batch, sync)?;
        Ok(())
    }
}

impl Contestant for RaftEngine {
    fn append(&self, thread: usize, entry: &[u8]) -> Result<(), Failure> {
        self.write(thread, entry, true).map_err(|error| Failure::new(format!("raft-engine: {error}")))
    }

    fn prepare(&self, _bytes: u64) -> Result<(), Failure> {
        let purged = self.0.purge_expired_files();
        purged.map(drop).map_err(|error| Failure::new(format!("raft-engine: {error}")))
    }

    fn counts(&self) -> Option<DeviceCounts> {
        None
    }
}
