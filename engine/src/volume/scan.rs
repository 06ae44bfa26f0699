//! The pool at open, and the segments that change hands afterwards.

use super::medium::Buffer;
use super::roots::LogRoot;
use super::{Error, Fault, Volume};
use crate::device::BlockDevice;
use crate::space::{Link, SEAL, SEGMENT_HEADER, Seal, SegmentHeader, TRAIL};

/// So many lives one publish reserves. A session that takes segments uses up as many at least.
const LIVES: u32 = 256;

/// Where a header was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// At the start of its segment.
    First,
    /// In the seal.
    Second,
    /// In the superblock alone.
    Noted,
    /// Nowhere.
    None,
}

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    /// Where a place in a segment is on the device.
    pub(crate) fn address(&self, segment: u32, position: u32) -> u64 {
        let before = u64::from(segment).wrapping_mul(u64::from(self.format.segment));
        self.format.pool().wrapping_add(before).wrapping_add(u64::from(position))
    }

    /// Reads the headers of at most `segments` more segments; `true` when the volume is ready. One read of 56 bytes
    /// (or of one read unit) for each segment; none if the superblock says that all of them are free, and the device is not
    /// erased.
    pub fn scan(&mut self, segments: u32) -> Result<bool, Error<D::Error>> {
        match self.try_scan(segments) {
            Ok(()) => Ok(self.scanned == self.segments.count()),
            Err(fault) => Err(self.explain(fault)),
        }
    }

    pub(super) fn try_scan(&mut self, segments: u32) -> Result<(), Fault> {
        let count = self.segments.count();
        // On flash the last life that was given says where the next search begins, so that wear is spread.
        if self.scanned == 0 && !self.medium.must_erase() && self.is_pool_free() {
            self.scanned = count;
        }
        let mut left = segments;
        loop {
            while self.scanned < count {
                if left == 0 {
                    return Ok(());
                }
                left = left.wrapping_sub(1);
                self.note_segment(self.scanned);
                self.scanned = self.scanned.wrapping_add(1);
            }
            self.next_life = self.next_life.max(self.roots.lives);
            for index in 0..self.roots.logs().len() {
                self.settle_log(index);
            }
            self.settle_claims();
            let missed = self.medium.missed()? != 0;
            if !missed || self.roots.missed {
                self.roots.missed = missed;
                break;
            }
            // Once more: it may have passed.
            self.roots.missed = true;
            self.scanned = 0;
            for root in self.roots.logs_mut() {
                (root.newest, root.sum) = (Link::NONE, 0);
            }
        }
        for segment in self.roots.retired() {
            self.segments.set(self.medium.behind(), u32::from(*segment), true);
        }
        Ok(())
    }

    /// Whether the superblock alone proves that no log holds a segment: those of a log have lives from its head's on, and none
    /// was ever given a life that is not reserved. So it is after every log was finished. While one home says less than the
    /// other, neither is believed in this.
    fn is_pool_free(&self) -> bool {
        let lives = self.roots.lives;
        let is_empty = |root: &LogRoot| root.head_life == 0 || root.head_life >= lives;
        lives != 0 && !self.homes.differ && self.roots.logs().iter().all(is_empty)
    }

    /// Notes whose a segment is. What can't be read is like what was never written: a log that misses it will say so.
    fn note_segment(&mut self, segment: u32) {
        let mut header = SegmentHeader::default();
        if !self.first_header(segment, &mut header) {
            return;
        }
        let at = header.at;
        if at.life >= self.next_life {
            self.next_life = at.life.wrapping_add(1);
            self.segments.rotor = segment.wrapping_add(1);
        }
        let Some(root) = self.root_mut(header.log) else { return };
        if root.head_life != 0 && at.life >= root.head_life {
            root.sum = root.sum.wrapping_add(at.mark()) & TRAIL;
            if at.life > root.newest.life {
                (root.newest, root.trail) = (at, header.trail_after());
            }
            self.set_used(segment, true);
        }
    }

    /// Sees to it that no segment of a log is taken for free because its header is damaged.
    #[inline(never)]
    fn settle_log(&mut self, index: usize) {
        let Some(root) = self.roots.logs().get(index) else { return };
        let LogRoot { head_life, mut newest, mut trail, .. } = *root;
        let id = root.id();
        if root.tail.at.life > newest.life && root.tail.at.life >= head_life {
            (newest, trail) = (root.tail.at, root.tail.at.trail_after(root.tail.trail));
        }
        if newest.is_none() {
            return;
        }
        let mut header = SegmentHeader::default();
        let (mut sealed, mut next) = (false, Link::NONE);
        self.set_used(newest.segment, true);
        // Lives rise from seal to seal, so this comes to an end.
        while self.next_header(newest, id, &mut header) {
            sealed = true;
            let named = header.at;
            if named.life <= newest.life || named.segment >= self.segments.count() {
                break;
            }
            let whole = self.first_header(named.segment, &mut header);
            if whole && header.at.life > named.life {
                break;
            }
            self.set_used(named.segment, true);
            if !whole || header.at != named || header.log != id {
                next = named;
                break;
            }
            // It could not be read a moment ago.
            (newest, trail, sealed) = (named, header.trail_after(), false);
        }
        let Some(root) = self.roots.logs_mut().get_mut(index) else { return };
        let odd = trail.wrapping_sub(root.head_trail) & TRAIL != root.sum;
        (root.newest, root.sealed, root.next, root.odd) = (newest, sealed, next, odd);
        let mut at = newest;
        while odd && !at.is_none() && at.life >= head_life {
            self.set_used(at.segment, true);
            if self.read_header(at, &mut header) == Copy::None {
                break;
            }
            at = header.previous;
        }
    }

    /// A seal may name a segment that was never written, and that another log was given later.
    fn settle_claims(&mut self) {
        for index in 0..self.roots.logs().len() {
            let next = self.roots.logs().get(index).map_or(Link::NONE, |root| root.next);
            if self.is_claimed_since(next)
                && let Some(root) = self.roots.logs_mut().get_mut(index)
            {
                root.next = Link::NONE;
            }
        }
    }

    /// Whether a log holds the segment in a later life, as far as that was found without its header.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn is_claimed_since(&self, at: Link) -> bool {
        let later = |other: Link| other.segment == at.segment && other.life > at.life;
        self.roots.logs().iter().any(|root| later(root.newest) || later(root.next))
    }

    #[inline(never)]
    pub(crate) fn set_used(&mut self, segment: u32, used: bool) {
        if used || !self.is_retired(segment) {
            self.segments.set(self.medium.behind(), segment, used);
        }
    }

    /// Frees a segment that a log held in one life, unless it has been given to somebody since.
    #[inline(never)]
    pub(crate) fn free_segment(&mut self, at: Link) {
        let mut header = SegmentHeader::default();
        let whole = self.first_header(at.segment, &mut header);
        if !(whole && header.at.life > at.life || self.is_claimed_since(at)) {
            self.set_used(at.segment, false);
        }
    }

    /// Reads the header at the start of `segment`. One that can't be read is none.
    #[inline(never)]
    pub(crate) fn first_header(&mut self, segment: u32, header: &mut SegmentHeader) -> bool {
        let mut bytes = [0; SEGMENT_HEADER];
        segment < self.segments.count()
            && self.medium.read(self.address(segment, 0), &mut bytes, 0).is_ok()
            && header.decode(&mut bytes, self.format.volume_id, segment)
    }

    /// Reads the header of a segment in the life that `at` names, from wherever it can be had.
    #[inline(never)]
    pub(crate) fn read_header(&mut self, at: Link, header: &mut SegmentHeader) -> Copy {
        if self.first_header(at.segment, header) && header.at == at {
            return Copy::First;
        }
        if self.read_seal(at, false, header, &mut { Seal::NONE }) {
            return Copy::Second;
        }
        match self.roots.logs().iter().find(|root| root.tail.at == at && !at.is_none()) {
            Some(root) => {
                root.tail.copy_to(header);
                Copy::Noted
            }
            None => Copy::None,
        }
    }

    /// Reads the seal of a segment in the life that `at` names, and the header in it; with `whole` its slots are proved, too.
    #[inline(never)]
    pub(crate) fn read_seal(
        &mut self,
        at: Link,
        whole: bool,
        header: &mut SegmentHeader,
        seal: &mut Seal,
    ) -> bool {
        let mut bytes = [0; SEAL];
        let end = self.format.segment.wrapping_sub(SEAL as u32);
        let found = at.segment < self.segments.count()
            && self.medium.read(self.address(at.segment, end), &mut bytes, 0).is_ok()
            && seal.decode(header, &mut bytes, self.format.volume_id, at.segment)
            && header.at == at;
        if !found || !whole {
            return found;
        }
        let slots = u32::from(seal.slots).wrapping_mul(4);
        let address = self.address(at.segment, end.saturating_sub(slots));
        let sum = self.medium.checksum(Seal::sum(self.format.volume_id, at.segment), address, slots);
        sum.is_ok_and(|sum| Seal::verify(&bytes, sum))
    }

    /// What the header behind the segment at `at` must say, by the seal of that one. Where the seal should stand, the
    /// header itself may: of two writes in a row, the second went to the place of the first.
    #[inline(never)]
    pub(crate) fn next_header(&mut self, at: Link, log: u16, header: &mut SegmentHeader) -> bool {
        let mut seal = Seal::NONE;
        if self.read_seal(at, true, header, &mut seal) {
            (header.previous, header.jump) = (at, Link::NONE);
            header.trail = header.trail_after();
            header.ordinal = header.ordinal.wrapping_add(1);
            (header.at, header.epoch) = (seal.next, seal.epoch);
            (header.first, header.window) = (seal.end, seal.window);
            return true;
        }
        let mut bytes = [0; SEGMENT_HEADER];
        let sector = self.medium.write_unit().max(512);
        let address = self.address(at.segment, self.format.segment.saturating_sub(sector));
        let volume_id = self.format.volume_id;
        if self.medium.read(address, &mut bytes, 0).is_err() {
            return false;
        }
        // For which segment it was written it does not say, but its checksum does.
        header.decode(&mut bytes, volume_id, 0);
        header.previous == at
            && header.log == log
            && (0..self.segments.count()).any(|segment| header.decode(&mut bytes, volume_id, segment))
    }

    /// Reads the header of the last segment of a log before `life`, by reading them all: for when the chain is broken. What
    /// the log has given up has smaller lives than the segment that the superblock names; so it is that one at least, be its
    /// own header there or not.
    pub(crate) fn newest_before(&mut self, log: u16, life: u32, newest: &mut SegmentHeader) -> Copy {
        let mut copy = Copy::None;
        newest.at = Link::NONE;
        let mut lives = 0..life;
        if let Some(root) = self.root(log) {
            lives.start = root.head_life;
            if !root.tail.at.is_none() && lives.contains(&root.tail.at.life) {
                root.tail.copy_to(newest);
                copy = Copy::Noted;
            }
        }
        let mut header = SegmentHeader::default();
        for segment in 0..self.segments.count() {
            if self.first_header(segment, &mut header)
                && header.log == log
                && lives.contains(&header.at.life)
                && newest.at.life <= header.at.life
            {
                newest.copy_from(&header);
                copy = Copy::First;
            }
        }
        copy
    }

    /// Goes back from `header` over the segment at `lost`, the one before it, of which neither copy of the header is left.
    /// Trail and ordinal tell the one before that from what a truncation left. `end`: the offset up to which its entries
    /// count, as far as its seal tells. Reads the header of every segment of the pool.
    #[inline(never)]
    pub(crate) fn leap(&mut self, lost: Link, header: &mut SegmentHeader, end: &mut u64) -> bool {
        let mut before = SegmentHeader::default();
        for segment in 0..self.segments.count() {
            if self.first_header(segment, &mut before)
                && before.log == header.log
                // Chains go back in time, whatever an image says.
                && before.at.life < lost.life
                && before.ordinal.wrapping_add(2) == header.ordinal
                && before.trail_after().wrapping_add(lost.mark()) & TRAIL == header.trail
            {
                header.copy_from(&before);
                let mut seal = Seal::NONE;
                let sealed = self.read_seal(header.at, true, &mut before, &mut seal) && seal.next == lost;
                *end = if sealed { seal.end } else { header.first };
                return true;
            }
        }
        false
    }

    /// Takes a free segment, to be named by `at`, and gives it its next life, if more than `kept` are free. On flash its
    /// first erase unit is erased; one that can't be is retired, and the next one is tried.
    ///
    /// Lives are reserved by a publish, many at a time. With `publishes` the caller is about to publish anyway, before
    /// it writes anything into the segment.
    #[inline(never)]
    pub(crate) fn take_segment(&mut self, kept: u32, publishes: bool, at: &mut Link) -> Result<(), Fault> {
        self.medium.check()?;
        let reserved = self.next_life < self.roots.lives;
        if !reserved {
            self.roots.lives = self.next_life.wrapping_add(LIVES);
        }
        if self.homes.differ || !reserved && !publishes {
            self.publish()?;
        }
        while self.segments.free() > kept {
            let Some(segment) = self.segments.take(self.medium.behind()) else { break };
            let life = self.next_life;
            self.next_life = life.wrapping_add(1);
            let erase_unit = self.medium.erase_unit();
            if erase_unit != 0 {
                match self.medium.erase(self.address(segment, 0), erase_unit) {
                    Ok(()) => {}
                    Err(Fault::Device) if self.retire(segment) => continue,
                    Err(error) => return Err(error),
                }
            }
            *at = Link { segment, life };
            return Ok(());
        }
        Err(Fault::Full)
    }

    fn is_retired(&self, segment: u32) -> bool {
        self.roots.retired().iter().any(|retired| u32::from(*retired) == segment)
    }

    /// Notes that a segment is never to be given out again; `false` if the table is full.
    #[inline(never)]
    pub(crate) fn retire(&mut self, segment: u32) -> bool {
        self.is_retired(segment) || self.roots.retire(segment as u16)
    }
}
