//! The states of a flash part: all is certain but the one operation in flight.

use std::ops::{ControlFlow, Range};

use crate::condition::{Condition, Programming, Reading};
use crate::crash::state::CrashState;
use crate::crash::walk::{Step, Walk, What, sample};
use crate::rng::{Rng, mix};
use crate::tear::{EraseTear, ProgramTear};

impl<V: FnMut(&CrashState<'_>) -> ControlFlow<()>> Walk<'_, V> {
    pub(crate) fn visit_flash(&mut self, cut: usize) -> ControlFlow<()> {
        self.draft.clear(&self.base);
        self.what = What::NotBegun;
        self.emit()?;
        match self.steps.get(cut) {
            Some(Step::Write { at, data, .. }) if !data.is_empty() => {
                let (at, len) = (*at, data.len());
                self.visit_program(cut, at, len)
            }
            Some(Step::Erase { range }) if !range.is_empty() => {
                let range = range.clone();
                self.visit_erase(cut, &range)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn visit_program(&mut self, step: usize, at: usize, len: usize) -> ControlFlow<()> {
        let size = self.base.unit();
        if self.policy.tears {
            let tears = ProgramTear::all(size);
            for unit in sample(len / size, 16, 16, 32, mix(self.policy.seed, step as u64)) {
                for tear in &tears {
                    if self.shows(step, at, unit, *tear) && !self.passes() {
                        self.draft_program(step, at, unit, *tear);
                        self.emit()?;
                    }
                }
            }
            if self.policy.neighbours.is_some() {
                self.visit_damaged_sector(step, at)?;
            }
        }
        self.draft.clear(&self.base);
        let data = self.steps[step].data();
        self.draft.put_run(&self.base, &self.unit_hashes, at, len, |bytes| programmed(bytes, data));
        self.what = What::Complete;
        self.emit()
    }

    /// Whether a cut there leaves a trace that can be read. A program that leaves none has not begun: no firmware could
    /// stay clear of units that look blank, with nothing but blank units around them.
    fn shows(&self, step: usize, at: usize, unit: usize, tear: ProgramTear) -> bool {
        let size = self.base.unit();
        let data = self.steps[step].data();
        let done = unit * size;
        if data[..done].iter().any(|byte| *byte != 0xFF) {
            return true;
        }
        let before = self.base.unit_bytes((at + done) / size);
        let mut torn = before.to_vec();
        let seed = mix(mix(self.policy.seed, step as u64), unit as u64);
        let reading = tear.apply(&mut torn, &data[done..done + size], seed);
        reading != Reading::Good || torn != before
    }

    fn draft_program(&mut self, step: usize, at: usize, unit: usize, tear: ProgramTear) {
        let size = self.base.unit();
        let (data, base, hashes) = (self.steps[step].data(), &self.base, &self.unit_hashes);
        let (done, torn) = (unit * size, unit * size..(unit + 1) * size);
        let draft = &mut self.draft;
        draft.clear(base);
        draft.put_run(base, hashes, at, done, |bytes| programmed(bytes, &data[..done]));
        let seed = mix(mix(self.policy.seed, step as u64), unit as u64);
        draft.put_run(base, hashes, at + done, size, |bytes| {
            Condition::new(Programming::Burnt, tear.apply(bytes, &data[torn.clone()], seed))
        });
        draft.put_run(base, hashes, at + torn.end, data.len() - torn.end, |_| Condition::BURNT);
        self.what = What::Program { unit, tear };
    }

    /// The erase unit that was being programmed has lost bits all over.
    fn visit_damaged_sector(&mut self, step: usize, at: usize) -> ControlFlow<()> {
        let sector = self.base.geometry().erase_unit as usize;
        let start = at - at % sector;
        let size = self.base.unit();
        let mut rng = Rng::new(mix(self.policy.seed, step as u64));
        let one = start + rng.below(sector / size) * size;
        for hit in [start..start + sector, one..one + size] {
            self.draft.clear(&self.base);
            for place in hit.step_by(size) {
                let condition = self.base.condition(place / size);
                self.draft.put_run(&self.base, &self.unit_hashes, place, size, |bytes| {
                    for byte in bytes {
                        *byte &= rng.next().to_le_bytes()[0];
                    }
                    match condition.programming() {
                        // No longer blank, whatever the engine may believe.
                        Programming::Blank => Condition::BURNT,
                        _ => condition,
                    }
                });
            }
            self.what = What::Neighbours { group: start..start + sector };
            self.emit()?;
        }
        ControlFlow::Continue(())
    }

    fn visit_erase(&mut self, step: usize, range: &Range<usize>) -> ControlFlow<()> {
        let size = self.base.geometry().erase_unit as usize;
        let seed = mix(self.policy.seed, step as u64);
        if self.policy.tears {
            for sector in sample(range.len() / size, 4, 4, 8, seed) {
                for tear in EraseTear::all(size) {
                    if self.passes() {
                        continue;
                    }
                    self.draft.clear(&self.base);
                    let (base, hashes) = (&self.base, &self.unit_hashes);
                    let done = sector * size;
                    self.draft.put_run(base, hashes, range.start, done, erased);
                    self.draft.put_run(base, hashes, range.start + done, size, |bytes| {
                        Condition::new(Programming::Unreliable, tear.apply(bytes, mix(seed, sector as u64)))
                    });
                    self.what = What::Erase { sector, tear };
                    self.emit()?;
                }
            }
        }
        self.draft.clear(&self.base);
        self.draft.put_run(&self.base, &self.unit_hashes, range.start, range.len(), erased);
        self.what = What::Complete;
        self.emit()
    }
}

fn programmed(bytes: &mut [u8], data: &[u8]) -> Condition {
    for (old, new) in bytes.iter_mut().zip(data) {
        *old &= new;
    }
    Condition::PROGRAMMED
}

fn erased(bytes: &mut [u8]) -> Condition {
    bytes.fill(0xFF);
    Condition::BLANK
}
