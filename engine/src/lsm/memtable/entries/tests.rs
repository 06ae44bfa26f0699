//! The memtable against a map that goes through the same changes.

use std::collections::BTreeMap;
use std::format;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::lsm::memtable::Kind;

/// The same cases in every run: as many as this, or as the environment asks for.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let rng_seed = RngSeed::Fixed(1);
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 300, ..default }
}

/// Numbers below any bound, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Values of so many bytes stand for long ones, whose places they are.
fn said(value: &[u8]) -> Value<'_> {
    if value.len() == IN_LOG { Value::Long(Long::read(value, true)) } else { Value::Short(value) }
}

fn heard(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Short(value) => value.to_vec(),
        Value::Long(long) => {
            let mut bytes = vec![0; IN_LOG];
            long.write(&mut bytes);
            bytes
        }
    }
}

/// What the map knows of a key.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    value: Option<Vec<u8>>,
    offset: u64,
    merged: bool,
}

/// A memtable and its map.
struct Pair {
    bytes: Vec<u8>,
    state: Entries,
    size: usize,
    map: BTreeMap<Vec<u8>, Known>,
}

impl Pair {
    fn new(size: usize, chunks: usize) -> Self {
        // What is left over is not enough for one more.
        let bytes = vec![0xEE; (chunks + 1) * (size + FENCE) - 1];
        let mut pair = Self { bytes, state: Entries::NEW, size, map: BTreeMap::new() };
        assert_eq!(pair.table().divide(size) as usize, chunks);
        assert_eq!(pair.table().state.room(), (0, chunks as u32));
        pair.lend(chunks as u32);
        pair
    }

