//! Golden images of stores on an LSM tree: what this version of the format wrote must be read for ever, also by the words of `FORMAT.md` alone.
//!
//! `ESKER_BLESS=1 cargo test -p esker --test golden_lsm` writes those of kind 5 anew: only together with a new kind.
use std::collections::BTreeMap;

use esker::device::Geometry;
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Batch, Index, Store};
use esker::volume::FormatOptions;
use image::{crc, formatted, golden, opened, path, u16_at, u32_at};
use stored::{Map, blocks, length, number, root, says};

#[path = "common/image.rs"]
mod image;
#[path = "common/stored.rs"]
mod stored;

const BLOCK: u32 = 8192;
/// What follows from R, W and the size of a block.
const PAGE: usize = 512;
/// The kind that is written: the others are there as they were left.
const NEWEST: u64 = 5;

const BLOCKS: Geometry = Geometry::blocks(256 * 1024, 512);
const NOR: Geometry = Geometry::flash(256 * 1024, 4, 4096);
/// Those of kind 3 have leaves of a B-tree for pages of pairs; only those of kind 5 have long values.
const IMAGES: [(u64, &str, Geometry); 6] = [
    (3, "v3-lsm-blocks-512", BLOCKS),
    (3, "v3-lsm-nor-4-4096", NOR),
    (4, "v3-lsm4-blocks-512", BLOCKS),
    (4, "v3-lsm4-nor-4-4096", NOR),
    (5, "v3-lsm5-blocks-512", BLOCKS),
    (5, "v3-lsm5-nor-4-4096", NOR),
];

/// Levels with several runs.
fn levels() -> Lsm<Vec<u8>, Vec<Frame>> {
    let shape = Shape::Levels { levels: 2, runs: 4, last: 1, ratio: 4 };
    Lsm::new(vec![0; 32 << 10], vec![Frame::default(); 8], Options { shape, ..Options::default() })
}

/// One run, into which places in the log are merged.
fn sweep() -> Lsm<Vec<u8>, Vec<Frame>, Places> {
    let options = Options { shape: Shape::Sweep, ..Options::default() };
    Lsm::with_places(vec![0; 12 << 10], vec![Frame::default(); 6], options)
}

/// Of 16 bytes, or a few less.
fn key(n: u32) -> Vec<u8> {
    let (first, width) = (n * 77 % 600, if n.is_multiple_of(4) { 7 } else { 1 });
    format!("{first:04} key {n:0width$}").into_bytes()
}

/// Bytes of the longest value of this key that is not a long one: half of a page, without slot, lengths and a word.
fn longest_short(n: u32) -> u32 {
    (PAGE as u32 - 16) / 2 - (2 + 1 + 2 + 4) - key(n).len() as u32
}

/// Bytes of a value that is a long one since kind 5, or as long as a short one can be; `None`: it is as it always was.
fn long(n: u32, version: u32) -> Option<u32> {
    match (n, version) {
        (7, _) => Some(longest_short(n)),
        (8, _) => Some(longest_short(n) + 1),
        (303, _) => Some(3 * PAGE as u32 + 100),
        // One that was short, and one that will be.
        (43, 3) => Some(500),
        (403, 3) => None,
        _ => (n % 50 == 3).then_some(300 + n + version),
    }
}

fn value(kind: u64, n: u32, version: u32) -> Vec<u8> {
    match long(n, version).filter(|_| kind >= 5) {
        Some(len) => (0..len).map(|at| (n + at * version + at / 256) as u8).collect(),
        None => (0..n % 60 + version).map(|at| (n + at) as u8).collect(),
    }
}

/// Only the log has it.
const LATE: &[u8] = b"late and long";

fn late() -> Vec<u8> {
    (0..700_u32).map(|at| ((at * at) >> 7) as u8).collect()
}

/// What the store says: at its last checkpoint, and with the log.
fn contents(kind: u64) -> (Map, Map) {
    let mut map = Map::new();
    for n in 0..600 {
        map.insert(key(n), value(kind, n, if n % 40 == 3 { 3 } else { 1 }));
    }
    for n in (0..600).step_by(9) {
        map.remove(&key(n));
    }
    let checkpoint = map.clone();
    map.insert(b"later".to_vec(), b"in the log".to_vec());
    if kind >= 5 {
        map.insert(LATE.to_vec(), late());
    }
    map.insert(b"batch 1".to_vec(), b"one".to_vec());
    map.remove(&key(1));
    (checkpoint, map)
}

