//! The power goes while a log is appended to on a real device: every state in which that could leave the device is
//! opened again.
//!
//! The session runs on the device itself, with a recorder around it, and what it did is replayed: after each operation
//! every subset of the writes since the last sync, and torn ones among them. Most states are opened in memory, some of
//! them on the real device again.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use esker::device::{BlockDevice, Geometry};
use esker_linux::{Access, Device, FileDevice, Place, RawDisk, Replace};
use esker_sim::{CrashState, Op, Policy, Recorder, Repeats, Sim, Trace, enumerate};

use crate::loops::{Loop, skip};
use crate::session::Session;

/// States of one device, spread over all of them.
const STATES: u64 = 2000;
/// One state in so many is opened on the device itself, too.
const ON_THE_DEVICE: u64 = 40;

const SEGMENT: u32 = 16 << 10;

fn payload(number: u64) -> Vec<u8> {
    let len = [100, 0, 700, 5000, 1, 2048][number as usize % 6];
    vec![number as u8 + 1; len]
}

/// What a run did to its device, and what it promised.
struct Recorded {
    trace: Trace,
    /// After so many operations there is a log at all.
    formatted: usize,
    /// After so many operations, so many entries are durable.
    promised: Vec<(usize, u64)>,
}

impl Recorded {
    fn promised_at(&self, cut: usize) -> u64 {
        self.promised.iter().take_while(|(at, _)| *at <= cut).last().map_or(0, |(_, entries)| *entries)
    }
}

/// A sync that is answered and not done.
#[derive(Clone)]
struct NeverSyncs<D>(D);

impl<D: BlockDevice> BlockDevice for NeverSyncs<D> {
    type Error = D::Error;
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), D::Error> {
        self.0.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), D::Error> {
        self.0.write(address, data)
    }
    fn erase(&mut self, range: Range<u64>) -> Result<(), D::Error> {
        self.0.erase(range)
    }
    fn sync(&mut self) -> Result<(), D::Error> {
        Ok(())
    }
}

/// Formats and appends; opens the log again as a crash of the program alone leaves it, appends on, closes; once more.
/// `device` is the recorder, or something around it.
fn record<D>(device: &D, recorder: &Recorder<Device>) -> Recorded
where
    D: BlockDevice + Clone,
{
    let mut session = Session::format(device.clone(), SEGMENT).unwrap();
    let formatted = recorder.op_count();
    let mut promised = Vec::new();
    let mut number = 0;
    for round in 0..3 {
        for _ in 0..8 {
            // Some entries wait for the next commit.
            let offset = session.log.append(&mut session.volume, &payload(number)).unwrap();
            assert_eq!(offset, number);
            number += 1;
            if number % 3 != 0 {
                session.log.commit(&mut session.volume).unwrap();
                recorder.mark();
                promised.push((recorder.op_count(), number));
            }
        }
        if round > 0 {
            session.log.close(&mut session.volume).unwrap();
            recorder.mark();
            promised.push((recorder.op_count(), number));
        }
        session = Session::open(device.clone()).unwrap();
        number = session.log.end();
    }
    Recorded { trace: recorder.take_trace(), formatted, promised }
}

/// Opens what a cut has left; says what is wrong.
fn check<D: BlockDevice>(device: D, recorded: &Recorded, cut: usize) -> Result<(), String> {
    let mut session = match Session::open(device) {
        Ok(session) => session,
        Err(_) if cut < recorded.formatted => return Ok(()),
        Err(error) => return Err(format!("it can't be opened: {error:?}")),
    };
    let promised = recorded.promised_at(cut);
    let mut bytes = vec![0; 8192];
    if session.log.end() < promised {
        return Err(format!("{} entries are there, {promised} were durable", session.log.end()));
    }
    for number in 0..session.log.end() {
        let entry = session.log.read(&mut session.volume, number, &mut bytes);
        let entry = entry.map_err(|error| format!("entry {number}: {error:?}"))?;
        if bytes[..entry.len] != payload(number) {
            return Err(format!("entry {number} is another one"));
        }
    }
    let end = session.log.end();
    match session.commit(b"and on") {
        Ok(offset) if offset == end => Ok(()),
        other => Err(format!("it does not go on: {other:?}")),
    }
}

/// Visits the crash states; returns how many, and the first that is wrong.
fn visit(
    recorded: &Recorded,
    policy: &Policy,
    mut also: impl FnMut(&CrashState<'_>, &Sim),
) -> (u64, Option<String>) {
    let sim = Sim::new(recorded.trace.geometry()).unwrap();
    let mut wrong = None;
    let summary = enumerate(&recorded.trace, policy, |state| {
        state.load_into(&sim);
        also(state, &sim);
        match check(sim.clone(), recorded, state.cut()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                wrong = Some(format!("{state}: {why}"));
                ControlFlow::Break(())
            }
        }
    });
    (summary.visited, wrong)
}