    fn table(&mut self) -> Memtable<'_, Entries> {
        let lent = self.state.lent as usize * self.size;
        Memtable { bytes: &mut self.bytes[lent..], state: &mut self.state }
    }

    /// Whoever has these pages writes what he likes into them.
    fn lend(&mut self, pages: u32) {
        self.state.lend(pages);
        self.bytes[..pages as usize * self.size].fill(0xDD);
    }

    /// Whether it was put in. That it must be where there is room, and only then changes anything, is checked.
    fn insert(&mut self, key: &[u8], value: Option<&[u8]>, offset: u64) -> bool {
        let unused = self.state.unused();
        if self.state.lent >= unused.max(1) {
            self.lend(unused.saturating_sub(3));
        }
        let has_room = self.table().state.has_room();
        let (mut bytes, newest) = (Vec::new(), self.state.newest);
        if !has_room {
            bytes.clone_from(&self.bytes);
        }
        let pair_size = node::pair_size(key.len(), value.unwrap_or_default().len() + WORD);
        let done = self.table().insert(key, value.map(said), offset);
        if done {
            let value = value.map(<[u8]>::to_vec);
            self.map.insert(key.to_vec(), Known { value, offset, merged: false });
        } else {
            assert!(!has_room || pair_size > max_pair(self.size), "there was room");
            assert!(has_room || self.bytes == bytes, "nothing has changed");
            assert_eq!(self.state.newest, newest);
        }
        assert!(!done || pair_size <= max_pair(self.size));
        done
    }

    fn mark(&mut self, key: &[u8]) {
        let Some(at) = self.table().find(key) else {
            assert!(!self.map.contains_key(key));
            return;
        };
        self.table().mark(at);
        self.map.get_mut(key).unwrap().merged = true;
    }

    fn drop_merged(&mut self) {
        self.table().settle(true);
        self.map.retain(|_, known| !known.merged);
        if self.state.used == 0 {
            self.lend(self.state.unused());
        }
    }

    fn unmark(&mut self) {
        self.table().settle(false);
        self.map.values_mut().for_each(|known| known.merged = false);
    }

    fn lowest(&self) -> Option<u64> {
        self.map.values().filter(|known| !known.merged).map(|known| known.offset).min()
    }

    /// The memtable has what the map has, and says so whichever way it is asked; and it is what the module says.
    fn check(&mut self) {
        let map = self.map.clone();
        let table = self.table();
        assert_eq!(table.state.len() as usize, map.len());
        let long = |known: &Known| match known.value.as_deref().map(said) {
            Some(Value::Long(long)) => long.len as usize,
            _ => 0,
        };
        assert_eq!(table.state.long(), map.values().map(long).sum::<usize>());
        for forward in [true, false] {
            let mut at = table.seek(Bound::Unbounded, forward);
            let mut expected: Vec<_> = map.iter().collect();
            if !forward {
                expected.reverse();
            }
            for (key, known) in expected {
                let place = at.unwrap_or_else(|| panic!("{} is missing", key.escape_ascii()));
                let record = table.entry(place).unwrap();
                let (offset, merged) = table.stamp(place);
                let found = Known { value: record.value.map(heard), offset, merged };
                assert_eq!((record.key, &found), (&key[..], known));
                assert_eq!(table.find(key), at);
                at = table.step(place, forward);
            }
            assert_eq!(at, None, "nothing more");
        }
        self.check_chunks();
    }

    /// What is in the directory is in the chunks.
    fn check_chunks(&mut self) {
        let table = self.table();
        let mut numbers = Vec::new();
        let mut last: Vec<u8> = Vec::new();
        for index in 0..table.state.used {
            let (fence, chunk) = (table.fence(index), table.chunk(index));
            assert!(node::count(chunk) > 0, "no chunk in use is empty");
            assert!(index == 0 || node::key(chunk, 0) > &last[..], "chunks are in order");
            last = node::key(chunk, node::count(chunk) - 1).to_vec();
            assert!(node::is_ordered(chunk, &[], None) || node::key(chunk, 0).is_empty() || has_large(chunk));
            assert_eq!(fence.prefix, prefix(node::key(chunk, 0)));
            let words: Vec<u32> = (0..node::count(chunk)).map(|cell| entry(chunk, cell).0).collect();
            let marked = words.iter().filter(|word| **word & MERGED != 0).count();
            assert_eq!(node::generation(chunk) as usize, marked);
            assert!(marked == 0 || fence.chunk & MARKED != 0);
            assert_eq!(fence.lowest & NONE != 0, marked == words.len(), "all are merged, or not");
            let oldest = words.iter().filter(|word| **word & MERGED == 0).map(|word| table.age(*word)).max();
            let noted = table.age(fence.lowest);
            let fits = if fence.lowest & STALE != 0 { oldest <= Some(noted) } else { oldest == Some(noted) };
            assert!(oldest.is_none() || fits, "{oldest:?} {noted} {}", fence.lowest & FLAGS);
            numbers.push(fence.number());
        }
        let mut free = table.state.free;
        while free != NO_CHUNK {
            numbers.push(free);
            free = word_at(node::page(table.bytes, table.state.size, table.state.page(free)), 0);
        }
        numbers.extend(0..table.state.unused());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..table.state.total), "each chunk is in use, or free");
    }

    fn check_seek(&mut self, bound: Bound<&[u8]>) {
        let map = self.map.clone();
        let table = self.table();
        let found = |forward| table.seek(bound, forward).map(|at| table.entry(at).unwrap().key);
        let first = map.range::<[u8], _>((bound, Bound::Unbounded)).next();
        let last = map.range::<[u8], _>((Bound::Unbounded, bound)).next_back();
        assert_eq!(found(true), first.map(|(key, _)| &key[..]));
        assert_eq!(found(false), last.map(|(key, _)| &key[..]));
    }
}

/// Whether a cell is larger than those of a tree may be.
fn has_large(chunk: &[u8]) -> bool {
    (0..node::count(chunk)).any(|cell| {
        let key = node::key(chunk, cell).len();
        let size = node::pair_size(key, entry(chunk, cell).1.len() + WORD);
        size > node::max_cell(chunk.len()) || key > node::max_key(chunk.len())
    })
}

#[derive(Clone, Debug)]
enum Step {
    /// The number of a key, the length of a value that is no tombstone, and how far the log is written.
    Insert(u32, Option<usize>, u32),
    /// In a row from this key on, upwards or downwards.
    Run(u32, bool, usize, usize),
    Mark(u32),
    /// Entries from this key on, as a merge does it.
    MarkRange(u32, usize),
    DropMerged,
    Unmark,
    Clear,
    Lowest,
    Seek(u32),
}

/// How numbers become keys.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Of one to four bytes, and some of them zero; so that they are equal in their prefixes when padded.
    Short,
    /// They are different only behind a common prefix of so many bytes.
    Common(usize),
    /// Spread, and some as long as a quarter of the chunk.
    Long(usize),
}

