//! The shared log over the engine: what goes in comes out, what was acknowledged is there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use esker::device::{Counted, Counts, Geometry, Ram, RamError};
use esker::volume::{self, FormatOptions, Volume};
use esker::wal::{self, Log};

use super::{SharedLog, SharedLogError, SyncPolicy};
use crate::SyncHandle;

type Device = Counted<Ram<Vec<u8>>>;
type Shared = SharedLog<Device, Vec<u8>, Vec<u8>, Arc<Syncs>>;

/// The sync of a RAM device: counts, can be held up, and can be made to fail.
#[derive(Default)]
struct Syncs {
    count: AtomicU64,
    fails: AtomicBool,
    held: Mutex<()>,
}

impl SyncHandle for Syncs {
    type Error = RamError;
    fn sync(&self) -> Result<(), RamError> {
        let _held = self.held.lock();
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) { Err(RamError::OutOfBounds) } else { Ok(()) }
    }
}

fn shared(capacity: usize, segment_size: u32, buffer: usize, policy: SyncPolicy) -> (Shared, Arc<Syncs>) {
    let device = Counted::new(Ram::new(vec![0; capacity], Geometry::blocks(0, 512)));
    let options = FormatOptions { segment_size, ..FormatOptions::default() };
    let mut volume = Volume::format(device, vec![0; 8192], &options).unwrap();
    volume.create_log(0).unwrap();
    let log = Log::open(&mut volume, 0, vec![0; buffer]).unwrap();
    let syncs = Arc::new(Syncs::default());
    (SharedLog::new(volume, log, Arc::clone(&syncs), policy), syncs)
}

fn counts(log: &Shared) -> Counts {
    log.with_volume(|volume| volume.device().counts())
}

/// Opens the device that `volume` was on and returns its entries.
fn entries(volume: Volume<Device, Vec<u8>>) -> Vec<Vec<u8>> {
    let mut volume: Volume<_, _> = Volume::open(volume.into_device(), vec![0; 8192]).unwrap();
    let log: Log<_> = Log::open(&mut volume, 0, vec![0; 8192]).unwrap();
    assert!(log.report().clean);
    let mut buffer = vec![0; 1 << 20];
    (log.start()..log.end())
        .map(|offset| {
            let len = log.read(&mut volume, offset, &mut buffer).unwrap().len;
            buffer[..len].to_vec()
        })
        .collect()
}

#[test]
fn what_many_threads_append_comes_back_in_the_order_of_offsets() {
    for policy in [
        SyncPolicy::Always,
        SyncPolicy::Never,
        SyncPolicy::Batch { entries: 10, period: Duration::from_millis(1) },
    ] {
        let (log, _) = shared(8 << 20, 1 << 20, 4096, policy);
        let appended = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for id in 0..8_u32 {
                let (log, appended) = (&log, &appended);
                scope.spawn(move || {
                    for n in 0..100_u32 {
                        // Of every way: staged, too long to be staged, longer than the log's own buffer.
                        let len = [0, 1, 100, 5000, 70_000][n as usize % 5 * usize::from(n % 20 < 5)];
                        let entry = [&id.to_le_bytes()[..], &n.to_le_bytes(), &vec![n as u8; len]].concat();
                        let offset = log.append(&entry).unwrap();
                        appended.lock().unwrap().push((offset, entry));
                    }
                });
            }
        });
        log.commit().unwrap();
        assert_eq!((log.end(), log.durable()), (800, 800));
        let mut appended = appended.into_inner().unwrap();
        appended.sort_unstable();
        assert!(appended.iter().zip(0..).all(|((offset, _), expected)| *offset == expected));
        let back = entries(log.close().unwrap());
        assert!(back.iter().eq(appended.iter().map(|(_, entry)| entry)), "{policy:?}");
    }
}

#[test]
fn alone_an_entry_costs_one_write_and_one_sync() {
    let (log, syncs) = shared(8 << 20, 1 << 20, 4096, SyncPolicy::Always);
    log.append(&[1; 100]).unwrap();
    let (before, synced) = (counts(&log), syncs.count.load(Ordering::SeqCst));
    for n in 1..=100 {
        assert_eq!(log.append(&[1; 100]).unwrap(), n);
        assert_eq!(log.durable(), n + 1);
    }
    let counts = counts(&log) - before;
    assert_eq!((counts.writes, counts.written_bytes, counts.syncs), (100, 100 * 512, 0));
    assert_eq!(syncs.count.load(Ordering::SeqCst) - synced, 100);
    log.wait_durable(0).unwrap();
    log.commit().unwrap();
    assert_eq!(syncs.count.load(Ordering::SeqCst) - synced, 100, "all was durable");
}

