//! The project's chores: `cargo xtask test` is the whole suite, `size` and `cost` are what firmware pays, `qemu` runs it.

mod cargo;
mod cost;
mod debian;
mod firmware;
mod qemu;
mod report;
mod roundtrip;
mod size;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a step failed: text for the user, who needs no more.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the whole test suite: format, lints, tests, docs, firmware, checkers, end to end
    Test {
        /// Search as long as the checkers know how to, optimised; for hours rather than minutes
        #[arg(long)]
        full: bool,
    },
    /// Build the firmware probes and hold their sections against tests/firmware/ceilings.toml
    Size {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Count instructions and stack of the engine's work on a Cortex-M3, and hold them against tests/firmware/cost.toml
    Cost,
    /// Run the data logger on emulated boards, cut their power, and read on Linux what they wrote
    Qemu(qemu::QemuArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test { full } => test::run(full),
        Chore::Size { json } => size::run(json),
        Chore::Cost => cost::run(),
        Chore::Qemu(arguments) => qemu::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
