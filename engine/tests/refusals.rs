//! Bad input gets one clear error, and the device is not touched.
use esker::device::{Geometry, Ram, RamError};
use esker::volume::{Error, FormatOptions, Volume};
use esker::wal::{self, Log, SyncStrategy};

const BLOCKS: Geometry = Geometry::blocks(64 * 1024, 512);

type Device<'a> = Ram<&'a mut [u8]>;

fn formatted() -> Vec<u8> {
    let mut image = vec![0; 64 * 1024];
    let mut volume = Volume::<_, _>::format(Ram::new(&mut image[..], BLOCKS), [0; 512], &options()).unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, [0; 512]).unwrap();
    for at in 0..10_u8 {
        log.append(&mut volume, &[at; 100]).unwrap();
    }
    log.close(&mut volume).unwrap();
    image
}

fn options() -> FormatOptions {
    FormatOptions { volume_id: 5, segment_size: 4096, ..FormatOptions::default() }
}

/// What opening says; the image must be as before.
fn refusal(image: &mut [u8], geometry: Geometry) -> Error<RamError> {
    let before = image.to_vec();
    let refused = Volume::<Device<'_>, _>::open(Ram::new(image, geometry), vec![0; 8192]).err();
    assert!(image == before, "{refused:?}, and yet something was written");
    refused.expect("must be refused")
}

#[test]
fn what_is_no_volume_of_this_device_is_refused_by_name() {
    let good = formatted();
    assert_eq!(refusal(&mut vec![0; 64 * 1024], BLOCKS), Error::NotFormatted);
    assert_eq!(refusal(&mut vec![0xFF; 64 * 1024], BLOCKS), Error::NotFormatted);

    let mut wrong = good.clone();
    wrong[0] = b'X';
    wrong[4096] = b'X';
    assert_eq!(refusal(&mut wrong, BLOCKS), Error::NotFormatted);

    let mut damaged = good.clone();
    damaged[20] ^= 1;
    damaged[4096 + 20] ^= 1;
    assert_eq!(refusal(&mut damaged, BLOCKS), Error::Corrupt { address: 0 });

    // A newer format, whole by its own checksum.
    let mut newer = good.clone();
    newer[8] = 4;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&newer[..124]);
    newer[124..128].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(refusal(&mut newer, BLOCKS), Error::Version { found: 4, supported: 3 });

    let mut short = good[..32 * 1024].to_vec();
    let refused = refusal(&mut short, BLOCKS);
    let Error::Geometry { recorded, device } = refused else { panic!("{refused:?}") };
    assert_eq!((recorded.capacity, device.capacity), (64 * 1024, 32 * 1024));
    let coarse = Geometry::blocks(0, 4096);
    let refused = refusal(&mut good.clone(), coarse);
    assert!(matches!(refused, Error::Geometry { .. }), "{refused:?}");
    let flash = Geometry::flash(0, 4, 4096);
    let refused = refusal(&mut good.clone(), flash);
    assert!(matches!(refused, Error::Geometry { .. }), "{refused:?}");

    assert!(matches!(refusal(&mut [], BLOCKS), Error::Options(_)), "nothing at all");

    let mut larger = good.clone();
    larger.resize(128 * 1024, 0);
    let volume = Volume::<Device<'_>, _>::open(Ram::new(&mut larger[..], BLOCKS), [0; 512]).unwrap();
    assert_eq!(volume.info().geometry.capacity, 64 * 1024, "opens at its recorded size");
}

#[test]
fn one_home_is_enough() {
    for home in [0, 4096] {
        let mut image = formatted();
        image[home..home + 4096].fill(0xA5);
        let mut volume = Volume::<Device<'_>, _>::open(Ram::new(&mut image[..], BLOCKS), [0; 512]).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, [0; 512]).unwrap();
        assert_eq!((log.end(), log.report().clean), (10, true));
        log.append(&mut volume, b"goes on").unwrap();
        log.close(&mut volume).unwrap();
        let volume = Volume::<Device<'_>, _>::open(volume.into_device(), [0; 512]).unwrap();
        let mut other = volume.into_device();
        other.bytes_mut()[4096 - home..8192 - home].fill(0x5A);
        let mut volume = Volume::<Device<'_>, _>::open(other, [0; 512]).unwrap();
        let log: Log<_> = Log::open(&mut volume, 0, [0; 512]).unwrap();
        assert_eq!((log.end(), log.report().clean), (11, true), "the damaged home was made anew");
    }
}

