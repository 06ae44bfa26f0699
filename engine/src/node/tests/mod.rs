//! Pages against what they should be.

mod garbage;
mod halves;
mod layout;
mod model;
mod order;

use std::vec;
use std::vec::Vec;

use proptest::collection;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const PAGE_SIZES: [usize; 4] = [512, 4096, 16384, 65536];

/// The same cases in every run: as many as this, or as the environment asks for.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let rng_seed = RngSeed::Fixed(1);
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 300, ..default }
}

fn page_size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(512), 4 => Just(4096), 1 => Just(16384), 1 => Just(65536)]
}

/// A cell that owns its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    key: Vec<u8>,
    behind: Behind,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Behind {
    Inline(Vec<u8>),
    Overflow(u32, u32, u32),
    Child(u32, u32),
}

/// Keys and values of hundreds of bytes by their beginnings and lengths.
impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.key[..self.key.len().min(12)];
        write!(f, "{}..{}: ", start.escape_ascii(), self.key.len())?;
        match &self.behind {
            Behind::Inline(value) => write!(f, "{} x {:?}", value.len(), value.first()),
            other => write!(f, "{other:x?}"),
        }
    }
}

impl Owned {
    fn cell(&self) -> Cell<'_> {
        let key = &self.key;
        match &self.behind {
            Behind::Inline(value) => Cell::Leaf { key, value: Value::Inline(value) },
            Behind::Overflow(len, block, crc) => {
                let first = Pointer { block: *block, crc: *crc };
                Cell::Leaf { key, value: Value::Overflow { len: *len, first } }
            }
            Behind::Child(block, crc) => Cell::Child { key, child: Pointer { block: *block, crc: *crc } },
        }
    }

    /// Cell `i` of a page, if it is whole.
    fn read(page: &[u8], i: usize) -> Option<Self> {
        let behind = match (value(page, i), child(page, i)) {
            (Some(Value::Inline(value)), None) => Behind::Inline(value.to_vec()),
            (Some(Value::Overflow { len, first }), None) => Behind::Overflow(len, first.block, first.crc),
            (None, Some(child)) => Behind::Child(child.block, child.crc),
            _ => return None,
        };
        Some(Self { key: key(page, i).to_vec(), behind })
    }
}

/// Short keys of few letters, so that many are prefixes of others, and long ones.
fn key_of(page_size: usize) -> impl Strategy<Value = Vec<u8>> {
    let letter = prop::sample::select(&[0_u8, 1, b'a', b'b', 127, 128, 255][..]);
    prop_oneof![
        3 => collection::vec(letter.clone(), 1..4),
        2 => collection::vec(letter, 6..12),
        2 => collection::vec(any::<u8>(), 1..=max_key(page_size).min(150)),
        1 => collection::vec(any::<u8>(), max_key(page_size)..=max_key(page_size)),
    ]
}

/// Any lawful cell for a page of that level.
fn cell_of(page_size: usize, level: u8) -> BoxedStrategy<Owned> {
    let key = key_of(page_size);
    if level > 0 {
        let child = any::<(u32, u32)>().prop_map(|(block, crc)| Behind::Child(block, crc));
        return (key, child).prop_map(|(key, behind)| Owned { key, behind }).boxed();
    }
    let byte = any::<u8>();
    let length = prop_oneof![0..40_usize, 0..max_cell(page_size), Just(max_cell(page_size))];
    let behind = prop_oneof![
        4 => (length, byte).prop_map(|(length, byte)| Behind::Inline(vec![byte; length])),
        1 => any::<(u32, u32, u32)>().prop_map(|(len, block, crc)| Behind::Overflow(len, block, crc)),
    ];
    (key, behind)
        .prop_map(move |(key, behind)| {
            let mut cell = Owned { key, behind };
            while cell.cell().size() > max_cell(page_size)
                && let Behind::Inline(value) = &mut cell.behind
            {
                value.pop();
            }
            cell
        })
        .boxed()
}

/// What a page must be: cells by key.
fn assert_is(page: &[u8], cells: &[Owned]) {
    assert_eq!(count(page), cells.len());
    for (i, cell) in cells.iter().enumerate() {
        assert_eq!(Owned::read(page, i).as_ref(), Some(cell), "cell {i}");
    }
    let sizes: usize = cells.iter().map(|cell| cell.cell().size()).sum();
    assert_eq!((used(page), room(page)), (sizes, usable(page.len()) - sizes));
    assert_eq!(
        is_ordered(page, &[], None),
        level(page) == 0 || !cells.is_empty(),
        "an inner page has children"
    );
}

/// A page of these cells, or as many of them as fit; without two of one key, in order.
fn filled(page_size: usize, level: u8, cells: &mut Vec<Owned>) -> Vec<u8> {
    let (mut page, mut scratch) = (vec![0; page_size], vec![0; page_size]);
    init(&mut page, level, 1);
    let mut placed: Vec<Owned> = Vec::new();
    for cell in cells.iter() {
        if let Err(i) = placed.binary_search_by(|other| other.key.cmp(&cell.key))
            && insert(&mut page, &mut scratch, i, &cell.cell())
        {
            placed.insert(i, cell.clone());
        }
    }
    *cells = placed;
    page
}
