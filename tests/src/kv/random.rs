//! Random operations against a map: every answer must be the map's, and the engine's structure in order.
//!
//! Runs go through phases of growing and shrinking with keys in several orders, over page sizes, devices and pools; the
//! store is checkpointed, closed, dropped and cut off in between. What operations cost the device is held against what is
//! promised.

use std::marker::PhantomData;
use std::ops::Bound;

use esker_sim::{Counts, PowerCut};

use super::engine::{Index, LITTLE, Run, Stop, TestStore, stop, wrong};
use super::model::{Key, hash_of, show};
use super::session::{Change, Session};
use super::shape::{Kind, Shape};
use crate::cli::{self, Beat, Found, Moved, Settings, guarded, mix};
use crate::wal::session::tell_all;
use crate::wal::shape::Shape as Below;

/// Operations of all runs together.
const QUICK: u64 = 200_000;
const FULL: u64 = 5_000_000;
/// Structure is verified after so many operations, and when the store is opened.
const VERIFY: u64 = 2_500;
/// A replay tells so many operations before the one it stops at.
const TOLD: u64 = 12;

struct Job<I> {
    name: String,
    shape: Shape,
    index: PhantomData<fn() -> I>,
}

/// Page size, device, segment, blocks, and pages in the pool beyond the least number.
const SHAPES: &[(u32, Kind, u32, u32, usize)] = &[
    (512, Kind::Blocks512, 8192, 4000, 0),
    (512, Kind::Blocks512, 8192, 4000, 9),
    (512, Kind::Blocks512, 8192, 4000, 990),
    (512, Kind::Small, 8192, 3000, 0),
    (512, Kind::Small, 8192, 3000, 60),
    (4096, Kind::Blocks512, 16_384, 1200, 0),
    (4096, Kind::Blocks4096, 32_768, 1200, 20),
    (4096, Kind::Blocks4096, 32_768, 1200, 990),
    (4096, Kind::Nor4, 16_384, 700, 0),
    (4096, Kind::Nor16, 16_384, 700, 100),
    (16_384, Kind::Blocks512, 65_536, 400, 0),
    (16_384, Kind::Blocks4096, 65_536, 400, 300),
    (16_384, Kind::Nor4, 65_536, 300, 0),
    (16_384, Kind::Nor16, 65_536, 300, 30),
    (4096, Kind::Blocks512, 16_384, 4000, LITTLE),
    (4096, Kind::Nor4, 16_384, 4000, LITTLE),
];
const SEGMENTS: u32 = 16;

fn jobs<I: Index>(settings: &Settings) -> Vec<Job<I>> {
    let job = |(block, kind, segment, blocks, extra): &(u32, Kind, u32, u32, usize)| {
        let below = Below {
            kind: *kind,
            segment: *segment,
            segments: SEGMENTS,
            buffers: 2,
            block: *block,
            blocks: *blocks,
        };
        let shape = I::adapt(Shape { below, extra: *extra });
        Job { name: format!("{block}/{kind}/{extra}"), shape, index: PhantomData }
    };
    let wanted = |job: &Job<I>| settings.only.as_ref().is_none_or(|only| job.name.contains(only.as_str()));
    SHAPES.iter().map(job).filter(wanted).collect()
}

/// The checker's entry.
pub fn run<I: Index>(settings: &Settings) -> (usize, Found) {
    let jobs = jobs::<I>(settings);
    let each = if settings.full { FULL } else { QUICK }.div_ceil(SHAPES.len() as u64);
    if let Some(id) = &settings.replay {
        return (1, replay_one(&jobs, settings, id));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let found = cli::work("model", settings, &names, |number, beat| {
        let job = &jobs[number];
        let mut found = Found::default();
        let mut done = 0;
        let result = guarded(|| {
            let mut runner = Runner::new(job, settings.seed, u64::MAX)?;
            wrong(runner.run(each, &mut done, beat))?;
            found.moved = runner.moved;
            Ok(())
        });
        found.states = done;
        if let Err(why) = result {
            found.violations.push((format!("{}@{done}", job.name), why));
        }
        found
    });
    (jobs.len(), found)
}

fn replay_one<I: Index>(jobs: &[Job<I>], settings: &Settings, id: &str) -> Found {
    let mut found = Found { states: 1, ..Found::default() };
    let mut done = 0;
    let result = (|| {
        let (name, last) = id.split_once('@').unwrap_or((id, "0"));
        let job = jobs.iter().find(|job| job.name == name).ok_or("no such run")?;
        let last: u64 = last.parse().map_err(|_| "an id is run@operation")?;
        let mut runner = Runner::new(job, settings.seed, last.saturating_sub(TOLD))?;
        guarded(|| wrong(runner.run(last.saturating_add(1), &mut done, &Beat::default())))
    })();
    if let Err(why) = result {
        found.violations.push((format!("{}@{done}", id.split('@').next().unwrap_or(id)), why));
    }
    found
}

/// In which order new keys come.
#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Descending,
    Random,
    /// Of any length, alike at the beginning.
    Long,
}

