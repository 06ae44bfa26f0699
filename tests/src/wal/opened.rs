//! A volume and its logs, opened, and held against what the model allows.

use esker::volume::{self, Volume};
use esker::wal::{Error, Log, Snapshot};
use esker_sim::{Sim, SimError};

use super::model::{LogModel, Model, Pair};

/// Slots of a segment's index: few, so that the index thins itself out within small segments.
pub const SLOTS: usize = 4;
/// The volume under test.
pub type Vol = Volume<Sim, Vec<u8>, 4>;
/// The log under test.
pub type TestLog = Log<Vec<u8>, SLOTS>;
/// The snapshot under test.
pub type TestSnapshot = Snapshot<Vec<u8>, SLOTS>;
/// What the engine answers.
pub type LogError = Error<SimError>;

/// Why a script or a comparison went no further.
#[derive(Debug)]
pub enum Stop {
    /// The device failed, or what it holds is damaged, or the engine refuses because the device had failed before.
    Device(LogError),
    /// The engine did what it must not.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// Errors of the device are part of the game, all others are wrong.
pub fn stop(what: &str, error: LogError) -> Stop {
    match error {
        Error::Volume(
            volume::Error::Device(_)
            | volume::Error::Poisoned
            | volume::Error::Corrupt { .. }
            | volume::Error::NotFormatted,
        )
        | Error::Corrupt { .. } => Stop::Device(error),
        other => Stop::Wrong(format!("{what}: {other:?}")),
    }
}

/// What a script's step comes to.
pub type Run<T = ()> = Result<T, Stop>;

/// Bit 15 of a log's id tells the log that holds its snapshots.
const COMPANION: u16 = 0x8000;

/// Memory that is lent for each open.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes for the volume.
    pub volume: usize,
    /// Bytes for each log.
    pub log: usize,
}

/// A log and its snapshot, opened.
pub struct Handle {
    /// `None`: the volume has no such log.
    pub log: Option<TestLog>,
    /// `None`: it never had a snapshot.
    pub snapshot: Option<TestSnapshot>,
}

/// A volume and its logs, opened.
pub struct Opened {
    /// The volume.
    pub volume: Vol,
    /// Its logs, in the model's order.
    pub logs: Vec<Handle>,
}

/// Buffers that are used again for each state.
#[derive(Debug, Default)]
pub struct Scratch {
    out: Vec<u8>,
    pairs: Vec<Pair>,
}

/// How much is asked of an opened volume.
#[derive(Clone, Copy, Debug)]
pub struct Strictness {
    /// Nothing but a power cut has happened: no entry may be damaged.
    pub whole: bool,
    /// Entries are read at random as well, at most so many.
    pub random: u64,
}

impl Strictness {
    /// After a mere power cut.
    pub const CRASH: Self = Self { whole: true, random: 6 };
}

impl Opened {
    /// Opens the volume on `sim` and those of the model's logs that it has.
    pub fn open(sim: &Sim, memory: Memory, ids: impl Iterator<Item = u16>) -> Result<Self, LogError> {
        let mut volume = Vol::open(sim.clone(), vec![0; memory.volume])?;
        let mut logs = Vec::with_capacity(2);
        for id in ids {
            let has = |id| volume.logs().any(|other| other == id);
            let (has_log, has_snapshot) = (has(id), has(id | COMPANION));
            let mut handle = Handle { log: None, snapshot: None };
            if has_log {
                handle.log = Some(Log::open(&mut volume, id, vec![0; memory.log])?);
            }
            if has_snapshot {
                handle.snapshot = Some(Snapshot::open(&mut volume, id, vec![0; memory.log])?);
            }
            logs.push(handle);
        }
        Ok(Self { volume, logs })
    }

    /// Compares every log with what `model` allows after `cut` operations; returns what each one is, with its start.
    pub fn examine(
        &mut self,
        model: &Model,
        cut: usize,
        how: Strictness,
        scratch: &mut Scratch,
    ) -> Run<Vec<(Pair, u64)>> {
        let mut found = Vec::with_capacity(model.logs.len());
        for (handle, log) in self.logs.iter().zip(&model.logs) {
            log.allowed(cut, &mut scratch.pairs);
            let pair =
                examine_log(&mut self.volume, handle, log, model, how, scratch).map_err(|why| match why {
                    Stop::Wrong(why) => Stop::Wrong(format!("log {}: {why}", log.id)),
                    device @ Stop::Device(_) => device,
                })?;
            found.push(pair);
        }
        Ok(found)
    }

