//! What is measured: something that entries can be given to.

use std::path::Path;

use super::Failure;

/// Calls and bytes that reached the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Write calls.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// A log, open, with room for a phase.
pub trait Contestant: Sync {
    /// Appends an entry; returns when it is as durable as the strategy says. `thread` counts from 0.
    ///
    /// # Errors
    /// What failed. The measurement ends.
    fn append(&self, thread: usize, entry: &[u8]) -> Result<(), Failure>;

    /// Between phases, not measured: writes what is left, and makes room for `bytes` more.
    ///
    /// # Errors
    /// What failed.
    fn prepare(&self, bytes: u64) -> Result<(), Failure>;

    /// What has reached the device so far, where that is known.
    fn counts(&self) -> Option<DeviceCounts>;
}

/// How a contestant is made, in an empty directory of its own.
pub type Make = fn(&Path, &Setting) -> Result<Box<dyn Contestant>, Failure>;

/// What contestants need to know.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// When entries become durable.
    pub strategy: Strategy,
    /// Bytes of the device, or of the files.
    pub capacity: u64,
    /// The least that is written to the device at once.
    pub write_unit: u32,
    /// Esker's file is written past the page cache.
    pub direct: bool,
}

/// When entries become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Before `append` returns.
    Always,
    /// After so many entries, or so many milliseconds.
    Batch {
        /// Entries.
        entries: u64,
        /// Milliseconds.
        millis: u64,
    },
    /// Never, while it is measured.
    None,
}

impl Strategy {
    /// As in the reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Batch { .. } => "batch",
            Self::None => "none",
        }
    }

    /// What a power cut may take of what was appended.
    pub fn loss_window(self) -> String {
        match self {
            Self::Always => "nothing".into(),
            Self::Batch { entries, millis } => format!("{} entries, {millis} ms and a sync", 2 * entries),
            Self::None => "all since the last sync".into(),
        }
    }
}
