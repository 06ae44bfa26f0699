//! Faults to come: what goes wrong, at which call, where, and how often.

use std::ops::Range;

/// How much of a failing call reaches the device before it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: a write never began, as a program that has moved a cell shows. An erase leaves no trace that can be
    /// trusted, so after it the units are unreliable all the same.
    Nothing,
    /// The first half, with one unit torn; up to the bad unit if the fault is bound to a range. Of a sync, the
    /// first half of the pending writes.
    Part,
    /// Everything, and yet an error is returned.
    All,
}

/// A fault to come, to be given to [`Sim::inject`](crate::Sim::inject).
///
/// By default it strikes once, at the next call of its kind. [`nth`](Self::nth), [`within`](Self::within),
/// [`times`](Self::times) and [`for_ever`](Self::for_ever) say otherwise.
///
/// ```
/// use esker::device::BlockDevice;
/// use esker_sim::{Applied, Fault, Sim, SimError};
///
/// let mut sim = Sim::blocks(64 * 512, 512);
/// // The third write from now fails half done; block 7 can never be read.
/// sim.inject(Fault::write_error(Applied::Part).nth(2));
/// sim.inject(Fault::read_error().within(7 * 512..8 * 512).for_ever());
///
/// assert!(sim.write(0, &[1; 512]).is_ok());
/// assert!(sim.write(0, &[2; 512]).is_ok());
/// assert_eq!(sim.write(0, &[3; 512]), Err(SimError::Write { address: 0 }));
/// assert_eq!(sim.read(6 * 512, &mut [0; 1024]), Err(SimError::Read { address: 7 * 512 }));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    calls: u8,
    effect: Effect,
    range: Option<Range<u64>>,
    skip: u64,
    times: u64,
}

/// What a fault does to the call that it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Fail(Applied),
    NoSpace,
    ReadOnly,
    Misdirect(u64),
    Lose,
    Lie,
    DropDirty { stale_reads: bool },
    PowerLoss,
}

pub(crate) const READ: u8 = 1;
pub(crate) const WRITE: u8 = 2;
pub(crate) const ERASE: u8 = 4;
pub(crate) const SYNC: u8 = 8;

impl Fault {
    fn new(calls: u8, effect: Effect) -> Self {
        Self { calls, effect, range: None, skip: 0, times: 1 }
    }

    /// A read fails.
    pub fn read_error() -> Self {
        Self::new(READ, Effect::Fail(Applied::Nothing))
    }

    /// A write fails, with that much of it applied. On flash, all units of the call are burnt.
    pub fn write_error(applied: Applied) -> Self {
        Self::new(WRITE, Effect::Fail(applied))
    }

    /// An erase fails, with that much of it applied. On flash, all units of the call are unreliable.
    pub fn erase_error(applied: Applied) -> Self {
        Self::new(ERASE, Effect::Fail(applied))
    }

    /// A sync fails, with that many of the pending writes applied; the others stay dirty, so that the next sync can
    /// still make them durable.
    pub fn sync_error(applied: Applied) -> Self {
        Self::new(SYNC, Effect::Fail(applied))
    }

    /// A sync fails and the pending writes are dropped: the next sync succeeds without them. This is what Linux does
    /// after a write-back error. Reads see the medium.
    pub fn sync_drops_dirty() -> Self {
        Self::new(SYNC, Effect::DropDirty { stale_reads: false })
    }

    /// As [`sync_drops_dirty`](Self::sync_drops_dirty), and reads go on returning the dropped data until
    /// [`Sim::reopen`](crate::Sim::reopen), as pages that are still in memory but marked clean do.
    pub fn sync_drops_dirty_unseen() -> Self {
        Self::new(SYNC, Effect::DropDirty { stale_reads: true })
    }

    /// A sync returns `Ok` and makes nothing durable. The writes stay pending: a later honest sync saves them.
    pub fn lying_sync() -> Self {
        Self::new(SYNC, Effect::Lie)
    }

