//! Rounds of turns.

use std::path::Path;

use super::loop_device::LoopDevice;
use super::pairs::Pairs;
use super::report::{Report, row};
use super::session::Measured;
use super::worker::Worker;
use super::workload::Workload;
use super::{FLOOR, Options, STORES, Setting, unknown};
use crate::Failure;
use crate::folder;
use crate::progress::progress;
use crate::statistics::spread;

/// Above this the rounds of the floor differ so much that the absolute figures mean little.
const NOISY: f64 = 0.25;

/// One line of the report: a store at a workload, in each round.
pub struct Cell {
    /// The store.
    pub store: String,
    /// The workload.
    pub workload: Workload,
    /// How many pairs there are.
    pub pairs: u32,
    /// Round by round.
    pub rounds: Vec<Measured>,
}

/// Measures everything that the options name. Draws a bar where standard error is a terminal.
///
/// # Errors
/// An option can't be, there is no room for the files, a store failed or answered wrong, or a signal came.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let workloads = check(options)?;
    let folder = folder::make(options.directory.as_deref())?;
    let simulated = options.simulated.is_some();
    let mut warnings = Vec::from_iter(folder::warning(folder.path()).filter(|_| !simulated));
    let disk = match options.loop_device {
        true => Some(LoopDevice::new(folder.path(), disk_size(options))?),
        false => None,
    };
    let place = disk.as_ref().map_or(folder.path(), LoopDevice::folder);
    let mut cells: Vec<Cell> = Vec::new();
    for pairs in &options.pairs {
        for workload in &workloads {
            let stores = options.stores.iter().cloned();
            let floor = (workload.has_floor() && !simulated).then(|| FLOOR.to_owned());
            let all = floor.into_iter().chain(stores);
            let cell = |store| Cell { store, workload: *workload, pairs: *pairs, rounds: Vec::new() };
            cells.extend(all.map(cell));
        }
    }
    let bar = progress((options.rounds * cells.len()) as u64);
    for pairs in &options.pairs {
        for round in 0..options.rounds {
            let mut workers = Vec::new();
            let floor = Some(FLOOR).filter(|_| !simulated);
            for store in floor.into_iter().chain(options.stores.iter().map(String::as_str)) {
                options.go_on()?;
                let directory = place.join(format!("{pairs}-{round}-{store}"));
                std::fs::create_dir(&directory).map_err(|error| Failure::at(&directory, &error))?;
                let setting = Setting {
                    store: store.into(),
                    callgrind: options.callgrind.then(|| directory.join("instructions")),
                    directory,
                    pairs: *pairs,
                    key_size: options.key_size,
                    value_size: options.value_size,
                    cache: options.cache,
                    amounts: options.amounts,
                    block_size: options.block_size,
                    capacity: options.capacity,
                    simulated: options.simulated,
                    direct: options.direct,
                    disk: disk.as_ref().map(LoopDevice::counters),
                };
                workers.push((Worker::new(&setting, options)?, setting));
            }
            for workload in &workloads {
                let count = workers.len();
                for nth in 0..count {
                    let (worker, setting) = &mut workers[(nth + round) % count];
                    let here = |cell: &&mut Cell| {
                        (cell.store == setting.store, cell.workload, cell.pairs) == (true, *workload, *pairs)
                    };
                    let Some(cell) = cells.iter_mut().find(here) else { continue };
                    options.go_on()?;
                    bar.set_message(format!("{} {} of {pairs}", setting.store, workload.name()));
                    // Whatever others have left must not be synced by whom is measured.
                    settle(place)?;
                    let measured = worker.run(*workload);
                    // A signal is for the workers as well.
                    options.go_on()?;
                    cell.rounds.push(measured?);
                    bar.inc(1);
                }
            }
            for (worker, setting) in workers {
                drop(worker);
                let removed = std::fs::remove_dir_all(&setting.directory);
                removed.map_err(|error| Failure::at(&setting.directory, &error))?;
            }
        }
    }
    bar.finish_and_clear();
    warnings.extend(noise(&cells));
    if options.loop_device {
        let rates = "on a loop device rates are those of two file systems, one in the other; trust bytes, flushes and processor time";
        warnings.push(rates.into());
    }
    if options.callgrind {
        warnings.push(
            "instructions were counted by callgrind: rates, times and memory are those of its processor"
                .into(),
        );
    }
    Ok(Report {
        rounds: options.rounds,
        key_size: options.key_size,
        value_size: options.value_size,
        cache: options.cache,
        simulated: options.simulated,
        direct: options.direct,
        loop_device: options.loop_device,
        warnings,
        rows: cells.iter().map(|cell| row(cell, &cells)).collect(),
    })
}

