//! Reading on past damage.

use esker::volume;
use esker::wal::{Cursor, Entry, Error};

use super::volume::{Log, next};
use crate::volume::Volume;
use esker_linux::DeviceError;
use serde_json::{Value, json};

/// Entries that can't be read, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first of them.
    pub first: u64,
    /// The offset behind the last.
    pub end: u64,
    pub place: Place,
}

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// What lies from this address on is not what was written.
    Address(u64),
    /// The device does not give it, and says so.
    Unreadable(String),
}

impl Damage {
    pub fn entries(&self) -> u64 {
        self.end - self.first
    }

    pub fn as_json(&self) -> Value {
        let mut value = self.place.as_json();
        value["first"] = self.first.into();
        value["last"] = (self.end - 1).into();
        value["entries"] = self.entries().into();
        value
    }
}

impl Place {
    /// `address` if it is known, and the device's words if it had any.
    pub fn as_json(&self) -> Value {
        match self {
            Self::Address(address) => json!({ "address": address }),
            Self::Unreadable(error) => json!({ "address": null, "error": error }),
        }
    }
}

/// What comes next in a log.
pub enum Found {
    /// An entry, at the start of [`Walk::bytes`].
    Entry(Entry),
    Damage(Damage),
}

/// A cursor that goes on behind damage and tells what it passed.
pub struct Walk {
    cursor: Cursor,
    pub bytes: Vec<u8>,
}

impl Walk {
    pub fn new<const SLOTS: usize>(log: &Log<SLOTS>) -> Self {
        Self { cursor: log.cursor(log.start()), bytes: vec![0; 64 << 10] }
    }

    /// The next entry or damage; `None` at the end of the log.
    pub fn next<const SLOTS: usize>(
        &mut self,
        log: &Log<SLOTS>,
        volume: &mut Volume,
    ) -> Result<Option<Found>, Error<DeviceError>> {
        let first = self.cursor.offset();
        let place = match next(log, volume, &mut self.cursor, &mut self.bytes) {
            Ok(entry) => return Ok(entry.map(Found::Entry)),
            Err(error) => place(error)?,
        };
        let end = self.end(log, volume, first, &place)?;
        self.cursor = log.cursor(end);
        Ok(Some(Found::Damage(Damage { first, end, place })))
    }

    /// The first offset behind `first` that is not lost with it.
    ///
    /// One place takes a run of entries without a gap, and the engine names the same address for each of them: it can't
    /// tell where one ends and the next begins. So the end of the run is looked for in growing steps and then by halves,
    /// and not entry by entry: each answer costs reading a segment.
    fn end<const SLOTS: usize>(
        &mut self,
        log: &Log<SLOTS>,
        volume: &mut Volume,
        first: u64,
        place: &Place,
    ) -> Result<u64, Error<DeviceError>> {
        // An error of the device has no address, so it is only known of the entry that was asked for.
        let mut step = 1;
        let (mut lost, mut other) = (first, log.end());
        while lost.saturating_add(step) < other {
            if self.lost(log, volume, lost + step, place)? {
                lost += step;
                if matches!(place, Place::Address(_)) {
                    step *= 2;
                }
            } else {
                other = lost + step;
            }
        }
        while other - lost > 1 {
            let middle = lost + (other - lost) / 2;
            if self.lost(log, volume, middle, place)? { lost = middle } else { other = middle }
        }
        Ok(other)
    }

    /// Whether the entry at `offset` can't be read for the same reason.
    fn lost<const SLOTS: usize>(
        &mut self,
        log: &Log<SLOTS>,
        volume: &mut Volume,
        offset: u64,
        why: &Place,
    ) -> Result<bool, Error<DeviceError>> {
        match next(log, volume, &mut log.cursor(offset), &mut self.bytes) {
            Ok(_) => Ok(false),
            Err(error) => Ok(place(error)? == *why),
        }
    }
}

/// The place of an error that only concerns some entries.
pub fn place(error: Error<DeviceError>) -> Result<Place, Error<DeviceError>> {
    match error {
        Error::Corrupt { address, .. } => Ok(Place::Address(address)),
        Error::Volume(volume::Error::Device(error)) => Ok(Place::Unreadable(error.to_string())),
        error => Err(error),
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "see address {address}"),
            Self::Unreadable(error) => f.write_str(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use esker::device::Geometry;
    use esker::volume::FormatOptions;
    use esker_linux::{Access, Device, Replace};

    use super::super::volume::{FEW_SLOTS, log_memory};
    use super::*;
    use crate::volume::volume_memory;

    type SmallLog = Log<FEW_SLOTS>;

    fn open(path: &std::path::Path) -> (Volume, SmallLog) {
        let device = Device::open(path, Access::ReadOnly).unwrap();
        let mut volume = Volume::open(device, volume_memory()).unwrap();
        let log = SmallLog::open(&mut volume, 0, log_memory()).unwrap();
        (volume, log)
    }

    /// What is lost, asked entry by entry.
    fn one_by_one(volume: &mut Volume, log: &SmallLog) -> Vec<u64> {
        let mut bytes = Vec::new();
        let lost = |offset: &u64| next(log, volume, &mut log.cursor(*offset), &mut bytes).is_err();
        (log.start()..log.end()).filter(lost).collect()
    }

    #[test]
    fn what_is_passed_is_exactly_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev");
        let device = Device::create(&path, Geometry::blocks(128 << 10, 512), Replace::Blank).unwrap();
        let options = FormatOptions { volume_id: 7, segment_size: 8 << 10, ..FormatOptions::default() };
        let mut volume = Volume::format(device, volume_memory(), &options).unwrap();
        volume.create_log(0).unwrap();
        let mut log = SmallLog::open(&mut volume, 0, log_memory()).unwrap();
        for n in 0..1500_u32 {
            log.append(&mut volume, &vec![b'x'; n as usize * 7 % 60]).unwrap();
            if n % 37 == 0 {
                log.commit(&mut volume).unwrap();
            }
        }
        log.close(&mut volume).unwrap();
        let pool = volume.info().pool_address;
        drop(volume);
        let good = std::fs::read(&path).unwrap();

        let mut random = 1_u64;
        let mut next_random = |below: u64| {
            // Marsaglia's xorshift64.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut islands = 0;
        for _ in 0..12 {
            std::fs::write(&path, &good).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            for _ in 0..1 + next_random(4) {
                let len = [1, 60, 700, 9000][next_random(4) as usize];
                let at = pool + next_random(40 << 10);
                file.write_all_at(&vec![0x55; len], at).unwrap();
                // A few entries on there is more: what stands between must come out.
                let gap = 100 + next_random(200);
                file.write_all_at(&[0x55; 900], at + len as u64 + gap).unwrap();
            }
            let (mut volume, log) = open(&path);
            let expected = one_by_one(&mut volume, &log);
            let mut walk = Walk::new(&log);
            let (mut lost, mut read) = (Vec::new(), 0);
            while let Some(found) = walk.next(&log, &mut volume).unwrap() {
                match found {
                    Found::Entry(_) => read += 1,
                    Found::Damage(damage) => {
                        islands += u64::from(!lost.is_empty());
                        lost.extend(damage.first..damage.end);
                    }
                }
            }
            assert_eq!(lost, expected);
            assert_eq!(read, log.end() - log.start() - lost.len() as u64);
        }
        assert!(islands > 12, "several places were damaged at once");
    }
}
