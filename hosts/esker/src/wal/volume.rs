//! The logs of a volume.

use std::path::Path;

use esker::volume;
use esker::wal::{self, Cursor, Entry};
use esker_linux::{AlignedBuffer, DeviceError};

use crate::failure::Failure;
use crate::kv::log_of_store;
use crate::volume::Volume;

/// Writes of this size are as fast as larger ones.
const LOG_MEMORY: usize = 1 << 20;

/// Slots of a segment's index in large segments: an entry is found past a thousandth of them.
pub const MANY_SLOTS: usize = 1024;

/// Slots in small segments, such as firmware makes them, where more would take too much room.
pub const FEW_SLOTS: usize = 16;

/// From this size on, a segment is large: the many slots take less than a tenth of it.
pub const LARGE_SEGMENT: u32 = 64 << 10;

/// Marks an entry that no newline followed: the user word of such an entry. (Other user words are other writers'.)
pub const NO_NEWLINE: u64 = u64::from_le_bytes(*b"no-eol\0\0");

/// Bit 15 of a log's id tells the log that holds its snapshot.
const SNAPSHOT: u16 = 0x8000;

/// A log of a volume.
pub type Log<const SLOTS: usize> = wal::Log<AlignedBuffer, SLOTS>;

/// The snapshot of a log.
pub type Snapshot<const SLOTS: usize> = wal::Snapshot<AlignedBuffer, SLOTS>;

/// Calls a function with as many slots as suit the segments of the volume. What opens a log to append to it, or tells
/// how much room it has, depends on them; reading does not.
macro_rules! with_slots {
    ($volume:expr, $function:ident($($argument:expr),*)) => {
        if $volume.info().segment_size >= $crate::wal::volume::LARGE_SEGMENT {
            $function::<{ $crate::wal::volume::MANY_SLOTS }>($($argument),*)
        } else {
            $function::<{ $crate::wal::volume::FEW_SLOTS }>($($argument),*)
        }
    };
}
pub(super) use with_slots;

pub fn log_memory() -> AlignedBuffer {
    AlignedBuffer::new(LOG_MEMORY)
}

/// Opens a log of the volume, which recovers it; writes nothing.
pub fn open_log<const SLOTS: usize>(
    path: &Path,
    volume: &mut Volume,
    id: u16,
) -> Result<Log<SLOTS>, Failure> {
    Log::open(volume, id, log_memory()).map_err(|error| match error {
        wal::Error::Volume(volume::Error::NoSuchLog) => Failure::at(path, no_such_log(volume, id)),
        error => Failure::log(path, &error),
    })
}

/// What the log of a key-value store says is the store's alone to change.
pub fn refuse_log_of_store(path: &Path, volume: &Volume, id: u16) -> Result<(), Failure> {
    if log_of_store(volume) != Some(id) {
        return Ok(());
    }
    Err(Failure::at(
        path,
        format_args!("log {id} is that of the key-value store here (`esker kv`); name another with `--log`"),
    ))
}

/// The logs that users made: ids from 32,768 on are the engine's own.
pub fn log_ids(volume: &Volume) -> Vec<u16> {
    let mut ids: Vec<u16> = volume.logs().filter(|id| *id < SNAPSHOT).collect();
    ids.sort_unstable();
    ids
}

/// Whether a snapshot of the log was ever put. Only then may one be opened for reading: the first open makes room.
pub fn has_snapshot(volume: &Volume, id: u16) -> bool {
    volume.logs().any(|log| log == snapshot_log(id))
}

/// The log in which the engine keeps the chunks of a log's snapshots.
pub fn snapshot_log(id: u16) -> u16 {
    id | SNAPSHOT
}

fn no_such_log(volume: &Volume, id: u16) -> String {
    let ids: Vec<String> = log_ids(volume).iter().map(u16::to_string).collect();
    match ids.as_slice() {
        [] => format!("there is no log {id}; the volume holds none yet"),
        [only] => format!("there is no log {id}; the volume holds log {only}"),
        _ => format!("there is no log {id}; the volume holds the logs {}", ids.join(", ")),
    }
}

/// Why there is no such entry.
pub fn no_such_offset<const SLOTS: usize>(path: &Path, log: &Log<SLOTS>, offset: u64) -> Failure {
    let held = match log.start() {
        start if start == log.end() => format!("the log is empty, its next offset is {start}"),
        start => format!("the log holds {start} to {}", log.end() - 1),
    };
    Failure::at(path, format_args!("no offset {offset}: {held}"))
}

/// The entry at the cursor, into a buffer that grows with the longest one.
pub fn next<const SLOTS: usize>(
    log: &Log<SLOTS>,
    volume: &mut Volume,
    cursor: &mut Cursor,
    bytes: &mut Vec<u8>,
) -> Result<Option<Entry>, wal::Error<DeviceError>> {
    loop {
        match log.next(volume, cursor, bytes) {
            Err(wal::Error::BufferTooSmall { needed }) if needed > bytes.len() => bytes.resize(needed, 0),
            result => return result,
        }
    }
}
