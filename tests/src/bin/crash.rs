//! Cuts the power in every way, everywhere: `crash -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::cli::main("crash", &[("wal", esker_tests::wal::crash::run)])
}
