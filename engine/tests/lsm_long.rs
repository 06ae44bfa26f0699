//! Values longer than half a page: with both memtables, on blocks and on flash, from the log and from tables; what they cost the device, and
//! what becomes of one that is damaged.

use std::collections::BTreeMap;
use std::ops::Bound;

use esker::device::{BlockDevice, Counted, Counts, Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Batch, Damage, Error, Index, Store};
use esker::volume::{FormatOptions, Volume};

type Vol = Volume<Counted<Ram<Vec<u8>>>, Vec<u8>>;
type Kv<I> = Store<I, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const BLOCKS: Geometry = Geometry::blocks(4 << 20, 512);
const FLASH: Geometry = Geometry::flash(4 << 20, 4, 4096);
/// Pages have 512 bytes.
const BLOCK: u32 = 16 << 10;
const PAGE: usize = 512;

fn volume(geometry: Geometry) -> Vol {
    let device = Counted::new(Ram::new(vec![0xFF; geometry.capacity as usize], geometry));
    let options = FormatOptions {
        volume_id: 9,
        block_size: BLOCK,
        segment_size: 32 << 10,
        pool_size: 512 << 10,
        ..FormatOptions::default()
    };
    Volume::format(device, vec![0; 4096], &options).unwrap()
}

fn levels() -> Lsm<Vec<u8>, Vec<Frame>> {
    let shape = Shape::Levels { levels: 2, runs: 3, last: 1, ratio: 4 };
    Lsm::new(vec![0; 48 << 10], vec![Frame::BLANK; 10], Options { shape, ..Options::default() })
}

fn sweep() -> Lsm<Vec<u8>, Vec<Frame>, Places> {
    let options = Options { shape: Shape::Sweep, ..Options::default() };
    Lsm::with_places(vec![0; 24 << 10], vec![Frame::BLANK; 6], options)
}

fn made<I: Index>(volume: &mut Vol, index: I) -> Kv<I> {
    Store::create(volume, 0, index, vec![0; 4096]).unwrap()
}

fn reopened<I: Index>(volume: &mut Vol, store: Kv<I>, index: fn() -> I) -> Kv<I> {
    drop(store);
    Store::open(volume, index(), vec![0; 4096]).unwrap()
}

fn key(n: u32) -> Vec<u8> {
    format!("key {:05}", n.wrapping_mul(7919) % 100_000).into_bytes()
}

/// No two of them are alike, nor two parts of one.
fn value(n: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|at| (n.wrapping_mul(31) ^ at ^ at >> 7).wrapping_mul(0x9E37_79B1).to_be_bytes()[0])
        .collect()
}

/// Of all lengths, as a rule short.
fn len(n: u32, most: usize) -> usize {
    let random = (n.wrapping_mul(0x9E37_79B1) >> 8) as usize;
    match n % 12 {
        0 => random % (4 * PAGE),
        1 => PAGE / 2 - 60 + random % 80,
        2 if n % 36 == 2 => most - random % 9,
        3 => random % (most / 2),
        _ => random % 100,
    }
}

fn check<I: Index>(volume: &mut Vol, store: &mut Kv<I>, map: &Map) {
    let (mut cursor, mut out) = (store.cursor(vec![0; store.max_key()]), vec![0; BLOCK as usize]);
    for (key, value) in map {
        let len = store.next(volume, &mut cursor, &mut out).unwrap().unwrap();
        assert!((cursor.key(), &out[..len]) == (&key[..], &value[..]), "{}", key.escape_ascii());
        let found = store.get(volume, key, &mut out).unwrap().unwrap();
        assert!(out[..found.len] == value[..], "{}", key.escape_ascii());
        if !value.is_empty() {
            let short = store.get(volume, key, &mut out[..value.len() - 1]);
            assert!(matches!(short, Err(Error::BufferTooSmall { needed }) if needed == value.len()));
        }
    }
    assert_eq!(store.next(volume, &mut cursor, &mut out).unwrap(), None);
    store.seek(&mut cursor, Bound::Unbounded).unwrap();
    for (key, value) in map.iter().rev() {
        let len = store.previous(volume, &mut cursor, &mut out).unwrap().unwrap();
        assert!((cursor.key(), &out[..len]) == (&key[..], &value[..]), "{}", key.escape_ascii());
    }
    let mut bits = vec![0; Kv::<I>::bitmap_needed(volume)];
    store.verify(volume, Some(&mut bits), &mut |damage| panic!("{damage:?}")).unwrap();
}

