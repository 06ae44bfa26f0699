//! The settings without a board: after many runs they are what the steps say, whoever reads them.

use std::collections::BTreeMap;

use esker::btree::{BTree, Frame};
use esker::device::{Geometry, Ram};
use esker::store::Store;
use esker::volume::Volume;
use esker_qemu::boards::lm3s6965evb::LAYOUT;
use esker_qemu::logger::{self, Stamp};
use esker_qemu::settings::{Memory, NoSettings, STEPS, VALUE, step};

type Card = Ram<Vec<u8>>;
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn run(card: &mut Card) -> bool {
    logger::run(card, &LAYOUT, &mut logger::Memory::new(), &mut Memory::new().on_btree())
}

fn card() -> Card {
    Ram::new(vec![0; 1 << 20], Geometry::blocks(0, 512))
}

fn open(
    card: &mut Card,
    body: impl FnOnce(&mut Volume<&mut Card, Vec<u8>>, &mut Store<BTree<Vec<u8>, Vec<Frame>>, Vec<u8>>),
) {
    let mut volume = Volume::open(card, vec![0; 4096]).unwrap();
    let tree = BTree::new(vec![0; 64 * 512], vec![Frame::BLANK; 63]);
    let mut store = Store::open(&mut volume, tree, vec![0; 512]).unwrap();
    body(&mut volume, &mut store);
}

#[test]
fn settings_are_what_the_steps_say() {
    let mut card = card();
    let mut expected = Pairs::new();
    for boot in 1..=60 {
        assert!(run(&mut card));
        for number in 0..STEPS {
            let stamp = Stamp { boot, number };
            for change in step(stamp).into_iter().flatten() {
                match change.value(stamp, &mut [0; VALUE]) {
                    Some(value) => expected.insert(change.key().to_vec(), value.to_vec()),
                    None => expected.remove(change.key()),
                };
            }
        }
    }
    assert!(
        expected.len() > 150 && expected.values().any(|value| value.len() > 500),
        "large enough to matter"
    );
    open(&mut card, |volume, store| {
        let (mut cursor, mut value, mut found) = (store.cursor([0; 64]), [0; VALUE], Pairs::new());
        while let Some(len) = store.next(volume, &mut cursor, &mut value).unwrap() {
            found.insert(cursor.key().to_vec(), value[..len].to_vec());
        }
        assert_eq!(found, expected);
        assert!(store.info(volume).unwrap().index.depth >= 3);
    });
}

#[test]
fn a_wrong_setting_is_noticed() {
    let mut card = card();
    assert!(run(&mut card));
    open(&mut card, |volume, store| {
        store.put(volume, b"name/007", b"\x01\0\0\0\x05\0\0\0not what that step wrote").unwrap();
        store.commit(volume).unwrap();
    });
    assert!(!run(&mut card));
}

#[test]
fn without_room_for_settings_the_logger_runs_all_the_same() {
    let mut card = card();
    let layout = esker::volume::FormatOptions { block_size: 0, ..LAYOUT };
    assert!(logger::run(&mut card, &layout, &mut logger::Memory::new(), &mut NoSettings));
    assert!(run(&mut card), "a volume from elsewhere");
}
