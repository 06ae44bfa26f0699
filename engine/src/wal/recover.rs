//! From what a cut left behind to a log that goes on.
//!
//! Only the last commit window can be torn, and it can be torn anywhere. So recovery reads the last segment from its
//! start, and segments before it while no record says that a later window was begun since. At the first place that
//! holds no whole record it searches on: a whole record of a later window or epoch proves that the damaged place had
//! been durable, so the damage is `Corrupt` and nothing is cut; otherwise nothing behind was ever acknowledged, and the
//! log ends there. Nothing is written: the next append begins a new epoch behind the cut, and until then recovery
//! comes to the same result however often it is run.

use core::num::NonZeroU64;

use super::Error;
use super::index::{Index, Slot};
use super::log::Log;
use super::walk::{Unwritten, Walk};
use crate::codec::align_up;
use crate::device::BlockDevice;
use crate::space::{Link, SEGMENT_HEADER, SegmentHeader};
use crate::volume::{Buffer, Copy, Fault, PAGE, Volume};

/// Reads one segment from its start to its last whole record, in steps.
struct Scan {
    header: SegmentHeader,
    walk: Walk,
    window: u8,
    /// The last record ended its window.
    committed: bool,
    /// A later window than that of the segment's header was begun: all before this segment is durable.
    progressed: bool,
    records: u32,
    lost: u64,
    /// Where the batch began that is not whole yet.
    batch: Option<(u32, u64)>,
    /// An entry was seen that ends a batch, or is none: one that began in the segment before is whole.
    whole: bool,
    /// Behind the end stands a whole record of the window that was cut.
    stray: bool,
    /// Neither copy of the segment's header is on the device.
    bare: bool,
    search: Option<u32>,
    /// Up to here something is seen behind the last record, in the first unit that a write would go to: the write unit, or on
    /// flash the erase unit. Looked at while it is in the buffer anyway.
    seen: u32,
    done: bool,
}

impl Scan {
    const NEW: Self = Self {
        header: SegmentHeader::NONE,
        walk: Walk::NONE,
        window: 0,
        committed: false,
        progressed: false,
        records: 0,
        lost: 0,
        batch: None,
        whole: false,
        stray: false,
        bare: false,
        search: None,
        seen: 0,
        done: false,
    };

    /// To the start of the segment of `header`, as if nothing had been read.
    #[inline(never)]
    fn begin<D: BlockDevice, B: Buffer, const N: usize>(&mut self, volume: &Volume<D, B, N>, bare: bool) {
        self.walk.begin(volume, &self.header);
        self.window = self.header.window;
        (self.committed, self.progressed, self.whole) = (false, false, false);
        (self.stray, self.done) = (false, false);
        (self.records, self.lost) = (0, 0);
        (self.batch, self.search) = (None, None);
        self.bare = bare;
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
        let Some(mut from) = self.search else {
            if self.walk.record(volume, &Unwritten::NONE).is_err() {
                let position = self.walk.position;
                (self.search, self.seen) = (Some(position), position);
                let geometry = volume.medium.geometry();
                if self.committed && !geometry.must_erase() {
                    let left = volume.format.segment.saturating_sub(position);
                    let unit = left.min(geometry.write_unit);
                    if !volume.medium.is_blank(self.walk.address(volume), unit, true) {
                        self.seen = position.wrapping_add(unit);
                    }
                }
                return;
            }
            let record = &self.walk.found;
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
                    index.note(self.header.nth(record.offset), slot);
                }
                if !record.head.more() {
                    self.batch = None;
                    self.whole = true;
                } else if self.batch.is_none() {
                    self.batch = Some((record.position, record.offset));
                }
            }
            self.walk.pass();
            return;
        };
        let found = self.walk.search(volume, &Unwritten::NONE, &mut from, &mut self.seen, 64);
        self.search = Some(from);
        if !found {
            self.done = self.walk.is_behind(from);
            return;
        }
        let record = &self.walk.found;
        let later = record.epoch > self.walk.epoch
            || record.head.window() != self.own_window()
            || self.walk.offset < floor;
        if !later {
            self.stray = true;
            return;
        }
        self.lost = self.lost.wrapping_add(record.offset.wrapping_sub(self.walk.offset));
        self.window = record.head.window();
        self.walk.go_on();
        self.committed = false;
        self.progressed = true;
        self.whole = true;
        self.batch = None;
        self.stray = false;
        self.search = None;
    }
}

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing yet.
    Start,
    /// A segment behind the newest one, whose header must be damaged if it is one.
    Next,
    /// The last segment.
    Tail,
    /// A segment before it, which may share its window.
    Back,
    /// All is read.
    Read,
    Done,
}

