//! No put of an LSM tree reads and writes more than the store says, however much is being merged.

use std::collections::BTreeMap;

use esker::device::{Counted, Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options, Shape};
use esker::store::{Batch, Store};
use esker::volume::{FormatOptions, Volume};

#[path = "common/scan.rs"]
mod scan;
use scan::check;

type Vol = Volume<Counted<Ram<Vec<u8>>>, Vec<u8>>;
type Kv = Store<Lsm<Vec<u8>, Vec<Frame>>, Vec<u8>>;
type Map = BTreeMap<[u8; 16], [u8; 24]>;

const PAIR: u64 = 16 + 24;

/// Some 1,000 pairs in the memtable, 32 pages in a table.
fn made(shape: Shape) -> (Vol, Kv) {
    let device = Counted::new(Ram::new(vec![0; 24 << 20], Geometry::blocks(0, 512)));
    let options = FormatOptions { block_size: 32 << 10, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(device, vec![0; 8192], &options).unwrap();
    let options = Options { shape, ..Options::default() };
    let tree = Lsm::new(vec![0; 128 << 10], vec![Frame::default(); 20], options);
    let store = Store::create(&mut volume, 0, tree, vec![0; 4096]).unwrap();
    (volume, store)
}

fn pair(n: u32, version: u32) -> ([u8; 16], [u8; 24]) {
    let (mut key, mut value) = (*b"................", [7; 24]);
    key[..8].copy_from_slice(&(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes());
    value[..4].copy_from_slice(&version.to_le_bytes());
    (key, value)
}

/// Puts one by one, in no order. Bytes that one of them has moved at most, and of those that the store said.
fn put(volume: &mut Vol, store: &mut Kv, map: &mut Map, count: u32, version: u32) -> (u64, u64) {
    let mut worst = (0, 0);
    for n in 0..count {
        let (key, value) = pair(n.wrapping_mul(0x2545_F491) % count, version);
        let (before, said) = (volume.device().counts(), store.most_moved(volume));
        store.put(volume, &key, &value).unwrap();
        let cost = volume.device().counts() - before;
        let moved = cost.read_bytes + cost.written_bytes;
        // With one more run, it may be more afterwards.
        let said = said.max(store.most_moved(volume));
        assert!(moved <= said + PAIR, "put {n} moved {moved} bytes of {said}");
        worst = worst.max((moved, said));
        map.insert(key, value);
    }
    worst
}

const SHAPES: [Shape; 4] = [
    Shape::Levels { levels: 0, runs: 4, last: 1, ratio: 8 },
    Shape::Levels { levels: 3, runs: 1, last: 1, ratio: 4 },
    Shape::Levels { levels: 2, runs: 6, last: 2, ratio: 2 },
    Shape::Sweep,
];

#[test]
fn no_put_moves_more_than_the_store_says() {
    for shape in SHAPES {
        let ((mut volume, mut store), mut map) = (made(shape), Map::new());
        // Of a sweep, each change pays for as many pairs as there are more than in the memtable.
        let pairs = if shape == Shape::Sweep { 10_000 } else { 40_000 };
        for version in 0..3 {
            let (moved, said) = put(&mut volume, &mut store, &mut map, pairs, version);
            println!("{shape:?}: {moved} bytes of {said}");
            // A sweep of so much more than the memtable holds is late now and then, by a table.
            let most = if shape == Shape::Sweep { 4 } else { 0 };
            assert!(store.waits() <= most, "{shape:?}: {} waits", store.waits());
        }
        check(&mut volume, &mut store, &map);
    }
}

/// Batches bring more than merges are paid for at once: the memtable is written before a merge is done, and that goes on afterwards.
#[test]
fn batches_may_come_faster_than_merges() {
    for shape in SHAPES {
        let ((mut volume, mut store), mut map) = (made(shape), Map::new());
        let mut batch = Batch::new(vec![0; 32 << 10]);
        for n in 0..240 {
            batch.clear();
            for at in 0..300_u32 {
                let (key, value) = pair((n * 300 + at).wrapping_mul(0x2545_F491) % 60_000, n);
                batch.put(&key, &value).unwrap();
                map.insert(key, value);
            }
            store.write(&mut volume, &batch).unwrap();
            if n % 40 == 39 {
                check(&mut volume, &mut store, &map);
            }
        }
        let verified = store.verify(&mut volume, None, &mut |damage| panic!("{damage:?}")).unwrap();
        assert_eq!(verified.damages, 0);
    }
}

/// Where a table takes several erases, and a put does one at most, the log would be full before much is merged, with long values in it,
/// which take little of the memtable. So the memtable is written first then, too. And of the puts that wait in the log's buffer for what
/// must be erased, each pays.
#[test]
fn merges_wait_for_the_log_as_well() {
    let device = Counted::new(Ram::new(vec![0; 4 << 20], Geometry::flash(0, 4, 512)));
    let options = FormatOptions {
        segment_size: 8192,
        pool_size: 128 << 10,
        block_size: 4096,
        ..FormatOptions::default()
    };
    let mut volume = Volume::<_, _>::format(device, vec![0; 1024], &options).unwrap();
    let (bytes, frames) = Lsm::<Vec<u8>, Vec<Frame>>::memory_needed(&volume.info().geometry, 4096);
    let shape = Shape::Levels { levels: 2, runs: 3, last: 2, ratio: 2 };
    let options = Options { shape, ..Options::default() };
    let tree = Lsm::new(vec![0; bytes + (120 << 10)], vec![Frame::default(); frames], options);
    let mut store: Kv = Store::create(&mut volume, 0, tree, vec![0; 1024]).unwrap();
    let mut map = BTreeMap::new();
    for n in 0..12_000_u32 {
        let number = n.wrapping_mul(0x9E37_79B1) >> 8;
        let (key, _) = pair(number % 4_000, 0);
        let len = if number.is_multiple_of(16) { 600 + number % 1200 } else { number % 40 };
        let value = vec![n as u8; len as usize];
        store.put(&mut volume, &key, &value).unwrap();
        map.insert(key, value);
        assert_eq!(store.waits(), 0, "put {n}");
    }
    check(&mut volume, &mut store, &map);
}
