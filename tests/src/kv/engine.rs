//! The store under test, over whichever index.

use esker::btree::{BTree, Frame};
use esker::lsm::{self, Lsm};
use esker::store::{Error, Store};
use esker::volume::VolumeInfo;
use esker_sim::{Counts, Sim, SimError};

use super::shape::{Kind, Shape};
use crate::cuts::broken_rules;
use crate::wal::opened::{SLOTS, stop as stop_log};
use crate::wal::shape::Shape as Below;

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

    /// Puts say whether the key was there, and pairs are counted.
    const EXACT: bool;

    /// One with the least memory that `volume` allows, and `extra` pages more.
    fn lend(volume: &VolumeInfo, extra: usize) -> Self;

    /// The shape that is meant by one whose blocks are pages.
    fn adapt(shape: Shape) -> Shape;

    /// Bytes of a page.
    fn page(below: &Below) -> usize;

    /// Whether one put of a value within its page, in a tree of this depth, may cost the device so much: what the documentation
    /// of the store's `put` promises.
    fn affordable(below: &Below, depth: u8, cost: &Counts) -> Result<(), String>;
}

impl Index for TestTree {
    const SUITE: &'static str = "btree";
    const EXACT: bool = true;

    fn lend(volume: &VolumeInfo, extra: usize) -> Self {
        let needed = Self::memory_needed(volume);
        let pages = vec![0; needed.pages + extra * volume.block_size as usize];
        Self::new(pages, vec![Frame::default(); needed.frames + extra])
    }

    fn adapt(shape: Shape) -> Shape {
        shape
    }

    fn page(below: &Below) -> usize {
        below.block as usize
    }

    fn affordable(below: &Below, depth: u8, cost: &Counts) -> Result<(), String> {
        let depth = u64::from(depth);
        let pages = cost.write_bytes / u64::from(below.block);
        at_most([
            ("reads", cost.reads, 2 * depth + 8),
            ("pages written", pages, 3 * depth + 12),
            ("syncs", cost.syncs, 6),
        ])
    }
}

fn at_most<const N: usize>(most: [(&str, u64, u64); N]) -> Result<(), String> {
    match most.iter().find(|(_, is, most)| is > most) {
        Some((what, is, most)) => Err(format!("{is} {what}, and not {most} at most")),
        None => Ok(()),
    }
}

/// The LSM tree under test.
pub type TestLsm = Lsm<Vec<u8>, Vec<Frame>>;

/// So many pages more mean for an LSM tree that its memtable is small for what is put into it.
pub const LITTLE: usize = 1;

/// A table has so many pages.
const TABLE: u32 = 8;

/// The LSM tree under test, with a memtable that holds places in the log.
pub type TestPlaces = Lsm<Vec<u8>, Vec<Frame>, lsm::Places>;

/// Every shape has its turn.
fn options(volume: &VolumeInfo) -> lsm::Options {
    let shape = match volume.blocks % 3 {
        0 => lsm::Shape::Sweep,
        1 => lsm::Shape::Levels { levels: 3, runs: 2, last: 1, ratio: 2 },
        _ => lsm::Shape::Levels { levels: 2, runs: 3, last: 2, ratio: 2 },
    };
    lsm::Options { shape, ..lsm::Options::default() }
}

impl Index for TestPlaces {
    const SUITE: &'static str = "places";
    const EXACT: bool = false;

    fn lend(volume: &VolumeInfo, extra: usize) -> Self {
        let (bytes, least) = Self::memory_needed_with_places(volume);
        let frames = least + if volume.geometry.write_unit == 4096 { 30 } else { 2 };
        let page = (volume.block_size / 32).clamp(512, 4096).max(volume.geometry.write_unit) as usize;
        let list = volume.blocks as usize * 32;
        // Some hundred places.
        let places = if extra == LITTLE { 256 } else { 512 + extra * 64 };
        Self::with_places(
            vec![0; bytes + (frames - least) * page + list * 3 + places * 4],
            vec![Frame::default(); frames],
            options(volume),
        )
    }

    fn adapt(shape: Shape) -> Shape {
        TestLsm::adapt(shape)
    }

    fn page(below: &Below) -> usize {
        TestLsm::page(below)
    }

    fn affordable(below: &Below, depth: u8, cost: &Counts) -> Result<(), String> {
        TestLsm::affordable(below, depth, cost)
    }
}

impl Index for TestLsm {
    const SUITE: &'static str = "lsm";
    const EXACT: bool = false;

    fn lend(volume: &VolumeInfo, extra: usize) -> Self {
        let (bytes, frames) = Self::memory_needed(&volume.geometry, volume.block_size);
        // Large pages take long to prove: enough frames that most stay.
        let frames = frames + if volume.geometry.write_unit == 4096 { 30 } else { 2 };
        let bytes = bytes + if extra == LITTLE { 24 * 512 } else { 30 * 4096 };
        let list = volume.blocks as usize * 32;
        let pages = extra * volume.block_size as usize / TABLE as usize;
        // Half of them have records for pages that the memtable has no use for.
        let records = frames + if volume.blocks.is_multiple_of(2) { 40 } else { 0 };
        Self::new(vec![0; bytes + list * 8 + pages], vec![Frame::default(); records], options(volume))
            .with_least_frames(frames as u32)
    }

    fn adapt(mut shape: Shape) -> Shape {
        // On flash a page may be smaller than what is erased.
        let flash = matches!(shape.below.kind, Kind::Nor4 | Kind::Nor16);
        shape.below.block *= if flash { 2 } else { TABLE };
        shape.below.blocks = (shape.below.blocks / 3).max(26);
        shape
    }

    fn page(below: &Below) -> usize {
        let unit = if matches!(below.kind, Kind::Blocks4096) { 4096 } else { 512 };
        (below.block / 32).clamp(512, 4096).max(unit) as usize
    }

    fn affordable(_: &Below, _: u8, _: &Counts) -> Result<(), String> {
        Ok(())
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

/// The device did nothing wrong, so nothing may have stopped.
pub fn wrong<T>(run: Run<T>) -> Result<T, String> {
    match run {
        Ok(result) => Ok(result),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("the device did nothing wrong, and yet: {error:?}")),
    }
}
