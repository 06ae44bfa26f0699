//! An LSM tree with small pages in large blocks: on flash with erase units of 64 KiB with 8 KiB lent; whoever opens the store finds the
//! pages that it was made with.

use std::collections::BTreeMap;

use esker::device::{Geometry, Ram};
use esker::lsm::{Entries, Frame, Lsm, Options, Places, Shape};
use esker::store::{Error, Index, Store};
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;

type Tree<M> = Lsm<Vec<u8>, Vec<Frame>, M>;
type Kv<M> = Store<Tree<M>, Vec<u8>, 8>;
type Vol = Volume<Ram<Vec<u8>>, Vec<u8>, 1>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const UNIT: u32 = 64 << 10;
const PAGE: u32 = 512;
/// For tree, frames and log.
const LENT: usize = 8 << 10;
const OPTIONS: Options = Options { shape: Shape::Sweep, bits_per_key: 10 };

fn volume() -> Vol {
    let part = Ram::new(vec![0xFF; 32 * UNIT as usize], Geometry::flash(0, 4, UNIT));
    let layout = FormatOptions {
        volume_id: 7,
        segment_size: UNIT,
        pool_size: u64::from(UNIT * 6),
        reserve: 1,
        block_size: UNIT,
    };
    Volume::format(part, vec![0; 1024], &layout).unwrap()
}

fn log(volume: &Vol) -> Vec<u8> {
    vec![0; Log::<Vec<u8>, 8>::memory_needed(&volume.info().geometry)]
}

/// What is left of the lent memory beside the log's.
fn lent(volume: &Vol) -> (Vec<u8>, Vec<Frame>) {
    let (needed, frames) = Tree::<Places>::memory_needed_with_page_size(PAGE, &volume.info());
    let bytes = LENT - log(volume).len() - frames * size_of::<Frame>();
    assert!(bytes >= needed, "{needed} bytes are needed, and {bytes} left");
    (vec![0; bytes], vec![Frame::BLANK; frames])
}

fn made(volume: &mut Vol) -> Kv<Places> {
    let (bytes, frames) = lent(volume);
    let tree = Lsm::with_places(bytes, frames, OPTIONS).with_page_size(PAGE);
    let log = log(volume);
    Store::create(volume, 0, tree, log).unwrap()
}

/// As a host opens it: with plenty of memory, and nothing said about pages.
fn plain() -> Tree<Entries> {
    Lsm::new(vec![0; 256 << 10], vec![Frame::BLANK; 16], OPTIONS)
}

fn change<I: Index>(store: &mut Store<I, Vec<u8>, 8>, volume: &mut Vol, map: &mut Map, n: u32) {
    let mixed = n.wrapping_mul(0x9E37_79B1);
    let key = format!("key/{:04}", (mixed >> 8) % 700).into_bytes();
    if mixed.is_multiple_of(5) {
        store.delete(volume, &key).unwrap();
        map.remove(&key);
    } else {
        let value = vec![n as u8; (mixed >> 20) as usize % 100];
        store.put(volume, &key, &value).unwrap();
        map.insert(key, value);
    }
}

fn check<I: Index>(store: &mut Store<I, Vec<u8>, 8>, volume: &mut Vol, map: &Map) {
    let (mut cursor, mut value) = (store.cursor(vec![0; 64]), vec![0; UNIT as usize]);
    let mut found = Map::new();
    while let Some(len) = store.next(volume, &mut cursor, &mut value).unwrap() {
        found.insert(cursor.key().to_vec(), value[..len].to_vec());
    }
    assert_eq!(&found, map);
    store.verify(volume, None, &mut |damage| panic!("{damage:?}")).unwrap();
}

