//! The checkers of the store are checked: an expectation that is wrong on purpose must be flagged.

use esker_tests::kv::engine::{Stop, TestTree};
use esker_tests::kv::model::{Model, hash_of};
use esker_tests::kv::opened::{Opened, Scratch};
use esker_tests::kv::session::Session;
use esker_tests::kv::shape::{Kind, Shape};

const KINDS: [Kind; 5] = [Kind::Blocks512, Kind::Blocks4096, Kind::Nor4, Kind::Nor16, Kind::Small];

/// A store with 40 pairs, of which two are not committed.
fn written(kind: Kind) -> Session<TestTree> {
    let shape = Shape::of(kind);
    let mut session = Session::format(&shape.sim(), shape).unwrap();
    session.create().unwrap();
    for n in 0..38 {
        session.put(format!("key-{n:02}").as_bytes(), 20 + n).unwrap();
        if n == 20 {
            session.checkpoint().unwrap();
        }
    }
    session.commit().unwrap();
    session.put(b"key-38", 10).unwrap();
    session.put(b"key-39", 11).unwrap();
    session
}

fn examine(session: &Session<TestTree>, model: &Model) -> Result<(), String> {
    let mut opened = Opened::<TestTree>::open(session.sim(), &session.shape, std::iter::empty()).unwrap();
    let found = opened.examine(model, &session.logs.model, usize::MAX - 1, &mut Scratch::default());
    match found {
        Ok(_) => Ok(()),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("{error:?}")),
    }
}

/// A model in which, after all that was done, these changes were acknowledged as well.
fn pretended(session: &Session<TestTree>, changes: &[(&[u8], Option<u64>)]) -> Model {
    let mut model = session.model.clone();
    let version = model.begin(0, changes.iter().copied());
    model.acknowledge(0, version);
    model
}

#[test]
fn what_is_right_passes() {
    for kind in KINDS {
        let mut session = written(kind);
        session.check().unwrap();
        session.power_cut();
        assert_eq!(examine(&session, &session.model), Ok(()), "{kind}");
        session.reopen().unwrap();
        session.account().unwrap();
        session.check().unwrap();
    }
}

#[test]
fn a_false_acknowledgement_is_flagged() {
    for kind in KINDS {
        let session = written(kind);
        let mut model = session.model.clone();
        model.acknowledge(0, model.newest());
        session.power_cut();
        let why = examine(&session, &model).unwrap_err();
        assert!(why.contains("key-38 is missing, key-39 is missing"), "{kind}: {why}");
    }
}

#[test]
fn another_value_a_missing_pair_and_one_too_many_are_flagged() {
    let mut session = written(Kind::Small);
    session.commit().unwrap();
    let other = pretended(&session, &[(b"key-05", Some(hash_of(b"key-05", b"other")))]);
    assert!(examine(&session, &other).unwrap_err().contains("key-05 has another value"));
    let missing = pretended(&session, &[(b"key-99", Some(hash_of(b"key-99", b"")))]);
    assert!(examine(&session, &missing).unwrap_err().contains("key-99 is missing"));
    let extra = pretended(&session, &[(b"key-07", None)]);
    assert!(examine(&session, &extra).unwrap_err().contains("key-07 should not be there"));
}

#[test]
fn half_a_batch_is_flagged() {
    let mut session = written(Kind::Blocks512);
    session.commit().unwrap();
    let before = session.model.clone();
    session.write(&[(b"one".to_vec(), Some(5)), (b"two".to_vec(), Some(6))]).unwrap();
    session.commit().unwrap();
    // As if the batch had been of three, and is not certain yet.
    let hashes: Vec<_> = [b"one", b"two"].map(|key| (&key[..], session.model.now()[&key[..]])).to_vec();
    let mut model = before;
    model.begin(0, hashes.iter().map(|(key, hash)| (*key, Some(*hash))).chain([(&b"key-00"[..], None)]));
    assert!(examine(&session, &model).is_err());
}

#[test]
fn a_damaged_page_is_no_answer() {
    let mut session = written(Kind::Blocks512);
    session.checkpoint().unwrap();
    let info = session.logs.opened.volume.info();
    let sim = session.sim();
    sim.scramble(info.block_address..info.block_address + 24 * 512, 1);
    assert!(examine(&session, &session.model).unwrap_err().contains("Corrupt"));
}
