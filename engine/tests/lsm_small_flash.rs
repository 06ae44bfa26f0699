//! An LSM tree whose memtable is places in the log, on a mebibyte of NOR flash and less, with 16 KiB lent: what a put, an open and the manifest cost,
//! counted, and that room in half-empty tables comes back.

use std::collections::{BTreeMap, BTreeSet};

use esker::device::{BlockDevice, Counted, Counts, Geometry, Ram, RamError};
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Error, Store};
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;

#[path = "common/scan.rs"]
mod scan;

type Tree = Lsm<Vec<u8>, Vec<Frame>, Places>;
type Vol = Volume<Counted<Nor>, Vec<u8>, 1>;
type Kv = Store<Tree, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const UNIT: u32 = 4096;
/// Bytes of a table.
const BLOCK: u32 = 16 << 10;
const SEGMENT: u32 = 8 << 10;
/// All memory that is lent: to the volume, the log, and the tree with its frames.
const LENT: usize = 16 << 10;

/// Flash that is programmed once between erases, and knows what goes into the manifest: the rest of a block is of the kind of its first bytes.
#[derive(Clone)]
struct Nor {
    ram: Ram<Vec<u8>>,
    /// Where the blocks begin.
    blocks: u64,
    manifests: BTreeSet<u64>,
    manifest_bytes: u64,
    /// Bytes of states and edits, of which the first part of a block is always a state.
    parts: u64,
}

impl Nor {
    fn new(capacity: usize) -> Self {
        let ram = Ram::new(vec![0xFF; capacity], Geometry::flash(0, 4, UNIT));
        Self { ram, blocks: u64::MAX, manifests: BTreeSet::new(), manifest_bytes: 0, parts: 0 }
    }
}

impl BlockDevice for Nor {
    type Error = RamError;
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), RamError> {
        self.ram.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        let old = &self.ram.bytes()[address as usize..][..data.len()];
        assert!(old.iter().all(|byte| *byte == 0xFF), "programmed twice at {address}");
        if let Some(place) = address.checked_sub(self.blocks) {
            let block = place / u64::from(BLOCK);
            if place % u64::from(BLOCK) == 0 {
                // A unit of free blocks has its magic there; a page of pairs has a generation, and level 0.
                let is_manifest = &data[4..6] != b"FB" && data[6..9] != [0; 3];
                self.manifests.remove(&block);
                self.manifests.extend(is_manifest.then_some(block));
            }
            if self.manifests.contains(&block) {
                self.manifest_bytes += data.len() as u64;
                self.parts += 1;
            }
        }
        self.ram.write(address, data)
    }
    fn erase(&mut self, range: std::ops::Range<u64>) -> Result<(), RamError> {
        self.ram.erase(range)
    }
    fn sync(&mut self) -> Result<(), RamError> {
        Ok(())
    }
}

/// What is left of the lent memory beside the volume's and the log's.
fn tree(volume: &Vol) -> Tree {
    let (needed, frames) = Tree::memory_needed_with_places(&volume.info());
    let beside = volume_bytes(volume.info().geometry) + log_bytes(volume.info().geometry);
    let pages = LENT - beside - frames * size_of::<Frame>();
    assert!(pages >= needed, "{needed} bytes are needed, and {pages} left");
    let options = Options { shape: Shape::Sweep, ..Options::default() };
    Lsm::with_places(vec![0; pages], vec![Frame::default(); frames], options)
}

fn format(capacity: u64) -> FormatOptions {
    FormatOptions {
        volume_id: 1,
        segment_size: SEGMENT,
        block_size: BLOCK,
        pool_size: capacity * 22 / 100,
        ..FormatOptions::default()
    }
}

fn volume_bytes(geometry: Geometry) -> usize {
    Vol::memory_needed(&geometry, &format(geometry.capacity))
}

fn log_bytes(geometry: Geometry) -> usize {
    Log::<Vec<u8>, 16>::memory_needed(&geometry)
}

fn made(capacity: usize) -> (Vol, Kv) {
    let device = Counted::new(Nor::new(capacity));
    let geometry = device.geometry();
    let memory = vec![0; volume_bytes(geometry)];
    let mut volume = Vol::format(device, memory, &format(geometry.capacity)).unwrap();
    volume.device_mut().get_mut().blocks = volume.info().block_address;
    let index = tree(&volume);
    let store = Store::create(&mut volume, 0, index, vec![0; log_bytes(geometry)]).unwrap();
    (volume, store)
}

/// The store on a device as it is found.
fn opened(device: Counted<Nor>) -> (Vol, Kv) {
    let geometry = device.geometry();
    let mut volume = Vol::open(device, vec![0; volume_bytes(geometry)]).unwrap();
    let index = tree(&volume);
    let store = Store::open(&mut volume, index, vec![0; log_bytes(geometry)]).unwrap();
    (volume, store)
}

fn counts(volume: &mut Vol) -> Counts {
    let counts = volume.device().counts();
    volume.device_mut().reset();
    counts
}

