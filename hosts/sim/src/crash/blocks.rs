//! The states of a block device: subsets of the pending writes, and torn writes among them.

use std::fmt;
use std::ops::ControlFlow;

use crate::condition::{Condition, Programming};
use crate::crash::state::CrashState;
use crate::crash::walk::{Step, Walk, What, sample};
use crate::rng::{Rng, mix};
use crate::tear::BlockTear;

/// Up to how many units of a torn write every subset is visited.
const UNIT_SUBSET_LIMIT: usize = 4;
/// Up to how many pending writes the others are there in every combination while one is torn.
const TEAR_SUBSET_LIMIT: usize = 4;

/// Which whole units of a torn write are new.
#[derive(Clone, Copy, Debug)]
enum NewUnits {
    Mask(u32),
    Before(usize),
    From(usize),
    AllBut(usize),
    EverySecond(usize),
}

impl NewUnits {
    fn contains(self, unit: usize) -> bool {
        match self {
            Self::Mask(mask) => mask >> unit & 1 == 1,
            Self::Before(end) => unit < end,
            Self::From(start) => unit >= start,
            Self::AllBut(except) => unit != except,
            Self::EverySecond(first) => unit % 2 == first,
        }
    }
}

/// How one write is torn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn {
    /// Which of the pending writes.
    pub(crate) write: usize,
    new: NewUnits,
    /// The unit that is torn inside, if any.
    inside: Option<(usize, BlockTear)>,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.new {
            NewUnits::Before(0) => f.write_str("no whole unit new")?,
            NewUnits::Mask(mask) => write!(f, "new units by mask {mask:#b}")?,
            NewUnits::Before(end) => write!(f, "units before {end} new")?,
            NewUnits::From(start) => write!(f, "units from {start} on new")?,
            NewUnits::AllBut(except) => write!(f, "all units new but {except}")?,
            NewUnits::EverySecond(first) => write!(f, "every second unit from {first} on new")?,
        }
        if let Some((unit, tear)) = self.inside {
            write!(f, ", unit {unit} torn: {tear}")?;
        }
        Ok(())
    }
}

