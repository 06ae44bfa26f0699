//! The scripts: what a user does with a log, arranged so that every boundary is met.

use esker_sim::Fault;

use super::opened::{Run, Stop};
use super::session::{Appended, Session};
use super::shape::{Kind, Shape};

/// A script and the devices it runs on.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called in state ids.
    pub name: &'static str,
    /// The devices.
    pub kinds: &'static [Kind],
    /// Changes the usual volume to what the script needs.
    pub adjust: fn(Shape) -> Shape,
    /// A part of the device that is broken from the start.
    pub fault: Option<fn(&Shape) -> Fault>,
    /// The format itself is part of what is cut.
    pub formats: bool,
    /// The script.
    pub run: fn(&mut Session) -> Run,
}

const BOTH: &[Kind] = &[Kind::Blocks512, Kind::Nor4];
const ALL: &[Kind] = &[Kind::Blocks512, Kind::Nor4, Kind::Blocks4096, Kind::Nor16];
const FLASH: &[Kind] = &[Kind::Nor4, Kind::Nor16];

const fn script(name: &'static str, kinds: &'static [Kind], run: fn(&mut Session) -> Run) -> Scenario {
    Scenario { name, kinds, adjust: |shape| shape, fault: None, formats: false, run }
}

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    script("single", ALL, single),
    script("grouped", BOTH, grouped),
    Scenario { adjust: four_buffers, ..script("buffered", BOTH, grouped) },
    script("window", BOTH, window),
    script("wrap", ALL, wrap),
    script("exact", BOTH, exact),
    script("batch-border", BOTH, batch_border),
    script("batch-long", BOTH, batch_long),
    script("sizes", BOTH, sizes),
    Scenario { adjust: long_segments, ..script("long", BOTH, sizes) },
    script("users", BOTH, users),
    script("snapshot", ALL, snapshot),
    script("snapshots", BOTH, snapshots),
    Scenario { adjust: many_segments, ..script("abandoned", BOTH, abandoned) },
    script("truncate-last", ALL, truncate_last),
    script("truncate-far", BOTH, truncate_far),
    script("truncate-border", BOTH, truncate_border),
    script("truncate-again", BOTH, truncate_again),
    script("reset", BOTH, reset),
    script("two-logs", BOTH, two_logs),
    script("close", BOTH, close),
    script("reopen", ALL, reopen),
    script("reopen-window", BOTH, reopen_window),
    Scenario { adjust: four_buffers, ..script("reopen-buffered", BOTH, reopen_window) },
    script("full", BOTH, full),
    script("create", BOTH, create),
    Scenario { formats: true, ..script("format", ALL, format) },
    script("flushed", BOTH, flushed),
    Scenario { adjust: four_buffers, ..script("flushed-buffered", BOTH, flushed) },
    Scenario { fault: Some(bad_sector), ..script("retired", FLASH, retired) },
    script("mixed-1", BOTH, |session| mixed(session, 1, 160)),
    script("mixed-2", BOTH, |session| mixed(session, 2, 160)),
    script("mixed-3", ALL, |session| mixed(session, 3, 160)),
    Scenario { adjust: four_buffers, ..script("mixed-4", BOTH, |session| mixed(session, 4, 200)) },
];

fn four_buffers(shape: Shape) -> Shape {
    Shape { buffers: 4, ..shape }
}

fn long_segments(shape: Shape) -> Shape {
    Shape { segment: 8192, segments: 5, ..shape }
}

/// So many that the reserve is two.
fn many_segments(shape: Shape) -> Shape {
    Shape { segments: shape.segments.max(8), ..shape }
}

fn bad_sector(shape: &Shape) -> Fault {
    let at = shape.segment_address(2);
    Fault::erase_error(esker_sim::Applied::Nothing).within(at..at + u64::from(shape.segment)).for_ever()
}

/// Lengths that are seldom the same and never large.
fn len(n: u64) -> usize {
    (n * 37 % 101) as usize
}

/// Rounds so that scripts with large units do not take longer.
fn rounds(session: &Session, small: u64, large: u64) -> u64 {
    if session.shape.kind == Kind::Blocks4096 { large } else { small }
}

