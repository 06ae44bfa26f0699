//! What was measured, as a table and as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Rounds.
    pub rounds: usize,
    /// Milliseconds of a phase.
    pub phase_ms: u64,
    /// The least that was written to the device at once.
    pub write_unit: u32,
    /// Esker's file was written past the page cache.
    pub direct: bool,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
    /// One for each contestant, strategy, number of threads and size.
    pub rows: Vec<Row>,
}

/// One contestant at one task. What is not known, or has no meaning, is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// "floor" is one write and one `fdatasync` per entry, "bare-1m" a loop of 1 MiB writes without any sync.
    pub contestant: String,
    /// Threads that append.
    pub threads: usize,
    /// Bytes of an entry.
    pub entry_bytes: usize,
    /// "always", "batch", "none".
    pub strategy: String,
    /// Entries per second of all threads: the median of the rounds.
    pub ops_per_s: f64,
    /// The median, over the rounds, of this rate divided by that of the floor with entries of this size.
    pub ratio_to_floor: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_low: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_high: Option<f64>,
    /// The same, in bytes per second, to the bare loop.
    pub ratio_to_bare: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_to_bare_low: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_to_bare_high: Option<f64>,
    /// Of the others at this task, the fastest.
    pub best_peer: Option<String>,
    /// The same, to that one.
    pub ratio_to_best_peer: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_to_best_peer_low: Option<f64>,
    /// The 95 % interval of that.
    pub ratio_to_best_peer_high: Option<f64>,
    /// Microseconds of processor time of the whole process, per entry: the median of the rounds.
    pub cpu_us_per_op: f64,
    /// Microseconds of an append, over all rounds.
    pub p50_us: f64,
    /// Microseconds of an append, over all rounds.
    pub p99_us: f64,
    /// Microseconds of an append, over all rounds.
    pub p999_us: f64,
    /// Write calls to the device, per entry.
    pub device_writes: Option<f64>,
    /// Syncs of the device, per entry.
    pub device_syncs: Option<f64>,
    /// Bytes written to the device, per entry.
    pub device_bytes: Option<f64>,
    /// Entries of all rounds.
    pub entries: u64,
    /// What a power cut may take.
    pub loss_window: String,
    /// The rate in each round.
    pub rounds_ops_per_s: Vec<f64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "",
            "sync",
            "threads",
            "entry B",
            "entries/s",
            "x floor",
            "(95 %)",
            "x peer",
            "CPU us",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "writes",
            "syncs",
            "bytes",
            "a power cut may take",
        ]);
        for row in &self.rows {
            let number = |value: f64| match value {
                value if value >= 100.0 => format!("{value:.0}"),
                value if value >= 10.0 => format!("{value:.1}"),
                value if value >= 0.1 => format!("{value:.2}"),
                value => format!("{value:.4}"),
            };
            let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), number);
            let interval = match (row.ratio_low, row.ratio_high) {
                (Some(low), Some(high)) => format!("{} to {}", number(low), number(high)),
                _ => "-".into(),
            };
            table.add_row([
                row.contestant.clone(),
                row.strategy.clone(),
                row.threads.to_string(),
                row.entry_bytes.to_string(),
                number(row.ops_per_s),
                optional(row.ratio_to_floor),
                interval,
                optional(row.ratio_to_best_peer),
                number(row.cpu_us_per_op),
                number(row.p50_us),
                number(row.p99_us),
                number(row.p999_us),
                optional(row.device_writes),
                optional(row.device_syncs),
                optional(row.device_bytes),
                row.loss_window.clone(),
            ]);
        }
        for column in table.column_iter_mut().skip(2).take(13) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        for row in &self.rows {
            if let (Some(ratio), Some(low), Some(high)) =
                (row.ratio_to_bare, row.ratio_to_bare_low, row.ratio_to_bare_high)
                && row.contestant != super::rounds::BARE
            {
                writeln!(
                    f,
                    "{} without syncs, {} B: {ratio:.2} ({low:.2} to {high:.2}) of the bytes per second of bare 1 MiB writes",
                    row.contestant, row.entry_bytes
                )?;
            }
        }
        write!(
            f,
            "\n{} rounds of {} ms each. x floor: the median of the ratios to the floor of the same round and size; the \
             floor writes\neach entry to a preallocated file and syncs it. CPU, writes, syncs and bytes are per entry.",
            self.rounds, self.phase_ms
        )?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
