//! `esker kv info`

use std::fmt::Write as _;

use esker::lsm::{Level, Merges};
use esker::store::{Info, Kind};
use esker::volume::VolumeInfo;
use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::index::{Indexed, kind_of, name, with_index, words};
use super::opened::{self, Opened};
use crate::arguments::KvInfoArguments;
use crate::failure::Failure;
use crate::output;

pub fn run(arguments: &KvInfoArguments) -> Result<(), Failure> {
    let KvInfoArguments { store, json } = arguments;
    let volume = opened::to_read(store)?;
    let found = with_index!(kind_of(&volume), I => {
        let mut opened = Opened::<I>::on(store, volume)?;
        let (volume, replayed) = (opened.volume.info(), opened.store.report().replayed);
        Figures { volume, info: opened.info()?, levels: opened.store.index().figures(), replayed }
    });
    output::print(&if *json { as_json(&found) } else { as_table(&found) })
}

/// What is told of a store.
struct Figures {
    volume: VolumeInfo,
    info: Info,
    levels: Option<(Vec<Level>, Merges)>,
    /// Records that were read when it was opened.
    replayed: u64,
}

fn as_json(figures: &Figures) -> String {
    let Figures { volume, info, replayed, .. } = figures;
    let Info { index, pool, log, .. } = info;
    let value = json!({
        "engine": name(info.kind),
        "pairs": index.pairs,
        "max_key": info.max_key,
        "max_value": info.max_value,
        "tree": tree_as_json(figures),
        "blocks": {
            "size": info.block_size,
            "count": info.blocks,
            "free": info.free_blocks,
            "available": info.available_blocks,
            "retired": info.retired_blocks,
            "lost": info.lost_blocks,
        },
        "checkpoint": info.checkpoint,
        "stuck": info.stuck,
        "log": {
            "id": log.id,
            "start": log.start,
            "end": log.end,
            "durable": log.durable,
            "segments": log.segments,
            "clean": log.report.clean,
            "replayed": replayed,
        },
        "pool": {
            "frames": pool.frames,
            "dirty": pool.dirty,
            "hits": pool.hits,
            "misses": pool.misses,
            "hit_rate": pool.hit_rate(),
            "evictions": pool.evictions,
            "written": pool.written,
        },
        "volume": {
            "volume_id": volume.volume_id,
            "generation": volume.generation,
            "capacity": volume.geometry.capacity,
            "write_unit": volume.geometry.write_unit,
            "erase_unit": volume.geometry.erase_unit,
            "segment_size": volume.segment_size,
            "segments": volume.segments,
            "free_segments": volume.free_segments,
            "homes": volume.homes,
        },
    });
    format!("{value:#}\n")
}

/// Of an LSM tree, `pairs` above is an upper bound.
fn tree_as_json(figures: &Figures) -> Value {
    let index = &figures.info.index;
    let Some((levels, merges)) = &figures.levels else {
        return json!({
            "depth": index.depth,
            "pages": u64::from(index.leaves) + u64::from(index.inner),
            "leaves": index.leaves,
            "inner": index.inner,
            "branching_factor": index.branching(),
            "overflow_pages": index.overflow,
        });
    };
    let level = |level: &Level| {
        json!({
            "level": level.level,
            "runs": level.runs,
            "most_runs": level.most_runs,
            "tables": level.tables,
            "bytes": level.bytes,
            "most_bytes": level.most_bytes,
        })
    };
    json!({
        "runs": index.depth,
        "tables": index.leaves,
        "levels": levels.iter().map(level).collect::<Vec<_>>(),
        "merges": {
            "tables_in": merges.tables_in,
            "tables_out": merges.tables_out,
            "bytes_read": merges.bytes_read,
            "bytes_written": merges.bytes_written,
            "pairs_dropped": merges.pairs_dropped,
        },
    })
}

