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
use super::memtable::{self, Kind, Memtable};
use super::page::{self, Key, Position};
use crate::codec::SMALL;
use crate::index::{Ground, Place};
use crate::pool::NONE;
use crate::volume::Fault;

/// A pair of a run, and a frame that may have its page, with where it is in that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) at: At,
    pub(super) spot: Spot,
}

impl Stand {
    /// Its page is still to be read.
    pub(super) fn unread(at: At) -> Self {
        Self { at, spot: Spot { frame: NONE, position: Position::default() } }
    }
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
    /// The first bytes of the keys at which they stand: mostly these tell which is the nearest. Not where memory is small.
    pub(super) heads: [u64; if SMALL { 0 } else { MAX_RUNS }],
    /// What [`Pool::loads`](crate::pool::Pool::loads) said when all of their pages were known to be in the pool.
    pub(super) loads: [u32; if SMALL { 0 } else { 1 }],
}

impl Scan {
    pub(super) const fn new() -> Self {
        Self {
            is_known: false,
            forward: true,
            here: 0,
            memtable: None,
            runs: [None; MAX_RUNS],
            heads: [0; _],
            loads: [0; _],
        }
    }

    /// Something has changed.
    pub(super) fn forget(&mut self) {
        self.is_known = false;
    }

    /// Whether a cursor with this key goes on from here.
    pub(super) fn leads_on<G: Ground, M: Kind>(
        &self,
        ground: &G,
        tables: &Tables<'_>,
        memtable: &Memtable<'_, M>,
        place: &Place,
        key: &[u8],
        forward: bool,
    ) -> bool {
        if !self.is_known || self.forward != forward || place.bound != Bound::Excluded(()) {
            return false;
        }
        let here = match self.memtable {
            Some(at) if self.here & MEMTABLE != 0 => memtable.record(at).map(|record| Key::from(record.key)),
            _ => {
                let stand = self.runs.get(self.here.trailing_zeros() as usize).copied().flatten();
                stand.and_then(|stand| tables.stands(ground, stand)).map(|spot| tables.key(spot))
            }
        };
        here.is_some_and(|here| here.is(key))
    }
}

impl Tables<'_> {
    /// The cell of a pair, if its page is where it was.
    pub(super) fn stands<G: Ground>(&self, ground: &G, Stand { at, spot }: Stand) -> Option<Spot> {
        let id = self.id_of(ground, at);
        (self.pool.frame(spot.frame).block == id).then_some(spot)
    }

    /// No merge has taken this pair.
    fn is_left(&self, at: At) -> bool {
        let table = self.list.get(at.table);
        (at.page, at.cell) >= (table.page, table.cell)
    }

    /// The pair behind this one, or before it.
    pub(super) fn beside<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        stand: Stand,
        forward: bool,
    ) -> Result<Option<Stand>, Fault> {
        let beside = if forward { stand.at.cell.wrapping_add(1) } else { stand.at.cell.wrapping_sub(1) };
        let at = At { cell: beside, ..stand.at };
        // Mostly it is on the same page.
        if let Some(Spot { frame, position }) = self.stands(ground, stand) {
            let (page, cell) = (self.pool.page(frame), beside as usize);
            if cell < page::count(page) && (forward || self.is_left(at)) {
                let position =
                    if forward { page::next(page, position, cell) } else { page::position(page, cell) };
                return Ok(Some(Stand { at, spot: Spot { frame, position } }));
            }
        }
        let found = if forward { self.settle(ground, run, at)? } else { self.back(ground, run, stand.at)? };
        Ok(found.map(Stand::unread))
    }
}
