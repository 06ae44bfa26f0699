//! Two homes of appended publishes, and the one atomic switch on the device.
//!
//! ```text
//!   home 0                                              home 1
//!   ├ format record ┤ g-2 │ g-1 │ g │ (free) ...        ├ format record ┤ g-1 │ g │ (free) ...
//!
//!   a publish:  0  4 crc         over volume id, address and bytes 4..length
//!               4  2 magic       "PB"
//!               6  2 length      of the publish in bytes
//!               8  8 generation  the greatest one counts
//!              16  . roots       varints, see `roots`
//! ```
//! A publish writes generation g to one home, syncs, then to the other, syncs. A home is erased only when it is full
//! and only while the other one holds everything; after a cut between the two, the home that fell behind goes first.

use super::format::FORMAT_RECORD;
use super::medium::{Buffer, PAGE};
use super::roots::{Roots, TailRoot};
use super::{Fault, Volume};
use crate::codec::{Checksum, Put, Take, align_up};
use crate::device::BlockDevice;

const MAGIC: u16 = u16::from_le_bytes(*b"PB");
pub(crate) const HEADER: usize = 16;

/// Where the next publish goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Homes {
    /// Position in each home; 0: the home must be made anew first.
    next: [u32; 2],
    /// The home that is written first.
    first: usize,
    /// The homes don't hold the same: nothing may be reused before the next publish.
    pub(crate) differ: bool,
    /// Homes that can't be written any more, as bits.
    pub(crate) bad: u8,
    /// A publish of this session is durable.
    settled: bool,
}