    /// Free and held segments, and some of the retired, must make up the pool: nothing leaks, nothing belongs to two.
    /// `held`: segments of logs that are not among these.
    pub fn account(&mut self, memory: Memory, mut held: u32) -> Run {
        for handle in &self.logs {
            if let Some(log) = &handle.log {
                held += log.info(&mut self.volume).map_err(|error| stop("info", error))?.segments;
            }
        }
        let companions: Vec<u16> = self.volume.logs().filter(|id| id & COMPANION != 0).collect();
        for id in companions {
            let chunks: TestLog = Log::open(&mut self.volume, id, vec![0; memory.log])
                .map_err(|error| stop("opening the companion", error))?;
            held += chunks.info(&mut self.volume).map_err(|error| stop("info", error))?.segments;
        }
        // Only now, as opening a companion frees what a cut has left of it.
        let info = self.volume.info();
        let (known, all) = (info.free_segments + held, info.segments);
        // A segment that was retired in mid-life still holds entries.
        if known == all || known < all && known + info.retired_segments >= all {
            return Ok(());
        }
        Err(Stop::Wrong(format!(
            "the pool has {} segments, of which {} are free, {held} held by logs and {} retired",
            info.segments, info.free_segments, info.retired_segments
        )))
    }
}

fn examine_log(
    volume: &mut Vol,
    handle: &Handle,
    model: &LogModel,
    all: &Model,
    how: Strictness,
    scratch: &mut Scratch,
) -> Run<(Pair, u64)> {
    let Scratch { out, pairs } = scratch;
    let Some(log) = &handle.log else {
        pairs.retain(|pair| !model.root(*pair).exists);
        return pairs.first().map(|pair| (*pair, 0)).ok_or_else(|| Stop::Wrong("is gone".into()));
    };
    let described = describe(model, pairs);
    let report = log.report();
    let (start, end) = (log.start(), log.end());
    if how.whole && report.damaged != 0 {
        return Err(Stop::Wrong(format!("a mere power cut, and yet {report:?}")));
    }
    pairs.retain(|pair| {
        let root = model.root(*pair);
        root.exists && root.start.contains(&start) && model.data(*pair).end() == end
    });
    if pairs.is_empty() {
        return Err(Stop::Wrong(format!("found {start}..{end}; allowed: {described}; {report:?}")));
    }
    check_snapshot(volume, handle, model, all, (pairs, out))?;
    // What recovery found behind the last publish may still be on its way to the medium: a commit makes it durable.
    let durable = log.durable();
    if durable > end || (log.report().clean && durable != end) {
        return Err(Stop::Wrong(format!("opened, with {start}..{end}, but only {} durable", log.durable())));
    }
    out.resize(out.len().max(volume.info().segment_size as usize), 0);
    read_through(volume, log, (model, all), (pairs, out))?;
    read_at_random(volume, log, (model, all), (pairs[0], how.random), out)?;
    Ok((pairs[0], start))
}

/// What `pairs` allow, in words.
fn describe(model: &LogModel, pairs: &[Pair]) -> String {
    let mut text: Vec<String> = pairs
        .iter()
        .take(6)
        .map(|pair| {
            let (root, data) = (model.root(*pair), model.data(*pair));
            let exists = if root.exists { "" } else { " or absent" };
            let start = root.start.start();
            let snapshot =
                root.snapshot.as_ref().map_or(String::new(), |at| format!(" snapshot at {}", at.offset));
            format!("{start}..{}{snapshot}{exists}", data.end())
        })
        .collect();
    if pairs.len() > 6 {
        text.push(format!("and {} more", pairs.len() - 6));
    }
    text.join(", ")
}

