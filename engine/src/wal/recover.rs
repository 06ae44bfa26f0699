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
use crate::space::{Link, SEGMENT_HEADER, SegmentHeader};
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
    /// An entry was seen that ends a batch, or is none: one that began in the segment before is whole.
    whole: bool,
    /// Behind the end stands a whole record of the window that was cut.
    stray: bool,
    /// The unit behind the last commit holds something; looked at while it is in the buffer anyway. For devices that are
    /// not erased: on flash `resume` looks further.
    dirty: bool,
    /// Neither copy of the segment's header is on the device.
    bare: bool,
    search: Option<u32>,
    done: bool,
}

impl Scan {
    fn new<D: BlockDevice, B: Buffer, const N: usize>(
        volume: &Volume<D, B, N>,
        header: SegmentHeader,
        bare: bool,
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
            whole: false,
            stray: false,
            dirty: false,
            bare,
            search: None,
            done: false,
        }
    }

    /// The window that the next record must be of.
    fn own_window(&self) -> u8 {
        if self.committed { self.window.wrapping_add(1) & 15 } else { self.window }
    }

    /// One record, or some places on which none is found. `floor`: entries before it are known to be durable.
    #[inline(never)]
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
                    self.records = self.records.wrapping_add(1);
                    if record.head.is_entry() {
                        if let Some(index) = index {
                            let epochs = record.epoch.saturating_sub(self.header.epoch);
                            let slot = Slot { position: record.position, epochs };
                            index.note(record.offset.saturating_sub(self.header.first), slot);
                        }
                        if !record.head.more() {
                            self.batch = None;
                            self.whole = true;
                        } else if self.batch.is_none() {
                            self.batch = Some((record.position, record.offset));
                        }
                    }
                    self.walk.pass(volume, &record);
                }
                _ => {
                    self.search = Some(self.walk.position);
                    let geometry = volume.format.geometry;
                    if self.committed && !geometry.must_erase() {
                        let left = volume.format.segment.saturating_sub(self.walk.position);
                        let unit = left.min(geometry.write_unit);
                        self.dirty = !volume.is_blank(self.walk.address(volume), unit, true);
                    }
                }
            }
            return;
        };
        match self.walk.search(volume, Unwritten::NONE, from, 64) {
            Err(next) => self.search = Some(next),
            Ok(None) => self.done = true,
            Ok(Some(record)) => {
                let later = record.epoch > self.walk.epoch
                    || record.head.window() != self.own_window()
                    || self.walk.offset < floor;
                if !later {
                    self.stray = true;
                    self.search = Some(record.position.wrapping_add(ALIGN));
                    return;
                }
                self.lost = self.lost.wrapping_add(record.offset.saturating_sub(self.walk.offset));
                self.walk.position = record.position;
                self.walk.offset = record.offset;
                if !record.head.is_epoch() {
                    self.walk.set_epoch(volume, record.epoch);
                }
                self.window = record.head.window();
                self.committed = false;
                self.progressed = true;
                self.whole = true;
                self.batch = None;
                self.stray = false;
                self.search = None;
            }
        }
    }
}

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A segment behind the newest one, whose header must be damaged if it is one.
    Next,
    /// The last segment.
    Tail,
    /// A segment before it, which may share its window.
    Back,
    Done,
}

/// Recovery of one log, in steps: see [`Log::recover`].
pub struct Recovery<B, const SLOTS: usize = 16> {
    log: Log<B, SLOTS>,
    phase: Phase,
    scan: Option<Scan>,
    /// The segment behind the one that is read: `Back`; before it: `Next`.
    other: SegmentHeader,
    /// A batch that goes on into `other` ends there.
    whole: bool,
    /// Where the log ends, as far as is known.
    end: End,
    floor: u64,
    /// Something could not be read, and all was read once more.
    again: bool,
}

/// The end of a log in its last segment.
#[derive(Clone, Copy, Default)]
struct End {
    position: u32,
    /// The last record ended its window.
    committed: bool,
    /// Whole records were cut.
    cut: bool,
    /// The next unit holds something.
    dirty: bool,
}

