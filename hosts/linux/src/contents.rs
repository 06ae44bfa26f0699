//! What a file or a disk holds, before anybody writes over it.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use esker::device::BlockDevice;
use esker::volume;

use crate::open;
use crate::{Access, Device, DeviceError};

/// Where `blkid` may be; the folders of an ordinary user's `PATH` often lack it.
const BLKID: [&str; 3] = ["blkid", "/usr/sbin/blkid", "/sbin/blkid"];

/// What was found where a device is to be made. Its `Display` goes on from "it holds".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// An esker volume that can be opened.
    Volume,
    /// An esker volume that is damaged, cut off or of a newer version, so that it can't be opened. Inside is why.
    SickVolume(String),
    /// Something that `blkid` knows: a file system, a partition table, swap space, a part of LVM or RAID.
    Signature {
        /// What sort of thing.
        kind: SignatureKind,
        /// Its type as `blkid` names it: "ext4", "gpt", "swap", "LVM2_member".
        name: String,
        /// Its label, if it has one.
        label: Option<String>,
    },
    /// Several things at once, such as what an old file system left beside a new one.
    Several,
    /// Something that nobody knows: a file with bytes that are neither all 0 nor all 0xFF.
    Data,
    /// It can't be told, because `blkid` (Debian's `util-linux`) is not installed. Disks only.
    NoProbe,
}

/// What sort of thing a signature marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureKind {
    /// A file system.
    FileSystem,
    /// A partition table.
    PartitionTable,
    /// A part of a RAID or of LVM.
    Raid,
    /// An encrypted volume.
    Crypto,
    /// Swap space, or another thing that the system itself uses.
    Other,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume => f.write_str("an esker volume"),
            Self::SickVolume(why) => write!(f, "an esker volume that can't be opened ({why})"),
            Self::Signature { kind, name, label } => {
                let kind = match kind {
                    SignatureKind::FileSystem => "a file system",
                    SignatureKind::PartitionTable => "a partition table",
                    SignatureKind::Raid => "a part of a RAID or of LVM",
                    SignatureKind::Crypto => "an encrypted volume",
                    SignatureKind::Other => "a system area",
                };
                write!(f, "{kind} ({name}")?;
                if let Some(label) = label {
                    write!(f, ", label {label:?}")?;
                }
                f.write_str(")")
            }
            Self::Several => f.write_str("signatures of several file systems or partition tables"),
            Self::Data => f.write_str("data of an unknown kind"),
            Self::NoProbe => {
                f.write_str("what nobody can tell, as `blkid` is not installed (package `util-linux`)")
            }
        }
    }
}

/// Looks what a file or a disk holds. `Ok(None)`: nothing is there, or a file of 0 or 0xFF alone, or a disk without any
/// signature that `blkid` knows (its bytes are not looked at, since a used disk is seldom blank).
///
/// Reads a few KiB; of a file all of it up to the first byte that says something. Writes nothing.
///
/// # Errors
/// It can't be opened or read, or is in use.
pub fn contents(path: impl AsRef<Path>) -> Result<Option<Found>, DeviceError> {
    let path = path.as_ref();
    match Device::claim(path, Access::ReadOnly)? {
        Some(mut device) => of(&mut device, path),
        None => Ok(None),
    }
}