#[test]
fn too_little_memory_says_how_much_is_needed() {
    let mut image = formatted();
    let refused = Volume::<Device<'_>, _>::open(Ram::new(&mut image[..], BLOCKS), [0; 511]).err();
    assert_eq!(refused, Some(Error::MemoryTooSmall { needed: 512 }));
    let mut volume = Volume::<Device<'_>, _>::open(Ram::new(&mut image[..], BLOCKS), [0; 512]).unwrap();
    let refused = Log::<_>::open(&mut volume, 0, [0; 100]).err();
    assert_eq!(refused, Some(wal::Error::Volume(Error::MemoryTooSmall { needed: 512 })));
    assert_eq!(Log::<_>::open(&mut volume, 9, [0; 512]).err(), Some(wal::Error::Volume(Error::NoSuchLog)));
}

#[test]
fn one_kibibyte_in_all_is_enough_for_a_device_of_512_byte_blocks() {
    let mut image = vec![0; 64 * 1024];
    let (mut first, mut second) = ([0; 512], [0; 512]);
    let mut volume =
        Volume::<_, _>::format(Ram::new(&mut image[..], BLOCKS), &mut first[..], &options()).unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, &mut second[..]).unwrap();
    let longest = log.max_entry(&volume) as usize;
    let mut out = vec![0; longest];
    for round in 0..40 {
        let len = [0, 1, 700, longest][round % 4];
        let payload: Vec<u8> = (0..len).map(|at| (at * 7 + round) as u8).collect();
        let offset = loop {
            match log.append(&mut volume, &payload) {
                Ok(offset) => break offset,
                Err(wal::Error::Full { release_before: Some(offset) }) => {
                    log.release_before(&mut volume, offset).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        };
        log.commit(&mut volume).unwrap();
        let entry = log.read(&mut volume, offset, &mut out).unwrap();
        assert_eq!(&out[..entry.len], payload);
    }
}

#[test]
fn a_log_says_what_its_limits_are() {
    let mut image = formatted();
    let mut volume = Volume::<Device<'_>, _>::open(Ram::new(&mut image[..], BLOCKS), [0; 512]).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, [0; 512]).unwrap();
    let max = log.max_entry(&volume);
    let too_long = vec![0; max as usize + 1];
    assert_eq!(log.append(&mut volume, &too_long), Err(wal::Error::TooLarge { max }));
    let before = volume.device().bytes().to_vec();
    let mut out = [0; 10];
    assert_eq!(log.read(&mut volume, 10, &mut out), Err(wal::Error::OutOfRange { start: 0, end: 10 }));
    assert_eq!(log.read(&mut volume, 3, &mut out), Err(wal::Error::BufferTooSmall { needed: 100 }));
    assert_eq!(log.release_before(&mut volume, 11), Err(wal::Error::OutOfRange { start: 0, end: 10 }));
    assert_eq!(log.truncate_after(&mut volume, 10), Err(wal::Error::OutOfRange { start: 0, end: 10 }));
    assert!(volume.device().bytes() == before, "nothing was written");
    assert_eq!(log.append(&mut volume, &too_long[1..]), Ok(10), "the limit itself fits");
}

#[test]
fn opening_goes_in_steps_and_batches_commit_when_due() {
    let mut image = formatted();
    let mut volume = Volume::<Device<'_>, _>::mount(Ram::new(&mut image[..], BLOCKS), [0; 512]).unwrap();
    let mut steps = 0;
    while !volume.scan(1).unwrap() {
        steps += 1;
    }
    assert_eq!(steps, volume.info().segments - 1);
    let mut recovery = Log::<_>::recover(&mut volume, 0, [0; 512]).unwrap();
    let mut steps = 0;
    while !recovery.step(&mut volume, 1).unwrap() {
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps");
    let mut log = recovery.finish(&mut volume).unwrap();
    assert_eq!(
        (log.end(), log.report().replayed),
        (10, 10),
        "ten entries; the first epoch began by a publish"
    );
    log.set_sync(SyncStrategy::Batch { entries: 3, bytes: 0, millis: 50 });
    let mut due = Vec::new();
    for (at, now) in [0, 1, 2, 3, 60].into_iter().enumerate() {
        log.append(&mut volume, &[at as u8]).unwrap();
        due.push(log.commit_if_due(&mut volume, now).unwrap() == wal::Durability::Durable);
    }
    assert_eq!(due, [false, false, true, false, true], "three entries, then 50 milliseconds");
    assert_eq!(log.durable(), 15);
}
