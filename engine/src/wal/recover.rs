//! From what a cut left behind to a log that goes on.
//!
//! Only the last commit window can be torn, and it can be torn anywhere. So recovery reads the last segment from its
//! start, and segments before it while no record says that a later window was begun since. At the first place that
//! holds no whole record it searches on: a whole record of a later window or epoch proves that the damaged place had
//! been durable, so the damage is `Corrupt` and nothing is cut; otherwise nothing behind was ever acknowledged, and the
//! log ends there. Nothing is written: the next append begins a new epoch behind the cut, and until then recovery
//! comes to the same result however often it is run.

use super::index::{Index, Slot};
use super::log::Log;
use super::record::ALIGN;
use super::walk::{Unwritten, Walk};
use super::{Error, Report};
use crate::codec::align_up;
use crate::device::BlockDevice;
use crate::space::{Link, SegmentHeader};
use crate::volume::{Buffer, Fault, PAGE, Volume};

/// Reads one segment from its start to its last whole record, in steps.
struct Scan {
    header: SegmentHeader,
    walk: Walk,
    window: u8,
    /// The last record ended its window.
    committed: bool,
    /// A later window than that of the segment's header was begun: all before this segment is durable.
    progressed: bool,
    records: u64,
    lost: u64,
    /// Where the batch began that is not whole yet.
    batch: Option<(u32, u64)>,
    search: Option<u32>,
    unreadable: bool,
    done: bool,
}

impl Scan {
    fn new<D: BlockDevice, B: Buffer, const N: usize>(
        volume: &Volume<D, B, N>,
        header: SegmentHeader,
    ) -> Self {
        Self {
            header,
            walk: Walk::new(volume, &header),
            window: header.window,
            committed: false,
            progressed: false,
            records: 0,
            lost: 0,
            batch: None,
            search: None,
            unreadable: false,
            done: false,
        }
    }

    /// The window that the next record must be of.
    fn own_window(&self) -> u8 {
        if self.committed { self.window.wrapping_add(1) & 15 } else { self.window }
    }

    /// One record, or some places on which none is found. `floor`: entries before it are known to be durable.
    fn step<D: BlockDevice, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        volume: &mut Volume<D, B, N>,
        floor: u64,
        index: Option<&mut Index<SLOTS>>,
    ) {
        let Some(from) = self.search else {
            match self.walk.record(volume, Unwritten::NONE) {
                Ok(Some(record)) => {
                    if self.committed || record.head.window() != self.window {
                        self.progressed = true;
                    }
                    self.window = record.head.window();
                    self.committed = record.head.commit();
                    self.records = self.records.saturating_add(1);
                    if record.head.is_entry() {
                        if let Some(index) = index {
                            let epochs = record.epoch.saturating_sub(self.header.epoch);
                            let slot = Slot { position: record.position, epochs };
                            index.note(record.offset.saturating_sub(self.header.first), slot);
                        }
                        if !record.head.more() {
                            self.batch = None;
                        } else if self.batch.is_none() {
                            self.batch = Some((record.position, record.offset));
                        }
                    }
                    self.walk.pass(volume, &record);
                }
                found => {
                    self.unreadable |= found.is_err();
                    self.search = Some(self.walk.position);
                }
            }
            return;
        };
        match self.walk.search(volume, Unwritten::NONE, from, 64, &mut self.unreadable) {
            Err(next) => self.search = Some(next),
            Ok(None) => self.done = true,
            Ok(Some(record)) => {
                let later = record.epoch > self.walk.epoch
                    || record.head.window() != self.own_window()
                    || self.walk.offset < floor;
                if !later {
                    self.search = Some(record.position.saturating_add(ALIGN));
                    return;
                }
                self.lost = self.lost.saturating_add(record.offset.saturating_sub(self.walk.offset));
                self.walk.position = record.position;
                self.walk.offset = record.offset;
                if !record.head.is_epoch() {
                    self.walk.set_epoch(volume, record.epoch);
                }
                self.window = record.head.window();
                self.committed = false;
                self.progressed = true;
                self.batch = None;
                self.search = None;
            }
        }
    }
}

enum Phase {
    /// Is there a segment behind the newest one, whose header is damaged?
    Next(Scan, SegmentHeader),
    /// The last segment.
    Tail(Scan),
    /// A segment before it, which may share its window: `Scan` of it, and the first offset, window and link behind it.
    Back(Scan, SegmentHeader),
    Done,
}

