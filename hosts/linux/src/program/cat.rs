//! `esker wal cat`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use esker::wal::{Cursor, Entry, Error};

use super::arguments::CatArguments;
use super::failure::Failure;
use super::open::{FileLog, FileVolume, MANY_SLOTS, NO_NEWLINE, open_log, open_to_read};

const BUFFER: usize = 256 << 10;

pub fn run(arguments: &CatArguments) -> Result<(), Failure> {
    let device = &arguments.device;
    let mut volume = open_to_read(device)?;
    let log = open_log::<MANY_SLOTS>(device, &mut volume, arguments.log)?;
    let from = arguments.from.unwrap_or(log.start());
    // The end itself is good: there is nothing yet, as for a reader that has read everything.
    if from < log.start() || from > log.end() {
        let held = match log.start() {
            start if start == log.end() => format!("the log is empty, its next offset is {start}"),
            start => format!("the log holds {start} to {}", log.end() - 1),
        };
        return Err(Failure::at(device, format_args!("no offset {from}: {held}")));
    }
    match copy(arguments, &mut volume, &log, from) {
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(error)) => Err(Failure::new(format!("standard output: cannot write it: {error}"))),
        Err(Stop::Log(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

enum Stop {
    Log(Failure),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn copy(
    arguments: &CatArguments,
    volume: &mut FileVolume,
    log: &FileLog<MANY_SLOTS>,
    from: u64,
) -> Result<(), Stop> {
    // Not `Stdout`, which would look for newlines in what it is given.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut out = BufWriter::with_capacity(BUFFER, stdout);
    let mut cursor = log.cursor(from);
    let mut bytes = vec![0; 64 << 10];
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let entry = match next(log, volume, &mut cursor, &mut bytes) {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => {
                // What is good before the damage goes out.
                out.flush()?;
                return Err(Stop::Log(Failure::log(&arguments.device, &error)));
            }
        };
        out.write_all(&bytes[..entry.len])?;
        if entry.user != Some(NO_NEWLINE) {
            out.write_all(b"\n")?;
        }
        left -= 1;
    }
    Ok(out.flush()?)
}

/// The entry at the cursor, into a buffer that grows with the longest one.
fn next(
    log: &FileLog<MANY_SLOTS>,
    volume: &mut FileVolume,
    cursor: &mut Cursor,
    bytes: &mut Vec<u8>,
) -> Result<Option<Entry>, Error<esker_linux::DeviceError>> {
    loop {
        match log.next(volume, cursor, bytes) {
            Err(Error::BufferTooSmall { needed }) if needed > bytes.len() => bytes.resize(needed, 0),
            result => return result,
        }
    }
}
