//! Entries in parts, staged batches and checkpoints, with power cuts.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::device::{Counted, Geometry};
use crate::testing::{Part, Random};
use crate::volume::FormatOptions;

type Vol = Volume<Part, Vec<u8>, 2>;

const GEOMETRIES: [Geometry; 3] =
    [Geometry::blocks(1 << 20, 512), Geometry::blocks(1 << 20, 4096), Geometry::flash(1 << 20, 4, 4096)];

const SEGMENT: u32 = 16 << 10;

fn format(geometry: Geometry) -> Vol {
    let options = FormatOptions {
        volume_id: 5,
        segment_size: SEGMENT,
        pool_size: 640 << 10,
        block_size: 4096,
        ..FormatOptions::default()
    };
    let memory = vec![0; Vol::memory_needed(&geometry, &options)];
    let mut volume = Volume::format(Part::new(geometry), memory, &options).unwrap();
    volume.create_log(0).unwrap();
    volume
}

fn log(volume: &mut Vol) -> Log<Vec<u8>> {
    Log::open(volume, 0, vec![0; 4096]).unwrap()
}

fn entry(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as usize * 31 + at * 7) as u8).collect()
}

fn stage(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut staged = Vec::new();
    for entry in entries {
        staged.extend((entry.len() as u32).to_le_bytes());
        staged.extend(entry);
    }
    staged
}

#[test]
fn an_entry_of_parts_is_one_entry() {
    for geometry in GEOMETRIES {
        let mut volume = format(geometry);
        let mut log = log(&mut volume);
        let max = Log::<Vec<u8>>::max_entry_of(&volume) as usize;
        assert_eq!(max, log.max_entry(&volume) as usize);
        let mut out = vec![0; max + 1];
        for (number, len) in [0, 1, 2, 5, 100, 1023, 1024, 3000, max].into_iter().enumerate() {
            let whole = entry(number as u64, len);
            for (first, second) in [(0, 0), (0, len), (len, len), (len / 3, len / 2)] {
                let parts = [&whole[..first], &whole[first..second], &whole[second..]];
                let offset = log.append_parts(&mut volume, parts).unwrap();
                // Still in the buffer, partly.
                let read = log.read(&mut volume, offset, &mut out).unwrap();
                assert_eq!(&out[..read.len], whole);
            }
        }
        log.commit(&mut volume).unwrap();
        let end = log.end();
        let half = vec![0; max / 2 + 1];
        assert_eq!(log.append_parts(&mut volume, [&half, &[], &half]), Err(Fault::TooLarge));
        assert_eq!(log.append_staged(&mut volume, &[]), Ok(end), "an empty batch is nothing");
        assert_eq!(log.append_staged(&mut volume, &[9, 0, 0, 0, 1]), Ok(end), "nor is a piece of one");
        assert_eq!(log.end(), end);
    }
}

/// Batches of all lengths, the longest over several segments, until the power goes; then the log must hold all of those that
/// were committed, and of the others some, from the first on, each as a whole.
#[test]
fn a_staged_batch_is_there_as_a_whole_or_not_at_all() {
    let mut torn = 0;
    for (number, geometry) in GEOMETRIES.into_iter().enumerate() {
        for round in 0..60 {
            let mut random = Random::new(round * 3 + number as u64);
            let mut volume = format(geometry);
            let mut log = log(&mut volume);
            volume.device_mut().fuel = Some(random.below(60) as u32);
            let mut batches: Vec<Vec<Vec<u8>>> = Vec::new();
            let mut committed = 0;
            loop {
                let len = [1, 3, 20, 200][random.below(4)];
                let long = [10, 100, 400][random.below(3)];
                let batch: Vec<_> = (0..len)
                    .map(|at| entry((batches.len() * 1000 + at) as u64, random.below(long)))
                    .collect();
                let appended = log.append_staged(&mut volume, &stage(&batch));
                if appended == Err(Fault::Full) {
                    let cut = volume.device().fuel == Some(0);
                    assert!(!volume.is_poisoned() || cut, "nothing was begun");
                    break;
                }
                batches.push(batch);
                let first: usize = batches.iter().rev().skip(1).map(Vec::len).sum();
                match appended {
                    Ok(offset) => assert_eq!(offset, first as u64),
                    Err(fault) => {
                        assert_eq!(fault, Fault::Device);
                        break;
                    }
                }
                if random.below(3) == 0 {
                    if log.commit(&mut volume).is_err() {
                        break;
                    }
                    committed = batches.len();
                }
            }
            let mut device = volume.into_device();
            device.cut(&mut random);
            let mut volume = Vol::open(device, vec![0; 4096 + 200]).unwrap();
            let log = self::log(&mut volume);
            assert_eq!(log.report().damaged, 0);
            let mut counts = vec![0];
            for batch in &batches {
                counts.push(counts.last().unwrap() + batch.len() as u64);
            }
            let whole = counts.iter().position(|count| *count == log.end());
            let whole = whole.unwrap_or_else(|| panic!("{} entries of {counts:?}", log.end()));
            assert!(whole >= committed, "{whole} batches of {committed} that were committed");
            torn += usize::from(whole < batches.len());
            let mut out = [0; 512];
            for (offset, entry) in batches[..whole].iter().flatten().enumerate() {
                let read = log.read(&mut volume, offset as u64, &mut out).unwrap();
                assert_eq!(&out[..read.len], entry);
            }
        }
    }
    assert!(torn > 60, "{torn}");
}

