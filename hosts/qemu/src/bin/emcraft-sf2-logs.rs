//! The data logger on the board `emcraft-sf2`, with logs alone: the least that it can be.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use cortex_m_rt::entry;
    use esker_qemu::boards::emcraft_sf2::{LOGS_LAYOUT, device};
    use esker_qemu::settings::NoSettings;
    use esker_qemu::{logger, platform};

    #[entry]
    fn main() -> ! {
        // `entry` makes this the only reference to it.
        static mut MEMORY: logger::Memory = logger::Memory::new();
        // SAFETY: an image for this board begins here, once.
        let done = match unsafe { device(platform::wait_for_medium) } {
            Ok(device) => logger::run(device, &LOGS_LAYOUT, MEMORY, &mut NoSettings),
            Err(_) => false,
        };
        let (fixed, stack) = platform::memory_used();
        defmt::info!("memory {=usize} and stack {=usize}", fixed, stack);
        platform::exit(done)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it for thumbv7m-none-eabi, or run `cargo xtask qemu`");
    std::process::exit(1);
}
