//! System calls that fail below the program: what was acknowledged is there, and nothing is acknowledged that isn't
//! sure.
//!
//! The faults are put in by strace(1), into a process of its own: this test program again, doing one [`Job`] only. It
//! says what was acknowledged when it was, and its last word is not believed: what is on the device is looked at.

use std::env;
use std::path::Path;
use std::process::Command;

use esker::device::{BlockDevice, Geometry};
use esker_linux::{
    Access, AlignedBuffer, Device, DeviceError, FileDevice, RawDisk, Replace, SyncHandle, contents,
};

use crate::loops::{Loop, Memory, run, skip};
use crate::session::Session;

/// Slices that a job writes and reads: so long that they are several requests.
const PARTS: usize = 40;
const PART: usize = 64 << 10;

/// Entries that a job appends.
const ENTRIES: u64 = 8;

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8 + 1; 100 + 300 * number as usize]
}

/// What the other process does.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// Appends to a log, and commits each entry. After a failure, goes on trying.
    Append,
    /// Syncs a device four times, itself and by its handle in turn.
    Sync,
    /// Writes and reads slices.
    Slices,
    /// Looks what is there.
    Contents,
}

const JOBS: [Job; 4] = [Job::Append, Job::Sync, Job::Slices, Job::Contents];

/// The other process. It does nothing unless it is told to.
#[test]
#[ignore = "the process in which the other tests make system calls fail"]
fn child() {
    let (Ok(job), Ok(path)) = (env::var("ESKER_JOB"), env::var("ESKER_DEVICE")) else { return };
    let job = JOBS.iter().find(|known| format!("{known:?}") == job).expect("a job");
    if let Job::Contents = job {
        return match contents(&path) {
            Ok(Some(found)) => say("found", &found.to_string()),
            Ok(None) => say("nothing", ""),
            Err(error) => say("failed", &error.to_string()),
        };
    }
    let device = match Device::open(&path, Access::ReadWrite) {
        Ok(device) => device,
        Err(error) => return say("failed", &format!("{error:?}")),
    };
    let device = match env::var_os("ESKER_DIRECT") {
        Some(_) => device.direct(),
        None => Ok(device),
    };
    let device = match device {
        Ok(device) => device,
        Err(error) => return say("failed", &format!("{error:?}")),
    };
    match job {
        Job::Append => append(device),
        Job::Sync => sync(device),
        Job::Slices => slices(device),
        Job::Contents => {}
    }
}

/// A line that the parent finds among those of the test runner.
fn say(word: &str, what: &str) {
    println!("\n@{word} {what}");
}

fn append(device: Device) {
    let mut session = match Session::open(device) {
        Ok(session) => session,
        Err(error) => return say("failed", &format!("{error:?}")),
    };
    for number in session.log.end()..ENTRIES {
        match session.commit(&payload(number)) {
            Ok(offset) => say("durable", &offset.to_string()),
            Err(error) => say("failed", &format!("{error:?}")),
        }
    }
    say("done", "");
}

fn sync(mut device: Device) {
    let handle = device.sync_handle().unwrap();
    for number in 0..4 {
        match if number % 2 == 0 { device.sync() } else { handle.sync() } {
            Ok(()) => say("synced", ""),
            Err(DeviceError::SyncFailed) => say("refused", ""),
            Err(error) => say("failed", &error.to_string()),
        }
    }
}

fn slices(device: Device) {
    let Device::Disk(mut disk) = device else { panic!("not a disk") };
    say("ring", &disk.has_ring().to_string());
    let mut parts: Vec<AlignedBuffer> = (0..PARTS).map(|_| AlignedBuffer::new(PART)).collect();
    for (number, part) in parts.iter_mut().enumerate() {
        part.as_mut().fill(number as u8 + 1);
    }
    let data: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    match disk.write_vectored(1 << 20, &data).and_then(|()| disk.sync()) {
        Ok(()) => say("synced", ""),
        Err(error) => return say("failed", &error.to_string()),
    }
    parts.iter_mut().for_each(|part| part.as_mut().fill(0));
    let mut buffers: Vec<&mut [u8]> = parts.iter_mut().map(AsMut::as_mut).collect();
    match disk.read_vectored(1 << 20, &mut buffers) {
        Ok(()) => say("read", &parts.iter().all(|part| part.as_ref()[0] != 0).to_string()),
        Err(error) => say("failed", &error.to_string()),
    }
}

/// What the other process said: words and what was behind them.
type Said = Vec<(String, String)>;

/// Whether strace(1) is there and allowed.
fn can_trace() -> bool {
    match run("strace", &["-o", "/dev/null", "true"]) {
        Some(output) if output.status.success() => true,
        Some(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            skip(&format!("`strace` may not trace here: {}", why.trim()));
            false
        }
        None => {
            skip("`strace` is not installed");
            false
        }
    }
}