struct Found {
    generation: u64,
    at: u32,
    next: u32,
}

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    pub(crate) fn granule(&self) -> u32 {
        let geometry = self.medium.geometry();
        geometry.write_unit.max(geometry.read_unit).max(64)
    }

    fn home(&self, home: usize) -> u64 {
        if home == 0 { 0 } else { u64::from(self.format.home) }
    }

    /// Finds the newest publish and takes the roots from it. A publish that was torn may read as whole once and not the
    /// next time: then the search begins anew.
    #[inline(never)]
    pub(crate) fn read_roots(&mut self) -> Result<(), Fault> {
        for attempt in 0..4 {
            let found = [self.scan_home(0), self.scan_home(1)];
            let [a, b] = &found;
            let best = usize::from(b.generation > a.generation);
            self.homes.next = [a.next, b.next];
            self.homes.differ = a.generation != b.generation;
            self.homes.first = 1_usize.wrapping_sub(best);
            let Some(newest) = found.get(best) else { break };
            self.generation = newest.generation;
            let address = self.home(best).wrapping_add(u64::from(newest.at));
            self.medium.detail = address as u32;
            let Ok(Some((_, len))) = self.publish_at(address) else { continue };
            if attempt == 0 && self.medium.has_missed()? {
                continue;
            }
            let mut roots = Roots::default();
            let fits = match self.medium.view(address, len as usize)? {
                Some(bytes) => roots.decode(bytes.get(HEADER..).unwrap_or_default()),
                None => return Err(self.medium.fault(Fault::Short, len)),
            };
            fits.ok_or(self.medium.fault(Fault::TooManyLogs, LOGS as u32))?;
            // A checksum is no signature: what is no segment must not be taken for one, and chains go back in time.
            let count = self.format.segments();
            for log in &mut roots.logs {
                let TailRoot { at, previous, .. } = log.tail;
                let older = previous.is_none() || previous.life < at.life;
                if at.segment >= count || previous.segment >= count || !older {
                    log.tail = TailRoot::default();
                }
            }
            self.roots = roots;
            return Ok(());
        }
        // Nothing whole in either home, or a device that no longer answers.
        let detail = self.medium.detail;
        self.medium.has_missed()?;
        Err(self.medium.fault(Fault::Damaged, detail))
    }

    /// The newest publish of a home. Damage is passed over: the other home is there for that.
    #[inline(never)]
    fn scan_home(&mut self, home: usize) -> Found {
        let granule = self.granule();
        let geometry = self.medium.geometry();
        let base = self.home(home);
        let format = super::format::read_format(&mut self.medium, base);
        let formatted = matches!(format, Ok(Some(format)) if format == self.format);
        let mut found = Found { generation: 0, at: 0, next: 0 };
        let mut at = align_up(FORMAT_RECORD as u32, granule);
        let (mut next, mut torn) = (at, false);
        while at.wrapping_add(granule) <= self.format.home {
            let address = base.wrapping_add(u64::from(at));
            if let Ok(Some((generation, len))) = self.publish_at(address) {
                let end = at.wrapping_add(align_up(len, granule));
                if generation >= found.generation {
                    found = Found { generation, at, next: end };
                }
                (at, next, torn) = (end, end, false);
            } else {
                let end = at.wrapping_add(granule);
                if !self.is_blank(address, granule, false) {
                    (next, torn) = (end, true);
                }
                at = end;
            }
        }
        // On flash a publish is never written over anything; behind a torn one, the rest of the page may be burnt.
        if geometry.must_erase() {
            found.next = if torn { align_up(next, PAGE.max(geometry.write_unit)) } else { next };
        } else if found.generation == 0 {
            found.next = align_up(FORMAT_RECORD as u32, granule);
        }
        if !formatted {
            found.next = 0;
        }
        found
    }

    /// Whether all of `[address, address + len)` reads as `0xFF` (or, if `zero` will do, as `0`). What can't be read is
    /// not blank.
    pub(crate) fn is_blank(&mut self, address: u64, len: u32, zero: bool) -> bool {
        let mut word = [0; 16];
        let mut first = None;
        let end = address.wrapping_add(u64::from(len));
        let mut address = address;
        while address < end {
            let part = (word.len() as u64).min(end.saturating_sub(address)) as usize;
            let part = word.get_mut(..part).unwrap_or_default();
            if self.medium.read(address, part, end).is_err() {
                return false;
            }
            for byte in part.iter() {
                let like = *first.get_or_insert(*byte);
                if *byte != like || !(like == 0xFF || zero && like == 0) {
                    return false;
                }
            }
            address = address.wrapping_add(part.len() as u64);
        }
        true
    }

    /// Generation and length of the publish at `address`, if there is a whole one.
    fn publish_at(&mut self, address: u64) -> Result<Option<(u64, u32)>, Fault> {
        let mut header = [0; HEADER];
        self.medium.read(address, &mut header, 0)?;
        let mut take = Take(&header);
        let crc = take.u32();
        let magic = take.u16();
        let len = u32::from(take.u16());
        let generation = take.u64();
        if magic != MAGIC || len < HEADER as u32 || len > self.format.home {
            return Ok(None);
        }
        let end = address.wrapping_add(u64::from(len));
        let body = len.saturating_sub(4);
        let sum = self.medium.checksum(self.publish_sum(address), address.wrapping_add(4), body, end)?;
        Ok((sum.finish() == crc).then_some((generation, len)))
    }

    fn publish_sum(&self, address: u64) -> Checksum {
        Checksum::new().word(self.format.volume_id).word(address as u32)
    }

    /// Makes the roots as they are in memory durable, in both homes: two writes, two syncs, and now and then the
    /// erase of a home. What the publish before named may be reused when this has returned.
    #[inline(never)]
    pub(crate) fn publish(&mut self) -> Result<(), Fault> {
        self.medium.check()?;
        self.generation = self.generation.wrapping_add(1);
        let first = self.homes.first;
        for home in [first, 1_usize.wrapping_sub(first)] {
            let bit = 1_u8.wrapping_shl(home as u32);
            if self.homes.bad & bit != 0 {
                continue;
            }
            if let Err(error) = self.publish_home(home) {
                // A home that fails at the first publish after an open has failed for good, or is about to; with the
                // other one the volume goes on. Later failures poison like any other.
                let probing = !self.homes.settled && self.homes.bad == 0;
                if !probing || !matches!(error, Fault::Device) {
                    self.medium.poison();
                    return Err(error);
                }
                self.medium.forgive();
                self.homes.bad |= bit;
            }
        }
        self.homes.settled = true;
        self.homes.differ = false;
        Ok(())
    }

    #[inline(never)]
    fn publish_home(&mut self, home: usize) -> Result<(), Fault> {
        let granule = self.granule();
        let geometry = self.medium.geometry();
        let mut len = self.build_publish()?;
        let at = self.homes.next.get(home).copied().unwrap_or(0);
        let area = align_up(FORMAT_RECORD as u32, granule);
        let full = at.wrapping_add(align_up(len, granule)) > self.format.home;
        if at == 0 || full {
            self.set_next(home, area);
            if geometry.must_erase() {
                self.medium.erase(self.home(home), self.format.home)?;
            }
            if at == 0 || geometry.must_erase() {
                self.write_format(home)?;
                len = self.build_publish()?;
            }
        }
        let at = self.homes.next.get(home).copied().unwrap_or(area);
        let address = self.home(home).wrapping_add(u64::from(at));
        let seed = self.publish_sum(address);
        let scratch = self.medium.scratch();
        let crc = seed.bytes(scratch.get(4..len as usize).unwrap_or_default()).finish();
        Put::new(scratch).u32(crc);
        self.medium.write_scratch(address, align_up(len, geometry.write_unit) as usize)?;
        self.medium.sync()?;
        self.set_next(home, at.wrapping_add(align_up(len, granule)));
        Ok(())
    }

    fn set_next(&mut self, home: usize, at: u32) {
        if let Some(next) = self.homes.next.get_mut(home) {
            *next = at;
        }
    }

    /// Builds the publish in the scratch buffer, all but its checksum, and returns its length.
    fn build_publish(&mut self) -> Result<u32, Fault> {
        let scratch = self.medium.scratch();
        scratch.fill(0xFF);
        let Some((header, body)) = scratch.split_at_mut_checked(HEADER) else {
            return Err(Fault::Short);
        };
        // The buffer was measured for the longest roots when the volume was opened.
        let len = HEADER.wrapping_add(self.roots.encode(body)) as u32;
        Put::new(header).u32(0).u16(MAGIC).u16(len as u16).u64(self.generation);
        Ok(len)
    }

    /// Overwrites both homes, where the device is not erased anyway: an earlier volume's publishes must not come back.
    pub(crate) fn wipe_homes(&mut self) -> Result<(), Fault> {
        if self.medium.geometry().must_erase() {
            return Ok(());
        }
        let unit = self.medium.geometry().write_unit;
        let (mut address, end) = (0, self.home(1).wrapping_mul(2));
        self.medium.scratch().fill(0xFF);
        while address < end {
            self.medium.write_scratch(address, unit as usize)?;
            address = address.wrapping_add(u64::from(unit));
        }
        self.medium.sync()
    }

    #[inline(never)]
    fn write_format(&mut self, home: usize) -> Result<(), Fault> {
        let bytes = self.format.encode();
        let unit = self.medium.geometry().write_unit;
        let scratch = self.medium.scratch();
        scratch.fill(0xFF);
        Put::new(scratch).bytes(&bytes);
        self.medium.write_scratch(self.home(home), align_up(FORMAT_RECORD as u32, unit) as usize)
    }
}