fn check_snapshot(
    volume: &mut Vol,
    handle: &Handle,
    model: &LogModel,
    all: &Model,
    (pairs, out): (&mut Vec<Pair>, &mut Vec<u8>),
) -> Run {
    let info = handle.snapshot.as_ref().and_then(|snapshot| snapshot.info(volume));
    pairs.retain(|pair| match (&model.root(*pair).snapshot, info) {
        (None, None) => true,
        (Some(state), Some(info)) => {
            state.offset == info.offset && state.chunks.len() == info.chunks as usize
        }
        _ => false,
    });
    let (Some(snapshot), Some(info)) = (&handle.snapshot, info) else {
        return if pairs.is_empty() { Err(Stop::Wrong("a snapshot is missing".into())) } else { Ok(()) };
    };
    out.resize(out.len().max(volume.info().segment_size as usize), 0);
    // Two snapshots may be told apart by their chunks alone.
    for nth in 0..info.chunks {
        let len = snapshot.read(volume, nth, out).map_err(|error| stop("snapshot chunk", error))?;
        let chunk = &out[..len.ok_or_else(|| Stop::Wrong(format!("snapshot chunk {nth} is missing")))?];
        pairs.retain(|pair| {
            let state = model.root(*pair).snapshot.as_ref();
            state.is_some_and(|state| all.items.get(state.chunks[nth as usize]).0 == chunk)
        });
        if pairs.is_empty() {
            return Err(Stop::Wrong(format!("snapshot chunk {nth} of {info:?} is not what was written")));
        }
    }
    if pairs.is_empty() {
        return Err(Stop::Wrong(format!("snapshot {info:?} was not expected")));
    }
    match snapshot.read(volume, info.chunks, out) {
        Ok(None) => Ok(()),
        Ok(more) => Err(Stop::Wrong(format!("behind the last chunk: {more:?}"))),
        Err(error) => Err(stop("behind the last chunk", error)),
    }
}

fn read_through(
    volume: &mut Vol,
    log: &TestLog,
    (model, all): (&LogModel, &Model),
    (pairs, out): (&mut Vec<Pair>, &mut Vec<u8>),
) -> Run {
    let mut cursor = log.cursor(log.start());
    for offset in log.start()..log.end() {
        let entry =
            log.next(volume, &mut cursor, out).map_err(|error| stop(&format!("entry {offset}"), error))?;
        let Some(entry) = entry else { return Err(Stop::Wrong(format!("entry {offset} is missing"))) };
        if entry.offset != offset {
            return Err(Stop::Wrong(format!("entry {offset} says it is {}", entry.offset)));
        }
        let payload = &out[..entry.len];
        let mut last = None;
        let expected = pairs.first().and_then(|pair| model.data(*pair).at(offset));
        pairs.retain(|pair| {
            let serial = model.data(*pair).at(offset);
            match last {
                Some((known, same)) if known == serial => same,
                _ => {
                    let same = serial.is_some_and(|serial| all.items.get(serial) == (payload, entry.user));
                    last = Some((serial, same));
                    same
                }
            }
        });
        if pairs.is_empty() {
            return Err(Stop::Wrong(format!(
                "entry {offset} has {} bytes {:02x?}.., user word {:?}, and not what was appended there (serial {expected:?})",
                entry.len,
                &payload[..payload.len().min(8)],
                entry.user
            )));
        }
    }
    match log.next(volume, &mut cursor, out) {
        Ok(None) => Ok(()),
        Ok(more) => Err(Stop::Wrong(format!("behind the last entry: {more:?}"))),
        Err(error) => Err(stop("behind the last entry", error)),
    }
}

fn read_at_random(
    volume: &mut Vol,
    log: &TestLog,
    (model, all): (&LogModel, &Model),
    (pair, most): (Pair, u64),
    out: &mut [u8],
) -> Run {
    let (start, end) = (log.start(), log.end());
    let count = end - start;
    let step = (count / most.max(1)).max(1);
    // From the last one backwards: never the order in which the buffers were filled.
    let mut offset = end;
    while most > 0 && offset > start {
        offset = offset.saturating_sub(step).max(start);
        let at = if count > most { offset.max(start) } else { offset };
        let entry =
            log.read(volume, at, out).map_err(|error| stop(&format!("entry {at}, read alone"), error))?;
        let same = model
            .data(pair)
            .at(at)
            .is_some_and(|serial| all.items.get(serial) == (&out[..entry.len], entry.user));
        if entry.offset != at || !same {
            return Err(Stop::Wrong(format!("entry {at}, read alone, differs from what the cursor gave")));
        }
    }
    for outside in [start.checked_sub(1), Some(end), Some(end + 7)].into_iter().flatten() {
        match log.read(volume, outside, out) {
            Err(Error::OutOfRange { .. }) => {}
            Ok(_) if outside >= end => {
                return Err(Stop::Wrong(format!("entry {outside} behind the end was read")));
            }
            other if outside >= end => {
                return Err(Stop::Wrong(format!("entry {outside} behind the end: {other:?}")));
            }
            // Before the start is no promise either way but that nothing wrong is read.
            Err(Error::Volume(volume::Error::Device(error))) => {
                return Err(Stop::Wrong(format!("entry {outside}: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}
