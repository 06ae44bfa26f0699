//! A volume with blocks: how it is laid out, what it refuses, and the store's root through both homes.

use std::vec;
use std::vec::Vec;

use super::super::format::{FORMAT_RECORD, FormatRecord, home_size};
use super::super::roots::{MAX_LOG_ROOT, MAX_OTHER_ROOTS};
use super::super::{Error, FormatOptions, VolumeInfo};
use super::*;
use crate::codec::{Checksum, put_word};
use crate::device::{Geometry, Ram};
use crate::testing::{Part, Random};

type Vol = Volume<Part, Vec<u8>, 2>;

const GEOMETRIES: [Geometry; 4] = [
    Geometry::blocks(256 << 10, 512),
    Geometry::blocks(1 << 20, 4096),
    Geometry::flash(256 << 10, 4, 4096),
    Geometry { read_unit: 1024, ..Geometry::flash(512 << 10, 256, 4096) },
];

fn options(block_size: u32) -> FormatOptions {
    FormatOptions { volume_id: 9, block_size, ..FormatOptions::default() }
}

fn memory(geometry: &Geometry, options: &FormatOptions) -> Vec<u8> {
    vec![0; Vol::memory_needed(geometry, options)]
}

fn format(geometry: Geometry, block_size: u32) -> Vol {
    let options = options(block_size);
    Volume::format(Part::new(geometry), memory(&geometry, &options), &options).unwrap()
}

fn open(device: Part, block_size: u32) -> Vol {
    let memory = memory(&device.geometry(), &options(block_size));
    Volume::open(device, memory).unwrap()
}

#[test]
fn blocks_take_what_the_pool_leaves() {
    for geometry in GEOMETRIES {
        for block_size in [512, 4096, 65_536] {
            let options =
                FormatOptions { pool_size: 96 << 10, segment_size: 16 << 10, ..options(block_size) };
            if block_size < geometry.block() {
                continue;
            }
            let Ok(volume) =
                Volume::<_, _, 2>::format(Part::new(geometry), memory(&geometry, &options), &options)
            else {
                assert!(block_size == 65_536 && geometry.capacity < 1 << 20, "{block_size}");
                continue;
            };
            let info = volume.info();
            assert_eq!(info.block_size, block_size);
            let pool = u64::from(info.segments) * u64::from(info.segment_size);
            assert_eq!(info.block_address, info.pool_address + pool);
            let end = info.block_address + u64::from(info.blocks) * u64::from(block_size);
            assert!(end <= geometry.capacity && geometry.capacity - end < u64::from(block_size));
            // It comes back as it was.
            let volume: Vol = Volume::open(volume.into_device(), memory(&geometry, &options)).unwrap();
            assert_eq!(VolumeInfo { generation: info.generation, ..volume.info() }, info);
            assert_eq!((volume.block_size(), volume.block_count()), (block_size, info.blocks));
        }
    }
}

#[test]
fn the_pool_beside_blocks_is_an_eighth_within_bounds() {
    let plan = |geometry, options: &FormatOptions| FormatRecord::plan::<()>(geometry, options).unwrap();
    for (geometry, segments, segment) in [
        (Geometry::blocks(1 << 40, 4096), 256, 1 << 20),
        (Geometry::blocks(1 << 30, 4096), 128, 1 << 20),
        (Geometry::blocks(64 << 20, 512), 64, 128 << 10),
        (Geometry::blocks(128 << 10, 512), 8, 4096),
        (Geometry::flash(1 << 20, 4, 4096), 16, 8192),
        (Geometry::flash(128 << 10, 4, 4096), 5, 8192),
    ] {
        let format = plan(geometry, &options(4096));
        let found = (format.segments(), format.segment);
        // The homes take a bit, so an eighth of the rest may be one segment less.
        assert!(
            found.1 == segment && (found.0 == segments || found.0 + 1 == segments),
            "{geometry:?}: {found:?}"
        );
    }
    let reserved = FormatOptions { reserve: 3, ..options(4096) };
    assert_eq!(plan(Geometry::flash(128 << 10, 4, 4096), &reserved).segments(), 7);
    // There are never more than can be counted.
    let most = plan(Geometry::blocks(1 << 50, 512), &options(512));
    assert_eq!(most.block_count, u32::MAX - 1);
}

