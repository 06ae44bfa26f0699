//! A state under construction: what it changes in the base image, and its hash.

use crate::condition::{Condition, Reading};
use crate::crash::walk::Step;
use crate::medium::Medium;
use crate::rng::Rng;

/// Where the bytes of a change are. Whole units of a write are not copied: there are millions of states.
#[derive(Clone, Copy, Debug)]
enum Source {
    Step { step: usize, offset: usize },
    Arena { offset: usize },
}

#[derive(Clone, Copy, Debug)]
struct Patch {
    at: usize,
    len: usize,
    source: Source,
    condition: Condition,
    /// What it adds to the base's hash (XOR).
    change: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Draft {
    patches: Vec<Patch>,
    arena: Vec<u8>,
    /// For each unit, 1 + the index of its patch, or 0. Only block devices change a unit twice in one state.
    slots: Vec<u32>,
    change: u64,
}

impl Draft {
    pub(crate) fn new(units: usize) -> Self {
        Self { slots: vec![0; units], ..Self::default() }
    }

    pub(crate) fn clear(&mut self, base: &Medium) {
        for patch in self.patches.drain(..) {
            self.slots[patch.at / base.unit()] = 0;
        }
        self.arena.clear();
        self.change = 0;
    }

    /// What the state's hash differs in from the base's (XOR).
    pub(crate) fn change(&self) -> u64 {
        self.change
    }

    /// The unit holds this unit of a step's data.
    pub(crate) fn put_step(&mut self, unit: usize, size: usize, step: (usize, usize), hashes: (u64, u64)) {
        let (step, offset) = step;
        let (base, new) = hashes;
        let source = Source::Step { step, offset };
        let patch = Patch {
            at: unit * size,
            len: size,
            source,
            condition: Condition::PROGRAMMED,
            change: base ^ new,
        };
        self.put(unit, patch);
    }

    /// The unit holds what `make` turns its present content into. `base_hash` is its hash in the base.
    pub(crate) fn put_made(
        &mut self,
        base: &Medium,
        steps: &[Step<'_>],
        unit: usize,
        base_hash: u64,
        make: impl FnOnce(&mut [u8]) -> Condition,
    ) {
        let size = base.unit();
        let offset = self.arena.len();
        match (self.slots[unit] as usize).checked_sub(1).map(|at| self.patches[at].source) {
            None => {
                self.arena.extend_from_slice(base.unit_bytes(unit));
                if base.condition(unit).reading() != Reading::Good {
                    // What the image holds of a torn unit is what was meant: a second tear does not bring that back.
                    Rng::new(base_hash).fill(&mut self.arena[offset..]);
                }
            }
            Some(Source::Step { step, offset }) => {
                self.arena.extend_from_slice(&steps[step].data()[offset..offset + size]);
            }
            Some(Source::Arena { offset }) => self.arena.extend_from_within(offset..offset + size),
        }
        let condition = make(&mut self.arena[offset..]);
        let change = base_hash ^ Medium::hash_of(unit, &self.arena[offset..], condition);
        let source = Source::Arena { offset };
        self.put(unit, Patch { at: unit * size, len: size, source, condition, change });
    }

    /// A run of units, none of them changed before, holds what `make` turns their content in the base into.
    pub(crate) fn put_run(
        &mut self,
        base: &Medium,
        unit_hashes: &[u64],
        at: usize,
        len: usize,
        make: impl FnOnce(&mut [u8]) -> Condition,
    ) {
        if len == 0 {
            return;
        }
        let offset = self.arena.len();
        self.arena.extend_from_slice(base.bytes(at..at + len));
        let condition = make(&mut self.arena[offset..]);
        let mut change = 0;
        let first = at / base.unit();
        for (number, bytes) in self.arena[offset..].chunks(base.unit()).enumerate() {
            change ^= unit_hashes[first + number] ^ Medium::hash_of(first + number, bytes, condition);
        }
        self.change ^= change;
        self.patches.push(Patch { at, len, source: Source::Arena { offset }, condition, change });
    }

    fn put(&mut self, unit: usize, patch: Patch) {
        self.change ^= patch.change;
        if let Some(at) = (self.slots[unit] as usize).checked_sub(1) {
            self.change ^= self.patches[at].change;
            self.patches[at] = patch;
        } else {
            self.patches.push(patch);
            self.slots[unit] = u32::try_from(self.patches.len()).expect("fewer than 2^32 units");
        }
    }

    /// Makes the changes in a copy of the base.
    pub(crate) fn apply(&self, steps: &[Step<'_>], medium: &mut Medium) {
        for patch in &self.patches {
            let bytes = match patch.source {
                Source::Step { step, offset } => &steps[step].data()[offset..offset + patch.len],
                Source::Arena { offset } => &self.arena[offset..offset + patch.len],
            };
            medium.store(patch.at, bytes, patch.condition);
        }
    }
}