struct Runner<I> {
    session: Session<I>,
    noise: u64,
    /// Of ten changes, so many are puts.
    puts: u64,
    /// A phase ends when so many pairs are there.
    goal: usize,
    order: Order,
    next: u64,
    page: usize,
    max_key: usize,
    /// What one put has cost at most.
    greatest: Counts,
    /// And in bytes.
    moved: Moved,
    full: u64,
    /// From this operation on everything is told.
    tell_from: u64,
    value: Vec<u8>,
}

impl<I: Index> Runner<I> {
    fn new(job: &Job<I>, seed: u64, tell_from: u64) -> Result<Self, String> {
        let mut session = wrong(Session::format(&job.shape.sim(), job.shape))?;
        wrong(session.create())?;
        let max_key = wrong(session.info())?.max_key;
        Ok(Self {
            session,
            noise: mix(seed, job.name.bytes().fold(0, |sum, byte| mix(sum, u64::from(byte)))),
            puts: 8,
            goal: 200,
            order: Order::Ascending,
            next: 1 << 32,
            page: I::page(&job.shape.below),
            max_key,
            greatest: Counts::default(),
            moved: Moved::default(),
            full: 0,
            tell_from,
            value: vec![0; 1 << 16],
        })
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 33) % below.max(1)
    }

    fn run(&mut self, operations: u64, done: &mut u64, beat: &Beat) -> Run {
        for number in 0..operations {
            *done = number;
            if number == self.tell_from {
                tell_all();
            }
            if number % 64 == 0 {
                beat.at(number, 0);
            }
            self.turn();
            self.operation()?;
            if number % VERIFY == VERIFY - 1 {
                self.session.check()?;
                self.session.account()?;
            }
        }
        *done = operations;
        self.session.commit()?;
        self.session.close()?;
        self.session.reopen()?;
        eprintln!(
            "one put: at most {} reads, {} writes, {} erases, {} syncs; {} answered full; put or delete: at most {} bytes of {}, {} waits",
            self.greatest.reads,
            self.greatest.writes,
            self.greatest.erases,
            self.greatest.syncs,
            self.full,
            self.moved.most,
            self.moved.bound,
            self.moved.waits
        );
        super::engine::rules(self.session.sim())
    }

    /// Begins the next phase where this one has reached its goal.
    fn turn(&mut self) {
        let count = self.session.model.now().len();
        let growing = self.puts > 5;
        let reached = if growing { count >= self.goal } else { count <= self.goal };
        if !reached {
            return;
        }
        let blocks = self.session.shape.below.blocks as usize;
        if growing {
            self.puts = 1 + self.draw(3);
            self.goal = if self.draw(3) == 0 { 0 } else { self.draw(count as u64 / 2 + 1) as usize };
        } else {
            self.puts = 7 + self.draw(3);
            // Up to more than there is room for.
            self.goal = count + 50 + self.draw(blocks as u64 * 5) as usize;
        }
        self.order = match self.draw(5) {
            0 => Order::Ascending,
            1 => Order::Descending,
            2 => Order::Long,
            _ => Order::Random,
        };
    }

    fn new_key(&mut self) -> Vec<u8> {
        self.next += 1;
        match self.order {
            Order::Ascending => self.next.to_be_bytes().to_vec(),
            Order::Descending => ((1_u64 << 33) - self.next).to_be_bytes().to_vec(),
            Order::Random => {
                let space = u64::from(self.session.shape.below.blocks) * 12;
                format!("{:x}", mix(self.draw(space), 7)).into_bytes()
            }
            Order::Long => {
                let len = 1 + self.draw(self.max_key as u64) as usize;
                let mut key = vec![b'x'; len];
                for byte in key.iter_mut().rev().take(3) {
                    *byte = b'a' + self.draw(26) as u8;
                }
                key
            }
        }
    }

    /// A key that is there, mostly.
    fn old_key(&mut self) -> Vec<u8> {
        if self.draw(8) == 0 {
            return self.new_key();
        }
        let from = self.new_key();
        let now = self.session.model.now();
        let next = now.range::<[u8], _>((Bound::Included(&*from), Bound::Unbounded)).next();
        next.or_else(|| now.iter().next()).map_or(from, |(key, _)| key.to_vec())
    }

    fn len(&mut self) -> usize {
        let page = self.page as u64;
        let len = match self.draw(40) {
            // What is longer than can be is cut off to that. (A B-tree reads all blocks of what is replaced.)
            0 if !I::EXACT && self.draw(3) == 0 => self.draw(1 << 16),
            0 => self.draw(page * 3),
            1 => page - self.draw(64),
            2 => page / 4 - 24 + self.draw(48),
            3..=7 => self.draw(page / 4),
            _ => self.draw(page / 16 + 8),
        };
        len as usize
    }

    fn operation(&mut self) -> Run {
        match self.draw(1000) {
            0..=599 => self.change(),
            600..=849 => self.get(),
            850..=889 => self.batch(),
            890..=919 => self.scan(),
            920..=979 => self.commit(),
            980..=992 => self.session.step().map(|_| ()),
            993..=995 => self.session.checkpoint(),
            996..=998 => self.session.commit(),
            _ => self.reopen(),
        }
    }

    fn change(&mut self) -> Run {
        let before = (self.session.sim().counts(), self.session.bound()?);
        if self.draw(10) >= self.puts {
            let key = self.old_key();
            self.session.delete(&key)?;
            return self.moved("delete", before, &key, 0);
        }
        let key = if self.draw(4) == 0 { self.old_key() } else { self.new_key() };
        let len = self.len();
        let effect = self.session.try_put(&key, len)?;
        if effect.is_none() {
            self.full += 1;
            // On a full device what is there can go away.
            self.puts = 2;
            self.goal = self.session.model.now().len() / 2;
        }
        if len < self.page {
            self.moved("put", before, &key, len)?;
            let cost = self.session.sim().counts() - before.0;
            self.greatest.reads = self.greatest.reads.max(cost.reads);
            self.greatest.writes = self.greatest.writes.max(cost.writes);
            self.greatest.erases = self.greatest.erases.max(cost.erases);
            self.greatest.syncs = self.greatest.syncs.max(cost.syncs);
            let depth = effect.map_or(8, |effect| effect.depth);
            I::affordable(&self.session.shape.below, depth, &cost).map_err(|why| {
                Stop::Wrong(format!("a put of {} with {len} bytes cost {cost:?}: {why}", show(&key)))
            })?;
        }
        Ok(())
    }

    /// What a put or a delete has read and written is no more than the store has said before.
    fn moved(
        &mut self,
        what: &str,
        (before, (said, waits)): (Counts, (u64, u32)),
        key: &[u8],
        len: usize,
    ) -> Run {
        let cost = self.session.sim().counts() - before;
        let moved = cost.read_bytes + cost.write_bytes;
        let (more, has_waited) = self.session.bound()?;
        // With a run more, or a level.
        let bound = said.max(more);
        if has_waited != waits {
            self.moved.waits += u64::from(has_waited - waits);
            // Only where the device was full once.
            let why =
                || Stop::Wrong(format!("a {what} of {} had to wait, and moved {moved} bytes", show(key)));
            return if self.full == 0 { Err(why()) } else { Ok(()) };
        }
        if moved > bound + (key.len() + len) as u64 {
            return Err(Stop::Wrong(format!(
                "a {what} of {} with {len} bytes moved {moved} bytes, {bound} were said to be the most: {cost:?}",
                show(key)
            )));
        }
        self.moved.note(moved, bound);
        Ok(())
    }

    fn get(&mut self) -> Run {
        let key = if self.draw(4) == 0 { self.new_key() } else { self.old_key() };
        let (found, cost) = self.get_one(&key)?;
        // A value within the leaf takes one read for each page on the way, and none once they are in the pool.
        let Some((len, depth)) = found else { return Ok(()) };
        if !I::EXACT || len + key.len() + 32 > self.page / 4 {
            return Ok(());
        }
        if cost.reads > u64::from(depth) {
            return Err(Stop::Wrong(format!("a get took {} reads, with a depth of {depth}", cost.reads)));
        }
        let (_, again) = self.get_one(&key)?;
        // In the least pool its own leaf may have taken the place of a page above, where all others are dirty.
        let least = self.session.shape.extra == 0 && again.reads <= 1;
        if !least && again.reads + again.writes + again.erases + again.syncs != 0 {
            return Err(Stop::Wrong(format!("the same get once more took {again:?}")));
        }
        Ok(())
    }

    /// Length and depth of what is found, and the cost.
    fn get_one(&mut self, key: &[u8]) -> Run<(Option<(usize, u8)>, Counts)> {
        let before = self.session.sim().counts();
        let Session { store: Some(store), logs, model, .. } = &mut self.session else {
            return Err(Stop::Wrong("no store is open".into()));
        };
        let found =
            store.get(&mut logs.opened.volume, key, &mut self.value).map_err(|error| stop("get", error))?;
        let hash = found.map(|found| hash_of(key, &self.value[..found.len]));
        if hash.as_ref() != model.now().get(key) {
            let known = model.now().contains_key(key);
            return Err(Stop::Wrong(format!("get of {} gives {found:?}, known: {known}", show(key))));
        }
        let cost = self.session.sim().counts() - before;
        Ok((found.map(|found| (found.len, found.depth)), cost))
    }

    fn batch(&mut self) -> Run {
        let count = 1 + self.draw(12);
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..count {
            if self.draw(10) < self.puts {
                let key = self.new_key();
                let len = self.draw(self.page as u64 / 8) as usize;
                changes.push((key, Some(len)));
            } else {
                changes.push((self.old_key(), None));
            }
        }
        if !self.session.try_write(&changes)? {
            self.full += 1;
            self.puts = 2;
            self.goal = self.session.model.now().len() / 2;
        }
        Ok(())
    }

    /// One flush makes everything durable.
    fn commit(&mut self) -> Run {
        let before = self.session.sim().counts();
        self.session.commit()?;
        let cost = self.session.sim().counts() - before;
        if cost.syncs > 1 {
            return Err(Stop::Wrong(format!("a commit took {} flushes", cost.syncs)));
        }
        Ok(())
    }

    /// A scan over a range, while the store changes under the cursor.
    fn scan(&mut self) -> Run {
        let backward = self.draw(2) == 0;
        let from = self.old_key();
        let bound = match self.draw(4) {
            0 => Bound::Unbounded,
            1 => Bound::Excluded(&*from),
            _ => Bound::Included(&*from),
        };
        let mut at: Bound<Key> = match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Excluded(key) => Bound::Excluded(key.into()),
            Bound::Included(key) => Bound::Included(key.into()),
        };
        let mut cursor = match &self.session.store {
            Some(store) => {
                let mut cursor = store.cursor(vec![0; self.page]);
                store.seek(&mut cursor, bound).map_err(|error| Stop::Wrong(format!("seek: {error:?}")))?;
                cursor
            }
            None => return Err(Stop::Wrong("no store is open".into())),
        };
        for _ in 0..self.draw(40) {
            let Session { store: Some(store), logs, model, .. } = &mut self.session else { break };
            let volume = &mut logs.opened.volume;
            let now = model.now();
            let expected = if backward {
                now.range((Bound::Unbounded, at.clone())).next_back()
            } else {
                now.range((at.clone(), Bound::Unbounded)).next()
            };
            let step = if backward { TestStore::<I>::previous } else { TestStore::<I>::next };
            let found =
                step(store, volume, &mut cursor, &mut self.value).map_err(|error| stop("scan", error))?;
            let hash = found.map(|len| hash_of(cursor.key(), &self.value[..len]));
            if found.map(|_| cursor.key()) != expected.map(|(key, _)| &**key)
                || hash.as_ref() != expected.map(|(_, hash)| hash)
            {
                return Err(Stop::Wrong(format!(
                    "a scan (backward: {backward}) finds {:?}, not {:?}",
                    found.map(|_| show(cursor.key())),
                    expected.map(|(key, _)| show(key))
                )));
            }
            let Some((key, _)) = expected else { break };
            at = Bound::Excluded(key.clone());
            match self.draw(12) {
                0 => self.change()?,
                // Reads take the pages that the cursor stands in out of a small pool.
                1..=4 => {
                    let key = self.old_key();
                    self.get_one(&key)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Run {
        match self.draw(4) {
            0 => self.session.close()?,
            1 => self.session.power_cut(),
            2 => {
                let seed = self.draw(u64::MAX);
                self.session.sim().power_cut(PowerCut::Random(seed));
            }
            _ => {}
        }
        self.session.reopen()?;
        // What was found is what counts from now on.
        self.session.commit()?;
        self.session.begin();
        Ok(())
    }
}
