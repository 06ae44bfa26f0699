//! What was measured, as a table and as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::pattern::Pattern;
use super::session::Session;
use super::{KEY_SIZE, Options};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of memory that esker was lent in all.
    pub lent: usize,
    /// Bytes of memory that each store worked with.
    pub memory: Vec<Memory>,
    /// What should be known of the figures.
    pub notes: Vec<String>,
    /// One for each device, pattern, store and phase.
    pub rows: Vec<Row>,
}

/// Handles and buffers of a store, on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Its name.
    pub store: String,
    /// Bytes; of several settings the most.
    pub bytes: usize,
}

/// A part of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// All pairs into an empty store.
    Load,
    /// Puts of pairs that are there.
    Overwrite,
    /// Gets of what is there.
    GetHit,
    /// Gets of what is not.
    GetMiss,
    /// After the plug was pulled.
    Open,
}

impl Phase {
    /// The one that follows; the last one follows itself.
    pub fn next(self) -> Self {
        match self {
            Self::Load => Self::Overwrite,
            Self::Overwrite => Self::GetHit,
            Self::GetHit => Self::GetMiss,
            Self::GetMiss | Self::Open => Self::Open,
        }
    }
}

/// One store in one phase. What has no meaning in a phase is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub store: String,
    /// The flash part.
    pub device: String,
    /// In which order the pairs came.
    pub pattern: Pattern,
    /// Pairs in the store before removals.
    pub pairs: u32,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Part of the session.
    pub phase: Phase,
    /// Write amplification: bytes programmed by those of the keys and values put, and of the keys removed.
    pub wa: Option<f64>,
    /// Sectors erased per put or removal.
    pub erases_per_put: Option<f64>,
    /// Sectors that one put erased, at most.
    pub worst_put_erases: Option<u64>,
    /// Bytes that one put read, at most.
    pub worst_put_read: Option<u64>,
    /// Bytes that one put read and wrote, at most.
    pub worst_put_bytes: Option<u64>,
    /// Bytes that the store says it may be (esker's does), those of the pair counted, at the time when they were most.
    pub put_bytes_bound: Option<u64>,
    /// How often a put had to wait for room until then, of which what the store says does not hold.
    pub waits: Option<u64>,
    /// Bytes read per get of what is there.
    pub read_per_get_hit: Option<f64>,
    /// Bytes read per get of what is not.
    pub read_per_get_miss: Option<f64>,
    /// Bytes read until the store was open.
    pub open_read: Option<u64>,
    /// Milliseconds of the model per put.
    pub model_ms_put: Option<f64>,
    /// Milliseconds of the model per get.
    pub model_ms_get: Option<f64>,
    /// How often the sector that was erased most was erased since the device was blank, as of the end of the phase.
    pub max_wear: u32,
    /// The same for all sectors, on average.
    pub mean_wear: f64,
    /// Why there is nothing more of this store: it was full, or had too little memory, or answered wrong.
    pub error: Option<String>,
}

impl Report {
    /// Nothing was measured yet.
    pub fn new(options: &Options) -> Self {
        Self {
            key_size: KEY_SIZE,
            lent: options.lent,
            memory: Vec::new(),
            notes: notes(options),
            rows: Vec::new(),
        }
    }

    /// Takes what a session has measured.
    pub(super) fn take(&mut self, session: Session<'_>) {
        if let (Some(bytes), Some(row)) = (session.memory, session.rows.first()) {
            match self.memory.iter_mut().find(|memory| memory.store == row.store) {
                Some(memory) => memory.bytes = memory.bytes.max(bytes),
                None => self.memory.push(Memory { store: row.store.clone(), bytes }),
            }
        }
        self.rows.extend(session.rows);
    }
}

/// A session, by its rows.
struct Line<'a>(&'a [Row]);

