//! The checkers are checked: an expectation that is wrong on purpose must be flagged.

use esker_tests::wal::opened::{Opened, Scratch, Stop, Strictness};
use esker_tests::wal::session::Session;
use esker_tests::wal::shape::{Kind, Shape};

const KINDS: [Kind; 4] = [Kind::Blocks512, Kind::Blocks4096, Kind::Nor4, Kind::Nor16];

/// A log with seven entries, of which two are not committed, and a snapshot.
fn written(kind: Kind) -> Session {
    let shape = Shape::of(kind);
    let mut session = Session::format(&shape.sim(), shape).unwrap();
    session.create(3).unwrap();
    for len in [10, 20, 30, 40, 50] {
        session.put(0, len).unwrap();
    }
    assert!(session.chunk(0, 25).unwrap());
    session.publish(0, 3).unwrap();
    session.commit(0).unwrap();
    session.put(0, 60).unwrap();
    session.put(0, 70).unwrap();
    session
}

fn examine(session: &Session) -> Result<(), String> {
    let ids = session.model.logs.iter().map(|log| log.id);
    let mut opened = Opened::open(&session.sim, session.shape.memory(), ids).unwrap();
    match opened.examine(&session.model, usize::MAX, Strictness::CRASH, &mut Scratch::default()) {
        Ok(_) => Ok(()),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("{error:?}")),
    }
}

#[test]
fn what_is_right_passes() {
    for kind in KINDS {
        let mut session = written(kind);
        session.power_cut();
        assert_eq!(examine(&session), Ok(()), "{kind}");
        session.reopen().unwrap();
        session.account().unwrap();
        session.check().unwrap();
    }
}

#[test]
fn a_false_acknowledgement_is_flagged() {
    for kind in KINDS {
        let mut session = written(kind);
        let now = session.model.logs[0].now();
        session.model.logs[0].acknowledge(0, now.data);
        session.power_cut();
        let why = examine(&session).unwrap_err();
        assert!(why.contains("allowed: 0..7"), "{kind}: {why}");
    }
}

#[test]
fn another_entry_in_its_place_is_flagged() {
    for kind in KINDS {
        let mut session = written(kind);
        session.commit(0).unwrap();
        let mut items = session.model.logs[0].newest().items.clone();
        items[2] = session.model.make(30, None);
        let version = session.model.logs[0].begin_data(0, 0, items);
        session.model.logs[0].acknowledge(0, version);
        let why = examine(&session).unwrap_err();
        assert!(why.contains("entry 2 has 30 bytes"), "{kind}: {why}");
    }
}

#[test]
fn another_user_word_is_flagged() {
    let mut session = written(Kind::Nor4);
    session.append_user(0, 30, 5).unwrap();
    session.commit(0).unwrap();
    assert_eq!(examine(&session), Ok(()));
    let mut items = session.model.logs[0].newest().items.clone();
    items.pop();
    items.push(session.model.make(30, Some(6)));
    let version = session.model.logs[0].begin_data(0, 0, items);
    session.model.logs[0].acknowledge(0, version);
    assert!(examine(&session).is_err());
}

#[test]
fn a_missing_and_an_unexpected_snapshot_are_flagged() {
    for expected in [None, Some(4)] {
        let mut session = written(Kind::Blocks512);
        session.commit(0).unwrap();
        let now = session.model.logs[0].now();
        let log = &mut session.model.logs[0];
        let snapshot = expected.and_then(|offset| {
            let state = log.newest_root().snapshot.clone()?;
            Some(esker_tests::wal::model::SnapshotState { offset, ..state })
        });
        let root = log.next_root(0..=0, snapshot, now.data);
        let root = log.begin_root(0, root);
        log.acknowledge_root(0, root);
        assert!(examine(&session).is_err(), "{expected:?}");
    }
}

#[test]
fn half_a_batch_is_flagged() {
    let mut session = written(Kind::Nor4);
    session.batch(0, &[5, 6, 7]).unwrap();
    session.commit(0).unwrap();
    // As if the batch had been of four.
    let mut items = session.model.logs[0].newest().items.clone();
    items.push(session.model.make(8, None));
    let before = session.model.logs[0].now();
    let version = session.model.logs[0].begin_data(0, 0, items);
    session.model.logs[0].undo_data(0, before.data);
    session.model.logs[0].acknowledge(0, version);
    assert!(examine(&session).is_err());
}
