//! The medium: bytes and conditions of the units, and which of them changed since the last load.
//!
//! The changes are tracked in grains, so that going from one crash state to the next costs what the two differ in
//! and not the size of the image.

use std::ops::Range;

use esker::device::Geometry;

use crate::condition::{Condition, LEAST_BAD_READING, Programming, Reading};
use crate::rng::{Rng, hash_bytes};

/// Tracking single bytes (a NOR part with a write unit of 1) would cost more than copying a few too many.
const LEAST_GRAIN: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Medium {
    geometry: Geometry,
    unit: usize,
    grain: usize,
    image: Vec<u8>,
    /// Codes of [`Condition`], one for each write unit. Plain bytes: zeroed memory costs nothing until it is used.
    conditions: Vec<u8>,
    touched: Vec<bool>,
    touched_grains: Vec<usize>,
}

/// An address that was checked against the geometry, as an index.
pub(crate) fn index(address: u64) -> usize {
    usize::try_from(address).expect("the image is in memory, so its addresses are indexes")
}

impl Medium {
    /// Blank flash, or blocks of zeros.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let capacity = index(geometry.capacity);
        let unit = geometry.write_unit as usize;
        let grain = unit.max(LEAST_GRAIN);
        let (byte, condition) =
            if geometry.must_erase() { (0xFF, Condition::BLANK) } else { (0, Condition::PROGRAMMED) };
        Self {
            geometry,
            unit,
            grain,
            image: vec![byte; capacity],
            conditions: vec![condition.code(); capacity / unit],
            touched: vec![false; capacity.div_ceil(grain)],
            touched_grains: Vec::new(),
        }
    }

    /// A medium with this content. On flash, units of `0xFF` count as blank.
    pub(crate) fn from_image(geometry: Geometry, image: &[u8]) -> Self {
        let mut medium = Self::new(geometry);
        medium.image.copy_from_slice(image);
        if geometry.must_erase() {
            for (unit, condition) in image.chunks(medium.unit).zip(&mut medium.conditions) {
                let blank = unit.iter().all(|byte| *byte == 0xFF);
                *condition = if blank { Condition::BLANK } else { Condition::PROGRAMMED }.code();
            }
        }
        medium
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn unit(&self) -> usize {
        self.unit
    }

    pub(crate) fn units(&self) -> usize {
        self.conditions.len()
    }

    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.image[range]
    }

    pub(crate) fn unit_bytes(&self, unit: usize) -> &[u8] {
        &self.image[unit * self.unit..(unit + 1) * self.unit]
    }

    pub(crate) fn condition(&self, unit: usize) -> Condition {
        Condition::from_code(self.conditions[unit])
    }

    /// The units that a byte range lies in.
    pub(crate) fn units_of(&self, range: &Range<usize>) -> Range<usize> {
        range.start / self.unit..range.end.div_ceil(self.unit)
    }

    fn touch(&mut self, range: &Range<usize>) {
        for grain in range.start / self.grain..range.end.div_ceil(self.grain) {
            if !self.touched[grain] {
                self.touched[grain] = true;
                self.touched_grains.push(grain);
            }
        }
    }

    /// Overwrites whole units.
    pub(crate) fn store(&mut self, at: usize, bytes: &[u8], condition: Condition) {
        let range = at..at + bytes.len();
        self.image[range.clone()].copy_from_slice(bytes);
        self.set_condition(&range, condition);
    }

    /// Overwrites bytes and leaves the conditions alone: damage that nobody knows of.
    pub(crate) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let range = at..at + bytes.len();
        self.image[range.clone()].copy_from_slice(bytes);
        self.touch(&range);
    }

    pub(crate) fn set_condition(&mut self, range: &Range<usize>, condition: Condition) {
        let units = self.units_of(range);
        self.conditions[units].fill(condition.code());
        self.touch(range);
    }

    pub(crate) fn set_reading(&mut self, range: &Range<usize>, reading: Reading) {
        for code in &mut self.conditions[range.start / self.unit..range.end.div_ceil(self.unit)] {
            *code = Condition::new(Condition::from_code(*code).programming(), reading).code();
        }
        self.touch(range);
    }

    /// Programs flash: bits can only be cleared.
    pub(crate) fn program(&mut self, at: usize, data: &[u8]) {
        let range = at..at + data.len();
        for (old, new) in self.image[range.clone()].iter_mut().zip(data) {
            *old &= new;
        }
        self.set_condition(&range, Condition::PROGRAMMED);
    }

    pub(crate) fn erase(&mut self, range: &Range<usize>) {
        self.image[range.clone()].fill(0xFF);
        self.set_condition(range, Condition::BLANK);
    }

    /// The first unit of the range that may not be programmed.
    pub(crate) fn first_not_blank(&self, range: &Range<usize>) -> Option<(usize, Programming)> {
        self.units_of(range)
            .map(|unit| (unit * self.unit, self.condition(unit).programming()))
            .find(|(_, programming)| *programming != Programming::Blank)
    }

    /// Fills `buffer` as a read would; the index of the unit that can't be read if there is one.
    pub(crate) fn read(&self, at: usize, buffer: &mut [u8], rng: &mut Rng) -> Result<(), usize> {
        let range = at..at + buffer.len();
        buffer.copy_from_slice(&self.image[range.clone()]);
        let units = self.units_of(&range);
        if self.conditions[units.clone()].iter().all(|code| *code < LEAST_BAD_READING) {
            return Ok(());
        }
        let mut garbage = Vec::new();
        for unit in units {
            match self.condition(unit).reading() {
                Reading::Good => {}
                Reading::Unreadable => return Err(unit * self.unit),
                Reading::Unstable => {
                    garbage.resize(self.unit, 0);
                    self.read_unstable(unit, rng, &mut garbage);
                    let first = unit * self.unit;
                    let from = first.max(range.start);
                    let to = (first + self.unit).min(range.end);
                    buffer[from - at..to - at].copy_from_slice(&garbage[from - first..to - first]);
                }
            }
        }
        Ok(())
    }

    /// What an unstable unit reads as, this time. It is never the content that was to be written: a read that succeeds
    /// by chance would only say that the unit is good. Nor does it read blank: a program that has moved a cell shows
    /// somewhere in the unit, or no firmware could tell that it was begun.
    fn read_unstable(&self, unit: usize, rng: &mut Rng, out: &mut [u8]) {
        loop {
            rng.fill(out);
            if *out != *self.unit_bytes(unit) && out.iter().any(|byte| *byte != 0xFF) {
                return;
            }
        }
    }

    /// Becomes a copy of `base`, which has the same geometry. With `known`, this medium was a copy of the same base
    /// before, so that only what was touched since has to be copied.
    pub(crate) fn become_copy_of(&mut self, base: &Self, known: bool) {
        if known {
            for grain in self.touched_grains.drain(..) {
                self.touched[grain] = false;
                let start = grain * self.grain;
                let end = (start + self.grain).min(self.image.len());
                self.image[start..end].copy_from_slice(&base.image[start..end]);
                let units = start / self.unit..end.div_ceil(self.unit);
                self.conditions[units.clone()].copy_from_slice(&base.conditions[units]);
            }
        } else {
            self.image.copy_from_slice(&base.image);
            self.conditions.copy_from_slice(&base.conditions);
            self.touched.fill(false);
            self.touched_grains.clear();
        }
    }

    /// The hash of one unit as it would be with this content. A whole image's is the XOR of its units' (Zobrist
    /// hashing), so a change costs only what it changes.
    pub(crate) fn hash_of(unit: usize, bytes: &[u8], condition: Condition) -> u64 {
        hash_bytes((unit as u64) << 8 | u64::from(condition.code()), bytes)
    }

    pub(crate) fn unit_hash(&self, unit: usize) -> u64 {
        Self::hash_of(unit, self.unit_bytes(unit), self.condition(unit))
    }

    #[cfg(test)]
    pub(crate) fn hash(&self) -> u64 {
        (0..self.units()).fold(0, |hash, unit| hash ^ self.unit_hash(unit))
    }
}

