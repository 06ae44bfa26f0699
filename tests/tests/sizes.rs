//! Memory does not grow with the device: a store on a terabyte, and one on a megabyte of flash with a little memory.

use std::collections::BTreeMap;

use esker::btree::{BTree, Frame, Needed};
use esker::device::BlockDevice;
use esker::store::Store;
use esker::volume::{FormatOptions, Volume};
use esker_sim::{Sim, Sparse};

type Vol<D> = Volume<D, Vec<u8>, 4>;
type Tree = BTree<Vec<u8>, Vec<Frame>>;
type TestStore = Store<Tree, Vec<u8>>;

fn key(number: u64) -> [u8; 24] {
    let mut key = [b'-'; 24];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn value(number: u64) -> [u8; 60] {
    let mut value = [0; 60];
    for (at, byte) in value.iter_mut().enumerate() {
        *byte = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (at % 8 * 8)) as u8;
    }
    value
}

/// Memory for volume, pages and frames, and the log: all that is lent but the buffers of single calls.
struct Lent {
    volume: usize,
    pages: usize,
    frames: usize,
    log: usize,
}

impl Lent {
    fn total(&self) -> usize {
        self.volume + self.pages + self.frames * size_of::<Frame>() + self.log
    }

    fn tree(&self) -> Tree {
        BTree::new(vec![0; self.pages], vec![Frame::default(); self.frames])
    }
}

fn check(store: &mut TestStore, volume: &mut Vol<impl BlockDevice>, pairs: &BTreeMap<u64, u64>, step: usize) {
    let mut out = [0; 64];
    for (number, of) in pairs.iter().step_by(step) {
        let found = store.get(volume, &key(*number), &mut out).ok().flatten().expect("it was stored");
        assert_eq!(out[..found.len], value(*of));
    }
    assert!(matches!(store.get(volume, b"absent", &mut out), Ok(None)));
}

#[test]
fn a_terabyte_opens_loads_and_reopens_with_64_mib_lent() {
    const MIB: usize = 1 << 20;
    let options = FormatOptions { block_size: 4096, volume_id: 1, ..FormatOptions::default() };
    let device = Sparse::blocks(1 << 40, 4096);
    let memory = Vol::<Sparse>::memory_needed(&device.geometry(), &options);
    let lent = Lent { volume: memory, pages: 56 * MIB, frames: 56 * MIB / 4096 - 1, log: MIB };
    assert!(lent.total() <= 64 * MIB, "{} bytes", lent.total());

    let mut volume = Vol::format(device, vec![0; lent.volume], &options).unwrap();
    assert!(volume.info().blocks > 200_000_000, "{:?}", volume.info());
    let mut store = TestStore::create(&mut volume, 0, lent.tree(), vec![0; lent.log]).unwrap();
    let mut pairs = BTreeMap::new();
    let mut load = store.bulk_load(&mut volume).unwrap();
    for number in 0..80_000 {
        load.push(&mut volume, &key(number * 2), &value(number)).unwrap();
        pairs.insert(number * 2, number);
    }
    load.finish(&mut volume).unwrap();
    for number in 0..20_000_u64 {
        let at = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 160_000) | 1;
        store.put(&mut volume, &key(at), &value(number)).unwrap();
        pairs.insert(at, number);
        if number % 1000 == 999 {
            store.commit(&mut volume).unwrap();
        }
    }
    check(&mut store, &mut volume, &pairs, 97);
    // Once as a cut leaves it, and once closed.
    for closed in [false, true] {
        if closed {
            store.close(&mut volume).unwrap();
        } else {
            drop(store);
        }
        let mut device = volume.into_device();
        assert!(device.held() < 100 * MIB as u64, "{} bytes written", device.held());
        let before = device.reads();
        volume = Vol::open(device, vec![0; lent.volume]).unwrap();
        store = TestStore::open(&mut volume, lent.tree(), vec![0; lent.log]).unwrap();
        device = volume.into_device();
        // The headers of the segments, and what the log says; never the device.
        assert!(device.reads() - before < 30_000, "{} reads", device.reads() - before);
        volume = Vol::open(device, vec![0; lent.volume]).unwrap();
        check(&mut store, &mut volume, &pairs, 31);
        assert_eq!(store.info(&mut volume).unwrap().index.pairs, pairs.len() as u64);
    }
}

#[test]
fn a_megabyte_of_flash_takes_32_kib_lent() {
    const KIB: usize = 1 << 10;
    let options = FormatOptions { block_size: 4096, volume_id: 2, ..FormatOptions::default() };
    let sim = Sim::nor(1 << 20, 4, 4096);
    let volume_memory = Vol::<Sim>::memory_needed(&sim.geometry(), &options);
    let mut volume = Vol::format(sim.clone(), vec![0; volume_memory], &options).unwrap();
    // Keys of a usual length take three levels on so small a device, not the five that the longest ones could.
    let needed = Needed::for_height(4096, 3);
    let lent = Lent { volume: volume_memory, pages: needed.pages, frames: needed.frames, log: 512 };
    assert!(lent.total() <= 32 * KIB, "{} bytes", lent.total());

    let mut store = TestStore::create(&mut volume, 0, lent.tree(), vec![0; lent.log]).unwrap();
    let mut pairs = BTreeMap::new();
    for round in 0..3_u64 {
        for number in 0..1_500_u64 {
            let at = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 2_000;
            if (number + round) % 5 == 4 {
                store.delete(&mut volume, &key(at)).unwrap();
                pairs.remove(&at);
            } else {
                store.put(&mut volume, &key(at), &value(number + round)).unwrap();
                pairs.insert(at, number + round);
            }
            if number % 50 == 49 {
                store.commit(&mut volume).unwrap();
            }
        }
        store.commit(&mut volume).unwrap();
        if round % 2 == 0 {
            store.close(&mut volume).unwrap();
        } else {
            drop(store);
        }
        volume = Vol::open(sim.clone(), vec![0; lent.volume]).unwrap();
        store = TestStore::open(&mut volume, lent.tree(), vec![0; lent.log]).unwrap();
        check(&mut store, &mut volume, &pairs, 1);
        let mut bitmap = vec![0; TestStore::bitmap_needed(&volume)];
        let verified =
            store.verify(&mut volume, Some(&mut bitmap), &mut |damage| panic!("{damage:?}")).unwrap();
        assert_eq!(verified.pairs, pairs.len() as u64);
    }
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
}
