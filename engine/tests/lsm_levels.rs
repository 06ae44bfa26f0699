//! An LSM tree that takes as many levels as its data needs: what is written for each byte grows with their number, not with the
//! data.

use std::collections::BTreeMap;

use esker::device::{Counted, Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options};
use esker::store::Store;
use esker::volume::{FormatOptions, Volume};

#[path = "common/scan.rs"]
mod scan;
use scan::check;

type Tree = Lsm<Vec<u8>, Vec<Frame>>;
type Vol = Volume<Counted<Ram<Vec<u8>>>, Vec<u8>>;
type Kv = Store<Tree, Vec<u8>>;
type Map = BTreeMap<[u8; 16], [u8; 16]>;

const BLOCK: u32 = 16 << 10;
const FRAMES: usize = 30;

/// A memtable of some 64 KiB beside the frames.
fn tree() -> Tree {
    Lsm::new(vec![0; 128 << 10], vec![Frame::default(); FRAMES], Options::default())
}

fn made() -> (Vol, Kv) {
    let device = Counted::new(Ram::new(vec![0; 24 << 20], Geometry::blocks(0, 512)));
    let options = FormatOptions { block_size: BLOCK, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(device, vec![0; 8192], &options).unwrap();
    let store = Store::create(&mut volume, 0, tree(), vec![0; 8192]).unwrap();
    (volume, store)
}

/// All 2^20 of them differ, and come in no order.
fn key(n: u32) -> [u8; 16] {
    let mut key = *b"................";
    key[..8].copy_from_slice(&(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes());
    key
}

fn put(volume: &mut Vol, store: &mut Kv, map: &mut Map, n: u32, version: u32) {
    let mut value = [7; 16];
    value[..4].copy_from_slice(&version.to_le_bytes());
    store.put(volume, &key(n), &value).unwrap();
    map.insert(key(n), value);
}

/// Scans, and finds some of them.
fn check_all(volume: &mut Vol, store: &mut Kv, map: &Map) {
    check(volume, store, map);
    let mut value = [0; 16];
    for (key, wanted) in map.iter().step_by(7) {
        let found = store.get(volume, key, &mut value).unwrap().unwrap();
        assert_eq!(&value[..found.len], wanted);
    }
}

/// So many levels have something in them, and bytes that reach the device for each one of a pair, while as many pairs as there are
/// are overwritten twice.
fn measure(pairs: u32) -> (u8, f64) {
    let ((mut volume, mut store), mut map) = (made(), Map::new());
    for n in 0..pairs {
        put(&mut volume, &mut store, &mut map, n, 0);
    }
    volume.device_mut().reset();
    for n in 0..2 * pairs {
        put(&mut volume, &mut store, &mut map, n.wrapping_mul(0x2545_F491) % pairs, n + 1);
        if n == pairs {
            store.close(&mut volume).unwrap();
            store = Store::open(&mut volume, tree(), vec![0; 8192]).unwrap();
        }
    }
    let written = volume.device_mut().counts().written_bytes as f64 / f64::from(64 * pairs);
    check_all(&mut volume, &mut store, &map);
    let deepest =
        store.index().levels().iter().filter(|level| level.runs != 0).map(|level| level.level).max();
    // When nearly all is gone again, it is the same tree still.
    for n in 0..pairs {
        if n % 16 != 0 {
            store.delete(&mut volume, &key(n)).unwrap();
            map.remove(&key(n));
        }
    }
    check_all(&mut volume, &mut store, &map);
    store.compact(&mut volume).unwrap();
    check_all(&mut volume, &mut store, &map);
    (deepest.map_or(0, |level| level + 1), written)
}

#[test]
fn writes_grow_with_the_levels() {
    for (pairs, levels, most) in [(4_000, 2, 4.6), (16_000, 3, 4.7), (64_000, 4, 5.8), (128_000, 4, 8.0)] {
        let (deepest, written) = measure(pairs);
        assert_eq!(deepest, levels, "{pairs} pairs");
        println!("{pairs} pairs: {deepest} levels, {written:.2} bytes written for each");

        assert!(written <= most, "{pairs} pairs: {written:.2} bytes written for each");
    }
}