impl Keys {
    fn key(self, n: u32) -> Vec<u8> {
        match self {
            Self::Short => {
                let len = 1 + (n % 4) as usize;
                let letters = [0, 1, 255, b'k'];
                (0..len).map(|i| letters[(n >> (2 + 2 * i)) as usize % 4]).collect()
            }
            Self::Common(len) => [&vec![b'/'; len], &n.to_be_bytes()[..]].concat(),
            Self::Long(longest) => {
                let spread = n.wrapping_mul(0x9E37_79B1);
                let mut key = spread.to_be_bytes().to_vec();
                if n.is_multiple_of(3) {
                    key.resize(longest, n as u8);
                }
                key
            }
        }
    }
}

fn steps() -> impl Strategy<Value = (usize, usize, Keys, u64, Vec<Step>)> {
    let size = prop_oneof![3 => Just(512_usize), 1 => Just(4096_usize)];
    let chunks = prop_oneof![3 => 0..6_usize, 3 => 6..30_usize, 1 => Just(80_usize)];
    (size, chunks).prop_flat_map(|(size, chunks)| {
        let keys =
            prop_oneof![Just(Keys::Short), (0..20_usize).prop_map(Keys::Common), Just(Keys::Long(size / 4)),];
        let n = 0..2000_u32;
        let len = prop_oneof![6 => 0..40_usize, 2 => Just(IN_LOG), 2 => 0..max_pair(size), 1 => Just(max_pair(size) - 20)];
        let value = prop::option::weighted(0.8, len);
        let gone_by = prop_oneof![9 => 0..300_u32, 1 => 0..1_u32 << 20];
        let step = prop_oneof![
            20 => (n.clone(), value, gone_by).prop_map(|(n, len, by)| Step::Insert(n, len, by)),
            3 => (n.clone(), any::<bool>(), 0..100_usize, 0..60_usize)
                .prop_map(|(n, up, count, len)| Step::Run(n, up, count, len)),
            4 => n.clone().prop_map(Step::Mark),
            3 => (n.clone(), 0..150_usize).prop_map(|(n, count)| Step::MarkRange(n, count)),
            3 => Just(Step::DropMerged),
            1 => Just(Step::Unmark),
            3 => Just(Step::Lowest),
            3 => n.prop_map(Step::Seek),
        ];
        let step = prop_oneof![80 => step, 1 => Just(Step::Clear)];
        // Close to where thirty bits end, too.
        let start = prop_oneof![Just(0_u64), Just((5 << 30) - 2000), 0..1_u64 << 50];
        (Just(size), Just(chunks), keys, start, prop::collection::vec(step, 0..120))
    })
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn it_has_what_a_map_has((size, chunks, keys, start, steps) in steps()) {
        let mut pair = Pair::new(size, chunks);
        let mut offset = start;
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(key, len, by) => {
                    offset += u64::from(by);
                    let value = len.map(|len| vec![n as u8; len]);
                    pair.insert(&keys.key(key), value.as_deref(), offset);
                }
                Step::Run(first, up, count, len) => {
                    for i in 0..count as u32 {
                        offset += 1;
                        let key = if up { first.wrapping_add(i) } else { first.wrapping_sub(i) };
                        pair.insert(&keys.key(key), Some(&vec![i as u8; len]), offset);
                    }
                }
                Step::Mark(key) => pair.mark(&keys.key(key)),
                Step::MarkRange(first, count) => {
                    let first = keys.key(first);
                    let mut at = pair.table().seek(Bound::Included(&first), true);
                    for _ in 0..count {
                        let Some(place) = at else { break };
                        pair.table().mark(place);
                        let key = pair.table().entry(place).unwrap().key.to_vec();
                        pair.map.get_mut(&key).unwrap().merged = true;
                        at = pair.table().step(place, true);
                    }
                }
                Step::DropMerged => {
                    let before = pair.table().state.room().0;
                    pair.drop_merged();
                    prop_assert!(pair.table().state.room().0 <= before);
                }
                Step::Unmark => pair.unmark(),
                Step::Clear => {
                    Entries::clear(&mut pair.table());
                    pair.map.clear();
                }
                Step::Lowest => {
                    let lowest = pair.lowest();
                    prop_assert_eq!(pair.table().lowest(), lowest);
                }
                Step::Seek(key) => {
                    let key = keys.key(key);
                    for key in [&key[..], &key[..key.len() - 1], &[&key[..], &[0]].concat()] {
                        pair.check_seek(Bound::Included(key));
                        pair.check_seek(Bound::Excluded(key));
                    }
                }
            }
            pair.check();
        }
        let lowest = pair.lowest();
        prop_assert_eq!(pair.table().lowest(), lowest);
        pair.check_seek(Bound::Unbounded);
    }
}