/// What a discarded unit of a block device holds: the same in every run, so that a trace can be replayed.
pub(crate) fn discarded(unit: usize, out: &mut [u8]) {
    Rng::new(hash_bytes(unit as u64, b"discard")).fill(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash() -> Medium {
        Medium::new(Geometry::flash(8192, 4, 4096))
    }

    #[test]
    fn programming_only_clears_bits() {
        let mut medium = flash();
        medium.program(8, &[0xF0; 4]);
        medium.program(8, &[0x3C; 4]);
        assert_eq!(medium.bytes(8..12), [0x30; 4]);
        assert_eq!(medium.first_not_blank(&(4..16)), Some((8, Programming::Programmed)));
        medium.erase(&(0..4096));
        assert_eq!(medium.first_not_blank(&(0..8192)), None);
    }

    #[test]
    fn a_known_base_restores_all_that_was_touched() {
        let base = flash();
        let mut medium = flash();
        medium.become_copy_of(&base, false);
        medium.program(4, &[1; 4]);
        medium.overwrite(5000, &[9]);
        medium.set_reading(&(8188..8192), Reading::Unreadable);
        assert_ne!(medium.hash(), base.hash());
        medium.become_copy_of(&base, true);
        assert_eq!(medium.hash(), base.hash());
        assert_eq!(medium.image(), base.image());
    }

    #[test]
    fn the_hash_sees_bytes_place_and_condition() {
        let blank = flash();
        let mut here = flash();
        here.program(0, &[0xFF; 4]);
        assert_ne!(here.hash(), blank.hash(), "programmed with 0xFF is not blank");
        let mut there = flash();
        there.program(4, &[0xFF; 4]);
        assert_ne!(here.hash(), there.hash());
    }

    #[test]
    fn unstable_units_never_read_as_what_was_meant_nor_twice_the_same() {
        let mut medium = flash();
        medium.program(0, &[1, 2, 3, 4]);
        medium.set_reading(&(0..4), Reading::Unstable);
        let mut rng = Rng::new(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let mut buffer = [0; 8];
            medium.read(0, &mut buffer, &mut rng).unwrap();
            assert_ne!(buffer[..4], [1, 2, 3, 4]);
            assert_eq!(buffer[4..], [0xFF; 4], "the neighbour is well");
            seen.insert(buffer);
        }
        assert!(seen.len() > 20);
    }
}
