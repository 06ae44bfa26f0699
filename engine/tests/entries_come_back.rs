//! Whole-log tests over a RAM device: what goes in comes out.
use esker::device::{Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log, Snapshot};

fn geometries() -> [(Geometry, u32); 4] {
    [
        (Geometry::blocks(256 * 1024, 512), 4096),
        (Geometry::flash(64 * 1024, 4, 4096), 4096),
        (Geometry::flash(64 * 1024, 1, 4096), 8192),
        (Geometry::blocks(2048 * 1024, 4096), 16384),
    ]
}

type Vol = Volume<Ram<Vec<u8>>, Vec<u8>>;

fn memory(geometry: &Geometry) -> Vec<u8> {
    let options = FormatOptions::default();
    vec![0; Vol::memory_needed(geometry, &options).max(256)]
}

fn fresh(geometry: Geometry, segment_size: u32) -> Vol {
    let device = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
    let options = FormatOptions { volume_id: 77, segment_size, ..FormatOptions::default() };
    let mut volume = Volume::format(device, memory(&geometry), &options).unwrap();
    volume.create_log(3).unwrap();
    volume
}

fn open_log(volume: &mut Vol) -> Log<Vec<u8>> {
    let needed = Log::<Vec<u8>>::memory_needed(&volume.info().geometry);
    Log::open(volume, 3, vec![0; needed]).unwrap()
}

fn payload(n: u64) -> Vec<u8> {
    (0..(n * 7 % 90)).map(|i| (n * 31 + i) as u8).collect()
}

fn check(log: &Log<Vec<u8>>, volume: &mut Vol, serials: impl Fn(u64) -> u64) {
    let mut out = [0; 1024];
    let mut cursor = log.cursor(log.start());
    for offset in log.start()..log.end() {
        let entry = log.next(volume, &mut cursor, &mut out).unwrap().unwrap();
        assert_eq!((entry.offset, &out[..entry.len]), (offset, &payload(serials(offset))[..]));
    }
    assert_eq!(log.next(volume, &mut cursor, &mut out).unwrap(), None);
    for offset in (log.start()..log.end()).rev() {
        let entry = log.read(volume, offset, &mut out).unwrap();
        assert_eq!((entry.offset, &out[..entry.len]), (offset, &payload(serials(offset))[..]), "{offset}");
    }
}

#[test]
fn entries_survive_reopening_clean_and_unclean() {
    for (geometry, segment) in geometries() {
        for batch in [1, 3, 50] {
            let mut volume = fresh(geometry, segment);
            let mut next = 0;
            for session in 0..8 {
                let mut log = open_log(&mut volume);
                assert_eq!(log.end(), next, "{geometry:?} batch {batch} session {session}");
                check(&log, &mut volume, |offset| offset);
                for _ in 0..20 {
                    log.append(&mut volume, &payload(next)).unwrap();
                    next += 1;
                    if next % batch == 0 {
                        log.commit(&mut volume).unwrap();
                    }
                }
                log.commit(&mut volume).unwrap();
                check(&log, &mut volume, |offset| offset);
                if session % 2 == 0 {
                    log.close(&mut volume).unwrap();
                } else {
                    drop(log);
                }
                volume = Volume::open(volume.into_device(), memory(&geometry)).unwrap();
            }
            let log = open_log(&mut volume);
            assert_eq!(log.report().damaged, 0);
            check(&log, &mut volume, |offset| offset);
        }
    }
}

#[test]
fn the_pool_wraps_and_fills() {
    for (geometry, segment) in geometries() {
        let mut volume = fresh(geometry, segment);
        let mut log = open_log(&mut volume);
        for next in 0..900 {
            match log.append(&mut volume, &payload(next)) {
                Ok(offset) => assert_eq!(offset, next),
                Err(Error::Full { release_before: Some(offset) }) => {
                    let freed = log.release_before(&mut volume, offset).unwrap();
                    assert_eq!(freed.segments, 1);
                    assert_eq!(log.start(), offset);
                    log.append(&mut volume, &payload(next)).unwrap();
                }
                Err(error) => panic!("{error:?} at {next}"),
            }
            log.commit(&mut volume).unwrap();
            if next % 150 == 149 {
                volume = Volume::open(volume.into_device(), memory(&geometry)).unwrap();
                log = open_log(&mut volume);
            }
        }
        check(&log, &mut volume, |offset| offset);
    }
}

#[test]
fn truncation_reset_and_snapshot() {
    for (geometry, segment) in geometries() {
        let mut volume = fresh(geometry, segment);
        let mut log = open_log(&mut volume);
        let mut serials: Vec<u64> = Vec::new();
        for n in 0..100 {
            log.append(&mut volume, &payload(n)).unwrap();
            serials.push(n);
        }
        for cut in [99, 80, 30, 29, 0] {
            log.truncate_after(&mut volume, cut).unwrap();
            serials.truncate(cut as usize + 1);
            assert_eq!(log.end(), cut + 1);
            for n in 0..10 {
                let n = 1000 + cut * 10 + n;
                log.append(&mut volume, &payload(n)).unwrap();
                serials.push(n);
            }
            log.commit(&mut volume).unwrap();
            check(&log, &mut volume, |offset| serials[offset as usize]);
            let free = volume.info().free_segments;
            volume = Volume::open(volume.into_device(), memory(&geometry)).unwrap();
            log = open_log(&mut volume);
            check(&log, &mut volume, |offset| serials[offset as usize]);
            assert_eq!(volume.info().free_segments, free, "cut {cut}");
        }
        log.reset(&mut volume, 500).unwrap();
        assert_eq!((log.start(), log.end()), (500, 500));
        log.append(&mut volume, &payload(500)).unwrap();
        volume = {
            log.commit(&mut volume).unwrap();
            Volume::open(volume.into_device(), memory(&geometry)).unwrap()
        };
        log = open_log(&mut volume);
        check(&log, &mut volume, |offset| offset);
        let needed = Log::<Vec<u8>>::memory_needed(&geometry);
        let mut snapshot = Snapshot::open(&mut volume, 3, vec![0; needed]).unwrap();
        for round in 0..5_u64 {
            for n in 0..20 {
                let at = log.append(&mut volume, &payload(501 + round * 20 + n)).unwrap();
                assert_eq!(at, 501 + round * 20 + n);
            }
            for chunk in 0..6 {
                snapshot.write(&mut volume, &[(round * 10 + chunk) as u8; 100]).unwrap();
            }
            let end = log.end();
            snapshot.publish(&mut volume, &mut log, end - 3).unwrap();
            volume = Volume::open(volume.into_device(), memory(&geometry)).unwrap();
            log = open_log(&mut volume);
            snapshot = Snapshot::open(&mut volume, 3, vec![0; needed]).unwrap();
            check(&log, &mut volume, |offset| offset);
            assert!(log.start() <= end - 3);
            let info = snapshot.info(&volume).unwrap();
            assert_eq!((info.offset, info.chunks), (end - 3, 6));
            let mut out = [0; 128];
            for chunk in 0..6 {
                assert_eq!(snapshot.read(&mut volume, chunk, &mut out).unwrap(), Some(100));
                assert_eq!(out[..100], [(round * 10 + u64::from(chunk)) as u8; 100]);
            }
        }
    }
}
