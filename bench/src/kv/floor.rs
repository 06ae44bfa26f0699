//! What the machine can do at all: a file that was written once, written over and over, with nothing around the pairs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Setting;
use super::store::{Commit, DeviceCounts, Engine, KvStore, ReadBody, WriteBody, Writer};
use crate::Failure;

/// Bytes of the file, beside what one transaction takes.
const LEAST: u64 = 16 << 20;

/// Each transaction is one write of its keys and values, behind those of the one before, and one `fdatasync` where it is
/// to be durable.
pub struct Floor {
    file: File,
    capacity: u64,
    at: u64,
    counts: DeviceCounts,
    staged: Vec<u8>,
}

/// Shares the engine's file.
pub struct FloorEngine(std::rc::Rc<std::cell::RefCell<Floor>>);

impl FloorEngine {
    /// Makes the file in the directory.
    ///
    /// # Errors
    /// There is no room, or the directory can't be written to.
    pub fn engine(directory: &Path, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
        let path = directory.join("floor");
        let one = setting.shape().pair_size() * u64::from(setting.amounts.bulk.max(setting.amounts.batch));
        let capacity = (LEAST + one).next_multiple_of(1 << 20);
        let make = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            let zeros = vec![0; 1 << 20];
            for at in (0..capacity).step_by(zeros.len()) {
                file.write_all_at(&zeros, at)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(|error| Failure::at(&path, &error))?;
        let floor = Floor { file, capacity, at: 0, counts: DeviceCounts::default(), staged: Vec::new() };
        Ok(Box::new(Self(std::rc::Rc::new(floor.into()))))
    }
}

impl Engine for FloorEngine {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        self.open()
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(Self(std::rc::Rc::clone(&self.0))))
    }

    fn size(&mut self) -> Result<u64, Failure> {
        Err(no_store())
    }

    fn compact(&mut self) -> Result<(), Failure> {
        Err(no_store())
    }

    fn counts(&self) -> Option<DeviceCounts> {
        Some(self.0.borrow().counts)
    }

    fn is_floor(&self) -> bool {
        true
    }
}

impl KvStore for FloorEngine {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        let floor = &mut *self.0.borrow_mut();
        floor.staged.clear();
        body(floor)?;
        floor.flush(commit != Commit::NoSync).map_err(|error| failed(&error))
    }

    fn read(&mut self, _body: &mut ReadBody<'_>) -> Result<(), Failure> {
        Err(no_store())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        let floor = &mut *self.0.borrow_mut();
        floor.staged.clear();
        floor.flush(true).map_err(|error| failed(&error))
    }
}

impl Floor {
    fn flush(&mut self, durable: bool) -> io::Result<()> {
        let len = self.staged.len() as u64;
        if len > 0 {
            if self.at + len > self.capacity {
                self.at = 0;
            }
            self.file.write_all_at(&self.staged, self.at)?;
            self.at += len;
            self.counts.writes += 1;
            self.counts.written_bytes += len;
        }
        if durable {
            self.counts.flushes += 1;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Writer for Floor {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.staged.extend_from_slice(key);
        self.staged.extend_from_slice(value);
        Ok(())
    }

    fn remove(&mut self, _key: &[u8]) -> Result<(), Failure> {
        Err(no_store())
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(format!("the floor's file: {error}"))
}

fn no_store() -> Failure {
    Failure::new("the floor stores nothing that could be found again")
}
