//! What is done with a store after a crash: it must go on as if nothing had been.

use super::engine::{Index, Run};
use super::session::{Change, Session};
use crate::wal::session::Appended;

/// How many ways there are to go on.
pub const KINDS: u64 = 8;

/// Goes on in one of the ways. `cuts`: the power is cut before each reopening, which a recording does not survive.
pub fn run<I: Index>(session: &mut Session<I>, kind: u64, cuts: bool) -> Run {
    if session.store.is_none() {
        session.create()?;
    }
    let page = session.shape.below.block as usize;
    match kind {
        0 => {
            put(session, b"go-0", 20)?;
            session.commit()?;
            session.checkpoint()?;
        }
        1 => {
            for n in 0..6 {
                put(session, format!("go-1-{n}").as_bytes(), page / 7)?;
            }
            session.commit()?;
            again(session, cuts)?;
            session.checkpoint()?;
            put(session, b"go-1-7", 9)?;
        }
        2 => {
            for n in 0..8 {
                if let Some(key) = session.some_key(n) {
                    session.try_delete(&key)?;
                }
            }
            while !session.step()? {
                put(session, b"go-2", 11)?;
                // On a full device the put itself may have ended the checkpoint.
                if !session.info()?.writing {
                    break;
                }
            }
            session.commit()?;
        }
        3 => {
            let mut changes: Vec<Change> = (0..5).map(|n| (vec![b'a' + 3 * n; 9], Some(page / 5))).collect();
            changes.extend((0..3).filter_map(|n| session.some_key(n)).map(|key| (key, None)));
            session.try_write(&changes)?;
            session.commit()?;
            session.close()?;
        }
        4 => {
            put(session, b"go-4", page * 2)?;
            if let Some(key) = session.some_key(4) {
                put(session, &key, page + 17)?;
            }
            session.commit()?;
            again(session, cuts)?;
            session.try_delete(b"go-4")?;
            session.checkpoint()?;
        }
        5 => {
            session.checkpoint()?;
            put(session, b"go-5", 30)?;
            session.checkpoint()?;
            put(session, b"go-5", 31)?;
            session.commit()?;
        }
        6 => {
            // Nothing is acknowledged: any part of it may be there.
            for n in 0..4 {
                put(session, format!("go-6-{n}").as_bytes(), 40)?;
            }
        }
        _ => {
            for n in 0..session.logs.opened.logs.len() {
                if session.logs.opened.logs[n].log.is_some() {
                    beside(session, n, 20)?;
                    session.logs.commit(n)?;
                }
            }
            put(session, b"go-7", 25)?;
            session.commit()?;
            session.close()?;
            again(session, cuts)?;
            put(session, b"go-7", 26)?;
            session.checkpoint()?;
        }
    }
    again(session, cuts)?;
    if cuts && kind != 6 {
        // One damaged copy of the superblock loses nothing, whenever the power went.
        session.lose_home(kind.is_multiple_of(2));
        session.reopen()?;
        put(session, b"one home", 8)?;
        session.commit()?;
        again(session, cuts)?;
    }
    session.account()
}

fn again<I: Index>(session: &mut Session<I>, cuts: bool) -> Run {
    if cuts {
        session.power_cut();
    }
    session.reopen()
}

/// An entry for a log that shares the segments with the store's. When those are all taken and this log has none to release, a
/// checkpoint must free some.
fn beside<I: Index>(session: &mut Session<I>, n: usize, len: usize) -> Run {
    match session.logs.append(n, len)? {
        Appended::At(_) => {}
        Appended::Full(None) => {
            session.checkpoint()?;
            session.logs.put(n, len)?;
        }
        _ => session.logs.put_releasing(n, len)?,
    }
    Ok(())
}

/// On a full device nothing is stored.
fn put<I: Index>(session: &mut Session<I>, key: &[u8], len: usize) -> Run {
    session.try_put(key, len).map(|_| ())
}