impl<B: Buffer, const SLOTS: usize> Recovery<B, SLOTS> {
    #[inline(never)]
    pub(super) fn start<D: BlockDevice, V: Buffer, const N: usize>(
        log: Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Self, Error<D::Error>> {
        let mut recovery = Self {
            log,
            phase: Phase::Done,
            scan: None,
            other: SegmentHeader::default(),
            whole: false,
            end: End { committed: true, ..End::default() },
            floor: 0,
            again: false,
        };
        match recovery.find_tail(volume) {
            Ok(()) => Ok(recovery),
            Err(Fault::OutOfRange) => Err(crate::volume::Error::NoSuchLog.into()),
            Err(fault) => Err(recovery.log.explain(volume, fault)),
        }
    }

    fn find_tail<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let log = &mut self.log;
        let root = *volume.root(log.id).ok_or(Fault::OutOfRange)?;
        self.floor = root.end;
        (log.start, log.end, log.durable, log.epoch) = (root.start, root.end, root.end, root.epoch);
        log.report.clean = root.closed;
        let newest = root.newest;
        if newest.is_none() {
            return Ok(());
        }
        let first = volume.first_header(newest.segment).filter(|header| header.at == newest);
        log.full = first.is_none() || root.sealed;
        let header = match first.or_else(|| volume.read_header(newest)) {
            Some(header) => header,
            None if root.tail.at == newest => root.tail.header(root.id),
            None => return Err(volume.medium.fault(Fault::Damaged, newest.segment)),
        };
        self.other = header;
        self.phase = Phase::Tail;
        let mut scan = Scan::new(volume, header, log.full && !root.sealed);
        if !root.next.is_none()
            && let Some(seal) = volume.read_seal_of(newest)
        {
            // What the damaged header must have said.
            let next = SegmentHeader {
                at: root.next,
                epoch: seal.epoch,
                first: seal.end,
                ordinal: header.ordinal.wrapping_add(1),
                trail: header.trail_after(),
                previous: newest,
                jump: Link::NONE,
                window: seal.window,
                ..header
            };
            self.phase = Phase::Next;
            scan = Scan::new(volume, next, true);
        }
        self.scan = Some(scan);
        Ok(())
    }

