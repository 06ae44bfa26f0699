//! What it costs to make entries durable: strategies, group commit, and the floor that the machine itself sets.
//!
//! Everything is measured in rounds. In each round every contestant has one phase, in an order that moves on from round
//! to round, so that whatever else the machine does meets all of them alike; and what is compared are ratios of phases
//! of *one* round. The floor is a zero-written file on the same disk with one write and one `fdatasync` for each entry,
//! by one thread.

mod contestant;
mod esker;
mod floor;
mod measure;
#[cfg(feature = "peers")]
mod peers;
mod report;
mod rounds;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use contestant::{DeviceCounts, Strategy};
pub use report::{Report, Row};
pub use rounds::run;

use contestant::Make;

use crate::failure::Failure;

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are made, in a folder that is removed afterwards. `None`: the system's temporary folder.
    pub directory: Option<PathBuf>,
    /// Names of [`CONTESTANTS`] beside the floor.
    pub contestants: Vec<String>,
    /// Strategies of those that have several: "always", "batch", "none".
    pub strategies: Vec<String>,
    /// Numbers of threads under `always`; the other strategies are measured with one.
    pub threads: Vec<usize>,
    /// Bytes of an entry.
    pub entry_bytes: Vec<usize>,
    /// Rounds.
    pub rounds: usize,
    /// So long is a phase.
    pub phase: Duration,
    /// Or so many entries of each thread, if that comes first.
    pub entries: Option<u64>,
    /// When the strategy `batch` syncs.
    pub batch_entries: u64,
    /// When the strategy `batch` syncs, in milliseconds.
    pub batch_millis: u64,
    /// Bytes of the device.
    pub capacity: u64,
    /// The least that is written to the device at once.
    pub write_unit: u32,
    /// Esker's file is written past the page cache; the floor's and those of others are not.
    pub direct: bool,
    /// Becomes the number of a signal when one comes: the run ends before its next phase, and leaves no files.
    pub signal: Arc<AtomicUsize>,
}

impl Options {
    /// Fails once a signal has come.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Failure::interrupted(signal)),
        }
    }
}

impl Default for Options {
    /// About a minute.
    fn default() -> Self {
        Self {
            directory: None,
            contestants: CONTESTANTS.iter().map(|(name, ..)| (*name).into()).collect(),
            strategies: vec!["always".into(), "batch".into(), "none".into()],
            threads: vec![1, 8, 64],
            entry_bytes: vec![100, 1024, 16 << 10],
            rounds: 15,
            phase: Duration::from_millis(150),
            entries: None,
            batch_entries: 64,
            batch_millis: 10,
            capacity: 192 << 20,
            write_unit: esker_linux::FileDevice::BLOCK,
            direct: false,
            signal: Arc::default(),
        }
    }
}

/// Those that can be measured, how they are opened, and whether they know strategies other than `always`.
pub const CONTESTANTS: &[(&str, Make, bool)] = &[
    ("esker", esker::Esker::open, true),
    #[cfg(feature = "peers")]
    ("okaywal", peers::OkayWal::open, false),
    #[cfg(feature = "peers")]
    ("raft-engine", peers::RaftEngine::open, false),
];

#[cfg(test)]
mod tests;
