//! `esker wal cat` and `esker wal read`

use std::io::{self, Write};
use std::path::Path;

use esker::wal::Error;
use esker_linux::DeviceError;

use super::entries;
use super::volume::{Log, MANY_SLOTS, next, no_such_offset, open_log};
use crate::arguments::{CatArguments, Output, ReadArguments};
use crate::failure::Failure;
use crate::output;
use crate::volume::{Volume, open_to_read};

pub fn run(arguments: &CatArguments) -> Result<(), Failure> {
    let device = &arguments.device;
    let mut volume = open_to_read(device)?;
    let log = open_log::<MANY_SLOTS>(device, &mut volume, arguments.log)?;
    let from = arguments.from.unwrap_or(log.start());
    // The end itself is good: there is nothing yet, as for a reader that has read everything.
    if from < log.start() || from > log.end() {
        return Err(no_such_offset(device, &log, from));
    }
    let limit = arguments.limit.unwrap_or(u64::MAX);
    write(device, &arguments.output, &mut volume, &log, from, limit)
}

pub fn read(arguments: &ReadArguments) -> Result<(), Failure> {
    let device = &arguments.device;
    let mut volume = open_to_read(device)?;
    let log = open_log::<MANY_SLOTS>(device, &mut volume, arguments.log)?;
    if arguments.offset < log.start() || arguments.offset >= log.end() {
        return Err(no_such_offset(device, &log, arguments.offset));
    }
    write(device, &arguments.output, &mut volume, &log, arguments.offset, arguments.count)
}

/// Writes entries to standard output.
fn write(
    device: &Path,
    output: &Output,
    volume: &mut Volume,
    log: &Log<MANY_SLOTS>,
    from: u64,
    limit: u64,
) -> Result<(), Failure> {
    match copy(output, volume, log, from, limit) {
        Err(Stop::Output(error)) => output::outcome(Err(error)),
        Err(Stop::Log(error)) => Err(Failure::log(device, &error)),
        Ok(()) => Ok(()),
    }
}

enum Stop {
    Log(Error<DeviceError>),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn copy(
    output: &Output,
    volume: &mut Volume,
    log: &Log<MANY_SLOTS>,
    from: u64,
    limit: u64,
) -> Result<(), Stop> {
    let mut out = output::stdout()?;
    let mut cursor = log.cursor(from);
    let mut bytes = vec![0; 64 << 10];
    for _ in 0..limit {
        match next(log, volume, &mut cursor, &mut bytes) {
            Ok(Some(entry)) => entries::write(&mut out, output, &entry, &bytes[..entry.len])?,
            Ok(None) => break,
            Err(error) => {
                // What is good before the damage goes out.
                out.flush()?;
                return Err(Stop::Log(error));
            }
        }
    }
    Ok(out.flush()?)
}
