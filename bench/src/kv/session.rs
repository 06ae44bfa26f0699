//! One engine at its tasks: everything that is read is checked against what was written.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::check::{Expected, check_all};
use super::counters::{Counters, Source};
use super::instructions::Instructions;
use super::pairs::Pairs;
use super::store::{Commit, Engine, KvStore, Reader};
use super::usage::{Clock, Moment, Spent, peak_memory, reset_peak_memory};
use super::workload::{Amounts, Workload};
use crate::Failure;

/// What one run of a workload came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Puts, reads, scans, removals, sessions.
    pub operations: u64,
    /// Seconds of the operations, each made as durable as it should be; without the close.
    pub seconds: f64,
    /// Seconds of processor time of the operations.
    pub cpu_seconds: f64,
    /// Seconds that the close behind writes took.
    pub close_seconds: f64,
    /// Seconds of processor time of that.
    pub close_cpu_seconds: f64,
    /// Instructions of the operations and the close.
    pub instructions: Option<u64>,
    /// Microseconds of a call: a transaction, a get, a scan, an open.
    pub p50_us: Option<f64>,
    /// Microseconds of a call.
    pub p99_us: Option<f64>,
    /// Who has counted what reached the device.
    pub source: Source,
    /// Bytes written to the device, through the close.
    pub device_bytes: Option<u64>,
    /// Flushes of the device, through the close.
    pub device_flushes: Option<u64>,
    /// Bytes read from the device.
    pub device_read_bytes: Option<u64>,
    /// Erase units erased.
    pub device_erases: Option<u64>,
    /// Bytes that one put or removal, a transaction by itself, read and wrote at most.
    pub worst_put_bytes: Option<u64>,
    /// Bytes that the store says it may be at most.
    pub put_bytes_bound: Option<u64>,
    /// How often changes had to wait for room.
    pub waits: Option<u64>,
    /// Bytes of keys and values that were written, read or removed.
    pub user_bytes: u64,
    /// Bytes that the closed store takes.
    pub size: Option<u64>,
    /// Bytes of the keys and values in it.
    pub live: u64,
    /// The most memory that was resident at once.
    pub peak_memory: Option<u64>,
}

/// An engine, and what should be in its store.
pub struct Session {
    engine: Box<dyn Engine>,
    store: Option<Box<dyn KvStore>>,
    expected: Expected,
    /// How the store was filled.
    filled: Option<Workload>,
    /// The store's memory holds what fits of the pairs.
    warm: bool,
    amounts: Amounts,
    counters: Counters,
    instructions: Instructions,
    clock: Clock,
}

/// The calls that latencies are told of, at least: fewer have no percentiles.
const CALLS: u64 = 3;

impl Session {
    /// Nothing is stored yet.
    pub fn new(
        engine: Box<dyn Engine>,
        pairs: Pairs,
        amounts: Amounts,
        counters: Counters,
        instructions: Instructions,
    ) -> Self {
        Self {
            engine,
            store: None,
            expected: Expected::new(pairs),
            filled: None,
            warm: false,
            amounts,
            counters,
            instructions,
            clock: Clock::new(),
        }
    }

    /// Runs a workload; loads the store before it if that was not done.
    ///
    /// # Errors
    /// The engine failed, or what it answered is not what was stored.
    pub fn run(&mut self, workload: Workload) -> Result<Measured, Failure> {
        let needed = if workload.is_load() { None } else { Some(Workload::LoadRandom) };
        if needed.is_some_and(|needed| self.filled.is_none_or(|filled| filled < needed)) {
            self.run_one(Workload::LoadRandom)?;
        }
        let told = |failure| Failure::new(format!("{}: {failure}", workload.name()));
        self.run_one(workload).map_err(told)
    }

