//! `esker wal release`

use serde_json::json;

use super::volume::{no_such_offset, open_log, refuse_log_of_store, with_slots};
use crate::arguments::ReleaseArguments;
use crate::failure::Failure;
use crate::output::{self, count};
use crate::volume::{Volume, open_to_write};

pub fn run(arguments: &ReleaseArguments) -> Result<(), Failure> {
    let mut volume = open_to_write(&arguments.device)?;
    refuse_log_of_store(&arguments.device, &volume, arguments.log)?;
    with_slots!(volume, release(arguments, &mut volume))
}

fn release<const SLOTS: usize>(arguments: &ReleaseArguments, volume: &mut Volume) -> Result<(), Failure> {
    let ReleaseArguments { device, before, log: id, json, .. } = arguments;
    let mut log = open_log::<SLOTS>(device, volume, *id)?;
    // What lies before the first entry is released already, so asking twice is no mistake.
    if *before > log.end() {
        return Err(no_such_offset(device, &log, *before));
    }
    let released = log.release_before(volume, *before).map_err(|error| Failure::log(device, &error))?;
    let (start, end) = (log.start(), log.end());
    log.close(volume).map_err(|error| Failure::log(device, &error))?;
    let value = json!({
        "log": id,
        "entries": released.entries,
        "segments": released.segments,
        "bytes": released.bytes,
        "start": start,
        "end": end,
    });
    let words = if released.segments == 0 {
        format!(
            "released nothing of log {id}: no whole segment lies before offset {before}; it begins at {start}"
        )
    } else {
        format!(
            "released {} in {} ({} bytes) of log {id}; it begins at offset {start} now",
            count(released.entries, "entry"),
            count(released.segments.into(), "segment"),
            released.bytes
        )
    };
    output::line(*json, &value, &words)
}
