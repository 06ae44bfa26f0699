//! `esker wal salvage`

use std::fmt::Write as _;
use std::path::Path;

use esker::device::Geometry;
use esker::wal::Error;
use esker_linux::{Device, DeviceError};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::create::Plan;
use super::damage::{Damage, Found, Place, Walk, place};
use super::volume::{Log, MANY_SLOTS, Snapshot, has_snapshot, log_ids, log_memory, open_log, with_slots};
use crate::arguments::SalvageArguments;
use crate::failure::Failure;
use crate::kv::log_of_store;
use crate::making::Make;
use crate::output::count;
use crate::signals::Interrupt;
use crate::volume::{Volume, open_to_read};
use crate::{input, output, progress};

/// Stands in OUT, as the user word of an empty entry, for an entry that was dropped.
const LOST: u64 = u64::from_le_bytes(*b"lost\0\0\0\0");

/// So much may be lost to a power cut while OUT is written; it is worth nothing before it is whole anyway.
const WINDOW: u64 = 16 << 20;

pub fn run(arguments: &SalvageArguments) -> Result<(), Failure> {
    let SalvageArguments { device, out, force, size, json, .. } = arguments;
    if let (Ok(one), Ok(other)) = (device.metadata(), out.metadata())
        && input::same(&one, &other)
    {
        return Err(Failure::at(out, "is DEV itself; name another OUT"));
    }
    let mut from = open_to_read(device)?;
    if log_of_store(&from).is_some() {
        return Err(Failure::at(
            device,
            "it holds a key-value store, of which this would save the log alone; `esker kv salvage` is for stores",
        ));
    }
    let info = from.info();
    let at = Device::survey(out).map_err(|error| Failure::at(out, error))?;
    let capacity = size.unwrap_or(info.geometry.capacity);
    let geometry = Geometry { capacity, ..info.geometry };
    let plan = Plan { geometry, segment_size: info.segment_size };
    let (mut to, mut fresh) = plan.make(out, &at, Make { force: *force, direct: false })?;
    // Not before: a large device is long in the making.
    let interrupt = Interrupt::watch()?;
    let mut saved = Vec::new();
    for id in log_ids(&from) {
        let job = Job { arguments, interrupt: &interrupt, id };
        saved.push(with_slots!(to, salvage(&job, &mut from, &mut to))?);
    }
    fresh.keep();
    let text = if *json { as_json(&saved) } else { as_words(&saved) };
    output::print(&text)
}

struct Job<'a> {
    arguments: &'a SalvageArguments,
    interrupt: &'a Interrupt,
    id: u16,
}

/// What became of one log.
#[derive(Default)]
struct Saved {
    id: u16,
    copied: u64,
    dropped: Vec<Damage>,
    /// Why the log could not even be opened.
    closed: Option<Place>,
    snapshot: SavedSnapshot,
}

/// What became of its snapshot.
#[derive(Default)]
enum SavedSnapshot {
    #[default]
    None,
    /// For which offset of OUT.
    Copied {
        offset: u64,
    },
    Dropped(Place),
}

fn salvage<const SLOTS: usize>(job: &Job<'_>, from: &mut Volume, to: &mut Volume) -> Result<Saved, Failure> {
    let SalvageArguments { device, out, .. } = job.arguments;
    let fail_from = |error: Error<DeviceError>| Failure::log(device, &error);
    let mut saved = Saved { id: job.id, ..Saved::default() };
    to.create_log(job.id).map_err(|error| Failure::volume(out, &error))?;
    let source = match Log::<MANY_SLOTS>::open(from, job.id, log_memory()) {
        Ok(source) => source,
        Err(error) => {
            saved.closed = Some(place(error).map_err(fail_from)?);
            return Ok(saved);
        }
    };
    let mut target: Log<SLOTS> = open_log(out, to, job.id)?;
    if source.start() > 0 {
        target.reset(to, source.start()).map_err(|error| full(out, &error))?;
    }
    let bar = progress::entries(source.end() - source.start());
    let copied = copy(job, from, &source, to, &mut target, &mut saved, &bar);
    bar.finish_and_clear();
    copied?;
    if has_snapshot(from, job.id) {
        saved.snapshot = salvage_snapshot(job, from, to, &mut target, &saved)?;
    }
    target.close(to).map_err(|error| full(out, &error))?;
    Ok(saved)
}

