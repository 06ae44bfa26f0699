//! Syncs by count and time: a thread of its own, for those who append and don't wait.

use std::time::Duration;

use super::SyncHandle;
use super::gate::Gate;
use super::group::Group;
use super::primitives::{AtomicBool, Ordering};
use super::sink::Sink;

/// When the syncing thread syncs.
#[derive(Debug)]
pub struct Pace {
    /// A sync begins when so many entries wait.
    entries: u64,
    /// Or when the oldest has waited so long.
    period: Duration,
    stopped: AtomicBool,
    /// Where the thread sleeps while nothing waits for a sync.
    idle: Gate,
    /// Where it sleeps until the time or the number is reached.
    due: Gate,
}

impl Pace {
    pub fn new(entries: u64, period: Duration) -> Self {
        Self { entries, period, stopped: AtomicBool::new(false), idle: Gate::default(), due: Gate::default() }
    }

    /// To be called after an append. Returns the offset of an entry to wait for, where the syncing thread has fallen
    /// a whole batch behind.
    pub fn appended<S, H>(&self, group: &Group<S, H>, offset: u64) -> Option<u64>
    where
        S: Sink,
        H: SyncHandle<Error = S::DeviceError>,
    {
        self.idle.wake(1);
        let waiting = (offset + 1).saturating_sub(group.durable());
        if waiting >= self.entries {
            self.due.wake(1);
        }
        offset.checked_sub(self.entries.saturating_mul(2)).filter(|offset| *offset >= group.durable())
    }

    /// What the syncing thread runs, until [`stop`](Self::stop) or a failure; what was appended before it was stopped is
    /// durable when it returns.
    pub fn run<S, H>(&self, group: &Group<S, H>)
    where
        S: Sink,
        H: SyncHandle<Error = S::DeviceError>,
    {
        let ended = || self.stopped.load(Ordering::SeqCst) || group.has_failed();
        loop {
            loop {
                // Asked first: what was appended before the end is seen below.
                let ended_before = ended();
                if group.next() != group.durable() {
                    break;
                }
                if ended_before {
                    return;
                }
                self.idle.sleep(None, || (group.next() != group.durable() || ended()).then_some(()));
            }
            let full = || group.next().saturating_sub(group.durable()) >= self.entries;
            self.due.sleep(Some(self.period), || (full() || ended()).then_some(()));
            let last = group.next().saturating_sub(1);
            // Whoever appends next is told of a failure; here is nobody to tell.
            if group.place(last).is_some_and(|place| group.wait(place).is_err()) {
                return;
            }
        }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.idle.wake_all();
        self.due.wake_all();
    }
}
