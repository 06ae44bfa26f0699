//! Who owns which part of the device, and the one atomic `publish` of new roots.
//!
//! ```text
//!   ├ home 0 ┤ home 1 ┤ segment 0 │ segment 1 │ ... ┤ block 0 │ block 1 │ ... ┤ (unclaimed)
//!     superblock        the pool: segments of all logs  blocks of a store, if there is to be one
//! ```
//! A [`Volume`] owns the device and the memory to read and publish with; the structures on it ([`Log`](crate::wal::Log)
//! and later the trees) borrow it for each call. A failed write or sync poisons the volume: it answers
//! [`Error::Poisoned`] until it is opened again, because after such a failure nobody knows what is on the medium.

mod blocks;
mod error;
mod fault;
mod format;
mod medium;
mod roots;
mod scan;
mod superblock;

pub use blocks::Division;
pub(crate) use blocks::STORE_ROOT;
pub use error::Error;
pub(crate) use fault::Fault;
pub use format::{FORMAT_VERSION, FormatOptions, OLDEST_VERSION};
pub use medium::Buffer;
pub(crate) use medium::PAGE;
pub(crate) use roots::{LogRoot, SnapshotRoot, Tail};
pub(crate) use scan::Copy;

use crate::codec::align_up;
use crate::device::{BlockDevice, Geometry};
use crate::space::{Segments, UNIT};
pub(crate) use format::Format;
#[cfg(test)]
pub(crate) use format::home_size;
use format::{FORMAT_RECORD, FormatRecord, MAX_HOME, MIN_HOME, find_format, read_format};
use medium::Medium;
use roots::{MAX_LOG_ROOT, MAX_OTHER_ROOTS, Roots};
use superblock::{HEADER as PUBLISH_HEADER, Homes};

/// A formatted device, open. `LOGS` is the greatest number of logs it can hold (a snapshot counts as one).
// In memory in this order: what is used all over comes first, within reach of the short instructions of small cores.
#[repr(C)]
pub struct Volume<D: BlockDevice, B, const LOGS: usize = 4> {
    pub(crate) format: Format,
    pub(crate) medium: Medium<D, B>,
    pub(crate) homes: Homes,
    scanned: u32,
    generation: u64,
    /// The life that the next segment will be given.
    pub(crate) next_life: u32,
    pub(crate) segments: Segments,
    pub(crate) roots: Roots<LOGS>,
}

