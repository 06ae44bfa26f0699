//! What must hold even of a device that has lied or rotted: no wrong entry, no mixture of two histories.

use esker::volume;
use esker::wal::Error;

use super::model::{LogModel, Model};
use super::opened::{LogError, Opened, Vol};

/// Whether an error names damage or a device that fails, and so is an honest answer.
pub fn is_honest(error: &LogError) -> bool {
    matches!(
        error,
        Error::Corrupt { .. }
            | Error::Volume(
                volume::Error::Device(_) | volume::Error::Corrupt { .. } | volume::Error::NotFormatted
            )
    )
}

/// Every entry that can be read must be what one and the same moment of the log's history held there. Returns how many
/// could not be read.
pub fn one_history(opened: &mut Opened, model: &Model) -> Result<u64, String> {
    let mut failed = 0;
    for (handle, log) in opened.logs.iter().zip(&model.logs) {
        let Some(open) = &handle.log else { continue };
        let mut out = vec![0; opened.volume.info().segment_size as usize];
        let versions = log.versions();
        let mut possible: Vec<usize> = (0..versions.len()).collect();
        let mut lost = 0;
        let mut cursor = open.cursor(open.start());
        for offset in open.start()..open.end() {
            match open.next(&mut opened.volume, &mut cursor, &mut out) {
                Ok(Some(entry)) => {
                    let here = (&out[..entry.len], entry.user);
                    let before = possible.len();
                    possible.retain(|version| {
                        versions[*version].at(offset).is_some_and(|serial| model.items.get(serial) == here)
                    });
                    if possible.is_empty() {
                        let id = log.id;
                        return Err(format!(
                            "log {id}: entry {offset} fits no history ({before} fitted until there)"
                        ));
                    }
                }
                Ok(None) => {
                    return Err(format!("log {}: entry {offset} is missing without an error", log.id));
                }
                Err(error) if is_honest(&error) => {
                    lost += 1;
                    cursor.skip();
                }
                Err(error) => return Err(format!("log {}: entry {offset} reads as {error:?}", log.id)),
            }
            if offset - open.start() > 100_000 {
                return Err(format!("log {} claims {}..{}", log.id, open.start(), open.end()));
            }
        }
        if lost == 0 && possible.iter().all(|version| versions[*version].end() != open.end()) {
            return Err(format!("log {} ends at {}, where it never ended", log.id, open.end()));
        }
        failed += lost;
        snapshot_of_history(&mut opened.volume, handle, log, model)?;
    }
    Ok(failed)
}

fn snapshot_of_history(
    volume: &mut Vol,
    handle: &super::opened::Handle,
    log: &LogModel,
    model: &Model,
) -> Result<(), String> {
    let Some(snapshot) = &handle.snapshot else { return Ok(()) };
    let Some(info) = snapshot.info(volume) else { return Ok(()) };
    let mut out = vec![0; volume.info().segment_size as usize];
    let mut possible: Vec<_> = log.snapshots().filter(|state| state.offset == info.offset).collect();
    for nth in 0..info.chunks {
        match snapshot.read(volume, nth, &mut out) {
            Ok(Some(len)) => possible.retain(|state| {
                state.chunks.get(nth as usize).is_some_and(|serial| model.items.get(*serial).0 == &out[..len])
            }),
            Ok(None) => return Err(format!("chunk {nth} of {info:?} is missing without an error")),
            Err(error) if is_honest(&error) => {}
            Err(error) => return Err(format!("chunk {nth} of {info:?}: {error:?}")),
        }
    }
    if possible.is_empty() { Err(format!("snapshot {info:?} fits no history")) } else { Ok(()) }
}
