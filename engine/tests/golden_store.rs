//! Golden images of stores: what version 3 of the format wrote must be read for ever, also by the words of `FORMAT.md` alone.
//!
//! `ESKER_BLESS=1 cargo test -p esker --test golden_store` writes the images anew: only together with a new version.
use std::collections::BTreeMap;
use std::path::PathBuf;

use esker::btree::{BTree, Frame};
use esker::device::{Geometry, Ram};
use esker::store::{Batch, Store};
use esker::volume::{FormatOptions, Volume};

type Vol = Volume<Ram<Vec<u8>>, Vec<u8>>;
type Kv = Store<BTree<Vec<u8>, Vec<Frame>>, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const IMAGES: [(&str, Geometry, usize); 2] = [
    ("v3-blocks-512", Geometry::blocks(96 * 1024, 512), 512),
    ("v3-nor-4-4096", Geometry::flash(256 * 1024, 4, 4096), 4096),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.bin"))
}

fn tree(page: usize) -> BTree<Vec<u8>, Vec<Frame>> {
    BTree::new(vec![0; page * 13], vec![Frame::default(); 12])
}

/// What the store says: at its last checkpoint, and with the log.
fn contents(page: usize) -> (Map, Map) {
    let value = |n: u32, len: usize| (0..len).map(|at| (n as usize + at) as u8).collect::<Vec<u8>>();
    let mut map = Map::new();
    for n in 0..150_u32 {
        let len = if n % 25 == 7 { page * 3 / 2 } else { n as usize % 40 };
        map.insert(format!("key {:04}", n * 77 % 150).into_bytes(), value(n, len));
    }
    for n in 30..80 {
        map.remove(format!("key {n:04}").as_bytes());
    }
    let checkpoint = map.clone();
    map.insert(b"later".to_vec(), b"in the log".to_vec());
    map.insert(b"batch 1".to_vec(), b"one".to_vec());
    map.insert(b"batch 2".to_vec(), b"two".to_vec());
    map.remove(&b"key 0001"[..]);
    (checkpoint, map)
}

/// Splits, merges, long values, several checkpoints; then changes in the log alone.
fn live(geometry: Geometry, page: usize) -> Vec<u8> {
    let device = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
    let options =
        FormatOptions { volume_id: 0x1D0_5CA1E, block_size: page as u32, ..FormatOptions::default() };
    let mut volume: Vol = Volume::format(device, vec![0; 4096], &options).unwrap();
    let mut store = Kv::create(&mut volume, 3, tree(page), vec![0; 4096]).unwrap();
    let (checkpoint, _) = contents(page);
    for (n, (key, value)) in checkpoint.iter().enumerate() {
        store.put(&mut volume, key, b"not yet").unwrap();
        store.put(&mut volume, format!("gone {n:04}").as_bytes(), value).unwrap();
        if n % 60 == 9 {
            store.checkpoint(&mut volume).unwrap();
        }
    }
    for (n, (key, value)) in checkpoint.iter().enumerate() {
        store.put(&mut volume, key, value).unwrap();
        store.delete(&mut volume, format!("gone {n:04}").as_bytes()).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    store.put(&mut volume, b"later", b"in the log").unwrap();
    let mut batch = Batch::new(vec![0; 100]);
    batch.put(b"batch 1", b"one").unwrap();
    batch.put(b"batch 2", b"two").unwrap();
    batch.delete(b"key 0001").unwrap();
    store.write(&mut volume, &batch).unwrap();
    store.commit(&mut volume).unwrap();
    volume.into_device().into_inner()
}

#[test]
fn version_3_is_read_as_ever() {
    for (name, geometry, page) in IMAGES {
        if std::env::var_os("ESKER_BLESS").is_some() {
            std::fs::write(path(name), live(geometry, page)).unwrap();
        }
        let golden = std::fs::read(path(name)).unwrap();
        for image in [golden, live(geometry, page)] {
            let mut volume: Vol = Volume::open(Ram::new(image, geometry), vec![0; 4096]).unwrap();
            let mut store = Kv::open(&mut volume, tree(page), vec![0; 4096]).unwrap();
            let mut cursor = store.cursor(vec![0; store.max_key()]);
            let (mut map, mut out) = (Map::new(), vec![0; page * 4]);
            while let Some(len) = store.next(&mut volume, &mut cursor, &mut out).unwrap() {
                map.insert(cursor.key().to_vec(), out[..len].to_vec());
            }
            assert!(map == contents(page).1, "{name}");
            let mut bits = vec![0; Kv::bitmap_needed(&volume)];
            store.verify(&mut volume, Some(&mut bits), &mut |damage| panic!("{name}: {damage:?}")).unwrap();
        }
    }
}

struct Reader<'a> {
    image: &'a [u8],
    id: u32,
    blocks: usize,
    page: usize,
    pairs: Map,
    counts: [u64; 4],
}

