//! `bench sync`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{slow, told, watch};
use crate::Failure;
use crate::sync::{self, Options};

/// `bench sync`.
#[derive(Debug, Args)]
#[command(
    long_about = "What it costs to make entries durable, by sync strategy and number of threads.\n\n\
        Everything is measured in rounds, beside a floor: a preallocated file that each entry is written to and \
        synced. Compare the ratios to it; the times are this machine's, as loaded as it is. Takes about a minute.",
    after_help = "Examples:\n  \
        esker bench sync\n  \
        esker bench sync --directory /mnt/card --sizes 100 --threads 1,64\n  \
        esker bench sync --strategies always --rounds 31 --json > sync.json"
)]
pub struct SyncArguments {
    /// Folder on the disk to measure; what is made there is removed again [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Who takes part beside the floor, separated by commas [default: all that were built in]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub contestants: Option<Vec<String>>,
    /// When to sync: always, batch, none, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub strategies: Option<Vec<String>>,
    /// Numbers of threads that append under `always`; one appends under the others
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 8, 64])]
    pub threads: Vec<usize>,
    /// Sizes of entries in bytes
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [100, 1024, 16_384])]
    pub sizes: Vec<usize>,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub rounds: usize,
    /// Milliseconds that each of them takes in a round
    #[arg(long, value_name = "MS", default_value_t = 150)]
    pub phase: u64,
    /// Entries of each thread in a round, if that comes first
    #[arg(long, value_name = "N")]
    pub entries: Option<u64>,
    /// Entries after which the strategy `batch` syncs
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch_entries: u64,
    /// Milliseconds after which the strategy `batch` syncs
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub batch_millis: u64,
    /// Bytes of each device that is made
    #[arg(long, value_name = "BYTES", default_value_t = 192 << 20)]
    pub capacity: u64,
    /// The least that is written to the device at once, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = esker_linux::FileDevice::BLOCK)]
    pub write_unit: u32,
    /// Write esker's file past the page cache (`O_DIRECT`)
    #[arg(long)]
    pub direct: bool,
    /// Leave the scheduling priority as it is, instead of asking for real time
    #[arg(long)]
    pub no_realtime: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the JSON to a file as well
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl SyncArguments {
    /// Measures, and prints the report to standard output.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        let slow = slow(self.no_realtime);
        let options = self.options();
        watch(&options.signal)?;
        let mut report = sync::run(&options)?;
        report.warnings.extend(slow);
        told(&report, self.json, self.output.as_deref())
    }

    /// What they come to.
    pub(super) fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            directory: self.directory.clone(),
            contestants: self.contestants.clone().unwrap_or(defaults.contestants),
            strategies: self.strategies.clone().unwrap_or(defaults.strategies),
            threads: self.threads.clone(),
            entry_bytes: self.sizes.clone(),
            rounds: self.rounds,
            phase: Duration::from_millis(self.phase),
            entries: self.entries,
            batch_entries: self.batch_entries,
            batch_millis: self.batch_millis,
            capacity: self.capacity,
            write_unit: self.write_unit,
            direct: self.direct,
            signal: defaults.signal,
        }
    }
}
