//! Golden images of stores on an LSM tree: what this version of the format wrote must be read for ever, also by the words of `FORMAT.md` alone.
//!
//! `ESKER_BLESS=1 cargo test -p esker --test golden_lsm` writes the images anew: only together with a new version.
use std::collections::BTreeMap;
use std::path::PathBuf;

use esker::device::{Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Batch, Index, Store};
use esker::volume::{FormatOptions, Volume};

type Vol = Volume<Ram<Vec<u8>>, Vec<u8>>;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const BLOCK: u32 = 8192;
/// What follows from R, W and the size of a block.
const PAGE: usize = 512;

const BLOCKS: Geometry = Geometry::blocks(256 * 1024, 512);
const NOR: Geometry = Geometry::flash(256 * 1024, 4, 4096);
/// Those of kind 3 have leaves of a B-tree for pages of pairs.
const IMAGES: [(&str, Geometry); 4] = [
    ("v3-lsm-blocks-512", BLOCKS),
    ("v3-lsm-nor-4-4096", NOR),
    ("v3-lsm4-blocks-512", BLOCKS),
    ("v3-lsm4-nor-4-4096", NOR),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.bin"))
}

/// Levels with several runs.
fn levels(_: &Vol) -> Lsm<Vec<u8>, Vec<Frame>> {
    let shape = Shape::Levels { levels: 2, runs: 4, last: 1, ratio: 4 };
    Lsm::new(vec![0; 32 << 10], vec![Frame::default(); 8], Options { shape, ..Options::default() })
}

/// One run, into which places in the log are merged.
fn sweep(_: &Vol) -> Lsm<Vec<u8>, Vec<Frame>, Places> {
    let options = Options { shape: Shape::Sweep, ..Options::default() };
    Lsm::with_places(vec![0; 12 << 10], vec![Frame::default(); 6], options)
}

/// Of 16 bytes, or a few less.
fn key(n: u32) -> Vec<u8> {
    let (first, width) = (n * 77 % 600, if n.is_multiple_of(4) { 7 } else { 1 });
    format!("{first:04} key {n:0width$}").into_bytes()
}

fn value(n: u32, version: u32) -> Vec<u8> {
    (0..n % 60 + version).map(|at| (n + at) as u8).collect()
}

/// What the store says: at its last checkpoint, and with the log.
fn contents() -> (Map, Map) {
    let mut map = Map::new();
    for n in 0..600 {
        map.insert(key(n), value(n, if n % 40 == 3 { 3 } else { 1 }));
    }
    for n in (0..600).step_by(9) {
        map.remove(&key(n));
    }
    let checkpoint = map.clone();
    map.insert(b"later".to_vec(), b"in the log".to_vec());
    map.insert(b"batch 1".to_vec(), b"one".to_vec());
    map.remove(&key(1));
    (checkpoint, map)
}

