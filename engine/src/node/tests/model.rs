//! A page and a sorted list go through the same changes.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(Owned),
    Remove(prop::sample::Index),
    Overwrite(prop::sample::Index, u8),
    Compact,
    SetGeneration(u32),
}

fn steps() -> impl Strategy<Value = (usize, u8, Vec<Step>)> {
    (page_size(), 0..2_u8).prop_flat_map(|(page_size, level)| {
        let step = prop_oneof![
            6 => cell_of(page_size, level).prop_map(Step::Put),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => any::<(prop::sample::Index, u8)>().prop_map(|(i, byte)| Step::Overwrite(i, byte)),
            1 => Just(Step::Compact),
            1 => any::<u32>().prop_map(Step::SetGeneration),
        ];
        (Just(page_size), Just(level), collection::vec(step, 0..120))
    })
}

/// Where the list has a key.
fn find(cells: &[Owned], key: &[u8]) -> Result<usize, usize> {
    cells.binary_search_by(|cell| cell.key.as_slice().cmp(key))
}

/// Changes the last byte of the cell's value, or its child; what that is, both do alike.
fn overwrite(page: &mut [u8], i: usize, cell: &mut Owned, byte: u8) {
    match &mut cell.behind {
        Behind::Inline(value) => {
            value.fill(byte);
            assert!(replace_inline(page, i, value));
            assert!(!replace_inline(page, i, &[value.as_slice(), &[byte]].concat()), "another length");
        }
        Behind::Overflow(..) => assert!(!replace_inline(page, i, &[byte; 12])),
        Behind::Child(block, _) => {
            *block = byte.into();
            assert!(!replace_inline(page, i, &[byte; 8]));
        }
    }
    if let Cell::Child { child, .. } = cell.cell() {
        set_child(page, i, child);
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn a_page_is_what_was_put_into_it((page_size, level, steps) in steps()) {
        let (mut page, mut scratch) = (vec![0xEE; page_size], vec![0xDD; page_size]);
        init(&mut page, level, 5);
        let mut last_generation = 5;
        let mut cells: Vec<Owned> = Vec::new();
        for step in steps {
            match step {
                Step::Put(cell) => {
                    let at = find(&cells, &cell.key);
                    if level == 0 {
                        prop_assert_eq!(search(&page, &cell.key), at);
                    } else {
                        let child = at.unwrap_or_else(|behind| behind.saturating_sub(1));
                        prop_assert_eq!(child_index(&page, &cell.key), child);
                    }
                    if let Err(i) = at {
                        let (before, fits) = (page.clone(), fits(&page, &cell.cell()));
                        prop_assert_eq!(fits, cell.cell().size() <= room(&page));
                        prop_assert_eq!(insert(&mut page, &mut scratch, i, &cell.cell()), fits);
                        if fits { cells.insert(i, cell) } else { prop_assert_eq!(&page, &before) }
                    }
                }
                Step::Remove(i) if !cells.is_empty() => {
                    let i = i.index(cells.len());
                    remove(&mut page, i);
                    cells.remove(i);
                }
                Step::Overwrite(i, byte) if !cells.is_empty() => {
                    let i = i.index(cells.len());
                    overwrite(&mut page, i, &mut cells[i], byte);
                }
                Step::Compact => {
                    compact(&mut page, &mut scratch);
                    prop_assert_eq!(room(&page), gap(&page));
                }
                Step::SetGeneration(generation) => {
                    set_generation(&mut page, generation);
                    last_generation = generation;
                }
                Step::Remove(_) | Step::Overwrite(..) => remove(&mut page, 0),
            }
            assert_is(&page, &cells);
            prop_assert!(!cells.is_empty() || room(&page) == gap(&page), "an empty page has no holes");
            prop_assert_eq!((super::level(&page), generation(&page)), (level, last_generation));
        }
        for i in 0..cells.len() {
            let key = &cells[i].key;
            if level == 0 {
                prop_assert_eq!(search(&page, key), Ok(i));
            }
            prop_assert_eq!(child_index(&page, key), i);
            prop_assert!(is_ordered(&page, &cells[0].key, None));
            prop_assert_eq!(is_ordered(&page, key, None), i == 0);
            prop_assert!(!is_ordered(&page, &[], Some(key)));
        }
    }

    #[test]
    fn any_key_is_looked_for_in_the_right_place((size, mut cells) in many(), keys in collection::vec(key_of(512), 1..20)) {
        let page = filled(size, 0, &mut cells);
        for key in keys {
            let at = find(&cells, &key);
            prop_assert_eq!(search(&page, &key), at);
            prop_assert_eq!(child_index(&page, &key), at.unwrap_or_else(|behind| behind.saturating_sub(1)));
        }
        prop_assert_eq!(search(&page, &[]), Err(0));
        prop_assert_eq!(search(&page, &[255; 9000]), Err(cells.len()));
    }
}

fn many() -> impl Strategy<Value = (usize, Vec<Owned>)> {
    page_size().prop_flat_map(|size| (Just(size), collection::vec(cell_of(size, 0), 0..100)))
}

#[test]
fn what_is_not_there_is_not_taken() {
    let (mut page, mut scratch) = ([0; 512], [0; 512]);
    init(&mut page, 0, 0);
    let pair = Cell::Leaf { key: b"key", value: Value::Inline(b"value") };
    let child = Cell::Child { key: b"key", child: Pointer::default() };
    assert!(insert(&mut page, &mut scratch, 0, &pair));
    let before = page;
    for i in [2, 3, 247, 248, 65_535, usize::MAX / 2, usize::MAX - 6, usize::MAX] {
        assert!(!insert(&mut page, &mut scratch, i, &pair), "there is no cell {i}, nor is it the next");
        remove(&mut page, i);
        set_child(&mut page, i, Pointer::default());
        assert!(!replace_inline(&mut page, i, b"value"));
        assert_eq!((key(&page, i), value(&page, i), super::child(&page, i)), (&[][..], None, None));
    }
    assert!(!insert(&mut page, &mut scratch, 0, &child), "a leaf has no children");
    set_child(&mut page, 0, Pointer { block: 1, crc: 2 });
    assert_eq!(page, before);
    init(&mut page, 1, 0);
    assert!(!insert(&mut page, &mut scratch, 0, &pair), "an inner page has no pairs");
}

#[test]
fn four_of_the_largest_cells_of_a_tree_fit() {
    for page_size in PAGE_SIZES {
        let (mut page, mut scratch) = (vec![0; page_size], vec![0; page_size]);
        init(&mut page, 0, 0);
        let value = vec![0; max_cell(page_size)];
        let largest = (0..value.len())
            .rev()
            .find(|len| {
                Cell::Leaf { key: b"k", value: Value::Inline(&value[..*len]) }.size() <= max_cell(page_size)
            })
            .unwrap();
        let cell = |len| Cell::Leaf { key: b"k", value: Value::Inline(&value[..len]) };
        for n in 0..4 {
            assert!(insert(&mut page, &mut scratch, n, &cell(largest)), "{page_size}: four of them fit");
        }
        assert!(
            cell(largest).size() > max_cell(page_size) - 2,
            "all but a byte of the longer length is used"
        );
    }
}