    /// A write returns `Ok` and was never applied; the old content remains.
    pub fn lost_write() -> Self {
        Self::new(WRITE, Effect::Lose)
    }

    /// A write goes to `address` instead, wrapping at the end of the device. On flash that programs over what is
    /// there, without counting as a violation.
    pub fn misdirected_write(address: u64) -> Self {
        Self::new(WRITE, Effect::Misdirect(address))
    }

    /// A read returns what is at `address` instead, wrapping at the end of the device.
    pub fn misdirected_read(address: u64) -> Self {
        Self::new(READ, Effect::Misdirect(address))
    }

    /// A write fails with [`SimError::NoSpace`](crate::SimError::NoSpace), before anything is done.
    pub fn no_space() -> Self {
        Self::new(WRITE, Effect::NoSpace)
    }

    /// A write or erase fails with [`SimError::ReadOnly`](crate::SimError::ReadOnly), before anything is done. With
    /// `.for_ever()` the device is write-protected from then on.
    pub fn read_only() -> Self {
        Self::new(WRITE | ERASE, Effect::ReadOnly)
    }

    /// The power goes during a write, an erase or a sync: it and everything after it fails with
    /// [`SimError::PowerLost`](crate::SimError::PowerLost) until [`Sim::power_cut`](crate::Sim::power_cut) decides
    /// what survived and switches on again.
    pub fn power_loss() -> Self {
        Self::new(WRITE | ERASE | SYNC, Effect::PowerLoss)
    }

    /// Units that can never be read, written or erased again. A call that reaches into them fails after what lies
    /// before them.
    pub fn bad_units(range: Range<u64>) -> Self {
        Self::new(READ | WRITE | ERASE, Effect::Fail(Applied::Part)).within(range).for_ever()
    }

    /// Lets `n` matching calls pass first: 0 strikes the next one. Counted from the moment of injection.
    pub fn nth(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Only calls that touch `range` (in bytes) match. A multi-unit call that reaches into it has done what lies
    /// before. Syncs have no address: they always match.
    pub fn within(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Strikes `n` matching calls in a row.
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    /// Strikes every matching call from then on.
    pub fn for_ever(self) -> Self {
        self.times(u64::MAX)
    }
}

/// Names an injected fault, to ask whether it struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

#[derive(Clone, Debug)]
struct Armed {
    id: FaultId,
    fault: Fault,
    seen: u64,
    struck: u64,
}

/// The effect of a fault on this call, and the address where its range begins within the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) effect: Effect,
    pub(crate) address: u64,
    /// The fault is bound to a range, so `address` is a bad place and not only the start of the call.
    pub(crate) bound: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    armed: Vec<Armed>,
    next: u64,
}

impl Plan {
    pub(crate) fn add(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(self.next);
        self.next += 1;
        self.armed.push(Armed { id, fault, seen: 0, struck: 0 });
        id
    }

    pub(crate) fn remove(&mut self, id: FaultId) {
        self.armed.retain(|armed| armed.id != id);
    }

    /// Ids go on counting, so that an old one never names a new fault.
    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn struck(&self, id: FaultId) -> u64 {
        self.armed.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.struck)
    }

    /// What happens to this call. The first fault injected wins; the others see the call pass.
    pub(crate) fn next(&mut self, call: u8, range: &Range<u64>) -> Option<Strike> {
        let mut strike = None;
        for armed in &mut self.armed {
            let fault = &armed.fault;
            if fault.calls & call == 0 {
                continue;
            }
            let mut address = range.start;
            let mut bound = false;
            if call != SYNC
                && let Some(place) = &fault.range
            {
                if place.start >= range.end || range.start >= place.end {
                    continue;
                }
                address = address.max(place.start);
                bound = true;
            }
            if armed.seen >= fault.skip && armed.struck < fault.times && strike.is_none() {
                armed.struck += 1;
                strike = Some(Strike { effect: fault.effect, address, bound });
            }
            armed.seen += 1;
        }
        strike
    }
}
