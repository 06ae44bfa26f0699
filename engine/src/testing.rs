//! For unit tests of what spans several rooms: a device whose power can be cut, and random numbers. The simulator in
//! `hosts/sim` does all of this better, and is not to be had here.

use std::vec::Vec;

use crate::device::{BlockDevice, Geometry};

/// Xorshift, seeded with anything.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

enum Change {
    Write(u64, Vec<u8>),
    Erase(u64, u64),
}

/// A device of which a power cut takes what was not synced: on flash everything from some call on, of which a half may have
/// been done; elsewhere any of the calls, each whole or in part. It checks what flash asks of its users.
pub(crate) struct Part {
    geometry: Geometry,
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// So many calls that change something go well, then all fail.
    pub(crate) fuel: Option<u32>,
    /// How often each erase unit was erased, or each write unit written.
    pub(crate) wear: Vec<u32>,
    /// Erase units that fail.
    pub(crate) broken: Vec<u64>,
    pub(crate) syncs: u32,
}

/// No power, a broken unit, or a broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dead;

fn apply(bytes: &mut [u8], change: &Change, part: usize) {
    match change {
        Change::Write(address, data) => {
            let at = *address as usize;
            bytes[at..at + part.min(data.len())].copy_from_slice(&data[..part.min(data.len())]);
        }
        Change::Erase(start, end) => {
            let end = (*end as usize).min((*start as usize).saturating_add(part));
            bytes[*start as usize..end].fill(0xFF);
        }
    }
}

impl Part {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let bytes = std::vec![0xFF; geometry.capacity as usize];
        let unit = geometry.erase_unit.max(geometry.write_unit);
        let wear = std::vec![0; bytes.len() / unit as usize];
        Self {
            geometry,
            durable: bytes.clone(),
            bytes,
            pending: Vec::new(),
            fuel: None,
            wear,
            broken: Vec::new(),
            syncs: 0,
        }
    }

    /// Cuts the power and gives it back.
    pub(crate) fn cut(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let unit = self.geometry.write_unit as usize;
        if self.geometry.must_erase() {
            let whole = random.below(pending.len() + 1);
            for change in &pending[..whole] {
                apply(&mut self.durable, change, usize::MAX);
            }
            if let Some(torn) = pending.get(whole)
                && random.below(2) == 0
            {
                let len = match torn {
                    Change::Write(_, data) => data.len(),
                    Change::Erase(start, end) => (end - start) as usize,
                };
                apply(&mut self.durable, torn, random.below(len / unit + 1) * unit);
            }
        } else {
            for change in &pending {
                let part = match random.below(4) {
                    0 => 0,
                    1 => unit,
                    _ => usize::MAX,
                };
                apply(&mut self.durable, change, part);
            }
        }
        self.bytes.clone_from(&self.durable);
        self.fuel = None;
    }

    /// The bytes, to be damaged.
    pub(crate) fn damage(&mut self, address: u64, len: usize) {
        for bytes in [&mut self.bytes, &mut self.durable] {
            bytes[address as usize..][..len].iter_mut().for_each(|byte| *byte ^= 0x5A);
        }
    }

    fn burn(&mut self) -> Result<(), Dead> {
        match &mut self.fuel {
            Some(0) => Err(Dead),
            Some(fuel) => {
                *fuel -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl BlockDevice for Part {
    type Error = Dead;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Dead> {
        assert!(self.geometry.allows_read(address, buffer.len()), "read of {} at {address}", buffer.len());
        buffer.copy_from_slice(&self.bytes[address as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Dead> {
        assert!(self.geometry.allows_write(address, data.len()), "write of {} at {address}", data.len());
        let change = Change::Write(address, data.to_vec());
        if self.geometry.must_erase() {
            let old = &self.bytes[address as usize..][..data.len()];
            assert!(old.iter().all(|byte| *byte == 0xFF), "programmed twice at {address}");
        } else {
            let unit = self.geometry.write_unit as usize;
            self.wear[address as usize / unit..][..data.len() / unit].iter_mut().for_each(|wear| *wear += 1);
        }
        if let Err(dead) = self.burn() {
            // It may have been under way.
            if self.fuel == Some(0) {
                self.pending.push(change);
            }
            return Err(dead);
        }
        apply(&mut self.bytes, &change, usize::MAX);
        self.pending.push(change);
        Ok(())
    }

    fn erase(&mut self, range: core::ops::Range<u64>) -> Result<(), Dead> {
        assert!(self.geometry.allows_erase(&range), "erase of {range:?}");
        if self.broken.iter().any(|address| range.contains(address)) {
            return Err(Dead);
        }
        self.burn()?;
        let unit = u64::from(self.geometry.erase_unit);
        if self.geometry.must_erase() {
            for number in range.start / unit..range.end / unit {
                self.wear[number as usize] += 1;
            }
            let change = Change::Erase(range.start, range.end);
            apply(&mut self.bytes, &change, usize::MAX);
            self.pending.push(change);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Dead> {
        self.burn()?;
        self.syncs += 1;
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change, usize::MAX);
        }
        Ok(())
    }
}
