//! Each way in which a page can be out of order shows.

use super::*;

const SIZE: usize = 512;

fn pair<'a>(key: &'a [u8], value: &'a [u8]) -> Cell<'a> {
    Cell::Leaf { key, value: Value::Inline(value) }
}

fn page_of(level: u8, cells: &[Cell<'_>]) -> [u8; SIZE] {
    let (mut page, mut scratch) = ([0; SIZE], [0; SIZE]);
    init(&mut page, level, 1);
    for (i, cell) in cells.iter().enumerate() {
        assert!(insert(&mut page, &mut scratch, i, cell));
    }
    page
}

/// A good leaf; the cells begin at 508, 504 and 500, and between the second and the third there is a hole.
fn leaf() -> [u8; SIZE] {
    let mut page = page_of(0, &[pair(b"b", b"1"), pair(b"d", b"2"), pair(b"e", b"3"), pair(b"f", b"4")]);
    remove(&mut page, 2);
    assert_eq!((heap(&page), half_at(&page, GARBAGE)), (496, 4));
    page
}

fn ordered(page: &[u8]) -> bool {
    is_ordered(page, b"a", Some(b"g"))
}

#[track_caller]
fn shows(what: &str, damage: impl FnOnce(&mut [u8])) {
    let mut page = leaf();
    assert!(ordered(&page));
    damage(&mut page);
    assert!(!ordered(&page), "{what}");
}

#[test]
fn what_the_header_says_must_go_with_the_cells() {
    shows("a byte more in holes", |page| set_half(page, GARBAGE, 5));
    shows("a byte less", |page| set_half(page, GARBAGE, 3));
    shows("a heap that begins earlier", |page| set_half(page, HEAP, 495));
    shows("a cell before the heap", |page| {
        set_half(page, HEAP, 500);
        set_half(page, GARBAGE, 0);
    });
    shows("a heap behind the page", |page| set_half(page, HEAP, 513));
    shows("a cell less", |page| set_half(page, COUNT, 2));
    shows("a cell more", |page| set_half(page, COUNT, 4));
    shows("no cell", |page| set_half(page, COUNT, 0));
    shows("more cells than there can be", |page| set_half(page, COUNT, 60_000));
    shows("flags", |page| page[FLAGS] = 1);
    shows("another kind", |page| page[LEVEL] = 1);
    for level in [0, 1] {
        let mut full = [0; SIZE];
        init(&mut full, level, 1);
        assert_eq!(ordered(&full), level == 0, "only a leaf may be empty");
        set_half(&mut full, HEAP, SIZE + 1);
        assert!(!ordered(&full), "an empty page ends where it ends");
    }
}

/// The second byte of a slot is the first of the cell that it points to: an empty key.
#[test]
fn cells_do_not_reach_into_the_slots() {
    for at in [17, 18] {
        let mut page = page_of(1, &[]);
        set_half(&mut page, COUNT, 1);
        set_half(&mut page, slot(0), at);
        set_half(&mut page, HEAP, at);
        set_half(&mut page, GARBAGE, SIZE - at - 9);
        assert_eq!((key(&page, 0), child(&page, 0)), (&[][..], Some(Pointer::default())));
        assert_eq!(ordered(&page), at == 18, "a cell at {at}");
    }
}

#[test]
fn cells_must_be_whole_and_lawful() {
    shows("a slot that points elsewhere", |page| set_half(page, slot(1), 503));
    shows("a slot behind the page", |page| set_half(page, slot(1), 600));
    shows("a longer key", |page| page[508] = 2);
    shows("a longer value", |page| page[508 + 2] = 4);
    shows("a pointer of 1 byte", |page| page[508 + 2] |= 1);
    shows("an empty key", |page| {
        // What was the key is the value's length now.
        page[508..].copy_from_slice(&[0, 4, 0, 0]);
    });
    let long = [b'b'; SIZE];
    let (most, cell) = (max_key(SIZE), max_cell(SIZE));
    assert!(ordered(&page_of(0, &[pair(&long[..most], b"")])));
    assert!(!ordered(&page_of(0, &[pair(&long[..most + 1], b"")])), "a key that is too long");
    for (value, lawful) in [(cell - 2 - 1 - 1 - 1, true), (cell - 2 - 1 - 1, false)] {
        // Its length is one byte longer than that of a short one, but insert would not take it.
        let mut page = page_of(0, &[]);
        let cell = pair(b"b", &long[..value - 1]);
        let position = SIZE - (cell.size() - SLOT);
        cell.write(&mut page[position..]);
        set_half(&mut page, COUNT, 1);
        set_half(&mut page, slot(0), position);
        set_half(&mut page, HEAP, position);
        assert_eq!((ordered(&page), cell.size() <= max_cell(SIZE)), (lawful, lawful), "{value}");
    }
}

#[test]
fn keys_ascend_between_the_bounds() {
    shows("two alike", |page| page[504 + 1] = b'b');
    shows("two the other way round", |page| page[504 + 1] = b'a');
    shows("one slot twice", |page| {
        set_half(page, slot(1), 508);
        set_half(page, GARBAGE, 4);
    });
    let page = leaf();
    for (low, high, fits) in
        [(&b"b"[..], &b"f\0"[..], true), (b"b\0", b"g", false), (b"a", b"f", false), (b"a", b"e", false)]
    {
        assert_eq!(is_ordered(&page, low, Some(high)), fits, "{low:?}..{high:?}");
    }
    let child = |key| Cell::Child { key, child: Pointer::default() };
    for (keys, fits) in [
        ([&b""[..], b"n"], true),
        ([b"m", b"n"], true),
        ([b"l", b"n"], false),
        ([b"", b"m"], false),
        ([b"", b"l"], false),
        ([b"", b"p"], false),
        ([b"n", b"n"], false),
        ([b"n", b""], false),
    ] {
        assert_eq!(is_ordered(&page_of(1, &keys.map(child)), b"m", Some(b"p")), fits, "{keys:?}");
    }
}
