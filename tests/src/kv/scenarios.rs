//! The scripts: what a user does with a store, arranged so that every boundary is met.

use esker_sim::{Applied, Fault};

use super::chain::chained;
use super::engine::{Index, Run, TestLsm, TestTree};
use super::scarce::{crowded, few_segments, full, full_steps, log_full, scarce};
use super::session::{Change, Session};
use super::shape::{Kind, Shape};

/// A script and the devices it runs on.
pub struct Scenario<I> {
    /// What it is called in state ids.
    pub name: &'static str,
    /// The devices.
    pub kinds: &'static [Kind],
    /// Changes the usual volume to what the script needs.
    pub adjust: fn(Shape) -> Shape,
    /// A part of the device that is broken from the start.
    pub fault: Option<fn(&Shape) -> Fault>,
    /// The script makes the store itself.
    pub creates: bool,
    /// What is there before the recording begins.
    pub prepare: fn(&mut Session<I>) -> Run,
    /// The script.
    pub run: fn(&mut Session<I>) -> Run,
}

impl<I> Clone for Scenario<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Scenario<I> {}

const BOTH: &[Kind] = &[Kind::Blocks512, Kind::Small];
const ALL: &[Kind] = &[Kind::Blocks512, Kind::Small, Kind::Blocks4096, Kind::Nor4, Kind::Nor16];
const FLASH: &[Kind] = &[Kind::Small, Kind::Nor4];

fn script<I: Index>(
    name: &'static str,
    kinds: &'static [Kind],
    run: fn(&mut Session<I>) -> Run,
) -> Scenario<I> {
    let (adjust, prepare) = (|shape| shape, |_: &mut Session<I>| Ok(()));
    Scenario { name, kinds, adjust, fault: None, creates: false, prepare, run }
}

fn prepared<I: Index>(
    name: &'static str,
    kinds: &'static [Kind],
    prepare: fn(&mut Session<I>) -> Run,
    run: fn(&mut Session<I>) -> Run,
) -> Scenario<I> {
    Scenario { prepare, ..script(name, kinds, run) }
}

/// Every scenario.
pub fn scenarios<I: Index>() -> Vec<Scenario<I>> {
    let mut all = vec![
        Scenario { creates: true, ..script("create", ALL, create) },
        script("single", ALL, single),
        script("ascending", ALL, |session| insert(session, |n| n)),
        script("descending", BOTH, |session| insert(session, |n| 999 - n)),
        script("random", ALL, |session| insert(session, |n| n * 619 % 1000)),
        Scenario {
            adjust: roomy,
            ..script("random-roomy", BOTH, |session| insert(session, |n| n * 619 % 1000))
        },
        prepared("shrink", ALL, filled, shrink_front),
        prepared("shrink-back", BOTH, filled, shrink_back),
        prepared("shrink-middle", BOTH, filled, shrink_middle),
        Scenario { adjust: roomy, ..prepared("shrink-roomy", BOTH, filled, shrink_middle) },
        script("empty", BOTH, empty),
        script("overwrite", ALL, overwrite),
        script("overflow", ALL, overflow),
        prepared("overflow-shrink", BOTH, overflowing, overflow_shrink),
        script("longest", ALL, longest),
        script("long-keys", BOTH, long_keys),
        script("batches", ALL, batches),
        script("batch-long", BOTH, batch_long),
        script("steps", ALL, steps),
        Scenario { adjust: roomy, ..script("steps-roomy", BOTH, steps) },
        script("load", ALL, load),
        script("load-dropped", BOTH, load_dropped),
        Scenario { adjust: scarce, ..script("full", BOTH, full) },
        Scenario { adjust: scarce, ..prepared("full-steps", BOTH, crowded, full_steps) },
        Scenario { adjust: few_segments, ..script("log-full", BOTH, log_full) },
        script("reopen", ALL, reopen),
        script("close", BOTH, close),
        script("flushed", BOTH, flushed),
        script("logs-beside", BOTH, logs_beside),
        Scenario { fault: Some(bad_blocks), ..script("retired", FLASH, retired) },
        script("mixed-1", BOTH, |session| mixed(session, 1, 130)),
        script("mixed-2", ALL, |session| mixed(session, 2, 130)),
        Scenario { adjust: roomy, ..script("mixed-3", BOTH, |session| mixed(session, 3, 150)) },
        Scenario { adjust: scarce, ..script("mixed-scarce", BOTH, |session| mixed(session, 4, 150)) },
    ];
    // It takes long: on one kind of device with each memtable.
    if I::SUITE != TestTree::SUITE {
        let kind = usize::from(I::SUITE == TestLsm::SUITE);
        all.push(chained(&BOTH[kind..=kind]));
    }
    all
}

