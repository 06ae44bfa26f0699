//! Whoever comes second is told who was first.

use std::fs;
use std::path::Path;

use esker::device::{BlockDevice, Geometry};
use esker::volume;
use esker_linux::{Access, Device, DeviceError, FileDevice, Holder, Place, Replace, contents};

use crate::loops::{Loop, run, skip};
use crate::session::Session;

/// A process that keeps the lock of a file until the value goes.
struct Locker(std::process::Child);

impl Locker {
    /// flock(1) of util-linux.
    fn new(path: &Path) -> Option<Self> {
        use std::io::Read;
        let mut command = std::process::Command::new("flock");
        command.arg(path).args(["--command", "echo; exec cat"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            skip("`flock` is not installed (util-linux)");
            return None;
        };
        // It has the lock when it speaks.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Some(Self(child))
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn holder(error: volume::Error<DeviceError>) -> Holder {
    match error {
        volume::Error::Device(DeviceError::InUse(holder)) => holder,
        other => panic!("{other:?}"),
    }
}

fn second(path: &Path, access: Access) -> Holder {
    holder(Device::open(path, access).unwrap_err())
}

#[test]
fn a_file_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev");
    let device = FileDevice::create(&path, Geometry::blocks(1 << 20, 512)).unwrap();
    assert_eq!(second(&path, Access::ReadOnly), Holder::Myself);
    drop(device);

    let Some(locker) = Locker::new(&path) else { return };
    let pid = locker.0.id();
    let Holder::Process { pid: told, name: Some(name) } = second(&path, Access::ReadWrite) else { panic!() };
    assert_eq!((told, name.as_str()), (pid, "flock"));
    let error = Device::create(&path, Geometry::blocks(512, 512), Replace::Anything).unwrap_err();
    assert_eq!(error.to_string(), format!("in use by process {pid} (flock); wait until that has closed it"));
    assert!(matches!(contents(&path), Err(DeviceError::InUse(_))));
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    drop(locker);
    Device::create(&path, Geometry::blocks(512, 512), Replace::Blank).unwrap();
}

fn formatted(disk: &Loop) -> Device {
    let Place::Disk(info) = Device::survey(disk.path()).unwrap() else { panic!() };
    let device = Device::create(disk.path(), info.geometry(), Replace::Blank).unwrap();
    drop(Session::format(device, 65_536).unwrap());
    Device::open(disk.path(), Access::ReadWrite).unwrap()
}

#[test]
fn a_disk_has_one_writer_or_many_readers() {
    let Some(disk) = Loop::new(4 << 20, 512) else { return };
    let writer = formatted(&disk);
    assert_eq!(second(disk.path(), Access::ReadWrite), Holder::Myself);
    assert_eq!(second(disk.path(), Access::ReadOnly), Holder::Myself);
    // Not even mkfs and mount, which know nothing of us.
    if let Some(mkfs) = run("mkfs.ext4", &["-F", disk.name()]) {
        assert!(!mkfs.status.success(), "mkfs took the disk");
    }
    drop(writer);

    let readers = [0; 2].map(|_| Device::open(disk.path(), Access::ReadOnly).unwrap());
    assert_eq!(second(disk.path(), Access::ReadWrite), Holder::Myself);
    drop(readers);
    let Some(locker) = Locker::new(disk.path()) else { return };
    let told = second(disk.path(), Access::ReadWrite);
    assert_eq!(told, Holder::Process { pid: locker.0.id(), name: Some("flock".into()) });
    drop(locker);
    Device::open(disk.path(), Access::ReadWrite).unwrap();
}

#[test]
fn a_disk_names_who_has_claimed_it_without_a_lock() {
    use std::os::unix::fs::OpenOptionsExt;
    let Some(disk) = Loop::new(4 << 20, 512) else { return };
    let claim = fs::OpenOptions::new().read(true).custom_flags(0o200).open(disk.path()).unwrap();
    assert_eq!(second(disk.path(), Access::ReadWrite), Holder::Myself);
    drop(claim);
    drop(formatted(&disk));
}

#[test]
fn a_mounted_disk_is_left_alone() {
    let Some(mut disk) = Loop::new(16 << 20, 512) else { return };
    let Some(at) = disk.mount() else { return };
    fs::write(at.join("file"), "dear to somebody").unwrap();
    let Place::Disk(info) = Device::survey(disk.path()).unwrap() else { panic!() };
    let error = Device::create(disk.path(), info.geometry(), Replace::Anything).unwrap_err();
    assert_eq!(error.to_string(), format!("mounted at {}; unmount it first", at.display()));
    assert_eq!(fs::read(at.join("file")).unwrap(), b"dear to somebody");
}

/// The boot record of a disk with one partition, from sector 2048 on, of 65,536 sectors.
fn boot_record() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

#[test]
fn a_partition_is_a_disk_and_belongs_to_one() {
    let Some(mut disk) = Loop::new(48 << 20, 512) else { return };
    fs::write(disk.path(), boot_record()).unwrap();
    let Some(partition) = disk.partition() else { return };
    let Place::Disk(whole) = Device::survey(disk.path()).unwrap() else { panic!() };
    let Place::Disk(part) = Device::survey(&partition).unwrap() else { panic!() };
    assert_eq!((part.capacity, part.discard, part.physical), (32 << 20, whole.discard, whole.physical));

    let device = Device::create(&partition, part.geometry(), Replace::Blank).unwrap();
    let mut session = Session::format(device, 65_536).unwrap();
    session.commit(b"in a partition").unwrap();
    let error = Device::create(disk.path(), whole.geometry(), Replace::Anything).unwrap_err();
    assert!(matches!(error, DeviceError::InUse(_)), "{error:?}");
    drop(session);
    let device = Device::open(&partition, Access::ReadOnly).unwrap();
    assert_eq!(Session::open(device).unwrap().entries(), [b"in a partition"]);

    let Some(at) = disk.mount_on(&partition) else { return };
    let error = Device::create(disk.path(), whole.geometry(), Replace::Anything).unwrap_err();
    assert_eq!(error.to_string(), format!("mounted at {}; unmount it first", at.display()));
    let error = Device::create(&partition, part.geometry(), Replace::Anything).unwrap_err();
    assert_eq!(error.to_string(), format!("mounted at {}; unmount it first", at.display()));
}

#[test]
fn a_disk_that_is_swapped_to_is_left_alone() {
    let Some(disk) = Loop::new(4 << 20, 4096) else { return };
    if crate::loops::must_run("mkswap", &[disk.name()]).is_none() {
        return;
    }
    match run("swapon", &[disk.name()]) {
        Some(output) if output.status.success() => {}
        _ => return skip("`swapon` is not possible here"),
    }
    let Place::Disk(info) = Device::survey(disk.path()).unwrap() else { panic!() };
    let error = Device::create(disk.path(), info.geometry(), Replace::Anything).unwrap_err();
    run("swapoff", &[disk.name()]);
    assert!(matches!(error, DeviceError::InUse(Holder::Swap)), "{error:?}");
}

#[test]
fn a_disk_goes_with_its_device() {
    let Some(disk) = Loop::new(4 << 20, 512) else { return };
    let mut device = formatted(&disk);
    device.sync().unwrap();
    drop(device);
    drop(Device::open(disk.path(), Access::ReadWrite).unwrap());
}
