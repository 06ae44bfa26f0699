//! What the machine can do at all: a file that was written once, over and over, with nothing around the entries.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Failure;
use super::contestant::{Contestant, DeviceCounts, Setting, Strategy};

/// The size of the writes of the bare loop.
const BARE: usize = 1 << 20;

/// A preallocated file. Under [`Strategy::Always`] each entry is one write and one `fdatasync`; under
/// [`Strategy::None`] entries of any size stand for one write of 1 MiB each.
pub struct Floor {
    file: File,
    capacity: u64,
    always: bool,
    at: Mutex<u64>,
    bare: Vec<u8>,
    writes: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Floor {
    /// Makes the file.
    ///
    /// # Errors
    /// There is no room, or the directory can't be written to.
    pub fn open(directory: &Path, setting: &Setting) -> Result<Box<dyn Contestant>, Failure> {
        let path = directory.join("floor");
        let make = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            let zeros = vec![0; BARE];
            for at in (0..setting.capacity).step_by(BARE) {
                file.write_all_at(&zeros, at)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(|error| Failure::at(&path, &error))?;
        Ok(Box::new(Self {
            file,
            capacity: setting.capacity / BARE as u64 * BARE as u64,
            always: setting.strategy == Strategy::Always,
            at: Mutex::new(0),
            bare: vec![0xA5; BARE],
            writes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }))
    }

    fn write(&self, data: &[u8]) -> io::Result<()> {
        let len = data.len() as u64;
        let at = {
            let mut at = self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *at + len > self.capacity {
                *at = 0;
            }
            *at += len;
            *at - len
        };
        self.file.write_all_at(data, at)?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }
}

impl Contestant for Floor {
    fn append(&self, _thread: usize, entry: &[u8]) -> Result<(), Failure> {
        let done = if self.always {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            self.write(entry).and_then(|()| self.file.sync_data())
        } else {
            self.write(&self.bare)
        };
        done.map_err(|error| Failure::new(format!("the floor's file: {error}")))
    }

    fn prepare(&self, _bytes: u64) -> Result<(), Failure> {
        self.file.sync_data().map_err(|error| Failure::new(format!("the floor's file: {error}")))
    }

    fn counts(&self) -> Option<DeviceCounts> {
        Some(DeviceCounts {
            writes: self.writes.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
        })
    }
}
