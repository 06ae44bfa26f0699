//! The command line of the measurements, for a program to take in.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::priority::raise_priority;
use crate::sync::{self, Failure, Options};

/// `bench`: without a subcommand, all that there is.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    /// What to measure [default: everything]
    #[command(subcommand)]
    pub what: Option<BenchCommand>,
    /// Without a subcommand.
    #[command(flatten)]
    pub sync: SyncArguments,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// What it costs to make entries durable, by sync strategy and number of threads
    Sync(SyncArguments),
}

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

impl BenchArguments {
    /// Measures, and prints the report to standard output.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        match &self.what {
            Some(BenchCommand::Sync(arguments)) => arguments.run(),
            None => self.sync.run(),
        }
    }
}

impl SyncArguments {
    /// Measures, and prints the report to standard output.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        let raised = !self.no_realtime && raise_priority();
        let options = self.options();
        watch(&options.signal).map_err(|error| Failure::new(format!("can't watch for signals: {error}")))?;
        let mut report = sync::run(&options)?;
        if !raised && !self.no_realtime {
            report.warnings.push(
                "real-time priority is not allowed here: on a busy machine the times are those of the scheduler"
                    .into(),
            );
        }
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(format!("the report: {error}")))?;
        if let Some(path) = &self.output {
            std::fs::write(path, format!("{json}\n")).map_err(|error| Failure::at(path, &error))?;
        }
        let mut out = io::stdout();
        let printed = if self.json { writeln!(out, "{json}") } else { writeln!(out, "{report}") };
        match printed {
            // Who closed the pipe has read enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    fn options(&self) -> Options {
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

/// Takes note of SIGINT and SIGTERM, so that the files are removed. The second one ends the program at once.
fn watch(signal: &Arc<AtomicUsize>) -> io::Result<()> {
    let armed = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset.
        flag::register_conditional_default(number, Arc::clone(&armed))?;
        flag::register(number, Arc::clone(&armed))?;
        flag::register_usize(number, Arc::clone(signal), number as usize)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArguments,
    }

    #[test]
    fn the_command_line_is_sound() {
        Program::command().debug_assert();
        let program = Program::parse_from(["bench", "sync", "--threads", "1,2", "--json"]);
        let Some(BenchCommand::Sync(arguments)) = program.bench.what else { panic!("no sync") };
        assert!(arguments.json && arguments.threads == [1, 2]);
        assert_eq!(Program::parse_from(["bench", "--rounds", "3"]).bench.sync.rounds, 3);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let program = Program::parse_from(["bench"]);
        assert_eq!(format!("{:?}", program.bench.sync.options()), format!("{:?}", Options::default()));
    }
}