/// Of 16 bytes, in no order.
fn key(n: u32) -> Vec<u8> {
    let mixed = u64::from(n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [mixed.to_be_bytes(), u64::from(n).to_be_bytes()].concat()
}

fn value(n: u32, version: u32) -> Vec<u8> {
    format!("{n:016}{version:016}").into_bytes()
}

fn put(volume: &mut Vol, store: &mut Kv, map: &mut Map, n: u32, version: u32) {
    let (key, value) = (key(n), value(n, version));
    store.put(volume, &key, &value).unwrap();
    store.commit(volume).unwrap();
    map.insert(key, value);
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % u64::from(bound)) as u32
    }
}

/// Gets all, and scans both ways.
fn check(volume: &mut Vol, store: &mut Kv, map: &Map) {
    let mut out = [0; 64];
    for (key, value) in map {
        let found = store.get(volume, key, &mut out).unwrap().expect("it is there");
        assert_eq!(&out[..found.len], &value[..]);
        // Right behind it there is nothing.
        assert!(store.get(volume, &[&key[..], b"!"].concat(), &mut out).unwrap().is_none());
    }
    scan::check(volume, store, map);
}

/// What overwrites have cost, each of them committed.
struct Cost {
    /// Bytes written for a byte of key or value.
    amplification: f64,
    /// How many have erased more than one unit, or read more than 5 KiB.
    slow: u32,
    /// What one has erased and read at most.
    erased: u64,
    read: u64,
}

fn overwritten(volume: &mut Vol, store: &mut Kv, map: &mut Map, pairs: u32, times: u32) -> Cost {
    let (mut random, mut written) = (Random(0x5EED), 0);
    let mut cost = Cost { amplification: 0.0, slow: 0, erased: 0, read: 0 };
    counts(volume);
    for version in 1..=times {
        put(volume, store, map, random.below(pairs), version);
        let spent = counts(volume);
        let is_slow = spent.erased_bytes > u64::from(UNIT) || spent.read_bytes > 5 << 10;
        cost.slow += u32::from(is_slow);
        cost.erased = spent.erased_bytes.max(cost.erased);
        cost.read = spent.read_bytes.max(cost.read);
        written += spent.written_bytes;
    }
    cost.amplification = written as f64 / f64::from(times * 48);
    println!(
        "{pairs} pairs: {:.3} bytes for a byte, {} slow puts, of which one erased {} bytes and read {} at most",
        cost.amplification, cost.slow, cost.erased, cost.read
    );
    cost
}

fn loaded(pairs: u32) -> (Vol, Kv, Map) {
    let ((mut volume, mut store), mut map) = (made(1 << 20), Map::new());
    for n in 0..pairs {
        put(&mut volume, &mut store, &mut map, n, 0);
    }
    (volume, store, map)
}

#[test]
fn overwrites_write_little_and_an_open_reads_the_log() {
    let (mut volume, mut store, mut map) = loaded(2000);
    let cost = overwritten(&mut volume, &mut store, &mut map, 2000, 10_000);
    assert!(cost.amplification <= 2.5, "{} bytes were written for a byte", cost.amplification);
    few_are_slow(&cost);
    check(&mut volume, &mut store, &map);

    // Without a close: what the tables don't have comes out of the log.
    drop(store);
    counts(&mut volume);
    let (mut volume, mut store) = opened(volume.into_device());
    let (spent, info) = (counts(&mut volume), volume.info());
    let pool = u64::from(info.segments) * u64::from(info.segment_size);
    println!("an open reads {} bytes of {pool} in the pool", spent.read_bytes);
    // An entry that is like another one in the memtable, as far as its word there says, has that one read, too.
    assert!(spent.read_bytes <= pool + (56 << 10), "an open has read {} bytes", spent.read_bytes);
    assert_eq!((spent.written_bytes, spent.erases), (0, 0), "an open writes nothing");
    check(&mut volume, &mut store, &map);

    store.close(&mut volume).unwrap();
    let (mut volume, mut store) = opened(volume.into_device());
    check(&mut volume, &mut store, &map);
    let mut bits = vec![0; Kv::bitmap_needed(&volume)];
    store.verify(&mut volume, Some(&mut bits), &mut |damage| panic!("{damage:?}")).unwrap();
}

/// Half of the device is live: the sweep goes on a little with each.
#[test]
fn few_overwrites_wait_for_a_merge() {
    let (mut volume, mut store, mut map) = loaded(10_000);
    let cost = overwritten(&mut volume, &mut store, &mut map, 10_000, 10_000);
    few_are_slow(&cost);
    assert!(cost.amplification <= 6.0, "{} bytes were written for a byte", cost.amplification);
    check(&mut volume, &mut store, &map);
}

/// Merges are paid for a little with each put. Where that was too little, one of four hundred waits for two tables.
fn few_are_slow(cost: &Cost) {
    assert!(cost.slow <= 10_000 / 400, "{} puts were slow", cost.slow);
    let most = 3 * u64::from(BLOCK);
    assert!(cost.erased <= most, "a put has erased {} bytes", cost.erased);
    assert!(cost.read <= 4 * u64::from(BLOCK), "a put has read {} bytes", cost.read);
}