fn single(session: &mut Session) -> Run {
    for n in 0..rounds(session, 30, 20) {
        session.put_releasing(0, len(n))?;
        session.commit(0)?;
    }
    session.check()
}

fn grouped(session: &mut Session) -> Run {
    for group in 0..12 {
        for n in 0..1 + group % 6 {
            session.put(0, len(group * 7 + n))?;
        }
        session.commit(0)?;
    }
    session.check()
}

fn window(session: &mut Session) -> Run {
    for round in 0..2 {
        for n in 0..70 {
            session.put(0, len(n + round))?;
        }
        session.commit(0)?;
    }
    session.check()
}

fn wrap(session: &mut Session) -> Run {
    let laps = u64::from(session.shape.segments) * 5 / 2;
    let len = session.max_entry(0) / 5;
    for n in 0..laps * 4 {
        session.put_releasing(0, len + n as usize % 3)?;
        if n % 3 != 1 {
            session.commit(0)?;
        }
    }
    session.commit(0)?;
    session.check()
}

fn exact(session: &mut Session) -> Run {
    for short in [0_usize, 4, 8, 12, 3, 16, 1, 0] {
        session.put(0, 60)?;
        session.commit(0)?;
        // The head of a record takes 8 bytes, that of a long one 12.
        let left = session.left(0)?.saturating_sub(8 + short);
        let left = if left >= 1028 { left - 4 } else { left };
        session.put_releasing(0, left)?;
        if short % 3 == 0 {
            session.commit(0)?;
        }
        session.put_releasing(0, short)?;
        session.commit(0)?;
    }
    session.check()
}

fn batch_border(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 4;
    for n in 0..14 {
        for _ in 0..3 {
            match session.batch(0, &[len, 5, len - n, 0, 40])? {
                Appended::Full(Some(before)) => session.release(0, before)?,
                _ => break,
            }
        }
        if n % 4 != 3 {
            session.commit(0)?;
        }
    }
    session.commit(0)?;
    session.check()
}

fn batch_long(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 2;
    for round in 0..3 {
        session.put_releasing(0, 30)?;
        let lens = [len, len - 1, 17, len - 30, len, len, 3];
        for _ in 0..6 {
            match session.batch(0, &lens[round..])? {
                Appended::Full(Some(before)) => session.release(0, before)?,
                _ => break,
            }
        }
        session.put_releasing(0, 8)?;
        session.commit(0)?;
    }
    session.check()
}

fn sizes(session: &mut Session) -> Run {
    let max = session.max_entry(0);
    for n in 0..8 {
        session.put(0, 0)?;
        session.put_releasing(0, max - [0, 1, 4, 0, 2, 3, 0, 9][n])?;
        session.put_releasing(0, 1)?;
        if n % 2 == 0 {
            session.commit(0)?;
        }
        session.put_releasing(0, 0)?;
    }
    session.commit(0)?;
    session.check()
}

fn users(session: &mut Session) -> Run {
    for n in 0..50 {
        let word = if n % 5 == 0 { u64::MAX - n } else { n << 33 };
        session.append_user(0, len(n), word)?;
        if n % 7 == 0 {
            session.put(0, len(n))?;
        }
        if n % 4 == 3 {
            session.commit(0)?;
        }
    }
    session.commit(0)?;
    session.check()
}

fn snapshot(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 6;
    for n in 0..16 {
        session.put(0, len + n)?;
        if n % 5 == 4 {
            session.commit(0)?;
        }
    }
    for n in 0..3 {
        session.chunk(0, len * 2 + n)?;
    }
    let offset = session.end(0) - 2;
    session.publish(0, offset)?;
    for n in 0..4 {
        session.put_releasing(0, len + n)?;
        session.commit(0)?;
    }
    session.check()
}

/// A snapshot that takes all the room there is and is never published: dropped by hand, or by the next session.
fn abandoned(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 3;
    for round in 0..3 {
        session.put_releasing(0, 30)?;
        session.commit(0)?;
        if round == 1 {
            session.chunk(0, 20)?;
            let end = session.end(0);
            session.publish(0, end)?;
        }
        let mut chunks = 0;
        while session.chunk(0, len)? {
            chunks += 1;
        }
        if chunks < 3 {
            return Err(Stop::Wrong(format!("full, with {chunks} chunks of a snapshot")));
        }
        if round == 0 {
            session.discard(0)?;
        } else {
            session.reopen()?;
        }
        if !session.chunk(0, len)? {
            return Err(Stop::Wrong("full, although a snapshot was abandoned".into()));
        }
        session.discard(0)?;
    }
    session.check()
}