/// Does a job in a process of its own, in which a system call has this fault, as strace(1) names it:
/// `fdatasync:error=EIO:when=3`. Returns what it said, and whether the fault was met.
fn job(job: Job, device: &Path, direct: bool, fault: &str) -> (Said, bool) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace");
    let call = fault.split(':').next().unwrap();
    let mut command = Command::new("strace");
    command.args(["--quiet=all", "-f", "-o"]).arg(&log);
    command.arg(format!("--trace={call}")).arg(format!("--inject={fault}"));
    if call == "execve" {
        // Of this program alone, wherever it may be.
        let path = env::var("PATH").unwrap_or_default();
        for folder in path.split(':').chain(["/usr/sbin", "/sbin"]) {
            command.arg(format!("--trace-path={folder}/blkid"));
        }
    }
    command.arg(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "faults::child", "--nocapture", "--test-threads=1"]);
    command.env("ESKER_JOB", format!("{job:?}")).env("ESKER_DEVICE", device);
    if direct {
        command.env("ESKER_DIRECT", "1");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{fault}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().filter_map(|line| line.strip_prefix('@')?.split_once(' '));
    let met = std::fs::read_to_string(&log).unwrap().contains("(INJECTED)");
    (said.map(|(word, what)| (word.to_owned(), what.to_owned())).collect(), met)
}

fn words(said: &Said) -> Vec<&str> {
    said.iter().map(|(word, _)| word.as_str()).collect()
}

/// A device with an empty log.
fn formatted(path: &Path, geometry: Geometry) {
    let device = Device::create(path, geometry, Replace::Anything).unwrap();
    drop(Session::format(device, 16 << 10).unwrap());
}

/// What the device holds goes with what was said.
fn check(path: &Path, said: &Said, fault: &str) {
    let failed = said.iter().position(|(word, _)| word == "failed");
    let durable = |words: &[(String, String)]| words.iter().filter(|(word, _)| word == "durable").count();
    let acknowledged = durable(said);
    if let Some(failed) = failed {
        assert_eq!(durable(&said[failed..]), 0, "{fault}: acknowledged after a failure: {said:?}");
    } else {
        assert_eq!(acknowledged as u64, ENTRIES, "{fault}: {said:?}");
    }
    let mut session = Session::open(Device::open(path, Access::ReadWrite).unwrap()).unwrap();
    let entries = session.entries();
    assert!(entries.len() >= acknowledged, "{fault}: {} of {acknowledged} entries: {said:?}", entries.len());
    for (number, entry) in entries.iter().enumerate() {
        assert!(*entry == payload(number as u64), "{fault}: entry {number}");
    }
    // And it goes on.
    for number in session.log.end()..ENTRIES {
        session.commit(&payload(number)).unwrap();
    }
    assert_eq!(session.entries().len() as u64, ENTRIES);
}

/// How a fault must end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The program is told.
    Failure,
    /// The program is told; or the engine, which knows that a place can be bad, has written elsewhere.
    Told,
    /// It is mended; nobody notices.
    Mended,
}

const FAULTS: [(&str, End); 8] = [
    ("fdatasync:error=EIO", End::Failure),
    ("fdatasync:error=ENOSPC", End::Failure),
    ("fdatasync:error=EINTR", End::Mended),
    ("pwrite64:error=EIO", End::Told),
    ("pwrite64:error=ENOSPC", End::Told),
    ("pwrite64:error=EROFS", End::Told),
    ("pwrite64:error=EINTR", End::Mended),
    ("pwrite64:retval=0", End::Told),
];

/// A direct write that did less than a unit has done nothing that counts, and is made again.
const SHORT: (&str, End) = ("pwrite64:retval=100", End::Mended);

/// Each fault, at each call that there is.
fn every_fault(path: &Path, geometry: Geometry, direct: bool, faults: &[(&str, End)]) {
    for (kind, end) in faults {
        let (mut met, mut failures) = (0, 0);
        for when in 1.. {
            formatted(path, geometry);
            let fault = format!("{kind}:when={when}");
            let (said, was_met) = job(Job::Append, path, direct, &fault);
            check(path, &said, &fault);
            if !was_met {
                break;
            }
            met += 1;
            let failed = words(&said).contains(&"failed");
            failures += u32::from(failed);
            assert!(failed || *end != End::Failure, "{fault}: {said:?}");
            assert!(!failed || *end != End::Mended, "{fault}: {said:?}");
        }
        assert!(met > 5, "{kind}: it was met {met} times only");
        assert_eq!(failures > 0, *end != End::Mended, "{kind}");
    }
}

#[test]
fn every_call_fails_below_a_buffered_file() {
    if can_trace() {
        let dir = tempfile::tempdir().unwrap();
        every_fault(&dir.path().join("dev"), Geometry::blocks(256 << 10, 512), false, &FAULTS);
    }
}

#[test]
fn every_call_fails_below_a_direct_file() {
    if can_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev");
        let geometry = Geometry::blocks(256 << 10, 4096);
        if FileDevice::create(&path, geometry).unwrap().direct().is_err() {
            return skip("the file system of the temporary folder has no direct I/O");
        }
        every_fault(&path, geometry, true, &[&FAULTS[..], &[SHORT]].concat());
    }
}

