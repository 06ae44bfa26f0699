//! What a store says and does at its edges: full, damaged, read-only, wrongly used.

use std::collections::BTreeMap;

use esker::btree::{BTree, Frame};
use esker::device::{Geometry, Ram, RamError};
use esker::store::{Damage, Error, Kind, Store};
use esker::volume::{FormatOptions, Volume};
use esker::wal;

type Tree = BTree<Vec<u8>, Vec<Frame>>;
type Vol<'a> = Volume<&'a mut Ram<Vec<u8>>, Vec<u8>>;
type Kv = Store<Tree, Vec<u8>>;

fn tree(page: usize, frames: usize) -> Tree {
    BTree::new(vec![0; page * (frames + 1)], vec![Frame::default(); frames])
}

fn disk(len: usize) -> Ram<Vec<u8>> {
    Ram::new(vec![0; len], Geometry::blocks(0, 512))
}

fn made(ram: &mut Ram<Vec<u8>>, page: usize, frames: usize) -> (Vol<'_>, Kv) {
    let options = FormatOptions { block_size: page as u32, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(ram, vec![0; 8192], &options).unwrap();
    let store = Store::create(&mut volume, 0, tree(page, frames), vec![0; 4096]).unwrap();
    (volume, store)
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:06}").into_bytes()
}

fn get(volume: &mut Vol<'_>, store: &mut Kv, key: &[u8]) -> Result<Option<Vec<u8>>, Error<RamError>> {
    let mut out = vec![0; 200_000];
    Ok(store.get(volume, key, &mut out)?.map(|found| out[..found.len].to_vec()))
}

#[test]
fn the_largest_pages_and_long_values() {
    let mut ram = disk(64 << 20);
    let (mut volume, mut store) = made(&mut ram, 65536, 40);
    let mut map = BTreeMap::new();
    for n in 0..2000_u32 {
        let len = match n % 50 {
            0 => 100_000 + n as usize,
            1..=9 => 5000,
            _ => 40,
        };
        let value = vec![n as u8; len];
        store.put(&mut volume, &key(n * 7919 % 2003), &value).unwrap();
        map.insert(key(n * 7919 % 2003), value);
        if n % 300 == 299 {
            store.close(&mut volume).unwrap();
            store = Store::open(&mut volume, tree(65536, 40), vec![0; 4096]).unwrap();
        }
    }
    for (key, value) in &map {
        assert_eq!(get(&mut volume, &mut store, key).unwrap().as_ref(), Some(value));
    }
    let found = store.verify(&mut volume, None, &mut |damage| panic!("{damage:?}")).unwrap();
    assert_eq!(found.pairs, map.len() as u64);
}

#[test]
fn splits_tell_the_keys_that_they_promote() {
    let mut ram = disk(1 << 20);
    let (mut volume, mut store) = made(&mut ram, 512, 40);
    let (mut levels, mut splits, mut grown) = (Vec::new(), 0, 0);
    for n in 0..1000 {
        let effect = store
            .put_and_tell(&mut volume, &key(n), &[7; 20], &mut |level, promoted| {
                assert!(promoted <= &key(n)[..] && key(n).starts_with(promoted) || level > 0);
                levels.push(level);
            })
            .unwrap();
        splits += u32::from(effect.splits);
        grown += u32::from(effect.grown);
        assert_eq!(u32::from(effect.depth), grown + 1);
    }
    assert_eq!(levels.len(), splits as usize);
    let info = store.info(&mut volume).unwrap();
    assert!(info.index.depth >= 3 && levels.contains(&1));
    assert_eq!(info.index.leaves - 1, levels.iter().filter(|level| **level == 0).count() as u32);
    // In ascending order pages are full.
    let pairs = 2.0 + 1.0 + 10.0 + 1.0 + 20.0;
    assert!(1000.0 * pairs / (f64::from(info.index.leaves) * 496.0) > 0.9, "{info:?}");
}

