//! What golden images of stores have whatever their index is: the engine's contents of them, and fields by the words of `FORMAT.md`.
use std::collections::BTreeMap;

use esker::device::Geometry;
use esker::store::{Index, Store};

use crate::image::{Vol, newest, u16_at, u32_at};

pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The store says these pairs, and all of it is sound.
pub fn says<I: Index>(name: &str, mut volume: Vol, index: I, contents: &Map) {
    let mut store: Store<I, Vec<u8>> = Store::open(&mut volume, index, vec![0; 4096]).unwrap();
    let mut cursor = store.cursor(vec![0; store.max_key()]);
    let longest = contents.values().map(Vec::len).max().unwrap_or(0);
    let (mut map, mut out) = (Map::new(), vec![0; longest]);
    while let Some(len) = store.next(&mut volume, &mut cursor, &mut out).unwrap() {
        map.insert(cursor.key().to_vec(), out[..len].to_vec());
    }
    assert!(map == *contents, "{name}");
    for (key, value) in &map {
        let found = store.get(&mut volume, key, &mut out).unwrap().unwrap();
        assert_eq!(&out[..found.len], &value[..], "{name}");
    }
    let mut bits = vec![0; Store::<I, Vec<u8>>::bitmap_needed(&volume)];
    store.verify(&mut volume, Some(&mut bits), &mut |damage| panic!("{name}: {damage:?}")).unwrap();
}

/// A length in a page, and where what follows begins.
pub fn length(page: &[u8], at: usize) -> (usize, usize) {
    let low = usize::from(page[at]);
    if low < 128 { (low, at + 1) } else { (low & 127 | usize::from(page[at + 1]) << 7, at + 2) }
}

/// Takes LEB128 numbers off the front.
pub fn number(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

fn skip(bytes: &mut &[u8], numbers: u64) {
    for _ in 0..numbers {
        number(bytes);
    }
}

/// Where the blocks begin, of so many bytes each.
pub fn blocks(image: &[u8], size: usize) -> usize {
    assert_eq!(u16_at(image, 8), 3);
    // The second region, behind the pool.
    assert_eq!(u32_at(image, 60), 2 | size.trailing_zeros() << 8);
    u32_at(image, 64) as usize
}

/// What the newest publish says of the store: kind of the index, and the fields of that.
pub fn root(image: &[u8], geometry: Geometry) -> (u64, &[u8]) {
    let at = newest(image, geometry).iter().max().unwrap().1;
    let mut roots = &image[at + 16..at + u16_at(image, at + 6)];
    skip(&mut roots, 1);
    let retired = number(&mut roots);
    skip(&mut roots, retired);
    for _ in 0..number(&mut roots) {
        skip(&mut roots, 1);
        let flags = number(&mut roots);
        skip(&mut roots, 6 + 9 + if flags & 2 == 0 { 0 } else { 3 });
    }
    assert_eq!(usize::from(roots[0]), roots.len() - 1);
    let mut root = &roots[1..];
    let (kind, log) = (number(&mut root), number(&mut root));
    assert_eq!(log, 3);
    // Position, generation; the free blocks.
    skip(&mut root, 3);
    for _ in 0..2 {
        if number(&mut root) > 0 {
            skip(&mut root, 4);
        }
    }
    skip(&mut root, 3);
    (kind, root)
}
