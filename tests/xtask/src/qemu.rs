//! `cargo xtask qemu`: the data logger on the boards that QEMU emulates.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::Failure;
use crate::cargo::{cargo, run as call, shown, succeeds, target_dir};
use crate::{debian, firmware};

const PROGRAM: &str = "qemu-system-arm";
const PACKAGE: &str = "qemu-system-arm";

/// How the boards are run.
#[derive(Args, Clone, Debug, Default)]
pub struct QemuArguments {
    /// 300 power cuts for each board instead of 30
    #[arg(long)]
    pub full: bool,
    /// Only this board: lm3s6965evb, lm3s6965evb-lsm, emcraft-sf2 or emcraft-sf2-logs
    #[arg(long)]
    pub board: Option<String>,
    /// Only this part: trips or cuts
    #[arg(long)]
    pub part: Option<String>,
    /// So many power cuts for each board
    #[arg(long)]
    pub cuts: Option<u32>,
    /// Chooses where the power is cut
    #[arg(long)]
    pub seed: Option<u64>,
    /// Leave the last medium of each board in this folder
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Print what the boards say
    #[arg(long, short)]
    pub verbose: bool,
}

pub fn run(arguments: &QemuArguments) -> Result<(), Failure> {
    ensure()?;
    let images = firmware::build(&firmware::LOGGER)?;
    let build = &mut cargo();
    // Not optimised: the tests have built most of it so already, and the time goes into the boards.
    build.args(["build", "--quiet", "-p", "esker-program", "-p", "esker-boards"]);
    call(build)?;
    let programs = target_dir()?.join("debug");

    let mut boards = Command::new(programs.join("boards"));
    boards.arg("--images").arg(images.dir()).arg("--esker").arg(programs.join("esker"));
    for (name, wanted) in [("--full", arguments.full), ("--verbose", arguments.verbose)] {
        if wanted {
            boards.arg(name);
        }
    }
    let options = [
        ("--board", arguments.board.clone()),
        ("--part", arguments.part.clone()),
        ("--cuts", arguments.cuts.map(|cuts| cuts.to_string())),
        ("--seed", arguments.seed.map(|seed| seed.to_string())),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            boards.arg(name).arg(value);
        }
    }
    if let Some(keep) = &arguments.keep {
        boards.arg("--keep").arg(std::path::absolute(keep)?);
    }
    println!("{}", shown(&boards));
    call(&mut boards)
}

/// Sees to it that QEMU is there.
pub fn ensure() -> Result<(), Failure> {
    let is_there = || succeeds(Command::new(PROGRAM).arg("--version"));
    if is_there() {
        return Ok(());
    }
    let advice = format!("the boards want QEMU: `apt-get install {PACKAGE}`");
    debian::install(&[PACKAGE]).map_err(|failure| format!("{advice} ({failure})"))?;
    if is_there() { Ok(()) } else { Err(advice.into()) }
}