    /// Goes on for about `steps` records (or as many places of 256 bytes in which there are none); `true` when done.
    /// Each step reads about one record.
    #[inline(never)]
    pub fn step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        steps: u32,
    ) -> Result<bool, Error<D::Error>> {
        for _ in 0..steps {
            if self.phase == Phase::Done {
                return Ok(true);
            }
            self.once(volume).map_err(|fault| self.log.explain(volume, fault))?;
        }
        Ok(self.phase == Phase::Done)
    }

    #[inline(never)]
    fn once<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let Some(scan) = &mut self.scan else { return Ok(()) };
        if !scan.done {
            let index = if self.phase == Phase::Back { None } else { Some(&mut self.log.index) };
            scan.step(volume, self.floor, index);
            return Ok(());
        }
        if scan.bare && !scan.progressed && self.floor <= scan.header.first {
            // The header is missing, and nothing says that it was ever acknowledged, nor what came with it.
            if self.phase == Phase::Next {
                volume.free_segment(self.log.id, scan.header.at);
                self.phase = Phase::Tail;
                *scan = Scan::new(volume, self.other, false);
                self.log.index = Index::new();
                return Ok(());
            }
            *scan = Scan::new(volume, scan.header, false);
        }
        let mut last = true;
        if self.phase == Phase::Back {
            // A segment that goes on in a later epoch than the one behind it was begun in: that was cut off by then.
            let stale = self.other.epoch < scan.walk.epoch;
            let short = scan.walk.offset < self.other.first;
            let torn = scan.batch.is_some() && !self.whole;
            if stale || (short && self.other.window == scan.own_window()) || (torn && !short) {
                // Of the same window as all that follows, or of one batch: none of that was ever acknowledged.
                if self.log.dead.is_none() {
                    self.log.dead = self.log.last.at;
                }
                self.log.full = true;
                self.log.report.damaged = 0;
            } else {
                last = false;
                if short {
                    scan.lost = scan.lost.wrapping_add(self.other.first.wrapping_sub(scan.walk.offset));
                    scan.progressed = true;
                }
            }
        }
        // Without the end of a batch in it, the segment only passes on what comes after.
        self.whole = scan.whole || self.whole && !last;
        let log = &mut self.log;
        log.report.replayed = log.report.replayed.wrapping_add(scan.records);
        log.report.damaged = log.report.damaged.wrapping_add(scan.lost);
        if last {
            // New records don't go where the header is missing.
            log.full |= scan.bare;
            log.last = scan.header;
            // A batch that is not whole never was.
            let (position, offset) = scan.batch.unwrap_or((scan.walk.position, scan.walk.offset));
            log.end = offset;
            log.epoch = log.epoch.max(scan.walk.epoch);
            log.window = scan.own_window();
            let cut = scan.batch.is_some() || scan.stray;
            let committed = scan.committed && scan.batch.is_none();
            self.end = End { position, committed, cut, dirty: scan.dirty };
            // A segment without a record may be one whose erase for somebody else was interrupted.
            log.full |= position == SEGMENT_HEADER as u32;
        }
        let header = scan.header;
        let head_life = volume.root(log.id).map_or(0, |root| root.head_life);
        // Is the segment before this one known to be durable?
        let at = header.previous;
        if !scan.progressed && header.first > self.floor && at.life >= head_life && !at.is_none() {
            let mut bare = false;
            let before = match volume.read_header(at) {
                Some(before) => Some(before),
                None => match volume.root(log.id).filter(|root| root.tail.at == at) {
                    Some(root) => {
                        bare = true;
                        Some(root.tail.header(root.id))
                    }
                    None => volume.newest_before(log.id, at.life),
                },
            };
            match before {
                Some(before) => {
                    (self.phase, self.other) = (Phase::Back, header);
                    *scan = Scan::new(volume, before, bare);
                    return Ok(());
                }
                None => {
                    // The first window of the log is not whole, so there is nothing at all.
                    log.dead = if log.dead.is_none() { log.last.at } else { log.dead };
                    log.last = SegmentHeader::default();
                    log.end = self.floor;
                    log.report.damaged = 0;
                    self.end = End { committed: true, ..End::default() };
                }
            }
        }
        self.phase = Phase::Done;
        self.settle(volume)
    }

    /// All is read: where does the log end, and where does it go on?
    #[inline(never)]
    fn settle<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let missed = volume.medium.has_missed()?;
        if missed && !self.again {
            // What can't be read may be torn, and then it counts as never written. So it must not be a passing failure.
            self.again = true;
            self.whole = false;
            self.end = End { committed: true, ..End::default() };
            let log = &mut self.log;
            (log.index, log.report, log.last) = (Index::new(), Report::default(), SegmentHeader::default());
            (log.full, log.dead) = (false, Link::NONE);
            return self.find_tail(volume);
        }
        let log = &mut self.log;
        log.report.unreadable = missed || volume.missed;
        if log.end < self.floor {
            log.report.damaged = log.report.damaged.wrapping_add(self.floor.wrapping_sub(log.end));
            log.end = self.floor;
        }
        if let Some(root) = volume.root(log.id) {
            log.report.clean &= root.end == log.end && root.epoch == log.epoch;
        }
        log.unsure = !log.report.clean;
        log.durable = if log.unsure { self.floor } else { log.end };
        // Whole records that don't count, or that may be whole when they are read again, must not stand before new ones
        // in one segment: the next segment says where this one ends.
        log.full |= self.end.cut || log.report.unreadable;
        if !log.last.at.is_none() {
            log.resume(volume, self.end);
        }
        let dead = core::mem::take(&mut log.dead);
        let kept =
            volume.root(log.id).map_or(0, |root| root.head_life.saturating_sub(1)).max(log.last.at.life);
        log.free_chain(volume, dead, kept);
        if !dead.is_none() || volume.root(log.id).is_some_and(|root| root.odd) {
            log.sweep(volume);
        }
        Ok(())
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
    #[inline(never)]
    fn resume<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        End { position, committed, cut, dirty }: End,
    ) {
        let geometry = volume.format.geometry;
        let address = volume.segment_address(self.last.at.segment);
        let mut resume = align_up(position, geometry.write_unit);
        let mut torn = cut || !self.dead.is_none() || !self.report.clean && (dirty || !committed);
        if geometry.must_erase() {
            // Not one unit that the cut may have burnt is programmed again: neither what is visibly written, nor, as
            // no write crosses a page, the rest of its page.
            let end = align_up(position, geometry.erase_unit).min(volume.format.segment);
            let mut visible = position;
            let mut at = position;
            while at < end {
                let len = 16.min(end.saturating_sub(at));
                if !volume.is_blank(address.wrapping_add(u64::from(at)), len, false) {
                    visible = at.wrapping_add(len);
                }
                at = at.wrapping_add(len);
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
            self.report.cut = Some(address.wrapping_add(u64::from(position)));
        }
        self.written = resume;
    }
}
