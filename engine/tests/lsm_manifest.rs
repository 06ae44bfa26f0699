//! An LSM tree with more tables than one block has room to list: its manifest is a chain of blocks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use esker::device::{BlockDevice, Counted, Geometry, Ram, RamError};
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Error, Index, Store};
use esker::volume::{FormatOptions, Volume};

type Levels = Lsm<Vec<u8>, Vec<Frame>>;
type Sweep = Lsm<Vec<u8>, Vec<Frame>, Places>;
type Vol = Volume<Counted<Tapped>, Vec<u8>>;
type Kv<I> = Store<I, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Bytes of a table, and of what is erased at once.
const BLOCK: u32 = 4096;
const BLOCKS: u64 = 260;
/// Of which a block can't list as many.
const TABLES: u32 = 180;
/// Bytes for the log.
const POOL: u64 = 288 << 10;
const DISK: Geometry = Geometry::blocks(BLOCKS * BLOCK as u64 + POOL, 512);
const NOR: Geometry = Geometry::flash(BLOCKS * BLOCK as u64 + POOL, 4, BLOCK);

/// A device that notes where it is read; flash is programmed once between erases.
struct Tapped {
    ram: Ram<Vec<u8>>,
    reads: Rc<RefCell<BTreeSet<u64>>>,
}

impl BlockDevice for Tapped {
    type Error = RamError;
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), RamError> {
        self.reads.borrow_mut().extend((address..address + buffer.len() as u64).step_by(4));
        self.ram.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        let old = &self.ram.bytes()[address as usize..][..data.len()];
        let is_blank = old.iter().all(|byte| *byte == 0xFF);
        assert!(self.geometry().erase_unit == 0 || is_blank, "programmed twice at {address}");
        self.ram.write(address, data)
    }
    fn erase(&mut self, range: Range<u64>) -> Result<(), RamError> {
        self.ram.erase(range)
    }
    fn sync(&mut self) -> Result<(), RamError> {
        Ok(())
    }
}

fn levels() -> Levels {
    levels_in(64 << 10)
}

/// With memory for a list of some two hundred tables, and not for one of each block.
fn short_of_memory() -> Levels {
    levels_in(28 << 10)
}

fn levels_in(bytes: usize) -> Levels {
    let shape = Shape::Levels { levels: 2, runs: 3, last: 2, ratio: 2 };
    Lsm::new(vec![0; bytes], vec![Frame::default(); 12], Options { shape, ..Options::default() })
}

fn sweep() -> Sweep {
    let options = Options { shape: Shape::Sweep, ..Options::default() };
    Lsm::with_places(vec![0; 64 << 10], vec![Frame::default(); 12], options)
}

fn device(image: Vec<u8>, geometry: Geometry) -> Counted<Tapped> {
    Counted::new(Tapped { ram: Ram::new(image, geometry), reads: Rc::default() })
}

fn opened<I: Index>(
    image: Vec<u8>,
    geometry: Geometry,
    tree: fn() -> I,
) -> Result<(Vol, Kv<I>), Error<RamError>> {
    let mut volume: Vol = Volume::open(device(image, geometry), vec![0; 16 << 10])?;
    let store = Store::open(&mut volume, tree(), vec![0; 16 << 10])?;
    Ok((volume, store))
}

fn image(volume: Vol) -> Vec<u8> {
    volume.into_device().into_inner().ram.into_inner()
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:06}").into_bytes()
}

/// A store of so many tables, and what it holds.
fn loaded<I: Index>(geometry: Geometry, tree: fn() -> I) -> (Vol, Kv<I>, Map) {
    let options = FormatOptions {
        volume_id: 7,
        segment_size: 4096,
        block_size: BLOCK,
        pool_size: 256 << 10,
        ..FormatOptions::default()
    };
    let blank = vec![0xFF; geometry.capacity as usize];
    let mut volume: Vol = Volume::format(device(blank, geometry), vec![0; 16 << 10], &options).unwrap();
    let mut store: Kv<I> = Store::create(&mut volume, 0, tree(), vec![0; 16 << 10]).unwrap();
    let mut map = Map::new();
    let mut load = store.bulk_load(&mut volume).unwrap();
    // Two in each of six pages of pairs.
    for n in 0..TABLES * 12 {
        let value = vec![n as u8; 215];
        load.push(&mut volume, &key(n * 10), &value).unwrap();
        map.insert(key(n * 10), value);
    }
    load.finish(&mut volume).unwrap();
    assert!(tables_of(&mut volume, &store) >= TABLES);
    (volume, store, map)
}

fn tables_of<I: Index>(volume: &mut Vol, store: &Kv<I>) -> u32 {
    store.info(volume).unwrap().index.leaves
}

/// All pairs are there, and each block is used once or free.
fn check<I: Index>(volume: &mut Vol, store: &mut Kv<I>, map: &Map) {
    let mut cursor = store.cursor(vec![0; store.max_key()]);
    let (mut found, mut out) = (Map::new(), vec![0; 512]);
    while let Some(len) = store.next(volume, &mut cursor, &mut out).unwrap() {
        found.insert(cursor.key().to_vec(), out[..len].to_vec());
    }
    assert!(found == *map);
    let mut bits = vec![0; Kv::<I>::bitmap_needed(volume)];
    store.verify(volume, Some(&mut bits), &mut |damage| panic!("{damage:?}")).unwrap();
}