fn check(options: &Options) -> Result<Vec<Workload>, Failure> {
    let known = |name: &&String| match options.simulated {
        // They are asked when they are made.
        Some(_) => true,
        None => STORES.iter().any(|(known, _)| known == name),
    };
    if let Some(missing) = options.stores.iter().find(|name| !known(name)) {
        return Err(unknown(missing));
    }
    if let Some(unknown) = options.workloads.iter().find(|name| Workload::named(name).is_none()) {
        let known = Workload::ALL.map(Workload::name).join(", ");
        return Err(Failure::new(format!("no workload {unknown}; there is {known}")));
    }
    let amounts = &options.amounts;
    let (least_key, most_key) = (Pairs::LEAST_KEY as u64, 511);
    let in_range = [
        ("rounds", options.rounds as u64, 1, 10_000),
        ("pairs", options.pairs.iter().copied().min().unwrap_or(0).into(), 2, 1 << 30),
        ("pairs", options.pairs.iter().copied().max().unwrap_or(0).into(), 2, 1 << 30),
        ("key-size", options.key_size as u64, least_key, most_key),
        ("value-size", options.value_size as u64, 1, 1 << 16),
        ("cache", options.cache as u64, 4 << 10, 1 << 40),
        ("bulk", amounts.bulk.into(), 1, 1 << 30),
        ("batch", amounts.batch.into(), 1, 1 << 20),
        ("batches", amounts.batches.into(), 1, 1 << 20),
        ("singles", amounts.singles.into(), 1, 1 << 30),
        ("nosyncs", amounts.nosyncs.into(), 1, 1 << 30),
        ("reads", amounts.reads.into(), 1, 1 << 30),
        ("scans", amounts.scans.into(), 1, 1 << 30),
        ("reopens", amounts.reopens.into(), 1, 1 << 20),
    ];
    for (name, value, least, most) in in_range {
        if !(least..=most).contains(&value) {
            return Err(Failure::new(format!("--{name} must be from {least} to {most}")));
        }
    }
    let mut workloads: Vec<_> = options.workloads.iter().filter_map(|name| Workload::named(name)).collect();
    workloads.sort_unstable();
    workloads.dedup();
    Ok(workloads)
}

/// Room for all stores at once.
fn disk_size(options: &Options) -> u64 {
    let most = u64::from(options.pairs.iter().copied().max().unwrap_or(0));
    let live = most * (options.key_size + options.value_size) as u64;
    (options.stores.len() as u64 + 1) * (10 * live + (512 << 20))
}

fn settle(folder: &Path) -> Result<(), Failure> {
    let synced = std::fs::File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| Failure::at(folder, &error))
}

fn noise(cells: &[Cell]) -> Option<String> {
    let floors = cells.iter().filter(|cell| cell.store == FLOOR && cell.workload == Workload::Single);
    let worst =
        floors.map(|cell| spread(&cell.rounds.iter().map(|measured| measured.seconds).collect::<Vec<_>>()));
    let worst = worst.fold(0.0, f64::max);
    (worst > NOISY).then(|| {
        format!(
            "this machine is noisy: the middle half of the floor's rounds lies {:.0} % of its median apart; trust \
             the ratios, the counts and the processor time, not the rates",
            worst * 100.0
        )
    })
}