/// The argument in the module: whatever the sizes of the pairs, one free chunk is enough.
#[test]
fn whatever_has_room_goes_in() {
    for size in (9..=16).map(|power| 1 << power) {
        let mut random = Random(size as u64);
        for round in 0..30 {
            let mut pair = Pair::new(size, 3 + round % 4);
            // Most of them as large as can be, or just too large for two of them to have room; or small.
            while pair.table().state.has_room() {
                let key = vec![random.below(256) as u8; 1 + random.below(size / 4)];
                let most = max_pair(size) - node::pair_size(key.len(), WORD);
                let len = match random.below(4) {
                    0 => most - most.min(2),
                    1 => most.saturating_sub(random.below(20)),
                    2 => random.below(most),
                    _ => random.below(most.min(16)),
                };
                // A length of two bytes takes one more.
                pair.insert(&key, Some(&vec![1; len]), 1);
            }
            pair.check();
        }
    }
}

#[test]
fn a_pair_is_half_a_chunk_at_most() {
    for size in (9..=16).map(|power| 1 << power) {
        let mut pair = Pair::new(size, 2);
        let value = vec![3; size];
        let len = (0..size).rev().find(|len| node::pair_size(1, len + WORD) <= max_pair(size)).unwrap();
        assert!(!pair.insert(b"a", Some(&value[..len + 1]), 1), "{size}");
        assert_eq!(pair.table().state.room().0, 0);
        assert!(pair.insert(b"a", Some(&value[..len]), 1), "{size}");
        assert!(pair.insert(b"b", Some(&value[..len]), 2));
        assert_eq!(pair.table().state.room().0, 1, "two of them fit into one");
        assert!(pair.insert(b"c", Some(&value[..len]), 3) || size > 32_768);
        pair.check();
    }
}

/// Without a free chunk an entry still makes room for the one that replaces it.
#[test]
fn what_is_replaced_makes_room() {
    let mut pair = Pair::new(512, 1);
    let value = [9; 300];
    for key in [b"a", b"b"] {
        assert!(pair.insert(key, Some(&value[..230]), 1));
    }
    for len in [230, 229, 100, 230, 0, 228, 230] {
        assert!(pair.insert(b"a", Some(&value[..len]), 2), "{len} bytes");
        pair.check();
    }
    assert!(pair.insert(b"b", Some(&value[..100]), 3));
    assert!(pair.insert(b"c", Some(&value[..100]), 3));
    assert!(!pair.insert(b"b", Some(&value[..150]), 4), "that is too much");
    pair.check();
}

/// Keys in order fill chunks whole, whichever way they go.
#[test]
fn keys_in_order_fill_chunks() {
    for descending in [false, true] {
        let mut pair = Pair::new(4096, 40);
        let mut n = 0_u32;
        loop {
            let key = if descending { u32::MAX - n } else { n };
            if !pair.insert(&key.to_be_bytes(), Some(&[7; 100]), n.into()) {
                break;
            }
            n += 1;
        }
        let in_one = node::usable(4096) / node::pair_size(4, 100 + WORD);
        assert_eq!(n as usize, 40 * in_one, "descending: {descending}");
        pair.check();
    }
}

/// Thirty bits are enough for offsets that are less than 2^30 apart, and no more.
#[test]
fn offsets_are_whole() {
    for first in [0, (1 << 30) - 1, 1 << 32, (7 << 30) + 5, u64::MAX - (1 << 31)] {
        let mut pair = Pair::new(512, 4);
        let last = first + (1 << 30) - 1;
        for (key, offset) in [(b"a", last), (b"b", first), (b"c", last - 5)] {
            assert!(pair.insert(key, None, offset));
        }
        pair.check();
        assert_eq!(pair.table().lowest(), Some(first));
        pair.mark(b"b");
        assert_eq!(pair.table().lowest(), Some(last - 5));
        pair.drop_merged();
        pair.insert(b"c", None, last - 5 + (1 << 30) - 1);
        assert_eq!(pair.table().lowest(), Some(last));
        pair.check();
    }
}

