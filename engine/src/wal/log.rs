//! One log, open.

use core::num::NonZeroU64;

use super::branch::Chain;
use super::index::Index;
use super::record::{Head, RECORD};
use super::recover::Recovery;
use super::sync::Pace;
use super::walk::Unwritten;
use super::{Error, SyncStrategy};
use crate::codec::{Checksum, SMALL, align_up};
use crate::device::{BlockDevice, Geometry};
use crate::space::{SEAL, SEGMENT_HEADER, SegmentHeader};
use crate::volume::{Buffer, Fault, Volume};

/// One log of a volume, open for reading and appending.
///
/// `B` is the write buffer, lent or given; `SLOTS` the slots of each segment's offset index: reading at random passes
/// over about `entries in a segment / SLOTS` entries. Reading takes any number; appending is refused where so many slots
/// leave no room for entries.
///
/// ```
/// # use esker::{device::{Geometry, Ram}, volume::{FormatOptions, Volume}, wal::Log};
/// # fn main() -> Result<(), esker::wal::Error<esker::device::RamError>> {
/// let mut flash = Ram::new([0xFF; 64 * 1024], Geometry::flash(0, 4, 4096));
/// let (mut volume_memory, mut log_memory) = ([0; 512], [0; 512]);
///
/// let mut volume = Volume::<_, _>::format(&mut flash, &mut volume_memory[..], &FormatOptions::default())?;
/// volume.create_log(0)?;
/// let mut log: Log<_> = Log::open(&mut volume, 0, &mut log_memory[..])?;
/// assert_eq!(log.append(&mut volume, b"first")?, 0);
/// log.commit(&mut volume)?; // durable from here on
///
/// let mut bytes = [0; 16];
/// let entry = log.read(&mut volume, 0, &mut bytes)?;
/// assert_eq!(&bytes[..entry.len], b"first");
/// # Ok(())
/// # }
/// ```
// In memory in this order: what is used all over comes first, within reach of the short instructions of small cores. No byte
// between two fields is wasted.
#[repr(C)]
pub struct Log<B, const SLOTS: usize = 16> {
    pub(super) id: u16,
    pub(super) window: u8,
    /// Records were made since the last flush.
    pub(super) dirty: bool,
    /// A flush was not acknowledged yet.
    pub(super) in_flight: bool,
    /// The epoch has begun: appending may go on.
    pub(super) begun: bool,
    /// Nothing more fits into the last segment, or may be written there.
    pub(super) full: bool,
    /// A write to the last segment has failed.
    pub(super) bad: bool,
    /// The end of the log was recovered and may not be durable yet.
    pub(super) unsure: bool,
    /// The newest record is the last one of this window, and all of its head is still in the buffer.
    pub(super) open: bool,
    /// Of the [`Report`].
    pub(super) clean: bool,
    pub(super) unreadable: bool,
    /// Bytes in the buffer, which begins at position `written` of the last segment.
    pub(super) filled: usize,
    pub(super) written: u32,
    /// Position of the record that was put last, and the checksum over its body.
    pub(super) newest: u32,
    pub(super) body: Checksum,
    pub(super) epoch: u32,
    pub(super) seed: Checksum,
    /// Changes when a cursor's place may have gone.
    pub(super) turn: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) durable: u64,
    pub(super) buffer: B,
    /// The last segment; life 0: there is none.
    pub(super) last: SegmentHeader,
    /// Of the [`Report`]; no place is at address 0.
    pub(super) cut: Option<NonZeroU64>,
    pub(super) damaged: u32,
    pub(super) replayed: u32,
    pub(super) pace: Pace,
    /// What a checkpoint has released and is not free yet; on 32 bits all is free at once.
    pub(super) released: [Chain; if SMALL { 0 } else { 1 }],
    pub(super) index: Index<SLOTS>,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report {
    /// The log was closed in order, and everything is there that was there then (or is known to be damaged).
    pub clean: bool,
    /// Records that were read and found whole: those of the last segment, or more if a window began before it.
    pub replayed: u64,
    /// Entries that had been durable and are damaged: reading one answers [`Error::Corrupt`]. Counted to 4,294,967,295.
    pub damaged: u64,
    /// Address from which on something was found that is not part of the log: a commit that was never acknowledged, or
    /// what an earlier life of the segment left there. It counts no more. Rot in the last commit of a log that was not
    /// closed looks the same.
    pub cut: Option<u64>,
    /// Something could not be read, and was treated as damaged.
    pub unreadable: bool,
}

