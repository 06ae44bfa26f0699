//! What was done to a device, in order: the raw material of the crash enumerator.

use std::ops::Range;

use esker::device::Geometry;

use crate::medium::Medium;

/// One operation that changed the device, or ordered changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A `write` that returned. Of one that failed half done, the half.
    Write {
        /// Where it went (not where it was meant to go, if it was misdirected).
        address: u64,
        /// What was written.
        data: Vec<u8>,
    },
    /// An `erase` that returned; on block devices a discard.
    Erase {
        /// The bytes that were erased.
        range: Range<u64>,
    },
    /// A `sync` that returned and did what it said.
    Sync,
    /// A program or erase that failed: the units can't be trusted (see [`Programming`](crate::Programming)).
    Spoilt {
        /// Where the call began.
        address: u64,
        /// What its bytes hold now.
        data: Vec<u8>,
    },
    /// The pending writes were dropped by a failed sync: they never become durable.
    CacheDropped,
}

/// What a discard (an `erase` on a block device) leaves behind. The contract is that nobody trusts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discard {
    /// Garbage, the same in each run: the hardest.
    #[default]
    Garbage,
    /// Zeros, as most disks do.
    Zeros,
    /// What was there: the device ignores discards.
    Ignored,
}

/// A recorded run: the device as it was at [`Sim::record`](crate::Sim::record), and every operation since. It can be
/// sent to other threads, where [`enumerate`](crate::enumerate) goes through its crash states.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(crate) initial: Medium,
    pub(crate) discard: Discard,
    pub(crate) page: u32,
    pub(crate) ops: Vec<Op>,
    pub(crate) marks: Vec<usize>,
    pub(crate) first_cut: usize,
}

impl Trace {
    pub(crate) fn new(initial: Medium, discard: Discard, page: u32) -> Self {
        Self { initial, discard, page, ops: Vec::new(), marks: Vec::new(), first_cut: 0 }
    }

    /// The device's sizes and units.
    pub fn geometry(&self) -> Geometry {
        self.initial.geometry()
    }

    /// The durable content when recording began.
    pub fn image(&self) -> &[u8] {
        self.initial.image()
    }

    /// The operations in order. Writes that were pending when recording began come first.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The operation counts at which [`Sim::mark`](crate::Sim::mark) was called, in order.
    pub fn marks(&self) -> &[usize] {
        &self.marks
    }

    /// The first moment at which the power may go: how many operations had been carried over from before.
    pub fn first_cut(&self) -> usize {
        self.first_cut
    }

    /// The shorter run that ends after `count` operations: for finding out where a failure begins.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        self.ops.truncate(count);
        self.marks.retain(|mark| *mark <= count);
        self.first_cut = self.first_cut.min(self.ops.len());
        self
    }
}
