//! Opens images that anyone may have made: `fuzz [--full] [--seed N] [--replay ITERATION]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::fuzz::main()
}