/// More pages than the tree has: nothing is evicted, all goes out with the checkpoints.
fn roomy(shape: Shape) -> Shape {
    Shape { extra: 64, ..shape }
}

/// A part of the blocks that can't be erased.
fn bad_blocks(shape: &Shape) -> Fault {
    let below = &shape.below;
    let start = below.segment_address(below.segments);
    let bad = start + u64::from(below.block) * 3..start + u64::from(below.block) * 5;
    Fault::erase_error(Applied::Nothing).within(bad).for_ever()
}

pub(super) fn key(number: u64) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

/// Lengths that are seldom the same, most of them a small part of a page.
pub(super) fn len<I: Index>(session: &Session<I>, number: u64) -> usize {
    let page = u64::from(session.shape.below.block);
    (number * 37 % 101 * page / 700) as usize
}

/// Rounds so that scripts with large pages do not take longer.
fn rounds<I: Index>(session: &Session<I>, small: u64, large: u64) -> u64 {
    if session.shape.large() { large } else { small }
}

fn create<I: Index>(session: &mut Session<I>) -> Run {
    session.create()?;
    session.put(b"first", 20)?;
    session.commit()?;
    session.put(b"second", 30)?;
    session.check()
}

fn single<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..rounds(session, 24, 12) {
        let len = len(session, n);
        session.put(&key(n * 7 % 10), len)?;
        session.commit()?;
        if n % 8 == 7 {
            session.checkpoint()?;
        }
    }
    session.check()
}

