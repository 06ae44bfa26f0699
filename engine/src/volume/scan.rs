//! The pool at open, and the segments that change hands afterwards.

use super::medium::Buffer;
use super::{Error, Fault, Volume};
use crate::device::BlockDevice;
use crate::space::{Link, SEAL, SEGMENT_HEADER, Seal, SegmentHeader, TRAIL};

/// So many lives one publish reserves. A session that takes segments uses up as many at least.
const LIVES: u32 = 256;

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    pub(crate) fn segment_address(&self, segment: u32) -> u64 {
        let shift = self.format.segment.trailing_zeros();
        self.format.pool.wrapping_add(u64::from(segment) << shift)
    }

    /// Reads the headers of at most `segments` more segments; `true` when the volume is ready. One read of 56 bytes
    /// (or of one read unit) for each segment, but for those that the superblock knows to be the last ones of a log:
    /// opening that log reads them anyway.
    #[inline(never)]
    pub fn scan(&mut self, segments: u32) -> Result<bool, Error<D::Error>> {
        let count = self.format.segments();
        let until = self.scanned.wrapping_add(segments).min(count);
        while self.scanned < until {
            let segment = self.scanned;
            self.scanned = self.scanned.wrapping_add(1);
            // What can't be read is like what was never written: a log that misses it will say so.
            let known = self.roots.logs.iter().find(|root| root.holds_tail(segment));
            let header = match known.map(|root| root.tail.header(root.id)) {
                Some(header) => header,
                None => match self.first_header(segment) {
                    Some(header) => header,
                    None => continue,
                },
            };
            let at = header.at;
            if at.life > self.newest_life {
                self.newest_life = at.life;
                self.segments.rotor = segment.wrapping_add(1);
            }
            let Some(root) = self.root_mut(header.log) else { continue };
            if root.head_life != 0 && at.life >= root.head_life {
                root.sum = root.sum.wrapping_add(at.mark()) & TRAIL;
                if at.life > root.newest.life {
                    (root.newest, root.trail) = (at, header.trail_after());
                }
                self.set_used(segment, true);
            }
        }
        if self.scanned < count {
            return Ok(false);
        }
        self.next_life = self.roots.lives.max(self.newest_life.wrapping_add(1));
        for index in 0..self.roots.logs.len() {
            self.settle(index);
        }
        self.settle_claims();
        let missed = self.medium.has_missed().map_err(|fault| self.medium.explain(fault))?;
        if missed && !self.missed {
            // Once more: it may have passed.
            self.missed = true;
            self.scanned = 0;
            for root in &mut self.roots.logs {
                (root.newest, root.sum) = (Link::NONE, 0);
            }
            return self.scan(segments);
        }
        self.missed = missed;
        for index in 0..self.roots.retired.len() {
            if let Some(segment) = self.roots.retired.get(index).copied() {
                self.set_used(segment, true);
            }
        }
        Ok(true)
    }

    /// Sees to it that no segment of a log is taken for free because its header is damaged.
    #[inline(never)]
    fn settle(&mut self, index: usize) {
        let Some(root) = self.roots.logs.get(index).copied() else { return };
        let (mut newest, mut trail) = if root.tail.at.life > root.newest.life {
            (root.tail.at, root.tail.header(root.id).trail_after())
        } else {
            (root.newest, root.trail)
        };
        if newest.is_none() || newest.life < root.head_life {
            return;
        }
        let mut sealed = false;
        let mut next = Link::NONE;
        self.set_used(newest.segment, true);
        // Lives rise from seal to seal, so this comes to an end.
        while let Some(seal) = self.read_seal(newest.segment).filter(|seal| seal.header.at == newest) {
            sealed = true;
            if seal.next.life <= newest.life || seal.next.segment >= self.format.segments() {
                break;
            }
            match self.first_header(seal.next.segment) {
                // It could not be read a moment ago.
                Some(header) if header.at == seal.next && header.log == root.id => {
                    (newest, trail, sealed) = (header.at, header.trail_after(), false);
                }
                Some(header) if header.at.life > seal.next.life => break,
                _ => {
                    next = seal.next;
                    self.set_used(next.segment, true);
                    break;
                }
            }
            self.set_used(newest.segment, true);
        }
        let odd = trail.wrapping_sub(root.head_trail) & TRAIL != root.sum;
        if odd {
            let mut at = newest;
            while at.life >= root.head_life && !at.is_none() {
                self.set_used(at.segment, true);
                at = match self.read_header(at) {
                    Some(header) => header.previous,
                    None if at == root.tail.at => root.tail.previous,
                    None => break,
                };
            }
        }
        if let Some(root) = self.roots.logs.get_mut(index) {
            (root.newest, root.sealed, root.next, root.odd) = (newest, sealed, next, odd);
        }
    }

    /// A seal may name a segment that was never written, and that another log was given later.
    fn settle_claims(&mut self) {
        for index in 0..self.roots.logs.len() {
            let Some(next) = self.roots.logs.get(index).map(|root| root.next) else { continue };
            let later = |at: Link| at.segment == next.segment && at.life > next.life;
            if self.roots.logs.iter().any(|root| later(root.next) || later(root.newest))
                && let Some(root) = self.roots.logs.get_mut(index)
            {
                root.next = Link::NONE;
            }
        }
    }

    pub(crate) fn set_used(&mut self, segment: u32, used: bool) {
        if used || !self.roots.retired.contains(&segment) {
            self.segments.set(self.medium.behind(), segment, used);
        }
    }

    /// Frees a segment that log `id` held in one life, unless it has been given to somebody else since.
    pub(crate) fn free_segment(&mut self, id: u16, at: Link) {
        let later = |other: Link| other.segment == at.segment && other.life > at.life;
        let claimed =
            self.roots.logs.iter().any(|root| root.id != id && (later(root.newest) || later(root.next)));
        if !claimed && !self.first_header(at.segment).is_some_and(|header| later(header.at)) {
            self.set_used(at.segment, false);
        }
    }

    /// The header at the start of `segment`. One that can't be read is none.
    pub(crate) fn first_header(&mut self, segment: u32) -> Option<SegmentHeader> {
        if segment >= self.format.segments() {
            return None;
        }
        let mut bytes = [0; SEGMENT_HEADER];
        self.medium.read(self.segment_address(segment), &mut bytes, 0).ok()?;
        SegmentHeader::decode(&bytes, self.format.volume_id, segment)
    }

    /// The header of a segment in the life that `at` names, from either end of it.
    pub(crate) fn read_header(&mut self, at: Link) -> Option<SegmentHeader> {
        match self.first_header(at.segment) {
            Some(header) if header.at == at => Some(header),
            _ => self.read_seal_of(at).map(|seal| seal.header),
        }
    }

    /// The header of the last segment of a log before `life`, by reading them all: for when the chain is broken.
    pub(crate) fn newest_before(&mut self, log: u16, life: u32) -> Option<SegmentHeader> {
        let head_life = self.root(log)?.head_life;
        let mut newest = None;
        for segment in 0..self.format.segments() {
            if let Some(header) = self.first_header(segment)
                && header.log == log
                && (head_life..life).contains(&header.at.life)
                && newest.is_none_or(|other: SegmentHeader| other.at.life < header.at.life)
            {
                newest = Some(header);
            }
        }
        newest
    }

    fn read_seal_end(&mut self, segment: u32) -> Option<(Seal, [u8; SEAL])> {
        if segment >= self.format.segments() {
            return None;
        }
        let mut bytes = [0; SEAL];
        let at = self
            .segment_address(segment)
            .wrapping_add(u64::from(self.format.segment))
            .wrapping_sub(SEAL as u64);
        self.medium.read(at, &mut bytes, 0).ok()?;
        Seal::decode(&bytes, self.format.volume_id, segment).map(|seal| (seal, bytes))
    }

    /// The seal of a segment in the life that `at` names; its slots are not proved.
    pub(crate) fn read_seal_of(&mut self, at: Link) -> Option<Seal> {
        self.read_seal_end(at.segment).map(|(seal, _)| seal).filter(|seal| seal.header.at == at)
    }

    /// The seal of a segment, if it is whole: slots and all.
    fn read_seal(&mut self, segment: u32) -> Option<Seal> {
        let (seal, bytes) = self.read_seal_end(segment)?;
        let slots = u32::from(seal.slots).wrapping_mul(4);
        let end = self.format.segment.wrapping_sub(SEAL as u32);
        let start = end.checked_sub(slots)?;
        let sum = Seal::sum(self.format.volume_id, segment);
        let address = self.segment_address(segment).wrapping_add(u64::from(start));
        let sum = self.medium.checksum(sum, address, slots, 0).ok()?;
        Seal::verify(&bytes, sum).then_some(seal)
    }

    /// Takes a free segment and gives it its next life. On flash its first erase unit is erased; one that can't be is
    /// retired, and the next one is tried.
    #[inline(never)]
    ///
    /// Lives are reserved by a publish, many at a time. With `publishes` the caller is about to publish anyway, before
    /// it writes anything into the segment.
    pub(crate) fn take_segment(&mut self, reserve: bool, publishes: bool) -> Result<Link, Fault> {
        self.medium.check()?;
        let reserved = self.next_life < self.roots.lives;
        if !reserved {
            self.roots.lives = self.next_life.wrapping_add(LIVES);
        }
        if self.homes.differ || !reserved && !publishes {
            self.publish()?;
        }
        let kept = if reserve { 0 } else { u32::from(self.format.reserve) };
        while self.segments.free() > kept {
            let Some(segment) = self.segments.take(self.medium.behind()) else { break };
            let life = self.next_life;
            self.next_life = life.wrapping_add(1);
            let erase_unit = self.format.geometry.erase_unit;
            if erase_unit != 0 {
                match self.medium.erase(self.segment_address(segment), erase_unit) {
                    Ok(()) => {}
                    Err(Fault::Device) if self.retire(segment) => continue,
                    Err(error) => return Err(error),
                }
            }
            return Ok(Link { segment, life });
        }
        Err(Fault::Full)
    }

    /// Notes that a segment is never to be given out again; `false` if the table is full.
    pub(crate) fn retire(&mut self, segment: u32) -> bool {
        self.roots.retired.contains(&segment) || self.roots.retired.push(segment).is_ok()
    }
}
