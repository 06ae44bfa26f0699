//! Nothing but what every image has.
#![no_std]
#![no_main]

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