impl Line<'_> {
    fn of(&self, phase: Phase) -> Option<&Row> {
        self.0.iter().find(|row| row.phase == phase)
    }

    /// Of both phases that put: what is told of each put is that of the last one, and the worst is the worst of both.
    fn columns(&self) -> Vec<String> {
        let (load, last) = (self.of(Phase::Load), self.of(Phase::Overwrite));
        let put = |value: &dyn Fn(&Row) -> Option<f64>| last.and_then(value).or_else(|| load.and_then(value));
        let worst = |value: &dyn Fn(&Row) -> Option<u64>| {
            self.0.iter().filter_map(value).max().map(|value| value as f64)
        };
        let get = |phase, value: &dyn Fn(&Row) -> Option<f64>| self.of(phase).and_then(value);
        let both = |one: Option<f64>, other: Option<f64>| format!("{} / {}", number(one), number(other));
        let store = self.0.first().map_or(String::new(), |row| row.store.clone());
        let end = self.0.last();
        vec![
            store,
            both(load.and_then(|row| row.wa), last.and_then(|row| row.wa)),
            number(put(&|row| row.erases_per_put)),
            both(worst(&|row| row.worst_put_read), worst(&|row| row.worst_put_erases)),
            both(worst(&|row| row.worst_put_bytes), worst(&|row| row.put_bytes_bound)),
            both(
                get(Phase::GetHit, &|row| row.read_per_get_hit),
                get(Phase::GetMiss, &|row| row.read_per_get_miss),
            ),
            number(self.of(Phase::Open).and_then(|row| row.open_read).map(|read| read as f64)),
            both(put(&|row| row.model_ms_put), get(Phase::GetHit, &|row| row.model_ms_get)),
            both(end.map(|row| row.max_wear.into()), end.map(|row| row.mean_wear)),
        ]
    }
}

const COLUMNS: [&str; 9] = [
    "",
    "WA load / over",
    "erases/put",
    "worst put read / erases",
    "bytes / bound",
    "read/get hit / miss",
    "open read",
    "ms put / get",
    "wear max / mean",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = |one: &Row, other: &Row| {
            (&one.device, one.pattern, one.pairs, one.value_bytes)
                == (&other.device, other.pattern, other.pairs, other.value_bytes)
        };
        for part in self.rows.chunk_by(same) {
            let Some(first) = part.first() else { continue };
            let (device, pattern) = (&first.device, first.pattern.name());
            let (pairs, value) = (first.pairs, first.value_bytes);
            writeln!(f, "{device}, {pairs} pairs of {} + {value} bytes, {pattern}", self.key_size)?;
            let mut table = Table::new();
            table.load_preset(presets::NOTHING);
            table.set_header(COLUMNS);
            let lines: Vec<_> = part.chunk_by(|one, other| one.store == other.store).map(Line).collect();
            for line in &lines {
                table.add_row(line.columns());
            }
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            writeln!(f, "{}", table.trim_fmt())?;
            for row in part {
                if let Some(error) = &row.error {
                    writeln!(f, "{}: {error}", row.store)?;
                }
            }
            writeln!(f)?;
        }
        write!(
            f,
            "The flash is simulated and every put durable. WA: bytes programmed by those of the keys and values put. Of a put:\n\
             when pairs are overwritten; the worst one: of all; bytes / bound: read and written by one, and what the store says is\n\
             the most. Bytes are exact, ms those of a model. Esker was lent {} bytes; with handles the stores had on this machine:",
            self.lent
        )?;
        for (nth, memory) in self.memory.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(f, "{comma} {} {}", memory.store, memory.bytes)?;
        }
        f.write_str(".")?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

/// Of peers that are configured when they are built.
#[cfg(feature = "peers")]
fn notes(options: &Options) -> Vec<String> {
    let sectors = super::ekv::MOST_SECTORS;
    let note = || {
        format!(
            "ekv was built for {sectors} sectors, and its format depends on that number: on a smaller device it writes less and \
             reads more than with as many as there are (build with EKV_MAX_PAGE_COUNT=256 for 1 MiB)"
        )
    };
    let is_smaller = options.settings.iter().any(|setting| setting.capacity < super::ekv::MOST_BYTES);
    let is_told = is_smaller && options.stores.iter().any(|name| name == "ekv");
    is_told.then(note).into_iter().collect()
}

#[cfg(not(feature = "peers"))]
fn notes(_: &Options) -> Vec<String> {
    Vec::new()
}

/// To three digits or so; thousands as k, millions as M.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(0.0) => "0".into(),
        Some(value) if value >= 1e6 => format!("{:.1} M", value / 1e6),
        Some(value) if value >= 1e4 => format!("{:.0} k", value / 1e3),
        Some(value) if value >= 1e3 => format!("{:.1} k", value / 1e3),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) if value >= 0.1 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}