fn copy<const SLOTS: usize>(
    job: &Job<'_>,
    from: &mut Volume,
    source: &Log<MANY_SLOTS>,
    to: &mut Volume,
    target: &mut Log<SLOTS>,
    saved: &mut Saved,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let SalvageArguments { device, out, keep_offsets, .. } = job.arguments;
    let mut walk = Walk::new(source);
    let mut waiting = 0;
    while let Some(found) = walk.next(source, from).map_err(|error| Failure::log(device, &error))? {
        if let Some(signal) = job.interrupt.signal() {
            return Err(Failure::interrupted(signal).and("OUT is not whole"));
        }
        let mut append = |entry: &[u8], user: Option<u64>| {
            waiting += entry.len() as u64;
            let appended = match user {
                Some(user) => target.append_with(to, user, entry),
                None => target.append(to, entry),
            };
            let done = appended.and_then(|_| if waiting < WINDOW { Ok(()) } else { target.commit(to) });
            waiting %= WINDOW;
            done.map_err(|error| full(out, &error))
        };
        match found {
            Found::Entry(entry) => {
                append(&walk.bytes[..entry.len], entry.user)?;
                saved.copied += 1;
                if entry.offset % 1024 == 0 {
                    bar.set_position(entry.offset - source.start());
                }
            }
            Found::Damage(damage) => {
                if *keep_offsets {
                    (damage.first..damage.end).try_for_each(|_| append(&[], Some(LOST)))?;
                }
                saved.dropped.push(damage);
            }
        }
    }
    Ok(())
}

/// Copies the snapshot if all of it can be read.
fn salvage_snapshot<const SLOTS: usize>(
    job: &Job<'_>,
    from: &mut Volume,
    to: &mut Volume,
    target: &mut Log<SLOTS>,
    saved: &Saved,
) -> Result<SavedSnapshot, Failure> {
    let SalvageArguments { device, out, keep_offsets, .. } = job.arguments;
    let lost = |error| place(error).map(SavedSnapshot::Dropped).map_err(|error| Failure::log(device, &error));
    let source = match Snapshot::<MANY_SLOTS>::open(from, job.id, log_memory()) {
        Ok(source) => source,
        Err(error) => return lost(error),
    };
    let Some(info) = source.info(from) else { return Ok(SavedSnapshot::None) };
    let fail = |error| full(out, &error);
    let mut copy = Snapshot::<SLOTS>::open(to, job.id, log_memory()).map_err(fail)?;
    let mut bytes = vec![0; from.info().segment_size as usize];
    for nth in 0..info.chunks {
        match source.read(from, nth, &mut bytes) {
            Ok(len) => copy.write(to, &bytes[..len.unwrap_or(0)]).map_err(fail)?,
            Err(error) => {
                copy.discard(to).map_err(fail)?;
                copy.close(to).map_err(fail)?;
                return lost(error);
            }
        }
    }
    // Entries that were dropped before it have moved it up.
    let moved: u64 = if *keep_offsets {
        0
    } else {
        saved.dropped.iter().map(|damage| damage.end.min(info.offset).saturating_sub(damage.first)).sum()
    };
    let offset = (info.offset - moved).max(target.start());
    copy.publish(to, target, offset).map_err(fail)?;
    copy.close(to).map_err(fail)?;
    Ok(SavedSnapshot::Copied { offset })
}

/// What went wrong with OUT.
fn full(out: &Path, error: &Error<DeviceError>) -> Failure {
    match error {
        Error::Full { .. } | Error::Volume(esker::volume::Error::Full) => {
            Failure::at(out, "what can be read does not fit; give it more room with `--size`")
        }
        error => Failure::log(out, error),
    }
}

fn as_words(saved: &[Saved]) -> String {
    let mut text = String::new();
    for log in saved {
        let id = log.id;
        let dropped: u64 = log.dropped.iter().map(Damage::entries).sum();
        // A `String` takes everything.
        let _ = match &log.closed {
            Some(place) => writeln!(text, "log {id}: dropped all of it, as it can't be opened: {place}"),
            None => writeln!(text, "log {id}: copied {}, dropped {dropped}", count(log.copied, "entry")),
        };
        for damage in &log.dropped {
            let _ = match damage.entries() {
                1 => writeln!(text, "log {id}: dropped entry {}, {}", damage.first, damage.place),
                _ => {
                    let (first, last) = (damage.first, damage.end - 1);
                    writeln!(text, "log {id}: dropped the entries {first} to {last}, {}", damage.place)
                }
            };
        }
        let _ = match &log.snapshot {
            SavedSnapshot::None => Ok(()),
            SavedSnapshot::Copied { offset } => {
                writeln!(text, "log {id}: copied its snapshot, now of what came before offset {offset}")
            }
            SavedSnapshot::Dropped(place) => writeln!(text, "log {id}: dropped its snapshot, {place}"),
        };
    }
    if saved.is_empty() {
        text.push_str("no logs\n");
    }
    text
}

fn as_json(saved: &[Saved]) -> String {
    let logs: Vec<Value> = saved
        .iter()
        .map(|log| {
            let dropped: Vec<Value> = log.dropped.iter().map(Damage::as_json).collect();
            let snapshot = match &log.snapshot {
                SavedSnapshot::None => Value::Null,
                SavedSnapshot::Copied { offset } => json!({ "offset": offset }),
                SavedSnapshot::Dropped(place) => json!({ "dropped": place.as_json() }),
            };
            json!({
                "id": log.id,
                "copied": log.copied,
                "dropped": dropped,
                "closed": log.closed.as_ref().map(Place::as_json),
                "snapshot": snapshot,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "logs": logs }))
}
