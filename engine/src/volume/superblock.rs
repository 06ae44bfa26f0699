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
//!              16  . roots       varints, see `roots`, and the store's root
//! ```
//! A publish writes generation g to one home, syncs, then to the other, syncs. A home is erased only when it is full, or
//! has fallen behind, and only when the other one holds generation g. So what an erase left is told by its generation.

use super::format::{FORMAT_RECORD, FormatRecord, read_format};
use super::medium::{Buffer, PAGE};
use super::roots::Tail;
use super::{Fault, Volume};
use crate::codec::{Checksum, Fields, align_down, align_up, put_word};
use crate::device::BlockDevice;

const MAGIC: u16 = u16::from_le_bytes(*b"PB");
pub(crate) const HEADER: usize = 16;

/// Where the next publish goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Homes {
    /// Address in each home (those of both fit into 32 bits); 0: the home must be made anew first.
    next: [u32; 2],
    /// The home that is written first, if it has room or neither has.
    first: u8,
    /// The homes don't hold the same: nothing may be reused before the next publish.
    pub(crate) differ: bool,
    /// Homes that can't be written any more, as bits.
    pub(crate) bad: u8,
    /// A publish of this session is durable.
    settled: bool,
}

/// What stands before the roots of a publish.
#[derive(Default)]
struct PublishHeader {
    crc: u32,
    len: u16,
    generation: u64,
}

