//! A volume with its store and the logs beside it, opened, and held against what the models allow.

use std::ops::Bound;

use esker::store::{Damage, Error, Store};
use esker_sim::Sim;

use super::engine::{Index, KvError, Run, Stop, TestStore, stop};
use super::model::{Content, Digest, Key, Model, hash_of, show};
use super::shape::Shape;
use crate::wal::model::{Model as Logs, Pair};
use crate::wal::opened::{Opened as OpenedLogs, Scratch as LogScratch, Strictness, Vol};

/// A volume with a store, opened.
pub struct Opened<I> {
    /// The volume and the logs beside the store.
    pub logs: OpenedLogs,
    /// `None`: the volume has no store.
    pub store: Option<TestStore<I>>,
}

/// Buffers that are used again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// For the logs beside the store.
    pub logs: LogScratch,
    /// A value.
    pub value: Vec<u8>,
    /// The device fails to read at times: what is reported as damaged then need not be.
    pub reads_fail: bool,
    /// A read has failed before: blocks that the free list names where it could not be read are lost until a salvage.
    pub leaks: bool,
    pairs: Vec<(Key, u64)>,
    bitmap: Vec<u8>,
}

impl Scratch {
    /// What the last scan has found.
    pub fn take_pairs(&mut self) -> Content {
        self.pairs.drain(..).collect()
    }
}

/// What was found.
pub struct Found {
    /// Which version of the store.
    pub version: usize,
    /// What it holds.
    pub content: Content,
    /// What the logs beside it are.
    pub logs: Vec<(Pair, u64)>,
}

/// Opens the store of a volume, if it has one.
pub fn open_store<I: Index>(volume: &mut Vol, shape: &Shape) -> Result<Option<TestStore<I>>, KvError> {
    if TestStore::<I>::root(volume).is_none() {
        return Ok(None);
    }
    let index = I::lend(&volume.info(), shape.extra);
    Store::open(volume, index, vec![0; shape.below.memory().log]).map(Some)
}

impl<I: Index> Opened<I> {
    /// Opens the volume on `sim`, its store, and those of the logs that it has.
    pub fn open(sim: &Sim, shape: &Shape, ids: impl Iterator<Item = u16>) -> Result<Self, KvError> {
        let mut logs = OpenedLogs::open(sim, shape.below.memory(), ids)?;
        let store = open_store(&mut logs.volume, shape)?;
        Ok(Self { logs, store })
    }

    /// Compares everything with what the models allow after `cut` operations.
    pub fn examine(&mut self, model: &Model, logs: &Logs, cut: usize, scratch: &mut Scratch) -> Run<Found> {
        let found = self.logs.examine(logs, cut, Strictness::CRASH, &mut scratch.logs)?;
        let (version, content) = examine(&mut self.logs.volume, self.store.as_mut(), model, cut, scratch)?;
        Ok(Found { version, content, logs: found })
    }
}

/// Compares a store with what `model` allows after `cut` operations: which version it is, and what it holds.
pub fn examine<I: Index>(
    volume: &mut Vol,
    store: Option<&mut TestStore<I>>,
    model: &Model,
    cut: usize,
    scratch: &mut Scratch,
) -> Run<(usize, Content)> {
    let Some(store) = store else {
        return match model.identify(cut, None) {
            Some(version) => Ok((version, Content::new())),
            None => Err(Stop::Wrong(model.explain(cut, None))),
        };
    };
    let digest = scan(volume, store, scratch)?;
    let Some(version) = model.identify(cut, Some(digest)) else {
        let content = scratch.take_pairs();
        return Err(Stop::Wrong(model.explain(cut, Some(&content))));
    };
    look_up(volume, store, model, scratch)?;
    verify(volume, store, digest.pairs, scratch)?;
    Ok((version, scratch.take_pairs()))
}

