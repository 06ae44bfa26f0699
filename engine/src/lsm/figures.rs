//! The tree in figures: its levels, and what merges have done.

use heapless::Vec;

use super::memtable::Kind;
use super::policy::MAX_LEVELS;
use super::tree::Lsm;
use crate::pool::Frames;
use crate::volume::Buffer;

/// A level in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Level {
    /// Its number; 0: what was written last.
    pub level: u8,
    /// Runs in it, of which each may have any key once.
    pub runs: u32,
    /// With more of them, they are merged.
    pub most_runs: u32,
    /// Tables of these runs.
    pub tables: u32,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// With more of them, the level is merged into the next; `None`: they do not matter by themselves. (Where tables with long values are an eighth
    /// more than those of the oldest run, all are merged into that; not on flash, nor on 32 bits.)
    pub most_bytes: Option<u64>,
}

/// What merges have done since the store was opened, the writing of the memtable among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Merges {
    /// Tables that were merged, and are no more.
    pub tables_in: u64,
    /// Tables that were written.
    pub tables_out: u64,
    /// Bytes of the pages that were asked for, in the buffer pool or not.
    pub bytes_read: u64,
    /// Bytes of the pages of tables that were written.
    pub bytes_written: u64,
    /// Pairs and tombstones that were left out, for newer ones, or as nothing older was left.
    pub pairs_dropped: u64,
}

impl<P: Buffer, F: Frames, M: Kind> Lsm<P, F, M> {
    /// The levels, from 0 to the last one that there is or that the shape has.
    pub fn levels(&self) -> Vec<Level, MAX_LEVELS> {
        let outlook = self.outlook();
        let deepest = self.runs.iter().map(|run| run.level).max().unwrap_or(0).max(outlook.last());
        let mut levels = Vec::new();
        for level in 0..=deepest {
            let here = || self.runs.iter().filter(|run| run.level == level && run.len != 0);
            let tables = here().map(|run| run.len).sum();
            let (most_runs, most_bytes) = outlook.limits(level);
            let _ = levels.push(Level {
                level,
                runs: here().count() as u32,
                most_runs,
                tables,
                bytes: u64::from(tables).saturating_mul(outlook.table),
                most_bytes,
            });
        }
        levels
    }

    /// What merges have done.
    pub fn merges(&self) -> Merges {
        self.state.merged
    }
}
