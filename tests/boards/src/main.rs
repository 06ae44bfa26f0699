//! Runs the firmware of `hosts/qemu` on the boards that QEMU emulates.
//!
//! - `trips`: what a board writes, Linux reads, and the reverse; one card goes from board to Linux and back.
//! - `cuts`: the power is cut at writes chosen by a seed, again and again on the same medium, so that every boot
//!   recovers from the cut before and may suffer the next one while it does.
//!
//! `cargo xtask qemu` builds the images, sees to QEMU and calls this.
#![forbid(unsafe_code)]

mod board;
mod cuts;
mod machine;
mod medium;
mod message;
mod nbd;
mod promise;
mod rng;
mod settings;
mod trips;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::board::{BOARDS, Board};

/// Why something failed: text for the user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "boards", about = "Run the firmware on emulated boards")]
struct Arguments {
    /// Folder with the images, named like the boards
    #[arg(long)]
    images: PathBuf,
    /// The program `esker`
    #[arg(long)]
    esker: PathBuf,
    /// Only this board
    #[arg(long)]
    board: Option<String>,
    /// Only this part
    #[arg(long)]
    part: Option<Part>,
    /// 300 power cuts for each board instead of 30
    #[arg(long)]
    full: bool,
    /// So many power cuts for each board
    #[arg(long)]
    cuts: Option<u32>,
    /// Chooses where the power is cut
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the last medium of each board in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Print what the boards say
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Trips,
    Cuts,
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.part.is_none_or(|only| only == part)
    }

    fn cuts(&self) -> u32 {
        self.cuts.unwrap_or(if self.full { 300 } else { 30 })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let boards: Vec<&Board> = BOARDS
        .iter()
        .filter(|board| arguments.board.as_deref().is_none_or(|name| name == board.name))
        .collect();
    if boards.is_empty() {
        let names: Vec<&str> = BOARDS.iter().map(|board| board.name).collect();
        eprintln!("error: there is no such board; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    // Each board has a core of ours to itself, more or less.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            boards.iter().map(|board| (board.name, scope.spawn(|| run(&arguments, board)))).collect();
        runs.into_iter()
            .filter_map(|(name, run)| match run.join() {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(format!("{name}: {failure}")),
                Err(_) => Some(format!("{name}: the harness panicked")),
            })
            .collect()
    });
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments, board: &Board) -> Result<(), Failure> {
    if arguments.wants(Part::Trips) {
        trips::run(arguments, board)?;
    }
    if arguments.wants(Part::Cuts) {
        cuts::run(arguments, board)?;
    }
    Ok(())
}
