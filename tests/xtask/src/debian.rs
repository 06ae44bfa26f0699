//! Installing what is missing, where that can be done without a question.

use std::process::{Command, Stdio};

use crate::Failure;
use crate::cargo::{first_line, run, succeeds};

/// Installs Debian packages.
///
/// # Errors
/// We are not root, this is no Debian, or it did not work.
pub fn install(packages: &[&str]) -> Result<(), Failure> {
    if !first_line(Command::new("id").arg("-u")).is_ok_and(|id| id == "0") {
        return Err("not root, so nothing was installed".into());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return Err("there is no apt-get here".into());
    }
    eprintln!("installing {}", packages.join(" "));
    run(apt().args(["-qq", "update"]))?;
    run(apt().args(["-qq", "install", "-y", "--no-install-recommends"]).args(packages))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::from(std::io::stderr()));
    command
}