/// Recovery of one log, in steps: see [`Log::recover`].
pub struct Recovery<B, const SLOTS: usize = 16> {
    pub(super) log: Log<B, SLOTS>,
    progress: Progress,
}

/// How far the recovery of a log has come.
struct Progress {
    phase: Phase,
    scan: Scan,
    /// The segment behind the one that is read: `Back`; before it: `Next`.
    other: SegmentHeader,
    /// A batch that goes on into `other` ends there.
    whole: bool,
    /// Where the log ends, as far as is known.
    end: End,
    floor: u64,
    /// Segments behind a cut, to be freed.
    dead: Link,
    /// Something could not be read, and all was read once more.
    again: bool,
}

/// The end of a log in its last segment.
#[derive(Clone, Copy)]
struct End {
    position: u32,
    /// The last record did not end its window.
    open: bool,
    /// Whole records were cut.
    cut: bool,
    /// Up to here something is seen behind the last record.
    seen: u32,
}

impl End {
    const NEW: Self = Self { position: 0, open: false, cut: false, seen: 0 };
}

impl<B: Buffer, const SLOTS: usize> Recovery<B, SLOTS> {
    /// Begins, with what the superblock says of the log.
    pub(super) fn start<D: BlockDevice, V: Buffer, const N: usize>(
        log: Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Self, Error<D::Error>> {
        let mut recovery = Self { log, progress: Progress::NEW };
        match recovery.progress.start(&mut recovery.log, volume) {
            Ok(()) => Ok(recovery),
            Err(fault) => Err(recovery.log.explain(volume, fault)),
        }
    }

    /// Goes on for about `steps` records (or as many places of 256 bytes in which there are none); `true` when done.
    /// Each step reads about one record.
    pub fn step<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        steps: u32,
    ) -> Result<bool, Error<D::Error>> {
        match self.progress.step(&mut self.log, volume, steps) {
            Ok(()) => Ok(self.progress.phase == Phase::Done),
            Err(fault) => Err(self.log.explain(volume, fault)),
        }
    }

    /// The recovered log, to read from and append to.
    pub fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Log<B, SLOTS>, Error<D::Error>> {
        match self.progress.finish(&mut self.log, volume) {
            Ok(()) => Ok(self.log),
            Err(fault) => Err(self.log.explain(volume, fault)),
        }
    }
}

impl Progress {
    const NEW: Self = Self {
        phase: Phase::Start,
        scan: Scan::NEW,
        other: SegmentHeader::NONE,
        whole: false,
        end: End::NEW,
        floor: 0,
        dead: Link::NONE,
        again: false,
    };

