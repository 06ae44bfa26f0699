//! What was measured, as tables and as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::counters::Source;
use super::rounds::Cell;
use super::session::Measured;
use super::{FLOOR, Simulated};
use crate::statistics::{Estimate, estimate, median};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Rounds.
    pub rounds: usize,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// Bytes of memory that each store was allowed for its cache and buffers.
    pub cache: usize,
    /// The simulated device; then rates and latencies are the model's.
    pub simulated: Option<Simulated>,
    /// Esker's file was written and read past the page cache.
    pub direct: bool,
    /// The stores were on a loop device.
    pub loop_device: bool,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
    /// One for each number of pairs, workload and store.
    pub rows: Vec<Row>,
}

/// One store at one workload; of several rounds the median. What is not known, or has no meaning, is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name; "floor" is a preallocated file that the same bytes are written to and synced as often.
    pub store: String,
    /// See [`Workload`](super::workload::Workload).
    pub workload: String,
    /// Pairs in the store before removals.
    pub pairs: u32,
    /// Puts, reads, scans, removals or sessions of a round.
    pub operations: u64,
    /// Operations per second until the last one was as durable as it should be; the close is not in it.
    pub ops_per_s: f64,
    /// That rate divided by the floor's in the same round.
    pub ratio_to_floor: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_low: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_high: Option<f64>,
    /// Microseconds of processor time of the process per operation, those of the close behind writes among them.
    pub cpu_us_per_op: f64,
    /// How many of these are the close's.
    pub close_cpu_us_per_op: f64,
    /// Instructions outside the kernel per operation, the close among them.
    pub instructions_per_op: Option<f64>,
    /// Microseconds of a transaction, a get, a scan, or an open.
    pub p50_us: Option<f64>,
    /// Microseconds of a transaction, a get, a scan, or an open.
    pub p99_us: Option<f64>,
    /// Who counted what reached the device: "device" (the store's own device, wrapped), "loop" (the kernel, for a disk of our
    /// own), "calls" (the kernel, for the write calls of the process).
    pub counted_by: Source,
    /// Bytes written to the device in a round, through the close.
    pub device_bytes: Option<u64>,
    /// Flushes of the device in a round, through the close.
    pub device_flushes: Option<u64>,
    /// Bytes read from the device in a round.
    pub device_read_bytes: Option<u64>,
    /// Erase units erased in a round.
    pub device_erases: Option<u64>,
    /// Bytes that one put, a transaction by itself, read and wrote on the device at most, in any round. `null` where puts come in batches, and
    /// where nobody counts reads.
    pub worst_put_bytes: Option<u64>,
    /// Bytes that the store says it may be at most (esker's does), at the time when they were most.
    pub put_bytes_bound: Option<u64>,
    /// How often changes had to wait for room, in any round at most: of those what the store says does not hold.
    pub waits: Option<u64>,
    /// Bytes of the keys and values written, read or removed in a round.
    pub user_bytes: u64,
    /// Bytes that the closed store takes, by those of the keys and values in it.
    pub size_x_live: Option<f64>,
    /// The most memory of the process that was resident at once, in any round.
    pub peak_rss_bytes: Option<u64>,
    /// The rate in each round.
    pub rounds_ops_per_s: Vec<f64>,
}

