//! From board to Linux and back.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use esker::volume::Volume;
use esker::wal::Log;
use esker_linux::{Access, DeviceError, FileDevice};
use esker_qemu::logger::{EVENTS, SAMPLES, Stamp, sample};

use crate::board::Board;
use crate::cuts::blank;
use crate::machine::{Machine, Outcome};
use crate::message::Message;
use crate::promise::Promise;
use crate::{Arguments, Failure, settings};

/// A log that the boards don't know.
const NOTES: u16 = 7;
/// The samples that Linux appends say that they are of this start.
const LINUX: u32 = 1_000_000;
/// Samples that Linux appends: the board looks back over all of them.
const CONTINUED: u32 = 100;

pub fn run(arguments: &Arguments, board: &Board) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let trip = Trip {
        machine: Machine { board, image: arguments.images.join(board.name), verbose: arguments.verbose },
        esker: &arguments.esker,
        dir: dir.path(),
    };
    let (fixed, stack) = trip
        .there_and_back()
        .map_err(|failure| format!("a medium from board to Linux and back: {failure}"))?;
    trip.made_on_linux().map_err(|failure| format!("a volume made on Linux: {failure}"))?;
    if let Some(keep) = &arguments.keep {
        std::fs::create_dir_all(keep)?;
        std::fs::copy(dir.path().join("board.img"), keep.join(format!("{}-trips.img", board.name)))?;
    }
    println!(
        "{}: what the board writes, Linux reads and continues, and the reverse; RAM {} bytes: {fixed} static, {stack} stack",
        board.name,
        fixed + stack
    );
    Ok(())
}

struct Trip<'a> {
    machine: Machine<'a>,
    esker: &'a Path,
    dir: &'a Path,
}

