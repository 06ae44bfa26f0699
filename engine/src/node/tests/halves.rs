//! Pages that are divided, evened out, and merged.

use super::*;

/// A full page, and a cell that has no room in it.
fn overfull(level: u8) -> impl Strategy<Value = (usize, Vec<Owned>, Owned)> {
    page_size()
        .prop_flat_map(move |size| {
            let small = cell_of(512, level);
            let any = cell_of(size, level);
            let largest = cell_of(size, level).prop_map(move |mut cell| {
                if let Behind::Inline(value) = &mut cell.behind {
                    value.clear();
                    let left = max_cell(size) - cell.cell().size() - 1;
                    *value_of(&mut cell) = vec![1; left];
                }
                cell
            });
            let cells = prop_oneof![
                collection::vec(any.clone(), 110),
                collection::vec(prop_oneof![5 => small, 1 => largest.clone()], 110),
                collection::vec(largest.clone(), 20),
            ];
            (Just(size), cells, prop_oneof![any, largest])
        })
        .prop_map(move |(size, mut cells, new)| {
            cells.retain(|cell| cell.key != new.key);
            let page = filled(size, level, &mut cells);
            (size, cells, new, page)
        })
        .prop_filter("there is room", |(.., new, page)| !fits(page, &new.cell()))
        .prop_map(|(size, cells, new, _)| (size, cells, new))
}

fn many(level: u8) -> impl Strategy<Value = (usize, Vec<Owned>)> {
    page_size().prop_flat_map(move |size| (Just(size), collection::vec(cell_of(size, level), 1..110)))
}

fn value_of(cell: &mut Owned) -> &mut Vec<u8> {
    match &mut cell.behind {
        Behind::Inline(value) => value,
        other => panic!("{other:?} is elsewhere"),
    }
}

/// Splits as the tree does.
fn split(size: usize, level: u8, cells: &[Owned], new: &Owned, ascending: bool) -> (Vec<u8>, Vec<u8>) {
    let mut left = filled(size, level, &mut cells.to_vec());
    let (mut right, mut scratch) = (vec![0; size], vec![0; size]);
    init(&mut right, level, 1);
    let at = up_to(cells, &new.key);
    let point = split_point(&left, at, new.cell().size(), ascending);
    let count = count(&left);
    if at < point {
        assert!(move_cells(&mut left, point - 1, count, &mut right, &mut scratch));
        assert!(insert(&mut left, &mut scratch, at, &new.cell()), "the left half has room for the new one");
    } else {
        assert!(point == count || move_cells(&mut left, point, count, &mut right, &mut scratch));
        assert!(insert(&mut right, &mut scratch, at - point, &new.cell()), "the right half has room for it");
    }
    (left, right)
}

fn up_to(cells: &[Owned], key: &[u8]) -> usize {
    cells.partition_point(|cell| cell.key.as_slice() <= key)
}

