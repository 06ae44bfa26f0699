//! The program `esker`: logs and key-value stores on files and disks, from the command line.
//!
//! Every failure is one line on standard error and a non-zero exit status; whatever can be checked before a device is
//! touched, is.
#![forbid(unsafe_code)]

mod arguments;
mod failure;
mod input;
mod kv;
mod making;
mod output;
mod pages;
mod pairs;
mod progress;
mod signals;
mod volume;
mod wal;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    signals::ignore_file_size_signal();
    let done = Arguments::of_this_process().and_then(|arguments| run(&arguments));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("esker: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Wal { command } => wal::run(command),
        Command::Kv { command } => kv::run(command),
        Command::Bench(arguments) => arguments.run().map_err(|failure| match failure.signal() {
            Some(signal) => Failure::signalled(signal, failure.to_string()),
            None => Failure::new(failure.to_string()),
        }),
        Command::Completions(arguments) => pages::completions(arguments),
        Command::Man(arguments) => pages::man(arguments),
    }
}
