//! Which blocks of a store are free, with some 700 bytes of RAM however large the device is.
//!
//! ```text
//!   blocks:  0 ............. used once or oftener ............. frontier ..... never used ..... count
//!
//!   fill:    unit ─> unit ─> unit ─> unit         freed blocks go on top, in units of up to 124 numbers
//!                           └ settled: from here down they are drained next
//!   drain:   unit ─> unit                         blocks are taken from the top
//! ```
//! Freed blocks wait in RAM, and go to the device as a unit on top of *fill* when there are many of them, or when the store
//! is about to publish. Blocks are taken from *drain*; when that is empty, the lower part of fill becomes drain, about half of all
//! that is free. So nothing is given out that the last durable root names, and a free block is used once before one that was freed
//! much later. (Were all of fill drained, what was freed last would come first. Blocks that live as long as each other, as the
//! tables of a sweep do, would soon be of two kinds, of which one is used twice as often.) The units stand in blocks of the
//! same region; a block of which all units were drained is freed like any other.
//!
//! What was allocated and freed between two publishes is known only here, and a cut takes it back: the root of the last
//! publish says all. On flash a unit is only ever written into a block that this session has erased: behind what a cut has
//! left nothing is programmed.
//!
//! A unit that is damaged takes those below it along. They are counted as lost and nothing fails for it; a salvage finds
//! them, because no page and no list names them.

use heapless::Vec;

use super::unit::{self, NUMBERS, UnitLink};
use crate::codec::Varints;
use crate::volume::Fault;

/// Blocks that `allocate` leaves for the list itself: one for the unit of the next publish, one so that on a full device
/// some can be freed before that.
const RESERVE: u32 = 2;
/// So many freed blocks wait at most between two calls. Of the room for a unit this leaves as much as a publish may add: all
/// that is fresh, and a block of the list for each try to write it.
const WAITING: usize = NUMBERS - FRESH - TRIES;
const FRESH: usize = 8;
/// Blocks that are tried for a unit, if they can't be erased or written.
const TRIES: usize = 4;
/// Numbers of drain's top unit that are kept at hand.
const WINDOW: usize = 13;

/// What the list asks of the volume that it is on.
pub(crate) trait BlockRegion {
    fn volume_id(&self) -> u32;
    fn block_size(&self) -> u32;
    /// Bytes from one unit of the list to the next: a power of two, and no more than a block.
    fn unit(&self) -> u32;
    fn must_erase(&self) -> bool;
    /// Makes both homes of the superblock say the same.
    fn settle(&mut self) -> Result<(), Fault>;
    /// A unit, in the scratch.
    fn load(&mut self, block: u32, position: u32) -> Result<&[u8], Fault>;
    /// Room to build one in.
    fn scratch(&mut self) -> &mut [u8];
    /// Writes what was built.
    fn store(&mut self, block: u32, position: u32, len: u32) -> Result<(), Fault>;
    /// Erases the erase unit that begins at this place of a block, if one does. A failure does not poison.
    fn erase(&mut self, block: u32, position: u32) -> Result<(), Fault>;
    fn is_poisoned(&self) -> bool;
    /// Forgives the write that just failed.
    fn forgive(&mut self);
}

/// What [`Blocks::each_free`] says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is free.
    Free,
    /// The list stands in it.
    List,
    /// The list should stand in it and is damaged; what it says from there on is not known.
    Damaged,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stack {
    top: UnitLink,
    units: u32,
    /// Numbers in them that were not taken yet.
    numbers: u32,
}

impl Stack {
    fn fields(&mut self, fields: &mut Varints<'_>) {
        fields.u32(&mut self.units);
        if self.units != 0 {
            fields.u32(&mut self.top.block);
            fields.u32(&mut self.top.unit);
            fields.u32(&mut self.top.crc);
            fields.u32(&mut self.numbers);
        }
    }

    fn is_possible(&self, count: u32) -> bool {
        self.units.div_ceil(unit::MAX_UNITS) <= count
            && self.numbers <= count
            && self.top.unit < unit::MAX_UNITS
    }
}

/// The longest form of [`Blocks::encode`].
pub(crate) const BLOCKS_ROOT: usize = 5 + 2 * (4 * 5 + 1) + 2 + 2 * 5;

