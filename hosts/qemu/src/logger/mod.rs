//! The application: a data logger with two logs on one volume, one of samples and one of events; and on a board that has
//! them, settings beside (module [`settings`](crate::settings)).
//!
//! A run opens the volume, or formats a device that holds none; looks at the newest samples; logs that it was started,
//! then samples; reads back what it wrote; tells what that cost; and ends. Every message that says that something is
//! *durable* is a promise which a power cut at any later moment must not break.

mod sample;

use esker::device::{BlockDevice, Counted};
use esker::store::{BatchFull, Error};
use esker::volume::{self, FormatOptions, Volume};
use esker::wal::{self, Log};

use crate::settings::Settings;

pub use sample::{EVENT, SAMPLE, Stamp, What, check_event, check_sample, event, sample};

/// Log of the samples.
pub const SAMPLES: u16 = 0;
/// Log of the events.
pub const EVENTS: u16 = 1;
/// Samples in a run.
pub const RUN: u32 = 200;
/// Samples that become durable together. After a power cut so many may be missing.
pub const BATCH: u32 = 8;
/// Samples between two events that tell of progress.
const PROGRESS: u32 = 64;
/// Newest samples that are looked at after opening.
const LOOK_BACK: u64 = 128;
/// With fewer free segments than this, the older half of each log is given up.
const LOW: u32 = 4;

/// A volume of at most four logs: ours, that of the settings, and a fourth one may come from elsewhere.
pub type Disk<'a, D> = Volume<&'a mut Counted<D>, &'a mut [u8], 4>;
type Journal<'a> = Log<&'a mut [u8], 8>;

/// All the memory that is lent to the engine for volume and logs.
#[derive(Debug)]
pub struct Memory {
    /// A publish that says where four logs and a store begin, in whole blocks of a card; and what is kept of it.
    volume: [u8; 1152],
    samples: [u8; 512],
    events: [u8; 512],
}

impl Memory {
    /// Zeros.
    pub const fn new() -> Self {
        Self { volume: [0; 1152], samples: [0; 512], events: [0; 512] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a run did not end well: what a support engineer needs, in one byte, because each function hands it on. What to do
/// about it is in the documentation of the engine's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device failed.
    Device,
    /// The volume is of another version.
    Version,
    /// The volume is of another device.
    Geometry,
    /// The superblock is damaged.
    Superblock,
    /// Too little memory was lent.
    Memory,
    /// Something else is wrong with the volume.
    Volume,
    /// An entry is damaged.
    Entry,
    /// No room is left for entries.
    Full,
    /// Something else is wrong with a log.
    Log,
    /// A page is damaged.
    Page,
    /// No room is left for settings.
    SettingsFull,
    /// Something else is wrong with the settings.
    Settings,
    /// An entry is not what was written.
    WrongEntry,
    /// A setting is not what was written.
    WrongSetting,
}

impl Failure {
    #[inline(never)]
    fn of_volume<E>(error: &volume::Error<E>) -> Self {
        match error {
            volume::Error::Device(_) => Self::Device,
            volume::Error::Version { .. } => Self::Version,
            volume::Error::Geometry { .. } => Self::Geometry,
            volume::Error::Corrupt { .. } => Self::Superblock,
            volume::Error::MemoryTooSmall { .. } => Self::Memory,
            _ => Self::Volume,
        }
    }
}

impl<E> From<volume::Error<E>> for Failure {
    fn from(error: volume::Error<E>) -> Self {
        Self::of_volume(&error)
    }
}

impl<E> From<wal::Error<E>> for Failure {
    #[inline(never)]
    fn from(error: wal::Error<E>) -> Self {
        match error {
            wal::Error::Volume(error) => error.into(),
            wal::Error::Corrupt { .. } => Self::Entry,
            wal::Error::Full { .. } => Self::Full,
            _ => Self::Log,
        }
    }
}

impl<E> From<Error<E>> for Failure {
    #[inline(never)]
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Log(error) => error.into(),
            Error::Corrupt { .. } | Error::Stuck { .. } => Self::Page,
            Error::Full => Self::SettingsFull,
            _ => Self::Settings,
        }
    }
}