/// A merge that takes part of every chunk, again and again, leaves none nearly empty.
#[test]
fn what_is_left_over_moves_together() {
    let mut pair = Pair::new(4096, 64);
    let mut random = Random(1);
    let mut n = 0;
    while pair.table().state.has_room() {
        let key = random.below(1 << 30) as u32;
        pair.insert(&key.to_be_bytes(), Some(&[1; 60]), n);
        n += 1;
    }
    let keys: Vec<Vec<u8>> = pair.map.keys().cloned().collect();
    for (i, key) in keys.iter().enumerate() {
        if i % 16 != 0 {
            pair.mark(key);
        }
    }
    pair.drop_merged();
    pair.check();
    let bytes: usize = pair.map.keys().map(|key| node::pair_size(key.len(), 60 + WORD)).sum();
    let used = pair.table().state.room().0 as usize;
    let least = bytes.div_ceil(node::usable(4096));
    assert!(used <= 2 * least, "{used} chunks where {least} would do");
    assert!(pair.map.len() > 50, "something is left");
}

/// All that is dropped whole is room again, without a look into the rest.
#[test]
fn what_is_dropped_makes_room() {
    let mut pair = Pair::new(512, 10);
    for round in 0..5_u32 {
        let mut n = 0_u32;
        while pair.insert(format!("{:06}", n * 7919 % 100_000).as_bytes(), Some(&[0; 30]), (round + n).into())
        {
            n += 1;
        }
        assert!(n > 50 && !pair.table().state.has_room());
        let keys: Vec<Vec<u8>> = pair.map.keys().cloned().collect();
        keys.iter().for_each(|key| pair.mark(key));
        assert_eq!(pair.table().lowest(), None, "all is merged");
        pair.unmark();
        assert_eq!(pair.table().lowest(), pair.lowest());
        keys.iter().for_each(|key| pair.mark(key));
        pair.drop_merged();
        assert_eq!(pair.table().state.room(), (0, 10));
        pair.check();
    }
}

/// An entry that is replaced while it is in a table that is not published yet is newer than that, and stays.
#[test]
fn what_changes_during_a_merge_stays() {
    let mut pair = Pair::new(512, 4);
    for (i, key) in [b"a", b"b", b"c", b"d"].into_iter().enumerate() {
        pair.insert(key, Some(b"old"), i as u64);
    }
    for key in [b"a", b"b", b"c"] {
        pair.mark(key);
    }
    pair.insert(b"a", Some(b"new"), 10);
    pair.insert(b"b", Some(b"longer than before"), 11);
    pair.insert(b"bb", None, 12);
    assert_eq!(pair.table().lowest(), Some(3));
    pair.check();
    pair.drop_merged();
    pair.check();
    assert_eq!(pair.table().state.len(), 4, "all but c");
}

#[test]
fn without_memory_nothing_fits() {
    for (len, size) in [(0, 512), (511, 512), (512, 512), (1039, 512), (4096, 65_536)] {
        let mut bytes = vec![0xEE; len];
        let mut state = Entries::NEW;
        let mut table = Memtable { bytes: &mut bytes, state: &mut state };
        assert!(!table.state.has_room() && !table.insert(b"key", None, 0), "before it is divided");
        assert_eq!(table.divide(size), 0);
        assert!(!table.state.has_room() && !table.insert(b"key", None, 0));
        assert_eq!((table.find(b"key"), table.lowest(), table.state.len()), (None, None, 0));
        for forward in [true, false] {
            assert_eq!(table.seek(Bound::Unbounded, forward), None);
            assert_eq!(table.seek(Bound::Included(b"key"), forward), None);
        }
        table.settle(true);
        table.settle(false);
        Entries::clear(&mut table);
        assert_eq!((table.state.room(), bytes), ((0, 0), vec![0xEE; len]), "nothing is touched");
    }
}