/// Recovery of one log, in steps: see [`Log::recover`].
pub struct Recovery<B, const SLOTS: usize = 16> {
    log: Log<B, SLOTS>,
    phase: Phase,
    /// What the log will end with: state of the scan at its last whole record.
    tail: Option<Scan>,
    floor: u64,
    closed: bool,
    /// The tail's header stands where it should.
    header_whole: bool,
    lost: u64,
    replayed: u64,
    unreadable: bool,
    /// Segments behind the tail, of a window that was never acknowledged.
    dead: Link,
}

impl<B: Buffer, const SLOTS: usize> Recovery<B, SLOTS> {
    pub(super) fn start<D: BlockDevice, V: Buffer, const N: usize>(
        log: Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Self, Error<D::Error>> {
        let root = volume.root(log.id).copied().ok_or(crate::volume::Error::NoSuchLog)?;
        let mut recovery = Self {
            log,
            phase: Phase::Done,
            tail: None,
            floor: root.end,
            closed: root.closed,
            header_whole: true,
            lost: 0,
            replayed: 0,
            unreadable: false,
            dead: Link::NONE,
        };
        recovery.log.start = root.start;
        recovery.log.end = root.end;
        recovery.log.epoch = root.epoch;
        if root.newest.is_none() {
            return Ok(recovery);
        }
        let newest = root.newest;
        recovery.header_whole =
            volume.first_header(newest.segment).is_ok_and(|at| at.is_some_and(|h| h.at == newest));
        let header = match volume.read_header(newest) {
            Ok(Some(header)) => header,
            _ if root.tail.at == newest => root.tail.header(root.id),
            _ => {
                return Err(Error::Corrupt { address: volume.segment_address(newest.segment), offset: None });
            }
        };
        let seal = volume.read_seal(newest.segment).unwrap_or(None).filter(|seal| seal.header.at == newest);
        recovery.phase = Phase::Tail(Scan::new(volume, header));
        if let Some(seal) = seal {
            recovery.log.full = true;
            let at = seal.next;
            let taken =
                volume.first_header(at.segment).unwrap_or(None).is_some_and(|other| other.at.life >= at.life);
            if at.life > newest.life && !taken {
                let next = SegmentHeader {
                    log: root.id,
                    at,
                    epoch: seal.epoch,
                    first: seal.end,
                    ordinal: header.ordinal.saturating_add(1),
                    previous: newest,
                    jump: Link::NONE,
                    jump_first: 0,
                    window: seal.window,
                };
                recovery.phase = Phase::Next(Scan::new(volume, next), header);
            }
        }
        Ok(recovery)
    }

    /// Goes on for about `steps` records (or as many places of 256 bytes in which there are none); `true` when done.
    /// Each step reads about one record.
    pub fn step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        steps: u32,
    ) -> Result<bool, Error<D::Error>> {
        for _ in 0..steps {
            if matches!(self.phase, Phase::Done) {
                return Ok(true);
            }
            self.once(volume).map_err(|fault| self.log.explain(volume, fault))?;
        }
        Ok(matches!(self.phase, Phase::Done))
    }

    fn once<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault<D::Error>> {
        let (scan, index) = match &mut self.phase {
            Phase::Next(scan, _) | Phase::Tail(scan) => (scan, Some(&mut self.log.index)),
            Phase::Back(scan, _) => (scan, None),
            Phase::Done => return Ok(()),
        };
        if !scan.done {
            scan.step(volume, self.floor, index);
            return Ok(());
        }
        let phase = core::mem::replace(&mut self.phase, Phase::Done);
        match phase {
            Phase::Next(scan, previous) => {
                if scan.records == 0 && scan.lost == 0 {
                    // Nothing was ever written there: it is free.
                    volume.set_used(scan.header.at.segment, false);
                    self.log.index = Index::new();
                    self.phase = Phase::Tail(Scan::new(volume, previous));
                    return Ok(());
                }
                self.header_whole = false;
                self.log.full = false;
                self.ended(volume, scan)
            }
            Phase::Tail(scan) => self.ended(volume, scan),
            Phase::Back(scan, after) => self.went_back(volume, scan, &after),
            Phase::Done => Ok(()),
        }
    }

