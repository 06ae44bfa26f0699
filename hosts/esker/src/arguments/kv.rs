//! The commands below `esker kv`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use esker::store::Kind;

use super::pairs::{EncodingArgument, Given, PairFormat, RangeArguments};
use super::values::{Sync, parse_segment, parse_size, parse_sync, parse_unit};

#[derive(Debug, Subcommand)]
pub enum KvCommand {
    Create(KvCreateArguments),
    Put(KvPutArguments),
    Get(KvGetArguments),
    Del(KvDelArguments),
    Scan(ScanArguments),
    Load(LoadArguments),
    Dump(DumpArguments),
    Info(KvInfoArguments),
    Verify(KvVerifyArguments),
    Checkpoint(CheckpointArguments),
    Compact(CompactArguments),
    Salvage(KvSalvageArguments),
}

/// How a store finds its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Pages in a tree: few reads for each get, scans in order
    Btree,
    /// Sorted tables, written once and merged: few writes for each put
    Lsm,
}

impl Engine {
    pub fn kind(self) -> Kind {
        match self {
            Self::Btree => Kind::BTree,
            Self::Lsm => Kind::Lsm,
        }
    }
}

/// As `--cache` is without being said.
const CACHE: &str = "64M";

/// The store, and the memory to work with.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// File or block device with the store
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Memory for pages and, in an LSM tree, for what was written last; the least that a store needs is told when it is too little
    #[arg(long, value_name = "SIZE", default_value = CACHE, value_parser = parse_size)]
    pub cache: u64,
    /// Read and write a file past the page cache (O_DIRECT), as is always done with a block device
    #[arg(long)]
    pub direct: bool,
}

/// Make a device and an empty key-value store on it
#[derive(Debug, Args)]
#[command(
    long_about = "Make a device and an empty key-value store on it.\n\n\
        DEV is a file, made if it does not exist, or a block device. Whatever holds something is refused, and what it \
        holds is said; `--force` formats it all the same.\n\n\
        A store keeps its pairs in blocks of one size, a page each; and what was written last in a log, in segments, \
        from which it goes on after a cut. A key takes an eighth of a page at most, a value nearly a segment. An LSM tree \
        has tables for blocks, of many pages each, and a value takes a table less four pages at most.",
    after_help = "Examples:\n  \
        esker kv create --engine btree --size 1G users.esker\n  \
        esker kv create --engine btree --block-size 16K /dev/sdb\n  \
        esker kv create --engine btree --size 1M --write-unit 256 --erase-unit 4K nor.img"
)]
pub struct KvCreateArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// How pairs are kept
    #[arg(long, value_enum, default_value_t = Engine::Btree)]
    pub engine: Engine,
    /// Format it whatever it holds: all of that is lost
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub layout: KvLayout,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Sizes and units of a new store.
#[derive(Debug, Args)]
#[command(next_help_heading = "Layout of a new store")]
pub struct KvLayout {
    /// Size of the device [default: all of a block device; of a new file 256M]
    #[arg(long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// Size of a block, a power of two: of a B-tree from 512 to 64K [default: 4K, or the erase unit], of an LSM tree from
    /// 4K to 1M [default: 512K, or about 128 blocks on a small DEV]
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub block_size: Option<u32>,
    /// Room for the log, of all that there is [default: an eighth of DEV, at most 256M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub log_size: Option<u64>,
    /// Size of a segment of the log, a power of two up to 16M; the longest value must fit into one [default: by size of
    /// DEV]
    #[arg(long, value_name = "SIZE", value_parser = parse_segment)]
    pub segment_size: Option<u32>,
    /// The least that is written, and what a commit begins on [default: 512, or the block of a block device]
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub write_unit: Option<u32>,
    /// Emulate flash that is erased in this unit before it is written again
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub erase_unit: Option<u32>,
}