/// What is on the device in the end, if the record is true.
fn replayed(trace: &Trace) -> Vec<u8> {
    let mut image = trace.image().to_vec();
    for op in trace.ops() {
        if let Op::Write { address, data } = op {
            image[*address as usize..][..data.len()].copy_from_slice(data);
        }
    }
    image
}

/// A session on this device, and every crash of it. `reopen` puts an image on the device and opens it.
fn crash(name: &str, device: Device, content: &Path, reopen: impl Fn(&[u8]) -> Device) {
    let recorder = Recorder::new(device).unwrap();
    let recorded = record(&recorder, &recorder);
    let image = replayed(&recorded.trace);
    drop(recorder);
    assert!(std::fs::read(content).unwrap() == image, "the record is not what is on the device");

    let (mut states, mut again) = (0, 0);
    let policy = Policy::thorough().repeats(Repeats::OncePerMark).max_states(STATES);
    let (visited, wrong) = visit(&recorded, &policy, |state, sim| {
        states += 1;
        // A unit that can't be read, or reads differently each time, is for the simulator alone.
        if states % ON_THE_DEVICE == 0 && state.cut() >= recorded.formatted && is_plain(sim) {
            again += 1;
            let result = check(reopen(&sim.image()), &recorded, state.cut());
            assert!(result.is_ok(), "{name}, on the device, {state}: {}", result.unwrap_err());
        }
    });
    assert_eq!(wrong, None, "{name}");
    assert!(visited > 1000 && again > 5, "{name}: {visited} states, {again} of them on the device");

    let recorder = Recorder::new(reopen(&vec![0; image.len()])).unwrap();
    let lying = record(&NeverSyncs(recorder.clone()), &recorder);
    // Of a window that never ends, every prefix and every single omission will do.
    let policy = Policy::thorough().pair_limit(0).random_subsets(0).tears(false);
    let (_, wrong) = visit(&lying, &policy, |_, _| {});
    assert!(wrong.is_some(), "{name}: without any sync nothing is lost, so nothing was tried");
}

/// Whether every byte reads as it is.
fn is_plain(sim: &Sim) -> bool {
    let mut device = sim.clone();
    let len = sim.image().len();
    let mut twice = [vec![0; len], vec![0; len]];
    twice.iter_mut().all(|bytes| device.read(0, bytes).is_ok())
        && twice[0] == twice[1]
        && twice[0] == sim.image()
}

fn in_a_file(direct: bool, unit: u32) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dev");
    let geometry = Geometry::blocks(256 << 10, unit);
    let open = |file: FileDevice| if direct { file.direct() } else { Ok(file) };
    let Ok(device) = open(FileDevice::create(&path, geometry).unwrap()) else {
        return skip("the file system of the temporary folder has no direct I/O");
    };
    crash(&format!("a file, direct: {direct}"), Device::File(device), &path, |image| {
        std::fs::write(&path, image).unwrap();
        let file = FileDevice::open_with(&path, Access::ReadWrite, geometry).unwrap();
        Device::File(open(file).unwrap())
    });
}

#[test]
fn a_buffered_file_keeps_what_it_promised() {
    in_a_file(false, 512);
}

#[test]
fn a_direct_file_keeps_what_it_promised() {
    in_a_file(true, 4096);
}

fn on_a_raw_disk(sector: u32) {
    let Some(disk) = Loop::new(256 << 10, sector) else { return };
    let Place::Disk(info) = Device::survey(disk.path()).unwrap() else { panic!() };
    let device = Device::create(disk.path(), info.geometry(), Replace::Blank).unwrap();
    crash(&format!("a disk of sectors of {sector}"), device, disk.image(), |image| {
        std::fs::write(disk.path(), image).unwrap();
        if image.iter().all(|byte| *byte == 0) {
            return Device::Disk(RawDisk::overwrite(disk.path(), info.geometry()).unwrap());
        }
        Device::open(disk.path(), Access::ReadWrite).unwrap()
    });
}

#[test]
fn a_raw_disk_of_512_byte_sectors_keeps_what_it_promised() {
    on_a_raw_disk(512);
}

#[test]
fn a_raw_disk_of_4096_byte_sectors_keeps_what_it_promised() {
    on_a_raw_disk(4096);
}
