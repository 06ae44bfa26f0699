//! The settings without a board: after many runs they are what the steps say, whichever tree they are on, and whoever reads them.

use std::collections::BTreeMap;

use esker::btree::{BTree, Frame};
use esker::device::{Geometry, Ram};
use esker::lsm::Lsm;
use esker::store::{Index, Store};
use esker::volume::{FormatOptions, Volume};
use esker_qemu::boards::{emcraft_sf2, lm3s6965evb};
use esker_qemu::logger::{self, Stamp};
use esker_qemu::settings::{NoSettings, OnBTree, OnLsm, PAGE, STEPS, VALUE, step};

type Part = Ram<Vec<u8>>;
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Vol<'a> = Volume<&'a mut Part, Vec<u8>>;

/// Two sectors for the homes, eight for logs, and as few for settings as will do.
const SECTORS: usize = 2 + 8 + 16;

fn on_btree(part: &mut Part) -> bool {
    logger::run(part, &lm3s6965evb::LAYOUT, &mut logger::Memory::new(), &mut OnBTree::new().lend())
}

fn on_lsm(part: &mut Part, layout: &FormatOptions) -> bool {
    logger::run(part, layout, &mut logger::Memory::new(), &mut OnLsm::new().lend())
}

fn card() -> Part {
    Ram::new(vec![0; 1 << 20], Geometry::blocks(0, 512))
}

fn flash() -> Part {
    Ram::new(vec![0xFF; SECTORS << 16], Geometry::flash(0, 4, 65_536))
}

/// Opens the store with an index that has far more memory than a board.
fn open<I: Index>(part: &mut Part, index: I, body: impl FnOnce(&mut Vol<'_>, &mut Store<I, Vec<u8>>)) {
    let mut volume = Volume::open(part, vec![0; 4096]).unwrap();
    let mut store = Store::open(&mut volume, index, vec![0; 512]).unwrap();
    body(&mut volume, &mut store);
}

fn btree() -> BTree<Vec<u8>, Vec<Frame>> {
    BTree::new(vec![0; 64 * PAGE], vec![Frame::BLANK; 63])
}

fn lsm() -> Lsm<Vec<u8>, Vec<Frame>> {
    Lsm::new(vec![0; 128 << 10], vec![Frame::BLANK; 16], OnLsm::OPTIONS)
}

fn read_all<I: Index>(volume: &mut Vol<'_>, store: &mut Store<I, Vec<u8>>) -> Pairs {
    let (mut cursor, mut value, mut found) = (store.cursor([0; 64]), [0; VALUE], Pairs::new());
    while let Some(len) = store.next(volume, &mut cursor, &mut value).unwrap() {
        found.insert(cursor.key().to_vec(), value[..len].to_vec());
    }
    found
}

/// What so many runs leave.
fn expected(runs: u32) -> Pairs {
    let mut pairs = Pairs::new();
    for boot in 1..=runs {
        for number in 0..STEPS {
            let stamp = Stamp { boot, number };
            for change in step(stamp).into_iter().flatten() {
                match change.value(stamp, &mut [0; VALUE]) {
                    Some(value) => pairs.insert(change.key().to_vec(), value.to_vec()),
                    None => pairs.remove(change.key()),
                };
            }
        }
    }
    pairs
}

#[test]
fn settings_on_a_btree_are_what_the_steps_say() {
    let mut card = card();
    for _ in 0..60 {
        assert!(on_btree(&mut card));
    }
    let expected = expected(60);
    assert!(
        expected.len() > 150 && expected.values().any(|value| value.len() > 500),
        "large enough to matter"
    );
    open(&mut card, btree(), |volume, store| {
        assert_eq!(read_all(volume, store), expected);
        assert!(store.info(volume).unwrap().index.depth >= 3);
    });
}

#[test]
fn settings_on_an_lsm_tree_are_what_the_steps_say() {
    for (mut part, layout) in [(card(), lm3s6965evb::LSM_LAYOUT), (flash(), emcraft_sf2::LAYOUT)] {
        for _ in 0..80 {
            assert!(on_lsm(&mut part, &layout));
        }
        let expected = expected(80);
        assert!(expected.len() > 150);
        open(&mut part, lsm(), |volume, store| {
            assert_eq!(read_all(volume, store), expected);
            assert!(store.info(volume).unwrap().index.leaves > 0, "there are tables");
            let mut bits = vec![0; Store::<Lsm<Vec<u8>, Vec<Frame>>, Vec<u8>>::bitmap_needed(volume)];
            store.verify(volume, Some(&mut bits), &mut |damage| panic!("{damage:?}")).unwrap();
        });
    }
}

#[test]
fn a_wrong_setting_is_noticed() {
    let wrong = b"\x01\0\0\0\x05\0\0\0not what that step wrote";
    let mut card = card();
    assert!(on_btree(&mut card));
    open(&mut card, btree(), |volume, store| {
        store.put(volume, b"name/007", wrong).unwrap();
        store.commit(volume).unwrap();
    });
    assert!(!on_btree(&mut card));

    let mut flash = flash();
    assert!(on_lsm(&mut flash, &emcraft_sf2::LAYOUT));
    open(&mut flash, lsm(), |volume, store| {
        store.put(volume, b"name/007", wrong).unwrap();
        store.commit(volume).unwrap();
    });
    assert!(!on_lsm(&mut flash, &emcraft_sf2::LAYOUT));
}

#[test]
fn without_room_for_settings_the_logger_runs_all_the_same() {
    let mut card = card();
    let layout = FormatOptions { block_size: 0, ..lm3s6965evb::LAYOUT };
    assert!(logger::run(&mut card, &layout, &mut logger::Memory::new(), &mut NoSettings));
    assert!(on_btree(&mut card), "a volume from elsewhere");
}
