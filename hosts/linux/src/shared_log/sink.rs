//! What a group of appenders writes to: the engine's log, or a model of it.

use esker::device::BlockDevice;
use esker::volume::{self, Buffer, Volume};
use esker::wal::{self, Log, Ticket};

/// A log with the volume that it is on.
pub trait Sink {
    /// What goes wrong.
    type Error;
    /// What goes wrong below, in a sync.
    type DeviceError;
    /// Of a flush, for its acknowledgement.
    type Ticket;

    /// Offset of the next entry.
    fn end(&self) -> u64;
    /// Entries before this offset are durable.
    fn durable(&self) -> u64;
    fn append(&mut self, user: Option<u64>, payload: &[u8]) -> Result<u64, Refused<Self::Error>>;
    /// Writes what was appended. Not called between another flush and its acknowledgement.
    fn flush(&mut self) -> Result<Self::Ticket, Self::Error>;
    /// The device has synced since the flush.
    fn acknowledge(&mut self, ticket: Self::Ticket);
    /// Bytes that entries may surely take, each counted as [`RECORD_MORE`] more than its payload, and none larger than
    /// those that are staged.
    fn room(&mut self) -> u64;
    /// Nothing may be written any more.
    fn poison(&mut self);
    /// The error that says that a sync has failed.
    fn sync_failed(error: Self::DeviceError) -> Self::Error;
}

/// Why an entry was not appended.
#[derive(Debug)]
pub enum Refused<E> {
    /// Not before the sync that is under way is acknowledged.
    SyncPending(E),
    /// This entry can't be; others can.
    Entry(E),
    /// Nothing can be any more.
    Fatal(E),
}

/// The engine's log.
pub struct EngineLog<D: BlockDevice, V, B, const LOGS: usize, const SLOTS: usize> {
    pub volume: Volume<D, V, LOGS>,
    pub log: Log<B, SLOTS>,
    /// The largest entry that is staged.
    largest: u64,
}

impl<D: BlockDevice, V: Buffer, B: Buffer, const LOGS: usize, const SLOTS: usize>
    EngineLog<D, V, B, LOGS, SLOTS>
{
    pub fn new(volume: Volume<D, V, LOGS>, log: Log<B, SLOTS>, largest: usize) -> Self {
        Self { volume, log, largest: largest as u64 }
    }

    /// What an error of the log is to those who share it.
    pub fn refused(&self, error: wal::Error<D::Error>) -> Refused<wal::Error<D::Error>> {
        match error {
            error @ wal::Error::SyncPending => Refused::SyncPending(error),
            error if self.volume.is_poisoned() => Refused::Fatal(error),
            error => Refused::Entry(error),
        }
    }
}

impl<D: BlockDevice, V: Buffer, B: Buffer, const LOGS: usize, const SLOTS: usize> Sink
    for EngineLog<D, V, B, LOGS, SLOTS>
{
    type Error = wal::Error<D::Error>;
    type DeviceError = D::Error;
    type Ticket = Ticket;

    fn end(&self) -> u64 {
        self.log.end()
    }

    fn durable(&self) -> u64 {
        self.log.durable()
    }

    fn append(&mut self, user: Option<u64>, payload: &[u8]) -> Result<u64, Refused<Self::Error>> {
        let appended = match user {
            None => self.log.append(&mut self.volume, payload),
            Some(user) => self.log.append_with(&mut self.volume, user, payload),
        };
        appended.map_err(|error| self.refused(error))
    }

    fn flush(&mut self) -> Result<Ticket, Self::Error> {
        self.log.flush(&mut self.volume)
    }

    fn acknowledge(&mut self, ticket: Ticket) {
        self.log.acknowledge(ticket);
    }

    /// Of free segments only; what is left of the last one is not counted. Records are at most 27 bytes longer than
    /// their payload; a segment ends where the next record does not fit, and each of a few flushes fills up a unit.
    fn room(&mut self) -> u64 {
        let info = self.volume.info();
        // One more may be taken when the log's epoch begins.
        let free = info.free_segments.saturating_sub(info.reserve.into()).saturating_sub(1);
        let unit = u64::from(info.geometry.write_unit);
        let seal = Log::<B, SLOTS>::memory_needed(&info.geometry) as u64;
        let overhead = 256 + 2 * unit + seal + self.largest + RECORD_MORE;
        u64::from(free) * u64::from(info.segment_size).saturating_sub(overhead)
    }

    fn poison(&mut self) {
        self.volume.poison();
    }

    fn sync_failed(error: D::Error) -> Self::Error {
        volume::Error::Device(error).into()
    }
}

/// Bytes by which a record is longer than its payload, at most.
pub const RECORD_MORE: u64 = 28;
