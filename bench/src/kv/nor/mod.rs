//! Small devices: what a put, a get and an open cost on one serial NOR flash, where every put is durable by itself.
//!
//! The flash is simulated and the same for all stores: programmed in words of 4 bytes within pages of 256, erased in sectors
//! of 4 KiB. So calls, bytes and wear are exact, and the same in every run; times are those of a model
//! ([`CostModel::spi_nor`](esker_sim::CostModel::spi_nor)). Each store begins on blank flash, and the phases follow each other:
//!
//! | phase | |
//! |---|---|
//! | `load` | all pairs, one put each |
//! | `overwrite` | five times as many puts (and removals, in [`Pattern::DeleteHeavy`]) of pairs that are there |
//! | `get-hit` | gets of all pairs in random order |
//! | `get-miss` | gets of keys that were never put |
//! | `open` | the store as it is found after the plug was pulled behind the last put |
//!
//! - [`pattern`]: which pair comes next.   - `session`: one store through its phases.   - [`report`]: what it comes to.
//! - `store`: the trait.   - `esker`, `ekv`, `sequential`: the stores.

#[cfg(feature = "peers")]
mod ekv;
mod esker;
pub mod pattern;
pub mod report;
#[cfg(feature = "peers")]
mod sequential;
mod session;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::{ESKER, ESKER_LSM};
use crate::Failure;
use crate::progress::progress;
use pattern::Pattern;
use report::Report;
use session::Session;
use store::Make;

/// Bytes of a key.
pub const KEY_SIZE: usize = 16;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of stores.
    pub stores: Vec<String>,
    /// Devices and what is put on them; each is measured by itself.
    pub settings: Vec<Setting>,
    /// In which order the pairs come; each is measured by itself.
    pub patterns: Vec<Pattern>,
    /// Bytes of memory that esker is lent in all.
    pub lent: usize,
    /// Bytes of a block of esker's volume. `None`: 16 KiB for tables, a sector for the pages of a B-tree.
    pub block_size: Option<u32>,
    /// How much of esker's device its log has, in percent.
    pub log_percent: u8,
    /// Gets of each kind. `None`: of all pairs once, and a thousand of what is not there.
    pub reads: Option<u32>,
    /// Becomes the number of a signal when one comes: the run ends.
    pub signal: Arc<AtomicUsize>,
}

/// A device and what is put on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Bytes of the device.
    pub capacity: u64,
    /// How many pairs.
    pub pairs: u32,
    /// Bytes of a value.
    pub value_size: usize,
}

impl Default for Options {
    /// Half of a device filled, twice, and one that is nearly empty.
    fn default() -> Self {
        let setting = |capacity, pairs, value_size| Setting { capacity, pairs, value_size };
        Self {
            stores: STORES.iter().map(|(name, _)| (*name).into()).collect(),
            settings: vec![
                setting(1 << 20, 10_000, 32),
                setting(4 << 20, 10_000, 100),
                setting(1 << 20, 1000, 32),
            ],
            patterns: vec![Pattern::Random],
            lent: 16 << 10,
            block_size: None,
            log_percent: 23,
            reads: None,
            signal: Arc::default(),
        }
    }
}

/// Those that can be measured, and how they are made.
pub const STORES: &[(&str, Make)] = &[
    (ESKER_LSM, esker::lsm),
    (ESKER, esker::btree),
    #[cfg(feature = "peers")]
    ("ekv", ekv::make),
    #[cfg(feature = "peers")]
    ("sequential-storage", sequential::make),
];

/// Puts for each pair of [`Phase::Overwrite`](report::Phase::Overwrite).
const OVERWRITES: u32 = 5;

/// Sectors that a device has at least.
const LEAST_SECTORS: u64 = 16;

/// Measures everything that the options name. Draws a bar where standard error is a terminal.
///
/// A store that fails, because it is full or has too little memory or answers wrong, has a row that says so, and the others go
/// on.
///
/// # Errors
/// An option can't be, or a signal came.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let stores = check(options)?;
    let bar = progress((options.settings.len() * options.patterns.len() * stores.len()) as u64);
    let mut report = Report::new(options);
    for setting in &options.settings {
        for pattern in &options.patterns {
            for (name, make) in &stores {
                bar.set_message(format!("{name}, {} pairs, {}", setting.pairs, pattern.name()));
                let mut session = Session::new(name, *make, options, *setting, *pattern);
                session.run()?;
                report.take(session);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(report)
}

impl Options {
    /// Fails once a signal has come.
    fn go_on(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Failure::interrupted(signal)),
        }
    }
}

fn check(options: &Options) -> Result<Vec<(&'static str, Make)>, Failure> {
    for setting in &options.settings {
        let sectors = setting.capacity / u64::from(session::SECTOR);
        let in_range = [
            ("pairs", u64::from(setting.pairs), 2, 1 << 20),
            ("value-size", setting.value_size as u64, 1, 1024),
            ("capacity", setting.capacity, LEAST_SECTORS * u64::from(session::SECTOR), 64 << 20),
            ("lent", options.lent as u64, 1 << 10, 1 << 30),
            ("log-percent", options.log_percent.into(), 1, 90),
            ("reads", options.reads.unwrap_or(1).into(), 1, 1 << 30),
        ];
        for (name, value, least, most) in in_range {
            if !(least..=most).contains(&value) {
                return Err(Failure::new(format!("--{name} must be from {least} to {most} here")));
            }
        }
        if sectors * u64::from(session::SECTOR) != setting.capacity {
            return Err(Failure::new(format!("--capacity must be a multiple of {} here", session::SECTOR)));
        }
    }
    let known = |name: &String| {
        let found = STORES.iter().find(|(known, _)| known == name).copied();
        found.ok_or_else(|| {
            let names: Vec<_> = STORES.iter().map(|(name, _)| *name).collect();
            let peers =
                if cfg!(feature = "peers") { "" } else { " (others need a build with `--features peers`)" };
            Failure::new(format!(
                "no store {name} on a simulated NOR flash; there is {}{peers}",
                names.join(", ")
            ))
        })
    };
    options.stores.iter().map(known).collect()
}

#[cfg(test)]
mod tests;
