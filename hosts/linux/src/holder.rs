//! Who has a file or a disk.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::sysfs::Sysfs;

/// Who has a file or a disk that can't be opened, as far as the system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// Another handle of this very process.
    Myself,
    /// A process that has locked it. End that, or wait until it has closed it.
    Process {
        /// Its number.
        pid: u32,
        /// The name of its command, if it may be known.
        name: Option<String>,
    },
    /// A file system on the disk, or on a partition of it, is mounted. Unmount it if it is the right disk at all.
    Mounted {
        /// Where.
        at: PathBuf,
    },
    /// The system swaps to it. `swapoff` ends that.
    Swap,
    /// Other disks are built of it: LVM, RAID, encryption. Stop those if it is the right disk at all.
    Disks {
        /// Their names below `/dev`.
        names: Vec<String>,
    },
    /// The system does not say: it may be a process in another container.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Myself => f.write_str("in use by this process itself; it can be opened once only"),
            Self::Process { pid, name: Some(name) } => {
                write!(f, "in use by process {pid} ({name}); wait until that has closed it")
            }
            Self::Process { pid, name: None } => {
                write!(f, "in use by process {pid}; wait until that has closed it")
            }
            Self::Mounted { at } => write!(f, "mounted at {}; unmount it first", at.display()),
            Self::Swap => f.write_str("in use as swap space; `swapoff` it first"),
            Self::Disks { names } => write!(f, "in use by {}; stop that first", names.join(", ")),
            Self::Unknown => f.write_str("in use by another process; wait until that has closed it"),
        }
    }
}

/// Who has locked the file with this metadata.
pub(crate) fn of_lock(metadata: &fs::Metadata) -> Holder {
    // It is read in pieces: while others lock and unlock, a line may be missing.
    let read = || fs::read_to_string("/proc/locks").unwrap_or_default();
    let found = (0..4).find_map(|_| pid_of_lock(&read(), metadata.dev(), metadata.ino()));
    match found {
        None | Some(0) => Holder::Unknown,
        Some(pid) => process(pid),
    }
}

/// Who has claimed the disk with this metadata.
pub(crate) fn of_disk(metadata: &fs::Metadata) -> Holder {
    let disk = metadata.rdev();
    let sysfs = Sysfs::of(disk);
    let parts = sysfs.relatives();
    let ours = |other: u64| other == disk || parts.contains(&other);
    if let Some(at) = mounted_at(&read("/proc/self/mountinfo"), ours, device_number) {
        return Holder::Mounted { at };
    }
    if swaps(&read("/proc/swaps")).any(|path| device_number(&path).is_some_and(ours)) {
        return Holder::Swap;
    }
    let names = sysfs.holders();
    if !names.is_empty() {
        return Holder::Disks { names };
    }
    of_lock(metadata)
}

/// Who has opened the disk at this path, without a lock: a process that has claimed it, or one of them.
pub(crate) fn of_open(path: &Path) -> Holder {
    let Ok(path) = fs::canonicalize(path) else { return Holder::Unknown };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // The names of the links only: to follow them might wait for a dead server of files.
    let has_it = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| link == path)
    };
    pids.into_iter().find(has_it).map_or(Holder::Unknown, process)
}

fn process(pid: u32) -> Holder {
    if pid == std::process::id() {
        return Holder::Myself;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Holder::Process { pid, name: name.map(|name| name.trim_end().to_owned()) }
}

fn read(path: &str) -> String {
    // A mount point may have any bytes in its name.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The number of a block device, found by its name.
fn device_number(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_block_device().then(|| metadata.rdev())
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fd:00:10010652 0 EOF`; behind an arrow, those that wait.
fn pid_of_lock(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let kind = fields.next()?;
        let pid = fields.nth(2)?;
        (kind == "FLOCK" && fields.next()? == file).then(|| pid.parse().ok())?
    })
}

/// `36 25 7:0 / /mnt rw,relatime shared:1 - ext4 /dev/loop0 rw`. Some file systems have a number that is no disk's;
/// they are known by the path of their source.
fn mounted_at(
    mountinfo: &str,
    ours: impl Fn(u64) -> bool,
    number: impl Fn(&Path) -> Option<u64>,
) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let at = fields.nth(1)?;
        let source = fields.skip_while(|field| *field != "-").nth(2);
        let by_number = ours(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?));
        let by_name = || source.filter(|source| source.starts_with('/')).and_then(|s| number(&unescaped(s)));
        (by_number || by_name().is_some_and(&ours)).then(|| unescaped(at))
    })
}

fn swaps(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescaped)
}

/// The kernel writes blanks, backslashes and newlines in such tables as `\040`.
fn unescaped(field: &str) -> PathBuf {
    let mut text = String::new();
    let mut rest = field;
    while let Some((before, behind)) = rest.split_once('\\') {
        text.push_str(before);
        match behind.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(byte.into());
                rest = &behind[3..];
            }
            None => {
                text.push('\\');
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text.into()
}

/// An error of opening that may mean that somebody has it.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locker_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:00:78 0 EOF\n\
                     3: FLOCK  ADVISORY  READ  13 fe:00:77 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 14 fe:00:79 0 EOF\n";
        let device = rustix::fs::makedev(0xFE, 0);
        assert_eq!(pid_of_lock(locks, device, 77), Some(13));
        assert_eq!(pid_of_lock(locks, device, 78), Some(12));
        assert_eq!(pid_of_lock(locks, device, 79), None, "it only waits");
        assert_eq!(pid_of_lock(locks, rustix::fs::makedev(7, 0), 77), None);
        assert_eq!(pid_of_lock("rubbish\n\n1:\n", device, 77), None);
    }

    #[test]
    fn the_mount_is_found() {
        let table = "22 1 254:0 / / rw - ext4 /dev/root rw\n\
                     36 25 7:3 / /mnt/a\\040b rw,relatime shared:1 master:2 - ext4 /dev/loop3 rw\n\
                     37 25 0:41 /sub /mnt/pool rw - btrfs /dev/sdx rw\n";
        let disk = |major, minor| move |other| other == rustix::fs::makedev(major, minor);
        let none = |_: &Path| None;
        assert_eq!(mounted_at(table, disk(7, 3), none), Some("/mnt/a b".into()));
        assert_eq!(mounted_at(table, disk(7, 4), none), None);
        let sdx = |path: &Path| (path == Path::new("/dev/sdx")).then(|| rustix::fs::makedev(65, 112));
        assert_eq!(mounted_at(table, disk(65, 112), sdx), Some("/mnt/pool".into()));
    }

    #[test]
    fn swaps_are_listed() {
        let table = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2   partition\t1\t0\t-2\n";
        assert_eq!(swaps(table).collect::<Vec<_>>(), [PathBuf::from("/dev/sda2")]);
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescaped("a\\040b\\134c"), PathBuf::from("a b\\c"));
        assert_eq!(unescaped("\\9\\"), PathBuf::from("\\9\\"));
    }
}
