//! What the functions over one slotted page cost: pages of 4 KiB, pairs of 24 and 150 bytes, inner pages of about 120
//! children. `cargo bench -p esker --bench page`.
//!
//! The functions are not public, so their source is taken in here.

#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../src/codec/mod.rs"]
mod codec;
#[path = "../src/node/mod.rs"]
mod node;

use std::hint::black_box;
use std::time::Instant;

use node::{Cell, Pointer, Value};

const PAGE: usize = 4096;
/// Few enough to stay in the nearest cache; and more than any has room for.
const POOLS: [(&str, usize); 2] = [("near", 4), ("far", 16_384)];
/// Questions of one round, and how many rounds go by until they come again: too many for a branch predictor to learn.
const ROUND: usize = 2048;
const ROUNDS: usize = 128;

/// The same numbers in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let n = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ n >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Keys of 24 bytes that differ in the first, or only behind 12 that are all alike.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    Random,
    Prefixed,
}

impl Keys {
    fn make(self, numbers: &mut Numbers) -> [u8; 24] {
        let mut key = [0; 24];
        for part in key.chunks_mut(8) {
            part.copy_from_slice(&numbers.next().to_be_bytes());
        }
        if self == Self::Prefixed {
            key[..12].copy_from_slice(b"customer/eu/");
        }
        key
    }
}

struct Pool {
    pages: Vec<Vec<u8>>,
    keys: Vec<Vec<[u8; 24]>>,
}

/// Full pages of that level, and what is in them.
fn pool(pages: usize, level: u8, kind: Keys) -> Pool {
    let mut numbers = Numbers(1);
    let mut scratch = vec![0; PAGE];
    let mut pool = Pool { pages: Vec::new(), keys: Vec::new() };
    for _ in 0..pages {
        let mut page = vec![0; PAGE];
        node::init(&mut page, level, 1);
        let mut keys = Vec::new();
        loop {
            let key = kind.make(&mut numbers);
            let Err(i) = node::search(&page, &key) else { continue };
            let cell = if level == 0 {
                Cell::Leaf { key: &key, value: Value::Inline(&[7; 150]) }
            } else {
                Cell::Child { key: &key, child: Pointer { block: 1, crc: 2 } }
            };
            if !node::insert(&mut page, &mut scratch, i, &cell) {
                break;
            }
            keys.push(key);
        }
        pool.pages.push(page);
        pool.keys.push(keys);
    }
    pool
}

/// A page and one of its keys, at random.
fn questions(pool: &Pool) -> Vec<(usize, [u8; 24])> {
    let mut numbers = Numbers(2);
    let question = |_| {
        let page = numbers.below(pool.pages.len());
        let keys = &pool.keys[page];
        (page, keys[numbers.below(keys.len())])
    };
    (0..ROUND * ROUNDS).map(question).collect()
}

/// Prints what one of `times` calls took in the best of many rounds: others may be at work on this machine, and none of
/// them makes anything faster.
fn measure(name: &str, times: usize, mut calls: impl FnMut()) {
    let best = (0..300)
        .map(|_| {
            let start = Instant::now();
            calls();
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:40} {:8.1} ns", best.as_secs_f64() * 1e9 / times as f64);
}

fn search() {
    for (name, level) in [("leaf", 0), ("inner", 1)] {
        for (kind, keys) in [(Keys::Random, "random"), (Keys::Prefixed, "prefixed")] {
            for (distance, pages) in POOLS {
                let pool = pool(pages, level, kind);
                let questions = questions(&pool);
                let cells = pool.keys[0].len();
                let mut rounds = questions.chunks(ROUND).cycle();
                let mut last = 0;
                measure(&format!("search {name} of {cells}, {keys}, {distance}"), ROUND, || {
                    for (page, key) in rounds.next().into_iter().flatten() {
                        // As in a tree, none begins before the one before it has ended.
                        let page = &pool.pages[*page + (last >> 20)];
                        last = black_box(if level == 0 {
                            node::search(black_box(page), black_box(key)).unwrap_or(0)
                        } else {
                            node::child_index(black_box(page), black_box(key))
                        });
                    }
                });
            }
        }
    }
}

fn change() {
    let pool = pool(1, 0, Keys::Random);
    let (full, keys) = (&pool.pages[0], &pool.keys[0]);
    let (mut page, mut other, mut scratch) = (vec![0; PAGE], vec![0; PAGE], vec![0; PAGE]);
    let pair = |key| Cell::Leaf { key, value: Value::Inline(&[7; 150]) };
    // The new cell goes to the beginning of the heap and comes off it again, so the page stays as it is.
    node::init(&mut page, 0, 1);
    for (n, key) in keys.iter().enumerate().take(21) {
        black_box(node::insert(&mut page, &mut scratch, n, &pair(key)));
    }
    measure("insert and remove", 21, || {
        for (n, key) in keys.iter().enumerate().take(21) {
            black_box(node::insert(black_box(&mut page), &mut scratch, n * 8 % 21, &pair(key)));
            node::remove(black_box(&mut page), n * 8 % 21);
        }
    });
    measure("init, fill: search and insert", keys.len(), || {
        node::init(&mut page, 0, 1);
        for key in keys {
            let (Ok(i) | Err(i)) = node::search(black_box(&page), key);
            black_box(node::insert(black_box(&mut page), &mut scratch, i, &pair(key)));
        }
    });
    measure("init", 1, || node::init(black_box(&mut page), 0, 1));
    measure("copy of a page, for comparison", 1, || page.copy_from_slice(black_box(full)));
    measure("copy, init, split", 1, || {
        page.copy_from_slice(full);
        node::init(&mut other, 0, 1);
        let point = node::split_point(black_box(&page), 7, 180, false);
        let count = node::count(&page);
        black_box(node::move_cells(&mut page, point, count, black_box(&mut other), &mut scratch));
    });
    measure("copy, remove, insert: closes the hole", 1, || {
        page.copy_from_slice(full);
        node::remove(&mut page, 11);
        black_box(node::insert(black_box(&mut page), &mut scratch, 9, &pair(&keys[0])));
    });
    page.copy_from_slice(full);
    measure("overwrite a value", 100, || {
        for _ in 0..100 {
            black_box(node::replace_inline(black_box(&mut page), 9, &[8; 150]));
        }
    });
    measure("seal", 1, || _ = black_box(node::seal(black_box(&mut page), 1, 2)));
    measure("is_ordered", 1, || _ = black_box(node::is_ordered(black_box(&page), &[], None)));
}

fn main() {
    search();
    change();
}
