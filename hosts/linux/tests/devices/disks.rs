//! Raw disks read and write what they should, and refuse what they should.

use std::fs;

use esker::device::{BlockDevice, Geometry};
use esker::volume;
use esker_linux::{
    Access, AlignedBuffer, Device, DeviceError, DiskInfo, FileDevice, Place, RawDisk, Replace,
};

use crate::loops::{Loop, Memory};
use crate::session::Session;

fn info(disk: &Loop) -> DiskInfo {
    match Device::survey(disk.path()).unwrap() {
        Place::Disk(info) => info,
        other => panic!("{other:?}"),
    }
}

fn blank(disk: &Loop) -> Device {
    Device::create(disk.path(), info(disk).geometry(), Replace::Blank).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn sectors_and_size_are_the_disks() {
    for (sector, size) in [(512, (1 << 20) + 512), (4096, 3 << 20)] {
        let Some(disk) = Loop::new(size, sector) else { return };
        let info = info(&disk);
        assert_eq!((info.logical, info.physical, info.capacity), (sector, sector, size));
        assert!(!info.write_protected);
        let device = blank(&disk);
        assert_eq!(device.geometry(), Geometry::blocks(size, sector));
    }
}

#[test]
fn any_memory_may_be_lent() {
    for sector in [512, 4096] {
        let Some(disk) = Loop::new(8 << 20, sector) else { return };
        let mut device = blank(&disk);
        let unit = sector as usize;
        // More than is copied at once, from an odd address.
        let bytes = pattern(1 + (3 << 20));
        device.write(u64::from(sector), &bytes[1..]).unwrap();
        let mut aligned = AlignedBuffer::new(2 * unit);
        aligned.as_mut().copy_from_slice(&bytes[..2 * unit]);
        device.write(4 << 20, aligned.as_ref()).unwrap();
        device.sync().unwrap();

        let mut back = vec![0; bytes.len()];
        device.read(u64::from(sector), &mut back[1..]).unwrap();
        assert!(back[1..] == bytes[1..]);
        aligned.as_mut().fill(0);
        device.read(4 << 20, aligned.as_mut()).unwrap();
        assert_eq!(aligned.as_ref(), &bytes[..2 * unit]);
        // It is on the disk, and nowhere else.
        let image = fs::read(disk.image()).unwrap();
        assert!(image[unit..unit + (3 << 20)] == bytes[1..]);
        assert!(image[4 << 20..][..2 * unit] == bytes[..2 * unit]);
    }
}

#[test]
fn slices_go_one_behind_the_other() {
    for sector in [512, 4096] {
        let Some(disk) = Loop::new(8 << 20, sector) else { return };
        let mut device = blank(&disk);
        let unit = sector as usize;
        // More than fit into one request, with small sectors into one submission; of different lengths, some empty.
        let count = if sector == 512 { 2200 } else { 300 };
        let lens: Vec<usize> = (0..count).map(|number| number % 4 * unit).collect();
        let bytes = pattern(lens.iter().sum());
        let cut = |shift: usize| {
            let mut memory: Vec<AlignedBuffer> =
                lens.iter().map(|len| AlignedBuffer::new(shift + len)).collect();
            let mut at = 0;
            for (buffer, len) in memory.iter_mut().zip(&lens) {
                buffer.as_mut()[shift..].copy_from_slice(&bytes[at..at + len]);
                at += len;
            }
            memory
        };
        // As it is, and by a copy.
        for (shift, address) in [(0, u64::from(sector)), (8, 4 << 20)] {
            let mut memory = cut(shift);
            let parts: Vec<&[u8]> = memory.iter().map(|buffer| &buffer.as_ref()[shift..]).collect();
            device.write_vectored(address, &parts).unwrap();
            for buffer in &mut memory {
                buffer.as_mut().fill(0);
            }
            let mut parts: Vec<&mut [u8]> =
                memory.iter_mut().map(|buffer| &mut buffer.as_mut()[shift..]).collect();
            device.read_vectored(address, &mut parts).unwrap();
            let back: Vec<u8> = memory.iter().flat_map(|buffer| buffer.as_ref()[shift..].to_vec()).collect();
            assert!(back == bytes, "{sector}, {shift}");
            let mut whole = vec![0; bytes.len()];
            device.read(address, &mut whole).unwrap();
            assert!(whole == bytes, "{sector}, {shift}");
        }
    }
}

#[test]
fn what_breaks_the_rules_changes_nothing() {
    let Some(disk) = Loop::new(1 << 20, 4096) else { return };
    let mut device = blank(&disk);
    let before = fs::read(disk.image()).unwrap();
    let page = [1; 4096];
    for (address, data) in [(512, &page[..]), (0, &page[..512]), (1 << 20, &page), (u64::MAX - 4095, &page)] {
        assert!(matches!(device.write(address, data), Err(DeviceError::OutOfBounds)), "{address}");
    }
    let parts = [&page[..], &page[..512]];
    assert!(matches!(device.write_vectored(0, &parts), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.read(1 << 20, &mut [0; 4096]), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.erase(0..512), Err(DeviceError::OutOfBounds)));
    drop(device);
    assert!(fs::read(disk.image()).unwrap() == before);
}

#[test]
fn an_erase_is_a_discard() {
    let Some(disk) = Loop::new(4 << 20, 512) else { return };
    let mut device = blank(&disk);
    device.write(1 << 20, &pattern(1 << 20)).unwrap();
    device.sync().unwrap();
    let before = disk.traffic();
    device.erase(1 << 20..2 << 20).unwrap();
    device.erase(0..0).unwrap();
    let traffic = disk.traffic().since(before);
    if !info(&disk).discard {
        return crate::loops::skip("the file system below takes no discards");
    }
    assert!(traffic.discards >= 1 && traffic.bytes_written == 0, "{traffic:?}");
    device.write(1 << 20, &pattern(512)).unwrap();
}

#[test]
fn a_write_protected_disk_is_read() {
    let Some(mut disk) = Loop::new(4 << 20, 512) else { return };
    let mut session = Session::format(blank(&disk), 65_536).unwrap();
    session.commit(b"kept").unwrap();
    drop(session);
    let image = fs::read(disk.image()).unwrap();
    disk.protect(true);
    let refused = RawDisk::open(disk.path(), Access::ReadWrite).unwrap_err();
    let overwritten = Device::create(disk.path(), info(&disk).geometry(), Replace::Anything).unwrap_err();
    let read = Device::open(disk.path(), Access::ReadOnly).unwrap();
    let mut session = Session::open(read).unwrap();
    assert_eq!(session.entries(), [b"kept"]);
    assert!(matches!(session.commit(b"no"), Err(e) if format!("{e:?}").contains("ReadOnly")));
    drop(session);
    assert!(matches!(refused, volume::Error::Device(DeviceError::WriteProtected)), "{refused:?}");
    assert!(matches!(overwritten, DeviceError::WriteProtected), "{overwritten:?}");
    assert!(fs::read(disk.image()).unwrap() == image);
}

#[test]
fn a_volume_moves_between_a_file_and_disks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev");
    let device = FileDevice::create(&path, Geometry::blocks(1 << 20, 512)).unwrap();
    let mut session = Session::format(device, 65_536).unwrap();
    session.commit(b"one").unwrap();
    session.commit(b"two").unwrap();
    drop(session);
    let image = fs::read(&path).unwrap();

    {
        let Some(disk) = Loop::new(2 << 20, 512) else { return };
        fs::write(disk.path(), &image).unwrap();
        let mut session = Session::open(Device::open(disk.path(), Access::ReadWrite).unwrap()).unwrap();
        session.commit(b"three").unwrap();
        assert_eq!(session.entries(), [&b"one"[..], b"two", b"three"]);
    }
    {
        // Larger sectors: a write would take its neighbours along.
        let Some(disk) = Loop::new(2 << 20, 4096) else { return };
        fs::write(disk.path(), &image).unwrap();
        let error = Device::open(disk.path(), Access::ReadWrite).unwrap_err();
        let expected =
            matches!(error, volume::Error::Device(DeviceError::UnitTooSmall { unit: 512, least: 4096 }));
        assert!(expected, "{error:?}");
        let mut session = Session::open(Device::open(disk.path(), Access::ReadOnly).unwrap()).unwrap();
        assert_eq!(session.entries(), [b"one", b"two"]);
        drop(session);
        assert!(fs::read(disk.image()).unwrap()[..image.len()] == image);
    }
    {
        let Some(disk) = Loop::new(512 << 10, 512) else { return };
        fs::write(disk.path(), &image[..512 << 10]).unwrap();
        let error = Device::open(disk.path(), Access::ReadWrite).unwrap_err();
        assert!(matches!(error, volume::Error::Geometry { .. }), "{error:?}");
    }
}

