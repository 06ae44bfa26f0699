use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use esker::volume::{Error, FormatOptions, Volume};
use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("device");
    (dir, path)
}

fn formatted(path: &Path, geometry: Geometry) {
    let device = FileDevice::create(path, geometry).unwrap();
    Volume::<_, _>::format(device, vec![0; 8192], &FormatOptions::default()).unwrap();
}

#[test]
fn a_new_device_is_blank_and_all_there() {
    let (_dir, path) = place();
    let mut device = FileDevice::create(&path, Geometry::blocks(3 << 20, 512)).unwrap();
    assert_eq!(device.geometry(), Geometry::blocks(3 << 20, 512));
    let mut bytes = vec![1; 3 << 20];
    device.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    use std::os::unix::fs::MetadataExt;
    assert!(device.handle.file().metadata().unwrap().blocks() * 512 >= 3 << 20, "the file has holes");

    drop(device);
    fs::remove_file(&path).unwrap();
    let device = FileDevice::create(&path, Geometry::flash(1 << 20, 4, 4096)).unwrap();
    drop(device);
    assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn writes_come_back_and_keep_the_size() {
    let (_dir, path) = place();
    let mut device = FileDevice::create(&path, Geometry::blocks(8192, 512)).unwrap();
    device.write(7680, &[1; 512]).unwrap();
    device.write_vectored(512, &[&[2; 512], &[3; 1024]]).unwrap();
    device.erase(512..1024).unwrap();
    device.sync().unwrap();
    drop(device);

    let mut device = FileDevice::open_with(&path, Access::ReadOnly, Geometry::blocks(0, 512)).unwrap();
    assert_eq!((device.geometry().capacity, device.access()), (8192, Access::ReadOnly));
    let (mut a, mut b) = ([0; 512], [0; 512]);
    device.read_vectored(512, &mut [&mut a, &mut b]).unwrap();
    assert_eq!((a, b), ([2; 512], [3; 512]));
    device.read(7680, &mut a).unwrap();
    assert_eq!(a, [1; 512]);
}

#[test]
fn flash_is_erased_to_ones() {
    let (_dir, path) = place();
    let mut device = FileDevice::create(&path, Geometry::flash(3 * 4096, 4, 4096)).unwrap();
    device.write(4092, &[0; 4096 + 8]).unwrap();
    device.erase(4096..8192).unwrap();
    let mut bytes = [0; 4104];
    device.read(4092, &mut bytes).unwrap();
    assert_eq!((&bytes[..4], &bytes[4100..]), (&[0; 4][..], &[0; 4][..]));
    assert!(bytes[4..4100].iter().all(|byte| *byte == 0xFF));
}

#[test]
fn what_breaks_the_rules_changes_nothing() {
    let (_dir, path) = place();
    let mut device = FileDevice::create(&path, Geometry::flash(8192, 16, 4096)).unwrap();
    assert!(matches!(device.write(8, &[0; 16]), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.write(0, &[0; 8]), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.write(8192, &[0; 16]), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.read(8191, &mut [0; 2]), Err(DeviceError::OutOfBounds)));
    assert!(matches!(device.erase(0..16), Err(DeviceError::OutOfBounds)));
    drop(device);
    assert_eq!(fs::read(&path).unwrap(), vec![0xFF; 8192]);
}

#[test]
fn a_read_only_device_refuses_to_be_changed() {
    let (_dir, path) = place();
    formatted(&path, Geometry::blocks(1 << 20, 512));
    let before = fs::read(&path).unwrap();
    let mut device = FileDevice::open(&path, Access::ReadOnly).unwrap();
    assert!(matches!(device.write(0, &[1; 512]), Err(DeviceError::ReadOnly)));
    assert!(matches!(device.erase(0..512), Err(DeviceError::ReadOnly)));
    device.sync().unwrap();
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn the_geometry_is_found_again() {
    for geometry in [
        Geometry::blocks(1 << 20, 512),
        Geometry::blocks(4 << 20, 4096),
        Geometry::blocks(4 << 20, 65_536),
        Geometry::blocks(1 << 18, 1),
        Geometry::flash(1 << 20, 4, 4096),
        Geometry::flash(4 << 20, 256, 65_536),
    ] {
        let (_dir, path) = place();
        let device = FileDevice::create(&path, geometry).unwrap();
        Volume::<_, _>::format(device, vec![0; 1 << 17], &FormatOptions::default()).unwrap();
        for damage in [false, true] {
            if damage {
                // The first home gone, the second one tells.
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&[0; 200], 0).unwrap();
            }
            let device = FileDevice::open(&path, Access::ReadWrite).unwrap();
            assert_eq!(device.geometry(), geometry, "damage: {damage}");
            let volume = Volume::<_, _>::open(device, vec![0; 1 << 17]);
            assert!(volume.is_ok(), "{geometry:?} damage: {damage}: {:?}", volume.err());
        }
    }
}

#[test]
fn one_writer_or_many_readers() {
    let (_dir, path) = place();
    let writer = FileDevice::create(&path, Geometry::blocks(1 << 20, 512)).unwrap();
    let open = |access| FileDevice::open_with(&path, access, Geometry::blocks(0, 512));
    assert!(matches!(open(Access::ReadWrite), Err(DeviceError::InUse(_))));
    assert!(matches!(open(Access::ReadOnly), Err(DeviceError::InUse(_))));
    let blanked = FileDevice::overwrite(&path, Geometry::blocks(512, 512));
    assert!(matches!(blanked, Err(DeviceError::InUse(_))));
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    drop(writer);

    let readers = [open(Access::ReadOnly).unwrap(), open(Access::ReadOnly).unwrap()];
    assert!(matches!(open(Access::ReadWrite), Err(DeviceError::InUse(_))));
    drop(readers);
    open(Access::ReadWrite).unwrap();
}

#[test]
fn an_existing_file_is_not_created_over() {
    let (_dir, path) = place();
    fs::write(&path, "mine").unwrap();
    let error = FileDevice::create(&path, Geometry::blocks(512, 512)).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    let device = FileDevice::overwrite(&path, Geometry::blocks(512, 512)).unwrap();
    assert_eq!(device.geometry().capacity, 512);
    assert_eq!(fs::read(&path).unwrap(), [0; 512]);
}

#[test]
fn a_geometry_that_cannot_be_leaves_no_file() {
    let (_dir, path) = place();
    let error = FileDevice::create(&path, Geometry::blocks(1000, 512)).unwrap_err();
    assert!(matches!(error, DeviceError::Geometry(_)));
    assert!(!path.exists());
}

#[test]
fn no_room_on_the_disk_leaves_no_file() {
    let (_dir, path) = place();
    let error = FileDevice::create(&path, Geometry::blocks(1 << 50, 512)).unwrap_err();
    assert!(matches!(error, DeviceError::Io { action: "allocate space for", .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn what_is_no_device_is_named() {
    let (dir, path) = place();
    let open = |path: &Path| FileDevice::open(path, Access::ReadWrite).unwrap_err();
    assert!(matches!(open(dir.path()), Error::Device(DeviceError::NotAFile)));
    assert!(matches!(open(Path::new("/dev/null")), Error::Device(DeviceError::NotAFile)));
    let missing = open(&path);
    assert!(matches!(missing, Error::Device(DeviceError::Io { action: "open", .. })), "{missing:?}");
    fs::write(&path, "").unwrap();
    assert!(matches!(open(&path), Error::Device(DeviceError::Empty)));
    for content in [&b"a"[..], &[0; 10_000], &[0xFF; 200]] {
        fs::write(&path, content).unwrap();
        assert!(matches!(open(&path), Error::NotFormatted));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_truncated_volume_is_of_another_geometry() {
    let (_dir, path) = place();
    formatted(&path, Geometry::blocks(1 << 20, 512));
    for len in [(1 << 20) - 1, 1 << 19, 4096, 200] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        match FileDevice::open(&path, Access::ReadWrite).unwrap_err() {
            Error::Geometry { recorded, device } => {
                assert_eq!((recorded.capacity, device.capacity), (1 << 20, len));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn errors_of_the_system_are_kept() {
    let (_dir, path) = place();
    let mut device = FileDevice::create(&path, Geometry::blocks(4096, 512)).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(1024).unwrap();
    let error = device.read(1024, &mut [0; 512]).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error}");
}
