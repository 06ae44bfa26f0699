//! `esker wal info`

use std::fmt::Write as _;

use esker::volume::VolumeInfo;
use esker::wal::{Info, SnapshotInfo};
use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::volume::{Snapshot, has_snapshot, log_ids, log_memory, open_log, with_slots};
use crate::arguments::InfoArguments;
use crate::failure::Failure;
use crate::kv::log_of_store;
use crate::output;
use crate::volume::{Volume, open_to_read};

/// What there is to say about a log.
struct LogInfo {
    log: Info,
    snapshot: Option<SnapshotInfo>,
    /// It belongs to the key-value store on the volume.
    of_store: bool,
}

pub fn run(arguments: &InfoArguments) -> Result<(), Failure> {
    let mut volume = open_to_read(&arguments.device)?;
    let ids = arguments.log.map_or_else(|| log_ids(&volume), |id| vec![id]);
    let mut logs = Vec::new();
    for id in ids {
        logs.push(with_slots!(volume, log_info(arguments, &mut volume, id))?);
    }
    let info = volume.info();
    output::print(&if arguments.json { as_json(&info, &logs) } else { as_table(&info, &logs) })
}

/// As `append` would open it, since the room that is left depends on it.
fn log_info<const SLOTS: usize>(
    arguments: &InfoArguments,
    volume: &mut Volume,
    id: u16,
) -> Result<LogInfo, Failure> {
    let device = &arguments.device;
    let log = open_log::<SLOTS>(device, volume, id)?;
    let log = log.info(volume).map_err(|error| Failure::log(device, &error))?;
    let snapshot = if has_snapshot(volume, id) {
        let snapshot = Snapshot::<SLOTS>::open(volume, id, log_memory());
        snapshot.map_err(|error| Failure::log(device, &error))?.info(volume)
    } else {
        None
    };
    Ok(LogInfo { log, snapshot, of_store: log_of_store(volume) == Some(id) })
}

fn as_json(volume: &VolumeInfo, logs: &[LogInfo]) -> String {
    let logs: Vec<Value> = logs.iter().map(log_json).collect();
    let value = json!({
        "volume": {
            "volume_id": volume.volume_id,
            "generation": volume.generation,
            "capacity": volume.geometry.capacity,
            "read_unit": volume.geometry.read_unit,
            "write_unit": volume.geometry.write_unit,
            "erase_unit": volume.geometry.erase_unit,
            "segment_size": volume.segment_size,
            "segments": volume.segments,
            "free_segments": volume.free_segments,
            "reserve": volume.reserve,
            "retired_segments": volume.retired_segments,
            "homes": volume.homes,
            "pool_address": volume.pool_address,
        },
        "logs": logs,
    });
    format!("{value:#}\n")
}

fn log_json(LogInfo { log, snapshot, of_store }: &LogInfo) -> Value {
    json!({
        "id": log.id,
        "of_store": of_store,
        "start": log.start,
        "end": log.end,
        "durable": log.durable,
        "segments": log.segments,
        "left": log.left,
        "epoch": log.epoch,
        "max_entry": log.max_entry,
        "commit_unit": log.commit_unit,
        "snapshot": snapshot.map(|snapshot| json!({ "offset": snapshot.offset, "chunks": snapshot.chunks })),
        "recovery": {
            "clean": log.report.clean,
            "replayed": log.report.replayed,
            "damaged": log.report.damaged,
            "cut": log.report.cut,
            "unreadable": log.report.unreadable,
        },
    })
}

fn as_table(volume: &VolumeInfo, logs: &[LogInfo]) -> String {
    let geometry = &volume.geometry;
    let erase = match geometry.erase_unit {
        0 => "none, may be overwritten".to_owned(),
        unit => bytes(unit.into()),
    };
    let segments = format!(
        "{} of {}, {} free ({} in reserve), {} retired",
        volume.segments,
        bytes(volume.segment_size.into()),
        volume.free_segments,
        volume.reserve,
        volume.retired_segments
    );
    let homes = if volume.homes == 2 { "2" } else { "only 1 can still be written" };
    let mut text = "volume\n".to_owned();
    row(&mut text, "id", format_args!("{:08x}", volume.volume_id));
    row(&mut text, "generation", volume.generation);
    row(&mut text, "capacity", bytes(geometry.capacity));
    row(&mut text, "read unit", bytes(geometry.read_unit.into()));
    row(&mut text, "write unit", bytes(geometry.write_unit.into()));
    row(&mut text, "erase unit", erase);
    row(&mut text, "segments", segments);
    row(&mut text, "superblock homes", homes);
    for log in logs {
        log_table(&mut text, log);
    }
    if logs.is_empty() {
        text.push_str("no logs\n");
    }
    text
}

fn log_table(text: &mut String, LogInfo { log, snapshot, of_store }: &LogInfo) {
    let offsets = match log.end - log.start {
        0 => format!("none, the next is {}", log.end),
        1 => format!("{}, 1 entry", log.start),
        entries => format!("{} to {}, {entries} entries", log.start, log.end - 1),
    };
    let report = &log.report;
    let closed = if report.clean { "closed in order" } else { "not closed in order" };
    let damaged = match report.damaged {
        0 => "none".to_owned(),
        entries => format!("{entries} entries"),
    };
    let cut = report.cut.map_or_else(|| "nothing".to_owned(), |address| format!("at address {address}"));
    let of_store = if *of_store { ", of the key-value store" } else { "" };
    let _ = writeln!(text, "log {}{of_store}", log.id);
    row(text, "offsets", offsets);
    row(text, "segments", log.segments);
    row(text, "left in the last", bytes(log.left.into()));
    row(text, "longest entry", bytes(log.max_entry.into()));
    row(text, "commit unit", bytes(log.commit_unit.into()));
    row(text, "epoch", log.epoch);
    if let Some(SnapshotInfo { offset, chunks }) = snapshot {
        row(text, "snapshot", format_args!("of what came before offset {offset}, in {chunks} chunks"));
    }
    row(text, "recovery", format_args!("{closed}, {} records read", report.replayed));
    row(text, "damaged", damaged);
    row(text, "cut", cut);
    if report.unreadable {
        row(text, "unreadable", "a part of the device could not be read");
    }
}

fn row(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<18}{value}");
}

/// Exactly, and for humans where that is shorter.
fn bytes(n: u64) -> String {
    if n < 10_000 { format!("{n} bytes") } else { format!("{n} bytes ({})", BinaryBytes(n)) }
}