impl Trip<'_> {
    /// The board formats and writes; Linux reads, and appends; the board reads that, and goes on; Linux reads all.
    fn there_and_back(&self) -> Result<(u64, u64), Failure> {
        let medium = self.dir.join("board.img");
        let mut promise = Promise::of(self.machine.board);
        blank(&medium, self.machine.board)?;
        self.boot(&medium, &mut promise)?;
        let [(_, end), _] = promise.check(&medium)?;
        self.compare(&medium, &[(0, end, 1)])?;

        if let Some(tree) = self.machine.board.settings {
            promise.hear(&settings::run_on_linux(&medium, tree)?)?;
            promise.check(&medium)?;
        }
        continue_samples(&medium)?;
        let continued = end + u64::from(CONTINUED);
        promise.add(SAMPLES, end, continued, LINUX)?;
        let notes = self.append_notes(&medium, &[])?;

        let outcome = self.boot(&medium, &mut promise)?;
        let found = outcome.messages.iter().any(
            |message| matches!(message, Message::There { log: SAMPLES, start: 0, end } if *end == continued),
        );
        if !found {
            return Err(format!("the board did not find the {CONTINUED} samples that Linux appended").into());
        }
        let [(_, last), _] = promise.check(&medium)?;
        self.compare_settings(&medium, &promise)?;
        self.compare(&medium, &[(0, end, 1), (end, continued, LINUX), (continued, last, 2)])?;
        self.compare_notes(&medium, &notes)?;
        outcome.finished(self.machine.board)
    }

    /// Linux makes the volume, and settings if the board has any; the board adds its logs to it.
    fn made_on_linux(&self) -> Result<(), Failure> {
        let medium = self.dir.join("linux.img");
        let mut promise = Promise::of(self.machine.board);
        let mut arguments = self.machine.board.arguments();
        if let Some(tree) = self.machine.board.settings {
            settings::make(&medium, self.machine.board, tree)?;
            promise.hear(&settings::run_on_linux(&medium, tree)?)?;
            promise.check(&medium)?;
            arguments = Vec::new();
        }
        let notes = self.append_notes(&medium, &arguments)?;
        self.boot(&medium, &mut promise)?;
        let [(_, end), _] = promise.check(&medium)?;
        self.compare(&medium, &[(0, end, 1)])?;
        self.compare_notes(&medium, &notes)
    }

    /// A run to its end.
    fn boot(&self, medium: &Path, promise: &mut Promise) -> Result<Outcome, Failure> {
        let outcome = self.machine.run(medium, None)?;
        promise.hear(&outcome.messages)?;
        outcome.finished(self.machine.board)?;
        Ok(outcome)
    }

    /// Whether `esker wal cat` prints these samples, `from..to` of a start, and as many events as it should.
    fn compare(&self, medium: &Path, parts: &[(u64, u64, u32)]) -> Result<(), Failure> {
        let mut expected = Vec::new();
        for (from, to, boot) in parts {
            for number in *from..*to {
                expected.extend(sample(Stamp { boot: *boot, number: number as u32 }));
                expected.push(b'\n');
            }
        }
        if expected.is_empty() || self.cat(medium, SAMPLES)? != expected {
            return Err("`esker wal cat` prints other samples than were written".into());
        }
        if self.cat(medium, EVENTS)?.is_empty() { Err("there are no events".into()) } else { Ok(()) }
    }

    /// Whether `esker kv dump` prints the settings that must be there, and `esker kv verify` finds nothing wrong.
    fn compare_settings(&self, medium: &Path, promise: &Promise) -> Result<(), Failure> {
        if self.machine.board.settings.is_none() {
            return Ok(());
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected: String =
            promise.settings().iter().map(|(key, value)| format!("{}\t{}\n", hex(key), hex(value))).collect();
        let arguments = ["kv", "dump", "--format", "tsv", "--encoding", "hex"].map(OsStr::new);
        let printed = self.esker(&[&arguments[..], &[medium.as_os_str()]].concat())?;
        if expected.is_empty() || printed != expected.as_bytes() {
            return Err("`esker kv dump` prints other settings than were stored".into());
        }
        self.esker(&["kv".as_ref(), "verify".as_ref(), medium.as_os_str()])?;
        Ok(())
    }

    /// Lines, appended by the program; what they were.
    fn append_notes(&self, medium: &Path, layout: &[String]) -> Result<Vec<u8>, Failure> {
        let notes: String = (0..500).map(|line| format!("{line}: {}\n", "note ".repeat(line % 7))).collect();
        let file = self.dir.join("notes.txt");
        std::fs::write(&file, &notes)?;
        let log = NOTES.to_string();
        let mut arguments: Vec<&OsStr> = ["wal", "append", "--log", &log].map(OsStr::new).to_vec();
        arguments.extend(layout.iter().map(OsStr::new));
        arguments.extend([medium.as_os_str(), file.as_os_str()]);
        self.esker(&arguments)?;
        Ok(notes.into_bytes())
    }

    fn compare_notes(&self, medium: &Path, notes: &[u8]) -> Result<(), Failure> {
        if self.cat(medium, NOTES)? == notes { Ok(()) } else { Err("the notes have changed".into()) }
    }

    fn cat(&self, medium: &Path, log: u16) -> Result<Vec<u8>, Failure> {
        let log = log.to_string();
        let arguments = ["wal", "cat", "--log", &log].map(OsStr::new);
        self.esker(&[&arguments[..], &[medium.as_os_str()]].concat())
    }

    fn esker(&self, arguments: &[&OsStr]) -> Result<Vec<u8>, Failure> {
        let output = Command::new(self.esker)
            .args(arguments)
            .output()
            .map_err(|error| format!("{}: {error}", self.esker.display()))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into())
        }
    }
}

/// Appends samples with the library, behind what the board has written.
fn continue_samples(medium: &Path) -> Result<(), esker::wal::Error<DeviceError>> {
    let device = FileDevice::open(medium, Access::ReadWrite)?;
    let mut volume = Volume::<_, _, 16>::open(device, vec![0; 64 << 10])?;
    let mut log: Log<_> = Log::open(&mut volume, SAMPLES, vec![0; 64 << 10])?;
    for _ in 0..CONTINUED {
        let stamp = Stamp { boot: LINUX, number: log.end() as u32 };
        log.append(&mut volume, &sample(stamp))?;
    }
    log.close(&mut volume)?;
    Ok(())
}
