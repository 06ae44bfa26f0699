//! What the engine's work costs the core: instructions and stack, over a device of plain memory, so that next to nothing
//! of it is a driver's. Runs on QEMU's `mps2-an385`; `cargo xtask cost` starts it and holds its lines against
//! `cost.toml`.
#![no_std]
#![no_main]

use core::convert::Infallible;
use core::hint::black_box;
use core::ops::Range;

use esker::device::{BlockDevice, Geometry};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};
use esker_firmware::measure::measure;
use esker_firmware::semihosting::{exit, print};

esker_firmware::entry!(main);

/// NOR flash of 1 MiB: words of 4 bytes, sectors of 4 KiB.
struct Memory(&'static mut [u8]);

const SIZE: usize = 1 << 20;
/// The board's PSRAM.
const BASE: usize = 0x2100_0000;

impl Memory {
    fn place(&mut self, address: u64, len: usize) -> &mut [u8] {
        self.0.get_mut(address as usize..).and_then(|rest| rest.get_mut(..len)).unwrap_or_default()
    }
}

impl BlockDevice for Memory {
    type Error = Infallible;

    fn geometry(&self) -> Geometry {
        black_box(Geometry::flash(SIZE as u64, 4, 4096))
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Infallible> {
        buffer.copy_from_slice(self.place(address, buffer.len()));
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Infallible> {
        self.place(address, data.len()).copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Infallible> {
        self.place(range.start, (range.end - range.start) as usize).fill(0xFF);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

type Disk<'a> = Volume<&'a mut Memory, &'a mut [u8], 2>;
type Journal<'a> = Log<&'a mut [u8], 16>;

/// A commit in the middle of appending.
const TIMES: u32 = 64;

fn main() -> ! {
    if run().is_err() {
        print("failed\n");
    }
    exit()
}

fn run() -> Result<(), Error<Infallible>> {
    // SAFETY: memory of the board that no section is in, taken once.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(BASE), SIZE) };
    let mut memory = Memory(bytes);
    let (mut volume_memory, mut log_memory) = ([0; 512], [0; 512]);
    // One segment holds all that is measured.
    let layout = FormatOptions { segment_size: 64 * 1024, ..FormatOptions::default() };
    Disk::format(&mut memory, &mut volume_memory, &layout)?.create_log(0)?;

    measure("calibration", 1, &mut || {
        // SAFETY: counts down a register of its own.
        unsafe {
            core::arch::asm!("2:", "subs {0}, {0}, #1", "bne 2b", inout(reg) 5000 => _, options(nomem, nostack))
        }
    });
    measure("open-empty", 1, &mut || {
        if let Ok(mut volume) = Disk::open(&mut memory, &mut volume_memory) {
            let _ = black_box(Journal::open(&mut volume, 0, &mut log_memory));
        }
    });
    {
        let mut volume = Disk::open(&mut memory, &mut volume_memory)?;
        let mut log = Journal::open(&mut volume, 0, &mut log_memory)?;
        let entry = black_box([7; 100]);
        measure("first-append", 1, &mut || {
            let _ = black_box(log.append(&mut volume, &entry[..32]));
        });
        log.commit(&mut volume)?;
        for (name, len) in [("append-32", 32), ("append-100", 100)] {
            measure(name, TIMES, &mut || {
                for _ in 0..TIMES {
                    let _ = black_box(log.append(&mut volume, &entry[..len]));
                }
            });
            log.commit(&mut volume)?;
        }
        log.append(&mut volume, &entry[..32])?;
        measure("commit", 1, &mut || {
            let _ = black_box(log.commit(&mut volume));
        });
        while log.end() < 1000 {
            log.append(&mut volume, &entry[..32])?;
        }
        log.commit(&mut volume)?;
        let mut out = [0; 100];
        measure("read-32", TIMES, &mut || {
            // Spread over the log, in no order.
            for nth in 0..u64::from(TIMES) {
                let _ = black_box(log.read(&mut volume, 129 + nth * 37 % 64 * 13, &mut out));
            }
        });
        let mut cursor = log.cursor(300);
        measure("next-32", TIMES, &mut || {
            for _ in 0..TIMES {
                let _ = black_box(log.next(&mut volume, &mut cursor, &mut out));
            }
        });
    }
    // It was not closed: every entry is read and checked.
    measure("recover-1000", 1, &mut || {
        if let Ok(mut volume) = Disk::open(&mut memory, &mut volume_memory)
            && let Ok(log) = Journal::open(&mut volume, 0, &mut log_memory)
            && log.end() != 1000
        {
            print("entries are missing\n");
        }
    });
    Ok(())
}
