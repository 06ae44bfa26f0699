//! Makes every device operation fail: `ioerr -- wal [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::cli::main("ioerr", esker_tests::wal::ioerr::run)
}