/// Store a value under a key
#[derive(Debug, Args)]
#[command(
    long_about = "Store a value under a key, in place of the one that was there.\n\n\
        Durable when the command returns. What is on the command line is text, unless `--encoding` says otherwise; what \
        comes from a file or from standard input is taken byte for byte, a newline at its end included.",
    after_help = "Examples:\n  \
        esker kv put users.esker alice '{\"age\":30}'\n  \
        esker kv put --explain users.esker bob -- -1\n  \
        printf %s \"$TOKEN\" | esker kv put users.esker token -\n  \
        esker kv put users.esker logo --value-file logo.png\n  \
        esker kv put --encoding hex users.esker 00ff cafe"
)]
pub struct KvPutArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// The key
    #[arg(value_name = "KEY")]
    pub key: Given,
    /// The value; `-` is standard input
    #[arg(value_name = "VALUE", required_unless_present = "value_file", allow_negative_numbers = true)]
    pub value: Option<Given>,
    /// Take the value from this file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub value_file: Option<PathBuf>,
    /// Tell what the tree did: splits, depth or runs, pages read
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Write the value of a key to standard output
#[derive(Debug, Args)]
#[command(
    long_about = "Write the value of a key to standard output, and a newline behind it.\n\n\
        The device is opened for reading and not changed. The exit status is 3 if there is no such key.",
    after_help = "Examples:\n  \
        esker kv get users.esker alice\n  \
        esker kv get --raw users.esker logo > logo.png\n  \
        esker kv get --json users.esker alice | jq .reads\n  \
        esker kv get --encoding base64 users.esker AP8="
)]
pub struct KvGetArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// The key
    #[arg(value_name = "KEY")]
    pub key: Given,
    /// Write the value byte for byte, and no newline
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Tell on standard error how it was found: depth or run, pages read
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// Print JSON: key, value, and how it was found
    #[arg(long)]
    pub json: bool,
}

/// Remove a key and its value
#[derive(Debug, Args)]
#[command(
    long_about = "Remove a key and its value.\n\n\
        Durable when the command returns. That there was no such key is said, and is no failure.",
    after_help = "Examples:\n  \
        esker kv del users.esker alice\n  \
        esker kv del --explain users.esker bob\n  \
        esker kv del --encoding hex --json users.esker 00ff | jq .found"
)]
pub struct KvDelArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// The key
    #[arg(value_name = "KEY")]
    pub key: Given,
    /// Tell what the tree did: merges, depth or runs, pages read
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Write pairs to standard output, in the order of their keys
#[derive(Debug, Args)]
#[command(
    long_about = "Write pairs to standard output, in the order of their keys (as bytes).\n\n\
        The device is opened for reading and not changed. Damaged pages are passed over: what can be read comes out, and \
        the exit status is 1.",
    after_help = "Examples:\n  \
        esker kv scan --prefix user: users.esker\n  \
        esker kv scan --from a --to n --limit 10 users.esker\n  \
        esker kv scan --reverse --limit 1 users.esker\n  \
        esker kv scan --json --encoding base64 users.esker"
)]
pub struct ScanArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    #[command(flatten)]
    pub range: RangeArguments,
    /// From the last key to the first
    #[arg(long)]
    pub reverse: bool,
    /// Write so many pairs at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Write the keys only
    #[arg(long)]
    pub keys: bool,
    /// How pairs are written
    #[arg(long, value_enum, default_value_t = PairFormat::Tsv)]
    pub format: PairFormat,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// The same as `--format jsonl`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// Store all pairs of a file
#[derive(Debug, Args)]
#[command(
    long_about = "Store all pairs of a file.\n\n\
        FILE has one pair on each line: `key,value`, quoted as RFC 4180 says (csv; a value may then have newlines), \
        {\"key\":\"...\",\"value\":\"...\"} or [\"key\",\"value\"] (jsonl), or the key up to the first TAB and the value up \
        to the newline (tsv). Empty lines are passed over. A key that comes twice has its last value.\n\n\
        When the command returns, all pairs are durable, also when it was interrupted or has failed for another reason \
        than the device; the message then says up to which line they are, and `--from-line` goes on behind it. Nothing is \
        harmed by loading a file again from its start. With `--resume` the store itself keeps a mark of how far it is: \
        the same command, given again after a cut, goes on there.",
    after_help = "Loss windows, what a power cut or a kill can take of the pairs that were read:\n  \
        --sync always       nothing but the pair being stored; one sync each\n  \
        --sync batch:1000   fewer than 1000 pairs\n  \
        --sync batch:1s     the pairs of the last second, also while a stream is silent\n  \
        --sync none         all of them, until the command returns\n\
        With --sorted nothing is there before everything is.\n\n\
        Examples:\n  \
        esker kv load users.esker users.csv --header\n  \
        esker kv load --resume users.esker huge.jsonl\n  \
        LC_ALL=C sort users.tsv | esker kv load --sorted --format tsv users.esker -\n  \
        esker kv dump old.esker --format csv --encoding hex | esker kv load new.esker - --format csv --encoding hex"
)]
pub struct LoadArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// File with the pairs; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How pairs stand in FILE [default: as its name ends]
    #[arg(long, value_enum)]
    pub format: Option<PairFormat>,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// The first line names the columns: pass over it
    #[arg(long)]
    pub header: bool,
    /// The keys come in ascending order (as bytes) and the store is empty: write full pages, one after another
    #[arg(long, conflicts_with_all = ["resume", "sync", "acknowledge"])]
    pub sorted: bool,
    /// Pass over the lines before this one: those that an earlier run has stored
    #[arg(long, value_name = "LINE", value_parser = clap::value_parser!(u64).range(1..))]
    pub from_line: Option<u64>,
    /// Keep a mark of how far it is under KEY in the store, and go on behind it; removed at the end
    #[arg(
        long,
        value_name = "KEY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "esker:load",
        conflicts_with = "from_line"
    )]
    pub resume: Option<Given>,
    /// When pairs become durable while more come, see below: always, none, batch:N, batch:SIZE, batch:TIME
    #[arg(long, value_name = "WHEN", default_value = "batch:1s", value_parser = parse_sync)]
    pub sync: Sync,
    /// Print `durable LINE` whenever more has become durable: the pairs up to that line
    #[arg(long)]
    pub acknowledge: bool,
    /// Print JSON, one value a line
    #[arg(long)]
    pub json: bool,
}

