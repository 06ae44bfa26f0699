//! Proves that the checkers bite: `planted [--only NAME] [--skip-clean]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    esker_tests::planted::main()
}