fn come_back<I: Index>(geometry: Geometry, index: fn() -> I) {
    let mut volume = volume(geometry);
    let (mut store, mut map) = (made(&mut volume, index()), Map::new());
    let most = store.max_value(&volume, 9);
    assert_eq!(most, BLOCK as usize - 4 * PAGE);
    let too_long = store.put(&mut volume, &key(0), &vec![0; most + 1]);
    assert!(matches!(too_long, Err(Error::ValueTooLong { max }) if max == most));
    for n in 0..1500 {
        // Some keys again and again, for longer and for shorter values.
        let key = key(if n % 3 == 0 { n % 90 } else { n });
        match n % 10 {
            7 => {
                store.delete(&mut volume, &key).unwrap();
                map.remove(&key);
            }
            8 => {
                let mut batch = Batch::new(vec![0; 20_000]);
                for more in 0..4 {
                    let (key, value) = (self::key(n + more * 40), value(n + more, len(n * 5 + more, 4000)));
                    batch.put(&key, &value).unwrap();
                    map.insert(key, value);
                }
                store.write(&mut volume, &batch).unwrap();
            }
            _ => {
                let value = value(n, len(n, most));
                store.put(&mut volume, &key, &value).unwrap();
                map.insert(key, value);
            }
        }
        match n % 400 {
            133 => store.checkpoint(&mut volume).unwrap(),
            266 => check(&mut volume, &mut store, &map),
            // As a cut leaves it.
            399 => {
                store.commit(&mut volume).unwrap();
                store = reopened(&mut volume, store, index);
                check(&mut volume, &mut store, &map);
            }
            _ => {}
        }
    }
    store.compact(&mut volume).unwrap();
    check(&mut volume, &mut store, &map);
    let (index, _) = store.close(&mut volume).unwrap();
    let mut store: Kv<I> = Store::open(&mut volume, index, vec![0; 4096]).unwrap();
    check(&mut volume, &mut store, &map);
}

#[test]
fn long_values_come_back_from_levels() {
    come_back(BLOCKS, levels);
    come_back(FLASH, levels);
}

#[test]
fn long_values_come_back_from_a_sweep() {
    come_back(BLOCKS, sweep);
    come_back(FLASH, sweep);
}

#[test]
fn long_values_are_loaded() {
    for geometry in [BLOCKS, FLASH] {
        let mut volume = volume(geometry);
        let mut store = made(&mut volume, levels());
        let most = store.max_value(&volume, 9);
        let map: Map = (0..600).map(|n| (key(n), value(n, len(n, most)))).collect();
        let mut load = store.bulk_load(&mut volume).unwrap();
        for (key, value) in &map {
            load.push(&mut volume, key, value).unwrap();
        }
        load.finish(&mut volume).unwrap();
        check(&mut volume, &mut store, &map);
        let mut store = reopened(&mut volume, store, levels);
        check(&mut volume, &mut store, &map);
    }
}

fn counts(volume: &mut Vol) -> Counts {
    let counts = volume.device_mut().counts();
    volume.device_mut().reset();
    counts
}

