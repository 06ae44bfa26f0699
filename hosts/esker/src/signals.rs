//! Ctrl-C, so that what was read before it is still made durable.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::failure::Failure;

/// Whether somebody wants the program to end. The second time it ends at once.
#[derive(Debug)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// Becomes readable with the signal, so that nothing waits for a stream meanwhile.
    wake: UnixStream,
}

impl Interrupt {
    /// From here on SIGINT and SIGTERM are for this to notice.
    pub fn watch() -> Result<Self, Failure> {
        Self::register().map_err(|error| Failure::new(format!("can't watch for signals: {error}")))
    }

    fn register() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let armed = Arc::new(AtomicBool::new(false));
        let (wake, waker) = UnixStream::pair()?;
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the second handler's flag unset.
            flag::register_conditional_default(number, Arc::clone(&armed))?;
            flag::register(number, Arc::clone(&armed))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
            low_level::pipe::register(number, waker.try_clone()?)?;
        }
        Ok(Self { signal, wake })
    }

    /// The signal that came, if one has.
    pub fn signal(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => u8::try_from(signal).ok(),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// A file that grows beyond the limit of this process is an error like any other, not the end of the program.
pub fn ignore_file_size_signal() {
    // Without it the system's own words do.
    let _ = flag::register(SIGXFSZ, Arc::default());
}