#[test]
fn erase_units_of_64_kib_take_8_kib_lent() {
    let mut volume = volume();
    let (mut store, mut map) = (made(&mut volume), Map::new());
    // As much as a table has room for beside its pages: far more than there is memory.
    let most = store.max_value(&volume, 8);
    assert_eq!(most, (UNIT - 4 * PAGE) as usize);
    store.put(&mut volume, b"longest ", &vec![1; most]).unwrap();
    map.insert(b"longest ".to_vec(), vec![1; most]);
    let mut tables = 0;
    for n in 0..12_000 {
        change(&mut store, &mut volume, &mut map, n);
        if n % 4000 == 3999 {
            tables += store.index().merges().tables_in;
            // As a cut leaves it: the next open replays what no table has.
            store.commit(&mut volume).unwrap();
            volume = Volume::open(volume.into_device(), vec![0; 1024]).unwrap();
            let ((bytes, frames), log) = (lent(&volume), log(&volume));
            // What is asked for here is for a new store, not for this one.
            let tree = Lsm::with_places(bytes, frames, OPTIONS).with_page_size(2048);
            store = Store::open(&mut volume, tree, log).unwrap();
            check(&mut store, &mut volume, &map);
        }
    }
    assert!(tables > 10, "{tables} tables merged");
    store.close(&mut volume).unwrap();

    let mut store: Kv<Entries> = Store::open(&mut volume, plain(), vec![0; 4096]).unwrap();
    assert_eq!(store.max_value(&volume, 8), most);
    check(&mut store, &mut volume, &map);
    for n in 12_000..16_000 {
        change(&mut store, &mut volume, &mut map, n);
    }
    store.checkpoint(&mut volume).unwrap();
    store.close(&mut volume).unwrap();
    let ((bytes, frames), log) = (lent(&volume), log(&volume));
    let mut store: Kv<Places> =
        Store::open(&mut volume, Lsm::with_places(bytes, frames, OPTIONS), log).unwrap();
    check(&mut store, &mut volume, &map);
}

#[test]
fn a_store_with_large_pages_says_that_it_wants_more_memory() {
    let mut volume = volume();
    Kv::<Entries>::create(&mut volume, 0, plain(), vec![0; 4096]).unwrap().close(&mut volume).unwrap();
    let ((bytes, frames), log) = (lent(&volume), log(&volume));
    let tree = Lsm::with_places(bytes, frames, OPTIONS).with_page_size(PAGE);
    let refused = Kv::<Places>::open(&mut volume, tree, log).err().expect("its pages have 2 KiB");
    let needed = Tree::<Places>::memory_needed_with_places(&volume.info());
    assert_eq!(needed, Tree::<Places>::memory_needed_with_page_size(2048, &volume.info()));
    let Error::MemoryTooSmall { pages, frames } = refused else { panic!("{refused:?}") };
    assert_eq!((pages, frames), needed);
}

#[test]
fn pages_that_can_not_be_are_refused() {
    for bytes in [0, 256, 768, 8192, u32::MAX] {
        let mut volume = volume();
        let made = Kv::<Entries>::create(&mut volume, 0, plain().with_page_size(bytes), vec![0; 4096]);
        assert!(matches!(made.err(), Some(Error::BlockSize(_))), "{bytes}");
        Kv::<Entries>::create(&mut volume, 0, plain(), vec![0; 4096]).expect("nothing was written");
    }
}

#[test]
fn a_tree_that_a_close_gave_back_makes_an_empty_store() {
    let (mut one, mut other) = (volume(), volume());
    let mut store = made(&mut one);
    for n in 0..500 {
        change(&mut store, &mut one, &mut Map::new(), n);
    }
    store.checkpoint(&mut one).unwrap();
    let (tree, log) = store.close(&mut one).unwrap();
    let mut store = Kv::<Places>::create(&mut other, 0, tree, log).unwrap();
    check(&mut store, &mut other, &Map::new());
    let (tree, log) = store.close(&mut other).unwrap();
    let mut store = Kv::<Places>::open(&mut other, tree, log).unwrap();
    check(&mut store, &mut other, &Map::new());
}
