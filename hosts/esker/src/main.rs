//! The program `esker`: logs in files, from the command line.
#![forbid(unsafe_code)]

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    match program::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("esker: {failure}");
            ExitCode::FAILURE
        }
    }
}