#[test]
fn entries_come_out_in_parts() {
    for geometry in GEOMETRIES {
        let mut volume = format(geometry);
        let mut log = log(&mut volume);
        let max = Log::<Vec<u8>>::max_entry_of(&volume) as usize;
        let lens = [0, 1, 15, 16, 17, 1023, 1024, 5000, max, 3];
        for (number, len) in lens.into_iter().enumerate() {
            log.append_parts(&mut volume, [&entry(number as u64, len), &[], &[]]).unwrap();
            if number == 4 {
                log.commit(&mut volume).unwrap();
            }
        }
        // With a part of it on the device, with a part in the buffer, and after it was recovered.
        for reopened in [false, true] {
            if reopened {
                log.commit(&mut volume).unwrap();
                let device = volume.into_device();
                volume = Vol::open(device, vec![0; 4096 + 200]).unwrap();
                log = self::log(&mut volume);
            }
            for room in [0, 16, 700] {
                let mut cursor = log.cursor(0);
                for (number, len) in lens.into_iter().enumerate() {
                    let whole = entry(number as u64, len);
                    let mut out = vec![0xEE; room];
                    let passed = log.next_part(&mut volume, &mut cursor, &mut out).unwrap().unwrap();
                    assert_eq!((cursor.entry().offset, passed), (number as u64, len));
                    let there = len.min(room);
                    assert_eq!(out[..there], whole[..there]);
                    assert!(out[there..].iter().all(|byte| *byte == 0xEE), "no more than the entry");
                    for from in [0, len / 3, len] {
                        let mut part = vec![0; (len - from).min(1000)];
                        log.passed_part(&mut volume, &cursor, from as u32, &mut part).unwrap();
                        assert_eq!(part, whole[from..][..part.len()]);
                    }
                    let mut more = vec![0; len + 1];
                    let refused = log.passed_part(&mut volume, &cursor, 0, &mut more);
                    assert_eq!(refused, Err(Fault::OutOfRange));
                }
                assert_eq!(log.next_part(&mut volume, &mut cursor, &mut []), Ok(None));
            }
        }
        // What is damaged is not passed, however little of it is wanted.
        let address = {
            let mut cursor = log.cursor(7);
            log.next_part(&mut volume, &mut cursor, &mut []).unwrap();
            volume.address(cursor.walk.segment, cursor.walk.found.position + 4000)
        };
        volume.device_mut().damage(address, 1);
        let mut cursor = log.cursor(7);
        assert_eq!(log.next_part(&mut volume, &mut cursor, &mut []), Err(Fault::Damaged));
        let error = log.explain_at(&mut volume, &mut cursor, Fault::Damaged);
        assert!(matches!(error, super::super::Error::Corrupt { offset: Some(7), .. }), "{error}");
        cursor.skip();
        log.next_part(&mut volume, &mut cursor, &mut []).unwrap().unwrap();
        assert_eq!(cursor.entry().offset, 8);
    }
}

