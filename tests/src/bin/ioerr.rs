//! Makes every device operation fail: `ioerr -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

use esker_tests::kv::engine::{TestLsm, TestPlaces, TestTree};
use esker_tests::{cli, kv, wal};

fn main() -> ExitCode {
    cli::main(
        "ioerr",
        &[
            ("wal", wal::ioerr::run),
            ("btree", kv::ioerr::run::<TestTree>),
            ("lsm", kv::ioerr::run::<TestLsm>),
            ("places", kv::ioerr::run::<TestPlaces>),
        ],
    )
}