    /// The last segment is read.
    fn ended<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        scan: Scan,
    ) -> Result<(), Fault<D::Error>> {
        self.log.last = scan.header;
        self.lost = scan.lost;
        self.replayed = scan.records;
        self.unreadable = scan.unreadable;
        let (header, progressed) = (scan.header, scan.progressed);
        self.tail = Some(scan);
        self.go_back(volume, &header, progressed)
    }

    /// Goes on with the segment before `after`, unless all of it is known to be durable.
    fn go_back<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        after: &SegmentHeader,
        progressed: bool,
    ) -> Result<(), Fault<D::Error>> {
        let head_life = volume.root(self.log.id).map_or(0, |root| root.head_life);
        if !progressed
            && after.first > self.floor
            && after.previous.life >= head_life
            && !after.previous.is_none()
        {
            if let Some(header) = volume.read_header(after.previous)? {
                self.phase = Phase::Back(Scan::new(volume, header), *after);
                return Ok(());
            }
        }
        self.settle(volume)
    }

    /// A segment before is read: it must go on to where the one after it begins.
    fn went_back<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        scan: Scan,
        after: &SegmentHeader,
    ) -> Result<(), Fault<D::Error>> {
        let (header, mut progressed) = (scan.header, scan.progressed);
        if scan.walk.offset < after.first {
            if after.window == scan.own_window() {
                // Of the same window as all that follows: none of it was ever acknowledged.
                if self.dead.is_none() {
                    self.dead = self.tail.as_ref().map_or(Link::NONE, |tail| tail.header.at);
                }
                self.log.full = true;
                self.log.last = header;
                self.lost = scan.lost;
                self.replayed = self.replayed.saturating_add(scan.records);
                self.unreadable |= scan.unreadable;
                self.tail = Some(scan);
            } else {
                self.lost = self.lost.saturating_add(after.first.saturating_sub(scan.walk.offset));
                progressed = true;
            }
        } else {
            self.replayed = self.replayed.saturating_add(scan.records);
        }
        self.go_back(volume, &header, progressed)
    }

    /// All is read: where does the log end, and where does it go on?
    fn settle<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault<D::Error>> {
        let Some(tail) = &mut self.tail else { return Ok(()) };
        if self.unreadable {
            // One bad unit, or a device that no longer answers? What was read at open must still be there.
            let mut byte = [0; 128];
            volume.medium.forget();
            volume.medium.read(0, &mut byte, 0)?;
        }
        if let Some((position, offset)) = tail.batch {
            tail.walk.position = position;
            tail.walk.offset = offset;
            tail.committed = false;
        }
        if tail.walk.offset < self.floor {
            self.lost = self.lost.saturating_add(self.floor.saturating_sub(tail.walk.offset));
            tail.walk.offset = self.floor;
        }
        let log = &mut self.log;
        log.end = tail.walk.offset;
        log.durable = log.end;
        log.epoch = log.epoch.max(tail.walk.epoch);
        log.window = tail.own_window();
        log.full |= !self.header_whole;
        log.dead = self.dead;
        let root = volume.root(log.id).copied().unwrap_or_default();
        log.report = Report {
            clean: self.closed && root.end == log.end && root.epoch == log.epoch,
            replayed: self.replayed,
            damaged: self.lost,
            cut: None,
            unreadable: self.unreadable,
        };
        log.unsure = !log.report.clean;
        log.resume(volume, tail.walk.position, tail.committed, tail.batch.is_some());
        log.sweep(volume)
    }

    /// The recovered log, to read from and append to.
    pub fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Log<B, SLOTS>, Error<D::Error>> {
        while !self.step(volume, u32::MAX)? {}
        Ok(self.log)
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Finds out where the next epoch can begin, behind the end of the log at `position`.
    fn resume<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        position: u32,
        committed: bool,
        batch: bool,
    ) {
        let geometry = volume.format.geometry;
        let address = volume.segment_address(self.last.at.segment);
        let mut resume = align_up(position, geometry.write_unit);
        let mut torn = batch || !self.dead.is_none() || !committed && !self.report.clean;
        if !geometry.must_erase() {
            let left = volume.format.segment.saturating_sub(resume).min(geometry.write_unit);
            torn |=
                !self.report.clean && !volume.is_blank(address.saturating_add(u64::from(resume)), left, true);
        } else {
            // Not one unit that the cut may have burnt is programmed again: neither what is visibly written, nor, as
            // no write crosses a page, the rest of its page.
            let end = align_up(position, geometry.erase_unit).min(volume.format.segment);
            let mut visible = position;
            let mut at = position;
            while at < end {
                let len = 16.min(end.saturating_sub(at));
                if !volume.is_blank(address.saturating_add(u64::from(at)), len, false) {
                    visible = at.saturating_add(len);
                }
                at = at.saturating_add(len);
            }
            if visible > position || !committed {
                resume = align_up(visible, PAGE.max(geometry.write_unit));
            }
            torn |= visible > position;
            self.erased = if resume & geometry.erase_unit.wrapping_sub(1) == 0 {
                resume
            } else {
                align_up(resume, geometry.erase_unit)
            };
        }
        if torn {
            self.report.cut = Some(address.saturating_add(u64::from(position)));
        }
        self.written = resume;
    }
}
