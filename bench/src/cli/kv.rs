//! `bench kv`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{slow, told, watch};
use crate::Failure;
use crate::kv::nor::pattern::Pattern;
use crate::kv::workload::Amounts;
use crate::kv::{self, Options, Simulated, nor};

/// What esker's store keeps its pairs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A B-tree
    Btree,
    /// An LSM tree
    Lsm,
}

/// `bench kv`.
#[derive(Debug, Args)]
#[command(
    long_about = "What it costs to keep pairs of keys and values, beside other stores (in a build with `--features peers`, or \
        `peers-rocksdb` for RocksDB as well).\n\n\
        The tasks are those of redb's own benchmark. Everything is measured in rounds, beside a floor: a preallocated file \
        that the same bytes are written to, and synced as often. Each store has a process of its own in each round, and every \
        value that is read is checked. Compare the ratios and the processor time; the rates are this machine's, as loaded as \
        it is. Takes a few minutes with all stores.",
    after_help = "Examples:\n  \
        esker bench kv\n  \
        esker bench kv --pairs 200000,600000 --json > kv.json\n  \
        esker bench kv --sim nor --json\n  \
        esker bench kv --sim nor --capacity 2097152 --pairs 5000 --value-size 64 --pattern random,hot-spot\n  \
        esker bench kv --sim sd --workloads single,get --pairs 1000,5000\n  \
        esker bench kv --stores esker,esker-lsm\n  \
        esker bench kv --pairs 600000 --stores esker-lsm,fjall,rocksdb\n  \
        esker bench kv --stores esker,redb --workloads single,batches --loop --directory /mnt/disk"
)]
pub struct KvArguments {
    /// Folder on the disk to measure; what is made there is removed again [default: the temporary folder]
    #[arg(long, visible_alias = "dir", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Who takes part beside the floor, separated by commas [default: all that were built in]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub stores: Option<Vec<String>>,
    /// What esker's store keeps its pairs in; to have both in one report, name `esker,esker-lsm` as stores
    #[arg(long, value_enum, default_value_t = Engine::Btree)]
    pub engine: Engine,
    /// What they do: load-sorted, load-batches, load-random, reopen, get, absent, scan, single, batches, nosync, remove,
    /// compact [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub workloads: Option<Vec<String>>,
    /// Numbers of pairs; with more than fit into the cache, reads go to the system's cache or to the disk [default: 200000]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub pairs: Option<Vec<u32>>,
    /// Bytes of a key [default: 24]
    #[arg(long, value_name = "BYTES")]
    pub key_size: Option<usize>,
    /// Bytes of a value [default: 150]
    #[arg(long, value_name = "BYTES")]
    pub value_size: Option<usize>,
    /// Bytes of memory for each store's cache and buffers, 64 MiB by default (LMDB has none of its own: it takes the
    /// system's)
    #[arg(long, value_name = "BYTES")]
    pub cache: Option<usize>,
    /// Rounds [default: 3]
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Pairs in a transaction of load-sorted, load-random and remove [default: 100000]
    #[arg(long, value_name = "N")]
    pub bulk: Option<u32>,
    /// Pairs in a batch [default: 1000]
    #[arg(long, value_name = "N")]
    pub batch: Option<u32>,
    /// Batches in batches [default: 200]
    #[arg(long, value_name = "N")]
    pub batches: Option<u32>,
    /// Transactions in single [default: 1000]
    #[arg(long, value_name = "N")]
    pub singles: Option<u32>,
    /// Transactions in nosync [default: 50000]
    #[arg(long, value_name = "N")]
    pub nosyncs: Option<u32>,
    /// Reads in get and in absent [default: 200000]
    #[arg(long, value_name = "N")]
    pub reads: Option<u32>,
    /// Scans in scan [default: 50000]
    #[arg(long, value_name = "N")]
    pub scans: Option<u32>,
    /// Sessions in reopen [default: 5]
    #[arg(long, value_name = "N")]
    pub reopens: Option<u32>,
    /// Bytes of a page of esker's B-tree [default: 4096, or 512 on a simulated SD card], or of a table of its LSM tree
    /// [default: by size of the device]
    #[arg(long, value_name = "BYTES")]
    pub block_size: Option<u32>,
    /// Bytes of esker's device [default: what the pairs need]
    #[arg(long, value_name = "BYTES")]
    pub capacity: Option<u64>,
    /// Simulate the device: nor, sd or nvme. Calls and bytes are exact then, times are a model's; the other defaults are
    /// what such a device is usually given. On nor every put is durable, and peers for small devices take part; with
    /// `--workloads` it is given the tasks of the others
    #[arg(long = "sim", value_name = "DEVICE", conflicts_with_all = ["direct", "loop_device", "directory"])]
    pub simulated: Option<Simulated>,
    /// With `--sim nor`: in which order pairs are put [default: random]
    #[arg(long = "pattern", value_enum, value_name = "NAMES", value_delimiter = ',')]
    pub patterns: Option<Vec<Pattern>>,
    /// With `--sim nor`: bytes of memory that esker is lent in all [default: 16384]
    #[arg(long, value_name = "BYTES")]
    pub lent: Option<usize>,
    /// With `--sim nor`: how much of the device esker's log has [default: 23]
    #[arg(long, value_name = "PERCENT")]
    pub log_percent: Option<u8>,
    /// Write and read esker's file past the page cache (`O_DIRECT`)
    #[arg(long)]
    pub direct: bool,
    /// Make the files on a loop device, whose writes and flushes are counted exactly for every store (needs root)
    #[arg(long = "loop")]
    pub loop_device: bool,
    /// Count instructions with callgrind (needs valgrind): everything is fifty times slower, and times mean nothing
    #[arg(long, conflicts_with_all = ["simulated", "loop_device"])]
    pub callgrind: bool,
    /// Leave the scheduling priority as it is, instead of asking for real time
    #[arg(long)]
    pub no_realtime: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write the JSON to a file as well
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Serve a measurement under way: this is how it starts its processes
    #[arg(long, hide = true)]
    pub worker: bool,
}