    fn run_one(&mut self, workload: Workload) -> Result<Measured, Failure> {
        reset_peak_memory();
        let measured = match workload {
            Workload::LoadSorted | Workload::LoadBatches | Workload::LoadRandom => self.load(workload),
            Workload::Reopen => self.reopen(),
            Workload::Get | Workload::Absent | Workload::Scan => self.read(workload),
            Workload::Single | Workload::Batches | Workload::Nosync | Workload::Remove => {
                self.change(workload)
            }
            Workload::Compact => self.compact(),
        }?;
        self.filled = self.filled.max(Some(workload));
        Ok(measured)
    }

    fn load(&mut self, workload: Workload) -> Result<Measured, Failure> {
        self.close()?;
        self.filled = None;
        self.expected.clear();
        self.store = Some(self.engine.create()?);
        let count = self.expected.pairs.count;
        match workload {
            Workload::LoadSorted => {
                let each = if self.engine.loads_sorted_at_once() { count } else { self.amounts.bulk };
                self.write(workload, count, each, Commit::Bulk, |nth, _| nth)
            }
            Workload::LoadBatches => {
                self.write(workload, count, self.amounts.batch, Commit::Durable, |nth, pairs| {
                    pairs.shuffled(nth, 1)
                })
            }
            _ => self
                .write(workload, count, self.amounts.bulk, Commit::Bulk, |nth, pairs| pairs.shuffled(nth, 2)),
        }
    }

    fn change(&mut self, workload: Workload) -> Result<Measured, Failure> {
        self.open()?;
        self.warm_up_writes()?;
        let (count, amounts) = (self.expected.pairs.count, self.amounts);
        match workload {
            Workload::Single => {
                let order = |nth, pairs: &Pairs| pairs.shuffled(nth % count, 3);
                self.write(workload, amounts.singles, 1, Commit::Durable, order)
            }
            Workload::Batches => {
                let total = amounts.batches.saturating_mul(amounts.batch);
                let order = |nth, pairs: &Pairs| pairs.shuffled(nth % count, 4);
                self.write(workload, total, amounts.batch, Commit::Durable, order)
            }
            Workload::Nosync => {
                let order = |nth, pairs: &Pairs| pairs.shuffled(nth % count, 5);
                self.write(workload, amounts.nosyncs, 1, Commit::NoSync, order)
            }
            _ => {
                let order = |nth, pairs: &Pairs| pairs.shuffled(nth, 6);
                self.write(workload, count / 2, amounts.bulk, Commit::Bulk, order)
            }
        }
    }

    /// Writes `total` pairs, so many in a transaction, then closes the store, and checks all that is in it.
    fn write(
        &mut self,
        workload: Workload,
        total: u32,
        each: u32,
        commit: Commit,
        order: impl Fn(u32, &Pairs) -> u32,
    ) -> Result<Measured, Failure> {
        let mut store = self.store.take().ok_or_else(|| Failure::new("the store is not open"))?;
        let (expected, mut pair) = (&mut self.expected, (Vec::new(), Vec::new()));
        let mut calls = histogram();
        self.counters.begin(&*self.engine)?;
        let begun = Moment::now(&*self.engine, &self.instructions);
        let mut last = self.clock.time(&*self.engine);
        let mut nth = 0;
        let (mut worst, mut bound, pair_size) = (0, None, expected.pairs.pair_size());
        let waited = store.promised().map(|said| said.waits);
        let mut moved = self.engine.counts().filter(|_| each == 1);
        while nth < total {
            let until = nth.saturating_add(each.max(1)).min(total);
            let mut body = |writer: &mut dyn super::store::Writer| {
                for nth in nth..until {
                    let number = order(nth, &expected.pairs);
                    expected.pairs.key(number, &mut pair.0);
                    if workload == Workload::Remove {
                        expected.remove(number);
                        writer.remove(&pair.0)?;
                    } else {
                        let version = expected.change(number);
                        expected.pairs.value(number, version, &mut pair.1);
                        writer.put(&pair.0, &pair.1)?;
                    }
                }
                Ok(())
            };
            match workload {
                Workload::LoadSorted => store.load_sorted(&mut body)?,
                _ => store.write(commit, &mut body)?,
            }
            nth = until;
            if let Some(before) = &mut moved {
                let now = self.engine.counts().unwrap_or_default();
                worst =
                    worst.max(now.read_bytes + now.written_bytes - before.read_bytes - before.written_bytes);
                *before = now;
                bound = bound.max(store.promised().map(|said| said.bytes + pair_size));
            }
            last = record(&mut calls, last, self.clock.time(&*self.engine));
        }
        let done = Moment::now(&*self.engine, &self.instructions);
        let spent = begun.until(done);
        let waits = store.promised().map(|said| said.waits - waited.unwrap_or(0));
        store.close()?;
        let closing = done.until(Moment::now(&*self.engine, &self.instructions));
        let of_one = if workload == Workload::Remove {
            self.expected.pairs.key_size as u64
        } else {
            self.expected.pairs.pair_size()
        };
        let mut measured =
            self.measured(u64::from(total), spent, closing, &calls, u64::from(total) * of_one)?;
        (measured.worst_put_bytes, measured.put_bytes_bound) = (moved.map(|_| worst), bound);
        measured.waits = waits;
        if !self.engine.is_floor() {
            measured.size = Some(self.engine.size()?);
            self.open()?;
            self.check()?;
        }
        Ok(measured)
    }

