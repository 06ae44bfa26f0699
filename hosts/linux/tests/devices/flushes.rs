//! What a commit costs the disk: one flush, one write of one unit.

use esker::device::Geometry;
use esker_linux::{Device, DeviceError, FileDevice, Replace};

use crate::loops::{Loop, Traffic};
use crate::session::Session;

const COMMITS: u64 = 40;
const SEGMENT: u32 = 1 << 20;

/// What the commits of [`COMMITS`] entries of 100 bytes cost the disk.
fn cost<D>(disk: &Loop, device: D) -> Traffic
where
    D: esker::device::BlockDevice<Error = DeviceError>,
{
    let mut session = Session::format(device, SEGMENT).unwrap();
    // The first one also begins the segment and the epoch.
    session.commit(&[0; 100]).unwrap();
    let before = disk.traffic();
    for number in 1..=COMMITS {
        assert_eq!(session.commit(&[number as u8; 100]).unwrap(), number);
    }
    let traffic = disk.traffic().since(before);
    assert_eq!(session.entries().len() as u64, COMMITS + 1);
    traffic
}

/// A raw disk of sectors of `sector` bytes.
fn on_a_raw_disk(sector: u32) {
    let Some(disk) = Loop::new(16 << 20, sector) else { return };
    let geometry = Device::survey(disk.path()).unwrap();
    let esker_linux::Place::Disk(info) = geometry else { panic!("{geometry:?}") };
    assert_eq!(info.logical, sector);
    let unit = info.geometry().write_unit;
    let device = Device::create(disk.path(), info.geometry(), Replace::Blank).unwrap();
    let traffic = cost(&disk, device);
    assert_eq!(traffic.flushes, COMMITS);
    assert_eq!(traffic.writes, COMMITS);
    assert_eq!(traffic.bytes_written, COMMITS * u64::from(unit));
}

#[test]
fn a_commit_on_a_raw_disk_of_512_byte_sectors() {
    on_a_raw_disk(512);
}

#[test]
fn a_commit_on_a_raw_disk_of_4096_byte_sectors() {
    on_a_raw_disk(4096);
}

/// A file on ext4, on a disk of its own.
fn in_a_file(direct: bool, unit: u32) {
    let Some(mut disk) = Loop::new(64 << 20, 512) else { return };
    let Some(folder) = disk.mount() else { return };
    let mut device = FileDevice::create(folder.join("dev"), Geometry::blocks(8 << 20, unit)).unwrap();
    if direct {
        device = device.direct().unwrap();
    }
    let traffic = cost(&disk, device);
    assert_eq!(traffic.flushes, COMMITS);
    assert_eq!(traffic.writes, COMMITS);
    // The page cache writes whole blocks of the file system.
    let written = if direct { unit } else { 4096 };
    assert_eq!(traffic.bytes_written, COMMITS * u64::from(written));
}

#[test]
fn a_commit_in_a_buffered_file() {
    in_a_file(false, 512);
    in_a_file(false, 4096);
}

#[test]
fn a_commit_in_a_direct_file() {
    in_a_file(true, 512);
    in_a_file(true, 4096);
}
