//! What is asked of the stores: the tasks of redb's own benchmark, and loads in batches and in order.

use serde::{Deserialize, Serialize};

/// One task. They are run in this order, because each begins with what the one before has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// All pairs in ascending order into an empty store.
    LoadSorted,
    /// All pairs in random order into an empty store, in durable batches.
    LoadBatches,
    /// All pairs in random order into an empty store, in few large transactions.
    LoadRandom,
    /// Open the closed store and get one value.
    Reopen,
    /// Values at random.
    Get,
    /// Keys that are not there, at random.
    Absent,
    /// A few pairs in order, from random keys on.
    Scan,
    /// New values for random keys, each durable by itself.
    Single,
    /// New values for random keys, in durable batches.
    Batches,
    /// New values for random keys, each a transaction, without syncs until the close.
    Nosync,
    /// Remove half of the pairs at random, in few large transactions.
    Remove,
    /// Make the closed store small.
    Compact,
}

impl Workload {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::LoadSorted,
        Self::LoadBatches,
        Self::LoadRandom,
        Self::Reopen,
        Self::Get,
        Self::Absent,
        Self::Scan,
        Self::Single,
        Self::Batches,
        Self::Nosync,
        Self::Remove,
        Self::Compact,
    ];

    /// As on the command line and in the reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadSorted => "load-sorted",
            Self::LoadBatches => "load-batches",
            Self::LoadRandom => "load-random",
            Self::Reopen => "reopen",
            Self::Get => "get",
            Self::Absent => "absent",
            Self::Scan => "scan",
            Self::Single => "single",
            Self::Batches => "batches",
            Self::Nosync => "nosync",
            Self::Remove => "remove",
            Self::Compact => "compact",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// Whether it begins with an empty store.
    pub fn is_load(self) -> bool {
        matches!(self, Self::LoadSorted | Self::LoadBatches | Self::LoadRandom)
    }

    /// Whether a preallocated file without any structure can do it as well.
    pub fn has_floor(self) -> bool {
        self.is_load() || matches!(self, Self::Single | Self::Batches | Self::Nosync)
    }
}

/// How much of each is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Pairs in a transaction of [`Workload::LoadSorted`], [`Workload::LoadRandom`] and [`Workload::Remove`].
    pub bulk: u32,
    /// Pairs in a batch.
    pub batch: u32,
    /// Batches of [`Workload::Batches`].
    pub batches: u32,
    /// Transactions of [`Workload::Single`].
    pub singles: u32,
    /// Transactions of [`Workload::Nosync`].
    pub nosyncs: u32,
    /// Reads of [`Workload::Get`] and [`Workload::Absent`].
    pub reads: u32,
    /// Scans.
    pub scans: u32,
    /// Pairs of a scan.
    pub scan_length: u32,
    /// Sessions of [`Workload::Reopen`].
    pub reopens: u32,
}

impl Default for Amounts {
    fn default() -> Self {
        Self {
            bulk: 100_000,
            batch: 1000,
            batches: 200,
            singles: 1000,
            nosyncs: 50_000,
            reads: 200_000,
            scans: 50_000,
            scan_length: 10,
            reopens: 5,
        }
    }
}
