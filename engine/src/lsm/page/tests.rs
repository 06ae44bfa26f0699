//! Pages of pairs against a sorted list, both kinds of them; and with any bit flipped.

use std::collections::BTreeMap;
use std::format;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::node::{self, Cell, Pointer};

type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A generator of its own: the tests of a crate without dependencies.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end) as usize
    }

    /// Keys of few letters, so that they have much in common.
    fn key(&mut self, letters: u64, longest: u64) -> Vec<u8> {
        let len = 1 + self.below(longest);
        (0..len).map(|_| b'a' + self.below(letters) as u8).collect()
    }

    fn pairs(&mut self, count: usize, letters: u64, longest: u64) -> Pairs {
        let mut map = BTreeMap::new();
        for _ in 0..count {
            let key = self.key(letters, longest);
            let value = (self.below(4) != 0).then(|| {
                vec![self.below(256) as u8; if self.below(8) == 0 { IN_TABLE } else { self.below(150) }]
            });
            map.insert(key, value);
        }
        map.into_iter().collect()
    }
}

/// Values of so many bytes stand for long ones, whose places they are.
fn said(value: &[u8]) -> Value<'_> {
    if value.len() == IN_TABLE { Value::Long(Long::read(value, false)) } else { Value::Short(value) }
}

fn heard(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Short(value) => value.to_vec(),
        Value::Long(long) => {
            let mut bytes = vec![0; IN_TABLE];
            long.write(&mut bytes);
            bytes
        }
    }
}

/// As many of the pairs as have room.
fn grouped(size: usize, pairs: &mut Pairs) -> Vec<u8> {
    let mut page = vec![0xEE; size];
    let mut end = init(&mut page, 7);
    let fit = pairs
        .iter()
        .take_while(|(key, value)| push(&mut page, &mut end, key, value.as_deref().map(said)))
        .count();
    pairs.truncate(fit);
    page
}

/// The same as a leaf of version 3.
fn leaf(size: usize, pairs: &mut Pairs) -> Vec<u8> {
    let mut page = vec![0; size];
    node::init(&mut page, 0, 7);
    let none = node::Value::Overflow { len: u32::MAX, first: Pointer { block: u32::MAX, crc: u32::MAX } };
    let mut at = 0;
    pairs.retain(|(key, value)| {
        let value = value.as_deref().map_or(none, node::Value::Inline);
        let fits = node::insert(&mut page, &mut [], at, &Cell::Leaf { key, value });
        at += usize::from(fits);
        fits
    });
    page
}

fn joined(key: Key<'_>) -> Vec<u8> {
    let mut bytes = vec![0; key.len()];
    assert_eq!(key.copy(&mut bytes), key.len());
    bytes
}

/// All that can be asked of a page.
fn says(page: &[u8], pairs: &Pairs, asked: &[Vec<u8>]) {
    assert_eq!(count(page), pairs.len());
    let mut before = None;
    for (cell, (key, value)) in pairs.iter().enumerate() {
        let at = position(page, cell);
        if let Some(before) = before {
            assert_eq!(next(page, before, cell), at);
        }
        before = Some(at);
        let found = super::key(page, at);
        assert!(found.is(key) && joined(found) == *key);
        assert!(!found.is(&key[..key.len() - 1]) && !found.is(&[&key[..], b"a"].concat()));
        assert_eq!(found.prefix(), prefix(key));
        assert_eq!(super::value(page, at).map(|value| value.map(heard)), Some(value.clone()));
        assert_eq!(search(page, key), (cell, at, true));
        for (other, _) in pairs {
            assert_eq!(found.cmp((&other[..]).into()), key.cmp(other));
        }
        for other in 0..pairs.len() {
            let order = found.cmp(super::key(page, position(page, other)));
            assert_eq!(order, cell.cmp(&other));
        }
    }
    for key in asked {
        let found = pairs.binary_search_by(|(other, _)| other.cmp(key));
        let (cell, at, is_there) = search(page, key);
        assert_eq!((cell, is_there), (found.unwrap_or_else(|cell| cell), found.is_ok()));
        assert!(cell == pairs.len() || at == position(page, cell));
    }
}

