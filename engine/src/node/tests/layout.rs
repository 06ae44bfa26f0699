//! The bytes, as they are documented.

use super::*;
use crate::codec::Checksum;

#[test]
fn a_leaf_byte_by_byte() {
    let (mut page, mut scratch) = ([0xAA; 512], [0; 512]);
    init(&mut page, 0, 0x0403_0201);
    let long = [b'v'; 100];
    let first = Pointer { block: 0x1312_1110, crc: 0x2322_2120 };
    for (i, key, value) in [
        (0, &b"m"[..], Value::Inline(b"one")),
        (0, b"bb", Value::Overflow { len: 0x0A0B_0C0D, first }),
        (2, b"z", Value::Inline(&long)),
        (1, b"gone", Value::Inline(b"hole")),
    ] {
        assert!(insert(&mut page, &mut scratch, i, &Cell::Leaf { key, value }));
    }
    remove(&mut page, 1);
    assert_eq!(seal(&mut page, 77, 99), Checksum::new().word(77).word(99).bytes(&page[4..]).finish());
    let heap = 512 - 6 - 16 - 104;
    let mut expected = vec![0; 512];
    expected[..4].copy_from_slice(&seal(&mut page, 77, 99).to_le_bytes());
    expected[4..12].copy_from_slice(&[1, 2, 3, 4, 0, 0, 3, 0]);
    expected[12..14].copy_from_slice(&(heap as u16).to_le_bytes());
    // The last slot was moved down, and is still to be seen where it was.
    expected[16..24].copy_from_slice(&[0xEA, 1, 0xFA, 1, 0x82, 1, 0x82, 1]);
    expected[506..].copy_from_slice(b"\x01m\x06one");
    expected[490..506].copy_from_slice(b"\x02bb\x19\x0D\x0C\x0B\x0A\x10\x11\x12\x13\x20\x21\x22\x23");
    // The length is 100, times two: 200.
    expected[heap..heap + 4].copy_from_slice(b"\x01z\xC8\x01");
    expected[heap + 4..490].copy_from_slice(&long);
    // What was removed from the beginning of the heap left no hole, but its bytes.
    expected[heap - 10..heap].copy_from_slice(b"\x04gone\x08hole");
    assert_eq!(page[..], expected[..]);
}

#[test]
fn an_inner_page_byte_by_byte() {
    let (mut page, mut scratch) = (vec![0; 65_536], vec![0; 65_536]);
    init(&mut page, 2, 0);
    assert_eq!(page[8..16], [2, 0, 0, 0, 0, 0, 0, 0], "65536 is written as 0");
    let long = [b'k'; 300];
    let child = |n: u32| Pointer { block: n, crc: 0x0102_0304 };
    for (i, key) in [&b""[..], b"k", &long].into_iter().enumerate() {
        assert!(insert(&mut page, &mut scratch, i, &Cell::Child { key, child: child(i as u32) }));
    }
    remove(&mut page, 1);
    assert_eq!(page[65_527..], *b"\x00\0\0\0\0\x04\x03\x02\x01");
    assert_eq!(page[65_527 - 10 - 310..][..302], [&[0x80 | 44, 2][..], &long].concat());
    assert_eq!(page[65_527 - 10 - 8..][..8], *b"\x02\0\0\0\x04\x03\x02\x01");
    assert_eq!((page[10], half_at(&page, 12), half_at(&page, 14)), (2, 65_527 - 320, 10));
    assert_eq!((half_at(&page, 16), half_at(&page, 18)), (65_527, 65_527 - 320));
}

/// It is the pair whose value is the word and the value.
#[test]
fn a_stamped_pair_is_a_pair() {
    for len in [0, 1, 59, 60, 200] {
        let value = [&[1, 2, 3, 4][..], &vec![b'v'; len]].concat();
        let stamped = Cell::Stamped { key: b"key", word: 0x0403_0201, value: &value[4..] };
        let plain = Cell::Leaf { key: b"key", value: Value::Inline(&value) };
        assert_eq!((stamped.size(), plain.size()), (plain.size(), pair_size(3, value.len())));
        let pages = [stamped, plain].map(|cell| {
            let (mut page, mut scratch) = ([0; 512], [0; 512]);
            init(&mut page, 0, 0);
            assert!(insert(&mut page, &mut scratch, 0, &cell));
            page
        });
        assert_eq!(pages[0], pages[1]);
        let mut page = pages[0];
        value_mut(&mut page, 0).unwrap().fill(b'w');
        assert_eq!(super::value(&page, 0), Some(Value::Inline(&vec![b'w'; value.len()])));
        assert_eq!(value_mut(&mut page, 1), None);
        assert_eq!(used(&page), plain.size());
        assert!(overwrite(&mut page, 0, &stamped), "over what is of the same size");
        assert_eq!(page, pages[1]);
        let longer = [&value[..], b"v"].concat();
        for other in [
            Cell::Leaf { key: b"key", value: Value::Inline(&longer) },
            Cell::Child { key: &[b'k'; 3 + 2][..len.min(5)], child: Pointer::default() },
        ] {
            assert!(!overwrite(&mut page, 0, &other) && !overwrite(&mut page, 1, &stamped));
        }
        assert_eq!(page, pages[1], "and nothing else");
    }
}

#[test]
fn lengths_come_back_in_the_bytes_they_need() {
    for length in (0..300).chain(16_000..16_500).chain(32_700..32_768) {
        let mut bytes = [0xEE; 3];
        write_length(&mut bytes, length);
        let (back, rest) = read_length(&bytes).unwrap();
        assert_eq!((back, rest.len()), (length, if length < 128 { 2 } else { 1 }));
        assert_eq!(bytes[2], 0xEE);
    }
    assert_eq!(read_length(&[]), None);
    assert_eq!(read_length(&[128]), None, "the second byte is missing");
}

#[test]
fn bytes_move_one_by_one_as_they_do_at_once() {
    let bytes: Vec<u8> = (0..20).collect();
    for len in 0..=bytes.len() {
        for by in 0..=len {
            let (mut up, mut down) = (bytes[..len].to_vec(), bytes[..len].to_vec());
            move_bytes(&mut up, by, true);
            move_bytes(&mut down, by, false);
            let (mut expected_up, mut expected_down) = (bytes[..len].to_vec(), bytes[..len].to_vec());
            expected_up.copy_within(..len - by, by);
            expected_down.copy_within(by.., 0);
            assert_eq!((up, down), (expected_up, expected_down), "{by} of {len}");
        }
    }
}