fn as_table(figures: &Figures) -> String {
    let Figures { volume, info, replayed, .. } = figures;
    let Info { index, pool, log, .. } = info;
    let mut text = "store\n".to_owned();
    row(&mut text, "engine", words(info.kind));
    match info.kind {
        Kind::BTree => row(&mut text, "pairs", index.pairs),
        // One that was replaced or removed counts until a merge has met it.
        Kind::Lsm => row(&mut text, "pairs", format_args!("at most {}", index.pairs)),
    }
    row(&mut text, "longest key", bytes(info.max_key as u64));
    row(&mut text, "longest value", bytes(info.max_value as u64));
    if info.stuck {
        row(
            &mut text,
            "stuck",
            "it can be read and not changed, until `esker kv salvage` has dropped what is damaged",
        );
    }
    text.push_str("tree\n");
    tree_as_rows(&mut text, figures);
    text.push_str("blocks\n");
    let used = u64::from(info.blocks.saturating_sub(info.free_blocks));
    let size = u64::from(info.block_size);
    row(&mut text, "in use", format_args!("{used} of {}, {}", info.blocks, bytes(used * size)));
    row(
        &mut text,
        "free",
        format_args!("{}, {} before a checkpoint", info.free_blocks, info.available_blocks),
    );
    row(&mut text, "out of use", format_args!("{} retired, {} lost", info.retired_blocks, info.lost_blocks));
    text.push_str("log\n");
    let closed = if log.report.clean { "closed in order" } else { "not closed in order" };
    let waiting = log.end.saturating_sub(info.checkpoint);
    row(
        &mut text,
        "entries",
        format_args!("{} to {}, {waiting} of them not in the tree on the device", log.start, log.end),
    );
    row(&mut text, "segments", format_args!("{} of {}", log.segments, bytes(volume.segment_size.into())));
    row(&mut text, "recovery", format_args!("{closed}, {replayed} records read"));
    text.push_str("pool\n");
    row(&mut text, "frames", format_args!("{}, {} dirty", pool.frames, pool.dirty));
    let rate = 100.0 * pool.hit_rate();
    row(&mut text, "pages asked for", format_args!("{}, {rate:.1} % found", pool.hits + pool.misses));
    row(&mut text, "evictions", format_args!("{}, {} pages written", pool.evictions, pool.written));
    text.push_str("volume\n");
    row(&mut text, "id", format_args!("{:08x}", volume.volume_id));
    row(&mut text, "generation", volume.generation);
    row(&mut text, "capacity", bytes(volume.geometry.capacity));
    text
}

fn tree_as_rows(text: &mut String, figures: &Figures) {
    let info = &figures.info;
    let index = &info.index;
    let size = bytes(info.block_size.into());
    if info.kind == Kind::Lsm {
        row(text, "runs", index.depth);
        row(text, "tables", format_args!("{}, of {size} at most", index.leaves));
        for level in figures.levels.iter().flat_map(|(levels, _)| levels) {
            let runs = format!("{} of {} runs", level.runs, level.most_runs);
            let most = level.most_bytes.map_or(String::new(), |most| format!(" of {}", bytes(most)));
            let held = format!("{} tables, {}{most}", level.tables, bytes(level.bytes));
            row(text, &format!("level {}", level.level), format_args!("{runs}, {held}"));
        }
        return;
    }
    row(text, "depth", index.depth);
    row(text, "pages", format_args!("{} leaves and {} above them, of {size}", index.leaves, index.inner));
    row(text, "branching factor", format_args!("{:.1}", index.branching()));
    let per_leaf = index.pairs as f64 / f64::from(index.leaves.max(1));
    row(text, "pairs per leaf", format_args!("{per_leaf:.1}"));
    row(text, "long values", format_args!("on {} pages of their own", index.overflow));
}

fn row(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<18}{value}");
}

/// Exactly, and for humans where that is shorter.
fn bytes(n: u64) -> String {
    if n < 10_000 { format!("{n} bytes") } else { format!("{n} bytes ({})", BinaryBytes(n)) }
}
