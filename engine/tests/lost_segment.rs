//! A segment that is lost whole takes its own entries with it and no others, and a misdirected write those it harmed.
use esker::device::{Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};

type Vol = Volume<Ram<Vec<u8>>, Vec<u8>>;

const SEGMENT: usize = 4096;

fn payload(offset: u64) -> Vec<u8> {
    vec![offset as u8; 20 + offset as usize % 90]
}

/// With truncated branches in between, whose segments look as if they belonged to the log.
fn live() -> (Vec<u8>, Geometry, usize) {
    let geometry = Geometry::blocks(160 << 10, 512);
    let options = FormatOptions { volume_id: 5, segment_size: SEGMENT as u32, ..FormatOptions::default() };
    let device = Ram::new(vec![0; geometry.capacity as usize], geometry);
    let mut volume: Vol = Volume::format(device, vec![0; 4096], &options).unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
    for round in 1..4 {
        while log.end() < round * 400 {
            let payload = if round == 2 { vec![0xEE; 70] } else { payload(log.end()) };
            log.append(&mut volume, &payload).unwrap();
        }
        if round == 2 {
            log.truncate_after(&mut volume, 399).unwrap();
            while log.end() < 800 {
                let end = log.end();
                log.append(&mut volume, &payload(end)).unwrap();
            }
        }
    }
    log.close(&mut volume).unwrap();
    let pool = volume.info().pool_address as usize;
    (volume.into_device().into_inner(), geometry, pool)
}

#[test]
fn what_is_not_in_it_stays_readable() {
    let (image, geometry, pool) = live();
    let mut lost_of = Vec::new();
    for segment in 0..(image.len() - pool) / SEGMENT {
        let mut image = image.clone();
        image[pool + segment * SEGMENT..][..SEGMENT].fill(0x55);
        let mut volume: Vol = Volume::open(Ram::new(image, geometry), vec![0; 4096]).unwrap();
        let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        assert_eq!((log.start(), log.end()), (0, 1200), "segment {segment}");
        let mut out = [0; 128];
        let mut lost = Vec::new();
        for offset in 0..1200 {
            match log.read(&mut volume, offset, &mut out) {
                Ok(entry) => {
                    assert_eq!(out[..entry.len], payload(offset), "segment {segment}, entry {offset}");
                }
                Err(Error::Corrupt { offset: Some(at), .. }) if at == offset => lost.push(offset),
                Err(error) => panic!("segment {segment}, entry {offset}: {error:?}"),
            }
        }
        // One run of entries, no more than a segment holds.
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            assert_eq!(last - first + 1, lost.len() as u64, "segment {segment}: {lost:?}");
            // Behind a truncation, only the segment that is lost told how much of the one before it counts.
            let most = if lost.contains(&399) { 2 } else { 1 } * SEGMENT / 28;
            assert!(lost.len() <= most, "segment {segment}: {} entries", lost.len());
            lost_of.push((*first, *last));
        }
    }
    // Each entry is in some segment.
    lost_of.sort_unstable();
    assert_eq!((lost_of[0].0, lost_of[lost_of.len() - 1].1), (0, 1199));
    assert!(lost_of.windows(2).all(|pair| pair[0].1 + 1 >= pair[1].0), "{lost_of:?}");
    assert_eq!(lost_of.windows(2).filter(|pair| pair[0].1 + 1 != pair[1].0).count(), 1, "{lost_of:?}");
    println!("{} segments with entries, each lost once", lost_of.len());
}

/// The first write to a segment goes to where the seal of the one before it has just been put, and that one to where the
/// first write belongs. Then neither tells of the last segment any more, and there is much in it.
#[test]
fn a_header_in_the_place_of_the_seal_is_found() {
    let geometry = Geometry::blocks(64 << 10, 512);
    let options = FormatOptions { volume_id: 5, segment_size: SEGMENT as u32, ..FormatOptions::default() };
    let device = Ram::new(vec![0; geometry.capacity as usize], geometry);
    let mut volume: Vol = Volume::format(device, vec![0; 512], &options).unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 512]).unwrap();
    for offset in 0..27 {
        log.append(&mut volume, &[offset; 300]).unwrap();
        log.commit(&mut volume).unwrap();
    }
    let pool = volume.info().pool_address as usize;
    let mut image = volume.into_device().into_inner();
    let (before, behind) = image.split_at_mut(pool + 3 * SEGMENT);
    before[pool + 3 * SEGMENT - 512..].swap_with_slice(&mut behind[..512]);

    let mut out = [0; 300];
    for add in 0..2 {
        let mut volume: Vol = Volume::open(Ram::new(image, geometry), vec![0; 512]).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 512]).unwrap();
        assert_eq!(log.end(), 27 + add);
        for offset in 0..27 {
            match log.read(&mut volume, offset, &mut out) {
                Ok(_) => assert_eq!(out, [offset as u8; 300]),
                Err(error) => assert!(offset == 21 && matches!(error, Error::Corrupt { .. }), "{error:?}"),
            }
        }
        log.append(&mut volume, b"and on").unwrap();
        log.commit(&mut volume).unwrap();
        image = volume.into_device().into_inner();
    }
}

/// Segments of a branch that was given up are still there when a cut takes some of those written since, the one that the
/// superblock names among them: none of the branch's is taken for the end of the log.
#[test]
fn a_branch_that_was_given_up_stays_so() {
    let geometry = Geometry::blocks(160 << 10, 512);
    let options = FormatOptions { volume_id: 5, segment_size: SEGMENT as u32, ..FormatOptions::default() };
    let device = Ram::new(vec![0; geometry.capacity as usize], geometry);
    let mut volume: Vol = Volume::format(device, vec![0; 4096], &options).unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
    while log.end() < 800 {
        let payload = if log.end() < 400 { payload(log.end()) } else { vec![0xEE; 70] };
        log.append(&mut volume, &payload).unwrap();
    }
    log.commit(&mut volume).unwrap();
    log.truncate_after(&mut volume, 399).unwrap();
    let pool = volume.info().pool_address as usize;
    let before = volume.device_mut().bytes().to_vec();
    // Not committed.
    while log.end() < 650 {
        let end = log.end();
        log.append(&mut volume, &payload(end)).unwrap();
    }
    let image = volume.into_device().into_inner();
    let parts = |segment: usize| pool + segment * SEGMENT..pool + (segment + 1) * SEGMENT;
    let written: Vec<_> = (0..(image.len() - pool) / SEGMENT)
        .filter(|segment| image[parts(*segment)] != before[parts(*segment)])
        .collect();
    assert!((4..8).contains(&written.len()), "{written:?}");
    for lost in 0..1_u32 << written.len() {
        let mut image = image.clone();
        for (nth, segment) in written.iter().enumerate() {
            if lost >> nth & 1 != 0 {
                image[parts(*segment)].copy_from_slice(&before[parts(*segment)]);
            }
        }
        let mut volume: Vol = Volume::open(Ram::new(image, geometry), vec![0; 4096]).unwrap();
        let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        assert!(log.end() >= 400, "{lost:b}: {} entries", log.end());
        let mut out = [0; 128];
        for offset in 0..log.end() {
            let entry = log.read(&mut volume, offset, &mut out).unwrap();
            assert_eq!(out[..entry.len], payload(offset), "{lost:b}, entry {offset}");
        }
    }
    println!("{} states", 1_u32 << written.len());
}