impl KvArguments {
    /// Measures, and prints the report to standard output.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn run(&self) -> Result<(), Failure> {
        if self.worker {
            return kv::serve();
        }
        self.check_kind()?;
        if let Some(options) = self.nor_options() {
            watch(&options.signal)?;
            return told(&nor::run(&options)?, self.json, self.output.as_deref());
        }
        let slow = slow(self.no_realtime);
        let options = self.options();
        watch(&options.signal)?;
        let mut report = kv::run(&options)?;
        report.warnings.extend(slow);
        told(&report, self.json, self.output.as_deref())
    }

    fn measures_small_devices(&self) -> bool {
        self.simulated == Some(Simulated::Nor) && self.workloads.is_none()
    }

    /// Small devices have tasks of their own, and some options are for one kind of task only.
    fn check_kind(&self) -> Result<(), Failure> {
        let of_small = [
            ("pattern", self.patterns.is_some()),
            ("lent", self.lent.is_some()),
            ("log-percent", self.log_percent.is_some()),
        ];
        let of_others = [
            ("key-size", self.key_size.is_some()),
            ("cache", self.cache.is_some()),
            ("rounds", self.rounds.is_some()),
            ("bulk", self.bulk.is_some()),
            ("batch", self.batch.is_some()),
            ("batches", self.batches.is_some()),
            ("singles", self.singles.is_some()),
            ("nosyncs", self.nosyncs.is_some()),
            ("scans", self.scans.is_some()),
            ("reopens", self.reopens.is_some()),
        ];
        let first =
            |options: &[(&'static str, bool)]| options.iter().find(|(_, given)| *given).map(|it| it.0);
        match self.measures_small_devices() {
            true => first(&of_others).map_or(Ok(()), |name| {
                Err(Failure::new(format!(
                    "--{name} has no meaning for the tasks of --sim nor; with --workloads it is given the tasks of the others"
                )))
            }),
            false => first(&of_small).map_or(Ok(()), |name| {
                Err(Failure::new(format!("--{name} is for small devices: --sim nor without --workloads")))
            }),
        }
    }

    /// The stores, where `--engine` says which of esker's is meant.
    fn named_stores(&self, default: Vec<String>) -> Vec<String> {
        let mut stores = self.stores.clone().unwrap_or(default);
        if self.engine == Engine::Lsm {
            let esker = stores.iter_mut().filter(|name| *name == kv::ESKER);
            esker.for_each(|name| *name = kv::ESKER_LSM.into());
            stores.dedup();
        }
        stores
    }

    /// What they come to where small devices are measured.
    pub(super) fn nor_options(&self) -> Option<nor::Options> {
        if !self.measures_small_devices() {
            return None;
        }
        let mut options = nor::Options::default();
        if self.pairs.is_some() || self.value_size.is_some() || self.capacity.is_some() {
            let setting = |pairs| nor::Setting {
                capacity: self.capacity.unwrap_or(1 << 20),
                pairs,
                value_size: self.value_size.unwrap_or(32),
            };
            let pairs = self.pairs.clone().unwrap_or_else(|| vec![1000]);
            options.settings = pairs.into_iter().map(setting).collect();
        }
        Some(nor::Options {
            stores: self.named_stores(options.stores),
            settings: options.settings,
            patterns: self.patterns.clone().unwrap_or(options.patterns),
            lent: self.lent.unwrap_or(options.lent),
            block_size: self.block_size,
            log_percent: self.log_percent.unwrap_or(options.log_percent),
            reads: self.reads,
            signal: options.signal,
        })
    }

    /// What they come to.
    pub(super) fn options(&self) -> Options {
        let defaults = self.simulated.map_or_else(Options::default, Simulated::options);
        let amounts = defaults.amounts;
        Options {
            directory: self.directory.clone(),
            stores: self.named_stores(defaults.stores),
            workloads: self.workloads.clone().unwrap_or(defaults.workloads),
            pairs: self.pairs.clone().unwrap_or(defaults.pairs),
            key_size: self.key_size.unwrap_or(defaults.key_size),
            value_size: self.value_size.unwrap_or(defaults.value_size),
            cache: self.cache.unwrap_or(defaults.cache),
            amounts: Amounts {
                bulk: self.bulk.unwrap_or(amounts.bulk),
                batch: self.batch.unwrap_or(amounts.batch),
                batches: self.batches.unwrap_or(amounts.batches),
                singles: self.singles.unwrap_or(amounts.singles),
                nosyncs: self.nosyncs.unwrap_or(amounts.nosyncs),
                reads: self.reads.unwrap_or(amounts.reads),
                scans: self.scans.unwrap_or(amounts.scans),
                reopens: self.reopens.unwrap_or(amounts.reopens),
                ..amounts
            },
            block_size: self.block_size,
            capacity: self.capacity,
            simulated: self.simulated,
            rounds: self.rounds.unwrap_or(defaults.rounds),
            direct: self.direct,
            loop_device: self.loop_device,
            callgrind: self.callgrind,
            worker: Some(this_program(self.callgrind)),
            signal: defaults.signal,
        }
    }
}

/// The program that runs, as it was loaded, and the words that led here. `by_name`: another program is to start it.
fn this_program(by_name: bool) -> (PathBuf, Vec<OsString>) {
    let before = std::env::args_os().skip(1).take_while(|word| word != "kv");
    let arguments = before.chain(["kv".into(), "--worker".into()]).collect();
    // Its file may have another name by now, or be gone.
    let loaded = PathBuf::from("/proc/self/exe");
    (if by_name { std::env::current_exe().unwrap_or(loaded) } else { loaded }, arguments)
}
