//! Disks made of files: loop devices, with sectors of any size.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Says that a test can't be made here, where nobody can miss it.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("ESKER_REQUIRE_DEVICES").is_none(), "{test} can't be made here: {why}");
    // Not `eprintln`, which the test runner would swallow.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// Runs a program; `None`: it is not installed.
pub fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    for folder in ["", "/usr/sbin/", "/sbin/"] {
        match Command::new(format!("{folder}{program}")).args(arguments).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            output => return Some(output.unwrap()),
        }
    }
    None
}

/// Runs a program that must succeed; skips the test if it is not installed.
pub fn must_run(program: &str, arguments: &[&str]) -> Option<String> {
    let Some(output) = run(program, arguments) else {
        skip(&format!("`{program}` is not installed"));
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// There are few loop devices: one test has them at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A loop device that is taken down with the value.
pub struct Loop {
    path: PathBuf,
    image: PathBuf,
    dir: TempDir,
    mounted: bool,
    protected: bool,
    partitioned: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Loop {
    /// A disk of `size` zero bytes in sectors of `sector`. `None`: there are no loop devices here, and the test was
    /// skipped.
    pub fn new(size: u64, sector: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        Self::over(image, dir, size, sector)
    }

    /// The same over an image in a place of the caller's; `dir` lives as long.
    pub fn over(image: PathBuf, dir: TempDir, size: u64, sector: u32) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        File::create(&image).unwrap().set_len(size).unwrap();
        let arguments = ["--find", "--show", "--sector-size", &sector.to_string(), image.to_str().unwrap()];
        let Some(output) = run("losetup", &arguments) else {
            skip("`losetup` is not installed (package `mount`, of util-linux)");
            return None;
        };
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            skip(&format!("no loop device (it takes root, and /dev/loop-control): {}", why.trim()));
            return None;
        }
        let path = String::from_utf8_lossy(&output.stdout).trim().into();
        Some(Self { path, image, dir, mounted: false, protected: false, partitioned: false, _turn: turn })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The file behind it.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Puts an ext4 on it and mounts that; `None`: skipped. Its journal is written only when it is asked to.
    pub fn mount(&mut self) -> Option<PathBuf> {
        self.mount_on(&self.path.clone())
    }

    /// The same on a partition of it.
    pub fn mount_on(&mut self, device: &Path) -> Option<PathBuf> {
        let device = device.to_str().unwrap();
        must_run(
            "mkfs.ext4",
            &["-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", device],
        )?;
        let at = self.dir.path().join("mnt");
        fs::create_dir(&at).unwrap();
        must_run("mount", &["-o", "commit=300,noatime", device, at.to_str().unwrap()])?;
        self.mounted = true;
        Some(at)
    }

    /// Its first partition, whose entry is on it. `None`: the kernel knows no partitions of loop devices; skipped.
    pub fn partition(&mut self) -> Option<PathBuf> {
        must_run("partx", &["--add", self.name()])?;
        self.partitioned = true;
        let path = PathBuf::from(format!("{}p1", self.name()));
        if !path.exists() {
            skip("loop devices have no partitions here");
            return None;
        }
        Some(path)
    }

    /// Sets or lifts write protection.
    pub fn protect(&mut self, on: bool) {
        self.protected = on;
        run("blockdev", &[if on { "--setro" } else { "--setrw" }, self.name()]);
    }

    /// What went through it so far.
    pub fn traffic(&self) -> Traffic {
        let name = self.path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        // See Documentation/block/stat.rst of the kernel.
        let field = |number: usize| text.split_whitespace().nth(number).unwrap().parse().unwrap();
        let (writes, flushes) = (field(4), field(15));
        // A flush is counted as a write of nothing as well.
        Traffic { writes: writes - flushes, bytes_written: 512 * field(6), discards: field(11), flushes }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.mounted {
            run("umount", &[self.dir.path().join("mnt").to_str().unwrap()]);
        }
        if self.partitioned {
            run("partx", &["--delete", self.name()]);
        }
        if self.protected {
            // Else the next disk of this number would be.
            self.protect(false);
        }
        run("losetup", &["--detach", self.name()]);
    }
}

/// A file system in memory, unmounted with the value.
pub struct Memory(TempDir);

impl Memory {
    /// Of a type ("tmpfs", "ramfs") and with options as mount(8) takes them. `None`: skipped.
    pub fn mount(kind: &str, options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        match run("mount", &["-t", kind, "-o", options, kind, at]) {
            Some(output) if output.status.success() => Some(Self(dir)),
            _ => {
                skip(&format!("no {kind} can be mounted (it takes root)"));
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        run("umount", &[self.path().to_str().unwrap()]);
    }
}

/// Counters of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub writes: u64,
    pub bytes_written: u64,
    pub discards: u64,
    pub flushes: u64,
}

impl Traffic {
    pub fn since(self, before: Self) -> Self {
        Self {
            writes: self.writes - before.writes,
            bytes_written: self.bytes_written - before.bytes_written,
            discards: self.discards - before.discards,
            flushes: self.flushes - before.flushes,
        }
    }
}
