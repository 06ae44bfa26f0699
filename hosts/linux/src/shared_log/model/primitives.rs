//! The names of `shared_log::primitives`, over shuttle.

use std::cell::Cell;
use std::sync::PoisonError;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
pub use shuttle::sync::MutexGuard;
pub use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use shuttle::sync::{Condvar, Mutex as ShuttleMutex};

/// Bugs planted into the primitives, to see that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    None,
    /// Falls asleep without looking at the word again: a wake-up between looking and sleeping is lost.
    SleepsBlindly,
    /// Who should wake all wakes one.
    WakesOne,
}

thread_local! {
    // All threads of a schedule run on the thread of the test.
    pub static PLANTED: Cell<Planted> = const { Cell::new(Planted::None) };
}

#[derive(Debug, Default)]
pub struct Mutex<T>(ShuttleMutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(ShuttleMutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(dead_code)]
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A futex: wakes whom it likes, sometimes early.
#[derive(Debug, Default)]
pub struct Futex {
    state: ShuttleMutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    word: u32,
    next: u64,
    asleep: Vec<u64>,
}

impl Futex {
    pub fn load(&self) -> u32 {
        self.state.lock().unwrap().word
    }

    pub fn bump(&self) {
        self.state.lock().unwrap().word += 1;
    }

    pub fn wait(&self, seen: u32, timeout: Option<Duration>) {
        // The time may be up at once, or any time later: then somebody else runs meanwhile.
        if timeout.is_some() {
            for _ in 0..thread_rng().gen_range(0..4) {
                shuttle::thread::yield_now();
            }
            return;
        }
        let mut state = self.state.lock().unwrap();
        if state.word != seen && PLANTED.get() != Planted::SleepsBlindly {
            return;
        }
        let own = state.next;
        state.next += 1;
        state.asleep.push(own);
        while state.asleep.contains(&own) {
            state = self.changed.wait(state).unwrap();
        }
    }

    pub fn wake(&self, count: u32) {
        let count = if PLANTED.get() == Planted::WakesOne { count.min(1) } else { count };
        let mut state = self.state.lock().unwrap();
        for _ in 0..count {
            if state.asleep.is_empty() {
                break;
            }
            let whom = thread_rng().gen_range(0..state.asleep.len());
            state.asleep.swap_remove(whom);
        }
        self.changed.notify_all();
    }
}