/// See the module.
// In memory in this order: what is small comes first, within reach of the short instructions of small cores.
#[repr(C)]
#[derive(Clone)]
pub(crate) struct Blocks {
    fill: Stack,
    /// Of `fill` what becomes `drain` next: the units at its lower end. The last publish knows them.
    settled: Stack,
    drain: Stack,
    /// The unit under drain's top, if that is open.
    below: UnitLink,
    /// Numbers of drain's top unit that were not taken yet. 0: it was not opened yet.
    left: u32,
    /// Numbers in `fill` that the last publish knows.
    known: u32,
    frontier: u32,
    count: u32,
    retired: u32,
    lost: u32,
    /// The block of drain's top unit holds units of `fill`, too.
    shared: bool,
    /// The lowest unit above `settled` stands in the same block as the top one in it.
    continues: bool,
    /// This session has written the block of fill's top unit.
    open: bool,
    /// A publish of this session is durable.
    proved: bool,
    /// Allocated since the last publish, and free again.
    fresh: Vec<u32, FRESH>,
    /// The last numbers of drain's top unit that were not taken yet.
    window: Vec<u32, WINDOW>,
    waiting: Vec<u32, NUMBERS>,
}

impl Blocks {
    /// `count` blocks, all free and none used yet.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count,
            frontier: 0,
            fill: Stack::default(),
            settled: Stack::default(),
            known: 0,
            drain: Stack::default(),
            below: UnitLink::default(),
            left: 0,
            window: Vec::new(),
            shared: false,
            continues: false,
            open: false,
            proved: false,
            waiting: Vec::new(),
            fresh: Vec::new(),
            retired: 0,
            lost: 0,
        }
    }

    /// Whatever was done since this was copied is undone; what was written meanwhile is left alone.
    pub(crate) fn restored(self) -> Self {
        Self { open: false, ..self }
    }

    /// The blocks before `frontier` in use, all of them, and no list: what a salvage fills anew.
    pub(crate) fn used_up_to(count: u32, frontier: u32) -> Self {
        Self { frontier: frontier.min(count), ..Self::new(count) }
    }

    /// Its part of the store's root, at most [`BLOCKS_ROOT`] bytes. To be called after
    /// [`before_publish`](Self::before_publish), with nothing in between.
    pub(crate) fn encode(&mut self, fields: &mut Varints<'_>) {
        self.fields(fields);
    }

    /// Takes itself, as [`new`](Self::new) has made it, from the store's root. `false`: no list of so many blocks says that.
    #[must_use]
    pub(crate) fn decode(&mut self, fields: &mut Varints<'_>) -> bool {
        self.fields(fields);
        (self.settled, self.known) = (self.fill, self.fill.numbers);
        self.frontier <= self.count
            && self.fill.is_possible(self.count)
            && self.drain.is_possible(self.count)
            && self.left as usize <= NUMBERS
    }

    fn fields(&mut self, fields: &mut Varints<'_>) {
        let mut left = self.left << 1 | u32::from(self.shared);
        fields.u32(&mut self.frontier);
        self.fill.fields(fields);
        self.drain.fields(fields);
        fields.u32(&mut left);
        fields.u32(&mut self.retired);
        fields.u32(&mut self.lost);
        (self.left, self.shared) = (left >> 1, left & 1 != 0);
    }

    /// Blocks from this one on were never used.
    pub(crate) fn frontier(&self) -> u32 {
        self.frontier
    }

    /// Blocks that could not be erased and are left out. A cut may take some back.
    pub(crate) fn retired(&self) -> u32 {
        self.retired
    }

    /// Free blocks that a damaged unit has taken along. Not counted are those in which the units stood.
    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    /// Blocks that are free, or will be after the next publish.
    pub(crate) fn free_blocks(&self) -> u32 {
        let stacks = self.fill.numbers.saturating_add(self.drain.numbers);
        let here = self.waiting.len().wrapping_add(self.fresh.len()) as u32;
        self.count.saturating_sub(self.frontier).saturating_add(stacks).saturating_add(here)
    }

    /// Blocks that may be taken before the next publish.
    #[inline(never)]
    fn pool(&self) -> u32 {
        let stacks = self.known.wrapping_add(self.drain.numbers);
        let fresh = self.fresh.len() as u32;
        self.count.wrapping_sub(self.frontier).wrapping_add(stacks).wrapping_add(fresh)
    }

    /// Blocks that [`allocate`](Self::allocate) gives out before the next publish: so many at least, and at 0 none. If
    /// nothing is freed meanwhile, each one that is given out takes one off at most. (Units that turn out to be damaged take
    /// off more.)
    #[inline(never)]
    pub(crate) fn available(&self) -> u32 {
        // Of each unit that is drained a block may have to be freed.
        let units = self.fill.units.wrapping_add(self.drain.units);
        let flushes = units.wrapping_add(self.waiting.len() as u32) / WAITING as u32;
        self.pool().saturating_sub(RESERVE.wrapping_add(flushes))
    }

    /// Gives out a block. It is not written, and on flash not erased. [`Fault::Full`]: there is none, but there may be after
    /// the next publish.
    ///
    /// No device operation for 12 of 13 blocks, or one read; where many blocks are waiting, a write; the first of a session
    /// after a cut costs a publish.
    pub(crate) fn allocate(&mut self, region: &mut impl BlockRegion) -> Result<u32, Fault> {
        if region.is_poisoned() {
            return Err(Fault::Poisoned);
        }
        region.settle()?;
        if self.available() == 0 {
            return Err(Fault::Full);
        }
        if self.waiting.len() >= WAITING {
            self.flush(region, false)?;
        }
        match self.fresh.pop() {
            Some(block) => Ok(block),
            None => self.take(region),
        }
    }

    /// Frees a block: it can be given out after the next publish. `fresh`: it was allocated since the last one, so no root
    /// names it and it may be given out again at once.
    ///
    /// No device operation, or one write for every 112th block; on flash now and then an erase. [`Fault::Full`]: publish,
    /// then try again.
    pub(crate) fn free(
        &mut self,
        region: &mut impl BlockRegion,
        block: u32,
        fresh: bool,
    ) -> Result<(), Fault> {
        if region.is_poisoned() {
            return Err(Fault::Poisoned);
        }
        if block >= self.frontier {
            return Err(Fault::Damaged);
        }
        if fresh && self.fresh.push(block).is_ok() {
            return Ok(());
        }
        if self.waiting.len() >= WAITING {
            // Behind this unit another one must have room, that of the publish.
            let units = self.units_in_block(region);
            let here = if self.open { units.saturating_sub(self.fill.top.unit.wrapping_add(1)) } else { 0 };
            if here.wrapping_add(self.pool().min(2).wrapping_mul(units)) < 2 {
                return Err(Fault::Full);
            }
            self.flush(region, false)?;
        }
        self.put(block);
        Ok(())
    }

    /// Leaves out a block that was allocated and can't be erased: it is never given out again, unless a cut comes before the
    /// next publish.
    pub(crate) fn retire(&mut self, _block: u32) {
        self.retired = self.retired.wrapping_add(1);
    }

    /// Writes what is waiting, so that [`encode`](Self::encode) describes everything. One write, on flash one erase at most.
    pub(crate) fn before_publish(&mut self, region: &mut impl BlockRegion) -> Result<(), Fault> {
        if self.waiting.is_empty() && self.fresh.is_empty() {
            return Ok(());
        }
        match self.flush(region, true) {
            // The reserve is gone with what was damaged. They stay here, and the next publish finds room among them; a cut
            // before that loses them.
            Err(Fault::Full) => Ok(()),
            done => done,
        }
    }

    /// The root with what [`encode`](Self::encode) has said is durable in both homes: what was freed before can be given out.
    pub(crate) fn published(&mut self) {
        self.known = self.fill.numbers;
        // It never grows beyond half of all that is free; newer ones gather on top of it, and come next as they are. How large it is
        // is left to chance, or blocks that live as long as each other would keep their company.
        let chance = self.fill.top.crc & 31;
        if self.settled.numbers <= (self.pool() / 2) >> chance {
            (self.settled, self.continues) = (self.fill, false);
        }
        self.proved = true;
        // Only where there was no room to write them down: now no root names them.
        while !self.fresh.is_full()
            && let Some(block) = self.waiting.pop()
        {
            let _ = self.fresh.push(block);
        }
    }

    /// Names every free block behind which there is a used one, and every block that the list itself takes; those from
    /// [`frontier`](Self::frontier) on are free, too. Each is named once, if the list is right; an image that was made to
    /// be wrong may name any number. Reads every unit.
    pub(crate) fn each_free(&self, region: &mut impl BlockRegion, visit: &mut dyn FnMut(u32, Use)) {
        for block in self.waiting.iter().chain(&self.fresh) {
            visit(*block, Use::Free);
        }
        each_in(region, &self.drain, self.left, self.shared, visit);
        each_in(region, &self.fill, 0, false, visit);
    }

    /// A block from the stacks or from behind the frontier. On flash the frontier goes first, so that wear begins even;
    /// elsewhere it goes last, so that a file stays small.
    fn take(&mut self, region: &mut impl BlockRegion) -> Result<u32, Fault> {
        let unused = self.frontier < self.count;
        if !(unused && region.must_erase())
            && let Some(block) = self.pop(region)
        {
            return Ok(block);
        }
        if !unused {
            return Err(Fault::Full);
        }
        let block = self.frontier;
        self.frontier = block.wrapping_add(1);
        Ok(block)
    }

    fn pop(&mut self, region: &mut impl BlockRegion) -> Option<u32> {
        loop {
            if let Some(block) = self.window.pop() {
                self.left = self.left.wrapping_sub(1);
                self.drain.numbers = self.drain.numbers.saturating_sub(1);
                if self.left == 0 {
                    self.leave_unit();
                }
                // The checksum is no signature: what was never used can't have been freed.
                if block < self.frontier {
                    return Some(block);
                }
                self.lose(1);
                continue;
            }
            if self.drain.units == 0 && !self.turn_over() {
                return None;
            }
            if !self.refill(region) {
                self.lose(self.drain.numbers);
                self.drain = Stack::default();
                (self.left, self.shared) = (0, false);
            }
        }
    }

    /// Takes the last numbers of drain's top unit to hand. `false`: it is damaged.
    fn refill(&mut self, region: &mut impl BlockRegion) -> bool {
        let (window, left) = (&mut self.window, &mut self.left);
        let mut fits = false;
        let sound = load(region, &self.drain.top, &mut self.below, &mut |numbers| {
            if *left == 0 {
                *left = numbers.len() as u32;
            }
            let from = (*left as usize).saturating_sub(WINDOW);
            let last = numbers.get(from..*left as usize);
            for number in last.unwrap_or_default() {
                let _ = window.push(u32::from_le_bytes(*number));
            }
            fits = last.is_some();
        });
        if sound && fits && *left == 0 {
            self.leave_unit();
        }
        sound && fits
    }

    /// Goes down from drain's top unit, of which all was taken. The block is free if it was the last one in it.
    fn leave_unit(&mut self) {
        let block = self.drain.top.block;
        self.drain.units = self.drain.units.saturating_sub(1);
        self.drain.top = self.below;
        if self.drain.units == 0 || self.below.block != block {
            if !self.shared {
                self.put(block);
            }
            self.shared = false;
        }
        if self.drain.units == 0 {
            self.drain = Stack::default();
        }
    }

    /// The lower part of `fill` becomes `drain`. `false`: there is none that the last publish knows.
    fn turn_over(&mut self) -> bool {
        if self.settled.units == 0 {
            return false;
        }
        self.drain = self.settled;
        self.left = 0;
        self.fill.units = self.fill.units.wrapping_sub(self.drain.units);
        self.fill.numbers = self.fill.numbers.wrapping_sub(self.drain.numbers);
        self.shared = self.continues && self.fill.units != 0;
        self.continues = false;
        if self.fill.units == 0 {
            // Of what is in it, nothing will tell when its block is free: the next unit begins another one.
            (self.fill, self.open) = (Stack::default(), false);
        }
        // Where units stand on top that the last publish does not know, those below them can't be reached.
        let rest = self.known.wrapping_sub(self.drain.numbers);
        self.settled = if rest == self.fill.numbers { self.fill } else { Stack::default() };
        self.known = self.settled.numbers;
        true
    }

    fn lose(&mut self, blocks: u32) {
        self.lost = self.lost.wrapping_add(blocks);
    }

    /// Notes a block to be written down. There is room, unless an image was made to have none.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn put(&mut self, block: u32) {
        if self.waiting.push(block).is_err() {
            self.lose(1);
        }
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn units_in_block(&self, region: &impl BlockRegion) -> u32 {
        (region.block_size() >> (region.unit().trailing_zeros() & 31)).min(unit::MAX_UNITS)
    }

    /// Notes that a unit could not be written, for which its block was taken if it `begins` that; 1 if it is among the fresh ones now.
    #[cold]
    #[inline(never)]
    fn set_aside(&mut self, begins: bool, block: u32) -> u32 {
        self.open = false;
        if begins && self.fresh.push(block).is_err() {
            self.retire(block);
            return 0;
        }
        begins.into()
    }

    /// Writes a unit with all that is waiting, with `all` what is fresh, too. [`Fault::Full`]: no block is left for it.
    fn flush(&mut self, region: &mut impl BlockRegion, all: bool) -> Result<(), Fault> {
        region.settle()?;
        let (size, units) = (region.unit(), self.units_in_block(region));
        // Blocks that failed are among the fresh ones, the last of them, until another one did not: else it is not the blocks.
        let mut bad = 0_u32;
        for _ in 0..TRIES {
            let mut at = UnitLink { unit: self.fill.top.unit.wrapping_add(1), ..self.fill.top };
            let begins = !self.open || at.unit >= units;
            if begins {
                let block = match self.take(region) {
                    Err(Fault::Full) => {
                        bad = bad.saturating_sub(1);
                        self.fresh.pop().ok_or(Fault::Full)?
                    }
                    taken => taken?,
                };
                at = UnitLink { block, ..UnitLink::default() };
            }
            match region.erase(at.block, at.unit.wrapping_mul(size)) {
                Err(Fault::Device) if !region.is_poisoned() => {
                    bad = bad.wrapping_add(self.set_aside(begins, at.block));
                    continue;
                }
                done => done?,
            }
            self.retired = self.retired.wrapping_add(bad);
            self.fresh.truncate(self.fresh.len().saturating_sub(bad as usize));
            bad = 0;
            while all && let Some(block) = self.fresh.pop() {
                self.put(block);
            }
            let id = region.volume_id();
            let len = unit::encode(region.scratch(), id, &mut at, self.fill.top, &self.waiting);
            match region.store(at.block, at.unit.wrapping_mul(size), len) {
                // Not one write of this session was relied upon yet: it may be the place, and there are others. Should the
                // device be to blame, the next write says so.
                Err(Fault::Device) if !self.proved => {
                    region.forgive();
                    bad = bad.wrapping_add(self.set_aside(begins, at.block));
                    continue;
                }
                done => done?,
            }
            // All of what may be given out before the next publish must stay within reach.
            if !all && self.known == self.fill.numbers {
                self.settled = self.fill;
            }
            if self.fill.units == self.settled.units {
                self.continues = self.settled.units != 0 && self.settled.top.block == at.block;
            }
            self.fill.top = at;
            self.fill.units = self.fill.units.wrapping_add(1);
            self.fill.numbers = self.fill.numbers.wrapping_add(self.waiting.len() as u32);
            self.open = true;
            self.waiting.clear();
            return Ok(());
        }
        Err(Fault::Device)
    }
}

