//! The least that a Cortex-M3 image needs: a vector table, an entry that sets up RAM, and a panic handler.
//!
//! An image is this, a `main` and [`entry!`](crate::entry); what it measures is the difference to the image `empty`.
#![no_std]

pub mod measure;
pub mod memory;
pub mod part;
pub mod semihosting;
mod store_program;

use core::arch::global_asm;
use core::panic::PanicInfo;

/// Initial stack pointer, then the fifteen system exceptions; the probes use no interrupts.
#[repr(C)]
pub struct Vectors {
    stack_top: &'static Word,
    handlers: [Option<unsafe extern "C" fn() -> !>; 15],
}

/// What the linker places at an address that only the address is wanted of.
#[repr(C)]
struct Word(u32);

unsafe extern "C" {
    static __stack_top: Word;
    fn reset() -> !;
    fn halt() -> !;
}

/// Where the core begins. All faults stop.
// SAFETY: `link.x` puts the section `.vectors` first in flash, and nothing else into it.
#[unsafe(link_section = ".vectors")]
#[unsafe(no_mangle)]
pub static VECTORS: Vectors = Vectors {
    // SAFETY: the address is never read through.
    stack_top: unsafe { &__stack_top },
    handlers: [
        Some(reset),
        Some(halt),
        Some(halt),
        Some(halt),
        Some(halt),
        Some(halt),
        None,
        None,
        None,
        None,
        Some(halt),
        Some(halt),
        None,
        Some(halt),
        Some(halt),
    ],
};

// In assembly, because no Rust may run before `.data` and `.bss` are what they should be.
global_asm!(
    ".section .text.reset, \"ax\", %progbits",
    ".global reset",
    ".type reset, %function",
    ".thumb_func",
    "reset:",
    "    ldr  r0, =__data_start",
    "    ldr  r1, =__data_end",
    "    ldr  r2, =__data_load",
    "0:  cmp  r0, r1",
    "    beq  1f",
    "    ldr  r3, [r2], #4",
    "    str  r3, [r0], #4",
    "    b    0b",
    "1:  ldr  r0, =__bss_start",
    "    ldr  r1, =__bss_end",
    "    movs r2, #0",
    "2:  cmp  r0, r1",
    "    beq  3f",
    "    str  r2, [r0], #4",
    "    b    2b",
    "3:  bl   probe_main",
    ".global halt",
    ".type halt, %function",
    ".thumb_func",
    "halt:",
    "    b    halt",
    "    .pool",
);

/// Stops. With the feature `panic-free` it calls what no image has, so that an image links only if none of its code can
/// panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    #[cfg(feature = "panic-free")]
    {
        unsafe extern "C" {
            fn a_panic_is_reachable() -> !;
        }
        // SAFETY: there is no such function, so there is no image in which this runs.
        unsafe { a_panic_is_reachable() }
    }
    #[cfg(not(feature = "panic-free"))]
    loop {
        core::hint::spin_loop();
    }
}

/// Makes `fn() -> !` the image's program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: `reset` looks for this name, and an image has only one `entry!`.
        #[unsafe(no_mangle)]
        extern "C" fn probe_main() -> ! {
            let main: fn() -> ! = $main;
            main()
        }
    };
}