    fn reopen(&mut self) -> Result<Measured, Failure> {
        self.close()?;
        let (mut spent, mut calls) = (None::<Spent>, histogram());
        self.counters.begin(&*self.engine)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for nth in 0..self.amounts.reopens {
            let number = self.expected.pairs.shuffled(nth % self.expected.pairs.count, 7);
            let begun = Moment::now(&*self.engine, &self.instructions);
            let mut store = self.engine.open()?;
            store.read(&mut |reader| self.expected.get(reader, number, &mut key, &mut value).map(drop))?;
            let once = begun.until(Moment::now(&*self.engine, &self.instructions));
            record(&mut calls, Duration::ZERO, once.wall);
            spent = Some(spent.map_or(once, |spent| spent.and(once)));
            store.close()?;
        }
        let opens = u64::from(self.amounts.reopens);
        let bytes = opens * self.expected.pairs.pair_size();
        self.measured(opens, spent.unwrap_or_default(), Spent::default(), &calls, bytes)
    }

    fn read(&mut self, workload: Workload) -> Result<Measured, Failure> {
        self.open()?;
        self.warm_up()?;
        let mut store = self.store.take().ok_or_else(|| Failure::new("the store is not open"))?;
        let (expected, amounts) = (&self.expected, self.amounts);
        let count = expected.pairs.count;
        let (mut key, mut value, mut calls, mut bytes) = (Vec::new(), Vec::new(), histogram(), 0);
        let reads = if workload == Workload::Scan { amounts.scans } else { amounts.reads };
        self.counters.begin(&*self.engine)?;
        let begun = Moment::now(&*self.engine, &self.instructions);
        let mut last = self.clock.time(&*self.engine);
        store.read(&mut |reader| {
            for nth in 0..reads {
                let number = expected.pairs.shuffled(nth % count, 8);
                bytes += match workload {
                    Workload::Get => expected.get(reader, number, &mut key, &mut value)?,
                    Workload::Absent => expected.absent(reader, number, &mut key)?,
                    _ => expected.scan(reader, number, amounts.scan_length, &mut key, &mut value)?,
                };
                last = record(&mut calls, last, self.clock.time(&*self.engine));
            }
            Ok(())
        })?;
        let spent = begun.until(Moment::now(&*self.engine, &self.instructions));
        self.store = Some(store);
        self.measured(u64::from(reads), spent, Spent::default(), &calls, bytes)
    }

