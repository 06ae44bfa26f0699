//! What an LSM tree costs the device, counted, where its documents promise something: a close, a scan, a compaction.

use std::collections::BTreeMap;
use std::ops::Bound;

use esker::device::{Counted, Counts, Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options, Shape};
use esker::store::Store;
use esker::volume::{FormatOptions, Volume};

#[path = "common/scan.rs"]
mod scan;
use scan::check;

type Tree = Lsm<Vec<u8>, Vec<Frame>>;
type Vol = Volume<Counted<Ram<Vec<u8>>>, Vec<u8>>;
type Kv = Store<Tree, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const BLOCK: u32 = 32 << 10;
const FRAMES: usize = 40;

/// A memtable of about a quarter of a megabyte beside the frames.
fn tree(runs: u8) -> Tree {
    let shape = Shape::Levels { levels: 2, runs, last: 1, ratio: 4 };
    let options = Options { shape, ..Options::default() };
    Lsm::new(vec![0; 406 << 10], vec![Frame::default(); FRAMES], options)
}

fn made(runs: u8) -> (Vol, Kv) {
    let device = Counted::new(Ram::new(vec![0; 16 << 20], Geometry::blocks(0, 512)));
    let options = FormatOptions { block_size: BLOCK, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(device, vec![0; 8192], &options).unwrap();
    let store = Store::create(&mut volume, 0, tree(runs), vec![0; 4096]).unwrap();
    (volume, store)
}

fn counts(volume: &mut Vol) -> Counts {
    let counts = volume.device_mut().counts();
    volume.device_mut().reset();
    counts
}

fn key(n: u32) -> Vec<u8> {
    format!("{:08x} key", n.wrapping_mul(0x9E37_79B1)).into_bytes()
}

fn put(volume: &mut Vol, store: &mut Kv, map: &mut Map, n: u32, version: u8) {
    let (key, value) = (key(n), vec![version; 60]);
    store.put(volume, &key, &value).unwrap();
    map.insert(key, value);
}

fn reopened(volume: &mut Vol, store: Kv, runs: u8) -> Kv {
    store.close(volume).unwrap();
    Store::open(volume, tree(runs), vec![0; 4096]).unwrap()
}

fn runs(store: &Kv) -> u32 {
    store.index().levels().iter().map(|level| level.runs).sum()
}

/// A session that changes little costs little at its end, however much is there and however much is due.
#[test]
fn a_close_writes_what_has_changed() {
    let ((mut volume, mut store), mut map) = (made(2), Map::new());
    for n in 0..20_000 {
        put(&mut volume, &mut store, &mut map, n, 1);
    }
    store = reopened(&mut volume, store, 2);
    let mut most = 0;
    for session in 0..40_u32 {
        counts(&mut volume);
        // Some leave it in the log, some write a part of a table.
        let changes = if session % 2 == 0 { 10 } else { 120 };
        for n in 0..changes {
            put(&mut volume, &mut store, &mut map, session * 977 + n * 13 % 20_000, session as u8);
        }
        store.commit(&mut volume).unwrap();
        counts(&mut volume);
        store.close(&mut volume).unwrap();
        let closing = counts(&mut volume).written_bytes;
        assert!(
            closing < 6000 || session % 2 == 1,
            "a close that leaves the log has written {closing} bytes"
        );
        most = most.max(closing);
        store = Store::open(&mut volume, tree(2), vec![0; 4096]).unwrap();
        assert!(runs(&store) < 12, "{} runs after session {session}", runs(&store));
    }
    check(&mut volume, &mut store, &map);
    // The changes of a session, and a few of those before it.
    assert!(most < 3 * u64::from(BLOCK), "a close has written {most} bytes");
}

/// Sessions that change nothing write nothing.
#[test]
fn a_close_without_changes_writes_nothing() {
    let ((mut volume, mut store), mut map) = (made(2), Map::new());
    for n in 0..3000 {
        put(&mut volume, &mut store, &mut map, n, 1);
    }
    for _ in 0..3 {
        put(&mut volume, &mut store, &mut map, 1, 2);
        store = reopened(&mut volume, store, 2);
        counts(&mut volume);
        store = reopened(&mut volume, store, 2);
        assert_eq!(counts(&mut volume).written_bytes, 0);
        check(&mut volume, &mut store, &map);
    }
}

/// A scan reads each page of pairs once, and asks at each step for one page of each run at most.
#[test]
fn a_scan_reads_each_page_once() {
    let ((mut volume, mut store), mut map) = (made(8), Map::new());
    for n in 0..12_000 {
        put(&mut volume, &mut store, &mut map, n, 1);
        if n % 3000 == 2999 {
            store.checkpoint(&mut volume).unwrap();
        }
    }
    assert!(runs(&store) >= 4);
    let mut pages = 0;
    // With room for all pages, each is read once for sure.
    for frames in [1500, FRAMES] {
        store.close(&mut volume).unwrap();
        let shape = Shape::Levels { levels: 2, runs: 8, last: 1, ratio: 4 };
        let frames = vec![Frame::default(); frames];
        let memory = vec![0; (406 << 10) + (frames.len() << 10)];
        let tree = Lsm::new(memory, frames, Options { shape, ..Options::default() });
        store = Store::open(&mut volume, tree, vec![0; 4096]).unwrap();
        let (mut cursor, mut value) = (store.cursor(vec![0; store.max_key()]), vec![0; 100]);
        counts(&mut volume);
        let before = store.info(&mut volume).unwrap().pool;
        while store.next(&mut volume, &mut cursor, &mut value).unwrap().is_some() {}
        let after = store.info(&mut volume).unwrap().pool;
        let steps = u64::from(runs(&store)) * (map.len() as u64 + 1);
        let read = counts(&mut volume).reads;
        // Where frames are few, an index that was not asked for while a run stood still is read again: what is young is full of
        // those that the scan is done with.
        assert!(pages == 0 || read <= pages + pages / 8, "{read} reads of {pages} pages");
        pages = read;
        let asked = after.hits + after.misses - before.hits - before.misses;
        assert!(asked < steps + 4 * pages, "{asked} pages were asked for in {steps} steps over {pages}");
    }
}

/// A memtable that is empty lends its memory to the pool: what was read once need not be read again. It takes that back as it fills,
/// and lends it again when it was written.
#[test]
fn pages_are_kept_where_the_memtable_has_no_use_for_its_memory() {
    let tree = |records| {
        let frames = vec![Frame::default(); records];
        Lsm::new(vec![0; 406 << 10], frames, Options::default()).with_least_frames(FRAMES as u32)
    };
    let device = Counted::new(Ram::new(vec![0; 16 << 20], Geometry::blocks(0, 512)));
    let options = FormatOptions { block_size: BLOCK, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(device, vec![0; 8192], &options).unwrap();
    let mut store = Store::create(&mut volume, 0, tree(FRAMES), vec![0; 4096]).unwrap();
    let mut map = Map::new();
    for n in 0..2000 {
        put(&mut volume, &mut store, &mut map, n, 1);
    }
    let frames = |volume: &mut Vol, store: &Kv| store.info(volume).unwrap().pool.frames as usize;
    // As many records as always have a page; some more; one for each page that there is memory for, and more.
    for (records, most) in [(FRAMES, FRAMES), (FRAMES + 100, FRAMES + 100), (1000, 380)] {
        store.close(&mut volume).unwrap();
        store = Store::open(&mut volume, tree(records), vec![0; 4096]).unwrap();
        let all = frames(&mut volume, &store);
        assert!(all <= most && all + 60 > most, "{all} frames of {records}");
        for round in 0..2 {
            store.compact(&mut volume).unwrap();
            assert_eq!(frames(&mut volume, &store), all);
            check(&mut volume, &mut store, &map);
            counts(&mut volume);
            check(&mut volume, &mut store, &map);
            let read = counts(&mut volume).reads;
            assert_eq!(read == 0, records == 1000, "{read} reads of what was read before, {records} frames");
            let mut least = usize::MAX;
            for n in 0..2600 {
                put(&mut volume, &mut store, &mut map, n % 2000, round + 2);
                least = least.min(frames(&mut volume, &store));
                // Pages come in wherever there is room.
                if n % 500 == 99 {
                    check(&mut volume, &mut store, &map);
                }
            }
            let taken = if records == 1000 { all / 2 } else { 0 };
            assert!(least >= FRAMES && all - least >= taken, "{least} frames of {all}");
        }
    }
}

/// Recovery, for which the last frame is out of use, lends nothing, even if the memtable is written on the way.
#[test]
fn recovery_has_the_memtable_for_itself() {
    let ((mut volume, mut store), mut map) = (made(2), Map::new());
    for n in 0..2000 {
        put(&mut volume, &mut store, &mut map, n, 1);
    }
    store.commit(&mut volume).unwrap();
    drop(store);
    // All that the memtable holds makes one small table, and then it is empty.
    let (bytes, least) = Tree::memory_needed(&Geometry::blocks(16 << 20, 512), BLOCK);
    let (memory, frames) = (vec![0; bytes + (24 << 10)], vec![Frame::default(); least + 20]);
    let tree = Lsm::new(memory, frames, Options::default()).with_least_frames(least as u32);
    let mut store = Store::open(&mut volume, tree, vec![0; 4096]).unwrap();
    assert!(runs(&store) > 0, "the log has more than there is room for in memory");
    check(&mut volume, &mut store, &map);
}

/// Where frames are many, a search goes to the pages of all runs before it looks at any: it finds what it would one by one.
#[test]
fn a_search_of_all_runs_finds_what_is_there() {
    for frames in [FRAMES, 64, 120] {
        let (mut volume, store) = made(8);
        store.close(&mut volume).unwrap();
        let shape = Shape::Levels { levels: 2, runs: 8, last: 1, ratio: 4 };
        let options = Options { shape, ..Options::default() };
        let tree = Lsm::new(vec![0; 512 << 10], vec![Frame::default(); frames], options);
        let mut store = Store::open(&mut volume, tree, vec![0; 4096]).unwrap();
        let mut map = Map::new();
        for n in 0..6000 {
            put(&mut volume, &mut store, &mut map, n % 4500, (n / 1000) as u8);
            if n % 3 == 2 {
                store.delete(&mut volume, &key(n / 2)).unwrap();
                map.remove(&key(n / 2));
            }
            if n % 1000 == 999 {
                store.checkpoint(&mut volume).unwrap();
            }
        }
        assert!(runs(&store) >= 5);
        let (mut cursor, mut value) = (store.cursor(vec![0; store.max_key()]), vec![0; 100]);
        for n in 0..6000_u32 {
            let mut from = key(n.wrapping_mul(7919) % 4600);
            match n % 5 {
                0 => from.push(0),
                1 => from.truncate(n as usize % 9),
                _ => {}
            }
            let from = if n % 2 == 0 { Bound::Included(&from[..]) } else { Bound::Excluded(&from[..]) };
            store.seek(&mut cursor, from).unwrap();
            let forward = n % 4 < 2;
            let mut wanted: Vec<_> = if forward {
                map.range::<[u8], _>((from, Bound::Unbounded)).take(3).collect()
            } else {
                map.range::<[u8], _>((Bound::Unbounded, from)).rev().take(3).collect()
            };
            wanted.truncate(1 + n as usize % 3);
            for (key, wanted) in wanted {
                let found = if forward {
                    store.next(&mut volume, &mut cursor, &mut value).unwrap()
                } else {
                    store.previous(&mut volume, &mut cursor, &mut value).unwrap()
                };
                let found = found.map(|len| (cursor.key(), &value[..len]));
                assert_eq!(found, Some((&key[..], &wanted[..])), "search {n} with {frames} frames");
            }
        }
    }
}

/// Two scans in turn, with changes between their steps: each finds what is there when it comes by.
#[test]
fn scans_in_turn_do_not_disturb_each_other() {
    let ((mut volume, mut store), mut map) = (made(8), Map::new());
    for n in 0..2400 {
        put(&mut volume, &mut store, &mut map, n, 1);
        if n % 600 == 599 {
            store.checkpoint(&mut volume).unwrap();
        }
        if n % 5 == 4 {
            store.delete(&mut volume, &key(n / 2)).unwrap();
            map.remove(&key(n / 2));
        }
    }
    let mut value = vec![0; 100];
    let new = |store: &Kv| (store.cursor(vec![0; store.max_key()]), Bound::Unbounded);
    let (mut up, mut down) = (new(&store), new(&store));
    for step in 0..map.len() as u32 {
        // Each goes some steps alone, so that its places are those that are remembered.
        let is_up = step % 10 < 6;
        let (cursor, at) = if is_up { &mut up } else { &mut down };
        // Right before it something is put, or what it comes to next is deleted.
        let mut next = cursor.key().to_vec();
        match step % 7 {
            2 if is_up => next.push(0),
            2 => drop(next.pop()),
            4 if is_up => next = map.range(next..).nth(1).map_or(key(1), |(key, _)| key.clone()),
            4 => next = map.range(..next).next_back().map_or(key(1), |(key, _)| key.clone()),
            _ => next.clear(),
        }
        if step % 7 == 4 {
            store.delete(&mut volume, &next).unwrap();
            map.remove(&next);
        } else if !next.is_empty() {
            store.put(&mut volume, &next, b"between").unwrap();
            map.insert(next, b"between".to_vec());
        }
        let wanted = if is_up {
            map.range::<Vec<u8>, _>((at.as_ref(), Bound::Unbounded)).next()
        } else {
            map.range::<Vec<u8>, _>((Bound::Unbounded, at.as_ref())).next_back()
        };
        let found = if is_up {
            store.next(&mut volume, cursor, &mut value).unwrap()
        } else {
            store.previous(&mut volume, cursor, &mut value).unwrap()
        };
        let found = found.map(|len| (cursor.key(), &value[..len]));
        assert_eq!(found, wanted.map(|(key, value)| (&key[..], &value[..])), "step {step}");
        *at = wanted.map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(key.clone()));
    }
}

/// All is one run, and nothing is left of what was replaced or deleted; at once, or in steps with changes between them.
#[test]
fn a_compaction_leaves_one_run() {
    for in_steps in [false, true] {
        let ((mut volume, mut store), mut map) = (made(8), Map::new());
        for round in 0..3_u8 {
            for n in 0..4000 {
                put(&mut volume, &mut store, &mut map, n, round);
            }
            store.checkpoint(&mut volume).unwrap();
        }
        for n in 0..2000 {
            store.delete(&mut volume, &key(n * 2)).unwrap();
            map.remove(&key(n * 2));
        }
        let used = |volume: &mut Vol, store: &Kv| {
            let info = store.info(volume).unwrap();
            info.blocks - info.free_blocks
        };
        let (before, mut n) = (used(&mut volume, &store), 4000);
        counts(&mut volume);
        if in_steps {
            while !store.compact_step(&mut volume).unwrap() {
                put(&mut volume, &mut store, &mut map, n, 9);
                n += 1;
            }
            assert!(n > 4020, "there were {} steps", n - 4000);
        } else {
            store.compact(&mut volume).unwrap();
        }
        assert_eq!(runs(&store), 1);
        let figures = store.index().merges();
        // Of each key two versions, and of those that were deleted the third and the tombstone.
        assert!(figures.pairs_dropped == 2 * 4000 + 2 * 2000);
        if !in_steps {
            let written = counts(&mut volume).written_bytes;
            let live = map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as u64;
            assert!(written < 2 * live, "{written} bytes were written for {live}");
            assert_eq!(store.index().levels().iter().map(|level| level.tables).sum::<u32>(), {
                (live * 115 / 100).div_ceil(u64::from(BLOCK)) as u32
            });
            store.compact(&mut volume).unwrap();
            assert_eq!(counts(&mut volume).written_bytes, 0, "there is nothing left to do");
        }
        check(&mut volume, &mut store, &map);
        let (n, info) = (map.len() as u64, store.info(&mut volume).unwrap());
        assert!(in_steps || info.index.pairs == n, "{} pairs of {n}", info.index.pairs);
        store = reopened(&mut volume, store, 8);
        let after = used(&mut volume, &store);
        assert!(in_steps || after < before / 2, "{after} blocks of {before} after {n} pairs");
        check(&mut volume, &mut store, &map);
    }
}

/// The index that a close hands out may be opened again as it is: it is not closing any more.
#[test]
fn a_tree_that_a_close_gave_back_merges_as_before() {
    let ((mut volume, mut store), mut map) = (made(2), Map::new());
    for n in 0..2000 {
        put(&mut volume, &mut store, &mut map, n, 1);
    }
    let (tree, buffer) = store.close(&mut volume).unwrap();
    store = Store::open(&mut volume, tree, buffer).unwrap();
    let mut most = 0;
    for n in 0..40_000 {
        put(&mut volume, &mut store, &mut map, n, 2);
        most = most.max(runs(&store));
    }
    // Two on level 0, one more that makes a merge due, and the last level's old one and new one.
    assert!(most <= 5, "{most} runs");
    check(&mut volume, &mut store, &map);
}