/// A log in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// Its id on the volume.
    pub id: u16,
    /// First offset that is kept.
    pub start: u64,
    /// Offset of the next entry.
    pub end: u64,
    /// Entries before this one survive a power cut.
    pub durable: u64,
    /// Segments that it holds.
    pub segments: u32,
    /// Bytes of one segment.
    pub segment_size: u32,
    /// Bytes left in the last segment.
    pub left: u32,
    /// The newest epoch: how often the log was opened for append, or truncated.
    pub epoch: u32,
    /// The longest entry that fits.
    pub max_entry: u32,
    /// Each commit begins on a multiple of this, so it costs half of it on average beside its records.
    pub commit_unit: u32,
    /// What the last recovery found.
    pub report: Report,
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Bytes of write buffer that a log on this device needs: one write unit, or a seal if that is more. More memory
    /// makes fewer, longer writes.
    pub const fn memory_needed(device: &Geometry) -> usize {
        align_up((SEAL + 4 * SLOTS) as u32, device.write_unit) as usize
    }

    /// Opens a log: recovers it, writes nothing. See [`report`](Self::report) for what was found.
    ///
    /// Reads the last segment once, from its start to its end; after a cut also those before it in which the last
    /// commit began. The first append then begins a new epoch: one write and one sync, or a publish where the last
    /// segment is full.
    #[inline(never)]
    pub fn open<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        id: u16,
        buffer: B,
    ) -> Result<Self, Error<D::Error>> {
        let mut log = Self::new(id, buffer);
        match log.recover_all(volume) {
            Ok(()) => Ok(log),
            Err(fault) => Err(log.explain(volume, fault)),
        }
    }

    /// [`open`](Self::open) in steps: for a progress bar, or to feed a watchdog in between.
    #[inline(never)]
    pub fn recover<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        id: u16,
        buffer: B,
    ) -> Result<Recovery<B, SLOTS>, Error<D::Error>> {
        Recovery::start(Self::new(id, buffer), volume)
    }

    /// A log that nothing is known of yet: for [`recover_all`](Self::recover_all).
    pub(crate) fn new(id: u16, buffer: B) -> Self {
        Self {
            id,
            last: SegmentHeader::default(),
            newest: 0,
            buffer,
            filled: 0,
            written: 0,
            body: Checksum::of_state(0),
            epoch: 0,
            bad: false,
            unsure: false,
            begun: false,
            full: false,
            window: 0,
            dirty: false,
            in_flight: false,
            seed: Checksum::new(),
            open: false,
            index: Index::new(),
            start: 0,
            end: 0,
            durable: 0,
            turn: 0,
            pace: Pace::NEW,
            released: [Chain::NONE; _],
            clean: false,
            unreadable: false,
            replayed: 0,
            damaged: 0,
            cut: None,
        }
    }

    /// Whether the lent buffer will do.
    pub(super) fn check_loan<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let buffer = self.buffer.as_ref();
        let needed = Self::seal_area(volume);
        if buffer.len() < needed as usize {
            return Err(volume.medium.fault(Fault::Memory, needed));
        }
        volume.medium.check_alignment(buffer.as_ptr().addr())
    }

    /// Makes everything durable and notes in the superblock that the log ends here, so that at the next open nothing
    /// may be missing. One commit and one publish; nothing if nothing was appended since the log was opened clean.
    pub fn close<D: BlockDevice, V: Buffer, const N: usize>(
        mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<B, Error<D::Error>> {
        self.try_close(volume).map_err(|fault| self.explain(volume, fault))?;
        Ok(self.buffer)
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn try_close<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.try_commit(volume)?;
        let closed = volume.root(self.id).is_some_and(|root| root.closed && root.end == self.end);
        if !closed || self.begun {
            self.note(volume)?;
            if let Some(root) = volume.root_mut(self.id) {
                root.closed = true;
            }
            volume.publish()?;
        }
        Ok(())
    }

    /// What recovery found whole may still be on its way to the medium, when not the device but only the program had
    /// stopped. Before anything is built on it, it is synced.
    #[inline(never)]
    pub(super) fn secure<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if self.unsure {
            volume.medium.sync()?;
            self.unsure = false;
            self.durable = self.end;
        }
        Ok(())
    }

    /// Puts what this log knows of itself into the roots, for the next publish.
    pub(super) fn note<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.secure(volume)?;
        if let Some(root) = volume.root_mut(self.id) {
            root.epoch = root.epoch.max(self.epoch);
            root.end = self.durable;
            root.closed = false;
            if self.begun {
                root.tail.copy_from(&self.last);
            }
        }
        Ok(())
    }

    /// Its id on the volume.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Whether a flush was not acknowledged yet.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Gives the memory back, of a log that nothing was appended to since it was opened.
    pub(crate) fn into_buffer(self) -> B {
        self.buffer
    }

    /// First offset that is kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset that the next entry will get.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Entries before this offset survive a power cut.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// What recovery found when this log was opened.
    pub fn report(&self) -> Report {
        Report {
            clean: self.clean,
            replayed: self.replayed.into(),
            damaged: self.damaged.into(),
            cut: self.cut.map(NonZeroU64::get),
            unreadable: self.unreadable,
        }
    }

    /// Chooses when [`commit_if_due`](Self::commit_if_due) commits.
    pub fn set_sync(&mut self, strategy: SyncStrategy) {
        self.pace.set(strategy);
    }

    /// The longest entry that fits, without a user word.
    #[inline(never)]
    pub fn max_entry<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u32 {
        Self::max_entry_of(volume)
    }

    /// The longest entry that fits into any log with so many slots on this volume, without a user word.
    pub fn max_entry_of<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> u32 {
        Head::longest(Self::limit(volume).saturating_sub(SEGMENT_HEADER as u32))
    }

    /// The log in figures. Costs nothing.
    pub fn info<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Info, Error<D::Error>> {
        let segments = self.held(volume).saturating_add(self.rest().map_or(0, |rest| rest.segments));
        let left = if self.full || self.last.at.is_none() {
            0
        } else {
            Self::limit(volume).saturating_sub(self.position())
        };
        Ok(Info {
            id: self.id,
            start: self.start,
            end: self.end,
            durable: self.durable,
            segments,
            segment_size: volume.format.segment,
            left,
            epoch: self.epoch,
            max_entry: self.max_entry(volume),
            commit_unit: volume.medium.write_unit(),
            report: self.report(),
        })
    }

    /// Position of the next record.
    pub(super) fn position(&self) -> u32 {
        self.written.wrapping_add(self.filled as u32)
    }

    /// Up to here the last segment is erased, its first unit in any case; beyond, an erase comes before the first write.
    pub(super) fn erased<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u32 {
        align_up(self.written.max(1), volume.medium.erase_unit())
    }

    /// Bytes at the end of each segment that the seal takes.
    pub(super) fn seal_area<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> u32 {
        align_up((SEAL + 4 * SLOTS) as u32, volume.medium.write_unit())
    }

    /// Where records end: before the seal, with room for one more mark that ends a window.
    #[inline(never)]
    pub(super) fn limit<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> u32 {
        volume.format.segment.saturating_sub(Self::seal_area(volume)).saturating_sub(RECORD)
    }

    #[inline(never)]
    pub(super) fn unwritten(&self) -> Unwritten<'_> {
        if self.last.at.is_none() {
            return Unwritten::NONE;
        }
        Unwritten {
            segment: self.last.at.segment,
            from: self.written,
            bytes: self.buffer.as_ref().get(..self.filled).unwrap_or_default(),
        }
    }
}