fn snapshots(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 5;
    for round in 0..4 {
        for n in 0..5 {
            session.put_releasing(0, len + n + round)?;
        }
        if round % 2 == 0 {
            session.commit(0)?;
        }
        if round == 2 {
            // Begun, and given up.
            session.chunk(0, len)?;
            session.discard(0)?;
        }
        for n in 0..2 + round {
            session.chunk(0, len + n)?;
            session.put_releasing(0, 11)?;
        }
        let offset = session.end(0) - round as u64;
        session.publish(0, offset)?;
        if round == 1 {
            session.reopen()?;
        }
    }
    session.check()
}

fn truncate_last(session: &mut Session) -> Run {
    for round in 0..5 {
        for n in 0..5 {
            session.put_releasing(0, len(n + round))?;
        }
        if round % 2 == 0 {
            session.commit(0)?;
        }
        let offset = session.end(0) - 3;
        session.truncate(0, offset)?;
    }
    session.put_releasing(0, 20)?;
    session.commit(0)?;
    session.check()
}

fn truncate_far(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 4;
    for round in 0..3 {
        for n in 0..12 {
            session.put_releasing(0, len + n)?;
            if n % 5 == 0 {
                session.commit(0)?;
            }
        }
        let offset = (session.end(0) - 9).max(session.start(0)) + round;
        session.truncate(0, offset)?;
        session.put_releasing(0, 33)?;
    }
    session.commit(0)?;
    session.check()
}

fn truncate_border(session: &mut Session) -> Run {
    let max = session.max_entry(0);
    for round in 0..3 {
        let base = session.end(0);
        // Each fills a segment, so each border lies between two of them.
        for _ in 0..3 {
            session.put_releasing(0, max - 10)?;
        }
        session.commit(0)?;
        session.truncate(0, base + round % 2)?;
        session.put_releasing(0, 50)?;
        session.put_releasing(0, 60)?;
        session.commit(0)?;
    }
    session.check()
}

fn truncate_again(session: &mut Session) -> Run {
    for n in 0..24 {
        session.put(0, len(n) + 60)?;
    }
    session.commit(0)?;
    for offset in [20, 19, 12, 11, 3, 0] {
        if !session.truncate(0, offset)? {
            break;
        }
        if offset % 2 == 0 {
            session.put_releasing(0, 70)?;
        }
        if offset == 12 {
            session.reopen()?;
        }
    }
    session.put_releasing(0, 5)?;
    session.commit(0)?;
    session.check()
}

fn reset(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 3;
    for next in [1000, 3, 3, 77] {
        for n in 0..7 {
            session.put_releasing(0, len - n)?;
        }
        if next != 3 {
            session.commit(0)?;
        }
        session.reset(0, next)?;
    }
    session.put(0, 9)?;
    session.commit(0)?;
    session.reset(0, 5)?;
    session.check()
}

fn two_logs(session: &mut Session) -> Run {
    let other = session.create(7)?;
    let len = session.max_entry(0) / 6;
    for n in 0..14 {
        for log in [0, other] {
            if n % 4 != log as u64 {
                session.put_releasing(log, len + n as usize)?;
            }
        }
        match n % 3 {
            0 => {
                session.flush(0)?;
                session.flush(other)?;
                session.sync()?;
                session.acknowledge(0)?;
                session.acknowledge(other)?;
            }
            1 => session.commit(other)?,
            _ => session.commit(0)?,
        }
    }
    session.commit(0)?;
    session.commit(other)?;
    session.check()
}

fn close(session: &mut Session) -> Run {
    for round in 0..7 {
        for n in 0..round % 4 {
            session.put(0, len(n + round) * 2)?;
        }
        if round % 2 == 0 {
            session.commit(0)?;
        }
        session.close(0)?;
        session.reopen()?;
        if round % 3 == 0 {
            session.reopen()?;
        }
    }
    session.check()
}

