//! What sharing a log costs by itself: over a device in memory, with a sync that takes no time.
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use esker::device::{Geometry, Ram, RamError};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};
use esker_linux::{SharedLog, SharedLogError, SyncHandle, SyncPolicy};

type Shared = SharedLog<Ram<Vec<u8>>, Vec<u8>, Vec<u8>, NoSync, 4, 256>;

struct NoSync;

impl SyncHandle for NoSync {
    type Error = RamError;
    fn sync(&self) -> Result<(), RamError> {
        Ok(())
    }
}

fn setup(policy: SyncPolicy) -> Shared {
    let geometry = Geometry::blocks(64 << 20, 512);
    let device = Ram::new(vec![0; 64 << 20], geometry);
    let options = FormatOptions { volume_id: 1, segment_size: 1 << 20, ..FormatOptions::default() };
    let mut volume = Volume::format(device, vec![0; 64 << 10], &options).expect("the device is large enough");
    volume.create_log(0).expect("there is room for a log");
    let log = Log::open(&mut volume, 0, vec![0; 64 << 10]).expect("a new log opens");
    SharedLog::new(volume, log, NoSync, policy)
}

fn append(log: &Shared, entry: &[u8]) {
    while let Err(error) = log.append(entry) {
        match error {
            SharedLogError::Log(Error::Full { release_before: Some(offset) }) => {
                log.release_before(offset).expect("there is something to release");
            }
            error => panic!("{error}"),
        }
    }
}

fn shared_log(criterion: &mut Criterion) {
    let entry = [0xA5; 100];
    let mut group = criterion.benchmark_group("shared log, 100 B");
    for (name, policy) in [("never", SyncPolicy::Never), ("always", SyncPolicy::Always)] {
        let log = setup(policy);
        group.bench_function(name, |bencher| bencher.iter(|| append(&log, black_box(&entry))));
    }
    let log = setup(SyncPolicy::Always);
    group.bench_function("always, 8 threads", |bencher| {
        bencher.iter_custom(|iterations| {
            let begun = Instant::now();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| (0..iterations.div_ceil(8)).for_each(|_| append(&log, black_box(&entry))));
                }
            });
            begun.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, shared_log);
criterion_main!(benches);
