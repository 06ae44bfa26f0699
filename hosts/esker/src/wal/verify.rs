//! `esker wal verify`

use std::fmt::Write as _;

use esker::wal::Error;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::damage::{Damage, Found, Place, Walk, place};
use super::volume::{Log, MANY_SLOTS, Snapshot, has_snapshot, log_ids, log_memory, open_log};
use crate::arguments::VerifyArguments;
use crate::failure::Failure;
use crate::output::count;
use crate::volume::{Volume, open_to_read};
use crate::{output, progress};
use esker_linux::DeviceError;

pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let device = &arguments.device;
    let mut volume = open_to_read(device)?;
    let ids = match arguments.log {
        // Says which logs there are.
        Some(id) if !log_ids(&volume).contains(&id) => {
            return open_log::<MANY_SLOTS>(device, &mut volume, id).map(|_| ());
        }
        Some(id) => vec![id],
        None => log_ids(&volume),
    };
    let mut findings = Vec::new();
    for id in ids {
        findings.push(Finding::of(&mut volume, id).map_err(|error| Failure::log(device, &error))?);
    }
    let text = if arguments.json { as_json(&volume, &findings) } else { as_words(&findings) };
    output::print(&text)?;
    match damage(&findings) {
        None => Ok(()),
        Some(damage) => Err(Failure::at(
            device,
            format_args!("{damage}; `esker wal salvage` copies the rest to a new device"),
        )),
    }
}

/// All that is damaged, in a few words.
fn damage(findings: &[Finding]) -> Option<String> {
    let mut words = Vec::new();
    let places: usize = findings.iter().map(|log| log.damage.len()).sum();
    if places > 0 {
        let entries: u64 = findings.iter().flat_map(|log| &log.damage).map(Damage::entries).sum();
        let are = if entries == 1 { "is" } else { "are" };
        words.push(format!("{} in {} {are} damaged", count(entries, "entry"), count(places as u64, "place")));
    }
    for log in findings {
        if log.closed.is_some() {
            words.push(format!("log {} can't be opened", log.id));
        }
        if log.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_damaged()) {
            words.push(format!("the snapshot of log {} is damaged", log.id));
        }
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// What was found in one log.
struct Finding {
    id: u16,
    start: u64,
    end: u64,
    readable: u64,
    /// What recovery cut, as in [`esker::wal::Report`].
    cut: Option<u64>,
    damage: Vec<Damage>,
    /// Why the log could not even be opened.
    closed: Option<Place>,
    snapshot: Option<SnapshotFinding>,
}

/// What was found in a snapshot.
struct SnapshotFinding {
    offset: u64,
    chunks: u32,
    damage: Vec<(u32, Place)>,
    closed: Option<Place>,
}

impl SnapshotFinding {
    fn is_damaged(&self) -> bool {
        self.closed.is_some() || !self.damage.is_empty()
    }
}

impl Finding {
    fn of(volume: &mut Volume, id: u16) -> Result<Self, Error<DeviceError>> {
        let mut finding = Self {
            id,
            start: 0,
            end: 0,
            readable: 0,
            cut: None,
            damage: Vec::new(),
            closed: None,
            snapshot: SnapshotFinding::of(volume, id)?,
        };
        let log = match Log::<MANY_SLOTS>::open(volume, id, log_memory()) {
            Ok(log) => log,
            Err(error) => {
                finding.closed = Some(place(error)?);
                return Ok(finding);
            }
        };
        (finding.start, finding.end, finding.cut) = (log.start(), log.end(), log.report().cut);
        let bar = progress::entries(log.end() - log.start());
        let done = finding.read(&log, volume, &bar);
        bar.finish_and_clear();
        done.map(|()| finding)
    }

    fn read(
        &mut self,
        log: &Log<MANY_SLOTS>,
        volume: &mut Volume,
        bar: &ProgressBar,
    ) -> Result<(), Error<DeviceError>> {
        let mut walk = Walk::new(log);
        while let Some(found) = walk.next(log, volume)? {
            match found {
                Found::Entry(entry) => {
                    self.readable += 1;
                    if entry.offset % 1024 == 0 {
                        bar.set_position(entry.offset - self.start);
                    }
                }
                Found::Damage(damage) => self.damage.push(damage),
            }
        }
        Ok(())
    }
}

impl SnapshotFinding {
    fn of(volume: &mut Volume, id: u16) -> Result<Option<Self>, Error<DeviceError>> {
        if !has_snapshot(volume, id) {
            return Ok(None);
        }
        let mut finding = Self { offset: 0, chunks: 0, damage: Vec::new(), closed: None };
        let snapshot = match Snapshot::<MANY_SLOTS>::open(volume, id, log_memory()) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                finding.closed = Some(place(error)?);
                return Ok(Some(finding));
            }
        };
        let Some(info) = snapshot.info(volume) else { return Ok(None) };
        (finding.offset, finding.chunks) = (info.offset, info.chunks);
        let mut bytes = vec![0; volume.info().segment_size as usize];
        for chunk in 0..info.chunks {
            if let Err(error) = snapshot.read(volume, chunk, &mut bytes) {
                finding.damage.push((chunk, place(error)?));
            }
        }
        Ok(Some(finding))
    }
}

