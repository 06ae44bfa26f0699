//! The store on a B-tree against `BTreeMap`: small and quick; the checkers in `tests` go further.

use std::collections::BTreeMap;
use std::ops::Bound;

use esker::btree::{BTree, Frame};
use esker::device::{Counted, Geometry, Ram};
use esker::store::{Batch, Error, Store};
use esker::volume::{FormatOptions, Volume};

type Tree = BTree<Vec<u8>, Vec<Frame>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn tree(page: usize, frames: usize) -> Tree {
    BTree::new(vec![0; page * (frames + 1)], vec![Frame::default(); frames])
}

fn value(rng: &mut Rng, page: usize) -> Vec<u8> {
    let len = match rng.below(20) {
        0 => rng.below(3 * page as u64),
        1..=4 => rng.below(page as u64 / 3),
        _ => rng.below(24),
    };
    let fill = rng.next() as u8;
    (0..len).map(|at| fill ^ at as u8).collect()
}

fn check<const N: usize>(
    volume: &mut Volume<&mut Ram<Vec<u8>>, Vec<u8>, N>,
    store: &mut Store<Tree, Vec<u8>>,
    map: &Map,
    what: &str,
) {
    let mut bitmap = vec![0; Store::<Tree, Vec<u8>>::bitmap_needed(volume)];
    let found = store.verify(volume, Some(&mut bitmap), &mut |damage| panic!("{what}: {damage:?}")).unwrap();
    assert_eq!(found.pairs, map.len() as u64, "{what}");
    assert_eq!(found.sparse, 0, "{what}");
    let mut cursor = store.cursor(vec![0; store.max_key()]);
    let mut out = vec![0; 1 << 16];
    let mut forward = Vec::new();
    while let Some(len) = store.next(volume, &mut cursor, &mut out).unwrap() {
        forward.push((cursor.key().to_vec(), out[..len].to_vec()));
    }
    assert!(forward.iter().map(|(k, v)| (k, v)).eq(map.iter()), "{what}: forward");
    store.seek(&mut cursor, Bound::Unbounded).unwrap();
    let mut backward = Vec::new();
    while let Some(len) = store.previous(volume, &mut cursor, &mut out).unwrap() {
        backward.push((cursor.key().to_vec(), out[..len].to_vec()));
    }
    assert!(backward.iter().map(|(k, v)| (k, v)).eq(map.iter().rev()), "{what}: backward");
}

