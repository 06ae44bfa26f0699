//! `esker wal snapshot`

use std::io::{self, Read, Write};
use std::path::Path;

use esker::wal::{Error, Released};
use esker_linux::DeviceError;
use indicatif::ProgressBar;
use serde_json::json;

use super::damage::place;
use super::volume::{
    Log, MANY_SLOTS, Snapshot, has_snapshot, log_memory, no_such_offset, open_log, refuse_log_of_store,
    with_slots,
};
use crate::arguments::{GetArguments, PutArguments};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::count;
use crate::volume::{Volume, open_to_read, open_to_write};
use crate::{output, progress};

/// Long enough that heads don't count, short enough that what is damaged is a small part.
const CHUNK: u32 = 64 << 10;

pub fn put(arguments: &PutArguments) -> Result<(), Failure> {
    let PutArguments { device, .. } = arguments;
    let input = Input::open(&arguments.file, device)?;
    let mut volume = open_to_write(device)?;
    refuse_log_of_store(device, &volume, arguments.log)?;
    with_slots!(volume, put_file(arguments, &input, &mut volume))
}

fn put_file<const SLOTS: usize>(
    arguments: &PutArguments,
    input: &Input,
    volume: &mut Volume,
) -> Result<(), Failure> {
    let PutArguments { device, at, log: id, json, .. } = arguments;
    let fail = |error: Error<DeviceError>| match error {
        Error::Full { .. } => Failure::at(
            device,
            "no room for the snapshot; what was there before stays; release entries, or use a larger device",
        ),
        error => Failure::log(device, &error),
    };
    let mut log = open_log::<SLOTS>(device, volume, *id)?;
    if *at < log.start() || *at > log.end() {
        // All entries may have led to the state, so the end itself is good.
        return Err(no_such_offset(device, &log, *at));
    }
    let metadata = input.file.metadata().ok();
    let len = metadata.filter(|_| input.regular).map(|metadata| metadata.len());
    if let Some(len) = len {
        check_room(device, *id, len, &log, volume)?;
    }
    let mut snapshot = Snapshot::<SLOTS>::open(volume, *id, log_memory()).map_err(fail)?;
    let max = log.max_entry(volume).min(CHUNK) as usize;
    let bar = progress::bytes(len);
    let written = write(input, volume, &mut snapshot, max, &bar);
    bar.finish_and_clear();
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(stop) => {
            // What was written of the new one is of no use, and may have taken the last room there was. Should this fail
            // as well, the next one that is put drops it.
            let _ = snapshot.discard(volume);
            return Err(match stop {
                Stop::Input(error) => Failure::io(&input.name, "read", &error),
                Stop::Log(error) => fail(error),
            });
        }
    };
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
    output::line(*json, &value, &words)
}

/// Refuses what surely doesn't fit, before anything is written. What is close is left to the engine.
fn check_room<const SLOTS: usize>(
    device: &Path,
    id: u16,
    len: u64,
    log: &Log<SLOTS>,
    volume: &mut Volume,
) -> Result<(), Failure> {
    let space = volume.info();
    let segments = if has_snapshot(volume, id) {
        // One that was abandoned is dropped first, and nobody tells how much that frees.
        let held = log.info(volume).map_err(|error| Failure::log(device, &error))?.segments;
        space.segments.saturating_sub(held)
    } else {
        space.free_segments
    };
    let room = u64::from(segments) * u64::from(space.segment_size);
    if len <= room {
        return Ok(());
    }
    Err(Failure::at(
        device,
        format_args!(
            "no room for a snapshot of {len} bytes, there are {room} at most; release entries, or use a larger device"
        ),
    ))
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