fn as_words(findings: &[Finding]) -> String {
    let mut text = String::new();
    for log in findings {
        let id = log.id;
        // A `String` takes everything.
        let _ = match &log.closed {
            Some(place) => writeln!(text, "log {id}: can't be opened: {place}"),
            None => {
                writeln!(text, "log {id}: {} of {} entries can be read", log.readable, log.end - log.start)
            }
        };
        for damage in &log.damage {
            let _ = match damage.entries() {
                1 => writeln!(text, "log {id}: entry {} is damaged, {}", damage.first, damage.place),
                _ => {
                    let (first, last) = (damage.first, damage.end - 1);
                    writeln!(text, "log {id}: entries {first} to {last} are damaged, {}", damage.place)
                }
            };
        }
        if let Some(address) = log.cut {
            let _ = writeln!(
                text,
                "log {id}: cut at address {address}: what stands there was never acknowledged"
            );
        }
        if let Some(snapshot) = &log.snapshot {
            let good = snapshot.chunks as usize - snapshot.damage.len();
            let _ = match &snapshot.closed {
                Some(place) => writeln!(text, "log {id}: its snapshot can't be opened: {place}"),
                None => writeln!(
                    text,
                    "log {id}: {good} of {} chunks of its snapshot at offset {} can be read",
                    snapshot.chunks, snapshot.offset
                ),
            };
            for (chunk, place) in &snapshot.damage {
                let _ = writeln!(text, "log {id}: chunk {chunk} of its snapshot is damaged, {place}");
            }
        }
    }
    if findings.is_empty() {
        text.push_str("no logs\n");
    }
    text
}

fn as_json(volume: &Volume, findings: &[Finding]) -> String {
    let logs: Vec<Value> = findings.iter().map(log_json).collect();
    let value = json!({
        "volume_id": volume.info().volume_id,
        "good": damage(findings).is_none(),
        "logs": logs,
    });
    format!("{value:#}\n")
}

fn log_json(log: &Finding) -> Value {
    let damaged: Vec<Value> = log.damage.iter().map(Damage::as_json).collect();
    json!({
        "id": log.id,
        "start": log.start,
        "end": log.end,
        "readable": log.readable,
        "damaged": damaged,
        "cut": log.cut,
        "closed": log.closed.as_ref().map(Place::as_json),
        "snapshot": log.snapshot.as_ref().map(snapshot_json),
    })
}

fn snapshot_json(snapshot: &SnapshotFinding) -> Value {
    let damaged: Vec<Value> = snapshot
        .damage
        .iter()
        .map(|(chunk, place)| {
            let mut value = place.as_json();
            value["chunk"] = (*chunk).into();
            value
        })
        .collect();
    json!({
        "offset": snapshot.offset,
        "chunks": snapshot.chunks,
        "damaged": damaged,
        "closed": snapshot.closed.as_ref().map(Place::as_json),
    })
}
