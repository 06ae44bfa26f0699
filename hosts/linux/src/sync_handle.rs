//! A device's sync, apart from the device: so that one thread waits for the medium while another goes on writing.

use crate::DeviceError;
use crate::io::Flush;

/// The sync of a device, callable while somebody else holds the device itself.
///
/// A successful [`sync`](Self::sync) has made durable all writes to the device that had *returned before it was
/// called*. Of writes that were made meanwhile it says nothing.
///
/// A failed one says that what was written before may never reach the medium, even if a later call succeeds: call it
/// no more, and poison the volume ([`Volume::poison`](esker::volume::Volume::poison)).
pub trait SyncHandle {
    /// What the device reports when its sync fails.
    type Error;

    /// Waits until everything written before this call is on the medium.
    ///
    /// # Errors
    /// The device failed. Never try again: see above.
    fn sync(&self) -> Result<(), Self::Error>;
}

/// The sync of a file or a disk: `fdatasync` through a descriptor of its own.
///
/// The kernel tells of a failed write back once, whoever asks first; so once a sync has failed, here or through the
/// device or another handle of it, all of them fail. It does not keep the device locked, nor is it of use when the
/// device is gone.
#[derive(Debug)]
pub struct FileSync(pub(crate) Flush);

impl SyncHandle for FileSync {
    type Error = DeviceError;

    fn sync(&self) -> Result<(), DeviceError> {
        self.0.sync()
    }
}

impl<H: SyncHandle + ?Sized> SyncHandle for &H {
    type Error = H::Error;

    fn sync(&self) -> Result<(), Self::Error> {
        (**self).sync()
    }
}

impl<H: SyncHandle + ?Sized> SyncHandle for std::sync::Arc<H> {
    type Error = H::Error;

    fn sync(&self) -> Result<(), Self::Error> {
        (**self).sync()
    }
}
