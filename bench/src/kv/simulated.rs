//! The same tasks on simulated devices, where calls and bytes are exact and time is what a model of the device says.

use std::str::FromStr;

use esker::store::Kind;
use esker::volume::FormatOptions;
use esker_sim::{CostModel, Sim};
use serde::{Deserialize, Serialize};

use super::esker::{BTreeIndex, Esker, InMemory, LsmIndex, SimulatedPlace, table_size};
use super::store::Engine;
use super::workload::Amounts;
use super::{ESKER, ESKER_LSM, Options, Setting};
use crate::Failure;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Simulated {
    /// Serial NOR flash: programmed in words of 4 bytes within pages of 256, erased in sectors of 4 KiB.
    Nor,
    /// An SD card: blocks of 512 bytes.
    Sd,
    /// An NVMe drive: blocks of 4 KiB.
    Nvme,
}

impl FromStr for Simulated {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "nor" => Ok(Self::Nor),
            "sd" => Ok(Self::Sd),
            "nvme" => Ok(Self::Nvme),
            _ => Err("write nor, sd or nvme".into()),
        }
    }
}

impl Simulated {
    /// What is measured where nothing else is asked for: as much as such a device is usually given.
    pub fn options(self) -> Options {
        let small = Amounts {
            bulk: 1000,
            batch: 10,
            batches: 20,
            singles: 1000,
            nosyncs: 1000,
            reads: 1000,
            scans: 200,
            reopens: 1,
            ..Amounts::default()
        };
        let common =
            Options { stores: vec![ESKER.into()], rounds: 1, simulated: Some(self), ..Options::default() };
        match self {
            Self::Nor => Options {
                pairs: vec![1000],
                key_size: 16,
                value_size: 32,
                cache: 32 << 10,
                amounts: small,
                ..common
            },
            Self::Sd => Options {
                pairs: vec![10_000],
                key_size: 16,
                value_size: 100,
                cache: 32 << 10,
                amounts: small,
                ..common
            },
            Self::Nvme => Options {
                pairs: vec![100_000],
                cache: 8 << 20,
                amounts: Amounts { bulk: 10_000, batch: 1000, batches: 100, reads: 10_000, ..small },
                ..common
            },
        }
    }

    fn model(self) -> CostModel {
        match self {
            Self::Nor => CostModel::spi_nor(),
            Self::Sd => CostModel::sd_card(),
            Self::Nvme => CostModel::nvme(),
        }
    }

    fn capacity(self) -> u64 {
        match self {
            Self::Nor => 1 << 20,
            Self::Sd => 64 << 20,
            Self::Nvme => 512 << 20,
        }
    }

    fn device(self, capacity: u64) -> Sim {
        match self {
            Self::Nor => Sim::nor(capacity, 4, 4096),
            Self::Sd => Sim::blocks(capacity, 512),
            Self::Nvme => Sim::blocks(capacity, 4096),
        }
    }

    fn block_size(self, kind: Kind, capacity: u64) -> u32 {
        match (kind, self) {
            (Kind::BTree, Self::Sd) => 512,
            (Kind::BTree, Self::Nor | Self::Nvme) => 4096,
            // The memory that is usual beside a card has room for small pages only.
            (Kind::Lsm, Self::Sd) => table_size(capacity).min(32 << 10),
            (Kind::Lsm, Self::Nor | Self::Nvme) => table_size(capacity),
        }
    }
}

/// How an engine is made on a simulated device.
type Make = fn(Simulated, &Setting) -> Box<dyn Engine>;

/// Those that can be measured there.
const STORES: &[(&str, Make)] = &[(ESKER, esker::<BTreeIndex>), (ESKER_LSM, esker::<LsmIndex>)];

/// Their names.
pub fn names() -> Vec<String> {
    STORES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Makes one by its name.
///
/// # Errors
/// There is none of this name.
pub fn engine(device: Simulated, setting: &Setting) -> Result<Box<dyn Engine>, Failure> {
    let known = STORES.iter().find(|(name, _)| *name == setting.store);
    let unknown = || {
        let names = names().join(", ");
        Failure::new(format!("no store {} on a simulated device; there is {names}", setting.store))
    };
    known.map(|(_, make)| make(device, setting)).ok_or_else(unknown)
}

fn esker<I: InMemory>(device: Simulated, setting: &Setting) -> Box<dyn Engine> {
    let capacity = setting.capacity.unwrap_or(device.capacity());
    let place = SimulatedPlace::new(device.model(), move || device.device(capacity));
    let block_size = setting.block_size.unwrap_or(device.block_size(I::KIND, capacity));
    let layout = FormatOptions { block_size, ..FormatOptions::default() };
    Box::new(Esker::<_, I>::new(place, setting, layout))
}
