//! Everything with a checksum in an image: found, and made right again. Written from the description of the format.

use crc::{CRC_32_ISCSI, Crc};

use super::base::{Base, Kind};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

const HOME: usize = 4096;
const FORMAT: usize = 128;
const HEADER: usize = 56;
const SEAL: usize = 84;

/// A record, by its place; what its checksum takes from elsewhere is counted from the segment's header.
#[derive(Clone, Copy, Debug)]
pub struct RecordAt {
    segment: usize,
    /// From the start of the segment.
    position: usize,
    /// Entries of the segment before it.
    nth: u64,
    /// Epochs begun in the segment before it or with it.
    epochs: u32,
}

/// Addresses of everything with a checksum.
#[derive(Debug, Default)]
pub struct Structures {
    /// Publishes, by generation.
    pub publishes: Vec<usize>,
    /// Headers of segments, by life.
    pub headers: Vec<usize>,
    /// Seals, without their slots.
    pub seals: Vec<usize>,
    /// Records, by segment and position.
    pub records: Vec<RecordAt>,
}

fn word(image: &[u8], at: usize) -> u32 {
    image.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn long(image: &[u8], at: usize) -> u64 {
    u64::from(word(image, at)) | u64::from(word(image, at + 4)) << 32
}

fn put(image: &mut [u8], at: usize, value: u32) {
    if let Some(place) = image.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn sum(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

fn pool(kind: Kind, segment: usize) -> usize {
    2 * HOME + segment * kind.segment() as usize
}

fn segment_of(kind: Kind, address: usize) -> usize {
    (address - 2 * HOME) / kind.segment() as usize
}

/// The checksum of the publish at `at`; `None`: its length can't be.
fn publish_sum(volume_id: u32, image: &[u8], at: usize) -> Option<u32> {
    let len = usize::from((word(image, at + 4) >> 16) as u16);
    let body = image.get(at + 4..at + len.max(4))?;
    Some(sum(&[&volume_id.to_le_bytes(), &(at as u32).to_le_bytes(), body]))
}

fn header_sum(volume_id: u32, segment: usize, header: &[u8]) -> u32 {
    sum(&[&volume_id.to_le_bytes(), &(segment as u32).to_le_bytes(), &header[4..HEADER]])
}

fn seal_sum(volume_id: u32, segment: usize, image: &[u8], at: usize) -> Option<u32> {
    let slots = usize::from(word(image, at + 76) as u16) * 4;
    let slots = image.get(at.checked_sub(slots)?..at)?;
    let body = &image[at..at + 80];
    Some(sum(&[&volume_id.to_le_bytes(), &(segment as u32).to_le_bytes(), slots, body]))
}

/// A record as it stands, taken apart.
struct Record {
    size: usize,
    crc: u32,
    /// Of its head and length, and where that is; long records only.
    check: Option<(usize, u32)>,
    entry: bool,
    commit: bool,
}

/// The record at `position` of a segment, with the checksums it should have under this life, epoch and offset. An
/// epoch record tells its own epoch.
fn record(
    volume_id: u32,
    segment: usize,
    bytes: &[u8],
    position: usize,
    (life, epoch, offset): (u32, u32, u64),
) -> Option<Record> {
    let head = word(bytes, position + 4);
    let long = head & 0xFFFF == 0xFFFF;
    let len = if long { word(bytes, position + 12) } else { head & 0xFFFF } as usize;
    let kind = head >> 30;
    if kind == 0 || kind == 3 && len != 0 && len != 4 {
        return None;
    }
    let apart = if long { 4 } else { 0 };
    let checked = if len >= 1024 { 4 } else { 0 };
    let user = if kind == 2 { 8 } else { 0 };
    let size = (8 + apart + checked + user + len).next_multiple_of(4);
    if position + size > bytes.len() {
        return None;
    }
    let epoch = if kind == 3 && len == 4 { word(bytes, position + 8) } else { epoch };
    let mut seed = Vec::new();
    for value in [volume_id, segment as u32, life, epoch, position as u32] {
        seed.extend_from_slice(&value.to_le_bytes());
    }
    let body = &bytes[position + 8 + apart + checked..position + size];
    let crc = sum(&[&seed, body, &head.to_le_bytes(), &(offset as u32).to_le_bytes()]);
    let check = (checked != 0).then(|| {
        let claims = [(head & !(1 << 28)).to_le_bytes(), (len as u32).to_le_bytes()];
        (position + 8, sum(&[&seed, &claims[0], &claims[1]]))
    });
    Some(Record { size, crc, check, entry: kind != 3, commit: head >> 28 & 1 == 1 })
}

impl Structures {
    /// What is whole in a valid image.
    pub fn find(kind: Kind, volume_id: u32, image: &[u8]) -> Self {
        let mut found = Self::default();
        let granule = kind.geometry().write_unit.max(64) as usize;
        for home in 0..2 {
            for at in (home * HOME + granule.max(FORMAT)..(home + 1) * HOME).step_by(granule) {
                if image[at + 4..at + 6] == *b"PB"
                    && publish_sum(volume_id, image, at) == Some(word(image, at))
                {
                    found.publishes.push(at);
                }
            }
        }
        found.publishes.sort_by_key(|at| long(image, at + 8));
        let size = kind.segment() as usize;
        for segment in 0..kind.segments() as usize {
            let at = pool(kind, segment);
            let bytes = &image[at..at + size];
            if bytes[4..6] == *b"SG" && header_sum(volume_id, segment, bytes) == word(bytes, 0) {
                found.headers.push(at);
                found.find_records(kind, volume_id, (segment, bytes));
            }
            let seal = at + size - SEAL;
            if seal_sum(volume_id, segment, image, seal) == Some(word(image, seal + 80)) {
                found.seals.push(seal);
            }
        }
        found.headers.sort_by_key(|at| word(image, at + 8));
        found
    }

    fn find_records(&mut self, kind: Kind, volume_id: u32, (segment, bytes): (usize, &[u8])) {
        let (life, first_epoch, first) = (word(bytes, 8), word(bytes, 12), long(bytes, 16));
        let unit = kind.geometry().write_unit as usize;
        let (mut position, mut nth, mut epoch) = (HEADER, 0, first_epoch);
        while position + 8 <= bytes.len() - SEAL {
            let seed = (life, epoch, first + nth);
            let whole = record(volume_id, segment, bytes, position, seed)
                .filter(|record| record.crc == word(bytes, position));
            let Some(record) = whole else {
                position += 4;
                continue;
            };
            if !record.entry && record.size == 12 {
                epoch = word(bytes, position + 8);
            }
            self.records.push(RecordAt { segment, position, nth, epochs: epoch - first_epoch });
            nth += u64::from(record.entry);
            position += record.size;
            if record.commit {
                position = position.next_multiple_of(unit);
            }
        }
    }

    /// Address of a record.
    pub fn record_address(&self, kind: Kind, at: &RecordAt) -> usize {
        pool(kind, at.segment) + at.position
    }

    /// Makes every checksum right for what now stands there.
    pub fn repair(&self, base: &Base, image: &mut [u8]) {
        let kind = base.kind;
        let mut volume_id = base.volume_id;
        for home in 0..2 {
            let at = home * HOME;
            let crc = sum(&[&image[at..at + 124]]);
            put(image, at + 124, crc);
            // A changed id is mixed into all that is below it.
            let id = word(image, at + 12);
            if id != base.volume_id {
                volume_id = id;
            }
        }
        for at in &self.publishes {
            if let Some(crc) = publish_sum(volume_id, image, *at) {
                put(image, *at, crc);
            }
        }
        for at in &self.headers {
            let crc = header_sum(volume_id, segment_of(kind, *at), &image[*at..*at + HEADER]);
            put(image, *at, crc);
        }
        for at in &self.seals {
            let segment = segment_of(kind, *at);
            let crc = header_sum(volume_id, segment, &image[*at..*at + HEADER]);
            put(image, *at, crc);
            if let Some(crc) = seal_sum(volume_id, segment, image, *at) {
                put(image, at + 80, crc);
            }
        }
        for at in &self.records {
            let start = pool(kind, at.segment);
            let bytes = &mut image[start..start + kind.segment() as usize];
            let (life, epoch, first) = (word(bytes, 8), word(bytes, 12), long(bytes, 16));
            let seed = (life, epoch.wrapping_add(at.epochs), first.wrapping_add(at.nth));
            // The check stands before what the checksum covers; it is not covered itself.
            if let Some(record) = record(volume_id, at.segment, bytes, at.position, seed) {
                put(bytes, at.position, record.crc);
                if let Some((place, check)) = record.check {
                    put(bytes, place, check);
                }
            }
        }
    }
}
