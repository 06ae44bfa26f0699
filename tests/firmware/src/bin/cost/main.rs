//! What the engine's work costs the core: instructions and stack, over a device of plain memory, so that next to nothing
//! of it is a driver's. Runs on QEMU's `mps2-an385`; `cargo xtask cost` starts it and holds its lines against
//! `cost.toml`.
#![no_std]
#![no_main]

mod keys;

use core::convert::Infallible;
use core::hint::black_box;

use esker::device::Geometry;
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};
use esker_firmware::measure::{TIMES, calibrate, measure};
use esker_firmware::memory::{self, Memory};
use esker_firmware::semihosting::{exit, print};

esker_firmware::entry!(main);

type Disk<'a> = Volume<&'a mut Memory, &'a mut [u8], 2>;
type Journal<'a> = Log<&'a mut [u8], 16>;

fn main() -> ! {
    // SAFETY: only here, and only once.
    let memory = &mut unsafe { Memory::new() };
    // NOR flash: words of 4 bytes, sectors of 4 KiB.
    memory.geometry = Geometry::flash(memory::SIZE as u64, 4, 4096);
    if run(memory).is_err() {
        print("failed\n");
    }
    // A card.
    memory.geometry = Geometry::blocks(memory::SIZE as u64, 512);
    if keys::run(memory).is_err() {
        print("failed\n");
    }
    exit()
}

#[inline(never)]
fn run(memory: &mut Memory) -> Result<(), Error<Infallible>> {
    let (mut volume_memory, mut log_memory) = ([0; 512], [0; 512]);
    // One segment holds all that is measured.
    let layout = FormatOptions { segment_size: 64 * 1024, ..FormatOptions::default() };
    Disk::format(memory, &mut volume_memory, &layout)?.create_log(0)?;

    calibrate();
    measure("open-empty", 1, &mut || {
        if let Ok(mut volume) = Disk::open(memory, &mut volume_memory) {
            let _ = black_box(Journal::open(&mut volume, 0, &mut log_memory));
        }
    });
    {
        let mut volume = Disk::open(memory, &mut volume_memory)?;
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
        if let Ok(mut volume) = Disk::open(memory, &mut volume_memory)
            && let Ok(log) = Journal::open(&mut volume, 0, &mut log_memory)
            && log.end() != 1000
        {
            print("entries are missing\n");
        }
    });
    Ok(())
}