    fn compact(&mut self) -> Result<Measured, Failure> {
        self.close()?;
        self.engine.prepare_compact()?;
        self.counters.begin(&*self.engine)?;
        let begun = Moment::now(&*self.engine, &self.instructions);
        self.engine.compact()?;
        let spent = begun.until(Moment::now(&*self.engine, &self.instructions));
        let live = self.expected.live();
        let mut measured = self.measured(1, spent, Spent::default(), &histogram(), live)?;
        measured.size = Some(self.engine.size()?);
        self.open()?;
        self.check()?;
        Ok(measured)
    }

    fn measured(
        &mut self,
        operations: u64,
        spent: Spent,
        closing: Spent,
        calls: &Histogram<u64>,
        user_bytes: u64,
    ) -> Result<Measured, Failure> {
        let quantile =
            |quantile| (calls.len() >= CALLS).then(|| calls.value_at_quantile(quantile) as f64 / 1000.0);
        let counted = self.counters.end(&*self.engine)?;
        Ok(Measured {
            operations,
            seconds: spent.wall.as_secs_f64(),
            cpu_seconds: spent.cpu.as_secs_f64(),
            close_seconds: closing.wall.as_secs_f64(),
            close_cpu_seconds: closing.cpu.as_secs_f64(),
            instructions: spent.and(closing).instructions.or(spent.instructions),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            source: counted.source,
            device_bytes: counted.written_bytes,
            device_flushes: counted.flushes,
            device_read_bytes: counted.read_bytes,
            device_erases: counted.erases,
            worst_put_bytes: None,
            put_bytes_bound: None,
            waits: None,
            user_bytes,
            size: None,
            live: self.expected.live(),
            peak_memory: if self.engine.busy().is_none() { peak_memory() } else { None },
        })
    }

    fn open(&mut self) -> Result<(), Failure> {
        if self.store.is_none() {
            self.warm = false;
            self.store = Some(self.engine.open()?);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.store.take().map_or(Ok(()), KvStore::close)
    }

    /// Reads everything once, in random order, so that what fits into the store's memory is there.
    fn warm_up(&mut self) -> Result<(), Failure> {
        let (expected, (mut key, mut value)) = (&self.expected, (Vec::new(), Vec::new()));
        if let Some(store) = self.store.as_mut().filter(|_| !self.warm) {
            store.read(&mut |reader: &mut dyn Reader| {
                (0..expected.pairs.count)
                    .map(|nth| expected.pairs.shuffled(nth, 9))
                    .try_for_each(|number| expected.get(reader, number, &mut key, &mut value).map(drop))
            })?;
            self.warm = true;
        }
        Ok(())
    }

    /// Writes one batch: files have grown after it as far as they do, and nothing is owed for it.
    fn warm_up_writes(&mut self) -> Result<(), Failure> {
        let (expected, (mut key, mut value)) = (&mut self.expected, (Vec::new(), Vec::new()));
        let Some(store) = &mut self.store else { return Ok(()) };
        let batch = self.amounts.batch.min(expected.pairs.count);
        store.write(Commit::Durable, &mut |writer| {
            for nth in 0..batch {
                let number = expected.pairs.shuffled(nth, 10);
                let version = expected.change(number);
                expected.pairs.key(number, &mut key);
                expected.pairs.value(number, version, &mut value);
                writer.put(&key, &value)?;
            }
            Ok(())
        })?;
        store.settle()
    }

    /// Reads all pairs in order.
    fn check(&mut self) -> Result<(), Failure> {
        let expected = &self.expected;
        match &mut self.store {
            Some(store) => store.read(&mut |reader| check_all(expected, reader)),
            None => Ok(()),
        }
    }
}

/// Counts the call between two times; returns the later one.
fn record(calls: &mut Histogram<u64>, from: Duration, to: Duration) -> Duration {
    calls.saturating_record(to.saturating_sub(from).as_nanos() as u64);
    to
}

/// Up to an hour, to three digits.
fn histogram() -> Histogram<u64> {
    let most = Duration::from_secs(3600).as_nanos() as u64;
    // Constant bounds that are allowed: 1 <= low, 2 * low <= high, at most 5 digits.
    Histogram::new_with_bounds(1, most, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}
