//! What the harness knows of each board.

use esker::device::Geometry;
use esker::store::Kind;
use esker::volume::FormatOptions;
use esker_qemu::boards::{emcraft_sf2, lm3s6965evb};

/// A board that QEMU emulates, with an image on it and the medium behind it.
#[derive(Debug)]
pub struct Board {
    /// Its image.
    pub name: &'static str,
    /// As QEMU calls it.
    pub machine: &'static str,
    /// The `if=` of the drive.
    pub interface: &'static str,
    /// Bytes of the medium.
    pub size: u64,
    /// The device's units.
    pub units: Units,
    /// How the image lays a volume out.
    pub layout: &'static FormatOptions,
    /// Of the settings that it has beside its logs.
    pub settings: Option<Kind>,
    /// Bytes of RAM that the image may take, stack and all.
    pub ram: u64,
}

/// Of a device.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    pub write: u32,
    /// 0: it need not be erased.
    pub erase: u32,
}

const CARD: Units = Units { write: 512, erase: 0 };
const FLASH: Units = Units { write: 4, erase: 64 << 10 };

/// All of them.
pub const BOARDS: [Board; 4] = [
    Board {
        name: "lm3s6965evb",
        machine: "lm3s6965evb",
        interface: "sd",
        size: 4 << 20,
        units: CARD,
        layout: &lm3s6965evb::LAYOUT,
        settings: Some(Kind::BTree),
        ram: 28 << 10,
    },
    Board {
        name: "lm3s6965evb-lsm",
        machine: "lm3s6965evb",
        interface: "sd",
        size: 4 << 20,
        units: CARD,
        layout: &lm3s6965evb::LSM_LAYOUT,
        settings: Some(Kind::Lsm),
        ram: 25 << 10,
    },
    Board {
        name: "emcraft-sf2",
        machine: "emcraft-sf2",
        interface: "mtd",
        size: 16 << 20,
        units: FLASH,
        layout: &emcraft_sf2::LAYOUT,
        settings: Some(Kind::Lsm),
        ram: 25 << 10,
    },
    Board {
        name: "emcraft-sf2-logs",
        machine: "emcraft-sf2",
        interface: "mtd",
        size: 16 << 20,
        units: FLASH,
        layout: &emcraft_sf2::LOGS_LAYOUT,
        settings: None,
        ram: 12 << 10,
    },
];

impl Board {
    /// What a new medium is filled with.
    pub fn blank(&self) -> u8 {
        if self.units.erase == 0 { 0 } else { 0xFF }
    }

    /// The medium, as a file on Linux.
    pub fn geometry(&self) -> Geometry {
        match self.units {
            Units { write, erase: 0 } => Geometry::blocks(self.size, write),
            Units { write, erase } => Geometry::flash(self.size, write, erase),
        }
    }

    /// Arguments of `esker wal append` that make a volume of logs as this board would have it.
    pub fn arguments(&self) -> Vec<String> {
        let mut numbers = vec![
            ("--size", self.size),
            ("--segment-size", self.layout.segment_size.into()),
            ("--write-unit", self.units.write.into()),
        ];
        if self.units.erase != 0 {
            numbers.push(("--erase-unit", self.units.erase.into()));
        }
        numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]).collect()
    }
}
