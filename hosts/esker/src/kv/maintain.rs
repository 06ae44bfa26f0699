//! `esker kv checkpoint` and `esker kv salvage`

use esker_linux::Access;
use serde_json::json;

use super::opened::{Opened, Store};
use super::verify::Findings;
use crate::arguments::{CheckpointArguments, KvSalvageArguments};
use crate::failure::Failure;
use crate::output::count;
use crate::{output, progress};

pub fn checkpoint(arguments: &CheckpointArguments) -> Result<(), Failure> {
    let CheckpointArguments { store, json } = arguments;
    let mut opened = Opened::to_write(store)?;
    let before = opened.info()?;
    let busy = progress::busy("writing pages");
    let done = opened.store.checkpoint(&mut opened.volume);
    busy.finish_and_clear();
    done.map_err(|error| opened.fail(&error))?;
    let after = opened.info()?;
    opened.close()?;
    let pages = after.pool.written - before.pool.written;
    let entries = after.checkpoint - before.checkpoint;
    let released = after.log.start - before.log.start;
    let value = json!({
        "pages_written": pages,
        "entries": entries,
        "entries_released": released,
        "checkpoint": after.checkpoint,
    });
    let words = format!(
        "wrote {}; {} of the log {} in the tree now, and {} of it were given back",
        count(pages, "page"),
        count(entries, "entry"),
        if entries == 1 { "is" } else { "are" },
        count(released, "entry"),
    );
    output::line(*json, &value, &words)
}

pub fn salvage(arguments: &KvSalvageArguments) -> Result<(), Failure> {
    let KvSalvageArguments { store, force, json } = arguments;
    // Without the word for it, it is done in memory.
    let access = if *force { Access::ReadWrite } else { Access::ReadOnly };
    let (mut opened, mut dropped) = Opened::past_damage(store, access)?;
    let busy = progress::busy("dropping what is damaged");
    let mut bitmap = vec![0; Store::bitmap_needed(&opened.volume)];
    let report = &mut |damage| dropped.push(damage);
    let verified = opened.store.salvage(&mut opened.volume, Some(&mut bitmap), report);
    busy.finish_and_clear();
    let verified = verified.map_err(|error| opened.fail(&error))?;
    let page = opened.volume.info().block_size.into();
    opened.close()?;
    let findings = Findings { verified, damages: dropped, page };
    let what = if *force { "dropped" } else { "to be dropped" };
    output::print(&if *json { findings.as_json() } else { findings.as_words(what) })?;
    if *force || findings.damages.is_empty() {
        return Ok(());
    }
    Err(Failure::at(
        &store.device,
        "nothing was changed; `--force` drops what is damaged, with all pairs there",
    ))
}