/// Sums a cell up; `cells` has its floor.
pub fn row(cell: &Cell, cells: &[Cell]) -> Row {
    let middle = |value: &dyn Fn(&Measured) -> f64| {
        median(&cell.rounds.iter().map(value).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    let known = |value: &dyn Fn(&Measured) -> Option<f64>| {
        median(&cell.rounds.iter().map(value).collect::<Option<Vec<_>>>()?)
    };
    let count = |value: &dyn Fn(&Measured) -> Option<u64>| {
        known(&|measured| value(measured).map(|count| count as f64)).map(|count| count as u64)
    };
    let most = |value: &dyn Fn(&Measured) -> Option<u64>| cell.rounds.iter().filter_map(value).max();
    let first = |value: &dyn Fn(&Measured) -> u64| cell.rounds.first().map_or(0, value);
    let operations = |measured: &Measured| measured.operations.max(1) as f64;
    let floor = cells.iter().find(|other| {
        (other.store.as_str(), other.workload, other.pairs) == (FLOOR, cell.workload, cell.pairs)
    });
    let ratio = floor.and_then(|floor| ratio(cell, floor));
    Row {
        store: cell.store.clone(),
        workload: cell.workload.name().into(),
        pairs: cell.pairs,
        operations: first(&|measured| measured.operations),
        ops_per_s: middle(&rate),
        ratio_to_floor: ratio.map(|ratio| ratio.median),
        ratio_low: ratio.map(|ratio| ratio.low),
        ratio_high: ratio.map(|ratio| ratio.high),
        cpu_us_per_op: middle(&|measured| {
            (measured.cpu_seconds + measured.close_cpu_seconds) * 1e6 / operations(measured)
        }),
        close_cpu_us_per_op: middle(&|measured| measured.close_cpu_seconds * 1e6 / operations(measured)),
        instructions_per_op: known(&|measured| Some(measured.instructions? as f64 / operations(measured))),
        p50_us: known(&|measured| measured.p50_us),
        p99_us: known(&|measured| measured.p99_us),
        counted_by: cell.rounds.first().map_or(Source::Calls, |measured| measured.source),
        device_bytes: count(&|measured| measured.device_bytes),
        device_flushes: count(&|measured| measured.device_flushes),
        device_read_bytes: count(&|measured| measured.device_read_bytes),
        device_erases: count(&|measured| measured.device_erases),
        worst_put_bytes: most(&|measured| measured.worst_put_bytes),
        put_bytes_bound: most(&|measured| measured.put_bytes_bound),
        waits: most(&|measured| measured.waits),
        user_bytes: first(&|measured| measured.user_bytes),
        size_x_live: known(&|measured| Some(measured.size? as f64 / measured.live.max(1) as f64)),
        peak_rss_bytes: most(&|measured| measured.peak_memory),
        rounds_ops_per_s: cell.rounds.iter().map(rate).collect(),
    }
}

fn rate(measured: &Measured) -> f64 {
    measured.operations as f64 / measured.seconds.max(1e-9)
}

/// The rate of one by that of the other, round by round.
fn ratio(cell: &Cell, other: &Cell) -> Option<Estimate> {
    let pairs = cell.rounds.iter().zip(&other.rounds);
    estimate(&pairs.map(|(own, other)| rate(own) / rate(other).max(1e-9)).collect::<Vec<_>>())
}

const COLUMNS: [&str; 10] =
    ["", "", "ops/s", "p50 us", "p99 us", "CPU us", "written x", "flushes", "size x", "worst put B / bound"];
const OF_PROCESSES: [&str; 4] = ["x floor", "(close)", "instr.", "peak MB"];
const OF_DEVICES: [&str; 2] = ["read B", "erases"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs: Vec<_> = self.rows.iter().map(|row| row.pairs).collect();
        pairs.dedup();
        for pairs in pairs {
            writeln!(
                f,
                "{pairs} pairs of {} + {} bytes, {} KiB of memory for each store",
                self.key_size,
                self.value_size,
                self.cache >> 10
            )?;
            let mut table = Table::new();
            table.load_preset(presets::NOTHING);
            let more = if self.simulated.is_some() { &OF_DEVICES[..] } else { &OF_PROCESSES[..] };
            table.set_header(COLUMNS.iter().chain(more));
            let mut last = "";
            for row in self.rows.iter().filter(|row| row.pairs == pairs) {
                let workload = if row.workload == last { "" } else { &row.workload };
                last = &row.workload;
                table.add_row(columns(row, workload, self.simulated.is_some()));
            }
            for column in table.column_iter_mut().skip(2) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            writeln!(f, "{}\n", table.trim_fmt())?;
        }
        f.write_str(
            "CPU us: processor time per operation, of this machine, the close behind writes among it. written x: bytes that\n\
             reached the device through the close, by those of the keys and values written. flushes: per operation. size x: of\n\
             the closed store, by the keys and values in it. worst put B / bound: read and written by one put, where each is a\n\
             transaction by itself, and what the store says is the most. ",
        )?;
        match self.simulated {
            Some(_) => f.write_str(
                "The device is simulated: rates and latencies are those of a model,\n\
                 calls and bytes are exact. read B, erases: per operation.",
            )?,
            None => write!(
                f,
                "x floor: the floor writes the same bytes to a preallocated\n\
                 file and syncs it as often. (close): how much of CPU us. Medians of {} rounds, a process for each store and round.",
                self.rounds
            )?,
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn columns(row: &Row, workload: &str, simulated: bool) -> Vec<String> {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), number);
    // Of reads and removals it would be a part of something else.
    let wrote = !["reopen", "get", "absent", "scan", "remove", "compact"].contains(&row.workload.as_str());
    let amplification =
        row.device_bytes.filter(|_| wrote).map(|bytes| bytes as f64 / row.user_bytes.max(1) as f64);
    let each = |count: Option<u64>| optional(count.map(|count| count as f64 / row.operations.max(1) as f64));
    let mut columns = vec![
        workload.to_owned(),
        row.store.clone(),
        number(row.ops_per_s),
        optional(row.p50_us),
        optional(row.p99_us),
        number(row.cpu_us_per_op),
        optional(amplification),
        each(row.device_flushes),
        optional(row.size_x_live),
        match (row.worst_put_bytes, row.put_bytes_bound) {
            (Some(worst), Some(bound)) => format!("{worst} / {bound}"),
            (Some(worst), None) => worst.to_string(),
            _ => "-".into(),
        },
    ];
    columns.extend(match simulated {
        true => vec![each(row.device_read_bytes), each(row.device_erases)],
        false => vec![
            optional(row.ratio_to_floor),
            number(row.close_cpu_us_per_op),
            optional(row.instructions_per_op),
            optional(row.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6)),
        ],
    });
    columns
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
