//! The store under test, over whichever index.

use esker::btree::{BTree, Frame};
use esker::store::{Error, Store};
use esker::volume::VolumeInfo;
use esker_sim::{Counts, Sim, SimError};

use super::shape::Shape;
use crate::cuts::broken_rules;
use crate::wal::opened::{SLOTS, stop as stop_log};

/// What the store answers.
pub type KvError = Error<SimError>;
/// The store under test.
pub type TestStore<I> = Store<I, Vec<u8>, SLOTS>;
/// The B-tree under test.
pub type TestTree = BTree<Vec<u8>, Vec<Frame>>;

/// An index that can be tested.
pub trait Index: esker::store::Index + Sized + 'static {
    /// What its suite is called.
    const SUITE: &'static str;

    /// One with the least memory that `volume` allows, and `extra` pages more.
    fn lend(volume: &VolumeInfo, extra: usize) -> Self;
}

impl Index for TestTree {
    const SUITE: &'static str = "btree";

    fn lend(volume: &VolumeInfo, extra: usize) -> Self {
        let needed = Self::memory_needed(volume);
        let pages = vec![0; needed.pages + extra * volume.block_size as usize];
        Self::new(pages, vec![Frame::default(); needed.frames + extra])
    }
}

/// Why a script or a comparison went no further.
#[derive(Debug)]
pub enum Stop {
    /// The device failed, or what it holds is damaged, or the engine refuses because the device had failed before.
    Device(KvError),
    /// The engine did what it must not.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<crate::wal::opened::Stop> for Stop {
    fn from(stop: crate::wal::opened::Stop) -> Self {
        match stop {
            crate::wal::opened::Stop::Device(error) => Self::Device(Error::Log(error)),
            crate::wal::opened::Stop::Wrong(why) => Self::Wrong(why),
        }
    }
}

/// What a script's step comes to.
pub type Run<T = ()> = Result<T, Stop>;

/// Errors of the device are part of the game, all others are wrong.
pub fn stop(what: &str, error: KvError) -> Stop {
    match error {
        Error::Log(error) => stop_log(what, error).into(),
        Error::Corrupt { .. } | Error::Stuck { .. } => Stop::Device(error),
        other => Stop::Wrong(format!("{what}: {other:?}")),
    }
}

/// The device's rules were kept.
pub fn rules(sim: &Sim) -> Run {
    Ok(broken_rules(sim)?)
}

/// Whether one put of a value within its leaf, in a tree of this depth, may cost the device so much: what the documentation
/// of the store's `put` promises.
pub fn affordable(shape: &Shape, depth: u8, cost: &Counts) -> Result<(), String> {
    let (depth, page) = (u64::from(depth), u64::from(shape.below.block));
    let pages = cost.write_bytes / page;
    let most = [
        ("reads", cost.reads, 2 * depth + 8),
        ("pages written", pages, 3 * depth + 12),
        ("syncs", cost.syncs, 5),
    ];
    match most.iter().find(|(_, is, most)| is > most) {
        Some((what, is, most)) => Err(format!("{is} {what}, and not {most} at most")),
        None => Ok(()),
    }
}

/// The device did nothing wrong, so nothing may have stopped.
pub fn wrong<T>(run: Run<T>) -> Result<T, String> {
    match run {
        Ok(result) => Ok(result),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("the device did nothing wrong, and yet: {error:?}")),
    }
}