/// Scans forward, which fills `scratch.pairs`, and backward, which must give the same.
pub fn scan<I: Index>(volume: &mut Vol, store: &mut TestStore<I>, scratch: &mut Scratch) -> Run<Digest> {
    let Scratch { value, pairs, .. } = scratch;
    pairs.clear();
    value.resize(value.len().max(1 << 16), 0);
    let mut digest = Digest::default();
    let mut cursor = store.cursor(vec![0; volume.info().block_size as usize]);
    let seek = |store: &mut TestStore<I>, cursor: &mut _| store.seek(cursor, Bound::Unbounded);
    seek(store, &mut cursor).map_err(|error| Stop::Wrong(format!("seek: {error:?}")))?;
    while let Some(len) = store.next(volume, &mut cursor, value).map_err(|error| stop("next", error))? {
        let hash = hash_of(cursor.key(), &value[..len]);
        if pairs.last().is_some_and(|(key, _)| **key >= *cursor.key()) {
            return Err(Stop::Wrong(format!("{} comes too late in a scan", show(cursor.key()))));
        }
        digest.add(hash);
        pairs.push((Key::from(cursor.key()), hash));
    }
    seek(store, &mut cursor).map_err(|error| Stop::Wrong(format!("seek: {error:?}")))?;
    for (key, hash) in pairs.iter().rev() {
        let len = store.previous(volume, &mut cursor, value).map_err(|error| stop("previous", error))?;
        let found = len.map(|len| (cursor.key(), hash_of(cursor.key(), &value[..len])));
        if found != Some((&**key, *hash)) {
            let found = found.map(|(key, _)| show(key));
            return Err(Stop::Wrong(format!("a scan backward finds {found:?}, not {}", show(key))));
        }
    }
    match store.previous(volume, &mut cursor, value).map_err(|error| stop("previous", error))? {
        None => Ok(digest),
        Some(_) => Err(Stop::Wrong(format!("a scan backward finds {} as well", show(cursor.key())))),
    }
}

/// So many keys are looked up by themselves, and so many that are not there.
const LOOKED_UP: usize = 5;

/// Keys looked up by themselves must give what the scan has given; others must not be there.
fn look_up<I: Index>(
    volume: &mut Vol,
    store: &mut TestStore<I>,
    model: &Model,
    scratch: &mut Scratch,
) -> Run {
    let Scratch { value, pairs, .. } = scratch;
    let step = (pairs.len() / LOOKED_UP).max(1);
    for (key, hash) in pairs.iter().rev().step_by(step) {
        let found = store.get(volume, key, value).map_err(|error| stop("get", error))?;
        if found.map(|found| hash_of(key, &value[..found.len])) != Some(*hash) {
            return Err(Stop::Wrong(format!("get of {} answers {found:?}, unlike the scan", show(key))));
        }
        let mut absent = key.to_vec();
        absent.pop();
        absent.extend(b"\x01absent".iter().take(absent.len().clamp(1, 7)));
        if pairs.binary_search_by(|(key, _)| (**key).cmp(&absent)).is_err() {
            check_absent(volume, store, &absent, value)?;
        }
    }
    let gone = model.now().keys().filter(|key| pairs.binary_search_by(|(other, _)| other.cmp(key)).is_err());
    for key in gone.take(LOOKED_UP) {
        check_absent(volume, store, key, value)?;
    }
    Ok(())
}

fn check_absent<I: Index>(volume: &mut Vol, store: &mut TestStore<I>, key: &[u8], value: &mut [u8]) -> Run {
    match store.get(volume, key, value).map_err(|error| stop("get", error))? {
        None => Ok(()),
        Some(found) => Err(Stop::Wrong(format!("get of {}, which no scan has found: {found:?}", show(key)))),
    }
}

/// The engine must find its own structure in order: every block used once or free.
pub fn verify<I: Index>(
    volume: &mut Vol,
    store: &mut TestStore<I>,
    pairs: u64,
    scratch: &mut Scratch,
) -> Run {
    let info = store.info(volume).map_err(|error| stop("info", error))?;
    scratch.bitmap.clear();
    scratch.bitmap.resize(info.blocks.div_ceil(8) as usize, 0);
    let mut damages: Vec<Damage> = Vec::new();
    let verified = store
        .verify(volume, Some(&mut scratch.bitmap), &mut |damage| damages.push(damage))
        .map_err(|error| stop("verify", error))?;
    if scratch.reads_fail && damages.iter().any(|damage| address_of(damage).is_some()) {
        let address = damages.iter().find_map(address_of).unwrap_or(0);
        return Err(Stop::Device(Error::Corrupt { address }));
    }
    if scratch.leaks {
        damages.retain(|damage| !matches!(damage, Damage::Leaked { .. }));
    }
    if !damages.is_empty() || verified.damages != 0 && !scratch.leaks {
        damages.truncate(4);
        return Err(Stop::Wrong(format!("verify finds {damages:?}, {verified:?}, {info:?}")));
    }
    if I::EXACT && verified.pairs != pairs {
        return Err(Stop::Wrong(format!("verify counts {} pairs, a scan {pairs}", verified.pairs)));
    }
    Ok(())
}

fn address_of(damage: &Damage) -> Option<u64> {
    match damage {
        Damage::Page { address, .. }
        | Damage::Value { address }
        | Damage::FreeList { address }
        | Damage::Leaked { address } => Some(*address),
        _ => None,
    }
}
