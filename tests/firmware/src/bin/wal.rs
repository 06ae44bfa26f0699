//! A log over NOR flash: open, append, commit, read, release. The driver is two volatile words, so what is measured is
//! the engine; `black_box` keeps the compiler from knowing more than it would of a real one.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::AtomicU8;

use esker::volume::Volume;
use esker::wal::{Error, Log};
use esker_firmware::part::{Nor, NorError};

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        let _ = black_box(run());
    }
}

/// One log on the volume, as in a data logger.
type LoggerVolume<'a> = Volume<Nor, &'a mut [u8], 1>;

const RAM_BYTES: usize = size_of::<LoggerVolume<'_>>() + size_of::<Log<&mut [u8]>>();

/// As many bytes as the volume and the log take beside the buffers that are lent to them, so that they show as `.bss`.
#[used]
static RAM: [AtomicU8; RAM_BYTES] = [const { AtomicU8::new(0) }; RAM_BYTES];

#[inline(never)]
fn run() -> Result<(), Error<NorError>> {
    let mut volume_memory = [0; 256];
    let mut log_memory = [0; 256];
    let mut entry = black_box([0; 32]);
    let mut volume: LoggerVolume<'_> = Volume::open(Nor, &mut volume_memory[..])?;
    let mut log: Log<&mut [u8]> = Log::open(&mut volume, 0, &mut log_memory[..])?;
    let offset = log.append(&mut volume, &entry)?;
    log.commit(&mut volume)?;
    black_box(log.read(&mut volume, offset, &mut entry)?);
    log.release_before(&mut volume, offset)?;
    Ok(())
}
