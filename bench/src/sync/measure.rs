//! One phase: threads that append for a while.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::contestant::{Contestant, DeviceCounts, Strategy};
use super::{Failure, Options};

/// No phase writes more than this, so that there is room for all of it beforehand.
const MAX_BYTES: u64 = 64 << 20;

/// What a phase came to.
#[derive(Debug)]
pub struct Phase {
    pub entries: u64,
    pub wall: Duration,
    /// Of the whole process.
    pub cpu: Duration,
    /// Nanoseconds of each `append`.
    pub latencies: Histogram<u64>,
    pub device: Option<DeviceCounts>,
}

impl Phase {
    pub fn per_second(&self) -> f64 {
        self.entries as f64 / self.wall.as_secs_f64().max(1e-9)
    }
}

/// Appends entries of `len` bytes from so many threads, until the time is up.
pub fn phase(
    contestant: &dyn Contestant,
    strategy: Strategy,
    threads: usize,
    len: usize,
    options: &Options,
) -> Result<Phase, Failure> {
    // What an entry takes on the device at most: alone in its commit, or one of many.
    let alone = (len as u64 + 32).next_multiple_of(options.write_unit.into());
    let taken = if strategy == Strategy::Always { alone } else { len as u64 + 64 };
    let most = (MAX_BYTES.min(options.capacity / 3) / taken / threads as u64).max(1);
    let most = most.min(options.entries.unwrap_or(u64::MAX));
    contestant.prepare(most * threads as u64 * taken)?;
    let barrier = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    let entry: Vec<u8> = (0..len).map(|at| at as u8).collect();
    let run = |thread: usize| -> Result<(Histogram<u64>, Instant), Failure> {
        let mut latencies = histogram();
        barrier.wait();
        let begun = Instant::now();
        let mut before = begun;
        for _ in 0..most {
            if let Err(failure) = contestant.append(thread, &entry) {
                stop.store(true, Ordering::Relaxed);
                return Err(failure);
            }
            let now = Instant::now();
            latencies.saturating_record((now - before).as_nanos() as u64);
            before = now;
            if now - begun >= options.phase || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok((latencies, before))
    };
    thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let (device, cpu) = (contestant.counts(), cpu_time());
        let begun = Instant::now();
        barrier.wait();
        let mut latencies = histogram();
        let mut ended = begun;
        let mut outcome = Ok(());
        for thread in running {
            match thread.join() {
                Ok(Ok((of_thread, at))) => {
                    // The same bounds, so nothing can be out of them.
                    let _ = latencies.add(&of_thread);
                    ended = ended.max(at);
                }
                Ok(Err(failure)) => outcome = Err(failure),
                Err(_) => outcome = Err(Failure::new("a measuring thread panicked")),
            }
        }
        outcome?;
        let cpu = cpu_time().saturating_sub(cpu);
        let device = contestant.counts().zip(device).map(|(now, then)| DeviceCounts {
            writes: now.writes - then.writes,
            bytes: now.bytes - then.bytes,
            syncs: now.syncs - then.syncs,
        });
        Ok(Phase { entries: latencies.len(), wall: ended - begun, cpu, latencies, device })
    })
}

/// Up to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    // Constant bounds that are allowed: 1 <= low, 2 * low <= high, at most 5 digits.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// What this process has used so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