fn each_in(
    region: &mut impl BlockRegion,
    stack: &Stack,
    left: u32,
    shared: bool,
    visit: &mut dyn FnMut(u32, Use),
) {
    let (mut at, mut left) = (stack.top, left as usize);
    // Where it is shared, `fill` names it.
    let mut seen = shared.then_some(at.block);
    for _ in 0..stack.units {
        if seen != Some(at.block) {
            seen = Some(at.block);
            visit(at.block, Use::List);
        }
        let mut below = UnitLink::default();
        let sound = load(region, &at, &mut below, &mut |numbers| {
            let numbers = if left == 0 { numbers } else { numbers.get(..left).unwrap_or_default() };
            for number in numbers {
                visit(u32::from_le_bytes(*number), Use::Free);
            }
        });
        if !sound {
            visit(at.block, Use::Damaged);
            return;
        }
        (at, left) = (below, 0);
    }
}

/// Shows the numbers of a unit, and finds the one below it. Looks again before it counts as damaged: `false`.
fn load(
    region: &mut impl BlockRegion,
    at: &UnitLink,
    below: &mut UnitLink,
    show: &mut dyn FnMut(&[[u8; 4]]),
) -> bool {
    let (id, position) = (region.volume_id(), at.unit.wrapping_mul(region.unit()));
    for _ in 0..2 {
        if let Ok(bytes) = region.load(at.block, position)
            && let Some(numbers) = unit::decode(bytes, id, at, below)
        {
            show(numbers);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
