//! What is in a store, by scans.
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use esker::device::BlockDevice;
use esker::store::{Index, Store};
use esker::volume::Volume;

/// Exactly the pairs of the map, in their order; and with the same cursor back again.
pub fn check<D, I, K, V, const LOGS: usize, const SLOTS: usize>(
    volume: &mut Volume<D, Vec<u8>, LOGS>,
    store: &mut Store<I, Vec<u8>, SLOTS>,
    map: &BTreeMap<K, V>,
) where
    D: BlockDevice<Error: Debug>,
    I: Index,
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let longest = map.values().map(|value| value.as_ref().len()).max();
    let (mut cursor, mut out) = (store.cursor(vec![0; store.max_key()]), vec![0; longest.unwrap_or(0)]);
    for (key, value) in map {
        let len = store.next(volume, &mut cursor, &mut out).unwrap().unwrap();
        let (key, value) = (key.as_ref(), value.as_ref());
        assert!((cursor.key(), &out[..len]) == (key, value), "{}", key.escape_ascii());
    }
    assert_eq!(store.next(volume, &mut cursor, &mut out).unwrap(), None);
    store.seek(&mut cursor, Bound::Unbounded).unwrap();
    for (key, value) in map.iter().rev() {
        let len = store.previous(volume, &mut cursor, &mut out).unwrap().unwrap();
        let (key, value) = (key.as_ref(), value.as_ref());
        assert!((cursor.key(), &out[..len]) == (key, value), "{}, backwards", key.escape_ascii());
    }
    assert_eq!(store.previous(volume, &mut cursor, &mut out).unwrap(), None);
}