fn run(page: usize, frames: usize, flash: bool, ops: u64, seed: u64) {
    let mut rng = Rng(seed | 1);
    let geometry = if flash { Geometry::flash(0, 4, page as u32) } else { Geometry::blocks(0, 512) };
    let mut ram = Ram::new(vec![0xFF; page * 3000], geometry);
    let options = FormatOptions { block_size: page as u32, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(&mut ram, vec![0; 8192], &options).unwrap();
    let mut store = Store::<Tree, _>::create(&mut volume, 0, tree(page, frames), vec![0; 4096]).unwrap();
    let mut map = Map::new();
    let max_key = store.max_key() as u64;
    let mut out = vec![0; 1 << 16];
    let mut growing = true;
    for op in 0..ops {
        if op % 4000 == 3999 {
            growing = !growing;
        }
        let kind = rng.below(100);
        let key: Vec<u8> = match rng.below(10) {
            0 => (0..1 + rng.below(max_key)).map(|_| rng.next() as u8).collect(),
            1..=4 => format!("{:06}", rng.below(2000)).into_bytes(),
            5 => format!("z{op:08}").into_bytes(),
            _ => rng.below(3000).to_be_bytes().to_vec(),
        };
        let what = format!("page {page} frames {frames} seed {seed} op {op}");
        match kind {
            0..50 if growing || kind < 20 => {
                let new = value(&mut rng, page);
                match store.put(&mut volume, &key, &new) {
                    Ok(effect) => {
                        assert_eq!(effect.found, map.insert(key, new).is_some(), "{what}");
                    }
                    Err(Error::Full) => growing = false,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            0..70 => {
                let key = match rng.below(2) {
                    0 => map.range(key.clone()..).next().map(|(key, _)| key.clone()).unwrap_or(key),
                    _ => key,
                };
                let effect = store.delete(&mut volume, &key).unwrap();
                assert_eq!(effect.found, map.remove(&key).is_some(), "{what}");
            }
            70..90 => {
                let found = store.get(&mut volume, &key, &mut out).unwrap().map(|found| &out[..found.len]);
                assert_eq!(found, map.get(&key).map(|value| &value[..]), "{what}");
            }
            90..93 => {
                let mut batch = Batch::new(vec![0; 3 * page]);
                let mut next = map.clone();
                for _ in 0..rng.below(10) {
                    let key = rng.below(3000).to_be_bytes().to_vec();
                    let new = value(&mut rng, page);
                    if rng.below(4) == 0 {
                        if batch.delete(&key).is_ok() {
                            next.remove(&key);
                        }
                    } else if batch.put(&key, &new).is_ok() {
                        next.insert(key, new);
                    }
                }
                match store.write(&mut volume, &batch) {
                    Ok(()) => map = next,
                    Err(Error::Full) => growing = false,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            93..98 => store.commit(&mut volume).unwrap(),
            98 => {
                if rng.below(4) == 0 {
                    store.checkpoint(&mut volume).unwrap();
                } else {
                    store.checkpoint_step(&mut volume).unwrap();
                }
            }
            _ => {
                if rng.below(4) == 0 {
                    check(&mut volume, &mut store, &map, &what);
                }
                store = if rng.below(2) == 0 {
                    store.commit(&mut volume).unwrap();
                    drop(store);
                    Store::open(&mut volume, tree(page, frames), vec![0; 4096]).unwrap()
                } else {
                    store.close(&mut volume).unwrap();
                    Store::open(&mut volume, tree(page, frames), vec![0; 4096]).unwrap()
                };
            }
        }
    }
    check(&mut volume, &mut store, &map, "at the end");
    let info = store.info(&mut volume).unwrap();
    println!("page {page} frames {frames}: {} pairs, depth {}, {:?}", map.len(), info.index.depth, info.pool);
}

#[test]
fn does_what_a_map_does() {
    for (page, frames) in [(512, 1000), (512, 30), (512, 9), (4096, 300), (4096, 8), (16384, 40)] {
        run(page, frames, false, 4_000, 7 + page as u64);
    }
    run(4096, 20, true, 4_000, 99);
}

/// Share of the leaves' bytes that pairs of 24 + 150 bytes take, their slots and lengths included, after puts in this order.
fn fill(keys: impl Iterator<Item = u64>) -> f64 {
    let mut ram = Ram::new(vec![0; 4096 * 4000], Geometry::blocks(0, 512));
    let options = FormatOptions { block_size: 4096, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(&mut ram, vec![0; 8192], &options).unwrap();
    let mut store = Store::<Tree, _>::create(&mut volume, 0, tree(4096, 2000), vec![0; 4096]).unwrap();
    for key in keys {
        store.put(&mut volume, format!("{key:024}").as_bytes(), &[7; 150]).unwrap();
    }
    let info = store.info(&mut volume).unwrap().index;
    info.pairs as f64 * f64::from(24 + 150 + 5) / (f64::from(info.leaves) * 4080.0)
}

/// Of 22.8 pairs that a leaf would hold 22 find room: more than .965 can't be.
#[test]
fn leaves_are_full() {
    let mut rng = Rng(3);
    let random: Vec<u64> = (0..20_000).map(|_| rng.next()).collect();
    for (order, found, least) in [
        ("ascending", fill(0..20_000), 0.96),
        ("descending", fill((0..20_000).rev()), 0.7),
        ("random", fill(random.iter().copied()), 0.85),
        ("four ascending", fill((0..20_000).map(|n| (n % 4) << 32 | n)), 0.7),
    ] {
        println!("{order}: {found:.3}");
        assert!(found >= least, "{order}: {found:.3} of the leaves is filled");
    }
}

/// A checkpoint begins late, so that most pages are written once; and pages that changed together stand together, so that many
/// go with one call.
#[test]
fn pages_are_written_late_and_many_at_once() {
    let ram = Counted::new(Ram::new(vec![0; 4096 * 8000], Geometry::blocks(0, 512)));
    let options = FormatOptions { block_size: 4096, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(ram, vec![0; 8192], &options).unwrap();
    let mut store = Store::<Tree, _>::create(&mut volume, 0, tree(4096, 2000), vec![0; 1 << 16]).unwrap();
    let mut rng = Rng(5);
    let full = loop {
        store.put(&mut volume, format!("{:024}", rng.next()).as_bytes(), &[7; 150]).unwrap();
        let info = store.info(&mut volume).unwrap();
        if info.pool.written != 0 {
            break f64::from(info.log.segments) / f64::from(volume.info().segments);
        }
    };
    store.commit(&mut volume).unwrap();
    let before = store.info(&mut volume).unwrap().pool.written;
    volume.device_mut().reset();
    store.checkpoint(&mut volume).unwrap();
    let pages = store.info(&mut volume).unwrap().pool.written - before;
    let writes = volume.device().counts().writes;
    println!("begun with {full:.2} of the log in use; {pages} pages in {writes} writes");
    assert!(full > 0.8, "{full:.2} of the log was in use");
    assert!(pages > 500 && writes * 16 < pages, "{pages} pages in {writes} writes");
}

/// A publish may release a hundred segments of the log. They are given back by the changes that follow.
#[test]
fn a_put_reads_little_however_much_of_the_log_it_releases() {
    let ram = Counted::new(Ram::new(vec![0; 8 << 20], Geometry::blocks(0, 512)));
    let options = FormatOptions {
        block_size: 4096,
        segment_size: 4096,
        pool_size: 128 * 4096,
        ..FormatOptions::default()
    };
    let mut volume = Volume::<_, _>::format(ram, vec![0; 8192], &options).unwrap();
    let mut store = Store::<Tree, _>::create(&mut volume, 0, tree(4096, 400), vec![0; 8192]).unwrap();
    let (mut rng, mut most, mut released, mut held) = (Rng(9), 0, 0, 0);
    for _ in 0..20_000 {
        volume.device_mut().reset();
        store.put(&mut volume, &(rng.next() % 3000).to_be_bytes(), &[7; 60]).unwrap();
        let (reads, info) = (volume.device().counts().reads, store.info(&mut volume).unwrap());
        most = most.max(reads.saturating_sub(2 * u64::from(info.index.depth)));
        released += u32::from(info.log.segments < held);
        held = info.log.segments;
    }
    println!("at most {most} reads beside two for each level; {released} puts gave segments back");
    assert!(most <= 8, "a put has read {most} times beside twice the way");
    assert!(released > 200, "{released} puts gave segments back");
    // Who asks for a checkpoint has all of them at once, and where nothing else is left to do, too: another log may wait for them.
    while !store.checkpoint_step(&mut volume).unwrap() {}
    assert!(volume.info().free_segments < 127);
    for n in 0..2_u64 {
        store.checkpoint(&mut volume).unwrap();
        let held = store.info(&mut volume).unwrap().log.segments;
        assert_eq!((held, volume.info().free_segments), (1, 127));
        store.put(&mut volume, &n.to_be_bytes(), b"new").unwrap();
    }
}
