//! What [`group`](super::group) synchronizes with: the standard library's, and the kernel's futex.
//!
//! The model check compiles `group` once more over primitives of the same names that explore schedules.

use std::sync::PoisonError;
use std::time::Duration;

pub use std::sync::MutexGuard;
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::thread::{Timespec, futex};

/// A mutex that does not care for panics: what it guards is marked as failed by those who can panic.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word that threads sleep on.
#[derive(Debug, Default)]
pub struct Futex(AtomicU32);

impl Futex {
    pub fn load(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn bump(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Sleeps while the word is `seen`, until woken, or for so long. May return early.
    pub fn wait(&self, seen: u32, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An error is one more reason to look again, which all callers do: changed meanwhile, a signal, the time is up.
        let _ = futex::wait(&self.0, futex::Flags::PRIVATE, seen, timeout.as_ref());
    }

    /// Wakes so many of those who sleep.
    pub fn wake(&self, count: u32) {
        // The kernel takes a signed number, and there is no address here that it could refuse.
        let _ = futex::wake(&self.0, futex::Flags::PRIVATE, count.min(i32::MAX as u32));
    }
}