fn insert<I: Index>(session: &mut Session<I>, order: fn(u64) -> u64) -> Run {
    for n in 0..rounds(session, 48, 40) {
        let len = len(session, n);
        session.put(&key(order(n)), len)?;
        if n % 4 == 3 {
            session.commit()?;
        }
        if n % 14 == 13 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

/// A tree of three levels where the pages are small, published.
fn filled<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..rounds(session, 72, 44) {
        let len = 20 + len(session, n) / 2;
        session.put(&key(n * 619 % 1000), len)?;
    }
    session.checkpoint()
}

fn shrink_by<I: Index>(session: &mut Session<I>, order: fn(u64, u64) -> u64) -> Run {
    let keys: Vec<Vec<u8>> = session.model.now().keys().map(|key| key.to_vec()).collect();
    let count = keys.len() as u64;
    for n in 0..count {
        session.delete(&keys[order(n, count) as usize])?;
        if n % 5 == 4 {
            session.commit()?;
        }
        if n % 18 == 17 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

fn shrink_front<I: Index>(session: &mut Session<I>) -> Run {
    shrink_by(session, |n, _| n)
}

fn shrink_back<I: Index>(session: &mut Session<I>) -> Run {
    shrink_by(session, |n, count| count - 1 - n)
}

fn shrink_middle<I: Index>(session: &mut Session<I>) -> Run {
    shrink_by(session, |n, count| {
        let middle = count / 2;
        if n % 2 == 0 { middle + n / 2 } else { middle - 1 - n / 2 }
    })
}

fn empty<I: Index>(session: &mut Session<I>) -> Run {
    for round in 0..3 {
        session.checkpoint()?;
        for n in 0..9 {
            session.put(&key(n), 30 + n as usize)?;
        }
        if round > 0 {
            session.checkpoint()?;
        }
        for n in 0..9 {
            session.delete(&key(n))?;
            session.delete(&key(n + 100))?;
        }
        session.commit()?;
    }
    session.checkpoint()?;
    session.check()
}

fn overwrite<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..rounds(session, 90, 60) {
        let len = len(session, n + n / 6);
        session.put(&key(n % 7), len)?;
        if n % 6 == 5 {
            session.commit()?;
        }
        if n % 25 == 24 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

pub(super) fn page<I: Index>(session: &Session<I>) -> usize {
    I::page(&session.shape.below)
}

fn overflow<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    // In the leaf, at its limit, one page, more, and each replaced by each.
    let mut lens = vec![10, page / 4 - 20, page / 4 + 20, page - 40, page, page + 1, page * 5 / 2];
    if session.shape.large() {
        lens = vec![10, page / 4 + 20, page + 1];
    }
    let count = lens.len();
    for round in 0..count {
        for n in 0..3 {
            session.put(&key(n), lens[(round * (n as usize + 1) + n as usize) % count])?;
        }
        session.commit()?;
        if round % 2 == 1 {
            session.checkpoint()?;
        }
        if round % 3 == 2 {
            session.delete(&key(1))?;
        }
    }
    session.checkpoint()?;
    session.check()
}

fn overflowing<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for n in 0..12 {
        session.put(&key(n), page / 2 + n as usize * page / 6)?;
    }
    session.checkpoint()
}

fn overflow_shrink<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for n in 0..12 {
        if n % 3 == 0 {
            session.put(&key(n), page * 3 / 2)?;
        } else {
            session.delete(&key(n))?;
        }
        if n % 2 == 0 {
            session.commit()?;
        }
        if n % 4 == 3 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

/// Values as long as can be and others in turn, replaced by each other, while a checkpoint goes on.
fn longest<I: Index>(session: &mut Session<I>) -> Run {
    let page = page(session);
    for n in 0..rounds(session, 30, 14) {
        let len = [usize::MAX, 20, page * 3 / 2, page / 2, 60][(n % 5) as usize];
        session.put(&key(n * 3 % 7), len)?;
        if n % 4 == 3 {
            session.delete(&key(n % 7))?;
        }
        match n % 6 {
            1 | 4 => session.commit()?,
            2 | 3 => {
                session.step()?;
            }
            _ => {}
        }
        if n % 13 == 12 {
            session.reopen()?;
        }
    }
    session.checkpoint()?;
    session.check()
}

fn long_keys<I: Index>(session: &mut Session<I>) -> Run {
    let max = session.info()?.max_key;
    for n in 0..36_u64 {
        // They differ at the end, or in length only.
        let mut key = vec![b'k'; if n % 3 == 0 { max } else { max - 1 - n as usize % 9 }];
        let last = key.len() - 1;
        key[last - (n % 2) as usize] = b'a' + (n * 7 % 26) as u8;
        if n % 5 == 4 {
            key.truncate(1 + n as usize);
        }
        session.put(&key, 12)?;
        if n % 4 == 3 {
            session.commit()?;
        }
        if n % 12 == 11 {
            session.checkpoint()?;
        }
    }
    shrink_by(session, |n, count| n * 7 % count)
}

fn batch<I: Index>(session: &Session<I>, first: u64, count: u64) -> Vec<Change> {
    (first..first + count).map(|n| (key(n * 619 % 1000), (n % 4 != 3).then(|| len(session, n)))).collect()
}

fn batches<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..14 {
        let mut changes = batch(session, n * 3, 1 + n % 6);
        // The same key twice: the last one counts.
        changes.push((key(n * 3 * 619 % 1000), Some(33)));
        session.write(&changes)?;
        if n % 2 == 1 {
            session.commit()?;
        }
        if n % 5 == 4 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

/// Batches that reach over the border of a segment.
fn batch_long<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..4 {
        let changes = batch(session, n * 20, 24);
        session.write(&changes)?;
        session.put(b"between", 40)?;
        if n % 2 == 0 {
            session.commit()?;
        }
    }
    session.checkpoint()?;
    let changes = batch(session, 31, 24);
    session.write(&changes)?;
    session.commit()?;
    session.check()
}

fn steps<I: Index>(session: &mut Session<I>) -> Run {
    let mut n = 0;
    for _ in 0..3 {
        for _ in 0..rounds(session, 22, 14) {
            let len = len(session, n);
            session.put(&key(n * 619 % 1000), len)?;
            n += 1;
        }
        session.commit()?;
        for _ in 0..100 {
            if session.step()? {
                break;
            }
            let len = len(session, n);
            session.put(&key(n * 619 % 1000), len)?;
            session.delete(&key(n.saturating_sub(20) * 619 % 1000))?;
            n += 1;
        }
    }
    session.commit()?;
    session.check()
}

fn sorted<I: Index>(session: &Session<I>, count: u64) -> Vec<(Vec<u8>, usize)> {
    let page = page(session);
    (0..count).map(|n| (key(n), if n % 9 == 8 { page / 2 } else { len(session, n) })).collect()
}

fn load<I: Index>(session: &mut Session<I>) -> Run {
    let pairs = sorted(session, rounds(session, 60, 36));
    session.load(&pairs)?;
    for n in 0..12 {
        session.put(&key(n * 5), 25)?;
        session.delete(&key(n * 5 + 2))?;
        if n % 4 == 3 {
            session.commit()?;
        }
    }
    session.checkpoint()?;
    session.check()
}

fn load_dropped<I: Index>(session: &mut Session<I>) -> Run {
    let pairs = sorted(session, 30);
    session.put(b"before", 10)?;
    session.delete(b"before")?;
    session.commit()?;
    session.abandon_load(&pairs)?;
    session.check()?;
    session.put(b"between", 20)?;
    session.delete(b"between")?;
    session.checkpoint()?;
    session.load(&pairs[10..])?;
    session.put(b"after", 20)?;
    session.commit()?;
    session.check()
}

fn reopen<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..rounds(session, 16, 10) {
        for more in 0..4 {
            let len = len(session, n + more);
            session.put(&key((n * 4 + more) * 619 % 1000), len)?;
        }
        if n % 3 != 2 {
            session.commit()?;
        }
        if n % 5 == 4 {
            session.checkpoint()?;
        }
        if n % 7 == 6 {
            session.step()?;
        }
        session.reopen()?;
    }
    session.check()
}

fn close<I: Index>(session: &mut Session<I>) -> Run {
    for round in 0..6 {
        for n in 0..round % 4 * 3 {
            session.put(&key(n * 7 + round), 25)?;
        }
        if round % 2 == 0 {
            session.commit()?;
        }
        session.close()?;
        session.reopen()?;
        if round % 3 == 0 {
            session.reopen()?;
        }
    }
    session.check()
}

fn flushed<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..16 {
        session.put(&key(n * 619 % 1000), 30)?;
        session.flush()?;
        if n % 5 == 4 {
            session.reopen()?;
            continue;
        }
        session.logs.sync()?;
        session.acknowledge()?;
        if n % 6 == 5 {
            session.checkpoint()?;
        }
    }
    session.commit()?;
    session.check()
}

fn logs_beside<I: Index>(session: &mut Session<I>) -> Run {
    let one = session.logs.create(3)?;
    let two = session.logs.create(7)?;
    for n in 0..18 {
        let len = len(session, n);
        session.put(&key(n * 619 % 1000), len)?;
        session.logs.put_releasing(one, 30 + n as usize)?;
        if n % 3 == 0 {
            session.logs.put_releasing(two, 90)?;
            session.logs.commit(two)?;
        }
        match n % 4 {
            0 => session.commit()?,
            1 => session.logs.commit(one)?,
            2 => {
                session.flush()?;
                session.logs.flush(one)?;
                session.logs.sync()?;
                session.acknowledge()?;
                session.logs.acknowledge(one)?;
            }
            _ => session.checkpoint()?,
        }
    }
    session.account()?;
    session.check()
}

fn retired<I: Index>(session: &mut Session<I>) -> Run {
    for n in 0..rounds(session, 60, 40) {
        let len = len(session, n);
        session.put(&key(n % 17), len)?;
        if n % 4 == 3 {
            session.commit()?;
        }
        if n % 9 == 8 {
            session.checkpoint()?;
        }
        if n == 30 {
            session.reopen()?;
        }
    }
    session.checkpoint()?;
    session.check()
}

/// Everything in a seeded order.
fn mixed<I: Index>(session: &mut Session<I>, seed: u64, steps: u64) -> Run {
    session.logs.seed(seed);
    let page = page(session) as u64;
    for _ in 0..steps {
        let number = session.draw(140);
        match session.draw(40) {
            0..=16 => {
                let len = session.draw(page / 6) as usize;
                session.try_put(&key(number), len)?;
            }
            17..=18 => {
                let len = session.draw(page * 2) as usize;
                session.try_put(&key(number), len)?;
            }
            19..=25 => {
                let chosen = session.some_key(number).unwrap_or_else(|| key(number));
                session.delete(&chosen)?;
            }
            26..=27 => {
                let count = 1 + session.draw(7);
                let changes = batch(session, number, count);
                session.try_write(&changes)?;
            }
            28..=33 => session.commit()?,
            34 => session.checkpoint()?,
            35..=37 => {
                session.step()?;
            }
            38 => {
                session.close()?;
                session.reopen()?;
            }
            _ => session.reopen()?,
        }
    }
    session.commit()?;
    session.check()
}