/// [`contents`] of a device that was opened already, and so stays as it is.
pub(crate) fn of(device: &mut Device, path: &Path) -> Result<Option<Found>, DeviceError> {
    if device.geometry().capacity == 0 {
        return Ok(None);
    }
    match open::recorded(device) {
        Ok(_) => return Ok(Some(Found::Volume)),
        Err(volume::Error::NotFormatted) => {}
        Err(volume::Error::Device(error)) => return Err(error),
        Err(error) => return Ok(Some(Found::SickVolume(error.to_string()))),
    }
    let found = signature(path).map_err(DeviceError::io("probe"))?;
    match (device, found) {
        (_, Probe::Found(found)) => Ok(Some(found)),
        (Device::Disk(_), Probe::Missing) => Ok(Some(Found::NoProbe)),
        (Device::Disk(_), Probe::Nothing) => Ok(None),
        (Device::File(_), _) => {
            Ok((!is_blank(path).map_err(DeviceError::io("read"))?).then_some(Found::Data))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Missing,
    Nothing,
    Found(Found),
}

fn signature(path: &Path) -> io::Result<Probe> {
    for program in BLKID {
        let mut command = Command::new(program);
        command.args(["--probe", "--output", "export", "--"]).arg(path);
        match command.stdin(Stdio::null()).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(output) => {
                return parse(output.status.code(), &String::from_utf8_lossy(&output.stdout)).ok_or_else(
                    || {
                        let text = String::from_utf8_lossy(&output.stderr);
                        io::Error::other(format!("blkid: {}", text.lines().next().unwrap_or("failed")))
                    },
                );
            }
        }
    }
    Ok(Probe::Missing)
}

/// What blkid(8) answered: its exit status and its `KEY=value` lines.
fn parse(status: Option<i32>, output: &str) -> Option<Probe> {
    match status {
        Some(0) => {}
        Some(2) => return Some(Probe::Nothing),
        Some(8) => return Some(Probe::Found(Found::Several)),
        _ => return None,
    }
    let value =
        |key: &str| output.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(unquoted);
    let (kind, name) = match (value("TYPE"), value("PTTYPE")) {
        (Some(name), _) => {
            let kind = match value("USAGE").as_deref() {
                Some("filesystem") => SignatureKind::FileSystem,
                Some("raid") => SignatureKind::Raid,
                Some("crypto") => SignatureKind::Crypto,
                _ => SignatureKind::Other,
            };
            (kind, name)
        }
        (None, Some(name)) => (SignatureKind::PartitionTable, name),
        // It has only told what it knows of the disk, not of what is on it.
        (None, None) => return Some(Probe::Nothing),
    };
    Some(Probe::Found(Found::Signature { kind, name, label: value("LABEL") }))
}

/// It writes a backslash before what a shell would take for its own.
fn unquoted(value: &str) -> String {
    let mut text = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        text.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    text
}

/// Whether all bytes are 0, or all 0xFF.
fn is_blank(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 20];
    let mut first = None;
    loop {
        let n = match file.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            n => n?,
        };
        if n == 0 {
            return Ok(true);
        }
        let byte = *first.get_or_insert(chunk[0]);
        if !matches!(byte, 0 | 0xFF) || chunk[..n].iter().any(|other| *other != byte) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_blkid_are_understood() {
        let found = |kind, name: &str, label: Option<&str>| {
            let (name, label) = (name.to_owned(), label.map(str::to_owned));
            Some(Probe::Found(Found::Signature { kind, name, label }))
        };
        let ext4 = "DEVNAME=/dev/sdx\nLABEL=my\\ data\nUUID=1\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        assert_eq!(parse(Some(0), ext4), found(SignatureKind::FileSystem, "ext4", Some("my data")));
        assert_eq!(parse(Some(0), "PTTYPE=gpt\n"), found(SignatureKind::PartitionTable, "gpt", None));
        assert_eq!(
            parse(Some(0), "TYPE=LVM2_member\nUSAGE=raid\n"),
            found(SignatureKind::Raid, "LVM2_member", None)
        );
        assert_eq!(parse(Some(0), "TYPE=swap\nUSAGE=other\n"), found(SignatureKind::Other, "swap", None));
        assert_eq!(parse(Some(2), ""), Some(Probe::Nothing));
        assert_eq!(parse(Some(8), ""), Some(Probe::Found(Found::Several)));
        assert_eq!(parse(Some(4), ""), None);
        assert_eq!(parse(None, ""), None, "killed");
    }
}