/// Puts, replaces and deletes, with checkpoints between; then changes in the log alone.
fn live<I: Index>(geometry: Geometry, index: fn() -> I) -> Vec<u8> {
    let options = FormatOptions {
        block_size: BLOCK,
        segment_size: 4096,
        pool_size: 48 << 10,
        ..FormatOptions::default()
    };
    let mut volume = formatted(geometry, options);
    let mut store: Store<I, Vec<u8>> = Store::create(&mut volume, 3, index(), vec![0; 4096]).unwrap();
    for n in 0..600 {
        store.put(&mut volume, &key(n), &value(NEWEST, n, 1)).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    for n in (0..600).step_by(9) {
        store.delete(&mut volume, &key(n)).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    for n in (3..600).step_by(40).filter(|n| n % 9 != 0) {
        store.put(&mut volume, &key(n), &value(NEWEST, n, 3)).unwrap();
        store.checkpoint(&mut volume).unwrap();
    }
    store.put(&mut volume, b"later", b"in the log").unwrap();
    store.put(&mut volume, LATE, &late()).unwrap();
    let mut batch = Batch::new(vec![0; 100]);
    batch.put(b"batch 1", b"one").unwrap();
    batch.delete(&key(1)).unwrap();
    store.write(&mut volume, &batch).unwrap();
    store.commit(&mut volume).unwrap();
    volume.into_device().into_inner()
}

fn read_as_ever<I: Index>((kind, name, geometry): (u64, &str, Geometry), index: fn() -> I) {
    let (at_checkpoint, contents) = contents(kind);
    if kind == NEWEST {
        let image = live(geometry, index);
        if std::env::var_os("ESKER_BLESS").is_some() {
            std::fs::write(path(name), &image).unwrap();
        }
        assert!(by_the_document(&image, geometry) == (NEWEST, at_checkpoint), "{name}");
        says(name, opened(image, geometry), index(), &contents);
    }
    says(name, opened(golden(name), geometry), index(), &contents);
}

#[test]
fn kinds_3_to_5_are_read_as_ever() {
    for image in IMAGES {
        if image.2.erase_unit == 0 { read_as_ever(image, levels) } else { read_as_ever(image, sweep) }
    }
}

/// What is of an older kind is of the newest from the next publish on, and until merges have taken them its tables stand beside new ones.
fn goes_on<I: Index>((kind, name, geometry): (u64, &str, Geometry), index: fn() -> I) {
    let image = golden(name);
    let old = Reader::open(&image, geometry).tables().map(|table| table.generation).max().unwrap();
    let mut volume = opened(image, geometry);
    let mut store: Store<I, Vec<u8>> = Store::open(&mut volume, index(), vec![0; 4096]).unwrap();
    let (mut map, mut mixed) = (contents(kind).1, 0);
    // Every seventh, a long one first.
    for n in (0..86).map(|i| (203 + 7 * i) % 602) {
        let value = value(NEWEST, n, 2);
        store.put(&mut volume, &key(n), &value).unwrap();
        map.insert(key(n), value);
        if n % 3 == 0 {
            store.checkpoint(&mut volume).unwrap();
            let image = volume.device().bytes().to_vec();
            assert!(by_the_document(&image, geometry) == (NEWEST, map.clone()), "{name}");
            let reader = Reader::open(&image, geometry);
            if reader.tables().any(|table| table.generation <= old)
                && reader.tables().any(|table| table.has_long)
            {
                mixed += 1;
                says(name, opened(image.clone(), geometry), index(), &map);
            }
        }
    }
    assert!(mixed > 0, "{name}");
    store.commit(&mut volume).unwrap();
    drop(store);
    says(name, opened(volume.into_device().into_inner(), geometry), index(), &map);
}

#[test]
fn kinds_3_and_4_go_on_as_kind_5() {
    for image in IMAGES.into_iter().filter(|image| image.0 < NEWEST) {
        if image.2.erase_unit == 0 { goes_on(image, levels) } else { goes_on(image, sweep) }
    }
}

/// The numbers of a table.
#[derive(Clone, Debug)]
struct Table {
    block: u32,
    crc: u32,
    generation: u32,
    pages: u32,
    has_long: bool,
    lines: u32,
    page: u32,
    cell: u32,
    last: u64,
    first: u64,
}

impl Table {
    fn read(bytes: &mut &[u8]) -> Self {
        let mut next = || number(bytes);
        let [block, crc, generation, pages, lines, page, cell] = [(); 7].map(|()| next() as u32);
        let [_merged, last, first] = [(); 3].map(|()| next());
        assert!(pages < 512);
        let (pages, has_long) = (pages & 255, pages >= 256);
        Self { block, crc, generation, pages, has_long, lines, page, cell, last, first }
    }
}

/// The pairs of a page; `None`: the key was deleted.
type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Of kind 3.
fn leaf(page: &[u8]) -> Pairs {
    let pair = |i| {
        let (len, at) = length(page, u16_at(page, 16 + 2 * i));
        let (key, at) = (&page[at..at + len], at + len);
        let (twice, at) = length(page, at);
        let value = &page[at..at + twice / 2];
        assert!(twice % 2 == 0 || *value == [0xFF; 12]);
        (key.to_vec(), (twice % 2 == 0).then(|| value.to_vec()))
    };
    (0..u16_at(page, 10)).map(pair).collect()
}

/// In place of the length of a value: words follow, which say where a long one is.
const LONG: usize = 32_767;

/// Since kind 4. The long values are looked up.
fn groups(page: &[u8], mut long: impl FnMut([u32; 3]) -> Vec<u8>) -> Pairs {
    let (mut pairs, mut at, mut first): (Pairs, _, _) = (Vec::new(), 12, Vec::new());
    for i in 0..u16_at(page, 10) {
        if i % 8 == 0 {
            assert_eq!(u16_at(page, page.len() - 2 * (i / 8 + 1)), at);
        }
        let (shared, next) = length(page, at);
        let (own, next) = if shared % 2 == 1 { length(page, next) } else { (first.len() - shared / 2, next) };
        let (tag, start) = length(page, next);
        assert!(i % 8 > 0 || shared == 1);
        let key = [&first[..shared / 2], &page[start..start + own]].concat();
        assert!(i % 8 == 0 || (key.len() == first.len()) == (shared % 2 == 0));
        if i % 8 == 0 {
            first.clone_from(&key);
        }
        let from = start + own;
        at = from + if tag == LONG { 12 } else { tag.saturating_sub(1) };
        let said = &page[from..at];
        let value = match tag {
            0 => None,
            LONG => Some(long([0, 4, 8].map(|word| u32_at(said, word)))),
            _ => Some(said.to_vec()),
        };
        if let Some(value) = &value {
            // Slot, lengths, a word. No key is of 128 bytes.
            let size = 2 + 1 + 2 + 4 + key.len() + value.len();
            assert_eq!(tag == LONG, size > (PAGE - 16) / 2);
        }
        pairs.push((key, value));
    }
    pairs
}

struct Reader<'a> {
    image: &'a [u8],
    id: u32,
    blocks: usize,
    write_unit: usize,
    /// Level and tables, the newest first.
    runs: Vec<(u64, Vec<Table>)>,
    edits: u32,
    /// Pairs of all tables, as the root counts them.
    counted: u64,
}

impl<'a> Reader<'a> {
    /// Reads the manifest.
    fn open(image: &'a [u8], geometry: Geometry) -> Self {
        let (_, mut root) = root(image, geometry);
        let [block, at, sum, records, len, counted, _sweep] = [(); 7].map(|()| number(&mut root));
        assert!(root.is_empty());
        let mut reader = Self {
            image,
            id: u32_at(image, 12),
            blocks: blocks(image, BLOCK as usize),
            write_unit: geometry.write_unit as usize,
            runs: Vec::new(),
            edits: 0,
            counted,
        };
        reader.manifest(block as u32 - 1, at as usize, sum as u32, records, len as usize);
        reader
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.runs.iter().flat_map(|run| &run.1)
    }

    /// Of the tables, those that have leaves for pages of pairs, those that don't, and those that have long values.
    fn layouts(&self) -> [usize; 3] {
        let grouped = |table: &&Table| self.block(table.block)[9] == 1;
        let count = self.tables().count();
        let grouped = self.tables().filter(grouped).count();
        [count - grouped, grouped, self.tables().filter(|table| table.has_long).count()]
    }

    /// What the tables say.
    fn contents(&self) -> Map {
        let (mut newest, mut pairs) = (BTreeMap::new(), 0);
        for (_, tables) in self.runs.iter().rev() {
            let mut last = Vec::new();
            for (key, value) in tables.iter().flat_map(|table| self.pairs(table)) {
                assert!(last < key, "tables of a run don't overlap");
                last.clone_from(&key);
                newest.insert(key, value);
                pairs += 1;
            }
        }
        assert_eq!(pairs, self.counted);
        newest.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn block(&self, block: u32) -> &'a [u8] {
        &self.image[self.blocks + (block * BLOCK) as usize..][..BLOCK as usize]
    }

    fn manifest(&mut self, block: u32, at: usize, sum: u32, mut records: u64, len: usize) {
        let bytes = self.block(block);
        let id = self.id.to_le_bytes();
        let number_of = block.to_le_bytes();
        let (mut parts, mut at, end): (Vec<&[u8]>, _, _) = (vec![&id], at, at + len);
        while at < end {
            let part = &bytes[at..][..u16_at(bytes, at)];
            assert!(part.len() <= PAGE);
            parts.push(part);
            at += part.len().next_multiple_of(self.write_unit);
            let mut part = &part[2..];
            while !part.is_empty() {
                if records > 0 {
                    records -= 1;
                    let mark = number(&mut part);
                    match mark {
                        64.. => self.runs.push((mark - 64, Vec::new())),
                        1.. => self.runs.push((mark - 1, vec![Table::read(&mut part)])),
                        0 => self.runs.last_mut().unwrap().1.push(Table::read(&mut part)),
                    }
                } else {
                    self.edit(&mut part);
                }
            }
        }
        parts.push(&number_of);
        assert_eq!((crc(&parts), records, at), (sum, 0, end));
    }

    fn edit(&mut self, part: &mut &[u8]) {
        self.edits += 1;
        let [kind, first, second] = [(); 3].map(|()| number(part) as usize);
        match kind {
            0 => self.runs[first].1.insert(second, Table::read(part)),
            1 => drop(self.runs[first].1.remove(second)),
            2 => {
                let table = Table::read(part);
                *self.runs.iter_mut().flat_map(|run| &mut run.1).nth(first).unwrap() = table;
            }
            3 => self.runs.insert(first, (second as u64, Vec::new())),
            4 => assert!(self.runs.remove(first).1.is_empty()),
            _ => panic!("kind {kind}"),
        }
    }

    fn page(&self, table: &Table, page: u32, sum: u32, level: u8) -> &'a [u8] {
        let bytes = &self.block(table.block)[page as usize * PAGE..][..PAGE];
        let number = table.block * (BLOCK / PAGE as u32) + page;
        assert_eq!(u32_at(bytes, 0), sum);
        assert_eq!(crc(&[&self.id.to_le_bytes(), &number.to_le_bytes(), &bytes[4..]]), sum);
        assert_eq!((u32_at(bytes, 4), bytes[8]), (table.generation, level));
        bytes
    }

    /// A long value, which ends where the one before it begins, at `top`, or right before.
    fn long(&self, table: &Table, top: &mut usize, [len, sum, at]: [u32; 3]) -> Vec<u8> {
        let (len, at) = (len as usize, at as usize);
        assert!(
            at.is_multiple_of(self.write_unit) && at + len <= *top && *top - (at + len) < self.write_unit
        );
        *top = at;
        let value = &self.block(table.block)[at..at + len];
        assert_eq!(crc(&[value]), sum);
        value.to_vec()
    }

    /// All pairs of a table that count.
    fn pairs(&self, table: &Table) -> Pairs {
        let last = table.pages + u32::from(table.lines > 0);
        let index = self.page(table, last, table.crc, 1);
        assert_eq!((index[9], u16_at(index, 10)), (0, table.pages as usize));
        let (mut pairs, mut top): (Pairs, _) = (Vec::new(), BLOCK as usize);
        for nth in 0..table.pages {
            let (len, at) = length(index, u16_at(index, 16 + 2 * nth as usize));
            let (from, at) = (&index[at..at + len], at + len);
            assert_eq!(u32_at(index, at), nth);
            let page = self.page(table, nth, u32_at(index, at + 4), 0);
            let on_page = match page[9] {
                0 => leaf(page),
                1 => groups(page, |words| self.long(table, &mut top, words)),
                other => panic!("{other}"),
            };
            for (i, (key, value)) in on_page.into_iter().enumerate() {
                // The first one is whole, the others only separate.
                assert!(*from <= *key && (nth > 0 || i > 0 || *from == *key));
                assert!(self.may_have(table, &key));
                if (nth, i) >= (table.page, table.cell as usize) {
                    assert!(pairs.last().is_none_or(|last| *last.0 < *key));
                    pairs.push((key, value));
                }
            }
        }
        assert_eq!(table.has_long, top < BLOCK as usize);
        assert!(top >= (last + 1) as usize * PAGE, "long values are behind all pages");
        let head = |key: &[u8]| u64::from_be_bytes([key, &[0; 8]].concat()[..8].try_into().unwrap());
        assert_eq!(head(&pairs[0].0), table.first);
        assert_eq!(head(&pairs.last().unwrap().0) >> 48, table.last);
        pairs
    }

    fn may_have(&self, table: &Table, key: &[u8]) -> bool {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut state = MULTIPLIER ^ key.len() as u64;
        let mut words: Vec<u64> = key
            .chunks(8)
            .map(|part| [part, &[0; 8]].concat())
            .map(|part| u64::from_le_bytes(part[..8].try_into().unwrap()))
            .collect();
        if key.len().is_multiple_of(8) {
            words.push(0);
        }
        words.push(0);
        for word in words {
            state = (state ^ word).wrapping_mul(MULTIPLIER);
            state ^= state >> 32;
        }
        let number = (((state >> 32) * u64::from(table.lines)) >> 32) as u32;
        let line = &self.block(table.block)[table.pages as usize * PAGE + number as usize * 64..][..64];
        let words = [self.id, table.block, table.generation, number].map(u32::to_le_bytes);
        assert_eq!(u32_at(line, 0), crc(&[words.as_flattened(), &line[4..]]));
        let (mut a, b) = (state as u32, (state as u32).rotate_left(13) | 1);
        (0..6).all(|_| {
            a = a.wrapping_mul(0x85EB_CA6B).wrapping_add(b);
            let bit = ((u64::from(a) * 480) >> 32) as usize;
            line[4 + bit / 8] >> (bit % 8) & 1 == 1
        })
    }
}

