//! Random operations against a map: `model -- SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.

use std::process::ExitCode;

use esker_tests::kv::engine::{TestLsm, TestPlaces, TestTree};
use esker_tests::{cli, kv};

fn main() -> ExitCode {
    cli::main(
        "model",
        &[
            ("btree", kv::random::run::<TestTree>),
            ("lsm", kv::random::run::<TestLsm>),
            ("places", kv::random::run::<TestPlaces>),
        ],
    )
}
