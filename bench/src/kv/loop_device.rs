//! A disk of our own: a file behind a loop device, with a file system on it. What is written there, and how often it is
//! flushed, the kernel counts, and nobody else writes to it. Needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use super::counters::LoopCounters;
use crate::Failure;

/// Unmounted and detached with the value.
pub struct LoopDevice {
    device: String,
    folder: PathBuf,
    mounted: bool,
}

impl LoopDevice {
    /// Makes one of `size` bytes in the folder, mounted there.
    ///
    /// # Errors
    /// This is not root, there is no room, or `losetup`, `mkfs.ext4` or `mount` fails.
    pub fn new(folder: &Path, size: u64) -> Result<Self, Failure> {
        let (image, mount) = (folder.join("disk"), folder.join("mounted"));
        let made = File::create(&image).and_then(|file| {
            fs::create_dir(&mount)?;
            Ok(fallocate(&file, FallocateFlags::empty(), 0, size)?)
        });
        made.map_err(|error| Failure::at(&image, &error))?;
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image))?.trim().to_owned();
        let mut made = Self { device, folder: mount, mounted: false };
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(Command::new("mkfs.ext4").args(["-q", "-E", lazy]).arg(&made.device))?;
        run(Command::new("mount").args(["-o", "noatime"]).arg(&made.device).arg(&made.folder))?;
        made.mounted = true;
        Ok(made)
    }

    /// What a session needs to know of it.
    pub fn counters(&self) -> LoopCounters {
        let name = self.device.rsplit('/').next().unwrap_or_default();
        let stat = Path::new("/sys/block").join(name).join("stat");
        LoopCounters { stat, folder: self.folder.clone() }
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // What can't be undone here, its owner finds in `losetup --list`.
        if self.mounted {
            let _ = run(Command::new("umount").arg(&self.folder));
        }
        let _ = run(Command::new("losetup").args(["--detach", &self.device]));
    }
}

/// Runs a program to its end; returns what it printed.
fn run(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let told = |why: &str| {
        Failure::new(format!(
            "--loop needs root and `{program}`: {}",
            why.lines().next().unwrap_or("it failed")
        ))
    };
    let output = command.output().map_err(|error| told(&error.to_string()))?;
    if !output.status.success() {
        return Err(told(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