impl From<BatchFull> for Failure {
    fn from(_: BatchFull) -> Self {
        Self::Settings
    }
}

/// One run. Whether all went well.
pub fn run<D: BlockDevice>(
    device: D,
    layout: &FormatOptions,
    memory: &mut Memory,
    settings: &mut impl Settings,
) -> bool {
    match try_run(device, layout, memory, settings) {
        Ok(()) => {
            info!("done");
            true
        }
        Err(failure) => {
            tell(failure);
            false
        }
    }
}

fn tell(failure: Failure) {
    match failure {
        Failure::Device => info!("failed: the device"),
        Failure::Version => info!("failed: the volume is of another version"),
        Failure::Geometry => info!("failed: the volume is of another device"),
        Failure::Superblock => info!("failed: the superblock is damaged"),
        Failure::Memory => info!("failed: too little memory was lent"),
        Failure::Volume => info!("failed: the volume"),
        Failure::Entry => info!("failed: an entry is damaged"),
        Failure::Full => info!("failed: no room is left"),
        Failure::Log => info!("failed: the log"),
        Failure::Page => info!("failed: a page is damaged"),
        Failure::SettingsFull => info!("failed: no room is left for settings"),
        Failure::Settings => info!("failed: the settings"),
        Failure::WrongEntry => info!("failed: an entry is wrong"),
        Failure::WrongSetting => info!("failed: a setting is wrong"),
    }
}

/// The entry at this offset of a log is not what was written.
fn wrong(_log: u16, _offset: u64) -> Failure {
    info!("log {=u16} has a wrong entry {=u64}", _log, _offset);
    Failure::WrongEntry
}

fn try_run<D: BlockDevice>(
    device: D,
    layout: &FormatOptions,
    memory: &mut Memory,
    settings: &mut impl Settings,
) -> Result<(), Failure> {
    let mut device = Counted::new(device);
    make_volume(&mut device, layout, &mut memory.volume)?;
    log_samples(&mut device, memory, settings)
}

/// A run on a device that holds a volume. Not inlined: its stack need not be there while that is made.
#[inline(never)]
fn log_samples<D: BlockDevice>(
    device: &mut Counted<D>,
    memory: &mut Memory,
    settings: &mut impl Settings,
) -> Result<(), Failure> {
    // Used where it was returned to: it is large, and a second place for it would be stack.
    let mut opened = Disk::open(device, &mut memory.volume[..]);
    let volume = opened.as_mut().map_err(|error| Failure::of_volume(error))?;
    // A power cut may have come between formatting and this.
    for id in [SAMPLES, EVENTS] {
        if volume.logs().all(|there| there != id) {
            volume.create_log(id)?;
        }
    }
    let mut samples = Log::open(volume, SAMPLES, &mut memory.samples[..])?;
    let mut events = Log::open(volume, EVENTS, &mut memory.events[..])?;
    // Lent and not given: they are large, and each move of them is code and stack.
    let (samples_log, events_log) = (&mut samples, &mut events);
    Logger { volume, samples: samples_log, events: events_log, settings, boot: 0 }.run()?;
    samples.close(volume)?;
    events.close(volume)?;
    Ok(())
}

/// Formats the device if it holds no volume. Not inlined: its stack is free again when the logger runs.
#[inline(never)]
fn make_volume<D: BlockDevice>(
    device: &mut Counted<D>,
    layout: &FormatOptions,
    memory: &mut [u8],
) -> Result<(), Failure> {
    // What can't be read, is damaged or of another version is not formatted: that is for a human to decide.
    match Disk::mount(device, memory) {
        Err(volume::Error::NotFormatted) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Ok(()),
    }
    Disk::format(device, memory, layout)?;
    info!("formatted");
    Ok(())
}

/// Everything that is open.
struct Logger<'l, 'a, D: BlockDevice, S> {
    volume: &'l mut Disk<'a, D>,
    samples: &'l mut Journal<'a>,
    events: &'l mut Journal<'a>,
    settings: &'l mut S,
    boot: u32,
}

