//! Golden images of stores: what version 3 of the format wrote must be read for ever, also by the words of `FORMAT.md` alone.
//!
//! Nothing writes the images anew: what a new version writes has images of its own.
use esker::btree::{BTree, Frame};
use esker::device::Geometry;
use esker::store::{Batch, Store};
use esker::volume::FormatOptions;
use image::{crc, formatted, golden, opened, u16_at, u32_at};
use stored::{Map, blocks, length, number, root, says};

#[path = "common/image.rs"]
mod image;
#[path = "common/stored.rs"]
mod stored;

type Kv = Store<BTree<Vec<u8>, Vec<Frame>>, Vec<u8>>;

const IMAGES: [(&str, Geometry, usize); 2] = [
    ("v3-blocks-512", Geometry::blocks(96 * 1024, 512), 512),
    ("v3-nor-4-4096", Geometry::flash(256 * 1024, 4, 4096), 4096),
];

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
    let options = FormatOptions { block_size: page as u32, ..FormatOptions::default() };
    let mut volume = formatted(geometry, options);
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
        for image in [golden(name), live(geometry, page)] {
            says(name, opened(image, geometry), tree(page), &contents(page).1);
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

/// Reads the image by the words of `FORMAT.md`, with nothing of the engine's.
#[test]
fn the_tree_is_read_by_the_document_alone() {
    for (name, geometry, page) in IMAGES {
        let image = golden(name);
        let blocks = blocks(&image, page);
        let (kind, mut root) = root(&image, geometry);
        assert_eq!(kind, 1);
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
