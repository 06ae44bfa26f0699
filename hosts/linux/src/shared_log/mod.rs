//! A log for many threads: they append together, and one sync serves all who wait.
//!
//! [`SharedLog`] owns a volume and one log on it. An entry is durable when a sync that began after it was written has
//! returned: so while one sync is under way, everything that is appended gathers for the next one. With 64 threads
//! that wait, one sync serves about 30 entries, and none of them pays for more than two.
//!
//! | module | what it is |
//! |---|---|
//! | `group` | group commit itself: the queue, the leader, who is woken when |
//! | `gate` | sleeping without a lock and without losing a wake-up |
//! | `pace` | the thread that syncs by count and time for those who don't wait |
//! | `staging` | entries on their way to the log |
//! | `sink` | the log, as the group sees it |
//! | `model` (tests) | the same code under a scheduler that explores interleavings |

mod error;
mod gate;
mod group;
mod pace;
mod primitives;
mod sink;
mod staging;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use esker::device::BlockDevice;
use esker::volume::{Buffer, Volume};
use esker::wal::{self, Entry, Info, Log, Released};

use crate::SyncHandle;

pub use error::SharedLogError;
use group::Group;
use pace::Pace;
use sink::{EngineLog, Refused};

/// When [`SharedLog::append`] makes an entry durable. The loss window is what a power cut may take although `append`
/// has returned for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it returns. Loss window: nothing.
    #[default]
    Always,
    /// A thread of the log's own syncs when `entries` wait, or when the oldest has waited for `period`. Loss window: at
    /// most twice `entries` (appending waits when the device falls that far behind), and of these what came in the last
    /// `period` and during a sync.
    Batch {
        /// So many entries begin a sync; at least 1.
        entries: u64,
        /// So long does the first of them wait at most.
        period: Duration,
    },
    /// Only when somebody asks: [`SharedLog::wait_durable`], [`SharedLog::commit`], [`SharedLog::close`]. Loss window:
    /// everything since then.
    Never,
}

/// Bytes that are staged at most while others write or sync. Two such buffers are allocated.
const STAGING: usize = 256 << 10;
/// Entries of this length and more are not staged where nobody waits for them: copying them twice costs more than the
/// lock.
const LONG: usize = 4096;

/// A log that many threads append to and read from.
///
/// All methods take `&self`: share it by reference among scoped threads, or in an [`Arc`].
///
/// A failed write or sync is told to all who wait and is never tried again: from then on everything but reading answers
/// [`SharedLogError::Failed`]. Drop the value and open the device anew to learn what is durable.
///
/// ```
/// use std::thread;
///
/// use esker::{device::Geometry, volume::{FormatOptions, Volume}, wal::Log};
/// use esker_linux::{FileDevice, SharedLog, SyncPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("events.esker");
/// let device = FileDevice::create(&path, Geometry::blocks(8 << 20, FileDevice::BLOCK))?;
/// let sync = device.sync_handle()?;
/// let mut volume = Volume::<_, _>::format(device, vec![0; 4096], &FormatOptions::default())?;
/// volume.create_log(0)?;
/// let log: Log<_> = Log::open(&mut volume, 0, vec![0; 64 << 10])?;
///
/// let log = SharedLog::new(volume, log, sync, SyncPolicy::Always);
/// thread::scope(|scope| {
///     for _ in 0..8 {
///         scope.spawn(|| log.append(b"durable when this returns").unwrap());
///     }
/// });
/// assert_eq!(log.durable(), 8);
/// log.close()?;
/// # Ok(())
/// # }
/// ```
pub struct SharedLog<D, V, B, H, const LOGS: usize = 4, const SLOTS: usize = 16>
where
    D: BlockDevice,
    V: Buffer,
    B: Buffer,
    H: SyncHandle<Error = D::Error>,
{
    shared: Arc<Shared<D, V, B, H, LOGS, SLOTS>>,
    waits: bool,
    syncing: Option<JoinHandle<()>>,
}

struct Shared<D, V, B, H, const LOGS: usize, const SLOTS: usize>
where
    D: BlockDevice,
    V: Buffer,
    B: Buffer,
    H: SyncHandle<Error = D::Error>,
{
    group: Group<EngineLog<D, V, B, LOGS, SLOTS>, H>,
    pace: Option<Pace>,
}

