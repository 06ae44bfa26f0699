//! Damages images in every way: `corrupt -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

use esker_tests::kv::engine::{TestLsm, TestPlaces, TestTree};
use esker_tests::{cli, kv, wal};

fn main() -> ExitCode {
    cli::main(
        "corrupt",
        &[
            ("wal", wal::corrupt::run),
            ("btree", kv::corrupt::run::<TestTree>),
            ("lsm", kv::corrupt::run::<TestLsm>),
            ("places", kv::corrupt::run::<TestPlaces>),
        ],
    )
}