impl<D: BlockDevice, S: Settings> Logger<'_, '_, D, S> {
    /// All that a run does.
    fn run(&mut self) -> Result<(), Failure> {
        self.tell_what_is_there();
        self.settings.open(self.volume)?;
        self.boot = self.last_boot()?.wrapping_add(1);
        info!("start {=u32}", self.boot);
        let from = self.samples.end().saturating_sub(LOOK_BACK).max(self.samples.start());
        self.check_samples(from)?;
        self.note(What::Started)?;

        let first = self.samples.end();
        for done in 1..=RUN {
            let stamp = Stamp { boot: self.boot, number: self.samples.end() as u32 };
            self.samples.append(self.volume, &sample(stamp))?;
            if done % BATCH == 0 {
                self.commit()?;
                self.settings.change(self.volume)?;
            }
            if done % PROGRESS == 0 {
                self.note(What::Progress)?;
            }
        }
        self.commit()?;
        self.check_samples(first)?;
        self.note(What::Stopped)?;
        self.settings.close(self.volume)?;
        self.tell_costs();
        Ok(())
    }

    /// The start that the last event is of; 0 if there is none.
    fn last_boot(&mut self) -> Result<u32, Failure> {
        let end = self.events.end();
        if end == self.events.start() {
            return Ok(0);
        }
        let (offset, mut bytes) = (end.wrapping_sub(1), [0; EVENT]);
        let entry = self.events.read(self.volume, offset, &mut bytes)?;
        let stamp = bytes.get(..entry.len).and_then(|bytes| check_event(bytes, offset));
        stamp.map(|stamp| stamp.boot).ok_or_else(|| wrong(EVENTS, offset))
    }

    /// Reads the samples from `offset` on and holds them against what must have been written.
    fn check_samples(&mut self, offset: u64) -> Result<(), Failure> {
        let (mut cursor, mut bytes) = (self.samples.cursor(offset), [0; SAMPLE]);
        while let Some(entry) = self.samples.next(self.volume, &mut cursor, &mut bytes)? {
            let whole = bytes.get(..entry.len).and_then(|bytes| check_sample(bytes, entry.offset));
            if whole.is_none() {
                return Err(wrong(SAMPLES, entry.offset));
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.make_room()?;
        self.samples.commit(self.volume)?;
        tell_durable(SAMPLES, self.samples.durable());
        Ok(())
    }

    fn note(&mut self, what: What) -> Result<(), Failure> {
        let stamp = Stamp { boot: self.boot, number: self.events.end() as u32 };
        let samples = self.samples.end() as u32;
        self.events.append(self.volume, &event(stamp, what, samples))?;
        self.events.commit(self.volume)?;
        tell_durable(EVENTS, self.events.durable());
        Ok(())
    }

    /// Gives up the older half of what is kept when segments become few. Whoever needs it has read it by then.
    fn make_room(&mut self) -> Result<(), Failure> {
        if self.volume.info().free_segments >= LOW {
            return Ok(());
        }
        for (_id, log) in [(SAMPLES, &mut *self.samples), (EVENTS, &mut *self.events)] {
            let keep = log.start().midpoint(log.end());
            info!("log {=u16} released before {=u64}", _id, keep);
            log.release_before(self.volume, keep)?;
        }
        Ok(())
    }

    fn tell_what_is_there(&self) {
        for (_id, log) in [(SAMPLES, &*self.samples), (EVENTS, &*self.events)] {
            info!("log {=u16} holds {=u64} to {=u64}", _id, log.start(), log.end());
        }
        let _report = self.samples.report();
        info!("recovery: clean {=bool}, {=u64} records", _report.clean, _report.replayed);
    }

    fn tell_costs(&self) {
        let _counts = self.volume.device().counts();
        let _info = self.volume.info();
        info!(
            "volume: generation {=u64}, {=u32} of {=u32} segments free",
            _info.generation, _info.free_segments, _info.segments
        );
        info!(
            "device: {=u64} reads of {=u64} bytes, {=u64} writes of {=u64} bytes, {=u64} erases",
            _counts.reads, _counts.read_bytes, _counts.writes, _counts.written_bytes, _counts.erases
        );
    }
}

fn tell_durable(_log: u16, _end: u64) {
    info!("log {=u16} durable to {=u64}", _log, _end);
}
