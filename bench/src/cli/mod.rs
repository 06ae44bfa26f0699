//! The command line of the measurements, for a program to take in.

mod kv;
mod sync;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use clap::{Args, Subcommand};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Failure;
use crate::priority::raise_priority;

pub use kv::KvArguments;
pub use sync::SyncArguments;

/// `bench`: without a subcommand, `sync`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    /// What to measure [default: sync]
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
    /// What it costs to keep pairs of keys and values, beside other stores
    Kv(Box<KvArguments>),
}

impl BenchArguments {
    /// Measures, and prints the report to standard output.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        match &self.what {
            Some(BenchCommand::Sync(arguments)) => arguments.run(),
            Some(BenchCommand::Kv(arguments)) => arguments.run(),
            None => self.sync.run(),
        }
    }
}

/// Prints a report to standard output, as JSON if asked to, and writes its JSON to a file.
fn told(report: &(impl Serialize + fmt::Display), json: bool, file: Option<&Path>) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report);
    let text = text.map_err(|error| Failure::new(format!("the report: {error}")))?;
    if let Some(path) = file {
        std::fs::write(path, format!("{text}\n")).map_err(|error| Failure::at(path, &error))?;
    }
    let mut out = io::stdout();
    let printed = if json { writeln!(out, "{text}") } else { writeln!(out, "{report}") };
    match printed {
        // Who closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Asks for real-time priority unless it is not wanted; returns what follows if it is not given.
fn slow(unwanted: bool) -> Option<String> {
    let refused = !unwanted && !raise_priority();
    refused.then(|| {
        "real-time priority is not allowed here: on a busy machine the times are those of the scheduler"
            .into()
    })
}

/// Takes note of SIGINT and SIGTERM, so that the files are removed. The second one ends the program at once.
fn watch(signal: &Arc<AtomicUsize>) -> Result<(), Failure> {
    register(signal).map_err(|error| Failure::new(format!("can't watch for signals: {error}")))
}

fn register(signal: &Arc<AtomicUsize>) -> io::Result<()> {
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

    use crate::sync::Options;

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
        let program_of_kv = Program::parse_from(["bench", "kv", "--pairs", "10,20", "--json"]);
        let Some(BenchCommand::Kv(arguments)) = program_of_kv.bench.what else { panic!("no kv") };
        assert!(arguments.json && arguments.pairs == Some(vec![10, 20]));
        let lsm = Program::parse_from(["bench", "kv", "--engine", "lsm", "--stores", "redb,esker"]);
        let Some(BenchCommand::Kv(arguments)) = lsm.bench.what else { panic!("no kv") };
        assert_eq!(arguments.options().stores, ["redb", "esker-lsm"]);
        assert!(arguments.nor_options().is_none());
        assert_eq!(Program::parse_from(["bench", "--rounds", "3"]).bench.sync.rounds, 3);
    }

    #[test]
    fn small_devices_have_stores_and_tasks_of_their_own() {
        let options = |words: &str| {
            let program = Program::parse_from(["bench", "kv", "--sim"].into_iter().chain(words.split(' ')));
            let Some(BenchCommand::Kv(arguments)) = program.bench.what else { panic!("no kv") };
            arguments.nor_options()
        };
        assert_eq!(
            format!("{:?}", options("nor")),
            format!("{:?}", Some(crate::kv::nor::Options::default()))
        );
        assert!(options("sd").is_none() && options("nor --workloads get").is_none());
        let asked = options("nor --pairs 5,6 --value-size 7 --lent 20000 --pattern hot-spot,delete-heavy");
        let asked = asked.unwrap();
        let settings: Vec<_> =
            asked.settings.iter().map(|it| (it.capacity, it.pairs, it.value_size)).collect();
        assert_eq!(settings, [(1 << 20, 5, 7), (1 << 20, 6, 7)]);
        assert_eq!((asked.lent, asked.patterns.len()), (20_000, 2));
        assert_eq!(options("nor --engine lsm --stores esker").unwrap().stores, ["esker-lsm"]);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let program = Program::parse_from(["bench"]);
        assert_eq!(format!("{:?}", program.bench.sync.options()), format!("{:?}", Options::default()));
        let program = Program::parse_from(["bench", "kv"]);
        let Some(BenchCommand::Kv(arguments)) = program.bench.what else { panic!("no kv") };
        let options = crate::kv::Options { worker: None, ..arguments.options() };
        assert_eq!(format!("{options:?}"), format!("{:?}", crate::kv::Options::default()));
    }
}
