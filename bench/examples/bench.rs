//! `bench` as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use esker_bench::cli::BenchArguments;

#[derive(Debug, Parser)]
#[command(about = "Measure this machine's disk")]
struct Program {
    #[command(flatten)]
    bench: BenchArguments,
}

fn main() -> ExitCode {
    match Program::parse().bench.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
