//! The commands below `esker wal`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{Format, SYNC_DEFAULT, Sync, parse_segment, parse_size, parse_sync, parse_unit};

#[derive(Debug, Subcommand)]
pub enum WalCommand {
    Create(CreateArguments),
    Append(AppendArguments),
    Read(ReadArguments),
    Cat(CatArguments),
    Info(InfoArguments),
    Verify(VerifyArguments),
    Release(ReleaseArguments),
    /// Keep a file as the state that old entries led to
    #[command(arg_required_else_help = true)]
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    Salvage(SalvageArguments),
}

/// Ids from 32,768 on are the engine's own.
fn log_id() -> impl clap::builder::TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(..0x8000)
}

/// Make a device and an empty volume on it
#[derive(Debug, Args)]
#[command(
    long_about = "Make a device and an empty volume on it.\n\n\
        DEV is a file, made if it does not exist, or a block device. Whatever holds something is refused, and what it \
        holds is said; `--force` formats it all the same.",
    after_help = "Examples:\n  \
        esker wal create --size 1G events.esker\n  \
        esker wal create /dev/sdb\n  \
        esker wal create --size 1M --write-unit 4 --erase-unit 4K nor.img"
)]
pub struct CreateArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Format it whatever it holds: all of that is lost
    #[arg(long)]
    pub force: bool,
    /// Make sure that the file can be written past the page cache (O_DIRECT), as `append --direct` does
    #[arg(long)]
    pub direct: bool,
    #[command(flatten)]
    pub layout: Layout,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Sizes and units of a new volume.
#[derive(Debug, Args)]
#[command(next_help_heading = "Layout of a new volume")]
pub struct Layout {
    /// Size of the device [default: all of a block device; of a new file 64M, or what FILE needs twice and at least 8M]
    #[arg(long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// Size of a segment, a power of two up to 16M; the longest entry must fit into one [default: by sizes of DEV and
    /// entries]
    #[arg(long, value_name = "SIZE", value_parser = parse_segment)]
    pub segment_size: Option<u32>,
    /// The least that is written, and what a commit begins on [default: 512, or the block of a block device]
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub write_unit: Option<u32>,
    /// Emulate flash that is erased in this unit before it is written again
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub erase_unit: Option<u32>,
}

/// Append the lines of a file to a log, each as one entry
#[derive(Debug, Args)]
#[command(
    long_about = "Append the lines of a file to a log, each as one entry.\n\n\
        DEV is created if it does not exist. If it does, it must hold an esker volume, and the log goes on where it \
        ended. When the command returns, all entries are durable, also when it was interrupted or has failed for another \
        reason than the device; the message then says which they are, and `--skip` goes on behind them.\n\n\
        A line is what stands between two newlines, any bytes. `esker wal cat` gives back exactly what was \
        appended: a last line without a newline comes back without one (its entry carries a user word that says so).\n\n\
        With `--format binary` an entry stands behind its length: 4 bytes, an unsigned number, little-endian.",
    after_help = "Loss windows, what a power cut or a kill can take of the entries that were read:\n  \
        --sync always       nothing but the entry being appended; one sync each\n  \
        --sync batch:100    fewer than 100 entries\n  \
        --sync batch:64K    less than 64 KiB of entries\n  \
        --sync batch:10ms   the entries of the last 10 ms, also while a stream is silent\n  \
        --sync none         all of them, until the command returns\n\
        Conditions may be joined: batch:1000,10ms. What was acknowledged is never lost.\n\n\
        Examples:\n  \
        esker wal append events.esker events.txt\n  \
        journalctl --follow | esker wal append --size 4G journal.esker -\n  \
        esker wal append --sync always --acknowledge events.esker - < events.txt\n  \
        esker wal append --write-unit 4 --erase-unit 4K --size 1M nor.img settings.txt"
)]
pub struct AppendArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// File with the entries; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Number of the log on the volume, made if there is none
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
    /// How entries stand in FILE
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    pub format: Format,
    /// When entries become durable while more come, see below: always, none, batch:N, batch:SIZE, batch:TIME
    #[arg(long, value_name = "WHEN", default_value = SYNC_DEFAULT, value_parser = parse_sync)]
    pub sync: Sync,
    /// Print `durable OFFSET` whenever more has become durable: the entries before OFFSET
    #[arg(long)]
    pub acknowledge: bool,
    /// Pass over the first N entries of FILE: those that an earlier run has appended
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// Print JSON, one value a line
    #[arg(long)]
    pub json: bool,
    /// Format an existing DEV that holds no esker volume: all it holds is lost
    #[arg(long)]
    pub force: bool,
    /// Write a file past the page cache (O_DIRECT), as is always done with a block device
    #[arg(long)]
    pub direct: bool,
    #[command(flatten)]
    pub layout: Layout,
}

