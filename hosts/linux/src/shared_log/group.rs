//! Group commit: many append, one of them syncs for all who wait, and appending goes on meanwhile.
//!
//! ```text
//!   appenders ──> queue ──────────> log ───────────> device
//!                 (short lock)      (lock: hand      (sync: no lock held)
//!                 copies an entry,   over, write)
//!                 gives its offset
//!
//!   batch n    staged ...... │ flushed │ sync ....... │ acknowledged: all who wait for n are woken
//!   batch n+1                │ staged ............... │ flushed │ sync ...
//! ```
//! Whoever waits and finds no leader *leads*: takes what is staged, writes it, syncs, acknowledges, and gives the lead
//! away before it returns: to one of those who wait for the next batch, or to whoever comes first. A waiter sleeps
//! once, until its batch is done; it learns that from one atomic and takes no lock. The batches take turns on two
//! gates, because no more than two are ever on their way.
//!
//! Nothing is ever acknowledged that a completed sync does not cover: `durable` is only stored from what the log says
//! after its acknowledgement. After a failure the lead is kept by nobody and given to nobody, so nothing is tried again.

use std::mem;
use std::sync::Arc;

use super::SyncHandle;
use super::error::SharedLogError;
use super::gate::Gate;
use super::primitives::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use super::sink::{RECORD_MORE, Refused, Sink};
use super::staging::Staging;

/// See the module. Locks are taken in this order: `log`, then `queue`.
pub struct Group<S: Sink, H> {
    queue: Mutex<Queue>,
    log: Mutex<Output<S>>,
    handle: H,
    /// The largest entry that is staged; others go to the log directly.
    largest: usize,
    /// Somebody leads. After a failure it stays so.
    led: AtomicBool,
    /// The batch that is being staged. Changed by the leader, who holds the queue.
    batch: AtomicU64,
    /// Offset of the next entry. Changed by who holds the queue.
    next: AtomicU64,
    /// Entries before this offset are durable.
    durable: AtomicU64,
    /// How often a flush was acknowledged.
    acknowledged: AtomicU64,
    failed: AtomicBool,
    cause: Mutex<Option<Arc<S::Error>>>,
    /// Where those sleep who wait for a batch, by its parity.
    gates: [Gate; 2],
    /// Where those sleep who can't append before a sync is acknowledged.
    room: Gate,
}

struct Queue {
    staging: Staging,
    /// What the log will surely still take.
    room: u64,
    /// What of it is staged.
    claimed: u64,
    /// Offset of the first entry of the batch that is being staged.
    mark: u64,
}

struct Output<S> {
    sink: S,
    /// Older than what is in the queue; to be handed over first.
    pending: Staging,
}

/// An entry, and the batch that makes it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    batch: u64,
}

/// What a waiter finds.
enum Turn {
    Durable,
    Failed,
    Lead,
}

impl<S: Sink> Output<S> {
    /// Hands over what was taken from the queue.
    fn hand_over(&mut self) -> Result<(), Refused<S::Error>> {
        while let Some((user, payload)) = self.pending.front() {
            match self.sink.append(user, payload) {
                Ok(_) => self.pending.pop(),
                Err(error @ Refused::SyncPending(_)) => return Err(error),
                // It has its offset already.
                Err(Refused::Entry(error) | Refused::Fatal(error)) => return Err(Refused::Fatal(error)),
            }
        }
        Ok(())
    }
}

