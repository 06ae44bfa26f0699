//! Bringing to the medium what was written.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::whole;
use crate::DeviceError;

/// An open file and whether a sync of it has failed, through this descriptor or another one of the same device.
#[derive(Debug)]
pub(crate) struct Flush {
    file: File,
    failed: Arc<Mutex<bool>>,
}

impl Flush {
    pub(super) fn new(file: File) -> Self {
        Self { file, failed: Arc::default() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The same, through a descriptor of its own.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, failed: Arc::clone(&self.failed) })
    }

    /// One `fdatasync`: what was written is on the medium, the drive's own cache included.
    ///
    /// A failed one has told the kernel's only word about what was lost: pages whose write failed count as clean from
    /// then on, and the next `fdatasync` would succeed without them. So the device fails for good.
    pub(crate) fn sync(&self) -> Result<(), DeviceError> {
        // One at a time: of two at once, one would be told of a failure and the other that all is well.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(DeviceError::SyncFailed);
        }
        let result = whole::retry(|| self.file.sync_data());
        *failed = result.is_err();
        result.map_err(DeviceError::io("sync"))
    }

    /// [`sync`](Self::sync), with the size and everything else of a file that has just been made.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        whole::retry(|| self.file.sync_all())
    }
}