impl<V: FnMut(&CrashState<'_>) -> ControlFlow<()>> Walk<'_, V> {
    /// The states of a cut whose writes are in `pending`, the last of them in flight or not.
    pub(crate) fn visit_blocks(&mut self, in_flight: bool) -> ControlFlow<()> {
        let count = self.pending.len();
        if count <= self.policy.subset_limit as usize {
            for mask in 0..1u64 << count {
                self.visit_subset(|write| mask >> write & 1 == 1)?;
            }
        } else {
            self.visit_some_subsets(count)?;
        }
        if self.policy.tears {
            for write in sample(count, 4, 12, 8, mix(self.policy.seed, count as u64)) {
                self.visit_torn(write)?;
            }
        }
        if in_flight && let Some(group) = self.policy.neighbours {
            self.visit_neighbours(group as usize)?;
        }
        ControlFlow::Continue(())
    }

    fn visit_some_subsets(&mut self, count: usize) -> ControlFlow<()> {
        for end in 0..=count {
            self.visit_subset(|write| write < end)?;
        }
        for lost in 0..count {
            self.visit_subset(|write| write != lost)?;
        }
        let mut rng = Rng::new(mix(self.policy.seed, count as u64));
        if count * (count - 1) / 2 <= self.policy.pair_limit {
            for first in 0..count {
                for second in first + 1..count {
                    self.visit_subset(|write| write != first && write != second)?;
                }
            }
        } else {
            for _ in 0..self.policy.pair_limit {
                let (first, second) = (rng.below(count), rng.below(count));
                self.visit_subset(|write| write != first && write != second)?;
            }
        }
        for _ in 0..self.policy.random_subsets {
            self.visit_subset(|_| rng.one_in(2))?;
        }
        ControlFlow::Continue(())
    }

    fn visit_subset(&mut self, keep: impl FnMut(usize) -> bool) -> ControlFlow<()> {
        self.draft_subset(keep, None);
        self.emit()
    }

    fn visit_torn(&mut self, write: usize) -> ControlFlow<()> {
        let step = self.pending[write];
        let units = self.steps[step].data().len() / self.base.unit();
        if units == 0 {
            return ControlFlow::Continue(());
        }
        for torn in tears(write, units, self.base.unit(), mix(self.policy.seed, step as u64)) {
            let count = self.pending.len();
            if count <= TEAR_SUBSET_LIMIT {
                // Bit `write` of the mask would say nothing.
                for mask in (0..1u32 << count).filter(|mask| mask >> write & 1 == 0) {
                    self.draft_subset(|other| mask >> other & 1 == 1, Some(torn));
                    self.emit()?;
                }
            } else {
                for end in [0, write, count] {
                    self.draft_subset(|other| other < end, Some(torn));
                    self.emit()?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Builds the state in which the writes that `keep` wants are there, in their order, and one is torn.
    fn draft_subset(&mut self, mut keep: impl FnMut(usize) -> bool, torn: Option<Torn>) {
        self.draft.clear(&self.base);
        let mut kept = match std::mem::replace(&mut self.what, What::NotBegun) {
            What::Subset { mut kept, .. } => {
                kept.clear();
                kept
            }
            _ => Vec::new(),
        };
        for write in 0..self.pending.len() {
            let this = torn.filter(|torn| torn.write == write);
            kept.push(keep(write) && this.is_none());
            if this.is_some() || kept[write] {
                self.draft_write(self.pending[write], this);
            }
        }
        self.what = What::Subset { kept, torn };
    }

    fn draft_write(&mut self, step: usize, torn: Option<Torn>) {
        let Step::Write { at, data, unit_hashes } = &self.steps[step] else { return };
        let size = self.base.unit();
        for (number, new_hash) in unit_hashes.iter().enumerate() {
            let unit = at / size + number;
            let base_hash = self.unit_hashes[unit];
            let inside = torn.and_then(|torn| torn.inside).filter(|(inside, _)| *inside == number);
            if let Some((_, tear)) = inside {
                let new = &data[number * size..(number + 1) * size];
                let seed = mix(mix(self.policy.seed, step as u64), unit as u64);
                self.draft.put_made(&self.base, &self.steps, unit, base_hash, |bytes| {
                    Condition::new(Programming::Programmed, tear.apply(bytes, new, seed))
                });
            } else if torn.is_none_or(|torn| torn.new.contains(number)) {
                self.draft.put_step(unit, size, (step, number * size), (base_hash, *new_hash));
            }
        }
    }

    /// The write in flight has become garbage, and with it what shares its hidden erase unit.
    fn visit_neighbours(&mut self, group: usize) -> ControlFlow<()> {
        let Some(step) = self.pending.last().copied() else { return ControlFlow::Continue(()) };
        let Step::Write { at, .. } = self.steps[step] else { return ControlFlow::Continue(()) };
        let start = at - at % group;
        let end = (start + group).min(self.base.image().len());
        let (first, last) = (start / self.base.unit(), end.div_ceil(self.base.unit()));
        let mut rng = Rng::new(mix(self.policy.seed, step as u64));
        let one = first + rng.below(last - first);
        for hit in [first..last, one..one + 1] {
            self.draft.clear(&self.base);
            for unit in hit {
                let base_hash = self.unit_hashes[unit];
                self.draft.put_made(&self.base, &self.steps, unit, base_hash, |bytes| {
                    rng.fill(bytes);
                    Condition::PROGRAMMED
                });
            }
            self.what = What::Neighbours { group: start..end };
            self.emit()?;
        }
        ControlFlow::Continue(())
    }
}

/// Every way to tear a write of `units` units of `size` bytes.
fn tears(write: usize, units: usize, size: usize, seed: u64) -> Vec<Torn> {
    let mut all = Vec::new();
    let mut between = |new| all.push(Torn { write, new, inside: None });
    if units <= UNIT_SUBSET_LIMIT {
        // Neither none nor all: these are whole writes, and were visited.
        (1..(1u32 << units) - 1).for_each(|mask| between(NewUnits::Mask(mask)));
    } else {
        for place in sample(units, 8, 8, 8, seed) {
            if place > 0 {
                between(NewUnits::Before(place));
                between(NewUnits::From(place));
            }
            between(NewUnits::AllBut(place));
        }
        between(NewUnits::EverySecond(0));
        between(NewUnits::EverySecond(1));
    }
    for unit in sample(units, 2, 2, 4, seed) {
        for tear in BlockTear::all(size) {
            let inside = Some((unit, tear));
            all.push(Torn { write, new: NewUnits::Before(unit), inside });
            if unit + 1 < units {
                all.push(Torn { write, new: NewUnits::AllBut(unit), inside });
            }
        }
    }
    all
}
