//! The data logger on the board `lm3s6965evb`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use cortex_m_rt::entry;
    use esker_qemu::boards::lm3s6965evb::{LAYOUT, Settings, device};
    use esker_qemu::{logger, platform};

    #[entry]
    fn main() -> ! {
        // `entry` makes these the only references to them.
        static mut MEMORY: logger::Memory = logger::Memory::new();
        static mut SETTINGS: Settings = Settings::new();

        // SAFETY: an image for this board begins here, once.
        let done = match unsafe { device() } {
            Ok(device) => logger::run(device, &LAYOUT, MEMORY, &mut SETTINGS.lend()),
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
