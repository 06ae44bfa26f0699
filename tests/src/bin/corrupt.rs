//! Damages images in every way: `corrupt -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::cli::main("corrupt", &[("wal", esker_tests::wal::corrupt::run)])
}
