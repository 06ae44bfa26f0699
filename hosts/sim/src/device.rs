//! The device behind the handle: every call is counted, held against the rules, handed to the fault plan, applied
//! and recorded, in this order.

use std::ops::Range;

use esker::device::Geometry;

use crate::cache::Cache;
use crate::condition::{Condition, Programming, Reading};
use crate::counts::Counts;
use crate::error::{OnViolation, SimError, Violation, ViolationKind};
use crate::fault::{Applied, ERASE, Effect, Plan, READ, SYNC, Strike, WRITE};
use crate::medium::{Medium, discarded, index};
use crate::rng::Rng;
use crate::tear::{BlockTear, EraseTear, ProgramTear};
use crate::trace::{Discard, Op, Trace};

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) geometry: Geometry,
    pub(crate) page: u32,
    pub(crate) discard: Discard,
    pub(crate) on_violation: OnViolation,
    pub(crate) rng: Rng,
    pub(crate) medium: Medium,
    pub(crate) cache: Cache,
    pub(crate) plan: Plan,
    pub(crate) write_protected: bool,
    pub(crate) powered: bool,
    pub(crate) in_flight: Option<Op>,
    pub(crate) counts: Counts,
    pub(crate) wear: Vec<u32>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) trace: Option<Trace>,
    /// Which base of which enumeration the medium was last loaded from.
    pub(crate) loaded: Option<(u64, u64)>,
}

impl Device {
    pub(crate) fn new(medium: Medium) -> Self {
        let geometry = medium.geometry();
        let sectors = geometry.capacity.checked_div(u64::from(geometry.erase_unit)).unwrap_or(0);
        Self {
            geometry,
            page: if geometry.must_erase() { geometry.write_unit.max(256) } else { 0 },
            discard: Discard::default(),
            on_violation: OnViolation::default(),
            rng: Rng::new(0),
            medium,
            cache: Cache::default(),
            plan: Plan::default(),
            write_protected: false,
            powered: true,
            in_flight: None,
            counts: Counts::default(),
            wear: vec![0; index(sectors)],
            violations: Vec::new(),
            trace: None,
            loaded: None,
        }
    }

    fn note(&mut self, op: Op) {
        if let Some(trace) = &mut self.trace {
            trace.ops.push(op);
        }
    }

    fn note_spoilt(&mut self, range: Range<usize>) {
        if self.trace.is_some() {
            let address = range.start as u64;
            self.note(Op::Spoilt { address, data: self.medium.bytes(range).to_vec() });
        }
    }

    fn check_power(&self) -> Result<(), SimError> {
        if self.powered { Ok(()) } else { Err(SimError::PowerLost) }
    }

    fn violate(&mut self, kind: ViolationKind, address: u64) -> Result<(), SimError> {
        let violation = Violation { kind, address, call: self.counts.calls() };
        self.violations.push(violation);
        match self.on_violation {
            OnViolation::Panic => panic!("{violation}"),
            OnViolation::Allow if !matches!(kind, ViolationKind::Misaligned | ViolationKind::OutOfBounds) => {
                Ok(())
            }
            OnViolation::Allow | OnViolation::Fail => Err(SimError::Violation(violation)),
        }
    }

    fn check_range(&mut self, allowed: bool, address: u64, len: u64) -> Result<(), SimError> {
        if allowed {
            return Ok(());
        }
        let inside = address.checked_add(len).is_some_and(|end| end <= self.geometry.capacity);
        let kind = if inside { ViolationKind::Misaligned } else { ViolationKind::OutOfBounds };
        self.violate(kind, address)
    }