/// A volume in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VolumeInfo {
    /// As recorded at format (the read unit is the device's own).
    pub geometry: Geometry,
    /// As given at format.
    pub volume_id: u32,
    /// Number of the last publish.
    pub generation: u64,
    /// Bytes of a segment.
    pub segment_size: u32,
    /// Segments in the pool.
    pub segments: u32,
    /// Segments that nobody holds.
    pub free_segments: u32,
    /// Segments that appending to a log leaves free.
    pub reserve: u16,
    /// Segments that can't be erased any more.
    pub retired_segments: u32,
    /// Homes of the superblock that the next publish can write: 2, or 1 after one has failed for good.
    pub homes: u32,
    /// Address of the first segment.
    pub pool_address: u64,
    /// Bytes of a block; 0: the volume has none.
    pub block_size: u32,
    /// Blocks, for a store.
    pub blocks: u32,
    /// Address of the first block.
    pub block_address: u64,
}

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    /// Bytes of memory that a volume on `device` needs: one unit of the device or a publish with `LOGS` logs, whichever
    /// is more, and a bit for each segment where there are more than 128. Where there are blocks, 512 bytes or one unit at
    /// least, and 121 bytes more.
    pub fn memory_needed(device: &Geometry, options: &FormatOptions) -> usize {
        let format =
            FormatRecord::plan::<()>(*device, options).map_or(Format::NONE, |record| record.format());
        let scratch = Self::scratch_needed(device, format.block_size() != 0);
        scratch.wrapping_add(Self::behind_needed(&format))
    }

    fn scratch_needed(geometry: &Geometry, blocks: bool) -> usize {
        let mut roots = LOGS.wrapping_mul(MAX_LOG_ROOT).wrapping_add(MAX_OTHER_ROOTS);
        let mut least = FORMAT_RECORD;
        if blocks {
            roots = roots.wrapping_add(STORE_ROOT).wrapping_add(1);
            least = UNIT as usize;
        }
        let publish = roots.wrapping_add(PUBLISH_HEADER).max(least) as u32;
        align_up(publish, geometry.read_unit.max(geometry.write_unit)) as usize
    }

    /// Bytes of memory behind the scratch: the bitmap of the pool, then the store's root and its length.
    fn behind_needed(format: &Format) -> usize {
        let root = if format.block_size() == 0 { 0 } else { STORE_ROOT + 1 };
        Segments::memory(format.segments).wrapping_add(root)
    }

    /// Makes an empty volume. **Whatever the device held is lost.** The host asks before; this does not.
    ///
    /// Reads the header of every segment and writes both homes anew. Four syncs at most.
    pub fn format(device: D, buffer: B, options: &FormatOptions) -> Result<Self, Error<D::Error>> {
        let record = FormatRecord::plan(device.geometry(), options)?;
        let mut volume = Self::new(device, buffer);
        let ready = volume.medium.check_loan().and_then(|()| volume.adopt(&record));
        ready.map_err(|fault| volume.explain(fault))?;
        // Lives go on where an earlier volume of the same id left off, so that none of its records is ever valid again.
        while !volume.scan(u32::MAX)? {}
        let done = volume.wipe_homes().and_then(|()| volume.publish());
        done.map_err(|fault| volume.explain(fault))?;
        Ok(volume)
    }

    /// Opens a volume: reads both homes of the superblock and the header of every segment. Writes nothing.
    #[inline(never)]
    pub fn open(device: D, buffer: B) -> Result<Self, Error<D::Error>> {
        let mut volume = Self::new(device, buffer);
        let done = volume.load().and_then(|()| volume.try_scan(u32::MAX));
        match done {
            Ok(()) => {
                trace!("volume: {}", volume.info());
                Ok(volume)
            }
            Err(fault) => Err(volume.explain(fault)),
        }
    }

    /// The first step of [`open`](Self::open): reads the superblock. Go on with [`scan`](Self::scan) until it says
    /// `true`; in between, feed the watchdog.
    #[inline(never)]
    pub fn mount(device: D, buffer: B) -> Result<Self, Error<D::Error>> {
        let mut volume = Self::new(device, buffer);
        match volume.load() {
            Ok(()) => Ok(volume),
            Err(fault) => Err(volume.explain(fault)),
        }
    }

    fn load(&mut self) -> Result<(), Fault> {
        self.medium.check_loan()?;
        let mut record = FormatRecord::none();
        find_format(&mut self.medium, &mut record)?;
        self.adopt(&record)?;
        self.read_roots()?;
        // A newer generation may be there that can't be read today and can tomorrow: stay clear of its number.
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// The public error for what went wrong inside.
    #[cold]
    pub(crate) fn explain(&mut self, fault: Fault) -> Error<D::Error> {
        match fault {
            Fault::Geometry => {
                Error::Geometry { recorded: self.record().geometry, device: self.device().geometry() }
            }
            fault => self.medium.explain(fault),
        }
    }

    /// The geometry that the volume at the start of `device` was formatted with, found with no more knowledge than
    /// that: for hosts that can emulate any. `Ok(None)`: no volume.
    pub fn probe(device: D, buffer: B) -> Result<Option<Geometry>, Error<D::Error>> {
        let mut medium = Medium::new(device, buffer);
        let found = probe(&mut medium);
        found.map_err(|fault| medium.explain(fault))
    }

    fn new(device: D, buffer: B) -> Self {
        Self {
            medium: Medium::new(device, buffer),
            format: Format::NONE,
            roots: Roots::NONE,
            segments: Segments::new(0),
            homes: Homes::default(),
            generation: 0,
            scanned: 0,
            next_life: 1,
        }
    }

    /// Makes this a volume of that format, if it can live on the device.
    fn adopt(&mut self, record: &FormatRecord) -> Result<(), Fault> {
        let fits = record.fits(&self.medium.geometry());
        self.format = record.format();
        self.medium.adopt(&record.geometry);
        if !fits {
            return Err(Fault::Geometry);
        }
        let count = self.format.segments;
        let behind = Self::behind_needed(&self.format);
        let scratch = Self::scratch_needed(&self.medium.geometry(), self.format.block_size() != 0);
        if self.medium.set_apart(behind) < scratch {
            return Err(self.medium.fault(Fault::Memory, scratch.wrapping_add(behind) as u32));
        }
        self.medium.behind().fill(0);
        self.segments = Segments::new(count);
        Ok(())
    }

    /// The format record.
    #[inline(never)]
    pub(crate) fn record(&self) -> FormatRecord {
        self.format.record(&self.medium.geometry())
    }

    /// Bytes that a publish writes at most, to both homes.
    pub(crate) fn most_published(&self) -> u64 {
        let longest = Self::scratch_needed(&self.medium.geometry(), true) as u32;
        u64::from(align_up(longest, self.granule())).saturating_mul(4)
    }

    /// The volume in figures. Costs nothing.
    pub fn info(&self) -> VolumeInfo {
        VolumeInfo {
            geometry: self.medium.geometry(),
            volume_id: self.format.volume_id,
            generation: self.generation,
            segment_size: self.format.segment,
            segments: self.segments.count(),
            free_segments: self.segments.free(),
            reserve: self.format.reserve,
            retired_segments: self.roots.retired().len() as u32,
            homes: 2_u32.saturating_sub(self.homes.bad.count_ones()),
            pool_address: self.format.pool(),
            block_size: self.format.block_size(),
            blocks: self.format.block_count,
            block_address: self.format.blocks(),
        }
    }

    /// The ids of the logs on this volume, companions of snapshots included (those have bit 15 set).
    pub fn logs(&self) -> impl Iterator<Item = u16> + '_ {
        self.roots.logs().iter().map(LogRoot::id)
    }

    /// The device, to look at: counters, for instance. Writing to it behind the engine's back breaks the volume.
    pub fn device(&self) -> &D {
        self.medium.device()
    }

    /// The device, to change what the engine does not see: to reset counters, for instance.
    pub fn device_mut(&mut self) -> &mut D {
        self.medium.device_mut()
    }

    /// Gives the device back. Logs that were not closed are recovered at the next open.
    pub fn into_device(self) -> D {
        self.medium.into_device()
    }

    /// Makes everything that was flushed durable. One device sync.
    pub fn sync(&mut self) -> Result<(), Error<D::Error>> {
        self.medium.sync().map_err(|fault| self.explain(fault))
    }

    /// Poisons the volume: for hosts that run the device's sync through a handle of their own, when that has failed.
    pub fn poison(&mut self) {
        self.medium.poison();
    }

    /// Whether an earlier write or sync has failed.
    pub fn is_poisoned(&self) -> bool {
        self.medium.is_poisoned()
    }

    /// Adds an empty log, durable on return (one publish). Ids are the caller's, below 32,768.
    pub fn create_log(&mut self, id: u16) -> Result<(), Error<D::Error>> {
        check_log_id(id)?;
        self.add_log(id).map_err(|fault| self.explain(fault))
    }

    pub(crate) fn add_log(&mut self, id: u16) -> Result<(), Fault> {
        self.medium.check()?;
        if self.root_index(id).is_some() {
            return Err(Fault::LogExists);
        }
        // A home must hold the longest publish, or one day none would fit.
        let max = (self.format.home as usize).saturating_sub(FORMAT_RECORD.max(self.granule() as usize));
        let store = if self.format.block_size() == 0 { 0 } else { STORE_ROOT + 1 };
        let others = (PUBLISH_HEADER + MAX_OTHER_ROOTS).wrapping_add(store);
        let max = (max.saturating_sub(others) / MAX_LOG_ROOT).min(LOGS);
        if self.roots.logs().len() >= max || !self.roots.add_log(LogRoot::empty(id)) {
            return Err(self.medium.fault(Fault::TooManyLogs, max as u32));
        }
        self.publish()
    }

    pub(crate) fn root_index(&self, id: u16) -> Option<usize> {
        self.roots.logs().iter().position(|log| log.id() == id)
    }

    #[inline(never)]
    pub(crate) fn root(&self, id: u16) -> Option<&LogRoot> {
        self.roots.logs().iter().find(|log| log.id() == id)
    }

    #[inline(never)]
    pub(crate) fn root_mut(&mut self, id: u16) -> Option<&mut LogRoot> {
        self.roots.logs_mut().iter_mut().find(|log| log.id() == id)
    }
}

/// Whether a caller may give a log this id.
pub(crate) fn check_log_id<E>(id: u16) -> Result<(), Error<E>> {
    if id >= 0x8000 { Err(Error::Options("log ids go up to 32767")) } else { Ok(()) }
}

/// The geometry of a volume of which nothing is known but that it begins at address 0.
fn probe<D: BlockDevice, B: Buffer>(medium: &mut Medium<D, B>) -> Result<Option<Geometry>, Fault> {
    medium.check_loan()?;
    let mut format = FormatRecord::none();
    let mut home = 0;
    loop {
        match read_format(medium, home, &mut format) {
            Ok(()) if home == 0 || home == format.home => return Ok(Some(format.geometry)),
            Ok(()) | Err(Fault::NotFormatted) => {}
            Err(fault) => return Err(fault),
        }
        home = if home == 0 { 1 << MIN_HOME } else { home << 1 };
        if home > 1 << MAX_HOME {
            return Ok(None);
        }
    }
}
