//! What the memtable costs: 5,000 chunks of 4 KiB, pairs of 24 and 150 bytes. `cargo bench -p esker --bench memtable`.
//!
//! It is not public, so its source is taken in here.

#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../src/codec/mod.rs"]
mod codec;
#[path = "../src/lsm/memtable/mod.rs"]
mod memtable;
#[path = "../src/node/mod.rs"]
mod node;

use std::hint::black_box;
use std::ops::Bound;
use std::time::Instant;

use memtable::{Memtable, State};

const CHUNK: usize = 4096;
const CHUNKS: usize = 5000;
const ROUND: usize = 2048;

/// The same numbers in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let n = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ n >> 31
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Keys {
    Random,
    /// They differ only behind 12 bytes that are all alike.
    Prefixed,
    Ascending,
}

fn key(kind: Keys, n: u64) -> [u8; 24] {
    let mut key = [0; 24];
    let mut numbers = Numbers(n.wrapping_mul(77));
    for part in key.chunks_mut(8) {
        part.copy_from_slice(&numbers.next().to_be_bytes());
    }
    match kind {
        Keys::Random => {}
        Keys::Prefixed => key[..12].copy_from_slice(b"customer/eu/"),
        Keys::Ascending => key[..8].copy_from_slice(&n.to_be_bytes()),
    }
    key
}

/// Prints the median of what one of `times` calls took, and the best.
fn report(name: &str, kind: Keys, times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).unwrap_or(&0.0);
    println!("{:40} {median:8.1} ns, best {:8.1} ns", format!("{name}, {kind:?}"), times[0]);
}

fn timed(times: &mut Vec<f64>, count: usize, calls: impl FnOnce()) {
    let start = Instant::now();
    calls();
    times.push(start.elapsed().as_secs_f64() * 1e9 / count as f64);
}

fn run(kind: Keys) {
    let mut bytes = vec![0; (CHUNKS + 1) * (CHUNK + 16)];
    let mut state = State::new();
    let mut table = Memtable { bytes: &mut bytes, state: &mut state };
    table.divide(CHUNK);
    let value = [7; 150];
    let mut inserted = 0_u64;
    let (mut inserts, mut full) = (Vec::new(), false);
    while !full {
        let keys: Vec<_> = (inserted..inserted + ROUND as u64).map(|n| key(kind, n)).collect();
        timed(&mut inserts, ROUND, || {
            for key in &keys {
                if !table.insert(key, Some(&value), inserted * 200) {
                    full = true;
                    break;
                }
                inserted += 1;
            }
        });
    }
    inserts.pop();
    let last = inserts.len() - inserts.len() / 4;
    let fill = inserted as f64 / (CHUNKS * (4080 / 182)) as f64;
    println!("{kind:?}: {inserted} pairs, {:.0} % full", fill * 100.0);
    report("insert, from empty to full", kind, &mut inserts.clone());
    report("insert, the last quarter", kind, &mut inserts[last..]);
    let mut numbers = Numbers(5);
    let mut finds = Vec::new();
    let mut replaces = Vec::new();
    for _ in 0..200 {
        let keys: Vec<_> = (0..ROUND).map(|_| key(kind, numbers.next() % inserted)).collect();
        timed(&mut finds, ROUND, || {
            for key in &keys {
                let at = table.find(black_box(key));
                black_box(at.and_then(|at| table.record(at)));
            }
        });
        timed(&mut replaces, ROUND, || {
            for key in &keys {
                table.insert(black_box(key), Some(&value), inserted * 200 + 1);
            }
        });
    }
    report("find and record", kind, &mut finds);
    report("replace", kind, &mut replaces);
    let mut times = Vec::new();
    timed(&mut times, 1, || _ = black_box(table.lowest()));
    report("lowest, many replaced", kind, &mut times);
    for _ in 0..20 {
        timed(&mut times, 1, || _ = black_box(table.lowest()));
    }
    report("lowest", kind, &mut times);
    for (name, every) in [("one in 1000 of them", 1000), ("every other one", 2), ("all", 1)] {
        let len = table.state.len();
        let mut times = Vec::new();
        timed(&mut times, len as usize, || {
            let mut at = table.seek(Bound::Unbounded, true);
            let mut n = 0;
            while let Some(place) = at {
                if n % every == 0 {
                    black_box(table.record(place));
                    table.mark(place);
                }
                n += 1;
                at = table.step(place, true);
            }
        });
        report(&format!("walk and mark {name}, each step"), kind, &mut times);
        let used = table.state.chunks().0;
        let mut times = Vec::new();
        timed(&mut times, 1, || table.drop_merged());
        report(&format!("drop {name} ({used} chunks)"), kind, &mut times);
        println!("    {} chunks left", table.state.chunks().0);
    }
}

fn main() {
    for kind in [Keys::Random, Keys::Prefixed, Keys::Ascending] {
        run(kind);
    }
}