/// How entries are written to standard output.
#[derive(Debug, Args)]
pub struct Output {
    /// How entries are written
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    pub format: Format,
    /// Print each entry as a JSON object on a line of its own: `offset`, `text` (or `hex` where it is not UTF-8), and
    /// `user` if it has a user word
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// Write one entry, or some, to standard output
#[derive(Debug, Args)]
#[command(
    long_about = "Write one entry, or some, to standard output.\n\n\
        The device is opened for reading and not changed. There must be an entry at OFFSET.",
    after_help = "Examples:\n  \
        esker wal read events.esker 1000\n  \
        esker wal read --count 10 events.esker 1000\n  \
        esker wal read --json events.esker 1000"
)]
pub struct ReadArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Offset of the entry
    pub offset: u64,
    /// Write so many entries, fewer where the log ends
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u64,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
    #[command(flatten)]
    pub output: Output,
}

/// Write the entries of a log to standard output
#[derive(Debug, Args)]
#[command(
    long_about = "Write the entries of a log to standard output.\n\n\
        The device is opened for reading and not changed. Gives back byte for byte what `esker wal append` took. Stops \
        at a damaged entry; `esker wal verify` tells where the good ones go on.",
    after_help = "Examples:\n  \
        esker wal cat events.esker > events.txt\n  \
        esker wal cat --from 1000 --limit 10 events.esker\n  \
        esker wal cat --format binary old.esker | esker wal append --format binary new.esker -"
)]
pub struct CatArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
    /// Offset of the first entry to write [default: the first one that is kept]
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<u64>,
    /// Write so many entries at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub output: Output,
}

/// Show a volume, its logs, and what recovery found
#[derive(Debug, Args)]
#[command(
    long_about = "Show a volume, its logs, and what recovery found.\n\n\
        The device is opened for reading and not changed.",
    after_help = "Examples:\n  \
        esker wal info events.esker\n  \
        esker wal info --json events.esker | jq '.logs[0].end'"
)]
pub struct InfoArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Show this log only [default: all]
    #[arg(long, value_name = "ID", value_parser = log_id())]
    pub log: Option<u16>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Read everything and report what is damaged
#[derive(Debug, Args)]
#[command(
    long_about = "Read everything and report what is damaged.\n\n\
        Reads every entry of every log and every chunk of every snapshot, and goes on behind damage. The device is \
        opened for reading and not changed. The exit status is 1 if anything is damaged.\n\n\
        What stands twice (the superblock, the ends of segments) counts as damaged only where an entry can't be read for \
        it.",
    after_help = "Examples:\n  \
        esker wal verify events.esker\n  \
        esker wal verify --json events.esker | jq '.logs[].damaged'"
)]
pub struct VerifyArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Read this log only [default: all]
    #[arg(long, value_name = "ID", value_parser = log_id())]
    pub log: Option<u16>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Give back the space of old entries
#[derive(Debug, Args)]
#[command(
    long_about = "Give back the space of old entries.\n\n\
        Space is given back in whole segments: entries before OFFSET that share one with later ones stay readable. \
        Durable when the command returns.",
    after_help = "Examples:\n  \
        esker wal release --before 1000000 events.esker\n  \
        esker wal release --before 1000000 --json events.esker | jq .bytes"
)]
pub struct ReleaseArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// The first offset that is still wanted
    #[arg(long, value_name = "OFFSET")]
    pub before: u64,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    Put(PutArguments),
    Get(GetArguments),
}

/// Put a file as the snapshot of a log
#[derive(Debug, Args)]
#[command(
    long_about = "Put a file as the snapshot of a log: the state that all entries before an offset led to.\n\n\
        The new snapshot takes the place of the old one, and the entries before OFFSET are released, whole segments of \
        them: after a cut all of that has happened, or nothing.",
    after_help = "Examples:\n  \
        esker wal snapshot put --at 1000000 events.esker state.bin\n  \
        dump-state | esker wal snapshot put --at 1000000 events.esker -"
)]
pub struct PutArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// File with the state; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Offset of the first entry that the state does not know yet
    #[arg(long, value_name = "OFFSET")]
    pub at: u64,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Get the snapshot of a log back
#[derive(Debug, Args)]
#[command(
    long_about = "Get the snapshot of a log back.\n\n\
        The device is opened for reading and not changed. `esker wal info` tells the offset to go on from.",
    after_help = "Examples:\n  \
        esker wal snapshot get events.esker > state.bin"
)]
pub struct GetArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = log_id())]
    pub log: u16,
}

/// Copy what can still be read to a new device
#[derive(Debug, Args)]
#[command(
    long_about = "Copy what can still be read to a new device.\n\n\
        DEV is opened for reading and not changed. OUT is laid out like DEV and gets the logs with every entry that can \
        be read, in order, and the snapshots of which every chunk can be read. What is dropped is said. The first entry \
        keeps its offset; entries behind dropped ones move up, unless `--keep-offsets` puts empty entries with the user \
        word `lost` in place of the dropped ones.",
    after_help = "Examples:\n  \
        esker wal salvage damaged.esker saved.esker\n  \
        esker wal salvage --keep-offsets --json damaged.esker saved.esker"
)]
pub struct SalvageArguments {
    /// File or block device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// File or block device for what can be read
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Put an empty entry in place of each one that is dropped
    #[arg(long)]
    pub keep_offsets: bool,
    /// Format OUT whatever it holds: all of that is lost
    #[arg(long)]
    pub force: bool,
    /// Size of OUT [default: that of DEV]
    #[arg(long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
