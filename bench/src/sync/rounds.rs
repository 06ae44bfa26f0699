//! Rounds of phases, and what they come to.

use std::collections::BTreeMap;
use std::path::Path;

use hdrhistogram::Histogram;

use super::contestant::{Contestant, DeviceCounts, Make, Setting, Strategy};
use super::floor::Floor;
use super::measure::{histogram, phase};
use super::report::{Report, Row};
use super::{CONTESTANTS, Failure, Options};
use crate::folder;
use crate::progress::progress;
use crate::statistics::{estimate, median, spread};

/// Above this the rounds of the floor differ so much that the absolute figures mean little.
const NOISY: f64 = 0.25;

pub const FLOOR: &str = "floor";
pub const BARE: &str = "bare-1m";

/// One line of the report: what is run in each round.
struct Cell {
    name: &'static str,
    /// Of those that were opened.
    open: usize,
    strategy: Strategy,
    threads: usize,
    len: usize,
    entries: u64,
    per_second: Vec<f64>,
    cpu_us: Vec<f64>,
    latencies: Histogram<u64>,
    device: Option<DeviceCounts>,
}

/// Measures everything that the options name. Draws a bar where standard error is a terminal.
///
/// # Errors
/// An option can't be, there is no room for the files, a contestant failed, or a signal came.
pub fn run(options: &Options) -> Result<Report, Failure> {
    check(options)?;
    let folder = folder::make(options.directory.as_deref())?;
    let mut warnings = Vec::from_iter(folder::warning(folder.path()));
    let (opened, mut cells) = open(options, folder.path())?;
    // Whatever was written to make the files must not be synced by whom is measured.
    let synced = std::fs::File::open(folder.path()).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| Failure::at(folder.path(), &error))?;
    let bar = progress((options.rounds * cells.len()) as u64);
    for round in 0..options.rounds {
        for nth in 0..cells.len() {
            let at = (nth + round) % cells.len();
            options.go_on()?;
            let cell = &mut cells[at];
            bar.set_message(format!(
                "{} {} x{} {} B",
                cell.name,
                cell.strategy.name(),
                cell.threads,
                cell.len
            ));
            let phase = phase(&*opened[cell.open], cell.strategy, cell.threads, cell.len, options)?;
            cell.entries += phase.entries;
            cell.per_second.push(phase.per_second());
            cell.cpu_us.push(phase.cpu.as_secs_f64() * 1e6 / phase.entries.max(1) as f64);
            // The same bounds, so nothing can be out of them.
            let _ = cell.latencies.add(&phase.latencies);
            cell.device = phase.device.map(|counts| {
                let before = cell.device.unwrap_or_default();
                DeviceCounts {
                    writes: before.writes + counts.writes,
                    bytes: before.bytes + counts.bytes,
                    syncs: before.syncs + counts.syncs,
                }
            });
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let floors = cells.iter().filter(|cell| cell.name == FLOOR);
    let worst = floors.map(|cell| spread(&cell.per_second)).fold(0.0, f64::max);
    if worst > NOISY {
        warnings.push(format!(
            "this machine is noisy: the middle half of the floor's rounds lies {:.0} % of its median apart; trust \
             the ratios and counts, not the times",
            worst * 100.0
        ));
    }
    Ok(report(options, &cells, warnings))
}

fn check(options: &Options) -> Result<(), Failure> {
    let known: Vec<_> = CONTESTANTS.iter().map(|(name, ..)| *name).collect();
    if let Some(unknown) = options.contestants.iter().find(|name| !known.contains(&name.as_str())) {
        let peers =
            if cfg!(feature = "peers") { "" } else { " (others need a build with `--features peers`)" };
        return Err(Failure::new(format!("no contestant {unknown}; there is {}{peers}", known.join(", "))));
    }
    if let Some(unknown) = options.strategies.iter().find(|name| strategy(options, name).is_none()) {
        return Err(Failure::new(format!("no strategy {unknown}; there is always, batch, none")));
    }
    let in_range = [
        ("rounds", options.rounds as u64, 1, 100_000),
        ("batch-entries", options.batch_entries, 1, 1 << 32),
        ("batch-millis", options.batch_millis, 1, 1 << 32),
        ("capacity", options.capacity, 64 << 20, 1 << 40),
        ("threads", options.threads.iter().copied().max().unwrap_or(0) as u64, 1, 4096),
        ("threads", options.threads.iter().copied().min().unwrap_or(0) as u64, 1, 4096),
        ("sizes", options.entry_bytes.iter().copied().max().unwrap_or(0) as u64, 1, 1 << 20),
        ("sizes", options.entry_bytes.iter().copied().min().unwrap_or(0) as u64, 1, 1 << 20),
    ];
    for (name, value, least, most) in in_range {
        if !(least..=most).contains(&value) {
            return Err(Failure::new(format!("--{name} must be from {least} to {most}")));
        }
    }
    if !options.write_unit.is_power_of_two() || !(512..=65_536).contains(&options.write_unit) {
        return Err(Failure::new("--write-unit must be a power of two from 512 to 65536"));
    }
    Ok(())
}

fn strategy(options: &Options, name: &str) -> Option<Strategy> {
    match name {
        "always" => Some(Strategy::Always),
        "batch" => Some(Strategy::Batch { entries: options.batch_entries, millis: options.batch_millis }),
        "none" => Some(Strategy::None),
        _ => None,
    }
}

type Opened = Vec<Box<dyn Contestant>>;

/// Opens who takes part, once for each strategy, and lists the phases of a round.
fn open(options: &Options, folder: &Path) -> Result<(Opened, Vec<Cell>), Failure> {
    let mut opened = Opened::new();
    let mut cells = Vec::new();
    let mut add = |name, make: Make, strategy, threads: &[usize], lens: &[usize]| -> Result<(), Failure> {
        options.go_on()?;
        let own = folder.join(opened.len().to_string());
        std::fs::create_dir(&own).map_err(|error| Failure::at(&own, &error))?;
        let write_unit = options.write_unit;
        let capacity = options.capacity / 65_536 * 65_536;
        opened.push(make(&own, &Setting { strategy, capacity, write_unit, direct: options.direct })?);
        let open = opened.len() - 1;
        for (threads, len) in threads.iter().flat_map(|threads| lens.iter().map(move |len| (*threads, *len)))
        {
            cells.push(Cell {
                name,
                open,
                strategy,
                threads,
                len,
                entries: 0,
                per_second: Vec::new(),
                cpu_us: Vec::new(),
                latencies: histogram(),
                device: None,
            });
        }
        Ok(())
    };
    let lens = &options.entry_bytes;
    add(FLOOR, Floor::open, Strategy::Always, &[1], lens)?;
    let strategies: Vec<Strategy> =
        options.strategies.iter().filter_map(|name| strategy(options, name)).collect();
    if strategies.contains(&Strategy::None) {
        add(BARE, Floor::open, Strategy::None, &[1], &[1 << 20])?;
    }
    for (name, make, all) in CONTESTANTS {
        if !options.contestants.iter().any(|wanted| wanted == name) {
            continue;
        }
        for strategy in &strategies {
            match strategy {
                Strategy::Always => add(name, *make, *strategy, &options.threads, lens)?,
                _ if *all => add(name, *make, *strategy, &[1], lens)?,
                _ => {}
            }
        }
    }
    Ok((opened, cells))
}

fn report(options: &Options, cells: &[Cell], warnings: Vec<String>) -> Report {
    let floors: BTreeMap<usize, &Cell> =
        cells.iter().filter(|cell| cell.name == FLOOR).map(|cell| (cell.len, cell)).collect();
    let bare = cells.iter().find(|cell| cell.name == BARE);
    let rows = cells.iter().map(|cell| {
        let to_floor = floors.get(&cell.len).and_then(|floor| ratio(cell, floor, 1.0));
        let to_bare = bare.filter(|_| cell.strategy == Strategy::None);
        let to_bare = to_bare.and_then(|bare| ratio_of_bytes(cell, bare));
        let best_peer = (cell.name == "esker").then(|| best_peer(cells, cell)).flatten();
        let to_peer = best_peer.and_then(|peer| ratio(cell, peer, 1.0));
        let per_entry = |count: u64| count as f64 / cell.entries.max(1) as f64;
        let quantile = |quantile| cell.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Row {
            contestant: cell.name.into(),
            threads: cell.threads,
            entry_bytes: cell.len,
            strategy: cell.strategy.name().into(),
            ops_per_s: median(&cell.per_second).unwrap_or(0.0),
            ratio_to_floor: to_floor.map(|ratio| ratio.median),
            ratio_low: to_floor.map(|ratio| ratio.low),
            ratio_high: to_floor.map(|ratio| ratio.high),
            ratio_to_bare: to_bare.map(|ratio| ratio.median),
            ratio_to_bare_low: to_bare.map(|ratio| ratio.low),
            ratio_to_bare_high: to_bare.map(|ratio| ratio.high),
            best_peer: best_peer.map(|peer| peer.name.into()),
            ratio_to_best_peer: to_peer.map(|ratio| ratio.median),
            ratio_to_best_peer_low: to_peer.map(|ratio| ratio.low),
            ratio_to_best_peer_high: to_peer.map(|ratio| ratio.high),
            cpu_us_per_op: median(&cell.cpu_us).unwrap_or(0.0),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            device_writes: cell.device.map(|device| per_entry(device.writes)),
            device_syncs: cell.device.map(|device| per_entry(device.syncs)),
            device_bytes: cell.device.map(|device| per_entry(device.bytes)),
            entries: cell.entries,
            loss_window: cell.strategy.loss_window(),
            rounds_ops_per_s: cell.per_second.clone(),
        }
    });
    Report {
        rounds: options.rounds,
        phase_ms: options.phase.as_millis() as u64,
        write_unit: options.write_unit,
        direct: options.direct,
        warnings,
        rows: rows.collect(),
    }
}

/// The rate of one by that of the other, round by round.
fn ratio(cell: &Cell, other: &Cell, factor: f64) -> Option<crate::statistics::Estimate> {
    let pairs = cell.per_second.iter().zip(&other.per_second);
    estimate(&pairs.map(|(own, other)| factor * own / other.max(1e-9)).collect::<Vec<_>>())
}

fn ratio_of_bytes(cell: &Cell, other: &Cell) -> Option<crate::statistics::Estimate> {
    ratio(cell, other, cell.len as f64 / other.len as f64)
}

/// The fastest of the others at the same task.
fn best_peer<'a>(cells: &'a [Cell], cell: &Cell) -> Option<&'a Cell> {
    let same = |other: &&Cell| {
        ![FLOOR, BARE, "esker"].contains(&other.name)
            && (other.strategy, other.threads, other.len) == (cell.strategy, cell.threads, cell.len)
    };
    let rate = |cell: &Cell| median(&cell.per_second).unwrap_or(0.0);
    cells.iter().filter(same).max_by(|a, b| rate(a).total_cmp(&rate(b)))
}
