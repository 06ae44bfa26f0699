//! The log's own work: over a device in memory, so that nothing else is measured.
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::device::{Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};

type Memory = Vec<u8>;

fn setup() -> (Volume<Ram<Memory>, Memory>, Log<Memory, 256>) {
    let geometry = Geometry::blocks(64 << 20, 512);
    let device = Ram::new(vec![0; 64 << 20], geometry);
    let options = FormatOptions { volume_id: 1, segment_size: 1 << 20, ..FormatOptions::default() };
    let mut volume = Volume::format(device, vec![0; 64 << 10], &options).expect("the device is large enough");
    volume.create_log(0).expect("there is room for a log");
    let log = Log::open(&mut volume, 0, vec![0; 64 << 10]).expect("a new log opens");
    (volume, log)
}

fn append(log: &mut Log<Memory, 256>, volume: &mut Volume<Ram<Memory>, Memory>, entry: &[u8]) {
    loop {
        match log.append(volume, entry) {
            Ok(_) => return,
            Err(Error::Full { release_before: Some(offset) }) => {
                log.release_before(volume, offset).expect("there is something to release");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn log(criterion: &mut Criterion) {
    for len in [100, 1024, 16 * 1024] {
        let entry = vec![0xA5; len];
        let mut group = criterion.benchmark_group(format!("{len} B"));
        group.throughput(Throughput::Bytes(len as u64));
        let (mut volume, mut log) = setup();
        group.bench_function("append", |bencher| {
            bencher.iter(|| append(&mut log, &mut volume, black_box(&entry)));
        });
        let (mut volume, mut log) = setup();
        group.bench_function("append and commit", |bencher| {
            bencher.iter(|| {
                append(&mut log, &mut volume, black_box(&entry));
                log.commit(&mut volume).expect("memory does not fail");
            });
        });
        let (mut volume, mut log) = setup();
        for _ in 0..1000 {
            append(&mut log, &mut volume, &entry);
        }
        let mut out = vec![0; len];
        let mut cursor = log.cursor(0);
        group.bench_function("read in order", |bencher| {
            bencher.iter(|| {
                if log.next(&mut volume, &mut cursor, &mut out).expect("whole").is_none() {
                    cursor = log.cursor(log.start());
                }
            });
        });
        let mut at = 0;
        group.bench_function("read at random", |bencher| {
            bencher.iter(|| {
                at = (at + 617) % 1000;
                black_box(log.read(&mut volume, at, &mut out).expect("whole"))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, log);
criterion_main!(benches);