#[test]
fn bad_input_is_one_clear_error_and_changes_nothing() {
    let mut ram = disk(1 << 20);
    let (mut volume, mut store) = made(&mut ram, 512, 20);
    store.put(&mut volume, b"a", b"1").unwrap();
    let max = store.max_key();
    assert_eq!(max, 48);
    let long = store.max_value(&volume, 1);
    let v = &mut volume;
    assert_eq!(store.put(v, b"", b"x"), Err(Error::EmptyKey));
    assert_eq!(store.put(v, &[1; 49], b"x"), Err(Error::KeyTooLong { max: 48 }));
    assert_eq!(store.put(v, b"b", &vec![0; long + 1]), Err(Error::ValueTooLong { max: long }));
    assert!(store.put(v, b"b", &vec![3; long]).is_ok());
    assert_eq!(store.get(v, b"a", &mut []), Err(Error::BufferTooSmall { needed: 1 }));
    assert_eq!(store.bulk_load(v).err(), Some(Error::NotEmpty));
    assert_eq!(Kv::root(v).and_then(|root| root.kind), Some(Kind::BTree));
    let again = Kv::create(v, 1, tree(512, 20), vec![0; 4096]).err();
    assert_eq!(again, Some(Error::StoreExists));
    store.close(v).unwrap();
    let small = Kv::open(v, tree(512, 3), vec![0; 4096]).err();
    assert_eq!(small, Some(Error::MemoryTooSmall { pages: 512 * 5, frames: 4 }));
    let none = FormatOptions::default();
    let mut other = disk(1 << 20);
    let mut volume = Volume::<_, _>::format(&mut other, vec![0; 8192], &none).unwrap();
    assert_eq!(Kv::create(&mut volume, 0, tree(512, 20), vec![0; 4096]).err(), Some(Error::NoStore));
    assert_eq!(Kv::open(&mut volume, tree(512, 20), vec![0; 4096]).err(), Some(Error::NoStore));
    let mut flash = Ram::new(vec![0xFF; 4 << 20], Geometry::flash(0, 4, 65536));
    let options = FormatOptions { block_size: 65536, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(&mut flash, vec![0; 8192], &options).unwrap();
    let error = Kv::create(&mut volume, 0, tree(65536, 9), vec![0; 4096]).err().unwrap();
    assert!(error.to_string().contains("LSM tree"), "{error}");
}

#[test]
fn a_load_in_bulk_is_all_or_nothing() {
    let mut ram = disk(4 << 20);
    let (mut volume, mut store) = made(&mut ram, 4096, 8);
    let mut load = store.bulk_load(&mut volume).unwrap();
    for n in 0..3000 {
        load.push(&mut volume, &key(n), &[1; 100]).unwrap();
    }
    assert_eq!(load.push(&mut volume, &key(2999), b""), Err(Error::Unsorted { at: 3000 }));
    drop(load);
    assert_eq!(get(&mut volume, &mut store, &key(5)).unwrap(), None);
    let mut bitmap = vec![0; Kv::bitmap_needed(&volume)];
    store.verify(&mut volume, Some(&mut bitmap), &mut |damage| panic!("{damage:?}")).unwrap();
    store.put(&mut volume, b"a", b"b").unwrap();
    store.delete(&mut volume, b"a").unwrap();
    let mut load = store.bulk_load(&mut volume).unwrap();
    for n in 0..3000 {
        load.push(&mut volume, &key(n), &[1; 100]).unwrap();
    }
    load.finish(&mut volume).unwrap();
    drop(store);
    let mut store = Kv::open(&mut volume, tree(4096, 8), vec![0; 4096]).unwrap();
    for n in 0..3000 {
        assert_eq!(get(&mut volume, &mut store, &key(n)).unwrap(), Some(vec![1; 100]));
    }
    store.verify(&mut volume, Some(&mut bitmap), &mut |damage| panic!("{damage:?}")).unwrap();
}

#[test]
fn nothing_is_written_when_opened_for_reading() {
    let mut ram = disk(1 << 20);
    let (mut volume, mut store) = made(&mut ram, 512, 60);
    for n in 0..200 {
        store.put(&mut volume, &key(n), &[1; 50]).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    for n in 100..150 {
        store.put(&mut volume, &key(n), &[2; 60]).unwrap();
        store.delete(&mut volume, &key(n - 50)).unwrap();
    }
    store.commit(&mut volume).unwrap();
    drop(store);
    drop(volume);
    let before = ram.bytes().to_vec();
    let mut volume = Volume::<_, _>::open(&mut ram, vec![0; 8192]).unwrap();
    let mut store = Kv::open_read_only(&mut volume, tree(512, 60), vec![0; 4096]).unwrap();
    for n in 0..200 {
        let is = match n {
            50..100 => None,
            100..150 => Some(vec![2; 60]),
            _ => Some(vec![1; 50]),
        };
        assert_eq!(get(&mut volume, &mut store, &key(n)).unwrap(), is, "{n}");
    }
    assert_eq!(store.put(&mut volume, b"a", b"b"), Err(Error::ReadOnly));
    assert_eq!(store.checkpoint(&mut volume), Err(Error::ReadOnly));
    store.close(&mut volume).unwrap();
    let little = Kv::open_read_only(&mut volume, tree(512, 8), vec![0; 4096]).err();
    assert!(matches!(little, Some(Error::MemoryTooSmall { .. })), "{little:?}");
    drop(volume);
    assert!(ram.bytes() == before);
}

#[test]
fn salvage_drops_what_is_damaged_and_nothing_else() {
    let mut ram = disk(1 << 20);
    let (mut volume, mut store) = made(&mut ram, 512, 30);
    let mut map = BTreeMap::new();
    for n in 0..800 {
        let value = vec![n as u8; if n % 40 == 0 { 2000 } else { 30 }];
        store.put(&mut volume, &key(n), &value).unwrap();
        map.insert(key(n), value);
    }
    store.checkpoint(&mut volume).unwrap();
    // These are in the log alone when damage comes.
    for n in (0..800).step_by(3) {
        store.put(&mut volume, &key(n), b"newer").unwrap();
        map.insert(key(n), b"newer".to_vec());
    }
    store.commit(&mut volume).unwrap();
    drop(store);
    let info = volume.info();
    drop(volume);
    let (start, image) = (info.block_address as usize, ram.bytes().to_vec());
    let mut stuck = 0;
    for block in 0..info.blocks as usize {
        if image[start + block * 512..][..512].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut bytes = image.clone();
        bytes[start + block * 512 + 100] ^= 4;
        let mut ram = Ram::new(bytes, Geometry::blocks(0, 512));
        let mut volume = Volume::<_, _>::open(&mut ram, vec![0; 8192]).unwrap();
        let mut store = Kv::open(&mut volume, tree(512, 30), vec![0; 4096]).unwrap();
        let mut damages = 0;
        store.verify(&mut volume, None, &mut |_| damages += 1).unwrap();
        for (key, value) in &map {
            match get(&mut volume, &mut store, key) {
                Ok(found) if !store.info(&mut volume).unwrap().stuck => {
                    assert_eq!(found.as_ref(), Some(value));
                }
                Ok(found) => assert!(found.is_some()),
                Err(Error::Corrupt { address }) => {
                    assert!(damages > 0 && address >= info.block_address);
                }
                Err(error) => panic!("{error}"),
            }
        }
        let is_stuck = store.info(&mut volume).unwrap().stuck;
        stuck += u32::from(is_stuck);
        if is_stuck {
            assert!(matches!(store.put(&mut volume, b"x", b"y"), Err(Error::Stuck { .. })));
        }
        let mut bitmap = vec![0; Kv::bitmap_needed(&volume)];
        let mut dropped = Vec::new();
        store.salvage(&mut volume, Some(&mut bitmap), &mut |damage| dropped.push(damage)).unwrap();
        let newer = map.values().filter(|value| *value == b"newer").count();
        let mut left = 0;
        for (key, value) in &map {
            match get(&mut volume, &mut store, key).unwrap() {
                Some(found) => {
                    assert_eq!(&found, value);
                    left += 1;
                }
                None => assert!(!dropped.is_empty() && value != b"newer"),
            }
        }
        assert!(left >= newer);
        if dropped.is_empty() {
            assert_eq!(left, map.len());
        }
        store.verify(&mut volume, Some(&mut bitmap), &mut |damage| panic!("{damage:?}")).unwrap();
        store.put(&mut volume, b"x", b"y").unwrap();
        store.close(&mut volume).unwrap();
    }
    assert!(stuck > 50, "{stuck}");
}

#[test]
fn a_store_with_a_damaged_log_opens_only_on_demand() {
    let mut ram = disk(8 << 20);
    let (mut volume, mut store) = made(&mut ram, 512, 30);
    for n in 0..100 {
        store.put(&mut volume, &key(n), &[1; 10]).unwrap();
        store.commit(&mut volume).unwrap();
    }
    drop(store);
    let pool = volume.info().pool_address as usize;
    drop(volume);
    let mut bytes = ram.bytes().to_vec();
    let at = (pool..).find(|at| bytes[*at..].starts_with(&key(50))).unwrap();
    bytes[at] ^= 1;
    let mut ram = Ram::new(bytes, Geometry::blocks(0, 512));
    let mut volume = Volume::<_, _>::open(&mut ram, vec![0; 8192]).unwrap();
    let error = Kv::open(&mut volume, tree(512, 30), vec![0; 4096]).err().unwrap();
    assert!(matches!(error, Error::Log(wal::Error::Corrupt { offset: Some(50), .. })), "{error:?}");
    let mut lost = Vec::new();
    let mut store =
        Kv::open_damaged(&mut volume, tree(512, 30), vec![0; 4096], &mut |damage| lost.push(damage)).unwrap();
    assert_eq!(lost, [Damage::Entry { offset: 50 }]);
    assert!(matches!(store.put(&mut volume, b"x", b"y"), Err(Error::Stuck { .. })));
    store.salvage(&mut volume, None, &mut |_| {}).unwrap();
    store.close(&mut volume).unwrap();
    let mut store = Kv::open(&mut volume, tree(512, 30), vec![0; 4096]).unwrap();
    for n in 0..100 {
        assert_eq!(get(&mut volume, &mut store, &key(n)).unwrap().is_some(), n != 50);
    }
}

#[test]
fn a_full_store_still_deletes() {
    for (geometry, page, len) in
        [(Geometry::blocks(0, 512), 512, 128 << 10), (Geometry::flash(0, 4, 4096), 4096, 512 << 10)]
    {
        let mut ram = Ram::new(vec![0xFF; len], geometry);
        let (mut volume, mut store) = made(&mut ram, page, 12);
        for round in 0..5 {
            let mut n = 0;
            let full = loop {
                match store.put(&mut volume, &key(n), &[round; 90]) {
                    Ok(_) => n += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(full, Error::Full);
            for n in 0..n {
                assert!(store.delete(&mut volume, &key(n)).unwrap().found);
                if n % 10 == 0 {
                    store.commit(&mut volume).unwrap();
                }
            }
            assert_eq!(store.info(&mut volume).unwrap().index.pairs, 0);
            let mut bitmap = vec![0; Kv::bitmap_needed(&volume)];
            store.verify(&mut volume, Some(&mut bitmap), &mut |damage| panic!("{damage:?}")).unwrap();
        }
    }
}