#[test]
fn a_page_says_what_was_put_in() {
    let mut random = Random(20);
    for round in 0..600 {
        let size = [512, 1024, 4096, 65536][round % 4];
        let (letters, longest) = [(2, 12), (26, 24), (1, 40), (3, 4)][round / 4 % 4];
        let count = 1 + random.below(if round % 5 == 0 { 3 } else { 60 });
        let pairs = random.pairs(count, letters, longest);
        let mut asked: Vec<_> = (0..30).map(|_| random.key(letters, longest + 1)).collect();
        asked.extend(
            pairs.iter().flat_map(|(key, _)| [[key, &b"\0"[..]].concat(), key[..key.len() - 1].to_vec()]),
        );
        let (mut new, mut old) = (pairs.clone(), pairs);
        let page = grouped(size, &mut new);
        says(&page, &new, &asked);
        assert_eq!((node::level(&page), node::generation(&page)), (0, 7));
        let page = leaf(size, &mut old);
        says(&page, &old, &asked);
    }
}

#[test]
fn what_keys_share_is_there_once() {
    let mut pairs: Pairs = (0..1000)
        .map(|n| (format!("a rather long key that counts to {n:04}").into_bytes(), Some(vec![1; 4])))
        .collect();
    let page = grouped(4096, &mut pairs);
    // Lengths and value take 7 bytes; the key 37 once, and then one, two, or what of it is not shared.
    assert!(pairs.len() > 4080 * 8 / (7 * 8 + 2 + 37 + 7 * 2), "{}", pairs.len());
    assert!(used(&page) + 12 + 20 > 4096, "{}", used(&page));
    let mut random = Random(4);
    // As random as keys can be: two bytes of 24 are shared as a rule.
    let mut pairs: Pairs = (0..600_000_u64)
        .take(30)
        .map(|n| {
            let head = n * (u64::MAX / 600_000);
            let rest = (0..16).map(|_| random.below(256) as u8);
            (head.to_be_bytes().into_iter().chain(rest).collect(), Some(vec![3; 150]))
        })
        .collect();
    grouped(4096, &mut pairs);
    assert_eq!(pairs.len(), 23);
}

#[test]
fn lengths_at_their_ends() {
    for value in [0, 126, 127, 128, 16_382, 16_383, 20_000] {
        for key in [1, 127, 128, 8000] {
            let mut pairs: Pairs = vec![
                (vec![1; key], Some(vec![5; value])),
                ([&vec![1; key][..], &[2]].concat(), Some(vec![6; value])),
                (vec![2; key], None),
            ];
            let page = grouped(65536, &mut pairs);
            assert_eq!(pairs.len(), 3, "{key} {value}");
            says(&page, &pairs, &[]);
        }
    }
}

/// A page is full to the last byte, or not at all: nothing is written where it ends.
#[test]
fn a_page_is_filled_to_the_end() {
    for value in 0..500 {
        let mut page = vec![0; 512];
        let mut end = init(&mut page, 1);
        let fits = 12 + 3 + 3 + usize::from(value >= 127) + value + 2 <= 512;
        let before = page.clone();
        assert_eq!(push(&mut page, &mut end, b"key", Some(Value::Short(&vec![9; value]))), fits, "{value}");
        assert!(fits || page == before);
    }
}

/// Bytes that no checksum has looked at do no harm.
#[test]
fn any_bytes_are_some_page() {
    let mut random = Random(3);
    let mut pairs = random.pairs(40, 3, 12);
    let page = grouped(512, &mut pairs);
    let asked: Vec<_> = (0..4).map(|_| random.key(3, 12)).collect();
    let mut tried = 0;
    for bit in 0..page.len() * 8 {
        let mut page = page.clone();
        page[bit / 8] ^= 1 << (bit % 8);
        let mut scratch = vec![0; 600];
        for cell in 0..count(&page).min(100) {
            let at = position(&page, cell);
            key(&page, at).copy(&mut scratch);
            value(&page, at);
            next(&page, at, cell + 1);
        }
        asked.iter().for_each(|key| assert!(search(&page, key).0 <= count(&page)));
        used(&page);
        tried += 1;
    }
    assert_eq!(tried, 4096);
}
