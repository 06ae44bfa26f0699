//! Cuts the power in every way, everywhere: `crash -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

use esker_tests::kv::engine::{TestLsm, TestPlaces, TestTree};
use esker_tests::{cli, kv, wal};

fn main() -> ExitCode {
    cli::main(
        "crash",
        &[
            ("wal", wal::crash::run),
            ("btree", kv::crash::run::<TestTree>),
            ("lsm", kv::crash::run::<TestLsm>),
            ("places", kv::crash::run::<TestPlaces>),
        ],
    )
}
