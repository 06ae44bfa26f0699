//! Scripts in which there is too little: of blocks, of the log.

use super::engine::{Index, Run, Stop};
use super::scenarios::{key, len, page};
use super::session::Session;
use super::shape::Shape;

/// So few blocks that they do not suffice.
pub(super) fn scarce(mut shape: Shape) -> Shape {
    shape.below.blocks = 40;
    shape
}

/// A log so short that it is full all the time.
pub(super) fn few_segments(mut shape: Shape) -> Shape {
    shape.below.segments = 6;
    shape
}

/// Until nothing goes in any more, and back.
pub(super) fn full<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for round in 0..2 {
        let mut stored = Vec::new();
        for n in 0..800 {
            let key = key((n + round * 7) * 619 % 1000);
            if session.try_put(&key, page / 5)?.is_none() {
                break;
            }
            stored.push(key);
            if n % 6 == 5 {
                session.commit()?;
            }
        }
        if stored.len() < 20 || stored.len() == 800 {
            return Err(Stop::Wrong(format!("full after {} puts", stored.len())));
        }
        session.commit()?;
        session.check()?;
        for (n, key) in stored.iter().enumerate() {
            if n % 3 != 0 {
                session.delete(key)?;
            }
        }
        session.checkpoint()?;
        session.put(b"room again", page / 5)?;
        session.check()?;
    }
    session.commit()
}

pub(super) fn crowded<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for n in 0..400 {
        if session.try_put(&key(n * 619 % 1000), page / 5)?.is_none() {
            break;
        }
    }
    session.checkpoint()
}

/// Deletes, overwrites and values of several pages where there is hardly a free block.
pub(super) fn full_steps<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for n in 0..30 {
        match n % 5 {
            0 => {
                session.try_put(&key(2000 + n), page * 2)?;
            }
            1 | 2 => {
                if let Some(key) = session.some_key(n) {
                    session.delete(&key)?;
                }
            }
            3 => {
                if let Some(key) = session.some_key(n) {
                    session.try_put(&key, page / 5)?;
                }
            }
            _ => session.commit()?,
        }
        if n % 7 == 6 {
            session.step()?;
        }
    }
    session.checkpoint()?;
    session.check()
}

/// The log has room for a few operations only: puts must make some.
pub(super) fn log_full<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..70 {
        let len = 60 + len(session, n);
        session.put(&key(n * 7 % 31), len)?;
        if n % 3 == 2 {
            session.commit()?;
        }
    }
    session.commit()?;
    session.account()?;
    session.check()
}