fn crc(parts: &[&[u8]]) -> u32 {
    let algorithm = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = algorithm.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A length in a page, and where what follows begins.
fn length(page: &[u8], at: usize) -> (usize, usize) {
    let low = usize::from(page[at]);
    if low < 128 { (low, at + 1) } else { (low & 127 | usize::from(page[at + 1]) << 7, at + 2) }
}

impl Reader<'_> {
    fn block(&self, block: u32, sum: u32) -> &[u8] {
        let at = self.blocks + block as usize * self.page;
        let bytes = &self.image[at..at + self.page];
        assert_eq!(u32_at(bytes, 0), sum);
        assert_eq!(crc(&[&self.id.to_le_bytes(), &block.to_le_bytes(), &bytes[4..]]), sum, "block {block}");
        bytes
    }

    fn walk(&mut self, block: u32, sum: u32, level: u8) {
        let page = self.block(block, sum).to_vec();
        assert_eq!((page[8], page[9]), (level, 0));
        self.counts[usize::from(level.min(1)) + 1] += 1;
        for i in 0..u16_at(&page, 10) {
            let (len, at) = length(&page, u16_at(&page, 16 + 2 * i));
            let (key, at) = (page[at..at + len].to_vec(), at + len);
            if level > 0 {
                self.walk(u32_at(&page, at), u32_at(&page, at + 4), level - 1);
                continue;
            }
            let (twice, at) = length(&page, at);
            let mut value = page[at..at + twice / 2].to_vec();
            if twice % 2 == 1 {
                let (len, mut next) = (u32_at(&value, 0) as usize, (u32_at(&value, 4), u32_at(&value, 8)));
                value.clear();
                while value.len() < len {
                    let link = self.block(next.0, next.1).to_vec();
                    assert_eq!(link[8], 255);
                    next = (u32_at(&link, 12), u32_at(&link, 16));
                    value.extend(&link[20..(20 + len - value.len()).min(link.len())]);
                    self.counts[3] += 1;
                }
                assert_eq!(next.0, u32::MAX);
            }
            assert!(self.pairs.last_key_value().is_none_or(|(last, _)| *last < key));
            self.counts[0] += 1;
            self.pairs.insert(key, value);
        }
    }
}

/// Takes LEB128 numbers off the front.
fn number(bytes: &mut &[u8]) -> u64 {
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

/// Reads the image by the words of `FORMAT.md`, with nothing of the engine's.
#[test]
fn the_tree_is_read_by_the_document_alone() {
    for (name, geometry, page) in IMAGES {
        let image = std::fs::read(path(name)).unwrap();
        assert_eq!(u16_at(&image, 8), 3);
        let home = u32_at(&image, 32) as usize;
        // The second region, behind the pool.
        assert_eq!(u32_at(&image, 60), 2 | page.trailing_zeros() << 8, "{name}");
        let blocks = u32_at(&image, 64) as usize;
        let granule = 64.max(geometry.write_unit.max(geometry.read_unit) as usize);
        let mut newest = (0, 0);
        for start in [0, home] {
            for at in (start + 128_usize.next_multiple_of(granule)..start + home).step_by(granule) {
                if &image[at + 4..at + 6] == b"PB" {
                    newest = newest.max((u64::from(u32_at(&image, at + 8)), at));
                }
            }
        }
        let mut roots = &image[newest.1 + 16..newest.1 + u16_at(&image, newest.1 + 6)];
        skip(&mut roots, 1);
        let retired = number(&mut roots);
        skip(&mut roots, retired);
        for _ in 0..number(&mut roots) {
            skip(&mut roots, 1);
            let flags = number(&mut roots);
            skip(&mut roots, 6 + 9 + if flags & 2 == 0 { 0 } else { 3 });
        }
        assert_eq!(usize::from(roots[0]), roots.len() - 1, "{name}");
        let mut root = &roots[1..];
        assert_eq!((number(&mut root), number(&mut root)), (1, 3), "kind and log");
        skip(&mut root, 3);
        for _ in 0..2 {
            if number(&mut root) > 0 {
                skip(&mut root, 4);
            }
        }
        skip(&mut root, 3);
        let height = number(&mut root) as u8;
        let top = (number(&mut root) as u32, number(&mut root) as u32);
        let (pairs, id) = (Map::new(), u32_at(&image, 12));
        let mut reader = Reader { image: &image, id, blocks, page, pairs, counts: [0; 4] };
        reader.walk(top.0, top.1, height - 1);
        assert!(reader.pairs == contents(page).0, "{name}");
        assert_eq!(reader.counts.map(|_| number(&mut root)), reader.counts, "{name}");
        assert!(root.is_empty() && reader.counts[3] > 2 && (page > 512 || height > 1), "{name}: {height}");
    }
}
