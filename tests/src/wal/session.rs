//! A run of the engine beside the model: every call goes to both.

use std::sync::atomic::{AtomicBool, Ordering};

use esker::device::BlockDevice;
use esker::volume::{self, Volume};
use esker::wal::{Error, Log, Snapshot, Ticket};
use esker_sim::{PowerCut, Sim};

use crate::cli::mix;

use super::model::{LogModel, Model, Serial, SnapshotState};
use super::opened::{Handle, LogError, Memory, Opened, Run, Scratch, Stop, Strictness, TestLog, Vol, stop};
use super::shape::Shape;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It got this offset.
    At(u64),
    /// No room; releasing the entries before this one would make some.
    Full(Option<u64>),
    /// A sync is under way and the buffer is full.
    Pending,
}

/// A session that is replayed says what it does.
static TELLS: AtomicBool = AtomicBool::new(false);

/// From here on every call to the engine is told on the standard error output.
pub fn tell_all() {
    TELLS.store(true, Ordering::Relaxed);
}

fn stop_volume(what: &str, error: volume::Error<esker_sim::SimError>) -> Stop {
    stop(what, error.into())
}

/// The engine on a simulated device, and the model beside it.
pub struct Session {
    /// The device.
    pub sim: Sim,
    /// The kind of device and volume.
    pub shape: Shape,
    /// What must be there.
    pub model: Model,
    /// The engine.
    pub opened: Opened,
    memory: Memory,
    tickets: Vec<Option<(Ticket, usize)>>,
    chunks: Vec<Vec<Serial>>,
    scratch: Scratch,
    noise: u64,
    /// The device that the script began on: where faults were injected.
    pub device: Sim,
    /// How much is asked at each reopening.
    pub strictness: Strictness,
    /// At each reopening the device forgets what a failed call has touched without a trace.
    pub forgets_burns: bool,
    /// Operations after which the volume was there.
    pub formatted_at: usize,
}

impl Session {
    /// Formats `sim`, and begins.
    pub fn format(sim: &Sim, shape: Shape) -> Run<Self> {
        let memory = shape.memory();
        let volume = Volume::format(sim.clone(), vec![0; memory.volume], &shape.options())
            .map_err(|error| stop_volume("format", error))?;
        let opened = Opened { volume, logs: Vec::new() };
        Ok(Self::over(sim, shape, Model::default(), opened))
    }

    /// Goes on with a volume that was opened, and whose content is known.
    pub fn over(sim: &Sim, shape: Shape, model: Model, opened: Opened) -> Self {
        let count = model.logs.len();
        Self {
            sim: sim.clone(),
            shape,
            model,
            opened,
            memory: shape.memory(),
            tickets: vec![None; count],
            chunks: vec![Vec::new(); count],
            scratch: Scratch::default(),
            noise: 0,
            formatted_at: 0,
            device: sim.clone(),
            strictness: Strictness::CRASH,
            forgets_burns: false,
        }
    }

    /// Begins the numbers of [`draw`](Self::draw).
    pub fn seed(&mut self, seed: u64) {
        self.noise = mix(seed, 0);
    }