/// A state of the manifest says all tables, some 30 bytes each; what has changed since is much less. And however many changes
/// there are behind a state, an open finds the tables that they lead to.
#[test]
fn a_manifest_of_many_edits() {
    let ((mut volume, mut store), mut map) = (made(1 << 20), Map::new());
    for n in 0..6000 {
        put(&mut volume, &mut store, &mut map, n, 0);
    }
    store.checkpoint(&mut volume).unwrap();
    let (merges, device) = (store.index().merges().tables_out, volume.device_mut().get_mut());
    (device.manifest_bytes, device.parts) = (0, 0);
    let mut random = Random(77);
    for version in 1..=50 {
        // The changes of a checkpoint are in one or two tables.
        let first = random.below(6000);
        let near: Vec<_> = map.range(key(first)..).take(5).map(|(key, _)| key.clone()).collect();
        for key in near {
            let n = u32::from_be_bytes(key[12..].try_into().unwrap());
            put(&mut volume, &mut store, &mut map, n, version);
        }
        store.checkpoint(&mut volume).unwrap();
        // As after a cut right now; and what the manifest says is all there is.
        let device: Counted<Nor> = volume.device().clone();
        let (mut copy, mut found) = opened(device);
        check_some(&mut copy, &mut found, &map, version);
        let mut bits = vec![0; Kv::bitmap_needed(&copy)];
        found.verify(&mut copy, Some(&mut bits), &mut |damage| panic!("{damage:?}")).unwrap();
    }
    let tables: u64 = store.index().levels().iter().map(|level| u64::from(level.tables)).sum();
    let states = store.index().merges().tables_out - merges;
    let device = volume.device().get_ref();
    println!("{} bytes in {} parts for {states} tables of {tables}", device.manifest_bytes, device.parts);
    assert!(tables >= 15 && states >= 50);
    assert!(device.parts >= 50, "each checkpoint says something");
    assert!(device.manifest_bytes < tables * states * 4, "{} bytes", device.manifest_bytes);
    check(&mut volume, &mut store, &map);
}

/// A scan; and gets, now and then.
fn check_some(volume: &mut Vol, store: &mut Kv, map: &Map, round: u32) {
    if round.is_multiple_of(10) {
        return check(volume, store, map);
    }
    scan::check(volume, store, map);
}

/// Puts pairs until no block is left; how many.
fn fill(volume: &mut Vol, store: &mut Kv, map: &mut Map, keys: impl Iterator<Item = u32>) -> usize {
    let before = map.len();
    for n in keys {
        let (key, value) = (format!("{n:016}").into_bytes(), value(n, 1));
        match store.put(volume, &key, &value).and_then(|_| store.commit(volume)) {
            Ok(_) => drop(map.insert(key, value)),
            Err(Error::Full) => return map.len() - before,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it was never full");
}

/// Keys that descend leave tables half empty, and then each loses half of its pairs. Deleting works with no block left, and tables that are joined
/// give blocks back for most of what is put then.
#[test]
fn room_in_half_empty_tables_comes_back() {
    let ((mut volume, mut store), mut map) = (made(320 << 10), Map::new());
    let first = fill(&mut volume, &mut store, &mut map, (0..1_000_000).rev().step_by(10));
    check(&mut volume, &mut store, &map);
    let gone: Vec<_> = map.keys().step_by(2).cloned().collect();
    for key in &gone {
        assert!(store.delete(&mut volume, key).unwrap().found);
        store.commit(&mut volume).unwrap();
        map.remove(key);
    }
    check(&mut volume, &mut store, &map);
    let lowest = 1_000_000 - 10 * first as u32;
    let second = fill(&mut volume, &mut store, &mut map, (0..lowest).rev().step_by(10));
    println!("{first} pairs, {} deleted, and {second} more", gone.len());
    assert!(second * 10 >= gone.len() * 7, "room for {second} of {} came back", gone.len());
    check(&mut volume, &mut store, &map);
    drop(store);
    let (mut volume, mut store) = opened(volume.into_device());
    check(&mut volume, &mut store, &map);
}

/// Power that goes every thousand puts makes a sweep no faster: it goes on where it stood, and does once more what was not published.
#[test]
fn sessions_that_are_cut_write_as_much_as_one_long_one() {
    let (mut volume, mut store, mut map) = loaded(10_000);
    overwritten(&mut volume, &mut store, &mut map, 10_000, 8_000);
    let (mut random, mut written) = (Random(7), 0);
    for session in 0..12 {
        drop(store);
        (volume, store) = opened(volume.into_device());
        counts(&mut volume);
        for _ in 0..1000 {
            put(&mut volume, &mut store, &mut map, random.below(10_000), 100_000 + session);
        }
        written += counts(&mut volume).written_bytes;
    }
    let amplification = written as f64 / f64::from(12 * 1000 * 48);
    println!("{amplification:.3} bytes for a byte");
    // In one session it is 5.9; an open that took the sweep to be a whole log behind made it 13.4.
    assert!(amplification <= 11.0, "{amplification} bytes were written for a byte");
    check(&mut volume, &mut store, &map);
}
