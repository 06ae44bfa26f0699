//! The commands, and what they share.
//!
//! Every failure is one line on standard error and a non-zero exit status; whatever can be checked before the device is
//! touched, is.

mod append;
mod arguments;
mod cat;
mod create;
mod failure;
mod info;
mod input;
mod lines;
mod open;

use arguments::{Arguments, Command, WalCommand};
use clap::Parser;
use failure::Failure;

/// Does what the command line says.
pub fn run() -> Result<(), Failure> {
    let Command::Wal { command } = Arguments::parse().command;
    match command {
        WalCommand::Append(arguments) => append::run(&arguments),
        WalCommand::Cat(arguments) => cat::run(&arguments),
        WalCommand::Info(arguments) => info::run(&arguments),
    }
}