#[test]
fn a_checkpoint_is_one_publish_and_all_of_it_or_nothing_comes_back() {
    for (number, geometry) in GEOMETRIES.into_iter().enumerate() {
        for round in 0..40 {
            let mut random = Random::new(1000 + round * 3 + number as u64);
            let mut volume = format(geometry);
            let mut log = log(&mut volume);
            // What each publish said: root, first offset that counts.
            let mut said = vec![(Vec::new(), 0)];
            let (mut at_least, mut offset) = (0, 0);
            volume.device_mut().fuel = Some(random.below(150) as u32);
            let done = (0..12_u8).try_for_each(|step| {
                for _ in 0..random.below(40) {
                    log.append_parts(&mut volume, [&[step; 300], &[], &[]])?;
                }
                offset = offset.max(log.end() - random.below(3).min(log.end() as usize) as u64);
                let root = vec![step; random.below(crate::volume::STORE_ROOT + 1)];
                let (generation, syncs) = (volume.info().generation, volume.device().syncs);
                let start = log.start();
                said.push((root.clone(), offset));
                // No block of this checkpoint but one, written with no sync behind it.
                volume.write_block(u32::from(step % 8), &[step; 4096])?;
                let released = log.checkpoint(&mut volume, offset, &root)?;
                at_least = said.len() - 1;
                assert_eq!(volume.info().generation, generation + 1);
                assert_eq!(volume.device().syncs, syncs + 1 + volume.info().homes);
                assert_eq!(log.start() > start, released > 0);
                assert!(log.start() <= offset && log.durable() == log.end());
                assert_eq!(volume.store_root(), root);
                Ok(())
            });
            assert!(done == Ok(()) || done == Err(Fault::Device), "{done:?}");
            let mut device = volume.into_device();
            device.cut(&mut random);
            let mut volume = Vol::open(device, vec![0; 4096 + 200]).unwrap();
            let log = self::log(&mut volume);
            let root = volume.store_root().to_vec();
            let (nth, (_, offset)) = said.iter().enumerate().rfind(|(_, (said, _))| *said == root).unwrap();
            assert!(nth >= at_least, "publish {nth}, and {at_least} had returned");
            assert!((log.start()..=log.end()).contains(offset), "entries from {offset} on are there");
            if nth > 0 {
                let step = nth as u8 - 1;
                let mut block = [0; 4096];
                volume.read_block(u32::from(step % 8), &mut block).unwrap();
                // The next step may have been under way in it, but no later one.
                assert!(block == [step; 4096], "the block is older than the root that names it");
            }
        }
    }
}

#[test]
fn a_checkpoint_of_a_damaged_log_releases_nothing_and_counts() {
    let mut volume = format(GEOMETRIES[0]);
    let mut log = log(&mut volume);
    while log.info(&mut volume).unwrap().segments < 5 {
        log.append_parts(&mut volume, [&[7; 900], &[], &[]]).unwrap();
    }
    log.commit(&mut volume).unwrap();
    // All headers but the last one's, both copies.
    let last = log.last.at.segment;
    for segment in (0..volume.segments.count()).filter(|segment| *segment != last) {
        for position in [0, SEGMENT - 84] {
            let address = volume.address(segment, position);
            volume.device_mut().damage(address, 60);
        }
    }
    let generation = volume.info().generation;
    assert_eq!(log.checkpoint(&mut volume, 10, b"root"), Ok(0));
    assert_eq!((volume.info().generation, volume.store_root()), (generation + 1, &b"root"[..]));
    let end = log.end();
    assert_eq!((log.start(), log.checkpoint(&mut volume, end, b"later")), (0, Ok(4)));
    assert!(log.start() > 20, "{}", log.start());
    assert_eq!(log.checkpoint(&mut volume, end + 1, b"never"), Err(Fault::OutOfRange));
}

#[test]
fn after_a_finish_no_segment_is_read_until_one_is_taken() {
    for geometry in [Geometry::blocks(1 << 20, 512), Geometry::blocks(1 << 20, 4096)] {
        let mut volume = format(geometry);
        for session in 0..600_u64 {
            let mut log = log(&mut volume);
            assert_eq!((log.start(), log.end()), (session * 2, session * 2));
            for number in 0..2 {
                log.append_parts(&mut volume, [&entry(session * 2 + number, 300), &[], &[]]).unwrap();
            }
            log.try_commit(&mut volume).unwrap();
            // Without the close, as a cut leaves it.
            let opened = open_counting(volume.into_device());
            assert!(opened.1 >= u64::from(opened.0.info().segments), "{} reads", opened.1);
            volume = opened.0;
            let mut log = self::log(&mut volume);
            assert_eq!((log.start(), log.end()), (session * 2, session * 2 + 2));
            let mut out = [0; 300];
            log.read(&mut volume, session * 2 + 1, &mut out).unwrap();
            assert_eq!(out[..], entry(session * 2 + 1, 300));
            log.finish(&mut volume, &[]).unwrap();
            let opened = open_counting(volume.into_device());
            assert!(opened.1 <= 6, "{} reads", opened.1);
            assert_eq!(opened.0.info().free_segments, opened.0.info().segments);
            volume = opened.0;
        }
    }
}

/// Opens a volume; returns how many reads that took, too.
fn open_counting(device: Part) -> (Vol, u64) {
    let mut counted = Counted::new(device);
    let opened = Volume::<_, _, 2>::open(&mut counted, vec![0; 40 << 10]).unwrap();
    drop(opened);
    let reads = counted.counts().reads;
    (Vol::open(counted.into_inner(), vec![0; 40 << 10]).unwrap(), reads)
}