/// Kind, and what the tables say.
fn by_the_document(image: &[u8], geometry: Geometry) -> (u64, Map) {
    (root(image, geometry).0, Reader::open(image, geometry).contents())
}

/// Reads the image by the words of `FORMAT.md`, with nothing of the engine's.
#[test]
fn the_tables_are_read_by_the_document_alone() {
    for (kind, name, geometry) in IMAGES {
        let image = golden(name);
        assert!(by_the_document(&image, geometry) == (kind, contents(kind).0), "{name}");
        let reader = Reader::open(&image, geometry);
        let operation = [&[2 * LATE.len() as u8], LATE, &late()].concat();
        let is_logged = image[..reader.blocks].windows(operation.len()).any(|bytes| bytes == operation);
        assert_eq!(is_logged, kind > 4, "{name}");
        let [leaves, grouped, long] = reader.layouts();
        assert_eq!((leaves > 0, grouped > 0, long > 1), (kind == 3, kind > 3, kind > 4), "{name}");
        let runs: Vec<_> = reader.runs.iter().map(|run| (run.0, run.1.len())).collect();
        let (wanted, edits) = match (kind, geometry.erase_unit) {
            // A merge is still to come: its run is there, without tables.
            (3, 0) => (vec![(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 4), (1, 0)], 0),
            (3, _) => (vec![(0, 5)], 2),
            (4, 0) => (vec![(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 4)], 0),
            (4, _) => (vec![(0, 4)], 0),
            (_, 0) => (vec![(0, 1), (0, 0), (0, 1), (0, 1), (0, 1), (1, 6)], 3),
            _ => (vec![(0, 5)], 8),
        };
        assert_eq!((runs, reader.edits), (wanted, edits), "{name}");
    }
}
