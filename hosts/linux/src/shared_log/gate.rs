//! Sleeping until something is so, without a mutex and without losing a wake-up.

use std::time::Duration;

use super::primitives::{AtomicU32, Futex, Ordering};

/// Where threads sleep until somebody has changed what they wait for.
///
/// Who waits counts itself as a sleeper, *then* looks at what it waits for; who changes something does that, *then*
/// looks for sleepers. In the one order of sequentially consistent operations one of the two comes first: either the
/// sleeper sees the change, or its waker sees it and changes the word on which it is about to sleep. So nobody sleeps
/// through a change, and a change that nobody waits for costs one load.
#[derive(Debug, Default)]
pub struct Gate {
    word: Futex,
    sleepers: AtomicU32,
}

impl Gate {
    /// Answers what `found` finds; sleeps first if it finds nothing, until woken or for so long. `None` says: ask again.
    pub fn sleep<T>(&self, timeout: Option<Duration>, found: impl FnOnce() -> Option<T>) -> Option<T> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let seen = self.word.load();
        let found = found();
        if found.is_none() {
            self.word.wait(seen, timeout);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// Wakes so many sleepers. Call it after the change.
    pub fn wake(&self, count: u32) {
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            self.word.bump();
            self.word.wake(count);
        }
    }

    pub fn wake_all(&self) {
        self.wake(u32::MAX);
    }
}
