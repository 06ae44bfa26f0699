//! What it costs to keep pairs of keys and values: the tasks of redb's own benchmark, beside other stores and a floor.
//!
//! Everything is measured in rounds. In a round each store has a process of its own, so that its processor time, its memory
//! and its write calls are nobody else's, and the processes take turns: workload by workload, store after store, in an
//! order that moves on from round to round. What is compared are ratios of turns of *one* round. The floor is a preallocated
//! file that the same bytes are written to, one write and one `fdatasync` for each transaction.
//!
//! - [`pairs`]: what is stored, computed from numbers.   - [`store`]: the trait.   - [`workload`]: the tasks.
//! - `session`: one store at its tasks; `check` compares every answer with what was stored.
//! - `worker`: a session in a process of its own.   - `rounds`: who has the next turn.   - [`report`]: what it comes to.
//! - `esker`, `floor`, `peers`: the stores.   - `simulated`: the same tasks on devices whose counts are exact.
//! - [`nor`]: other tasks and other stores, those of small devices.

mod check;
mod counters;
mod esker;
mod floor;
mod instructions;
mod loop_device;
pub mod nor;
pub mod pairs;
#[cfg(feature = "peers")]
mod peers;
pub mod report;
mod rounds;
mod session;
mod simulated;
pub mod store;
mod usage;
mod worker;
pub mod workload;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use counters::LoopCounters;
use pairs::Pairs;
use store::Engine;
use workload::{Amounts, Workload};

use crate::Failure;

pub use rounds::run;
pub use simulated::Simulated;
pub use worker::serve;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are made, in a folder that is removed afterwards. `None`: the system's temporary folder.
    pub directory: Option<PathBuf>,
    /// Names of [`STORES`] beside the floor.
    pub stores: Vec<String>,
    /// Names of workloads.
    pub workloads: Vec<String>,
    /// Numbers of pairs; each is measured by itself.
    pub pairs: Vec<u32>,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Bytes of memory that each store may take for its cache and buffers.
    pub cache: usize,
    /// How much of each workload is done.
    pub amounts: Amounts,
    /// Bytes of a block, which is a page of esker's tree. `None`: what suits the device.
    pub block_size: Option<u32>,
    /// Bytes of esker's device. `None`: what the pairs need.
    pub capacity: Option<u64>,
    /// The device is simulated, in this process, and there is no floor.
    pub simulated: Option<Simulated>,
    /// Rounds.
    pub rounds: usize,
    /// Esker's file is written and read past the page cache.
    pub direct: bool,
    /// The files are made on a loop device of their own, whose writes and flushes are counted.
    pub loop_device: bool,
    /// The workers run under callgrind, which counts instructions; times mean nothing then.
    pub callgrind: bool,
    /// The program that serves as a worker ([`serve`]), and its arguments. `None`: all is done in this process.
    pub worker: Option<(PathBuf, Vec<OsString>)>,
    /// Becomes the number of a signal when one comes: the run ends before its next turn, and leaves no files.
    pub signal: Arc<AtomicUsize>,
}

impl Options {
    /// Fails once a signal has come.
    fn go_on(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Failure::interrupted(signal)),
        }
    }
}

impl Default for Options {
    /// A few minutes with all peers.
    fn default() -> Self {
        Self {
            directory: None,
            stores: STORES.iter().map(|(name, _)| (*name).into()).filter(|name| name != ESKER_LSM).collect(),
            workloads: Workload::ALL.iter().map(|workload| workload.name().into()).collect(),
            pairs: vec![200_000],
            key_size: 24,
            value_size: 150,
            cache: 64 << 20,
            amounts: Amounts::default(),
            block_size: None,
            capacity: None,
            simulated: None,
            rounds: 3,
            direct: false,
            loop_device: false,
            callgrind: false,
            worker: None,
            signal: Arc::default(),
        }
    }
}

/// How an engine is made, in a directory of its own.
pub type Make = fn(&Path, &Setting) -> Result<Box<dyn Engine>, Failure>;

/// Those that can be measured, and how they are made.
pub const STORES: &[(&str, Make)] = &[
    (ESKER, esker::Esker::<_, esker::BTreeIndex>::on_file),
    (ESKER_LSM, esker::Esker::<_, esker::LsmIndex>::on_file),
    #[cfg(feature = "peers")]
    ("redb", peers::Redb::engine),
    #[cfg(feature = "peers")]
    ("lmdb", peers::Lmdb::engine),
    #[cfg(feature = "peers")]
    ("sqlite", peers::Sqlite::engine),
    #[cfg(feature = "peers")]
    ("fjall", peers::Fjall::engine),
    #[cfg(feature = "peers-rocksdb")]
    ("rocksdb", peers::RocksDb::engine),
];

/// The name of esker's store on its B-tree.
pub const ESKER: &str = "esker";

/// And on its LSM tree. It takes part when it is named.
pub const ESKER_LSM: &str = "esker-lsm";

/// The name of what is measured beside them.
pub const FLOOR: &str = "floor";

/// What a session needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setting {
    /// One of [`STORES`], or the floor.
    pub store: String,
    /// Where its files are made.
    pub directory: PathBuf,
    /// How many pairs.
    pub pairs: u32,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Bytes of memory for its cache and buffers.
    pub cache: usize,
    /// How much of each workload is done.
    pub amounts: Amounts,
    /// Bytes of a block.
    pub block_size: Option<u32>,
    /// Bytes of the device.
    pub capacity: Option<u64>,
    /// The device is simulated.
    pub simulated: Option<Simulated>,
    /// Past the page cache.
    pub direct: bool,
    /// Where callgrind writes its counts.
    pub callgrind: Option<PathBuf>,
    /// Whose writes and flushes are counted.
    disk: Option<LoopCounters>,
}

impl Setting {
    /// The pairs.
    pub fn shape(&self) -> Pairs {
        Pairs::new(self.pairs, self.key_size, self.value_size)
    }

    fn engine(&self) -> Result<Box<dyn Engine>, Failure> {
        if let Some(device) = self.simulated {
            return simulated::engine(device, self);
        }
        if self.store == FLOOR {
            return floor::FloorEngine::engine(&self.directory, self);
        }
        let known = STORES.iter().find(|(name, _)| *name == self.store);
        known.map_or_else(|| Err(unknown(&self.store)), |(_, make)| make(&self.directory, self))
    }
}

fn unknown(store: &str) -> Failure {
    let known: Vec<_> = STORES.iter().map(|(name, _)| *name).collect();
    let peers = match (cfg!(feature = "peers"), cfg!(feature = "peers-rocksdb")) {
        (_, true) => "",
        (true, false) => " (rocksdb needs a build with `--features peers-rocksdb`, and librocksdb-dev)",
        (false, false) => " (others need a build with `--features peers`)",
    };
    Failure::new(format!("no store {store}; there is {}{peers}", known.join(", ")))
}

#[cfg(test)]
mod tests;