fn check_split(level: u8, (size, cells, new): (usize, Vec<Owned>, Owned)) {
    let (left, right) = split(size, level, &cells, &new, false);
    let mut all = cells;
    all.insert(up_to(&all, &new.key), new);
    let (first, second) = all.split_at(count(&left));
    assert_is(&left, first);
    assert_is(&right, second);
    for half in [&left, &right] {
        assert!(used(half) >= min_used(size), "{} of {size}", used(half));
    }
    let largest = all.iter().map(|cell| cell.cell().size()).max().unwrap();
    assert!(used(&left).abs_diff(used(&right)) <= largest, "no other cut is more even by more than this");
    if level > 0 {
        assert!(first.len() >= 3 && second.len() >= 3);
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_full_leaf_is_split_in_two_that_are_full_enough(case in overfull(0)) {
        check_split(0, case);
    }

    #[test]
    fn a_full_inner_page_is_split_in_two_that_are_full_enough(case in overfull(3)) {
        check_split(3, case);
    }

    #[test]
    fn one_below_the_minimum_is_merged_with_its_neighbour_or_takes_from_it(
        (size, mut cells) in prop_oneof![many(0), many(1)],
        left_is_small in any::<bool>(),
    ) {
        cells.sort();
        cells.dedup_by(|a, b| a.key == b.key);
        if !left_is_small {
            cells.reverse();
        }
        let (is_leaf, mut scratch) = (matches!(cells[0].cell(), Cell::Leaf { .. }), vec![0; size]);
        let page = || {
            let mut page = vec![0; size];
            init(&mut page, u8::from(!is_leaf), 1);
            page
        };
        let (mut small, mut other) = (page(), page());
        let mut all = Vec::new();
        for cell in cells {
            let end = |page: &[u8]| if left_is_small { count(page) } else { 0 };
            let has_less = used(&small) + cell.cell().size() < min_used(size) && count(&other) == 0;
            let page = if has_less { &mut small } else { &mut other };
            let at = end(page);
            if !insert(page, &mut scratch, at, &cell.cell()) {
                break;
            }
            all.push(cell);
        }
        if !left_is_small {
            all.reverse();
        }
        let (mut left, mut right) = if left_is_small { (small, other) } else { (other, small) };
        if used(&left) + used(&right) <= usable(size) {
            let count = count(&right);
            prop_assert!(move_cells(&mut right, 0, count, &mut left, &mut scratch));
            assert_is(&left, &all);
            assert_is(&right, &[]);
        } else {
            let (has, shall) = (count(&left), even_point(&left, &right, 0, 0));
            let moved = if shall < has {
                move_cells(&mut left, shall, has, &mut right, &mut scratch)
            } else {
                move_cells(&mut right, 0, shall - has, &mut left, &mut scratch)
            };
            prop_assert!(moved);
            assert_is(&left, &all[..shall]);
            assert_is(&right, &all[shall..]);
            prop_assert!(used(&left).min(used(&right)) >= min_used(size));
        }
    }

    #[test]
    fn neighbours_are_even_once_a_new_cell_is_there(
        (size, mut cells, new) in overfull(0),
        share in 0..=100_usize,
    ) {
        let mut left = filled(size, 0, &mut cells.clone());
        cells.truncate(count(&left));
        // The right one has a share of what is in the left one, under greater keys.
        let mut beside: Vec<_> = cells.clone();
        beside.truncate(cells.len() * share / 100);
        beside.iter_mut().for_each(|cell| cell.key.insert(0, 255));
        beside.retain(|cell| cell.key.len() <= max_key(size) && cell.cell().size() <= max_cell(size));
        let mut right = filled(size, 0, &mut beside);
        beside.truncate(count(&right));
        let at = up_to(&cells, &new.key);
        let sizes: Vec<_> = cells[..at].iter().chain([&new]).chain(&cells[at..]).chain(&beside).map(|cell| cell.cell().size()).collect();
        let total: usize = sizes.iter().sum();
        let even = even_point(&left, &right, at, new.cell().size());
        let is_left = even >= at && {
            let with: usize = sizes[..=even].iter().sum();
            let without: usize = sizes[..even].iter().sum();
            with.abs_diff(total / 2) <= without.abs_diff(total / 2)
        };
        let first: usize = sizes[..even + usize::from(is_left)].iter().sum();
        let largest = sizes.iter().max().unwrap();
        prop_assert!(first.abs_diff(total - first) <= *largest, "{first} of {total}");
        // Each half has room for its part, and the new one among it, as long as two of the largest are left.
        if total + 2 * largest <= 2 * usable(size) {
            let (mut scratch, has) = (vec![0; size], count(&left));
            let moved = if even < has {
                move_cells(&mut left, even, has, &mut right, &mut scratch)
            } else {
                move_cells(&mut right, 0, even - has, &mut left, &mut scratch)
            };
            prop_assert!(moved);
            let (half, at) = if is_left { (&mut left, at) } else { (&mut right, at - even) };
            prop_assert!(insert(half, &mut scratch, at, &new.cell()));
        }
    }

    #[test]
    fn cells_that_have_no_room_stay((size, mut cells, _) in overfull(0), n in 1..5_usize) {
        let mut full = filled(size, 0, &mut cells);
        let (mut from, mut scratch) = (full.clone(), vec![0; size]);
        let n = n.min(count(&from));
        let (before, before_full) = (from.clone(), full.clone());
        let moved: usize = cells[..n].iter().map(|cell| cell.cell().size()).sum();
        if moved > room(&full) {
            prop_assert!(!move_cells(&mut from, 0, n, &mut full, &mut scratch));
            prop_assert_eq!((&from, &full), (&before, &before_full));
        }
        let (mut inner, past) = (vec![0; size], count(&from) + 1);
        init(&mut inner, 1, 0);
        prop_assert!(!move_cells(&mut from, 0, n, &mut inner, &mut scratch), "another level");
        init(&mut inner, 0, 0);
        prop_assert!(!move_cells(&mut from, 1, past, &mut inner, &mut scratch), "there are not so many");
        prop_assert_eq!(from, before);
    }

    #[test]
    fn a_separator_separates_and_is_the_shortest(a in key_of(512), b in key_of(512)) {
        let (left, right) = if a < b { (&a, &b) } else { (&b, &a) };
        let found = separator(left, right);
        prop_assert!(right.starts_with(found));
        if left < right {
            prop_assert!(found > left.as_slice() && found <= right.as_slice());
            let shorter = &found[..found.len() - 1];
            prop_assert!(shorter <= left.as_slice());
        }
    }
}

#[test]
fn ascending_keys_leave_full_pages_behind() {
    for page_size in PAGE_SIZES {
        let (mut page, mut scratch) = (vec![0; page_size], vec![0; page_size]);
        init(&mut page, 0, 0);
        let pair =
            |n: usize| Owned { key: (n as u64).to_be_bytes().to_vec(), behind: Behind::Inline(vec![0; 20]) };
        let mut cells = Vec::new();
        while insert(&mut page, &mut scratch, cells.len(), &pair(cells.len()).cell()) {
            cells.push(pair(cells.len()));
        }
        let (left, right) = split(page_size, 0, &cells, &pair(cells.len()), true);
        assert_is(&left, &cells);
        assert_is(&right, &[pair(cells.len())]);
        assert!(used(&left) > usable(page_size) * 9 / 10);
        let at = cells.len() - 1;
        let point = split_point(&page, at, 32, true);
        assert_eq!(point, split_point(&page, at, 32, false), "not behind the last");
    }
}

/// The bounds of the argument in the module's documentation.
#[test]
fn the_limits_are_what_the_argument_needs() {
    for page_size in (9..=16).map(|power| 1 << power) {
        let usable = usable(page_size);
        let key = vec![1; max_key(page_size)];
        let child = Cell::Child { key: &key, child: Pointer::default() };
        assert!(child.size() * 8 <= usable, "{page_size}");
        assert!(min_used(page_size) > 2 * child.size(), "three children at least");
        assert!(max_cell(page_size) * 4 <= usable && min_used(page_size) * 3 <= usable);
        let first = Pointer::default();
        let pair = Cell::Leaf { key: &key, value: Value::Overflow { len: u32::MAX, first } };
        assert!(
            pair.size() <= max_cell(page_size),
            "any pair can stand in a page, if its value is elsewhere"
        );
    }
}