    fn check_buffer(&mut self, buffer: *const u8, address: u64) -> Result<(), SimError> {
        if buffer.addr() & (self.geometry.alignment as usize - 1) == 0 {
            return Ok(());
        }
        self.violate(ViolationKind::BufferAlignment, address)
    }

    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.check_power()?;
        self.counts.reads += 1;
        self.counts.read_bytes += buffer.len() as u64;
        let allowed = self.geometry.allows_read(address, buffer.len());
        self.check_range(allowed, address, buffer.len() as u64)?;
        self.check_buffer(buffer.as_ptr(), address)?;
        let mut from = address;
        match self.plan.next(READ, &(address..address + buffer.len() as u64)) {
            None => {}
            Some(Strike { effect: Effect::Misdirect(to), .. }) => from = self.wrapped(to, buffer.len()),
            Some(strike) => return Err(SimError::Read { address: strike.address }),
        }
        self.medium
            .read(index(from), buffer, &mut self.rng)
            .map_err(|at| SimError::Read { address: address.max(at as u64) })
    }

    /// A wrong address that is still a possible one.
    fn wrapped(&self, address: u64, len: usize) -> u64 {
        let unit = u64::from(self.geometry.write_unit.max(self.geometry.read_unit));
        let room = self.geometry.capacity - (len as u64).min(self.geometry.capacity) + unit;
        let wrapped = address % room;
        wrapped - wrapped % unit
    }

    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> Result<(), SimError> {
        self.check_power()?;
        let len = data.len() as u64;
        self.counts.writes += 1;
        self.counts.write_bytes += len;
        let allowed = self.geometry.allows_write(address, data.len());
        self.check_range(allowed, address, len)?;
        self.check_buffer(data.as_ptr(), address)?;
        self.counts.programs += self.programs(address, len);
        let strike = self.plan.next(WRITE, &(address..address + len));
        match strike.map(|strike| strike.effect) {
            Some(Effect::NoSpace) => return Err(SimError::NoSpace),
            Some(Effect::ReadOnly) => return Err(SimError::ReadOnly),
            _ if self.write_protected => return Err(SimError::ReadOnly),
            _ => {}
        }
        if len == 0 {
            return Ok(());
        }
        let at = index(address);
        self.check_blank(at, data.len())?;
        let Some(strike) = strike else {
            self.put(at, data);
            return Ok(());
        };
        match strike.effect {
            Effect::Misdirect(to) => {
                let to = self.wrapped(to, data.len());
                self.put(index(to), data);
                Ok(())
            }
            Effect::PowerLoss => {
                self.powered = false;
                self.in_flight = Some(Op::Write { address, data: data.to_vec() });
                Err(SimError::PowerLost)
            }
            Effect::Fail(applied) => {
                self.put_partly(at, data, applied, strike);
                Err(SimError::Write { address: strike.address })
            }
            _ => Ok(()),
        }
    }

    fn programs(&self, address: u64, len: u64) -> u64 {
        let page = u64::from(self.page);
        if page == 0 || len == 0 {
            return 1;
        }
        (address + len).div_ceil(page) - address / page
    }

    fn check_blank(&mut self, at: usize, len: usize) -> Result<(), SimError> {
        if !self.geometry.must_erase() {
            return Ok(());
        }
        let Some((place, programming)) = self.medium.first_not_blank(&(at..at + len)) else { return Ok(()) };
        let kind = match programming {
            Programming::Burnt => ViolationKind::ProgrammedBurnt,
            Programming::Unreliable => ViolationKind::ProgrammedUnreliable,
            Programming::Programmed | Programming::Blank => ViolationKind::ProgrammedTwice,
        };
        self.violate(kind, place as u64)
    }

    /// Writes and records.
    fn put(&mut self, at: usize, data: &[u8]) {
        if self.geometry.must_erase() {
            self.medium.program(at, data);
        } else {
            self.cache.write(&mut self.medium, at, data);
        }
        if self.trace.is_some() {
            self.note(Op::Write { address: at as u64, data: data.to_vec() });
        }
    }

    fn put_partly(&mut self, at: usize, data: &[u8], applied: Applied, strike: Strike) {
        if applied == Applied::Nothing {
            return;
        }
        let unit = self.medium.unit();
        let before = self.medium.bytes(at..at + data.len()).to_vec();
        let whole = match applied {
            Applied::Nothing => 0,
            Applied::All => data.len(),
            Applied::Part if strike.bound => {
                let before = index(strike.address) - at;
                before - before % unit
            }
            Applied::Part => data.len() / unit / 2 * unit,
        };
        if whole > 0 {
            self.put(at, &data[..whole]);
        }
        if applied == Applied::Part && !strike.bound {
            let torn = at + whole;
            let new = &data[whole..whole + unit];
            let mut bytes = self.medium.unit_bytes(torn / unit).to_vec();
            if self.geometry.must_erase() {
                ProgramTear::Prefix(unit / 2).apply(&mut bytes, new, 0);
            } else {
                BlockTear::Prefix(unit / 2).apply(&mut bytes, new, 0);
            }
            self.put(torn, &bytes);
        }
        // A program that shows nothing has moved no cell.
        if self.geometry.must_erase() && self.medium.bytes(at..at + data.len()) != before {
            let range = at..at + data.len();
            self.medium.set_condition(&range, Condition::BURNT);
            self.note_spoilt(range);
        }
    }

    pub(crate) fn erase(&mut self, range: &Range<u64>) -> Result<(), SimError> {
        self.check_power()?;
        let len = range.end.saturating_sub(range.start);
        self.counts.erases += 1;
        self.counts.erase_bytes += len;
        let allowed = self.geometry.allows_erase(range);
        self.check_range(allowed, range.start, len)?;
        self.counts.erase_units += len.checked_div(u64::from(self.geometry.erase_unit)).unwrap_or(1);
        let strike = self.plan.next(ERASE, range);
        if self.write_protected || strike.is_some_and(|strike| strike.effect == Effect::ReadOnly) {
            return Err(SimError::ReadOnly);
        }
        if len == 0 {
            return Ok(());
        }
        let Some(strike) = strike else {
            self.clear(range);
            return Ok(());
        };
        match strike.effect {
            Effect::PowerLoss => {
                self.powered = false;
                self.in_flight = Some(Op::Erase { range: range.clone() });
                Err(SimError::PowerLost)
            }
            Effect::Fail(applied) => {
                self.clear_partly(range, applied, strike);
                Err(SimError::Erase { address: strike.address })
            }
            _ => Ok(()),
        }
    }

    /// Erases or discards, and records.
    fn clear(&mut self, range: &Range<u64>) {
        let bytes = index(range.start)..index(range.end);
        if self.geometry.must_erase() {
            self.medium.erase(&bytes);
            self.wear_out(&bytes);
        } else if let Some(content) = discarded_content(self.discard, self.medium.unit(), &bytes) {
            self.cache.write(&mut self.medium, bytes.start, &content);
        }
        self.note(Op::Erase { range: range.clone() });
    }

    fn wear_out(&mut self, bytes: &Range<usize>) {
        let sector = self.geometry.erase_unit as usize;
        for wear in &mut self.wear[bytes.start / sector..bytes.end / sector] {
            *wear += 1;
        }
    }

    fn clear_partly(&mut self, range: &Range<u64>, applied: Applied, strike: Strike) {
        if !self.geometry.must_erase() {
            if applied == Applied::All {
                self.clear(range);
            }
            return;
        }
        let sector = u64::from(self.geometry.erase_unit);
        let sectors = (range.end - range.start) / sector;
        let whole = match applied {
            Applied::Nothing => 0,
            Applied::All => sectors,
            Applied::Part if strike.bound => (strike.address - range.start) / sector,
            Applied::Part => sectors / 2,
        };
        let torn = range.start + whole * sector;
        if whole > 0 {
            self.clear(&(range.start..torn));
        }
        if torn < range.end {
            let bytes = index(torn)..index(torn + sector);
            let mut content = self.medium.bytes(bytes.clone()).to_vec();
            if applied == Applied::Part {
                EraseTear::Front(content.len() / 2).apply(&mut content, 0);
            }
            self.medium.overwrite(bytes.start, &content);
            self.wear_out(&bytes);
        }
        let bytes = index(range.start)..index(range.end);
        self.medium.set_condition(&bytes, Condition::new(Programming::Unreliable, Reading::Good));
        self.note_spoilt(bytes);
    }

    pub(crate) fn sync(&mut self) -> Result<(), SimError> {
        self.check_power()?;
        self.counts.syncs += 1;
        let strike = self.plan.next(SYNC, &(0..0));
        match strike.map(|strike| strike.effect) {
            None => {
                self.cache.sync(&self.medium);
                self.note(Op::Sync);
                Ok(())
            }
            Some(Effect::Lie) => Ok(()),
            Some(Effect::PowerLoss) => {
                self.powered = false;
                self.in_flight = Some(Op::Sync);
                Err(SimError::PowerLost)
            }
            Some(Effect::DropDirty { stale_reads }) => {
                self.cache.drop_dirty(&mut self.medium, stale_reads);
                self.note(Op::CacheDropped);
                Err(SimError::Sync)
            }
            Some(Effect::Fail(applied)) => {
                let pending = self.cache.pending().len();
                match applied {
                    Applied::Nothing => {}
                    Applied::Part => self.cache.sync_first(&mut self.medium, pending / 2),
                    Applied::All => {
                        self.cache.sync(&self.medium);
                        self.note(Op::Sync);
                    }
                }
                Err(SimError::Sync)
            }
            Some(_) => Err(SimError::Sync),
        }
    }
}

/// What a discarded range holds afterwards; nothing if the device ignores discards.
pub(crate) fn discarded_content(discard: Discard, unit: usize, range: &Range<usize>) -> Option<Vec<u8>> {
    let mut content = vec![0; range.len()];
    match discard {
        Discard::Ignored => return None,
        Discard::Zeros => {}
        Discard::Garbage => {
            for (number, bytes) in content.chunks_mut(unit).enumerate() {
                discarded(range.start / unit + number, bytes);
            }
        }
    }
    Some(content)
}
