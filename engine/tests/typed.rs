//! Typed keys and values.
#![cfg(feature = "postcard")]

use esker::btree::{BTree, Frame};
use esker::device::{Geometry, Ram};
use esker::store::{Error, Store, Typed};
use esker::volume::{FormatOptions, Volume};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Calibration {
    offset: i32,
    gain: f32,
}

#[test]
fn values_of_types_come_back_and_maps_share_a_store() {
    let mut card = Ram::new(vec![0; 256 * 1024], Geometry::blocks(0, 512));
    let options = FormatOptions { block_size: 512, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(&mut card, vec![0; 2048], &options).unwrap();
    let tree = BTree::new(vec![0; 16 * 512], [Frame::default(); 15]);
    let mut store = Store::<_, _>::create(&mut volume, 0, tree, vec![0; 512]).unwrap();
    let sensors = Typed::<u16, Calibration>::new(1);
    let names = Typed::<u16, [u8; 5]>::new(2);
    let mut buffer = [0; 64];
    let value = Calibration { offset: -3, gain: 1.5 };
    assert!(!sensors.put(&mut store, &mut volume, &7, &value, &mut buffer).unwrap().found);
    let name = *b"north";
    names.put(&mut store, &mut volume, &7, &name, &mut buffer).unwrap();
    assert_eq!(sensors.get(&mut store, &mut volume, &7, &mut buffer).unwrap(), Some(value));
    assert_eq!(names.get(&mut store, &mut volume, &7, &mut buffer).unwrap(), Some(name));
    assert_eq!(sensors.get(&mut store, &mut volume, &8, &mut buffer).unwrap(), None);
    let small = names.put(&mut store, &mut volume, &7, &name, &mut [0; 4]);
    assert!(matches!(small, Err(Error::Encoding)));
    assert!(names.delete(&mut store, &mut volume, &7, &mut buffer).unwrap().found);
    assert_eq!(names.get(&mut store, &mut volume, &7, &mut buffer).unwrap(), None);
    let wrong = Typed::<u16, (u64, u64, u64)>::new(1).get(&mut store, &mut volume, &7, &mut buffer);
    assert!(matches!(wrong, Err(Error::Encoding)));
}
