//! The command line: what `--help`, the completions and the manual pages are made from.

mod kv;
mod pairs;
mod values;
mod wal;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use esker_bench::cli::BenchArguments;

use crate::failure::Failure;

pub use kv::{
    CheckpointArguments, CompactArguments, DumpArguments, KvCommand, KvCreateArguments, KvDelArguments,
    KvGetArguments, KvInfoArguments, KvPutArguments, KvSalvageArguments, KvVerifyArguments, LoadArguments,
    ScanArguments, StoreArguments,
};
pub use pairs::{Encoding, Given, PairFormat, RangeArguments, format_for};
pub use values::Format;
pub use wal::{
    AppendArguments, CatArguments, CreateArguments, GetArguments, InfoArguments, Layout, Output,
    PutArguments, ReadArguments, ReleaseArguments, SalvageArguments, SnapshotCommand, VerifyArguments,
    WalCommand,
};

/// Esker, a storage engine: logs and key-value stores on files and disks
#[derive(Debug, Parser)]
#[command(
    name = "esker",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 when done, 1 when it could not be done or damage was found (one line on standard error \
        says why), 2 for a wrong command line, 3 when there is no such key, 130 when interrupted.\n\n\
        Examples:\n  \
        esker wal append events.esker events.txt\n  \
        esker wal cat events.esker\n  \
        esker kv create --engine btree users.esker\n  \
        esker kv load users.esker users.csv\n  \
        esker bench sync\n  \
        esker bench kv\n  \
        esker completions bash > /etc/bash_completion.d/esker\n  \
        esker man wal append | man -l -"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// What this process was called with. Prints help or the version and ends the process, if that was asked for.
    pub fn of_this_process() -> Result<Self, Failure> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::usage(one_line(&error.to_string())),
        })
    }
}

/// What clap says in paragraphs: the error, maybe a tip, then usage that `--help` shows as well.
fn one_line(text: &str) -> String {
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n").map(words);
    let error = paragraphs.next().unwrap_or_default();
    let mut line = error.strip_prefix("error: ").unwrap_or(&error).to_owned();
    for tip in paragraphs.filter(|paragraph| paragraph.starts_with("tip: ")) {
        line = format!("{line}; {tip}");
    }
    line + "; see `--help`"
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work with write-ahead logs
    #[command(arg_required_else_help = true)]
    Wal {
        #[command(subcommand)]
        command: WalCommand,
    },
    /// Work with key-value stores
    #[command(arg_required_else_help = true)]
    Kv {
        #[command(subcommand)]
        command: KvCommand,
    },
    /// Measure what it costs to make entries durable, and to keep pairs of keys and values, on this machine
    Bench(Box<BenchArguments>),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        esker completions bash > ~/.local/share/bash-completion/completions/esker\n  \
        esker completions zsh > ~/.zfunc/_esker\n  \
        esker completions fish > ~/.config/fish/completions/esker.fish")]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

/// Print a manual page, or write all of them
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        esker man | man -l -\n  \
        esker man wal append | man -l -\n  \
        esker man --directory ~/.local/share/man/man1")]
pub struct ManArguments {
    /// The command, such as `wal append` [default: the program]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub directory: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let told =
            |line: &str| one_line(&Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string());
        assert_eq!(
            told("esker wal create dev --size 64Q"),
            "invalid value '64Q' for '--size <SIZE>': write bytes, or a number with K, M, G or T (powers of 1024); \
             see `--help`"
        );
        assert_eq!(
            told("esker wal append"),
            "the following required arguments were not provided: <DEV> <FILE>; see `--help`"
        );
        let told = told("esker wal cat dev --formats lines");
        assert_eq!(
            told,
            "unexpected argument '--formats' found; tip: a similar argument exists: '--format'; see `--help`"
        );
    }

    #[test]
    fn every_command_that_does_something_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some_and(|about| !about.to_string().ends_with('.')), "{path}");
            let path = format!("{path} {}", command.get_name());
            let path = path.trim();
            if command.has_subcommands() {
                command.get_subcommands().for_each(|sub| check(sub, path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:") && help.contains(path), "{path}: {help}");
            }
        }
        check(&Arguments::command(), "");
    }
}