    /// A number below `below`, the same in each run of a script.
    pub fn draw(&mut self, below: u64) -> u64 {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 33) % below.max(1)
    }

    pub(crate) fn ops(&self) -> usize {
        self.sim.op_count()
    }

    /// Says in a replay what is done, and after how many operations.
    pub(crate) fn tell(&self, what: std::fmt::Arguments<'_>) {
        if TELLS.load(Ordering::Relaxed) {
            eprintln!("  @{} {what}", self.ops());
        }
    }

    /// What the model allows has become less.
    pub(crate) fn mark(&self) {
        self.sim.mark();
    }

    /// Adds log `id`, the next in order.
    pub fn create(&mut self, id: u16) -> Run<usize> {
        self.tell(format_args!("create log {id}"));
        let at = self.ops();
        let n = self.model.logs.len();
        self.model.logs.push(LogModel::absent(id));
        self.tickets.push(None);
        self.chunks.push(Vec::new());
        self.opened.logs.push(Handle { log: None, snapshot: None });
        let root = self.model.logs[n].next_root(0..=0, None, 0);
        let root = self.model.logs[n].begin_root(at, root);
        self.opened.volume.create_log(id).map_err(|error| stop_volume("create_log", error))?;
        let at = self.ops();
        self.model.logs[n].acknowledge_root(at, root);
        self.mark();
        let buffer = vec![0; self.memory.log];
        let log = Log::open(&mut self.opened.volume, id, buffer).map_err(|error| stop("open", error))?;
        self.opened.logs[n].log = Some(log);
        Ok(n)
    }

    /// Appends one entry of `len` bytes.
    pub fn append(&mut self, n: usize, len: usize) -> Run<Appended> {
        self.append_all(n, &[len], None, false)
    }

    /// Appends one entry with a user word.
    pub fn append_user(&mut self, n: usize, len: usize, user: u64) -> Run<Appended> {
        self.append_all(n, &[len], Some(user), false)
    }

    /// Appends entries as one batch.
    pub fn batch(&mut self, n: usize, lens: &[usize]) -> Run<Appended> {
        self.append_all(n, lens, None, true)
    }

    fn append_all(&mut self, n: usize, lens: &[usize], user: Option<u64>, batch: bool) -> Run<Appended> {
        self.tell(format_args!("append {lens:?} to {n}, at {}", self.end(n)));
        let at = self.ops();
        let serials: Vec<Serial> = lens.iter().map(|len| self.model.make(*len, user)).collect();
        let payloads: Vec<&[u8]> = serials.iter().map(|serial| self.model.items.get(*serial).0).collect();
        let model = &mut self.model.logs[n];
        let (first, end) = (model.newest().first, model.newest().end());
        let mut entries = model.newest().items.clone();
        entries.extend(&serials);
        let version = model.begin_data(at, first, entries);
        let (volume, log) = engine(&mut self.opened, n)?;
        let answer = match (batch, user, payloads.first()) {
            (false, Some(user), Some(payload)) => log.append_with(volume, user, payload),
            (false, None, Some(payload)) => log.append(volume, payload),
            _ => log.append_batch(volume, &payloads),
        };
        drop(payloads);
        let at = self.ops();
        let refused = match answer {
            Ok(offset) if offset == end => return Ok(Appended::At(offset)),
            Ok(offset) => return Err(Stop::Wrong(format!("appended at {offset}, expected {end}"))),
            Err(Error::Full { release_before }) => Appended::Full(release_before),
            Err(Error::SyncPending) => Appended::Pending,
            Err(error) => return Err(stop("append", error)),
        };
        self.model.logs[n].undo_data(at, version);
        self.mark();
        Ok(refused)
    }

    /// Appends one entry; there must be room.
    pub fn put(&mut self, n: usize, len: usize) -> Run {
        self.expect_room(n, len).map(|_| ())
    }

    fn expect_room(&mut self, n: usize, len: usize) -> Run<u64> {
        match self.append(n, len)? {
            Appended::At(offset) => Ok(offset),
            other => Err(Stop::Wrong(format!("an append of {len} bytes was answered {other:?}"))),
        }
    }

    /// Appends one entry, releasing as much as the engine asks for.
    pub fn put_releasing(&mut self, n: usize, len: usize) -> Run {
        for _ in 0..3 {
            match self.append(n, len)? {
                Appended::At(_) => return Ok(()),
                Appended::Full(Some(before)) => {
                    let start = self.start(n);
                    self.release(n, before)?;
                    if self.start(n) == start {
                        return Err(Stop::Wrong(format!("full; releasing before {before} freed nothing")));
                    }
                }
                other => return Err(Stop::Wrong(format!("an append of {len} bytes was answered {other:?}"))),
            }
        }
        Err(Stop::Wrong("full again after each release".into()))
    }

    /// Offset of the next entry.
    pub fn end(&self, n: usize) -> u64 {
        self.model.logs[n].newest().end()
    }

    /// First offset that is kept.
    pub fn start(&self, n: usize) -> u64 {
        *self.model.logs[n].newest_root().start.start()
    }

    /// The longest entry, without and with a user word.
    pub fn max_entry(&self, n: usize) -> usize {
        let log = self.opened.logs[n].log.as_ref();
        log.map_or(0, |log| log.max_entry(&self.opened.volume) as usize)
    }

    /// Bytes left in the log's last segment.
    pub fn left(&mut self, n: usize) -> Run<usize> {
        let (volume, log) = engine(&mut self.opened, n)?;
        Ok(log.info(volume).map_err(|error| stop("info", error))?.left as usize)
    }

    fn acknowledge_all(&mut self, n: usize) {
        let at = self.ops();
        let now = self.model.logs[n].now();
        self.model.logs[n].acknowledge(at, now.data);
        self.mark();
    }

    /// Makes everything durable.
    pub fn commit(&mut self, n: usize) -> Run {
        self.tell(format_args!("commit {n}"));
        let (volume, log) = engine(&mut self.opened, n)?;
        log.commit(volume).map_err(|error| stop("commit", error))?;
        if log.durable() != log.end() {
            return Err(Stop::Wrong("committed, and not everything is durable".into()));
        }
        self.acknowledge_all(n);
        Ok(())
    }

    /// The first part of a commit.
    pub fn flush(&mut self, n: usize) -> Run {
        self.tell(format_args!("flush {n}"));
        let now = self.model.logs[n].now();
        let (volume, log) = engine(&mut self.opened, n)?;
        let ticket = log.flush(volume).map_err(|error| stop("flush", error))?;
        self.tickets[n] = Some((ticket, now.data));
        Ok(())
    }

    /// The second part of a commit, for all logs.
    pub fn sync(&mut self) -> Run {
        self.tell(format_args!("sync"));
        self.opened.volume.sync().map_err(|error| stop_volume("sync", error))
    }

    /// The third part of a commit.
    pub fn acknowledge(&mut self, n: usize) -> Run {
        self.tell(format_args!("acknowledge {n}"));
        let Some((ticket, version)) = self.tickets[n].take() else { return Ok(()) };
        let at = self.ops();
        engine(&mut self.opened, n)?.1.acknowledge(ticket);
        self.model.logs[n].acknowledge(at, version);
        self.mark();
        Ok(())
    }

    /// Releases what lies before `offset`.
    pub fn release(&mut self, n: usize, offset: u64) -> Run {
        self.tell(format_args!("release {n} before {offset}, of {}..{}", self.start(n), self.end(n)));
        let from = self.ops();
        let model = &self.model.logs[n];
        let (volume, log) = engine(&mut self.opened, n)?;
        let commits = offset > log.durable();
        let with = if commits { model.now().data } else { model.least_data() };
        let before = log.start();
        let answer = log.release_before(volume, offset);
        let (start, snapshot) = (log.start(), model.newest_root().snapshot.clone());
        let range = if answer.is_ok() { start..=start } else { before..=offset.max(before) };
        let root = model.next_root(range, snapshot, with);
        let root = self.model.logs[n].begin_root(from, root);
        let released = answer.map_err(|error| stop("release", error))?;
        if start < before || start > offset.max(before) || released.entries != start - before {
            return Err(Stop::Wrong(format!(
                "release before {offset}: {before} became {start}, {released:?}"
            )));
        }
        let at = self.ops();
        self.model.logs[n].acknowledge_root(at, root);
        if commits {
            self.model.logs[n].acknowledge(at, with);
        }
        self.mark();
        Ok(())
    }

    /// Drops what comes after `offset`; `false` if there was no room for that.
    pub fn truncate(&mut self, n: usize, offset: u64) -> Run<bool> {
        self.tell(format_args!("truncate {n} after {offset}, of {}..{}", self.start(n), self.end(n)));
        let at = self.ops();
        if offset + 1 == self.end(n) {
            // Nothing to drop, and nothing promised.
            let (volume, log) = engine(&mut self.opened, n)?;
            return log
                .truncate_after(volume, offset)
                .map(|()| true)
                .map_err(|error| stop("truncate", error));
        }
        let data = self.model.logs[n].newest();
        let (first, mut entries) = (data.first, data.items.clone());
        entries.truncate((offset + 1 - first) as usize);
        let version = self.model.logs[n].begin_data(at, first, entries);
        let (volume, log) = engine(&mut self.opened, n)?;
        let answer = log.truncate_after(volume, offset);
        self.dropped(n, version, answer, "truncate")
    }

    fn dropped(&mut self, n: usize, version: usize, answer: Result<(), LogError>, what: &str) -> Run<bool> {
        let at = self.ops();
        match answer {
            Ok(()) => {
                self.model.logs[n].acknowledge(at, version);
                self.mark();
                Ok(true)
            }
            Err(Error::Full { .. }) => {
                self.model.logs[n].undo_data(at, version);
                self.mark();
                Ok(false)
            }
            Err(error) => Err(stop(what, error)),
        }
    }

    /// Drops everything and goes on at `next`; `false` if there was no room for that.
    pub fn reset(&mut self, n: usize, next: u64) -> Run<bool> {
        self.tell(format_args!("reset {n} to {next}"));
        let at = self.ops();
        let (version, root) = self.model.logs[n].begin_reset(at, next);
        let (volume, log) = engine(&mut self.opened, n)?;
        let answer = log.reset(volume, next);
        let done = self.dropped(n, version, answer, "reset")?;
        let at = self.ops();
        if done {
            self.model.logs[n].acknowledge_root(at, root);
        } else {
            self.model.logs[n].undo_root(at, root);
        }
        self.mark();
        Ok(done)
    }

    /// Appends a chunk to the log's next snapshot; `false` if there was no room for it.
    pub fn chunk(&mut self, n: usize, len: usize) -> Run<bool> {
        self.tell(format_args!("chunk of {len} for {n}"));
        let serial = self.model.make(len, None);
        let id = self.model.logs[n].id;
        let Opened { volume, logs } = &mut self.opened;
        if logs[n].snapshot.is_none() {
            match Snapshot::open(volume, id, vec![0; self.memory.log]) {
                Ok(snapshot) => logs[n].snapshot = Some(snapshot),
                Err(Error::Volume(volume::Error::TooManyLogs { .. })) => return Ok(false),
                Err(error) => return Err(stop("opening the snapshot", error)),
            }
        }
        let Some(snapshot) = &mut logs[n].snapshot else { return Ok(false) };
        match snapshot.write(volume, self.model.items.get(serial).0) {
            Ok(()) => {
                self.chunks[n].push(serial);
                Ok(true)
            }
            Err(Error::Full { .. }) => Ok(false),
            Err(error) => Err(stop("snapshot chunk", error)),
        }
    }

    /// Drops the chunks of the next snapshot.
    pub fn discard(&mut self, n: usize) -> Run {
        self.tell(format_args!("discard the chunks for {n}"));
        self.chunks[n].clear();
        let Opened { volume, logs } = &mut self.opened;
        match &mut logs[n].snapshot {
            Some(snapshot) => snapshot.discard(volume).map_err(|error| stop("discard", error)),
            None => Ok(()),
        }
    }

    /// Publishes the snapshot of everything before `offset`, and releases that.
    pub fn publish(&mut self, n: usize, offset: u64) -> Run {
        self.tell(format_args!("publish {n} at {offset}"));
        let from = self.ops();
        let chunks = std::mem::take(&mut self.chunks[n]);
        let model = &self.model.logs[n];
        let Opened { volume, logs } = &mut self.opened;
        let Handle { log: Some(log), snapshot: Some(snapshot) } = &mut logs[n] else {
            return Err(Stop::Wrong(format!("log {n} has no snapshot open")));
        };
        let (before, commits) = (log.start(), offset > log.durable());
        let with = if commits { model.now().data } else { model.least_data() };
        let answer = snapshot.publish(volume, log, offset);
        let start = log.start();
        let range = if answer.is_ok() { start..=start } else { before..=offset.max(before) };
        let root = model.next_root(range, Some(SnapshotState { offset, chunks }), with);
        let root = self.model.logs[n].begin_root(from, root);
        answer.map_err(|error| stop("publish", error))?;
        let at = self.ops();
        self.model.logs[n].acknowledge_root(at, root);
        if commits {
            self.model.logs[n].acknowledge(at, with);
        }
        self.mark();
        Ok(())
    }

    /// Closes a log in order. It can be used again after [`reopen`](Self::reopen).
    pub fn close(&mut self, n: usize) -> Run {
        self.tell(format_args!("close {n}"));
        let Opened { volume, logs } = &mut self.opened;
        if let Some(log) = logs[n].log.take() {
            log.close(volume).map_err(|error| stop("close", error))?;
        }
        if let Some(snapshot) = logs[n].snapshot.take() {
            snapshot.close(volume).map_err(|error| stop("close of the snapshot", error))?;
        }
        self.acknowledge_all(n);
        Ok(())
    }

    /// Cuts the power: what was never synced is lost.
    pub fn power_cut(&self) {
        self.tell(format_args!("power cut"));
        self.sim.power_cut(PowerCut::LoseAll);
    }

    /// Drops everything that is open and opens it again, on the device as it is. What is found must be allowed.
    pub fn reopen(&mut self) -> Run {
        self.tell(format_args!("reopen"));
        if self.forgets_burns {
            self.sim = self.without_burns()?;
        }
        let at = self.ops();
        let ids = self.model.logs.iter().map(|log| log.id);
        self.opened = Opened::open(&self.sim, self.memory, ids).map_err(|error| stop("open", error))?;
        let found = self.opened.examine(&self.model, usize::MAX, self.strictness, &mut self.scratch)?;
        for (log, (pair, _)) in self.model.logs.iter_mut().zip(found) {
            log.reopened(at, pair);
        }
        self.tickets.fill(None);
        self.chunks.iter_mut().for_each(Vec::clear);
        self.mark();
        Ok(())
    }

    /// A device with the same content, on which all that reads as blank may be programmed.
    pub fn without_burns(&self) -> Result<Sim, String> {
        if let Some(violation) = self.sim.violations().first() {
            return Err(violation.to_string());
        }
        Sim::from_image(self.sim.geometry(), &self.sim.image()).map_err(|error| error.to_string())
    }

    /// Whether the pool's segments are all accounted for.
    pub fn account(&mut self) -> Run {
        self.account_with(0)
    }

    /// The same, with segments that other logs hold.
    pub fn account_with(&mut self, held: u32) -> Run {
        self.opened.account(self.memory, held)
    }

    /// Whether the engine shows at this moment what was done so far.
    pub fn check(&mut self) -> Run {
        for n in 0..self.model.logs.len() {
            let start = self.start(n);
            let end = self.end(n);
            if self.opened.logs[n].log.is_none() {
                continue;
            }
            let (volume, log) = engine(&mut self.opened, n)?;
            if (log.start(), log.end()) != (start, end) {
                let (is_start, is_end) = (log.start(), log.end());
                return Err(Stop::Wrong(format!("the log says {is_start}..{is_end}, not {start}..{end}")));
            }
            let mut out = vec![0; self.shape.segment as usize];
            let mut cursor = log.cursor(start);
            for offset in start..end {
                let entry = log.next(volume, &mut cursor, &mut out).map_err(|error| stop("next", error))?;
                let expected =
                    self.model.logs[n].newest().at(offset).map(|serial| self.model.items.get(serial));
                if entry.map(|entry| (&out[..entry.len], entry.user)) != expected {
                    return Err(Stop::Wrong(format!("entry {offset} is wrong while the log is open")));
                }
            }
        }
        Ok(())
    }
}

fn engine(opened: &mut Opened, n: usize) -> Run<(&mut Vol, &mut TestLog)> {
    let Opened { volume, logs } = opened;
    match logs.get_mut(n).and_then(|handle| handle.log.as_mut()) {
        Some(log) => Ok((volume, log)),
        None => Err(Stop::Wrong(format!("log {n} is not open"))),
    }
}