/// Puts, replaces and deletes, with checkpoints between; then changes in the log alone.
fn live<I: Index>(geometry: Geometry, index: fn(&Vol) -> I) -> Vec<u8> {
    let device = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
    let options = FormatOptions {
        volume_id: 0x1D0_5CA1E,
        block_size: BLOCK,
        segment_size: 4096,
        pool_size: 48 << 10,
        ..FormatOptions::default()
    };
    let mut volume: Vol = Volume::format(device, vec![0; 4096], &options).unwrap();
    let index = index(&volume);
    let mut store: Store<I, Vec<u8>> = Store::create(&mut volume, 3, index, vec![0; 4096]).unwrap();
    for n in 0..600 {
        store.put(&mut volume, &key(n), &value(n, 1)).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    for n in (0..600).step_by(9) {
        store.delete(&mut volume, &key(n)).unwrap();
    }
    store.checkpoint(&mut volume).unwrap();
    for n in (3..600).step_by(40).filter(|n| n % 9 != 0) {
        store.put(&mut volume, &key(n), &value(n, 3)).unwrap();
        store.checkpoint(&mut volume).unwrap();
    }
    store.put(&mut volume, b"later", b"in the log").unwrap();
    let mut batch = Batch::new(vec![0; 100]);
    batch.put(b"batch 1", b"one").unwrap();
    batch.delete(&key(1)).unwrap();
    store.write(&mut volume, &batch).unwrap();
    store.commit(&mut volume).unwrap();
    volume.into_device().into_inner()
}

fn read_as_ever<I: Index>((name, geometry): (&str, Geometry), index: fn(&Vol) -> I) {
    if std::env::var_os("ESKER_BLESS").is_some() && name.contains("lsm4") {
        std::fs::write(path(name), live(geometry, index)).unwrap();
    }
    let golden = std::fs::read(path(name)).unwrap();
    for image in [golden, live(geometry, index)] {
        says(name, geometry, image, index, &contents().1);
    }
}

fn says<I: Index>(name: &str, geometry: Geometry, image: Vec<u8>, index: fn(&Vol) -> I, contents: &Map) {
    let mut volume: Vol = Volume::open(Ram::new(image, geometry), vec![0; 4096]).unwrap();
    let index = index(&volume);
    let mut store: Store<I, Vec<u8>> = Store::open(&mut volume, index, vec![0; 4096]).unwrap();
    let mut cursor = store.cursor(vec![0; store.max_key()]);
    let (mut map, mut out) = (Map::new(), vec![0; PAGE]);
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

#[test]
fn kinds_3_and_4_are_read_as_ever() {
    for image in IMAGES {
        if image.1.erase_unit == 0 { read_as_ever(image, levels) } else { read_as_ever(image, sweep) }
    }
}

/// What is of kind 3 is of kind 4 after the next publish, with tables of both in one run.
#[test]
fn kind_3_goes_on_as_kind_4() {
    let (name, geometry) = IMAGES[1];
    let device = Ram::new(std::fs::read(path(name)).unwrap(), geometry);
    let mut volume: Vol = Volume::open(device, vec![0; 4096]).unwrap();
    let index = sweep(&volume);
    let mut store: Store<_, Vec<u8>> = Store::open(&mut volume, index, vec![0; 4096]).unwrap();
    let mut map = contents().1;
    for n in (0..600).step_by(7) {
        store.put(&mut volume, &key(n), &value(n, 2)).unwrap();
        map.insert(key(n), value(n, 2));
        if n % 3 == 0 {
            store.checkpoint(&mut volume).unwrap();
        }
    }
    store.commit(&mut volume).unwrap();
    drop(store);
    let image = volume.into_device().into_inner();
    assert_eq!(root(&image, geometry)[0], 4);
    says(name, geometry, image, sweep, &map);
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

/// The numbers of a table.
#[derive(Clone, Debug)]
struct Table {
    block: u32,
    crc: u32,
    generation: u32,
    pages: u32,
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
        Self { block, crc, generation, pages, lines, page, cell, last, first }
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

/// Of kind 4.
fn groups(page: &[u8]) -> Pairs {
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
        at = start + own + tag.saturating_sub(1);
        pairs.push((key, (tag > 0).then(|| page[start + own..at].to_vec())));
    }
    pairs
}

struct Reader<'a> {
    image: &'a [u8],
    kind: u64,
    id: u32,
    blocks: usize,
    write_unit: usize,
    /// Level and tables, the newest first.
    runs: Vec<(u64, Vec<Table>)>,
    edits: u32,
}

impl<'a> Reader<'a> {
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
        let grouped = u8::from(level == 0 && self.kind == 4);
        assert_eq!((u32_at(bytes, 4), bytes[8], bytes[9]), (table.generation, level, grouped));
        bytes
    }

    /// All pairs of a table that count.
    fn pairs(&self, table: &Table) -> Pairs {
        let index = self.page(table, table.pages + u32::from(table.lines > 0), table.crc, 1);
        assert_eq!(u16_at(index, 10), table.pages as usize);
        let mut pairs: Pairs = Vec::new();
        for nth in 0..table.pages {
            let (len, at) = length(index, u16_at(index, 16 + 2 * nth as usize));
            let (from, at) = (&index[at..at + len], at + len);
            assert_eq!(u32_at(index, at), nth);
            let page = self.page(table, nth, u32_at(index, at + 4), 0);
            let on_page = if self.kind == 3 { leaf(page) } else { groups(page) };
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

/// What the newest publish says of the store, from its kind on.
fn root(image: &[u8], geometry: Geometry) -> &[u8] {
    let home = u32_at(image, 32) as usize;
    let granule = 64.max(geometry.write_unit.max(geometry.read_unit) as usize);
    let mut newest = (0, 0);
    for start in [0, home] {
        for at in (start + 128_usize.next_multiple_of(granule)..start + home).step_by(granule) {
            if &image[at + 4..at + 6] == b"PB" {
                newest = newest.max((u64::from(u32_at(image, at + 8)), at));
            }
        }
    }
    let mut roots = &image[newest.1 + 16..newest.1 + u16_at(image, newest.1 + 6)];
    skip(&mut roots, 1);
    let retired = number(&mut roots);
    skip(&mut roots, retired);
    for _ in 0..number(&mut roots) {
        skip(&mut roots, 1);
        let flags = number(&mut roots);
        skip(&mut roots, 6 + 9 + if flags & 2 == 0 { 0 } else { 3 });
    }
    assert_eq!(usize::from(roots[0]), roots.len() - 1);
    &roots[1..]
}

/// Reads the image by the words of `FORMAT.md`, with nothing of the engine's.
#[test]
fn the_tables_are_read_by_the_document_alone() {
    for (name, geometry) in IMAGES {
        let image = std::fs::read(path(name)).unwrap();
        assert_eq!(u16_at(&image, 8), 3);
        assert_eq!(u32_at(&image, 60), 2 | BLOCK.trailing_zeros() << 8, "{name}");
        let blocks = u32_at(&image, 64) as usize;
        let write_unit = geometry.write_unit as usize;
        let mut root = root(&image, geometry);
        let (kind, log) = (number(&mut root), number(&mut root));
        assert_eq!((kind, log), (if name.contains("lsm4") { 4 } else { 3 }, 3));
        skip(&mut root, 3);
        for _ in 0..2 {
            if number(&mut root) > 0 {
                skip(&mut root, 4);
            }
        }
        skip(&mut root, 3);
        let [block, at, sum, records, len, counted, _sweep] = [(); 7].map(|()| number(&mut root));
        assert!(root.is_empty());
        let id = u32_at(&image, 12);
        let mut reader = Reader { image: &image, kind, id, blocks, write_unit, runs: Vec::new(), edits: 0 };
        reader.manifest(block as u32 - 1, at as usize, sum as u32, records, len as usize);
        let (mut newest, mut pairs) = (BTreeMap::new(), 0);
        for (_, tables) in reader.runs.iter().rev() {
            let mut last = Vec::new();
            for (key, value) in tables.iter().flat_map(|table| reader.pairs(table)) {
                assert!(last < key, "tables of a run don't overlap");
                last.clone_from(&key);
                newest.insert(key, value);
                pairs += 1;
            }
        }
        let live: Map = newest.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        assert!(live == contents().0, "{name}");
        assert_eq!(pairs, counted, "{name}");
        let runs: Vec<_> = reader.runs.iter().map(|run| (run.0, run.1.len())).collect();
        let (wanted, edits) = match (kind, geometry.erase_unit) {
            // A merge is still to come: its run is there, without tables.
            (3, 0) => (vec![(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 4), (1, 0)], 0),
            (3, _) => (vec![(0, 5)], 2),
            (_, 0) => (vec![(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 4)], 0),
            _ => (vec![(0, 4)], 0),
        };
        assert_eq!((runs, reader.edits), (wanted, edits), "{name}");
    }
}
