//! What the kernel tells of a disk below `/sys/dev/block`.

use std::fs;
use std::path::PathBuf;

use rustix::fs::{major, makedev, minor};

/// The folder of one block device.
pub(crate) struct Sysfs(PathBuf);

impl Sysfs {
    pub(crate) fn of(device: u64) -> Self {
        Self(format!("/sys/dev/block/{}:{}", major(device), minor(device)).into())
    }

    /// A limit of its queue: a partition has that of its disk.
    pub(crate) fn queue(&self, name: &str) -> Option<u64> {
        [self.0.join("queue"), self.0.join("../queue")]
            .iter()
            .find_map(|folder| fs::read_to_string(folder.join(name)).ok())
            .and_then(|text| text.trim().parse().ok())
    }

    /// Whether the disk may not be written.
    pub(crate) fn is_read_only(&self) -> bool {
        fs::read_to_string(self.0.join("ro")).is_ok_and(|text| text.trim() == "1")
    }

    /// Its partitions; or, of a partition, its disk.
    pub(crate) fn relatives(&self) -> Vec<u64> {
        let number = |folder: PathBuf| {
            let text = fs::read_to_string(folder.join("dev")).ok()?;
            let (major, minor) = text.trim().split_once(':')?;
            Some(makedev(major.parse().ok()?, minor.parse().ok()?))
        };
        if self.0.join("partition").exists() {
            // The link of a partition leads into the folder of its disk.
            return fs::canonicalize(self.0.join("..")).ok().and_then(number).into_iter().collect();
        }
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.join("partition").exists())
            .filter_map(number)
            .collect()
    }

    /// Names of the disks that are built of this one.
    pub(crate) fn holders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("holders")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }
}