#[test]
fn what_does_not_fit_the_device_is_refused_and_says_what_would() {
    let refusal = |geometry: Geometry, options: FormatOptions| {
        let mut device = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
        let refused = Volume::<_, _>::format(&mut device, vec![0; 70_000], &options).err();
        assert!(device.bytes().iter().all(|byte| *byte == 0xFF), "nothing was written");
        match refused {
            Some(Error::Options(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let disk = Geometry::blocks(1 << 20, 4096);
    let flash = Geometry::flash(1 << 20, 4, 4096);
    for (geometry, block_size) in [
        (disk, 1),
        (disk, 512),
        (disk, 2048),
        (disk, 6000),
        (disk, 2 << 20),
        (flash, 512),
        (flash, 2048),
        (Geometry::flash(4 << 20, 4, 128 << 10), 65_536),
        (Geometry { read_unit: 4096, ..Geometry::blocks(1 << 20, 512) }, 2048),
    ] {
        let why = refusal(geometry, options(block_size));
        assert!(
            why.contains("power of two from 512 to 1048576") && why.contains("units"),
            "{block_size}: {why}"
        );
    }
    let why = refusal(Geometry::blocks(64 << 10, 512), options(4096));
    assert!(why.contains("room for 8 blocks"), "{why}");
    let why = refusal(disk, FormatOptions { pool_size: 936 << 10, segment_size: 8192, ..options(4096) });
    assert!(why.contains("room for 8 blocks"), "{why}");
    let needed = Vol::memory_needed(&disk, &options(4096));
    // The longest publish, and behind the scratch the root once more.
    let logs = Volume::<Part, Vec<u8>, 8>::memory_needed(&GEOMETRIES[2], &options(4096));
    assert!(logs >= 16 + MAX_OTHER_ROOTS + 8 * MAX_LOG_ROOT + 2 * (STORE_ROOT + 1), "{logs}");
    let short = Volume::<_, _, 2>::format(Part::new(disk), vec![0; needed - 1], &options(4096)).err();
    assert_eq!(short, Some(Error::MemoryTooSmall { needed }));
}

/// A checksum is no signature: the format record of an image that somebody has made.
#[test]
fn an_impossible_region_is_refused() {
    let volume = format(GEOMETRIES[0], 512);
    let mut image = Vec::new();
    let mut device = volume.into_device();
    image.resize(256 << 10, 0);
    device.read(0, &mut image).unwrap();
    let home = home_size(&GEOMETRIES[0]) as usize;
    let refused = |change: &dyn Fn(&mut [u8])| {
        let mut image = image.clone();
        for start in [0, home] {
            let record = &mut image[start..start + FORMAT_RECORD];
            change(record);
            let crc = Checksum::new().bytes(&record[..124]).finish();
            put_word(&mut record[124..], crc);
        }
        Volume::<_, _>::open(Ram::new(image, GEOMETRIES[0]), vec![0; 4096]).err()
    };
    assert_eq!(refused(&|_| {}), None);
    for kind in [2 | 8 << 8, 2 | 21 << 8, 2 | 31 << 8] {
        assert!(refused(&|record| put_word(&mut record[60..], kind)).is_some(), "{kind:#x}");
    }
    assert!(refused(&|record| put_word(&mut record[72..], 256 << 10)).is_some(), "longer than the device");
    assert!(refused(&|record| put_word(&mut record[76..], u32::MAX)).is_some());
    let version = refused(&|record| record[8] = 4);
    assert_eq!(version, Some(Error::Version { found: 4, supported: 3 }));
    // Version 2 knows nothing of blocks and leaves them alone.
    assert_eq!(refused(&|record| record[8] = 2), None);
}

#[test]
fn a_volume_without_blocks_is_of_version_2_and_keeps_no_root() {
    let mut volume = format(GEOMETRIES[0], 0);
    volume.set_store_root(b"nobody asks");
    assert_eq!(volume.store_root(), b"");
    volume.publish().unwrap();
    let mut head = [0; 512];
    let mut device = volume.into_device();
    device.read(0, &mut head).unwrap();
    assert_eq!((head[8], &head[60..80]), (2, &[0; 20][..]));
    let mut device = format(GEOMETRIES[0], 2048).into_device();
    device.read(0, &mut head).unwrap();
    assert_eq!((head[8], &head[60..64]), (3, &[2, 11, 0, 0][..]));
}

#[test]
fn the_root_comes_back_from_either_home() {
    for geometry in GEOMETRIES {
        for len in [0, 1, 50, STORE_ROOT] {
            for lost in [None, Some(0), Some(1)] {
                let mut volume = format(geometry, 4096);
                for step in 0..40_u8 {
                    volume.set_store_root(&vec![step; (len + usize::from(step)) % (STORE_ROOT + 1)]);
                    volume.publish().unwrap();
                }
                volume.create_log(3).unwrap();
                let root: Vec<u8> = (0..len as u8).collect();
                volume.set_store_root(&root);
                volume.publish().unwrap();
                let mut device = volume.into_device();
                let home = home_size(&geometry);
                if let Some(number) = lost {
                    device.damage(u64::from(number * home), home as usize);
                }
                let mut volume = open(device, 4096);
                assert_eq!(volume.store_root(), root);
                assert_eq!(volume.logs().collect::<Vec<_>>(), [3]);
                assert_eq!(volume.homes.differ, lost.is_some());
                let generation = volume.info().generation;
                volume.settle().unwrap();
                assert_eq!(volume.info().generation, generation + u64::from(lost.is_some()));
                // Both say it now.
                let mut device = volume.into_device();
                device.damage(u64::from((1 - lost.unwrap_or(0)) * home), home as usize);
                assert_eq!(open(device, 4096).store_root(), root);
            }
        }
    }
}

#[test]
fn the_root_is_that_of_one_publish_whenever_the_power_is_cut() {
    for (number, geometry) in GEOMETRIES.into_iter().enumerate() {
        for round in 0..100 {
            let mut random = Random::new(round * 4 + number as u64);
            let mut volume = format(geometry, 4096);
            volume.device_mut().fuel = Some(random.below(40) as u32);
            let mut published = 0;
            for step in 1..60_u8 {
                volume.set_store_root(&[step; STORE_ROOT]);
                if volume.publish().is_err() {
                    break;
                }
                published = step;
            }
            let mut device = volume.into_device();
            device.cut(&mut random);
            let volume = open(device, 4096);
            let root = volume.store_root();
            let step = root.first().copied().unwrap_or(0);
            assert!(root.iter().all(|byte| *byte == step) && [0, STORE_ROOT].contains(&root.len()));
            assert!(step == published || step == published + 1, "{step}, {published} were published");
        }
    }
}

#[test]
fn blocks_are_read_and_written_whole_and_in_part() {
    for geometry in GEOMETRIES {
        let mut volume = format(geometry, 8192);
        let last = volume.block_count() - 1;
        let whole: Vec<u8> = (0..8192).map(|at| (at * 11) as u8).collect();
        let unit = geometry.write_unit.max(geometry.read_unit) as usize;
        for block in [0, last] {
            for _ in 0..2 {
                volume.write_block(block, &whole).unwrap();
            }
            let mut out = vec![0; 8192];
            volume.read_block(block, &mut out).unwrap();
            assert_eq!(out, whole);
            let mut part = [0; 37];
            volume.read_block_part(block, 8192 - 37, &mut part).unwrap();
            assert_eq!(part, whole[8192 - 37..]);
            volume.write_block(block, &whole[..unit]).unwrap();
            volume.erase_block(block).unwrap();
            volume.medium.scratch()[..5].copy_from_slice(b"parts");
            volume.write_block_part(block, 4096, 5).unwrap();
            volume.read_block_part(block, 4096, &mut part).unwrap();
            assert_eq!(&part[..5], b"parts");
        }
        let info = volume.info();
        let end = info.block_address + u64::from(info.blocks) * 8192;
        assert!(end <= geometry.capacity, "and nothing is behind");
        // What an image may have made somebody believe.
        let mut out = vec![0; 8192];
        for refused in [
            volume.read_block(last + 1, &mut out),
            volume.read_block(u32::MAX, &mut out),
            volume.read_block_part(0, 8190, &mut out[..3]),
            volume.read_block_part(0, u32::MAX, &mut out[..3]),
            volume.write_block(last + 1, &whole),
            volume.write_block_part(0, 8192, 1),
            volume.erase_block(last + 1),
        ] {
            assert_eq!(refused, Err(Fault::Damaged));
        }
        assert!(!volume.is_poisoned());
    }
}