/// The blocks that an open reads: those of the manifest.
fn manifest_blocks(image: &[u8], geometry: Geometry) -> Vec<u64> {
    let (volume, store) = opened(image.to_vec(), geometry, levels).unwrap();
    drop(store);
    let start = volume.info().block_address;
    let reads = volume.device().get_ref().reads.borrow().clone();
    let blocks: BTreeSet<u64> = reads.range(start..).map(|at| (at - start) / u64::from(BLOCK)).collect();
    blocks.into_iter().map(|block| start + block * u64::from(BLOCK)).collect()
}

#[test]
fn each_block_of_a_manifest_is_proved() {
    for geometry in [DISK, NOR] {
        let (mut volume, mut store, map) = loaded(geometry, levels);
        store.delete(&mut volume, &key(10)).unwrap();
        store.checkpoint(&mut volume).unwrap();
        store.close(&mut volume).unwrap();
        let image = image(volume);
        let blocks = manifest_blocks(&image, geometry);
        assert!(blocks.len() >= 2, "{} blocks", blocks.len());
        let whole = opened(image.clone(), geometry, levels).unwrap();
        let reads = whole.0.device().get_ref().reads.borrow().clone();
        for block in blocks {
            // Here and there where an open reads, and in links.
            let read: Vec<u64> = reads.range(block..block + u64::from(BLOCK)).copied().collect();
            let end = read.len().saturating_sub(4);
            for place in read[..end].iter().step_by(83).chain(&read[end..]) {
                let mut image = image.clone();
                image[*place as usize] ^= 4;
                match opened(image, geometry, levels) {
                    Err(Error::Corrupt { address }) => {
                        assert_eq!(address % u64::from(BLOCK), block % u64::from(BLOCK));
                    }
                    Err(error) => panic!("{error:?}"),
                    // What fills a part up is in no checksum.
                    Ok((mut volume, mut store)) => {
                        let mut map = map.clone();
                        map.remove(&key(10));
                        check(&mut volume, &mut store, &map);
                    }
                }
            }
            // As if it had never been written.
            let mut image = image.clone();
            image[block as usize..][..BLOCK as usize].fill(0xFF);
            assert!(matches!(opened(image, geometry, levels), Err(Error::Corrupt { .. })));
        }
    }
}

#[test]
fn a_full_device_with_a_long_manifest_takes_deletes() {
    let (refused, tables) = deletes_go_on(levels);
    assert_eq!(refused, Error::Full);
    assert!(tables > TABLES + 20, "{tables} tables");
}

#[test]
fn a_tree_without_memory_for_more_tables_refuses_puts_alone() {
    let (refused, tables) = deletes_go_on(short_of_memory);
    assert!(tables > TABLES, "{tables} tables");
    assert!(matches!(refused, Error::MemoryTooSmall { .. }), "{refused:?}");
}

/// Puts until that is refused, then deletes, and has all of the rest; returns what the refusal was, and the tables by then.
fn deletes_go_on(tree: fn() -> Levels) -> (Error<RamError>, u32) {
    let (mut volume, mut store, mut map) = loaded(DISK, tree);
    let mut n = 0;
    let refused = loop {
        let (key, value) = (key(n * 7 + 3), vec![n as u8; 200]);
        match store.put(&mut volume, &key, &value) {
            Ok(_) => map.insert(key, value),
            Err(error) => break error,
        };
        n += 1;
    };
    let tables = tables_of(&mut volume, &store);
    store.checkpoint(&mut volume).unwrap();
    check(&mut volume, &mut store, &map);
    let keys: Vec<_> = map.keys().step_by(7).cloned().collect();
    for (n, key) in keys.iter().enumerate() {
        store.delete(&mut volume, key).unwrap();
        map.remove(key);
        if n % 50 == 49 {
            store.checkpoint(&mut volume).unwrap();
        }
    }
    store.compact(&mut volume).unwrap();
    check(&mut volume, &mut store, &map);
    drop(store);
    let (mut volume, mut store) = opened(image(volume), DISK, tree).unwrap();
    check(&mut volume, &mut store, &map);
    store.put(&mut volume, b"room again", b"yes").unwrap();
    (refused, tables)
}

/// A put pays for one erase at most, however many blocks a manifest takes; and what it takes is given back, over and over.
#[test]
fn a_long_manifest_is_written_in_steps() {
    let (volume, store, mut map) = loaded(NOR, sweep);
    drop(store);
    let mut image = image(volume);
    for session in 0..3_u32 {
        let (mut volume, mut store) = opened(image, NOR, sweep).unwrap();
        let blocks = volume.info().blocks;
        for n in 0..700 {
            volume.device_mut().reset();
            let (key, value) = (key((n * 619 + session * 77) % (TABLES * 12) * 10), vec![n as u8; 60]);
            store.put(&mut volume, &key, &value).unwrap();
            let counts = volume.device().counts();
            assert!(counts.erases <= 1, "put {n} of session {session}: {counts:?}");
            map.insert(key, value);
        }
        store.commit(&mut volume).unwrap();
        check(&mut volume, &mut store, &map);
        assert!(store.info(&mut volume).unwrap().blocks == blocks);
        // The power goes.
        drop(store);
        image = self::image(volume);
    }
}
