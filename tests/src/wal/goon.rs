//! What is done with a log after a crash: it must go on as if nothing had been.

use super::opened::Run;
use super::session::{Appended, Session};

/// How many ways there are to go on.
pub const KINDS: u64 = 8;

/// Goes on in one of the ways. `cuts`: the power is cut before each reopening, which a recording does not survive.
pub fn run(session: &mut Session, kind: u64, cuts: bool) -> Run {
    let logs = session.opened.logs.iter().enumerate().filter(|(_, handle)| handle.log.is_some());
    let logs: Vec<usize> = logs.map(|(n, _)| n).collect();
    for n in logs {
        match kind {
            0 | 1 => {
                room_for(session, n, 20)?;
                session.commit(n)?;
            }
            2 => {
                room_for(session, n, 60)?;
                room_for(session, n, 0)?;
            }
            3 => {
                let kept = session.end(n) - session.start(n);
                if kept > 1 {
                    let offset = session.start(n) + (kept * 3 / 5).min(kept - 1);
                    session.truncate(n, offset)?;
                }
                room_for(session, n, 33)?;
                session.commit(n)?;
            }
            4 => {
                let middle = (session.start(n) + session.end(n)).div_ceil(2);
                session.release(n, middle)?;
                room_for(session, n, 12)?;
                session.commit(n)?;
            }
            5 => {
                if session.chunk(n, 70)? && session.chunk(n, 5)? {
                    let offset = session.end(n);
                    session.publish(n, offset)?;
                }
                room_for(session, n, 15)?;
                session.commit(n)?;
            }
            6 => {
                room_for(session, n, 44)?;
                session.close(n)?;
            }
            _ => {
                session.close(n)?;
                again(session, cuts)?;
                let end = session.end(n);
                session.reset(n, end + 3)?;
                room_for(session, n, 20)?;
                session.commit(n)?;
            }
        }
    }
    again(session, cuts)?;
    if kind == 1 {
        for n in 0..session.opened.logs.len() {
            if session.opened.logs[n].log.is_some() {
                room_for(session, n, 100)?;
                session.commit(n)?;
            }
        }
        again(session, cuts)?;
    }
    session.account()
}

fn again(session: &mut Session, cuts: bool) -> Run {
    if cuts {
        session.power_cut();
    }
    session.reopen()
}

/// Appends an entry, releasing where that helps; another log may hold everything.
fn room_for(session: &mut Session, n: usize, len: usize) -> Run {
    for _ in 0..3 {
        match session.append(n, len)? {
            Appended::Full(Some(before)) => session.release(n, before)?,
            _ => return Ok(()),
        }
    }
    Ok(())
}