fn reopen(session: &mut Session) -> Run {
    for n in 0..rounds(session, 30, 12) {
        session.put_releasing(0, len(n) / 3)?;
        if n % 9 != 8 {
            session.commit(0)?;
        }
        session.reopen()?;
    }
    session.check()
}

fn reopen_window(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 7;
    for round in 0..5 {
        for n in 0..5 + round * 2 {
            session.put_releasing(0, len + n)?;
            if n == 2 {
                session.commit(0)?;
            }
        }
        session.reopen()?;
    }
    session.put_releasing(0, 9)?;
    session.commit(0)?;
    session.check()
}

fn full(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 2 - 8;
    for _ in 0..3 {
        let before = loop {
            match session.append(0, len)? {
                Appended::At(_) => session.commit(0)?,
                Appended::Full(before) => break before,
                Appended::Pending => return Err(Stop::Wrong("nothing is being synced".into())),
            }
        };
        let before = before.ok_or_else(|| Stop::Wrong("full, and nothing would help".into()))?;
        session.check()?;
        session.release(0, before)?;
        session.put(0, len)?;
        let middle = (session.start(0) + session.end(0)) / 2;
        session.release(0, middle)?;
    }
    session.commit(0)?;
    session.check()
}

fn create(session: &mut Session) -> Run {
    let second = session.create(9)?;
    session.put(second, 20)?;
    session.put(0, 30)?;
    session.commit(0)?;
    let third = session.create(1)?;
    session.put(third, 10)?;
    session.commit(third)?;
    session.commit(second)?;
    session.create(2)?;
    session.check()
}

fn format(session: &mut Session) -> Run {
    session.create(3)?;
    session.put(0, 20)?;
    session.commit(0)
}

fn flushed(session: &mut Session) -> Run {
    for n in 0..24 {
        session.put_releasing(0, len(n) + 30)?;
        session.flush(0)?;
        // Appending goes on while the sync is under way, as far as the buffer goes.
        for more in 0..n % 4 {
            if session.append(0, len(more))? == Appended::Pending {
                break;
            }
        }
        if n % 5 != 4 {
            session.sync()?;
            session.acknowledge(0)?;
        } else {
            session.reopen()?;
        }
    }
    session.commit(0)?;
    session.check()
}

fn retired(session: &mut Session) -> Run {
    let len = session.max_entry(0) / 3;
    for n in 0..26 {
        session.put_releasing(0, len + n % 5)?;
        if n % 2 == 0 {
            session.commit(0)?;
        }
        if n == 13 {
            session.reopen()?;
        }
    }
    session.commit(0)?;
    session.account()?;
    session.check()
}

/// Everything in a seeded order.
fn mixed(session: &mut Session, seed: u64, steps: u64) -> Run {
    session.seed(seed);
    let max = session.max_entry(0);
    for _ in 0..steps {
        match session.draw(40) {
            0..=14 => {
                let len = session.draw(90) as usize;
                session.put_releasing(0, len)?;
            }
            15..=18 => {
                let len = session.draw(max as u64 / 2) as usize;
                session.put_releasing(0, len)?;
            }
            19..=21 => {
                let len = session.draw(200) as usize;
                session.batch(0, &[len, 0, len / 2])?;
            }
            22..=30 => session.commit(0)?,
            31 => {
                let kept = session.end(0) - session.start(0);
                let offset = session.start(0) + session.draw(kept + 1);
                session.release(0, offset)?;
            }
            32..=33 => {
                let kept = session.end(0) - session.start(0);
                if kept > 0 {
                    let offset = session.end(0) - 1 - session.draw(kept.min(9));
                    session.truncate(0, offset)?;
                }
            }
            34 => {
                if session.draw(4) == 0 {
                    let next = session.end(0) + session.draw(9);
                    session.reset(0, next)?;
                }
            }
            35..=36 => {
                let len = session.draw(300) as usize;
                session.chunk(0, len)?;
                if session.draw(2) == 0 {
                    let offset = session.end(0);
                    session.publish(0, offset)?;
                }
            }
            37 => {
                session.close(0)?;
                session.reopen()?;
            }
            _ => session.reopen()?,
        }
    }
    session.commit(0)?;
    session.check()
}
