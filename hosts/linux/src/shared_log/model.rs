//! Group commit under a scheduler that explores interleavings: `gate`, `group` and `pace` compiled once more, over
//! primitives that give way at every step, and over a log and a medium that notice what must not be.
//!
//! What is checked, in every schedule: an entry that was acknowledged is covered by a sync that was *completed*; all who
//! wait are woken, after a failure too (a schedule in which everybody sleeps is a deadlock, which the scheduler reports);
//! entries lie in the log in the order of their offsets; after a failure nothing is written or synced.

#[path = "gate.rs"]
#[allow(clippy::duplicate_mod)]
mod gate;
// What only the log itself calls is not played here.
#[path = "group.rs"]
#[allow(clippy::duplicate_mod, dead_code)]
mod group;
#[path = "pace.rs"]
#[allow(clippy::duplicate_mod)]
mod pace;
mod primitives;
mod scenarios;

use std::sync::{Arc, Mutex};

use super::SyncHandle;
use super::sink::{Refused, Sink};
use super::{error, sink, staging};

/// What is on the medium. It is never locked while the scheduler may switch.
#[derive(Debug, Default)]
struct Medium {
    /// Entries that were written, in order.
    written: Vec<Vec<u8>>,
    /// The first so many of them are covered by a completed sync.
    safe: usize,
    syncs: u32,
    failed: bool,
}

/// A log that keeps the rules of the engine's: what fits into the buffer while a sync is under way, and what must not be
/// called when.
#[derive(Debug)]
struct ModelLog {
    medium: Arc<Mutex<Medium>>,
    buffer: Vec<Vec<u8>>,
    /// Entries that the buffer holds; more are written, or refused while a sync is under way.
    limit: usize,
    in_flight: bool,
    durable: u64,
    end: u64,
    poisoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelError {
    SyncFailed,
    SyncPending,
    Poisoned,
}

impl ModelLog {
    fn new(medium: &Arc<Mutex<Medium>>, limit: usize) -> Self {
        let medium = Arc::clone(medium);
        Self { medium, buffer: Vec::new(), limit, in_flight: false, durable: 0, end: 0, poisoned: false }
    }

    fn write(&mut self) {
        let mut medium = self.medium.lock().unwrap();
        assert!(!medium.failed, "written after a failure");
        medium.written.append(&mut self.buffer);
    }
}

impl Sink for ModelLog {
    type Error = ModelError;
    type DeviceError = ModelError;
    type Ticket = u64;

    fn end(&self) -> u64 {
        self.end
    }

    fn durable(&self) -> u64 {
        self.durable
    }

    fn append(&mut self, _user: Option<u64>, payload: &[u8]) -> Result<u64, Refused<ModelError>> {
        if self.poisoned {
            return Err(Refused::Fatal(ModelError::Poisoned));
        }
        if self.buffer.len() >= self.limit {
            if self.in_flight {
                return Err(Refused::SyncPending(ModelError::SyncPending));
            }
            self.write();
        }
        self.buffer.push(payload.to_vec());
        self.end += 1;
        Ok(self.end - 1)
    }

    fn flush(&mut self) -> Result<u64, ModelError> {
        if self.poisoned {
            return Err(ModelError::Poisoned);
        }
        assert!(!self.in_flight, "two syncs at once");
        self.write();
        self.in_flight = true;
        Ok(self.end)
    }

    fn acknowledge(&mut self, ticket: u64) {
        assert!(self.in_flight);
        self.in_flight = false;
        self.durable = ticket;
    }

    fn room(&mut self) -> u64 {
        u64::MAX / 2
    }

    fn poison(&mut self) {
        self.poisoned = true;
    }

    fn sync_failed(error: ModelError) -> ModelError {
        error
    }
}

/// The sync of the medium: takes a while, and covers what had been written when it began.
#[derive(Debug)]
struct ModelSync {
    medium: Arc<Mutex<Medium>>,
    /// The sync that fails, counted from 1.
    fails: u32,
    /// A planted bug: it returns before the medium has done its part.
    early: bool,
}

impl SyncHandle for ModelSync {
    type Error = ModelError;

    fn sync(&self) -> Result<(), ModelError> {
        let (seen, nth) = {
            let mut medium = self.medium.lock().unwrap();
            assert!(!medium.failed, "synced after a failure");
            medium.syncs += 1;
            (medium.written.len(), medium.syncs)
        };
        let medium = Arc::clone(&self.medium);
        let complete = move || {
            shuttle::thread::yield_now();
            let mut medium = medium.lock().unwrap();
            medium.failed = nth == self.fails;
            if !medium.failed {
                medium.safe = seen;
            }
        };
        if self.early {
            return Ok(());
        }
        complete();
        if nth == self.fails { Err(ModelError::SyncFailed) } else { Ok(()) }
    }
}