    fn start<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        log.check_loan(volume)?;
        self.find_tail(log, volume)
    }

    #[inline(never)]
    fn find_tail<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let root = volume.root(log.id).ok_or(Fault::NoSuchLog)?;
        self.floor = root.end;
        (log.start, log.end, log.durable, log.epoch) = (root.start, root.end, root.end, root.epoch);
        log.clean = root.closed;
        let (newest, sealed, next) = (root.newest, root.sealed, root.next);
        self.phase = Phase::Done;
        if newest.is_none() {
            return Ok(());
        }
        let header = &mut self.scan.header;
        let copy = volume.read_header(newest, header);
        if copy == Copy::None {
            return Err(volume.medium.fault(Fault::Damaged, newest.segment));
        }
        log.full = copy != Copy::First || sealed;
        let mut bare = log.full && !sealed;
        self.phase = Phase::Tail;
        if !next.is_none() && volume.next_header(newest, log.id, &mut self.other) {
            core::mem::swap(header, &mut self.other);
            self.phase = Phase::Next;
            bare = true;
        }
        self.scan.begin(volume, bare);
        Ok(())
    }

    #[inline(never)]
    fn step<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
        steps: u32,
    ) -> Result<(), Fault> {
        for _ in 0..steps {
            match self.phase {
                Phase::Start => self.start(log, volume)?,
                Phase::Read => self.settle(log, volume)?,
                Phase::Done => break,
                _ => self.once(log, volume)?,
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn once<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let scan = &mut self.scan;
        if !scan.done {
            let index = if self.phase == Phase::Back { None } else { Some(&mut log.index) };
            scan.step(volume, self.floor, index);
            return Ok(());
        }
        if scan.bare && !scan.progressed && self.floor <= scan.header.first {
            // The header is missing, and nothing says that it was ever acknowledged, nor what came with it.
            if self.phase == Phase::Next {
                volume.free_segment(scan.header.at);
                self.phase = Phase::Tail;
                log.index = Index::new();
                scan.header.copy_from(&self.other);
                scan.begin(volume, false);
                return Ok(());
            }
            scan.begin(volume, false);
        }
        let mut last = true;
        if self.phase == Phase::Back {
            // A segment that goes on in a later epoch than the one behind it was begun in: that was cut off by then.
            let stale = self.other.epoch < scan.walk.epoch;
            let short = scan.walk.offset < self.other.first;
            let torn = scan.batch.is_some() && !self.whole;
            if stale || (short && self.other.window == scan.own_window()) || (torn && !short) {
                // Of the same window as all that follows, or of one batch: none of that was ever acknowledged.
                if self.dead.is_none() {
                    self.dead = log.last.at;
                }
                log.full = true;
                log.damaged = 0;
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
        log.replayed = log.replayed.wrapping_add(scan.records);
        log.add_damaged(scan.lost);
        if last {
            self.end = log.end_in(scan);
        }
        let head_life = volume.root(log.id).map_or(0, |root| root.head_life);
        // Is the segment before this one known to be durable?
        let at = scan.header.previous;
        if !scan.progressed && scan.header.first > self.floor && at.life >= head_life && !at.is_none() {
            self.other.copy_from(&scan.header);
            let mut copy = volume.read_header(at, &mut scan.header);
            if copy == Copy::None {
                copy = volume.newest_before(log.id, at.life, &mut scan.header);
            }
            if copy != Copy::None {
                self.phase = Phase::Back;
                scan.begin(volume, copy == Copy::Noted);
                return Ok(());
            }
            // The first window of the log is not whole, so there is nothing at all.
            if self.dead.is_none() {
                self.dead = log.last.at;
            }
            log.last = SegmentHeader::default();
            log.end = self.floor;
            log.damaged = 0;
            self.end = End::NEW;
        }
        self.phase = Phase::Read;
        Ok(())
    }

    /// All is read: where does the log end, and where does it go on?
    #[inline(never)]
    fn settle<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let missed = volume.medium.missed()? != 0;
        self.phase = Phase::Done;
        if missed && !self.again {
            // What can't be read may be torn, and then it counts as never written. So it must not be a passing failure.
            self.again = true;
            self.whole = false;
            self.end = End::NEW;
            log.index = Index::new();
            (log.replayed, log.damaged) = (0, 0);
            log.last = SegmentHeader::default();
            log.full = false;
            self.dead = Link::NONE;
            return self.find_tail(log, volume);
        }
        log.unreadable = missed || volume.roots.missed;
        if log.end < self.floor {
            log.add_damaged(self.floor.wrapping_sub(log.end));
            log.end = self.floor;
        }
        if let Some(root) = volume.root(log.id) {
            log.clean &= root.end == log.end && root.epoch == log.epoch;
        }
        log.unsure = !log.clean;
        log.durable = if log.unsure { self.floor } else { log.end };
        // Whole records that don't count, or that may be whole when they are read again, must not stand before new ones
        // in one segment: the next segment says where this one ends.
        log.full |= self.end.cut || log.unreadable;
        self.end.cut |= !self.dead.is_none();
        if !log.last.at.is_none() {
            // Its header may be in the superblock alone.
            volume.set_used(log.last.at.segment, true);
            log.resume(volume, self.end);
        }
        let (head_life, odd) = volume.root(log.id).map_or((0, false), |root| (root.head_life, root.odd));
        log.free_chain(volume, self.dead, head_life.saturating_sub(1).max(log.last.at.life));
        if !self.dead.is_none() || odd {
            log.sweep(volume);
        }
        Ok(())
    }

    fn finish<D: BlockDevice, V: Buffer, B: Buffer, const N: usize, const SLOTS: usize>(
        &mut self,
        log: &mut Log<B, SLOTS>,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        while self.phase != Phase::Done {
            self.step(log, volume, u32::MAX)?;
        }
        trace!("log {=u16}: {=u64} to {=u64}, {}", log.id, log.start, log.end, log.report());
        Ok(())
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Recovers a log that was put together just now.
    pub(crate) fn recover_all<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let mut progress = Progress::NEW;
        progress.finish(self, volume)
    }

    /// Makes this the log with another id, before it is recovered.
    pub(crate) fn set_id(&mut self, id: u16) {
        self.id = id;
    }

    fn add_damaged(&mut self, entries: u64) {
        self.damaged = self.damaged.saturating_add(u32::try_from(entries).unwrap_or(u32::MAX));
    }

    /// The log ends in the segment that was read, as far as is known.
    fn end_in(&mut self, scan: &Scan) -> End {
        self.last.copy_from(&scan.header);
        // A batch that is not whole never was.
        let (position, offset) = scan.batch.unwrap_or((scan.walk.position, scan.walk.offset));
        self.end = offset;
        self.epoch = self.epoch.max(scan.walk.epoch);
        self.window = scan.own_window();
        // New records don't go where the header is missing; and a segment without a record may be one whose erase for
        // somebody else was interrupted.
        self.full |= scan.bare || position == SEGMENT_HEADER as u32;
        let cut = scan.batch.is_some() || scan.stray;
        let open = !scan.committed || scan.batch.is_some();
        End { position, open, cut, seen: scan.seen }
    }

    /// Finds out where the next epoch can begin, behind the end of the log at `position`.
    #[inline(never)]
    fn resume<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        End { position, open, cut, seen }: End,
    ) {
        let geometry = volume.medium.geometry();
        let segment = self.last.at.segment;
        let mut resume = align_up(position, geometry.write_unit);
        let mut torn = cut || !self.clean && (seen > position || open);
        if geometry.must_erase() {
            // Not one unit that the cut may have burnt is programmed again: neither what is visibly written, nor, as
            // no write crosses a page, the rest of its page.
            let end = align_up(position, geometry.erase_unit);
            let mut visible = seen.min(end);
            // Where no record can be, nothing was searched.
            let unseen = Self::limit(volume).max(position);
            if unseen < end
                && !volume.medium.is_blank(volume.address(segment, unseen), end.wrapping_sub(unseen), false)
            {
                visible = end;
            }
            let is_burnt = visible > position;
            if is_burnt || open {
                resume = align_up(visible, PAGE.max(geometry.write_unit));
            }
            torn |= is_burnt;
        }
        if torn {
            self.cut = NonZeroU64::new(volume.address(segment, position));
            trace!("log {=u16}: the tail of segment {=u32} is cut at {=u32}", self.id, segment, position);
        }
        self.written = resume;
    }
}
