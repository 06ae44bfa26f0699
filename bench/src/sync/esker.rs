//! Esker's shared log, on a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker::device::{Counted, Geometry};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{self, Log};
use esker_linux::{
    AlignedBuffer, DeviceError, FileDevice, FileSync, SharedLog, SharedLogError, SyncHandle, SyncPolicy,
};

use super::Failure;
use super::contestant::{Contestant, DeviceCounts, Setting, Strategy};

const SEGMENT: u32 = 4 << 20;
const SLOTS: usize = 1024;
const VOLUME_MEMORY: usize = 64 << 10;
const LOG_MEMORY: usize = 1 << 20;

type Shared = SharedLog<Counted<FileDevice>, AlignedBuffer, AlignedBuffer, CountedSync, 4, SLOTS>;
type SharedError = SharedLogError<wal::Error<DeviceError>>;

/// See the module.
pub struct Esker {
    log: Shared,
    syncs: Arc<AtomicU64>,
}

/// The device's sync, counted: it goes past the device.
struct CountedSync {
    sync: FileSync,
    count: Arc<AtomicU64>,
}

impl SyncHandle for CountedSync {
    type Error = DeviceError;

    fn sync(&self) -> Result<(), DeviceError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sync.sync()
    }
}

impl Esker {
    /// Makes a device in the directory, and a log on it.
    ///
    /// # Errors
    /// There is no room, or the directory can't be written to.
    pub fn open(directory: &Path, setting: &Setting) -> Result<Box<dyn Contestant>, Failure> {
        let path = directory.join("esker");
        let geometry = Geometry::blocks(setting.capacity, setting.write_unit);
        let device = FileDevice::create(&path, geometry).map_err(|error| Failure::at(&path, &error))?;
        let device = if setting.direct { device.direct() } else { Ok(device) };
        let device = device.map_err(|error| Failure::at(&path, &error))?;
        let count = Arc::new(AtomicU64::new(0));
        let sync = device.sync_handle().map_err(|error| Failure::at(&path, &error))?;
        let sync = CountedSync { sync, count: Arc::clone(&count) };
        let options = FormatOptions { volume_id: 1, segment_size: SEGMENT, ..FormatOptions::default() };
        let open = || -> Result<_, wal::Error<DeviceError>> {
            let mut volume: Volume<_, _> =
                Volume::format(Counted::new(device), AlignedBuffer::new(VOLUME_MEMORY), &options)?;
            volume.create_log(0)?;
            let mut log = Log::open(&mut volume, 0, AlignedBuffer::new(LOG_MEMORY))?;
            // The first append of a session begins an epoch, which costs a write and a sync of its own.
            log.append(&mut volume, &[])?;
            log.commit(&mut volume)?;
            Ok((volume, log))
        };
        let (volume, log) = open().map_err(|error| Failure::at(&path, &error))?;
        let policy = match setting.strategy {
            Strategy::Always => SyncPolicy::Always,
            Strategy::Batch { entries, millis } => {
                SyncPolicy::Batch { entries, period: Duration::from_millis(millis) }
            }
            Strategy::None => SyncPolicy::Never,
        };
        Ok(Box::new(Self { log: SharedLog::new(volume, log, sync, policy), syncs: count }))
    }

    fn failure(error: &SharedError) -> Failure {
        Failure::new(format!("esker: {error}"))
    }
}

impl Contestant for Esker {
    fn append(&self, _thread: usize, entry: &[u8]) -> Result<(), Failure> {
        loop {
            match self.log.append(entry) {
                Ok(_) => return Ok(()),
                // Rare: each phase begins with room for it.
                Err(SharedLogError::Log(wal::Error::Full { release_before: Some(offset) })) => {
                    self.log.release_before(offset).map_err(|error| Self::failure(&error))?;
                }
                Err(error) => return Err(Self::failure(&error)),
            }
        }
    }

    fn prepare(&self, bytes: u64) -> Result<(), Failure> {
        let prepare = || {
            self.log.commit()?;
            let (free, segment) = self.log.with_volume(|volume| {
                let info = volume.info();
                (info.free_segments.saturating_sub(info.reserve.into()), info.segment_size)
            });
            if u64::from(free) * u64::from(segment) < bytes {
                self.log.release_before(self.log.end())?;
            }
            Ok(())
        };
        prepare().map_err(|error| Self::failure(&error))
    }

    fn counts(&self) -> Option<DeviceCounts> {
        let counts = self.log.with_volume(|volume| volume.device().counts());
        let syncs = counts.syncs + self.syncs.load(Ordering::Relaxed);
        Some(DeviceCounts { writes: counts.writes, bytes: counts.written_bytes, syncs })
    }
}
