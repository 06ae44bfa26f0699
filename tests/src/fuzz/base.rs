//! Valid images to begin with, and what is in them.

use std::collections::{HashMap, HashSet};

use esker::device::{BlockDevice, Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Log, Snapshot};

use super::structures::Structures;

/// Slots of a segment's index.
pub const SLOTS: usize = 4;
/// Logs on a volume.
pub const LOGS: usize = 4;

/// The device under a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Blocks of 512 bytes.
    Blocks,
    /// NOR flash: erased in 4096, written in 4.
    Nor,
}

impl Kind {
    /// Bytes of a segment.
    pub fn segment(self) -> u32 {
        match self {
            Self::Blocks => 2048,
            Self::Nor => 4096,
        }
    }

    /// Segments in the pool.
    pub fn segments(self) -> u32 {
        match self {
            Self::Blocks => 12,
            Self::Nor => 8,
        }
    }

    /// The device's sizes and units.
    pub fn geometry(self) -> Geometry {
        let capacity = 2 * 4096 + u64::from(self.segment() * self.segments());
        match self {
            Self::Blocks => Geometry::blocks(capacity, 512),
            Self::Nor => Geometry::flash(capacity, 4, 4096),
        }
    }
}

/// How the session that made an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The logs were closed.
    Closed,
    /// The program stopped after a commit.
    Stopped,
    /// The last commit is on the device in parts.
    Torn,
}

/// A valid image.
pub struct Base {
    /// The device.
    pub kind: Kind,
    /// What is on it.
    pub image: Vec<u8>,
    /// The volume's id.
    pub volume_id: u32,
    /// Every payload that was ever appended to a log at an offset.
    pub entries: HashMap<(u16, u64), Vec<Vec<u8>>>,
    /// Every chunk that was ever written to a snapshot.
    pub chunks: HashSet<Vec<u8>>,
    /// Where everything with a checksum is.
    pub structures: Structures,
}

type Device = Ram<Vec<u8>>;
type Vol = Volume<Device, Vec<u8>, LOGS>;
type TestLog = Log<Vec<u8>, SLOTS>;

struct Maker {
    volume: Vol,
    entries: HashMap<(u16, u64), Vec<Vec<u8>>>,
    serial: u32,
}

impl Maker {
    fn payload(&mut self, len: usize) -> Vec<u8> {
        self.serial += 1;
        let serial = self.serial;
        (0..len).map(|at| (serial as usize * 31 + at * 7 + (at >> 3)) as u8).collect()
    }

    fn log(&mut self, id: u16) -> TestLog {
        Log::open(&mut self.volume, id, vec![0; 1024]).expect("a valid log")
    }

    fn append(&mut self, log: &mut TestLog, id: u16, len: usize) {
        let payload = self.payload(len);
        let offset = log.append(&mut self.volume, &payload).expect("there is room");
        self.entries.entry((id, offset)).or_default().push(payload);
    }

    fn batch(&mut self, log: &mut TestLog, id: u16, lens: &[usize]) {
        let payloads: Vec<Vec<u8>> = lens.iter().map(|len| self.payload(*len)).collect();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let first = log.append_batch(&mut self.volume, &slices).expect("there is room");
        for (payload, offset) in payloads.into_iter().zip(first..) {
            self.entries.entry((id, offset)).or_default().push(payload);
        }
    }

    fn commit(&mut self, log: &mut TestLog) {
        log.commit(&mut self.volume).expect("nothing fails here");
    }
}

impl Base {
    /// Two logs, one with a snapshot, a truncation, a release, several sessions.
    pub fn build(kind: Kind, end: End) -> Self {
        let volume_id = 0xE5CE_0F00;
        let options =
            FormatOptions { volume_id, segment_size: kind.segment(), reserve: 1, ..FormatOptions::default() };
        let device = Ram::new(vec![0xFF; kind.geometry().capacity as usize], kind.geometry());
        let volume = Volume::format(device, vec![0; 1024], &options).expect("possible options");
        let mut maker = Maker { volume, entries: HashMap::new(), serial: 0 };
        let mut chunks = HashSet::new();
        maker.volume.create_log(1).expect("there is room");
        maker.volume.create_log(9).expect("there is room");
        let (mut one, mut nine) = (maker.log(1), maker.log(9));
        let long = kind.segment() as usize / 5;
        for n in 0..14 {
            maker.append(&mut one, 1, long + n);
            if n % 3 == 0 {
                maker.append(&mut nine, 9, n * 9);
                maker.commit(&mut nine);
            }
            if n % 2 == 0 {
                maker.commit(&mut one);
            }
        }
        one.truncate_after(&mut maker.volume, 11).expect("nothing fails here");
        maker.batch(&mut one, 1, &[40, 0, 17, long, 3]);
        maker.commit(&mut one);
        let mut snapshot: Snapshot<Vec<u8>, SLOTS> =
            Snapshot::open(&mut maker.volume, 1, vec![0; 1024]).expect("there is room");
        for n in 0..3 {
            let chunk = maker.payload(100 + n);
            snapshot.write(&mut maker.volume, &chunk).expect("there is room");
            chunks.insert(chunk);
        }
        snapshot.publish(&mut maker.volume, &mut one, 9).expect("nothing fails here");
        // Another session; nothing was closed.
        drop((one, nine, snapshot));
        let (mut one, mut nine) = (maker.log(1), maker.log(9));
        for n in 0..6 {
            maker.append(&mut one, 1, 30 + n);
            maker.append(&mut nine, 9, 20 - n);
            maker.commit(&mut one);
        }
        maker.batch(&mut nine, 9, &[5, 60, 7]);
        maker.commit(&mut nine);
        if end == End::Closed {
            one.close(&mut maker.volume).expect("nothing fails here");
            nine.close(&mut maker.volume).expect("nothing fails here");
        } else if end == End::Torn {
            let before = maker.volume.device().bytes().to_vec();
            maker.batch(&mut one, 1, &[300, 300, 200]);
            maker.commit(&mut one);
            // Of the units that the commit has written, the first is not there.
            let unit = kind.geometry().write_unit.max(256) as usize;
            let after = maker.volume.device_mut().bytes_mut();
            let units = before.chunks(unit).zip(after.chunks(unit));
            let first = units.enumerate().find(|(_, (old, new))| old != new).map_or(0, |(n, _)| n * unit);
            after[first..first + unit].copy_from_slice(&before[first..first + unit]);
        }
        let device = maker.volume.into_device();
        let capacity = device.geometry().capacity;
        let image = device.into_inner();
        assert_eq!(image.len() as u64, capacity);
        let structures = Structures::find(kind, volume_id, &image);
        Self { kind, image, volume_id, entries: maker.entries, chunks, structures }
    }
}
