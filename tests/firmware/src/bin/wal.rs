//! A device written and read. `black_box` keeps the compiler from knowing more than it would of a real one.
#![no_std]
#![no_main]

use core::hint::black_box;

use esker::device::{BlockDevice, Geometry, Ram, RamError};

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        let _ = black_box(run());
    }
}

fn run() -> Result<(), RamError> {
    let mut device = Ram::new([0; 1024], Geometry::flash(0, black_box(16), black_box(256)));
    let mut record = black_box([0; 64]);
    device.erase(0..black_box(256))?;
    device.write(black_box(64), &record)?;
    device.sync()?;
    device.read(black_box(64), &mut record)?;
    black_box(record);
    Ok(())
}