/// A long value takes its length of a table, and is read in one go.
#[test]
fn a_long_value_costs_its_length() {
    let mut volume = volume(FLASH);
    let mut store = made(&mut volume, sweep());
    // Not put one by one: that pays for merges on the way, of which one table has fewer.
    let map: Map = (0..100).map(|n| (key(n), value(n, 3000))).collect();
    let mut load = store.bulk_load(&mut volume).unwrap();
    for (key, value) in &map {
        load.push(&mut volume, key, value).unwrap();
    }
    load.finish(&mut volume).unwrap();
    counts(&mut volume);
    let mut out = vec![0; 3000];
    for n in 0..100 {
        store.get(&mut volume, &key(n), &mut out).unwrap().unwrap();
        assert!(out == value(n, 3000));
        let Counts { reads, read_bytes, .. } = counts(&mut volume);
        // A line of the filter, the index, a page of pairs.
        assert!(
            reads <= 4 && read_bytes <= 3000 + 2 * PAGE as u64 + 64,
            "{reads} reads of {read_bytes} bytes"
        );
    }
    // A table has room for four of 3000 bytes beside its pages.
    let tables = store.info(&mut volume).unwrap().index.leaves;
    assert!(tables <= 25, "{tables} tables");
}

/// Where on the device a value stands.
fn find(volume: &mut Vol, value: &[u8]) -> Vec<usize> {
    let mut image = vec![0; volume.info().geometry.capacity as usize];
    volume.device_mut().read(0, &mut image).unwrap();
    // Its middle is in one piece.
    let middle = &value[value.len() / 2..][..64];
    (0..image.len() - 64).filter(|at| image[*at..*at + 64] == *middle).collect()
}

fn flip(volume: &mut Vol, at: usize) {
    let (unit, mut bytes) = (at / 512 * 512, vec![0; 512]);
    volume.device_mut().read(unit as u64, &mut bytes).unwrap();
    bytes[at - unit] ^= 1;
    volume.device_mut().write(unit as u64, &bytes).unwrap();
}

/// One of which a bit is not what it was is told, by all who ask for it; the others are there, and a salvage drops that one alone.
#[test]
fn a_damaged_value_is_told_and_passed() {
    let (mut volume, mut map) = (volume(BLOCKS), Map::new());
    let mut store = made(&mut volume, levels());
    for n in 0..40 {
        let (key, value) = (key(n), value(n, 2000));
        store.put(&mut volume, &key, &value).unwrap();
        map.insert(key, value);
    }
    store.checkpoint(&mut volume).unwrap();
    let bad = key(17);
    let places = find(&mut volume, &map[&bad]);
    // Wherever it is: in the log, and in a table, and in one before that.
    assert!(places.len() >= 2, "{places:?}");
    for at in places {
        flip(&mut volume, at);
    }
    map.remove(&bad);
    let mut store = reopened(&mut volume, store, levels);
    let mut out = vec![0; 2000];
    assert!(matches!(store.get(&mut volume, &bad, &mut out), Err(Error::Corrupt { .. })));
    for forward in [true, false] {
        let mut cursor = store.cursor(vec![0; store.max_key()]);
        let (mut found, mut told) = (Map::new(), 0);
        loop {
            let step = if forward { Kv::next } else { Kv::previous };
            match step(&mut store, &mut volume, &mut cursor, &mut out) {
                Ok(None) => break,
                Ok(Some(len)) => {
                    found.insert(cursor.key().to_vec(), out[..len].to_vec());
                }
                Err(Error::Corrupt { .. }) => {
                    told += 1;
                    assert_eq!(told, 1, "it goes on behind it");
                    store.skip(&mut volume, &mut cursor).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(found == map && told == 1, "forward: {forward}");
    }
    let mut damages = Vec::new();
    store.verify(&mut volume, None, &mut |damage| damages.push(damage)).unwrap();
    assert!(matches!(damages[..], [Damage::Value { .. }]), "{damages:?}");
    damages.clear();
    store.salvage(&mut volume, None, &mut |damage| damages.push(damage)).unwrap();
    assert!(matches!(damages[..], [Damage::Value { .. }]), "{damages:?}");
    check(&mut volume, &mut store, &map);
}
