//! Loop devices: disks with sectors of any size, for whoever may make them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file as a disk, until this is dropped.
pub struct Loop(PathBuf);

impl Loop {
    /// `Err`: why there is none.
    pub fn new(file: &Path, sector: u32) -> Result<Self, String> {
        let mut why = String::new();
        // Another process may take the device that was found free.
        for _ in 0..5 {
            let mut command = Command::new("losetup");
            command.args(["--find", "--show", "--sector-size", &sector.to_string()]).arg(file);
            let output = command.output().map_err(|error| format!("losetup: {error}"))?;
            if output.status.success() {
                return Ok(Self(String::from_utf8_lossy(&output.stdout).trim().into()));
            }
            why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        }
        Err(why)
    }

    pub fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
