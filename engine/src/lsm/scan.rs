//! Where a scan stands in the memtable and in every run, so that its next step need not search for it.
//!
//! ```text
//!   memtable     . . . b'          the pair that was read last is b': what has its key stands at it,
//!   run 0        a | d . .         and the others at the pair that they would show next
//!   run 1        . a b | e
//! ```
//! The tree remembers this of one scan. It is good for every cursor that stands behind the same key and goes the same way,
//! as long as nothing has changed; whoever finds it of no use searches, and is remembered instead. A step over damage is not
//! remembered: what it shows depends on what the cursor has been told.

use core::ops::Bound;

use super::find::{At, Spot, Tables};
use super::list::{MAX_RUNS, Run};
use super::memtable::{self, Memtable};
use crate::index::{Ground, Place};
use crate::node;
use crate::volume::Fault;

/// A pair of a run, and a frame that may have its page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) at: At,
    pub(super) frame: u32,
}

/// The memtable's bit, where runs have theirs by number.
pub(super) const MEMTABLE: u32 = 1 << 31;

/// See the module.
#[derive(Debug)]
pub(super) struct Scan {
    /// All of this is true now.
    pub(super) is_known: bool,
    pub(super) forward: bool,
    /// What stands at the pair that was read last: a bit for each run, and the memtable's.
    pub(super) here: u32,
    /// `None`: there is nothing more.
    pub(super) memtable: Option<memtable::At>,
    pub(super) runs: [Option<Stand>; MAX_RUNS],
}

impl Scan {
    pub(super) const fn new() -> Self {
        Self { is_known: false, forward: true, here: 0, memtable: None, runs: [None; MAX_RUNS] }
    }

    /// Something has changed.
    pub(super) fn forget(&mut self) {
        self.is_known = false;
    }

    /// Whether a cursor with this key goes on from here.
    pub(super) fn leads_on<G: Ground>(
        &self,
        ground: &G,
        tables: &Tables<'_>,
        memtable: &Memtable<'_>,
        place: &Place,
        key: &[u8],
        forward: bool,
    ) -> bool {
        if !self.is_known || self.forward != forward || place.bound != Bound::Excluded(()) {
            return false;
        }
        let here = match self.memtable {
            Some(at) if self.here & MEMTABLE != 0 => memtable.record(at).map(|record| record.key),
            _ => {
                let stand = self.runs.get(self.here.trailing_zeros() as usize).copied().flatten();
                stand.and_then(|stand| tables.stands(ground, stand)).map(|spot| tables.key(spot))
            }
        };
        here == Some(key)
    }
}

impl Tables<'_> {
    /// The cell of a pair, if its page is where it was.
    pub(super) fn stands<G: Ground>(&self, ground: &G, Stand { at, frame }: Stand) -> Option<Spot> {
        let id = self.id_of(ground, at);
        (self.pool.frame(frame).block == id).then_some(Spot { frame, cell: at.cell })
    }

    /// The pair behind this one, or before it.
    pub(super) fn beside<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        stand: Stand,
        forward: bool,
    ) -> Result<Option<Stand>, Fault> {
        let next = At { cell: stand.at.cell.wrapping_add(1), ..stand.at };
        let found = match self.stands(ground, stand) {
            _ if !forward => self.back(ground, run, stand.at)?,
            Some(spot) if (next.cell as usize) < node::count(self.pool.page(spot.frame)) => Some(next),
            _ => self.settle(ground, run, next)?,
        };
        // Mostly it is on the same page.
        Ok(found.map(|at| Stand { at, ..stand }))
    }
}