impl<S, H> Group<S, H>
where
    S: Sink,
    H: SyncHandle<Error = S::DeviceError>,
{
    /// `staging` bytes of entries wait at most for the log's lock; those longer than `largest` go there directly.
    pub fn new(mut sink: S, handle: H, staging: usize, largest: usize) -> Self {
        let (end, durable, room) = (sink.end(), sink.durable(), sink.room());
        let queue = Queue { staging: Staging::with_capacity(staging), room, claimed: 0, mark: durable };
        Self {
            queue: Mutex::new(queue),
            log: Mutex::new(Output { sink, pending: Staging::with_capacity(staging) }),
            handle,
            largest,
            led: AtomicBool::new(false),
            batch: AtomicU64::new(1),
            next: AtomicU64::new(end),
            durable: AtomicU64::new(durable),
            acknowledged: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            cause: Mutex::new(None),
            gates: [Gate::default(), Gate::default()],
            room: Gate::default(),
        }
    }

    pub fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Appends an entry; does not wait until it is durable. Waits for a sync that is under way only if there is no room
    /// left to put it.
    pub fn append(&self, user: Option<u64>, payload: &[u8]) -> Result<Place, SharedLogError<S::Error>> {
        if payload.len() <= self.largest {
            let mut queue = self.queue.lock();
            self.check()?;
            let claim = payload.len() as u64 + RECORD_MORE;
            if queue.claimed + claim <= queue.room && queue.staging.push(user, payload) {
                queue.claimed += claim;
                return Ok(self.place_next());
            }
        }
        self.append_directly(user, payload)
    }

    /// Gives the next offset away. The queue is held.
    fn place_next(&self) -> Place {
        let offset = self.next.load(Ordering::SeqCst);
        self.next.store(offset + 1, Ordering::SeqCst);
        Place { offset, batch: self.batch.load(Ordering::SeqCst) }
    }

    /// For what the queue can't take. The log alone can say whether it is full.
    fn append_directly(&self, user: Option<u64>, payload: &[u8]) -> Result<Place, SharedLogError<S::Error>> {
        self.with_all(|sink, group| {
            sink.append(user, payload)?;
            Ok(group.place_next())
        })
    }

    /// Runs `call` when everything that was appended is in the log, and nobody can append.
    pub fn with_all<T>(
        &self,
        mut call: impl FnMut(&mut S, &Self) -> Result<T, Refused<S::Error>>,
    ) -> Result<T, SharedLogError<S::Error>> {
        loop {
            let mut log = self.log.lock();
            self.check()?;
            let seen = self.acknowledged.load(Ordering::SeqCst);
            let outcome = log.hand_over().and_then(|()| {
                let mut queue = self.queue.lock();
                if !queue.staging.is_empty() {
                    self.take(&mut queue, &mut log);
                    log.hand_over()?;
                }
                let outcome = call(&mut log.sink, self);
                queue.room = log.sink.room();
                queue.claimed = 0;
                outcome
            });
            drop(log);
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Refused::Entry(error)) => return Err(SharedLogError::Log(error)),
                Err(Refused::Fatal(error)) => return Err(self.fail(Some(error))),
                Err(Refused::SyncPending(_)) => {}
            }
            let moved =
                || (self.acknowledged.load(Ordering::SeqCst) != seen || self.has_failed()).then_some(());
            self.room.sleep(None, moved);
        }
    }

    /// Takes what is staged out of the queue. What was taken before was handed over.
    fn take(&self, queue: &mut MutexGuard<'_, Queue>, log: &mut MutexGuard<'_, Output<S>>) {
        debug_assert!(log.pending.is_empty(), "entries would be lost");
        queue.room = log.sink.room().saturating_sub(queue.claimed);
        queue.claimed = 0;
        mem::swap(&mut queue.staging, &mut log.pending);
    }

    /// Where to wait for an entry that was appended. `None`: there is none yet.
    pub fn place(&self, offset: u64) -> Option<Place> {
        let queue = self.queue.lock();
        let batch = self.batch.load(Ordering::SeqCst);
        let batch = if offset >= queue.mark { batch } else { batch - 1 };
        (offset < self.next.load(Ordering::SeqCst)).then_some(Place { offset, batch })
    }

    /// Waits until the entry is durable; syncs, if nobody else does.
    pub fn wait(&self, place: Place) -> Result<(), SharedLogError<S::Error>> {
        let gate = self.gate(place.batch);
        loop {
            let turn = self.turn(place.offset).or_else(|| gate.sleep(None, || self.turn(place.offset)));
            match turn {
                Some(Turn::Durable) => return Ok(()),
                Some(Turn::Failed) => return Err(self.failure()),
                Some(Turn::Lead) => self.lead(place.offset)?,
                None => {}
            }
        }
    }

    /// What there is to do for one who waits for this entry. `None`: sleep.
    fn turn(&self, offset: u64) -> Option<Turn> {
        if self.durable() > offset {
            Some(Turn::Durable)
        } else if self.has_failed() {
            Some(Turn::Failed)
        } else if !self.led.load(Ordering::SeqCst) && !self.led.swap(true, Ordering::SeqCst) {
            Some(Turn::Lead)
        } else {
            None
        }
    }

    /// One batch, from the queue to the medium. The caller has the lead, and has it no more afterwards.
    fn lead(&self, offset: u64) -> Result<(), SharedLogError<S::Error>> {
        // The leader before may have finished just before this one began.
        if self.durable() > offset {
            self.step_down();
            return Ok(());
        }
        let watch = Watch(self);
        let outcome = self.commit_batch();
        mem::forget(watch);
        match outcome {
            Ok(batch) => {
                self.step_down();
                self.gate(batch).wake_all();
                self.room.wake_all();
                Ok(())
            }
            Err(error) => Err(self.fail(Some(error))),
        }
    }

    /// Gives the lead away. One of those who wait for the next batch will find it, unless somebody else does first.
    fn step_down(&self) {
        self.led.store(false, Ordering::SeqCst);
        self.gate(self.batch.load(Ordering::SeqCst)).wake(1);
    }

    /// Returns which batch is durable now.
    fn commit_batch(&self) -> Result<u64, S::Error> {
        let (ticket, batch) = {
            let mut log = self.log.lock();
            hand_over_all(&mut log)?;
            let mut queue = self.queue.lock();
            self.take(&mut queue, &mut log);
            queue.mark = self.next.load(Ordering::SeqCst);
            let batch = self.batch.fetch_add(1, Ordering::SeqCst);
            drop(queue);
            hand_over_all(&mut log)?;
            (log.sink.flush()?, batch)
        };
        self.handle.sync().map_err(S::sync_failed)?;
        let mut log = self.log.lock();
        log.sink.acknowledge(ticket);
        let durable = log.sink.durable();
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        drop(log);
        self.durable.store(durable, Ordering::SeqCst);
        Ok(batch)
    }

    fn gate(&self, batch: u64) -> &Gate {
        let [even, odd] = &self.gates;
        if batch & 1 == 0 { even } else { odd }
    }

    /// Refuses further writes, and tells all who wait. The first cause is the one that is told.
    fn fail(&self, error: Option<S::Error>) -> SharedLogError<S::Error> {
        self.log.lock().sink.poison();
        {
            let mut cause = self.cause.lock();
            if !self.failed.swap(true, Ordering::SeqCst) {
                *cause = error.map(Arc::new);
            }
        }
        for gate in &self.gates {
            gate.wake_all();
        }
        self.room.wake_all();
        self.failure()
    }

    fn failure(&self) -> SharedLogError<S::Error> {
        match &*self.cause.lock() {
            Some(cause) => SharedLogError::Failed(Arc::clone(cause)),
            None => SharedLogError::Panicked,
        }
    }

    fn check(&self) -> Result<(), SharedLogError<S::Error>> {
        if self.has_failed() { Err(self.failure()) } else { Ok(()) }
    }

    /// Runs `call` on the log as it is, without what is still staged.
    pub fn with_log<T>(&self, call: impl FnOnce(&mut S) -> T) -> T {
        call(&mut self.log.lock().sink)
    }

    /// Hands everything over and gives the log back.
    pub fn into_sink(self) -> Result<S, SharedLogError<S::Error>> {
        self.with_all(|_, _| Ok(()))?;
        Ok(self.log.into_inner().sink)
    }
}

/// For a leader, who has no sync under way to wait for: nothing may be refused.
fn hand_over_all<S: Sink>(log: &mut Output<S>) -> Result<(), S::Error> {
    log.hand_over().map_err(|refused| match refused {
        Refused::SyncPending(error) | Refused::Entry(error) | Refused::Fatal(error) => error,
    })
}

/// If the leader panics, those who wait must not wait for ever.
struct Watch<'a, S, H>(&'a Group<S, H>)
where
    S: Sink,
    H: SyncHandle<Error = S::DeviceError>;

impl<S, H> Drop for Watch<'_, S, H>
where
    S: Sink,
    H: SyncHandle<Error = S::DeviceError>,
{
    fn drop(&mut self) {
        self.0.fail(None);
    }
}
