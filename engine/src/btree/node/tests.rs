use std::vec;

use super::*;

#[test]
fn pairs_come_back_in_order() {
    for page_size in [512, 4096, 16384, 65536] {
        let (mut page, mut scratch) = (vec![0; page_size], vec![0; page_size]);
        init(&mut page, 0, 1);
        let mut inserted = 0;
        for n in 0..10_000_u32 {
            let key = (n.wrapping_mul(2_654_435_761)).to_be_bytes();
            let cell = Cell::Leaf { key: &key, value: Value::Inline(&[7; 30]) };
            let i = search(&page, &key).unwrap_err();
            if !insert(&mut page, &mut scratch, i, &cell) {
                break;
            }
            inserted += 1;
            assert_eq!(search(&page, &key), Ok(i));
            assert_eq!(value(&page, i), Some(Value::Inline(&[7; 30])));
        }
        assert_eq!((count(&page), inserted), (usable(page_size) / 38, usable(page_size) / 38));
        assert!(is_ordered(&page, &[], None));
    }
}
