//! The script of an LSM tree with more tables than a block has room to list.

use super::engine::{Index, Run, Stop};
use super::scenarios::Scenario;
use super::session::Session;
use super::shape::{Kind, Shape};

/// Tables of which a block of 4096 bytes can't list as many, and no more than it takes.
const TABLES: u64 = 180;

/// A manifest of two blocks and, with its edits, of three: begun anew in a session, all at once and in steps, and given back.
pub fn chained<I: Index>(kinds: &'static [Kind]) -> Scenario<I> {
    Scenario { name: "chained", kinds, adjust: many_blocks, fault: None, creates: false, prepare, run }
}

/// Of which a run of so many tables leaves enough for a merge. Levels of two, with a second run on the last one.
fn many_blocks(mut shape: Shape) -> Shape {
    shape.below.blocks = 3 * 224;
    shape
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Pairs as long as they can be in pages: the fewest in so many tables.
fn prepare<I: Index>(session: &mut Session<I>) -> Run {
    let page = I::page(&session.shape.below);
    // Two in each page of pairs of a table.
    let pairs: Vec<_> = (0..TABLES * 12).map(|n| (key(n * 10), page / 2 - 26)).collect();
    session.load(&pairs)?;
    tables(session)
}

fn tables<I: Index>(session: &mut Session<I>) -> Run {
    let tables = u64::from(session.info()?.index.leaves);
    if tables < TABLES {
        return Err(Stop::Wrong(format!("{tables} tables are too few for a manifest of two blocks")));
    }
    Ok(())
}

fn run<I: Index>(session: &mut Session<I>) -> Run {
    for round in 0..4 {
        // The first manifest of a session is all of it, the next ones are edits.
        if round % 2 == 1 {
            session.reopen()?;
        }
        for n in 0..3 {
            session.put(&key((round * 311 + n * 577) % (TABLES * 12) * 10 + n), 30)?;
        }
        session.delete(&key((round * 97 + 5) % (TABLES * 12) * 10))?;
        session.commit()?;
        if round % 3 == 0 {
            session.checkpoint()?;
            continue;
        }
        // In between, changes find it half written.
        while !session.step()? {
            session.put(&key(round), 20)?;
        }
    }
    session.checkpoint()?;
    session.check()?;
    tables(session)
}