/// Write all pairs to a file
#[derive(Debug, Args)]
#[command(
    long_about = "Write all pairs to a file, in the order of their keys (as bytes).\n\n\
        `esker kv load` with the same options makes the same store of it. The device is opened for reading and not \
        changed. Damaged pages are passed over: what can be read comes out, and the exit status is 1.",
    after_help = "Examples:\n  \
        esker kv dump users.esker users.csv\n  \
        esker kv dump --encoding base64 users.esker users.jsonl\n  \
        esker kv dump --format tsv users.esker | wc -l"
)]
pub struct DumpArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// File to write, which must not be there yet; `-` is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// How pairs are written [default: as the name of FILE ends; csv to standard output]
    #[arg(long, value_enum)]
    pub format: Option<PairFormat>,
    #[command(flatten)]
    pub encoding: EncodingArgument,
    /// Name the columns in the first line (csv and tsv)
    #[arg(long)]
    pub header: bool,
}

/// Show a store: its pairs, its tree, its room, its log
#[derive(Debug, Args)]
#[command(
    long_about = "Show a store: its pairs, its tree, its room, its log.\n\n\
        The device is opened for reading and not changed.",
    after_help = "Examples:\n  \
        esker kv info users.esker\n  \
        esker kv info --json users.esker | jq .tree.depth"
)]
pub struct KvInfoArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Read everything and report what is damaged
#[derive(Debug, Args)]
#[command(
    long_about = "Read everything and report what is damaged.\n\n\
        Reads every page and every value, goes on behind damage, and accounts for every block. The device is opened for \
        reading and not changed. The exit status is 1 if anything is damaged.",
    after_help = "Examples:\n  \
        esker kv verify users.esker\n  \
        esker kv verify --json users.esker | jq .damaged"
)]
pub struct KvVerifyArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Bring all pages to the device and give back the log before them
#[derive(Debug, Args)]
#[command(
    long_about = "Bring all pages to the device and give back the log before them.\n\n\
        A store does this by itself, bit by bit. Afterwards there is nothing to replay when it is opened.",
    after_help = "Examples:\n  \
        esker kv checkpoint users.esker"
)]
pub struct CheckpointArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Make the store as small and as fast to read as it can be
#[derive(Debug, Args)]
#[command(
    long_about = "Make the store as small and as fast to read as it can be.\n\n\
        An LSM tree merges all of its runs into one, which reads and writes all of it; what was replaced or removed is gone then, \
        and its blocks are free. It needs little room beside, and what a cut leaves of it is whole. Of a B-tree there is \
        nothing to compact: its pages are merged as they empty.",
    after_help = "Examples:\n  \
        esker kv compact users.esker\n  \
        esker kv compact --json users.esker | jq .pairs_dropped"
)]
pub struct CompactArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Drop what is damaged, so that the rest can be worked with
#[derive(Debug, Args)]
#[command(
    long_about = "Drop what is damaged, so that the rest can be worked with.\n\n\
        Without `--force` nothing is changed: what would be dropped is said. The pairs on a damaged page can't be named, \
        since their keys are lost with it. It is wise to copy DEV before, or to `dump` it.",
    after_help = "Examples:\n  \
        esker kv salvage users.esker\n  \
        esker kv salvage --force users.esker"
)]
pub struct KvSalvageArguments {
    #[command(flatten)]
    pub store: StoreArguments,
    /// Do it: what is damaged is lost
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
