//! Golden images: what version 2 of the format wrote must be read for ever, and be written the same until version 3.
//! Version 1 never left the laboratory; it is refused by its number.
//!
//! Nothing writes the images anew: what a new version writes has images of its own.
use esker::device::{Geometry, Ram};
use esker::volume::FormatOptions;
use esker::wal::{Log, Snapshot};
use image::{VOLUME_ID, Vol, crc, formatted, golden, newest, opened, u16_at, u32_at, u64_at};

#[path = "common/image.rs"]
mod image;

const IMAGES: [(&str, Geometry, u32); 3] = [
    ("v2-blocks-512", Geometry::blocks(32 * 1024, 512), 2048),
    ("v2-blocks-4096", Geometry::blocks(192 * 1024, 4096), 8192),
    ("v2-nor-4-4096", Geometry::flash(48 * 1024, 4, 4096), 4096),
];

fn payload(serial: u64) -> Vec<u8> {
    (0..serial * 37 % 113).map(|at| (serial * 7 + at) as u8).collect()
}

fn log(volume: &mut Vol, id: u16) -> Log<Vec<u8>> {
    Log::open(volume, id, vec![0; 4096]).unwrap()
}

/// A life with everything in it: two logs, batches, user words, a reopening without closing, a truncation, a release, a
/// snapshot; one log closed, the other left as it was.
fn live(geometry: Geometry, segment_size: u32) -> Vec<u8> {
    let mut volume = formatted(geometry, FormatOptions { segment_size, ..FormatOptions::default() });
    volume.create_log(1).unwrap();
    volume.create_log(2).unwrap();
    let mut first = log(&mut volume, 1);
    for serial in 0..20 {
        first.append(&mut volume, &payload(serial)).unwrap();
        if serial % 3 == 0 {
            first.commit(&mut volume).unwrap();
        }
    }
    let batch: Vec<_> = (20..25).map(payload).collect();
    first.append_batch(&mut volume, &batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    first.append_with(&mut volume, 0x0123_4567_89AB_CDEF, &payload(25)).unwrap();
    first.commit(&mut volume).unwrap();
    drop(first);
    let mut volume = opened(volume.into_device().into_inner(), geometry);
    let mut first = log(&mut volume, 1);
    let mut second = log(&mut volume, 2);
    first.append(&mut volume, &payload(26)).unwrap();
    first.commit(&mut volume).unwrap();
    first.truncate_after(&mut volume, 23).unwrap();
    for serial in 30..34 {
        first.append(&mut volume, &payload(serial)).unwrap();
        second.append(&mut volume, &payload(serial + 10)).unwrap();
    }
    let tickets = (first.flush(&mut volume).unwrap(), second.flush(&mut volume).unwrap());
    volume.sync().unwrap();
    first.acknowledge(tickets.0);
    second.acknowledge(tickets.1);
    let mut snapshot: Snapshot<Vec<u8>> = Snapshot::open(&mut volume, 1, vec![0; 4096]).unwrap();
    snapshot.write(&mut volume, b"all that was").unwrap();
    snapshot.write(&mut volume, b"before entry 8").unwrap();
    snapshot.publish(&mut volume, &mut first, 8).unwrap();
    first.close(&mut volume).unwrap();
    volume.into_device().into_inner()
}

#[test]
fn version_1_is_refused_by_its_number() {
    let device = Ram::new(golden("v1-nor-4-4096"), IMAGES[2].1);
    let refused = Vol::open(device, vec![0; 4096]).err();
    assert_eq!(refused, Some(esker::volume::Error::Version { found: 1, supported: 3 }));
}

/// The serials of log 1 behind its start.
fn serial(offset: u64) -> u64 {
    if offset < 24 { offset } else { offset + 6 }
}

#[test]
fn version_2_is_read_and_written_as_ever() {
    for (name, geometry, segment_size) in IMAGES {
        let image = live(geometry, segment_size);
        let golden = golden(name);
        let differs = image.iter().zip(&golden).position(|(new, old)| new != old);
        assert!(differs.is_none() && image.len() == golden.len(), "{name} differs at {differs:?}");

        let mut volume = opened(golden, geometry);
        assert_eq!(volume.logs().collect::<Vec<_>>(), [1, 2, 0x8001], "{name}");
        let mut out = [0; 256];
        let first = log(&mut volume, 1);
        assert!(first.report().clean, "{name}: {:?}", first.report());
        assert_eq!((first.start() <= 8, first.end()), (true, 28), "{name}");
        for offset in first.start()..first.end() {
            let entry = first.read(&mut volume, offset, &mut out).unwrap();
            assert_eq!(&out[..entry.len], payload(serial(offset)), "{name}: entry {offset}");
        }
        let second = log(&mut volume, 2);
        assert!(!second.report().clean, "{name}");
        assert_eq!((second.start(), second.end()), (0, 4), "{name}");
        for offset in 0..4 {
            let entry = second.read(&mut volume, offset, &mut out).unwrap();
            assert_eq!(&out[..entry.len], payload(offset + 40), "{name}: entry {offset} of log 2");
        }
        let snapshot: Snapshot<Vec<u8>> = Snapshot::open(&mut volume, 1, vec![0; 4096]).unwrap();
        let info = snapshot.info(&volume).unwrap();
        assert_eq!((info.offset, info.chunks), (8, 2), "{name}");
        let len = snapshot.read(&mut volume, 1, &mut out).unwrap().unwrap();
        assert_eq!(&out[..len], b"before entry 8", "{name}");
    }
}

/// Reads the image by the words of `FORMAT.md`, with nothing of the engine's: fields stand where it says.
#[test]
fn fields_stand_where_the_document_says() {
    for (name, geometry, segment_size) in IMAGES {
        let image = golden(name);
        let home = u32_at(&image, 32) as usize;
        for start in [0, home] {
            assert_eq!(&image[start..start + 8], b"ESKERVOL", "{name}");
            assert_eq!(u16_at(&image, start + 8), 2);
            assert_eq!(u32_at(&image, start + 12), VOLUME_ID);
            assert_eq!(u64_at(&image, start + 16), geometry.capacity);
            assert_eq!(
                (u32_at(&image, start + 24), u32_at(&image, start + 28)),
                (geometry.write_unit, geometry.erase_unit)
            );
            assert_eq!((u32_at(&image, start + 36), u32_at(&image, start + 40)), (segment_size, 1));
            assert_eq!(u32_at(&image, start + 124), crc(&[&image[start..start + 124]]));
        }
        let id = &image[12..16];
        let newest = newest(&image, geometry).map(|(generation, _)| generation);
        assert!(newest[0] > 8 && newest[0] == newest[1], "{name}: {newest:?}");
        let pool = u64_at(&image, 44) as usize;
        let (mut headers, mut entries) = (0, 0);
        for segment in 0..(image.len() - pool) / segment_size as usize {
            let base = pool + segment * segment_size as usize;
            if &image[base + 4..base + 6] != b"SG" {
                continue;
            }
            headers += 1;
            let number = (segment as u32).to_le_bytes();
            assert_eq!(
                u32_at(&image, base),
                crc(&[id, &number, &image[base + 4..base + 56]]),
                "{name}: segment {segment}"
            );
            // The records of the first epoch, up to the first place that holds none.
            let (life, epoch) = (&image[base + 8..base + 12], &image[base + 12..base + 16]);
            let (mut at, mut offset) = (56, u64_at(&image, base + 16));
            loop {
                let head = u32_at(&image, base + at + 4);
                let (len, kind) = ((head & 0xFFFF) as usize, head >> 30);
                let user = if kind == 2 { 8 } else { 0 };
                let end = (at + 8 + user + len).next_multiple_of(4);
                let told = u64::from(head >> 16 & 0xFF);
                if kind == 0
                    || end > segment_size as usize - 84
                    || kind == 3 && len != 0
                    || told != offset % 256
                {
                    break;
                }
                let position = (at as u32).to_le_bytes();
                let body = &image[base + at + 8..base + end];
                let offset_bytes = (offset as u32).to_le_bytes();
                let sum =
                    crc(&[id, &number, life, epoch, &position, body, &head.to_le_bytes(), &offset_bytes]);
                if sum != u32_at(&image, base + at) {
                    break;
                }
                if kind != 3 {
                    (offset, entries) = (offset + 1, entries + 1);
                }
                at = if head >> 28 & 1 == 1 {
                    end.next_multiple_of(geometry.write_unit as usize)
                } else {
                    end
                };
            }
        }
        assert!(headers >= 4 && entries >= 25, "{name}: {headers} headers, {entries} entries");
    }
}
