//! Makes every device operation fail: `ioerr -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::cli::main("ioerr", &[("wal", esker_tests::wal::ioerr::run)])
}
