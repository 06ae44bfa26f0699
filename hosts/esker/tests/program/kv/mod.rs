//! `esker kv` as a user runs it.

mod commands;
mod damage;
mod kills;
mod loads;
mod refusals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Stdio};

use super::{Place, Random};

/// What a store may be made with.
const ENGINES: [&str; 2] = ["btree", "lsm"];

/// A place with a small store, `dev`: a B-tree.
fn place() -> Place {
    place_with("btree")
}

fn place_with(engine: &str) -> Place {
    let place = Place::new();
    // Segments for values of some length.
    place.ok(&format!("kv create dev --engine {engine} --size 4M --segment-size 64K"));
    place
}

/// One with each engine, for tests of what they have in common.
fn places() -> impl Iterator<Item = Place> {
    ENGINES.into_iter().map(|engine| {
        // Told when the test fails.
        println!("with {engine}");
        place_with(engine)
    })
}

/// So many pairs in no order, as CSV; some keys come more than once. And what a store of them holds.
fn pairs(count: usize, seed: u64) -> (String, BTreeMap<String, String>) {
    let (mut csv, mut held) = (String::new(), BTreeMap::new());
    let mut random = Random(seed);
    for n in 0..count {
        let key = format!("key {:06}", random.below(count as u64 * 2));
        let value = format!("{n} {}", "x".repeat(random.below(120) as usize));
        writeln!(csv, "{key},{value}").unwrap();
        held.insert(key, value);
    }
    (csv, held)
}

/// As `dump` writes it.
fn csv(held: &BTreeMap<String, String>) -> String {
    held.iter().map(|(key, value)| format!("{key},{value}\n")).collect()
}

/// A load from a stream that is silent now; what it has acknowledged, up to `line`.
fn half_loaded(place: &Place, arguments: &str, input: &[u8], line: u64) -> Child {
    let mut child = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(input).unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while said.trim_end() != format!("durable {line}") {
        said.clear();
        assert!(told.read_line(&mut said).unwrap() > 0, "{arguments}");
    }
    child
}
