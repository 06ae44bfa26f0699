//! What the harness knows of each board.

/// A board that QEMU emulates, with the medium behind it.
#[derive(Debug)]
pub struct Board {
    /// As QEMU calls it, and its image.
    pub name: &'static str,
    /// The `if=` of the drive.
    pub interface: &'static str,
    /// Bytes of the medium.
    pub size: u64,
    /// What a new medium is filled with.
    pub blank: u8,
    /// It has settings beside its logs.
    pub settings: bool,
    /// Bytes of RAM that the image may take, stack and all.
    pub ram: u64,
    /// Arguments of `esker wal append` that make a volume as this board would have it.
    pub layout: &'static [&'static str],
}

/// All of them.
pub const BOARDS: [Board; 2] = [
    Board {
        name: "lm3s6965evb",
        interface: "sd",
        size: 4 << 20,
        blank: 0,
        settings: true,
        ram: 28 << 10,
        layout: &["--size", "4M", "--segment-size", "16K", "--write-unit", "512"],
    },
    Board {
        name: "emcraft-sf2",
        interface: "mtd",
        size: 16 << 20,
        blank: 0xFF,
        settings: false,
        ram: 12 << 10,
        layout: &["--size", "16M", "--segment-size", "64K", "--write-unit", "4", "--erase-unit", "64K"],
    },
];
