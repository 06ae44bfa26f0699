//! Where the files of a measurement are made.

use std::path::Path;

use tempfile::TempDir;

use crate::Failure;

/// An empty folder in this one, or in the system's temporary folder. It goes with the value.
pub fn make(directory: Option<&Path>) -> Result<TempDir, Failure> {
    match directory {
        Some(directory) => tempfile::tempdir_in(directory).map_err(|error| Failure::at(directory, &error)),
        None => tempfile::tempdir().map_err(|error| Failure::at(&std::env::temp_dir(), &error)),
    }
}

/// What is wrong with it.
pub fn warning(folder: &Path) -> Option<String> {
    (!is_on_disk(folder)).then(|| {
        format!(
            "{} is in memory, where a sync costs nothing; name a folder on a disk with --directory",
            folder.display()
        )
    })
}

/// Whether a sync there means anything.
fn is_on_disk(folder: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    !rustix::fs::statfs(folder).is_ok_and(|found| [TMPFS, RAMFS].contains(&(found.f_type as u64)))
}
