//! Pages that are not pages.

use super::*;

/// Bytes of any kind: noise; a good page with a few bytes changed, mostly near its beginning; any length.
fn any_page() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..40_usize, 500..520_usize, Just(512), Just(4096), Just(65_536), Just(70_000)];
    let noise = (length, any::<u64>(), prop_oneof![Just(0xFF_u8), Just(0x1F), Just(0x01)]).prop_map(
        |(length, mut state, mask)| {
            let byte = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8 & mask
            };
            (0..length).map(byte).collect::<Vec<u8>>()
        },
    );
    let changes = collection::vec((prop_oneof![0..16_usize, 0..60_usize, 0..4096_usize], any::<u8>()), 1..6);
    let page = prop::sample::select(&[512_usize, 4096][..]).prop_flat_map(|size| {
        (0..2_u8).prop_flat_map(move |level| {
            collection::vec(cell_of(size, level), 0..40)
                .prop_map(move |mut cells| filled(size, level, &mut cells))
        })
    });
    let damaged = (page, changes).prop_map(|(mut page, changes)| {
        for (at, byte) in changes {
            let at = at % page.len();
            page[at] = byte;
        }
        page
    });
    prop_oneof![1 => noise, 2 => damaged]
}

/// To a page, another, and scratch.
type Change<'a> = dyn Fn(&mut [u8], &mut [u8], &mut [u8]) + 'a;

/// All that can be asked of a page.
fn ask(page: &[u8], i: usize, wanted: &[u8]) {
    let cells = count(page);
    assert!(cells <= 32_767 + 2_233, "no more than there is room for");
    assert!(room(page) <= usable(page.len()) && used(page) <= usable(page.len()));
    assert!(search(page, wanted).unwrap_or_else(|i| i) <= cells);
    assert!(child_index(page, wanted) <= cells.saturating_sub(1));
    let _ = (level(page), generation(page), key(page, i), value(page, i), child(page, i));
    for last in [false, true] {
        assert!(split_point(page, i, 100, last) <= cells.max(1));
    }
    for size in [0, 100] {
        assert!(even_point(page, page, i, size) <= (2 * cells).max(1));
    }
    let _ = (is_ordered(page, &[], None), is_ordered(page, b"a", Some(b"b")), is_sound(page, 1, 2, 3));
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn nothing_panics_and_everything_ends(
        pages in (any_page(), any_page()),
        (i, j) in (prop_oneof![0..8_usize, 0..70_000_usize, Just(usize::MAX)], 0..40_usize),
        short in any::<bool>(),
        (pair, child) in (cell_of(512, 0), cell_of(512, 1)),
    ) {
        let (page, other) = pages;
        let mut scratch = vec![0; if short { 100 } else { 70_000 }];
        ask(&page, i, &pair.key);
        let changed = |change: &Change| {
            let (mut page, mut other, mut scratch) = (page.clone(), other.clone(), scratch.clone());
            change(&mut page, &mut other, &mut scratch);
            ask(&page, i, &child.key);
            ask(&other, j, &pair.key);
        };
        for at in [i, j, count(&page), 0] {
            for cell in [&pair, &child] {
                changed(&|page, _, scratch| while insert(page, scratch, at, &cell.cell()) {});
            }
            changed(&|page, _, _| remove(page, at));
            changed(&|page, _, _| set_child(page, at, Pointer { block: 1, crc: 2 }));
            changed(&|page, _, _| {
                let new = match value(page, at) {
                    Some(Value::Inline(old)) => vec![1; old.len()],
                    _ => vec![1],
                };
                replace_inline(page, at, &new);
            });
            changed(&|page, other, scratch| _ = move_cells(page, j, at, other, scratch));
            changed(&|page, other, scratch| _ = move_cells(page, 0, at, other, scratch));
            changed(&|page, other, scratch| _ = move_cells(page, at, count(page), other, scratch));
        }
        changed(&|page, _, scratch| compact(page, scratch));
        changed(&|page, _, _| set_generation(page, 7));
        changed(&|page, _, _| _ = seal(page, 1, 2));
        changed(&|page, _, _| init(page, 3, 4));
        scratch.clear();
    }

    #[test]
    fn a_page_whose_bytes_are_accounted_for_can_be_worked_with((size, mut cells) in (Just(512), collection::vec(cell_of(512, 0), 1..40)), at in any::<prop::sample::Index>(), bit in 0..8) {
        // A changed bit that leaves the page in order leaves one that loses nothing by being compacted.
        let mut page = filled(size, 0, &mut cells);
        let at = at.index(size);
        page[at] ^= 1_u8 << bit;
        if is_ordered(&page, &[], None) {
            let before: Vec<_> = (0..count(&page)).map(|i| Owned::read(&page, i)).collect();
            compact(&mut page, &mut [0; 512]);
            prop_assert!(is_ordered(&page, &[], None));
            prop_assert_eq!((0..count(&page)).map(|i| Owned::read(&page, i)).collect::<Vec<_>>(), before);
        }
    }
}

/// Pages of 0xFF, or of zeros, are what a device hands out where nothing was written.
#[test]
fn blank_pages_are_not_in_order() {
    for page_size in PAGE_SIZES {
        assert!(!is_ordered(&vec![0xFF; page_size], &[], None));
        let zeros = vec![0; page_size];
        // The largest page is the one that ends where a heap of 0 begins: only its checksum tells.
        assert_eq!(is_ordered(&zeros, &[], None), page_size == 65_536);
        assert!(!is_sound(&zeros, 1, 2, 0));
    }
}

#[test]
fn every_changed_bit_shows() {
    for (page_size, level) in [(512, 0), (512, 1), (4096, 0)] {
        let (mut page, mut scratch) = (vec![0; page_size], vec![0; page_size]);
        init(&mut page, level, 9);
        for n in 0..5_u8 {
            let cell = match level {
                0 => Cell::Leaf { key: &[n, 2], value: Value::Inline(&[n; 30]) },
                _ => Cell::Child { key: &[n, 2], child: Pointer { block: n.into(), crc: 5 } },
            };
            assert!(insert(&mut page, &mut scratch, n.into(), &cell));
        }
        let crc = seal(&mut page, 7, 8);
        assert!(is_sound(&page, 7, 8, crc));
        assert!(!is_sound(&page, 6, 8, crc), "another volume");
        assert!(!is_sound(&page, 7, 9, crc), "another block");
        assert!(!is_sound(&page, 7, 8, crc ^ 1), "another pointer");
        for bit in 0..page_size * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sound(&page, 7, 8, crc), "bit {bit} of {page_size}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
        // An older page of the same block, whole in itself, is not what the pointer was made for.
        let mut older = page.clone();
        set_generation(&mut older, 8);
        let older_crc = seal(&mut older, 7, 8);
        assert!(is_sound(&older, 7, 8, older_crc) && !is_sound(&older, 7, 8, crc));
    }
}