#[test]
fn appending_goes_on_while_a_sync_is_under_way() {
    let (log, syncs) = shared(8 << 20, 1 << 20, 256 << 10, SyncPolicy::Never);
    log.append(b"first").unwrap();
    thread::scope(|scope| {
        let held = syncs.held.lock().unwrap();
        let waiting = scope.spawn(|| log.wait_durable(0));
        // It has flushed when it has got as far as the device.
        while counts(&log).writes == 0 || log.info().unwrap().end == 0 {
            thread::yield_now();
        }
        for n in 1..100 {
            assert_eq!(log.append(&[2; 1000]).unwrap(), n);
        }
        let mut buffer = [0; 1000];
        assert_eq!(log.read(50, &mut buffer).unwrap().len, 1000);
        assert_eq!(log.durable(), 0);
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    assert!(log.durable() >= 1);
    assert_eq!(entries(log.close().unwrap()).len(), 100);
}

#[test]
fn a_full_buffer_waits_for_the_sync_that_is_under_way() {
    let (log, syncs) = shared(8 << 20, 1 << 20, 4096, SyncPolicy::Never);
    log.append(b"first").unwrap();
    thread::scope(|scope| {
        let held = syncs.held.lock().unwrap();
        let waiting = scope.spawn(|| log.wait_durable(0));
        while log.info().unwrap().end == 0 {
            thread::yield_now();
        }
        let appending = scope.spawn(|| (0..600).try_for_each(|_| log.append(&[2; 2000]).map(drop)));
        // All that fits without the sync: staging and the log's buffer.
        while log.end() < 100 {
            thread::yield_now();
        }
        assert!(log.end() < 600 && !appending.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
        appending.join().unwrap().unwrap();
    });
    assert_eq!(entries(log.close().unwrap()).len(), 601);
}

#[test]
fn a_failed_sync_fails_all_who_wait_and_is_not_tried_again() {
    let (log, syncs) = shared(8 << 20, 1 << 20, 64 << 10, SyncPolicy::Always);
    log.append(b"durable").unwrap();
    syncs.fails.store(true, Ordering::SeqCst);
    let before = syncs.count.load(Ordering::SeqCst);
    thread::scope(|scope| {
        let held = syncs.held.lock().unwrap();
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| log.append(b"lost"))).collect();
        while log.end() < 9 {
            thread::yield_now();
        }
        drop(held);
        for waiter in waiters {
            let error = waiter.join().unwrap().unwrap_err();
            let SharedLogError::Failed(cause) = error else { panic!("{error}") };
            assert!(matches!(*cause, wal::Error::Volume(volume::Error::Device(RamError::OutOfBounds))));
        }
    });
    syncs.fails.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(b"more"), Err(SharedLogError::Failed(_))));
    assert!(matches!(log.commit(), Err(SharedLogError::Failed(_))));
    assert!(matches!(log.release_before(1), Err(SharedLogError::Failed(_))));
    log.wait_durable(0).unwrap();
    assert_eq!(log.read(0, &mut [0; 16]).unwrap().len, 7);
    assert_eq!(syncs.count.load(Ordering::SeqCst), before + 1);
    assert!(log.close().is_err());
}

#[test]
fn a_panic_in_the_middle_of_a_sync_fails_those_who_wait() {
    struct Panics;
    impl SyncHandle for Panics {
        type Error = RamError;
        fn sync(&self) -> Result<(), RamError> {
            panic!("planned");
        }
    }
    let (log, _) = shared(1 << 20, 1 << 16, 4096, SyncPolicy::Never);
    let mut volume = log.close().unwrap();
    let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
    let log = SharedLog::new(volume, log, Panics, SyncPolicy::Always);
    let panicked = thread::scope(|scope| scope.spawn(|| log.append(b"never durable")).join());
    assert!(panicked.is_err());
    assert!(matches!(log.append(b"another"), Err(SharedLogError::Panicked)));
}

#[test]
fn full_is_said_to_the_one_whom_it_concerns_and_releasing_makes_room() {
    for len in [100, 10_000] {
        let (log, _) = shared(1 << 20, 64 << 10, 4096, SyncPolicy::Never);
        let entry = vec![3; len];
        let full = loop {
            match log.append(&entry) {
                Ok(_) => {}
                Err(SharedLogError::Log(wal::Error::Full { release_before })) => {
                    break release_before.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        };
        let end = log.end();
        assert!(end * (len as u64 + 100) > 700 << 10, "{end} entries of {len} bytes");
        let too_large = log.append(&vec![0; 70_000]);
        assert!(matches!(too_large, Err(SharedLogError::Log(wal::Error::TooLarge { .. }))));
        assert!(log.release_before(full).unwrap().segments > 0);
        assert_eq!(log.append(&entry).unwrap(), end);
        assert!(matches!(log.read(0, &mut []), Err(SharedLogError::Log(wal::Error::OutOfRange { .. }))));
        assert!(matches!(
            log.wait_durable(end + 1),
            Err(SharedLogError::Log(wal::Error::OutOfRange { end: at, .. })) if at == end + 1
        ));
        assert_eq!(entries(log.close().unwrap()).len() as u64, end + 1 - full);
    }
}

#[test]
fn by_count_and_by_time_entries_become_durable_without_being_waited_for() {
    // Only the count can be meant: the time never comes.
    let (log, _) =
        shared(8 << 20, 1 << 20, 64 << 10, SyncPolicy::Batch { entries: 10, period: Duration::MAX });
    for _ in 0..10 {
        log.append(b"counted").unwrap();
    }
    while log.durable() < 10 {
        thread::yield_now();
    }
    log.append(b"waits").unwrap();
    assert_eq!(log.durable(), 10);
    drop(log);
    // Only the time can be meant.
    let period = Duration::from_millis(1);
    let (log, _) = shared(8 << 20, 1 << 20, 64 << 10, SyncPolicy::Batch { entries: u64::MAX, period });
    log.append(b"timed").unwrap();
    while log.durable() < 1 {
        thread::yield_now();
    }
}
