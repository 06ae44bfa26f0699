//! From a path to an open volume and log.

use std::path::Path;

use esker::volume::{self, Volume};
use esker::wal::{self, Log};
use esker_linux::{Access, FileDevice};

use super::failure::Failure;

/// So many logs can be on a volume. Their roots must fit the superblock of the smallest devices.
const LOGS: usize = 16;

/// Enough to read ahead with, and for any unit and any number of segments.
const VOLUME_MEMORY: usize = (1 << 20) + (128 << 10);

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

/// A volume on a file.
pub type FileVolume = Volume<FileDevice, Vec<u8>, LOGS>;

/// A log of it.
pub type FileLog<const SLOTS: usize> = Log<Vec<u8>, SLOTS>;

pub fn volume_memory() -> Vec<u8> {
    vec![0; VOLUME_MEMORY]
}

/// Opens the volume for reading only.
pub fn open_to_read(path: &Path) -> Result<FileVolume, Failure> {
    FileDevice::open(path, Access::ReadOnly)
        .and_then(|device| FileVolume::open(device, volume_memory()))
        .map_err(|error| Failure::volume(path, &error))
}

/// Opens a log of the volume, which recovers it; writes nothing.
pub fn open_log<const SLOTS: usize>(
    path: &Path,
    volume: &mut FileVolume,
    id: u16,
) -> Result<FileLog<SLOTS>, Failure> {
    FileLog::open(volume, id, vec![0; LOG_MEMORY]).map_err(|error| match error {
        wal::Error::Volume(volume::Error::NoSuchLog) => Failure::at(path, no_such_log(volume, id)),
        error => Failure::log(path, &error),
    })
}

/// The logs that users made: ids from 32,768 on are the engine's own.
pub fn log_ids(volume: &FileVolume) -> Vec<u16> {
    let mut ids: Vec<u16> = volume.logs().filter(|id| *id < 0x8000).collect();
    ids.sort_unstable();
    ids
}

fn no_such_log(volume: &FileVolume, id: u16) -> String {
    let ids: Vec<String> = log_ids(volume).iter().map(u16::to_string).collect();
    match ids.as_slice() {
        [] => format!("there is no log {id}; the volume holds none yet"),
        [only] => format!("there is no log {id}; the volume holds log {only}"),
        _ => format!("there is no log {id}; the volume holds the logs {}", ids.join(", ")),
    }
}