impl PublishHeader {
    /// Whether the magic is there.
    fn fields(&mut self, fields: &mut Fields<'_>) -> bool {
        let mut magic = MAGIC;
        fields.u32(&mut self.crc);
        fields.u16(&mut magic);
        fields.u16(&mut self.len);
        fields.u64(&mut self.generation);
        magic == MAGIC
    }
}

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    pub(crate) fn granule(&self) -> u32 {
        self.medium.unit().max(64)
    }

    /// Where a home begins, and where its publishes do.
    fn home(&self, home: usize) -> (u32, u32) {
        let start = if home == 0 { 0 } else { self.format.home };
        (start, start.wrapping_add(align_up(FORMAT_RECORD as u32, self.granule())))
    }

    /// Finds the newest publish and takes the roots from it. A publish that was torn may read as whole once and not the
    /// next time: then the search begins anew.
    pub(crate) fn read_roots(&mut self) -> Result<(), Fault> {
        // Of the newest publish.
        let mut address = 0;
        for attempt in 0..4 {
            self.generation = 0;
            address = 0;
            let (first, second) = (self.scan_home(0, &mut address), self.scan_home(1, &mut address));
            self.homes.differ = first != second;
            self.homes.first = (second <= first).into();
            if self.homes.differ && self.medium.must_erase() {
                // The home that fell behind may have been in the middle of an erase, and look blank where it is not.
                self.set_next(self.homes.first.into(), 0);
            }
            let mut publish = PublishHeader::default();
            if !self.publish_at(address, &mut publish) {
                continue;
            }
            if attempt == 0 && self.medium.missed()? != 0 {
                continue;
            }
            let len = u32::from(publish.len);
            let bytes = self.medium.view(u64::from(address), len).ok_or(Fault::Device)?;
            if bytes.len() < len as usize {
                return Err(self.medium.fault(Fault::Memory, len));
            }
            let fits = self.roots.decode(bytes.get_mut(HEADER..).unwrap_or_default());
            let behind = fits.ok_or(self.medium.fault(Fault::TooManyLogs, LOGS as u32))?;
            let at = self.medium.place_of(u64::from(address)).wrapping_add(HEADER);
            self.carry_store_root(at.wrapping_add(behind), false);
            // A checksum is no signature: what is no segment must not be taken for one, and chains go back in time.
            let count = self.segments.count();
            for log in self.roots.logs_mut() {
                let Tail { at, previous, .. } = log.tail;
                let older = previous.is_none() || previous.life < at.life;
                if at.segment >= count || previous.segment >= count || !older {
                    log.tail = Tail { log: log.id(), ..Tail::NONE };
                }
            }
            return Ok(());
        }
        // Nothing whole in either home, or a device that no longer answers. As long as the second home is not one of this
        // volume, the first publish was not made: a cut has ended the formatting.
        let missed = self.medium.missed()?;
        let begun = missed == 0 && matches!(self.homes.next, [_, 0]);
        if begun { Err(Fault::NotFormatted) } else { Err(self.medium.fault(Fault::Damaged, address)) }
    }

    /// Finds the newest publish of a home, and notes its address if none is newer yet; returns its generation. Damage is
    /// passed over: the other home is there for that. From the end backwards, as many bytes in one read as the buffer holds:
    /// on flash the first publish that is met is the newest.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn scan_home(&mut self, home: usize, found: &mut u32) -> u64 {
        let granule = self.granule();
        let must_erase = self.medium.must_erase();
        let (start, area) = self.home(home);
        let end = start.wrapping_add(self.format.home);
        let mut at = area.wrapping_add(align_down(u64::from(end.wrapping_sub(area)), granule) as u32);
        let mut read_from = at;
        let mut publish = PublishHeader::default();
        let (mut newest, mut newest_at, mut newest_end) = (0, 0, area);
        // Behind the last granule that holds anything.
        let mut used = area;
        while at > area {
            let behind = at;
            at = at.wrapping_sub(granule);
            if at < read_from {
                read_from = behind.saturating_sub(self.medium.scratch().len() as u32).max(start);
                let _ = self.medium.piece(u64::from(read_from), 1, behind.wrapping_sub(read_from));
            }
            if self.publish_at(at, &mut publish) {
                if publish.generation > newest {
                    (newest, newest_at) = (publish.generation, at);
                    newest_end = at.wrapping_add(align_up(u32::from(publish.len), granule));
                }
                if must_erase {
                    break;
                }
            } else if used == area && !self.medium.is_blank(u64::from(at), granule, false) {
                used = behind;
            }
        }
        // On flash a publish is never written over anything; behind a torn one, the rest of the page may be burnt.
        let mut next = newest_end;
        if must_erase && used > newest_end {
            next = align_up(used, PAGE.max(self.medium.write_unit()));
        }
        let mut record = FormatRecord::none();
        let formatted = read_format(&mut self.medium, start, &mut record).is_ok();
        self.set_next(home, if formatted && record == self.record() { next } else { 0 });
        if newest > self.generation {
            (self.generation, *found) = (newest, newest_at);
        }
        newest
    }

    /// Reads the header of the publish at `address`; `false` if there is no whole one, or none that can be read.
    #[inline(never)]
    fn publish_at(&mut self, address: u32, header: &mut PublishHeader) -> bool {
        let mut bytes = [0; HEADER];
        let seed = self.publish_sum(address);
        let address = u64::from(address);
        if self.medium.read(address, &mut bytes, 0).is_err() || !header.fields(&mut Fields::read(&mut bytes))
        {
            return false;
        }
        let len = u32::from(header.len);
        if len < HEADER as u32 || len > self.format.home {
            return false;
        }
        let sum = self.medium.checksum(seed, address.wrapping_add(4), len.wrapping_sub(4));
        sum.is_ok_and(|sum| sum.finish() == header.crc)
    }

    fn publish_sum(&self, address: u32) -> Checksum {
        Checksum::new().word(self.format.volume_id).word(address)
    }

    /// Makes the roots as they are in memory durable, in both homes: two writes, two syncs, and now and then the
    /// erase of a home. What the publish before named may be reused when this has returned.
    #[inline(never)]
    pub(crate) fn publish(&mut self) -> Result<(), Fault> {
        self.medium.check()?;
        self.generation = self.generation.wrapping_add(1);
        let mut first = usize::from(self.homes.first);
        let mut second = 1_usize.wrapping_sub(first);
        // A home is made anew while the other one holds everything, and holds it surely: what was read at open may be a
        // publish that a cut has torn, and not be there the next time. So the other one takes the new publish first.
        let len = self.build_publish();
        let size = align_up(len, self.granule());
        let (here, there) = (self.room(first), self.room(second));
        if here < size && there >= size {
            (first, second) = (second, first);
        }
        // For that, one of them must always have room. Filled in step they would be full at once.
        if self.medium.must_erase() && here.max(there) < size.wrapping_mul(2) {
            self.set_next(second, 0);
        }
        for home in [first, second] {
            let bit = 1_u8.wrapping_shl(home as u32);
            if self.homes.bad & bit != 0 {
                continue;
            }
            // The only home that holds anything is not erased: then the volume can only be read any more.
            let alone = self.homes.bad != 0 && self.generation > 1;
            if alone && self.medium.must_erase() && self.room(home) < size {
                self.medium.poison();
                return Err(Fault::Device);
            }
            if let Err(error) = self.write_home(home, len) {
                // A home that fails at the first publish after an open has failed for good, or is about to; with the
                // other one the volume goes on. Later failures poison like any other.
                let probing = !self.homes.settled && self.homes.bad == 0;
                if !probing || !matches!(error, Fault::Device) {
                    self.medium.poison();
                    return Err(error);
                }
                self.medium.forgive();
                self.homes.bad |= bit;
                continue;
            }
            // That can't be forgiven: with it the device may have lost whatever was written since the last one.
            self.medium.sync()?;
        }
        self.homes.settled = true;
        self.homes.differ = false;
        Ok(())
    }

    /// Writes what was built to one home. Where the next one goes is behind it, also if the sync fails: then none follows.
    #[inline(never)]
    fn write_home(&mut self, home: usize, len: u32) -> Result<(), Fault> {
        let (start, area) = self.home(home);
        let must_erase = self.medium.must_erase();
        let mut at = self.next(home);
        let size = align_up(len, self.granule());
        let anew = at == 0;
        if self.room(home) < size {
            at = area;
            if must_erase {
                self.medium.erase(u64::from(start), self.format.home)?;
            }
            if anew || must_erase {
                let done = self.write_format(start);
                self.build_publish();
                done?;
            }
        }
        let sum = self.publish_sum(at);
        let scratch = self.medium.scratch();
        let sum = sum.bytes(scratch.get(4..len as usize).unwrap_or_default());
        put_word(scratch, sum.finish());
        self.medium.write_scratch(u64::from(at), len)?;
        self.set_next(home, at.wrapping_add(size));
        Ok(())
    }

    /// Bytes behind the publishes that a home holds; 0 if it must be made anew.
    #[inline(never)]
    fn room(&self, home: usize) -> u32 {
        let end = self.home(home).0.wrapping_add(self.format.home);
        match self.next(home) {
            0 => 0,
            at => end.saturating_sub(at),
        }
    }

    fn next(&self, home: usize) -> u32 {
        self.homes.next.get(home).copied().unwrap_or(0)
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn set_next(&mut self, home: usize, at: u32) {
        if let Some(next) = self.homes.next.get_mut(home) {
            *next = at;
        }
    }

    /// Builds the publish in the scratch buffer, all but its checksum, and returns its length. The buffer was measured
    /// for the longest roots when the volume was opened.
    #[inline(never)]
    fn build_publish(&mut self) -> u32 {
        let scratch = self.medium.scratch();
        scratch.fill(0xFF);
        let body = scratch.get_mut(HEADER..).unwrap_or_default();
        let len = HEADER.wrapping_add(self.roots.encode(body));
        let len = self.carry_store_root(len, true) as u16;
        let mut publish = PublishHeader { crc: 0, len, generation: self.generation };
        publish.fields(&mut Fields::write(self.medium.scratch()));
        u32::from(len)
    }

    /// Overwrites both homes, where the device is not erased anyway: an earlier volume's publishes must not come back.
    pub(crate) fn wipe_homes(&mut self) -> Result<(), Fault> {
        if self.medium.must_erase() {
            return Ok(());
        }
        let unit = self.medium.write_unit();
        let (mut address, end) = (0, u64::from(self.format.home).wrapping_mul(2));
        self.medium.scratch().fill(0xFF);
        while address < end {
            self.medium.write_scratch(address, unit)?;
            address = address.wrapping_add(u64::from(unit));
        }
        self.medium.sync()
    }

    fn write_format(&mut self, address: u32) -> Result<(), Fault> {
        let record = self.record();
        let scratch = self.medium.scratch();
        scratch.fill(0xFF);
        if let Some(bytes) = scratch.first_chunk_mut() {
            record.encode(bytes);
        }
        self.medium.write_scratch(u64::from(address), FORMAT_RECORD as u32)
    }
}
