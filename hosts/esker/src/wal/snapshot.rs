//! `esker wal snapshot`

use std::io::{self, Read, Write};

use esker::wal::{Error, Released};
use esker_linux::DeviceError;
use indicatif::ProgressBar;
use serde_json::json;

use super::damage::place;
use super::volume::{
    Log, MANY_SLOTS, Snapshot, Volume, has_snapshot, log_memory, no_such_offset, open_log, open_to_read,
    open_to_write, snapshot_log, with_slots,
};
use crate::arguments::{GetArguments, PutArguments};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::count;
use crate::{output, progress};

/// Long enough that heads don't count, short enough that what is damaged is a small part.
const CHUNK: u32 = 64 << 10;

pub fn put(arguments: &PutArguments) -> Result<(), Failure> {
    let PutArguments { device, log, .. } = arguments;
    let input = Input::open(&arguments.file, device)?;
    let mut volume = open_to_write(device)?;
    let chunks = with_slots!(volume, chunks_end(arguments, &mut volume))?;
    let put = with_slots!(volume, put_file(arguments, &input, &mut volume));
    let failure = match put {
        Ok(()) => return Ok(()),
        Err(Stopped::Other(failure)) => return Err(failure),
        Err(Stopped::Half(failure)) => failure,
    };
    // What was written of the new one is of no use, and may have taken the last room there was.
    drop(volume);
    let mut volume = open_to_write(device)?;
    with_slots!(volume, give_up(*log, &mut volume, chunks)).map_err(|error| Failure::log(device, &error))?;
    Err(failure)
}

/// Why a snapshot was not put.
enum Stopped {
    /// Some of its chunks are on the device, and certainly not published.
    Half(Failure),
    /// There are none, or nobody knows: what is there must stay.
    Other(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// The end of the log that holds the chunks of snapshots.
fn chunks_end<const SLOTS: usize>(arguments: &PutArguments, volume: &mut Volume) -> Result<u64, Failure> {
    if !has_snapshot(volume, arguments.log) {
        return Ok(0);
    }
    open_log::<SLOTS>(&arguments.device, volume, snapshot_log(arguments.log)).map(|chunks| chunks.end())
}

/// Drops the chunks from `end` on, so that their space is free at once.
fn give_up<const SLOTS: usize>(id: u16, volume: &mut Volume, end: u64) -> Result<(), Error<DeviceError>> {
    if !has_snapshot(volume, id) {
        return Ok(());
    }
    let mut chunks = Log::<SLOTS>::open(volume, snapshot_log(id), log_memory())?;
    if chunks.end() > end {
        match end.checked_sub(1).filter(|last| *last >= chunks.start()) {
            Some(last) => chunks.truncate_after(volume, last)?,
            None => chunks.reset(volume, end)?,
        }
    }
    chunks.close(volume).map(|_| ())
}

fn put_file<const SLOTS: usize>(
    arguments: &PutArguments,
    input: &Input,
    volume: &mut Volume,
) -> Result<(), Stopped> {
    let PutArguments { device, at, log: id, json, .. } = arguments;
    let fail = |error: Error<DeviceError>| match error {
        Error::Full { .. } => Failure::at(
            device,
            "no room for the snapshot beside the one before it, which stays; release entries, or use a larger device",
        ),
        error => Failure::log(device, &error),
    };
    let mut log = open_log::<SLOTS>(device, volume, *id)?;
    if *at < log.start() || *at > log.end() {
        // All entries may have led to the state, so the end itself is good.
        return Err(no_such_offset(device, &log, *at).into());
    }
    let mut snapshot = Snapshot::<SLOTS>::open(volume, *id, log_memory()).map_err(fail)?;
    let max = log.max_entry(volume).min(CHUNK) as usize;
    let metadata = input.file.metadata().ok();
    let bar = progress::bytes(metadata.filter(|_| input.regular).map(|metadata| metadata.len()));
    let written = write(input, volume, &mut snapshot, max, &bar);
    bar.finish_and_clear();
    let bytes = written.map_err(|stop| {
        let failure = match stop {
            Stop::Input(error) => Failure::io(&input.name, "read", &error),
            Stop::Log(error) => fail(error),
        };
        if volume.is_poisoned() { Stopped::Other(failure) } else { Stopped::Half(failure) }
    })?;
    let released = snapshot.publish(volume, &mut log, *at).map_err(fail)?;
    let chunks = snapshot.info(volume).map_or(0, |info| info.chunks);
    let start = log.start();
    let closed = log.close(volume).and_then(|_| snapshot.close(volume));
    closed.map_err(|error| fail(error).and("the snapshot was put all the same"))?;
    let Released { entries, segments, bytes: freed } = released;
    let value = json!({
        "log": id,
        "offset": at,
        "bytes": bytes,
        "chunks": chunks,
        "released": { "entries": entries, "segments": segments, "bytes": freed },
        "start": start,
    });
    let words = format!(
        "put {bytes} bytes as the snapshot of log {id} before offset {at}; released {} in {} ({freed} bytes)",
        count(entries, "entry"),
        count(segments.into(), "segment")
    );
    Ok(output::line(*json, &value, &words)?)
}

enum Stop {
    Input(io::Error),
    Log(Error<DeviceError>),
}

/// Writes the file chunk by chunk; returns how many bytes it had.
fn write<const SLOTS: usize>(
    input: &Input,
    volume: &mut Volume,
    snapshot: &mut Snapshot<SLOTS>,
    max: usize,
    bar: &ProgressBar,
) -> Result<u64, Stop> {
    let mut chunk = Vec::with_capacity(max);
    let mut total = 0;
    loop {
        chunk.clear();
        (&input.file).take(max as u64).read_to_end(&mut chunk).map_err(Stop::Input)?;
        if chunk.is_empty() {
            return Ok(total);
        }
        snapshot.write(volume, &chunk).map_err(Stop::Log)?;
        total += chunk.len() as u64;
        bar.set_position(total);
    }
}

pub fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let GetArguments { device, log: id } = arguments;
    let mut volume = open_to_read(device)?;
    // Says which logs there are.
    open_log::<MANY_SLOTS>(device, &mut volume, *id)?;
    let none = || Failure::at(device, format_args!("log {id} has no snapshot"));
    if !has_snapshot(&volume, *id) {
        return Err(none());
    }
    let fail = |error: Error<DeviceError>| Failure::log(device, &error);
    let snapshot = Snapshot::<MANY_SLOTS>::open(&mut volume, *id, log_memory()).map_err(fail)?;
    let info = snapshot.info(&volume).ok_or_else(none)?;
    let mut chunk = vec![0; volume.info().segment_size as usize];
    // A chunk is well above the size of a pipe's page: there is nothing to gather.
    let mut out = io::stdout();
    for nth in 0..info.chunks {
        let len = snapshot.read(&mut volume, nth, &mut chunk).map_err(|error| match place(error) {
            Ok(place) => Failure::at(
                device,
                format_args!("chunk {nth} of {} of the snapshot is damaged, {place}", info.chunks),
            ),
            Err(error) => fail(error),
        })?;
        let written = out.write_all(&chunk[..len.unwrap_or(0)]);
        if written.is_err() {
            return output::outcome(written);
        }
    }
    output::outcome(out.flush())
}
