//! `esker kv checkpoint`, `esker kv compact` and `esker kv salvage`

use esker::store::{Damage, Info, Store};
use esker_linux::AlignedBuffer;
use serde_json::json;

use super::index::{Indexed, kind_of, name, with_index};
use super::opened::{self, Opened};
use super::verify::Findings;
use crate::arguments::{CheckpointArguments, CompactArguments, KvSalvageArguments};
use crate::failure::Failure;
use crate::output::count;
use crate::{output, progress};

pub fn checkpoint(arguments: &CheckpointArguments) -> Result<(), Failure> {
    let CheckpointArguments { store, json } = arguments;
    let volume = opened::to_write(store)?;
    with_index!(kind_of(&volume), I => checkpoint_of(Opened::<I>::on(store, volume)?, *json))
}

fn checkpoint_of<I: Indexed>(mut opened: Opened<I>, json: bool) -> Result<(), Failure> {
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
    output::line(json, &value, &words)
}

pub fn compact(arguments: &CompactArguments) -> Result<(), Failure> {
    let CompactArguments { store, json } = arguments;
    let volume = opened::to_write(store)?;
    with_index!(kind_of(&volume), I => compact_of(Opened::<I>::on(store, volume)?, *json))
}

fn compact_of<I: Indexed>(mut opened: Opened<I>, json: bool) -> Result<(), Failure> {
    let used =
        |info: &Info| u64::from(info.blocks.saturating_sub(info.free_blocks)) * u64::from(info.block_size);
    let before = opened.info()?;
    let busy = progress::busy("merging");
    let done = opened.store.compact(&mut opened.volume);
    busy.finish_and_clear();
    done.map_err(|error| opened.fail(&error))?;
    let after = opened.info()?;
    let figures = opened.store.index().figures();
    opened.close()?;
    let (from, to) = (used(&before), used(&after));
    let mut value = json!({ "engine": name(before.kind), "bytes_before": from, "bytes_after": to });
    let Some((_, merges)) = figures else {
        return output::line(json, &value, "a B-tree has nothing to compact");
    };
    value["pairs_dropped"] = merges.pairs_dropped.into();
    value["tables_written"] = merges.tables_out.into();
    let words = if merges.tables_out == 0 && merges.tables_in == 0 {
        "there was nothing to merge".to_owned()
    } else {
        format!(
            "merged {} into {}, without {} that {} replaced or removed; {from} bytes were in use, now {to}",
            count(merges.tables_in, "table"),
            merges.tables_out,
            count(merges.pairs_dropped, "pair"),
            if merges.pairs_dropped == 1 { "was" } else { "were" },
        )
    };
    output::line(json, &value, &words)
}

pub fn salvage(arguments: &KvSalvageArguments) -> Result<(), Failure> {
    let KvSalvageArguments { store, force, json } = arguments;
    // Without the word for it, it is done in memory.
    let volume = if *force { opened::to_write(store) } else { opened::to_read(store) }?;
    let findings = with_index!(kind_of(&volume), I => {
        let (opened, damaged) = Opened::<I>::past_damage(store, volume)?;
        drop_damaged(opened, damaged)?
    });
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

/// `dropped`: what was found when the store was opened.
fn drop_damaged<I: Indexed>(mut opened: Opened<I>, mut dropped: Vec<Damage>) -> Result<Findings, Failure> {
    let busy = progress::busy("dropping what is damaged");
    let mut bitmap = vec![0; Store::<I, AlignedBuffer>::bitmap_needed(&opened.volume)];
    let report = &mut |damage| dropped.push(damage);
    let verified = opened.store.salvage(&mut opened.volume, Some(&mut bitmap), report);
    busy.finish_and_clear();
    let verified = verified.map_err(|error| opened.fail(&error))?;
    let findings = Findings::new(&opened, verified, dropped);
    opened.close()?;
    Ok(findings)
}