#[test]
fn geometries_that_a_disk_cannot_have() {
    let Some(disk) = Loop::new(1 << 20, 4096) else { return };
    let create = |geometry| Device::create(disk.path(), geometry, Replace::Anything).unwrap_err();
    assert!(matches!(create(Geometry::flash(1 << 20, 4096, 8192)), DeviceError::FlashOnDisk));
    assert!(matches!(create(Geometry::blocks(1 << 20, 512)), DeviceError::UnitTooSmall { least: 4096, .. }));
    assert!(matches!(create(Geometry::blocks(2 << 20, 4096)), DeviceError::TooSmall { .. }));
    assert!(matches!(create(Geometry::blocks(1000, 4096)), DeviceError::Geometry(_)));
    // A part of it, in larger units, is as good as the whole.
    let device = Device::create(disk.path(), Geometry::blocks(512 << 10, 8192), Replace::Anything).unwrap();
    assert_eq!(device.geometry(), Geometry::blocks(512 << 10, 8192));
}

#[test]
fn a_blank_disk_is_nothing_else_any_more() {
    // Of its files no part can be given back, so a disk made of one takes no discards: what is not written stays.
    let Some(folder) = Memory::mount("ramfs", "rw") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::over(folder.path().join("image"), dir, 8 << 20, 512) else { return };
    assert!(!info(&disk).discard);
    fs::write(disk.path(), pattern(8 << 20)).unwrap();
    let mut device = Device::create(disk.path(), info(&disk).geometry(), Replace::Anything).unwrap();
    device.erase(2 << 20..3 << 20).unwrap();
    drop(device);
    let image = fs::read(disk.image()).unwrap();
    assert!(image[..1 << 20].iter().chain(&image[7 << 20..]).all(|byte| *byte == 0));
    assert!(image[1 << 20..7 << 20] == pattern(8 << 20)[1 << 20..7 << 20], "more was touched than it takes");
}