/// The error of a shared log on a device whose errors are `E`.
type Failure<E> = SharedLogError<wal::Error<E>>;

impl<D, V, B, H, const LOGS: usize, const SLOTS: usize> SharedLog<D, V, B, H, LOGS, SLOTS>
where
    D: BlockDevice + Send + 'static,
    D::Error: Send + Sync,
    V: Buffer + Send + 'static,
    B: Buffer + Send + 'static,
    H: SyncHandle<Error = D::Error> + Send + Sync + 'static,
{
    /// Takes a log, the volume it is on, and the sync of the volume's device. Allocates 512 KiB to stage entries in.
    /// [`SyncPolicy::Batch`] starts a thread.
    pub fn new(volume: Volume<D, V, LOGS>, log: Log<B, SLOTS>, sync: H, policy: SyncPolicy) -> Self {
        let waits = policy == SyncPolicy::Always;
        let segment = volume.info().segment_size as usize;
        let largest = if waits { STAGING / 4 } else { LONG }.min(segment / 4);
        let group = Group::new(EngineLog::new(volume, log, largest), sync, STAGING, largest);
        let pace = match policy {
            SyncPolicy::Batch { entries, period } => Some(Pace::new(entries.max(1), period)),
            SyncPolicy::Always | SyncPolicy::Never => None,
        };
        let shared = Arc::new(Shared { group, pace });
        let syncing = shared.pace.is_some().then(|| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if let Some(pace) = &shared.pace {
                    pace.run(&shared.group);
                }
            })
        });
        Self { shared, waits, syncing }
    }

    /// Appends an entry and returns its offset. It is durable as the [`SyncPolicy`] says.
    ///
    /// Entries are durable in the order of their offsets. Where as much is waiting for a sync as the buffers hold, this
    /// waits for the sync.
    ///
    /// # Errors
    /// [`SharedLogError::Log`] with [`wal::Error::TooLarge`] or [`wal::Error::Full`]: nothing was appended, and for the
    /// latter, [`release_before`](Self::release_before) makes room. Otherwise the log has failed.
    pub fn append(&self, payload: &[u8]) -> Result<u64, Failure<D::Error>> {
        self.append_entry(None, payload, self.waits)
    }

    /// [`append`](Self::append) with a word of the caller's beside the entry: a term, a time.
    ///
    /// # Errors
    /// As for `append`.
    pub fn append_with(&self, user: u64, payload: &[u8]) -> Result<u64, Failure<D::Error>> {
        self.append_entry(Some(user), payload, self.waits)
    }

    /// Appends an entry and waits until it is durable, whatever the policy.
    ///
    /// # Errors
    /// As for [`append`](Self::append). After a failed sync the entry may be on the medium or not.
    pub fn append_durable(&self, payload: &[u8]) -> Result<u64, Failure<D::Error>> {
        self.append_entry(None, payload, true)
    }

    fn append_entry(&self, user: Option<u64>, payload: &[u8], wait: bool) -> Result<u64, Failure<D::Error>> {
        let Shared { group, pace } = &*self.shared;
        let place = group.append(user, payload)?;
        if wait {
            group.wait(place)?;
        } else if let Some(pace) = pace
            && let Some(behind) = pace.appended(group, place.offset)
        {
            self.wait_durable(behind)?;
        }
        Ok(place.offset)
    }

    /// Waits until the entry at `offset`, and all before it, are durable. Syncs at once if no sync is under way. Costs
    /// one load if they are durable already.
    ///
    /// # Errors
    /// [`SharedLogError::Log`] with [`wal::Error::OutOfRange`]: no such entry was appended yet. Otherwise the log has
    /// failed.
    pub fn wait_durable(&self, offset: u64) -> Result<(), Failure<D::Error>> {
        let group = &self.shared.group;
        if group.durable() > offset {
            return Ok(());
        }
        match group.place(offset) {
            Some(place) => group.wait(place),
            None => {
                let start = group.with_log(|sink| sink.log.start());
                Err(SharedLogError::Log(wal::Error::OutOfRange { start, end: self.end() }))
            }
        }
    }

    /// Waits until everything is durable that was appended before.
    ///
    /// # Errors
    /// The log has failed.
    pub fn commit(&self) -> Result<(), Failure<D::Error>> {
        match self.end().checked_sub(1) {
            Some(last) => self.wait_durable(last),
            None => Ok(()),
        }
    }

    /// Offset that the next entry will get.
    pub fn end(&self) -> u64 {
        self.shared.group.next()
    }

    /// Entries before this offset survive a power cut.
    pub fn durable(&self) -> u64 {
        self.shared.group.durable()
    }

    /// Reads an entry, durable or not; see [`Log::read`]. Waits for who writes, not for a sync, unless there is no room
    /// to write what was appended.
    ///
    /// # Errors
    /// [`SharedLogError::Log`] with the log's own answer.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<Entry, Failure<D::Error>> {
        let read = |sink: &mut EngineLog<_, _, _, LOGS, SLOTS>, buffer: &mut [u8]| {
            sink.log.read(&mut sink.volume, offset, buffer)
        };
        let known = |sink: &mut EngineLog<_, _, _, LOGS, SLOTS>| {
            (offset < sink.log.end() || offset >= self.end()).then(|| read(sink, buffer))
        };
        match self.shared.group.with_log(known) {
            Some(answer) => answer.map_err(SharedLogError::Log),
            None => self.shared.group.with_all(|sink, _| read(sink, buffer).map_err(Refused::Entry)),
        }
    }

    /// Gives back the segments that hold only entries before `offset`; see [`Log::release_before`]. Nobody can append
    /// while it runs, which is as long as a publish takes: two or three syncs.
    ///
    /// # Errors
    /// [`SharedLogError::Log`] with [`wal::Error::OutOfRange`]; or the log has failed.
    pub fn release_before(&self, offset: u64) -> Result<Released, Failure<D::Error>> {
        if offset > self.durable() && offset <= self.end() {
            self.wait_durable(offset - 1)?;
        }
        self.shared.group.with_all(|sink, _| {
            let released = sink.log.release_before(&mut sink.volume, offset);
            released.map_err(|error| sink.refused(error))
        })
    }

    /// The log in figures, without what is still on its way to it.
    ///
    /// # Errors
    /// [`SharedLogError::Log`] with the log's own answer.
    pub fn info(&self) -> Result<Info, Failure<D::Error>> {
        self.shared.group.with_log(|sink| sink.log.info(&mut sink.volume)).map_err(SharedLogError::Log)
    }

    /// Runs `look` on the volume while nobody writes to it: for its figures, or those of a device that counts.
    pub fn with_volume<T>(&self, look: impl FnOnce(&Volume<D, V, LOGS>) -> T) -> T {
        self.shared.group.with_log(|sink| look(&sink.volume))
    }

    /// Makes everything durable, closes the log and gives its volume back; see [`Log::close`].
    ///
    /// # Errors
    /// The log has failed, now or before.
    pub fn close(mut self) -> Result<Volume<D, V, LOGS>, Failure<D::Error>> {
        self.stop();
        let shared = Arc::clone(&self.shared);
        drop(self);
        // The syncing thread has ended, so nobody else has it.
        let Some(Shared { group, .. }) = Arc::into_inner(shared) else {
            return Err(SharedLogError::Panicked);
        };
        let EngineLog { mut volume, log, .. } = group.into_sink()?;
        log.close(&mut volume).map_err(|error| SharedLogError::Failed(Arc::new(error)))?;
        Ok(volume)
    }
}

impl<D, V, B, H, const LOGS: usize, const SLOTS: usize> SharedLog<D, V, B, H, LOGS, SLOTS>
where
    D: BlockDevice,
    V: Buffer,
    B: Buffer,
    H: SyncHandle<Error = D::Error>,
{
    fn stop(&mut self) {
        if let Some(pace) = &self.shared.pace {
            pace.stop();
        }
        if let Some(syncing) = self.syncing.take() {
            // If it panicked, `group` knows.
            let _ = syncing.join();
        }
    }
}

impl<D, V, B, H, const LOGS: usize, const SLOTS: usize> Drop for SharedLog<D, V, B, H, LOGS, SLOTS>
where
    D: BlockDevice,
    V: Buffer,
    B: Buffer,
    H: SyncHandle<Error = D::Error>,
{
    /// Under [`SyncPolicy::Batch`] waits for the last sync. The log is not closed: it is recovered at the next open.
    fn drop(&mut self) {
        self.stop();
    }
}
