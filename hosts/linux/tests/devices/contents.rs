//! Nothing is formatted over what somebody may want back.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use esker::device::Geometry;
use esker_linux::{Device, DeviceError, FileDevice, Found, Place, Replace, SignatureKind, contents};

use crate::loops::{Loop, must_run, run, skip};
use crate::session::Session;

const SMALL: Geometry = Geometry::blocks(64 << 10, 512);

fn name_of(found: &Found) -> (SignatureKind, &str) {
    match found {
        Found::Signature { kind, name, .. } => (*kind, name),
        other => panic!("{other:?}"),
    }
}

/// What is told about a place, and that it is left as it is.
fn refused(path: &Path, geometry: Geometry) -> Found {
    let before = fs::read(path).unwrap();
    let found = contents(path).unwrap().expect("something is there");
    match Device::create(path, geometry, Replace::Blank).unwrap_err() {
        DeviceError::Occupied(again) => assert_eq!(again, found),
        other => panic!("{other:?}"),
    }
    assert!(fs::read(path).unwrap() == before, "it was written to");
    found
}

#[test]
fn files_of_anything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    assert_eq!(contents(&path).unwrap(), None);
    for blank in [vec![], vec![0; 3 << 20], vec![0xFF; 5000]] {
        fs::write(&path, &blank).unwrap();
        assert_eq!(contents(&path).unwrap(), None, "{} bytes", blank.len());
    }
    let mut late = vec![0; 3 << 20];
    late[(3 << 20) - 1] = 1;
    for data in [b"a letter".to_vec(), vec![0xA5; 5000], late, [&[0; 4096][..], &[0xFF; 4096]].concat()] {
        fs::write(&path, &data).unwrap();
        assert_eq!(refused(&path, SMALL), Found::Data, "{} bytes", data.len());
    }
    Device::create(&path, SMALL, Replace::Anything).unwrap();
    assert!(fs::read(&path).unwrap() == [0; 64 << 10]);
}

#[test]
fn an_esker_volume_sick_or_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    let geometry = Geometry::blocks(1 << 20, 512);
    let device = FileDevice::create(&path, geometry).unwrap();
    drop(Session::format(device, 65_536).unwrap());
    assert_eq!(refused(&path, SMALL), Found::Volume);

    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(512 << 10).unwrap();
    assert!(matches!(refused(&path, SMALL), Found::SickVolume(_)));
    // A version of the far future in both homes.
    let mut image = fs::read(&path).unwrap();
    let homes: Vec<usize> = (0..1 << 16).filter(|at| image[*at..].starts_with(b"ESKERVOL")).collect();
    assert_eq!(homes.len(), 2);
    for home in homes {
        image[home + 8] = 0xEE;
    }
    fs::write(&path, &image).unwrap();
    let Found::SickVolume(why) = refused(&path, SMALL) else { panic!() };
    assert!(!why.is_empty());
}

#[test]
fn file_systems_swap_and_partition_tables() {
    let Some(disk) = Loop::new(16 << 20, 512) else { return };
    if run("blkid", &["--version"]).is_none() {
        return skip("`blkid` is not installed (util-linux)");
    }
    let Place::Disk(info) = Device::survey(disk.path()).unwrap() else { panic!() };
    let geometry = info.geometry();
    let name = disk.name();
    let refused = || refused(disk.path(), geometry);
    assert_eq!(contents(disk.path()).unwrap(), None);

    if must_run("mkfs.ext4", &["-q", "-F", "-L", "my data", name]).is_some() {
        let found = refused();
        assert_eq!(name_of(&found), (SignatureKind::FileSystem, "ext4"));
        assert_eq!(found.to_string(), "a file system (ext4, label \"my data\")");
    }
    if must_run("mkswap", &["--force", name]).is_some() {
        assert_eq!(name_of(&refused()), (SignatureKind::Other, "swap"));
    }
    // Forced, and it is gone: the next one finds nothing.
    drop(Device::create(disk.path(), geometry, Replace::Anything).unwrap());
    assert_eq!(contents(disk.path()).unwrap(), None);

    let mut mbr = vec![0; 512];
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xFF, 3, 0, 0]);
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    fs::write(disk.path(), &mbr).unwrap();
    assert_eq!(name_of(&refused()), (SignatureKind::PartitionTable, "dos"));

    // The second sector of a physical volume of LVM.
    let mut lvm = vec![0; 1024];
    lvm[512..520].copy_from_slice(b"LABELONE");
    lvm[520..528].copy_from_slice(&1_u64.to_le_bytes());
    lvm[532..536].copy_from_slice(&32_u32.to_le_bytes());
    lvm[536..544].copy_from_slice(b"LVM2 001");
    lvm[544..576].copy_from_slice(&[b'a'; 32]);
    let checksum = lvm_checksum(&lvm[532..]);
    lvm[528..532].copy_from_slice(&checksum.to_le_bytes());
    fs::write(disk.path(), &lvm).unwrap();
    assert_eq!(name_of(&refused()), (SignatureKind::Raid, "LVM2_member"));

    let device = Device::create(disk.path(), geometry, Replace::Anything).unwrap();
    drop(Session::format(device, 65_536).unwrap());
    assert_eq!(refused(), Found::Volume);
}

/// CRC-32 of LVM: the usual polynomial, another beginning, no end.
fn lvm_checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xF597_A6CF, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

#[test]
fn what_is_no_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [dir.path(), Path::new("/dev/null"), &socket] {
        let refused = [
            Device::survey(path).map(drop),
            contents(path).map(drop),
            Device::create(path, SMALL, Replace::Anything).map(drop),
            Device::open(path, esker_linux::Access::ReadOnly).map(drop).map_err(|error| match error {
                esker::volume::Error::Device(error) => error,
                other => panic!("{other:?}"),
            }),
        ];
        for result in refused {
            assert!(matches!(result, Err(DeviceError::NotADevice)), "{}", path.display());
        }
    }
}