#[test]
fn every_call_fails_below_a_raw_disk() {
    if can_trace() {
        let Some(disk) = Loop::new(256 << 10, 512) else { return };
        let geometry = RawDisk::info(disk.path()).unwrap().geometry();
        every_fault(disk.path(), geometry, false, &[&FAULTS[..], &[SHORT]].concat());
    }
}

#[test]
fn a_failed_sync_is_not_taken_back() {
    if can_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev");
        formatted(&path, Geometry::blocks(256 << 10, 512));
        let said = |fault| job(Job::Sync, &path, false, fault).0;
        let words = |fault| said(fault).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
        assert_eq!(words("fdatasync:error=EIO:when=1"), ["failed", "refused", "refused", "refused"]);
        assert_eq!(words("fdatasync:error=EIO:when=2"), ["synced", "failed", "refused", "refused"]);
        assert_eq!(words("fdatasync:error=EINTR:when=2"), ["synced"; 4]);
    }
}

#[test]
fn without_a_ring_everything_goes_by_plain_calls() {
    if can_trace() {
        let Some(disk) = Loop::new(8 << 20, 512) else { return };
        let geometry = RawDisk::info(disk.path()).unwrap().geometry();
        for (fault, ring) in [
            // Forbidden, as in many containers; or missing.
            ("io_uring_setup:error=EPERM", "false"),
            ("io_uring_setup:error=ENOSYS", "false"),
            // Interrupted; out of memory at the first call or a later one.
            ("io_uring_enter:error=EINTR:when=1", "true"),
            ("io_uring_enter:error=ENOMEM:when=1", "true"),
            ("io_uring_enter:error=ENOMEM:when=2", "true"),
            ("io_uring_enter:error=EAGAIN:when=1+1", "true"),
        ] {
            formatted(disk.path(), geometry);
            let (said, met) = job(Job::Slices, disk.path(), false, fault);
            if !met {
                return skip("this kernel has no io_uring");
            }
            assert_eq!(words(&said), ["ring", "synced", "read"], "{fault}");
            assert_eq!((said[0].1.as_str(), said[2].1.as_str()), (ring, "true"), "{fault}");
            let image = std::fs::read(disk.image()).unwrap();
            for number in 0..PARTS {
                let bytes = &image[(1 << 20) + number * PART..][..PART];
                assert!(bytes.iter().all(|byte| *byte == number as u8 + 1), "{fault}: part {number}");
            }
        }
    }
}

#[test]
fn without_blkid_nothing_is_taken_for_blank() {
    if can_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let said = |path: &Path, fault: &str| {
            let (said, met) = job(Job::Contents, path, false, fault);
            assert!(met, "{fault}: {said:?}");
            (said[0].0.clone(), said[0].1.clone())
        };
        let missing = "execve:error=ENOENT";
        std::fs::write(&path, [0; 5000]).unwrap();
        assert_eq!(said(&path, missing).0, "nothing");
        std::fs::write(&path, b"a letter").unwrap();
        assert_eq!(said(&path, missing), ("found".into(), "data of an unknown kind".into()));
        assert_eq!(said(&path, "execve:error=EIO").0, "failed");

        let Some(disk) = Loop::new(1 << 20, 512) else { return };
        let (word, what) = said(disk.path(), missing);
        assert!(word == "found" && what.contains("`blkid` is not installed"), "{word}: {what}");
    }
}

/// Not a call that fails but a disk: the file below it finds no room any more. Every write is one page, since of longer
/// ones a loop device keeps what fits, and says that all is well.
#[test]
fn a_disk_that_begins_to_fail() {
    let Some(folder) = Memory::mount("tmpfs", "size=3m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::over(folder.path().join("image"), dir, 8 << 20, 4096) else { return };
    let geometry = RawDisk::info(disk.path()).unwrap().geometry();
    let device = Device::create(disk.path(), geometry, Replace::Blank).unwrap();
    let mut session = Session::format(device, 256 << 10).unwrap();
    let big = |number: u64| vec![number as u8; 3000];
    let mut acknowledged = 0;
    let error = loop {
        match session.commit(&big(acknowledged)) {
            Ok(offset) => {
                assert_eq!(offset, acknowledged);
                acknowledged += 1;
            }
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the disk never failed");
    };
    assert!(format!("{error:?}").contains("Device(Io"), "{error:?}");
    assert!(session.commit(b"no").is_err());
    drop(session);
    let mut session = Session::open(Device::open(disk.path(), Access::ReadOnly).unwrap()).unwrap();
    let entries = session.entries();
    assert!(
        acknowledged > 100 && entries.len() as u64 >= acknowledged,
        "{} of {acknowledged}",
        entries.len()
    );
    for (number, entry) in entries.iter().enumerate() {
        assert!(*entry == big(number as u64), "entry {number}");
    }
}
